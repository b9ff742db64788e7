/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/check_internal.h"

#include "shim/store/datadir.h"
#include "shim/store/internal.h"
#include "shim/store/load.h"
#include "shim/store/schema.h"
#include "shim/store/wal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#define STRUCTURE_FINDINGS_MAX 100 /* beyond, it is no better known */
#define KEY_SHOWN_BYTES 200

void check_found(struct check_report *report, const char *format, ...)
{
	va_list arguments;

	report->findings++;
	if (!report->out)
		return;
	va_start(arguments, format);
	vfprintf(report->out, format, arguments);
	va_end(arguments);
	fputc('\n', report->out);
}

enum err check_open(struct examined *examined, const char *db_path, bool writable)
{
	struct conn *conn = &examined->conn;
	int code;

	conn_configure_library();
	code = sqlite3_open_v2(db_path, &conn->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
			       PAGES_VFS);
	if (code == SQLITE_OK)
		code = pages_note(conn->db, &examined->noted);
	/* Closing must not fold the WAL, which may be what is damaged. */
	if (code == SQLITE_OK)
		code = sqlite3_db_config(conn->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (code != SQLITE_OK)
		return conn_error(conn, code, "opening the database");
	sqlite3_extended_result_codes(conn->db, 1);
	sqlite3_busy_timeout(conn->db, 10000);
	if (!writable && sqlite3_exec(conn->db, "PRAGMA query_only=ON", NULL, NULL, NULL))
		return ERR_DAMAGED;
	return ERR_OK;
}

/* --- structure -------------------------------------------------------------------------------- */

static int structure_line(void *context, int count, char **columns, char **names)
{
	struct examined *examined = context;

	(void)count;
	(void)names;
	if (columns[0] && strcmp(columns[0], "ok") != 0) {
		examined->structure_findings++;
		check_found(examined->report, "%s", columns[0]);
	}
	return 0;
}

enum err check_structure(struct examined *examined)
{
	sqlite3 *db = examined->conn.db;
	char sql[64];
	int code;

	snprintf(sql, sizeof(sql), "PRAGMA integrity_check(%d)", STRUCTURE_FINDINGS_MAX);
	code = sqlite3_exec(db, sql, structure_line, examined, NULL);
	if (code == SQLITE_OK)
		return ERR_OK;
	examined->structure_findings++;
	check_found(examined->report, "the structure cannot be read: %s", sqlite3_errmsg(db));
	return (code & 0xff) == SQLITE_NOMEM ? ERR_NOMEM : ERR_DAMAGED;
}

/* --- rows ------------------------------------------------------------------------------------- */

enum err check_rows(struct examined *examined, check_row_fn *fn, void *context)
{
	struct conn *conn = &examined->conn;
	sqlite3_stmt *stmt = conn_stmt(conn, STMT_ROW_SCAN);
	int64_t previous = 0;
	bool found = false;
	enum err e;

	if (!stmt)
		return ERR_DAMAGED;
	sqlite3_bind_int64(stmt, 1, 0);
	sqlite3_bind_int64(stmt, 2, INT64_MAX);
	while (!(e = conn_step(conn, stmt, &found)) && found) {
		/* What is in a damaged row is a hint for people only. */
		struct row row = {.rev = sqlite3_column_int64(stmt, 0)};
		bool sound;

		row.key.data = sqlite3_column_blob(stmt, 1);
		row.key.size = (size_t)sqlite3_column_bytes(stmt, 1);
		sound = !conn_row_read(conn, stmt, true, &row) && row.rev > previous;
		previous = row.rev;
		e = fn(context, &row, sound);
		if (e)
			break;
	}
	sqlite3_reset(stmt);
	return e;
}

static void print_key(struct bytes key, char shown[KEY_SHOWN_BYTES])
{
	size_t at = 0;

	for (size_t i = 0; i < key.size && at + 5 < KEY_SHOWN_BYTES; i++) {
		bool plain = key.data[i] >= ' ' && key.data[i] < 127 && key.data[i] != '"';

		at += (size_t)snprintf(shown + at, KEY_SHOWN_BYTES - at, plain ? "%c" : "\\x%02x",
				       key.data[i]);
	}
	shown[at] = 0;
}

struct log_walk {
	struct check_report *report;
	int64_t before;
	int64_t compacted;
};

static enum err count_row(void *context, const struct row *row, bool sound)
{
	struct log_walk *walk = context;
	struct check_report *report = walk->report;
	char shown[KEY_SHOWN_BYTES];

