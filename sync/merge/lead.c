/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/codec/peek.h"
#include "sync/merge/view.h"

#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"
#define OWNER_CONTROLLER 6 /* controller's field number in an owner reference */

static const struct column_id spec_id = {.field = {(const uint8_t *)"spec", 4}};

/* --- leads ------------------------------------------------------------------------------------ */

static bool is_main_spec(const struct column_id *id)
{
	return is(id->field, "spec") && !id->sub.size &&
	       (id->part == PART_WHOLE || id->part == PART_REST);
}

static bool is_type(const struct column_id *id)
{
	return id->part == PART_TYPE && !id->field.size;
}

/* Whether the shown type has this column. */
static bool has_layout(const struct view *view, const struct column_id *id)
{
	struct object_type type;

	return is_type(id) || !view->type.shown ||
	       (object_type_read(view->type.shown->value, &type) &&
		type.field_layout == id->layout);
}

static void find_shown(const struct view *view, bool (*belongs)(const struct column_id *),
		       struct lead *lead)
{
	for (size_t i = 0; i < view->pool_count; i++) {
		const struct cell *cell = view->pool[i].cell;

		if (!belongs(&cell->id) || !has_layout(view, &cell->id))
			continue;
		for (size_t j = 0; j < cell->count; j++)
			if (!lead->shown || sibling_compare(&view->judge, &cell->id,
							    &cell->siblings[j], lead->shown) > 0) {
				lead->shown = &cell->siblings[j];
				lead->id = &cell->id;
			}
	}
}

/* Specs of other storage versions are hidden, too, whatever their layout. */
static bool find_lead(struct view *view, bool (*belongs)(const struct column_id *),
		      struct lead *lead)
{
	size_t count = 0;

	find_shown(view, belongs, lead);
	for (size_t i = 0; lead->shown && i < view->pool_count; i++)
		if (belongs(&view->pool[i].cell->id))
			count += view->pool[i].cell->count;
	if (count < 2) {
		lead->id = NULL;
		return true;
	}
	lead->hidden = arena_calloc(view->arena, count, sizeof(*lead->hidden));
	if (!lead->hidden)
		return false;
	for (size_t i = 0; i < view->pool_count; i++) {
		const struct cell *cell = view->pool[i].cell;

		for (size_t j = 0; belongs(&cell->id) && j < cell->count; j++)
			if (!dot_equal(&cell->siblings[j].dot, &lead->shown->dot))
				lead->hidden[lead->hidden_count++] = &cell->siblings[j].dot;
	}
	return true;
}

bool view_find_leads(struct view *view)
{
	return find_lead(view, is_type, &view->type) && find_lead(view, is_main_spec, &view->spec);
}

/* --- who follows ------------------------------------------------------------------------------ */

bool column_is_apart(const struct column_id *id)
{
	return is_metadata(id, "deletionTimestamp") ||
	       is_metadata(id, "deletionGracePeriodSeconds") || is_metadata(id, "finalizers");
}

/* managedFields' entry of the object itself: the subresource, which ends the key, is empty. */
static bool is_main_manager(const struct column_id *id)
{
	return is_metadata(id, "managedFields") &&
	       (id->part != PART_ENTRY || !id->entry.size || !id->entry.data[id->entry.size - 1]);
}

const struct lead *view_lead(const struct view *view, const struct column_id *id)
{
	if (view->judge.policy->atomic && view->type.id && !column_is_apart(id) && !is_type(id))
		return &view->type;
	if (view->spec.id && (is_main_manager(id) ||
			      (is_metadata(id, "annotations") && is(id->entry, LAST_APPLIED))))
		return &view->spec;
	return NULL;
}

bool lead_hides(const struct lead *lead, const struct sibling *sibling)
{
	for (size_t i = 0; i < lead->hidden_count; i++)
		if (dot_equal(lead->hidden[i], &sibling->dot))
			return true;
	return false;
}

int lead_compare(const struct view *view, const struct lead *lead, const struct sibling *a,
		 const struct sibling *b)
{
	int order = dot_equal(&a->dot, &lead->shown->dot) - dot_equal(&b->dot, &lead->shown->dot);

	return order ? order : sibling_compare(&view->judge, &spec_id, a, b);
}

/* --- owners ----------------------------------------------------------------------------------- */

static enum err is_controller(const struct view *view, size_t at, bool *ret_is)
{
	const struct column *column = &view->columns[at];
	struct peek peek = {peek_metadata_format(&column->id), "controller", OWNER_CONTROLLER};
	struct peeked peeked = {0};
	enum err e = ERR_OK;

	if (is_metadata(&column->id, "ownerReferences") && column->id.part == PART_ENTRY)
		e = peek_column(&peek, column, view->arena, &peeked);
	*ret_is = peeked.truth;
	return e;
}

static int compare_owners(const struct view *view, const struct sibling *a, const struct sibling *b)
{
	if (view->spec.shown)
		return lead_compare(view, &view->spec, a, b);
	return sibling_compare(&view->judge, &spec_id, a, b);
}

static size_t owner_columns(const struct view *view)
{
	size_t count = 0;

	for (size_t i = 0; i < view->count; i++)
		count += is_metadata(&view->columns[i].id, "ownerReferences");
	return count;
}

/* What one write named stays together: it is the writer's business. */
enum err view_settle_owners(struct view *view)
{
	const struct sibling *best = NULL;
	size_t kept = 0;
	enum err e = ERR_OK;
	bool controls;

	if (owner_columns(view) < 2)
		return ERR_OK;
	for (size_t i = 0; !e && i < view->count; i++) {
		e = is_controller(view, i, &controls);
		if (controls && (!best || compare_owners(view, view->shown[i], best) > 0))
			best = view->shown[i];
	}
	for (size_t i = 0; !e && best && i < view->count; i++) {
		e = is_controller(view, i, &controls);
		if (controls && !dot_equal(&view->shown[i]->dot, &best->dot))
			continue;
		view->columns[kept] = view->columns[i];
		view->shown[kept++] = view->shown[i];
	}
	if (!e && best)
		view->count = kept;
	return e;
}
