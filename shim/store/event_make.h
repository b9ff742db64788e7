/* SPDX-License-Identifier: Apache-2.0 */
/* event_make.h - how the writer and history make event batches out of rows.
 *
 * Threads: any; the result is immutable. */
#ifndef SHIM_STORE_EVENT_MAKE_H
#define SHIM_STORE_EVENT_MAKE_H

#include "shim/store/event.h"
#include "shim/store/index.h"

struct store;

/* One row written, with slices of somebody's memory. */
struct change {
	struct event event;
	struct bytes meta;
	int64_t row;
	bool visible;
};

/* previous: the key's version before the event's revision, NULL when there is none.  The event's
 * type and kv are set already. */
void event_set_prev(struct event *event, const struct version *previous);

/* A batch of the visible ones among the changes of one revision, everything copied; it pins
 * revision - 1, which the caller knows to be whole. */
enum err event_batch_new(struct store *store, int64_t revision, const struct change *changes,
			 size_t count, struct event_batch **ret_batch);

#endif
