/* SPDX-License-Identifier: Apache-2.0 */
/* fake_history.h - the hub over a store in a few lines, to test it against a recorded history.
 *
 * The functions of shim/store that the hub calls get other names here, and the hub's files are
 * compiled into the test, so that the real store may be linked in as well.  One program includes
 * this once.  Threads: one commits and compacts, any others read. */
#ifndef TESTS_UNIT_WATCH_FAKE_HISTORY_H
#define TESTS_UNIT_WATCH_FAKE_HISTORY_H

#define store_head fake_store_head
#define store_compacted fake_store_compacted
#define store_history fake_store_history
#define store_commit_publish fake_store_commit_publish
#define store_events_bytes fake_store_events_bytes
#define event_batch_ref fake_event_batch_ref
#define event_batch_unref fake_event_batch_unref
#define event_batch_revision fake_event_batch_revision
#define event_batch_count fake_event_batch_count
#define event_batch_bytes fake_event_batch_bytes
#define event_batch_at fake_event_batch_at
#define event_prev fake_event_prev

#include "shim/watch/hub.c"
#include "shim/watch/next.c"
#include "shim/watch/stream.c"
#include "shim/watch/watcher.c"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define HISTORY_MAX 65536
#define HISTORY_EVENTS_MAX 8

struct event_batch {
	atomic_int references;
	int64_t revision;
	size_t count;
	size_t bytes;
	struct event events[HISTORY_EVENTS_MAX];
	char keys[HISTORY_EVENTS_MAX][16];
};

struct store {
	pthread_rwlock_t lock; /* guards head, compacted and the batches up to head */
	int64_t head;
	int64_t compacted;
	struct event_batch *batches[HISTORY_MAX]; /* by revision */
	size_t batch_bytes;			  /* what each batch pretends to weigh */
	size_t events_bytes;			  /* what all batches pretend to weigh */
	size_t rows_max;			  /* looked at in one slice, if fewer than asked */
	atomic_int live_batches;
	enum err next_error; /* of the next slice */
};

static struct store fake;

static void fake_init(void)
{
	memset(&fake, 0, sizeof(fake));
	pthread_rwlock_init(&fake.lock, NULL);
	fake.head = 1;
	fake.compacted = -1;
	fake.batch_bytes = 100;
	fake.rows_max = SIZE_MAX;
}

static void fake_fini(void)
{
	for (size_t i = 0; i < HISTORY_MAX; i++)
		event_batch_unref(fake.batches[i]);
	assert(atomic_load(&fake.live_batches) == 0);
	pthread_rwlock_destroy(&fake.lock);
}

static struct event_batch *batch_new(int64_t revision)
{
	struct event_batch *batch = calloc(1, sizeof(*batch));

	assert(batch);
	atomic_init(&batch->references, 1);
	atomic_fetch_add(&fake.live_batches, 1);
	batch->revision = revision;
	batch->bytes = fake.batch_bytes;
	return batch;
}

static void batch_add(struct event_batch *batch, enum event_type type, const char *key)
{
	size_t i = batch->count++;

	assert(i < HISTORY_EVENTS_MAX);
	snprintf(batch->keys[i], sizeof(batch->keys[i]), "%s", key);
	batch->events[i].type = type;
	batch->events[i].kv.key = bytes_of_string(batch->keys[i]);
	batch->events[i].kv.mod_revision = batch->revision;
}

/* Gives the batches to the history; the listener gets them as one commit. */
static void fake_commit(struct event_batch *const *batches, size_t count,
			void (*on_commit)(void *, const struct store_commit *), void *context)
{
	struct store_commit commit = {&fake, batches, count, 0};

	commit.head_revision = batches[count - 1]->revision;
	on_commit(context, &commit);
}

void store_commit_publish(const struct store_commit *commit)
{
	struct store *store = commit->store;

	pthread_rwlock_wrlock(&store->lock);
	for (size_t i = 0; i < commit->batch_count; i++)
		store->batches[commit->batches[i]->revision] = commit->batches[i];
	store->head = commit->head_revision;
	pthread_rwlock_unlock(&store->lock);
}

int64_t store_head(const struct store *store)
{
	return store->head;
}

int64_t store_compacted(const struct store *store)
{
	int64_t compacted;

	pthread_rwlock_rdlock((pthread_rwlock_t *)(uintptr_t)&store->lock);
	compacted = store->compacted;
	pthread_rwlock_unlock((pthread_rwlock_t *)(uintptr_t)&store->lock);
	return compacted;
}

static void fake_compact(int64_t revision)
{
	pthread_rwlock_wrlock(&fake.lock);
	fake.compacted = revision;
	pthread_rwlock_unlock(&fake.lock);
}

/* A copy with the events that are asked for, as the real store makes it. */
static struct event_batch *history_copy(const struct event_batch *batch,
					const struct history_op *op)
{
	struct event_batch *copy = NULL;

	for (size_t i = 0; i < batch->count; i++) {
		if (!range_contains(op->key, op->end, batch->events[i].kv.key))
			continue;
		if (!copy)
			copy = batch_new(batch->revision);
		batch_add(copy, batch->events[i].type, batch->keys[i]);
		copy->events[copy->count - 1].kv.value = batch->events[i].kv.value;
		copy->events[copy->count - 1].has_prev = batch->events[i].has_prev;
		copy->events[copy->count - 1].prev = batch->events[i].prev;
	}
	return copy;
}

enum err store_history(struct store_reader *reader, const struct history_op *op,
		       struct event_batch **batches, size_t batches_max, size_t *ret_count,
		       int64_t *ret_next)
{
	size_t rows_max = op->rows_max < fake.rows_max ? op->rows_max : fake.rows_max;
	size_t count = 0;
	int64_t next = op->from;
	enum err e = fake.next_error;

	(void)reader;
	if (e) {
		fake.next_error = ERR_OK;
		return e;
	}
	pthread_rwlock_rdlock(&fake.lock);
	assert(op->to <= fake.head);
	if (op->from < fake.compacted)
		e = ERR_COMPACTED;
	for (size_t rows = 0; !e && next <= op->to && rows < rows_max && count < batches_max;
	     next++, rows++) {
		const struct event_batch *batch = fake.batches[next];
		struct event_batch *copy = batch ? history_copy(batch, op) : NULL;

		if (copy)
			batches[count++] = copy;
	}
	pthread_rwlock_unlock(&fake.lock);
	if (e)
		return e;
	*ret_count = count;
	*ret_next = next;
	return ERR_OK;
}

struct event_batch *event_batch_ref(struct event_batch *batch)
{
	atomic_fetch_add(&batch->references, 1);
	return batch;
}

void event_batch_unref(struct event_batch *batch)
{
	if (!batch || atomic_fetch_sub(&batch->references, 1) > 1)
		return;
	atomic_fetch_sub(&fake.live_batches, 1);
	free(batch);
}

int64_t event_batch_revision(const struct event_batch *batch)
{
	return batch->revision;
}

size_t event_batch_count(const struct event_batch *batch)
{
	return batch->count;
}

size_t store_events_bytes(const struct store *store)
{
	return store->events_bytes;
}

size_t event_batch_bytes(const struct event_batch *batch)
{
	return batch->bytes;
}

const struct event *event_batch_at(const struct event_batch *batch, size_t index)
{
	return &batch->events[index];
}

enum err event_prev(struct event_batch *batch, size_t index, struct store_reader *reader,
		    struct kv *ret_prev, bool *ret_found)
{
	(void)reader;
	*ret_prev = batch->events[index].prev;
	*ret_found = batch->events[index].has_prev;
	return fake.next_error;
}

#endif
