/* SPDX-License-Identifier: Apache-2.0 */
/* test_checkpoint.c - the files of the store have bounds, whoever reads and whatever is written. */
#include "shim/store/internal.h"
#include "shim/store/pages.h"
#include "shim/store/writer.h"
#include "tests/harness/store_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#define FOLD_PAGES 200
#define PAGES_MAX 1000 /* WAL_PAGES_MAX in small */

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	char problem[STORE_PROBLEM_BYTES];

	rig_open(rig);
	rig_down(rig);
	rig->config.clock = &clock_system; /* pauses of the writer are to pass */
	assert_int_equal(store_open(&rig->config, &rig->store, problem), ERR_OK);
	rig->store->writer->checkpoint.fold_pages = FOLD_PAGES;
	rig->store->writer->checkpoint.pages_max = PAGES_MAX;
	assert_int_equal(store_reader_new(rig->store, &rig->reader), ERR_OK);
	assert_int_equal(store_start(rig->store), ERR_OK);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	rig_close(*state);
	free(*state);
	return 0;
}

static int64_t file_bytes(const struct rig *rig, const char *name)
{
	char path[256];
	struct stat status;

	snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
	return stat(path, &status) ? 0 : status.st_size;
}

/* Overwrites ten keys with what compaction lets go of; returns how many puts were taken. */
static int overwrite(struct rig *rig, int count, enum err *ret_refusal)
{
	static uint8_t value[8000];
	int taken = 0;

	*ret_refusal = ERR_OK;
	for (int i = 0; i < count; i++) {
		char key[8];
		struct op put = {.kind = OP_PUT, .in.put.value = bytes_of(value, sizeof(value))};
		enum err e;

		snprintf(key, sizeof(key), "k%d", i % 10);
		put.in.put.key = bytes_of_string(key);
		e = rig_do(rig, &put);
		taken += !e;
		if (e)
			*ret_refusal = e;
		if (!e && i % 20 == 19)
			rig_compact(rig, put.out.put.revision - 5, false);
	}
	return taken;
}

/* As a `kedge snapshot save` does that was stopped in the middle. */
static sqlite3 *hang(const struct rig *rig)
{
	char path[256];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/%s", rig->dir, STORE_DB_NAME);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, PAGES_VFS), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN; SELECT count(*) FROM log;", NULL, NULL, NULL),
			 SQLITE_OK);
	return db;
}

static void test_files_stay_small_under_overwrites_and_compaction(void **state)
{
	struct rig *rig = *state;
	enum err refusal;

	assert_int_equal(overwrite(rig, 3000, &refusal), 3000); /* 24 MB */
	assert_true(file_bytes(rig, STORE_DB_NAME) < 2 * MIB);
	assert_true(file_bytes(rig, STORE_DB_NAME "-wal") < 2 * FOLD_PAGES * DB_PAGE_BYTES);
}

static void test_a_reader_that_hangs_does_not_make_the_wal_grow_for_ever(void **state)
{
	struct rig *rig = *state;
	struct op alarm = {.kind = OP_ALARM_SET, .in.alarm = ALARM_NOSPACE};
	struct op clear = {.kind = OP_ALARM_CLEAR, .in.alarm = ALARM_NOSPACE};
	struct op drop = {.kind = OP_DELETE, .in.delete_range = {.key = BYTES_LITERAL("k1")}};
	enum err refusal;
	sqlite3 *db;
	int64_t bound = (PAGES_MAX + 100) * (DB_PAGE_BYTES + 24);

	overwrite(rig, 100, &refusal);
	db = hang(rig);
	assert_true(overwrite(rig, 2000, &refusal) < 1000);
	assert_int_equal(refusal, ERR_NO_SPACE);
	/* Nothing at all is written, whatever it is. */
	for (int i = 0; i < 2000; i++)
		assert_int_equal(rig_do(rig, i % 3   ? &drop
					     : i % 2 ? &alarm
						     : &clear),
				 ERR_NO_SPACE);
	assert_true(file_bytes(rig, STORE_DB_NAME "-wal") <= bound);
	assert_non_null(rig_get(rig, "k1", 0)); /* reads go on */
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	rig->store->writer->checkpoint.retry_ns = 0; /* a second later */
	assert_int_equal(overwrite(rig, 500, &refusal), 500);
	assert_true(file_bytes(rig, STORE_DB_NAME "-wal") <= bound);
	assert_true(file_bytes(rig, STORE_DB_NAME) < 8 * MIB);
}

static void test_defragmentation_beside_a_reader_does_not_refuse_writes(void **state)
{
	struct rig *rig = *state;
	struct op defragment = {.kind = OP_DEFRAGMENT};
	static uint8_t value[8000];
	enum err refusal;
	sqlite3 *db;

	for (int i = 0; i < 600; i++) { /* more pages than the WAL may have */
		char key[8];
		struct op put = {.kind = OP_PUT, .in.put.value = bytes_of(value, sizeof(value))};

		snprintf(key, sizeof(key), "b%d", i);
		put.in.put.key = bytes_of_string(key);
		assert_int_equal(rig_do(rig, &put), ERR_OK);
	}
	sqlite3_busy_timeout(rig->store->writer->conn.db, 10);
	db = hang(rig);
	assert_int_equal(rig_do(rig, &defragment), ERR_OK);
	assert_true(file_bytes(rig, STORE_DB_NAME "-wal") > PAGES_MAX * DB_PAGE_BYTES);
	assert_int_equal(overwrite(rig, 50, &refusal), 50);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	rig->store->writer->checkpoint.retry_ns = 0;
	assert_int_equal(rig_do(rig, &defragment), ERR_OK);
	assert_int_equal(file_bytes(rig, STORE_DB_NAME "-wal"), 0);
}

/* A read that its client never finishes holds rows back until its owner ends it, not longer. */
static void test_what_a_cursor_held_back_is_swept_when_it_is_closed(void **state)
{
	struct rig *rig = *state;
	struct range_op all = {.key = BYTES_LITERAL("k"), .end = BYTES_LITERAL("l")};
	struct range_cursor *cursor;
	enum err refusal;
	int64_t held;

	overwrite(rig, 100, &refusal);
	assert_int_equal(store_range_open(rig->reader, &all, &cursor), ERR_OK);
	overwrite(rig, 1000, &refusal);
	held = file_bytes(rig, STORE_DB_NAME);
	assert_true(held > 4 * MIB);
	store_range_close(cursor);
	rig_compact(rig, store_head(rig->store), true);
	overwrite(rig, 1000, &refusal);
	assert_true(file_bytes(rig, STORE_DB_NAME) <= held + 2 * MIB); /* pages are used again */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_files_stay_small_under_overwrites_and_compaction),
		TEST(test_a_reader_that_hangs_does_not_make_the_wal_grow_for_ever),
		TEST(test_defragmentation_beside_a_reader_does_not_refuse_writes),
		TEST(test_what_a_cursor_held_back_is_swept_when_it_is_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
