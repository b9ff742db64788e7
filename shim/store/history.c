/* SPDX-License-Identifier: Apache-2.0 */
/* history.c - what a watcher missed: the log in revision order, whole revisions at a time. */
#include "shim/store/event_make.h"
#include "shim/store/internal.h"

#include <assert.h>
#include <stdlib.h>

/* The revision that is being gathered, and what has been delivered. */
struct history {
	struct store_reader *reader;
	const struct history_op *op;
	struct event_batch **batches;
	size_t batches_max;
	size_t batch_count;

	int64_t revision; /* of the changes below; 0: none yet */
	struct change *changes;
	size_t change_count;
	size_t change_capacity;
	struct arena memory; /* keys and values of the changes */
	size_t rows;
	size_t bytes;
};

static enum err reserve_change(struct history *history)
{
	size_t capacity = history->change_capacity ? 2 * history->change_capacity : 16;
	struct change *grown;

	if (history->change_count < history->change_capacity)
		return ERR_OK;
	grown = reallocarray(history->changes, capacity, sizeof(*grown));
	if (!grown)
		return fault(ERR_NOMEM, "a revision of %zu events", history->change_count);
	history->changes = grown;
	history->change_capacity = capacity;
	return ERR_OK;
}

/* Adds a matching row; its value is read through another statement, so that rows that do not match
 * cost no value. */
static enum err add_row(struct history *history, const struct row *row)
{
	struct store *store = history->reader->store;
	struct change *change;
	struct event *event;
	uint8_t *room;
	enum err e = reserve_change(history);

	if (e)
		return e;
	change = &history->changes[history->change_count];
	*change = (struct change){.row = row->rev, .visible = true};
	event = &change->event;
	event->kv.mod_revision = row_main(row->rev);
	event->type = row->flags & ROW_TOMBSTONE ? EVENT_DELETE : EVENT_PUT;
	room = arena_alloc(&history->memory, row->value.size + 1);
	if (!room || !arena_copy(&history->memory, row->key, &event->kv.key))
		return fault(ERR_NOMEM, "an event of %zu bytes", row->value.size);
	if (event->type == EVENT_PUT) {
		event->kv.create_revision = row->create_revision;
		event->kv.version = row->version;
		event->kv.lease = row->lease;
		event->kv.value = bytes_of(room, row->value.size);
		e = conn_value_read(&history->reader->conn, row->rev, row->value.size, room);
		if (e)
			return e;
	}
	pthread_rwlock_rdlock(&store->index_lock);
	event_set_prev(event, index_get(store->index, event->kv.key, event->kv.mod_revision - 1));
	pthread_rwlock_unlock(&store->index_lock);
	history->bytes += row->key.size + row->value.size;
	history->change_count++;
	return ERR_OK;
}

static enum err end_revision(struct history *history)
{
	enum err e;

	if (!history->change_count)
		return ERR_OK;
	assert(history->batch_count < history->batches_max);
	e = event_batch_new(history->reader->store, history->revision, history->changes,
			    history->change_count, &history->batches[history->batch_count]);
	if (e)
		return e;
	history->batch_count++;
	history->change_count = 0;
	arena_fini(&history->memory);
	return ERR_OK;
}

static bool is_full(const struct history *history)
{
	return history->rows >= history->op->rows_max || history->bytes >= history->op->bytes_max ||
	       history->batch_count == history->batches_max;
}

static enum err scan(struct history *history, sqlite3_stmt *stmt, int64_t *ret_next)
{
	struct conn *conn = &history->reader->conn;
	const struct history_op *op = history->op;
	bool found = false;
	struct row row;
	enum err e;

	while (!(e = conn_step(conn, stmt, &found)) && found) {
		e = conn_row_read(conn, stmt, false, &row);
		if (e)
			return e;
		if (row_main(row.rev) != history->revision) {
			e = end_revision(history);
			if (e)
				return e;
			if (is_full(history)) {
				*ret_next = row_main(row.rev);
				return ERR_OK;
			}
			history->revision = row_main(row.rev);
		}
		history->rows++;
		if (!(row.flags & ROW_INVISIBLE) && range_contains(op->key, op->end, row.key))
			e = add_row(history, &row);
		if (e)
			return e;
	}
	if (!e)
		e = end_revision(history);
	if (!e)
		*ret_next = op->to + 1;
	return e;
}

static enum err gather(struct history *history, int64_t *ret_next)
{
	sqlite3_stmt *stmt = conn_stmt(&history->reader->conn, STMT_HEADER_SCAN);
	enum err e;

	if (!stmt)
		return ERR_STORAGE;
	sqlite3_bind_int64(stmt, 1, ROW_OF(history->op->from, 0));
	sqlite3_bind_int64(stmt, 2, ROW_OF(history->op->to, REV_SUB_MAX));
	e = scan(history, stmt, ret_next);
	sqlite3_reset(stmt);
	return e;
}

enum err store_history(struct store_reader *reader, const struct history_op *op,
		       struct event_batch **batches, size_t batches_max, size_t *ret_count,
		       int64_t *ret_next)
{
	struct history history = {
		.reader = reader, .op = op, .batches = batches, .batches_max = batches_max};
	struct pin pin;
	int64_t next = op->from;
	enum err e;

	assert(op->to <= store_head(reader->store) && op->from >= 0 && batches_max);
	/* One revision lower than what is read, for the previous values. */
	e = pins_hold(&reader->store->pins, &pin, op->from - 1, op->from);
	if (e)
		return e;
	arena_init(&history.memory, SIZE_MAX); /* bounded by what one revision holds */
	if (op->from <= op->to)
		e = gather(&history, &next);
	pins_release(&reader->store->pins, &pin);
	arena_fini(&history.memory);
	free(history.changes);
	if (e) {
		for (size_t i = 0; i < history.batch_count; i++)
			event_batch_unref(batches[i]);
		return e;
	}
	*ret_count = history.batch_count;
	*ret_next = next;
	return ERR_OK;
}
