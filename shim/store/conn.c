/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/conn.h"

#include "shim/base/crc32c.h"
#include "shim/store/pages.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Readers see one another's files through the page cache of the kernel; a small cache of their own
 * is enough, for SQLite empties it at every commit of the writer. */
#define READER_CACHE_KIB 2000

static const char *const stmt_sql[STMT_COUNT] = {
#define STMT_TEXT(name, sql) [STMT_##name] = sql,
	STORE_SQL(STMT_TEXT)
#undef STMT_TEXT
};

enum err conn_error(struct conn *conn, int code, const char *doing)
{
	if (code == SQLITE_IOERR_DATA) /* the page is named in the log */
		return ERR_DAMAGED;
	switch (code & 0xff) {
	case SQLITE_FULL:
		return ERR_NO_SPACE;
	case SQLITE_NOMEM:
		return fault(ERR_NOMEM, "SQLite ran out of memory (%s)", doing);
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return fault(ERR_DAMAGED, "the database is damaged (%s): %s", doing,
			     conn->db ? sqlite3_errmsg(conn->db) : sqlite3_errstr(code));
	default:
		return fault(ERR_STORAGE, "SQLite error %d (%s): %s", code, doing,
			     conn->db ? sqlite3_errmsg(conn->db) : sqlite3_errstr(code));
	}
}

static void configure(void)
{
	/* Its memory statistics take one mutex at every allocation of every thread. */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	pages_register();
}

void conn_configure_library(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, configure);
}

enum err conn_exec(struct conn *conn, const char *sql)
{
	int code = sqlite3_exec(conn->db, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? ERR_OK : conn_error(conn, code, sql);
}

static enum err set_pragmas(struct conn *conn, enum conn_mode mode, bool no_fsync)
{
	char sql[512];
	int cache_kib = mode == CONN_WRITE ? DB_CACHE_KIB : READER_CACHE_KIB;

	if (mode == CONN_READ) {
		snprintf(sql, sizeof(sql),
			 "PRAGMA query_only=ON; PRAGMA mmap_size=0; PRAGMA cache_size=-%d;",
			 cache_kib);
		return conn_exec(conn, sql);
	}
	/* page_size and auto_vacuum take effect in an empty file only: an incremental vacuum's
	 * pointer pages would cost 14 % more bytes per single put, so free pages are reused and
	 * given back by Defragment alone. */
	snprintf(sql, sizeof(sql),
		 "PRAGMA page_size=%d; PRAGMA auto_vacuum=NONE; PRAGMA mmap_size=0;"
		 "PRAGMA secure_delete=OFF; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-%d;"
		 "PRAGMA journal_mode=WAL; PRAGMA synchronous=%s; PRAGMA journal_size_limit=%d;",
		 DB_PAGE_BYTES, cache_kib, no_fsync ? "OFF" : "FULL", WAL_SIZE_LIMIT_BYTES);
	return conn_exec(conn, sql);
}

enum err conn_open(struct conn *conn, const char *path, enum conn_mode mode, bool no_fsync)
{
	int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READWRITE;
	enum err e;
	int code;

	if (mode == CONN_WRITE)
		flags |= SQLITE_OPEN_CREATE;
	conn_configure_library();
	*conn = (struct conn){0};
	code = sqlite3_open_v2(path, &conn->db, flags, PAGES_VFS);
	/* A reader that comes last, beside no server, must not fold a WAL that none has checked. */
	if (code == SQLITE_OK && mode == CONN_READ)
		code = sqlite3_db_config(conn->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (code == SQLITE_OK && mode == CONN_WRITE)
		code = pages_reserve(conn->db); /* takes effect in an empty file only */
	if (code != SQLITE_OK) {
		e = conn_error(conn, code, "opening the database");
		conn_close(conn);
		return e;
	}
	sqlite3_extended_result_codes(conn->db, 1);
	sqlite3_busy_timeout(conn->db, BUSY_TIMEOUT_MS);
	e = set_pragmas(conn, mode, no_fsync);
	if (e)
		conn_close(conn);
	return e;
}

void conn_close(struct conn *conn)
{
	for (size_t i = 0; i < STMT_COUNT; i++) {
		sqlite3_finalize(conn->stmt[i]);
		conn->stmt[i] = NULL;
	}
	if (conn->db) {
		int code = sqlite3_close(conn->db);

		assert(code == SQLITE_OK); /* else a statement or blob was left open: a bug */
	}
	conn->db = NULL;
	free(conn->scratch);
	conn->scratch = NULL;
	conn->scratch_bytes = 0;
}

sqlite3_stmt *conn_stmt(struct conn *conn, enum stmt id)
{
	sqlite3_stmt *stmt = conn->stmt[id];
	int code;

	if (stmt) {
		sqlite3_reset(stmt);
		return stmt;
	}
	code = sqlite3_prepare_v3(conn->db, stmt_sql[id], -1, SQLITE_PREPARE_PERSISTENT, &stmt,
				  NULL);
	if (code != SQLITE_OK) {
		conn_error(conn, code, stmt_sql[id]);
		return NULL;
	}
	conn->stmt[id] = stmt;
	return stmt;
}

enum err conn_step(struct conn *conn, sqlite3_stmt *stmt, bool *ret_row)
{
	int code = sqlite3_step(stmt);

	if (code != SQLITE_ROW && code != SQLITE_DONE)
		return conn_error(conn, code, sqlite3_sql(stmt));
	*ret_row = code == SQLITE_ROW;
	return ERR_OK;
}

enum err conn_run(struct conn *conn, sqlite3_stmt *stmt)
{
	bool row = false;
	enum err e;

	if (!stmt)
		return ERR_STORAGE;
	e = conn_step(conn, stmt, &row);
	sqlite3_reset(stmt);
	return e;
}

enum err conn_do(struct conn *conn, enum stmt id)
{
	return conn_run(conn, conn_stmt(conn, id));
}

enum err conn_number(struct conn *conn, sqlite3_stmt *stmt, int64_t missing, int64_t *ret_number)
{
	bool row = false;
	enum err e;

	if (!stmt)
		return ERR_STORAGE;
	e = conn_step(conn, stmt, &row);
	if (!e)
		*ret_number = row ? sqlite3_column_int64(stmt, 0) : missing;
	sqlite3_reset(stmt);
	return e;
}

bool conn_in_transaction(const struct conn *conn)
{
	return !sqlite3_get_autocommit(conn->db);
}

enum err conn_setting_get(struct conn *conn, const char *name, int64_t missing, int64_t *ret_value)
{
	sqlite3_stmt *stmt = conn_stmt(conn, STMT_SETTING_GET);

	if (!stmt)
		return ERR_STORAGE;
	sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	return conn_number(conn, stmt, missing, ret_value);
}

enum err conn_setting_set(struct conn *conn, const char *name, int64_t value)
{
	sqlite3_stmt *stmt = conn_stmt(conn, STMT_SETTING_SET);

	if (!stmt)
		return ERR_STORAGE;
	sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 2, value);
	return conn_run(conn, stmt);
}
