/* SPDX-License-Identifier: Apache-2.0 */
/* claims.h - vectors that count for some keys before they count for the site.
 *
 * A comparison of states takes over keys one after the other, each in the state that the other side
 * had at its pinned vector.  That vector is the site's only when all keys are in; until then the
 * keys that are in carry its number, their claim, and in merges it counts as the site's own vector
 * does.  Without it a third site could bring back what the compared one had superseded.  A claim
 * that the site's vector covers is no longer needed; a number that nobody knows is such a one.
 *
 * Ownership: zeroed memory .. claims_fini.  The engine's; read by the writer while an op is under
 * way.  Limits: CLAIMS_MAX; beyond, the oldest goes, which costs a false conflict at worst and is
 * mended by the next comparison. */
#ifndef SYNC_ENGINE_CLAIMS_H
#define SYNC_ENGINE_CLAIMS_H

#include "shim/store/store.h"
#include "shim/store/sync.h"
#include "sync/message/message.h"

struct claims {
	struct claim list[CLAIMS_MAX];
	size_t count;
};

void claims_fini(struct claims *claims);

const struct claim *claims_find(const struct claims *claims, uint64_t id);
enum err claims_add(struct claims *claims, uint64_t id, const struct vector *vector);
enum err claims_copy(const struct claims *from, struct claims *to);
/* Drops those of the group that the vector covers.  Windows must not end below the revision of that
 * vector any more: rows there name claims that are gone. */
bool claims_prune(struct claims *claims, enum group group, const struct vector *vector);

/* A number for a new one: the lowest bit is its group. */
static inline uint64_t claim_number(uint64_t random, enum group group)
{
	return (random & ~UINT64_C(3)) | 2 | (uint64_t)group;
}

/* All of them are one record. */
enum err claims_put(struct apply *apply, const struct claims *claims);
enum err claims_load(struct claims *claims, struct store_reader *reader);

#endif
