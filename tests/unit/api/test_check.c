/* SPDX-License-Identifier: Apache-2.0 */
/* etcd's checks of requests; the search for clashing keys also against a slow and obvious one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/check.h"
#include "shim/base/limits.h"
#include "tests/harness/store_rig.h"

#include <stdlib.h>

#define B(text) ((struct bytes){(const uint8_t *)(text), sizeof(text) - 1})
#define PUT(k)                                                                                     \
	{                                                                                          \
		.kind = REQUEST_PUT, .as.put = {.key = B(k) }                                      \
	}
#define DEL(k, e)                                                                                  \
	{                                                                                          \
		.kind = REQUEST_DELETE, .as.delete_range = {.key = B(k), .end = B(e) }             \
	}
#define GET(k)                                                                                     \
	{                                                                                          \
		.kind = REQUEST_RANGE, .as.range = {.key = B(k) }                                  \
	}
#define NEST(t)                                                                                    \
	{                                                                                          \
		.kind = REQUEST_TXN, .as.txn = (t)                                                 \
	}
#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define TXN(then_, else_)                                                                          \
	{                                                                                          \
		.success = (then_), .success_count = COUNT(then_), .failure = (else_),             \
		.failure_count = COUNT(else_)                                                      \
	}
#define THEN(then_)                                                                                \
	{                                                                                          \
		.success = (then_), .success_count = COUNT(then_)                                  \
	}

/* --- one request --- */

static void test_range(void **unused)
{
	struct range_op op = {0};

	(void)unused;
	op.order = (enum sort_order)7;
	assert_int_equal(check_range(&op), ERR_EMPTY_KEY);
	op.key = B("k");
	assert_int_equal(check_range(&op), ERR_INVALID_SORT);
	op.order = (enum sort_order) - 1;
	assert_int_equal(check_range(&op), ERR_INVALID_SORT);
	op.order = SORT_DESCEND;
	op.target = (enum sort_target)5;
	assert_int_equal(check_range(&op), ERR_INVALID_SORT);
	op.target = SORT_VALUE;
	assert_int_equal(check_range(&op), ERR_OK);
	assert_int_equal(check_range_stream(&op), ERR_STREAM_SORT);
	op.order = SORT_ASCEND;
	assert_int_equal(check_range_stream(&op), ERR_STREAM_SORT);
	op.target = SORT_KEY;
	assert_int_equal(check_range_stream(&op), ERR_OK);
	op.order = SORT_NONE;
	op.target = SORT_MOD;
	assert_int_equal(check_range_stream(&op), ERR_OK);
	op.max_create_revision = 1;
	assert_int_equal(check_range_stream(&op), ERR_STREAM_FILTER);
	op.order = SORT_DESCEND;
	assert_int_equal(check_range_stream(&op), ERR_STREAM_SORT);
}

static void test_put_and_delete(void **unused)
{
	struct put_op op = {
		.ignore_value = true, .value = B("v"), .ignore_lease = true, .lease = 1};
	struct delete_op delete = {.end = B("x")};

	(void)unused;
	assert_int_equal(check_put(&op), ERR_EMPTY_KEY);
	op.key = B("k");
	assert_int_equal(check_put(&op), ERR_VALUE_PROVIDED);
	op.value = B("");
	assert_int_equal(check_put(&op), ERR_LEASE_PROVIDED);
	op.lease = 0;
	assert_int_equal(check_put(&op), ERR_OK);
	assert_int_equal(check_delete(&delete), ERR_EMPTY_KEY);
	delete.key = B("k");
	assert_int_equal(check_delete(&delete), ERR_OK);
}

/* --- transactions --- */

static void test_txn_members_are_checked_in_order(void **unused)
{
	struct compare compare = {.key = B("")};
	struct request bad_put[] = {PUT("")};
	struct request nothing[] = {NEST(NULL)};
	struct txn_op op = {.compares = &compare,
			    .compare_count = 1,
			    .success = nothing,
			    .success_count = 1,
			    .failure = bad_put,
			    .failure_count = 1};

	(void)unused;
	assert_int_equal(check_txn(&op, 0), ERR_TOO_MANY_OPS);
	assert_int_equal(check_txn(&op, 1), ERR_EMPTY_KEY);
	compare.key = B("k");
	assert_int_equal(check_txn(&op, 1), ERR_KEY_NOT_FOUND);
	op.success_count = 0;
	assert_int_equal(check_txn(&op, 1), ERR_EMPTY_KEY);
}

