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
/* Drops those that the vector covers. */
bool claims_prune(struct claims *claims, const struct vector *vector);

/* All of them are one record. */
enum err claims_put(struct apply *apply, const struct claims *claims);
enum err claims_load(struct claims *claims, struct store_reader *reader);

#endif
