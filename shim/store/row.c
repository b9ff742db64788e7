/* SPDX-License-Identifier: Apache-2.0 */
/* row.c - the rows of the log: checksums in and out (see conn.h). */
#include "shim/store/conn.h"

#include "shim/base/crc32c.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>

/* The columns of the scans in sql.h. */
enum {
	COLUMN_REV,
	COLUMN_KEY,
	COLUMN_CREATE_REV,
	COLUMN_VERSION,
	COLUMN_LEASE,
	COLUMN_FLAGS,
	COLUMN_CRC,
	COLUMN_META,
	COLUMN_VALUE_BYTES,
	COLUMN_VALUE,
};

static uint8_t *put_number(uint8_t *to, uint64_t number, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		*to++ = (uint8_t)(number >> (8 * i));
	return to;
}

static uint32_t header_crc(const struct row *row)
{
	uint8_t fixed[5 * 8 + 3 * 4];
	uint8_t *to = fixed;
	uint32_t crc;

	to = put_number(to, (uint64_t)row->rev, 8);
	to = put_number(to, (uint64_t)row->create_revision, 8);
	to = put_number(to, (uint64_t)row->version, 8);
	to = put_number(to, (uint64_t)row->lease, 8);
	to = put_number(to, row->value.size, 8);
	to = put_number(to, row->flags, 4);
	to = put_number(to, row->key.size, 4);
	to = put_number(to, row->meta.size, 4);
	assert(to == fixed + sizeof(fixed));
	crc = crc32c(0, bytes_of(fixed, sizeof(fixed)));
	crc = crc32c(crc, row->key);
	return crc32c(crc, row->meta);
}

static uint32_t value_crc(int64_t rev, struct bytes value)
{
	uint8_t number[8];

	put_number(number, (uint64_t)rev, 8);
	return crc32c(crc32c(0, bytes_of(number, 8)), value);
}

static uint32_t load_crc(const uint8_t *from)
{
	assert(from);
	return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
	       (uint32_t)from[3] << 24;
}

static bool scratch_reserve(struct conn *conn, size_t bytes)
{
	uint8_t *grown;

	if (bytes <= conn->scratch_bytes)
		return true;
	bytes = bytes < 4096 ? 4096 : bytes;
	grown = realloc(conn->scratch, bytes);
	if (!grown)
		return false;
	conn->scratch = grown;
	conn->scratch_bytes = bytes;
	return true;
}

static void bind_bytes(sqlite3_stmt *stmt, int index, struct bytes bytes)
{
	/* A NULL pointer would bind NULL, which is not the empty blob. */
	sqlite3_bind_blob64(stmt, index, bytes.size ? (const void *)bytes.data : "", bytes.size,
			    SQLITE_STATIC);
}

enum err conn_row_insert(struct conn *conn, const struct row *row)
{
	sqlite3_stmt *stmt = conn_stmt(conn, STMT_ROW_INSERT);
	size_t stored_bytes = row->value.size + ROW_VALUE_CRC_BYTES;

	if (!stmt)
		return ERR_STORAGE;
	if (!scratch_reserve(conn, stored_bytes))
		return fault(ERR_NOMEM, "a value of %zu bytes", row->value.size);
	sqlite3_bind_int64(stmt, 1, row->rev);
	bind_bytes(stmt, 2, row->key);
	sqlite3_bind_int64(stmt, 3, row->create_revision);
	sqlite3_bind_int64(stmt, 4, row->version);
	sqlite3_bind_int64(stmt, 5, row->lease);
	sqlite3_bind_int64(stmt, 6, row->flags);
	sqlite3_bind_int64(stmt, 7, (int32_t)header_crc(row));
	if (row->meta.size)
		bind_bytes(stmt, 8, row->meta);
	else
		sqlite3_bind_null(stmt, 8);
	if (row->flags & ROW_TOMBSTONE) {
		sqlite3_bind_null(stmt, 9);
	} else {
		if (row->value.size)
			memcpy(conn->scratch, row->value.data, row->value.size);
		put_number(conn->scratch + row->value.size, value_crc(row->rev, row->value),
			   ROW_VALUE_CRC_BYTES);
		bind_bytes(stmt, 9, bytes_of(conn->scratch, stored_bytes));
	}
	return conn_run(conn, stmt);
}

