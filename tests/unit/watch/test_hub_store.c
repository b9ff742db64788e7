/* SPDX-License-Identifier: Apache-2.0 */
/* The hub over the real store: a writer at full speed with compactions behind it, watchers that
 * come, go and dawdle, and every event with its previous value held against what the writer wrote.
 */
#include "tests/harness/store_rig.h"

#include "shim/watch/hub.h"

#include <assert.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEYS 12
#define WRITES 3000
#define REVISIONS_MAX (WRITES + 2)
#define EVENTS_MAX KEYS /* of one revision */
#define VALUE_BYTES 24

struct record {
	enum event_type type;
	char key[16];
	char value[VALUE_BYTES]; /* "" for a delete */
	char prev[VALUE_BYTES];	 /* "" for a create */
};

/* What has been written; the listener fills in a revision before anybody can hear of it. */
struct world {
	struct rig rig;
	struct hub *hub;
	pthread_mutex_t lock; /* guards the rest */
	struct record records[REVISIONS_MAX][EVENTS_MAX];
	size_t counts[REVISIONS_MAX];
	char now[KEYS][VALUE_BYTES]; /* current values */
	int64_t compacted;
};

static void copy_text(char *to, size_t room, struct bytes from)
{
	assert(from.size < room);
	if (from.size)
		memcpy(to, from.data, from.size);
	to[from.size] = '\0';
}

static void record_event(struct world *world, int64_t revision, const struct event *event)
{
	struct record *record = &world->records[revision][world->counts[revision]++];
	char *now;

	record->type = event->type;
	copy_text(record->key, sizeof(record->key), event->kv.key);
	copy_text(record->value, sizeof(record->value), event->kv.value);
	now = world->now[strtol(record->key + 1, NULL, 10)];
	memcpy(record->prev, now, VALUE_BYTES);
	memcpy(now, record->value, VALUE_BYTES);
}

static void on_commit(void *context, const struct store_commit *commit)
{
	struct world *world = context;

	pthread_mutex_lock(&world->lock);
	for (size_t i = 0; i < commit->batch_count; i++) {
		const struct event_batch *batch = commit->batches[i];

		for (size_t k = 0; k < event_batch_count(batch); k++)
			record_event(world, event_batch_revision(batch), event_batch_at(batch, k));
	}
	pthread_mutex_unlock(&world->lock);
	hub_on_commit(world->hub, commit);
}

static void on_compact(void *context, int64_t revision)
{
	struct world *world = context;

	pthread_mutex_lock(&world->lock);
	world->compacted = revision;
	pthread_mutex_unlock(&world->lock);
	hub_on_compact(world->hub, revision);
}

static void on_fault(void *context, enum err e)
{
	(void)context;
	fprintf(stderr, "the store stopped: %s\n", err_text(e));
	abort();
}

/* --- one stream ------------------------------------------------------------------------------- */

#define WATCHES 8

struct listener {
	struct world *world;
	struct hub_stream *stream;
	struct store_reader *reader;
	enum { CLOSED, ASKED, OPEN, CANCELING } states[WATCHES + 1]; /* by watch id */
	int64_t heard[WATCHES + 1];
	uint64_t events;
	uint64_t prevs;
	uint64_t overtakes;
};

static void on_ready(void *context)
{
	(void)context; /* the test asks all the time */
}

static void check_prev(struct listener *listener, const struct hub_match *match, size_t at,
		       const struct record *record)
{
	int64_t revision = event_batch_revision(match->batch);
	char text[VALUE_BYTES];
	bool found = false;
	struct kv prev;

	assert_int_equal(event_prev(match->batch, at, listener->reader, &prev, &found), ERR_OK);
	if (!found) {
		/* A create, or the predecessor went with a compaction. */
		assert_true(!record->prev[0] || revision <= listener->world->compacted);
		return;
	}
	copy_text(text, sizeof(text), prev.value);
	assert_string_equal(text, record->prev);
	assert_true(prev.mod_revision < revision);
	listener->prevs++;
}

/* All watchers here watch all keys, so whole revisions must come, none left out. */
static void check_match(struct listener *listener, const struct hub_item *item,
			const struct hub_match *match)
{
	struct world *world = listener->world;
	int64_t revision = event_batch_revision(match->batch);

	assert_int_equal(revision, ++listener->heard[item->watch_id]);
	pthread_mutex_lock(&world->lock);
	assert_int_equal(match->count, world->counts[revision]);
	for (size_t i = 0; i < match->count; i++) {
		size_t at = hub_match_next(item, match, match->first + i);
		const struct event *event = event_batch_at(match->batch, at);
		const struct record *record = &world->records[revision][i];

		assert_int_equal(event->type, record->type);
		assert_memory_equal(event->kv.key.data, record->key, event->kv.key.size);
		assert_int_equal(event->kv.value.size, strlen(record->value));
		if (event->kv.value.size)
			assert_memory_equal(event->kv.value.data, record->value,
					    event->kv.value.size);
		assert_int_equal(event->kv.mod_revision, revision);
		check_prev(listener, match, at, record);
		listener->events++;
	}
	pthread_mutex_unlock(&world->lock);
}

