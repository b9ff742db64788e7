/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_apply.c - what sync has of the store: the batch that runs on the writer, invisible
 * rows, and the hook that stamps local writes. */
#include "shim/base/limits.h"
#include "shim/store/internal.h"
#include "shim/store/sync.h"
#include "tests/harness/store_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* What the hook saw last. */
static struct {
	char old_meta[32];
	char old_value[32];
	char value[32];
	char meta[32];
	bool old_present;
	bool tombstone;
	int calls;
	enum err answer; /* what it returns, after it set a state record */
} stamped;

static void note(char *room, struct bytes bytes)
{
	snprintf(room, 32, "%.*s", (int)bytes.size, bytes.size ? (const char *)bytes.data : "");
}

static bool in_scope(void *context, struct bytes key)
{
	(void)context;
	return key.data[0] == 's';
}

static enum err stamp(void *context, struct apply *a, const struct stamp_row *row,
		      struct bytes *ret_meta)
{
	(void)context;
	assert_int_equal(apply_revision(a), row->revision);
	note(stamped.old_meta, row->old_meta);
	note(stamped.old_value, row->old_value);
	note(stamped.value, row->value);
	stamped.old_present = row->old_present;
	stamped.tombstone = row->tombstone;
	snprintf(stamped.meta, sizeof(stamped.meta), "m%d", ++stamped.calls);
	*ret_meta = bytes_of_string(stamped.meta);
	if (stamped.answer)
		assert_int_equal(apply_set_state(a, BYTES_LITERAL("hook"), row->key), ERR_OK);
	return stamped.answer;
}

/* Commits as a watcher would see them. */
static struct {
	int64_t revisions[64];
	size_t counts[64];
	size_t count;
} seen;

