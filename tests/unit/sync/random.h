/* SPDX-License-Identifier: Apache-2.0 */
/* random.h - numbers from a seed that is printed; SEED=n in the environment replays a run. */
#ifndef TESTS_UNIT_SYNC_RANDOM_H
#define TESTS_UNIT_SYNC_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t random_state;

/* splitmix64: every seed is a good one. */
static inline uint64_t random_next(void)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static inline unsigned random_below(unsigned n)
{
	return (unsigned)(random_next() % n);
}

static inline void random_start(const char *test)
{
	const char *wanted = getenv("SEED");

	random_state = wanted ? strtoull(wanted, NULL, 0) : (uint64_t)time(NULL) * 2654435761u;
	printf("%s: SEED=%llu\n", test, (unsigned long long)random_state);
}

/* How much more than usual to run: RUNS=n multiplies. */
static inline unsigned random_runs(unsigned usual)
{
	const char *factor = getenv("RUNS");

	return factor ? usual * (unsigned)strtoul(factor, NULL, 0) : usual;
}

#endif
