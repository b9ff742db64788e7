/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/http1.h"

#include "shim/base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define BIG_BYTES (100 * KIB)

struct fixture {
	struct http1_session *session;
	unsigned requests;
	char seen[512]; /* the newest request */
	struct buffer got;
};

static void on_request(void *context, const struct http_request *request,
		       struct http_reply *ret_reply)
{
	static const struct http_header headers[] = {{"x-content-type-options", "nosniff"}, {0}};
	struct fixture *fixture = context;

	fixture->requests++;
	snprintf(fixture->seen, sizeof(fixture->seen), "%s %s ? %s @ %s < %s", request->method,
		 request->path, request->query, request->host, request->peer_address);
	ret_reply->status = 200;
	ret_reply->content_type = "text/plain";
	if (!strcmp(request->path, "/big")) {
		assert_true(buffer_reserve(&ret_reply->body, BIG_BYTES));
		memset(buffer_end(&ret_reply->body), 'x', BIG_BYTES);
		ret_reply->body.size = BIG_BYTES;
	} else if (!strcmp(request->method, "POST")) {
		ret_reply->status = 405;
		ret_reply->allow = "GET";
		ret_reply->headers = headers;
	} else {
		buffer_append(&ret_reply->body, BYTES_LITERAL("hello"));
	}
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	const struct http1_config config = {on_request, fixture, "127.0.0.1:1"};

	fixture->got = BUFFER_INIT(64 * MIB);
	*state = fixture;
	return http1_session_new(&config, &fixture->session) ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	http1_session_free(fixture->session);
	buffer_fini(&fixture->got);
	free(fixture);
	return 0;
}

static void feed(struct fixture *fixture, const char *text)
{
	assert_int_equal(http1_receive(fixture->session, bytes_of_string(text)), ERR_OK);
}

/* Everything there is to send, as a string. */
static const char *pull(struct fixture *fixture)
{
	struct bytes piece;

	fixture->got.size = 0;
	for (;;) {
		assert_int_equal(http1_pull(fixture->session, &piece), ERR_OK);
		if (!piece.size)
			break;
		assert_true(buffer_append(&fixture->got, piece));
	}
	assert_true(buffer_append(&fixture->got, bytes_of("", 1)));
	fixture->got.size--;
	return (const char *)buffer_bytes(&fixture->got).data;
}

static void expect(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in: %s", part, text);
}

/* --- answers ---------------------------------------------------------------------------------- */

