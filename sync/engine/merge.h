/* SPDX-License-Identifier: Apache-2.0 */
/* merge.h - the part of a job that runs on the store's writer: takes over what another site knows
 * of some keys.
 *
 * For each entry: the row of the key as it is now, both states merged, and a row written when the
 * state or what clients see changed, or the entry touched what this site had not heard of.  Entries
 * of one revision of the sender share one here; a change of an object's uid takes two, a delete and
 * a put, because informers must see both.
 * Errors: TOO_MANY_REQUESTS when the breaker opens (gate.h); AGAIN when a delta's base is not what
 * this site shows: send it whole; MALFORMED. */
#ifndef SYNC_ENGINE_MERGE_H
#define SYNC_ENGINE_MERGE_H

#include "sync/engine/internal.h"

struct merge_counts {
	unsigned siblings;
	unsigned uid_conflicts;
	unsigned held;
	unsigned wildcards;
	unsigned clocks_ahead;
	unsigned rows;
	unsigned deletes; /* that clients see */
};

struct due {
	struct bytes key;
	int64_t revision; /* at which it became so */
};

struct merge {
	struct engine *engine;
	struct apply *apply;
	struct actor peer; /* who sent it */
	enum group group;
	const struct vector *sender; /* the other side's vector where the entries are from */
	const struct claim *claims;  /* ... and the claims that they name */
	size_t claim_count;
	const struct claims *known; /* this site's, those included */
	uint64_t session;	    /* the claim that rows get; 0: not a comparison */
	bool grew;		    /* this site's vector gains something with the message */

	struct vector local; /* own writes included */
	struct arena arena;  /* of one key */
	int64_t sender_revision;
	int64_t first; /* revisions written; first > last: none */
	int64_t last;
	struct merge_counts counts;
	/* Keys written, for a comparison that is under way, in the job's arena; NULL: unwanted. */
	struct arena *keys_arena;
	struct bytes *written;
	size_t written_count; /* room for all entries */
	int64_t deletes_left; /* before the breaker opens; < 0: it is off */
	struct due *due;      /* objects whose deletion nobody else will complete */
	size_t due_count;
};

enum err merge_begin(struct merge *merge, struct apply *apply);
enum err merge_entry(struct merge *merge, const struct entry *entry);
void merge_fini(struct merge *merge);

/* gate.c: how many deletes the peer may still bring. */
int64_t gate_deletes_left(struct engine_peer *peer);
/* Stops the peer when the breaker opened (TOO_MANY_REQUESTS), else counts. */
void gate_count(struct engine_peer *peer, const struct merge *merge, enum err e);

/* complete.c: deletes what is due as a client would, if nobody has written it since. */
void complete_due(struct engine *engine, const struct merge *merge);

#endif
