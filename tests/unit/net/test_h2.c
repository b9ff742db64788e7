/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of the connection: refusals, plain HTTP, keepalive, abuse, the graceful end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shim/base/limits.h"
#include "tests/harness/h2_echo.h"

#include <stdio.h>
#include <stdlib.h>

static void assert_answer(const struct peer_stream *stream, int http_status, enum status status,
			  const char *text)
{
	assert_int_equal(stream->http_status, http_status);
	assert_int_equal(stream->grpc_status, (int)status);
	assert_string_equal(stream->grpc_message, text);
	assert_true(stream->is_ended);
}

static void assert_serves(struct h2_fixture *f)
{
	struct peer_stream *stream = h2_fixture_unary(f, "still here");

	assert_answer(stream, 200, STATUS_OK, "");
	assert_false(h2_is_done(f->session));
}

static void assert_shut(struct h2_fixture *f, uint32_t code, const char *reason)
{
	assert_true(f->peer.has_goaway);
	assert_int_equal(f->peer.goaway_code, code);
	if (reason)
		assert_string_equal(f->peer.goaway_text, reason);
	assert_true(h2_is_done(f->session));
}

/* --- refusals --- */

struct refusal {
	const char *method, *path, *content_type, *name, *value;
	int http_status;
	enum status status;
	const char *text;
};

static const struct refusal refusals[] = {
	{"POST", ECHO_PATH("Unary"), "application/json", NULL, NULL, 415, STATUS_INVALID_ARGUMENT,
	 "invalid gRPC request content-type \"application/json\""},
	{"POST", ECHO_PATH("Unary"), NULL, NULL, NULL, 415, STATUS_INVALID_ARGUMENT,
	 "invalid gRPC request content-type \"\""},
	{"GET", ECHO_PATH("Unary"), "application/grpc", NULL, NULL, 405, STATUS_INTERNAL,
	 "Received a HEADERS frame with :method \"GET\" which should be POST"},
	{"POST", ECHO_PATH("Unary"), "application/grpc", "grpc-timeout", "1x", 400, STATUS_INTERNAL,
	 "malformed grpc-timeout: transport: timeout unit is not recognized: \"1x\""},
	{"POST", ECHO_PATH("Unary"), "application/grpc", "grpc-timeout", "0S", 200,
	 STATUS_DEADLINE_EXCEEDED, "context deadline exceeded"},
	{"POST", ECHO_PATH("Unary"), "application/grpc", "grpc-encoding", "snappy", 200,
	 STATUS_UNIMPLEMENTED, "grpc: Decompressor is not installed for grpc-encoding \"snappy\""},
	{"POST", ECHO_PATH("Nothing"), "application/grpc", NULL, NULL, 200, STATUS_UNIMPLEMENTED,
	 "unknown method Nothing for service test.Echo"},
	{"POST", "/test.Nobody/Unary", "application/grpc", NULL, NULL, 200, STATUS_UNIMPLEMENTED,
	 "unknown service test.Nobody"},
	{"POST", "/Unary", "application/grpc", NULL, NULL, 200, STATUS_UNIMPLEMENTED,
	 "malformed method name: \"/Unary\""},
	{"POST", "/", "application/grpc", NULL, NULL, 200, STATUS_UNIMPLEMENTED,
	 "malformed method name: \"/\""},
};

static void test_refusals(void **unused)
{
	struct h2_fixture f;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		const struct refusal *r = &refusals[i];
		struct peer_header headers[8] = {{":method", r->method},
						 {":scheme", "http"},
						 {":path", r->path},
						 {":authority", "localhost"}};
		size_t count = 4;
		int32_t id;

		if (r->content_type)
			headers[count++] = (struct peer_header){"content-type", r->content_type};
		if (r->name)
			headers[count++] = (struct peer_header){r->name, r->value};
		id = h2_peer_request(&f.peer, headers, false);
		h2_peer_write(&f.peer, id, bytes_of("\0\0\0\0\0", 5), true);
		h2_peer_exchange(&f.peer);
		assert_answer(h2_peer_stream(&f.peer, id), r->http_status, r->status, r->text);
		assert_string_equal(h2_peer_stream(&f.peer, id)->content_type, "application/grpc");
		assert_int_equal(h2_peer_stream(&f.peer, id)->headers_frames, 1);
	}
	assert_int_equal(f.log.opened, 0);
	assert_serves(&f);
	h2_fixture_close(&f);
}

