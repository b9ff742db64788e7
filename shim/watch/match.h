/* SPDX-License-Identifier: Apache-2.0 */
/* match.h - which of many (key, range_end) selections contain a given key.
 *
 * Single keys are found through a hash table, ranges through a tree ordered by their start in which
 * every node knows the farthest end below it: a key costs O(1) plus O(log ranges) per match, so
 * that a commit is matched against ten thousand watchers in microseconds.
 * Ownership: entries are embedded in their owner, who keeps key and end alive and unchanged while
 * the entry is in; adding one cannot fail.
 * Threads: none of its own. */
#ifndef SHIM_WATCH_MATCH_H
#define SHIM_WATCH_MATCH_H

#include "shim/base/bytes.h"
#include "shim/base/err.h"
#include "shim/base/list.h"

struct match_entry {
	struct bytes key; /* set by the owner before match_add() */
	struct bytes end; /* as in range_contains() */

	/* The match's own from here on. */
	uint64_t hash;
	struct list bucket;
	struct match_entry *left;
	struct match_entry *right;
	const struct match_entry *farthest; /* has the greatest end of this subtree */
	uint64_t priority;
};

struct match {
	struct list *buckets;
	size_t bucket_count; /* a power of two */
	size_t single_count;
	struct match_entry *root;
	uint64_t random; /* state of the generator of priorities, and the key of the hash */
	uint64_t seed;
};

/* The seed keeps clients from choosing keys that collide. */
enum err match_init(struct match *match, uint64_t seed);
void match_fini(struct match *match); /* entries that are still in are forgotten */

void match_add(struct match *match, struct match_entry *entry);
void match_remove(struct match *match, struct match_entry *entry);

/* Calls fn for each entry that selects the key; fn must not change the match. */
typedef void match_visit_fn(void *context, struct match_entry *entry);
void match_visit(const struct match *match, struct bytes key, match_visit_fn *fn, void *context);

#endif
