/* SPDX-License-Identifier: Apache-2.0 */
/* sequence.h - the keys of a range with a hash of the state of each, in key order, and sums over
 * any part of them in no time.
 *
 * Built once from a pinned revision: add keys in ascending order, then use.  32 bytes a key, and
 * the keys themselves, which are borrowed.
 *
 * Ownership: zeroed memory .. sequence_fini; keys stay the caller's and must outlive it.
 * Errors: NOMEM (a fault), REQUEST_TOO_LARGE beyond RECONCILE_KEYS_MAX.  Pure. */
#ifndef SYNC_RECONCILE_SEQUENCE_H
#define SYNC_RECONCILE_SEQUENCE_H

#include "shim/base/bytes.h"
#include "shim/base/err.h"

#define STATE_HASH_BYTES 16

struct state_hash { /* 128 bits, as two numbers to be added up */
	uint64_t high;
	uint64_t low;
};

/* Of a key and its state in canonical form (state_put_canonical). */
struct state_hash state_hash_of(struct bytes key, struct bytes canonical);

struct sequence {
	struct bytes *keys;
	struct state_hash *sums; /* of all up to and including this one, modulo 2^128 */
	size_t count;
	size_t capacity;
};

void sequence_fini(struct sequence *sequence);
enum err sequence_add(struct sequence *sequence, struct bytes key, struct state_hash hash);

/* The first whose key is not before this one; the count when there is none. */
size_t sequence_find(const struct sequence *sequence, struct bytes key);
/* Of [from, to). */
struct state_hash sequence_sum(const struct sequence *sequence, size_t from, size_t to);

/* What two sites compare to know that they are equal: one hash over all of it. */
void sequence_root(const struct sequence *sequence, uint8_t ret_root[STATE_HASH_BYTES]);

#endif