static enum err damaged(int64_t rev)
{
	return fault(ERR_DAMAGED,
		     "the row of revision %lld.%lld fails its checksum: `kedge check` finds all"
		     " damage, `kedge repair` may mend it from a snapshot",
		     (long long)(rev >> REV_SUB_BITS), (long long)(rev & REV_SUB_MAX));
}

static struct bytes column_bytes(sqlite3_stmt *stmt, int column)
{
	const void *data = sqlite3_column_blob(stmt, column);

	return bytes_of(data, (size_t)sqlite3_column_bytes(stmt, column));
}

enum err conn_row_read(struct conn *conn, sqlite3_stmt *stmt, bool with_value, struct row *ret_row)
{
	int64_t stored_bytes = sqlite3_column_int64(stmt, COLUMN_VALUE_BYTES);
	struct row row = {
		.rev = sqlite3_column_int64(stmt, COLUMN_REV),
		.key = column_bytes(stmt, COLUMN_KEY),
		.create_revision = sqlite3_column_int64(stmt, COLUMN_CREATE_REV),
		.version = sqlite3_column_int64(stmt, COLUMN_VERSION),
		.lease = sqlite3_column_int64(stmt, COLUMN_LEASE),
		.flags = (unsigned)sqlite3_column_int64(stmt, COLUMN_FLAGS),
		.meta = column_bytes(stmt, COLUMN_META),
	};

	(void)conn;
	if (!(row.flags & ROW_TOMBSTONE)) {
		if (stored_bytes < ROW_VALUE_CRC_BYTES)
			return damaged(row.rev);
		row.value.size = (size_t)stored_bytes - ROW_VALUE_CRC_BYTES;
	}
	if ((int32_t)header_crc(&row) != sqlite3_column_int64(stmt, COLUMN_CRC))
		return damaged(row.rev);
	if (with_value && !(row.flags & ROW_TOMBSTONE)) {
		row.value.data = sqlite3_column_blob(stmt, COLUMN_VALUE);
		if (!row.value.data ||
		    load_crc(row.value.data + row.value.size) != value_crc(row.rev, row.value))
			return damaged(row.rev);
	}
	*ret_row = row;
	return ERR_OK;
}

static bool copy_row(struct arena *arena, const struct row *row, struct row *copy)
{
	*copy = *row;
	if (row->value.data && !arena_copy(arena, row->value, &copy->value))
		return false;
	return arena_copy(arena, row->key, &copy->key) && arena_copy(arena, row->meta, &copy->meta);
}

enum err conn_row_at(struct conn *conn, int64_t number, bool with_value, struct arena *arena,
		     struct row *ret_row)
{
	sqlite3_stmt *stmt = conn_stmt(conn, STMT_ROW_AT);
	bool found = false;
	struct row row, copy;
	enum err e;

	if (!stmt)
		return ERR_STORAGE;
	sqlite3_bind_int64(stmt, 1, number);
	e = conn_step(conn, stmt, &found);
	if (!e && !found)
		e = fault(ERR_DAMAGED, "row %lld is missing", (long long)number);
	if (!e)
		e = conn_row_read(conn, stmt, with_value, &row);
	if (!e && !copy_row(arena, &row, &copy))
		e = fault(ERR_NOMEM, "a row of %zu bytes", row.value.size + row.meta.size);
	sqlite3_reset(stmt);
	if (!e)
		*ret_row = copy;
	return e;
}

static bool cached(struct conn *conn, int64_t row, size_t value_bytes, uint8_t *room)
{
	return conn->values && value_bytes && value_cache_get(conn->values, row, value_bytes, room);
}

static void keep(struct conn *conn, int64_t row, size_t value_bytes, const uint8_t *value)
{
	if (conn->values && conn->keeps_values)
		value_cache_put(conn->values, row, bytes_of(value, value_bytes));
}

