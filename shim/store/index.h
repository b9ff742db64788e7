/* SPDX-License-Identifier: Apache-2.0 */
/* index.h - key -> retained versions, ordered by key, in memory.
 *
 * The index knows every retained row of the log but not its value: reads at any uncompacted
 * revision, counts and limits are answered from here.  Rows of a commit in progress are already in
 * it with revisions above the published head; readers pass the revision they may see, so they never
 * notice.
 * Ownership: key bytes are copied in and live until the key's last version goes.
 * Threads: none of its own; store.c guards it with one rwlock: scans under the shared side, changes
 * under the exclusive one.  Pure memory, no I/O.
 * Errors: index_add() gives NOMEM; nothing else fails.
 * Cost: lookup O(log keys); a scan touches only the keys in the range. */
#ifndef SHIM_STORE_INDEX_H
#define SHIM_STORE_INDEX_H

#include "shim/base/bytes.h"
#include "shim/base/err.h"

struct index;
struct index_key; /* opaque handle of one key, stable while the key has a version */

/* One retained row. */
struct version {
	int64_t row;		 /* main << 23 | sub */
	int64_t create_revision; /* 0 in a tombstone */
	int64_t version;	 /* 0 in a tombstone */
	int64_t lease;
	uint32_t value_bytes;
	bool tombstone;
	bool invisible; /* a merge that clients do not see; skipped by every read of theirs */
	bool merged;	/* written by sync */
	bool has_meta;	/* sync knows something of the key that must not be swept while newest */
};

static inline int64_t row_main(int64_t row)
{
	return row >> 23;
}

enum err index_new(struct index **ret_index);
void index_free(struct index *index);

/* Adds a version newer than all the key has. */
enum err index_add(struct index *index, struct bytes key, const struct version *version);
/* Removes the versions of the key that are newer than `row_from` (undo of a failed batch). */
void index_undo(struct index *index, struct bytes key, int64_t row_from);

/* The newest visible version of the key at main revision <= `revision`, tombstones included; NULL
 * when there is none.  Valid until the index changes. */
const struct version *index_get(const struct index *index, struct bytes key, int64_t revision);
/* What is known of a key at a revision: the newest version of any kind, and the newest visible one,
 * tombstones included; row 0 where there is none. */
struct index_pair {
	struct version newest;
	struct version visible;
};
struct index_pair index_pair(const struct index *index, struct bytes key, int64_t revision);

static inline bool pair_is_live(const struct index_pair *pair)
{
	return pair->visible.row && !pair->visible.tombstone;
}

/* Calls fn for each key in (key, end) that has a live visible version at `revision`, in key order,
 * until fn returns false.  `key` bytes and the version are valid under the lock; key bytes stay
 * valid as long as a pin at or below `revision` is held. */
typedef bool index_visit_fn(void *context, struct bytes key, const struct version *version);
void index_scan(const struct index *index, struct bytes key, struct bytes end, int64_t revision,
		index_visit_fn *fn, void *context);

/* The same for each key of which any row is there at `revision`, visible or not. */
typedef bool index_pair_fn(void *context, struct bytes key, const struct index_pair *pair);
void index_scan_pairs(const struct index *index, struct bytes key, struct bytes end,
		      int64_t revision, index_pair_fn *fn, void *context);

int64_t index_count(const struct index *index, struct bytes key, struct bytes end,
		    int64_t revision);

/* --- compaction --------------------------------------------------------------------------------
 * Rows that are not needed to read at or above `revision`: for each key every version older than
 * its newest visible one at <= revision, and that one too when it is a tombstone below `revision`
 * (a tombstone exactly at `revision` stays: a watch may start there).  The newest of any kind at <=
 * revision stays as well where a visible one does, or when it has meta: it is what sync knows.
 * One call looks at a bounded number of keys, removes what is not needed from the index and puts
 * the removed row numbers into rows[]; `from` is where the last call stopped (empty key: start). It
 * returns false when the end of the key space was reached.  The cursor's memory is the caller's. */
struct index_sweep {
	uint8_t *from; /* malloc'ed copy of the next key, NULL at the start */
	size_t from_bytes;
	bool done;
};

size_t index_sweep(struct index *index, struct index_sweep *sweep, int64_t revision, int64_t *rows,
		   size_t rows_max, size_t keys_max);
void index_sweep_fini(struct index_sweep *sweep);

/* Whether HashKV counts this row at (hash) revision: the newest of its key at <= revision and not a
 * tombstone. */
bool index_keeps(const struct index *index, struct bytes key, int64_t row, int64_t revision);

int64_t index_key_count(const struct index *index); /* keys with a live newest version */
size_t index_bytes(const struct index *index);	    /* memory held */

#endif
