/* SPDX-License-Identifier: Apache-2.0 */
/* chance.h - numbers that follow from a seed, in as many independent streams as
 * are wanted, so that a step which is left out changes nothing for the others.
 *
 * Values, no ownership. */
#ifndef TESTS_SIM_CHANCE_H
#define TESTS_SIM_CHANCE_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

struct chance {
	uint64_t state;
};

/* splitmix64: every seed is a good one. */
static inline uint64_t chance_next(struct chance *chance)
{
	uint64_t z = chance->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* The n-th stream of a seed. */
static inline struct chance chance_of(uint64_t seed, uint64_t stream)
{
	struct chance chance = {seed ^ (stream + 1) * UINT64_C(0xd1342543de82ef95)};

	chance.state = chance_next(&chance);
	return chance;
}

static inline unsigned chance_below(struct chance *chance, unsigned below)
{
	assert(below);
	return (unsigned)(chance_next(chance) % below);
}

static inline int64_t chance_between(struct chance *chance, int64_t low, int64_t high)
{
	assert(low <= high);
	return low + (int64_t)(chance_next(chance) % (uint64_t)(high - low + 1));
}

static inline bool chance_one_in(struct chance *chance, unsigned n)
{
	return n && !chance_below(chance, n);
}

#endif
