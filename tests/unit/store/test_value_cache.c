/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of values: what it gives is what was put, and it never holds more than it may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shim/base/limits.h"
#include "shim/store/value_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_BYTES ((size_t)64 * KIB)

static struct value_cache *new_cache(size_t bytes_max)
{
	struct value_cache *cache;

	assert_int_equal(value_cache_new(bytes_max, &cache), ERR_OK);
	return cache;
}

/* A value that its row number decides. */
static struct bytes value_of(int64_t row, uint8_t *room)
{
	size_t size = 1 + (size_t)(row * 7) % 600;

	memset(room, (int)(row % 251), size);
	return bytes_of(room, size);
}

static bool has(struct value_cache *cache, int64_t row)
{
	uint8_t wanted[1024], got[1024];
	struct bytes value = value_of(row, wanted);

	if (!value_cache_get(cache, row, value.size, got))
		return false;
	assert_memory_equal(got, wanted, value.size);
	return true;
}

static void test_a_value_comes_back_as_it_was_put(void **state)
{
	struct value_cache *cache = new_cache(CACHE_BYTES);
	uint8_t room[1024], other[1024];
	struct bytes value = value_of(5, room);

	(void)state;
	assert_false(has(cache, 5));
	value_cache_put(cache, 5, value);
	value_cache_put(cache, 5, value);
	assert_true(has(cache, 5));
	assert_false(has(cache, 6));
	assert_false(value_cache_get(cache, 5, value.size - 1, other));
	assert_int_equal(value_cache_stats(cache).hits, 1);
	assert_int_equal(value_cache_stats(cache).misses, 3);
	value_cache_free(cache);
}

static void test_what_is_there_can_be_copied_whatever_its_size(void **state)
{
	struct value_cache *cache = new_cache(CACHE_BYTES);
	struct arena arena, none;
	uint8_t room[1024];
	struct bytes copy;

	(void)state;
	arena_init(&arena, 4096);
	arena_init(&none, 0);
	value_cache_put(cache, ~(int64_t)5, value_of(5, room));
	assert_false(value_cache_copy(cache, 5, &arena, &copy)); /* the value, not the meta */
	assert_true(value_cache_copy(cache, ~(int64_t)5, &arena, &copy));
	assert_true(bytes_equal(copy, value_of(5, room)));
	assert_false(value_cache_copy(cache, ~(int64_t)5, &none, &copy));
	arena_fini(&arena);
	arena_fini(&none);
	value_cache_free(cache);
}

static void test_the_cache_stays_within_its_bytes(void **state)
{
	struct value_cache *cache = new_cache(CACHE_BYTES);
	uint8_t room[1024];
	size_t kept = 0;

	(void)state;
	for (int64_t row = 1; row <= 5000; row++) {
		value_cache_put(cache, row, value_of(row, room));
		assert_true(value_cache_stats(cache).bytes <= CACHE_BYTES);
	}
	for (int64_t row = 1; row <= 5000; row++)
		kept += has(cache, row);
	assert_in_range(kept, 50, 1000);
	assert_true(has(cache, 5000));
	value_cache_free(cache);
}

static void test_a_value_that_is_asked_for_outlives_others(void **state)
{
	struct value_cache *cache = new_cache(CACHE_BYTES);
	uint8_t room[1024];

	(void)state;
	for (int64_t row = 1; row <= 5000; row++) {
		value_cache_put(cache, row, value_of(row, room));
		assert_true(has(cache, 1));
	}
	assert_false(has(cache, 2));
	value_cache_free(cache);
}

static void test_a_value_larger_than_a_part_is_not_kept(void **state)
{
	struct value_cache *cache = new_cache(CACHE_BYTES);
	uint8_t *large = calloc(1, CACHE_BYTES);

	(void)state;
	assert_non_null(large);
	value_cache_put(cache, 1, bytes_of(large, CACHE_BYTES));
	assert_false(value_cache_get(cache, 1, CACHE_BYTES, large));
	assert_int_equal(value_cache_stats(cache).bytes, 0);
	free(large);
	value_cache_free(cache);
}

#define THREADS 4
#define TURNS 20000

static void *churn(void *context)
{
	struct value_cache *cache = context;
	uint8_t room[1024];

	for (int64_t i = 0; i < TURNS; i++) {
		int64_t row = 1 + (i * 31) % 700;

		if (!has(cache, row))
			value_cache_put(cache, row, value_of(row, room));
	}
	return NULL;
}

static void test_threads_share_it(void **state)
{
	struct value_cache *cache = new_cache(CACHE_BYTES);
	pthread_t threads[THREADS];
	struct value_cache_stats stats;

	(void)state;
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, cache), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	stats = value_cache_stats(cache);
	assert_int_equal(stats.hits + stats.misses, (uint64_t)THREADS * TURNS);
	assert_true(stats.bytes <= CACHE_BYTES);
	value_cache_free(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_value_comes_back_as_it_was_put),
		cmocka_unit_test(test_what_is_there_can_be_copied_whatever_its_size),
		cmocka_unit_test(test_the_cache_stays_within_its_bytes),
		cmocka_unit_test(test_a_value_that_is_asked_for_outlives_others),
		cmocka_unit_test(test_a_value_larger_than_a_part_is_not_kept),
		cmocka_unit_test(test_threads_share_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
