/* SPDX-License-Identifier: Apache-2.0 */
/* What the writer tells: commits and compactions.
 *
 * Why nothing is lost or doubled (H1): a watcher is registered, and moved between LIVE and BEHIND,
 * under the same lock under which a commit is published, so each revision is for certain either
 * matched here or read from history, and next_revision guards against both. */
#include "shim/watch/hub_internal.h"

#include "shim/base/limits.h"

#include <assert.h>
#include <stdlib.h>

enum err hub_new(struct store *store, struct hub **ret_hub)
{
	struct hub *hub = calloc(1, sizeof(*hub));
	enum err e;

	if (!hub)
		return fault(ERR_NOMEM, "no memory for the watch hub");
	hub->clock = &clock_system;
	e = match_init(&hub->match, (uint64_t)clock_now_ns(hub->clock) ^ (uintptr_t)hub);
	if (e) {
		free(hub);
		return e;
	}
	pthread_mutex_init(&hub->lock, NULL);
	list_init(&hub->streams);
	hub->store = store;
	hub->published = store_head(store);
	*ret_hub = hub;
	return ERR_OK;
}

void hub_free(struct hub *hub)
{
	if (!hub)
		return;
	assert(list_is_empty(&hub->streams));
	match_fini(&hub->match);
	pthread_mutex_destroy(&hub->lock);
	free(hub);
}

void hub_set_clock(struct hub *hub, const struct clock *clock)
{
	hub->clock = clock;
}

/* --- commits ---------------------------------------------------------------------------------- */

struct publication {
	struct event_batch *batch;
	int64_t revision;
	int64_t now_ns;
	const struct event *event; /* the one being matched */
	size_t index;
	struct list touched; /* watchers with a match in this batch */
};

static void publication_visit(void *context, struct match_entry *entry)
{
	struct watcher *watcher = container_of(entry, struct watcher, match);
	struct publication *publication = context;
	struct hub_match *found = &watcher->found;

	if (publication->revision < watcher->next_revision)
		return; /* it asked for a later start */
	if (!watcher_wants(watcher, publication->event))
		return;
	if (!found->count) {
		found->first = publication->index;
		list_append(&publication->touched, &watcher->touched);
	}
	found->last = publication->index;
	found->count++;
}

/* Makes the newest queued item pay for the batch that its neighbours share, so that the bytes are
 * counted once and until the last of them is gone.  False: it does not fit. */
static bool charge(struct hub_stream *stream, struct item *item)
{
	size_t batch_bytes = event_batch_bytes(item->match.batch);
	struct item *newest = container_of(stream->queue.prev, struct item, link);

	item->charged_bytes = sizeof(*item) + batch_bytes;
	if (!list_is_empty(&stream->queue) && newest->match.batch == item->match.batch) {
		newest->charged_bytes -= batch_bytes;
		stream->queued_bytes -= batch_bytes;
		stream->hub->stats.pending_bytes -= batch_bytes;
		return true;
	}
	/* A revision larger than the outbox passes alone: it is in memory anyway. */
	if (!stream->queued_bytes)
		return true;
	/* Streams that were left standing at different times hold different batches. */
	if (store_events_bytes(stream->hub->store) > WATCH_OUTBOXES_BYTES_MAX)
		return false;
	return stream->queued_bytes < WATCH_OUTBOX_BYTES_MAX &&
	       item->charged_bytes <= WATCH_OUTBOX_BYTES_MAX - stream->queued_bytes;
}

static struct item *events_item_new(const struct publication *publication, struct watcher *watcher)
{
	struct item *item = calloc(1, sizeof(*item));

	if (!item)
		return NULL; /* history has it, the watcher reads it there */
	item->kind = HUB_EVENTS;
	item->watcher = watcher;
	item->watch_id = watcher->watch_id;
	item->header_revision = publication->revision;
	item->queued_ns = publication->now_ns;
	item->match = watcher->found;
	item->match.batch = publication->batch;
	return item;
}

static void publication_hand_out(const struct publication *publication, struct watcher *watcher)
{
	struct item *item = events_item_new(publication, watcher);

	watcher->found = (struct hub_match){0};
	if (!item || !charge(watcher->stream, item)) {
		free(item);
		watcher_go_behind(watcher, publication->revision);
		return;
	}
	event_batch_ref(publication->batch);
	watcher->next_revision = publication->revision + 1;
	stream_append(watcher->stream, item);
}

