/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/schema.h"

#include "shim/store/pages.h"
#include "shim/store/pin.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

/* The value stands last in the log, so that a start skips its overflow pages. */
static const char schema_sql[] =
	"CREATE TABLE log(rev INTEGER PRIMARY KEY, key BLOB NOT NULL, create_rev INTEGER NOT NULL,"
	" version INTEGER NOT NULL, lease INTEGER NOT NULL, flags INTEGER NOT NULL,"
	" crc INTEGER NOT NULL, meta BLOB, value BLOB);"
	"CREATE TABLE settings(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE leases(id INTEGER PRIMARY KEY, ttl INTEGER NOT NULL);"
	"CREATE TABLE alarms(alarm INTEGER PRIMARY KEY);"
	"CREATE TABLE state(name BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
	"PRAGMA application_id=" TEXT(SCHEMA_APPLICATION_ID) ";"
							     "PRAGMA user_version=" TEXT(
								     SCHEMA_VERSION) ";";

enum err schema_problem(char problem[STORE_PROBLEM_BYTES], enum err e, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(problem, STORE_PROBLEM_BYTES, format, arguments);
	va_end(arguments);
	return e;
}

/* --- before anything is changed -------------------------------------------------------------- */

static enum err probe_number(sqlite3 *db, const char *sql, int64_t *ret_number)
{
	sqlite3_stmt *stmt = NULL;
	int code = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_step(stmt);
	if (code == SQLITE_ROW)
		*ret_number = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return code == SQLITE_ROW ? ERR_OK : ERR_STORAGE;
}

static enum err probe_failed(sqlite3 *db, const char *path, char *problem)
{
	int code = sqlite3_errcode(db) & 0xff;

	if (code == SQLITE_NOTADB)
		return schema_problem(problem, ERR_DAMAGED,
				      "%s is not a kedge database, or its first page is damaged:"
				      " choose another --data-dir, or restore a snapshot into a"
				      " fresh one",
				      path);
	if (code == SQLITE_CANTOPEN || code == SQLITE_PERM || code == SQLITE_READONLY)
		return schema_problem(problem, ERR_STORAGE,
				      "%s cannot be opened for reading and writing (%s): check its"
				      " owner and mode, and those of its folder",
				      path, sqlite3_errmsg(db));
	if (code == SQLITE_CORRUPT || sqlite3_extended_errcode(db) == SQLITE_IOERR_DATA)
		return schema_problem(problem, ERR_DAMAGED,
				      "%s is damaged (%s): see what `kedge check` says, or restore"
				      " a snapshot into a fresh --data-dir",
				      path, sqlite3_errmsg(db));
	return schema_problem(problem, ERR_STORAGE,
			      "%s cannot be read (%s): check the disk, the file's owner and its"
			      " mode",
			      path, sqlite3_errmsg(db));
}

static enum err probe_open(sqlite3 *db, const char *path, bool *ret_fresh, char *problem)
{
	int64_t application = 0, version = 0, tables = 0, kine = 0;

	sqlite3_busy_timeout(db, 1000);
	if (probe_number(db, "PRAGMA application_id", &application) ||
	    probe_number(db, "PRAGMA user_version", &version) ||
	    probe_number(db, "SELECT count(*) FROM sqlite_master", &tables) ||
	    probe_number(db, "SELECT count(*) FROM sqlite_master WHERE name='kine'", &kine))
		return probe_failed(db, path, problem);
	if (application == SCHEMA_APPLICATION_ID && version > SCHEMA_VERSION)
		return schema_problem(problem, ERR_STORAGE,
				      "%s was written by a newer kedge (schema %lld, this one knows"
				      " %d): run that version, or restore a snapshot made by this"
				      " one",
				      path, (long long)version, SCHEMA_VERSION);
	if (application != SCHEMA_APPLICATION_ID && tables)
		return schema_problem(problem, ERR_STORAGE,
				      "%s is %s, not kedge's: choose another --data-dir", path,
				      kine ? "a kine database" : "the database of another program");
	*ret_fresh = tables == 0;
	return ERR_OK;
}

enum err schema_probe(const char *path, bool *ret_fresh, char problem[STORE_PROBLEM_BYTES])
{
	struct stat stat_buffer;
	sqlite3 *db = NULL;
	enum err e;

