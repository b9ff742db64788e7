/* SPDX-License-Identifier: Apache-2.0 */
/* hash.c - HashKV, bit for bit etcd's (server/storage/mvcc/hash.go), and Hash, which is ours.
 *
 * One thing of etcd's is left out: it keeps, in memory only, the hashes that its last ten
 * compactions came by, and answers HashKV at exactly such a revision with them; they cover rows
 * that are gone.  We compute every answer from the rows that are there, as etcd does after a
 * restart. */
#include "shim/base/crc32c.h"
#include "shim/store/internal.h"
#include "shim/store/walk.h"

#define BUCKET_NAME "key"	/* where etcd keeps its rows; its hash begins with it */
#define BUCKET_KEY_BYTES_MAX 18 /* main, '_', sub, 't' in a tombstone */
#define VARINT_BYTES_MAX 10

/* Rows that are hashed must not go meanwhile.  Holding the compaction revision itself keeps all
 * rows above it, superseded ones too, and those at or below it that are needed at it. */
static enum err hold_rows(struct store *store, struct pin *pin, int64_t revision,
			  int64_t *ret_compacted)
{
	enum err e = pins_hold(&store->pins, pin, atomic_load(&store->pins.compacted), revision);

	if (e)
		return e;
	/* If it moved before the pin was there, the pin is merely lower than it need be. */
	*ret_compacted = atomic_load(&store->pins.compacted);
	if (revision >= *ret_compacted)
		return ERR_OK;
	pins_release(&store->pins, pin);
	return ERR_COMPACTED;
}

/* --- HashKV ----------------------------------------------------------------------------------- */

struct kv_hash {
	struct store *store;
	uint32_t crc;
	int64_t revision;
	int64_t compacted;
	int64_t keep_revision; /* at or below the compaction only what lives at it counts */
};

static void hash_bytes(struct kv_hash *hash, struct bytes bytes)
{
	hash->crc = crc32c(hash->crc, bytes);
}

static size_t put_varint(uint8_t *to, uint64_t number)
{
	size_t size = 0;

	for (; number >= 0x80; number >>= 7)
		to[size++] = (uint8_t)(number | 0x80);
	to[size++] = (uint8_t)number;
	return size;
}

/* One field of a protobuf message; as in Go's encoder a zero is left out. */
static void hash_number_field(struct kv_hash *hash, uint8_t tag, int64_t number)
{
	uint8_t text[1 + VARINT_BYTES_MAX] = {tag};

	if (number)
		hash_bytes(hash, bytes_of(text, 1 + put_varint(text + 1, (uint64_t)number)));
}

static void hash_bytes_field(struct kv_hash *hash, uint8_t tag, struct bytes bytes)
{
	uint8_t text[1 + VARINT_BYTES_MAX] = {tag};

	if (!bytes.size)
		return;
	hash_bytes(hash, bytes_of(text, 1 + put_varint(text + 1, bytes.size)));
	hash_bytes(hash, bytes);
}

/* The key under which etcd's backend keeps the row. */
static void hash_bucket_key(struct kv_hash *hash, const struct row *row)
{
	uint8_t text[BUCKET_KEY_BYTES_MAX];
	uint64_t main_revision = (uint64_t)row_main(row->rev);
	uint64_t sub = (uint64_t)row->rev & REV_SUB_MAX;

	for (int i = 0; i < 8; i++) {
		text[i] = (uint8_t)(main_revision >> (56 - 8 * i));
		text[9 + i] = (uint8_t)(sub >> (56 - 8 * i));
	}
	text[8] = '_';
	text[17] = 't';
	hash_bytes(hash, bytes_of(text, row->flags & ROW_TOMBSTONE ? 18 : 17));
}

/* The value: mvccpb.KeyValue, of which a tombstone has the key only. */
static void hash_key_value(struct kv_hash *hash, const struct row *row)
{
	hash_bytes_field(hash, 1 << 3 | 2, row->key);
	if (row->flags & ROW_TOMBSTONE)
		return;
	hash_number_field(hash, 2 << 3, row->create_revision);
	hash_number_field(hash, 3 << 3, row_main(row->rev));
	hash_number_field(hash, 4 << 3, row->version);
	hash_bytes_field(hash, 5 << 3 | 2, row->value);
	hash_number_field(hash, 6 << 3, row->lease);
}

