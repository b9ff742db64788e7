/* SPDX-License-Identifier: Apache-2.0 */
/* event.h - the immutable, counted batch of all events of one revision.
 *
 * Ownership: counted; event_batch_ref() and _unref() from any thread, the last one frees.  Keys and
 * values are inside the batch's own memory.
 * Threads: immutable once published, but for prev values, which are loaded at most once, on demand,
 * under the batch's own lock (a leaf; it is held while one row is read).
 * A batch pins its predecessor revision: until it is freed the rows that its prev values come from
 * are not swept, so a compaction cannot take a prev_kv away from a watcher that is a little late.
 * Order: events are in sub-revision order, i.e. the order in which the transaction wrote. */
#ifndef SHIM_STORE_EVENT_H
#define SHIM_STORE_EVENT_H

#include "shim/store/op.h"

struct store;
struct store_reader;

enum event_type { EVENT_PUT, EVENT_DELETE }; /* numbers are the wire's */

struct event {
	enum event_type type;
	struct kv kv;	  /* DELETE: key and mod_revision only */
	bool has_prev;	  /* the key was live just before, and this is no create */
	struct kv prev;	  /* all but value.data; use event_prev() */
	int64_t prev_row; /* row number of prev in the log */
};

struct event_batch;

struct event_batch *event_batch_ref(struct event_batch *batch);
void event_batch_unref(struct event_batch *batch); /* accepts NULL */

/* Memory of all batches that somebody holds. */
size_t store_events_bytes(const struct store *store);

int64_t event_batch_revision(const struct event_batch *batch);
size_t event_batch_count(const struct event_batch *batch); /* 0 for an invisible revision */
size_t event_batch_bytes(const struct event_batch *batch); /* memory it holds */
const struct event *event_batch_at(const struct event_batch *batch, size_t index);

/* prev in full.  ret_prev's slices live as long as the batch.  ret_found is false when the key was
 * not live before or its row is gone (only possible for history older than the compaction). */
enum err event_prev(struct event_batch *batch, size_t index, struct store_reader *reader,
		    struct kv *ret_prev, bool *ret_found);

#endif
