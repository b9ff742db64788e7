/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/load.h"

#include "shim/store/schema.h"

static enum err load_row(struct store *store, const struct row *row)
{
	struct version version = {
		.row = row->rev,
		.create_revision = row->create_revision,
		.version = row->version,
		.lease = row->lease,
		.value_bytes = (uint32_t)row->value.size,
		.tombstone = row->flags & ROW_TOMBSTONE,
		.invisible = row->flags & ROW_INVISIBLE,
	};
	enum err e = index_add(store->index, row->key, &version);

	if (e || version.invisible || !lessor_count(store->lessor))
		return e;
	/* A key hangs on the lease of its newest visible row.  A lease that is gone took its keys
	 * with it, so an unknown one can only be in a row that a later one covers. */
	if (!version.lease || version.tombstone) {
		lessor_detach(store->lessor, row->key);
		return ERR_OK;
	}
	e = lessor_attach(store->lessor, row->key, version.lease);
	if (e == ERR_LEASE_NOT_FOUND) {
		lessor_detach(store->lessor, row->key);
		return ERR_OK;
	}
	return e;
}

/* Rows come in ascending order unless a page of the tree above them is damaged. */
static enum err check_order(const struct row *row, int64_t previous)
{
	if (row->rev > previous)
		return ERR_OK;
	return fault(ERR_DAMAGED, "the row of revision %lld.%lld follows that of %lld.%lld",
		     (long long)row_main(row->rev), (long long)(row->rev & REV_SUB_MAX),
		     (long long)row_main(previous), (long long)(previous & REV_SUB_MAX));
}

static enum err load_log(struct store *store, struct conn *conn, int64_t *ret_newest)
{
	sqlite3_stmt *stmt = conn_stmt(conn, STMT_HEADER_SCAN);
	int64_t previous = 0;
	bool found = false;
	struct row row;
	enum err e;

	if (!stmt)
		return ERR_STORAGE;
	sqlite3_bind_int64(stmt, 1, 0);
	sqlite3_bind_int64(stmt, 2, INT64_MAX);
	while (!(e = conn_step(conn, stmt, &found)) && found) {
		e = conn_row_read(conn, stmt, false, &row);
		if (!e)
			e = check_order(&row, previous);
		if (!e)
			e = load_row(store, &row);
		if (e)
			break;
		previous = row.rev;
	}
	sqlite3_reset(stmt);
	if (!e)
		*ret_newest = row_main(previous);
	return e;
}

static enum err load_leases(struct store *store, struct conn *conn)
{
	sqlite3_stmt *stmt = conn_stmt(conn, STMT_LEASE_SCAN);
	int64_t now_ns = clock_now_ns(store->config.clock);
	bool found = false;
	enum err e;

	if (!stmt)
		return ERR_STORAGE;
	while (!(e = conn_step(conn, stmt, &found)) && found) {
		e = lessor_grant(store->lessor, sqlite3_column_int64(stmt, 0),
				 sqlite3_column_int64(stmt, 1), now_ns);
		if (e)
			break;
	}
	sqlite3_reset(stmt);
	return e;
}

enum err load_all(struct store *store, struct conn *conn, int64_t *ret_newest,
		  char problem[STORE_PROBLEM_BYTES])
{
	enum err e = load_leases(store, conn);

	if (!e)
		e = load_log(store, conn, ret_newest);
	if (e == ERR_DAMAGED)
		return schema_problem(problem, e,
				      "%s is damaged, see the log for where: restore a snapshot"
				      " into a fresh --data-dir",
				      store->db_path);
	if (e)
		return schema_problem(problem, e, "%s cannot be loaded (%s), see the log",
				      store->db_path, err_text(e));
	return ERR_OK;
}
