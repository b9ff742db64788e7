/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_model.c - random programs of ops against the store and against the naive model: every
 * answer, every range, the whole history and the leases must be the same, over restarts,
 * compactions and expiries. */
#include "shim/base/limits.h"
#include "tests/harness/model.h"
#include "tests/harness/store_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PROGRAMS 12
#define STEPS 700

struct world {
	struct rig rig;
	struct model *model;
	struct rig_random random;
	struct arena arena; /* requests and the model's results of one step */
	int64_t next_lease;
};

static uint64_t pick(struct world *world, uint64_t below)
{
	return rig_random(&world->random, below);
}

static bool chance(struct world *world, unsigned percent)
{
	return pick(world, 100) < percent;
}

/* Few letters, among them the awkward ones, so that keys meet, nest and hit range ends. */
static struct bytes random_key(struct world *world)
{
	static const uint8_t letters[] = {'a', 'b', 'c', 0x00, 0xff};
	size_t size = 1 + pick(world, 2);
	uint8_t *key = arena_alloc(&world->arena, size);

	for (size_t i = 0; i < size; i++)
		key[i] = letters[pick(world, sizeof(letters))];
	return bytes_of(key, size);
}

static struct bytes random_end(struct world *world)
{
	switch (pick(world, 4)) {
	case 0:
		return BYTES_LITERAL("\0");
	case 1:
	case 2:
		return random_key(world);
	default:
		return bytes_of(NULL, 0);
	}
}

static struct bytes random_value(struct world *world)
{
	size_t size = chance(world, 5) ? pick(world, 9000) : pick(world, 3);
	uint8_t *value = arena_alloc(&world->arena, size + 1);

	memset(value, (int)('0' + pick(world, 3)), size);
	return bytes_of(value, size);
}

static int64_t random_lease(struct world *world)
{
	int64_t id;

	if (chance(world, 70))
		return 0;
	if (chance(world, 95) &&
	    model_lease_at(world->model, pick(world, model_lease_count(world->model) + 1), &id))
		return id;
	return chance(world, 50) ? 0 : 99999;
}

static int64_t random_revision(struct world *world)
{
	int64_t head = model_head(world->model);

	switch (pick(world, 6)) {
	case 0:
		return head + (int64_t)pick(world, 3) - 1;
	case 1:
		return model_compacted(world->model) + (int64_t)pick(world, 3) - 1;
	case 2:
		return (int64_t)pick(world, (uint64_t)head + 1);
	default:
		return 0;
	}
}

static struct range_op random_range(struct world *world)
{
	struct range_op op = {.key = random_key(world), .end = random_end(world)};

	op.revision = random_revision(world);
	op.keys_only = chance(world, 15);
	op.count_only = chance(world, 10);
	if (chance(world, 40))
		op.limit = (int64_t)pick(world, 6) - 1;
	if (chance(world, 40))
		op.order = (enum sort_order)pick(world, 3);
	if (chance(world, 40))
		op.target = (enum sort_target)pick(world, 5);
	if (chance(world, 10))
		op.min_mod_revision = random_revision(world);
	if (chance(world, 10))
		op.max_mod_revision = random_revision(world);
	if (chance(world, 10))
		op.min_create_revision = random_revision(world);
	if (chance(world, 10))
		op.max_create_revision = random_revision(world);
	return op;
}

static struct put_op random_put(struct world *world)
{
	struct put_op op = {.key = random_key(world), .prev_kv = chance(world, 30)};

	op.ignore_value = chance(world, 8);
	op.ignore_lease = chance(world, 8);
	if (!op.ignore_value)
		op.value = random_value(world);
	if (!op.ignore_lease)
		op.lease = random_lease(world);
	return op;
}

static struct delete_op random_delete(struct world *world)
{
	struct delete_op op = {.key = random_key(world), .prev_kv = chance(world, 30)};

	if (chance(world, 40))
		op.end = random_key(world);
	else if (chance(world, 5))
		op.end = BYTES_LITERAL("\0");
	return op;
}

static struct compare random_compare(struct world *world)
{
	struct compare compare = {.key = random_key(world),
				  .result = (int)pick(world, 5),
				  .target = (int)pick(world, 6)};

	if (chance(world, 30))
		compare.end = random_end(world);
	compare.number = chance(world, 50) ? (int64_t)pick(world, 3) : random_revision(world);
	compare.value = random_value(world);
	return compare;
}

static struct txn_op random_txn(struct world *world, int depth);

static struct request random_request(struct world *world, int depth)
{
	struct request request = {.kind = (enum request_kind)pick(world, depth < 3 ? 4 : 3)};

