/* SPDX-License-Identifier: Apache-2.0 */
/* load.h - the start: one scan of the log rebuilds the index and what hangs on which lease.
 *
 * Threads: before there are any others.  Cost: 1 to 2 us per retained row; no value is read. */
#ifndef SHIM_STORE_LOAD_H
#define SHIM_STORE_LOAD_H

#include "shim/store/internal.h"

/* Fills store->index and store->lessor.  ret_newest is the main revision of the newest row, 0 when
 * there is none. */
enum err load_all(struct store *store, struct conn *conn, int64_t *ret_newest,
		  char problem[STORE_PROBLEM_BYTES]);

/* Above the compaction every revision has its rows, numbered without a gap, so a row that is gone,
 * stands twice or stands in another's place is noticed: whether `row` may follow `before`, and
 * whether the newest one may be the last. */
bool load_follows(int64_t row, int64_t before, int64_t compacted);
bool load_is_whole(int64_t newest, int64_t head, int64_t compacted);
bool load_lease_is_sound(int64_t id, int64_t ttl_seconds);

#endif
