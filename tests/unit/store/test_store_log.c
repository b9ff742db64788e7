/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_log.c - the log by revision, scans of all keys, jumps, and what is known of the sweep;
 * test_store_sync.c has the random programs. */
#include "shim/store/check.h"
#include "shim/store/compact.h"
#include "shim/store/pages.h"
#include "shim/store/sync.h"
#include "tests/harness/store_rig.h"
#include "tests/unit/store/fixture.h"

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

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

/* --- the log --------------------------------------------------------------------------------- */

static enum err count_row(void *context, const struct log_row *row)
{
	(void)row;
	++*(int *)context;
	return ERR_OK;
}

static enum err refuse_third(void *context, const struct log_row *row)
{
	(void)row;
	return ++*(int *)context == 3 ? ERR_TIMEOUT : ERR_OK;
}

static void test_a_visitor_ends_the_reading_with_its_error(void **state)
{
	struct rig *rig = *state;
	struct log_op op = {.to = INT64_MAX, .rows_max = 100, .bytes_max = 100};
	int64_t to = 77;
	int rows = 0;

	for (int i = 0; i < 5; i++)
		rig_put(rig, "k", "v");
	assert_int_equal(store_log(rig->reader, &op, refuse_third, &rows, &to), ERR_TIMEOUT);
	assert_int_equal(to, 77);
	rows = 0;
	assert_int_equal(store_log(rig->reader, &op, count_row, &rows, &to), ERR_OK);
	assert_int_equal(rows, 5);
	assert_int_equal(to, 6);
	op.from = 6;
	assert_int_equal(store_log(rig->reader, &op, count_row, &rows, &to), ERR_OK);
	assert_int_equal(rows, 5);
	assert_int_equal(to, 6);
}

