/* SPDX-License-Identifier: Apache-2.0 */
/* compact.h - the sweep: removes, in slices between commits, the rows that a compaction made
 * unneeded.
 *
 * Threads: the writer's alone.
 * Rule: it sweeps at pins_floor(), so neither above the compaction nor above what a reader holds;
 * what pins hold back is taken when they are gone.
 * Order: the index gives rows in key order, scattered over the whole log.  They are gathered first
 * and deleted in row order, so that neighbours in one page go together: a tenth of the WAL.
 * Limits: one step is either SWEEP_SLICE_KEYS keys looked at or one transaction of at most
 * SWEEP_SLICE_ROWS deletes, so neither a write nor the WAL ever waits for more.
 * Restart: a pass that did not end starts over; it finds the rows that are left.  Its target is in
 * the database from its first deletion on, so that store_swept() never promises rows that went. */
#ifndef SHIM_STORE_COMPACT_H
#define SHIM_STORE_COMPACT_H

#include "shim/store/internal.h"

/* Rows gathered before they are deleted: 1 MiB of numbers, sorted in about 10 ms. */
#define SWEEP_GATHER_ROWS_MAX (128 * 1024)

struct sweeper {
	struct store *store;
	struct conn *conn;
	int64_t swept; /* nothing unneeded at this revision is left */
	bool active;   /* a pass is under way */
	bool noted;    /* ... and the database says so */
	int64_t target;
	struct index_sweep cursor;
	int64_t *rows; /* out of the index, not yet out of the log */
	size_t row_count;
	size_t row_capacity;
	bool rows_sorted; /* deleting has begun */
	size_t rows_deleted;
};

void sweeper_init(struct sweeper *sweeper, struct store *store, struct conn *conn, int64_t swept);
void sweeper_fini(struct sweeper *sweeper);

/* Something is left to sweep; it may be held by pins. */
bool sweeper_pending(const struct sweeper *sweeper);
/* All that pins leave free is gone. */
bool sweeper_settled(const struct sweeper *sweeper);
/* One slice.  ret_worked is false when pins hold back everything.  NO_SPACE: later again. */
enum err sweeper_step(struct sweeper *sweeper, bool *ret_worked);

#endif