static void test_get_is_answered_and_stays_open(void **state)
{
	struct fixture *fixture = *state;
	const char *answer;

	assert_true(http1_is_idle(fixture->session));
	feed(fixture, "GET /a/b?c=d&e HTTP/1.1\r\nHost: here:1\r\nUser-Agent: x\r\n\r\n");
	assert_string_equal(fixture->seen, "GET /a/b ? c=d&e @ here:1 < 127.0.0.1:1");
	answer = pull(fixture);
	expect(answer, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: ");
	expect(answer, " GMT\r\nContent-Length: 5\r\n\r\nhello");
	assert_null(strstr(answer, "Connection:"));
	assert_true(http1_is_idle(fixture->session));
	assert_false(http1_is_done(fixture->session));
	feed(fixture, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	expect(pull(fixture), "hello");
	assert_int_equal(http1_request_count(fixture->session), 2);
}

static void test_request_may_come_byte_by_byte(void **state)
{
	static const char request[] = "GET /slow?x HTTP/1.1\r\nHost: somewhere\r\n\r\n";
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(request) - 1; i++) {
		char one[2] = {request[i], 0};

		assert_int_equal(fixture->requests, 0);
		feed(fixture, one);
		assert_int_equal(http1_is_idle(fixture->session), false);
	}
	assert_string_equal(fixture->seen, "GET /slow ? x @ somewhere < 127.0.0.1:1");
}

static void test_headers_of_the_handler_get_capitals(void **state)
{
	struct fixture *fixture = *state;
	const char *answer;

	feed(fixture, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
	answer = pull(fixture);
	expect(answer, "HTTP/1.1 405 Method Not Allowed\r\n");
	expect(answer, "\r\nX-Content-Type-Options: nosniff\r\nAllow: GET\r\n");
	assert_false(http1_is_done(fixture->session)); /* the body was read */
}

static void test_head_has_a_length_and_no_body(void **state)
{
	struct fixture *fixture = *state;
	const char *answer;

	feed(fixture, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
	answer = pull(fixture);
	expect(answer, "Content-Length: 5\r\n\r\n");
	assert_null(strstr(answer, "hello"));
}

static void test_close_and_http10(void **state)
{
	struct fixture *fixture = *state;

	feed(fixture, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	expect(pull(fixture), "Connection: keep-alive\r\n");
	assert_false(http1_is_done(fixture->session));
	feed(fixture, "GET / HTTP/1.0\r\n\r\n");
	assert_false(http1_is_done(fixture->session)); /* not yet sent */
	expect(pull(fixture), "Connection: close\r\n");
	assert_true(http1_is_done(fixture->session));
	feed(fixture, "GET / HTTP/1.0\r\n\r\n");
	assert_int_equal(fixture->requests, 2);
}

static void test_absolute_form_and_upgrade(void **state)
{
	struct fixture *fixture = *state;

	feed(fixture, "GET http://h:1/p?q HTTP/1.1\r\nHost: h:1\r\n\r\n");
	assert_string_equal(fixture->seen, "GET /p ? q @ h:1 < 127.0.0.1:1");
	feed(fixture, "GET /u HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n"
		      "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
		      "GET /v HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_string_equal(fixture->seen, "GET /v ?  @ h < 127.0.0.1:1");
	assert_int_equal(fixture->requests, 3);
}

/* --- pipelining and bounds -------------------------------------------------------------------- */

static void test_pipelined_requests_wait_while_answers_wait(void **state)
{
	struct fixture *fixture = *state;
	const unsigned wanted = 100;
	size_t total = 0;

	for (unsigned i = 0; i < wanted; i++)
		feed(fixture, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_true(http1_is_full(fixture->session));
	assert_true(fixture->requests * BIG_BYTES < HTTP1_UNSENT_BYTES_MAX + 2 * BIG_BYTES);
	for (struct bytes piece = {.size = 1}; piece.size; total += piece.size)
		assert_int_equal(http1_pull(fixture->session, &piece), ERR_OK);
	assert_int_equal(fixture->requests, wanted);
	assert_true(total > wanted * BIG_BYTES);
	assert_false(http1_is_full(fixture->session));
	assert_true(http1_is_idle(fixture->session));
}

static void test_pipelining_in_one_piece(void **state)
{
	struct fixture *fixture = *state;
	struct buffer all = BUFFER_INIT(MIB);

	for (int i = 0; i < 50; i++)
		assert_true(
			buffer_append_format(&all, "GET /big?%d HTTP/1.1\r\nHost: a\r\n\r\n", i));
	assert_int_equal(http1_receive(fixture->session, buffer_bytes(&all)), ERR_OK);
	pull(fixture);
	assert_int_equal(fixture->requests, 50);
	assert_string_equal(fixture->seen, "GET /big ? 49 @ a < 127.0.0.1:1");
	buffer_fini(&all);
}

static void test_too_much_input_while_full_is_an_error(void **state)
{
	struct fixture *fixture = *state;
	enum err e = ERR_OK;

	for (int i = 0; i < 20000 && !e; i++)
		e = http1_receive(fixture->session,
				  BYTES_LITERAL("GET /big HTTP/1.1\r\nHost: a\r\n\r\n"));
	assert_int_not_equal(e, ERR_OK);
}

static void test_drain_ends_after_the_request_under_way(void **state)
{
	struct fixture *fixture = *state;

	feed(fixture, "GET / HTTP/1.1\r\nHo");
	http1_drain(fixture->session);
	assert_false(http1_is_done(fixture->session));
	feed(fixture, "st: a\r\n\r\n");
	expect(pull(fixture), "Connection: close\r\n");
	assert_true(http1_is_done(fixture->session));
}

static void test_drain_of_an_idle_session_is_done(void **state)
{
	struct fixture *fixture = *state;

	http1_drain(fixture->session);
	assert_true(http1_is_done(fixture->session));
}

/* --- bad requests ----------------------------------------------------------------------------- */

static void test_mistakes_get_their_status_and_end_the_connection(void **state)
{
	static const struct {
		const char *request;
		const char *answer;
	} rows[] = {
		{"nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
		{"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "HTTP/1.1 505 "},
		{"GET / HTTP/1.1\r\n\r\n", "400 Bad Request: missing required Host header"},
		{"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "too many Host headers"},
		{"GET / HTTP/1.1\r\nHost: a\r\nBad Header\r\n\r\n", "HTTP/1.1 400 "},
		{"GET / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n", "HTTP/1.1 417 "},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", "HTTP/1.1 413 "},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
		 "Transfer-Encoding: chunked\r\n\r\n",
		 "HTTP/1.1 400 "},
		{"POST /etcdserverpb.KV/Range HTTP/1.1\r\nHost: a\r\n"
		 "Content-Type: application/grpc+proto\r\nTE: trailers\r\n\r\n",
		 "gRPC requires HTTP/2"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		void *one;
		struct fixture *fixture;
		const char *answer;

		assert_int_equal(setup(&one), 0);
		fixture = one;
		feed(fixture, rows[i].request);
		answer = pull(fixture);
		expect(answer, rows[i].answer);
		expect(answer, "Connection: close\r\n");
		assert_true(http1_is_done(fixture->session));
		assert_int_equal(fixture->requests, 0);
		feed(fixture, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
		assert_int_equal(fixture->requests, 0);
		teardown(&one);
	}
}

static void test_long_urls_and_headers_are_refused(void **state)
{
	struct fixture *fixture = *state;
	char *text = malloc(100 * KIB);
	void *one;

	assert_non_null(text);
	memset(text, 'a', 100 * KIB - 1);
	text[100 * KIB - 1] = 0;
	feed(fixture, "GET /");
	assert_int_equal(http1_receive(fixture->session, bytes_of(text, 20 * KIB)), ERR_OK);
	expect(pull(fixture), "HTTP/1.1 414 ");

	/* One long header, then many short ones. */
	for (int round = 0; round < 2; round++) {
		assert_int_equal(setup(&one), 0);
		fixture = one;
		feed(fixture, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
		if (!round)
			feed(fixture, text);
		for (int i = 0; round && i < 20000; i++)
			feed(fixture, "b\r\nYyyy: ");
		expect(pull(fixture), "HTTP/1.1 431 Request Header Fields Too Large\r\n");
		assert_true(http1_is_done(fixture->session));
		teardown(&one);
	}
	free(text);
}

static void test_bodies_are_dropped_up_to_the_limit(void **state)
{
	struct fixture *fixture = *state;
	char *chunk = malloc(16 * KIB + 1);

	assert_non_null(chunk);
	memset(chunk, 'a', 16 * KIB);
	chunk[16 * KIB] = 0;
	feed(fixture, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n");
	for (int i = 0; i < 4; i++)
		feed(fixture, chunk);
	expect(pull(fixture), "200 OK");
	feed(fixture, "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 5; i++) {
		feed(fixture, "4000\r\n");
		feed(fixture, chunk);
		feed(fixture, "\r\n");
	}
	expect(pull(fixture), "HTTP/1.1 413 ");
	assert_true(http1_is_done(fixture->session));
	assert_int_equal(fixture->requests, 1);
	free(chunk);
}

static void test_expect_continue_gets_the_final_answer(void **state)
{
	struct fixture *fixture = *state;
	const char *answer;

	feed(fixture, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n"
		      "Expect: 100-continue\r\n\r\n");
	answer = pull(fixture);
	expect(answer, "HTTP/1.1 405 ");
	expect(answer, "Connection: close\r\n");
	assert_true(http1_is_done(fixture->session));
	feed(fixture, "some body");
	assert_int_equal(fixture->requests, 1);
}

/* Whatever comes, in whatever pieces: no crash, bounded output, an end. */
static void test_noise(void **state)
{
	static const char *const words[] = {
		"GET ",	       "POST ",
		"/",	       " HTTP/1.1\r\n",
		"Host: a\r\n", "\r\n",
		"Expect: x",   "\n",
		"%zz",	       "Content-Length: 5\r\n",
		"\x80\n",      ": ",
		"chunked ",    "Transfer-Encoding: ",
	};
	unsigned random = 20261124;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		void *one;

		assert_int_equal(setup(&one), 0);
		for (int i = 0; i < 30; i++) {
			random = random * 1103515245 + 12345;
			feed(one, words[(random >> 16) % (sizeof(words) / sizeof(words[0]))]);
		}
		pull(one);
		teardown(&one);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_get_is_answered_and_stays_open),
		T(test_request_may_come_byte_by_byte),
		T(test_headers_of_the_handler_get_capitals),
		T(test_head_has_a_length_and_no_body),
		T(test_close_and_http10),
		T(test_absolute_form_and_upgrade),
		T(test_pipelined_requests_wait_while_answers_wait),
		T(test_pipelining_in_one_piece),
		T(test_too_much_input_while_full_is_an_error),
		T(test_drain_ends_after_the_request_under_way),
		T(test_drain_of_an_idle_session_is_done),
		T(test_mistakes_get_their_status_and_end_the_connection),
		T(test_long_urls_and_headers_are_refused),
		T(test_bodies_are_dropped_up_to_the_limit),
		T(test_expect_continue_gets_the_final_answer),
		T(test_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
