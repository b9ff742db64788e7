/* SPDX-License-Identifier: Apache-2.0 */
/* keyrow.h - what the log knows of one key, read from the rows that the index names.
 *
 * Ownership: everything is copied into the arena.  Threads: the connection's.
 * The caller sees to it that the rows stay: it is the writer, or holds a pin. */
#ifndef SHIM_STORE_KEYROW_H
#define SHIM_STORE_KEYROW_H

#include "shim/store/internal.h"
#include "shim/store/sync.h"

/* kv.key is left to the caller.  Without with_value kv.value has its size only. */
enum err keyrow_read(struct conn *conn, const struct index_pair *pair, bool with_value,
		     struct arena *arena, struct apply_row *ret_row);

#endif