static void on_commit(void *context, const struct store_commit *commit)
{
	(void)context;
	store_commit_publish(commit);
	for (size_t i = 0; i < commit->batch_count && seen.count < 64; i++) {
		seen.revisions[seen.count] = event_batch_revision(commit->batches[i]);
		seen.counts[seen.count++] = event_batch_count(commit->batches[i]);
	}
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	memset(&stamped, 0, sizeof(stamped));
	memset(&seen, 0, sizeof(seen));
	rig->config.stamp = (struct store_stamp){in_scope, stamp, NULL};
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

static enum err apply(struct rig *rig, apply_fn *fn, void *context)
{
	struct op op = {.kind = OP_APPLY, .in.apply = {fn, context}};

	return rig_do(rig, &op);
}

static void test_local_writes_in_scope_are_stamped(void **state)
{
	struct rig *rig = *state;

	rig_put(rig, "other", "x");
	assert_int_equal(stamped.calls, 0);
	rig_put(rig, "s", "one");
	assert_int_equal(stamped.calls, 1);
	assert_string_equal(stamped.old_meta, "");
	assert_string_equal(stamped.value, "one");
	rig_put(rig, "s", "two");
	assert_string_equal(stamped.old_meta, "m1");
	assert_string_equal(stamped.old_value, "one");
	rig_reopen(rig);
	rig_delete(rig, "s", NULL);
	assert_true(stamped.tombstone);
	assert_string_equal(stamped.old_meta, "m2");
	assert_string_equal(stamped.old_value, "two");
	rig_put(rig, "s", "three");
	assert_string_equal(stamped.old_meta, "m3");
	assert_string_equal(stamped.old_value, "");
}

static void test_a_write_after_a_stamped_one_finds_it_in_memory(void **state)
{
	struct rig *rig = *state;
	struct store_stats before, after;

	rig_put(rig, "s", "one");
	store_stats(rig->store, &before);
	rig_put(rig, "s", "two");
	store_stats(rig->store, &after);
	assert_int_equal(after.value_cache_hits - before.value_cache_hits, 2); /* meta and value */
	assert_int_equal(after.value_cache_misses, before.value_cache_misses);
	assert_string_equal(stamped.old_meta, "m1");
	assert_string_equal(stamped.old_value, "one");
}

static enum err merge(struct apply *a, void *context)
{
	struct kv kv = {.key = BYTES_LITERAL("s"), .value = BYTES_LITERAL("hidden")};
	struct apply_row row;

	(void)context;
	assert_int_equal(apply_get(a, BYTES_LITERAL("s"), &row), ERR_OK);
	assert_true(row.found && row.live && !row.merged);
	assert_int_equal(row.newest_revision, 2);
	assert_int_equal(row.visible_revision, 2);
	assert_true(bytes_equal(row.meta, BYTES_LITERAL("m1")));
	assert_true(bytes_equal(row.kv.value, BYTES_LITERAL("seen")));
	assert_int_equal(apply_get(a, BYTES_LITERAL("nothing"), &row), ERR_OK);
	assert_false(row.found);
	assert_int_equal(apply_put(a, &kv, BYTES_LITERAL("remote"), false), ERR_OK);
	assert_int_equal(apply_get(a, BYTES_LITERAL("s"), &row), ERR_OK);
	assert_true(bytes_equal(row.meta, BYTES_LITERAL("remote")));
	assert_true(row.live && row.merged);
	assert_int_equal(row.newest_revision, 3);
	assert_int_equal(row.visible_revision, 2);
	assert_true(bytes_equal(row.kv.value, BYTES_LITERAL("seen")));
	return apply_set_state(a, BYTES_LITERAL("cursor"), BYTES_LITERAL("17"));
}

static size_t stored_value_bytes(struct rig *rig, int64_t row_number)
{
	struct row row;

	assert_int_equal(conn_row_at(&rig->reader->conn, row_number, true, &rig->arena, &row),
			 ERR_OK);
	return row.value.size;
}

static void test_an_invisible_merge_takes_a_revision_and_nothing_else(void **state)
{
	struct rig *rig = *state;
	const struct kv *kv;

	rig_put(rig, "s", "seen");
	assert_int_equal(apply(rig, merge, NULL), ERR_OK);
	assert_int_equal(store_head(rig->store), 3);
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.revisions[1], 3);
	assert_int_equal(seen.counts[1], 0); /* progress, but no event */
	assert_int_equal(stored_value_bytes(rig, ROW_OF(2, 0)), 4);
	assert_int_equal(stored_value_bytes(rig, ROW_OF(3, 0)), 0);
	for (int restart = 0; restart < 2; restart++) {
		kv = rig_get(rig, "s", 0);
		assert_true(bytes_equal(kv->value, BYTES_LITERAL("seen")));
		assert_int_equal(kv->mod_revision, 2);
		assert_int_equal(kv->version, 1);
		rig_reopen(rig);
		assert_int_equal(store_head(rig->store), 3);
	}
	/* A local write goes on from the visible version and supersedes the meta of the hidden. */
	rig_put(rig, "s", "next");
	assert_string_equal(stamped.old_meta, "remote");
	assert_string_equal(stamped.old_value, "seen");
	assert_int_equal(rig_get(rig, "s", 0)->version, 2);
	assert_int_equal(rig_get(rig, "s", 0)->create_revision, 2);
}

static enum err write_visibly(struct apply *a, void *context)
{
	char name[8] = "s0";
	struct kv kv = {.value = BYTES_LITERAL("v")};
	enum err e = ERR_OK;

	for (; name[1] < '3' && !e; name[1]++) {
		kv.key = bytes_of_string(name); /* reused: the store must copy */
		e = apply_put(a, &kv, BYTES_LITERAL("meta"), true);
	}
	if (!e)
		e = apply_delete(a, BYTES_LITERAL("s1"), BYTES_LITERAL("gone"), true);
	if (!e)
		e = apply_set_state(a, BYTES_LITERAL("x"), BYTES_LITERAL("1"));
	return e ? e : *(enum err *)context;
}

static int64_t state_rows(struct rig *rig)
{
	sqlite3_stmt *stmt = conn_stmt(&rig->reader->conn, STMT_STATE_SCAN);
	bool found = true;
	int64_t rows = -1;

	while (found) {
		assert_int_equal(conn_step(&rig->reader->conn, stmt, &found), ERR_OK);
		rows++;
	}
	sqlite3_reset(stmt);
	return rows;
}

