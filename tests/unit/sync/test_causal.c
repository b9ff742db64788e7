/* SPDX-License-Identifier: Apache-2.0 */
/* test_causal.c - vectors against plain bit sets, their bytes, and the hybrid clock. */
#include "sync/causal/hlc.h"
#include "sync/causal/vector.h"
#include "tests/unit/sync/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ACTORS 4
#define REVISIONS 40 /* few, so that intervals meet often */

/* The oracle: one flag per dot. */
struct flags {
	bool has[ACTORS][REVISIONS + 1];
};

static struct actor actor_number(unsigned n)
{
	/* Two sites, two incarnations each: both parts of the order matter. */
	struct actor actor = {.incarnation = n & 1};

	actor.site.bytes[SITE_BYTES - 1] = (uint8_t)(n >> 1);
	return actor;
}

static void assert_normal(const struct vector *vector)
{
	for (size_t i = 0; i < vector->count; i++) {
		const struct revset *set = &vector->entries[i].revisions;

		assert_true(set->count > 0);
		if (i)
			assert_true(actor_compare(&vector->entries[i - 1].actor,
						  &vector->entries[i].actor) < 0);
		for (size_t j = 0; j < set->count; j++) {
			assert_true(set->intervals[j].first <= set->intervals[j].last);
			assert_true(set->intervals[j].first >
				    (j ? set->intervals[j - 1].last + 1 : 0));
		}
	}
}

static void assert_same(const struct vector *vector, const struct flags *flags)
{
	assert_normal(vector);
	for (unsigned a = 0; a < ACTORS; a++) {
		struct actor actor = actor_number(a);
		int64_t last = 0;

		for (int64_t r = 1; r <= REVISIONS; r++) {
			struct dot dot = {actor, r};

			assert_int_equal(vector_has(vector, &dot), flags->has[a][r]);
			if (flags->has[a][r])
				last = r;
		}
		assert_int_equal(vector_last(vector, &actor), last);
	}
}

static void random_vector(struct vector *vector, struct flags *flags)
{
	unsigned adds = random_below(12);

	*vector = (struct vector){0};
	*flags = (struct flags){0};
	while (adds--) {
		unsigned a = random_below(ACTORS);
		struct actor actor = actor_number(a);
		int64_t first = 1 + random_below(REVISIONS);
		int64_t last = first + random_below(6);

		if (last > REVISIONS)
			last = REVISIONS;
		assert_int_equal(vector_add(vector, &actor, first, last), ERR_OK);
		for (int64_t r = first; r <= last; r++)
			flags->has[a][r] = true;
	}
}

static struct vector merged(const struct vector *a, const struct vector *b)
{
	struct vector result;

	assert_int_equal(vector_copy(a, &result), ERR_OK);
	assert_int_equal(vector_merge(&result, b), ERR_OK);
	return result;
}

static void check_algebra(const struct vector *a, const struct vector *b, const struct vector *c)
{
	struct vector ab = merged(a, b), ba = merged(b, a), aa = merged(a, a);
	struct vector bc = merged(b, c), left = merged(&ab, c), right = merged(a, &bc);
	struct vector rest;

	assert_true(vector_equal(&ab, &ba));
	assert_true(vector_equal(&aa, a));
	assert_true(vector_equal(&left, &right));
	assert_true(vector_covers(&ab, a) && vector_covers(&ab, b));
	assert_int_equal(vector_covers(a, b), vector_equal(&ab, a));
	/* What b has and a lacks, put back, is all of b. */
	assert_int_equal(vector_copy(b, &rest), ERR_OK);
	assert_int_equal(vector_subtract(&rest, a), ERR_OK);
	vector_fini(&aa);
	aa = merged(a, &rest);
	assert_true(vector_equal(&aa, &ab));
	vector_fini(&rest);
	vector_fini(&ab);
	vector_fini(&ba);
	vector_fini(&aa);
	vector_fini(&bc);
	vector_fini(&left);
	vector_fini(&right);
}

