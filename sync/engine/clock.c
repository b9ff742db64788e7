/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/engine/clock.h"

#include "sync/engine/records.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

static void group_fini(struct group_clock *group)
{
	for (size_t i = 0; i < group->count; i++)
		vector_fini(&group->steps[i].delta);
	free(group->steps);
	vector_fini(&group->now);
	vector_fini(&group->base);
	*group = (struct group_clock){0};
}

void clock_fini(struct node_clock *clock)
{
	for (int group = 0; group < GROUPS; group++)
		group_fini(&clock->groups[group]);
}

enum err clock_at(const struct node_clock *clock, enum group number, int64_t revision,
		  struct vector *ret_vector)
{
	const struct group_clock *group = &clock->groups[number];
	bool newest = !group->count || group->steps[group->count - 1].last <= revision;
	struct vector vector = {0};
	int64_t own = atomic_load(&clock->written[number]);
	enum err e;

	if (own > revision)
		own = revision;
	assert(revision >= group->base_revision);
	e = vector_copy(newest ? &group->now : &group->base, &vector);
	for (size_t i = 0; !e && !newest && i < group->count; i++)
		if (group->steps[i].last <= revision)
			e = vector_merge(&vector, &group->steps[i].delta);
	if (!e && own > clock->begin)
		e = vector_add(&vector, &clock->self, clock->begin + 1, own);
	if (e)
		vector_fini(&vector);
	else
		*ret_vector = vector;
	return e;
}

int64_t clock_cut(const struct node_clock *clock, enum group number, int64_t revision)
{
	const struct group_clock *group = &clock->groups[number];

	if (revision < group->base_revision)
		revision = group->base_revision;
	for (size_t i = 0; i < group->count; i++)
		if (group->steps[i].first <= revision && revision < group->steps[i].last)
			return group->steps[i].last;
	return revision;
}

static enum err add_step(struct group_clock *group, const struct clock_step *step)
{
	struct clock_step *last = group->count ? &group->steps[group->count - 1] : NULL;
	struct clock_step *grown;

	/* Without rows of its own it is part of what came before at that revision. */
	if (last && step->first > step->last && last->last == step->last)
		return vector_merge(&last->delta, &step->delta);
	if (group->count == group->capacity) {
		size_t wanted = group->capacity ? group->capacity * 2 : 64;

		grown = reallocarray(group->steps, wanted, sizeof(*grown));
		if (!grown)
			return fault(ERR_NOMEM, "%zu steps of a clock", wanted);
		group->steps = grown;
		group->capacity = wanted;
	}
	last = &group->steps[group->count];
	*last = (struct clock_step){step->first, step->last, {0}};
	if (vector_copy(&step->delta, &last->delta))
		return ERR_NOMEM;
	group->count++;
	return ERR_OK;
}

enum err clock_step(struct node_clock *clock, enum group number, const struct clock_step *step)
{
	struct group_clock *group = &clock->groups[number];
	enum err e;

	if (!step->delta.count && step->first > step->last)
		return ERR_OK;
	e = vector_merge(&group->now, &step->delta);
	return e ? e : add_step(group, step);
}

enum err clock_fold(struct node_clock *clock, enum group number, int64_t revision)
{
	struct group_clock *group = &clock->groups[number];
	size_t folded = 0;
	enum err e = ERR_OK;

	while (!e && folded < group->count && group->steps[folded].last <= revision)
		e = vector_merge(&group->base, &group->steps[folded++].delta);
	if (e || revision <= group->base_revision)
		return e;
	for (size_t i = 0; i < folded; i++)
		vector_fini(&group->steps[i].delta);
	memmove(group->steps, group->steps + folded,
		(group->count - folded) * sizeof(*group->steps));
	group->count -= folded;
	group->base_revision = revision;
	return ERR_OK;
}

/* --- records --------------------------------------------------------------------------------- */

static enum err damaged(void)
{
	return fault(ERR_DAMAGED, "a record of the revision vector cannot be read");
}

/* Adds what was noted at the step's revision before, when the step wrote no rows of its own. */
static enum err join_noted(struct apply *apply, struct bytes name, struct clock_step *step)
{
	struct clock_step noted = {0};
	bool found = false;
	struct bytes value = {0};
	struct wire wire;
	uint64_t first;
	enum err e = apply_get_state(apply, name, &found, &value);

	if (e || !found)
		return e;
	wire = wire_of(value);
	if (!wire_take_number(&wire, REV_MAIN_MAX + 1, &first) ||
	    vector_decode(&wire, &noted.delta))
		return damaged();
	step->first = (int64_t)first;
	e = vector_merge(&step->delta, &noted.delta);
	vector_fini(&noted.delta);
	return e;
}