static enum err stored_value(struct conn *conn, int64_t row, size_t value_bytes, uint8_t *room)
{
	sqlite3_stmt *stmt = conn_stmt(conn, STMT_VALUE_AT);
	struct bytes stored;
	bool found = false;
	enum err e;

	if (!stmt)
		return ERR_STORAGE;
	sqlite3_bind_int64(stmt, 1, row);
	e = conn_step(conn, stmt, &found);
	if (!e) {
		stored = found ? column_bytes(stmt, 0) : bytes_of(NULL, 0);
		if (stored.size != value_bytes + ROW_VALUE_CRC_BYTES ||
		    load_crc(stored.data + value_bytes) !=
			    value_crc(row, bytes_of(stored.data, value_bytes)))
			e = damaged(row);
		else if (value_bytes)
			memcpy(room, stored.data, value_bytes);
	}
	sqlite3_reset(stmt);
	return e;
}

enum err conn_value_read(struct conn *conn, int64_t row, size_t value_bytes, uint8_t *room)
{
	enum err e;

	if (cached(conn, row, value_bytes, room))
		return ERR_OK;
	e = stored_value(conn, row, value_bytes, room);
	if (!e)
		keep(conn, row, value_bytes, room);
	return e;
}

/* Moves *blob (opened here at the first call) to the row and reads it: twice as fast as a
 * statement, but opening costs as much as several rows. */
static enum err blob_read(struct conn *conn, sqlite3_blob **blob, const struct value_wish *wish,
			  uint8_t *room)
{
	size_t stored_bytes = wish->value_bytes + ROW_VALUE_CRC_BYTES;
	int code = *blob ? sqlite3_blob_reopen(*blob, wish->row)
			 : sqlite3_blob_open(conn->db, "main", "log", "value", wish->row, 0, blob);

	if (code == SQLITE_ERROR) /* no such row, or a NULL in it */
		return damaged(wish->row);
	if (code != SQLITE_OK)
		return conn_error(conn, code, "reading a value");
	if (stored_bytes > INT_MAX || sqlite3_blob_bytes(*blob) != (int)stored_bytes)
		return damaged(wish->row);
	if (!scratch_reserve(conn, stored_bytes))
		return fault(ERR_NOMEM, "a value of %zu bytes", wish->value_bytes);
	code = sqlite3_blob_read(*blob, conn->scratch, (int)stored_bytes, 0);
	if (code != SQLITE_OK)
		return conn_error(conn, code, "reading a value");
	if (load_crc(conn->scratch + wish->value_bytes) !=
	    value_crc(wish->row, bytes_of(conn->scratch, wish->value_bytes)))
		return damaged(wish->row);
	if (wish->value_bytes)
		memcpy(room, conn->scratch, wish->value_bytes);
	return ERR_OK;
}

#define FEW_VALUES 3 /* up to here statements are cheaper than opening a blob handle */

enum err conn_values_read(struct conn *conn, const struct value_wish *wishes, size_t count,
			  uint8_t *room)
{
	bool own_transaction = false;
	sqlite3_blob *blob = NULL;
	enum err e = ERR_OK;

	for (size_t i = 0; i < count && !e; room += wishes[i++].value_bytes) {
		if (cached(conn, wishes[i].row, wishes[i].value_bytes, room))
			continue;
		if (count > 1 && !own_transaction && !conn_in_transaction(conn)) {
			own_transaction = true;
			e = conn_do(conn, STMT_READ_BEGIN);
		}
		if (!e && count <= FEW_VALUES)
			e = stored_value(conn, wishes[i].row, wishes[i].value_bytes, room);
		else if (!e)
			e = blob_read(conn, &blob, &wishes[i], room);
		if (!e)
			keep(conn, wishes[i].row, wishes[i].value_bytes, room);
	}
	sqlite3_blob_close(blob);
	if (own_transaction && conn_in_transaction(conn)) {
		enum err end = conn_do(conn, STMT_COMMIT);

		e = e ? e : end;
	}
	return e;
}
