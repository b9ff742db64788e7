/* SPDX-License-Identifier: Apache-2.0 */
/* What the client asks: streams, creates, cancels, progress.  The rules are etcd's (watchStream in
 * mvcc/watcher.go, serverWatchStream in v3rpc/watch.go). */
#include "shim/watch/hub_internal.h"

#include "shim/base/limits.h"

#include <assert.h>
#include <stdlib.h>

#define ID_BUCKETS_FIRST 8

/* --- watch ids -------------------------------------------------------------------------------- */

static struct watcher **ids_bucket(const struct hub_stream *stream, int64_t watch_id)
{
	uint64_t hash = (uint64_t)watch_id * UINT64_C(0x9e3779b97f4a7c15);

	return &stream->ids[(hash >> 32) & (stream->id_bucket_count - 1)];
}

/* Without memory the chains get longer, nothing is lost. */
static void ids_grow(struct hub_stream *stream)
{
	size_t old_count = stream->id_bucket_count;
	struct watcher **old = stream->ids;
	struct watcher **ids = calloc(old_count, 2 * sizeof(struct watcher *));

	if (!ids)
		return;
	stream->ids = ids;
	stream->id_bucket_count = old_count * 2;
	for (size_t i = 0; i < old_count; i++) {
		while (old[i]) {
			struct watcher *watcher = old[i];
			struct watcher **bucket = ids_bucket(stream, watcher->watch_id);

			old[i] = watcher->same_bucket;
			watcher->same_bucket = *bucket;
			*bucket = watcher;
		}
	}
	free(old);
}

static void ids_add(struct hub_stream *stream, struct watcher *watcher)
{
	struct watcher **bucket;

	if (stream->watcher_count >= stream->id_bucket_count)
		ids_grow(stream);
	bucket = ids_bucket(stream, watcher->watch_id);
	watcher->same_bucket = *bucket;
	*bucket = watcher;
}

void ids_remove(struct hub_stream *stream, struct watcher *watcher)
{
	struct watcher **place = ids_bucket(stream, watcher->watch_id);

	while (*place != watcher) {
		assert(*place);
		place = &(*place)->same_bucket;
	}
	*place = watcher->same_bucket;
}

static struct watcher *ids_find(const struct hub_stream *stream, int64_t watch_id)
{
	struct watcher *watcher = *ids_bucket(stream, watch_id);

	while (watcher && watcher->watch_id != watch_id)
		watcher = watcher->same_bucket;
	return watcher;
}

/* --- streams ---------------------------------------------------------------------------------- */

enum err hub_stream_open(struct hub *hub, void (*on_ready)(void *context), void *context,
			 struct hub_stream **ret_stream)
{
	struct hub_stream *stream = calloc(1, sizeof(*stream));

	if (stream)
		stream->ids = calloc(ID_BUCKETS_FIRST, sizeof(struct watcher *));
	if (!stream || !stream->ids) {
		free(stream);
		return fault(ERR_NOMEM, "no memory for a watch stream");
	}
	stream->hub = hub;
	stream->on_ready = on_ready;
	stream->context = context;
	stream->idle = true;
	stream->id_bucket_count = ID_BUCKETS_FIRST;
	list_init(&stream->queue);
	list_init(&stream->watchers);
	list_init(&stream->behind);
	pthread_mutex_lock(&hub->lock);
	list_append(&hub->streams, &stream->link);
	hub->stats.streams++;
	pthread_mutex_unlock(&hub->lock);
	*ret_stream = stream;
	return ERR_OK;
}

/* Unhooks everything of the stream; what is to be freed goes onto the two lists. */
static void stream_dismantle(struct hub_stream *stream, struct list *items, struct list *watchers)
{
	list_for_each_safe (node, after, &stream->watchers) {
		struct watcher *watcher = container_of(node, struct watcher, all);

		watcher_go_closed(watcher);
		if (!watcher->queued)
			list_append(watchers, &watcher->all);
	}
	list_for_each_safe (node, after, &stream->queue) {
		struct item *item = container_of(node, struct item, link);

		if (stream_unlink(stream, item))
			list_append(watchers, &item->watcher->all);
		list_append(items, &item->link);
	}
	list_remove(&stream->link);
	stream->hub->stats.streams--;
}

