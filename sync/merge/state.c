/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/merge/state.h"

/* One list that is built in an arena with room for all that may come. */
static void *room(struct arena *arena, size_t count, size_t size)
{
	return arena_calloc(arena, count ? count : 1, size);
}

static bool survives(const struct side *other, const struct dot *dot)
{
	return !context_has(other->context, dot);
}

/* --- siblings --------------------------------------------------------------------------------- */

static bool merge_siblings(const struct side *sides[2], const struct cell *cells[2],
			   struct arena *arena, struct cell *ret_cell)
{
	size_t at[2] = {0, 0}, counts[2];

	for (int s = 0; s < 2; s++)
		counts[s] = cells[s] ? cells[s]->count : 0;
	ret_cell->siblings = room(arena, counts[0] + counts[1], sizeof(*ret_cell->siblings));
	if (!ret_cell->siblings)
		return false;
	while (at[0] < counts[0] || at[1] < counts[1]) {
		int order = at[0] == counts[0]	 ? 1
			    : at[1] == counts[1] ? -1
						 : dot_compare(&cells[0]->siblings[at[0]].dot,
							       &cells[1]->siblings[at[1]].dot);
		int from = order > 0;
		const struct sibling *sibling = &cells[from]->siblings[at[from]];

		if (!order || survives(sides[!from], &sibling->dot))
			ret_cell->siblings[ret_cell->count++] = *sibling;
		at[0] += order <= 0;
		at[1] += order >= 0;
	}
	return true;
}

/* --- cells ------------------------------------------------------------------------------------ */

static bool merge_cells(const struct side *sides[2], const struct birth *births[2],
			struct arena *arena, struct birth *ret_birth)
{
	size_t at[2] = {0, 0}, counts[2];

	for (int s = 0; s < 2; s++)
		counts[s] = births[s] ? births[s]->count : 0;
	ret_birth->cells = room(arena, counts[0] + counts[1], sizeof(*ret_birth->cells));
	if (!ret_birth->cells)
		return false;
	while (at[0] < counts[0] || at[1] < counts[1]) {
		int order = at[0] == counts[0]	 ? 1
			    : at[1] == counts[1] ? -1
						 : column_id_compare(&births[0]->cells[at[0]].id,
								     &births[1]->cells[at[1]].id);
		const struct cell *cells[2] = {
			order <= 0 ? &births[0]->cells[at[0]] : NULL,
			order >= 0 ? &births[1]->cells[at[1]] : NULL,
		};
		struct cell cell = {.id = cells[order > 0]->id};

		if (!merge_siblings(sides, cells, arena, &cell))
			return false;
		if (cell.count)
			ret_birth->cells[ret_birth->count++] = cell;
		at[0] += order <= 0;
		at[1] += order >= 0;
	}
	return true;
}

/* --- births ----------------------------------------------------------------------------------- */

enum err state_merge(const struct side *a, const struct side *b, struct arena *arena,
		     struct state *ret_state)
{
	const struct side *sides[2] = {a, b};
	size_t counts[2] = {a->state->count, b->state->count}, at[2] = {0, 0};
	struct state merged = {.births =
				       room(arena, counts[0] + counts[1], sizeof(*merged.births))};

	while (merged.births && (at[0] < counts[0] || at[1] < counts[1])) {
		int order = at[0] == counts[0]	 ? 1
			    : at[1] == counts[1] ? -1
						 : dot_compare(&a->state->births[at[0]].dot,
							       &b->state->births[at[1]].dot);
		const struct birth *births[2] = {
			order <= 0 ? &a->state->births[at[0]] : NULL,
			order >= 0 ? &b->state->births[at[1]] : NULL,
		};
		const struct birth *any = births[order > 0];
		struct birth *birth = &merged.births[merged.count];

		at[0] += order <= 0;
		at[1] += order >= 0;
		if (order && !survives(sides[order < 0], &any->dot))
			continue;
		*birth = (struct birth){.dot = any->dot, .uid = any->uid};
		if (!merge_cells(sides, births, arena, birth))
			merged.births = NULL;
		merged.count++;
	}
	if (!merged.births)
		return fault(ERR_NOMEM, "merging %zu and %zu births", counts[0], counts[1]);
	*ret_state = merged;
	return ERR_OK;
}

enum err state_create(const struct object *object, const struct dot *dot, hlc_stamp stamp,
		      struct arena *arena, struct state *ret_state)
{
	struct birth *birth = room(arena, 1, sizeof(*birth));
	struct cell *cells = room(arena, object->count, sizeof(*cells));
	struct sibling *siblings = room(arena, object->count, sizeof(*siblings));

	if (!birth || !cells || !siblings)
		return fault(ERR_NOMEM, "a state of %zu columns", object->count);
	for (size_t i = 0; i < object->count; i++) {
		siblings[i] = (struct sibling){*dot, stamp, object->columns[i].bytes};
		cells[i] = (struct cell){object->columns[i].id, &siblings[i], 1};
	}
	*birth = (struct birth){*dot, object->uid, cells, object->count};
	*ret_state = (struct state){birth, 1};
	return ERR_OK;
}

/* --- equality and the canonical form ---------------------------------------------------------- */

static bool cell_equal(const struct cell *a, const struct cell *b)
{
	if (!column_id_equal(&a->id, &b->id) || a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!dot_equal(&a->siblings[i].dot, &b->siblings[i].dot) ||
		    a->siblings[i].stamp != b->siblings[i].stamp ||
		    !bytes_equal(a->siblings[i].value, b->siblings[i].value))
			return false;
	return true;
}

bool state_equal(const struct state *a, const struct state *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct birth *left = &a->births[i], *right = &b->births[i];

		if (!dot_equal(&left->dot, &right->dot) || !bytes_equal(left->uid, right->uid) ||
		    left->count != right->count)
			return false;
		for (size_t j = 0; j < left->count; j++)
			if (!cell_equal(&left->cells[j], &right->cells[j]))
				return false;
	}
	return true;
}

static bool put_dot(struct buffer *buffer, const struct dot *dot)
{
	return actor_put(buffer, &dot->actor) && wire_put_number(buffer, (uint64_t)dot->revision);
}

static bool put_cell(struct buffer *buffer, const struct cell *cell)
{
	bool ok = wire_put_number(buffer, cell->id.layout) &&
		  wire_put_bytes(buffer, cell->id.field) && wire_put_bytes(buffer, cell->id.sub) &&
		  wire_put_number(buffer, cell->id.part) &&
		  wire_put_bytes(buffer, cell->id.entry) && wire_put_number(buffer, cell->count);

	for (size_t i = 0; ok && i < cell->count; i++)
		ok = put_dot(buffer, &cell->siblings[i].dot);
	return ok;
}

bool state_put_canonical(const struct state *state, struct buffer *buffer)
{
	bool ok = wire_put_number(buffer, state->count);

	for (size_t i = 0; ok && i < state->count; i++) {
		const struct birth *birth = &state->births[i];

		ok = put_dot(buffer, &birth->dot) && wire_put_bytes(buffer, birth->uid) &&
		     wire_put_number(buffer, birth->count);
		for (size_t j = 0; ok && j < birth->count; j++)
			ok = put_cell(buffer, &birth->cells[j]);
	}
	return ok;
}
