/* SPDX-License-Identifier: Apache-2.0 */
/* state.c - sync's small durable records: written on the writer, read from anywhere. */
#include "shim/store/batch.h"

#include <stdlib.h>

static void bind_blob(sqlite3_stmt *stmt, int index, struct bytes bytes)
{
	/* A NULL pointer would bind NULL, which is not the empty blob. */
	sqlite3_bind_blob64(stmt, index, bytes.size ? (const void *)bytes.data : "", bytes.size,
			    SQLITE_STATIC);
}

static void bind_range(sqlite3_stmt *stmt, struct bytes from, struct bytes end, int64_t limit)
{
	bind_blob(stmt, 1, from);
	sqlite3_bind_int(stmt, 2, !end.size);
	bind_blob(stmt, 3, end);
	sqlite3_bind_int64(stmt, 4, limit);
}

static struct bytes column(sqlite3_stmt *stmt, int index)
{
	const void *data = sqlite3_column_blob(stmt, index);

	return bytes_of(data, (size_t)sqlite3_column_bytes(stmt, index));
}

/* --- on the writer --------------------------------------------------------------------------- */

enum err apply_set_state(struct apply *apply, struct bytes name, struct bytes value)
{
	struct batch *batch = apply->batch;
	sqlite3_stmt *stmt;
	enum err e;

	if (name.size > STATE_NAME_BYTES_MAX || value.size > STATE_VALUE_BYTES_MAX)
		return ERR_REQUEST_TOO_LARGE;
	e = batch_savepoint(batch);
	if (e)
		return e;
	stmt = conn_stmt(batch->conn, STMT_STATE_SET);
	if (stmt) {
		bind_blob(stmt, 1, name);
		bind_blob(stmt, 2, value);
	}
	return batch_broken(batch, conn_run(batch->conn, stmt));
}

enum err apply_delete_state(struct apply *apply, struct bytes name)
{
	struct batch *batch = apply->batch;
	sqlite3_stmt *stmt;
	enum err e = batch_savepoint(batch);

	if (e)
		return e;
	stmt = conn_stmt(batch->conn, STMT_STATE_DELETE);
	if (stmt)
		bind_blob(stmt, 1, name);
	return batch_broken(batch, conn_run(batch->conn, stmt));
}

enum err apply_delete_states(struct apply *apply, struct bytes from, struct bytes end,
			     int64_t limit, int64_t *ret_deleted)
{
	struct batch *batch = apply->batch;
	sqlite3_stmt *stmt;
	enum err e = batch_savepoint(batch);

	if (e)
		return e;
	stmt = conn_stmt(batch->conn, STMT_STATE_DELETE_SLICE);
	if (stmt)
		bind_range(stmt, from, end, limit);
	e = batch_broken(batch, conn_run(batch->conn, stmt));
	if (!e)
		*ret_deleted = sqlite3_changes64(batch->conn->db);
	return e;
}

/* --- reading --------------------------------------------------------------------------------- */

static enum err get_state(struct conn *conn, struct bytes name, struct arena *arena,
			  bool *ret_found, struct bytes *ret_value)
{
	sqlite3_stmt *stmt = conn_stmt(conn, STMT_STATE_GET);
	struct bytes value = {0};
	bool found = false;
	enum err e;

	if (!stmt)
		return ERR_STORAGE;
	bind_blob(stmt, 1, name);
	e = conn_step(conn, stmt, &found);
	if (!e && found && !arena_copy(arena, column(stmt, 0), &value))
		e = fault(ERR_NOMEM, "a state record");
	sqlite3_reset(stmt);
	if (e)
		return e;
	*ret_found = found;
	*ret_value = value;
	return ERR_OK;
}

enum err apply_get_state(struct apply *apply, struct bytes name, bool *ret_found,
			 struct bytes *ret_value)
{
	return get_state(apply->batch->conn, name, &apply->batch->reads, ret_found, ret_value);
}

enum err store_state_get(struct store_reader *reader, struct bytes name, struct arena *arena,
			 bool *ret_found, struct bytes *ret_value)
{
	return get_state(&reader->conn, name, arena, ret_found, ret_value);
}

/* One slice, copied, so that no transaction is open while the caller looks at it. */
struct state_slice {
	struct arena arena; /* at most STATE_SLICE_BYTES and one record */
	bool is_last;
	size_t count;
	struct {
		struct bytes name;
		struct bytes value;
	} records[STATE_SLICE_ROWS];
};

static enum err read_slice(struct conn *conn, struct bytes from, struct bytes end,
			   struct state_slice *slice)
{
	sqlite3_stmt *stmt = conn_stmt(conn, STMT_STATE_SLICE);
	bool found = true;
	enum err e = ERR_OK;

	slice->count = 0;
	if (!stmt)
		return ERR_STORAGE;
	bind_range(stmt, from, end, INT64_MAX);
	while (slice->count < STATE_SLICE_ROWS && slice->arena.used_bytes < STATE_SLICE_BYTES) {
		e = conn_step(conn, stmt, &found);
		if (e || !found)
			break;
		if (!arena_copy(&slice->arena, column(stmt, 0),
				&slice->records[slice->count].name) ||
		    !arena_copy(&slice->arena, column(stmt, 1),
				&slice->records[slice->count].value)) {
			e = fault(ERR_NOMEM, "a slice of state records");
			break;
		}
		slice->count++;
	}
	slice->is_last = !found;
	sqlite3_reset(stmt);
	return e;
}

/* Shows the slice; ret_next is behind its last name, in `memory`, and has no data at the end. */
static enum err visit_slice(const struct state_slice *slice, struct arena *memory,
			    state_visit_fn *fn, void *context, struct bytes *ret_next)
{
	struct bytes last;
	uint8_t *next;

	*ret_next = bytes_of(NULL, 0);
	for (size_t i = 0; i < slice->count; i++)
		if (!fn(context, slice->records[i].name, slice->records[i].value))
			return ERR_OK;
	if (slice->is_last)
		return ERR_OK;
	last = slice->records[slice->count - 1].name;
	arena_fini(memory);
	next = arena_alloc(memory, last.size + 1);
	if (!next)
		return fault(ERR_NOMEM, "the name of a state record");
	if (last.size)
		memcpy(next, last.data, last.size);
	next[last.size] = 0;
	*ret_next = bytes_of(next, last.size + 1);
	return ERR_OK;
}

enum err store_state_scan(struct store_reader *reader, struct bytes from, struct bytes end,
			  state_visit_fn *fn, void *context)
{
	struct state_slice *slice = calloc(1, sizeof(*slice));
	struct arena memory;
	enum err e;

	if (!slice)
		return fault(ERR_NOMEM, "a slice of state records");
	arena_init(&memory, SIZE_MAX);
	do {
		arena_init(&slice->arena, SIZE_MAX);
		e = read_slice(&reader->conn, from, end, slice);
		if (!e)
			e = visit_slice(slice, &memory, fn, context, &from);
		arena_fini(&slice->arena);
	} while (!e && from.data);
	arena_fini(&memory);
	free(slice);
	return e;
}
