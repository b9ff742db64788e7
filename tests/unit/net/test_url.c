/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_good_urls(void **state)
{
	static const struct {
		const char *text;
		struct listen_url url;
	} rows[] = {
		{"http://127.0.0.1:2379", {.host = "127.0.0.1", .port = 2379}},
		{"HTTPS://localhost:1", {.is_secure = true, .host = "localhost", .port = 1}},
		{"http://[::1]:65535", {.host = "::1", .port = 65535}},
		{"http://[fe80::1%25eth0]:0", {.host = "fe80::1%eth0"}},
		{"http://:2379", {.port = 2379}},
		{"unix:///run/kedge.sock", {.is_unix = true, .path = "/run/kedge.sock"}},
		{"unixs:///run/kedge.sock",
		 {.is_secure = true, .is_unix = true, .path = "/run/kedge.sock"}},
		{"unix://relative/path", {.is_unix = true, .path = "relative/path"}},
		{"unix://localhost:m1", {.is_unix = true, .path = "localhost:m1"}},
		{"unix:/run/kedge.sock", {.is_unix = true, .path = "/run/kedge.sock"}},
		{"unix:///run/kedge.sock?x#y", {.is_unix = true, .path = "/run/kedge.sock"}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct listen_url url;
		char problem[256] = "";

		if (url_parse(rows[i].text, &url, problem, sizeof(problem)))
			fail_msg("%s: %s", rows[i].text, problem);
		assert_int_equal(url.is_secure, rows[i].url.is_secure);
		assert_int_equal(url.is_unix, rows[i].url.is_unix);
		assert_string_equal(url.host, rows[i].url.host);
		assert_int_equal(url.port, rows[i].url.port);
		assert_string_equal(url.path, rows[i].url.path);
	}
}

static void test_bad_urls_name_cause_and_text(void **state)
{
	static const struct {
		const char *text;
		const char *problem;
	} rows[] = {
		{"", "URL scheme must be http, https, unix, or unixs"},
		{"127.0.0.1:2379", "URL scheme must be http, https, unix, or unixs"},
		{"ftp://127.0.0.1:2379", "URL scheme must be http, https, unix, or unixs"},
		{"http:127.0.0.1:2379", "URL needs \"//\" after its scheme"},
		{"http://127.0.0.1", "URL address does not have the form \"host:port\""},
		{"http://[::1]", "URL address does not have the form \"host:port\""},
		{"http://[::1:2379", "URL address does not have the form \"host:port\""},
		{"http://::1:2379", "URL needs square brackets around an IPv6 address"},
		{"http://127.0.0.1:2379/", "URL must not contain a path"},
		{"http://127.0.0.1:2379?a", "URL must not contain a path"},
		{"http://127.0.0.1:", "URL needs a port number from 0 to 65535"},
		{"http://127.0.0.1:65536", "URL needs a port number from 0 to 65535"},
		{"http://127.0.0.1:etcd", "URL needs a port number from 0 to 65535"},
		{"http://127.0.0.1:999999999999", "URL needs a port number from 0 to 65535"},
		{"http://user@host:1", "neither a name nor an address"},
		{"http://a b:1", "neither a name nor an address"},
		{"unix://", "URL needs the path of a socket"},
		{"unix:relative", "URL needs \"//\" after its scheme"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct listen_url url = {.port = 7};
		char problem[256] = "";

		assert_int_not_equal(url_parse(rows[i].text, &url, problem, sizeof(problem)),
				     ERR_OK);
		if (!strstr(problem, rows[i].problem) || !strstr(problem, rows[i].text))
			fail_msg("%s: %s", rows[i].text, problem);
		assert_int_equal(url.port, 7); /* written only on success */
	}
}

static void test_lengths_are_bounded(void **state)
{
	char text[2000] = "unix://";
	struct listen_url url;
	char problem[64];

	(void)state;
	memset(text + 7, 'x', URL_PATH_BYTES - 1);
	assert_int_equal(url_parse(text, &url, problem, sizeof(problem)), ERR_OK);
	memset(text + 7, 'x', URL_PATH_BYTES);
	assert_int_not_equal(url_parse(text, &url, problem, sizeof(problem)), ERR_OK);
	assert_non_null(strstr(problem, "longer than 107"));
	memcpy(text, "http://", 7);
	memset(text + 7, 'x', 1900);
	memcpy(text + 1907, ":1", 3);
	assert_int_not_equal(url_parse(text, &url, problem, sizeof(problem)), ERR_OK);
	assert_non_null(strstr(problem, "longer than 253"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_urls),
		cmocka_unit_test(test_bad_urls_name_cause_and_text),
		cmocka_unit_test(test_lengths_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
