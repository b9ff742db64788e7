/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/merge/meta_form.h"

#include <stdlib.h>

/* One sibling and where it belongs; sorted, they are cells. */
struct loose {
	struct column_id id;
	struct sibling sibling;
};

struct decoding {
	struct wire wire;
	struct arena *arena;
	struct object object;
	struct actor *actors;
	size_t actor_count;
	struct loose *loose; /* of the birth being read */
	size_t loose_count;
	size_t loose_capacity;
	bool no_memory;
};

static void *room(struct decoding *decoding, size_t count, size_t size)
{
	void *memory = arena_calloc(decoding->arena, count ? count : 1, size);

	decoding->no_memory |= !memory;
	return memory;
}

static bool take_dot(struct decoding *decoding, struct dot *ret_dot)
{
	uint64_t actor, revision;

	if (!decoding->actor_count ||
	    !wire_take_number(&decoding->wire, decoding->actor_count - 1, &actor) ||
	    !wire_take_number(&decoding->wire, REV_MAIN_MAX, &revision) || !revision)
		return false;
	*ret_dot = (struct dot){decoding->actors[actor], (int64_t)revision};
	return true;
}

static bool take_stamp(struct decoding *decoding, hlc_stamp *ret_stamp)
{
	struct bytes bytes;

	if (!wire_take_fixed(&decoding->wire, STAMP_BYTES, &bytes))
		return false;
	*ret_stamp = 0;
	for (size_t i = 0; i < bytes.size; i++)
		*ret_stamp = *ret_stamp << 8 | bytes.data[i];
	return true;
}

static bool add_loose(struct decoding *decoding, const struct column_id *id,
		      const struct sibling *sibling)
{
	if (decoding->loose_count == decoding->loose_capacity) {
		size_t capacity = decoding->loose_capacity ? decoding->loose_capacity * 2 : 64;
		struct loose *grown = room(decoding, capacity, sizeof(*grown));

		if (!grown)
			return false;
		if (decoding->loose_count)
			memcpy(grown, decoding->loose, decoding->loose_count * sizeof(*grown));
		decoding->loose = grown;
		decoding->loose_capacity = capacity;
	}
	decoding->loose[decoding->loose_count++] = (struct loose){*id, *sibling};
	return true;
}

/* --- the columns of the value ----------------------------------------------------------------- */

/* Marks the columns of the runs with a group; none of them may have one yet. */
static bool take_runs(struct decoding *decoding, uint32_t group, uint32_t *groups)
{
	size_t columns = decoding->object.count, at = 0;
	uint64_t runs, gap, more;

	if (!wire_take_number(&decoding->wire, columns, &runs))
		return false;
	while (runs--) {
		if (!wire_take_number(&decoding->wire, columns - at, &gap))
			return false;
		at += (size_t)gap;
		if (at == columns || !wire_take_number(&decoding->wire, columns - at - 1, &more))
			return false;
		for (size_t end = at + (size_t)more; at <= end; at++) {
			if (groups[at])
				return false;
			groups[at] = group;
		}
	}
	return true;
}

/* Groups are numbered from 1; the first takes what is left, the one after the last is none. */
static bool take_groups(struct decoding *decoding)
{
	size_t columns = decoding->object.count;
	uint32_t *groups = room(decoding, columns, sizeof(*groups));
	struct sibling *heads;
	uint64_t count;

	if (!groups || !wire_take_number(&decoding->wire, columns, &count))
		return false;
	heads = room(decoding, (size_t)count + 2, sizeof(*heads));
	if (!heads)
		return false;
	for (uint64_t i = 1; i <= count; i++)
		if (!take_dot(decoding, &heads[i].dot) || !take_stamp(decoding, &heads[i].stamp) ||
		    (i > 1 && !take_runs(decoding, (uint32_t)i, groups)))
			return false;
	if (!take_runs(decoding, (uint32_t)count + 1, groups))
		return false;
	for (size_t i = 0; i < columns; i++) {
		const struct column *column = &decoding->object.columns[i];
		uint32_t group = groups[i] ? groups[i] : 1;
		struct sibling sibling = heads[group];

		if (group > count) {
			if (!groups[i])
				return false; /* nothing is left for, but a column */
			continue;
		}
		sibling.value = column->bytes;
		if (!add_loose(decoding, &column->id, &sibling))
			return false;
	}
	return true;
}

/* --- siblings that stand for themselves ------------------------------------------------------- */

static bool take_id(struct decoding *decoding, struct column_id *ret_id)
{
	struct wire *wire = &decoding->wire;
	uint64_t layout, part;

	if (!wire_take_number(wire, UINT32_MAX, &layout) ||
	    !wire_take_bytes(wire, wire_left(wire), &ret_id->field) ||
	    !wire_take_bytes(wire, wire_left(wire), &ret_id->sub) ||
	    !wire_take_number(wire, PART_EMPTY, &part) ||
	    !wire_take_bytes(wire, wire_left(wire), &ret_id->entry))
		return false;
	ret_id->layout = (uint32_t)layout;
	ret_id->part = (enum column_part)part;
	return true;
}

