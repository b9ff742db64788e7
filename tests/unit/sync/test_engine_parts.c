/* SPDX-License-Identifier: Apache-2.0 */
/* test_engine_parts.c - the engine's values: meta of rows, identity, witness, peers, the clock. */
#include "sync/engine/clock.h"
#include "sync/engine/identity.h"
#include "sync/engine/peer_record.h"
#include "sync/engine/row_meta.h"
#include "tests/unit/sync/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct actor actor_of(unsigned site, unsigned incarnation)
{
	struct actor actor = {.incarnation = incarnation};

	actor.site.bytes[0] = (uint8_t)site;
	return actor;
}

/* --- rows ------------------------------------------------------------------------------------- */

static bool has_dot(const struct row_meta *row, const struct dot *dot)
{
	for (size_t i = 0; i < row->touch_count; i++)
		if (dot_equal(&row->touches[i], dot))
			return true;
	return false;
}

static void test_a_row_comes_back(void **state)
{
	(void)state;
	random_start("rows");
	for (unsigned run = 0; run < 300; run++) {
		struct dot touches[40];
		uint64_t claims[3] = {random_next(), random_next(), random_next()};
		struct row_meta row = {.merged = random_below(2),
				       .wildcard = random_below(2),
				       .tag = random_next(),
				       .touches = touches,
				       .claims = claims,
				       .claim_count = random_below(4),
				       .state = BYTES_LITERAL("state")};
		struct row_meta back;
		struct arena arena;
		struct bytes bytes;

		while (row.touch_count < random_below(40)) {
			struct dot dot = {actor_of(random_below(4), random_below(2)),
					  1 + (int64_t)random_below(100)};

			if (!has_dot(&row, &dot))
				touches[row.touch_count++] = dot;
		}
		arena_init(&arena, MIB);
		assert_int_equal(row_meta_encode(&row, &arena, &bytes), ERR_OK);
		assert_int_equal(row_meta_decode(bytes, &arena, &back), ERR_OK);
		assert_int_equal(back.merged, row.merged);
		assert_int_equal(back.wildcard, row.wildcard);
		assert_true(back.tag == row.tag);
		assert_int_equal(back.touch_count, row.touch_count);
		for (size_t i = 0; i < row.touch_count; i++)
			assert_true(has_dot(&back, &touches[i]));
		assert_int_equal(back.claim_count, row.claim_count);
		for (size_t i = 0; i < row.claim_count; i++)
			assert_true(back.claims[i] == claims[i]);
		assert_true(bytes_equal(back.state, row.state));
		for (size_t size = 1; size < bytes.size - row.state.size; size++)
			assert_int_equal(row_meta_decode(bytes_of(bytes.data, size), &arena, &back),
					 ERR_DAMAGED);
		arena_fini(&arena);
	}
}

static void test_many_touches_of_one_site_are_small(void **state)
{
	struct dot touches[100];
	struct row_meta row = {.merged = true, .touches = touches, .touch_count = 100};
	struct arena arena;
	struct bytes bytes;

	(void)state;
	for (size_t i = 0; i < 100; i++)
		touches[i] = (struct dot){actor_of(1, 1), 1000 + 3 * (int64_t)i};
	arena_init(&arena, MIB);
	assert_int_equal(row_meta_encode(&row, &arena, &bytes), ERR_OK);
	assert_true(bytes.size < 140);
	arena_fini(&arena);
}

/* --- identity --------------------------------------------------------------------------------- */

static void test_incarnations_grow_and_know_their_revisions(void **state)
{
	struct identity identity = {.count = 0}, back;
	struct buffer buffer = BUFFER_INIT(64 * KIB);

	(void)state;
	identity_begin_next(&identity, 0, 0, 5);
	identity_begin_next(&identity, 100, 0, 3);
	identity_begin_next(&identity, 200, 0, 0xfffff);
	assert_true(identity.incarnations[0].number < identity.incarnations[1].number);
	assert_true(identity.incarnations[1].number < identity.incarnations[2].number);
	assert_int_equal(identity_actor_at(&identity, 100).incarnation,
			 identity.incarnations[0].number);
	assert_int_equal(identity_actor_at(&identity, 101).incarnation,
			 identity.incarnations[1].number);
	assert_int_equal(identity_begin(&identity), 200);
	assert_true(identity_encode(&identity, &buffer));
	assert_true(identity_decode(buffer_bytes(&buffer), &back));
	assert_int_equal(back.count, 3);
	assert_int_equal(back.incarnations[2].number, identity.incarnations[2].number);
	buffer_fini(&buffer);
}

static void test_past_the_last_incarnation_comes_a_new_site(void **state)
{
	struct identity identity = {.count = 0};
	struct actor before = {.incarnation = 0};

	(void)state;
	random_start("incarnations");
	for (unsigned i = 0; i < 5000; i++) {
		struct actor self;

		identity_begin_next(&identity, i, 0, random_next());
		self = identity_self(&identity);
		assert_true(actor_compare(&self, &before) != 0);
		assert_true(identity.count <= INCARNATIONS_KEPT_MAX);
		before = self;
	}
	assert_true(identity.site.bytes[0] | identity.site.bytes[1] | identity.site.bytes[2]);
}

