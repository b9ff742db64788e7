/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/merge/visible.h"

#include "sync/codec/scalar.h"

#include <stdlib.h>

/* A cell of the shown uid; births of one uid may have a cell each for one column. */
struct pooled {
	const struct cell *cell;
};

struct view {
	struct judge judge;
	struct arena *arena;
	struct pooled *pool;
	size_t pool_count;
	struct column *columns;
	size_t count;
	size_t spec_extra; /* siblings beyond one of the column of spec that has most */
	struct column *generation;
	size_t generation_extra;
	int64_t generation_max;
};

static bool is(struct bytes name, const char *text)
{
	return bytes_equal(name, bytes_of_string(text));
}

/* --- which sibling ---------------------------------------------------------------------------- */

/* The column's own order; 0 where it has none or they are equal. */
static int compare_own(const struct column_id *id, struct bytes a, struct bytes b)
{
	if (is(id->field, "metadata") &&
	    (is(id->sub, "deletionTimestamp") || is(id->sub, "deletionGracePeriodSeconds")))
		return -scalar_compare(id, a, b);
	/* false and Active are before true and Terminating in the bytes of every encoding. */
	if (is(id->field, "immutable") || (is(id->field, "status") && is(id->sub, "phase")))
		return bytes_compare(a, b);
	return 0;
}

int sibling_compare(const struct judge *judge, const struct column_id *id, const struct sibling *a,
		    const struct sibling *b)
{
	const struct policy *policy = judge->policy;
	int order = compare_own(id, a->value, b->value);

	if (!order && policy->rank)
		order = policy->rank(policy, &judge->facts, id, &a->dot.actor) -
			policy->rank(policy, &judge->facts, id, &b->dot.actor);
	if (!order)
		order = a->stamp < b->stamp ? -1 : a->stamp > b->stamp;
	return order ? order : dot_compare(&a->dot, &b->dot);
}

/* --- which object ----------------------------------------------------------------------------- */

/* When the object was created, for births that no rule ranks: the older one wins. */
static int compare_ages(const struct birth *a, const struct birth *b)
{
	const struct birth *births[2] = {a, b};
	const struct cell *found[2] = {NULL, NULL};

	for (int i = 0; i < 2; i++)
		for (size_t j = 0; j < births[i]->count; j++)
			if (is(births[i]->cells[j].id.sub, "creationTimestamp") &&
			    is(births[i]->cells[j].id.field, "metadata"))
				found[i] = &births[i]->cells[j];
	if (!found[0] || !found[1] || !column_id_equal(&found[0]->id, &found[1]->id))
		return 0;
	return -scalar_compare(&found[0]->id, found[0]->siblings[0].value,
			       found[1]->siblings[0].value);
}

static int birth_compare(const struct policy *policy, const struct birth *a, const struct birth *b)
{
	int order = 0;

	if (policy->rank_birth)
		order = policy->rank_birth(policy, a) - policy->rank_birth(policy, b);
	if (!order)
		order = compare_ages(a, b);
	if (!order)
		order = -bytes_compare(a->uid, b->uid);
	return order ? order : -dot_compare(&a->dot, &b->dot);
}

static const struct birth *best_birth(const struct state *state, const struct policy *policy)
{
	const struct birth *best = &state->births[0];

	for (size_t i = 1; i < state->count; i++)
		if (birth_compare(policy, &state->births[i], best) > 0)
			best = &state->births[i];
	return best;
}

static bool is_settled(const struct state *state)
{
	for (size_t i = 0; i < state->births[0].count; i++)
		if (state->births[0].cells[i].count > 1)
			return false;
	return state->count == 1;
}

enum err state_facts(const struct state *state, const struct policy *policy, struct arena *arena,
		     struct facts *ret_facts)
{
	*ret_facts = (struct facts){0};
	if (!policy->look || !state->count || is_settled(state))
		return ERR_OK;
	if (!policy->look(policy, state, best_birth(state, policy), arena, ret_facts))
		return fault(ERR_NOMEM, "the facts of %zu births", state->count);
	return ERR_OK;
}

/* --- columns ---------------------------------------------------------------------------------- */

static int compare_pooled(const void *left, const void *right)
{
	const struct pooled *a = left, *b = right;

	return column_id_compare(&a->cell->id, &b->cell->id);
}

