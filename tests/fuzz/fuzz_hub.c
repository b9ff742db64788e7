/* SPDX-License-Identifier: Apache-2.0 */
/* The hub: a program of commits, compactions, creates, cancels, progress requests and reads by
 * several streams, against the recorded history of the unit tests.
 *
 * What must hold: the invariants H1 to H4 of hub.h, and at the end nothing is missing. */
#include "tests/fuzz/fuzz.h"

#define assert_true(holds) fuzz_must(holds)
#define assert_int_equal(a, b) fuzz_must((a) == (b))
#define assert_non_null(pointer) fuzz_must(pointer)

#include "tests/unit/watch/hub_peers.h"

#define PEERS 3

static struct fuzz_input program;

/* Every decision is the input's. */
static unsigned below(struct chance *chance, unsigned bound)
{
	(void)chance;
	return fuzz_below(&program, bound);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct peer peers[PEERS];
	int64_t now_ns = 0;
	struct clock clock = {jumping_now_ns, jumping_now_ns, &now_ns};
	struct chance chance = {0};
	struct hub_stats stats;
	struct hub *hub;

	program = fuzz_input_of(data, size);
	fake_init();
	fake.batch_bytes = 1 + (size_t)below(&chance, 4) * (WATCH_OUTBOX_BYTES_MAX / 8);
	fake.rows_max = 1 + below(&chance, 20);
	fuzz_must(!hub_new(&fake, &hub));
	hub_set_clock(hub, &clock);
	for (size_t i = 0; i < PEERS; i++)
		peer_open(&peers[i], hub, i);
	while (fuzz_more(&program)) {
		unsigned choice = fuzz_byte(&program);

		if (choice < 64)
			writer_commit(hub, &chance);
		else if (choice < 80)
			writer_compact(hub, &chance);
		else
			peer_act(&peers[choice % PEERS]);
	}
	for (size_t i = 0; i < PEERS; i++) {
		peer_finish(&peers[i]);
		hub_stream_close(peers[i].stream);
	}
	hub_stats(hub, &stats);
	fuzz_must(!(stats.streams | stats.watchers | stats.slow_watchers));
	fuzz_must(!(stats.pending_events | stats.pending_bytes));
	hub_free(hub);
	fake_fini();
	return 0;
}
