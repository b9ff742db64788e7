/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/runner.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEEDS_PER_CHILD 25
#define SECONDS_EACH 60 /* of one run, before it counts as hanging */
#define TRIES_MAX 1500	/* of one plan that is made shorter */

struct shared {
	struct result result;
	uint64_t seed; /* under way */
	uint64_t done; /* seeds that passed */
};

static struct shared *share(void)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert(shared != MAP_FAILED);
	return shared;
}

static void note_death(int status, struct result *result)
{
	if (result->failed || (WIFEXITED(status) && !WEXITSTATUS(status)))
		return;
	result->failed = true;
	snprintf(result->invariant, sizeof result->invariant, "crash");
	if (WIFSIGNALED(status))
		snprintf(result->text, sizeof result->text, "the process died: %s",
			 strsignal(WTERMSIG(status)));
	else
		snprintf(result->text, sizeof result->text, "the process ended with %d",
			 WEXITSTATUS(status));
}

static pid_t fork_child(void)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert(pid >= 0);
	return pid;
}

static int wait_for(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		assert(errno == EINTR);
	return status;
}

/* --- many seeds
 * -------------------------------------------------------------------------------
 */

static void run_seeds(const struct running *running, struct shared *shared, uint64_t count)
{
	static struct plan plan;

	for (uint64_t i = 0; i < count; i++) {
		alarm(SECONDS_EACH);
		plan.mistakes = running->mistakes;
		plan_make(&plan, shared->seed, running->topology);
		if (!world_run(&plan, &shared->result, NULL))
			_exit(0);
		shared->seed++;
		shared->done++;
	}
}

static void add_up(const struct shared *shared, struct totals *totals)
{
	for (unsigned i = 0; i < SEEN_COUNT; i++)
		totals->seen[i] += shared->result.seen[i];
	totals->passed += shared->done;
	totals->failed += shared->result.failed;
}

void runner_run(const struct running *running, struct totals *ret_totals,
		void (*told)(const struct outcome *outcome))
{
	struct shared *shared = share();
	uint64_t end = running->first + running->runs, seed = running->first;

	*ret_totals = (struct totals){0};
	while (seed < end && !(running->stop_at_first && ret_totals->failed)) {
		uint64_t count = end - seed < SEEDS_PER_CHILD ? end - seed : SEEDS_PER_CHILD;
		pid_t pid;

		memset(shared, 0, sizeof(*shared));
		shared->seed = seed;
		pid = fork_child();
		if (!pid) {
			run_seeds(running, shared, count);
			exit(0); /* a leak is told here */
		}
		note_death(wait_for(pid), &shared->result);
		add_up(shared, ret_totals);
		seed = shared->seed;
		if (shared->result.failed) {
			struct outcome outcome = {true, seed++, shared->result};

			if (!ret_totals->first.failed)
				ret_totals->first = outcome;
			told(&outcome);
		}
	}
	munmap(shared, sizeof(*shared));
}

/* --- one plan
 * ---------------------------------------------------------------------------------
 */

struct outcome runner_try(const struct plan *plan, FILE *trace)
{
	static struct plan copy;
	struct shared *shared = share();
	struct outcome outcome = {.seed = plan->seed};
	pid_t pid = fork_child();

	if (!pid) {
		copy = *plan;
		alarm(SECONDS_EACH);
		world_run(&copy, &shared->result, trace);
		if (trace)
			fflush(trace);
		_exit(0);
	}
	note_death(wait_for(pid), &shared->result);
	outcome.result = shared->result;
	outcome.failed = shared->result.failed;
	munmap(shared, sizeof(*shared));
	return outcome;
}

static bool still_fails(const struct plan *plan, const struct outcome *wanted)
{
	struct outcome outcome = runner_try(plan, NULL);

	return outcome.failed && !strcmp(outcome.result.invariant, wanted->result.invariant);
}

/* Leaves out [from, from + count) of what is left; puts it back when that mends
 * it. */
static bool leave_out(struct plan *plan, unsigned from, unsigned count,
		      const struct outcome *wanted)
{
	bool before[STEPS_MAX];
	bool any = false;

	memcpy(before, plan->left_out, sizeof before);
	for (unsigned i = from; i < from + count && i < plan->count; i++) {
		any |= !plan->left_out[i];
		plan->left_out[i] = true;
	}
	if (any && still_fails(plan, wanted))
		return true;
	memcpy(plan->left_out, before, sizeof before);
	return false;
}

unsigned runner_shrink(struct plan *plan, const struct outcome *outcome)
{
	unsigned tries = 0;
	bool shorter = true;

	/* What comes after the break has no part in it, unless it broke when faults
   * had stopped. */
	for (unsigned i = outcome->result.step + 1; i < plan->count; i++)
		plan->left_out[i] = true;
	while (shorter) {
		shorter = false;
		for (unsigned size = plan->count / 2; size && tries < TRIES_MAX; size /= 2)
			for (unsigned from = 0; from < plan->count && tries < TRIES_MAX;
			     from += size, tries++)
				shorter |= leave_out(plan, from, size, outcome);
	}
	/* Time between steps is a step, too. */
	for (unsigned i = 0; i < plan->count; i++) {
		int64_t pause_ms = plan->steps[i].pause_ms;

		if (plan->left_out[i] || !pause_ms || tries >= TRIES_MAX)
			continue;
		plan->steps[i].pause_ms = 0;
		tries++;
		if (!still_fails(plan, outcome))
			plan->steps[i].pause_ms = pause_ms;
	}
	return tries;
}
