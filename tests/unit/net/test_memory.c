/* SPDX-License-Identifier: Apache-2.0 */
/* The bounds of what calls hold (shim/net/memory.h), and the turns that connections take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shim/base/limits.h"
#include "tests/harness/h2_echo.h"

#define ROOM (32 * (size_t)MIB)
#define BIG (2 * (size_t)MIB)

static struct net_memory memory;

static void with_memory(struct h2_fixture *f)
{
	f->server.memory = &memory;
}

static void open_two(struct h2_fixture *first, struct h2_fixture *second,
		     const struct h2_peer_options *options)
{
	net_memory_init(&memory, ROOM);
	h2_fixture_open(first, options, with_memory);
	h2_fixture_open(second, options, with_memory);
}

/* Begins a big message and sends so much of it, as far as there is credit. */
static int32_t begin(struct h2_fixture *f, size_t size)
{
	static uint8_t raw[BIG + 5] = {0, BIG >> 24, BIG >> 16 & 0xff, BIG >> 8 & 0xff, BIG & 0xff};
	int32_t id = h2_peer_call(&f->peer, ECHO_PATH("Unary"), NULL);

	h2_peer_write(&f->peer, id, bytes_of(raw, size), false);
	h2_peer_exchange(&f->peer);
	return id;
}

/* All but the last byte. */
static int32_t begin_big(struct h2_fixture *f)
{
	return begin(f, BIG + 4);
}

static void finish_big(struct h2_fixture *f, int32_t id)
{
	h2_peer_write(&f->peer, id, BYTES_LITERAL("x"), true);
	h2_peer_exchange(&f->peer);
}

static size_t received_of(struct h2_fixture *f, int32_t id)
{
	return h2_peer_stream(&f->peer, id)->upload_sent;
}

static void tick(struct h2_fixture *f, int64_t after_ns)
{
	f->now_ns += after_ns;
	h2_tick(f->session, f->now_ns);
}

/* M1: the eighth of these does not fit into half of the room; it comes in when another has gone. */
static void test_a_big_message_waits_for_room(void **unused)
{
	struct h2_fixture f, other;
	int32_t first, late = 0;

	(void)unused;
	open_two(&f, &other, NULL);
	first = begin_big(&f);
	for (size_t i = 1; i < ROOM / 2 / BIG; i++)
		late = begin_big(&f);
	assert_int_equal(received_of(&f, first), BIG + 4);
	assert_in_range(received_of(&f, late), 1, H2_STREAM_WINDOW_BYTES);
	/* A small request has no need to wait, nor has a later one of somebody else. */
	assert_int_equal(h2_fixture_unary(&other, "small")->grpc_status, STATUS_OK);
	finish_big(&f, first);
	h2_peer_exchange(&f.peer);
	assert_int_equal(h2_peer_stream(&f.peer, first)->grpc_status, STATUS_OK);
	assert_int_equal(received_of(&f, late), BIG + 4);
	finish_big(&f, late);
	assert_int_equal(h2_peer_stream(&f.peer, late)->grpc_status, STATUS_OK);
	assert_int_equal(memory.closed + memory.refused, 0);
	h2_fixture_close(&f);
	h2_fixture_close(&other);
	assert_int_equal(memory.used_bytes, 0);
}

/* Connections take turns: one with many that wait does not keep out one with a single message. */
static void test_connections_take_turns(void **unused)
{
	struct h2_fixture f, other;
	int32_t ids[16], mine;

	(void)unused;
	open_two(&f, &other, NULL);
	for (size_t i = 0; i < 16; i++)
		ids[i] = begin_big(&f);
	mine = begin_big(&other);
	assert_in_range(received_of(&other, mine), 1, H2_STREAM_WINDOW_BYTES);
	/* What waits counts as well, so that three must go before two may come. */
	for (size_t i = 0; i < 3; i++)
		finish_big(&f, ids[i]);
	h2_peer_exchange(&other.peer);
	assert_int_equal(received_of(&other, mine), BIG + 4);
	assert_in_range(received_of(&f, ids[15]), 1, H2_STREAM_WINDOW_BYTES);
	h2_fixture_close(&f);
	h2_fixture_close(&other);
}

/* M2: who neither sends nor reads while somebody waits loses its connection. */
static void test_a_stalled_connection_is_closed(void **unused)
{
	struct h2_fixture rude, honest;
	int32_t id;

	(void)unused;
	open_two(&rude, &honest, NULL);
	for (size_t i = 0; i < ROOM / BIG; i++)
		begin_big(&rude);
	honest.now_ns = rude.now_ns += NET_STALL_NS;
	id = begin_big(&honest);
	tick(&honest, NET_STALL_NS - 1);
	assert_false(h2_is_dead(rude.session));
	tick(&honest, 1);
	assert_true(h2_is_dead(rude.session));
	assert_true(rude.wants_send > 0);
	assert_false(h2_is_dead(honest.session));
	h2_session_free(rude.session);
	rude.session = NULL;
	h2_peer_exchange(&honest.peer);
	assert_int_equal(received_of(&honest, id), BIG + 4);
	h2_fixture_close(&rude);
	h2_fixture_close(&honest);
}