static void test_content_type_variants(void **unused)
{
	const char *const variants[][2] = {
		{"application/grpc+proto", "application/grpc+proto"},
		{"application/grpc;proto", "application/grpc+proto"},
		{"application/grpc+", "application/grpc"},
	};
	struct h2_fixture f;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
		const struct peer_header headers[] = {{":method", "POST"},
						      {":scheme", "http"},
						      {":path", ECHO_PATH("Unary")},
						      {":authority", "localhost"},
						      {"content-type", variants[i][0]},
						      {NULL, NULL}};
		int32_t id = h2_peer_request(&f.peer, headers, false);

		h2_peer_message(&f.peer, id, BYTES_LITERAL("x"), true);
		h2_peer_exchange(&f.peer);
		assert_answer(h2_peer_stream(&f.peer, id), 200, STATUS_OK, "");
		assert_string_equal(h2_peer_stream(&f.peer, id)->content_type, variants[i][1]);
	}
	h2_fixture_close(&f);
}

static void test_message_too_large(void **unused)
{
	struct h2_fixture f;
	struct buffer big = h2_pattern(3 * 1024 * 1024);
	int32_t id;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	id = h2_peer_call(&f.peer, ECHO_PATH("Unary"), NULL);
	h2_peer_message(&f.peer, id, buffer_bytes(&big), true);
	h2_peer_exchange(&f.peer);
	assert_answer(h2_peer_stream(&f.peer, id), 200, STATUS_RESOURCE_EXHAUSTED,
		      "grpc: received message larger than max (3145728 vs. 2097152)");
	assert_int_equal(f.log.hook_started, 0);
	id = h2_peer_call(&f.peer, ECHO_PATH("Bidi"), NULL);
	h2_peer_message(&f.peer, id, BYTES_LITERAL("fine"), false);
	h2_peer_message(&f.peer, id, buffer_bytes(&big), true);
	h2_peer_exchange(&f.peer);
	assert_answer(h2_peer_stream(&f.peer, id), 200, STATUS_RESOURCE_EXHAUSTED,
		      "grpc: received message larger than max (3145728 vs. 2097152)");
	assert_int_equal(h2_peer_stream(&f.peer, id)->data.size, 5 + 4);
	assert_serves(&f);
	buffer_fini(&big);
	h2_fixture_close(&f);
}

static void test_compressed_flag(void **unused)
{
	struct h2_fixture f;
	int32_t id;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	id = h2_peer_call(&f.peer, ECHO_PATH("Unary"), NULL);
	h2_peer_write(&f.peer, id, bytes_of("\1\0\0\0\1x", 6), true);
	h2_peer_exchange(&f.peer);
	assert_answer(h2_peer_stream(&f.peer, id), 200, STATUS_INTERNAL,
		      "grpc: compressed flag set with identity or empty encoding");
	h2_fixture_close(&f);
}

/* --- headers --- */

