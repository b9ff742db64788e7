/* SPDX-License-Identifier: Apache-2.0 */
/* What the client is told: the queue in order, and history for those who are BEHIND.
 *
 * History is never queued: a slice is read when its watcher has nothing in the queue any more and
 * is handed over at once, so it follows all the watcher got before (H1).  It may overtake items of
 * other watchers, but no progress item: H4 speaks for all watchers of the stream. */
#include "shim/watch/hub_internal.h"

#include "shim/base/limits.h"

#include <assert.h>
#include <stdlib.h>

/* The BEHIND watcher whose turn it is, moved to the end of the line; NULL: rather the queue. */
static struct watcher *choose_behind(struct hub_stream *stream)
{
	bool queue_is_empty = list_is_empty(&stream->queue);

	if (!queue_is_empty &&
	    (stream->progress_count || stream->taken_count < CATCHUP_EVERY_ITEMS))
		return NULL;
	stream->taken_count = 0;
	list_for_each (node, &stream->behind) {
		struct watcher *watcher = container_of(node, struct watcher, behind);

		if (!watcher->queued) {
			list_remove(node);
			list_append(&stream->behind, node);
			return watcher;
		}
	}
	assert(!queue_is_empty || list_is_empty(&stream->behind));
	return NULL;
}

/* --- from the queue --------------------------------------------------------------------------- */

static void take(struct hub_stream *stream, struct hub_item *ret_item)
{
	struct item *item = container_of(stream->queue.next, struct item, link);
	struct watcher *watcher = item->watcher;

	stream->taken = item;
	stream->taken_count++;
	stream->speaker = watcher;
	stream->doomed = stream_unlink(stream, item) ? watcher : NULL;
	*ret_item = (struct hub_item){
		.kind = item->kind,
		.watch_id = item->watch_id,
		.header_revision = item->header_revision,
		.created = item->kind == HUB_CANCELED && !watcher,
		.cancel_reason = item->cancel_reason,
		.stream = stream,
	};
	if (item->kind != HUB_EVENTS)
		return;
	watcher->progress_due = false;
	stream->hub->stats.events += item->match.count;
	ret_item->prev_kv = watcher->prev_kv;
	ret_item->fragment = watcher->fragment;
	ret_item->matches = &item->match;
	ret_item->match_count = 1;
	ret_item->event_count = item->match.count;
}

/* --- from history ----------------------------------------------------------------------------- */

struct slice {
	struct event_batch *batches[CATCHUP_REVISIONS_MAX];
	size_t count;
	int64_t next_revision;
};

static void slice_fini(struct slice *slice)
{
	for (size_t i = 0; i < slice->count; i++)
		event_batch_unref(slice->batches[i]);
}

static bool match_history(const struct watcher *watcher, struct event_batch *batch,
			  struct hub_match *ret_match)
{
	struct hub_match match = {.batch = batch};
	size_t count = event_batch_count(batch);

	for (size_t i = 0; i < count; i++) {
		if (!watcher_wants(watcher, event_batch_at(batch, i)))
			continue;
		if (!match.count)
			match.first = i;
		match.last = i;
		match.count++;
	}
	*ret_match = match;
	return match.count > 0;
}

/* Turns the batches into an item, which takes them over.  ERR_AGAIN: the filters leave nothing. */
static enum err slice_item(struct hub_stream *stream, const struct watcher *watcher,
			   struct slice *slice, struct hub_item *ret_item)
{
	struct hub_match *matches;
	size_t match_count = 0;
	size_t event_count = 0;

	if (!slice->count)
		return ERR_AGAIN;
	matches = calloc(slice->count, sizeof(*matches));
	if (!matches)
		return fault(ERR_NOMEM, "no memory for a slice of history");
	for (size_t i = 0; i < slice->count; i++) {
		if (!match_history(watcher, slice->batches[i], &matches[match_count]))
			continue;
		event_count += matches[match_count++].count;
		slice->batches[i] = NULL;
	}
	if (!match_count) {
		free(matches);
		return ERR_AGAIN;
	}
	stream->slice = matches;
	stream->slice_count = match_count;
	stream->speaker = watcher;
	*ret_item = (struct hub_item){
		.kind = HUB_EVENTS,
		.watch_id = watcher->watch_id,
		.prev_kv = watcher->prev_kv,
		.fragment = watcher->fragment,
		.from_history = true,
		.matches = matches,
		.match_count = match_count,
		.event_count = event_count,
		.stream = stream,
	};
	return ERR_OK;
}

