/* SPDX-License-Identifier: Apache-2.0 */
/* identity.h - who this site is, and which revisions each of its incarnations wrote.
 *
 * An incarnation begins when the history may have been rolled back or copied: no dot is given out
 * twice.  Its number is a count in the upper 12 bits and chance in the lower 20, so that two copies
 * of one disk that both notice do not become the same actor.  Past the last count the site takes a
 * new site id.
 *
 * The witness is a small file beside the database: site, incarnation, the disk's identity, and a
 * range of revisions of which the next ones are taken.  A database whose head is below the range,
 * or that stands on another disk, was restored or copied.
 *
 * Pure values. */
#ifndef SYNC_ENGINE_IDENTITY_H
#define SYNC_ENGINE_IDENTITY_H

#include "shim/base/arena.h"
#include "shim/base/buffer.h"
#include "shim/base/err.h"
#include "sync/causal/dot.h"

#define INCARNATION_CHANCE_BITS 20
#define INCARNATIONS_KEPT_MAX 64 /* older ones wrote no rows that are still there without meta */
#define WITNESS_BYTES_MAX 256
#define DISK_BYTES_MAX 64

struct incarnation {
	struct site site;
	uint32_t number;
	int64_t begin; /* its revisions are above */
};

struct identity {
	struct site site;
	struct incarnation incarnations[INCARNATIONS_KEPT_MAX]; /* ascending */
	size_t count;
};

struct actor identity_self(const struct identity *identity);
int64_t identity_begin(const struct identity *identity);
/* Who wrote the revision. */
struct actor identity_actor_at(const struct identity *identity, int64_t revision);
/* A first one, or the next; above `heard`, an incarnation that somebody knows (0: none). */
void identity_begin_next(struct identity *identity, int64_t begin, uint32_t heard, uint64_t random);
/* The first one of another site: this one is a copy, and the site that it is a copy of lives. */
void identity_begin_site(struct identity *identity, const struct site *site, int64_t begin,
			 uint64_t random);

bool identity_encode(const struct identity *identity, struct buffer *buffer);
bool identity_decode(struct bytes bytes, struct identity *ret_identity);

struct witness {
	struct actor self;
	int64_t from; /* revisions in [from, end) may be taken without another word */
	int64_t end;
	uint8_t disk[DISK_BYTES_MAX];
	size_t disk_bytes;
};

bool witness_encode(const struct witness *witness, struct buffer *buffer);
bool witness_decode(struct bytes bytes, struct witness *ret_witness);

#endif
