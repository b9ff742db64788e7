/* SPDX-License-Identifier: Apache-2.0 */
/* The hub's rules one by one; test_hub_model.c does the same at random. */
#include "fake_history.h"

#include "shim/base/limits.h"
#include "shim/watch/hub_internal.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct fixture {
	struct hub *hub;
	struct hub_stream *stream;
	struct hub_item item;
	unsigned ready_count;
	int64_t now_ns;
	struct clock clock;
};

static int64_t fixture_now_ns(void *context)
{
	return ((struct fixture *)context)->now_ns;
}

static void on_ready(void *context)
{
	((struct fixture *)context)->ready_count++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	fake_init();
	f->clock = (struct clock){fixture_now_ns, fixture_now_ns, f};
	assert_int_equal(hub_new(&fake, &f->hub), ERR_OK);
	hub_set_clock(f->hub, &f->clock);
	assert_int_equal(hub_stream_open(f->hub, on_ready, f, &f->stream), ERR_OK);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hub_item_done(&f->item);
	hub_stream_close(f->stream);
	hub_free(f->hub);
	fake_fini();
	free(f);
	return 0;
}

/* One revision of the given events: "+a" puts a, "-a" deletes it; NULL: nothing visible. */
static void commit(struct fixture *f, const char *first, const char *second)
{
	struct event_batch *batch = batch_new(fake.head + 1);

	if (first)
		batch_add(batch, first[0] == '+' ? EVENT_PUT : EVENT_DELETE, first + 1);
	if (second)
		batch_add(batch, second[0] == '+' ? EVENT_PUT : EVENT_DELETE, second + 1);
	fake_commit(&batch, 1, hub_on_commit, f->hub);
}

static void compact(struct fixture *f, int64_t revision)
{
	fake_compact(revision);
	hub_on_compact(f->hub, revision);
}

static void watch(struct fixture *f, const char *key, const char *end, int64_t start)
{
	struct watch_spec spec = {
		.key = bytes_of_string(key),
		.end = end ? bytes_of_string(end) : (struct bytes){0},
		.start_revision = start,
	};

	assert_int_equal(hub_watch(f->stream, &spec), ERR_OK);
}

/* The next item, history included; ERR_AGAIN only when there is nothing left to do. */
static enum err next(struct fixture *f)
{
	bool more_now = true;
	enum err e = ERR_AGAIN;

	hub_item_done(&f->item);
	while (e == ERR_AGAIN && more_now)
		e = hub_stream_next(f->stream, NULL, &f->item, &more_now);
	return e;
}

static void expect(struct fixture *f, enum hub_item_kind kind, int64_t watch_id, int64_t revision)
{
	assert_int_equal(next(f), ERR_OK);
	assert_int_equal(f->item.kind, kind);
	assert_int_equal(f->item.watch_id, watch_id);
	assert_int_equal(f->item.header_revision, revision);
}

static void expect_nothing(struct fixture *f)
{
	assert_int_equal(next(f), ERR_AGAIN);
}

static void expect_refusal(struct fixture *f, const char *reason)
{
	expect(f, HUB_CANCELED, -1, fake.head);
	assert_true(f->item.created);
	assert_string_equal(f->item.cancel_reason, reason);
}

/* The keys of the item's events, joined. */
static void expect_keys(struct fixture *f, const char *keys)
{
	char seen[64] = "";
	size_t count = 0;

	for (size_t i = 0; i < f->item.match_count; i++) {
		const struct hub_match *match = &f->item.matches[i];

		for (size_t at = hub_match_next(&f->item, match, match->first); at <= match->last;
		     at = hub_match_next(&f->item, match, at + 1)) {
			struct bytes key = event_batch_at(match->batch, at)->kv.key;

			strncat(seen, (const char *)key.data, key.size);
			count++;
		}
	}
	assert_string_equal(seen, keys);
	assert_int_equal(f->item.event_count, count);
}

/* --- creates ---------------------------------------------------------------------------------- */