	switch (request.kind) {
	case REQUEST_RANGE:
		request.as.range = random_range(world);
		if (chance(world, 80))
			request.as.range.revision = 0;
		break;
	case REQUEST_PUT:
		request.as.put = random_put(world);
		if (chance(world, 80))
			request.as.put.ignore_value = request.as.put.ignore_lease = false;
		break;
	case REQUEST_DELETE:
		request.as.delete_range = random_delete(world);
		break;
	case REQUEST_TXN:
		request.as.txn = arena_new(&world->arena, struct txn_op);
		*request.as.txn = random_txn(world, depth + 1);
		break;
	}
	return request;
}

static struct request *random_requests(struct world *world, int depth, size_t *ret_count)
{
	size_t count = pick(world, 5);
	struct request *requests = arena_calloc(&world->arena, count + 1, sizeof(*requests));

	for (size_t i = 0; i < count; i++)
		requests[i] = random_request(world, depth);
	*ret_count = count;
	return requests;
}

static struct txn_op random_txn(struct world *world, int depth)
{
	struct txn_op txn = {.compare_count = pick(world, 3)};

	txn.compares = arena_calloc(&world->arena, txn.compare_count + 1, sizeof(*txn.compares));
	for (size_t i = 0; i < txn.compare_count; i++)
		txn.compares[i] = random_compare(world);
	txn.success = random_requests(world, depth, &txn.success_count);
	txn.failure = random_requests(world, depth, &txn.failure_count);
	return txn;
}

static struct op random_op(struct world *world)
{
	struct op op = {.arena = &world->rig.arena};
	uint64_t kind = pick(world, 100);

	if (kind < 40) {
		op.kind = OP_PUT;
		op.in.put = random_put(world);
	} else if (kind < 55) {
		op.kind = OP_DELETE;
		op.in.delete_range = random_delete(world);
	} else if (kind < 85) {
		op.kind = OP_TXN;
		op.in.txn = random_txn(world, 0);
	} else if (kind < 90) {
		op.kind = OP_COMPACT;
		op.in.compact.revision =
			chance(world, 50) ? model_head(world->model) - (int64_t)pick(world, 20)
					  : random_revision(world);
		op.in.compact.physical = chance(world, 50);
	} else if (kind < 96) {
		/* No two alike, so that no two are due at once. */
		op.kind = OP_LEASE_GRANT;
		op.in.lease_grant.id = chance(world, 10) ? world->next_lease : ++world->next_lease;
		op.in.lease_grant.ttl_seconds = 5 + world->next_lease * 3;
	} else {
		op.kind = OP_LEASE_REVOKE;
		op.in.lease_revoke.id = 1 + (int64_t)pick(world, (uint64_t)world->next_lease + 1);
	}
	return op;
}

/* --- one step -------------------------------------------------------------------------------- */

static void step_op(struct world *world)
{
	struct op op = random_op(world);
	struct op twin = op;

	twin.arena = &world->arena;
	model_run(world->model, &twin, atomic_load(&world->rig.now_ns));
	rig_do(&world->rig, &op);
	assert_true(rig_op_equal(&op, &twin));
	assert_int_equal(store_head(world->rig.store), model_head(world->model));
	assert_int_equal(store_compacted(world->rig.store), model_compacted(world->model));
}

static void step_range(struct world *world)
{
	struct range_op op = random_range(world);
	struct range_result mine, theirs;
	struct range_cursor *cursor;
	enum err e = model_range(world->model, &op, &world->arena, &theirs);

	assert_int_equal(store_range(world->rig.reader, &op, &world->rig.arena, &mine), e);
	if (e) {
		assert_int_equal(store_range_open(world->rig.reader, &op, &cursor), e);
		return;
	}
	assert_true(rig_range_equal(&mine, &theirs));
	assert_int_equal(store_range_open(world->rig.reader, &op, &cursor), ERR_OK);
	assert_int_equal(store_range_head(cursor)->kv_count, theirs.kv_count);
	assert_int_equal(store_range_head(cursor)->count, theirs.count);
	for (size_t i = 0; i < theirs.kv_count; i++) {
		struct kv kv = *store_range_peek(cursor, i);

		assert_int_equal(store_range_value(cursor, i, &kv.value), ERR_OK);
		assert_true(rig_kv_equal(&kv, &theirs.kvs[i]));
	}
	store_range_close(cursor);
}

static void assert_event(struct world *world, struct event_batch *batch, size_t index,
			 const struct event *expected)
{
	const struct event *event = event_batch_at(batch, index);
	bool found = false;
	struct kv prev;

	assert_int_equal(event->type, expected->type);
	assert_true(rig_kv_equal(&event->kv, &expected->kv));
	assert_int_equal(event_prev(batch, index, world->rig.reader, &prev, &found), ERR_OK);
	/* What was there before the compaction revision may be gone. */
	if (expected->kv.mod_revision <= model_compacted(world->model) && !found)
		return;
	assert_int_equal(found, expected->has_prev);
	if (found)
		assert_true(rig_kv_equal(&prev, &expected->prev));
}