static void test_an_apply_that_fails_leaves_nothing(void **state)
{
	struct rig *rig = *state;
	enum err outcome = ERR_COMPACTED;

	assert_int_equal(apply(rig, write_visibly, &outcome), ERR_COMPACTED);
	assert_int_equal(store_head(rig->store), 1);
	assert_null(rig_get(rig, "s0", 0));
	assert_int_equal(state_rows(rig), 0);
	outcome = ERR_OK;
	assert_int_equal(apply(rig, write_visibly, &outcome), ERR_OK);
	assert_int_equal(store_head(rig->store), 2);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.counts[0], 4);
	assert_non_null(rig_get(rig, "s0", 0));
	assert_null(rig_get(rig, "s1", 0));
	assert_int_equal(state_rows(rig), 1);
	assert_int_equal(stamped.calls, 0); /* the batch brings its own meta */
	rig_reopen(rig);
	assert_non_null(rig_get(rig, "s2", 0));
	assert_null(rig_get(rig, "s1", 0));
}

static void test_invisible_rows_survive_compaction_while_they_are_the_newest(void **state)
{
	struct rig *rig = *state;

	rig_put(rig, "s", "seen");
	assert_int_equal(apply(rig, merge, NULL), ERR_OK);
	rig_put(rig, "other", "1");
	assert_int_equal(rig_compact(rig, 4, true), ERR_OK);
	rig_reopen(rig);
	assert_true(bytes_equal(rig_get(rig, "s", 0)->value, BYTES_LITERAL("seen")));
	rig_put(rig, "s", "next");
	assert_string_equal(stamped.old_meta, "remote");
}

/* --- several revisions ----------------------------------------------------------------------- */

static void put_in(struct apply *a, const char *key, const char *value, bool visible)
{
	struct kv kv = {.key = bytes_of_string(key), .value = bytes_of_string(value)};

	assert_int_equal(apply_put(a, &kv, BYTES_LITERAL("meta"), visible), ERR_OK);
}

/* Three revisions, the second an invisible one; "s1" is written in the first and the last. */
static enum err write_three(struct apply *a, void *context)
{
	int64_t first = apply_revision(a);
	struct apply_row row;

	assert_int_equal(apply_next_revision(a), ERR_OK); /* nothing to close */
	assert_int_equal(apply_revision(a), first);
	put_in(a, "s1", "one", true);
	put_in(a, "s2", "one", true);
	assert_int_equal(apply_set_state(a, BYTES_LITERAL("x"), BYTES_LITERAL("1")), ERR_OK);
	assert_int_equal(apply_next_revision(a), ERR_OK);
	put_in(a, "s2", "hidden", false);
	assert_int_equal(apply_next_revision(a), ERR_OK);
	assert_int_equal(apply_revision(a), first + 2);
	put_in(a, "s1", "three", true);
	assert_int_equal(apply_get(a, BYTES_LITERAL("s2"), &row), ERR_OK);
	assert_int_equal(row.newest_revision, first + 1);
	assert_int_equal(row.visible_revision, first);
	return *(enum err *)context;
}

static void test_an_apply_may_write_several_revisions(void **state)
{
	static const size_t counts[] = {2, 0, 1};
	struct rig *rig = *state;
	enum err outcome = ERR_OK;

	assert_int_equal(apply(rig, write_three, &outcome), ERR_OK);
	for (int restart = 0; restart < 2; restart++) {
		assert_int_equal(store_head(rig->store), 4);
		assert_true(bytes_equal(rig_get(rig, "s1", 2)->value, BYTES_LITERAL("one")));
		assert_true(bytes_equal(rig_get(rig, "s1", 0)->value, BYTES_LITERAL("three")));
		assert_int_equal(rig_get(rig, "s1", 0)->version, 2);
		assert_int_equal(rig_get(rig, "s1", 0)->create_revision, 2);
		assert_int_equal(rig_get(rig, "s2", 0)->mod_revision, 2);
		rig_reopen(rig);
	}
	assert_int_equal(seen.count, 3); /* a batch of events for each */
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(seen.revisions[i], 2 + i);
		assert_int_equal(seen.counts[i], counts[i]);
	}
}

