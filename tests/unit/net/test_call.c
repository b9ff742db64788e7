/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers see of calls, and what clients see of handlers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shim/base/limits.h"
#include "tests/harness/h2_echo.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static void assert_text(struct bytes bytes, const char *text)
{
	assert_int_equal(bytes.size, strlen(text));
	if (bytes.size)
		assert_memory_equal(bytes.data, text, bytes.size);
}

static void assert_status(const struct peer_stream *stream, enum status status, const char *text)
{
	assert_int_equal(stream->http_status, 200);
	assert_int_equal(stream->grpc_status, (int)status);
	assert_string_equal(stream->grpc_message, text);
	assert_true(stream->is_ended);
}

static struct bytes only_message(struct h2_fixture *f, int32_t id)
{
	struct bytes message = {0}, second;
	size_t offset = 0;

	assert_true(h2_peer_next(&f->peer, id, &offset, &message));
	assert_false(h2_peer_next(&f->peer, id, &offset, &second));
	return message;
}

/* --- unary --- */

static void test_unary_echo(void **unused)
{
	struct h2_fixture f;
	struct peer_stream *stream;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	f.peer.pulled_runs = 0;
	stream = h2_fixture_unary(&f, "hello");
	assert_status(stream, STATUS_OK, "");
	assert_string_equal(stream->content_type, "application/grpc");
	assert_text(only_message(&f, stream->id), "hello");
	assert_int_equal(stream->headers_frames, 2);
	assert_int_equal(stream->data_frames, 1);
	/* Headers, message and trailers left in one piece. */
	assert_int_equal(f.peer.pulled_runs, 1);
	assert_int_equal(f.log.ends, 1);
	assert_int_equal(f.log.hook_started, 1);
	assert_int_equal(f.log.hook_received, 1);
	assert_int_equal(f.log.hook_sent, 1);
	assert_int_equal(f.stats.received_bytes, 5);
	assert_int_equal(f.stats.sent_bytes, 5);
	assert_int_equal(h2_call_count(f.session), 0);
	/* Bytes came out of h2_pull() because the handler ran inside h2_receive(). */
	assert_int_equal(f.wants_send, 0);
	h2_fixture_close(&f);
}

static void test_unary_empty(void **unused)
{
	struct h2_fixture f;
	struct peer_stream *stream;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	stream = h2_fixture_unary(&f, "");
	assert_status(stream, STATUS_OK, "");
	assert_int_equal(stream->data.size, 5);
	assert_text(only_message(&f, stream->id), "");
	h2_fixture_close(&f);
}

static void test_unary_error_is_trailers_only(void **unused)
{
	struct h2_fixture f;
	struct peer_stream *stream;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	stream = h2_fixture_unary(&f, "fail");
	assert_status(stream, STATUS_OUT_OF_RANGE,
		      "etcdserver: mvcc: required revision has been compacted");
	assert_int_equal(stream->headers_frames, 1);
	assert_int_equal(stream->data_frames, 0);
	assert_int_equal(f.log.last_status, STATUS_OUT_OF_RANGE);
	h2_fixture_close(&f);
}

static void test_unary_big_both_ways(void **unused)
{
	struct h2_fixture f;
	struct peer_stream *stream;
	struct buffer request = h2_pattern(2 * 1024 * 1024);
	int32_t id;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	id = h2_peer_call(&f.peer, ECHO_PATH("Unary"), NULL);
	h2_peer_message(&f.peer, id, buffer_bytes(&request), true);
	h2_peer_exchange(&f.peer);
	stream = h2_peer_stream(&f.peer, id);
	assert_status(stream, STATUS_OK, "");
	assert_int_equal(only_message(&f, id).size, request.size);
	assert_true(h2_is_pattern(only_message(&f, id)));
	buffer_fini(&request);
	h2_fixture_close(&f);
}

