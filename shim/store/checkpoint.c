/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/checkpoint.h"

#include "shim/base/clock.h"
#include "shim/base/log.h"

#define WAIT_FROM 4	   /* readers are waited for from this part of the bound on */
#define RESTART_WAIT_MS 50 /* for readers in the middle of a slice; ours take a few ms */

/* Mode: PASSIVE waits for nobody; RESTART for readers, so that the next commit begins anew. */
static void fold(struct checkpoint *checkpoint, int mode)
{
	struct conn *conn = checkpoint->conn;
	int in_wal = 0, folded = 0;
	int code = sqlite3_wal_checkpoint_v2(conn->db, NULL, mode, &in_wal, &folded);

	if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
		return;
	if (code != SQLITE_OK) {
		checkpoint->failed = conn_error(conn, code, "folding the WAL into the database");
		return;
	}
	if (mode == SQLITE_CHECKPOINT_RESTART && in_wal == folded) {
		checkpoint->pages = 0;
		checkpoint->pages_max = WAL_PAGES_MAX;
	}
}

static int on_commit(void *context, sqlite3 *db, const char *name, int pages)
{
	struct checkpoint *checkpoint = context;

	(void)db;
	(void)name;
	checkpoint->pages = pages;
	if (pages >= checkpoint->fold_pages)
		fold(checkpoint, SQLITE_CHECKPOINT_PASSIVE);
	return SQLITE_OK;
}

void checkpoint_init(struct checkpoint *checkpoint, struct conn *conn)
{
	*checkpoint = (struct checkpoint){
		.conn = conn,
		.fold_pages = WAL_AUTOCHECKPOINT_PAGES,
		.pages_max = WAL_PAGES_MAX,
	};
	sqlite3_wal_hook(conn->db, on_commit, checkpoint);
}

enum err checkpoint_failure(struct checkpoint *checkpoint)
{
	enum err e = checkpoint->failed;

	checkpoint->failed = ERR_OK;
	return e;
}

bool checkpoint_is_full(struct checkpoint *checkpoint)
{
	bool was_full = checkpoint->pages >= checkpoint->pages_max;
	int64_t now_ns;

	if (checkpoint->pages < checkpoint->pages_max / WAIT_FROM)
		return false;
	now_ns = clock_now_ns(&clock_system);
	if (now_ns < checkpoint->retry_ns)
		return was_full;
	checkpoint->retry_ns = now_ns + NS_PER_SECOND;
	sqlite3_busy_timeout(checkpoint->conn->db, RESTART_WAIT_MS);
	fold(checkpoint, SQLITE_CHECKPOINT_RESTART);
	sqlite3_busy_timeout(checkpoint->conn->db, BUSY_TIMEOUT_MS);
	if (was_full && checkpoint->pages >= checkpoint->pages_max)
		log_error(
			"writes are refused: the WAL is at its bound and cannot begin anew, because"
			" another process keeps reading the database (a `kedge snapshot save` that"
			" hangs, an sqlite3 shell); end it",
			LOG_INT("wal-bytes", checkpoint->pages * DB_PAGE_BYTES));
	return checkpoint->pages >= checkpoint->pages_max;
}

/* A WAL that holds the whole database, because somebody reads from it, is no reason to refuse. */
static void allow_more(struct checkpoint *checkpoint)
{
	fold(checkpoint, SQLITE_CHECKPOINT_RESTART);
	if (checkpoint->pages)
		checkpoint->pages_max = checkpoint->pages + WAL_PAGES_MAX;
}

enum err checkpoint_vacuum(struct checkpoint *checkpoint, const char *data_dir)
{
	struct conn *conn = checkpoint->conn;
	char *sql = sqlite3_mprintf("PRAGMA temp_store=FILE; PRAGMA temp_store_directory=%Q;",
				    data_dir);
	enum err e, restore;

	if (!sql)
		return fault(ERR_NOMEM, "a statement");
	/* VACUUM keeps the copy in a temporary file beside the data, not in memory. */
	e = conn_exec(conn, sql);
	sqlite3_free(sql);
	if (!e)
		e = conn_exec(conn, "VACUUM");
	restore = conn_exec(conn, "PRAGMA temp_store=MEMORY;");
	if (!e)
		e = restore;
	if (!e)
		e = conn_exec(conn, "PRAGMA wal_checkpoint(TRUNCATE)");
	allow_more(checkpoint);
	return e;
}
