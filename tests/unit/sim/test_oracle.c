/* SPDX-License-Identifier: Apache-2.0 */
/* test_oracle.c - what the simulator judges by: small histories whose outcome is plain. */
#include "sync/codec/object.h"
#include "tests/sim/chance.h"
#include "tests/sim/oracle.h"
#include "tests/sim/thing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEY 3
#define SPEC 11
#define STATUS 12

static struct oracle oracle;

static int begin(void **state)
{
	(void)state;
	oracle = (struct oracle){0};
	return 0;
}

static int end(void **state)
{
	(void)state;
	oracle_fini(&oracle);
	return 0;
}

static struct known all_but(unsigned left_out)
{
	struct known known = {0};

	for (unsigned i = 0; i < oracle.count; i++)
		if (i != left_out)
			known_add(&known, i);
	return known;
}

/* A write of a column by one who held what these writes had put there (as a bit each). */
static unsigned write_column(unsigned held, unsigned birth, uint64_t column)
{
	struct known known = {{held}};
	struct fact fact = {birth == WRITES_MAX ? oracle.count : birth, oracle.count, column,
			    oracle.count};
	struct fact_set before, after = {0};
	struct sim_write write = {.key = KEY, .revision = oracle.count + 1};
	unsigned number;

	oracle_expect(&oracle, KEY, &known, &before);
	after.list = calloc(before.count + 1, sizeof(fact));
	assert_non_null(after.list);
	for (size_t i = 0; i < before.count; i++)
		if (before.list[i].column != column && before.list[i].birth == fact.birth)
			after.list[after.count++] = before.list[i];
	after.list[after.count++] = fact;
	facts_sort(&after);
	number = oracle_add(&oracle, &write, &before, &after);
	facts_fini(&before);
	facts_fini(&after);
	return number;
}

static unsigned delete_key(unsigned held)
{
	struct known known = {{held}};
	struct fact_set before, after = {0};
	struct sim_write write = {.key = KEY, .revision = oracle.count + 1, .deleted = true};
	unsigned number;

	oracle_expect(&oracle, KEY, &known, &before);
	number = oracle_add(&oracle, &write, &before, &after);
	facts_fini(&before);
	return number;
}

/* The writes whose values are held, as a bit each. */
static unsigned held_by(const struct known *known)
{
	struct fact_set facts;
	unsigned held = 0;

	oracle_expect(&oracle, KEY, known, &facts);
	for (size_t i = 0; i < facts.count; i++)
		held |= 1u << facts.list[i].write;
	facts_fini(&facts);
	return held;
}

static void assert_held(unsigned expected)
{
	struct known known = all_but(WRITES_MAX);

	assert_int_equal(held_by(&known), expected);
}

static void two_writes_that_did_not_know_of_each_other_are_siblings(void **state)
{
	unsigned first = write_column(0, WRITES_MAX, SPEC);

	(void)state;
	write_column(1, first, SPEC);
	write_column(1, first, SPEC);
	assert_held(1u << 1 | 1u << 2);
	write_column(1u | 1u << 1, first, SPEC); /* saw one of them */
	assert_held(1u << 2 | 1u << 3);
	write_column(0xf, first, SPEC);
	assert_held(1u << 4);
}

static void columns_do_not_touch_each_other(void **state)
{
	unsigned first = write_column(0, WRITES_MAX, SPEC);

	(void)state;
	write_column(1, first, STATUS);
	assert_held(1u | 1u << 1);
	write_column(3, first, SPEC);
	assert_held(1u << 1 | 1u << 2);
}

static void a_delete_takes_what_it_never_saw(void **state)
{
	unsigned first = write_column(0, WRITES_MAX, SPEC);

	(void)state;
	write_column(1, first, STATUS); /* elsewhere, in the object that goes */
	delete_key(1);
	assert_held(0);
}

static void a_new_object_survives_the_delete_of_the_old_one(void **state)
{
	(void)state;
	write_column(0, WRITES_MAX, SPEC);
	write_column(1, WRITES_MAX, SPEC); /* another object in its place */
	delete_key(1);			   /* by one who saw the old one */
	assert_held(1u << 1);
}

static void a_write_takes_away_what_those_before_it_did(void **state)
{
	unsigned first = write_column(0, WRITES_MAX, SPEC);
	struct known known;

	(void)state;
	write_column(1, first, SPEC);
	write_column(3, first, SPEC);
	known = all_but(1); /* whoever has the last one cannot hold the first */
	assert_int_equal(held_by(&known), 1u << 2);
}