static bool row_counts(struct kv_hash *hash, const struct row *row)
{
	bool keeps;

	if (row->flags & ROW_INVISIBLE)
		return false; /* no client knows of it */
	if (row_main(row->rev) > hash->compacted)
		return true;
	pthread_rwlock_rdlock(&hash->store->index_lock);
	keeps = index_keeps(hash->store->index, row->key, row->rev, hash->keep_revision);
	pthread_rwlock_unlock(&hash->store->index_lock);
	return keeps;
}

static enum err kv_hash_row(void *context, struct conn *conn, sqlite3_stmt *stmt,
			    const struct row *row)
{
	struct kv_hash *hash = context;
	struct row full;
	enum err e;

	if (!row_counts(hash, row))
		return ERR_OK;
	e = conn_row_read(conn, stmt, true, &full);
	if (e)
		return e;
	hash_bucket_key(hash, &full);
	hash_key_value(hash, &full);
	return ERR_OK;
}

static bool scan_stop(void *context, struct bytes key, const struct version *version)
{
	(void)key;
	(void)version;
	*(bool *)context = true;
	return false;
}

/* etcd skips rows at or below the compaction that do not live at the hash's revision; where nothing
 * at all lives there it skips none, and what its compaction has left over is what lived at that. */
static int64_t keep_revision(struct store *store, int64_t revision, int64_t compacted)
{
	bool lives = false;

	pthread_rwlock_rdlock(&store->index_lock);
	index_scan(store->index, BYTES_LITERAL("\0"), BYTES_LITERAL("\0"), revision, scan_stop,
		   &lives);
	pthread_rwlock_unlock(&store->index_lock);
	return lives ? revision : compacted;
}

enum err store_hash_kv(struct store_reader *reader, int64_t revision, struct store_hash *ret_hash)
{
	struct store *store = reader->store;
	int64_t head = store_head(store);
	struct kv_hash hash = {.store = store, .revision = revision ? revision : head};
	struct pin pin;
	enum err e;

	if (hash.revision > head)
		return ERR_FUTURE_REVISION;
	/* A negative revision is no error in etcd: no row is that old, and nothing is hashed. */
	e = hold_rows(store, &pin, revision < 0 ? INT64_MAX : hash.revision, &hash.compacted);
	if (e)
		return e;
	hash_bytes(&hash, BYTES_LITERAL(BUCKET_NAME));
	if (revision >= 0) {
		hash.keep_revision = keep_revision(store, hash.revision, hash.compacted);
		e = walk_rows(&reader->conn, ROW_OF(hash.revision, REV_SUB_MAX), kv_hash_row,
			      &hash);
	}
	pins_release(&store->pins, &pin);
	if (e)
		return e;
	*ret_hash = (struct store_hash){hash.crc, hash.revision, hash.compacted};
	return ERR_OK;
}

/* --- Hash ------------------------------------------------------------------------------------- */

static enum err hash_row(void *context, struct conn *conn, sqlite3_stmt *stmt,
			 const struct row *row)
{
	uint32_t *hash = context;
	struct row full;
	enum err e = conn_row_read(conn, stmt, true, &full);

	(void)row;
	if (!e)
		*hash = walk_hash_row(*hash, &full);
	return e;
}

/* All numbers in the first `columns` columns. */
static enum err hash_numbers(struct conn *conn, enum stmt id, int columns, uint32_t *hash)
{
	sqlite3_stmt *stmt = conn_stmt(conn, id);
	bool found = false;
	enum err e;

	if (!stmt)
		return ERR_STORAGE;
	while (!(e = conn_step(conn, stmt, &found)) && found) {
		for (int column = 0; column < columns; column++)
			*hash = walk_hash_number(*hash, sqlite3_column_int64(stmt, column));
	}
	sqlite3_reset(stmt);
	return e;
}

/* Rows, leases and alarms; not the settings, some of which change at every start. */
enum err store_hash(struct store_reader *reader, uint32_t *ret_hash)
{
	struct store *store = reader->store;
	int64_t head = store_head(store);
	int64_t compacted;
	uint32_t hash = 0;
	struct pin pin;
	enum err e = hold_rows(store, &pin, head, &compacted);

	if (e)
		return e;
	e = walk_rows(&reader->conn, ROW_OF(head, REV_SUB_MAX), hash_row, &hash);
	if (!e)
		e = hash_numbers(&reader->conn, STMT_LEASE_SCAN, 2, &hash);
	if (!e)
		e = hash_numbers(&reader->conn, STMT_ALARM_SCAN, 1, &hash);
	pins_release(&store->pins, &pin);
	if (!e)
		*ret_hash = hash;
	return e;
}
