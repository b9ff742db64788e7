/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_faults.c - full disks, failing commits, damaged rows, and processes that are killed.
 */
#include "shim/store/internal.h"
#include "shim/store/pages.h"
#include "shim/store/writer.h"
#include "tests/harness/store_rig.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
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

/* --- a full disk ----------------------------------------------------------------------------- */

struct pragma {
	struct rig *rig;
	const char *sql;
};

/* Runs on the writer: the only thread that may use its connection. */
static enum err run_pragma(struct apply *apply, void *context)
{
	const struct pragma *pragma = context;

	(void)apply;
	return conn_exec(&pragma->rig->store->writer->conn, pragma->sql);
}

static enum err pragma(struct rig *rig, const char *sql)
{
	struct pragma context = {rig, sql};
	struct op op = {.kind = OP_APPLY, .in.apply = {run_pragma, &context}};

	return rig_do(rig, &op);
}

static void put_big(struct rig *rig, struct rig_op *op, const char *key, struct bytes value,
		    int64_t lease)
{
	*op = (struct rig_op){
		.op = {.kind = OP_PUT,
		       .in.put = {.key = bytes_of_string(key), .value = value, .lease = lease}}};
	assert_int_equal(rig_submit(rig, op), ERR_OK);
}

static void test_a_full_disk_takes_back_the_whole_batch(void **state)
{
	struct rig *rig = *state;
	static uint8_t big[200000];
	struct bytes value = bytes_of(big, sizeof(big));
	struct op clear = {.kind = OP_ALARM_CLEAR, .in.alarm = ALARM_NOSPACE};
	struct op revoke = {.kind = OP_LEASE_REVOKE, .in.lease_revoke = {5}};
	struct lease_info info;
	struct rig_op ops[4];
	int64_t head;

	assert_int_equal(rig_grant(rig, 5, 100), ERR_OK);
	put_big(rig, &ops[0], "leased", BYTES_LITERAL("1"), 5);
	assert_int_equal(rig_wait(&ops[0]), ERR_OK);
	rig_put(rig, "a", "before");
	head = store_head(rig->store);
	assert_int_equal(pragma(rig, "PRAGMA max_page_count=60"), ERR_OK);
	put_big(rig, &ops[0], "a", value, 0);
	assert_int_equal(rig_wait(&ops[0]), ERR_NO_SPACE);
	assert_int_equal(store_head(rig->store), head);
	assert_int_equal(store_alarms(rig->store), 1u << ALARM_NOSPACE);
	assert_true(bytes_equal(rig_get(rig, "a", 0)->value, BYTES_LITERAL("before")));
	/* Small ones still fit once the alarm is off; a batch in which one does not fit goes back
	 * as a whole, leases too. */
	assert_int_equal(rig_do(rig, &clear), ERR_OK);
	assert_int_equal(rig_grant(rig, 6, 100), ERR_OK);
	put_big(rig, &ops[0], "leased", BYTES_LITERAL("2"), 6);
	put_big(rig, &ops[1], "new", BYTES_LITERAL("3"), 5);
	put_big(rig, &ops[2], "big", value, 0);
	for (int i = 0; i < 3; i++)
		rig_wait(&ops[i]);
	assert_int_equal(ops[2].op.err, ERR_NO_SPACE);
	assert_null(rig_get(rig, "big", 0));
	assert_int_equal(store_lease_info(rig->store, 5, true, &rig->arena, &info), ERR_OK);
	assert_int_equal(info.key_count, (ops[0].op.err != ERR_OK) + (ops[1].op.err == ERR_OK));
	assert_int_equal(rig_do(rig, &revoke), ERR_OK);
	assert_int_equal(pragma(rig, "PRAGMA max_page_count=1000000"), ERR_OK);
	assert_int_equal(rig_do(rig, &clear), ERR_OK);
	put_big(rig, &ops[0], "big", value, 0);
	assert_int_equal(rig_wait(&ops[0]), ERR_OK);
	head = store_head(rig->store);
	rig_reopen(rig);
	assert_int_equal(store_head(rig->store), head);
	assert_int_equal(rig_get(rig, "big", 0)->value.size, sizeof(big));
}

