/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/disk/trace.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define EVENTS_MAX ((size_t)1 << 18)
#define BYTES_MAX ((size_t)1 << 30) /* address space: pages come when they are written */

static pthread_mutex_t trace_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tap recorder;

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "trace: %s\n", what);
	abort();
}

/* Under trace_lock. */
static struct trace_event *event_new(struct trace *trace)
{
	must(trace->count < EVENTS_MAX, "too many events");
	trace->events[trace->count] = (struct trace_event){0};
	return &trace->events[trace->count++];
}

static void path_below(const struct trace *trace, const char *path, char *to)
{
	const char *below = path + strlen(trace->root);

	must(!strncmp(path, trace->root, strlen(trace->root)), "a path outside of the root");
	must(strlen(below) < TRACE_PATH_BYTES, "a long path");
	strncpy(to, *below ? below + 1 : below, TRACE_PATH_BYTES - 1);
}

/* What is in files that are made anew at each start is of no interest. */
static bool has_contents(const char *path)
{
	size_t length = strlen(path);

	return !(length > 4 && !strcmp(path + length - 4, "-shm"));
}

static void record(void *context, const struct tap_call *call)
{
	struct trace *trace = context;
	struct trace_event *event;

	if (call->op >= TAP_OPEN || !has_contents(call->path))
		if (call->op != TAP_CREATE && call->op != TAP_UNLINK)
			return;
	pthread_mutex_lock(&trace_lock);
	event = event_new(trace);
	event->op = call->op;
	event->offset = call->offset;
	path_below(trace, call->path, event->path);
	if (call->path_to)
		path_below(trace, call->path_to, event->path_to);
	if (call->op == TAP_WRITE) {
		event->size = call->size;
		must(trace->bytes_used + call->size <= BYTES_MAX, "too many bytes written");
		event->data = trace->bytes + trace->bytes_used;
		trace->bytes_used += call->size;
		memcpy(event->data, call->data, call->size);
	}
	pthread_mutex_unlock(&trace_lock);
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), end_length = strlen(end);

	return length >= end_length && !strcmp(text + length - end_length, end);
}

static int decide(void *context, const struct tap_call *call)
{
	struct trace *trace = context;
	bool is_sync = call->op == TAP_SYNC || call->op == TAP_SYNC_FOLDER;

	if (trace->drop_syncs && is_sync)
		return TAP_PRETEND;
	if (trace->drop_folder_syncs && call->op == TAP_SYNC_FOLDER)
		return TAP_PRETEND;
	if (trace->drop_syncs_of && is_sync && ends_with(call->path, trace->drop_syncs_of))
		return TAP_PRETEND;
	if (trace->sync_fails_in && call->op == TAP_SYNC && !--trace->sync_fails_in) {
		record(trace, call);
		trace->events[trace->count - 1].failed = true;
		return EIO;
	}
	return TAP_DO;
}

void *trace_share(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	must(memory != MAP_FAILED, "out of memory");
	return memory;
}

void trace_init(struct trace *trace)
{
	trace->events = trace_share(EVENTS_MAX * sizeof(*trace->events));
	trace->bytes = trace_share(BYTES_MAX);
}

void trace_start(struct trace *trace, const char *root)
{
	must(strlen(root) < sizeof(trace->root), "a long root");
	strncpy(trace->root, root, sizeof(trace->root) - 1);
	recorder = (struct tap){.before = decide, .after = record, .context = trace};
	tap_set(&recorder, root);
}

void trace_stop(void)
{
	tap_set(NULL, NULL);
}

void trace_mark(struct trace *trace, const struct world *world)
{
	struct trace_event *event;

	pthread_mutex_lock(&trace_lock);
	event = event_new(trace);
	event->is_mark = true;
	event->world = *world;
	pthread_mutex_unlock(&trace_lock);
}

void trace_fini(struct trace *trace)
{
	munmap(trace->events, EVENTS_MAX * sizeof(*trace->events));
	munmap(trace->bytes, BYTES_MAX);
	*trace = (struct trace){0};
}
