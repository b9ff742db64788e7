/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/merge/view.h"

struct writing {
	const struct write *write;
	struct arena *arena;
	struct object old; /* as the client saw it */
	struct object new;
	bool plain; /* each cell kept has one value, which is the one shown */
};

static const struct column *find_column(const struct object *object, const struct column_id *id)
{
	size_t low = 0, high = object->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = column_id_compare(&object->columns[middle].id, id);

		if (!order)
			return &object->columns[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static const struct cell *find_cell(const struct birth *birth, const struct column_id *id)
{
	size_t low = 0, high = birth->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = column_id_compare(&birth->cells[middle].id, id);

		if (!order)
			return &birth->cells[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* The one birth of the written uid; NULL when there are several or none. */
static const struct birth *only_birth(const struct writing *writing)
{
	const struct state *old = writing->write->old;
	const struct birth *found = NULL;

	for (size_t i = 0; i < old->count; i++) {
		if (!bytes_equal(old->births[i].uid, writing->new.uid))
			continue;
		if (found)
			return NULL;
		found = &old->births[i];
	}
	return found;
}

/* The old cell where the client left the column as it saw it, else none. */
static const struct cell *kept_cell(struct writing *writing, const struct birth *birth,
				    const struct column *column)
{
	const struct column *seen = find_column(&writing->old, &column->id);
	const struct cell *cell;

	if (!seen || !bytes_equal(seen->bytes, column->bytes))
		return NULL;
	cell = find_cell(birth, &column->id);
	if (cell && (cell->count != 1 || !bytes_equal(cell->siblings[0].value, column->bytes)))
		writing->plain = false;
	return cell;
}

enum extent { EXTENT_CHANGED, EXTENT_ATOMIC, EXTENT_EVERYTHING };

/* Two owners may be shown as one, so that more than siblings decides what is seen. */
static bool has_owners(const struct object *object)
{
	size_t count = 0;

	for (size_t i = 0; i < object->count; i++)
		count += is_metadata(&object->columns[i].id, "ownerReferences");
	return count > 1;
}

static bool may_keep(enum extent extent, const struct column_id *id)
{
	return extent == EXTENT_CHANGED || (extent == EXTENT_ATOMIC && column_is_apart(id));
}

static enum err update(struct writing *writing, const struct birth *birth, enum extent extent,
		       struct state *ret_state)
{
	const struct write *write = writing->write;
	struct birth *born = NULL;
	enum err e =
		state_create(&writing->new, &write->dot, write->stamp, writing->arena, ret_state);

	if (e)
		return e;
	born = &ret_state->births[0];
	born->dot = birth->dot;
	writing->plain = !has_owners(&writing->new);
	for (size_t i = 0; i < born->count; i++) {
		const struct column *column = &writing->new.columns[i];
		const struct cell *kept =
			may_keep(extent, &column->id) ? kept_cell(writing, birth, column) : NULL;

		if (kept)
			born->cells[i] = *kept;
	}
	return ERR_OK;
}

/* Whether the new state shows what was written. */
static enum err shows(const struct writing *writing, const struct policy *policy,
		      const struct state *state, bool *ret_shows)
{
	struct visible visible;
	enum err e = state_visible(state, policy, writing->arena, &visible);

	*ret_shows = !e && visible.present && bytes_equal(visible.value, writing->write->value);
	return e;
}

static enum err split(const struct object *known, struct bytes value, struct arena *arena,
		      struct object *ret_object)
{
	if (!known)
		return object_split(value, arena, ret_object);
	*ret_object = *known;
	return ERR_OK;
}

enum err state_write(const struct write *write, const struct policy *policy, struct arena *arena,
		     struct state *ret_state)
{
	struct writing writing = {.write = write, .arena = arena};
	const struct birth *birth;
	bool shown = true;
	enum err e = ERR_OK;

	*ret_state = (struct state){0};
	if (write->deleted)
		return ERR_OK;
	e = split(write->object, write->value, arena, &writing.new);
	if (!e && write->old_present)
		e = split(write->old_object, write->old_value, arena, &writing.old);
	if (e)
		return e;
	birth = only_birth(&writing);
	if (!write->old_present || !birth || policy->update_wins ||
	    !bytes_equal(writing.old.uid, writing.new.uid))
		return state_create(&writing.new, &write->dot, write->stamp, arena, ret_state);
	e = update(&writing, birth, policy->atomic ? EXTENT_ATOMIC : EXTENT_CHANGED, ret_state);
	if (!e && !writing.plain)
		e = shows(&writing, policy, ret_state, &shown);
	if (!e && !shown)
		e = update(&writing, birth, EXTENT_EVERYTHING, ret_state);
	return e;
}
