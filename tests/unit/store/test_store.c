/* SPDX-License-Identifier: Apache-2.0 */
/* test_store.c - the store by example: one rule of etcd's API per test. */
#include "shim/base/limits.h"
#include "tests/harness/store_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
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

static void assert_value(const struct kv *kv, const char *value)
{
	assert_non_null(kv);
	assert_int_equal(kv->value.size, strlen(value));
	if (*value)
		assert_memory_equal(kv->value.data, value, strlen(value));
}

static void test_a_fresh_store_is_at_revision_one(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(store_head(rig->store), 1);
	assert_int_equal(store_compacted(rig->store), -1);
	assert_int_equal(rig_put(rig, "a", "1"), 2);
	assert_int_equal(store_head(rig->store), 2);
	assert_true(store_identity(rig->store).cluster_id);
	assert_int_equal(store_identity(rig->store).term, 1);
}

static void test_versions_count_and_start_anew_after_a_delete(void **state)
{
	struct rig *rig = *state;
	const struct kv *kv;

	rig_put(rig, "a", "1");
	rig_put(rig, "a", "2");
	kv = rig_get(rig, "a", 0);
	assert_value(kv, "2");
	assert_int_equal(kv->create_revision, 2);
	assert_int_equal(kv->mod_revision, 3);
	assert_int_equal(kv->version, 2);
	assert_int_equal(rig_delete(rig, "a", NULL), 1);
	assert_null(rig_get(rig, "a", 0));
	assert_value(rig_get(rig, "a", 2), "1");
	rig_put(rig, "a", "");
	kv = rig_get(rig, "a", 0);
	assert_value(kv, "");
	assert_int_equal(kv->create_revision, 5);
	assert_int_equal(kv->version, 1);
}

static void test_a_delete_of_nothing_takes_no_revision(void **state)
{
	struct rig *rig = *state;

	rig_put(rig, "a", "1");
	assert_int_equal(rig_delete(rig, "b", NULL), 0);
	assert_int_equal(rig_delete(rig, "b", "z"), 0);
	assert_int_equal(store_head(rig->store), 2);
}

static void test_future_and_compacted_revisions_are_refused(void **state)
{
	struct rig *rig = *state;
	struct range_op op = {.key = BYTES_LITERAL("a"), .revision = 9};
	struct range_result result;

	for (int i = 0; i < 5; i++)
		rig_put(rig, "a", "x");
	assert_int_equal(store_range(rig->reader, &op, &rig->arena, &result), ERR_FUTURE_REVISION);
	assert_int_equal(rig_compact(rig, 4, true), ERR_OK);
	op.revision = 3;
	assert_int_equal(store_range(rig->reader, &op, &rig->arena, &result), ERR_COMPACTED);
	op.revision = 4; /* the compaction revision itself is readable */
	assert_int_equal(store_range(rig->reader, &op, &rig->arena, &result), ERR_OK);
	assert_int_equal(result.kv_count, 1);
	assert_int_equal(result.kvs[0].mod_revision, 4);
	assert_int_equal(result.revision, 6);
	assert_int_equal(rig_compact(rig, 4, false), ERR_COMPACTED);
	assert_int_equal(rig_compact(rig, 7, false), ERR_FUTURE_REVISION);
}

static void test_compaction_zero_succeeds_once(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(rig_compact(rig, -1, false), ERR_COMPACTED);
	assert_int_equal(rig_compact(rig, 0, true), ERR_OK);
	assert_int_equal(store_compacted(rig->store), 0);
	assert_int_equal(rig_compact(rig, 0, false), ERR_COMPACTED);
	rig_reopen(rig);
	assert_int_equal(store_compacted(rig->store), 0);
}

static void test_head_and_compaction_survive_a_restart_of_an_empty_log(void **state)
{
	struct rig *rig = *state;

	rig_put(rig, "a", "1");
	rig_delete(rig, "a", NULL);
	rig_put(rig, "b", "1");
	rig_delete(rig, "b", NULL);
	assert_int_equal(rig_compact(rig, 5, true), ERR_OK);
	rig_reopen(rig);
	assert_int_equal(store_head(rig->store), 5);
	assert_int_equal(store_compacted(rig->store), 5);
	assert_int_equal(rig_put(rig, "a", "2"), 6);
	assert_int_equal(store_identity(rig->store).term, 2);
}