static void test_a_witness_with_a_flipped_bit_is_none(void **state)
{
	struct witness witness = {.self = actor_of(1, 2),
				  .from = 7,
				  .end = 10007,
				  .disk = "disk",
				  .disk_bytes = 4},
		       back;
	struct buffer buffer = BUFFER_INIT(WITNESS_BYTES_MAX);
	struct bytes bytes;

	(void)state;
	assert_true(witness_encode(&witness, &buffer));
	bytes = buffer_bytes(&buffer);
	assert_true(witness_decode(bytes, &back));
	assert_int_equal(back.from, 7);
	assert_int_equal(back.end, 10007);
	for (size_t bit = 0; bit < 8 * bytes.size; bit++) {
		((uint8_t *)bytes.data)[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(witness_decode(bytes, &back));
		((uint8_t *)bytes.data)[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	buffer_fini(&buffer);
}

/* --- peers ------------------------------------------------------------------------------------ */

static void test_points_are_dense_at_the_end_and_reach_far_back(void **state)
{
	struct peer_record record = {.site = actor_of(3, 0).site}, back;
	struct buffer buffer = BUFFER_INIT(64 * KIB);

	(void)state;
	for (int64_t i = 1; i <= 10000; i++)
		peer_record_point(&record, (struct chain_point){i, (uint64_t)i});
	assert_int_equal(record.points[0].revision, 10000);
	assert_int_equal(record.points[1].revision, 9999);
	assert_true(record.points[record.point_count - 1].revision < 9900);
	for (size_t i = 1; i < record.point_count; i++)
		assert_true(record.points[i].revision < record.points[i - 1].revision);
	peer_record_point(&record, (struct chain_point){9000, 1}); /* again: nothing new */
	assert_int_equal(record.points[0].revision, 10000);
	assert_true(peer_record_encode(&record, &buffer));
	assert_true(peer_record_decode(buffer_bytes(&buffer), &back));
	assert_memory_equal(&back.points, &record.points,
			    record.point_count * sizeof(*record.points));
	buffer_fini(&buffer);
}

/* --- the clock -------------------------------------------------------------------------------- */

static _Atomic int64_t written[GROUPS];

static void step(struct node_clock *clock, int64_t first, int64_t last, unsigned site,
		 int64_t revision)
{
	struct clock_step step = {.first = first, .last = last};
	struct actor actor = actor_of(site, 1);

	if (revision)
		assert_int_equal(vector_add(&step.delta, &actor, revision, revision), ERR_OK);
	assert_int_equal(clock_step(clock, GROUP_CORE, &step), ERR_OK);
	vector_fini(&step.delta);
}

static bool knows(const struct node_clock *clock, int64_t at, unsigned site, int64_t revision)
{
	struct dot dot = {actor_of(site, 1), revision};
	struct vector vector = {0};
	bool known;

	assert_int_equal(clock_at(clock, GROUP_CORE, at, &vector), ERR_OK);
	known = vector_has(&vector, &dot);
	vector_fini(&vector);
	return known;
}

static void test_the_clock_knows_what_was_known_when(void **state)
{
	struct node_clock clock = {.self = actor_of(1, 1), .written = written};

	(void)state;
	written[GROUP_CORE] = 12;
	step(&clock, 3, 5, 2, 7); /* a merge that wrote three rows */
	step(&clock, 9, 8, 2, 9); /* one that wrote none, at revision 8 */
	step(&clock, 10, 10, 3, 1);
	assert_false(knows(&clock, 2, 2, 7));
	assert_true(knows(&clock, 5, 2, 7));
	assert_false(knows(&clock, 7, 2, 9));
	assert_true(knows(&clock, 8, 2, 9));
	assert_true(knows(&clock, 11, 3, 1));
	assert_int_equal(clock_cut(&clock, GROUP_CORE, 3), 5);
	assert_int_equal(clock_cut(&clock, GROUP_CORE, 5), 5);
	assert_int_equal(clock_cut(&clock, GROUP_CORE, 9), 9);
	assert_true(knows(&clock, 11, 1, 11));	/* own writes */
	assert_false(knows(&clock, 11, 1, 12)); /* not before they were */
	assert_false(knows(&clock, 20, 1, 13)); /* merges are no writes */
	assert_int_equal(clock_fold(&clock, GROUP_CORE, 8), ERR_OK);
	assert_true(knows(&clock, 8, 2, 7));
	assert_false(knows(&clock, 9, 3, 1));
	assert_int_equal(clock_cut(&clock, GROUP_CORE, 4), 8);
	clock_fini(&clock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_row_comes_back),
		cmocka_unit_test(test_many_touches_of_one_site_are_small),
		cmocka_unit_test(test_incarnations_grow_and_know_their_revisions),
		cmocka_unit_test(test_past_the_last_incarnation_comes_a_new_site),
		cmocka_unit_test(test_a_witness_with_a_flipped_bit_is_none),
		cmocka_unit_test(test_points_are_dense_at_the_end_and_reach_far_back),
		cmocka_unit_test(test_the_clock_knows_what_was_known_when),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