/* Several ops in one batch for sure: they are queued before the writer starts. */
static void test_a_batch_is_undone_in_order(void **state)
{
	struct rig *rig = *state;
	static uint8_t big[300000];
	char problem[STORE_PROBLEM_BYTES];
	struct lease_info info;
	struct rig_op ops[6];
	int64_t head;

	assert_int_equal(rig_grant(rig, 5, 100), ERR_OK);
	put_big(rig, &ops[0], "k", BYTES_LITERAL("1"), 5);
	assert_int_equal(rig_wait(&ops[0]), ERR_OK);
	rig_down(rig);
	assert_int_equal(store_open(&rig->config, &rig->store, problem), ERR_OK);
	assert_int_equal(store_reader_new(rig->store, &rig->reader), ERR_OK);
	assert_int_equal(conn_exec(&rig->store->writer->conn, "PRAGMA max_page_count=60"), ERR_OK);
	head = store_head(rig->store);
	ops[0] = (struct rig_op){
		.op = {.kind = OP_LEASE_GRANT, .in.lease_grant = {.id = 9, .ttl_seconds = 30}}};
	assert_int_equal(rig_submit(rig, &ops[0]), ERR_OK);
	put_big(rig, &ops[1], "fresh", BYTES_LITERAL("1"), 9);
	ops[2] = (struct rig_op){
		.op = {.kind = OP_DELETE, .in.delete_range = {.key = BYTES_LITERAL("fresh")}}};
	assert_int_equal(rig_submit(rig, &ops[2]), ERR_OK);
	ops[3] = (struct rig_op){.op = {.kind = OP_LEASE_REVOKE, .in.lease_revoke = {5}}};
	assert_int_equal(rig_submit(rig, &ops[3]), ERR_OK);
	put_big(rig, &ops[4], "k", BYTES_LITERAL("2"), 9);
	put_big(rig, &ops[5], "big", bytes_of(big, sizeof(big)), 0);
	assert_int_equal(store_start(rig->store), ERR_OK);
	for (int i = 0; i < 6; i++)
		assert_int_equal(rig_wait(&ops[i]), ERR_NO_SPACE);
	assert_int_equal(store_head(rig->store), head);
	assert_null(rig_get(rig, "fresh", 0));
	assert_int_equal(rig_get(rig, "k", 0)->lease, 5);
	assert_int_equal(store_lease_info(rig->store, 5, true, &rig->arena, &info), ERR_OK);
	assert_int_equal(info.key_count, 1);
	assert_int_equal(info.granted_seconds, 100);
	assert_int_equal(store_lease_info(rig->store, 9, true, &rig->arena, &info), ERR_OK);
	assert_int_equal(info.remaining_seconds, -1);
	rig_reopen(rig);
	assert_int_equal(store_head(rig->store), head);
	assert_int_equal(rig_get(rig, "k", 0)->lease, 5);
}

/* --- a commit that fails --------------------------------------------------------------------- */

static _Atomic int faults;

static void on_fault(void *context, enum err e)
{
	(void)context;
	assert_int_equal(e, ERR_STORAGE);
	atomic_fetch_add(&faults, 1);
}

static void test_a_failing_commit_stops_the_store(void **state)
{
	struct rig *rig = *state;
	struct op put = {.kind = OP_PUT, .in.put = {.key = BYTES_LITERAL("a")}};

	rig_down(rig);
	rig->config.listener.on_fault = on_fault;
	rig_reopen(rig);
	rig_put(rig, "a", "1");
	assert_int_equal(pragma(rig, "PRAGMA query_only=ON"), ERR_OK);
	assert_int_equal(rig_do(rig, &put), ERR_STOPPED);
	assert_int_equal(atomic_load(&faults), 1);
	assert_int_equal(rig_do(rig, &put), ERR_STOPPED);
	assert_int_equal(store_head(rig->store), 2);
	assert_non_null(rig_get(rig, "a", 0)); /* what was published can still be read */
	rig_reopen(rig);
	assert_int_equal(rig_put(rig, "a", "2"), 3);
}

/* --- damaged rows ---------------------------------------------------------------------------- */

