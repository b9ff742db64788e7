/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/world.h"

#include "tests/sim/clients.h"
#include "tests/sim/faults.h"
#include "tests/sim/rule_texts.h"
#include "tests/sim/settle.h"
#include "tests/sim/topology.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>

#define EVENTS_MAX 400000 /* of one run: more is a message that goes round for ever */

void world_fail(struct world *world, const char *invariant, const char *format, ...)
{
	struct result *result = world->result;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(result->text, sizeof result->text, format, arguments);
	va_end(arguments);
	result->failed = true;
	result->step = world->step;
	snprintf(result->invariant, sizeof result->invariant, "%s", invariant);
	longjmp(world->failed, 1);
}

void world_tell(const struct world *world, const char *format, ...)
{
	va_list arguments;

	if (!world->trace)
		return;
	fprintf(world->trace, "%10.3f ", (double)world->now_ms / 1000);
	va_start(arguments, format);
	vfprintf(world->trace, format, arguments);
	va_end(arguments);
	fputc('\n', world->trace);
}

unsigned world_key_of(const struct world *world, struct bytes key)
{
	for (unsigned i = 0; i < world->key_count; i++)
		if (bytes_equal(key, bytes_of_string(world->keys[i].text)))
			return i;
	return KEYS_MAX;
}

/* --- time
 * -------------------------------------------------------------------------------------
 */

static void happen(struct world *world, const struct sim_event *event)
{
	struct sim_site *site = NULL;

	if (event->kind == EVENT_TURN || event->kind == EVENT_TICK || event->kind == EVENT_RETRY)
		site = world->sites[event->target];
	switch (event->kind) {
	case EVENT_DELIVER:
		net_deliver(world, event);
		break;
	case EVENT_CONNECT:
		net_try(world, event->target);
		break;
	case EVENT_STALLED:
		net_stalled(world, event->target, event->life);
		break;
	case EVENT_TURN:
		if (site->running && site->life == event->life)
			site_turn(site);
		break;
	case EVENT_TICK:
		if (site->running && site->life == event->life)
			site_tick(site);
		break;
	case EVENT_RETRY:
		client_retry(site, event->data);
		break;
	}
}

void world_pass(struct world *world, int64_t ms)
{
	int64_t until_ms = world->now_ms + ms;
	const struct sim_event *first;

	while ((first = queue_first(&world->queue)) && first->at_ms <= until_ms) {
		struct sim_event event = queue_take(&world->queue);

		if (event.at_ms > world->now_ms)
			world->now_ms = event.at_ms;
		world_count(world, SEEN_EVENTS);
		if (++world->events > EVENTS_MAX)
			world_fail(world, "I13", "more than %d events in one run", EVENTS_MAX);
		happen(world, &event);
	}
	if (world->now_ms < until_ms)
		world->now_ms = until_ms;
}

/* --- a run
 * ------------------------------------------------------------------------------------
 */

static void make_rules(struct world *world)
{
	static const char *const texts[RULE_SETS] = {RULES_FIRST, RULES_SECOND, RULES_THIRD};
	char problem[RULES_PROBLEM_BYTES] = "";

	for (unsigned i = 0; i < RULE_SETS; i++)
		if (rules_parse(bytes_of_string(texts[i]), &world->rules[i], problem)) {
			fprintf(stderr, "rules %u: %s\n", i, problem);
			abort();
		}
}

static void make_sites(struct world *world)
{
	sim_disk_begin(world->plan->seed);
	for (unsigned i = 0; i < world->plan->sites; i++) {
		struct sim_site *site = site_new(world, i);

		site->disk = sim_disk_new(chance_next(&world->chance));
		site->disk_id = sim_disk_identity(site->disk);
		site->compare_every_ms = chance_one_in(&world->chance, 3) ? 600000 : 0;
		world->sites[world->site_count++] = site;
	}
	topology_make(world);
	for (unsigned i = 0; i < world->site_count; i++)
		site_start(world->sites[i]);
}

static struct world *world_new(struct plan *plan, struct result *result, FILE *trace)
{
	struct world *world = calloc(1, sizeof(*world));

	assert(world);
	world->plan = plan;
	world->result = result;
	world->trace = trace;
	world->chance = chance_of(plan->seed, 3);
	world->next_number = 1;
	clients_make_keys(world);
	make_rules(world);
	return world;
}

static void forget_events(struct world *world)
{
	while (world->queue.count) {
		struct sim_event event = queue_take(&world->queue);

		if (event.kind == EVENT_RETRY)
			client_op_free(event.data);
		else
			free(event.data);
	}
	queue_fini(&world->queue);
}

static void world_free(struct world *world)
{
	for (unsigned i = 0; i < world->site_count; i++)
		site_free(world->sites[i]);
	net_fini(world);
	forget_events(world);
	oracle_fini(&world->oracle);
	for (unsigned i = 0; i < RULE_SETS; i++)
		rules_free(world->rules[i]);
	free(world);
}

bool world_run(struct plan *plan, struct result *result, FILE *trace)
{
	struct world *world = world_new(plan, result, trace);

	if (setjmp(world->failed))
		return false; /* what it held goes with the process */
	make_sites(world);
	world_pass(world, 1000);
	for (world->step = 0; world->step < plan->count; world->step++) {
		const struct step *step = &plan->steps[world->step];

		/* Each step has chance of its own, so that others may be left out. */
		world->chance = chance_of(step->chance, 1);
		if (!plan->left_out[world->step]) {
			world_count(world, SEEN_STEPS);
			step_do(world, step);
			world_pass(world, step->pause_ms);
		}
	}
	world->chance = chance_of(plan->seed, 4);
	world_settle(world);
	world_free(world);
	return true;
}
