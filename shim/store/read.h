/* SPDX-License-Identifier: Apache-2.0 */
/* read.h - ranges: which keys an answer has, in which order, with which count.
 *
 * Ownership: a set owns its items, not the key bytes, which are the index's: the caller holds a pin
 * (or is the writer).  Threads: whoever owns the set.
 * Source: etcd's server/etcdserver/txn/range.go and server/storage/mvcc/kvstore_txn.go. */
#ifndef SHIM_STORE_READ_H
#define SHIM_STORE_READ_H

#include "shim/store/internal.h"

struct range_item {
	struct kv kv; /* value: size only */
	int64_t row;
};

#define RANGE_ITEMS_INLINE 4 /* most requests ask for one key */

struct range_set {
	struct range_item *items;
	size_t count;
	size_t capacity;
	int64_t total; /* live keys in the range: the answer's count */
	bool more;
	struct range_item inline_items[RANGE_ITEMS_INLINE];
};

struct range_source {
	const struct index *index;
	pthread_rwlock_t *index_lock; /* NULL for the writer */
	struct conn *conn;	      /* for sorting by value */
};

/* Gathers what the op selects at `revision`, which the caller has checked. */
enum err range_gather(const struct range_source *source, const struct range_op *op,
		      int64_t revision, struct range_set *set);
void range_set_fini(struct range_set *set);

/* The set as a result in the arena, keys and values copied; revision is for the header. */
enum err range_deliver(const struct range_source *source, const struct range_op *op,
		       const struct range_set *set, struct arena *arena,
		       struct range_result *ret_result);

#endif
