/* SPDX-License-Identifier: Apache-2.0 */
/* save.c - a snapshot from a data folder without its server's help: `kedge snapshot save`.
 *
 * The folder's server may be running.  Everything is read in one read transaction of SQLite, which
 * keeps the WAL from being reused until the copy is done; that is the price of needing neither a
 * port nor a certificate for a backup. */
#include "shim/store/backup.h"
#include "shim/store/datadir.h"
#include "shim/store/load.h"

#include <stdlib.h>

/* As much of a store as reading needs. */
static enum err shell_init(struct store *shell, struct conn *conn, char *problem)
{
	int64_t newest = 0;
	enum err e;

	pthread_rwlock_init(&shell->index_lock, NULL);
	pthread_mutex_init(&shell->lease_lock, NULL);
	e = index_new(&shell->index);
	if (!e)
		e = lessor_new(&shell->lessor);
	if (!e)
		e = conn_do(conn, STMT_READ_BEGIN);
	return e ? e : load_all(shell, conn, &newest, problem);
}

static void shell_fini(struct store *shell)
{
	index_free(shell->index);
	lessor_free(shell->lessor);
	pthread_mutex_destroy(&shell->lease_lock);
	pthread_rwlock_destroy(&shell->index_lock);
}

static enum err save(char *db_path, const char *path, char *problem)
{
	struct store shell = {.config.clock = &clock_system, .db_path = db_path};
	struct conn conn = {0};
	bool fresh = false;
	enum err e = schema_probe(db_path, &fresh, problem);

	if (e)
		return e;
	if (fresh)
		return schema_problem(
			problem, ERR_KEY_NOT_FOUND,
			"%s does not exist or is empty: name the --data-dir that kedge"
			" serve uses",
			db_path);
	e = conn_open(&conn, db_path, CONN_READ, false);
	if (e)
		return e;
	e = shell_init(&shell, &conn, problem);
	if (!e)
		e = backup_write(&shell, &conn, path);
	conn_close(&conn);
	shell_fini(&shell);
	return e;
}

enum err store_snapshot_save(const char *data_dir, const char *path,
			     char problem[STORE_PROBLEM_BYTES])
{
	char *db_path = datadir_path(data_dir, STORE_DB_NAME);
	enum err e;

	problem[0] = 0;
	if (!db_path)
		return schema_problem(problem, fault(ERR_NOMEM, "path"), "out of memory");
	e = save(db_path, path, problem);
	if (e && !problem[0])
		schema_problem(problem, e, "%s could not be copied to %s: %s, see above", db_path,
			       path, err_text(e));
	free(db_path);
	return e;
}
