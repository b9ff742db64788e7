/* SPDX-License-Identifier: Apache-2.0 */
/* meta.h - a key's state as bytes beside its visible value: what the log's rows carry.
 *
 * What is shown is not stored twice: a column of the value whose bytes are one of its siblings is
 * named by its number in the split, most of them not even that.  Only siblings that are not shown,
 * and columns that the value does not give back, are stored with their bytes.  So meta means
 * something only beside its own value; an object that one site wrote has some 35 bytes of it.
 *
 * Ownership: a decoded state is in the arena and points into meta and value.  Errors: NOMEM (a
 * fault), MALFORMED for what no encode gave; counts are checked against the bytes that are there
 * before memory is taken. */
#ifndef SYNC_MERGE_META_H
#define SYNC_MERGE_META_H

#include "sync/merge/state.h"

struct shown { /* the visible value, if there is one */
	bool present;
	struct bytes value;
	const struct object *object; /* the value split, where the caller has it; else NULL */
};

/* A state without births is no bytes. */
enum err meta_encode(const struct state *state, const struct shown *shown, struct arena *arena,
		     struct bytes *ret_meta);

/* Without meta, a value is what `plain` wrote in one go (a row from before sync was on). */
enum err meta_decode(struct bytes meta, const struct shown *shown, const struct dot *plain,
		     struct arena *arena, struct state *ret_state);

#endif