static void test_header_list_limit(void **unused)
{
	static char value[16001];
	const struct peer_header more[] = {{"x-a", value}, {"x-b", value}, {"x-c", value},
					   {"x-d", value}, {"x-e", value}, {NULL, NULL}};
	const struct peer_header three[] = {{"x-a", value}, {"x-b", value}, {NULL, NULL}};
	struct h2_fixture f;
	int32_t id;

	(void)unused;
	memset(value, 'v', sizeof value - 1);
	h2_fixture_open(&f, NULL, NULL);
	id = h2_peer_call(&f.peer, ECHO_PATH("Unary"), three);
	h2_peer_message(&f.peer, id, BYTES_LITERAL("x"), true);
	h2_peer_exchange(&f.peer);
	assert_answer(h2_peer_stream(&f.peer, id), 200, STATUS_OK, "");
	/* Indexed fields blow up small frames: the limit counts what they stand for. */
	for (int i = 0; i < 5; i++) {
		const struct peer_header bomb[] = {{"x-a", value}, {"x-a", value}, {"x-a", value},
						   {"x-a", value}, {"x-a", value}, {NULL, NULL}};

		id = h2_peer_call(&f.peer, ECHO_PATH("Unary"), i ? bomb : more);
		h2_peer_exchange(&f.peer);
		assert_true(h2_peer_stream(&f.peer, id)->is_closed || f.peer.has_goaway);
		if (f.peer.has_goaway)
			break;
		assert_int_equal(h2_peer_stream(&f.peer, id)->error_code, NGHTTP2_FRAME_SIZE_ERROR);
	}
	assert_int_equal(f.log.opened, 1);
	h2_fixture_close(&f);
}

static void test_malformed_headers(void **unused)
{
	const struct peer_header no_path[] = {{":method", "POST"},
					      {":scheme", "http"},
					      {":authority", "localhost"},
					      {"content-type", "application/grpc"},
					      {NULL, NULL}};
	const struct peer_header with_connection[] = {{"connection", "close"}, {NULL, NULL}};
	struct h2_fixture f;
	int32_t id;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	id = h2_peer_request(&f.peer, no_path, false);
	h2_peer_exchange(&f.peer);
	assert_int_equal(h2_peer_stream(&f.peer, id)->error_code, NGHTTP2_PROTOCOL_ERROR);
	id = h2_peer_call(&f.peer, ECHO_PATH("Unary"), with_connection);
	h2_peer_exchange(&f.peer);
	assert_int_equal(h2_peer_stream(&f.peer, id)->error_code, NGHTTP2_PROTOCOL_ERROR);
	assert_int_equal(f.log.opened, 0);
	assert_int_equal(h2_call_count(f.session), 0);
	assert_serves(&f);
	h2_fixture_close(&f);
}

static void few_streams(struct h2_fixture *f)
{
	f->server.concurrent_streams_max = 3;
}

static void test_stream_limit(void **unused)
{
	struct h2_fixture f;
	int32_t ids[5];

	(void)unused;
	h2_fixture_open(&f, NULL, few_streams);
	assert_int_equal(nghttp2_session_get_remote_settings(
				 f.peer.ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS),
			 3);
	for (int i = 0; i < 5; i++)
		ids[i] = h2_peer_call(&f.peer, ECHO_PATH("Bidi"), NULL);
	h2_peer_exchange(&f.peer);
	/* nghttp2's client keeps to the limit: the others wait for their turn. */
	assert_int_equal(f.log.opened, 3);
	for (int i = 0; i < 5; i++)
		h2_peer_write(&f.peer, ids[i], bytes_of("", 0), true);
	h2_peer_exchange(&f.peer);
	assert_int_equal(f.log.opened, 5);
	assert_int_equal(f.log.ends, 5);
	h2_fixture_close(&f);
}

static void test_settings(void **unused)
{
	struct h2_fixture f;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	assert_int_equal(nghttp2_session_get_remote_settings(f.peer.ng,
							     NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE),
			 H2_STREAM_WINDOW_BYTES);
	assert_int_equal(nghttp2_session_get_remote_settings(f.peer.ng,
							     NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE),
			 H2_HEADER_LIST_BYTES_MAX);
	assert_int_equal(nghttp2_session_get_remote_window_size(f.peer.ng),
			 H2_CONNECTION_WINDOW_BYTES);
	h2_fixture_close(&f);
}

/* --- plain HTTP --- */

static void with_plain_http(struct h2_fixture *f)
{
	f->config.plain_http = true;
}

