/* SPDX-License-Identifier: Apache-2.0 */
/* gate.h - whether what a merge gives may be shown to this site's clients.
 *
 * What may not is merged all the same, for a state that some sites have and others refuse would
 * never come to rest; it is held: clients go on seeing what they saw, until a client writes, rules
 * change or a person lets it in.  held/KEY says why.
 *
 * The breaker: a peer that brings more deletes than breaker_deletes and breaker_permille of this
 * site's keys in BREAKER_PERIOD_MS is stopped with the message that would pass the bound, until a
 * person admits it.  What it brought before stays.
 *
 * Threads: the writer's, but for gate_deletes_left() and gate_count() of merge.h. */
#ifndef SYNC_ENGINE_GATE_H
#define SYNC_ENGINE_GATE_H

#include "sync/engine/merge.h"

/* ret_why: NULL to show it; else a text that stays. */
enum err gate_decide(struct merge *merge, const struct entry *entry, const struct apply_row *row,
		     const struct state *merged, const struct visible *visible,
		     const char **ret_why);

/* Keeps the record of what is held. */
enum err gate_note(struct merge *merge, struct bytes key, const char *why);
/* For a client's write, which shows the key again. */
enum err gate_forget(struct stamper *stamper, struct apply *apply, struct bytes key,
		     struct arena *arena);

#endif
