/* SPDX-License-Identifier: Apache-2.0 */
/* index_internal.h - what the files of the index share; nobody else includes it. */
#ifndef SHIM_STORE_INDEX_INTERNAL_H
#define SHIM_STORE_INDEX_INTERNAL_H

#include "shim/base/limits.h"
#include "shim/store/index_pool.h"
#include "shim/store/index_tree.h"

#define SCAN_AHEAD 8 /* keys asked for before a scan reaches them: hides the cache miss */

struct index {
	struct tree tree;
	struct pool pool;	/* of struct index_key */
	size_t versions_bytes;	/* of the arrays of keys with more than one version */
	int64_t live_key_count; /* keys whose newest visible version is not a tombstone */
};

/* The highest row number that a reader at the revision may see. */
static inline int64_t row_limit(int64_t revision)
{
	if (revision < 0)
		return -1;
	if (revision >= REV_MAIN_MAX)
		return INT64_MAX;
	return revision << REV_SUB_BITS | REV_SUB_MAX;
}

static inline struct version *key_versions(struct index_key *key)
{
	return key->version_count == 1 ? &key->versions.one : key->versions.many.all;
}

static inline const struct version *key_versions_const(const struct index_key *key)
{
	return key->version_count == 1 ? &key->versions.one : key->versions.many.all;
}

/* How many versions have a row at or below the limit. */
static inline uint32_t key_upto(const struct index_key *key, int64_t limit)
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

static inline const struct version *key_visible(const struct index_key *key, int64_t limit)
{
	const struct version *all = key_versions_const(key);

	for (uint32_t i = key_upto(key, limit); i > 0; i--) {
		if (!all[i - 1].invisible)
			return &all[i - 1];
	}
	return NULL;
}

static inline int key_is_live(const struct index_key *key)
{
	const struct version *newest = key_visible(key, INT64_MAX);

	return newest && !newest->tombstone;
}

/* --- places in the tree ----------------------------------------------------------------------- */

static inline bool place_is(struct tree_place a, struct tree_place b)
{
	return a.leaf == b.leaf && a.slot == b.slot;
}

/* A place behind the last slot of a leaf is the first one of the next leaf. */
static inline struct tree_place place_settle(struct tree_place place)
{
	while (place.slot >= place.leaf->node.count && place.leaf->next)
		place = (struct tree_place){place.leaf->next, 0};
	return place;
}

static inline void scan_prefetch(struct tree_place place, unsigned to)
{
	if (place.slot + SCAN_AHEAD < to) {
		const struct index_key *ahead = place.leaf->keys[place.slot + SCAN_AHEAD];

		/* A key's head may lie across two lines. */
		__builtin_prefetch(&ahead->versions);
		__builtin_prefetch(&ahead->version_count);
	}
}

#endif
