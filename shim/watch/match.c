/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/watch/match.h"

#include <assert.h>
#include <stdlib.h>

#define MATCH_BUCKETS_FIRST 64 /* buckets of an empty match */

enum err match_init(struct match *match, uint64_t seed)
{
	struct list *buckets = malloc(MATCH_BUCKETS_FIRST * sizeof(*buckets));

	if (!buckets)
		return fault(ERR_NOMEM, "no memory for the table of watched keys");
	for (size_t i = 0; i < MATCH_BUCKETS_FIRST; i++)
		list_init(&buckets[i]);
	*match = (struct match){
		.buckets = buckets,
		.bucket_count = MATCH_BUCKETS_FIRST,
		.random = seed | 1,
		.seed = seed,
	};
	return ERR_OK;
}

void match_fini(struct match *match)
{
	if (!match)
		return;
	free(match->buckets);
	*match = (struct match){0};
}

/* --- single keys ------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t value)
{
	value ^= value >> 32;
	value *= UINT64_C(0xd6e8feb86659fd93);
	value ^= value >> 32;
	return value;
}

static uint64_t key_hash(uint64_t seed, struct bytes key)
{
	uint64_t hash = mix(seed ^ key.size);
	uint64_t word;

	for (; key.size >= sizeof(word); key.data += sizeof(word), key.size -= sizeof(word)) {
		memcpy(&word, key.data, sizeof(word));
		hash = mix(hash ^ word);
	}
	word = 0;
	if (key.size)
		memcpy(&word, key.data, key.size);
	return mix(hash ^ word);
}

static struct list *bucket_of(const struct match *match, uint64_t hash)
{
	return &match->buckets[hash & (match->bucket_count - 1)];
}

/* Without memory the table stays as it is: chains get longer, nothing is lost. */
static void grow(struct match *match)
{
	size_t old_count = match->bucket_count;
	struct list *old = match->buckets;
	struct list *buckets = calloc(old_count, 2 * sizeof(*buckets));

	if (!buckets)
		return;
	for (size_t i = 0; i < old_count; i++) {
		struct list *low = &buckets[i]; /* one more bit of the hash decides between them */
		struct list *high = &buckets[old_count + i];

		list_init(low);
		list_init(high);
		list_for_each_safe (node, after, &old[i]) {
			struct match_entry *entry = container_of(node, struct match_entry, bucket);

			list_remove(node);
			list_append(entry->hash & old_count ? high : low, node);
		}
	}
	match->buckets = buckets;
	match->bucket_count = old_count * 2;
	free(old);
}

/* --- ranges: a treap by (key, address), random priorities keep it balanced -------------------- */

static uint64_t next_random(struct match *match)
{
	match->random ^= match->random << 13;
	match->random ^= match->random >> 7;
	match->random ^= match->random << 17;
	return match->random;
}

static bool is_before(const struct match_entry *a, const struct match_entry *b)
{
	int order = bytes_compare(a->key, b->key);

	return order ? order < 0 : (uintptr_t)a < (uintptr_t)b;
}

static const struct match_entry *farther(const struct match_entry *a, const struct match_entry *b)
{
	if (!b || range_is_open(a->end))
		return a;
	if (range_is_open(b->end))
		return b;
	return bytes_compare(a->end, b->end) >= 0 ? a : b;
}

static void refresh(struct match_entry *node)
{
	node->farthest = farther(node, node->left ? node->left->farthest : NULL);
	node->farthest = farther(node->farthest, node->right ? node->right->farthest : NULL);
}

/* Splits a tree into what is before the pivot and what is after it. */
static void split(struct match_entry *tree, const struct match_entry *pivot,
		  struct match_entry **ret_before, struct match_entry **ret_after)
{
	if (!tree) {
		*ret_before = NULL;
		*ret_after = NULL;
	} else if (is_before(tree, pivot)) {
		split(tree->right, pivot, &tree->right, ret_after);
		refresh(tree);
		*ret_before = tree;
	} else {
		split(tree->left, pivot, ret_before, &tree->left);
		refresh(tree);
		*ret_after = tree;
	}
}

/* Joins two trees, all of `before` being before all of `after`. */
static struct match_entry *join(struct match_entry *before, struct match_entry *after)
{
	if (!before || !after)
		return before ? before : after;
	if (before->priority > after->priority) {
		before->right = join(before->right, after);
		refresh(before);
		return before;
	}
	after->left = join(before, after->left);
	refresh(after);
	return after;
}

static struct match_entry *insert(struct match_entry *tree, struct match_entry *entry)
{
	if (!tree || entry->priority > tree->priority) {
		split(tree, entry, &entry->left, &entry->right);
		refresh(entry);
		return entry;
	}
	if (is_before(entry, tree))
		tree->left = insert(tree->left, entry);
	else
		tree->right = insert(tree->right, entry);
	refresh(tree);
	return tree;
}

static struct match_entry *removed(struct match_entry *tree, struct match_entry *entry)
{
	assert(tree); /* else the entry was not in */
	if (tree == entry)
		return join(tree->left, tree->right);
	if (is_before(entry, tree))
		tree->left = removed(tree->left, entry);
	else
		tree->right = removed(tree->right, entry);
	refresh(tree);
	return tree;
}

static bool ends_at_or_before(const struct match_entry *entry, struct bytes key)
{
	return !range_is_open(entry->end) && bytes_compare(entry->end, key) <= 0;
}

static void visit_ranges(struct match_entry *node, struct bytes key, match_visit_fn *fn,
			 void *context)
{
	while (node && !ends_at_or_before(node->farthest, key)) {
		visit_ranges(node->left, key, fn, context);
		if (bytes_compare(key, node->key) < 0)
			return; /* and all to the right start later still */
		if (!ends_at_or_before(node, key))
			fn(context, node);
		node = node->right;
	}
}

/* --- both ------------------------------------------------------------------------------------- */

void match_add(struct match *match, struct match_entry *entry)
{
	if (range_is_single(entry->end)) {
		if (match->single_count >= match->bucket_count)
			grow(match);
		entry->hash = key_hash(match->seed, entry->key);
		list_append(bucket_of(match, entry->hash), &entry->bucket);
		match->single_count++;
		return;
	}
	entry->priority = next_random(match);
	match->root = insert(match->root, entry);
}

void match_remove(struct match *match, struct match_entry *entry)
{
	if (range_is_single(entry->end)) {
		assert(match->single_count > 0);
		list_remove(&entry->bucket);
		match->single_count--;
		return;
	}
	match->root = removed(match->root, entry);
	entry->left = NULL;
	entry->right = NULL;
}

void match_visit(const struct match *match, struct bytes key, match_visit_fn *fn, void *context)
{
	if (match->single_count) {
		uint64_t hash = key_hash(match->seed, key);

		list_for_each (node, bucket_of(match, hash)) {
			struct match_entry *entry = container_of(node, struct match_entry, bucket);

			if (entry->hash == hash && bytes_equal(entry->key, key))
				fn(context, entry);
		}
	}
	visit_ranges(match->root, key, fn, context);
}