static void cancel(struct listener *listener, int64_t watch_id)
{
	hub_cancel(listener->stream, watch_id);
	listener->states[watch_id] = CANCELING;
}

static void hear(struct listener *listener, const struct hub_item *item)
{
	switch (item->kind) {
	case HUB_EVENTS:
		for (size_t i = 0; i < item->match_count; i++)
			check_match(listener, item, &item->matches[i]);
		break;
	case HUB_CREATED:
		if (listener->states[item->watch_id] == ASKED)
			listener->states[item->watch_id] = OPEN;
		if (!listener->heard[item->watch_id])
			listener->heard[item->watch_id] = item->header_revision;
		break;
	case HUB_CANCELED:
		if (!item->compact_revision) {
			listener->states[item->watch_id] = CLOSED;
			break;
		}
		assert_true(listener->heard[item->watch_id] + 1 < item->compact_revision);
		listener->overtakes++;
		cancel(listener, item->watch_id);
		break;
	case HUB_PROGRESS:
		for (size_t i = 1; i <= WATCHES; i++)
			assert_true(listener->states[i] != OPEN ||
				    listener->heard[i] >= item->header_revision);
		break;
	}
}

static bool listen(struct listener *listener, uint64_t count)
{
	struct hub_item item;
	bool more_now = true;

	while (count-- && more_now) {
		enum err e = hub_stream_next(listener->stream, listener->reader, &item, &more_now);

		assert_true(e == ERR_OK || e == ERR_AGAIN);
		if (e)
			continue;
		hear(listener, &item);
		hub_item_done(&item);
	}
	return more_now;
}

static void watch_all(struct listener *listener, struct rig_random *random)
{
	int64_t watch_id = 1 + (int64_t)rig_random(random, WATCHES);
	struct watch_spec spec = {.end = bytes_of("", 1), .watch_id = watch_id, .prev_kv = true};
	int64_t head = hub_published(listener->world->hub);

	if (listener->states[watch_id] != CLOSED) {
		cancel(listener, watch_id);
		return;
	}
	if (rig_random(random, 3))
		spec.start_revision = 2 + (int64_t)rig_random(random, (uint64_t)head);
	assert_int_equal(hub_watch(listener->stream, &spec), ERR_OK);
	listener->states[watch_id] = ASKED;
	listener->heard[watch_id] = spec.start_revision ? spec.start_revision - 1 : 0;
}

/* --- the writer ------------------------------------------------------------------------------- */

static void *write_all(void *context)
{
	struct world *world = context;
	struct rig_random random = {4711};
	char key[16];
	char value[VALUE_BYTES];

	for (unsigned i = 0; i < WRITES; i++) {
		snprintf(key, sizeof(key), "k%02u", (unsigned)rig_random(&random, KEYS));
		snprintf(value, sizeof(value), "value %u", i);
		if (rig_random(&random, 10))
			rig_put(&world->rig, key, value);
		else
			rig_delete(&world->rig, key, rig_random(&random, 2) ? "k99" : NULL);
		if (i % 400 == 399)
			rig_compact(&world->rig, store_head(world->rig.store) - 50, false);
	}
	return NULL;
}

static void finish(struct listener *listener)
{
	int64_t head = hub_published(listener->world->hub);

	while (listen(listener, 1000))
		continue;
	for (size_t i = 1; i <= WATCHES; i++)
		assert_true(listener->states[i] == CLOSED || listener->heard[i] >= head);
}

static void test_watchers_hear_all_that_the_store_wrote(void **state)
{
	static struct world world;
	struct listener listener = {.world = &world};
	struct rig_random random = {rig_seed()};
	pthread_t writer;

	(void)state;
	pthread_mutex_init(&world.lock, NULL);
	world.compacted = -1;
	world.rig.config.listener = (struct store_listener){.on_commit = on_commit,
							    .on_compact = on_compact,
							    .on_fault = on_fault,
							    .context = &world};
	rig_open(&world.rig);
	assert_int_equal(hub_new(world.rig.store, &world.hub), ERR_OK);
	assert_int_equal(hub_stream_open(world.hub, on_ready, NULL, &listener.stream), ERR_OK);
	assert_int_equal(store_reader_new(world.rig.store, &listener.reader), ERR_OK);
	pthread_create(&writer, NULL, write_all, &world);
	while (hub_published(world.hub) < WRITES / 2 || rig_random(&random, 500)) {
		if (!rig_random(&random, 5))
			watch_all(&listener, &random);
		if (!rig_random(&random, 3))
			hub_progress(listener.stream);
		listen(&listener, rig_random(&random, 30));
	}
	pthread_join(writer, NULL);
	finish(&listener);
	print_message("%llu events, %llu previous values, %llu overtaken\n",
		      (unsigned long long)listener.events, (unsigned long long)listener.prevs,
		      (unsigned long long)listener.overtakes);
	assert_true(listener.events > WRITES / 2);
	assert_true(listener.prevs > 0);
	hub_stream_close(listener.stream);
	store_reader_free(listener.reader);
	rig_down(&world.rig); /* the writer stops before the hub goes */
	hub_free(world.hub);
	rig_close(&world.rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_watchers_hear_all_that_the_store_wrote),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
