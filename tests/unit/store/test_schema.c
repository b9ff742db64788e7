/* SPDX-License-Identifier: Apache-2.0 */
/* test_schema.c - who may open which data directory, and what it is told otherwise. */
#include "shim/store/datadir.h"
#include "shim/store/internal.h"
#include "shim/store/pages.h"
#include "shim/store/schema.h"
#include "tests/harness/store_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

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

static void run_sql_as(const struct rig *rig, const char *vfs, const char *sql)
{
	char path[256];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/%s", rig->dir, STORE_DB_NAME);
	assert_int_equal(
		sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs),
		SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void run_sql(const struct rig *rig, const char *sql)
{
	run_sql_as(rig, PAGES_VFS, sql);
}

static void write_file(const struct rig *rig, const char *name, const char *text)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void refused(struct rig *rig, const char *part)
{
	char problem[STORE_PROBLEM_BYTES] = "";
	enum err e = rig_up(rig, problem);

	assert_int_not_equal(e, ERR_OK);
	if (!strstr(problem, part))
		fail_msg("the problem \"%s\" does not say \"%s\"", problem, part);
}

static void test_the_database_of_another_program_is_left_alone(void **state)
{
	struct rig *rig = *state;
	char path[256];
	struct stat before, after;

	rig_down(rig);
	snprintf(path, sizeof(path), "%s/%s", rig->dir, STORE_DB_NAME);
	unlink(path);
	run_sql_as(rig, NULL, "CREATE TABLE kine(id INTEGER)");
	assert_int_equal(stat(path, &before), 0);
	refused(rig, "kine database");
	run_sql_as(rig, NULL, "ALTER TABLE kine RENAME TO mine");
	refused(rig, "another program");
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
	unlink(path);
}

static void test_a_newer_schema_is_refused(void **state)
{
	struct rig *rig = *state;

	rig_down(rig);
	run_sql(rig, "PRAGMA user_version=2");
	refused(rig, "newer kedge");
	run_sql(rig, "PRAGMA user_version=1");
	rig_reopen(rig);
}

static void test_a_file_that_is_no_database_is_refused(void **state)
{
	struct rig *rig = *state;
	char text[5000];

	rig_down(rig);
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	write_file(rig, STORE_DB_NAME, text);
	refused(rig, "not a kedge database");
}

static void test_an_empty_file_becomes_a_database(void **state)
{
	struct rig *rig = *state;

	rig_down(rig);
	write_file(rig, STORE_DB_NAME, "");
	rig_reopen(rig);
	assert_int_equal(store_head(rig->store), 1);
	assert_int_equal(rig_put(rig, "a", "1"), 2);
}

static void test_a_second_server_on_the_same_data_is_refused(void **state)
{
	struct rig *rig = *state;
	char problem[STORE_PROBLEM_BYTES], pid[32];
	struct store *second;

	assert_int_equal(store_open(&rig->config, &second, problem), ERR_STORAGE);
	snprintf(pid, sizeof(pid), "pid %ld", (long)getpid());
	assert_non_null(strstr(problem, "in use by another server"));
	assert_non_null(strstr(problem, pid));
	assert_int_equal(rig_put(rig, "a", "1"), 2);
}

static void test_a_data_dir_that_is_a_file_is_refused(void **state)
{
	struct rig *rig = *state;
	char problem[STORE_PROBLEM_BYTES], path[256];
	struct store_config config = rig->config;
	struct store *store;

	write_file(rig, "file", "text");
	snprintf(path, sizeof(path), "%s/file", rig->dir);
	config.data_dir = path;
	assert_int_equal(store_open(&config, &store, problem), ERR_STORAGE);
	assert_non_null(strstr(problem, "not a directory"));
	snprintf(path, sizeof(path), "%s/file/below", rig->dir);
	assert_int_equal(store_open(&config, &store, problem), ERR_STORAGE);
	assert_non_null(strstr(problem, "cannot be made"));
}

static void test_a_data_dir_is_made_with_its_parents(void **state)
{
	struct rig *rig = *state;
	char problem[STORE_PROBLEM_BYTES], path[256];
	struct store_config config = rig->config;
	struct stat made;
	struct store *store;

	snprintf(path, sizeof(path), "%s/a/b", rig->dir);
	config.data_dir = path;
	assert_int_equal(store_open(&config, &store, problem), ERR_OK);
	store_close(store);
	assert_int_equal(stat(path, &made), 0);
	assert_int_equal(made.st_mode & 0777, 0700);
}

static void test_an_etcd_data_dir_is_refused(void **state)
{
	struct rig *rig = *state;
	char path[256];

	rig_down(rig);
	snprintf(path, sizeof(path), "%s/member", rig->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/member/snap", rig->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	write_file(rig, "member/snap/db", "");
	refused(rig, "data of an etcd");
}

/* Root may read everything, so an ordinary user's child asks. */
static void test_an_unreadable_data_dir_is_refused(void **state)
{
	struct rig *rig = *state;
	pid_t child;
	int status;

	rig_down(rig);
	assert_int_equal(chmod(rig->dir, 0), 0);
	child = fork();
	if (!child) {
		char problem[STORE_PROBLEM_BYTES] = "";
		bool told;

		if (geteuid() == 0 && setuid(65534))
			_exit(2);
		told = rig_up(rig, problem) && strstr(problem, "check owner and mode");
		_exit(told ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(chmod(rig->dir, 0700), 0);
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_the_file_has_the_settings_it_should(void **state)
{
	struct rig *rig = *state;
	struct conn *conn = &rig->reader->conn;
	static const struct {
		const char *sql;
		int64_t number;
	} wanted[] = {
		{"PRAGMA page_size", DB_PAGE_BYTES},
		{"PRAGMA application_id", SCHEMA_APPLICATION_ID},
		{"PRAGMA user_version", SCHEMA_VERSION},
		{"PRAGMA auto_vacuum", 0},
		{"PRAGMA query_only", 1},
		{"SELECT count(*) FROM pragma_journal_mode WHERE journal_mode='wal'", 1},
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		sqlite3_stmt *stmt;
		int64_t number = -1;

		assert_int_equal(sqlite3_prepare_v2(conn->db, wanted[i].sql, -1, &stmt, NULL),
				 SQLITE_OK);
		assert_int_equal(conn_number(conn, stmt, -2, &number), ERR_OK);
		sqlite3_finalize(stmt);
		assert_int_equal(number, wanted[i].number);
	}
}

/* A statement with a condition must find its rows by key; only whole small tables are scanned. */
static void test_no_statement_scans_where_it_should_search(void **state)
{
	struct rig *rig = *state;
	sqlite3 *db = rig->reader->conn.db;
	static const char *const statements[] = {
#define STMT_TEXT(name, sql) sql,
		STORE_SQL(STMT_TEXT)
#undef STMT_TEXT
	};

	for (size_t i = 0; i < STMT_COUNT; i++) {
		char explain[600];
		sqlite3_stmt *stmt;

		if (!strstr(statements[i], "WHERE"))
			continue;
		snprintf(explain, sizeof(explain), "EXPLAIN QUERY PLAN %s", statements[i]);
		assert_int_equal(sqlite3_prepare_v2(db, explain, -1, &stmt, NULL), SQLITE_OK);
		while (sqlite3_step(stmt) == SQLITE_ROW) {
			const char *detail = (const char *)sqlite3_column_text(stmt, 3);

			if (!strncmp(detail, "SCAN", 4) || strstr(detail, "TEMP B-TREE"))
				fail_msg("%s: %s", statements[i], detail);
		}
		sqlite3_finalize(stmt);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_an_unreadable_data_dir_is_refused),
		TEST(test_the_database_of_another_program_is_left_alone),
		TEST(test_a_newer_schema_is_refused),
		TEST(test_a_file_that_is_no_database_is_refused),
		TEST(test_an_empty_file_becomes_a_database),
		TEST(test_a_second_server_on_the_same_data_is_refused),
		TEST(test_a_data_dir_that_is_a_file_is_refused),
		TEST(test_a_data_dir_is_made_with_its_parents),
		TEST(test_an_etcd_data_dir_is_refused),
		TEST(test_the_file_has_the_settings_it_should),
		TEST(test_no_statement_scans_where_it_should_search),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