void hub_stream_close(struct hub_stream *stream)
{
	struct list items;
	struct list watchers;

	if (!stream)
		return;
	assert(!stream->taken && !stream->slice);
	list_init(&items);
	list_init(&watchers);
	pthread_mutex_lock(&stream->hub->lock);
	stream_dismantle(stream, &items, &watchers);
	pthread_mutex_unlock(&stream->hub->lock);
	list_for_each_safe (node, after, &items) {
		item_free(container_of(node, struct item, link));
	}
	list_for_each_safe (node, after, &watchers) {
		free(container_of(node, struct watcher, all));
	}
	free(stream->ids);
	free(stream);
}

size_t hub_stream_bytes(const struct hub_stream *stream)
{
	return sizeof(*stream) + stream->id_bucket_count * sizeof(*stream->ids) +
	       stream->watcher_bytes;
}

/* --- creates and cancels ---------------------------------------------------------------------- */

static enum err queue_refusal(struct hub_stream *stream, const char *reason)
{
	struct item *item = calloc(1, sizeof(*item));

	if (!item)
		return fault(ERR_NOMEM, "no memory for a watch answer");
	item->kind = HUB_CANCELED;
	item->watch_id = -1;
	item->header_revision = stream->hub->published;
	item->cancel_reason = reason;
	stream_append(stream, item);
	return ERR_OK;
}

static int64_t free_id(struct hub_stream *stream)
{
	while (ids_find(stream, stream->next_id))
		stream->next_id++;
	return stream->next_id++;
}

static struct watcher *watcher_new(struct hub_stream *stream, const struct watch_spec *spec)
{
	struct bytes key = spec->key.size ? spec->key : bytes_of("", 1);
	struct watcher *watcher;

	if (key.size > SIZE_MAX / 4 || spec->end.size > SIZE_MAX / 4)
		return NULL;
	watcher = calloc(1, sizeof(*watcher) + key.size + spec->end.size);
	if (!watcher)
		return NULL;
	memcpy(watcher->key_and_end, key.data, key.size);
	if (spec->end.size)
		memcpy(watcher->key_and_end + key.size, spec->end.data, spec->end.size);
	watcher->match.key = bytes_of(watcher->key_and_end, key.size);
	watcher->match.end = bytes_of(watcher->key_and_end + key.size, spec->end.size);
	list_init(&watcher->behind);
	watcher->stream = stream;
	watcher->start_revision = spec->start_revision;
	watcher->prev_kv = spec->prev_kv;
	watcher->progress_notify = spec->progress_notify;
	watcher->progress_due = spec->progress_notify;
	watcher->fragment = spec->fragment;
	watcher->no_put = spec->no_put;
	watcher->no_delete = spec->no_delete;
	return watcher;
}

static void watcher_queue_answer(struct watcher *watcher, struct item *item,
				 enum hub_item_kind kind)
{
	item->kind = kind;
	item->watcher = watcher;
	item->watch_id = watcher->watch_id;
	item->header_revision = watcher->stream->hub->published;
	stream_append(watcher->stream, item);
}

/* A new watcher starts BEHIND, and is LIVE at once when there is no history to read. */
static void watcher_register(struct watcher *watcher, int64_t watch_id)
{
	struct hub_stream *stream = watcher->stream;
	int64_t published = stream->hub->published;

	watcher->watch_id = watch_id;
	watcher->state = WATCHER_BEHIND;
	watcher->next_revision = watcher->start_revision;
	if (!watcher->next_revision)
		watcher->next_revision = published + 1;
	list_append(&stream->watchers, &watcher->all);
	list_append(&stream->behind, &watcher->behind);
	ids_add(stream, watcher);
	stream->watcher_count++;
	stream->watcher_bytes += watcher_bytes(watcher);
	stream->hub->stats.watchers++;
	stream->hub->stats.slow_watchers++;
	if (watcher->next_revision > published)
		watcher_go_live(watcher);
	watcher_queue_answer(watcher, &watcher->created, HUB_CREATED); /* H2 */
}