static struct peer_stream *http(struct h2_fixture *f, const char *method, const char *path,
				size_t body_bytes)
{
	const struct peer_header headers[] = {{":method", method},
					      {":scheme", "https"},
					      {":path", path},
					      {":authority", "kedge.test"},
					      {NULL, NULL}};
	int32_t id = h2_peer_request(&f->peer, headers, !body_bytes);
	struct buffer body = h2_pattern(body_bytes);

	if (body_bytes)
		h2_peer_write(&f->peer, id, buffer_bytes(&body), true);
	h2_peer_exchange(&f->peer);
	buffer_fini(&body);
	return h2_peer_stream(&f->peer, id);
}

static void test_plain_http(void **unused)
{
	const char expected[] = "GET /health ?exclude=NOSPACE at kedge.test from 192.0.2.1:999";
	struct h2_fixture f;
	struct peer_stream *stream;

	(void)unused;
	h2_fixture_open(&f, NULL, with_plain_http);
	stream = http(&f, "GET", "/health?exclude=NOSPACE", 0);
	assert_int_equal(stream->http_status, 200);
	assert_int_equal(stream->grpc_status, -1);
	assert_string_equal(stream->content_type, "text/plain");
	assert_true(bytes_equal(buffer_bytes(&stream->data), BYTES_LITERAL(expected)));
	assert_true(stream->is_ended);
	stream = http(&f, "HEAD", "/health", 0);
	assert_int_equal(stream->http_status, 200);
	assert_int_equal(stream->data.size, 0);
	assert_true(stream->is_ended);
	stream = http(&f, "PUT", "/health", 100);
	assert_int_equal(stream->http_status, 405);
	assert_string_equal(stream->allow, "GET");
	stream = http(&f, "POST", "/health", HTTP_BODY_BYTES_MAX);
	assert_int_equal(stream->http_status, 200);
	assert_int_equal(f.log.http_requests, 4);
	stream = http(&f, "POST", "/health", HTTP_BODY_BYTES_MAX + 1);
	assert_int_equal(stream->http_status, 413);
	assert_true(stream->is_ended);
	assert_int_equal(f.log.http_requests, 4);
	/* gRPC goes on beside it. */
	assert_serves(&f);
	h2_fixture_close(&f);
}

/* --- keepalive --- */

static void with_keepalive(struct h2_fixture *f)
{
	f->server.keepalive_interval_ms = 10000;
	f->server.keepalive_timeout_ms = 2000;
}

static void test_keepalive(void **unused)
{
	struct h2_fixture f;
	struct bytes output;

	(void)unused;
	h2_fixture_open(&f, NULL, with_keepalive);
	assert_true(h2_next_tick_ns(f.session) == f.now_ns + 10 * NS_PER_SECOND);
	f.now_ns += 10 * NS_PER_SECOND;
	h2_tick(f.session, f.now_ns);
	h2_peer_exchange(&f.peer); /* the peer answers */
	assert_int_equal(f.peer.pings, 1);
	assert_true(h2_next_tick_ns(f.session) == f.now_ns + 10 * NS_PER_SECOND);
	f.now_ns += 10 * NS_PER_SECOND;
	assert_true(h2_tick(f.session, f.now_ns) == f.now_ns + 2 * NS_PER_SECOND);
	assert_int_equal(h2_pull(f.session, &output), ERR_OK);
	assert_int_equal(output.size, 9 + 8);
	f.now_ns += 2 * NS_PER_SECOND;
	assert_false(h2_is_done(f.session));
	h2_tick(f.session, f.now_ns);
	assert_true(h2_is_done(f.session));
	h2_fixture_close(&f);
}

static void enforced(struct h2_fixture *f)
{
	f->config.enforce_keepalive = true;
}

static void ping(struct h2_fixture *f)
{
	nghttp2_submit_ping(f->peer.ng, 0, NULL);
	h2_peer_exchange(&f->peer);
}

