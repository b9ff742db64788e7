/* SPDX-License-Identifier: Apache-2.0 */
/* The moves of a watcher and of the items in a stream's queue. */
#include "shim/watch/hub_internal.h"

#include <assert.h>
#include <stdlib.h>

#define ONE(state) (1u << (state))

static const unsigned moves[] = {
	[WATCHER_LIVE] = ONE(WATCHER_BEHIND) | ONE(WATCHER_CLOSED),
	[WATCHER_BEHIND] = ONE(WATCHER_LIVE) | ONE(WATCHER_OVERTAKEN) | ONE(WATCHER_CLOSED),
	[WATCHER_OVERTAKEN] = ONE(WATCHER_CLOSED),
	[WATCHER_CLOSED] = 0,
};

/* Leaves the old state's structures; the caller enters the new one's. */
static void watcher_move(struct watcher *watcher, enum watcher_state state)
{
	struct hub_stream *stream = watcher->stream;

	assert(moves[watcher->state] & ONE(state));
	if (watcher->state == WATCHER_LIVE) {
		match_remove(&stream->hub->match, &watcher->match);
		stream->live_count--;
	}
	if (watcher->state == WATCHER_BEHIND) {
		list_remove(&watcher->behind);
		stream->hub->stats.slow_watchers--;
	}
	watcher->state = state;
}

void watcher_go_live(struct watcher *watcher)
{
	struct hub_stream *stream = watcher->stream;

	/* H1: what is published was given, what is not comes through the match. */
	assert(watcher->next_revision > stream->hub->published);
	watcher_move(watcher, WATCHER_LIVE);
	match_add(&stream->hub->match, &watcher->match);
	stream->live_count++;
}

void watcher_go_behind(struct watcher *watcher, int64_t next_revision)
{
	struct hub_stream *stream = watcher->stream;

	watcher_move(watcher, WATCHER_BEHIND);
	watcher->next_revision = next_revision;
	list_append(&stream->behind, &watcher->behind);
	stream->hub->stats.slow_watchers++;
	stream_wake(stream);
}

void watcher_go_overtaken(struct watcher *watcher)
{
	watcher_move(watcher, WATCHER_OVERTAKEN);
}

void watcher_go_closed(struct watcher *watcher)
{
	struct hub_stream *stream = watcher->stream;

	watcher_move(watcher, WATCHER_CLOSED);
	ids_remove(stream, watcher);
	list_remove(&watcher->all);
	stream->watcher_count--;
	stream->watcher_bytes -= watcher_bytes(watcher);
	stream->hub->stats.watchers--;
}

size_t watcher_bytes(const struct watcher *watcher)
{
	return sizeof(*watcher) + watcher->match.key.size + watcher->match.end.size;
}

bool watcher_wants(const struct watcher *watcher, const struct event *event)
{
	return event->type == EVENT_PUT ? !watcher->no_put : !watcher->no_delete;
}

/* --- the queue -------------------------------------------------------------------------------- */

void stream_wake(struct hub_stream *stream)
{
	if (!stream->idle)
		return;
	stream->idle = false;
	stream->on_ready(stream->context);
}

void stream_append(struct hub_stream *stream, struct item *item)
{
	struct hub_stats *stats = &stream->hub->stats;

	list_append(&stream->queue, &item->link);
	if (item->watcher)
		item->watcher->queued++;
	if (item->kind == HUB_EVENTS) {
		stream->queued_bytes += item->charged_bytes;
		stats->pending_bytes += item->charged_bytes;
		stats->pending_events += item->match.count;
	} else {
		stream->control_count++;
		stream->progress_count += item->kind == HUB_PROGRESS;
	}
	stream_wake(stream);
}

bool stream_unlink(struct hub_stream *stream, struct item *item)
{
	struct hub_stats *stats = &stream->hub->stats;
	struct watcher *watcher = item->watcher;

	list_remove(&item->link);
	if (item->kind == HUB_EVENTS) {
		stream->queued_bytes -= item->charged_bytes;
		stats->pending_bytes -= item->charged_bytes;
		stats->pending_events -= item->match.count;
	} else {
		stream->control_count--;
		stream->progress_count -= item->kind == HUB_PROGRESS;
	}
	if (!watcher)
		return false;
	assert(watcher->queued > 0);
	watcher->queued--;
	return watcher->state == WATCHER_CLOSED && !watcher->queued;
}

void item_free(struct item *item)
{
	struct watcher *watcher = item->watcher;

	if (watcher && (item == &watcher->created || item == &watcher->canceled))
		return; /* part of its watcher */
	event_batch_unref(item->match.batch);
	free(item);
}
