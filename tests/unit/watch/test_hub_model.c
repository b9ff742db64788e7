/* SPDX-License-Identifier: Apache-2.0 */
/* The hub against a recorded history: whatever writers, watchers, slow readers, cancels and
 * compactions do, every stream keeps the invariants H1 to H4 of hub.h.
 *
 * What a stream hears is checked against the record as it comes: `heard` is the revision up to
 * which a watcher has been given all that matches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "hub_peers.h"

/* --- chance ----------------------------------------------------------------------------------- */

static unsigned below(struct chance *chance, unsigned bound)
{
	chance->state ^= chance->state << 13;
	chance->state ^= chance->state >> 7;
	chance->state ^= chance->state << 17;
	return (unsigned)(chance->state >> 33) % bound;
}

#define PEERS 5

static void run_seed(uint64_t seed)
{
	static struct peer peers[PEERS];
	int64_t now_ns = 0;
	struct clock clock = {jumping_now_ns, jumping_now_ns, &now_ns};
	struct chance chance = {seed * UINT64_C(0xd1342543de82ef95) | 1};
	struct hub_stats stats;
	struct hub *hub;

	fake_init();
	fake.batch_bytes = 1 + (size_t)below(&chance, 4) * (WATCH_OUTBOX_BYTES_MAX / 8);
	fake.rows_max = 1 + below(&chance, 20);
	assert_int_equal(hub_new(&fake, &hub), ERR_OK);
	hub_set_clock(hub, &clock);
	for (size_t i = 0; i < PEERS; i++)
		peer_open(&peers[i], hub, seed * PEERS + i);
	for (unsigned step = 0; step < 1500; step++) {
		if (below(&chance, 4) == 0)
			writer_commit(hub, &chance);
		else if (below(&chance, 60) == 0)
			writer_compact(hub, &chance);
		else
			peer_act(&peers[below(&chance, PEERS)]);
	}
	for (size_t i = 0; i < PEERS; i++) {
		if (i)
			peer_finish(
				&peers[i]); /* the first one is closed in the middle of things */
		hub_stream_close(peers[i].stream);
	}
	hub_stats(hub, &stats);
	assert_int_equal(stats.streams | stats.watchers | stats.slow_watchers, 0);
	assert_int_equal(stats.pending_events | stats.pending_bytes, 0);
	hub_free(hub);
	fake_fini();
}

static uint64_t first_seed(void)
{
	const char *text = getenv("KEDGE_SEED");

	return text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
}

static void test_random_streams_keep_the_invariants(void **state)
{
	uint64_t seed = first_seed();

	(void)state;
	print_message("KEDGE_SEED=%llu\n", (unsigned long long)seed);
	for (uint64_t i = 0; i < 100; i++)
		run_seed(seed + i);
}

/* --- and with threads ------------------------------------------------------------------------- */

#define COMMITS 3000

struct shared {
	struct hub *hub;
	atomic_bool is_done;
};

static void *writer_main(void *context)
{
	struct shared *shared = context;
	struct chance chance = {777};

	for (unsigned i = 0; i < COMMITS; i++) {
		writer_commit(shared->hub, &chance);
		if (below(&chance, 300) == 0)
			writer_compact(shared->hub, &chance);
		if (i % 16 == 0)
			usleep(50);
	}
	atomic_store(&shared->is_done, true);
	return NULL;
}

struct owner {
	struct shared *shared;
	struct peer peers[2];
};

static void *owner_main(void *context)
{
	struct owner *owner = context;

	while (!atomic_load(&owner->shared->is_done)) {
		struct peer *peer = &owner->peers[below(&owner->peers[0].chance, 2)];

		if (atomic_exchange(&peer->ready, false))
			peer_read(peer, 20);
		peer_act(peer);
	}
	for (size_t i = 0; i < 2; i++) {
		peer_finish(&owner->peers[i]);
		assert_true(owner->peers[i].events > 0);
		hub_stream_close(owner->peers[i].stream);
	}
	return NULL;
}

static void test_a_writer_and_two_owners_on_threads(void **state)
{
	static struct owner owners[2];
	struct shared shared = {0};
	pthread_t threads[3];

	(void)state;
	fake_init();
	fake.batch_bytes = WATCH_OUTBOX_BYTES_MAX / 64;
	assert_int_equal(hub_new(&fake, &shared.hub), ERR_OK);
	for (size_t i = 0; i < 2; i++) {
		owners[i].shared = &shared;
		peer_open(&owners[i].peers[0], shared.hub, 10 + i);
		peer_open(&owners[i].peers[1], shared.hub, 20 + i);
		pthread_create(&threads[i], NULL, owner_main, &owners[i]);
	}
	pthread_create(&threads[2], NULL, writer_main, &shared);
	for (size_t i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	for (size_t i = 0; i < 4; i++) {
		const struct peer *peer = &owners[i / 2].peers[i % 2];

		print_message("%llu events, %llu progress answers, %llu overtaken\n",
			      (unsigned long long)peer->events,
			      (unsigned long long)peer->progresses,
			      (unsigned long long)peer->overtakes);
	}
	hub_free(shared.hub);
	fake_fini();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_streams_keep_the_invariants),
		cmocka_unit_test(test_a_writer_and_two_owners_on_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
