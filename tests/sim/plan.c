/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c - what a seed stands for: how many sites, how they are linked, and
 * every step. */
#include "tests/sim/world.h"

#include <assert.h>

#define PAUSE_MS_MAX 4000
#define STEPS_LEAST 40

const char *topology_name(enum topology topology)
{
	static const char *const names[TOPOLOGIES] = {"star", "pair", "tree", "mesh", "random"};

	return topology < TOPOLOGIES ? names[topology] : "any";
}

/* How often each step comes, by the mood of the run. */
enum mood { MOOD_CALM, MOOD_NETWORK, MOOD_CRASHES, MOOD_RESTORES, MOOD_ALL, MOODS };

static const unsigned char weights[STEP_KINDS][MOODS] = {
	/*               calm network crashes restores all */
	[STEP_WRITE] = {60, 60, 60, 60, 60}, [STEP_BURST] = {6, 6, 6, 6, 6},
	[STEP_CUT] = {3, 12, 4, 8, 8},	     [STEP_HEAL] = {3, 12, 5, 8, 8},
	[STEP_ONE_WAY] = {0, 4, 0, 1, 2},    [STEP_FLAP] = {0, 4, 1, 1, 2},
	[STEP_WILD] = {0, 3, 0, 0, 1},	     [STEP_REPLAY] = {0, 3, 1, 1, 1},
	[STEP_STOP] = {1, 2, 4, 3, 3},	     [STEP_START] = {2, 3, 8, 5, 5},
	[STEP_CRASH] = {0, 1, 16, 3, 6},     [STEP_SLOW] = {1, 2, 3, 1, 2},
	[STEP_FULL] = {0, 0, 3, 0, 1},	     [STEP_BACKUP] = {0, 0, 1, 8, 4},
	[STEP_RESTORE] = {0, 0, 1, 8, 4},    [STEP_CLONE] = {0, 0, 0, 2, 1},
	[STEP_PRUNE] = {2, 8, 4, 8, 6},	     [STEP_RULES] = {1, 1, 1, 1, 2},
	[STEP_CLOCK] = {1, 2, 2, 2, 3},	     [STEP_LEAP] = {0, 2, 1, 2, 2},
	[STEP_COMPARE] = {2, 4, 3, 4, 4},    [STEP_RESTART] = {1, 1, 4, 1, 2},
};

static enum step_kind choose(struct chance *chance, enum mood mood)
{
	unsigned total = 0, at;
	unsigned kind = 0;

	for (unsigned i = 0; i < STEP_KINDS; i++)
		total += weights[i][mood];
	at = chance_below(chance, total);
	while (at >= weights[kind][mood])
		at -= weights[kind++][mood];
	return (enum step_kind)kind;
}

static int64_t pause_ms(struct chance *chance)
{
	switch (chance_below(chance, 8)) {
	case 0:
		return chance_between(chance, 0, PAUSE_MS_MAX);
	case 1:
	case 2:
		return chance_between(chance, 0, 400);
	case 3:
		return 0;
	default:
		return chance_between(chance, 0, 60);
	}
}

static unsigned sites_of(struct chance *chance, enum topology topology)
{
	switch (topology) {
	case TOPOLOGY_TREE:
		return 5 + chance_below(chance, 3);
	case TOPOLOGY_PAIR:
		return 3 + chance_below(chance, 3);
	case TOPOLOGY_STAR:
	case TOPOLOGY_MESH:
	case TOPOLOGY_RANDOM:
	case TOPOLOGIES:
		break;
	}
	return 2 + chance_below(chance, 4);
}

void plan_make(struct plan *plan, uint64_t seed, enum topology topology)
{
	struct chance chance = chance_of(seed, 0);
	enum topology own = (enum topology)chance_below(&chance, TOPOLOGIES);
	enum mood mood = (enum mood)chance_below(&chance, MOODS);

	plan->seed = seed;
	plan->topology = topology == TOPOLOGIES ? own : topology;
	plan->sites = sites_of(&chance, plan->topology);
	assert(plan->sites < SITES_MAX);
	plan->keys = 3 + chance_below(&chance, 3) * chance_below(&chance, 9);
	plan->count = STEPS_LEAST + chance_below(&chance, 100);
	for (unsigned i = 0; i < plan->count; i++) {
		plan->left_out[i] = false;
		plan->steps[i].kind = choose(&chance, mood);
		plan->steps[i].target = (unsigned)(chance_next(&chance) >> 33);
		plan->steps[i].chance = chance_next(&chance);
		plan->steps[i].pause_ms = pause_ms(&chance);
	}
}
