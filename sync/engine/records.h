/* SPDX-License-Identifier: Apache-2.0 */
/* records.h - the names under which the engine keeps its small durable records in the store.
 *
 *   clock/GROUP/base            the vector at a revision
 *   clock/GROUP/step/REVISION   what a merge added to it
 *   clock/GROUP/barrier         cursors of peers below it are no good
 *   identity                    site, incarnation and where it began
 *   healing                     an incarnation that began and is not whole yet
 *   shown                       the hash of the rules and the hubs by which things are shown
 *   stamp                       the ceiling of the hybrid clock
 *   peer/SITE                   cursors, acknowledged revisions, remembered points of its log
 *   claims                      vectors that count for some keys (claims.h)
 *   held/KEY                    merged but not shown, and why
 *   journal/REVISION NUMBER     siblings that a write superseded unseen
 *
 * REVISION is 8 bytes, big-endian, so that the order of names is that of revisions.  Values of
 * names.  A name of a key may be as long as a request: those live in the arena. */
#ifndef SYNC_ENGINE_RECORDS_H
#define SYNC_ENGINE_RECORDS_H

#include "shim/base/arena.h"
#include "sync/causal/dot.h"
#include "sync/message/message.h"

#define RECORD_NAME_BYTES_MAX 40

struct record_name {
	uint8_t data[RECORD_NAME_BYTES_MAX];
	size_t size;
};

static inline struct bytes record_bytes(const struct record_name *name)
{
	return bytes_of(name->data, name->size);
}

struct record_name record_base(enum group group);
struct record_name record_step(enum group group, int64_t revision);
bool record_step_revision(struct bytes name, int64_t *ret_revision);

struct record_name record_identity(void);
struct record_name record_healing(void);
struct record_name record_stamp(void);
struct record_name record_peer(const struct site *site);
struct record_name record_claims(void);
struct record_name record_shown(void);
struct record_name record_barrier(enum group group);
struct record_name record_journal(int64_t revision, uint32_t number);
bool record_held(struct bytes key, struct arena *arena, struct bytes *ret_name);

/* All records of a kind are in [from, end). */
enum record_kind { RECORD_PEERS, RECORD_HELD, RECORD_JOURNAL };

void record_range(enum record_kind kind, struct record_name *ret_from, struct record_name *ret_end);

#endif