static void test_budget_shrinks_downwards(void **unused)
{
	struct request two[] = {GET("a"), GET("b")};
	struct txn_op inner = THEN(two);
	struct request nest[] = {NEST(&inner)};
	struct txn_op middle = THEN(nest);
	struct request outer_ops[] = {NEST(&middle), GET("c")};
	struct txn_op outer = THEN(outer_ops);

	(void)unused;
	assert_int_equal(check_txn(&outer, 5), ERR_OK); /* 2 + 1 + 2 */
	assert_int_equal(check_txn(&outer, 4), ERR_TOO_MANY_OPS);
}

static void test_puts_clash(void **unused)
{
	struct request twice[] = {PUT("a"), GET("a"), PUT("a")};
	struct txn_op plain = THEN(twice);
	struct txn_op in_else = {.failure = twice, .failure_count = 3};
	struct request a[] = {PUT("a")}, also_a[] = {PUT("a")};
	struct txn_op exclusive = TXN(a, also_a);
	struct request one[] = {NEST(&exclusive)};
	struct txn_op fine = THEN(one);
	struct request with_a[] = {NEST(&exclusive), PUT("a")};
	struct txn_op beside = THEN(with_a);
	struct request two[] = {NEST(&exclusive), NEST(&exclusive)};
	struct txn_op siblings = THEN(two);

	(void)unused;
	assert_int_equal(check_txn(&plain, 128), ERR_DUPLICATE_KEY);
	assert_int_equal(check_txn(&in_else, 128), ERR_DUPLICATE_KEY);
	assert_int_equal(check_txn(&exclusive, 128), ERR_OK);
	assert_int_equal(check_txn(&fine, 128), ERR_OK);
	assert_int_equal(check_txn(&beside, 128), ERR_DUPLICATE_KEY);
	assert_int_equal(check_txn(&siblings, 128), ERR_DUPLICATE_KEY);
}

static void test_puts_and_deletes_clash(void **unused)
{
	struct request put_first[] = {PUT("b"), DEL("a", "c")};
	struct request at_end[] = {PUT("c"), DEL("a", "c")};
	struct request open_end[] = {PUT("b"), DEL("a", "\0")};
	struct request inverted[] = {PUT("b"), DEL("b", "a")};
	struct request deletes[] = {DEL("a", "c"), DEL("b", ""), DEL("b", "d")};
	struct txn_op t1 = THEN(put_first), t2 = THEN(at_end), t3 = THEN(open_end),
		      t4 = THEN(inverted), t5 = THEN(deletes);

	(void)unused;
	assert_int_equal(check_txn(&t1, 128), ERR_DUPLICATE_KEY);
	assert_int_equal(check_txn(&t2, 128), ERR_OK);
	assert_int_equal(check_txn(&t3, 128), ERR_OK); /* K4 */
	assert_int_equal(check_txn(&t4, 128), ERR_OK);
	assert_int_equal(check_txn(&t5, 128), ERR_OK); /* K3 */
}

static void test_order_of_nested_transactions_matters(void **unused)
{
	struct request put[] = {PUT("k")}, delete[] = {DEL("k", "")};
	struct txn_op puts = THEN(put), deletes = THEN(delete);
	struct request put_then_delete[] = {NEST(&puts), NEST(&deletes)};
	struct request delete_then_put[] = {NEST(&deletes), NEST(&puts)};
	struct request above[] = {NEST(&puts), DEL("k", "")};
	struct request below[] = {PUT("k"), NEST(&deletes)};
	struct txn_op t1 = THEN(put_then_delete), t2 = THEN(delete_then_put), t3 = THEN(above),
		      t4 = THEN(below);

	(void)unused;
	assert_int_equal(check_txn(&t1, 128), ERR_OK); /* K2 */
	assert_int_equal(check_txn(&t2, 128), ERR_DUPLICATE_KEY);
	assert_int_equal(check_txn(&t3, 128), ERR_DUPLICATE_KEY);
	assert_int_equal(check_txn(&t4, 128), ERR_DUPLICATE_KEY);
}

/* --- against the obvious way: lists of all puts and deletes, every pair compared --- */

#define LIST_MAX 4096