/* Message borders and frame borders have nothing to do with each other. */
static void test_unary_in_single_bytes(void **unused)
{
	const uint8_t raw[] = {0, 0, 0, 0, 3, 'a', 'b', 'c'};
	struct h2_fixture f;
	int32_t id;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	id = h2_peer_call(&f.peer, ECHO_PATH("Unary"), NULL);
	for (size_t i = 0; i < sizeof raw; i++) {
		h2_peer_write(&f.peer, id, bytes_of(raw + i, 1), false);
		h2_peer_exchange(&f.peer);
	}
	/* As grpc-go: answered without the half close, then told to stop. */
	assert_status(h2_peer_stream(&f.peer, id), STATUS_OK, "");
	assert_text(only_message(&f, id), "abc");
	assert_int_equal(f.peer.resets, 1);
	assert_int_equal(h2_peer_stream(&f.peer, id)->error_code, NGHTTP2_NO_ERROR);
	h2_fixture_close(&f);
}

static void test_unary_wrong_number_of_messages(void **unused)
{
	struct h2_fixture f;
	int32_t id;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	id = h2_peer_call(&f.peer, ECHO_PATH("Unary"), NULL);
	h2_peer_write(&f.peer, id, bytes_of("", 0), true);
	h2_peer_exchange(&f.peer);
	assert_status(h2_peer_stream(&f.peer, id), STATUS_UNKNOWN, "EOF");
	assert_int_equal(f.log.hook_started, 0);

	id = h2_peer_call(&f.peer, ECHO_PATH("Unary"), NULL);
	h2_peer_write(&f.peer, id, bytes_of("\0\0\0", 3), true); /* half a prefix is nothing */
	h2_peer_exchange(&f.peer);
	assert_status(h2_peer_stream(&f.peer, id), STATUS_UNKNOWN, "EOF");

	id = h2_peer_call(&f.peer, ECHO_PATH("Unary"), NULL);
	h2_peer_write(&f.peer, id, bytes_of("\0\0\0\0\5ab", 7), true);
	h2_peer_exchange(&f.peer);
	assert_status(h2_peer_stream(&f.peer, id), STATUS_UNKNOWN, "unexpected EOF");

	id = h2_peer_call(&f.peer, ECHO_PATH("Unary"), NULL);
	h2_peer_message(&f.peer, id, BYTES_LITERAL("one"), false);
	h2_peer_message(&f.peer, id, BYTES_LITERAL("two"), true);
	h2_peer_exchange(&f.peer);
	assert_status(h2_peer_stream(&f.peer, id), STATUS_OK, "");
	assert_text(only_message(&f, id), "one");
	h2_fixture_close(&f);
}

/* --- streams --- */

static void test_client_stream(void **unused)
{
	struct h2_fixture f;
	int32_t id;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	id = h2_peer_call(&f.peer, ECHO_PATH("Client"), NULL);
	for (int i = 0; i < 100; i++)
		h2_peer_message(&f.peer, id, BYTES_LITERAL("0123456789"), i == 99);
	h2_peer_exchange(&f.peer);
	assert_status(h2_peer_stream(&f.peer, id), STATUS_OK, "");
	assert_text(only_message(&f, id), "1000");
	assert_int_equal(f.log.messages, 100);
	assert_int_equal(f.log.half_closes, 1);
	h2_fixture_close(&f);
}

static void test_server_stream(void **unused)
{
	struct h2_fixture f;
	struct bytes message;
	size_t offset = 0, count = 0;
	int32_t id;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	id = h2_peer_call(&f.peer, ECHO_PATH("Server"), NULL);
	h2_peer_message(&f.peer, id, BYTES_LITERAL("300"), false);
	h2_peer_exchange(&f.peer);
	assert_int_equal(f.log.messages, 0); /* waits for the half close */
	h2_peer_write(&f.peer, id, bytes_of("", 0), true);
	h2_peer_exchange(&f.peer);
	assert_status(h2_peer_stream(&f.peer, id), STATUS_OK, "");
	while (h2_peer_next(&f.peer, id, &offset, &message)) {
		assert_int_equal(message.size, 1000);
		assert_true(h2_is_pattern(message));
		count++;
	}
	assert_int_equal(count, 300);
	assert_int_equal(f.log.hook_sent, 300);

	id = h2_peer_call(&f.peer, ECHO_PATH("Server"), NULL);
	h2_peer_write(&f.peer, id, bytes_of("", 0), true);
	h2_peer_exchange(&f.peer);
	assert_status(h2_peer_stream(&f.peer, id), STATUS_INTERNAL,
		      "cardinality violation: received no request message from "
		      "non-client-streaming RPC");

	id = h2_peer_call(&f.peer, ECHO_PATH("Server"), NULL);
	h2_peer_message(&f.peer, id, BYTES_LITERAL("1"), false);
	h2_peer_message(&f.peer, id, BYTES_LITERAL("1"), true);
	h2_peer_exchange(&f.peer);
	assert_status(h2_peer_stream(&f.peer, id), STATUS_INTERNAL,
		      "cardinality violation: received multiple request messages for "
		      "non-client-streaming RPC");
	h2_fixture_close(&f);
}

