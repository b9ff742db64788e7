/* SPDX-License-Identifier: Apache-2.0 */
/* meta.c - writing.  After a byte for the layout: the actors; the births; of each its dot, whose
 * uid it has and, for the first that has the value's, which dots the value's columns have (groups
 * of runs of numbers, the first group without runs for all that remain, then those that have none);
 * then the siblings that stand for themselves. */
#include "sync/merge/meta_form.h"

struct encoding {
	struct buffer buffer;
	struct arena *arena;
	struct object object;
	const struct actor **actors;
	size_t actor_count;
};

/* --- actors ----------------------------------------------------------------------------------- */

static size_t actor_index(const struct encoding *encoding, const struct actor *actor)
{
	size_t i = 0;

	while (i < encoding->actor_count && actor_compare(encoding->actors[i], actor) != 0)
		i++;
	return i;
}

static void note_actor(struct encoding *encoding, const struct actor *actor)
{
	if (actor_index(encoding, actor) == encoding->actor_count)
		encoding->actors[encoding->actor_count++] = actor;
}

static bool gather_actors(struct encoding *encoding, const struct state *state)
{
	size_t dots = state->count;

	for (size_t i = 0; i < state->count; i++)
		for (size_t j = 0; j < state->births[i].count; j++)
			dots += state->births[i].cells[j].count;
	encoding->actors = arena_alloc(encoding->arena, dots * sizeof(*encoding->actors));
	if (!encoding->actors)
		return false;
	for (size_t i = 0; i < state->count; i++) {
		const struct birth *birth = &state->births[i];

		note_actor(encoding, &birth->dot.actor);
		for (size_t j = 0; j < birth->count; j++)
			for (size_t k = 0; k < birth->cells[j].count; k++)
				note_actor(encoding, &birth->cells[j].siblings[k].dot.actor);
	}
	return true;
}

static bool put_dot(struct encoding *encoding, const struct dot *dot)
{
	return wire_put_number(&encoding->buffer, actor_index(encoding, &dot->actor)) &&
	       wire_put_number(&encoding->buffer, (uint64_t)dot->revision);
}

static bool put_stamp(struct encoding *encoding, hlc_stamp stamp)
{
	uint8_t bytes[STAMP_BYTES];

	for (int i = 0; i < STAMP_BYTES; i++)
		bytes[i] = (uint8_t)(stamp >> (8 * (STAMP_BYTES - 1 - i)));
	return buffer_append(&encoding->buffer, bytes_of(bytes, sizeof bytes));
}

/* --- the columns of the value ----------------------------------------------------------------- */

/* For each column of the value its cell and which sibling it shows. */
struct match {
	const struct cell *cell;
	const struct sibling *shown; /* NULL: the state has it otherwise */
	size_t group;
};

struct matches {
	struct match *list;
	size_t count;
	const struct sibling **groups; /* one of each (dot, stamp) */
	size_t *group_sizes;
	size_t group_count;
};

static const struct sibling *shown_sibling(const struct cell *cell, struct bytes bytes)
{
	for (size_t i = 0; i < cell->count; i++)
		if (bytes_equal(cell->siblings[i].value, bytes))
			return &cell->siblings[i];
	return NULL;
}

static size_t group_of(struct matches *matches, const struct sibling *sibling)
{
	size_t i = 0;

	while (i < matches->group_count && (!dot_equal(&matches->groups[i]->dot, &sibling->dot) ||
					    matches->groups[i]->stamp != sibling->stamp))
		i++;
	if (i == matches->group_count) {
		matches->groups[i] = sibling;
		matches->group_sizes[i] = 0;
		matches->group_count++;
	}
	matches->group_sizes[i]++;
	return i;
}

static bool match_columns(struct encoding *encoding, const struct birth *birth,
			  struct matches *ret_matches)
{
	size_t count = encoding->object.count, at = 0;
	struct matches matches = {
		.list = arena_calloc(encoding->arena, count + 1, sizeof(*matches.list)),
		.count = count,
		.groups = arena_alloc(encoding->arena, (count + 1) * sizeof(*matches.groups)),
		.group_sizes =
			arena_alloc(encoding->arena, (count + 1) * sizeof(*matches.group_sizes)),
	};

	if (!matches.list || !matches.groups || !matches.group_sizes)
		return false;
	for (size_t i = 0; i < count; i++) {
		const struct column *column = &encoding->object.columns[i];
		struct match *match = &matches.list[i];

		while (at < birth->count &&
		       column_id_compare(&birth->cells[at].id, &column->id) < 0)
			at++;
		if (at < birth->count && column_id_equal(&birth->cells[at].id, &column->id))
			match->cell = &birth->cells[at];
		if (match->cell)
			match->shown = shown_sibling(match->cell, column->bytes);
		if (match->shown)
			match->group = group_of(&matches, match->shown);
	}
	*ret_matches = matches;
	return true;
}

/* The runs of columns in a group, or of those in none. */
static bool put_runs(struct encoding *encoding, const struct matches *matches, bool none,
		     size_t group)
{
	size_t runs = 0, free_from = 0;

	for (int pass = 0; pass < 2; pass++) {
		if (pass && !wire_put_number(&encoding->buffer, runs))
			return false;
		for (size_t i = 0, end; i < matches->count; i = end) {
			const struct match *match = &matches->list[i];
			bool inside = none ? !match->shown : match->shown && match->group == group;

			for (end = i + 1; inside && end < matches->count; end++) {
				match = &matches->list[end];
				if (none ? match->shown != NULL
					 : !match->shown || match->group != group)
					break;
			}
			runs += inside && !pass;
			if (!inside || !pass)
				continue;
			if (!wire_put_number(&encoding->buffer, i - free_from) ||
			    !wire_put_number(&encoding->buffer, end - i - 1))
				return false;
			free_from = end;
		}
	}
	return true;
}