static void test_physical_compaction_removes_rows(void **state)
{
	struct rig *rig = *state;
	struct store_stats stats;

	for (int i = 0; i < 3000; i++)
		rig_put(rig, i % 2 ? "odd" : "even", "x");
	assert_int_equal(rig_compact(rig, store_head(rig->store), true), ERR_OK);
	store_stats(rig->store, &stats);
	assert_int_equal(stats.compacted_rows, 2998);
	assert_int_equal(stats.key_count, 2);
}

static void test_a_cursor_keeps_its_rows_from_the_sweep(void **state)
{
	struct rig *rig = *state;
	struct range_op op = {.key = BYTES_LITERAL("a"), .end = BYTES_LITERAL("z")};
	struct range_cursor *cursor;
	struct bytes value;

	rig_put(rig, "a", "old a");
	rig_put(rig, "b", "old b");
	assert_int_equal(store_range_open(rig->reader, &op, &cursor), ERR_OK);
	rig_put(rig, "a", "new a");
	rig_delete(rig, "b", NULL);
	rig_put(rig, "c", "x");
	assert_int_equal(rig_compact(rig, 6, true), ERR_OK);
	assert_int_equal(store_range_head(cursor)->count, 2);
	assert_int_equal(store_range_head(cursor)->revision, 3);
	assert_int_equal(store_range_value(cursor, 1, &value), ERR_OK);
	assert_true(bytes_equal(value, BYTES_LITERAL("old b")));
	assert_int_equal(store_range_value(cursor, 0, &value), ERR_OK);
	assert_true(bytes_equal(value, BYTES_LITERAL("old a")));
	assert_true(bytes_equal(store_range_peek(cursor, 1)->key, BYTES_LITERAL("b")));
	store_range_close(cursor);
	assert_int_equal(rig_compact(rig, 6, true), ERR_COMPACTED);
}

static void test_a_cursor_reads_many_values_in_any_order(void **state)
{
	struct rig *rig = *state;
	struct range_op op = {.key = BYTES_LITERAL("k"), .end = BYTES_LITERAL("l")};
	static char big[50000];
	struct range_cursor *cursor;
	struct bytes value;
	char key[16];

	for (int i = 0; i < 40; i++) {
		memset(big, 'a' + i % 26, sizeof(big) - 1);
		big[i * 1000] = 0;
		snprintf(key, sizeof(key), "k%02d", i);
		rig_put(rig, key, big);
	}
	assert_int_equal(store_range_open(rig->reader, &op, &cursor), ERR_OK);
	assert_int_equal(store_range_head(cursor)->kv_count, 40);
	for (int step = 0; step < 80; step++) {
		size_t i = step < 40 ? (size_t)step : (size_t)(step * 7) % 40;

		assert_int_equal(store_range_peek(cursor, i)->value.size, i * 1000);
		assert_int_equal(store_range_value(cursor, i, &value), ERR_OK);
		assert_int_equal(value.size, i * 1000);
		if (i)
			assert_int_equal(value.data[i * 1000 - 1], 'a' + i % 26);
	}
	store_range_close(cursor);
}

static void test_keys_of_a_lease_go_in_one_revision(void **state)
{
	struct rig *rig = *state;
	struct op put = {.kind = OP_PUT, .in.put = {.key = BYTES_LITERAL("b"), .lease = 7}};
	struct op revoke = {.kind = OP_LEASE_REVOKE, .in.lease_revoke = {7}};

	assert_int_equal(rig_do(rig, &put), ERR_LEASE_NOT_FOUND);
	assert_int_equal(rig_do(rig, &revoke), ERR_LEASE_NOT_FOUND);
	assert_int_equal(rig_grant(rig, 7, 1), ERR_OK);
	assert_int_equal(rig_grant(rig, 7, 1), ERR_LEASE_EXISTS);
	assert_int_equal(rig_grant(rig, 8, 9000000001), ERR_LEASE_TTL_TOO_LARGE);
	assert_int_equal(rig_do(rig, &put), ERR_OK);
	put.in.put.key = BYTES_LITERAL("a");
	assert_int_equal(rig_do(rig, &put), ERR_OK);
	put.in.put.key = BYTES_LITERAL("c");
	assert_int_equal(rig_do(rig, &put), ERR_OK);
	rig_put(rig, "c", "moved off the lease");
	assert_int_equal(rig_do(rig, &revoke), ERR_OK);
	assert_int_equal(revoke.revision, 6);
	assert_null(rig_get(rig, "a", 0));
	assert_null(rig_get(rig, "b", 0));
	assert_non_null(rig_get(rig, "c", 0));
}