static void test_bidi(void **unused)
{
	struct h2_fixture f;
	struct bytes message;
	size_t offset = 0;
	int32_t id;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	id = h2_peer_call(&f.peer, ECHO_PATH("Bidi"), NULL);
	h2_peer_exchange(&f.peer);
	assert_int_equal(f.log.opened, 1);
	for (int i = 0; i < 50; i++) {
		char text[32];

		snprintf(text, sizeof text, "ping %d", i);
		h2_peer_message(&f.peer, id, bytes_of_string(text), false);
		h2_peer_exchange(&f.peer);
		assert_true(h2_peer_next(&f.peer, id, &offset, &message));
		assert_text(message, text);
	}
	assert_false(h2_peer_stream(&f.peer, id)->is_ended);
	h2_peer_write(&f.peer, id, bytes_of("\0\0\0\0\1", 5), true); /* no more than a prefix */
	h2_peer_exchange(&f.peer);
	assert_status(h2_peer_stream(&f.peer, id), STATUS_INTERNAL, "unexpected EOF");

	id = h2_peer_call(&f.peer, ECHO_PATH("Bidi"), NULL);
	h2_peer_write(&f.peer, id, bytes_of("", 0), true);
	h2_peer_exchange(&f.peer);
	assert_status(h2_peer_stream(&f.peer, id), STATUS_OK, "");
	assert_int_equal(f.log.half_closes, 1);
	assert_int_equal(f.log.ends, 2);
	h2_fixture_close(&f);
}

/* Watch keeps serving after the client's half close. */
static void test_send_after_half_close(void **unused)
{
	struct h2_fixture f;
	int32_t id;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	id = h2_peer_call(&f.peer, ECHO_PATH("Watch"), NULL);
	h2_peer_write(&f.peer, id, bytes_of("", 0), true);
	h2_peer_exchange(&f.peer);
	assert_int_equal(f.log.half_closes, 1);
	assert_false(call_is_ended(f.log.last_call));
	h2_send_pattern(f.log.last_call, 10);
	h2_send_pattern(f.log.last_call, 20);
	assert_int_equal(f.wants_send, 1); /* told once */
	h2_peer_exchange(&f.peer);
	assert_int_equal(h2_peer_stream(&f.peer, id)->data.size, 10 + 20 + 2 * 5);
	assert_int_equal(h2_peer_stream(&f.peer, id)->data_frames, 1);
	h2_send_pattern(f.log.last_call, 1);
	assert_int_equal(f.wants_send, 2);
	h2_peer_exchange(&f.peer);
	call_finish(f.log.last_call, STATUS_CANCELLED, "bye \xc3\xa9%\n");
	assert_true(call_is_ended(f.log.last_call));
	assert_int_equal(f.log.ends, 0); /* not inside call_finish() */
	assert_int_equal(f.wants_send, 3);
	h2_peer_exchange(&f.peer);
	assert_int_equal(f.log.ends, 1);
	assert_status(h2_peer_stream(&f.peer, id), STATUS_CANCELLED, "bye %C3%A9%25%0A");
	h2_fixture_close(&f);
}

/* --- flow control --- */

static void open_window(struct h2_fixture *f, int32_t id, size_t size)
{
	nghttp2_session_consume(f->peer.ng, id, size);
	h2_peer_exchange(&f->peer);
}

