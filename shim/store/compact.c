/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/compact.h"

#include <stdlib.h>

#define SWEEP_SLICE_KEYS 4000 /* looked at under one exclusive lock of the index: about 0.5 ms */

void sweeper_init(struct sweeper *sweeper, struct store *store, struct conn *conn, int64_t swept)
{
	*sweeper = (struct sweeper){.store = store, .conn = conn, .swept = swept};
}

bool sweeper_pending(const struct sweeper *sweeper)
{
	return sweeper->active || sweeper->swept < store_compacted(sweeper->store);
}

bool sweeper_settled(const struct sweeper *sweeper)
{
	return !sweeper->active && pins_floor(&sweeper->store->pins) <= sweeper->swept;
}

static bool begin_pass(struct sweeper *sweeper)
{
	int64_t floor = pins_begin_sweep(&sweeper->store->pins);

	if (floor <= sweeper->swept)
		return false;
	sweeper->noted = false;
	sweeper->target = floor;
	sweeper->cursor = (struct index_sweep){0};
	sweeper->active = true;
	return true;
}

/* --- gathering: rows leave the index --------------------------------------------------------- */

static enum err reserve(struct sweeper *sweeper)
{
	size_t capacity = sweeper->row_capacity ? 2 * sweeper->row_capacity : SWEEP_SLICE_ROWS;
	int64_t *grown;

	if (sweeper->row_count + SWEEP_SLICE_ROWS <= sweeper->row_capacity)
		return ERR_OK;
	while (capacity < sweeper->row_count + SWEEP_SLICE_ROWS)
		capacity *= 2;
	grown = reallocarray(sweeper->rows, capacity, sizeof(*grown));
	if (!grown)
		return fault(ERR_NOMEM, "a list of %zu rows to delete", capacity);
	sweeper->rows = grown;
	sweeper->row_capacity = capacity;
	return ERR_OK;
}

static enum err gather(struct sweeper *sweeper)
{
	struct store *store = sweeper->store;
	enum err e = reserve(sweeper);

	if (e)
		return e;
	pthread_rwlock_wrlock(&store->index_lock);
	sweeper->row_count +=
		index_sweep(store->index, &sweeper->cursor, sweeper->target,
			    sweeper->rows + sweeper->row_count, SWEEP_SLICE_ROWS, SWEEP_SLICE_KEYS);
	pthread_rwlock_unlock(&store->index_lock);
	return ERR_OK;
}

static bool gathered(const struct sweeper *sweeper)
{
	return sweeper->cursor.done || sweeper->row_count >= SWEEP_GATHER_ROWS_MAX;
}

static int by_number(const void *left, const void *right)
{
	const int64_t *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

/* --- deleting: rows leave the log ------------------------------------------------------------ */

/* One slice in the transaction; with the first of a pass the note how far rows may be gone, with
 * the last the note that they are. */
static enum err delete_rows(struct sweeper *sweeper, size_t upto)
{
	struct conn *conn = sweeper->conn;
	enum err e = ERR_OK;

	if (!sweeper->noted)
		e = conn_setting_set(conn, SETTING_SWEEPING,
				     atomic_load(&sweeper->store->pins.swept));
	for (size_t i = sweeper->rows_deleted; i < upto && !e; i++) {
		sqlite3_stmt *stmt = conn_stmt(conn, STMT_ROW_DELETE);

		if (stmt)
			sqlite3_bind_int64(stmt, 1, sweeper->rows[i]);
		e = conn_run(conn, stmt);
	}
	if (!e && sweeper->cursor.done && upto == sweeper->row_count)
		e = conn_setting_set(conn, SETTING_SWEPT, sweeper->target);
	return e;
}

static enum err delete_slice(struct sweeper *sweeper)
{
	struct conn *conn = sweeper->conn;
	size_t left = sweeper->row_count - sweeper->rows_deleted;
	size_t upto = sweeper->rows_deleted + (left < SWEEP_SLICE_ROWS ? left : SWEEP_SLICE_ROWS);
	enum err e;

	if (!sweeper->rows_sorted && sweeper->row_count)
		qsort(sweeper->rows, sweeper->row_count, sizeof(*sweeper->rows), by_number);
	sweeper->rows_sorted = true;
	e = conn_do(conn, STMT_BEGIN);
	if (!e)
		e = delete_rows(sweeper, upto);
	if (!e)
		e = conn_do(conn, STMT_COMMIT);
	if (e) {
		if (conn_in_transaction(conn))
			conn_do(conn, STMT_ROLLBACK);
		return e; /* rows stay listed for the next try */
	}
	sweeper->noted = true;
	count_up(&sweeper->store->counters.compacted_rows, upto - sweeper->rows_deleted);
	sweeper->rows_deleted = upto;
	return ERR_OK;
}

static void forget_rows(struct sweeper *sweeper)
{
	free(sweeper->rows);
	sweeper->rows = NULL;
	sweeper->row_count = sweeper->row_capacity = sweeper->rows_deleted = 0;
	sweeper->rows_sorted = false;
}

static void end_pass(struct sweeper *sweeper)
{
	index_sweep_fini(&sweeper->cursor);
	sweeper->active = false;
	sweeper->swept = sweeper->target;
}

void sweeper_fini(struct sweeper *sweeper)
{
	index_sweep_fini(&sweeper->cursor);
	forget_rows(sweeper);
}

enum err sweeper_step(struct sweeper *sweeper, bool *ret_worked)
{
	enum err e;

	*ret_worked = sweeper->active || begin_pass(sweeper);
	if (!*ret_worked)
		return ERR_OK;
	if (!gathered(sweeper))
		return gather(sweeper);
	e = delete_slice(sweeper);
	if (e || sweeper->rows_deleted < sweeper->row_count)
		return e;
	forget_rows(sweeper);
	if (sweeper->cursor.done)
		end_pass(sweeper);
	return ERR_OK;
}