static void damage(struct rig *rig, const char *sql)
{
	char path[256];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/%s", rig->dir, STORE_DB_NAME);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, PAGES_VFS), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_a_damaged_value_is_not_handed_out(void **state)
{
	struct rig *rig = *state;
	struct range_op op = {.key = BYTES_LITERAL("a")};
	struct range_op all = {.key = BYTES_LITERAL("a"), .end = BYTES_LITERAL("z")};
	struct op put = {.kind = OP_PUT,
			 .arena = &rig->arena,
			 .in.put = {.key = BYTES_LITERAL("a"), .prev_kv = true}};
	struct range_result result;

	rig_put(rig, "a", "12345");
	for (const char *key = "bcdef"; *key; key++)
		rig_put(rig, (char[]){*key, 0}, "x");
	rig_down(rig);
	damage(rig, "UPDATE log SET value = zeroblob(9) WHERE key = CAST('a' AS BLOB)");
	rig_reopen(rig); /* a start reads no values */
	assert_int_equal(store_range(rig->reader, &op, &rig->arena, &result), ERR_DAMAGED);
	assert_int_equal(store_range(rig->reader, &all, &rig->arena, &result), ERR_DAMAGED);
	op.key = BYTES_LITERAL("b");
	assert_int_equal(store_range(rig->reader, &op, &rig->arena, &result), ERR_OK);
	/* An op that meets it fails alone. */
	assert_int_equal(rig_do(rig, &put), ERR_DAMAGED);
	put.in.put.prev_kv = false;
	assert_int_equal(rig_do(rig, &put), ERR_OK);
}

static void test_a_damaged_header_keeps_the_server_from_starting(void **state)
{
	struct rig *rig = *state;
	char problem[STORE_PROBLEM_BYTES];

	rig_put(rig, "a", "1");
	rig_down(rig);
	damage(rig, "UPDATE log SET version = 7");
	assert_int_equal(rig_up(rig, problem), ERR_DAMAGED);
	assert_non_null(strstr(problem, "restore a snapshot"));
}

static void test_a_row_in_another_place_is_noticed(void **state)
{
	struct rig *rig = *state;
	char problem[STORE_PROBLEM_BYTES];

	rig_put(rig, "a", "1");
	rig_down(rig);
	damage(rig, "UPDATE log SET rev = rev + 1");
	assert_int_equal(rig_up(rig, problem), ERR_DAMAGED);
}

/* --- kill -9 --------------------------------------------------------------------------------- */

static int64_t acknowledged(int fd)
{
	int64_t revision, last = 0;

	while (read(fd, &revision, sizeof(revision)) == (ssize_t)sizeof(revision))
		last = revision;
	return last;
}

/* Writes until it is killed, telling each revision after it was answered. */
static void write_for_ever(struct rig *rig, int fd)
{
	char problem[STORE_PROBLEM_BYTES];

	if (rig_up(rig, problem))
		_exit(1);
	for (int64_t i = 0;; i++) {
		char key[24];
		int64_t revision;

		snprintf(key, sizeof(key), "k%lld", (long long)i % 50);
		revision = rig_put(rig, key, "value");
		if (write(fd, &revision, sizeof(revision)) < 0)
			_exit(1);
		if (i % 40 == 39)
			rig_compact(rig, revision - 10, false);
	}
}

static void test_what_was_answered_survives_kill(void **state)
{
	struct rig *rig = *state;

	rig_down(rig);
	rig->config.no_fsync = false;
	for (int round = 0; round < 5; round++) {
		int64_t last, first = 0, found = 0;
		int pipes[2];
		pid_t child;

		assert_int_equal(pipe(pipes), 0);
		child = fork();
		if (!child)
			write_for_ever(rig, pipes[1]);
		close(pipes[1]);
		assert_int_equal(read(pipes[0], &first, sizeof(first)), sizeof(first));
		usleep(10000 + (useconds_t)round * 37000);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		last = acknowledged(pipes[0]);
		close(pipes[0]);
		last = last > first ? last : first;
		rig_reopen(rig);
		assert_true(store_head(rig->store) == last || store_head(rig->store) == last + 1);
		for (int i = 0; i < 50; i++) {
			char key[24];
			const struct kv *kv;

			snprintf(key, sizeof(key), "k%d", i);
			kv = rig_get(rig, key, 0);
			if (kv && kv->mod_revision > found)
				found = kv->mod_revision;
		}
		assert_int_equal(found, store_head(rig->store));
		rig_down(rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		/* The one that forks goes first: a child of many threads is no place to work in. */
		TEST(test_what_was_answered_survives_kill),
		TEST(test_a_full_disk_takes_back_the_whole_batch),
		TEST(test_a_batch_is_undone_in_order),
		TEST(test_a_failing_commit_stops_the_store),
		TEST(test_a_damaged_value_is_not_handed_out),
		TEST(test_a_damaged_header_keeps_the_server_from_starting),
		TEST(test_a_row_in_another_place_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
