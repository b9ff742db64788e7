/* SPDX-License-Identifier: Apache-2.0 */
/* The hub against a recorded history: whatever writers, watchers, slow readers, cancels and
 * compactions do, every stream keeps the invariants H1 to H4 of hub.h.
 *
 * What a stream hears is checked against the record as it comes: `heard` is the revision up to
 * which a watcher has been given all that matches. */
#include "fake_history.h"

#include "shim/base/limits.h"
#include "shim/watch/hub_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* --- chance ----------------------------------------------------------------------------------- */

struct chance {
	uint64_t state;
};

static unsigned below(struct chance *chance, unsigned bound)
{
	chance->state ^= chance->state << 13;
	chance->state ^= chance->state >> 7;
	chance->state ^= chance->state << 17;
	return (unsigned)(chance->state >> 33) % bound;
}

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

#define PEERS 5

static void run_seed(uint64_t seed)
{
	static struct peer peers[PEERS];
	int64_t now_ns = 0;
	struct clock clock = {jumping_now_ns, jumping_now_ns, &now_ns};
	struct chance chance = {seed * UINT64_C(0xd1342543de82ef95) | 1};
	struct hub_stats stats;
	struct hub *hub;

	fake_init();
	fake.batch_bytes = 1 + (size_t)below(&chance, 4) * (WATCH_OUTBOX_BYTES_MAX / 8);
	fake.rows_max = 1 + below(&chance, 20);
	assert_int_equal(hub_new(&fake, &hub), ERR_OK);
	hub_set_clock(hub, &clock);
	for (size_t i = 0; i < PEERS; i++)
		peer_open(&peers[i], hub, seed * PEERS + i);
	for (unsigned step = 0; step < 1500; step++) {
		if (below(&chance, 4) == 0)
			writer_commit(hub, &chance);
		else if (below(&chance, 60) == 0)
			writer_compact(hub, &chance);
		else
			peer_act(&peers[below(&chance, PEERS)]);
	}
	for (size_t i = 0; i < PEERS; i++) {
		if (i)
			peer_finish(
				&peers[i]); /* the first one is closed in the middle of things */
		hub_stream_close(peers[i].stream);
	}
	hub_stats(hub, &stats);
	assert_int_equal(stats.streams | stats.watchers | stats.slow_watchers, 0);
	assert_int_equal(stats.pending_events | stats.pending_bytes, 0);
	hub_free(hub);
	fake_fini();
}

static uint64_t first_seed(void)
{
	const char *text = getenv("KEDGE_SEED");

	return text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
}

static void test_random_streams_keep_the_invariants(void **state)
{
	uint64_t seed = first_seed();

	(void)state;
	print_message("KEDGE_SEED=%llu\n", (unsigned long long)seed);
	for (uint64_t i = 0; i < 100; i++)
		run_seed(seed + i);
}

/* --- and with threads ------------------------------------------------------------------------- */

#define COMMITS 3000

struct shared {
	struct hub *hub;
	atomic_bool is_done;
};

static void *writer_main(void *context)
{
	struct shared *shared = context;
	struct chance chance = {777};

	for (unsigned i = 0; i < COMMITS; i++) {
		writer_commit(shared->hub, &chance);
		if (below(&chance, 300) == 0)
			writer_compact(shared->hub, &chance);
		if (i % 16 == 0)
			usleep(50);
	}
	atomic_store(&shared->is_done, true);
	return NULL;
}

struct owner {
	struct shared *shared;
	struct peer peers[2];
};

static void *owner_main(void *context)
{
	struct owner *owner = context;

	while (!atomic_load(&owner->shared->is_done)) {
		struct peer *peer = &owner->peers[below(&owner->peers[0].chance, 2)];

		if (atomic_exchange(&peer->ready, false))
			peer_read(peer, 20);
		peer_act(peer);
	}
	for (size_t i = 0; i < 2; i++) {
		peer_finish(&owner->peers[i]);
		assert_true(owner->peers[i].events > 0);
		hub_stream_close(owner->peers[i].stream);
	}
	return NULL;
}

static void test_a_writer_and_two_owners_on_threads(void **state)
{
	static struct owner owners[2];
	struct shared shared = {0};
	pthread_t threads[3];

	(void)state;
	fake_init();
	fake.batch_bytes = WATCH_OUTBOX_BYTES_MAX / 64;
	assert_int_equal(hub_new(&fake, &shared.hub), ERR_OK);
	for (size_t i = 0; i < 2; i++) {
		owners[i].shared = &shared;
		peer_open(&owners[i].peers[0], shared.hub, 10 + i);
		peer_open(&owners[i].peers[1], shared.hub, 20 + i);
		pthread_create(&threads[i], NULL, owner_main, &owners[i]);
	}
	pthread_create(&threads[2], NULL, writer_main, &shared);
	for (size_t i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	for (size_t i = 0; i < 4; i++) {
		const struct peer *peer = &owners[i / 2].peers[i % 2];

		print_message("%llu events, %llu progress answers, %llu overtaken\n",
			      (unsigned long long)peer->events,
			      (unsigned long long)peer->progresses,
			      (unsigned long long)peer->overtakes);
	}
	hub_free(shared.hub);
	fake_fini();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_streams_keep_the_invariants),
		cmocka_unit_test(test_a_writer_and_two_owners_on_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