static bool take_cells(struct decoding *decoding)
{
	struct wire *wire = &decoding->wire;

	for (;;) {
		uint64_t siblings, number;
		struct column_id id;

		if (!wire_take_number(wire, wire_left(wire), &siblings))
			return false;
		if (!siblings)
			return true;
		if (!wire_take_number(wire, decoding->object.count, &number))
			return false;
		if (number)
			id = decoding->object.columns[number - 1].id;
		else if (!take_id(decoding, &id))
			return false;
		while (siblings--) {
			struct sibling sibling;

			if (!take_dot(decoding, &sibling.dot) ||
			    !take_stamp(decoding, &sibling.stamp) ||
			    !wire_take_bytes(wire, wire_left(wire), &sibling.value) ||
			    !add_loose(decoding, &id, &sibling))
				return false;
		}
	}
}

/* --- births ----------------------------------------------------------------------------------- */

static int compare_loose(const void *left, const void *right)
{
	const struct loose *a = left, *b = right;
	int order = column_id_compare(&a->id, &b->id);

	return order ? order : dot_compare(&a->sibling.dot, &b->sibling.dot);
}

/* false: one dot twice in a cell. */
static bool build_cells(struct decoding *decoding, struct birth *birth)
{
	size_t count = decoding->loose_count;
	struct loose *loose = decoding->loose;
	struct sibling *siblings = room(decoding, count, sizeof(*siblings));

	birth->cells = room(decoding, count, sizeof(*birth->cells));
	if (!siblings || !birth->cells)
		return false;
	if (count)
		qsort(loose, count, sizeof(*loose), compare_loose);
	for (size_t i = 0; i < count; i++) {
		bool same_cell = i && column_id_equal(&loose[i - 1].id, &loose[i].id);

		if (i && !compare_loose(&loose[i - 1], &loose[i]))
			return false;
		siblings[i] = loose[i].sibling;
		if (!same_cell)
			birth->cells[birth->count++] =
				(struct cell){.id = loose[i].id, .siblings = &siblings[i]};
		birth->cells[birth->count - 1].count++;
	}
	return true;
}

static bool take_birth(struct decoding *decoding, struct birth *birth, bool *main_done)
{
	uint64_t form;

	decoding->loose_count = 0;
	if (!take_dot(decoding, &birth->dot) ||
	    !wire_take_number(&decoding->wire, BIRTH_FORMS - 1, &form))
		return false;
	if (form != BIRTH_OTHER && !decoding->object.count)
		return false;
	birth->uid = decoding->object.uid;
	if (form == BIRTH_OTHER &&
	    !wire_take_bytes(&decoding->wire, wire_left(&decoding->wire), &birth->uid))
		return false;
	if (form == BIRTH_MAIN) {
		if (*main_done || !take_groups(decoding))
			return false;
		*main_done = true;
	}
	return take_cells(decoding) && build_cells(decoding, birth);
}

static bool take_actors(struct decoding *decoding)
{
	uint64_t count;

	/* Each takes its site's bytes and one more at least. */
	if (!wire_take_number(&decoding->wire, wire_left(&decoding->wire) / (SITE_BYTES + 1),
			      &count))
		return false;
	decoding->actors = room(decoding, (size_t)count, sizeof(*decoding->actors));
	if (!decoding->actors)
		return false;
	while (decoding->actor_count < count)
		if (!actor_take(&decoding->wire, &decoding->actors[decoding->actor_count++]))
			return false;
	return true;
}

static bool take_state(struct decoding *decoding, struct state *ret_state)
{
	bool main_done = false;
	struct bytes layout;
	uint64_t count;

	if (!wire_take_fixed(&decoding->wire, 1, &layout) || layout.data[0] != CODEC_LAYOUT ||
	    !take_actors(decoding) ||
	    !wire_take_number(&decoding->wire, wire_left(&decoding->wire), &count) || !count)
		return false;
	ret_state->births = room(decoding, (size_t)count, sizeof(*ret_state->births));
	for (; ret_state->births && ret_state->count < count; ret_state->count++) {
		struct birth *birth = &ret_state->births[ret_state->count];

		if (!take_birth(decoding, birth, &main_done) ||
		    (ret_state->count && dot_compare(&birth[-1].dot, &birth->dot) >= 0))
			return false;
	}
	return ret_state->births && !wire_left(&decoding->wire);
}

enum err meta_decode(struct bytes meta, const struct shown *shown, const struct dot *plain,
		     struct arena *arena, struct state *ret_state)
{
	struct decoding decoding = {.wire = wire_of(meta), .arena = arena};
	enum err e = ERR_OK;

	*ret_state = (struct state){0};
	if (shown->present)
		e = shown_split(shown, arena, &decoding.object);
	if (e || (!meta.size && !shown->present))
		return e;
	if (!meta.size)
		return state_create(&decoding.object, plain, 0, arena, ret_state);
	if (take_state(&decoding, ret_state))
		return ERR_OK;
	*ret_state = (struct state){0};
	return decoding.no_memory ? fault(ERR_NOMEM, "meta of %zu bytes", meta.size)
				  : ERR_MALFORMED;
}