static void check_against_flags(const struct vector *a, const struct flags *fa,
				const struct vector *b, const struct flags *fb)
{
	struct vector sum = merged(a, b), rest, cut;
	struct flags f_sum = *fa, f_rest = *fa, f_cut = *fa;
	unsigned cut_actor = random_below(ACTORS);
	int64_t cut_last = random_below(REVISIONS + 1);
	struct actor actor = actor_number(cut_actor);

	assert_int_equal(vector_copy(a, &rest), ERR_OK);
	assert_int_equal(vector_subtract(&rest, b), ERR_OK);
	assert_int_equal(vector_copy(a, &cut), ERR_OK);
	vector_cut(&cut, &actor, cut_last);
	for (unsigned n = 0; n < ACTORS; n++)
		for (int64_t r = 1; r <= REVISIONS; r++) {
			f_sum.has[n][r] |= fb->has[n][r];
			f_rest.has[n][r] &= !fb->has[n][r];
			f_cut.has[n][r] &= n != cut_actor || r <= cut_last;
		}
	assert_same(&sum, &f_sum);
	assert_same(&rest, &f_rest);
	assert_same(&cut, &f_cut);
	vector_fini(&sum);
	vector_fini(&rest);
	vector_fini(&cut);
}

static void check_bytes(const struct vector *vector)
{
	struct buffer buffer = BUFFER_INIT(VECTOR_BYTES_MAX);
	struct vector back, other;
	struct wire wire;
	struct bytes bytes;

	assert_true(vector_encode(vector, &buffer));
	bytes = buffer_bytes(&buffer);
	wire = wire_of(bytes);
	assert_int_equal(vector_decode(&wire, &back), ERR_OK);
	assert_int_equal(wire_left(&wire), 0);
	assert_true(vector_equal(vector, &back));
	/* Every shorter message is refused, and no byte beyond its end is read. */
	for (size_t size = 0; size < bytes.size; size++) {
		uint8_t *part = malloc(size ? size : 1);

		memcpy(part, bytes.data, size);
		wire = wire_of(bytes_of(part, size));
		assert_int_equal(vector_decode(&wire, &other), ERR_MALFORMED);
		free(part);
	}
	vector_fini(&back);
	buffer_fini(&buffer);
}

static void test_vectors_behave_as_sets_of_dots(void **state)
{
	(void)state;
	random_start(__func__);
	for (unsigned run = random_runs(4000); run > 0; run--) {
		struct vector v[3];
		struct flags f[3];

		for (unsigned i = 0; i < 3; i++) {
			random_vector(&v[i], &f[i]);
			assert_same(&v[i], &f[i]);
		}
		check_against_flags(&v[0], &f[0], &v[1], &f[1]);
		check_algebra(&v[0], &v[1], &v[2]);
		check_bytes(&v[2]);
		for (unsigned i = 0; i < 3; i++)
			vector_fini(&v[i]);
	}
}

/* Whatever decodes is the canonical form of what it decodes to. */
static void test_changed_bytes_are_refused_or_are_another_vector(void **state)
{
	unsigned accepted = 0, refused = 0;

	(void)state;
	random_start(__func__);
	for (unsigned run = random_runs(20000); run > 0; run--) {
		struct buffer buffer = BUFFER_INIT(VECTOR_BYTES_MAX), again = buffer;
		struct vector vector, back;
		struct flags flags;
		struct wire wire;
		enum err e;

		random_vector(&vector, &flags);
		assert_true(vector_encode(&vector, &buffer));
		for (unsigned changes = 1 + random_below(3); changes > 0; changes--)
			buffer.data[BUFFER_HEADROOM + random_below((unsigned)buffer.size)] =
				(uint8_t)random_next();
		wire = wire_of(buffer_bytes(&buffer));
		e = vector_decode(&wire, &back);
		if (e) {
			assert_int_equal(e, ERR_MALFORMED);
			assert_int_equal(back.count, 0);
			refused++;
		} else {
			assert_normal(&back);
			assert_true(vector_encode(&back, &again));
			assert_int_equal(again.size, buffer.size - wire_left(&wire));
			assert_memory_equal(buffer_bytes(&again).data, buffer_bytes(&buffer).data,
					    again.size);
			accepted++;
		}
		vector_fini(&back);
		vector_fini(&vector);
		buffer_fini(&buffer);
		buffer_fini(&again);
	}
	assert_true(accepted > 0 && refused > 0);
}

