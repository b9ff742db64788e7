/* SPDX-License-Identifier: Apache-2.0 */
/* vector.h - the node clock: for each actor the revisions whose effects a site has taken in.
 * People know it as the site's revision vector.
 *
 * It is the only clock of a site; keys carry dots, not clocks.  "The vector has the dot and the
 * data has not" means: it was seen and superseded or deleted.  So deletes need no tombstones, and a
 * vector must never claim a dot whose effect is not in the data, nor forget an actor.
 *
 * Ownership: zeroed memory .. vector_fini; functions never keep a pointer to another vector, and
 * `into` may not be `from`.
 * Errors: NOMEM (a fault), REQUEST_TOO_LARGE beyond VECTOR_ACTORS_MAX or VECTOR_INTERVALS_MAX,
 * MALFORMED from vector_decode().  After an error the vector holds nothing that neither side had;
 * the caller drops it or tries again.
 * Encoding: canonical, so equal vectors have equal bytes and equal bytes are equal vectors. */
#ifndef SYNC_CAUSAL_VECTOR_H
#define SYNC_CAUSAL_VECTOR_H

#include "sync/causal/dot.h"
#include "sync/causal/revset.h"

struct vector_entry {
	struct actor actor;
	struct revset revisions; /* never empty */
};

struct vector {
	struct vector_entry *entries; /* ascending by actor */
	size_t count;
	size_t capacity;
};

void vector_fini(struct vector *vector);
enum err vector_copy(const struct vector *vector, struct vector *ret_copy);

enum err vector_add(struct vector *vector, const struct actor *actor, int64_t first, int64_t last);
enum err vector_merge(struct vector *into, const struct vector *from);
/* Takes out of `into` what `from` has: what a peer lacks. */
enum err vector_subtract(struct vector *into, const struct vector *from);
/* Forgets what the actor wrote above the revision; the vector as of an earlier moment. */
void vector_cut(struct vector *vector, const struct actor *actor, int64_t last);

bool vector_has(const struct vector *vector, const struct dot *dot);
/* Whether `vector` has all that `other` has. */
bool vector_covers(const struct vector *vector, const struct vector *other);
bool vector_equal(const struct vector *a, const struct vector *b);
int64_t vector_last(const struct vector *vector, const struct actor *actor); /* 0: never heard of */

bool vector_encode(const struct vector *vector, struct buffer *buffer);
/* Reads one vector off the front; ret_vector is the caller's to end, and empty on an error. */
enum err vector_decode(struct wire *wire, struct vector *ret_vector);

/* What a merge holds against a dot that one side lacks: the sender's vector at the position of the
 * message, and while a comparison of states is under way the vector its peer had pinned, for the
 * keys that were already taken over from it. */
struct context {
	const struct vector *vector;
	const struct vector *session; /* NULL: none */
};

static inline bool context_has(const struct context *context, const struct dot *dot)
{
	return vector_has(context->vector, dot) ||
	       (context->session && vector_has(context->session, dot));
}

#endif
