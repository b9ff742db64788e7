/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/event.h"

#include "shim/store/event_make.h"
#include "shim/store/internal.h"

#include <assert.h>
#include <stdlib.h>

struct event_batch {
	_Atomic size_t references;
	struct store *store;
	struct pin pin;
	int64_t revision;
	size_t count;
	size_t bytes;
	pthread_mutex_t prev_lock; /* guards prev_values; held while one row is read */
	uint8_t **prev_values;	   /* one per event, NULL until loaded */
	struct event events[];	   /* then prev_values, then keys and values */
};

/* A key that its transaction deleted and put again was live before, and yet counts as created: etcd
 * sends no prev_kv then (IsCreateEvent in v3rpc/watch.go). */
void event_set_prev(struct event *event, const struct version *previous)
{
	bool is_create =
		event->type == EVENT_PUT && event->kv.create_revision == event->kv.mod_revision;

	event->has_prev = previous && !previous->tombstone && !is_create;
	if (!event->has_prev)
		return;
	event->prev = (struct kv){
		.key = event->kv.key,
		.value = bytes_of(NULL, previous->value_bytes),
		.create_revision = previous->create_revision,
		.mod_revision = row_main(previous->row),
		.version = previous->version,
		.lease = previous->lease,
	};
	event->prev_row = previous->row;
}

static struct bytes copy_bytes(uint8_t **room, struct bytes source)
{
	struct bytes copy = {*room, source.size};

	if (!source.size)
		return bytes_of(NULL, 0);
	memcpy(*room, source.data, source.size);
	*room += source.size;
	return copy;
}

/* Sizes of what will be copied; prev_bytes counts values that may be loaded later. */
static size_t measure(const struct change *changes, size_t count, size_t *ret_data_bytes,
		      size_t *ret_prev_bytes)
{
	size_t visible = 0;

	*ret_data_bytes = 0;
	*ret_prev_bytes = 0;
	for (size_t i = 0; i < count; i++) {
		const struct event *event = &changes[i].event;

		if (!changes[i].visible)
			continue;
		visible++;
		*ret_data_bytes += event->kv.key.size + event->kv.value.size;
		*ret_prev_bytes += event->has_prev ? event->prev.value.size : 0;
	}
	return visible;
}

enum err event_batch_new(struct store *store, int64_t revision, const struct change *changes,
			 size_t count, struct event_batch **ret_batch)
{
	size_t data_bytes, prev_bytes;
	size_t visible = measure(changes, count, &data_bytes, &prev_bytes);
	size_t bytes = sizeof(struct event_batch) +
		       visible * (sizeof(struct event) + sizeof(uint8_t *)) + data_bytes;
	struct event_batch *batch = malloc(bytes);
	struct event *event;
	uint8_t *room;

	if (!batch)
		return fault(ERR_NOMEM, "%zu events of a revision", visible);
	batch->store = store;
	batch->revision = revision;
	batch->count = visible;
	batch->bytes = bytes + prev_bytes;
	batch->prev_values = (uint8_t **)(void *)&batch->events[visible];
	atomic_init(&batch->references, 1);
	pthread_mutex_init(&batch->prev_lock, NULL);
	room = (uint8_t *)&batch->prev_values[visible];
	event = batch->events;
	for (size_t i = 0; i < count; i++) {
		if (!changes[i].visible)
			continue;
		*event = changes[i].event;
		event->kv.key = copy_bytes(&room, event->kv.key);
		event->kv.value = copy_bytes(&room, event->kv.value);
		event->prev.key = event->has_prev ? event->kv.key : bytes_of(NULL, 0);
		batch->prev_values[event - batch->events] = NULL;
		event++;
	}
	assert(room == (uint8_t *)batch + bytes);
	meter_add(&store->events, batch->bytes);
	pins_add(&store->pins, &batch->pin, revision - 1);
	*ret_batch = batch;
	return ERR_OK;
}

struct event_batch *event_batch_ref(struct event_batch *batch)
{
	atomic_fetch_add_explicit(&batch->references, 1, memory_order_relaxed);
	return batch;
}

void event_batch_unref(struct event_batch *batch)
{
	if (!batch || atomic_fetch_sub_explicit(&batch->references, 1, memory_order_acq_rel) != 1)
		return;
	meter_sub(&batch->store->events, batch->bytes);
	pins_release(&batch->store->pins, &batch->pin);
	for (size_t i = 0; i < batch->count; i++)
		free(batch->prev_values[i]);
	pthread_mutex_destroy(&batch->prev_lock);
	free(batch);
}

size_t store_events_bytes(const struct store *store)
{
	return meter_bytes(&store->events);
}

int64_t event_batch_revision(const struct event_batch *batch)
{
	return batch->revision;
}

size_t event_batch_count(const struct event_batch *batch)
{
	return batch->count;
}

size_t event_batch_bytes(const struct event_batch *batch)
{
	return batch->bytes;
}

const struct event *event_batch_at(const struct event_batch *batch, size_t index)
{
	assert(index < batch->count);
	return &batch->events[index];
}

/* Under prev_lock. */
static enum err load_prev(struct event_batch *batch, size_t index, struct store_reader *reader)
{
	const struct event *event = &batch->events[index];
	uint8_t *value;
	enum err e;

	if (batch->prev_values[index])
		return ERR_OK;
	value = malloc(event->prev.value.size + 1); /* never NULL: it marks what is loaded */
	if (!value)
		return fault(ERR_NOMEM, "a previous value of %zu bytes", event->prev.value.size);
	e = conn_value_read(&reader->conn, event->prev_row, event->prev.value.size, value);
	if (e)
		free(value);
	else
		batch->prev_values[index] = value;
	return e;
}

enum err event_prev(struct event_batch *batch, size_t index, struct store_reader *reader,
		    struct kv *ret_prev, bool *ret_found)
{
	const struct event *event = event_batch_at(batch, index);
	enum err e;

	if (!event->has_prev) {
		*ret_found = false;
		return ERR_OK;
	}
	pthread_mutex_lock(&batch->prev_lock);
	e = load_prev(batch, index, reader);
	if (!e) {
		*ret_prev = event->prev;
		ret_prev->value.data = batch->prev_values[index];
		*ret_found = true;
	}
	pthread_mutex_unlock(&batch->prev_lock);
	return e;
}
