/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/index.h"

#include "shim/base/limits.h"
#include "shim/store/index_pool.h"
#include "shim/store/index_tree.h"

#include <assert.h>
#include <stdlib.h>

#define SCAN_AHEAD 8 /* keys asked for before a scan reaches them: hides the cache miss */

struct index {
	struct tree tree;
	struct pool pool;	/* of struct index_key */
	size_t versions_bytes;	/* of the arrays of keys with more than one version */
	int64_t live_key_count; /* keys whose newest visible version is not a tombstone */
};

static_assert(sizeof(struct version) == 40, "the index counts on compact versions");
static_assert(REV_SUB_BITS == 23, "row_main()");

/* The highest row number that a reader at the revision may see. */
static int64_t row_limit(int64_t revision)
{
	if (revision < 0)
		return -1;
	if (revision >= REV_MAIN_MAX)
		return INT64_MAX;
	return revision << REV_SUB_BITS | REV_SUB_MAX;
}

/* --- the versions of one key ------------------------------------------------------------------ */

static struct version *key_versions(struct index_key *key)
{
	return key->version_count == 1 ? &key->versions.one : key->versions.many.all;
}

static const struct version *key_versions_const(const struct index_key *key)
{
	return key->version_count == 1 ? &key->versions.one : key->versions.many.all;
}

/* How many versions have a row at or below the limit. */
static uint32_t key_upto(const struct index_key *key, int64_t limit)
{
	const struct version *all = key_versions_const(key);
	uint32_t low = 0;
	uint32_t high = key->version_count;

	/* Reads at the head are the rule, so the newest is tried first. */
	if (all[high - 1].row <= limit)
		return high;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (all[middle].row <= limit)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const struct version *key_visible(const struct index_key *key, int64_t limit)
{
	const struct version *all = key_versions_const(key);

	for (uint32_t i = key_upto(key, limit); i > 0; i--) {
		if (!all[i - 1].invisible)
			return &all[i - 1];
	}
	return NULL;
}

static int key_is_live(const struct index_key *key)
{
	const struct version *newest = key_visible(key, INT64_MAX);

	return newest && !newest->tombstone;
}

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

static bool place_is(struct tree_place a, struct tree_place b)
{
	return a.leaf == b.leaf && a.slot == b.slot;
}

/* A place behind the last slot of a leaf is the first one of the next leaf. */
static struct tree_place place_settle(struct tree_place place)
{
	while (place.slot >= place.leaf->node.count && place.leaf->next)
		place = (struct tree_place){place.leaf->next, 0};
	return place;
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

/* --- reads ------------------------------------------------------------------------------------ */

const struct version *index_get(const struct index *index, struct bytes bytes, int64_t revision)
{
	const struct index_key *key = tree_find(&index->tree, bytes);

	return key ? key_visible(key, row_limit(revision)) : NULL;
}

static struct index_pair key_pair(const struct index_key *key, int64_t limit)
{
	const struct version *visible = key_visible(key, limit);
	uint32_t upto = key_upto(key, limit);
	struct index_pair pair = {0};

	if (upto)
		pair.newest = key_versions_const(key)[upto - 1];
	if (visible)
		pair.visible = *visible;
	return pair;
}

struct index_pair index_pair(const struct index *index, struct bytes bytes, int64_t revision)
{
	const struct index_key *key = tree_find(&index->tree, bytes);

	return key ? key_pair(key, row_limit(revision)) : (struct index_pair){0};
}

static const struct version *key_live_at(const struct index_key *key, int64_t limit)
{
	const struct version *version = key_visible(key, limit);

	return version && !version->tombstone ? version : NULL;
}

/* The places where the range begins and ends; false when nothing can be in it. */
static bool range_places(const struct index *index, struct bytes key, struct bytes end,
			 struct tree_place *ret_from, struct tree_place *ret_to)
{
	if (!range_is_open(end) && bytes_compare(key, end) >= 0)
		return false;
	*ret_from = place_settle(tree_lower(&index->tree, key));
	*ret_to = range_is_open(end) ? tree_end(&index->tree)
				     : place_settle(tree_lower(&index->tree, end));
	return true;
}

static void scan_prefetch(struct tree_place place, unsigned to)
{
	if (place.slot + SCAN_AHEAD < to) {
		const struct index_key *ahead = place.leaf->keys[place.slot + SCAN_AHEAD];

		/* A key's head may lie across two lines. */
		__builtin_prefetch(&ahead->versions);
		__builtin_prefetch(&ahead->version_count);
	}
}

void index_scan(const struct index *index, struct bytes key, struct bytes end, int64_t revision,
		index_visit_fn *fn, void *context)
{
	int64_t limit = row_limit(revision);
	struct tree_place place;
	struct tree_place to;

	if (range_is_single(end)) {
		const struct version *version = index_get(index, key, revision);

		if (version && !version->tombstone)
			fn(context, index_key_bytes(tree_find(&index->tree, key)), version);
		return;
	}
	if (!range_places(index, key, end, &place, &to))
		return;
	while (!place_is(place, to)) {
		const struct index_key *found = place.leaf->keys[place.slot];
		const struct version *version;

		scan_prefetch(place, place.leaf->node.count);
		version = key_live_at(found, limit);
		if (version && !fn(context, index_key_bytes(found), version))
			return;
		place.slot++;
		place = place_settle(place);
	}
}

int64_t index_count(const struct index *index, struct bytes key, struct bytes end, int64_t revision)
{
	int64_t limit = row_limit(revision);
	struct tree_place place;
	struct tree_place to;
	int64_t count = 0;

	if (range_is_single(end)) {
		const struct version *version = index_get(index, key, revision);

		return version && !version->tombstone;
	}
	if (!range_places(index, key, end, &place, &to))
		return 0;
	for (;;) {
		unsigned stop = place.leaf == to.leaf ? to.slot : place.leaf->node.count;

		for (; place.slot < stop; place.slot++) {
			scan_prefetch(place, stop);
			count += key_live_at(place.leaf->keys[place.slot], limit) != NULL;
		}
		if (place.leaf == to.leaf)
			return count;
		place = (struct tree_place){place.leaf->next, 0};
	}
}

bool index_keeps(const struct index *index, struct bytes key, int64_t row, int64_t revision)
{
	const struct version *version = index_get(index, key, revision);

	return version && !version->tombstone && version->row == row;
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
