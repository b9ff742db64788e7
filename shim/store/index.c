/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/index.h"

#include "shim/store/index_internal.h"

#include <assert.h>
#include <stdlib.h>

static_assert(sizeof(struct version) == 40, "the index counts on compact versions");
static_assert(REV_SUB_BITS == 23, "row_main()");

/* --- the versions of one key ------------------------------------------------------------------ */

static bool key_resize(struct index *index, struct index_key *key, uint32_t capacity)
{
	struct version *all;

	all = realloc(key->versions.many.all, capacity * sizeof(*all));
	if (!all)
		return false;
	index->versions_bytes += capacity * sizeof(*all);
	index->versions_bytes -= key->versions.many.capacity * sizeof(*all);
	key->versions.many.all = all;
	key->versions.many.capacity = capacity;
	return true;
}

static bool key_append(struct index *index, struct index_key *key, const struct version *version)
{
	if (key->version_count == 1) {
		struct version first = key->versions.one;

		key->versions.many.all = NULL;
		key->versions.many.capacity = 0;
		if (!key_resize(index, key, 2)) {
			key->versions.one = first;
			return false;
		}
		key->versions.many.all[0] = first;
	} else if (key->version_count == key->versions.many.capacity) {
		if (key->version_count > UINT32_MAX / 2 ||
		    !key_resize(index, key, key->version_count * 2))
			return false;
	}
	key->versions.many.all[key->version_count++] = *version;
	return true;
}

/* Fits the memory to a new, smaller count of versions; the first `count` are the ones kept. */
static void key_shrink(struct index *index, struct index_key *key, uint32_t count)
{
	struct version *all = key->versions.many.all;

	if (key->version_count == 1 || count == key->version_count) {
		key->version_count = count;
		return;
	}
	key->version_count = count;
	if (count <= 1) {
		struct version last = all[0];

		index->versions_bytes -= key->versions.many.capacity * sizeof(*all);
		free(all);
		key->versions.one = last;
	} else if (count <= key->versions.many.capacity / 4) {
		/* A shrinking realloc that fails leaves the old block, which is as good. */
		key_resize(index, key, count * 2);
	}
}

static struct index_key *key_new(struct index *index, struct bytes bytes,
				 const struct version *version)
{
	struct index_key *key;

	if (bytes.size > UINT32_MAX - sizeof(*key))
		return NULL;
	key = pool_alloc(&index->pool, sizeof(*key) + bytes.size);
	if (!key)
		return NULL;
	key->versions.one = *version;
	key->version_count = 1;
	key->key_bytes = (uint32_t)bytes.size;
	if (bytes.size)
		memcpy(key->key, bytes.data, bytes.size);
	return key;
}

static void key_free(struct index *index, struct index_key *key)
{
	pool_free(&index->pool, key, sizeof(*key) + key->key_bytes);
}

/* --- birth and death -------------------------------------------------------------------------- */

enum err index_new(struct index **ret_index)
{
	struct index *index = calloc(1, sizeof(*index));

	if (!index || !tree_init(&index->tree)) {
		free(index);
		return fault(ERR_NOMEM, "no memory for the index of keys");
	}
	pool_init(&index->pool);
	*ret_index = index;
	return ERR_OK;
}

void index_free(struct index *index)
{
	struct tree_place place;

	if (!index)
		return;
	place = place_settle(tree_lower(&index->tree, bytes_of(NULL, 0)));
	while (place.slot < place.leaf->node.count) {
		struct index_key *key = place.leaf->keys[place.slot];

		if (key->version_count > 1)
			free(key->versions.many.all);
		key_free(index, key);
		place.slot++;
		place = place_settle(place);
	}
	tree_fini(&index->tree);
	pool_fini(&index->pool);
	free(index);
}

/* --- changes ---------------------------------------------------------------------------------- */

static enum err index_nomem(const struct index *index)
{
	return fault(ERR_NOMEM, "no memory for one more row in the index (%zu bytes so far)",
		     index_bytes(index));
}

enum err index_add(struct index *index, struct bytes bytes, const struct version *version)
{
	struct tree_path path;
	struct index_key *key = tree_seek(&index->tree, bytes, &path);
	int was_live;

	if (key) {
		assert(key_versions(key)[key->version_count - 1].row < version->row);
		was_live = key_is_live(key);
		if (!key_append(index, key, version))
			return index_nomem(index);
		index->live_key_count += key_is_live(key) - was_live;
		return ERR_OK;
	}
	key = key_new(index, bytes, version);
	if (!key)
		return index_nomem(index);
	if (!tree_insert(&index->tree, &path, key)) {
		key_free(index, key);
		return index_nomem(index);
	}
	index->live_key_count += key_is_live(key);
	return ERR_OK;
}