static void test_too_many_pings(void **unused)
{
	struct h2_fixture f;

	(void)unused;
	h2_fixture_open(&f, NULL, enforced);
	h2_peer_call(&f.peer, ECHO_PATH("Watch"), NULL);
	h2_peer_exchange(&f.peer);
	/* In good time: never a strike. */
	for (int i = 0; i < 10; i++) {
		ping(&f);
		f.now_ns += 5 * NS_PER_SECOND;
	}
	assert_false(f.peer.has_goaway);
	/* Too early, but we send in between. */
	for (int i = 0; i < 10; i++) {
		ping(&f);
		h2_send_pattern(f.log.last_call, 10);
		h2_peer_exchange(&f.peer);
	}
	assert_false(f.peer.has_goaway);
	ping(&f);
	ping(&f);
	ping(&f);
	assert_false(f.peer.has_goaway);
	ping(&f);
	assert_shut(&f, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
	assert_int_equal(h2_receive(f.session, BYTES_LITERAL("more")), ERR_MALFORMED);
	h2_fixture_close(&f);
}

/* Without calls, two hours are the least. */
static void test_idle_pings(void **unused)
{
	struct h2_fixture f;

	(void)unused;
	h2_fixture_open(&f, NULL, enforced);
	for (int i = 0; i < 3; i++) {
		ping(&f);
		f.now_ns += 60 * NS_PER_SECOND;
	}
	assert_false(f.peer.has_goaway);
	ping(&f);
	assert_shut(&f, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
	h2_fixture_close(&f);
}

/* --- abuse --- */

static void test_rapid_reset(void **unused)
{
	struct h2_fixture f;
	int resets = 0;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	for (; resets < 2 * H2_RESETS_BURST && !f.peer.has_goaway; resets++) {
		int32_t id = h2_peer_call(&f.peer, ECHO_PATH("Watch"), NULL);

		h2_peer_exchange(&f.peer);
		nghttp2_submit_rst_stream(f.peer.ng, 0, id, NGHTTP2_CANCEL);
		h2_peer_exchange(&f.peer);
	}
	assert_int_equal(resets, H2_RESETS_BURST + 1);
	assert_shut(&f, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_resets");
	h2_fixture_close(&f);
}

/* At a pace that the allowance keeps up with, resets go on for ever. */
static void test_slow_reset(void **unused)
{
	struct h2_fixture f;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	for (int i = 0; i < H2_RESETS_BURST + 1000; i++) {
		int32_t id = h2_peer_call(&f.peer, ECHO_PATH("Watch"), NULL);

		h2_peer_exchange(&f.peer);
		nghttp2_submit_rst_stream(f.peer.ng, 0, id, NGHTTP2_CANCEL);
		h2_peer_exchange(&f.peer);
		f.now_ns += NS_PER_SECOND / H2_RESETS_PER_SECOND;
	}
	assert_false(f.peer.has_goaway);
	assert_serves(&f);
	h2_fixture_close(&f);
}

/* Resets that the peer provokes are counted like its own. */
static void test_provoked_reset(void **unused)
{
	const struct peer_header no_path[] = {{":method", "POST"},
					      {":scheme", "http"},
					      {":authority", "localhost"},
					      {NULL, NULL}};
	struct h2_fixture f;
	int resets = 0;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	for (; resets < 2 * H2_RESETS_BURST && !f.peer.has_goaway; resets++) {
		h2_peer_request(&f.peer, no_path, false);
		h2_peer_exchange(&f.peer);
	}
	assert_int_equal(resets, H2_RESETS_BURST + 1);
	assert_int_equal(f.peer.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
	h2_fixture_close(&f);
}

static void assert_flood_ends(uint8_t type, uint8_t flags, bool on_stream, struct bytes payload)
{
	struct h2_fixture f;
	int32_t id;
	int frames = 0;

	h2_fixture_open(&f, NULL, NULL);
	id = h2_peer_call(&f.peer, ECHO_PATH("Watch"), NULL);
	h2_peer_exchange(&f.peer);
	for (; frames < 3 * H2_USELESS_BURST && !h2_is_done(f.session); frames++) {
		h2_peer_frame(&f.peer, type, flags, on_stream ? id : 0, payload);
		h2_peer_exchange(&f.peer);
	}
	assert_in_range(frames, H2_USELESS_BURST - 10, H2_USELESS_BURST + 1);
	assert_true(h2_is_done(f.session));
	if (type != NGHTTP2_SETTINGS) /* whose answers are too much for nghttp2's own client */
		assert_shut(&f, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_useless_frames");
	h2_fixture_close(&f);
}

static void test_useless_frames(void **unused)
{
	const uint8_t priority[5] = {0, 0, 0, 0, 1};

	(void)unused;
	assert_flood_ends(NGHTTP2_DATA, 0, true, bytes_of("", 0));
	assert_flood_ends(NGHTTP2_SETTINGS, 0, false, bytes_of("", 0));
	assert_flood_ends(NGHTTP2_PRIORITY, 0, true, bytes_of(priority, 5));
	assert_flood_ends(NGHTTP2_PING, 0, false, BYTES_LITERAL("12345678"));
}

/* Nobody reads the answers: nghttp2's own bound on them. */
static void test_unread_pings(void **unused)
{
	struct h2_fixture f;
	int frames = 0;

	(void)unused;
	h2_fixture_open(&f, NULL, enforced);
	f.server.keepalive_min_time_ms = 0;
	h2_peer_call(&f.peer, ECHO_PATH("Watch"), NULL);
	h2_peer_exchange(&f.peer);
	for (; frames < 5000 && !f.peer.receive_error; frames++)
		h2_peer_frame(&f.peer, NGHTTP2_PING, 0, 0, BYTES_LITERAL("12345678"));
	assert_in_range(frames, 900, 1100);
	h2_peer_exchange(&f.peer);
	assert_shut(&f, NGHTTP2_ENHANCE_YOUR_CALM, NULL);
	h2_fixture_close(&f);
}

static void test_continuation_flood(void **unused)
{
	struct h2_fixture f;
	const uint8_t start[] = {0x82}; /* :method GET */

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	h2_peer_frame(&f.peer, NGHTTP2_HEADERS, 0, 1, bytes_of(start, 1));
	for (int i = 0; i < 100 && !f.peer.receive_error; i++)
		h2_peer_frame(&f.peer, NGHTTP2_CONTINUATION, 0, 1, bytes_of("", 0));
	assert_int_equal(f.peer.receive_error, ERR_MALFORMED);
	h2_peer_exchange(&f.peer);
	assert_shut(&f, NGHTTP2_ENHANCE_YOUR_CALM, NULL);
	h2_fixture_close(&f);
}

/* --- broken peers --- */

static void test_not_http2(void **unused)
{
	struct h2_fixture f;
	struct h2_session *session;
	struct bytes output;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	assert_int_equal(h2_session_new(&f.config, &session), ERR_OK);
	assert_int_equal(h2_receive(session, BYTES_LITERAL("GET / HTTP/1.1\r\nHost: x\r\n\r\n")),
			 ERR_MALFORMED);
	assert_int_equal(h2_pull(session, &output), ERR_OK);
	assert_true(output.size > 9);
	assert_int_equal(h2_pull(session, &output), ERR_OK);
	assert_int_equal(output.size, 0);
	assert_true(h2_is_done(session));
	h2_session_free(session);
	h2_session_free(NULL);
	h2_fixture_close(&f);
}

static void assert_broken_by(uint8_t type, uint8_t flags, int32_t id, struct bytes payload,
			     uint32_t code)
{
	struct h2_fixture f;

	h2_fixture_open(&f, NULL, NULL);
	h2_fixture_unary(&f, "one");
	h2_peer_call(&f.peer, ECHO_PATH("Watch"), NULL);
	h2_peer_exchange(&f.peer);
	h2_peer_frame(&f.peer, type, flags, id, payload);
	h2_peer_exchange(&f.peer);
	assert_true(f.peer.has_goaway);
	assert_int_equal(f.peer.goaway_code, code);
	assert_true(h2_is_done(f.session));
	h2_fixture_close(&f);
}

static void test_protocol_errors(void **unused)
{
	static const uint8_t big[16385];
	const uint8_t over[4] = {0x7f, 0xff, 0xff, 0xff};

	(void)unused;
	assert_broken_by(NGHTTP2_DATA, 0, 0, BYTES_LITERAL("x"), NGHTTP2_PROTOCOL_ERROR);
	assert_broken_by(NGHTTP2_DATA, 0, 99, BYTES_LITERAL("x"), NGHTTP2_PROTOCOL_ERROR);
	assert_broken_by(NGHTTP2_DATA, 0, 3, bytes_of(big, sizeof big), NGHTTP2_FRAME_SIZE_ERROR);
	assert_broken_by(NGHTTP2_PING, 0, 0, BYTES_LITERAL("short"), NGHTTP2_FRAME_SIZE_ERROR);
	assert_broken_by(NGHTTP2_SETTINGS, 0, 0, BYTES_LITERAL("12345"), NGHTTP2_FRAME_SIZE_ERROR);
	assert_broken_by(NGHTTP2_WINDOW_UPDATE, 0, 0, bytes_of(over, 4),
			 NGHTTP2_FLOW_CONTROL_ERROR);
	assert_broken_by(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 5, BYTES_LITERAL("\xff\xff"),
			 NGHTTP2_COMPRESSION_ERROR);
	assert_broken_by(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 4, BYTES_LITERAL("\x82"),
			 NGHTTP2_PROTOCOL_ERROR);
	assert_broken_by(NGHTTP2_CONTINUATION, 0, 3, BYTES_LITERAL("\x82"), NGHTTP2_PROTOCOL_ERROR);
	/* Stream 1 is over. */
	assert_broken_by(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, BYTES_LITERAL("\x82"),
			 NGHTTP2_PROTOCOL_ERROR);
}

/* Garbage at every place of a good conversation: never more than a closed connection. */
static void test_noise(void **unused)
{
	unsigned seed = 7;

	(void)unused;
	for (int round = 0; round < 300; round++) {
		uint8_t noise[200];
		struct h2_fixture f;

		h2_fixture_open(&f, NULL, round % 2 ? with_plain_http : enforced);
		h2_peer_call(&f.peer, ECHO_PATH("Watch"), NULL);
		h2_fixture_unary(&f, "hello");
		for (size_t i = 0; i < sizeof noise; i++) {
			seed = seed * 1103515245 + 12345;
			noise[i] = (uint8_t)(seed >> 16);
			if (i % 9 < 2)
				noise[i] = 0;
			else if (i % 9 == 3)
				noise[i] %= 10;
			else if (i % 9 >= 5)
				noise[i] = i % 9 == 8 ? 3 : 0;
		}
		h2_peer_inject(&f.peer, bytes_of(noise, sizeof noise));
		h2_peer_exchange(&f.peer);
		f.now_ns += NS_PER_SECOND;
		h2_tick(f.session, f.now_ns);
		h2_peer_exchange(&f.peer);
		h2_fixture_close(&f);
	}
}

/* --- the graceful end --- */

static void test_drain(void **unused)
{
	struct h2_fixture f;
	struct peer_stream *unary;
	int32_t watch, late;
	struct buffer answer = BUFFER_INIT(64);
	struct call *call;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	unary = h2_fixture_unary(&f, "silent");
	call = f.log.last_call;
	watch = h2_peer_call(&f.peer, ECHO_PATH("Watch"), NULL);
	h2_peer_exchange(&f.peer);
	late = h2_peer_call(&f.peer, ECHO_PATH("Watch"), NULL); /* crosses the first GOAWAY */
	h2_drain(f.session);
	h2_drain(f.session);
	assert_int_equal(f.wants_send, 1);
	h2_peer_exchange(&f.peer);
	assert_answer(h2_peer_stream(&f.peer, watch), 200, STATUS_UNAVAILABLE,
		      "etcdserver: server stopped");
	assert_answer(h2_peer_stream(&f.peer, late), 200, STATUS_UNAVAILABLE,
		      "etcdserver: server stopped");
	assert_true(f.peer.has_goaway);
	assert_int_equal(f.peer.goaway_code, NGHTTP2_NO_ERROR);
	assert_int_equal(f.peer.goaway_last_id, late);
	assert_false(h2_is_done(f.session));
	buffer_append_format(&answer, "late");
	call_reply(call, &answer);
	h2_peer_exchange(&f.peer);
	assert_answer(unary, 200, STATUS_OK, "");
	assert_true(h2_is_done(f.session));
	h2_fixture_close(&f);
}

static void test_drain_without_an_answer(void **unused)
{
	struct h2_fixture f;
	struct bytes output;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	h2_drain(f.session);
	assert_int_equal(h2_pull(f.session, &output), ERR_OK);
	assert_true(output.size > 0);
	assert_true(h2_next_tick_ns(f.session) == f.now_ns + H2_DRAIN_WAIT_MS * NS_PER_MS);
	f.now_ns += H2_DRAIN_WAIT_MS * NS_PER_MS;
	h2_tick(f.session, f.now_ns);
	assert_int_equal(h2_pull(f.session, &output), ERR_OK);
	assert_int_equal(output.size, 9 + 8);
	assert_int_equal(h2_pull(f.session, &output), ERR_OK);
	assert_true(h2_is_done(f.session));
	h2_fixture_close(&f);
}

/* --- many at once --- */

static void test_thousand_calls(void **unused)
{
	struct h2_fixture f;
	int32_t ids[1000];

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	for (int i = 0; i < 1000; i++) {
		ids[i] = h2_peer_call(&f.peer, ECHO_PATH("Unary"), NULL);
		h2_peer_message(&f.peer, ids[i], BYTES_LITERAL("hello"), true);
	}
	h2_peer_exchange(&f.peer);
	for (int i = 0; i < 1000; i++)
		assert_answer(h2_peer_stream(&f.peer, ids[i]), 200, STATUS_OK, "");
	assert_int_equal(f.log.ends, 1000);
	assert_int_equal(h2_call_count(f.session), 0);
	h2_fixture_close(&f);
}

/* Of a peer that does not take its answers no more calls are begun, until it does. */
static void test_unsent_bound(void **unused)
{
	const struct h2_peer_options options = {.is_stingy = true};
	struct h2_fixture f;
	struct buffer padding = h2_pattern(1000000);
	int32_t id = 0;
	int accepted;

	(void)unused;
	h2_fixture_open(&f, &options, NULL);
	for (int i = 0; i < 100; i++) {
		id = h2_peer_call(&f.peer, ECHO_PATH("Unary"), NULL);
		h2_peer_message(&f.peer, id, buffer_bytes(&padding), true);
		h2_peer_exchange(&f.peer);
	}
	accepted = (int)f.log.messages;
	assert_in_range(accepted, H2_UNSENT_BYTES_MAX / 1000000, H2_UNSENT_BYTES_MAX / 1000000 + 1);
	/* What it does not want any more is dropped, and credit comes back. */
	for (int32_t stale = 1; f.log.messages < 100; stale += 2) {
		assert_in_range(stale / 2, 0, f.log.messages);
		nghttp2_submit_rst_stream(f.peer.ng, 0, stale, NGHTTP2_CANCEL);
		h2_peer_exchange(&f.peer);
	}
	buffer_fini(&padding);
	h2_fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_content_type_variants),
		cmocka_unit_test(test_message_too_large),
		cmocka_unit_test(test_compressed_flag),
		cmocka_unit_test(test_header_list_limit),
		cmocka_unit_test(test_malformed_headers),
		cmocka_unit_test(test_stream_limit),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_plain_http),
		cmocka_unit_test(test_keepalive),
		cmocka_unit_test(test_too_many_pings),
		cmocka_unit_test(test_idle_pings),
		cmocka_unit_test(test_rapid_reset),
		cmocka_unit_test(test_slow_reset),
		cmocka_unit_test(test_provoked_reset),
		cmocka_unit_test(test_useless_frames),
		cmocka_unit_test(test_unread_pings),
		cmocka_unit_test(test_continuation_flood),
		cmocka_unit_test(test_not_http2),
		cmocka_unit_test(test_protocol_errors),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_drain_without_an_answer),
		cmocka_unit_test(test_thousand_calls),
		cmocka_unit_test(test_unsent_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