static void test_full_and_writable(void **unused)
{
	const struct h2_peer_options options = {.is_stingy = true};
	struct h2_fixture f;
	int32_t id;

	(void)unused;
	h2_fixture_open(&f, &options, NULL);
	id = h2_peer_call(&f.peer, ECHO_PATH("Watch"), NULL);
	h2_peer_exchange(&f.peer);
	for (int i = 0; !call_is_full(f.log.last_call); i++) {
		assert_true(i < 10);
		h2_send_pattern(f.log.last_call, 50000);
	}
	assert_int_equal(call_unsent_bytes(f.log.last_call), 6 * 50005);
	h2_peer_exchange(&f.peer);
	/* The peer's window is what went out. */
	assert_int_equal(h2_peer_stream(&f.peer, id)->data.size, 65535);
	assert_int_equal(call_unsent_bytes(f.log.last_call), 6 * 50005 - 65535);
	assert_int_equal(f.log.writables, 0);
	for (int i = 0; i < 6; i++)
		open_window(&f, id, h2_peer_stream(&f.peer, id)->data.size - (size_t)i * 65535);
	assert_int_equal(call_unsent_bytes(f.log.last_call), 0);
	assert_int_equal(f.log.writables, 1);
	h2_fixture_close(&f);
}

/* One stream's closed window does not hold up the connection's others. */
static void test_slow_stream_alone(void **unused)
{
	const struct h2_peer_options options = {.stream_window = 1000};
	struct h2_fixture f;
	int32_t slow;

	(void)unused;
	h2_fixture_open(&f, &options, NULL);
	f.peer.is_greedy = false;
	slow = h2_peer_call(&f.peer, ECHO_PATH("Watch"), NULL);
	h2_peer_exchange(&f.peer);
	h2_send_pattern(f.log.last_call, 100000);
	h2_peer_exchange(&f.peer);
	assert_int_equal(h2_peer_stream(&f.peer, slow)->data.size, 1000);
	for (int i = 0; i < 30; i++)
		assert_status(h2_fixture_unary(&f, "quick"), STATUS_OK, "");
	/* Reset by the client: what was queued is dropped. */
	nghttp2_submit_rst_stream(f.peer.ng, 0, slow, NGHTTP2_CANCEL);
	h2_peer_exchange(&f.peer);
	assert_int_equal(f.log.ends, 31);
	assert_int_equal(f.log.last_status, STATUS_CANCELLED);
	assert_int_equal(h2_call_count(f.session), 0);
	h2_fixture_close(&f);
}

/* A client that asks without reading is not answered beyond the bound, and served when it reads. */
static void test_input_waits_while_full(void **unused)
{
	const struct h2_peer_options options = {.is_stingy = true};
	struct buffer part = h2_pattern(100000);
	struct h2_fixture f;
	struct bytes message;
	size_t offset = 0, seen = 0, count = 0;
	int32_t id;

	(void)unused;
	h2_fixture_open(&f, &options, NULL);
	id = h2_peer_call(&f.peer, ECHO_PATH("Bidi"), NULL);
	for (int i = 0; i < 40; i++)
		h2_peer_message(&f.peer, id, buffer_bytes(&part), i == 39);
	h2_peer_exchange(&f.peer);
	assert_true(f.log.messages < 10);
	assert_in_range(call_unsent_bytes(f.log.last_call), CALL_SEND_LOW_BYTES,
			CALL_SEND_HIGH_BYTES + 100005);
	for (int i = 0; i < 500 && !h2_peer_stream(&f.peer, id)->is_ended; i++) {
		size_t size = h2_peer_stream(&f.peer, id)->data.size;

		open_window(&f, id, size - seen);
		seen = size;
	}
	while (h2_peer_next(&f.peer, id, &offset, &message))
		count += h2_is_pattern(message);
	assert_int_equal(count, 40);
	assert_status(h2_peer_stream(&f.peer, id), STATUS_OK, "");
	buffer_fini(&part);
	h2_fixture_close(&f);
}