static void step_history(struct world *world)
{
	int64_t head = model_head(world->model);
	struct history_op op = {.key = random_key(world),
				.end = random_end(world),
				.from = random_revision(world),
				.to = head,
				.rows_max = 1 + pick(world, 50),
				.bytes_max = 1 + pick(world, 5000)};
	struct event *expected;
	size_t count, expected_count, seen = 0;

	if (op.from < 0 || op.from > head)
		op.from = head;
	/* Programs here write a key twice in one revision, which etcd's API forbids; of such a
	 * revision a sweep exactly at it leaves the last row only. */
	op.from += op.from == model_compacted(world->model);
	expected_count =
		model_events(world->model, op.key, op.end, op.from, head, &world->arena, &expected);
	while (op.from <= head) {
		struct event_batch *batches[3];
		int64_t next = 0;
		enum err e = store_history(world->rig.reader, &op, batches, 3, &count, &next);

		if (op.from < model_compacted(world->model)) {
			assert_int_equal(e, ERR_COMPACTED);
			return;
		}
		assert_int_equal(e, ERR_OK);
		assert_true(next > op.from);
		for (size_t b = 0; b < count; b++) {
			assert_true(event_batch_count(batches[b]) > 0);
			for (size_t i = 0; i < event_batch_count(batches[b]); i++) {
				assert_true(seen < expected_count);
				assert_event(world, batches[b], i, &expected[seen++]);
			}
			event_batch_unref(batches[b]);
		}
		op.from = next;
	}
	assert_int_equal(seen, expected_count);
}

static void step_time(struct world *world)
{
	int64_t id, ttl, model_ttl;
	enum err e;

	if (chance(world, 50) &&
	    model_lease_at(world->model, pick(world, model_lease_count(world->model) + 1), &id)) {
		e = model_renew(world->model, id, atomic_load(&world->rig.now_ns), &model_ttl);
		assert_int_equal(store_lease_renew(world->rig.store, id, &ttl), e);
		assert_int_equal(ttl, model_ttl);
	}
	rig_advance(&world->rig, NS_PER_SECOND + (int64_t)pick(world, 3) * 7 * NS_PER_SECOND +
					 (int64_t)pick(world, 1000));
	model_expire(world->model, atomic_load(&world->rig.now_ns));
	assert_int_equal(store_head(world->rig.store), model_head(world->model));
}

static void check_leases(struct world *world)
{
	struct store_stats stats;
	struct lease_info info;
	int64_t id;

	store_stats(world->rig.store, &stats);
	assert_int_equal(stats.lease_count, model_lease_count(world->model));
	for (size_t i = 0; model_lease_at(world->model, i, &id); i++) {
		assert_int_equal(
			store_lease_info(world->rig.store, id, true, &world->rig.arena, &info),
			ERR_OK);
		assert_true(info.remaining_seconds >= 0);
		assert_int_equal(info.key_count, model_lease_keys(world->model, id));
	}
}

static void step(struct world *world)
{
	uint64_t kind = pick(world, 100);

	if (kind < 55) {
		step_op(world);
	} else if (kind < 85) {
		step_range(world);
	} else if (kind < 93) {
		step_history(world);
	} else if (kind < 97) {
		step_time(world);
	} else if (kind < 99) {
		check_leases(world);
	} else {
		rig_reopen(&world->rig);
		model_refresh_leases(world->model, atomic_load(&world->rig.now_ns));
		assert_int_equal(store_head(world->rig.store), model_head(world->model));
		assert_int_equal(store_compacted(world->rig.store), model_compacted(world->model));
		check_leases(world);
	}
	arena_fini(&world->arena);
	rig_forget(&world->rig);
}

static void test_random_programs_match_the_model(void **state)
{
	uint64_t seed = rig_seed();

	(void)state;
	for (int program = 0; program < PROGRAMS; program++) {
		struct world world = {.random = {seed + (uint64_t)program}};

		fprintf(stderr, "program %d: KEDGE_SEED=%llu\n", program,
			(unsigned long long)(seed + (uint64_t)program));
		arena_init(&world.arena, SIZE_MAX);
		world.next_lease = 1;
		world.model = model_new(LEASE_TTL_SECONDS_MIN, LEASE_TTL_SECONDS_MAX);
		rig_open(&world.rig);
		for (int i = 0; i < STEPS; i++)
			step(&world);
		rig_close(&world.rig);
		model_free(world.model);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_programs_match_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
