/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/engine/journal.h"

#include "sync/engine/records.h"
#include "sync/engine/stamper.h"

struct closing {
	struct stamper *stamper;
	struct apply *apply;
	const struct write *write;
	struct bytes key;
	const struct state *new;
	uint32_t count;
};

/* --- what is closed --------------------------------------------------------------------------- */

static const struct cell *find_cell(const struct state *state, const struct dot *birth,
				    const struct column_id *id)
{
	for (size_t i = 0; i < state->count; i++) {
		if (!dot_equal(&state->births[i].dot, birth))
			continue;
		for (size_t j = 0; j < state->births[i].count; j++)
			if (column_id_equal(&state->births[i].cells[j].id, id))
				return &state->births[i].cells[j];
	}
	return NULL;
}

static bool is_kept(const struct cell *cell, const struct dot *dot)
{
	for (size_t i = 0; cell && i < cell->count; i++)
		if (dot_equal(&cell->siblings[i].dot, dot))
			return true;
	return false;
}

/* A decoded sibling that is shown points into the value itself. */
static bool points_into(struct bytes value, struct bytes part)
{
	return part.size && part.data >= value.data &&
	       part.data + part.size <= value.data + value.size;
}

static bool was_seen(const struct write *write, const struct birth *birth, const struct cell *cell,
		     const struct sibling *sibling)
{
	const struct object *seen = write->old_object;

	if (!write->old_present)
		return false;
	if (!bytes_equal(seen->uid, birth->uid))
		return false;
	for (size_t i = 0; i < seen->count; i++)
		if (column_id_equal(&seen->columns[i].id, &cell->id))
			return bytes_equal(seen->columns[i].bytes, sibling->value);
	return false;
}

/* --- records ---------------------------------------------------------------------------------- */

static bool put_id(struct buffer *buffer, const struct column_id *id)
{
	return wire_put_number(buffer, id->layout) && wire_put_bytes(buffer, id->field) &&
	       wire_put_bytes(buffer, id->sub) && wire_put_number(buffer, id->part) &&
	       wire_put_bytes(buffer, id->entry);
}

static bool put_dot(struct buffer *buffer, const struct dot *dot)
{
	return actor_put(buffer, &dot->actor) && wire_put_number(buffer, (uint64_t)dot->revision);
}

static bool put_closed(struct buffer *buffer, const struct closed *closed)
{
	return wire_put_bytes(buffer, closed->key) && put_dot(buffer, &closed->by) &&
	       wire_put_number(buffer, closed->at) && wire_put_bytes(buffer, closed->uid) &&
	       put_id(buffer, &closed->id) && put_dot(buffer, &closed->sibling.dot) &&
	       wire_put_number(buffer, closed->sibling.stamp) &&
	       wire_put_bytes(buffer, closed->sibling.value);
}

static bool take_id(struct wire *wire, struct column_id *id)
{
	uint64_t layout, part;

	if (!wire_take_number(wire, UINT32_MAX, &layout) ||
	    !wire_take_bytes(wire, SIZE_MAX, &id->field) ||
	    !wire_take_bytes(wire, SIZE_MAX, &id->sub) ||
	    !wire_take_number(wire, PART_EMPTY, &part) ||
	    !wire_take_bytes(wire, SIZE_MAX, &id->entry))
		return false;
	id->layout = (uint32_t)layout;
	id->part = (enum column_part)part;
	return true;
}

static bool take_dot(struct wire *wire, struct dot *dot)
{
	uint64_t revision;

	if (!actor_take(wire, &dot->actor) || !wire_take_number(wire, REV_MAIN_MAX, &revision))
		return false;
	dot->revision = (int64_t)revision;
	return true;
}

bool journal_decode(struct bytes value, struct closed *ret_closed)
{
	struct wire wire = wire_of(value);
	struct closed closed = {.at = 0};

	if (!wire_take_bytes(&wire, SIZE_MAX, &closed.key) || !take_dot(&wire, &closed.by) ||
	    !wire_take_number(&wire, UINT64_MAX, &closed.at) ||
	    !wire_take_bytes(&wire, SIZE_MAX, &closed.uid) || !take_id(&wire, &closed.id) ||
	    !take_dot(&wire, &closed.sibling.dot) ||
	    !wire_take_number(&wire, UINT64_MAX, &closed.sibling.stamp) ||
	    !wire_take_bytes(&wire, SIZE_MAX, &closed.sibling.value) || wire_left(&wire))
		return false;
	*ret_closed = closed;
	return true;
}

static enum err note(struct closing *closing, const struct birth *birth, const struct cell *cell,
		     const struct sibling *sibling)
{
	struct record_name name =
		record_journal(closing->write->dot.revision, closing->stamper->journal_number++);
	struct buffer buffer = BUFFER_INIT(META_BYTES_MAX);
	struct closed closed = {
		.key = closing->key,
		.by = closing->write->dot,
		.at = closing->write->stamp,
		.uid = birth->uid,
		.id = cell->id,
		.sibling = *sibling,
	};
	enum err e = put_closed(&buffer, &closed)
			     ? apply_set_state(closing->apply, record_bytes(&name),
					       buffer_bytes(&buffer))
			     : fault(ERR_NOMEM, "a record of the journal");

	atomic_fetch_add(&closing->stamper->journal_bytes, buffer.size);
	buffer_fini(&buffer);
	closing->count++;
	return e;
}

/* --- a write ---------------------------------------------------------------------------------- */

static enum err close_cell(struct closing *closing, const struct birth *birth,
			   const struct cell *cell)
{
	const struct write *write = closing->write;
	const struct cell *kept = NULL;
	enum err e = ERR_OK;

	if (cell->count == 1 && write->old_present &&
	    points_into(write->old_value, cell->siblings[0].value))
		return ERR_OK;
	kept = find_cell(closing->new, &birth->dot, &cell->id);
	for (size_t i = 0; !e && i < cell->count; i++) {
		const struct sibling *sibling = &cell->siblings[i];

		if (is_kept(kept, &sibling->dot))
			continue;
		if (!was_seen(write, birth, cell, sibling))
			e = note(closing, birth, cell, sibling);
	}
	return e;
}

enum err journal_closed(struct stamper *stamper, struct apply *apply, const struct write *write,
			struct bytes key, const struct state *new)
{
	struct closing closing = {
		.stamper = stamper, .apply = apply, .write = write, .key = key, .new = new};
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < write->old->count; i++)
		for (size_t j = 0; !e && j < write->old->births[i].count; j++)
			e = close_cell(&closing, &write->old->births[i],
				       &write->old->births[i].cells[j]);
	if (closing.count)
		atomic_fetch_add(&stamper->closed_siblings, closing.count);
	return e;
}