/* --- sources --- */

static void test_source(void **unused)
{
	struct h2_fixture f;
	struct peer_stream *stream;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	stream = h2_fixture_unary(&f, "source 10000000");
	assert_status(stream, STATUS_OK, "");
	assert_int_equal(only_message(&f, stream->id).size, 10000000);
	assert_true(h2_is_pattern(only_message(&f, stream->id)));
	assert_int_equal(f.log.sources_closed, 1);
	assert_int_equal(f.log.source_slice_max, SOURCE_SLICE_BYTES);
	assert_int_equal(f.log.ends, 1);
	stream = h2_fixture_unary(&f, "source 0");
	assert_status(stream, STATUS_OK, "");
	assert_int_equal(stream->data.size, 5);
	stream = h2_fixture_unary(&f, "source 1");
	assert_int_equal(stream->data.size, 6);
	assert_int_equal(f.log.sources_closed, 3);
	h2_fixture_close(&f);
}

/* Nothing is produced ahead of the peer's window but the slice under way. */
static void test_source_waits_for_window(void **unused)
{
	const struct h2_peer_options options = {.is_stingy = true};
	struct h2_fixture f;
	struct peer_stream *stream;

	(void)unused;
	h2_fixture_open(&f, &options, NULL);
	stream = h2_fixture_unary(&f, "source 10000000");
	assert_int_equal(f.log.source_slices, 1);
	assert_int_equal(f.log.ends, 0);
	open_window(&f, stream->id, 65535);
	assert_int_equal(f.log.source_slices, 1);
	open_window(&f, stream->id, 65535);
	assert_int_equal(f.log.source_slices, 2);
	nghttp2_submit_rst_stream(f.peer.ng, 0, stream->id, NGHTTP2_CANCEL);
	h2_peer_exchange(&f.peer);
	assert_int_equal(f.log.sources_closed, 1);
	assert_int_equal(f.log.ends, 1);
	/* The connection lost in the middle of another. */
	h2_fixture_unary(&f, "source 10000000");
	h2_fixture_close(&f);
	assert_int_equal(f.log.sources_closed, 2);
}

static void test_source_fails(void **unused)
{
	struct h2_fixture f;
	struct peer_stream *stream;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	stream = h2_fixture_unary(&f, "badsource 1000000");
	assert_true(stream->is_closed);
	assert_false(stream->is_ended);
	assert_int_equal(stream->error_code, NGHTTP2_INTERNAL_ERROR);
	assert_int_equal(f.log.sources_closed, 1);
	assert_int_equal(f.log.last_status, STATUS_DATA_LOSS);
	assert_status(h2_fixture_unary(&f, "still here"), STATUS_OK, "");
	h2_fixture_close(&f);
}

/* --- ends --- */

static void test_cancel(void **unused)
{
	struct h2_fixture f;
	struct peer_stream *stream;
	struct call *call;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	stream = h2_fixture_unary(&f, "silent");
	call = f.log.last_call;
	call_hold(call);
	assert_false(stream->is_ended);
	nghttp2_submit_rst_stream(f.peer.ng, 0, stream->id, NGHTTP2_CANCEL);
	h2_peer_exchange(&f.peer);
	assert_int_equal(f.log.ends, 1);
	assert_int_equal(f.log.last_status, STATUS_CANCELLED);
	/* Held: state, request and arena are still there; sending does nothing. */
	assert_true(call_is_ended(call));
	assert_text(f.log.last_unary, "silent");
	assert_non_null(arena_alloc(call_arena(call), 10));
	h2_send_pattern(call, 10);
	call_fail(call, ERR_COMPACTED);
	call_reply_source(call, 10, &(struct call_source){0});
	h2_peer_exchange(&f.peer);
	assert_int_equal(f.log.ends, 1);
	call_release(call);
	h2_fixture_close(&f);
}