static bool put_group(struct encoding *encoding, const struct matches *matches, size_t group)
{
	return put_dot(encoding, &matches->groups[group]->dot) &&
	       put_stamp(encoding, matches->groups[group]->stamp);
}

/* The group with most columns comes first, without its runs. */
static bool put_groups(struct encoding *encoding, const struct matches *matches)
{
	size_t most = 0;

	if (!wire_put_number(&encoding->buffer, matches->group_count))
		return false;
	for (size_t i = 1; i < matches->group_count; i++)
		if (matches->group_sizes[i] > matches->group_sizes[most])
			most = i;
	if (matches->group_count && !put_group(encoding, matches, most))
		return false;
	for (size_t i = 0; i < matches->group_count; i++)
		if (i != most &&
		    (!put_group(encoding, matches, i) || !put_runs(encoding, matches, false, i)))
			return false;
	return put_runs(encoding, matches, true, 0);
}

/* --- siblings that stand for themselves ------------------------------------------------------- */

static bool put_id(struct encoding *encoding, const struct column_id *id)
{
	struct buffer *buffer = &encoding->buffer;

	return wire_put_number(buffer, id->layout) && wire_put_bytes(buffer, id->field) &&
	       wire_put_bytes(buffer, id->sub) && wire_put_number(buffer, id->part) &&
	       wire_put_bytes(buffer, id->entry);
}

static bool put_cell(struct encoding *encoding, const struct cell *cell, const struct match *match,
		     size_t number)
{
	size_t hidden = cell->count - (match && match->shown);

	if (!hidden)
		return true;
	if (!wire_put_number(&encoding->buffer, hidden) ||
	    !wire_put_number(&encoding->buffer, match ? number + 1 : 0) ||
	    (!match && !put_id(encoding, &cell->id)))
		return false;
	for (size_t i = 0; i < cell->count; i++) {
		const struct sibling *sibling = &cell->siblings[i];

		if (match && match->shown == sibling)
			continue;
		if (!put_dot(encoding, &sibling->dot) || !put_stamp(encoding, sibling->stamp) ||
		    !wire_put_bytes(&encoding->buffer, sibling->value))
			return false;
	}
	return true;
}

/* Ended by a count of zero. */
static bool put_cells(struct encoding *encoding, const struct birth *birth,
		      const struct matches *matches)
{
	size_t at = 0;

	for (size_t i = 0; i < birth->count; i++) {
		const struct cell *cell = &birth->cells[i];

		while (at < matches->count &&
		       column_id_compare(&encoding->object.columns[at].id, &cell->id) < 0)
			at++;
		if (!put_cell(encoding, cell,
			      at < matches->count && matches->list[at].cell == cell
				      ? &matches->list[at]
				      : NULL,
			      at))
			return false;
	}
	return wire_put_number(&encoding->buffer, 0);
}

/* --- births ----------------------------------------------------------------------------------- */

static bool put_birth(struct encoding *encoding, const struct birth *birth, bool *main_done)
{
	struct matches matches = {0};
	bool same = encoding->object.count && bytes_equal(birth->uid, encoding->object.uid);
	enum birth_form form = !same ? BIRTH_OTHER : *main_done ? BIRTH_SAME_UID : BIRTH_MAIN;

	if (!put_dot(encoding, &birth->dot) || !wire_put_number(&encoding->buffer, form))
		return false;
	if (form == BIRTH_OTHER && !wire_put_bytes(&encoding->buffer, birth->uid))
		return false;
	if (form == BIRTH_MAIN) {
		*main_done = true;
		if (!match_columns(encoding, birth, &matches) || !put_groups(encoding, &matches))
			return false;
	}
	return put_cells(encoding, birth, &matches);
}

static bool put_state(struct encoding *encoding, const struct state *state)
{
	uint8_t layout = CODEC_LAYOUT;
	bool main_done = false;

	if (!gather_actors(encoding, state) ||
	    !buffer_append(&encoding->buffer, bytes_of(&layout, 1)) ||
	    !wire_put_number(&encoding->buffer, encoding->actor_count))
		return false;
	for (size_t i = 0; i < encoding->actor_count; i++)
		if (!actor_put(&encoding->buffer, encoding->actors[i]))
			return false;
	if (!wire_put_number(&encoding->buffer, state->count))
		return false;
	for (size_t i = 0; i < state->count; i++)
		if (!put_birth(encoding, &state->births[i], &main_done))
			return false;
	return true;
}

enum err meta_encode(const struct state *state, const struct shown *shown, struct arena *arena,
		     struct bytes *ret_meta)
{
	struct encoding encoding = {.buffer = BUFFER_INIT(META_BYTES_MAX), .arena = arena};
	enum err e = ERR_OK;

	*ret_meta = bytes_of(NULL, 0);
	if (!state->count)
		return ERR_OK;
	if (shown->present)
		e = shown_split(shown, arena, &encoding.object);
	if (!e && (!put_state(&encoding, state) ||
		   !arena_copy(arena, buffer_bytes(&encoding.buffer), ret_meta)))
		e = fault(ERR_NOMEM, "meta of %zu births", state->count);
	buffer_fini(&encoding.buffer);
	return e;
}