static void assert_refused(const void *text, size_t size)
{
	struct wire wire = wire_of(bytes_of(text, size));
	struct vector vector;

	assert_int_equal(vector_decode(&wire, &vector), ERR_MALFORMED);
}

static void test_malformed_vectors_are_refused(void **state)
{
	static const uint8_t site[SITE_BYTES];
	uint8_t bytes[128] = {1};
	size_t at = 1 + SITE_BYTES;

	(void)state;
	assert_refused("", 0);
	assert_refused("\x80\x00", 2);	   /* a number longer than need be */
	assert_refused("\xff\xff\x7f", 3); /* more actors than allowed */
	memcpy(bytes + 1, site, SITE_BYTES);
	memcpy(bytes + at, "\x00\x00\x00\xff\xff\xff\xff\xff\x7f", 9); /* past the last revision */
	assert_refused(bytes, at + 9);
	memcpy(bytes + at, "\x00\x00\xfe\xff\xff\xff\xff\x1f\x01", 9); /* its end is past it */
	assert_refused(bytes, at + 9);
	memcpy(bytes + at, "\xff\xff\xff\xff\x7f\x00\x00\x00", 8); /* an incarnation of 35 bits */
	assert_refused(bytes, at + 8);
	/* The same actor twice. */
	bytes[0] = 2;
	memcpy(bytes + at, "\x00\x00\x00\x00", 4);
	memcpy(bytes + at + 4, site, SITE_BYTES);
	memcpy(bytes + at + 4 + SITE_BYTES, "\x00\x00\x00\x00", 4);
	assert_refused(bytes, at + 4 + SITE_BYTES + 4);
	bytes[at + 4 + SITE_BYTES] = 1; /* its next incarnation is another actor */
	{
		struct wire wire = wire_of(bytes_of(bytes, at + 4 + SITE_BYTES + 4));
		struct vector vector;

		assert_int_equal(vector_decode(&wire, &vector), ERR_OK);
		assert_int_equal(vector.count, 2);
		vector_fini(&vector);
	}
}

static void test_limits_are_answers(void **state)
{
	struct vector vector = {0};
	struct actor actor = actor_number(0);

	(void)state;
	for (int64_t i = 0; i < VECTOR_INTERVALS_MAX; i++)
		assert_int_equal(vector_add(&vector, &actor, 2 * i + 1, 2 * i + 1), ERR_OK);
	assert_int_equal(vector_add(&vector, &actor, REV_MAIN_MAX, REV_MAIN_MAX),
			 ERR_REQUEST_TOO_LARGE);
	assert_int_equal(vector.entries[0].revisions.count, VECTOR_INTERVALS_MAX);
	assert_int_equal(vector_add(&vector, &actor, 1, REV_MAIN_MAX), ERR_OK); /* melts them */
	assert_int_equal(vector.entries[0].revisions.count, 1);
	vector_fini(&vector);
}

static void test_a_context_knows_what_either_of_its_vectors_knows(void **state)
{
	struct vector vector = {0}, session = {0};
	struct actor a = actor_number(0), b = actor_number(1);
	struct dot dot_a = {a, 5}, dot_b = {b, 5}, dot_none = {b, 6};
	struct context context = {&vector, &session};

	(void)state;
	assert_int_equal(vector_add(&vector, &a, 1, 5), ERR_OK);
	assert_int_equal(vector_add(&session, &b, 1, 5), ERR_OK);
	assert_true(context_has(&context, &dot_a));
	assert_true(context_has(&context, &dot_b));
	assert_false(context_has(&context, &dot_none));
	context.session = NULL;
	assert_false(context_has(&context, &dot_b));
	vector_fini(&vector);
	vector_fini(&session);
}

/* --- the hybrid clock ------------------------------------------------------------------------- */

/* Stores the ceiling as a site does, ahead of need. */
static hlc_stamp stamp(struct hlc *hlc, int64_t wall_ms, int64_t *disk_ceiling_ms)
{
	hlc_stamp result = 0;

	if (!hlc_next(hlc, wall_ms, &result)) {
		*disk_ceiling_ms = hlc_ceiling_wanted(hlc, wall_ms);
		hlc_ceiling_stored(hlc, *disk_ceiling_ms);
		assert_true(hlc_next(hlc, wall_ms, &result));
	}
	return result;
}

