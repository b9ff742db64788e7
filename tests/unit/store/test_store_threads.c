/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_threads.c - readers, writers, a watcher and compactions at once; of use with
 * SAN=thread above all.
 *
 * Every transaction writes one value to both keys of a pair.  So whoever reads a pair at any one
 * revision must find both equal, whatever else goes on. */
#include "tests/harness/store_rig.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define WRITERS 3
#define READERS 3
#define WRITES 400
#define PAIRS 20

struct world {
	struct rig *rig;
	_Atomic bool stop;
	_Atomic int64_t committed; /* by on_commit */
	_Atomic uint64_t events;
	struct event_batch *kept[64]; /* a watcher that is late */
	size_t kept_count;
	int number;
};

static struct world shared;

/* Threads other than the test's must not use cmocka's assertions. */
static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "test_store_threads: %s\n", what);
	abort();
}

static void on_commit(void *context, const struct store_commit *commit)
{
	struct world *world = context;
	int64_t last = atomic_load(&world->committed);

	must(store_head(commit->store) < commit->head_revision, "published too early");
	store_commit_publish(commit);
	for (size_t i = 0; i < commit->batch_count; i++) {
		int64_t revision = event_batch_revision(commit->batches[i]);

		must(revision == last + 1, "a revision is missing");
		last = revision;
		atomic_fetch_add(&world->events, event_batch_count(commit->batches[i]));
		if (world->kept_count < 64 && revision % 7 == 0)
			world->kept[world->kept_count++] = event_batch_ref(commit->batches[i]);
	}
	must(last == commit->head_revision, "the head is not the last revision");
	atomic_store(&world->committed, last);
}

static void write_pair(struct rig *rig, unsigned pair, unsigned value)
{
	char first[16], second[16], text[16];
	struct request requests[2] = {{.kind = REQUEST_PUT}, {.kind = REQUEST_PUT}};
	struct op op = {.kind = OP_TXN};
	struct arena arena;

	snprintf(first, sizeof(first), "p%03ua", pair);
	snprintf(second, sizeof(second), "p%03ub", pair);
	snprintf(text, sizeof(text), "%u", value);
	requests[0].as.put = (struct put_op){
		.key = bytes_of_string(first), .value = bytes_of_string(text), .prev_kv = true};
	requests[1].as.put =
		(struct put_op){.key = bytes_of_string(second), .value = bytes_of_string(text)};
	arena_init(&arena, 1 << 20);
	op.arena = &arena;
	op.in.txn = (struct txn_op){.success = requests, .success_count = 2};
	must(!rig_do(rig, &op), "a transaction failed");
	must(store_head(rig->store) >= op.revision, "answered before it was published");
	arena_fini(&arena);
}

static void *writer(void *context)
{
	struct world *world = context;
	struct rig_random random = {(uint64_t)pthread_self()};

	for (unsigned i = 0; i < WRITES; i++)
		write_pair(world->rig, (unsigned)rig_random(&random, PAIRS),
			   (unsigned)rig_random(&random, 1000000));
	return NULL;
}

static void check_pairs(const struct range_result *result)
{
	must(result->kv_count % 2 == 0, "half a pair");
	must(result->count == (int64_t)result->kv_count, "wrong count");
	for (size_t i = 0; i < result->kv_count; i += 2) {
		const struct kv *a = &result->kvs[i], *b = &result->kvs[i + 1];

		must(bytes_equal(a->value, b->value), "a torn pair");
		must(a->mod_revision == b->mod_revision, "a torn revision");
		must(a->mod_revision <= result->revision, "newer than its header");
	}
}