struct list_of {
	struct bytes puts[LIST_MAX];
	size_t put_count;
	struct delete_op deletes[LIST_MAX];
	size_t delete_count;
};

static bool covers(const struct delete_op *delete, struct bytes key)
{
	if (!delete->end.size)
		return bytes_equal(delete->key, key);
	return bytes_compare(delete->key, key) <= 0 && bytes_compare(key, delete->end) < 0;
}

static bool is_put(const struct list_of *list, struct bytes key)
{
	for (size_t i = 0; i < list->put_count; i++) {
		if (bytes_equal(list->puts[i], key))
			return true;
	}
	return false;
}

static bool is_deleted(const struct list_of *list, struct bytes key)
{
	for (size_t i = 0; i < list->delete_count; i++) {
		if (covers(&list->deletes[i], key))
			return true;
	}
	return false;
}

static bool slow_branch(const struct request *requests, size_t count, struct list_of *list);

static bool slow_nested(const struct txn_op *op, struct list_of *list)
{
	struct list_of *then_part = calloc(1, sizeof(*then_part));
	struct list_of *else_part = calloc(1, sizeof(*else_part));
	bool good = slow_branch(op->success, op->success_count, then_part) &&
		    slow_branch(op->failure, op->failure_count, else_part);

	for (size_t i = 0; good && i < then_part->put_count; i++) {
		struct bytes key = then_part->puts[i];

		good = !is_put(list, key) && !is_deleted(list, key);
		list->puts[list->put_count++] = key;
	}
	for (size_t i = 0; good && i < else_part->put_count; i++) {
		struct bytes key = else_part->puts[i];

		good = (!is_put(list, key) || is_put(then_part, key)) && !is_deleted(list, key);
		if (!is_put(list, key))
			list->puts[list->put_count++] = key;
	}
	for (size_t i = 0; good && i < then_part->delete_count; i++)
		list->deletes[list->delete_count++] = then_part->deletes[i];
	for (size_t i = 0; good && i < else_part->delete_count; i++)
		list->deletes[list->delete_count++] = else_part->deletes[i];
	free(then_part);
	free(else_part);
	return good;
}

static bool slow_branch(const struct request *requests, size_t count, struct list_of *list)
{
	bool good = true;

	for (size_t i = 0; i < count; i++) {
		if (requests[i].kind == REQUEST_DELETE)
			list->deletes[list->delete_count++] = requests[i].as.delete_range;
	}
	for (size_t i = 0; good && i < count; i++) {
		if (requests[i].kind == REQUEST_TXN)
			good = slow_nested(requests[i].as.txn, list);
	}
	for (size_t i = 0; good && i < count; i++) {
		if (requests[i].kind != REQUEST_PUT)
			continue;
		good = !is_put(list, requests[i].as.put.key) &&
		       !is_deleted(list, requests[i].as.put.key);
		list->puts[list->put_count++] = requests[i].as.put.key;
	}
	return good;
}

static struct bytes random_key(struct rig_random *random, struct arena *arena)
{
	size_t size = 1 + rig_random(random, 3);
	uint8_t *key = arena_alloc(arena, size);

	for (size_t i = 0; i < size; i++)
		key[i] = (uint8_t)("\0abcdefg"[rig_random(random, 8)]);
	return bytes_of(key, size);
}

static struct txn_op *random_txn(struct rig_random *random, struct arena *arena, unsigned depth);

static struct request *random_branch(struct rig_random *random, struct arena *arena, unsigned depth,
				     size_t *ret_count)
{
	size_t count = rig_random(random, 5);
	struct request *requests = arena_calloc(arena, count + 1, sizeof(*requests));

	for (size_t i = 0; i < count; i++) {
		uint64_t dice = rig_random(random, depth ? 7 : 5);

		requests[i].kind = dice < 3 ? REQUEST_PUT : dice < 5 ? REQUEST_DELETE : REQUEST_TXN;
		if (dice < 3)
			requests[i].as.put.key = random_key(random, arena);
		else if (dice < 5)
			requests[i].as.delete_range = (struct delete_op){
				.key = random_key(random, arena),
				.end = rig_random(random, 2) ? random_key(random, arena)
							     : (struct bytes){0}};
		else
			requests[i].as.txn = random_txn(random, arena, depth - 1);
	}
	*ret_count = count;
	return requests;
}