static void a_dot_given_out_twice_means_the_own_write_at_home(void **state)
{
	struct dot dot = {.revision = 1};
	struct fact_set none = {0};
	struct sim_write write = {.key = KEY, .revision = 1, .site = 0};

	(void)state;
	oracle_add(&oracle, &write, &none, &none);
	write.provisional = true;
	oracle_add(&oracle, &write, &none, &none);
	assert_int_equal(oracle_find(&oracle, 0, KEY, &dot), 1);
	assert_int_equal(oracle_find(&oracle, 1, KEY, &dot), 0);
	oracle.writes[0].dead = true;
	assert_int_equal(oracle_find(&oracle, 1, KEY, &dot), 1);
	dot.revision = 2;
	assert_int_equal(oracle_find(&oracle, 1, KEY, &dot), WRITES_MAX);
}

/* --- the clients' objects --------------------------------------------------------------------- */

static struct thing any_thing(struct chance *chance)
{
	struct thing thing = {.kind = (enum thing_kind)chance_below(chance, THING_KINDS)};

	if (thing.kind != THING_CONFIG)
		thing.spec = 1 + chance_below(chance, 1000);
	if (thing.kind == THING_TEXT)
		return thing;
	thing.uid = 1 + chance_below(chance, 100);
	thing.generation = 1 + chance_below(chance, 300);
	thing.created = chance_below(chance, 100000);
	if (chance_one_in(chance, 3)) {
		thing.deleted = 1 + chance_below(chance, 1000);
		thing.has_grace = true;
		thing.grace = chance_below(chance, 3);
	}
	for (size_t i = 0; i < THING_FINALIZERS; i++)
		thing.finalizers[i] = chance_one_in(chance, 2);
	for (size_t i = 0; i < THING_NOTES; i++)
		thing.notes[i] = chance_below(chance, 3) * 13;
	for (size_t i = 0; i < THING_LABELS; i++)
		thing.labels[i] = chance_below(chance, 3);
	for (size_t i = 0; i < THING_ENTRIES && thing.kind == THING_CONFIG; i++)
		thing.entries[i] = chance_below(chance, 3);
	for (size_t i = 0; i < THING_CONDITIONS && thing.kind == THING_NODE; i++)
		thing.conditions[i] = chance_below(chance, 3);
	if (thing.kind == THING_DEPLOY)
		thing.replicas = chance_below(chance, 300);
	if (thing.kind == THING_DEPLOY || thing.kind == THING_NODE || thing.kind == THING_WIDGET)
		thing.status = chance_below(chance, 100);
	return thing;
}

static void objects_are_read_as_they_were_written(void **state)
{
	struct chance chance = chance_of(1, 0);

	(void)state;
	for (int i = 0; i < 5000; i++) {
		struct thing thing = any_thing(&chance), read;
		struct buffer buffer = BUFFER_INIT(THING_BYTES_MAX);
		struct object object;
		struct arena arena;

		thing_put(&thing, &buffer);
		assert_true(thing_read(thing.kind, buffer_bytes(&buffer), &read));
		assert_memory_equal(&thing, &read, sizeof thing);
		/* They are what the codec of sync takes apart. */
		arena_init(&arena, 1 << 20);
		assert_int_equal(object_split(buffer_bytes(&buffer), &arena, &object), ERR_OK);
		assert_int_equal(object.format == OBJECT_OPAQUE, thing.kind == THING_TEXT);
		arena_fini(&arena);
		buffer_fini(&buffer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			two_writes_that_did_not_know_of_each_other_are_siblings, begin, end),
		cmocka_unit_test_setup_teardown(columns_do_not_touch_each_other, begin, end),
		cmocka_unit_test_setup_teardown(a_delete_takes_what_it_never_saw, begin, end),
		cmocka_unit_test_setup_teardown(a_new_object_survives_the_delete_of_the_old_one,
						begin, end),
		cmocka_unit_test_setup_teardown(a_write_takes_away_what_those_before_it_did, begin,
						end),
		cmocka_unit_test_setup_teardown(a_dot_given_out_twice_means_the_own_write_at_home,
						begin, end),
		cmocka_unit_test(objects_are_read_as_they_were_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