	conn_configure_library();
	if (stat(path, &stat_buffer)) {
		if (errno != ENOENT)
			return schema_problem(problem, ERR_STORAGE,
					      "%s cannot be looked at (%s): check owner and mode",
					      path, strerror(errno));
		*ret_fresh = true;
		return ERR_OK;
	}
	if (!S_ISREG(stat_buffer.st_mode))
		return schema_problem(problem, ERR_STORAGE,
				      "%s is not a file: choose another --data-dir", path);
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, PAGES_VFS) !=
	    SQLITE_OK)
		e = probe_failed(db, path, problem);
	else
		e = probe_open(db, path, ret_fresh, problem);
	sqlite3_close(db);
	return e;
}

/* --- create ---------------------------------------------------------------------------------- */

enum err schema_identity_new(struct store_identity *ret_identity)
{
	struct store_identity identity = {0};

	while (!identity.cluster_id || !identity.member_id)
		if (getrandom(&identity, sizeof(identity), 0) != (ssize_t)sizeof(identity))
			return fault(ERR_STORAGE, "no random numbers: %s", strerror(errno));
	identity.term = 0;
	*ret_identity = identity;
	return ERR_OK;
}

enum err schema_create(struct conn *conn, const struct store_identity *identity)
{
	enum err e = conn_do(conn, STMT_BEGIN);

	if (e)
		return e;
	e = conn_exec(conn, schema_sql);
	if (!e)
		e = conn_setting_set(conn, SETTING_CLUSTER_ID, (int64_t)identity->cluster_id);
	if (!e)
		e = conn_setting_set(conn, SETTING_MEMBER_ID, (int64_t)identity->member_id);
	if (!e)
		e = conn_setting_set(conn, SETTING_TERM, (int64_t)identity->term);
	if (!e)
		e = conn_setting_set(conn, SETTING_HEAD, 1); /* a fresh store is at revision 1 */
	if (!e)
		return conn_do(conn, STMT_COMMIT);
	if (conn_in_transaction(conn))
		conn_do(conn, STMT_ROLLBACK);
	return e;
}

/* --- start ----------------------------------------------------------------------------------- */

static enum err read_alarms(struct conn *conn, unsigned *ret_alarms)
{
	sqlite3_stmt *stmt = conn_stmt(conn, STMT_ALARM_SCAN);
	unsigned alarms = 0;
	bool row = false;
	enum err e;

	if (!stmt)
		return ERR_STORAGE;
	while (!(e = conn_step(conn, stmt, &row)) && row) {
		int alarm = sqlite3_column_int(stmt, 0);

		if (alarm > 0 && alarm < 31)
			alarms |= 1u << alarm;
	}
	sqlite3_reset(stmt);
	if (!e)
		*ret_alarms = alarms;
	return e;
}

enum err schema_numbers_read(struct conn *conn, struct schema_numbers *ret_numbers)
{
	struct schema_numbers numbers = {0};
	int64_t cluster_id = 0, member_id = 0, term = 0;
	enum err e = conn_setting_get(conn, SETTING_CLUSTER_ID, 0, &cluster_id);

	if (!e)
		e = conn_setting_get(conn, SETTING_MEMBER_ID, 0, &member_id);
	if (!e)
		e = conn_setting_get(conn, SETTING_TERM, 0, &term);
	if (!e)
		e = conn_setting_get(conn, SETTING_HEAD, 1, &numbers.head);
	if (!e)
		e = conn_setting_get(conn, SETTING_COMPACTED, NEVER_COMPACTED, &numbers.compacted);
	if (!e)
		e = conn_setting_get(conn, SETTING_SWEPT, NEVER_COMPACTED, &numbers.swept);
	if (!e)
		e = conn_setting_get(conn, SETTING_SWEEPING, SWEEPING_UNKNOWN, &numbers.sweeping);
	if (!e)
		e = read_alarms(conn, &numbers.alarms);
	if (e)
		return e;
	numbers.identity =
		(struct store_identity){(uint64_t)cluster_id, (uint64_t)member_id, (uint64_t)term};
	*ret_numbers = numbers;
	return ERR_OK;
}

enum err schema_start(struct conn *conn, struct schema_numbers *ret_numbers)
{
	struct schema_numbers numbers;
	enum err e = schema_numbers_read(conn, &numbers);

	if (e)
		return e;
	if (!numbers.identity.cluster_id || !numbers.identity.member_id)
		return fault(ERR_DAMAGED, "the database has no identity: restore a snapshot");
	numbers.identity.term++;
	if (numbers.sweeping == SWEEPING_UNKNOWN) {
		numbers.sweeping = numbers.compacted;
		e = conn_setting_set(conn, SETTING_SWEEPING, numbers.sweeping);
	}
	if (!e)
		e = conn_setting_set(conn, SETTING_TERM, (int64_t)numbers.identity.term);
	if (!e)
		*ret_numbers = numbers;
	return e;
}
