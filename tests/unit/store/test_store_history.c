/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_history.c - what a watcher is told: live batches and the history must agree. */
#include "tests/harness/store_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEPT_MAX 200

static struct event_batch *kept[KEPT_MAX];
static size_t kept_count;

static void on_commit(void *context, const struct store_commit *commit)
{
	(void)context;
	store_commit_publish(commit);
	for (size_t i = 0; i < commit->batch_count && kept_count < KEPT_MAX; i++)
		kept[kept_count++] = event_batch_ref(commit->batches[i]);
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	kept_count = 0;
	rig->config.listener.on_commit = on_commit;
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

static void let_go(void)
{
	while (kept_count)
		event_batch_unref(kept[--kept_count]);
}

static void assert_same_event(struct rig *rig, struct event_batch *a, struct event_batch *b,
			      size_t index)
{
	const struct event *x = event_batch_at(a, index), *y = event_batch_at(b, index);
	struct kv prev_x, prev_y;
	bool found_x = false, found_y = false;

	assert_int_equal(x->type, y->type);
	assert_true(rig_kv_equal(&x->kv, &y->kv));
	assert_int_equal(event_prev(a, index, rig->reader, &prev_x, &found_x), ERR_OK);
	assert_int_equal(event_prev(b, index, rig->reader, &prev_y, &found_y), ERR_OK);
	assert_int_equal(found_x, found_y);
	if (found_x)
		assert_true(rig_kv_equal(&prev_x, &prev_y));
}

static void test_history_tells_what_was_told_live(void **state)
{
	struct rig *rig = *state;
	struct history_op op = {.key = BYTES_LITERAL("\0"),
				.end = BYTES_LITERAL("\0"),
				.from = 1,
				.rows_max = 7,
				.bytes_max = 1 << 20};
	struct event_batch *batches[10];
	size_t seen = 0, count;
	int64_t next;

	for (int i = 0; i < 60; i++) {
		char key[8];

		snprintf(key, sizeof(key), "k%d", i % 9);
		rig_put(rig, key, key);
		if (i % 5 == 4)
			rig_delete(rig, "k3", "k7");
	}
	op.to = store_head(rig->store);
	while (op.from <= op.to) {
		assert_int_equal(store_history(rig->reader, &op, batches, 10, &count, &next),
				 ERR_OK);
		for (size_t i = 0; i < count; i++, seen++) {
			assert_int_equal(event_batch_revision(batches[i]),
					 event_batch_revision(kept[seen]));
			assert_int_equal(event_batch_count(batches[i]),
					 event_batch_count(kept[seen]));
			for (size_t k = 0; k < event_batch_count(batches[i]); k++)
				assert_same_event(rig, batches[i], kept[seen], k);
			event_batch_unref(batches[i]);
		}
		op.from = next;
	}
	assert_int_equal(seen, kept_count);
	let_go();
}

static void assert_delete_then_create(struct rig *rig, struct event_batch *batch)
{
	struct kv prev;
	bool found = false;

	assert_int_equal(event_batch_count(batch), 2);
	assert_int_equal(event_prev(batch, 0, rig->reader, &prev, &found), ERR_OK);
	assert_true(found);
	assert_true(bytes_equal(prev.value, BYTES_LITERAL("old")));
	assert_int_equal(event_prev(batch, 1, rig->reader, &prev, &found), ERR_OK);
	assert_false(found);
}

/* etcd's IsCreateEvent; a watcher would take it for an update otherwise. */
static void test_a_key_deleted_and_put_in_one_transaction_is_a_create(void **state)
{
	struct rig *rig = *state;
	struct request requests[2] = {
		{.kind = REQUEST_DELETE, .as.delete_range = {.key = BYTES_LITERAL("k")}},
		{.kind = REQUEST_PUT,
		 .as.put = {.key = BYTES_LITERAL("k"), .value = BYTES_LITERAL("new")}},
	};
	struct op op = {.kind = OP_TXN,
			.arena = &rig->arena,
			.in.txn = {.success = requests, .success_count = 2}};
	struct history_op history = {.key = BYTES_LITERAL("k"),
				     .from = 3,
				     .to = 3,
				     .rows_max = 10,
				     .bytes_max = 1 << 20};
	struct event_batch *batch;
	int64_t next;
	size_t count;

	rig_put(rig, "k", "old");
	assert_int_equal(rig_do(rig, &op), ERR_OK);
	assert_int_equal(kept_count, 2);
	assert_delete_then_create(rig, kept[1]);
	let_go();
	assert_int_equal(store_history(rig->reader, &history, &batch, 1, &count, &next), ERR_OK);
	assert_int_equal(count, 1);
	assert_delete_then_create(rig, batch);
	event_batch_unref(batch);
}

static void test_a_revision_is_never_split(void **state)
{
	struct rig *rig = *state;
	struct history_op op = {.key = BYTES_LITERAL("a"),
				.end = BYTES_LITERAL("z"),
				.from = 1,
				.rows_max = 1,
				.bytes_max = 1};
	struct event_batch *batches[4];
	size_t count;
	int64_t next;

	for (char key = 'a'; key < 'f'; key++)
		rig_put(rig, (char[]){key, 0}, "x");
	assert_int_equal(rig_delete(rig, "a", "z"), 5);
	op.from = op.to = store_head(rig->store);
	assert_int_equal(store_history(rig->reader, &op, batches, 4, &count, &next), ERR_OK);
	assert_int_equal(count, 1);
	assert_int_equal(next, op.to + 1);
	assert_int_equal(event_batch_count(batches[0]), 5);
	for (size_t i = 0; i < 5; i++) { /* in key order, with key and revision alone */
		const struct event *event = event_batch_at(batches[0], i);

		assert_int_equal(event->type, EVENT_DELETE);
		assert_int_equal(event->kv.key.data[0], 'a' + i);
		assert_int_equal(event->kv.mod_revision, 7);
		assert_int_equal(event->kv.create_revision + event->kv.version, 0);
		assert_true(event->has_prev);
	}
	event_batch_unref(batches[0]);
	let_go();
}

static void test_a_watch_may_start_at_the_compaction_and_sees_a_delete_there(void **state)
{
	struct rig *rig = *state;
	struct history_op op = {.key = BYTES_LITERAL("a"), .rows_max = 9, .bytes_max = 99};
	struct event_batch *batches[4];
	size_t count;
	int64_t next;

	rig_put(rig, "a", "1");
	rig_delete(rig, "a", NULL);
	rig_put(rig, "b", "1");
	let_go();
	assert_int_equal(rig_compact(rig, 3, true), ERR_OK);
	op.from = 3;
	op.to = 4;
	assert_int_equal(store_history(rig->reader, &op, batches, 4, &count, &next), ERR_OK);
	assert_int_equal(count, 1);
	assert_int_equal(event_batch_at(batches[0], 0)->type, EVENT_DELETE);
	assert_false(event_batch_at(batches[0], 0)->has_prev); /* swept */
	event_batch_unref(batches[0]);
	op.from = 2;
	assert_int_equal(store_history(rig->reader, &op, batches, 4, &count, &next), ERR_COMPACTED);
}

static void test_a_late_watcher_still_gets_prev_after_a_compaction(void **state)
{
	struct rig *rig = *state;
	struct store_stats stats;
	struct kv prev;
	bool found;

	rig_put(rig, "a", "first");
	rig_put(rig, "a", "second");
	rig_delete(rig, "a", NULL);
	rig_put(rig, "b", "1");
	assert_int_equal(rig_compact(rig, 5, true), ERR_OK);
	store_stats(rig->store, &stats);
	assert_int_equal(stats.compacted_rows, 0); /* the batches hold all of them */
	assert_int_equal(event_prev(kept[1], 0, rig->reader, &prev, &found), ERR_OK);
	assert_true(found && bytes_equal(prev.value, BYTES_LITERAL("first")));
	assert_int_equal(event_prev(kept[2], 0, rig->reader, &prev, &found), ERR_OK);
	assert_true(found && bytes_equal(prev.value, BYTES_LITERAL("second")));
	assert_true(event_batch_bytes(kept[2]) >= 6);
	let_go();
	rig_advance(rig, NS_PER_SECOND); /* past the pause after pins held everything */
	for (int i = 0; i < 200 && stats.compacted_rows < 3; i++) {
		rig_advance(rig, NS_PER_SECOND);
		store_stats(rig->store, &stats);
	}
	assert_int_equal(stats.compacted_rows, 3);
	rig_reopen(rig);
	assert_int_equal(store_head(rig->store), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_history_tells_what_was_told_live),
		TEST(test_a_key_deleted_and_put_in_one_transaction_is_a_create),
		TEST(test_a_revision_is_never_split),
		TEST(test_a_watch_may_start_at_the_compaction_and_sees_a_delete_there),
		TEST(test_a_late_watcher_still_gets_prev_after_a_compaction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