/* M2: while all others get on, the one that waits is told so in the end. */
static void test_a_long_wait_is_refused(void **unused)
{
	struct h2_fixture busy, late;
	int32_t ids[ROOM / 2 / BIG], id;

	(void)unused;
	open_two(&busy, &late, NULL);
	for (size_t i = 0; i < ROOM / 2 / BIG; i++)
		ids[i] = begin(&busy, 1000);
	id = begin_big(&late);
	for (int64_t waited_ns = 0; waited_ns < NET_WAIT_NS; waited_ns += NET_STALL_NS / 2) {
		assert_int_equal(h2_peer_stream(&late.peer, id)->grpc_status, -1);
		busy.now_ns = late.now_ns + NET_STALL_NS / 2;
		for (size_t i = 0; i < ROOM / 2 / BIG; i++)
			h2_peer_write(&busy.peer, ids[i], BYTES_LITERAL("x"), false);
		h2_peer_exchange(&busy.peer);
		tick(&late, NET_STALL_NS / 2);
	}
	h2_peer_exchange(&late.peer);
	assert_int_equal(h2_peer_stream(&late.peer, id)->grpc_status,
			 err_status(ERR_TOO_MANY_REQUESTS));
	assert_string_equal(h2_peer_stream(&late.peer, id)->grpc_message,
			    err_text(ERR_TOO_MANY_REQUESTS));
	assert_int_equal(memory.refused, 1);
	assert_int_equal(memory.closed, 0);
	h2_fixture_close(&busy);
	h2_fixture_close(&late);
}

/* M3: answers that nobody takes; who holds most goes, and only that one. */
static void test_the_largest_is_closed_when_all_is_used(void **unused)
{
	const struct h2_peer_options stingy = {.is_stingy = true};
	struct h2_fixture small, large;

	(void)unused;
	open_two(&small, &large, &stingy);
	h2_fixture_unary(&small, "big 9000000");
	h2_fixture_unary(&large, "big 12000000");
	assert_false(h2_is_dead(small.session) || h2_is_dead(large.session));
	h2_fixture_unary(&small, "big 2000000");
	h2_fixture_unary(&large, "big 2000000");
	assert_false(h2_is_dead(small.session) || h2_is_dead(large.session));
	h2_fixture_unary(&small, "big 9000000");
	assert_false(h2_is_dead(large.session) && h2_is_dead(small.session));
	assert_true(h2_is_dead(small.session));
	assert_int_equal(memory.closed, 1);
	h2_fixture_close(&small);
	assert_in_range(memory.used_bytes, 13800000, 14500000);
	h2_fixture_close(&large);
	assert_int_equal(memory.used_bytes, 0);
}

/* What a lost connection's calls hold counts until whoever works on them lets go. */
static void test_orphans_are_counted(void **unused)
{
	struct h2_fixture f, other;
	struct call *call;

	(void)unused;
	open_two(&f, &other, NULL);
	h2_fixture_unary(&f, "silent");
	call = f.log.last_call;
	call_hold(call);
	call_set_held(call, 5 * MIB);
	h2_fixture_close(&f);
	assert_in_range(memory.used_bytes, 5 * MIB, 6 * MIB);
	call_release(call);
	assert_int_equal(memory.used_bytes, 0);
	h2_fixture_close(&other);
}

/* --- turns --- */

static int64_t busy_now(void *context)
{
	return ((struct h2_fixture *)context)->now_ns += NS_PER_MS;
}

static void with_time_that_passes(struct h2_fixture *f)
{
	f->clock.monotonic_ns = busy_now;
	f->clock.wall_ns = busy_now;
}

static void test_a_burst_of_requests_is_served_in_turns(void **unused)
{
	struct h2_fixture f;
	unsigned served = 0, turns = 0;

	(void)unused;
	h2_fixture_open(&f, NULL, with_time_that_passes);
	for (int i = 0; i < 100; i++) {
		int32_t id = h2_peer_call(&f.peer, ECHO_PATH("Unary"), NULL);

		h2_peer_message(&f.peer, id, BYTES_LITERAL("hello"), true);
	}
	f.wants_send = 0;
	while (f.log.messages < 100) {
		h2_peer_turn(&f.peer);
		/* One turn for what came, one for what was left. */
		assert_in_range(f.log.messages - served, 1, 2 * H2_TURN_NS / NS_PER_MS);
		served = f.log.messages;
		turns++;
		/* It asks for the next turn by itself. */
		assert_true(served == 100 || f.wants_send == turns);
	}
	h2_peer_exchange(&f.peer);
	assert_int_equal(f.log.ends, 100);
	h2_fixture_close(&f);
}

/* A call that is cancelled while it waits for its turn never gets one. */
static void test_a_call_may_end_before_its_turn(void **unused)
{
	const struct h2_peer_options stingy = {.is_stingy = true};
	struct h2_fixture f;
	int32_t id;

	(void)unused;
	h2_fixture_open(&f, &stingy, NULL);
	h2_fixture_unary(&f, "big 17000000");
	id = h2_fixture_unary(&f, "late")->id;
	assert_int_equal(f.log.messages, 1);
	nghttp2_submit_rst_stream(f.peer.ng, 0, id, NGHTTP2_CANCEL);
	nghttp2_submit_rst_stream(f.peer.ng, 0, 1, NGHTTP2_CANCEL);
	h2_peer_exchange(&f.peer);
	assert_int_equal(f.log.messages, 1);
	assert_int_equal(f.log.ends, 2);
	h2_fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_big_message_waits_for_room),
		cmocka_unit_test(test_connections_take_turns),
		cmocka_unit_test(test_a_stalled_connection_is_closed),
		cmocka_unit_test(test_a_long_wait_is_refused),
		cmocka_unit_test(test_the_largest_is_closed_when_all_is_used),
		cmocka_unit_test(test_orphans_are_counted),
		cmocka_unit_test(test_a_burst_of_requests_is_served_in_turns),
		cmocka_unit_test(test_a_call_may_end_before_its_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
