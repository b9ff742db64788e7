/* SPDX-License-Identifier: Apache-2.0 */
/* runner.h - runs plans in child processes, so that a crash of one is a finding
 * like any other, and makes a failing plan short.
 *
 * Ownership: plans are the caller's; results are copies. */
#ifndef TESTS_SIM_RUNNER_H
#define TESTS_SIM_RUNNER_H

#include "tests/sim/world.h"

struct outcome {
	bool failed;
	uint64_t seed;
	struct result result;
};

struct running {
	uint64_t first; /* seed */
	uint64_t runs;
	enum topology topology; /* TOPOLOGIES: any */
	unsigned mistakes;
	bool stop_at_first;
};

struct totals {
	uint64_t passed;
	uint64_t failed;
	uint64_t seen[SEEN_COUNT];
	struct outcome first; /* that failed */
};

/* Runs all seeds; calls `told` for each that fails. */
void runner_run(const struct running *running, struct totals *ret_totals,
		void (*told)(const struct outcome *outcome));

/* One plan in a child; the trace may be NULL. */
struct outcome runner_try(const struct plan *plan, FILE *trace);

/* Leaves out steps while the same invariant breaks; returns the number of
 * tries. */
unsigned runner_shrink(struct plan *plan, const struct outcome *outcome);

#endif