static bool fill_pool(struct view *view, const struct state *state, struct bytes uid)
{
	size_t count = 0;

	for (size_t i = 0; i < state->count; i++)
		count += state->births[i].count;
	view->pool = arena_calloc(view->arena, count + 1, sizeof(*view->pool));
	view->columns = arena_calloc(view->arena, count + 1, sizeof(*view->columns));
	if (!view->pool || !view->columns)
		return false;
	for (size_t i = 0; i < state->count; i++)
		for (size_t j = 0;
		     bytes_equal(state->births[i].uid, uid) && j < state->births[i].count; j++)
			view->pool[view->pool_count++].cell = &state->births[i].cells[j];
	qsort(view->pool, view->pool_count, sizeof(*view->pool), compare_pooled);
	return true;
}

static void count_generation(struct view *view, const struct column_id *id,
			     const struct sibling *sibling)
{
	struct bytes text;
	int64_t number;

	if (scalar_read(id, sibling->value, &number, &text) && !text.size &&
	    number > view->generation_max)
		view->generation_max = number;
}

/* Chooses among the siblings of the cells in [from, to), which are one column. */
static void choose(struct view *view, size_t from, size_t to)
{
	const struct column_id *id = &view->pool[from].cell->id;
	bool generation = is(id->field, "metadata") && is(id->sub, "generation");
	const struct sibling *best = NULL;
	size_t siblings = 0;

	for (size_t i = from; i < to; i++)
		for (size_t j = 0; j < view->pool[i].cell->count; j++) {
			const struct sibling *sibling = &view->pool[i].cell->siblings[j];

			siblings++;
			if (generation)
				count_generation(view, id, sibling);
			if (!best || sibling_compare(&view->judge, id, sibling, best) > 0)
				best = sibling;
		}
	if (is(id->field, "spec") && siblings - 1 > view->spec_extra)
		view->spec_extra = siblings - 1;
	view->columns[view->count] = (struct column){*id, best->value};
	if (generation) {
		view->generation = &view->columns[view->count];
		view->generation_extra = siblings - 1;
	}
	view->count++;
}

static bool raise_generation(struct view *view)
{
	size_t extra = view->generation_extra > view->spec_extra ? view->generation_extra
								 : view->spec_extra;

	if (!view->generation || !extra || !view->generation_max)
		return true;
	return scalar_put_generation(&view->generation->id, view->generation_max + (int64_t)extra,
				     view->arena, &view->generation->bytes);
}

static bool deletion_due(const struct view *view)
{
	bool terminating = false;

	for (size_t i = 0; i < view->count; i++) {
		const struct column_id *id = &view->columns[i].id;
		struct bytes text;
		int64_t number;

		if (!is(id->field, "metadata"))
			continue;
		if (is(id->sub, "finalizers") && (id->part == PART_ENTRY || id->part == PART_WHOLE))
			return false;
		if (is(id->sub, "deletionGracePeriodSeconds") &&
		    scalar_read(id, view->columns[i].bytes, &number, &text) && number != 0)
			return false;
		terminating |= is(id->sub, "deletionTimestamp");
	}
	return terminating;
}

enum err state_visible(const struct state *state, const struct policy *policy, struct arena *arena,
		       struct visible *ret_visible)
{
	struct view view = {.judge = {.policy = policy}, .arena = arena};
	enum err e;

	*ret_visible = (struct visible){0};
	if (!state->count)
		return ERR_OK;
	e = state_facts(state, policy, arena, &view.judge.facts);
	if (e)
		return e;
	ret_visible->uid = best_birth(state, policy)->uid;
	if (!fill_pool(&view, state, ret_visible->uid))
		return fault(ERR_NOMEM, "the view of %zu births", state->count);
	for (size_t from = 0, to; from < view.pool_count; from = to) {
		for (to = from + 1;
		     to < view.pool_count && !compare_pooled(&view.pool[from], &view.pool[to]);)
			to++;
		choose(&view, from, to);
	}
	if (!raise_generation(&view))
		return fault(ERR_NOMEM, "a generation");
	e = object_splice(view.columns, view.count, arena, &ret_visible->value);
	if (e == ERR_MALFORMED)
		return ERR_OK;
	ret_visible->present = !e;
	ret_visible->deletion_due = deletion_due(&view);
	return e;
}
