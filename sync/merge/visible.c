/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/codec/scalar.h"
#include "sync/merge/view.h"

#include <stdlib.h>

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
	view->shown = arena_calloc(view->arena, count + 1, sizeof(*view->shown));
	if (!view->pool || !view->columns || !view->shown)
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
	const struct lead *lead = view_lead(view, id);
	bool generation = is_metadata(id, "generation");
	const struct sibling *best = NULL;
	size_t siblings = 0;

	for (size_t i = from; i < to; i++)
		for (size_t j = 0; j < view->pool[i].cell->count; j++) {
			const struct sibling *sibling = &view->pool[i].cell->siblings[j];

			siblings++;
			if (generation)
				count_generation(view, id, sibling);
			if (lead && lead_hides(lead, sibling))
				continue;
			if (!best || (lead ? lead_compare(view, lead, sibling, best)
					   : sibling_compare(&view->judge, id, sibling, best)) > 0)
				best = sibling;
		}
	if (is(id->field, "spec") && siblings - 1 > view->spec_extra)
		view->spec_extra = siblings - 1;
	if (!best)
		return;
	view->columns[view->count] = (struct column){*id, best->value};
	view->shown[view->count] = best;
	if (generation)
		view->generation_extra = siblings - 1;
	view->count++;
}

static void choose_all(struct view *view)
{
	for (size_t from = 0, to; from < view->pool_count; from = to) {
		for (to = from + 1;
		     to < view->pool_count && !compare_pooled(&view->pool[from], &view->pool[to]);)
			to++;
		choose(view, from, to);
	}
}

static bool raise_generation(struct view *view)
{
	size_t extra = view->generation_extra > view->spec_extra ? view->generation_extra
								 : view->spec_extra;
	struct column *column = NULL;

	for (size_t i = 0; i < view->count; i++)
		if (is_metadata(&view->columns[i].id, "generation"))
			column = &view->columns[i];
	if (!column || !extra || !view->generation_max)
		return true;
	return scalar_put_generation(&column->id, view->generation_max + (int64_t)extra,
				     view->arena, &column->bytes);
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

enum err view_make(const struct state *state, const struct policy *policy, struct bytes uid,
		   struct arena *arena, struct view *ret_view)
{
	struct view view = {.judge = {.policy = policy}, .arena = arena};
	enum err e = state_facts(state, policy, arena, &view.judge.facts);

	if (e)
		return e;
	if (!fill_pool(&view, state, uid) || !view_find_leads(&view))
		return fault(ERR_NOMEM, "the view of %zu births", state->count);
	choose_all(&view);
	e = view_settle_owners(&view);
	if (!e && !raise_generation(&view))
		return fault(ERR_NOMEM, "a generation");
	if (!e)
		*ret_view = view;
	return e;
}

enum err state_visible(const struct state *state, const struct policy *policy, struct arena *arena,
		       struct visible *ret_visible)
{
	struct view view;
	enum err e;

	*ret_visible = (struct visible){0};
	if (!state->count)
		return ERR_OK;
	ret_visible->uid = state_shown_birth(state, policy)->uid;
	e = view_make(state, policy, ret_visible->uid, arena, &view);
	if (e)
		return e;
	e = object_splice(view.columns, view.count, arena, &ret_visible->value);
	if (e == ERR_MALFORMED)
		return ERR_OK;
	ret_visible->present = !e;
	ret_visible->deletion_due = deletion_due(&view);
	return e;
}
