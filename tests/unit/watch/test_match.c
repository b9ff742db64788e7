/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/watch/match.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

struct probe {
	struct match_entry entry;
	char key[8];
	char end[8];
	bool is_in;
	unsigned hits;
};

static void count_hit(void *context, struct match_entry *entry)
{
	unsigned *total = context;

	container_of(entry, struct probe, entry)->hits++;
	(*total)++;
}

static uint64_t random_state = 88172645463325252u;

static unsigned random_below(unsigned bound)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)(random_state >> 33) % bound;
}

static size_t random_text(char text[8])
{
	size_t size = random_below(4);

	for (size_t i = 0; i < size; i++)
		text[i] = (char)('a' + random_below(3));
	return size;
}

static void probe_choose(struct probe *probe)
{
	size_t key_size = random_text(probe->key);
	size_t end_size = random_text(probe->end);

	if (random_below(8) == 0) {
		probe->end[0] = 0;
		end_size = 1;
	}
	probe->entry = (struct match_entry){
		.key = bytes_of(probe->key, key_size),
		.end = bytes_of(probe->end, end_size),
	};
}

#define PROBES 300

static void check_all_keys(const struct match *match, struct probe *probes)
{
	unsigned total = 0;
	char text[8];

	for (unsigned round = 0; round < 20; round++) {
		struct bytes key = bytes_of(text, random_text(text));

		for (size_t i = 0; i < PROBES; i++)
			probes[i].hits = 0;
		match_visit(match, key, count_hit, &total);
		for (size_t i = 0; i < PROBES; i++) {
			struct match_entry *entry = &probes[i].entry;
			bool wanted =
				probes[i].is_in && range_contains(entry->key, entry->end, key);

			assert_int_equal(probes[i].hits, wanted);
		}
	}
}

static void test_random_selections_match_as_range_contains_says(void **state)
{
	static struct probe probes[PROBES];
	struct match match;

	(void)state;
	assert_int_equal(match_init(&match, 42), ERR_OK);
	for (unsigned round = 0; round < 3000; round++) {
		struct probe *probe = &probes[random_below(PROBES)];

		if (probe->is_in) {
			match_remove(&match, &probe->entry);
		} else {
			probe_choose(probe);
			match_add(&match, &probe->entry);
		}
		probe->is_in = !probe->is_in;
		if (round % 30 == 0)
			check_all_keys(&match, probes);
	}
	match_fini(&match);
}

static void test_removing_all_leaves_nothing(void **state)
{
	static struct probe probes[PROBES];
	struct match match;

	(void)state;
	assert_int_equal(match_init(&match, 7), ERR_OK);
	for (size_t i = 0; i < PROBES; i++) {
		probe_choose(&probes[i]);
		match_add(&match, &probes[i].entry);
	}
	for (size_t i = 0; i < PROBES; i++)
		match_remove(&match, &probes[i].entry);
	assert_null(match.root);
	assert_int_equal(match.single_count, 0);
	match_fini(&match);
}

#define MANY 10000

struct many {
	struct match_entry entry;
	char key[32];
	char end[32];
};

static void count_only(void *context, struct match_entry *entry)
{
	size_t *total = context;

	(void)entry;
	(*total)++;
}

static void test_ten_thousand_watchers_cost_microseconds(void **state)
{
	struct many *many = calloc(MANY, sizeof(*many));
	struct timespec begin, end;
	struct match match;
	size_t total = 0;
	double took_us;

	(void)state;
	assert_non_null(many);
	assert_int_equal(match_init(&match, 1), ERR_OK);
	for (size_t i = 0; i < MANY; i++) {
		snprintf(many[i].key, sizeof(many[i].key), "/registry/%05zu/", i);
		snprintf(many[i].end, sizeof(many[i].end), "/registry/%05zu0", i);
		many[i].entry.key = bytes_of_string(many[i].key);
		if (i % 2)
			many[i].entry.end = bytes_of_string(many[i].end);
		match_add(&match, &many[i].entry);
	}
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (size_t i = 0; i < MANY; i++)
		match_visit(&match, many[i].entry.key, count_only, &total);
	clock_gettime(CLOCK_MONOTONIC, &end);
	took_us = (double)(end.tv_sec - begin.tv_sec) * 1e6 +
		  (double)(end.tv_nsec - begin.tv_nsec) / 1e3;
	print_message("%.2f us per key among %d watchers\n", took_us / MANY, MANY);
	assert_int_equal(total, MANY);
	assert_true(took_us / MANY < 500);
	match_fini(&match);
	free(many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_selections_match_as_range_contains_says),
		cmocka_unit_test(test_removing_all_leaves_nothing),
		cmocka_unit_test(test_ten_thousand_watchers_cost_microseconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
