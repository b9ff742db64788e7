/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/rpc/http.h"

#include "shim/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
	struct http_endpoints endpoints;
	bool is_full;
	bool is_corrupt;
	enum err read_result;
	unsigned linearizable_reads;
	char events[512]; /* what was counted */
	struct http_reply reply;
	char body[4096];
};

static bool has_alarm(void *context, enum alarm alarm)
{
	const struct fixture *fixture = context;

	return alarm == ALARM_NOSPACE ? fixture->is_full : fixture->is_corrupt;
}

static enum err read_one(void *context, bool is_serializable)
{
	struct fixture *fixture = context;

	fixture->linearizable_reads += !is_serializable;
	return fixture->read_result;
}

static bool write_metrics(void *context, struct buffer *out)
{
	(void)context;
	return buffer_append(out, BYTES_LITERAL("etcd_server_has_leader 1\n"));
}

static void on_health(void *context, bool is_healthy)
{
	struct fixture *fixture = context;

	strncat(fixture->events, is_healthy ? "health+ " : "health- ",
		sizeof(fixture->events) - strlen(fixture->events) - 1);
}

static void on_check(void *context, const char *type, const char *name, bool is_ok)
{
	struct fixture *fixture = context;
	size_t used = strlen(fixture->events);

	snprintf(fixture->events + used, sizeof(fixture->events) - used, "%s/%s%c ", type, name,
		 is_ok ? '+' : '-');
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	log_configure(LOG_ERROR, true);
	fixture->endpoints = (struct http_endpoints){
		.has_alarm = has_alarm,
		.read = read_one,
		.write_metrics = write_metrics,
		.on_health = on_health,
		.on_check = on_check,
		.context = fixture,
	};
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void serve(struct fixture *fixture, struct http_request request)
{
	struct bytes body;

	request.method = request.method ? request.method : "GET";
	request.query = request.query ? request.query : "";
	request.host = "";
	fixture->reply = (struct http_reply){.status = 500, .body = BUFFER_INIT(65536)};
	http_endpoints_serve(&fixture->endpoints, &request, &fixture->reply);
	body = buffer_bytes(&fixture->reply.body);
	assert_true(body.size < sizeof(fixture->body));
	if (body.size)
		memcpy(fixture->body, body.data, body.size);
	fixture->body[body.size] = 0;
	buffer_fini(&fixture->reply.body);
}

static void get(struct fixture *fixture, const char *path, const char *query)
{
	serve(fixture, (struct http_request){.path = path, .query = query});
}

static const char *header(const struct fixture *fixture, const char *name)
{
	for (const struct http_header *h = fixture->reply.headers; h && h->name; h++)
		if (!strcmp(h->name, name))
			return h->value;
	return "";
}

/* --- /version --------------------------------------------------------------------------------- */

static void test_version(void **state)
{
	struct fixture *fixture = *state;

	get(fixture, "/version", "");
	assert_int_equal(fixture->reply.status, 200);
	assert_string_equal(fixture->reply.content_type, "application/json");
	assert_string_equal(
		fixture->body,
		"{\"etcdserver\":\"3.7.3\",\"etcdcluster\":\"3.7.0\",\"storage\":\"3.7.0\"}");
	serve(fixture, (struct http_request){.method = "HEAD", .path = "/version"});
	assert_int_equal(fixture->reply.status, 405);
	assert_string_equal(fixture->reply.allow, "GET");
	assert_string_equal(fixture->body, "Method Not Allowed\n");
	assert_string_equal(header(fixture, "x-content-type-options"), "nosniff");
}

/* --- /health ---------------------------------------------------------------------------------- */

static void test_health(void **state)
{
	struct fixture *fixture = *state;

	get(fixture, "/health", "");
	assert_int_equal(fixture->reply.status, 200);
	assert_string_equal(fixture->reply.content_type, "text/plain; charset=utf-8");
	assert_string_equal(fixture->body, "{\"health\":\"true\",\"reason\":\"\"}");
	assert_string_equal(header(fixture, "x-content-type-options"), "");
	assert_int_equal(fixture->linearizable_reads, 1);
	get(fixture, "/health", "serializable=true");
	assert_int_equal(fixture->linearizable_reads, 1);
	serve(fixture, (struct http_request){.method = "POST", .path = "/health"});
	assert_int_equal(fixture->reply.status, 405);
	assert_string_equal(fixture->events, "health+ health+ ");
}

static void test_health_with_alarms(void **state)
{
	struct fixture *fixture = *state;

	fixture->is_full = true;
	get(fixture, "/health", "");
	assert_int_equal(fixture->reply.status, 503);
	assert_string_equal(fixture->body, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n");
	assert_string_equal(header(fixture, "x-content-type-options"), "nosniff");
	get(fixture, "/health", "exclude=NOSPACE&serializable=true");
	assert_int_equal(fixture->reply.status, 200);
	fixture->is_corrupt = true;
	get(fixture, "/health", "exclude=NOSPACE");
	assert_string_equal(fixture->body, "{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}\n");
	get(fixture, "/health", "exclude=CORRUPT&exclude=NOSP%41CE");
	assert_int_equal(fixture->reply.status, 200);
	assert_string_equal(fixture->events, "health- health+ health- health+ ");
}

static void test_health_when_reading_fails(void **state)
{
	struct fixture *fixture = *state;

	fixture->read_result = ERR_STOPPED;
	get(fixture, "/health", "");
	assert_int_equal(fixture->reply.status, 503);
	assert_string_equal(fixture->body, "{\"health\":\"false\",\"reason\":\"RANGE "
					   "ERROR:etcdserver: server stopped\"}\n");
}

/* --- /livez, /readyz -------------------------------------------------------------------------- */

static void test_livez_and_readyz(void **state)
{
	struct fixture *fixture = *state;

	get(fixture, "/livez", "");
	assert_int_equal(fixture->reply.status, 200);
	assert_string_equal(fixture->body, "ok\n");
	assert_string_equal(fixture->reply.content_type, "text/plain; charset=utf-8");
	assert_string_equal(header(fixture, "x-content-type-options"), "nosniff");
	get(fixture, "/livez", "verbose");
	assert_string_equal(fixture->body, "[+]serializable_read ok\nok\n");
	get(fixture, "/readyz", "verbose=");
	assert_string_equal(fixture->body, "[+]data_corruption ok\n[+]serializable_read ok\n"
					   "[+]linearizable_read ok\n[+]non_learner ok\nok\n");
	get(fixture, "/readyz", "exclude=linearizable_read&exclude=no_such&verbose");
	assert_string_equal(fixture->body, "[+]data_corruption ok\n[+]serializable_read ok\n"
					   "[+]non_learner ok\nok\n");
	get(fixture, "/readyz/non_learner", "verbose");
	assert_string_equal(fixture->body, "[+]non_learner ok\nok\n");
	serve(fixture, (struct http_request){.method = "PUT", .path = "/livez"});
	assert_int_equal(fixture->reply.status, 405);
}

static void test_failed_checks(void **state)
{
	struct fixture *fixture = *state;

	fixture->is_corrupt = true;
	get(fixture, "/livez", "");
	assert_int_equal(fixture->reply.status, 200);
	get(fixture, "/readyz", "exclude=linearizable_read&exclude=serializable_read");
	assert_int_equal(fixture->reply.status, 503);
	assert_string_equal(fixture->body, "[-]data_corruption failed: alarm activated: CORRUPT\n"
					   "[+]non_learner ok\n\n");
	fixture->read_result = ERR_STORAGE;
	get(fixture, "/livez/serializable_read", "");
	assert_int_equal(fixture->reply.status, 503);
	assert_string_equal(fixture->body, "[-]serializable_read failed: kedge: storage fault, see "
					   "the server's log\n\n");
	assert_string_equal(fixture->events,
			    "livez/serializable_read+ readyz/data_corruption- readyz/non_learner+ "
			    "livez/serializable_read- ");
}

/* --- the rest --------------------------------------------------------------------------------- */

static void test_metrics(void **state)
{
	struct fixture *fixture = *state;

	get(fixture, "/metrics", "");
	assert_int_equal(fixture->reply.status, 200);
	assert_string_equal(fixture->body, "etcd_server_has_leader 1\n");
	assert_non_null(strstr(fixture->reply.content_type, "text/plain; version=0.0.4"));
	assert_string_equal(header(fixture, "access-control-allow-origin"), "*");
	serve(fixture, (struct http_request){.path = "/metrics", .on_http_url = true});
	assert_string_equal(header(fixture, "access-control-allow-origin"), "");
}

static void test_unknown_paths(void **state)
{
	static const char *const paths[] = {
		"/",
		"",
		"/healthz",
		"/livez/",
		"/livez/no",
		"/livezx",
		"livez",
		"/readyz/serializable_readx",
		"/health/%zz",
		"/health%00",
		"*",
		"/livez/data_corruption",
		"/etcdserverpb",
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		get(fixture, paths[i], "");
		assert_int_equal(fixture->reply.status, 404);
		assert_string_equal(fixture->body, "404 page not found\n");
	}
	get(fixture, "/h%65alth", "");
	assert_int_equal(fixture->reply.status, 200);
}

static void test_options_is_for_browsers(void **state)
{
	struct fixture *fixture = *state;

	serve(fixture, (struct http_request){.method = "OPTIONS", .path = "/anything"});
	assert_int_equal(fixture->reply.status, 200);
	assert_string_equal(fixture->body, "");
	assert_string_equal(header(fixture, "access-control-allow-methods"),
			    "POST, GET, OPTIONS, PUT, DELETE");
}

static void test_odd_queries(void **state)
{
	static const char *const queries[] = {
		"&&&",	       "=",	    "%",      "verbose;x",
		"exclude=%zz", "exclude=%", "a=b=c&", "exclude=data%00",
	};
	struct fixture *fixture = *state;
	char longest[2000];

	fixture->is_full = true;
	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
		get(fixture, "/readyz", queries[i]);
		assert_string_equal(fixture->body, "ok\n");
		get(fixture, "/health", queries[i]);
		assert_int_equal(fixture->reply.status, 503);
	}
	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "exclude=NOSPACE", 15);
	longest[sizeof(longest) - 1] = 0;
	get(fixture, "/health", longest);
	assert_int_equal(fixture->reply.status, 503);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_version),
		T(test_health),
		T(test_health_with_alarms),
		T(test_health_when_reading_fails),
		T(test_livez_and_readyz),
		T(test_failed_checks),
		T(test_metrics),
		T(test_unknown_paths),
		T(test_options_is_for_browsers),
		T(test_odd_queries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