	report->rows++;
	if (sound && !load_follows(row->rev, walk->before, walk->compacted))
		check_found(report, "log: rows are missing between revisions %lld and %lld",
			    (long long)row_main(walk->before), (long long)row_main(row->rev));
	walk->before = row->rev;
	if (sound)
		return ERR_OK;
	report->rows_damaged++;
	print_key(row->key, shown);
	check_found(report, "log: revision %lld.%lld, key \"%s\": fails its checksum",
		    (long long)(row->rev >> REV_SUB_BITS), (long long)(row->rev & REV_SUB_MAX),
		    shown);
	return ERR_OK;
}

/* --- all -------------------------------------------------------------------------------------- */

static void note_pages(struct examined *examined)
{
	for (size_t i = 0; i < examined->noted.count && i < PAGES_NOTED_MAX; i++)
		check_found(examined->report, "page %u: fails its checksum",
			    examined->noted.pages[i]);
	if (examined->noted.count > PAGES_NOTED_MAX)
		check_found(examined->report, "and at least %zu more pages",
			    examined->noted.count - PAGES_NOTED_MAX);
}

static void check_log(struct examined *examined, const struct schema_numbers *numbers)
{
	struct log_walk walk = {examined->report, 0, numbers->compacted};

	if (check_rows(examined, count_row, &walk))
		check_found(examined->report, "log: cannot be read to its end");
	else if (!load_is_whole(walk.before, numbers->head, numbers->compacted))
		check_found(examined->report,
			    "log: rows are missing after revision %lld, up to %lld",
			    (long long)row_main(walk.before), (long long)numbers->head);
}

static void check_leases(struct examined *examined)
{
	sqlite3_stmt *stmt = conn_stmt(&examined->conn, STMT_LEASE_SCAN);
	bool found = false;
	enum err e = stmt ? ERR_OK : ERR_DAMAGED;

	while (!e && !(e = conn_step(&examined->conn, stmt, &found)) && found) {
		long long id = sqlite3_column_int64(stmt, 0), ttl = sqlite3_column_int64(stmt, 1);

		if (!load_lease_is_sound(id, ttl))
			check_found(examined->report,
				    "leases: %lld has an impossible TTL of %lld s", id, ttl);
	}
	sqlite3_reset(stmt);
	if (e)
		check_found(examined->report, "leases: cannot be read");
}

static void check_numbers(struct examined *examined, struct schema_numbers *ret_numbers)
{
	struct schema_numbers numbers = {.head = 1, .compacted = REV_MAIN_MAX};

	if (schema_numbers_read(&examined->conn, &numbers))
		check_found(examined->report, "settings: cannot be read");
	else if (!numbers.identity.cluster_id || !numbers.identity.member_id)
		check_found(examined->report, "settings: the identity is missing");
	*ret_numbers = numbers;
}

static enum err examine(const char *db_path, struct check_report *report, char *problem)
{
	struct examined *examined = calloc(1, sizeof(*examined));
	struct schema_numbers numbers;
	enum err e = examined ? ERR_OK : fault(ERR_NOMEM, "the list of pages");

	if (e)
		return e;
	examined->report = report;
	e = wal_check(db_path, problem);
	if (e == ERR_DAMAGED) {
		check_found(report, "%s", problem);
		problem[0] = 0;
		e = ERR_OK;
	}
	if (!e)
		e = check_open(examined, db_path, false);
	if (!e)
		e = check_structure(examined);
	/* A server may compact meanwhile, so all is read from one moment. */
	if (!e && !conn_do(&examined->conn, STMT_READ_BEGIN)) {
		check_numbers(examined, &numbers);
		check_log(examined, &numbers);
		check_leases(examined);
		conn_do(&examined->conn, STMT_COMMIT);
	}
	note_pages(examined);
	conn_close(&examined->conn);
	free(examined);
	return e == ERR_OK && report->findings ? ERR_DAMAGED : e;
}

enum err store_check(const char *data_dir, struct check_report *report,
		     char problem[STORE_PROBLEM_BYTES])
{
	char *db_path = datadir_path(data_dir, STORE_DB_NAME);
	enum err e;

	problem[0] = 0;
	if (!db_path)
		return schema_problem(problem, fault(ERR_NOMEM, "path"), "out of memory");
	if (access(db_path, R_OK | W_OK))
		e = schema_problem(problem, ERR_STORAGE,
				   "%s cannot be read and written: name the --data-dir that kedge"
				   " serve uses, and run as its user",
				   db_path);
	else
		e = examine(db_path, report, problem);
	if (e && !problem[0])
		schema_problem(problem, e, "%s: %s", db_path, err_text(e));
	free(db_path);
	return e;
}