static void test_ids_count_up_per_stream_and_skip_the_client_s_own(void **state)
{
	struct fixture *f = *state;
	struct watch_spec own = {.key = BYTES_LITERAL("a"), .watch_id = 1};

	watch(f, "a", NULL, 0);
	assert_int_equal(hub_watch(f->stream, &own), ERR_OK);
	watch(f, "a", NULL, 0);
	expect(f, HUB_CREATED, 0, 1);
	expect(f, HUB_CREATED, 1, 1);
	expect(f, HUB_CREATED, 2, 1);
	assert_int_equal(hub_watch(f->stream, &own), ERR_OK);
	expect_refusal(f, "mvcc: duplicate watch ID provided on the WatchStream");
	hub_cancel(f->stream, 1);
	assert_int_equal(hub_watch(f->stream, &own), ERR_OK);
	expect(f, HUB_CANCELED, 1, 1);
	assert_null(f->item.cancel_reason);
	assert_false(f->item.created);
	expect(f, HUB_CREATED, 1, 1);
	expect_nothing(f);
}

static void test_wrong_creates_are_refused_with_etcd_s_reasons(void **state)
{
	struct fixture *f = *state;

	watch(f, "b", "a", 0);
	expect_refusal(f, "mvcc: watcher range is empty");
	watch(f, "b", "b", 0);
	expect_refusal(f, "mvcc: watcher range is empty");
	watch(f, "b", "a", -1);
	expect_refusal(f, "etcdserver: mvcc: required revision has been compacted");
	watch(f, "a", NULL, 0);
	expect(f, HUB_CREATED, 0, 1); /* refusals take no id */
}

static void test_an_empty_key_is_the_first_key(void **state)
{
	struct fixture *f = *state;
	struct watch_spec all = {.end = bytes_of("", 1)};
	struct watch_spec first = {0};

	assert_int_equal(hub_watch(f->stream, &all), ERR_OK);
	assert_int_equal(hub_watch(f->stream, &first), ERR_OK);
	expect(f, HUB_CREATED, 0, 1);
	expect(f, HUB_CREATED, 1, 1);
	commit(f, "+a", NULL);
	expect(f, HUB_EVENTS, 0, 2);
	expect_nothing(f);
}

static void test_too_many_unread_answers_are_busy(void **state)
{
	struct fixture *f = *state;
	struct watch_spec spec = {.start_revision = -1};

	for (size_t i = 0; i < WATCH_CONTROL_ITEMS_MAX; i++)
		assert_int_equal(hub_watch(f->stream, &spec), ERR_OK);
	assert_int_equal(hub_watch(f->stream, &spec), ERR_BUSY);
}

/* --- events ----------------------------------------------------------------------------------- */

static void test_live_and_history_join_without_gap_or_double(void **state)
{
	struct fixture *f = *state;

	commit(f, "+a", NULL); /* 2 */
	commit(f, "+b", "+a"); /* 3 */
	watch(f, "a", NULL, 2);
	commit(f, "-a", NULL); /* 4 */
	expect(f, HUB_CREATED, 0, 3);
	commit(f, "+x", "+a"); /* 5 */
	expect(f, HUB_EVENTS, 0, 5);
	expect_keys(f, "aaaa");
	assert_int_equal(f->item.match_count, 4);
	commit(f, "+x", "+a"); /* 6 */
	expect(f, HUB_EVENTS, 0, 6);
	expect_keys(f, "a");
	expect_nothing(f);
}

static void test_a_future_start_waits_for_its_revision(void **state)
{
	struct fixture *f = *state;

	watch(f, "a", NULL, 4);
	expect(f, HUB_CREATED, 0, 1);
	commit(f, "+a", NULL);	 /* 2 */
	commit(f, "+a", NULL);	 /* 3 */
	hub_progress(f->stream); /* below the start: silence */
	expect_nothing(f);
	commit(f, "+a", NULL);
	hub_progress(f->stream);
	expect(f, HUB_EVENTS, 0, 4);
	expect(f, HUB_PROGRESS, -1, 4);
	expect_nothing(f);
}

