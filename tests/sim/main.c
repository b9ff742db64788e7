/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - the simulator as a program: docs/simulator.md.
 *
 * sim [--seed N] [--runs N] [--topology star|pair|tree|mesh|random] [--mistake
 * WORD] [--first]
 *     [--keep LIST] [--trace] [--all-paths]
 * --keep replays one seed with the listed steps alone, as a failure prints
 * them; --first stops at the first failure; --all-paths fails when a path that
 * must be reached was not. */
#include "sync/engine/mistakes.h"
#include "tests/sim/faults.h"
#include "tests/sim/runner.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct options {
	struct running running;
	const char *keep;
	const char *topology; /* as given */
	const char *mistake;
	bool trace;
	bool all_paths;
};

static struct options options;

static const struct {
	const char *name;
	const char *text;
	bool required;
} seen_words[SEEN_COUNT] = {
#define SEEN_WORDS(name, words, required) {#name, words, required},
	SEEN_TABLE(SEEN_WORDS)
#undef SEEN_WORDS
};

static const struct {
	const char *word;
	unsigned bit;
} mistake_words[MISTAKES] = {
#define MISTAKE_WORD(name, word, text) {word, MISTAKE_##name},
	MISTAKE_TABLE(MISTAKE_WORD)
#undef MISTAKE_WORD
};

/* --- one failure
 * ------------------------------------------------------------------------------
 */

static void print_kept(const struct plan *plan)
{
	const char *between = "";

	for (unsigned i = 0; i < plan->count; i++)
		if (!plan->left_out[i]) {
			printf("%s%u%s", between, i, plan->steps[i].pause_ms ? "" : "!");
			between = ",";
		}
}

/* The steps of a list like the printed one; "!" behind one: no time passes
 * after it. */
static void keep_steps(struct plan *plan, const char *list)
{
	memset(plan->left_out, 1, sizeof plan->left_out);
	while (*list) {
		char *end;
		unsigned long step = strtoul(list, &end, 10);

		if (end == list || step >= plan->count) {
			fprintf(stderr, "--keep: not a list of this seed's steps: %s\n", list);
			exit(2);
		}
		plan->left_out[step] = false;
		if (*end == '!') {
			plan->steps[step].pause_ms = 0;
			end++;
		}
		list = *end == ',' ? end + 1 : end;
	}
}

static void print_outcome(const struct plan *plan, const struct outcome *outcome)
{
	const struct result *result = &outcome->result;

	printf("seed %" PRIu64 " (%s, %u sites): invariant %s broken at step %u: %s\n",
	       outcome->seed, topology_name(plan->topology), plan->sites, result->invariant,
	       result->step, result->text);
}

static void told(const struct outcome *outcome)
{
	static struct plan plan;
	struct outcome shorter;
	unsigned tries, left = 0;

	plan.mistakes = options.running.mistakes;
	plan_make(&plan, outcome->seed, options.running.topology);
	print_outcome(&plan, outcome);
	if (options.mistake && !options.trace)
		return;
	tries = runner_shrink(&plan, outcome);
	for (unsigned i = 0; i < plan.count; i++)
		left += !plan.left_out[i];
	printf("%u of %u steps are enough (%u tries):\n", left, plan.count, tries);
	shorter = runner_try(&plan, stdout);
	print_outcome(&plan, &shorter);
	printf("again: make sim SEED=%" PRIu64 "%s%s%s%s KEEP='", outcome->seed,
	       options.topology ? " TOPOLOGY=" : "", options.topology ? options.topology : "",
	       options.mistake ? " MISTAKE=" : "", options.mistake ? options.mistake : "");
	print_kept(&plan);
	printf("'\n\n");
}

static int replay(void)
{
	static struct plan plan;
	struct outcome outcome;

	plan.mistakes = options.running.mistakes;
	plan_make(&plan, options.running.first, options.running.topology);
	if (options.keep)
		keep_steps(&plan, options.keep);
	outcome = runner_try(&plan, stdout);
	if (outcome.failed)
		print_outcome(&plan, &outcome);
	printf("%d passed, %d failed\n", !outcome.failed, outcome.failed);
	return outcome.failed;
}

/* --- many
 * -------------------------------------------------------------------------------------
 */

static unsigned print_totals(const struct totals *totals, double seconds)
{
	unsigned missed = 0;

	for (unsigned i = 0; i < SEEN_COUNT; i++)
		printf("%12" PRIu64 "  %s\n", totals->seen[i], seen_words[i].text);
	printf("%.1f s, %.1f seeds/s, %.0f steps/s, %.0f events/s\n", seconds,
	       (double)(totals->passed + totals->failed) / seconds,
	       (double)totals->seen[SEEN_STEPS] / seconds,
	       (double)totals->seen[SEEN_EVENTS] / seconds);
	for (unsigned i = 0; i < SEEN_COUNT && options.all_paths; i++)
		if (seen_words[i].required && !totals->seen[i]) {
			printf("never reached: %s\n", seen_words[i].text);
			missed++;
		}
	return missed;
}

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int run_all(void)
{
	double start = now_seconds();
	struct totals totals;
	unsigned missed;

	runner_run(&options.running, &totals, told);
	missed = print_totals(&totals, now_seconds() - start);
	printf("%" PRIu64 " passed, %" PRIu64 " failed\n", totals.passed, totals.failed + missed);
	return totals.failed || missed;
}

/* --- options
 * ----------------------------------------------------------------------------------
 */

static void usage(const char *wrong)
{
	fprintf(stderr, "sim: %s\nmistakes:", wrong);
	for (unsigned i = 0; i < MISTAKES; i++)
		fprintf(stderr, " %s", mistake_words[i].word);
	fprintf(stderr, "\n");
	exit(2);
}

static void take_mistake(const char *word)
{
	for (unsigned i = 0; i < MISTAKES; i++)
		if (!strcmp(word, mistake_words[i].word)) {
			options.running.mistakes |= mistake_words[i].bit;
			options.mistake = word;
			return;
		}
	usage("no such mistake");
}

static void take_topology(const char *word)
{
	for (unsigned i = 0; i < TOPOLOGIES; i++)
		if (!strcmp(word, topology_name((enum topology)i))) {
			options.running.topology = (enum topology)i;
			options.topology = word;
			return;
		}
	usage("no such topology");
}

static bool take_flag(const char *word)
{
	bool *flag = !strcmp(word, "--trace")	    ? &options.trace
		     : !strcmp(word, "--all-paths") ? &options.all_paths
		     : !strcmp(word, "--first")	    ? &options.running.stop_at_first
						    : NULL;

	if (flag)
		*flag = true;
	return flag != NULL;
}

static void take_option(const char *name, const char *value)
{
	if (!value)
		usage(name);
	if (!strcmp(name, "--seed"))
		options.running.first = strtoull(value, NULL, 0);
	else if (!strcmp(name, "--runs"))
		options.running.runs = strtoull(value, NULL, 0);
	else if (!strcmp(name, "--topology"))
		take_topology(value);
	else if (!strcmp(name, "--mistake"))
		take_mistake(value);
	else if (!strcmp(name, "--keep"))
		options.keep = value;
	else
		usage(name);
}

int main(int argc, char **argv)
{
	options.running = (struct running){.first = 1, .runs = 1, .topology = TOPOLOGIES};
	for (int i = 1; i < argc; i++)
		if (!take_flag(argv[i])) {
			take_option(argv[i], argv[i + 1]);
			i++;
		}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (options.keep || (options.trace && options.running.runs == 1))
		return replay();
	return run_all();
}
