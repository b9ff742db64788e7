/* SPDX-License-Identifier: Apache-2.0 */
/* publish.c - what follows a commit: the head moves, watchers and figures hear of it. */
#include "shim/store/writer.h"

#include <assert.h>

void store_commit_publish(const struct store_commit *commit)
{
	atomic_store_explicit(&commit->store->head, commit->head_revision, memory_order_release);
}

/* What was just written is what will be read: by watchers that want the previous value, by the next
 * update that loses its compare, by sync's hook before the next write. */
static void keep_values(struct writer *writer)
{
	const struct batch *batch = &writer->batch;

	for (size_t i = 0; i < batch->change_count; i++) {
		const struct change *change = &batch->changes[i];

		value_cache_put(writer->store->values, change->row, change->event.kv.value);
		if (change->meta.size)
			value_cache_put(writer->store->values, ~change->row, change->meta);
	}
}

void writer_publish(struct writer *writer)
{
	struct batch *batch = &writer->batch;
	struct store *store = writer->store;
	const struct store_listener *listener = &store->config.listener;
	struct store_commit commit = {
		.store = store,
		.batches = batch->events,
		.batch_count = batch->event_count,
		.head_revision = batch->head,
	};

	if (commit.batch_count && listener->on_commit)
		listener->on_commit(listener->context, &commit);
	else if (commit.batch_count)
		store_commit_publish(&commit);
	assert(store_head(store) == batch->head);
	keep_values(writer);
	atomic_fetch_or(&store->alarms, batch->alarms_raised);
	atomic_fetch_and(&store->alarms, ~batch->alarms_cleared);
	if (batch->compacted != NEVER_COMPACTED) {
		pins_compact(&store->pins, batch->compacted);
		writer->sweep_from_ns = 0;
		if (listener->on_compact)
			listener->on_compact(listener->context, batch->compacted);
	}
	count_up(&store->counters.puts, batch->puts);
	count_up(&store->counters.deletes, batch->deletes);
	count_up(&store->counters.txns, batch->txns);
	count_up(&store->counters.leases_granted, batch->granted);
	count_up(&store->counters.leases_revoked, batch->revoked);
	batch_clear(batch);
}