static void test_filters_drop_events_live_and_in_history(void **state)
{
	struct fixture *f = *state;
	struct watch_spec no_put = {.key = BYTES_LITERAL("a"),
				    .end = bytes_of("", 1),
				    .start_revision = 2,
				    .no_put = true};

	commit(f, "+a", "-b");
	commit(f, "+a", "+b");
	assert_int_equal(hub_watch(f->stream, &no_put), ERR_OK);
	expect(f, HUB_CREATED, 0, 3);
	expect(f, HUB_EVENTS, 0, 3);
	expect_keys(f, "b");
	commit(f, "-a", "+b");
	expect(f, HUB_EVENTS, 0, 4);
	expect_keys(f, "a");
	commit(f, "+a", "+b");
	expect_nothing(f);
}

static void test_a_full_outbox_costs_nothing_but_time(void **state)
{
	struct fixture *f = *state;
	struct hub_stats stats;
	size_t events = 0;

	fake.batch_bytes = WATCH_OUTBOX_BYTES_MAX / 4;
	watch(f, "a", NULL, 0);
	watch(f, "b", NULL, 0);
	for (int i = 0; i < 10; i++)
		commit(f, "+a", NULL);
	hub_stats(f->hub, &stats);
	assert_int_equal(stats.slow_watchers, 1); /* b had nothing to lose */
	assert_true(stats.pending_bytes <= WATCH_OUTBOX_BYTES_MAX);
	hub_progress(f->stream); /* one watcher is behind: silence */
	expect(f, HUB_CREATED, 0, 1);
	expect(f, HUB_CREATED, 1, 1);
	while (next(f) == ERR_OK) {
		assert_int_equal(f->item.kind, HUB_EVENTS);
		events += f->item.event_count;
	}
	assert_int_equal(events, 10);
	hub_stats(f->hub, &stats);
	assert_int_equal(stats.slow_watchers, 0);
	assert_int_equal(stats.pending_bytes, 0);
	assert_int_equal(stats.pending_events, 0);
	assert_int_equal(stats.events, 10);
	hub_progress(f->stream);
	expect(f, HUB_PROGRESS, -1, 11);
}

/* Others that were left standing hold so much that this stream may queue no second batch. */
static void test_all_outboxes_together_have_a_limit(void **state)
{
	struct fixture *f = *state;
	struct hub_stats stats;

	fake.events_bytes = WATCH_OUTBOXES_BYTES_MAX + 1;
	watch(f, "a", NULL, 0);
	commit(f, "+a", NULL);
	hub_stats(f->hub, &stats);
	assert_int_equal(stats.slow_watchers, 0); /* who keeps up notices nothing */
	commit(f, "+a", NULL);
	hub_stats(f->hub, &stats);
	assert_int_equal(stats.slow_watchers, 1);
	assert_int_equal(stats.pending_events, 1);
	expect(f, HUB_CREATED, 0, 1);
	expect(f, HUB_EVENTS, 0, 2);
	expect(f, HUB_EVENTS, 0, 3); /* from history */
	expect_nothing(f);
}

static void test_a_batch_is_charged_once_for_all_watchers_of_a_stream(void **state)
{
	struct fixture *f = *state;
	struct hub_stats stats;

	fake.batch_bytes = 2 * WATCH_OUTBOX_BYTES_MAX;
	for (int i = 0; i < 10; i++)
		watch(f, "a", NULL, 0);
	commit(f, "+a", NULL);
	hub_stats(f->hub, &stats);
	assert_int_equal(stats.slow_watchers, 0);
	assert_true(stats.pending_bytes < 3 * WATCH_OUTBOX_BYTES_MAX);
	assert_int_equal(stats.pending_events, 10);
	commit(f, "+a", NULL);
	hub_stats(f->hub, &stats);
	assert_int_equal(stats.slow_watchers, 10);
}