static int64_t random_wall(int64_t wall_ms)
{
	switch (random_below(12)) {
	case 0:
		return 0; /* not known */
	case 1:
		return random_below(100000); /* 1970 */
	case 2:
		return wall_ms + INT64_C(86400000) * random_below(2000); /* years ahead */
	case 3:
		return wall_ms > 5000 ? wall_ms - random_below(5000) : 0;
	default:
		return wall_ms + random_below(3);
	}
}

static void test_stamps_never_go_back_whatever_the_wall_and_the_plug_do(void **state)
{
	(void)state;
	random_start(__func__);
	for (unsigned run = random_runs(200); run > 0; run--) {
		int64_t disk = 0, wall = INT64_C(1700000000000);
		hlc_stamp last = 0;
		struct hlc hlc;

		hlc_init(&hlc, disk);
		for (unsigned step = 0; step < 300; step++) {
			hlc_stamp got;

			wall = random_wall(wall);
			if (!random_below(20))
				hlc_init(&hlc, disk); /* only the ceiling survives */
			if (!random_below(4))
				hlc_receive(&hlc, wall,
					    (hlc_stamp)random_wall(wall) << HLC_COUNTER_BITS);
			got = stamp(&hlc, wall, &disk);
			assert_true(got > last);
			assert_true(hlc_wall_ms(got) <= disk);
			last = got;
		}
	}
}

static void test_a_write_is_stamped_above_what_its_site_adopted(void **state)
{
	int64_t disk = 0, wall = INT64_C(1700000000000);
	hlc_stamp remote = (hlc_stamp)(wall + HLC_SKEW_MS_MAX) << HLC_COUNTER_BITS;
	struct hlc hlc;

	(void)state;
	hlc_init(&hlc, 0);
	assert_int_equal(hlc_receive(&hlc, wall, remote), HLC_ADOPTED);
	assert_true(stamp(&hlc, wall, &disk) > remote);
}

static void test_a_peer_cannot_push_the_clock_on_step_by_step(void **state)
{
	int64_t disk = 0, wall = INT64_C(1700000000000);
	struct hlc hlc;

	(void)state;
	hlc_init(&hlc, 0);
	for (unsigned i = 1; i < 100; i++) {
		hlc_stamp remote = (hlc_stamp)(hlc_wall_ms(hlc.last) + HLC_SKEW_MS_MAX)
				   << HLC_COUNTER_BITS;

		hlc_receive(&hlc, wall, remote);
		stamp(&hlc, wall, &disk);
	}
	assert_true(hlc_wall_ms(hlc.last) <= wall + HLC_SKEW_MS_MAX + 1);
	assert_int_equal(hlc_receive(&hlc, wall, (hlc_stamp)(wall * 2) << HLC_COUNTER_BITS),
			 HLC_AHEAD);
}

static void test_a_site_without_time_judges_nobody(void **state)
{
	int64_t now = INT64_C(1700000000000);
	hlc_stamp remote = (hlc_stamp)(now + 1000) << HLC_COUNTER_BITS;
	struct hlc hlc;
	hlc_stamp got;

	(void)state;
	hlc_init(&hlc, now); /* it ran before; now its clock says 1970, or nothing */
	assert_int_equal(hlc_receive(&hlc, 0, remote), HLC_UNJUDGED);
	assert_int_equal(hlc_receive(&hlc, 3600000, remote), HLC_UNJUDGED);
	assert_int_equal(hlc_receive(&hlc, now, remote), HLC_ADOPTED);
	assert_false(hlc_next(&hlc, now, &got)); /* above the ceiling: to the disk first */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors_behave_as_sets_of_dots),
		cmocka_unit_test(test_changed_bytes_are_refused_or_are_another_vector),
		cmocka_unit_test(test_malformed_vectors_are_refused),
		cmocka_unit_test(test_limits_are_answers),
		cmocka_unit_test(test_a_context_knows_what_either_of_its_vectors_knows),
		cmocka_unit_test(test_stamps_never_go_back_whatever_the_wall_and_the_plug_do),
		cmocka_unit_test(test_a_write_is_stamped_above_what_its_site_adopted),
		cmocka_unit_test(test_a_peer_cannot_push_the_clock_on_step_by_step),
		cmocka_unit_test(test_a_site_without_time_judges_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
