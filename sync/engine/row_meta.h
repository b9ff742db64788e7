/* SPDX-License-Identifier: Apache-2.0 */
/* row_meta.h - what sync keeps in the meta column of a row of the log.
 *
 *   flags (1 byte) | tag (8) | touches and claims, if it has any | state (sync/merge/meta.h)
 *
 * The tag is a hash over all tags before and this row; two histories that gave out one revision
 * twice have different ones.  Touches are the dots that the row brought in, each once: those of a
 * local write are implied, its own; those of a merge are listed (encoding sorts them).  A wildcard
 * stands for dots that nobody can list: such a row is told to every peer.  Claims name vectors that
 * count for this key although the site's own has them not yet (claims.h).  A row without meta is a
 * write from before sync was on.
 *
 * Ownership: a decoded row points into the bytes; touches are in the arena. */
#ifndef SYNC_ENGINE_ROW_META_H
#define SYNC_ENGINE_ROW_META_H

#include "shim/base/arena.h"
#include "shim/base/buffer.h"
#include "shim/base/err.h"
#include "sync/causal/dot.h"

struct row_meta {
	bool merged;
	bool wildcard;
	uint64_t tag;
	struct dot *touches;
	size_t touch_count;
	uint64_t *claims;
	size_t claim_count; /* at most CLAIMS_MAX */
	struct bytes state;
};

enum err row_meta_encode(const struct row_meta *row, struct arena *arena, struct bytes *ret_bytes);
/* DAMAGED (a fault) for what no encode gave; no bytes are a row with nothing in it. */
enum err row_meta_decode(struct bytes bytes, struct arena *arena, struct row_meta *ret_row);

uint64_t row_tag_next(uint64_t before, int64_t revision, struct bytes key, struct bytes value);

#endif
