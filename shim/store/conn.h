/* SPDX-License-Identifier: Apache-2.0 */
/* conn.h - one SQLite connection with its statements, and the rows of the log as they are stored.
 *
 * Ownership: conn_open() .. conn_close(); close accepts zeroed memory.
 * Threads: a connection belongs to one thread at a time (it is opened without SQLite's mutexes).
 * Errors: every failure of SQLite becomes one of ours in conn_error(): NO_SPACE is an answer,
 * NOMEM, STORAGE and DAMAGED are faults and are logged there.
 *
 * The row.  `rev` is main revision << REV_SUB_BITS | sub-revision.  `crc` is the CRC-32C of all
 * fields but the bytes of the value (its size is in), so that a start reads no value at all.  The
 * column `value` of a row that is no tombstone is the value followed by 4 bytes, the CRC-32C
 * (little endian) of the row number and the value: every read of a value checks it, with one blob
 * access and no other column.  Both cover the row number, so a page in a wrong place is noticed. */
#ifndef SHIM_STORE_CONN_H
#define SHIM_STORE_CONN_H

#include "shim/base/arena.h"
#include "shim/base/bytes.h"
#include "shim/base/err.h"
#include "shim/base/limits.h"
#include "shim/store/sql.h"
#include "shim/store/value_cache.h"

#include <sqlite3.h>

#define ROW_TOMBSTONE 1u /* flags */
#define ROW_INVISIBLE 2u
#define ROW_MERGED 4u /* written by sync, not by a client of this store */

#define ROW_VALUE_CRC_BYTES 4

#define ROW_OF(main_revision, sub) (((int64_t)(main_revision) << REV_SUB_BITS) | (int64_t)(sub))

struct row {
	int64_t rev;
	struct bytes key;
	int64_t create_revision; /* 0 in a tombstone */
	int64_t version;	 /* 0 in a tombstone */
	int64_t lease;
	unsigned flags;
	struct bytes meta;
	struct bytes value; /* data is NULL where only headers were asked for */
};

struct conn {
	sqlite3 *db;
	sqlite3_stmt *stmt[STMT_COUNT]; /* NULL until first used */
	uint8_t *scratch;		/* a value with its checksum on the way in or out */
	size_t scratch_bytes;
	struct value_cache *values; /* looked at first; NULL: none */
	bool keeps_values;	    /* what it reads is committed, and worth keeping */
};

#define BUSY_TIMEOUT_MS 10000 /* only a WAL recovery or a foreign sqlite3 shell makes us wait */

enum conn_mode { CONN_READ, CONN_WRITE };

/* SQLite's own settings, for the whole process; before anything else is asked of it. */
void conn_configure_library(void);

/* Opens an existing file; a writer sets the pragmas that storage.md lists. */
enum err conn_open(struct conn *conn, const char *path, enum conn_mode mode, bool no_fsync);
void conn_close(struct conn *conn);

/* The prepared statement, reset and without bindings; NULL after a fault, which is logged. */
sqlite3_stmt *conn_stmt(struct conn *conn, enum stmt id);
/* Steps a statement that gives no rows and resets it. */
enum err conn_run(struct conn *conn, sqlite3_stmt *stmt);
/* The two above for a statement without parameters. */
enum err conn_do(struct conn *conn, enum stmt id);
/* Steps; ret_row tells whether a row is there.  The caller resets. */
enum err conn_step(struct conn *conn, sqlite3_stmt *stmt, bool *ret_row);
/* One number from a statement of one row; `missing` when there is no row. */
enum err conn_number(struct conn *conn, sqlite3_stmt *stmt, int64_t missing, int64_t *ret_number);
/* Text that runs once: pragmas, VACUUM. */
enum err conn_exec(struct conn *conn, const char *sql);
bool conn_in_transaction(const struct conn *conn);

enum err conn_setting_get(struct conn *conn, const char *name, int64_t missing, int64_t *ret_value);
enum err conn_setting_set(struct conn *conn, const char *name, int64_t value);

/* What SQLite's result code is in our table; logs it when it is a fault. */
enum err conn_error(struct conn *conn, int code, const char *doing);

/* --- rows ------------------------------------------------------------------------------------ */

enum err conn_row_insert(struct conn *conn, const struct row *row);

/* The row a scan (ROW_AT, ROW_SCAN, HEADER_SCAN) stands on, checksums verified.  Slices live until
 * the statement moves. */
enum err conn_row_read(struct conn *conn, sqlite3_stmt *stmt, bool with_value, struct row *ret_row);

/* A row in full (value.data is NULL without with_value), everything copied into the arena; DAMAGED
 * when it is not there. */
enum err conn_row_at(struct conn *conn, int64_t number, bool with_value, struct arena *arena,
		     struct row *ret_row);

/* The value of a row into `room`, which has value_bytes bytes; DAMAGED when the row is not there,
 * has another size or fails its checksum. */
enum err conn_value_read(struct conn *conn, int64_t row, size_t value_bytes, uint8_t *room);

/* Many values one after the other into room, in one read transaction that is closed again; opens
 * no transaction when one is open already. */
struct value_wish {
	int64_t row;
	size_t value_bytes;
};
enum err conn_values_read(struct conn *conn, const struct value_wish *wishes, size_t count,
			  uint8_t *room);

#endif