static void read_history(struct world *world, struct store_reader *reader, int64_t from)
{
	struct history_op op = {.key = BYTES_LITERAL("p"),
				.end = BYTES_LITERAL("q"),
				.from = from,
				.to = store_head(world->rig->store),
				.rows_max = 50,
				.bytes_max = 1 << 20};
	struct event_batch *batches[50];
	size_t count;
	int64_t next;
	enum err e = store_history(reader, &op, batches, 50, &count, &next);

	must(!e || e == ERR_COMPACTED, "history failed");
	for (size_t i = 0; !e && i < count; i++) {
		struct kv prev;
		bool found;

		must(event_batch_count(batches[i]) == 2, "half a transaction");
		must(!event_prev(batches[i], 1, reader, &prev, &found), "prev failed");
		event_batch_unref(batches[i]);
	}
}

static void *reader(void *context)
{
	struct world *world = context;
	struct store_reader *mine;
	int64_t last = 0;

	must(!store_reader_new(world->rig->store, &mine), "no reader");
	for (int i = 0; !atomic_load(&world->stop); i++) {
		struct range_op op = {.key = BYTES_LITERAL("p"), .end = BYTES_LITERAL("q")};
		struct range_result result;
		struct range_cursor *cursor;
		struct arena arena;
		struct bytes value;

		arena_init(&arena, 1 << 24);
		must(!store_range(mine, &op, &arena, &result), "a range failed");
		must(result.revision >= last, "the head went back");
		last = result.revision;
		check_pairs(&result);
		op.revision = last - i % 50;
		if (op.revision > 0 && !store_range(mine, &op, &arena, &result))
			check_pairs(&result);
		op.revision = 0;
		must(!store_range_open(mine, &op, &cursor), "no cursor");
		sched_yield();
		for (size_t k = 0; k < store_range_head(cursor)->kv_count; k++)
			must(!store_range_value(cursor, k, &value), "no value");
		store_range_close(cursor);
		read_history(world, mine, last - 20 > 0 ? last - 20 : 1);
		arena_fini(&arena);
	}
	store_reader_free(mine);
	return NULL;
}

static void *compactor(void *context)
{
	struct world *world = context;
	struct store_stats stats;

	while (!atomic_load(&world->stop)) {
		enum err e = rig_compact(world->rig, store_head(world->rig->store) - 10, true);

		must(!e || e == ERR_COMPACTED, "a compaction failed");
		store_stats(world->rig->store, &stats);
		must(stats.key_count <= 2 * PAIRS, "too many keys");
		sched_yield();
	}
	return NULL;
}

static void check_kept(struct world *world)
{
	for (size_t i = 0; i < world->kept_count; i++) {
		struct event_batch *batch = world->kept[i];

		for (size_t k = 0; k < event_batch_count(batch); k++) {
			const struct event *event = event_batch_at(batch, k);
			struct kv prev;
			bool found;

			assert_int_equal(event_prev(batch, k, world->rig->reader, &prev, &found),
					 ERR_OK);
			assert_int_equal(found,
					 event->kv.create_revision != event->kv.mod_revision);
			if (found)
				assert_true(prev.mod_revision < event->kv.mod_revision);
		}
		event_batch_unref(batch);
	}
	world->kept_count = 0;
}

static void test_everybody_at_once(void **state)
{
	struct rig *rig = *state;
	pthread_t writers[WRITERS], readers[READERS], sweeper;
	struct store_stats stats;

	shared.rig = rig;
	atomic_store(&shared.committed, 1);
	for (int i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, reader, &shared), 0);
	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&writers[i], NULL, writer, &shared), 0);
	assert_int_equal(pthread_create(&sweeper, NULL, compactor, &shared), 0);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	atomic_store(&shared.stop, true);
	for (int i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	pthread_join(sweeper, NULL);
	assert_int_equal(store_head(rig->store), 1 + WRITERS * WRITES);
	assert_int_equal(atomic_load(&shared.events), 2 * WRITERS * WRITES);
	check_kept(&shared);
	store_stats(rig->store, &stats);
	assert_int_equal(stats.pending_ops, 0);
	assert_int_equal(stats.txns, WRITERS * WRITES);
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	rig->config.listener = (struct store_listener){.on_commit = on_commit, .context = &shared};
	rig_open(rig);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	rig_close(*state);
	free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_everybody_at_once, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