void index_undo(struct index *index, struct bytes bytes, int64_t row_from)
{
	struct tree_path path;
	struct index_key *key = tree_seek(&index->tree, bytes, &path);
	uint32_t kept;

	if (!key)
		return;
	index->live_key_count -= key_is_live(key);
	kept = key_upto(key, row_from);
	key_shrink(index, key, kept);
	if (kept) {
		index->live_key_count += key_is_live(key);
		return;
	}
	tree_remove(&index->tree, &path);
	key_free(index, key);
}

int64_t index_key_count(const struct index *index)
{
	return index->live_key_count;
}

size_t index_bytes(const struct index *index)
{
	return sizeof(*index) + index->tree.held_bytes + index->pool.held_bytes +
	       index->versions_bytes;
}

/* --- compaction ------------------------------------------------------------------------------- */

/* Which versions a compaction at `limit` leaves: all above it, the newest visible one at or below
 * it, and the newest of any kind, because it carries the key's merge state. */
struct sweep_plan {
	uint32_t upto;	  /* versions at or below the limit */
	uint32_t visible; /* the one to keep, or upto when there is none */
	uint32_t newest;  /* the newest of any kind, or upto when it goes too */
};

static struct sweep_plan sweep_plan(const struct index_key *key, int64_t revision)
{
	const struct version *all = key_versions_const(key);
	uint32_t upto = key_upto(key, row_limit(revision));
	struct sweep_plan plan = {upto, upto, upto};
	uint32_t i = upto;

	while (i > 0 && all[i - 1].invisible)
		i--;
	if (i > 0 && (!all[i - 1].tombstone || row_main(all[i - 1].row) == revision))
		plan.visible = i - 1;
	if (upto > 0 && (plan.visible < upto || all[upto - 1].has_meta))
		plan.newest = upto - 1;
	return plan;
}

/* Takes unneeded versions out, oldest first, until `room` is used up; the rest stays in order. */
static size_t key_sweep(struct index *index, struct index_key *key, int64_t revision, int64_t *rows,
			size_t room)
{
	struct sweep_plan plan = sweep_plan(key, revision);
	struct version *all = key_versions(key);
	size_t removed = 0;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < key->version_count; i++) {
		bool needed = i >= plan.upto || i == plan.visible || i == plan.newest;

		if (!needed && removed < room)
			rows[removed++] = all[i].row;
		else
			all[kept++] = all[i];
	}
	if (removed)
		key_shrink(index, key, kept);
	return removed;
}

/* Remembers where to go on.  Without memory for it the cursor stays where it was: the next call
 * passes the same keys again and finds nothing more to remove in them. */
static void sweep_remember(struct index_sweep *sweep, struct bytes key)
{
	uint8_t *from = realloc(sweep->from, key.size ? key.size : 1);

	if (!from)
		return;
	if (key.size)
		memcpy(from, key.data, key.size);
	sweep->from = from;
	sweep->from_bytes = key.size;
}

size_t index_sweep(struct index *index, struct index_sweep *sweep, int64_t revision, int64_t *rows,
		   size_t rows_max, size_t keys_max)
{
	struct tree_place place =
		place_settle(tree_lower(&index->tree, bytes_of(sweep->from, sweep->from_bytes)));
	size_t removed = 0;

	for (size_t seen = 0; place.slot < place.leaf->node.count; seen++) {
		struct index_key *key = place.leaf->keys[place.slot];

		if (seen == keys_max || removed == rows_max) {
			sweep_remember(sweep, index_key_bytes(key));
			return removed;
		}
		scan_prefetch(place, place.leaf->node.count);
		index->live_key_count -= key_is_live(key);
		removed += key_sweep(index, key, revision, rows + removed, rows_max - removed);
		if (key->version_count) {
			index->live_key_count += key_is_live(key);
			place.slot += removed < rows_max;
		} else {
			struct tree_path path;
			size_t size = key->key_bytes;

			tree_seek(&index->tree, index_key_bytes(key), &path);
			tree_remove(&index->tree, &path);
			/* Joining may have moved the place to another leaf. */
			place = tree_lower(&index->tree, bytes_of(key->key, size));
			key_free(index, key);
		}
		place = place_settle(place);
	}
	sweep->done = true;
	return removed;
}

void index_sweep_fini(struct index_sweep *sweep)
{
	free(sweep->from);
	*sweep = (struct index_sweep){0};
}