static void test_leases_expire_and_are_refreshed_by_a_restart(void **state)
{
	struct rig *rig = *state;
	struct op put = {.kind = OP_PUT, .in.put = {.key = BYTES_LITERAL("a"), .lease = 7}};
	struct lease_info info;
	int64_t ttl;

	assert_int_equal(rig_grant(rig, 7, 10), ERR_OK);
	assert_int_equal(rig_do(rig, &put), ERR_OK);
	rig_advance(rig, 9 * NS_PER_SECOND);
	assert_int_equal(store_lease_info(rig->store, 7, true, &rig->arena, &info), ERR_OK);
	assert_int_equal(info.remaining_seconds, 1);
	assert_int_equal(info.granted_seconds, 10);
	assert_int_equal(info.key_count, 1);
	rig_reopen(rig);
	rig_advance(rig, 9 * NS_PER_SECOND);
	assert_non_null(rig_get(rig, "a", 0));
	assert_int_equal(store_lease_renew(rig->store, 7, &ttl), ERR_OK);
	assert_int_equal(ttl, 10);
	rig_advance(rig, 9 * NS_PER_SECOND);
	assert_non_null(rig_get(rig, "a", 0));
	rig_advance(rig, 2 * NS_PER_SECOND);
	assert_null(rig_get(rig, "a", 0));
	assert_int_equal(store_lease_renew(rig->store, 7, &ttl), ERR_LEASE_NOT_FOUND);
	assert_int_equal(store_lease_info(rig->store, 7, true, &rig->arena, &info), ERR_OK);
	assert_int_equal(info.remaining_seconds, -1);
	rig_reopen(rig);
	assert_int_equal(store_lease_info(rig->store, 7, true, &rig->arena, &info), ERR_OK);
	assert_int_equal(info.remaining_seconds, -1);
}

static void test_the_store_chooses_a_lease_id(void **state)
{
	struct rig *rig = *state;
	struct op op = {.kind = OP_LEASE_GRANT, .in.lease_grant = {0, -5}};
	int64_t *ids;
	size_t count;

	assert_int_equal(rig_do(rig, &op), ERR_OK);
	assert_true(op.out.lease.id > 0);
	assert_int_equal(op.out.lease.ttl_seconds, 2);
	assert_int_equal(op.revision, 1);
	assert_int_equal(store_lease_list(rig->store, &rig->arena, &ids, &count), ERR_OK);
	assert_int_equal(count, 1);
	assert_int_equal(ids[0], op.out.lease.id);
}

static void test_alarms_refuse_what_etcd_refuses(void **state)
{
	struct rig *rig = *state;
	struct op alarm = {.kind = OP_ALARM_SET, .in.alarm = ALARM_NOSPACE};
	struct op put = {.kind = OP_PUT, .in.put = {.key = BYTES_LITERAL("a")}};

	rig_put(rig, "a", "1");
	rig_put(rig, "b", "1");
	assert_int_equal(rig_do(rig, &alarm), ERR_OK);
	assert_true(alarm.out.alarm_changed);
	assert_int_equal(rig_do(rig, &put), ERR_NO_SPACE);
	assert_int_equal(rig_grant(rig, 1, 5), ERR_NO_SPACE);
	assert_int_equal(rig_delete(rig, "a", NULL), 1);
	rig_reopen(rig);
	assert_int_equal(store_alarms(rig->store), 1u << ALARM_NOSPACE);
	assert_int_equal(rig_do(rig, &put), ERR_NO_SPACE);
	alarm.in.alarm = ALARM_CORRUPT;
	assert_int_equal(rig_do(rig, &alarm), ERR_OK);
	assert_int_equal(rig_do(rig, &put), ERR_CORRUPT);
	assert_int_equal(rig_compact(rig, 2, false), ERR_CORRUPT);
	alarm.kind = OP_ALARM_CLEAR;
	assert_int_equal(rig_do(rig, &alarm), ERR_OK);
	assert_true(alarm.out.alarm_changed);
	alarm.in.alarm = ALARM_NOSPACE;
	assert_int_equal(rig_do(rig, &alarm), ERR_OK);
	assert_int_equal(rig_do(rig, &alarm), ERR_OK);
	assert_false(alarm.out.alarm_changed);
	assert_int_equal(rig_do(rig, &put), ERR_OK);
	rig_reopen(rig);
	assert_int_equal(store_alarms(rig->store), 0);
}

