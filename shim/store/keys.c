/* SPDX-License-Identifier: Apache-2.0 */
/* keys.c - all keys at one moment, for the comparison of sites.
 *
 * The index says in slices, each under its lock, which keys there are and which of their rows
 * count; the rows are then read without it, in one short transaction a slice.  The pin keeps the
 * rows, and with them the index's bytes of their keys. */
#include "shim/store/keyrow.h"
#include "shim/store/read.h"

#include <stdlib.h>

struct keys_item {
	struct bytes key; /* the index's */
	struct index_pair pair;
};

struct store_keys {
	struct store_reader *reader;
	struct pin pin;
	int64_t revision;
	bool values;
	struct arena range; /* of end */
	struct bytes end;

	uint8_t *from; /* malloc'ed: the first key that no slice has looked at */
	size_t from_bytes;
	bool is_last; /* there is none */
	bool failed;

	struct keys_item items[KEYS_SLICE_KEYS]; /* [item_next, item_count) are not read yet */
	size_t item_count;
	size_t item_next;
	size_t looked_at;

	struct arena slice;
	struct keys_row rows[KEYS_SLICE_KEYS]; /* [row_next, row_count) are not shown yet */
	size_t row_count;
	size_t row_next;
	struct arena one; /* of store_keys_get() */
};

/* --- opening and closing --------------------------------------------------------------------- */

static bool set_from(struct store_keys *keys, struct bytes key)
{
	uint8_t *from = realloc(keys->from, key.size + 1);

	if (!from)
		return false;
	if (key.size)
		memcpy(from, key.data, key.size);
	keys->from = from;
	keys->from_bytes = key.size;
	return true;
}

static void forget(struct store_keys *keys)
{
	arena_fini(&keys->range);
	arena_fini(&keys->slice);
	arena_fini(&keys->one);
	free(keys->from);
	free(keys);
}

enum err store_keys_open(struct store_reader *reader, const struct keys_op *op,
			 struct store_keys **ret_keys, int64_t *ret_revision)
{
	struct store_keys *keys = calloc(1, sizeof(*keys));
	int64_t head;
	enum err e;

	if (!keys)
		return fault(ERR_NOMEM, "a scan of all keys");
	keys->reader = reader;
	keys->values = op->values;
	arena_init(&keys->range, SIZE_MAX);
	arena_init(&keys->slice, SIZE_MAX); /* KEYS_SLICE_BYTES and one row */
	arena_init(&keys->one, SIZE_MAX);   /* one row */
	if (!arena_copy(&keys->range, op->end, &keys->end) || !set_from(keys, op->key))
		e = fault(ERR_NOMEM, "the range of a scan");
	else
		e = store_hold_read(reader->store, 0, &keys->pin, &keys->revision, &head);
	if (e) {
		forget(keys);
		return e;
	}
	*ret_keys = keys;
	*ret_revision = keys->revision;
	return ERR_OK;
}

void store_keys_close(struct store_keys *keys)
{
	if (!keys)
		return;
	store_release(keys->reader->store, &keys->pin);
	forget(keys);
}

/* --- a slice --------------------------------------------------------------------------------- */

static bool is_known(const struct index_pair *pair)
{
	return pair_is_live(pair) || pair->newest.has_meta;
}

/* Under the index lock. */
static bool take_key(void *context, struct bytes key, const struct index_pair *pair)
{
	struct store_keys *keys = context;

	if (keys->item_count == KEYS_SLICE_KEYS || keys->looked_at == KEYS_LOOKED_AT_MAX) {
		keys->is_last = false;
		keys->failed = !set_from(keys, key);
		return false;
	}
	keys->looked_at++;
	if (is_known(pair))
		keys->items[keys->item_count++] = (struct keys_item){key, *pair};
	return true;
}

static enum err gather(struct store_keys *keys)
{
	struct store *store = keys->reader->store;

	keys->item_count = keys->item_next = keys->looked_at = 0;
	keys->is_last = true;
	pthread_rwlock_rdlock(&store->index_lock);
	index_scan_pairs(store->index, bytes_of(keys->from, keys->from_bytes), keys->end,
			 keys->revision, take_key, keys);
	pthread_rwlock_unlock(&store->index_lock);
	return keys->failed ? fault(ERR_NOMEM, "a place in a scan") : ERR_OK;
}

static enum err read_key(struct store_keys *keys, const struct keys_item *item, bool with_value,
			 struct arena *arena, struct keys_row *ret_row)
{
	struct apply_row row;
	enum err e = keyrow_read(&keys->reader->conn, &item->pair, with_value, arena, &row);

	if (e)
		return e;
	*ret_row = (struct keys_row){
		.key = item->key,
		.meta = row.meta,
		.value = row.kv.value,
		.live = row.live,
		.merged = row.merged,
		.newest_revision = row.newest_revision,
		.visible_revision = row.visible_revision,
		.lease = row.kv.lease,
	};
	return ERR_OK;
}

static enum err read_rows(struct store_keys *keys)
{
	struct conn *conn = &keys->reader->conn;
	enum err e = conn_do(conn, STMT_READ_BEGIN);
	enum err end;

	arena_fini(&keys->slice);
	keys->row_count = keys->row_next = 0;
	while (!e && keys->item_next < keys->item_count &&
	       keys->slice.used_bytes < KEYS_SLICE_BYTES) {
		e = read_key(keys, &keys->items[keys->item_next++], keys->values, &keys->slice,
			     &keys->rows[keys->row_count]);
		keys->row_count += !e;
	}
	end = conn_in_transaction(conn) ? conn_do(conn, STMT_COMMIT) : ERR_OK;
	return e ? e : end;
}

enum err store_keys_next(struct store_keys *keys, struct keys_row *ret_row, bool *ret_found)
{
	enum err e = ERR_OK;

	while (keys->row_next == keys->row_count) {
		if (keys->item_next == keys->item_count) {
			if (keys->is_last) {
				*ret_found = false;
				return ERR_OK;
			}
			e = gather(keys);
		}
		if (!e)
			e = read_rows(keys);
		if (e)
			return e;
	}
	*ret_row = keys->rows[keys->row_next++];
	*ret_found = true;
	return ERR_OK;
}

enum err store_keys_get(struct store_keys *keys, struct bytes key, struct keys_row *ret_row,
			bool *ret_found)
{
	struct store *store = keys->reader->store;
	struct keys_item item;
	struct arena memory;
	enum err e;

	pthread_rwlock_rdlock(&store->index_lock);
	item.pair = index_pair(store->index, key, keys->revision);
	pthread_rwlock_unlock(&store->index_lock);
	if (!is_known(&item.pair)) {
		*ret_found = false;
		return ERR_OK;
	}
	arena_init(&memory, SIZE_MAX); /* one row */
	e = arena_copy(&memory, key, &item.key) ? ERR_OK : fault(ERR_NOMEM, "a key");
	if (!e)
		e = read_key(keys, &item, true, &memory, ret_row);
	arena_fini(&keys->one);
	keys->one = memory;
	if (!e)
		*ret_found = true;
	return e;
}
