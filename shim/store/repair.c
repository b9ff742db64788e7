/* SPDX-License-Identifier: Apache-2.0 */
/* repair.c - damaged rows are replaced from a snapshot (see check.h).
 *
 * Only where nothing but rows is damaged: which rows a page of broken structure had nobody knows,
 * and settings and leases of a snapshot are of another time.  There a restore is the answer. */
#include "shim/store/backup.h"
#include "shim/store/check_internal.h"
#include "shim/store/datadir.h"
#include "shim/store/internal.h"
#include "shim/store/wal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define MEND_RESTORE "restore a snapshot into a fresh --data-dir"

struct repair {
	struct examined examined; /* reads damaged rows, too */
	struct conn sound;	  /* reads nothing damaged: for what stands beside the log */
	struct conn snapshot;
	struct fresh_file target;
	char *db_path;
	char *problem;
	int lock_fd;
};

/* --- rows ------------------------------------------------------------------------------------- */

/* The row of the same number in the snapshot, which is sound. */
static enum err replace(struct repair *repair, int64_t number)
{
	struct check_report *report = repair->examined.report;
	struct conn *conn = &repair->snapshot;
	sqlite3_stmt *stmt = conn_stmt(conn, STMT_ROW_AT);
	bool found = false;
	struct row row;
	enum err e;

	if (!stmt)
		return ERR_STORAGE;
	sqlite3_bind_int64(stmt, 1, number);
	e = conn_step(conn, stmt, &found);
	if (!e && found)
		e = conn_row_read(conn, stmt, true, &row);
	if (!e && found)
		e = conn_row_insert(&repair->target.conn, &row);
	sqlite3_reset(stmt);
	if (!e && found)
		report->rows_repaired++;
	if (!e && !found)
		check_found(report, "log: revision %lld.%lld is damaged and not in the snapshot",
			    (long long)(number >> REV_SUB_BITS), (long long)(number & REV_SUB_MAX));
	return e;
}

static enum err copy_row(void *context, const struct row *row, bool sound)
{
	struct repair *repair = context;

	repair->examined.report->rows++;
	if (sound)
		return conn_row_insert(&repair->target.conn, row);
	repair->examined.report->rows_damaged++;
	return replace(repair, row->rev);
}

/* --- what stands beside them ------------------------------------------------------------------ */

static enum err copy_small(struct repair *repair)
{
	struct conn *target = &repair->target.conn;
	struct contents contents = {0};
	struct schema_numbers numbers;
	enum err e = schema_numbers_read(&repair->sound, &numbers);

	if (!e)
		e = fresh_open(&repair->target, repair->db_path, &numbers.identity);
	if (!e)
		e = contents_small(&contents, &repair->sound, target);
	if (!e)
		e = backup_alarms(target, numbers.alarms);
	if (!e)
		e = conn_setting_set(target, SETTING_HEAD, numbers.head);
	if (!e && numbers.compacted != NEVER_COMPACTED)
		e = conn_setting_set(target, SETTING_COMPACTED, numbers.compacted);
	if (!e && numbers.swept != NEVER_COMPACTED)
		e = conn_setting_set(target, SETTING_SWEPT, numbers.swept);
	if (!e && numbers.sweeping != SWEEPING_UNKNOWN)
		e = conn_setting_set(target, SETTING_SWEEPING, numbers.sweeping);
	return e;
}

/* --- the order of things ---------------------------------------------------------------------- */

static enum err not_by_rows(struct repair *repair, const char *what)
{
	return schema_problem(repair->problem, ERR_DAMAGED,
			      "%s: %s is damaged, which rows of a snapshot cannot mend:"
			      " " MEND_RESTORE,
			      repair->db_path, what);
}

/* Folds the WAL, so that the database file alone is all there is. */
static enum err open_sound(struct repair *repair)
{
	enum err e = wal_check(repair->db_path, repair->problem);

