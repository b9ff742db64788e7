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

#endif