/* Behind the store's back. */
static void edit(struct rig *rig, const char *sql)
{
	char path[256];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/%s", rig->dir, STORE_DB_NAME);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, PAGES_VFS), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void test_a_damaged_row_is_never_shown(void **state)
{
	static const char *const changes[] = {"value = x'7777777777'", "meta = x'01'"};

	for (size_t i = 0; i < 2; i++) {
		struct rig *rig = *state;
		struct log_op op = {.to = INT64_MAX, .rows_max = 100, .bytes_max = 100};
		char sql[128];
		int64_t to = 0;
		int rows = 0;

		for (int put = 0; put < 5; put++)
			rig_put(rig, "k", "v");
		snprintf(sql, sizeof(sql), "UPDATE log SET %s WHERE rev = %lld", changes[i],
			 (long long)ROW_OF(3, 0));
		edit(rig, sql);
		assert_int_equal(store_log(rig->reader, &op, count_row, &rows, &to), ERR_DAMAGED);
		assert_int_equal(rows, 1);
		teardown(state);
		setup(state);
	}
}

/* --- all keys -------------------------------------------------------------------------------- */

#define KEYS 1000

static enum err write_keys(struct apply *apply, void *context)
{
	char key[16];

	(void)context;
	for (int i = 0; i < KEYS; i++) {
		struct kv kv = {.key = bytes_of_string(key), .value = BYTES_LITERAL("value")};

		snprintf(key, sizeof(key), "k%04d", i);
		kv.key = bytes_of_string(key);
		assert_int_equal(apply_put(apply, &kv, kv.key, true), ERR_OK);
	}
	return ERR_OK;
}

static int scan(struct rig *rig, const char *from, const char *end, bool values)
{
	struct keys_op op = {bytes_of_string(from), bytes_of_string(end), values};
	struct store_keys *keys;
	struct keys_row row;
	int64_t revision;
	bool found = true;
	int count = 0;
	uint8_t last[16] = {0};

	assert_int_equal(store_keys_open(rig->reader, &op, &keys, &revision), ERR_OK);
	for (;; count++) {
		assert_int_equal(store_keys_next(keys, &row, &found), ERR_OK);
		if (!found)
			break;
		assert_true(row.key.size == 5 && memcmp(last, row.key.data, 5) < 0);
		memcpy(last, row.key.data, 5);
		assert_true(bytes_equal(row.meta, row.key));
		assert_int_equal(row.value.size, 5);
		assert_int_equal(row.value.data != NULL, values);
		if (count == 300) /* writers go on */
			rig_put(rig, "k0500", "newer");
	}
	store_keys_close(keys);
	return count;
}

static void test_a_scan_goes_through_all_slices_of_its_range(void **state)
{
	struct rig *rig = *state;
	struct op op = {.kind = OP_APPLY, .in.apply = {write_keys, NULL}};

	assert_int_equal(rig_do(rig, &op), ERR_OK);
	assert_int_equal(scan(rig, "k", "l", true), KEYS);
	assert_int_equal(rig_do(rig, &op), ERR_OK); /* the metas again */
	assert_int_equal(scan(rig, "k0100", "k0900", false), 800);
	assert_int_equal(scan(rig, "k0007", "", true), 1);
	assert_int_equal(scan(rig, "k2", "", true), 0);
	assert_int_equal(scan(rig, "k9", "k1", true), 0);
}

/* --- jumps ----------------------------------------------------------------------------------- */

static struct {
	int64_t committed;
	int64_t compacted;
	size_t events;
} heard;

static void on_commit(void *context, const struct store_commit *commit)
{
	(void)context;
	store_commit_publish(commit);
	heard.committed = commit->head_revision;
	heard.events = event_batch_count(commit->batches[commit->batch_count - 1]);
}

static void on_compact(void *context, int64_t revision)
{
	(void)context;
	heard.compacted = revision;
}

static enum err get(struct rig *rig, int64_t revision)
{
	struct range_op op = {.key = BYTES_LITERAL("k"), .revision = revision};
	struct range_result result;

	return store_range(rig->reader, &op, &rig->arena, &result);
}

static void assert_sound(struct rig *rig)
{
	char problem[STORE_PROBLEM_BYTES];
	struct check_report report = {.out = stderr};

	assert_int_equal(store_check(rig->dir, &report, problem), ERR_OK);
	assert_int_equal(report.findings, 0);
}

static void test_a_jump_leaves_the_past_behind(void **state)
{
	struct rig *rig = *state;
	struct op jump = {.kind = OP_JUMP, .in.jump.revision = 1000};
	struct store_hash before, after;

	rig_down(rig);
	rig->config.listener.on_commit = on_commit;
	rig->config.listener.on_compact = on_compact;
	rig_reopen(rig);
	rig_put(rig, "k", "one");
	rig_put(rig, "k", "two");
	assert_int_equal(rig_do(rig, &jump), ERR_OK);
	assert_int_equal(jump.revision, 1000);
	assert_int_equal(heard.committed, 1000);
	assert_int_equal(heard.events, 0);
	assert_int_equal(heard.compacted, 1000);
	assert_int_equal(rig_do(rig, &jump), ERR_COMPACTED);
	for (int restart = 0; restart < 2; restart++) {
		assert_int_equal(store_head(rig->store), 1000);
		assert_int_equal(store_compacted(rig->store), 1000);
		assert_int_equal(get(rig, 3), ERR_COMPACTED);
		assert_int_equal(get(rig, 999), ERR_COMPACTED);
		assert_int_equal(get(rig, 1000), ERR_OK);
		assert_int_equal(rig_get(rig, "k", 0)->mod_revision, 3);
		assert_sound(rig);
		rig_reopen(rig);
	}
	assert_int_equal(store_hash_kv(rig->reader, 0, &before), ERR_OK);
	assert_int_equal(before.hash_revision, 1000);
	assert_int_equal(rig_put(rig, "k", "three"), 1001);
	assert_int_equal(rig_get(rig, "k", 0)->version, 3);
	assert_int_equal(rig_compact(rig, 1001, true), ERR_OK);
	assert_int_equal(store_hash_kv(rig->reader, 0, &after), ERR_OK);
	rig_reopen(rig);
	assert_int_equal(store_head(rig->store), 1001);
	assert_sound(rig);
	jump.in.jump.revision = JUMP_REVISION_MAX + 1;
	assert_int_equal(rig_do(rig, &jump), ERR_FUTURE_REVISION);
}

/* --- the sweep ------------------------------------------------------------------------------- */

static void test_a_sweep_is_noted_with_its_first_deletion(void **state)
{
	struct fixture *fixture = *state;
	struct schema_numbers numbers;
	struct sweeper sweeper;
	bool worked;

	fixture_begin(fixture);
	for (int i = 0; i < 2 * SWEEP_SLICE_ROWS + 10; i++)
		fixture_put(fixture, "k", "v", 0);
	fixture_commit(fixture);
	assert_int_equal(schema_start(&fixture->writer, &numbers), ERR_OK);
	pins_compact(&fixture->store.pins, 2000);
	sweeper_init(&sweeper, &fixture->store, &fixture->writer, NEVER_COMPACTED);
	while (!sweeper.rows_deleted) {
		assert_int_equal(schema_numbers_read(&fixture->writer, &numbers), ERR_OK);
		assert_int_equal(numbers.sweeping, NEVER_COMPACTED);
		assert_int_equal(sweeper_step(&sweeper, &worked), ERR_OK);
		assert_int_equal(store_swept(&fixture->store), 2000);
	}
	assert_int_equal(sweeper.rows_deleted, SWEEP_SLICE_ROWS);
	assert_int_equal(schema_numbers_read(&fixture->writer, &numbers), ERR_OK);
	assert_int_equal(numbers.sweeping, 2000);
	assert_int_equal(numbers.swept, NEVER_COMPACTED);
	while (sweeper.active)
		assert_int_equal(sweeper_step(&sweeper, &worked), ERR_OK);
	assert_int_equal(schema_numbers_read(&fixture->writer, &numbers), ERR_OK);
	assert_int_equal(numbers.swept, 2000);
	sweeper_fini(&sweeper);
}

static void test_without_notes_all_that_is_compacted_counts_as_swept(void **state)
{
	struct rig *rig = *state;

	store_log_hold(rig->store, 2);
	for (int i = 0; i < 5; i++)
		rig_put(rig, "k", "v");
	assert_int_equal(rig_compact(rig, 5, false), ERR_OK);
	rig_down(rig);
	edit(rig, "DELETE FROM settings WHERE name = '" SETTING_SWEEPING "'");
	rig_reopen(rig);
	assert_int_equal(store_swept(rig->store), 5);
}

static void test_a_hold_keeps_the_log_over_a_restart(void **state)
{
	struct rig *rig = *state;
	struct log_op op = {.from = 2, .to = INT64_MAX, .rows_max = 100, .bytes_max = 100};
	int64_t to = 0;
	int rows = 0;

	store_log_hold(rig->store, 2);
	for (int i = 0; i < 5; i++)
		rig_put(rig, "k", "v");
	assert_int_equal(rig_compact(rig, 6, true), ERR_OK); /* all that is free is gone */
	assert_int_equal(store_swept(rig->store), 2);
	assert_int_equal(store_log(rig->reader, &op, count_row, &rows, &to), ERR_OK);
	assert_int_equal(rows, 4);
	rig_down(rig);
	/* The rig starts its writer at once, so this store is opened without one. */
	{
		char problem[STORE_PROBLEM_BYTES];
		struct store *store;

		assert_int_equal(store_open(&rig->config, &store, problem), ERR_OK);
		assert_int_equal(store_swept(store), 2);
		store_log_hold(store, 4);
		assert_int_equal(store_turn(store), ERR_OK);
		assert_int_equal(store_swept(store), 4);
		store_log_hold(store, INT64_MAX);
		atomic_fetch_add(&rig->now_ns, NS_PER_SECOND);
		assert_int_equal(store_turn(store), ERR_OK);
		assert_int_equal(store_swept(store), 6);
		store_stop(store);
		store_close(store);
	}
	rig_reopen(rig);
	assert_int_equal(store_log(rig->reader, &op, count_row, &rows, &to), ERR_COMPACTED);
}

/* --- snapshots ------------------------------------------------------------------------------- */

static enum err write_kinds(struct apply *apply, void *context)
{
	struct kv kv = {.key = BYTES_LITERAL("hidden"), .value = BYTES_LITERAL("v")};

	(void)context;
	assert_int_equal(apply_put(apply, &kv, BYTES_LITERAL("m1"), false), ERR_OK);
	assert_int_equal(apply_put(apply, &kv, BYTES_LITERAL("m2"), false), ERR_OK);
	assert_int_equal(apply_delete(apply, BYTES_LITERAL("gone"), BYTES_LITERAL("m3"), true),
			 ERR_OK);
	kv.key = BYTES_LITERAL("shown");
	assert_int_equal(apply_put(apply, &kv, BYTES_LITERAL("m4"), true), ERR_OK);
	assert_int_equal(apply_put(apply, &kv, BYTES_LITERAL("m5"), false), ERR_OK);
	assert_int_equal(apply_delete(apply, BYTES_LITERAL("nothing"), bytes_of(NULL, 0), true),
			 ERR_OK);
	return apply_set_state(apply, BYTES_LITERAL("record"), BYTES_LITERAL("r"));
}

static void assert_meta(struct store_keys *keys, const char *key, const char *meta)
{
	struct keys_row row;
	bool found = false;

	assert_int_equal(store_keys_get(keys, bytes_of_string(key), &row, &found), ERR_OK);
	assert_int_equal(found, meta != NULL);
	if (meta)
		assert_true(bytes_equal(row.meta, bytes_of_string(meta)));
}

static void assert_kinds(struct rig *rig)
{
	struct keys_op op = {BYTES_LITERAL("\0"), BYTES_LITERAL("\0"), true};
	struct store_keys *keys;
	int64_t revision;

	assert_int_equal(store_keys_open(rig->reader, &op, &keys, &revision), ERR_OK);
	assert_meta(keys, "hidden", "m2");
	assert_meta(keys, "gone", "m3");
	assert_meta(keys, "shown", "m5");
	assert_meta(keys, "nothing", NULL);
	store_keys_close(keys);
}

static void test_a_snapshot_has_what_sync_knows(void **state)
{
	struct rig *rig = *state;
	struct op op = {.kind = OP_APPLY, .in.apply = {write_kinds, NULL}};
	char path[256], problem[STORE_PROBLEM_BYTES];
	struct snapshot_status status;
	struct bytes value;
	bool found;

	assert_int_equal(rig_do(rig, &op), ERR_OK);
	assert_kinds(rig);
	snprintf(path, sizeof(path), "%s/snapshot", rig->dir);
	assert_int_equal(store_snapshot_write(rig->reader, path), ERR_OK);
	assert_int_equal(store_snapshot_status(path, &status, problem), ERR_OK);
	assert_int_equal(status.total_keys, 4); /* rows: two of "shown", one of each other */
	rig_down(rig);
	snprintf(problem, sizeof(problem), "%s/%s", rig->dir, "restored");
	{
		char *dir = strdup(problem);

		assert_int_equal(store_snapshot_restore(path, dir, 100, problem), ERR_OK);
		rig->config.data_dir = dir;
		assert_int_equal(rig_up(rig, problem), ERR_OK);
		assert_kinds(rig);
		assert_int_equal(store_state_get(rig->reader, BYTES_LITERAL("record"), &rig->arena,
						 &found, &value),
				 ERR_OK);
		assert_true(found && bytes_equal(value, BYTES_LITERAL("r")));
		assert_int_equal(store_swept(rig->store), store_head(rig->store));
		rig_put(rig, "other", "v");
		assert_int_equal(rig_compact(rig, store_head(rig->store), true), ERR_OK);
		assert_kinds(rig);
		rig_down(rig);
		free(dir);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_a_visitor_ends_the_reading_with_its_error),
		TEST(test_a_damaged_row_is_never_shown),
		TEST(test_a_scan_goes_through_all_slices_of_its_range),
		TEST(test_a_jump_leaves_the_past_behind),
		TEST(test_without_notes_all_that_is_compacted_counts_as_swept),
		TEST(test_a_hold_keeps_the_log_over_a_restart),
		TEST(test_a_snapshot_has_what_sync_knows),
		cmocka_unit_test_setup_teardown(test_a_sweep_is_noted_with_its_first_deletion,
						fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