static void test_a_busy_neighbour_does_not_starve_a_slow_watcher(void **state)
{
	struct fixture *f = *state;
	bool caught_up = false;

	commit(f, "+a", NULL);
	watch(f, "a", NULL, 2);
	watch(f, "b", NULL, 0);
	for (int i = 0; i < 4; i++)
		commit(f, "+b", NULL);
	for (int i = 0; i < 4 * CATCHUP_EVERY_ITEMS && !caught_up; i++) {
		commit(f, "+b", NULL); /* the queue is never empty */
		assert_int_equal(next(f), ERR_OK);
		caught_up = f->item.kind == HUB_EVENTS && f->item.watch_id == 0;
	}
	assert_true(caught_up);
}

static void test_a_failing_read_is_a_fault_of_the_stream(void **state)
{
	struct fixture *f = *state;

	commit(f, "+a", NULL);
	watch(f, "a", NULL, 2);
	expect(f, HUB_CREATED, 0, 2);
	fake.next_error = ERR_STORAGE;
	assert_int_equal(next(f), ERR_STORAGE);
}

/* --- compaction ------------------------------------------------------------------------------- */

static void test_a_compacted_start_is_created_then_cancelled(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 5; i++)
		commit(f, "+a", NULL);
	compact(f, 4);
	watch(f, "a", NULL, 3);
	expect(f, HUB_CREATED, 0, 6);
	expect(f, HUB_CANCELED, 0, 0);
	assert_false(f->item.created);
	assert_null(f->item.cancel_reason);
	assert_int_equal(f->item.compact_revision, 4);
	hub_progress(f->stream); /* it silences the stream, as in etcd */
	expect_nothing(f);
	hub_cancel(f->stream, 0); /* still answered, once */
	hub_cancel(f->stream, 0);
	expect(f, HUB_CANCELED, 0, 6);
	assert_int_equal(f->item.compact_revision, 0);
	expect_nothing(f);
	watch(f, "a", NULL, 4); /* exactly at the compacted revision is fine */
	expect(f, HUB_CREATED, 1, 6);
	expect(f, HUB_EVENTS, 1, 6);
	expect_keys(f, "aaa");
	expect_nothing(f);
}

static void test_compaction_overtakes_a_slow_watcher(void **state)
{
	struct fixture *f = *state;

	fake.batch_bytes = WATCH_OUTBOX_BYTES_MAX - 1000;
	watch(f, "a", NULL, 0);
	for (int i = 0; i < 5; i++)
		commit(f, "+a", NULL);
	compact(f, 5);
	expect(f, HUB_CREATED, 0, 1);
	expect(f, HUB_EVENTS, 0, 2);
	expect(f, HUB_CANCELED, 0, 0);
	assert_int_equal(f->item.compact_revision, 5);
	commit(f, "+a", NULL);
	expect_nothing(f);
}

static void test_a_queue_that_nobody_reads_lets_go_at_a_compaction(void **state)
{
	struct fixture *f = *state;

	watch(f, "a", NULL, 0);
	watch(f, "b", NULL, 0);
	commit(f, "+a", "+b"); /* 2 */
	commit(f, "+a", NULL); /* 3 */
	hub_progress(f->stream);
	hub_cancel(f->stream, 1);
	compact(f, 2); /* young: stays */
	assert_int_equal(atomic_load(&fake.batches[2]->references), 3);
	f->now_ns += WATCH_QUEUE_AGE_NS_MAX + 1;
	compact(f, 2);
	assert_int_equal(atomic_load(&fake.batches[2]->references), 1);
	expect(f, HUB_CREATED, 0, 1);
	expect(f, HUB_CREATED, 1, 1);
	expect(f, HUB_CANCELED, 1, 3); /* the progress went with the events it followed */
	expect(f, HUB_EVENTS, 0, 3);
	expect_keys(f, "aa");
	expect_nothing(f);
}

/* --- progress --------------------------------------------------------------------------------- */