static bool is_empty_range(const struct watch_spec *spec)
{
	struct bytes key = spec->key.size ? spec->key : bytes_of("", 1);

	return !range_is_single(spec->end) && !range_is_open(spec->end) &&
	       bytes_compare(key, spec->end) >= 0;
}

static enum err watch_locked(struct hub_stream *stream, const struct watch_spec *spec)
{
	struct watcher *watcher;
	int64_t watch_id = spec->watch_id;

	if (stream->control_count >= WATCH_CONTROL_ITEMS_MAX)
		return ERR_BUSY;
	/* etcd checks in this order. */
	if (spec->start_revision < 0)
		return queue_refusal(stream, err_text(ERR_COMPACTED));
	if (is_empty_range(spec))
		return queue_refusal(stream, err_text(ERR_WATCH_EMPTY_RANGE));
	if (watch_id != WATCH_ID_AUTO && ids_find(stream, watch_id))
		return queue_refusal(stream, err_text(ERR_WATCH_DUPLICATE_ID));
	watcher = watcher_new(stream, spec);
	if (!watcher)
		return fault(ERR_NOMEM, "no memory for a watcher");
	watcher_register(watcher, watch_id == WATCH_ID_AUTO ? free_id(stream) : watch_id);
	return ERR_OK;
}

enum err hub_watch(struct hub_stream *stream, const struct watch_spec *spec)
{
	enum err e;

	pthread_mutex_lock(&stream->hub->lock);
	e = watch_locked(stream, spec);
	pthread_mutex_unlock(&stream->hub->lock);
	return e;
}

void hub_cancel(struct hub_stream *stream, int64_t watch_id)
{
	struct watcher *watcher;

	pthread_mutex_lock(&stream->hub->lock);
	watcher = ids_find(stream, watch_id);
	if (watcher) {
		watcher_go_closed(watcher); /* H3: nothing is added after the answer */
		watcher_queue_answer(watcher, &watcher->canceled, HUB_CANCELED);
	}
	pthread_mutex_unlock(&stream->hub->lock);
}

/* --- progress --------------------------------------------------------------------------------- */

/* H4: what is published was queued for every LIVE watcher, so an item behind that may say so. */
static bool watcher_is_current(const struct watcher *watcher)
{
	return watcher->state == WATCHER_LIVE &&
	       watcher->stream->hub->published >= watcher->start_revision;
}

/* A client that asks faster than it reads gets fewer answers, as in etcd. */
static void queue_progress(struct hub_stream *stream, struct watcher *watcher)
{
	struct item *item;

	if (stream->control_count >= WATCH_CONTROL_ITEMS_MAX)
		return;
	item = calloc(1, sizeof(*item));
	if (!item)
		return; /* the next request or tick tries again */
	item->kind = HUB_PROGRESS;
	item->watcher = watcher;
	item->watch_id = watcher ? watcher->watch_id : -1;
	item->header_revision = stream->hub->published;
	stream_append(stream, item);
}

static bool all_are_current(const struct hub_stream *stream)
{
	if (!stream->watcher_count || stream->live_count != stream->watcher_count)
		return false;
	list_for_each (node, &stream->watchers) {
		if (!watcher_is_current(container_of(node, struct watcher, all)))
			return false;
	}
	return true;
}

void hub_progress(struct hub_stream *stream)
{
	pthread_mutex_lock(&stream->hub->lock);
	if (all_are_current(stream))
		queue_progress(stream, NULL);
	pthread_mutex_unlock(&stream->hub->lock);
}

void hub_tick(struct hub_stream *stream)
{
	pthread_mutex_lock(&stream->hub->lock);
	list_for_each (node, &stream->watchers) {
		struct watcher *watcher = container_of(node, struct watcher, all);

		if (!watcher->progress_notify)
			continue;
		if (watcher->progress_due && watcher_is_current(watcher))
			queue_progress(stream, watcher);
		watcher->progress_due = true;
	}
	pthread_mutex_unlock(&stream->hub->lock);
}
