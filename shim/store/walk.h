/* SPDX-License-Identifier: Apache-2.0 */
/* walk.h - all rows of the log in revision order, in slices.
 *
 * Between slices no statement is open, so even the longest walk never keeps SQLite from reusing its
 * WAL.  Rows are immutable; the caller holds a pin where the sweep must not take any away.
 * Threads: the connection's.  Errors: of conn.h; what fn returns ends the walk and is returned. */
#ifndef SHIM_STORE_WALK_H
#define SHIM_STORE_WALK_H

#include "shim/store/conn.h"

#define WALK_SLICE_ROWS 512	   /* rows read before SQLite's read lock is let go */
#define WALK_SLICE_BYTES (1 * MIB) /* ... and bytes of values passed */

/* row->value.data is NULL: fn calls conn_row_read() on stmt where it wants the value, too. */
typedef enum err walk_fn(void *context, struct conn *conn, sqlite3_stmt *stmt,
			 const struct row *row);

/* Rows whose number is at most row_last. */
enum err walk_rows(struct conn *conn, int64_t row_last, walk_fn *fn, void *context);

/* The checksum of a row with its value, chained: over all that a client or sync can see of it. */
uint32_t walk_hash_row(uint32_t previous, const struct row *row);
uint32_t walk_hash_number(uint32_t previous, int64_t number);

#endif