/* The watcher has been given all below next_revision.  Joining again happens right after the read
 * and not when the item is sent, so that a busy writer cannot keep the watcher one commit behind
 * for ever. */
static void watcher_advance(struct watcher *watcher, int64_t next_revision, size_t event_count)
{
	struct hub *hub = watcher->stream->hub;

	pthread_mutex_lock(&hub->lock);
	watcher->next_revision = next_revision;
	if (next_revision > hub->published)
		watcher_go_live(watcher);
	if (event_count)
		watcher->progress_due = false;
	hub->stats.events += event_count;
	pthread_mutex_unlock(&hub->lock);
}

static void watcher_overtake(struct watcher *watcher, struct hub_item *ret_item)
{
	struct hub *hub = watcher->stream->hub;

	pthread_mutex_lock(&hub->lock);
	watcher_go_overtaken(watcher);
	pthread_mutex_unlock(&hub->lock);
	*ret_item = (struct hub_item){
		.kind = HUB_CANCELED,
		.watch_id = watcher->watch_id,
		.compact_revision = store_compacted(hub->store),
		.stream = watcher->stream,
	};
}

static enum err read_slice(struct watcher *watcher, struct store_reader *reader,
			   const struct history_op *op, struct hub_item *ret_item)
{
	struct slice slice = {.next_revision = op->from};
	enum err e = store_history(reader, op, slice.batches, CATCHUP_REVISIONS_MAX, &slice.count,
				   &slice.next_revision);

	if (e == ERR_COMPACTED) {
		watcher_overtake(watcher, ret_item);
		return ERR_OK;
	}
	if (e)
		return e;
	assert(slice.next_revision > op->from); /* else this would go on for ever */
	e = slice_item(watcher->stream, watcher, &slice, ret_item);
	if (!e || e == ERR_AGAIN)
		watcher_advance(watcher, slice.next_revision, e ? 0 : ret_item->event_count);
	if (!e)
		ret_item->header_revision = op->to;
	slice_fini(&slice);
	return e;
}

/* --- both ------------------------------------------------------------------------------------- */

enum err hub_stream_next(struct hub_stream *stream, struct store_reader *reader,
			 struct hub_item *ret_item, bool *ret_more_now)
{
	struct watcher *watcher;
	struct history_op op;

	assert(!stream->taken && !stream->slice);
	pthread_mutex_lock(&stream->hub->lock);
	watcher = choose_behind(stream);
	if (!watcher && !list_is_empty(&stream->queue)) {
		take(stream, ret_item);
		pthread_mutex_unlock(&stream->hub->lock);
		*ret_more_now = true;
		return ERR_OK;
	}
	if (!watcher) {
		stream->idle = true;
		pthread_mutex_unlock(&stream->hub->lock);
		*ret_more_now = false;
		return ERR_AGAIN;
	}
	op = (struct history_op){
		.key = watcher->match.key,
		.end = watcher->match.end,
		.from = watcher->next_revision,
		.to = stream->hub->published,
		.rows_max = CATCHUP_SLICE_ROWS,
		.bytes_max = CATCHUP_SLICE_BYTES,
	};
	/* Only this thread closes the watcher, and the writer leaves a BEHIND one alone. */
	pthread_mutex_unlock(&stream->hub->lock);
	*ret_more_now = true;
	return read_slice(watcher, reader, &op, ret_item);
}

static void take_done(struct hub_stream *stream)
{
	item_free(stream->taken);
	free(stream->doomed);
	stream->taken = NULL;
	stream->doomed = NULL;
}

static void slice_done(struct hub_stream *stream)
{
	for (size_t i = 0; i < stream->slice_count; i++)
		event_batch_unref(stream->slice[i].batch);
	free(stream->slice);
	stream->slice = NULL;
	stream->slice_count = 0;
}

void hub_item_done(struct hub_item *item)
{
	struct hub_stream *stream = item->stream;

	if (!stream)
		return;
	if (stream->taken)
		take_done(stream);
	if (stream->slice)
		slice_done(stream);
	stream->speaker = NULL;
	item->stream = NULL;
}

size_t hub_match_next(const struct hub_item *item, const struct hub_match *match, size_t from)
{
	const struct watcher *watcher = item->stream->speaker;

	if (match->count == match->last - match->first + 1)
		return from;
	while (from <= match->last) {
		const struct event *event = event_batch_at(match->batch, from);

		if (watcher_wants(watcher, event) &&
		    range_contains(watcher->match.key, watcher->match.end, event->kv.key))
			break;
		from++;
	}
	return from;
}