static void test_connection_lost(void **unused)
{
	struct h2_fixture f;
	struct call *call;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	h2_fixture_unary(&f, "silent");
	call = f.log.last_call;
	call_hold(call);
	h2_peer_call(&f.peer, ECHO_PATH("Watch"), NULL);
	h2_peer_exchange(&f.peer);
	assert_int_equal(h2_call_count(f.session), 2);
	h2_fixture_close(&f);
	assert_int_equal(f.log.ends, 2);
	assert_true(call_is_ended(call));
	assert_string_equal(call_peer(call).address, "");
	h2_send_pattern(call, 10);
	call_reply_source(call, 10, &(struct call_source){0});
	call_release(call);
}

static void test_deadline(void **unused)
{
	const struct peer_header timeout[] = {{"grpc-timeout", "1999m"}, {NULL, NULL}};
	struct h2_fixture f;
	int32_t id, stream_id;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	assert_int_equal(h2_next_tick_ns(f.session), INT64_MAX);
	id = h2_peer_call(&f.peer, ECHO_PATH("Unary"), timeout);
	h2_peer_message(&f.peer, id, BYTES_LITERAL("silent"), true);
	stream_id = h2_peer_call(&f.peer, ECHO_PATH("Watch"), timeout);
	h2_peer_exchange(&f.peer);
	h2_send_pattern(f.log.last_call, 10);
	h2_peer_exchange(&f.peer);
	assert_int_equal(h2_next_tick_ns(f.session), f.now_ns + 1999 * NS_PER_MS);
	f.now_ns += 1998 * NS_PER_MS;
	h2_tick(f.session, f.now_ns);
	h2_peer_exchange(&f.peer);
	assert_int_equal(f.log.ends, 0);
	f.now_ns += NS_PER_MS;
	assert_int_equal(h2_tick(f.session, f.now_ns), INT64_MAX);
	h2_peer_exchange(&f.peer);
	assert_status(h2_peer_stream(&f.peer, id), STATUS_DEADLINE_EXCEEDED,
		      "context deadline exceeded");
	assert_status(h2_peer_stream(&f.peer, stream_id), STATUS_DEADLINE_EXCEEDED,
		      "context deadline exceeded");
	assert_int_equal(f.log.ends, 2);
	assert_int_equal(f.log.last_status, STATUS_DEADLINE_EXCEEDED);
	assert_int_equal(f.log.last_took_ns, 1999 * NS_PER_MS);
	h2_fixture_close(&f);
}

/* An answer that is stuck behind the peer's window is reset when its time is up. */
static void test_deadline_with_unsent(void **unused)
{
	const struct peer_header timeout[] = {{"grpc-timeout", "1S"}, {NULL, NULL}};
	const struct h2_peer_options options = {.is_stingy = true};
	struct h2_fixture f;
	int32_t ids[2];

	(void)unused;
	h2_fixture_open(&f, &options, NULL);
	ids[0] = h2_peer_call(&f.peer, ECHO_PATH("Unary"), timeout);
	h2_peer_message(&f.peer, ids[0], BYTES_LITERAL("big 1000000"), true);
	ids[1] = h2_peer_call(&f.peer, ECHO_PATH("Unary"), timeout);
	h2_peer_message(&f.peer, ids[1], BYTES_LITERAL("source 1000000"), true);
	h2_peer_exchange(&f.peer);
	assert_int_equal(h2_call_count(f.session), 2);
	f.now_ns += NS_PER_SECOND;
	h2_tick(f.session, f.now_ns);
	h2_peer_exchange(&f.peer);
	for (int i = 0; i < 2; i++) {
		assert_true(h2_peer_stream(&f.peer, ids[i])->is_closed);
		assert_int_equal(h2_peer_stream(&f.peer, ids[i])->error_code, NGHTTP2_CANCEL);
	}
	assert_int_equal(h2_call_count(f.session), 0);
	assert_int_equal(f.log.sources_closed, 1);
	h2_fixture_close(&f);
}

/* --- what a handler can ask --- */

