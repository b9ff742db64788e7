/* SPDX-License-Identifier: Apache-2.0 */
/* hub_peers.h - clients and a writer around the hub that act by chance, and what the clients must
 * hear: the invariants H1 to H4 of hub.h, against the record of fake_history.h.
 *
 * One program includes this once, after assert_true() and its kin (cmocka's or others), and defines
 * struct chance and below(), where all decisions come from.
 * Threads: a peer belongs to one, the writer to one. */
#ifndef TESTS_UNIT_WATCH_HUB_PEERS_H
#define TESTS_UNIT_WATCH_HUB_PEERS_H

#include "fake_history.h"

#include "shim/base/limits.h"
#include "shim/watch/hub_internal.h"

struct chance {
	uint64_t state;
};

/* A number below the bound. */
static unsigned below(struct chance *chance, unsigned bound);

static const char *const keys[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
#define KEYS 8

/* --- one stream and what it should hear ------------------------------------------------------- */

#define VIEWS 24 /* watch ids a stream uses */

struct view {
	enum { VIEW_NONE, VIEW_ASKED, VIEW_LIVE, VIEW_OVERTAKEN, VIEW_CANCELING } state;
	struct bytes key;
	struct bytes end;
	bool no_put;
	bool no_delete;
	int64_t start;
	int64_t heard;
};

struct peer {
	struct hub *hub;
	struct hub_stream *stream;
	struct chance chance;
	struct view views[VIEWS];
	int64_t created_order[VIEWS * 4]; /* ids in the order of their creates */
	size_t created_count;
	size_t created_seen;
	size_t refusals;
	int64_t newest_header;
	uint64_t events;
	uint64_t progresses;
	uint64_t overtakes;
	atomic_bool ready;
};

static void peer_ready(void *context)
{
	atomic_store(&((struct peer *)context)->ready, true);
}

static void peer_open(struct peer *peer, struct hub *hub, uint64_t seed)
{
	memset(peer, 0, sizeof(*peer));
	peer->hub = hub;
	peer->chance.state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	assert_int_equal(hub_stream_open(hub, peer_ready, peer, &peer->stream), ERR_OK);
}

static bool view_wants(const struct view *view, const struct event *event)
{
	if (event->type == EVENT_PUT ? view->no_put : view->no_delete)
		return false;
	return range_contains(view->key, view->end, event->kv.key);
}

static size_t view_count(const struct view *view, int64_t revision)
{
	const struct event_batch *batch;
	size_t count = 0;

	pthread_rwlock_rdlock(&fake.lock);
	assert_true(revision <= fake.head);
	batch = fake.batches[revision];
	pthread_rwlock_unlock(&fake.lock);
	for (size_t i = 0; batch && i < batch->count; i++)
		count += view_wants(view, &batch->events[i]);
	return count;
}

/* Nothing that the view should have been given lies between what it heard and `revision`. */
static void view_heard_all_below(struct view *view, int64_t revision)
{
	while (view->heard + 1 < revision) {
		view->heard++;
		assert_int_equal(view_count(view, view->heard), 0);
	}
}

static void peer_hears_events(struct peer *peer, const struct hub_item *item)
{
	struct view *view = &peer->views[item->watch_id];
	size_t total = 0;

	assert_true(view->state == VIEW_LIVE || view->state == VIEW_CANCELING); /* H2, H3 */
	for (size_t i = 0; i < item->match_count; i++) {
		const struct hub_match *match = &item->matches[i];
		int64_t revision = event_batch_revision(match->batch);
		size_t count = 0;

		assert_true(revision > view->heard && revision >= view->start); /* H1 */
		assert_true(item->header_revision >= revision);
		view_heard_all_below(view, revision);
		for (size_t at = hub_match_next(item, match, match->first); at <= match->last;
		     at = hub_match_next(item, match, at + 1), count++)
			assert_true(view_wants(view, event_batch_at(match->batch, at)));
		assert_int_equal(count, match->count);
		assert_int_equal(count, view_count(view, revision));
		assert_true(count > 0);
		view->heard = revision;
		total += count;
	}
	assert_int_equal(total, item->event_count);
	peer->events += total;
}

static void peer_hears_created(struct peer *peer, const struct hub_item *item)
{
	struct view *view = &peer->views[item->watch_id];

	assert_int_equal(item->watch_id, peer->created_order[peer->created_seen++]); /* H2 */
	if (peer->created_seen == peer->created_count)
		peer->created_seen = peer->created_count = 0;
	if (view->state == VIEW_ASKED)
		view->state = VIEW_LIVE;
	view->heard = view->start ? view->start - 1 : item->header_revision;
}

static void peer_hears_canceled(struct peer *peer, const struct hub_item *item)
{
	struct view *view = item->watch_id < 0 ? NULL : &peer->views[item->watch_id];

	if (!view) {
		assert_true(item->created);
		assert_non_null(item->cancel_reason);
		assert_true(peer->refusals-- > 0);
	} else if (item->compact_revision) {
		assert_int_equal(view->state, VIEW_LIVE);
		assert_true(view->heard + 1 < item->compact_revision);
		assert_int_equal(item->header_revision, 0);
		view->state = VIEW_OVERTAKEN;
		peer->overtakes++;
	} else {
		assert_int_equal(view->state, VIEW_CANCELING);
		view->state = VIEW_NONE;
	}
}

static void peer_hears_progress(struct peer *peer, const struct hub_item *item)
{
	peer->progresses++;
	for (size_t i = 0; i < VIEWS; i++) {
		struct view *view = &peer->views[i];
		bool is_meant = item->watch_id < 0 || (size_t)item->watch_id == i;

		if (view->state == VIEW_LIVE && is_meant)
			view_heard_all_below(view, item->header_revision + 1); /* H4 */
	}
}

static void peer_hears(struct peer *peer, const struct hub_item *item)
{
	switch (item->kind) {
	case HUB_CREATED:
		peer_hears_created(peer, item);
		break;
	case HUB_EVENTS:
		peer_hears_events(peer, item);
		break;
	case HUB_CANCELED:
		peer_hears_canceled(peer, item);
		break;
	case HUB_PROGRESS:
		peer_hears_progress(peer, item);
		break;
	}
}

/* Takes up to `count` items; false when there was nothing left. */
static bool peer_read(struct peer *peer, unsigned count)
{
	struct hub_item item;
	bool more_now = true;

	while (count && more_now) {
		enum err e = hub_stream_next(peer->stream, NULL, &item, &more_now);

		assert_true(e == ERR_OK || e == ERR_AGAIN);
		count--;
		if (e)
			continue;
		peer_hears(peer, &item);
		hub_item_done(&item);
	}
	return more_now;
}

/* --- what a client may do --------------------------------------------------------------------- */

static void peer_watch(struct peer *peer)
{
	size_t id = 1 + below(&peer->chance, VIEWS - 1);
	struct view *view = &peer->views[id];
	struct watch_spec spec = {
		.key = bytes_of_string(keys[below(&peer->chance, KEYS)]),
		.watch_id = (int64_t)id,
		.no_put = below(&peer->chance, 6) == 0,
		.no_delete = below(&peer->chance, 6) == 0,
		.progress_notify = below(&peer->chance, 2) == 0,
	};
	int64_t published = hub_published(peer->hub);
	bool is_bad;

	if (peer->created_count == VIEWS * 4)
		return;
	if (below(&peer->chance, 3) == 0)
		spec.end = bytes_of_string(keys[below(&peer->chance, KEYS)]);
	else if (below(&peer->chance, 3) == 0)
		spec.end = bytes_of("", 1);
	if (below(&peer->chance, 3) == 0)
		spec.start_revision = 1 + below(&peer->chance, (unsigned)published + 5);
	else if (below(&peer->chance, 2) == 0 && published > 10)
		spec.start_revision = published - below(&peer->chance, 10);
	else if (below(&peer->chance, 20) == 0)
		spec.start_revision = -1;
	is_bad = spec.start_revision < 0 ||
		 (view->state != VIEW_NONE && view->state != VIEW_CANCELING);
	is_bad = is_bad || (!range_is_single(spec.end) && !range_is_open(spec.end) &&
			    bytes_compare(spec.key, spec.end) >= 0);
	if (view->state == VIEW_CANCELING)
		return; /* legal, but the record here could not tell the two apart */
	assert_int_equal(hub_watch(peer->stream, &spec), ERR_OK);
	if (is_bad) {
		peer->refusals++;
		return;
	}
	*view = (struct view){VIEW_ASKED,	   spec.key, spec.end, spec.no_put, spec.no_delete,
			      spec.start_revision, 0};
	peer->created_order[peer->created_count++] = (int64_t)id;
}

static void peer_cancel(struct peer *peer)
{
	size_t id = below(&peer->chance, VIEWS);
	struct view *view = &peer->views[id];

	hub_cancel(peer->stream, (int64_t)id);
	if (view->state != VIEW_NONE)
		view->state = VIEW_CANCELING;
}

static void peer_act(struct peer *peer)
{
	unsigned what = below(&peer->chance, 100);

	if (what < 20)
		peer_watch(peer);
	else if (what < 26)
		peer_cancel(peer);
	else if (what < 40)
		hub_progress(peer->stream);
	else if (what < 43)
		hub_tick(peer->stream);
	else
		peer_read(peer, below(&peer->chance, 12));
}

/* Reads to the end; then nothing may be missing, and progress must be answered when it may be. */
static void peer_finish(struct peer *peer)
{
	int64_t head = hub_published(peer->hub);
	uint64_t progresses;
	bool may_ask = false;

	while (peer_read(peer, 1000))
		;
	for (size_t i = 0; i < VIEWS; i++) {
		struct view *view = &peer->views[i];

		assert_true(view->state != VIEW_ASKED && view->state != VIEW_CANCELING);
		if (view->state == VIEW_LIVE && view->start <= head)
			view_heard_all_below(view, head + 1);
		if (view->state == VIEW_OVERTAKEN ||
		    (view->state == VIEW_LIVE && view->start > head)) {
			hub_cancel(peer->stream, (int64_t)i);
			view->state = VIEW_CANCELING;
		}
		may_ask = may_ask || view->state == VIEW_LIVE;
	}
	assert_int_equal(peer->refusals, 0);
	progresses = peer->progresses;
	hub_progress(peer->stream);
	while (peer_read(peer, 1000))
		;
	assert_int_equal(peer->progresses, progresses + may_ask);
}

/* --- the writer ------------------------------------------------------------------------------- */

static void writer_commit(struct hub *hub, struct chance *chance)
{
	struct event_batch *batches[4];
	size_t count = 1 + below(chance, 4);

	for (size_t i = 0; i < count; i++) {
		unsigned offset = below(chance, KEYS);

		batches[i] = batch_new(fake.head + 1 + (int64_t)i);
		for (unsigned k = below(chance, 5); k; k--)
			batch_add(batches[i], below(chance, 3) ? EVENT_PUT : EVENT_DELETE,
				  keys[(offset + k) % KEYS]);
	}
	fake_commit(batches, count, hub_on_commit, hub);
}

static void writer_compact(struct hub *hub, struct chance *chance)
{
	int64_t low = fake.compacted < 1 ? 1 : fake.compacted;
	int64_t revision = low + below(chance, (unsigned)(fake.head - low) + 1);

	if (revision <= fake.compacted)
		return;
	fake_compact(revision);
	hub_on_compact(hub, revision);
}

static int64_t jumping_now_ns(void *context)
{
	int64_t *now_ns = context;

	*now_ns += WATCH_QUEUE_AGE_NS_MAX / 8;
	return *now_ns;
}

#endif
