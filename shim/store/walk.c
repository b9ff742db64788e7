/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/walk.h"

#include "shim/base/crc32c.h"

static enum err walk_slice(struct conn *conn, int64_t *row_next, int64_t row_last, walk_fn *fn,
			   void *context)
{
	sqlite3_stmt *stmt = conn_stmt(conn, STMT_ROW_SCAN);
	size_t bytes = 0;
	bool found = true;
	enum err e = ERR_OK;

	if (!stmt)
		return ERR_STORAGE;
	sqlite3_bind_int64(stmt, 1, *row_next);
	sqlite3_bind_int64(stmt, 2, row_last);
	for (int i = 0; i < WALK_SLICE_ROWS && bytes < WALK_SLICE_BYTES && found && !e; i++) {
		struct row row;

		e = conn_step(conn, stmt, &found);
		if (e || !found)
			break;
		e = conn_row_read(conn, stmt, false, &row);
		if (e)
			break;
		*row_next = row.rev + 1;
		bytes += row.key.size + row.value.size;
		e = fn(context, conn, stmt, &row);
	}
	sqlite3_reset(stmt);
	if (!found)
		*row_next = INT64_MAX;
	return e;
}

enum err walk_rows(struct conn *conn, int64_t row_last, walk_fn *fn, void *context)
{
	int64_t row_next = 0;
	enum err e = ERR_OK;

	while (!e && row_next <= row_last && row_next < INT64_MAX)
		e = walk_slice(conn, &row_next, row_last, fn, context);
	return e;
}

uint32_t walk_hash_number(uint32_t previous, int64_t number)
{
	uint8_t text[8];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)((uint64_t)number >> (8 * i));
	return crc32c(previous, bytes_of(text, sizeof(text)));
}

static uint32_t hash_slice(uint32_t previous, struct bytes bytes)
{
	return crc32c(walk_hash_number(previous, (int64_t)bytes.size), bytes);
}

uint32_t walk_hash_row(uint32_t previous, const struct row *row)
{
	uint32_t hash = walk_hash_number(previous, row->rev);

	hash = walk_hash_number(hash, row->create_revision);
	hash = walk_hash_number(hash, row->version);
	hash = walk_hash_number(hash, row->lease);
	hash = walk_hash_number(hash, row->flags);
	hash = hash_slice(hash, row->key);
	hash = hash_slice(hash, row->meta);
	return hash_slice(hash, row->value);
}