static void test_an_apply_that_fails_takes_all_its_revisions_back(void **state)
{
	struct rig *rig = *state;
	enum err outcome = ERR_MALFORMED;

	rig_put(rig, "s1", "before");
	assert_int_equal(apply(rig, write_three, &outcome), ERR_MALFORMED);
	assert_int_equal(store_head(rig->store), 2);
	assert_true(bytes_equal(rig_get(rig, "s1", 0)->value, BYTES_LITERAL("before")));
	assert_null(rig_get(rig, "s2", 0));
	assert_int_equal(state_rows(rig), 0);
	assert_int_equal(rig_put(rig, "s2", "after"), 3);
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.revisions[1], 3);
	rig_reopen(rig);
	assert_int_equal(store_head(rig->store), 3);
	assert_int_equal(rig_get(rig, "s2", 0)->create_revision, 3);
}

/* --- the hook's errors ----------------------------------------------------------------------- */

static void test_an_error_of_the_hook_undoes_the_op_and_its_records(void **state)
{
	struct rig *rig = *state;
	struct put_op puts[] = {{.key = BYTES_LITERAL("other"), .value = BYTES_LITERAL("x")},
				{.key = BYTES_LITERAL("s"), .value = BYTES_LITERAL("x")}};
	struct request requests[] = {{REQUEST_PUT, {.put = puts[0]}},
				     {REQUEST_PUT, {.put = puts[1]}}};
	struct op put = {.kind = OP_PUT, .in.put = puts[1]};
	struct op txn = {.kind = OP_TXN,
			 .arena = &rig->arena,
			 .in.txn = {.success = requests, .success_count = 2}};

	stamped.answer = ERR_CORRUPT;
	assert_int_equal(rig_do(rig, &put), ERR_CORRUPT);
	assert_int_equal(rig_do(rig, &txn), ERR_CORRUPT);
	assert_int_equal(store_head(rig->store), 1);
	assert_int_equal(state_rows(rig), 0);
	assert_null(rig_get(rig, "other", 0));
	stamped.answer = ERR_OK;
	assert_int_equal(rig_do(rig, &txn), ERR_OK);
	assert_int_equal(rig_get(rig, "other", 0)->mod_revision, 2);
	rig_reopen(rig);
	assert_int_equal(store_head(rig->store), 2);
}

static void test_a_lease_whose_key_cannot_be_stamped_is_revoked_later(void **state)
{
	struct rig *rig = *state;
	struct op put = {.kind = OP_PUT, .in.put = {.key = BYTES_LITERAL("s"), .lease = 7}};
	struct store_stats stats;

	assert_int_equal(rig_grant(rig, 7, 10), ERR_OK);
	assert_int_equal(rig_do(rig, &put), ERR_OK);
	stamped.answer = ERR_CORRUPT;
	rig_advance(rig, 20 * NS_PER_SECOND);
	assert_non_null(rig_get(rig, "s", 0));
	assert_int_equal(state_rows(rig), 0);
	stamped.answer = ERR_OK;
	rig_advance(rig, 20 * NS_PER_SECOND);
	assert_null(rig_get(rig, "s", 0));
	store_stats(rig->store, &stats);
	assert_int_equal(stats.lease_count, 0);
}

/* --- state records --------------------------------------------------------------------------- */

#define MANY 700

static enum err write_records(struct apply *a, void *context)
{
	char name[16];
	bool found;
	struct bytes value;

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "r%04d", i);
		assert_int_equal(apply_set_state(a, bytes_of_string(name), bytes_of_string(name)),
				 ERR_OK);
	}
	assert_int_equal(apply_set_state(a, bytes_of(NULL, 0), bytes_of(NULL, 0)), ERR_OK);
	value = bytes_of(NULL, STATE_NAME_BYTES_MAX + 1);
	assert_int_equal(apply_set_state(a, value, bytes_of(NULL, 0)), ERR_REQUEST_TOO_LARGE);
	assert_int_equal(apply_get_state(a, BYTES_LITERAL("r0007"), &found, &value), ERR_OK);
	assert_true(found && bytes_equal(value, BYTES_LITERAL("r0007")));
	assert_int_equal(apply_get_state(a, BYTES_LITERAL("r"), &found, &value), ERR_OK);
	assert_false(found);
	return *(enum err *)context;
}