enum err clock_put_step(struct apply *apply, enum group group, const struct clock_step *step)
{
	struct record_name name = record_step(group, step->last);
	struct buffer buffer = BUFFER_INIT(VECTOR_BYTES_MAX + 16);
	struct clock_step whole = {step->first, step->last, {0}};
	enum err e;

	if (!step->delta.count && step->first > step->last)
		return ERR_OK;
	e = vector_copy(&step->delta, &whole.delta);
	if (!e && step->first > step->last)
		e = join_noted(apply, record_bytes(&name), &whole);
	if (!e && !(wire_put_number(&buffer, (uint64_t)whole.first) &&
		    vector_encode(&whole.delta, &buffer)))
		e = fault(ERR_NOMEM, "a step of a clock");
	if (!e)
		e = apply_set_state(apply, record_bytes(&name), buffer_bytes(&buffer));
	vector_fini(&whole.delta);
	buffer_fini(&buffer);
	return e;
}

/* Without own writes, which are never stored. */
static enum err taken_over(const struct group_clock *group, int64_t revision,
			   struct vector *ret_vector)
{
	enum err e = vector_copy(&group->base, ret_vector);

	for (size_t i = 0; !e && i < group->count; i++)
		if (group->steps[i].last <= revision)
			e = vector_merge(ret_vector, &group->steps[i].delta);
	return e;
}

enum err clock_put_base(struct apply *apply, const struct node_clock *clock, enum group number,
			int64_t revision, const struct vector *step)
{
	struct record_name name = record_base(number);
	struct record_name from = record_step(number, 0);
	struct record_name end = record_step(number, revision + 1);
	struct buffer buffer = BUFFER_INIT(VECTOR_BYTES_MAX + 16);
	struct vector vector = {0};
	int64_t deleted;
	enum err e = taken_over(&clock->groups[number], revision, &vector);

	if (!e && step)
		e = vector_merge(&vector, step);
	if (!e &&
	    !(wire_put_number(&buffer, (uint64_t)revision) && vector_encode(&vector, &buffer)))
		e = fault(ERR_NOMEM, "the base of a clock");
	if (!e)
		e = apply_set_state(apply, record_bytes(&name), buffer_bytes(&buffer));
	if (!e)
		e = apply_delete_states(apply, record_bytes(&from), record_bytes(&end),
					CLOCK_STEPS_MAX, &deleted);
	vector_fini(&vector);
	buffer_fini(&buffer);
	return e;
}

struct loading {
	struct node_clock *clock;
	enum group group;
	enum err e;
};

static bool load_step(void *context, struct bytes name, struct bytes value)
{
	struct loading *loading = context;
	struct clock_step step = {0};
	struct wire wire = wire_of(value);
	uint64_t first;

	if (!record_step_revision(name, &step.last) ||
	    !wire_take_number(&wire, REV_MAIN_MAX + 1, &first) ||
	    vector_decode(&wire, &step.delta)) {
		loading->e = damaged();
		return false;
	}
	step.first = (int64_t)first;
	loading->e = clock_step(loading->clock, loading->group, &step);
	vector_fini(&step.delta);
	return !loading->e;
}

static enum err load_group(struct node_clock *clock, enum group number, struct store_reader *reader,
			   struct arena *arena)
{
	struct group_clock *group = &clock->groups[number];
	struct loading loading = {clock, number, ERR_OK};
	struct record_name name = record_base(number);
	struct record_name from = record_step(number, 0);
	struct record_name end = record_step(number, REV_MAIN_MAX);
	struct bytes value = {0};
	uint64_t revision = 0;
	bool found = false;
	enum err e = store_state_get(reader, record_bytes(&name), arena, &found, &value);

	if (!e && found) {
		struct wire wire = wire_of(value);

		if (!wire_take_number(&wire, REV_MAIN_MAX, &revision) ||
		    vector_decode(&wire, &group->base))
			return damaged();
		group->base_revision = (int64_t)revision;
		e = vector_copy(&group->base, &group->now);
	}
	if (!e)
		e = store_state_scan(reader, record_bytes(&from), record_bytes(&end), load_step,
				     &loading);
	return e ? e : loading.e;
}

enum err clock_load(struct node_clock *clock, struct store_reader *reader)
{
	struct arena arena;
	enum err e = ERR_OK;

	arena_init(&arena, 2 * VECTOR_BYTES_MAX);
	for (int group = 0; !e && group < GROUPS; group++)
		e = load_group(clock, group, reader, &arena);
	arena_fini(&arena);
	return e;
}