static struct txn_op *random_txn(struct rig_random *random, struct arena *arena, unsigned depth)
{
	struct txn_op *op = arena_new(arena, struct txn_op);

	op->success = random_branch(random, arena, depth, &op->success_count);
	op->failure = random_branch(random, arena, depth, &op->failure_count);
	return op;
}

static void test_clashes_are_those_of_the_obvious_way(void **unused)
{
	struct rig_random random = {rig_seed()};
	struct list_of *list = malloc(sizeof(*list));
	unsigned clashes = 0, rounds = 4000;

	(void)unused;
	assert_non_null(list);
	for (unsigned round = 0; round < rounds; round++) {
		struct arena arena;
		struct txn_op *op;
		bool good;

		arena_init(&arena, 16 * MIB);
		op = random_txn(&random, &arena, (unsigned)rig_random(&random, 4));
		list->put_count = list->delete_count = 0;
		good = slow_branch(op->success, op->success_count, list);
		list->put_count = list->delete_count = 0;
		good = good && slow_branch(op->failure, op->failure_count, list);
		clashes += !good;
		assert_int_equal(check_txn_keys(op), good ? ERR_OK : ERR_DUPLICATE_KEY);
		arena_fini(&arena);
	}
	/* Both answers must have been worth comparing. */
	assert_true(clashes > rounds / 10 && clashes < rounds * 9 / 10);
	free(list);
}

/* --- costs and sizes --- */

static void test_costs(void **unused)
{
	struct request a[] = {PUT("key"), GET("x"), DEL("y", "")};
	struct request b[] = {PUT("1"), PUT("2")};
	struct txn_op inner = TXN(a, b);
	struct request nest[] = {NEST(&inner), PUT("4")};
	struct request none[] = {GET("x"), DEL("y", "")};
	struct txn_op outer = TXN(nest, none), reads = THEN(none);
	struct put_op put = {.key = B("ab"), .value = B("cde")};

	(void)unused;
	assert_int_equal(check_put_cost(&put), 261);
	assert_int_equal(check_txn_cost(&inner), 514);
	assert_int_equal(check_txn_cost(&outer), 514 + 257);
	assert_int_equal(check_txn_cost(&reads), 0);
}

static void test_read_only(void **unused)
{
	struct request reads[] = {GET("a"), GET("b")}, writes[] = {GET("a"), DEL("b", "")};
	struct txn_op none = {0}, both = TXN(reads, reads), one = TXN(reads, writes);
	struct request nest[] = {NEST(&both)};
	struct txn_op nested = THEN(nest);

	(void)unused;
	assert_true(check_txn_is_read_only(&none));
	assert_true(check_txn_is_read_only(&both));
	assert_false(check_txn_is_read_only(&one));
	assert_false(check_txn_is_read_only(&nested)); /* for etcd even when it only reads */
}

/* Around the message: the header 2 + 1 + 11 (or 10, when the member id's 16th bit is off), the
 * member that holds the message 1 + 3. */
static void test_size_counts_the_envelope(void **unused)
{
	size_t max = REQUEST_BYTES_DEFAULT;

	(void)unused;
	assert_int_equal(check_size(max - 18, 0x8000, max), ERR_OK);
	assert_int_equal(check_size(max - 17, 0x8000, max), ERR_REQUEST_TOO_LARGE);
	assert_int_equal(check_size(max - 17, 0x7fff, max), ERR_OK);
	assert_int_equal(check_size(max - 16, 0x7fff, max), ERR_REQUEST_TOO_LARGE);
	assert_int_equal(check_size(max, 1, max), ERR_REQUEST_TOO_LARGE);
	assert_int_equal(check_size(SIZE_MAX, 1, max), ERR_REQUEST_TOO_LARGE);
	assert_int_equal(check_size(0, 1, max), ERR_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_range),
		cmocka_unit_test(test_put_and_delete),
		cmocka_unit_test(test_txn_members_are_checked_in_order),
		cmocka_unit_test(test_budget_shrinks_downwards),
		cmocka_unit_test(test_puts_clash),
		cmocka_unit_test(test_puts_and_deletes_clash),
		cmocka_unit_test(test_order_of_nested_transactions_matters),
		cmocka_unit_test(test_clashes_are_those_of_the_obvious_way),
		cmocka_unit_test(test_costs),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_size_counts_the_envelope),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
