/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_turn.c - a store without a writer thread: everything happens in store_turn(). */
#include "shim/store/internal.h"
#include "tests/harness/store_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static int answered;

static void on_done(struct op *op)
{
	(void)op;
	answered++;
}

/* The rig starts a thread; this store beside it has none. */
static struct store *open_quiet(struct rig *rig)
{
	char problem[STORE_PROBLEM_BYTES];
	struct store *store;

	rig_open(rig);
	rig_down(rig);
	assert_int_equal(store_open(&rig->config, &store, problem), ERR_OK);
	answered = 0;
	return store;
}

static struct op put_op(const char *key, int64_t lease)
{
	return (struct op){.kind = OP_PUT,
			   .on_done = on_done,
			   .in.put = {.key = bytes_of_string(key),
				      .value = BYTES_LITERAL("v"),
				      .lease = lease}};
}

static void close_quiet(struct rig *rig, struct store *store)
{
	store_stop(store);
	store_close(store);
	rig_close(rig);
}

static void test_a_turn_does_all_that_waits(void **state)
{
	struct rig rig = {0};
	struct store *store = open_quiet(&rig);
	struct op first = put_op("a", 0), second = put_op("b", 0);
	struct op vacuum = {.kind = OP_DEFRAGMENT, .on_done = on_done};

	(void)state;
	assert_int_equal(store_submit(store, &first), ERR_OK);
	assert_int_equal(store_submit(store, &vacuum), ERR_OK); /* goes alone */
	assert_int_equal(store_submit(store, &second), ERR_OK);
	assert_int_equal(answered, 0);
	assert_int_equal(store_turn(store), ERR_OK);
	assert_int_equal(answered, 3);
	assert_int_equal(second.revision, 3);
	assert_int_equal(store_head(store), 3);
	assert_int_equal(store_turn(store), ERR_OK); /* nothing is left */
	close_quiet(&rig, store);
}

static void test_a_turn_revokes_leases_that_are_due(void **state)
{
	struct rig rig = {0};
	struct store *store = open_quiet(&rig);
	struct op grant = {.kind = OP_LEASE_GRANT,
			   .on_done = on_done,
			   .in.lease_grant = {.id = 5, .ttl_seconds = 10}};
	struct op put = put_op("a", 5);

	(void)state;
	assert_int_equal(store_submit(store, &grant), ERR_OK);
	assert_int_equal(store_submit(store, &put), ERR_OK);
	assert_int_equal(store_turn(store), ERR_OK);
	atomic_fetch_add(&rig.now_ns, 9 * NS_PER_SECOND);
	assert_int_equal(store_turn(store), ERR_OK);
	assert_int_equal(store_head(store), 2);
	atomic_fetch_add(&rig.now_ns, 2 * NS_PER_SECOND);
	assert_int_equal(store_turn(store), ERR_OK);
	assert_int_equal(store_head(store), 3);
	close_quiet(&rig, store);
}

static void test_a_turn_sweeps_to_the_end_of_what_is_free(void **state)
{
	struct rig rig = {0};
	struct store *store = open_quiet(&rig);
	struct op compact = {.kind = OP_COMPACT,
			     .on_done = on_done,
			     .in.compact = {.revision = 2001, .physical = true}};
	struct store_stats stats;
	struct pin pin;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		struct op put = put_op("a", 0);

		assert_int_equal(store_submit(store, &put), ERR_OK);
		assert_int_equal(store_turn(store), ERR_OK);
	}
	answered = 0;
	pins_add(&store->pins, &pin, 501);
	assert_int_equal(store_submit(store, &compact), ERR_OK);
	assert_int_equal(store_turn(store), ERR_OK);
	store_stats(store, &stats);
	assert_int_equal(stats.compacted_rows, 499);
	pins_release(&store->pins, &pin);
	atomic_fetch_add(&rig.now_ns, NS_PER_SECOND); /* until pins are looked at again */
	assert_int_equal(store_turn(store), ERR_OK);
	store_stats(store, &stats);
	assert_int_equal(stats.compacted_rows, 1999);
	assert_int_equal(answered, 1);
	close_quiet(&rig, store);
}

static void test_stopping_answers_what_waits(void **state)
{
	struct rig rig = {0};
	struct store *store = open_quiet(&rig);
	struct op put = put_op("a", 0);

	(void)state;
	assert_int_equal(store_submit(store, &put), ERR_OK);
	store_stop(store);
	assert_int_equal(answered, 1);
	assert_int_equal(put.err, ERR_OK);
	assert_int_equal(store_submit(store, &put), ERR_STOPPED);
	store_close(store);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_turn_does_all_that_waits),
		cmocka_unit_test(test_a_turn_revokes_leases_that_are_due),
		cmocka_unit_test(test_a_turn_sweeps_to_the_end_of_what_is_free),
		cmocka_unit_test(test_stopping_answers_what_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