	if (e)
		return e;
	e = conn_open(&repair->sound, repair->db_path, CONN_WRITE, false);
	if (!e)
		e = conn_exec(&repair->sound, "PRAGMA wal_checkpoint(TRUNCATE)");
	return e == ERR_DAMAGED ? not_by_rows(repair, "its first page") : e;
}

static enum err open_snapshot(struct repair *repair, const char *path)
{
	struct snapshot_status status;
	enum err e = store_snapshot_status(path, &status, repair->problem);
	int code;

	if (e)
		return e;
	code = sqlite3_open_v2(path, &repair->snapshot.db,
			       SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, PAGES_VFS);
	return code == SQLITE_OK ? ERR_OK : conn_error(&repair->snapshot, code, path);
}

static enum err copy_all(struct repair *repair)
{
	struct check_report *report = repair->examined.report;
	enum err e = copy_small(repair);

	if (e == ERR_DAMAGED)
		return not_by_rows(repair, "what stands beside the log (settings, leases)");
	if (!e)
		e = check_open(&repair->examined, repair->db_path, false);
	if (!e)
		e = check_structure(&repair->examined);
	if (repair->examined.structure_findings)
		return not_by_rows(repair, "the structure");
	if (!e)
		e = check_rows(&repair->examined, copy_row, repair);
	if (e || report->rows_damaged == report->rows_repaired)
		return e;
	return schema_problem(repair->problem, ERR_DAMAGED,
			      "%lld of %lld damaged rows are not in the snapshot, nothing was"
			      " changed: try a newer one, or " MEND_RESTORE,
			      (long long)(report->rows_damaged - report->rows_repaired),
			      (long long)report->rows_damaged);
}

/* The old file keeps a name, and the new one takes its place in one step. */
static enum err change_places(struct repair *repair)
{
	char *kept = NULL;
	enum err e = ERR_OK;

	conn_close(&repair->examined.conn);
	conn_close(&repair->sound);
	if (asprintf(&kept, "%s.damaged", repair->db_path) < 0)
		return fault(ERR_NOMEM, "a path");
	if ((unlink(kept) && errno != ENOENT) || link(repair->db_path, kept))
		e = fault(ERR_STORAGE, "%s cannot be made: %s", kept, strerror(errno));
	free(kept);
	return e ? e : fresh_finish(&repair->target);
}

static enum err repair_all(struct repair *repair, const char *data_dir, const char *snapshot)
{
	enum err e = datadir_lock(data_dir, &repair->lock_fd, repair->problem);

	if (!e && access(repair->db_path, R_OK | W_OK))
		e = schema_problem(repair->problem, ERR_STORAGE,
				   "%s cannot be read and written: name the --data-dir that kedge"
				   " serve uses",
				   repair->db_path);
	if (!e)
		e = open_snapshot(repair, snapshot);
	if (!e)
		e = open_sound(repair);
	if (!e)
		e = copy_all(repair);
	return e ? e : change_places(repair);
}

enum err store_repair(const char *data_dir, const char *snapshot, struct check_report *report,
		      char problem[STORE_PROBLEM_BYTES])
{
	struct repair *repair = calloc(1, sizeof(*repair));
	enum err e = ERR_NOMEM;

	problem[0] = 0;
	if (repair) {
		repair->examined.report = report;
		repair->problem = problem;
		repair->lock_fd = -1;
		repair->db_path = datadir_path(data_dir, STORE_DB_NAME);
	}
	if (repair && repair->db_path) {
		e = repair_all(repair, data_dir, snapshot);
		conn_close(&repair->examined.conn);
		conn_close(&repair->sound);
		conn_close(&repair->snapshot);
		fresh_fini(&repair->target);
		datadir_unlock(repair->lock_fd);
	}
	if (e && !problem[0])
		schema_problem(problem, e, "%s: %s, see above", data_dir, err_text(e));
	if (repair)
		free(repair->db_path);
	free(repair);
	return e;
}