static void test_context(void **unused)
{
	const struct peer_header more[] = {
		{"authorization", "token"}, {"x-first", "1"}, {"x-first", "2"}, {NULL, NULL}};
	struct h2_fixture f;
	struct call *call;

	(void)unused;
	h2_fixture_open(&f, NULL, NULL);
	h2_peer_call(&f.peer, ECHO_PATH("Watch"), more);
	h2_peer_exchange(&f.peer);
	call = f.log.last_call;
	assert_string_equal(call_metadata(call, "authorization"), "token");
	assert_string_equal(call_metadata(call, "Authorization"), "token");
	assert_string_equal(call_metadata(call, "x-first"), "1");
	assert_null(call_metadata(call, "x-second"));
	assert_null(call_metadata(call, "te"));
	assert_string_equal(call_peer(call).address, "192.0.2.1:999");
	assert_string_equal(call_peer(call).common_name, "tester");
	assert_string_equal(call_method(call)->name, "Watch");
	assert_ptr_equal(call_context(call), &f);
	for (size_t i = 0; i < 5000; i++) {
		assert_int_equal(((char *)call_state(call))[i], 0);
		((char *)call_state(call))[i] = 1;
	}
	h2_fixture_close(&f);
}

static void test_many_headers(void **unused)
{
	struct peer_header more[101] = {{NULL, NULL}};
	char names[100][16];
	struct h2_fixture f;

	(void)unused;
	for (size_t i = 0; i < 100; i++) {
		snprintf(names[i], sizeof names[i], "x-%zu", i);
		more[i] = (struct peer_header){names[i], names[i]};
	}
	h2_fixture_open(&f, NULL, NULL);
	h2_peer_call(&f.peer, ECHO_PATH("Watch"), more);
	h2_peer_exchange(&f.peer);
	for (size_t i = 0; i < 100; i++)
		assert_string_equal(call_metadata(f.log.last_call, names[i]), names[i]);
	h2_fixture_close(&f);
}

/* --- from other threads --- */

static void answer_posted(struct call *call)
{
	struct buffer answer = BUFFER_INIT(64);

	buffer_append_format(&answer, "from afar");
	call_reply(call, &answer);
	call_release(call);
}

static void *post_from_thread(void *call)
{
	call_post(call, answer_posted);
	return NULL;
}

static void start_loop(struct h2_fixture *f)
{
	enum err e = loop_new(&f->config.loop);

	assert_int_equal(e, ERR_OK);
}

static void test_post(void **unused)
{
	struct h2_fixture f;
	struct peer_stream *stream;
	pthread_t thread;

	(void)unused;
	h2_fixture_open(&f, NULL, start_loop);
	stream = h2_fixture_unary(&f, "silent");
	assert_ptr_equal(call_loop(f.log.last_call), f.config.loop);
	call_hold(f.log.last_call);
	assert_int_equal(pthread_create(&thread, NULL, post_from_thread, f.log.last_call), 0);
	pthread_join(thread, NULL);
	for (int turns = 0; !f.wants_send && turns < 100; turns++)
		loop_turn(f.config.loop);
	assert_int_equal(f.wants_send, 1);
	h2_peer_exchange(&f.peer);
	assert_status(stream, STATUS_OK, "");
	assert_text(only_message(&f, stream->id), "from afar");
	h2_fixture_close(&f);
	loop_free(f.config.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unary_echo),
		cmocka_unit_test(test_unary_empty),
		cmocka_unit_test(test_unary_error_is_trailers_only),
		cmocka_unit_test(test_unary_big_both_ways),
		cmocka_unit_test(test_unary_in_single_bytes),
		cmocka_unit_test(test_unary_wrong_number_of_messages),
		cmocka_unit_test(test_client_stream),
		cmocka_unit_test(test_server_stream),
		cmocka_unit_test(test_bidi),
		cmocka_unit_test(test_send_after_half_close),
		cmocka_unit_test(test_full_and_writable),
		cmocka_unit_test(test_slow_stream_alone),
		cmocka_unit_test(test_input_waits_while_full),
		cmocka_unit_test(test_source),
		cmocka_unit_test(test_source_waits_for_window),
		cmocka_unit_test(test_source_fails),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_connection_lost),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_deadline_with_unsent),
		cmocka_unit_test(test_context),
		cmocka_unit_test(test_many_headers),
		cmocka_unit_test(test_post),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
