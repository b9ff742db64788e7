/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - the log as sync reads it: by revision, down to where the sweep has been. */
#include "shim/store/keyrow.h"

int64_t store_swept(const struct store *store)
{
	int64_t swept = atomic_load_explicit(&store->pins.swept, memory_order_acquire);

	return swept > 0 ? swept : 0;
}

void store_log_hold(struct store *store, int64_t revision)
{
	pins_bound_sweep(&store->pins, revision);
}

/* --- all rows -------------------------------------------------------------------------------- */

struct reading {
	const struct log_op *op;
	log_visit_fn *fn;
	void *context;
	int64_t revision; /* of the last row; 0: none yet */
	size_t rows;
	size_t bytes;
};

static enum err visit(struct reading *reading, const struct row *row)
{
	struct log_row shown = {
		.revision = row_main(row->rev),
		.sub = row->rev & REV_SUB_MAX,
		.key = row->key,
		.value = row->value,
		.meta = row->meta,
		.create_revision = row->create_revision,
		.version = row->version,
		.lease = row->lease,
		.tombstone = row->flags & ROW_TOMBSTONE,
		.invisible = row->flags & ROW_INVISIBLE,
		.merged = row->flags & ROW_MERGED,
	};

	reading->revision = shown.revision;
	reading->rows++;
	reading->bytes += row->key.size + row->value.size + row->meta.size;
	return reading->fn(reading->context, &shown);
}

/* Another revision begins and the limits are reached. */
static bool ends_before(const struct reading *reading, const struct row *row)
{
	return reading->revision && row_main(row->rev) != reading->revision &&
	       (reading->rows >= reading->op->rows_max || reading->bytes >= reading->op->bytes_max);
}

static enum err read_rows(struct reading *reading, struct conn *conn, sqlite3_stmt *stmt,
			  int64_t *ret_to)
{
	bool found = false;
	struct row row;
	enum err e;

	while (!(e = conn_step(conn, stmt, &found)) && found) {
		e = conn_row_read(conn, stmt, !reading->op->no_values, &row);
		if (!e && ends_before(reading, &row)) {
			*ret_to = reading->revision;
			return ERR_OK;
		}
		if (!e)
			e = visit(reading, &row);
		if (e)
			return e;
	}
	return e;
}

enum err store_log(struct store_reader *reader, const struct log_op *op, log_visit_fn *fn,
		   void *context, int64_t *ret_to)
{
	struct reading reading = {.op = op, .fn = fn, .context = context};
	int64_t from = op->from > 0 ? op->from : 0;
	int64_t head = store_head(reader->store);
	int64_t to = op->to < head ? op->to : head;
	sqlite3_stmt *stmt;
	struct pin pin;
	enum err e = pins_hold_log(&reader->store->pins, &pin, from);

	if (e)
		return e;
	if (to <= from) {
		to = from;
	} else {
		stmt = conn_stmt(&reader->conn, op->no_values ? STMT_HEADER_SCAN : STMT_ROW_SCAN);
		e = stmt ? ERR_OK : ERR_STORAGE;
		if (stmt) {
			sqlite3_bind_int64(stmt, 1, ROW_OF(from + 1, 0));
			sqlite3_bind_int64(stmt, 2, ROW_OF(to, REV_SUB_MAX));
			e = read_rows(&reading, &reader->conn, stmt, &to);
			sqlite3_reset(stmt);
		}
	}
	pins_release(&reader->store->pins, &pin);
	if (!e)
		*ret_to = to;
	return e;
}

/* --- one key --------------------------------------------------------------------------------- */

enum err store_key_at(struct store_reader *reader, struct bytes key, int64_t revision,
		      struct arena *arena, struct apply_row *ret_row)
{
	struct store *store = reader->store;
	struct index_pair pair;
	struct apply_row row;
	struct pin pin;
	enum err e;

	if (revision > store_head(store))
		return ERR_FUTURE_REVISION;
	e = pins_hold_log(&store->pins, &pin, revision);
	if (e)
		return e;
	pthread_rwlock_rdlock(&store->index_lock);
	pair = index_pair(store->index, key, revision);
	pthread_rwlock_unlock(&store->index_lock);
	e = keyrow_read(&reader->conn, &pair, true, arena, &row);
	pins_release(&store->pins, &pin);
	if (!e && row.live && !arena_copy(arena, key, &row.kv.key))
		e = fault(ERR_NOMEM, "a key of %zu bytes", key.size);
	if (!e)
		*ret_row = row;
	return e;
}
