/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_apply.c - what sync has of the store: the batch that runs on the writer, invisible
 * rows, and the hook that stamps local writes. */
#include "shim/store/internal.h"
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
	bool tombstone;
	int calls;
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

static struct bytes stamp(void *context, struct bytes key, struct bytes old_meta,
			  struct bytes old_value, const struct kv *now, bool tombstone)
{
	(void)context;
	assert_true(bytes_equal(key, now->key));
	note(stamped.old_meta, old_meta);
	note(stamped.old_value, old_value);
	note(stamped.value, now->value);
	stamped.tombstone = tombstone;
	snprintf(stamped.meta, sizeof(stamped.meta), "m%d", ++stamped.calls);
	return bytes_of_string(stamped.meta);
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

static enum err merge(struct apply *a, void *context)
{
	struct kv kv = {.key = BYTES_LITERAL("s"), .value = BYTES_LITERAL("hidden")};
	struct apply_row row;

	(void)context;
	assert_int_equal(apply_get(a, BYTES_LITERAL("s"), &row), ERR_OK);
	assert_true(row.found && !row.tombstone);
	assert_true(bytes_equal(row.meta, BYTES_LITERAL("m1")));
	assert_true(bytes_equal(row.kv.value, BYTES_LITERAL("seen")));
	assert_int_equal(apply_get(a, BYTES_LITERAL("nothing"), &row), ERR_OK);
	assert_false(row.found);
	assert_int_equal(apply_put(a, &kv, BYTES_LITERAL("remote"), false), ERR_OK);
	assert_int_equal(apply_get(a, BYTES_LITERAL("s"), &row), ERR_OK);
	assert_true(bytes_equal(row.meta, BYTES_LITERAL("remote")));
	assert_true(bytes_equal(row.kv.value, BYTES_LITERAL("hidden")));
	return apply_set_state(a, BYTES_LITERAL("cursor"), BYTES_LITERAL("17"));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_local_writes_in_scope_are_stamped),
		TEST(test_an_invisible_merge_takes_a_revision_and_nothing_else),
		TEST(test_an_apply_that_fails_leaves_nothing),
		TEST(test_invisible_rows_survive_compaction_while_they_are_the_newest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