static void test_quota_raises_a_durable_alarm(void **state)
{
	struct rig *rig = *state;
	struct op put = {.kind = OP_PUT, .in.put = {.key = BYTES_LITERAL("a")}};

	rig_put(rig, "a", "1");
	assert_int_equal(store_quota_check(rig->store, 1000), ERR_OK);
	assert_int_equal(store_quota_check(rig->store, 1LL << 40), ERR_NO_SPACE);
	assert_int_equal(store_alarms(rig->store), 1u << ALARM_NOSPACE);
	assert_int_equal(rig_do(rig, &put), ERR_NO_SPACE);
	rig_reopen(rig);
	assert_int_equal(store_alarms(rig->store), 1u << ALARM_NOSPACE);
}

static void test_defragmentation_shrinks_the_file(void **state)
{
	struct rig *rig = *state;
	struct op defragment = {.kind = OP_DEFRAGMENT};
	struct store_stats before, after;
	static char value[1000];

	memset(value, 'v', sizeof(value) - 1);
	for (int i = 0; i < 2000; i++)
		rig_put(rig, "a", value);
	rig_compact(rig, store_head(rig->store), true);
	store_stats(rig->store, &before);
	assert_int_equal(rig_do(rig, &defragment), ERR_OK);
	store_stats(rig->store, &after);
	assert_true(after.file_bytes < before.file_bytes / 10);
	assert_true(after.in_use_bytes <= after.file_bytes);
	assert_value(rig_get(rig, "a", 0), value);
	rig_reopen(rig);
	assert_value(rig_get(rig, "a", 0), value);
}

static void test_ignore_flags_keep_the_old(void **state)
{
	struct rig *rig = *state;
	struct op put = {.kind = OP_PUT,
			 .arena = &rig->arena,
			 .in.put = {.key = BYTES_LITERAL("a"), .ignore_value = true}};

	assert_int_equal(rig_do(rig, &put), ERR_KEY_NOT_FOUND);
	assert_int_equal(rig_grant(rig, 3, 50), ERR_OK);
	put.in.put =
		(struct put_op){.key = BYTES_LITERAL("a"), .value = BYTES_LITERAL("v"), .lease = 3};
	assert_int_equal(rig_do(rig, &put), ERR_OK);
	put.in.put = (struct put_op){
		.key = BYTES_LITERAL("a"), .value = BYTES_LITERAL("w"), .ignore_lease = true};
	assert_int_equal(rig_do(rig, &put), ERR_OK);
	assert_int_equal(rig_get(rig, "a", 0)->lease, 3);
	put.in.put =
		(struct put_op){.key = BYTES_LITERAL("a"), .ignore_value = true, .prev_kv = true};
	assert_int_equal(rig_do(rig, &put), ERR_OK);
	assert_true(put.out.put.has_prev);
	assert_value(&put.out.put.prev, "w");
	assert_int_equal(put.out.put.prev.lease, 3);
	assert_value(rig_get(rig, "a", 0), "w");
	assert_int_equal(rig_get(rig, "a", 0)->lease, 0);
}

static enum err wait_for_gate(struct apply *apply, void *gate)
{
	(void)apply;
	while (!atomic_load((_Atomic bool *)gate))
		usleep(1000);
	return ERR_OK;
}