static enum err delete_records(struct apply *a, void *context)
{
	int64_t deleted = 0;

	assert_int_equal(apply_delete_state(a, BYTES_LITERAL("r0000")), ERR_OK);
	assert_int_equal(
		apply_delete_states(a, BYTES_LITERAL("r0001"), BYTES_LITERAL("r0005"), 3, &deleted),
		ERR_OK);
	assert_int_equal(deleted, 3);
	assert_int_equal(
		apply_delete_states(a, BYTES_LITERAL("r0600"), bytes_of(NULL, 0), 1000, &deleted),
		ERR_OK);
	assert_int_equal(deleted, 100);
	return *(enum err *)context;
}

struct listed {
	int next; /* the number that the next name has */
	int stop;
	int count;
};

static bool list_record(void *context, struct bytes name, struct bytes value)
{
	struct listed *listed = context;
	char expected[16];

	assert_true(bytes_equal(name, value));
	if (name.size) {
		snprintf(expected, sizeof(expected), "r%04d", listed->next++);
		assert_true(bytes_equal(name, bytes_of_string(expected)));
	}
	return ++listed->count != listed->stop;
}

static int list_records(struct rig *rig, const char *from, const char *end, struct listed listed)
{
	assert_int_equal(store_state_scan(rig->reader, bytes_of_string(from), bytes_of_string(end),
					  list_record, &listed),
			 ERR_OK);
	return listed.count;
}

static void test_state_records_are_read_in_the_order_of_their_names(void **state)
{
	struct rig *rig = *state;
	enum err outcome = ERR_OK;
	struct bytes value;
	bool found;

	assert_int_equal(apply(rig, write_records, &outcome), ERR_OK);
	assert_int_equal(store_head(rig->store), 1); /* they take no revision */
	rig_reopen(rig);
	assert_int_equal(list_records(rig, "", "", (struct listed){0}), MANY + 1);
	assert_int_equal(list_records(rig, "r0100", "r0500", (struct listed){.next = 100}), 400);
	assert_int_equal(list_records(rig, "r0100", "", (struct listed){.next = 100, .stop = 300}),
			 300);
	assert_int_equal(list_records(rig, "s", "", (struct listed){0}), 0);
	outcome = ERR_CORRUPT;
	assert_int_equal(apply(rig, delete_records, &outcome), ERR_CORRUPT);
	assert_int_equal(state_rows(rig), MANY + 1);
	outcome = ERR_OK;
	assert_int_equal(apply(rig, delete_records, &outcome), ERR_OK);
	assert_int_equal(list_records(rig, "r", "", (struct listed){.next = 4}), 600 - 4);
	assert_int_equal(
		store_state_get(rig->reader, BYTES_LITERAL("r0004"), &rig->arena, &found, &value),
		ERR_OK);
	assert_true(found && bytes_equal(value, BYTES_LITERAL("r0004")));
	assert_int_equal(
		store_state_get(rig->reader, BYTES_LITERAL("r0003"), &rig->arena, &found, &value),
		ERR_OK);
	assert_false(found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_local_writes_in_scope_are_stamped),
		TEST(test_a_write_after_a_stamped_one_finds_it_in_memory),
		TEST(test_an_invisible_merge_takes_a_revision_and_nothing_else),
		TEST(test_an_apply_that_fails_leaves_nothing),
		TEST(test_invisible_rows_survive_compaction_while_they_are_the_newest),
		TEST(test_an_apply_may_write_several_revisions),
		TEST(test_an_apply_that_fails_takes_all_its_revisions_back),
		TEST(test_an_error_of_the_hook_undoes_the_op_and_its_records),
		TEST(test_a_lease_whose_key_cannot_be_stamped_is_revoked_later),
		TEST(test_state_records_are_read_in_the_order_of_their_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