static void test_progress_follows_the_events_it_promises(void **state)
{
	struct fixture *f = *state;

	hub_progress(f->stream); /* no watcher: silence */
	expect_nothing(f);
	watch(f, "a", NULL, 0);
	commit(f, "+a", NULL);
	commit(f, NULL, NULL); /* invisible, yet progress */
	hub_progress(f->stream);
	commit(f, "+a", NULL);
	expect(f, HUB_CREATED, 0, 1);
	expect(f, HUB_EVENTS, 0, 2);
	expect(f, HUB_PROGRESS, -1, 3);
	expect(f, HUB_EVENTS, 0, 4);
	expect_nothing(f);
}

static void test_the_tick_skips_watchers_that_had_events(void **state)
{
	struct fixture *f = *state;
	struct watch_spec spec = {.key = BYTES_LITERAL("a"), .progress_notify = true};

	assert_int_equal(hub_watch(f->stream, &spec), ERR_OK);
	watch(f, "b", NULL, 0); /* did not ask */
	hub_tick(f->stream);
	expect(f, HUB_CREATED, 0, 1);
	expect(f, HUB_CREATED, 1, 1);
	expect(f, HUB_PROGRESS, 0, 1);
	commit(f, "+a", NULL);
	expect(f, HUB_EVENTS, 0, 2);
	hub_tick(f->stream);
	expect_nothing(f);
	hub_tick(f->stream);
	expect(f, HUB_PROGRESS, 0, 2);
}

static void test_cancelling_an_unknown_id_is_silent(void **state)
{
	struct fixture *f = *state;

	hub_cancel(f->stream, 0);
	hub_cancel(f->stream, -1);
	expect_nothing(f);
	watch(f, "a", NULL, 0);
	commit(f, "+a", NULL);
	hub_cancel(f->stream, 0);
	commit(f, "+a", NULL);
	expect(f, HUB_CREATED, 0, 1);
	expect(f, HUB_EVENTS, 0, 2);
	expect(f, HUB_CANCELED, 0, 2);
	expect_nothing(f);
}

static void test_the_owner_is_woken_once_per_idle_time(void **state)
{
	struct fixture *f = *state;

	watch(f, "a", NULL, 0);
	commit(f, "+a", NULL);
	assert_int_equal(f->ready_count, 1);
	expect(f, HUB_CREATED, 0, 1);
	expect(f, HUB_EVENTS, 0, 2);
	commit(f, "+a", NULL);
	assert_int_equal(f->ready_count, 1);
	expect(f, HUB_EVENTS, 0, 3);
	expect_nothing(f);
	commit(f, "+b", NULL);
	assert_int_equal(f->ready_count, 1);
	commit(f, "+a", NULL);
	assert_int_equal(f->ready_count, 2);
	expect(f, HUB_EVENTS, 0, 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ids_count_up_per_stream_and_skip_the_client_s_own),
		TEST(test_wrong_creates_are_refused_with_etcd_s_reasons),
		TEST(test_an_empty_key_is_the_first_key),
		TEST(test_too_many_unread_answers_are_busy),
		TEST(test_live_and_history_join_without_gap_or_double),
		TEST(test_a_future_start_waits_for_its_revision),
		TEST(test_filters_drop_events_live_and_in_history),
		TEST(test_a_full_outbox_costs_nothing_but_time),
		TEST(test_all_outboxes_together_have_a_limit),
		TEST(test_a_batch_is_charged_once_for_all_watchers_of_a_stream),
		TEST(test_a_busy_neighbour_does_not_starve_a_slow_watcher),
		TEST(test_a_failing_read_is_a_fault_of_the_stream),
		TEST(test_a_compacted_start_is_created_then_cancelled),
		TEST(test_compaction_overtakes_a_slow_watcher),
		TEST(test_a_queue_that_nobody_reads_lets_go_at_a_compaction),
		TEST(test_progress_follows_the_events_it_promises),
		TEST(test_the_tick_skips_watchers_that_had_events),
		TEST(test_cancelling_an_unknown_id_is_silent),
		TEST(test_the_owner_is_woken_once_per_idle_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
