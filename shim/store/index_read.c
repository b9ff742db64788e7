/* SPDX-License-Identifier: Apache-2.0 */
/* index_read.c - lookups and scans of the index. */
#include "shim/store/index_internal.h"

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

void index_scan_pairs(const struct index *index, struct bytes key, struct bytes end,
		      int64_t revision, index_pair_fn *fn, void *context)
{
	int64_t limit = row_limit(revision);
	struct index_pair pair;
	struct tree_place place;
	struct tree_place to;

	if (range_is_single(end)) {
		pair = index_pair(index, key, revision);
		if (pair.newest.row)
			fn(context, index_key_bytes(tree_find(&index->tree, key)), &pair);
		return;
	}
	if (!range_places(index, key, end, &place, &to))
		return;
	while (!place_is(place, to)) {
		const struct index_key *found = place.leaf->keys[place.slot];

		scan_prefetch(place, place.leaf->node.count);
		pair = key_pair(found, limit);
		if (pair.newest.row && !fn(context, index_key_bytes(found), &pair))
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
