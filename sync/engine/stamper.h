/* SPDX-License-Identifier: Apache-2.0 */
/* stamper.h - what the engine's files know of the store's hook: it stamps what clients write.
 *
 * Threads: the writer's once the store is started; before that, and inside an OP_APPLY, the
 * engine's files change it.  Counters are atomic. */
#ifndef SYNC_ENGINE_STAMPER_H
#define SYNC_ENGINE_STAMPER_H

#include "sync/causal/hlc.h"
#include "sync/engine/engine.h"
#include "sync/engine/identity.h"
#include "sync/engine/row_meta.h"
#include "sync/engine/scope.h"
#include "sync/merge/meta.h"

#include <stdatomic.h>

struct stamper {
	struct engine_config config;
	struct scope *scope; /* owned */
	struct identity identity;
	struct hlc hlc;
	uint64_t tag;	       /* of the newest row in scope */
	int64_t reserved_from; /* by the witness */
	int64_t reserved_end;  /* 0: nothing; taken anew before the next row */
	bool has_identity;
	size_t held;			 /* keys that are held, or held once */
	_Atomic int64_t written[GROUPS]; /* the newest revision that a client's write was given */
	struct arena arena;		 /* of one row */
	uint32_t journal_number;	 /* makes names of one revision differ */
	_Atomic uint64_t closed_siblings;
	_Atomic uint64_t journal_bytes; /* written since the start */
};

/* The key's state as its newest row says it; a row from before sync was on is one write. */
enum err stamper_state(const struct stamper *stamper, struct bytes meta, int64_t row_revision,
		       const struct shown *shown, struct arena *arena, struct row_meta *ret_meta,
		       struct state *ret_state);

/* A stamp for a write now, in the transaction that makes a new ceiling durable. */
enum err stamper_stamp(struct stamper *stamper, struct apply *apply, hlc_stamp *ret_stamp);

/* Reserves the revision, with others to come, before a row has it. */
enum err stamper_reserve(struct stamper *stamper, int64_t revision);

/* The meta of a row: gives it the next tag. */
enum err stamper_row(struct stamper *stamper, struct row_meta *row, int64_t revision,
		     struct bytes key, struct bytes value, struct arena *arena,
		     struct bytes *ret_meta);

#endif
