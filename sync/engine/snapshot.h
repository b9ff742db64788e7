/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.h - the keys of a group as of one moment, with what two sites compare of them.
 *
 * The store's pin holds the rows; the keys and a hash of each state are read once.  Only made while
 * no job runs, so that rows and vector are of the same moment.
 * Ownership: snapshot_new .. snapshot_free; before the store's reader ends. */
#ifndef SYNC_ENGINE_SNAPSHOT_H
#define SYNC_ENGINE_SNAPSHOT_H

#include "sync/engine/internal.h"
#include "sync/reconcile/reconcile.h"

struct snapshot {
	struct engine *engine;
	enum group group;
	struct store_keys *pinned;
	int64_t revision;
	struct vector vector; /* at it */
	struct claims claims; /* that rows of the moment may name */
	struct arena arena;   /* of the keys */
	struct sequence sequence;
};

enum err snapshot_new(struct engine *engine, enum group group, const struct key_range *range,
		      struct snapshot **ret_snapshot);
void snapshot_free(struct snapshot *snapshot);

/* A key as of the moment; without meta and not live where there is none. */
enum err snapshot_key(struct snapshot *snapshot, struct bytes key, struct arena *arena,
		      struct key_state *ret_key);

#endif
