/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>

#define WATCH_PATH "/etcdserverpb.Watch/Watch"
#define EVENTS_WAIT_NS INT64_C(60000000000)

struct watcher {
	struct call call;
	struct bench *bench;
	bool is_idle;
	int64_t revision; /* of its last event */
	uint64_t events;
};

static void on_event(void *context, int64_t key, int64_t revision)
{
	struct watcher *watcher = context;
	struct bench *bench = watcher->bench;

	if (watcher->is_idle)
		bench_error(bench, "an event of another prefix");
	if (revision <= watcher->revision)
		bench_error(bench, "an event came twice or out of order");
	watcher->revision = revision;
	watcher->events++;
	bench->events++;
	if (bench->is_measuring) {
		bench->total.events++;
		bench->interval.events++;
	}
	slot_heard(bench, key, revision);
}

static void on_message(struct call *call, struct bytes message)
{
	struct watcher *watcher = call->owner;
	struct watch_seen seen;
	const char *problem = check_watch(message, &seen, on_event, watcher);

	if (problem || seen.cancelled)
		bench_error(watcher->bench, problem ? problem : "a watch was cancelled");
	watcher->bench->watchers_created += seen.created;
}

static void on_end(struct call *call)
{
	struct watcher *watcher = call->owner;

	/* At the end of the run the watches are given up. */
	if (watcher->bench->watchers)
		bench_error(watcher->bench, call->problem[0] ? call->problem : "a watch ended");
}

static void watcher_begin(struct bench *bench, unsigned number)
{
	struct watcher *watcher = &bench->watchers[number];
	char prefix[64], prefix_end[64];

	call_init(&watcher->call, watcher);
	watcher->call.on_message = on_message;
	watcher->call.on_end = on_end;
	watcher->bench = bench;
	watcher->is_idle = number >= bench->options.watchers;
	snprintf(prefix, sizeof prefix, KEY_PREFIX);
	snprintf(prefix_end, sizeof prefix_end, KEY_PREFIX_END);
	if (watcher->is_idle) {
		snprintf(prefix, sizeof prefix, "/registry/kind-%u/", number);
		snprintf(prefix_end, sizeof prefix_end, "/registry/kind-%u0", number);
	}
	wire_watch(&watcher->call.request, bytes_of_string(prefix), bytes_of_string(prefix_end),
		   bench->head + 1);
	call_begin(&watcher->call, links_get(bench->links, number), WATCH_PATH, true);
}

static unsigned watcher_count(const struct bench *bench)
{
	return (unsigned)(bench->options.watchers + bench->options.idle_watchers);
}

void watchers_open(struct bench *bench)
{
	unsigned count = watcher_count(bench);

	bench->watchers = calloc(count, sizeof *bench->watchers);
	if (!bench->watchers)
		die("out of memory");
	for (unsigned i = 0; i < count; i++)
		watcher_begin(bench, i);
	while (bench->watchers_created < count && !bench->errors)
		links_turn(bench->links, INT64_C(1000000000));
}

void watchers_check(struct bench *bench)
{
	uint64_t expected = bench->updates * (uint64_t)bench->options.watchers;
	int64_t deadline = now_ns() + EVENTS_WAIT_NS;

	while (bench->events < expected && !bench->errors && now_ns() < deadline)
		links_turn(bench->links, INT64_C(100000000));
	for (int64_t i = 0; i < bench->options.watchers; i++) {
		if (bench->watchers[i].events != bench->updates)
			bench_error(bench, "a watcher missed events");
	}
}

void watchers_close(struct bench *bench)
{
	struct watcher *watchers = bench->watchers;

	bench->watchers = NULL;
	for (unsigned i = 0; i < watcher_count(bench); i++)
		call_fini(&watchers[i].call);
	free(watchers);
}
