/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/load.h"

#include "shim/store/schema.h"

static enum err load_row(struct store *store, const struct row *row)
{
	struct version version = row_version(row);
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

bool load_follows(int64_t row, int64_t before, int64_t compacted)
{
	int64_t floor = compacted > 1 ? compacted : 1; /* a fresh store is at revision 1 */
	int64_t next = row_main(before) > floor ? row_main(before) + 1 : floor + 1;

	if (row <= before)
		return false;
	return row_main(row) <= compacted || row == ROW_OF(next, 0) ||
	       (row == before + 1 && row_main(row) == row_main(before));
}

bool load_is_whole(int64_t newest, int64_t head, int64_t compacted)
{
	return head <= 1 || head <= compacted || row_main(newest) >= head;
}

bool load_lease_is_sound(int64_t id, int64_t ttl_seconds)
{
	return id && ttl_seconds >= 1 && ttl_seconds <= LEASE_TTL_SECONDS_MAX;
}

static enum err check_place(int64_t row, int64_t before, int64_t compacted)
{
	if (load_follows(row, before, compacted))
		return ERR_OK;
	return fault(ERR_DAMAGED,
		     "rows of the log are missing or out of order between revisions %lld and %lld",
		     (long long)row_main(before), (long long)row_main(row));
}

static enum err check_newest(struct conn *conn, int64_t newest, int64_t compacted)
{
	int64_t head = 0;
	enum err e = conn_setting_get(conn, SETTING_HEAD, 1, &head);

	if (e || load_is_whole(newest, head, compacted))
		return e;
	return fault(ERR_DAMAGED, "rows of the log are missing after revision %lld, up to %lld",
		     (long long)row_main(newest), (long long)head);
}

static enum err load_log(struct store *store, struct conn *conn, int64_t *ret_newest)
{
	sqlite3_stmt *stmt = conn_stmt(conn, STMT_HEADER_SCAN);
	int64_t before = 0, compacted = NEVER_COMPACTED;
	bool found = false;
	struct row row;
	enum err e = conn_setting_get(conn, SETTING_COMPACTED, NEVER_COMPACTED, &compacted);

	if (e)
		return e;
	if (!stmt)
		return ERR_STORAGE;
	sqlite3_bind_int64(stmt, 1, 0);
	sqlite3_bind_int64(stmt, 2, INT64_MAX);
	while (!(e = conn_step(conn, stmt, &found)) && found) {
		e = conn_row_read(conn, stmt, false, &row);
		if (!e)
			e = check_place(row.rev, before, compacted);
		if (!e)
			e = load_row(store, &row);
		if (e)
			break;
		before = row.rev;
	}
	sqlite3_reset(stmt);
	if (!e)
		e = check_newest(conn, before, compacted);
	if (!e)
		*ret_newest = row_main(before);
	return e;
}

static enum err load_lease(struct store *store, int64_t id, int64_t ttl_seconds, int64_t now_ns)
{
	if (!load_lease_is_sound(id, ttl_seconds))
		return fault(ERR_DAMAGED, "lease %lld has an impossible TTL of %lld s",
			     (long long)id, (long long)ttl_seconds);
	return lessor_grant(store->lessor, id, ttl_seconds, now_ns);
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
		e = load_lease(store, sqlite3_column_int64(stmt, 0), sqlite3_column_int64(stmt, 1),
			       now_ns);
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
				      "%s is damaged: `kedge check` names what is, `kedge repair`"
				      " may mend it, or restore a snapshot into a fresh --data-dir",
				      store->db_path);
	if (e)
		return schema_problem(problem, e, "%s cannot be loaded (%s), see the log",
				      store->db_path, err_text(e));
	return ERR_OK;
}