static void hub_publish(struct hub *hub, struct event_batch *batch, int64_t now_ns)
{
	struct publication publication = {
		.batch = batch,
		.revision = event_batch_revision(batch),
		.now_ns = now_ns,
	};
	size_t count = event_batch_count(batch);

	list_init(&publication.touched);
	for (size_t i = 0; i < count; i++) {
		publication.event = event_batch_at(batch, i);
		publication.index = i;
		match_visit(&hub->match, publication.event->kv.key, publication_visit,
			    &publication);
	}
	list_for_each_safe (node, after, &publication.touched) {
		list_remove(node);
		publication_hand_out(&publication, container_of(node, struct watcher, touched));
	}
}

void hub_on_commit(void *context, const struct store_commit *commit)
{
	struct hub *hub = context;
	int64_t now_ns = clock_now_ns(hub->clock);

	pthread_mutex_lock(&hub->lock);
	store_commit_publish(commit);
	assert(commit->head_revision >= hub->published);
	hub->published = commit->head_revision;
	for (size_t i = 0; i < commit->batch_count; i++)
		hub_publish(hub, commit->batches[i], now_ns);
	pthread_mutex_unlock(&hub->lock);
}

/* --- compactions ------------------------------------------------------------------------------ */

/* Whether the queue holds old rows alive that the compaction at `revision` is about to remove, and
 * has done so for too long. */
static bool is_left_standing(const struct hub_stream *stream, int64_t revision, int64_t now_ns)
{
	list_for_each (node, &stream->queue) {
		const struct item *item = container_of(node, struct item, link);

		if (item->kind == HUB_EVENTS)
			return now_ns - item->queued_ns > WATCH_QUEUE_AGE_NS_MAX &&
			       item->header_revision <= revision;
	}
	return false;
}

/* The watcher has to read again from the revision of an item that it will not be given. */
static void watcher_rewind(struct watcher *watcher, int64_t revision)
{
	if (watcher->state == WATCHER_LIVE)
		watcher_go_behind(watcher, revision);
	else if (watcher->state == WATCHER_BEHIND && revision < watcher->next_revision)
		watcher->next_revision = revision;
}

/* Empties the queue of events, and of the progress that they were to precede (H4). */
static void stream_let_go(struct hub_stream *stream, struct list *gone)
{
	list_for_each_safe (node, after, &stream->queue) {
		struct item *item = container_of(node, struct item, link);

		if (item->kind != HUB_EVENTS && item->kind != HUB_PROGRESS)
			continue;
		/* A CLOSED watcher stays: its cancelled item is behind this one. */
		if (stream_unlink(stream, item))
			assert(!"the last item of a closed watcher is not its cancelled one");
		if (item->kind == HUB_EVENTS)
			watcher_rewind(item->watcher, item->header_revision);
		item->watcher = NULL; /* it may be freed before the item is */
		list_append(gone, &item->link);
	}
}

void hub_on_compact(void *context, int64_t revision)
{
	struct hub *hub = context;
	int64_t now_ns = clock_now_ns(hub->clock);
	struct list gone;

	list_init(&gone);
	pthread_mutex_lock(&hub->lock);
	list_for_each (node, &hub->streams) {
		struct hub_stream *stream = container_of(node, struct hub_stream, link);

		if (is_left_standing(stream, revision, now_ns))
			stream_let_go(stream, &gone);
	}
	pthread_mutex_unlock(&hub->lock);
	list_for_each_safe (node, after, &gone) {
		item_free(container_of(node, struct item, link));
	}
}

/* --- figures ---------------------------------------------------------------------------------- */

void hub_stats(struct hub *hub, struct hub_stats *ret_stats)
{
	pthread_mutex_lock(&hub->lock);
	*ret_stats = hub->stats;
	pthread_mutex_unlock(&hub->lock);
}

int64_t hub_published(struct hub *hub)
{
	int64_t published;

	pthread_mutex_lock(&hub->lock);
	published = hub->published;
	pthread_mutex_unlock(&hub->lock);
	return published;
}