/* Results that nobody takes away end the batch: the rest goes on one by one. */
static void test_results_cut_a_batch(void **state)
{
	enum { OPS = WRITER_RESULTS_BYTES_MAX / MIB + 36 };
	static uint8_t value[MIB];
	struct rig *rig = *state;
	_Atomic bool gate = false;
	struct meter results = {0};
	struct rig_op first = {.op = {.kind = OP_APPLY, .in.apply = {wait_for_gate, &gate}}};
	struct rig_op *ops = calloc(OPS, sizeof(*ops));
	struct arena *arenas = calloc(OPS, sizeof(*arenas));
	struct op put = {.kind = OP_PUT,
			 .in.put = {.key = BYTES_LITERAL("a"), .value = {value, sizeof(value)}}};
	struct store_stats before, after;

	assert_int_equal(rig_do(rig, &put), ERR_OK);
	assert_int_equal(rig_submit(rig, &first), ERR_OK);
	for (size_t i = 0; i < OPS; i++) {
		arena_init(&arenas[i], 2 * MIB);
		arenas[i].meter = &results;
		ops[i].op = (struct op){.kind = OP_PUT,
					.arena = &arenas[i],
					.in.put = {.key = BYTES_LITERAL("a"),
						   .ignore_value = true,
						   .prev_kv = true}};
		assert_int_equal(rig_submit(rig, &ops[i]), ERR_OK);
	}
	store_stats(rig->store, &before);
	atomic_store(&gate, true);
	assert_int_equal(rig_wait(&first), ERR_OK);
	for (size_t i = 0; i < OPS; i++) {
		assert_int_equal(rig_wait(&ops[i]), ERR_OK);
		assert_int_equal(ops[i].op.out.put.prev.value.size, MIB);
	}
	store_stats(rig->store, &after);
	assert_in_range(after.commits - before.commits, OPS - WRITER_RESULTS_BYTES_MAX / MIB, OPS);
	assert_in_range(meter_bytes(&results), OPS * (size_t)MIB, 2 * OPS * (size_t)MIB);
	for (size_t i = 0; i < OPS; i++)
		arena_fini(&arenas[i]);
	assert_int_equal(meter_bytes(&results), 0);
	free(arenas);
	free(ops);
}

/* What the writer has taken out of its inbox counts until it is answered. */
static void test_waiting_writes_have_a_limit(void **state)
{
	struct rig *rig = *state;
	_Atomic bool gate = false;
	struct rig_op first = {.op = {.kind = OP_APPLY, .in.apply = {wait_for_gate, &gate}}};
	struct rig_op *ops = calloc(WRITER_INBOX_OPS_MAX, sizeof(*ops));
	size_t count = 0;

	assert_int_equal(rig_submit(rig, &first), ERR_OK);
	for (;; count++) {
		ops[count].op = (struct op){.kind = OP_LEASE_REVOKE, .in.lease_revoke = {77}};
		if (rig_submit(rig, &ops[count]))
			break;
	}
	assert_int_equal(count, WRITER_INBOX_OPS_MAX - 1);
	assert_int_equal(rig_submit(rig, &ops[count]), ERR_BUSY);
	atomic_store(&gate, true);
	assert_int_equal(rig_wait(&first), ERR_OK);
	while (count)
		assert_int_equal(rig_wait(&ops[--count]), ERR_LEASE_NOT_FOUND);
	free(ops);
}

static void test_stop_answers_everybody(void **state)
{
	struct rig *rig = *state;
	struct op op = {.kind = OP_PUT, .in.put = {.key = BYTES_LITERAL("a")}};

	store_stop(rig->store);
	assert_int_equal(rig_do(rig, &op), ERR_STOPPED);
	rig_down(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_a_fresh_store_is_at_revision_one),
		TEST(test_versions_count_and_start_anew_after_a_delete),
		TEST(test_a_delete_of_nothing_takes_no_revision),
		TEST(test_future_and_compacted_revisions_are_refused),
		TEST(test_compaction_zero_succeeds_once),
		TEST(test_head_and_compaction_survive_a_restart_of_an_empty_log),
		TEST(test_physical_compaction_removes_rows),
		TEST(test_a_cursor_keeps_its_rows_from_the_sweep),
		TEST(test_a_cursor_reads_many_values_in_any_order),
		TEST(test_keys_of_a_lease_go_in_one_revision),
		TEST(test_leases_expire_and_are_refreshed_by_a_restart),
		TEST(test_the_store_chooses_a_lease_id),
		TEST(test_alarms_refuse_what_etcd_refuses),
		TEST(test_quota_raises_a_durable_alarm),
		TEST(test_defragmentation_shrinks_the_file),
		TEST(test_ignore_flags_keep_the_old),
		TEST(test_results_cut_a_batch),
		TEST(test_waiting_writes_have_a_limit),
		TEST(test_stop_answers_everybody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
