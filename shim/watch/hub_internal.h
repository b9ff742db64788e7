/* SPDX-License-Identifier: Apache-2.0 */
/* hub_internal.h - what the files of the hub share; nobody else includes it.
 *
 * hub.c hears the writer, stream.c the client, next.c feeds the client; watcher.c holds the moves.
 * Threads: hub.lock guards every field below but those marked otherwise. */
#ifndef SHIM_WATCH_HUB_INTERNAL_H
#define SHIM_WATCH_HUB_INTERNAL_H

#include "shim/base/clock.h"
#include "shim/base/list.h"
#include "shim/watch/hub.h"
#include "shim/watch/match.h"

#include <pthread.h>

/* A queue that has stood longer than what kube-apiserver grants a silent connection lets its
 * batches go at a compaction. */
#define WATCH_QUEUE_AGE_NS_MAX (30 * NS_PER_SECOND)
#define CATCHUP_REVISIONS_MAX 1000 /* revisions in one response, etcd's watchBatchMaxRevs */
#define CATCHUP_EVERY_ITEMS 64	   /* a BEHIND watcher gets its slice among so many queued items */

enum watcher_state { WATCHER_LIVE, WATCHER_BEHIND, WATCHER_OVERTAKEN, WATCHER_CLOSED };

struct watcher;

/* One entry of a stream's queue. */
struct item {
	struct list link; /* hub_stream.queue */
	enum hub_item_kind kind;
	struct watcher *watcher; /* NULL: a refused create or a manual progress */
	int64_t watch_id;
	int64_t header_revision;
	const char *cancel_reason;
	int64_t queued_ns;	/* EVENTS */
	size_t charged_bytes;	/* EVENTS: what it adds to hub_stream.queued_bytes */
	struct hub_match match; /* EVENTS: holds a reference to the batch */
};

struct watcher {
	struct match_entry match;    /* in hub.match while LIVE */
	struct list all;	     /* hub_stream.watchers, until CLOSED */
	struct list behind;	     /* hub_stream.behind while BEHIND */
	struct list touched;	     /* the list of matched watchers during one publication */
	struct watcher *same_bucket; /* hub_stream.ids */
	struct hub_stream *stream;
	enum watcher_state state;
	int64_t watch_id;
	int64_t start_revision; /* as the client asked */
	int64_t next_revision;	/* the least revision it may still be given */
	size_t queued;		/* items in the queue; they keep the watcher */
	bool prev_kv;		/* these five never change */
	bool progress_notify;
	bool fragment;
	bool no_put;
	bool no_delete;
	bool progress_due;	/* no event was sent since the last tick */
	struct hub_match found; /* during one publication */
	struct item created;	/* here so that an answer needs no memory */
	struct item canceled;
	uint8_t key_and_end[]; /* never changes */
};

struct hub_stream {
	struct list link; /* hub.streams */
	struct hub *hub;
	void (*on_ready)(void *context);
	void *context;
	bool idle;	       /* the owner was told that there is nothing to do */
	struct list queue;     /* of struct item */
	size_t queued_bytes;   /* of events */
	size_t control_count;  /* items in the queue that are not EVENTS */
	size_t progress_count; /* ... those that are PROGRESS */
	size_t taken_count;    /* since the last slice of history */
	struct list watchers;  /* of struct watcher, by `all` */
	struct list behind;    /* of struct watcher, the next one due first */
	size_t watcher_count;
	size_t watcher_bytes; /* memory of all its watchers; the owner's alone */
	size_t live_count;
	int64_t next_id;      /* where the search for a free id starts */
	struct watcher **ids; /* a table with chains: watch id -> watcher */
	size_t id_bucket_count;

	/* What the owner holds between hub_stream_next() and hub_item_done(): the owner's alone. */
	const struct watcher *speaker; /* whose item it is, or NULL */
	struct item *taken;
	struct watcher *doomed; /* CLOSED, and the taken item was its last */
	struct hub_match *slice;
	size_t slice_count;
};

struct hub {
	pthread_mutex_t lock;
	struct store *store;
	const struct clock *clock;
	struct match match; /* of LIVE watchers */
	struct list streams;
	int64_t published;
	struct hub_stats stats;
};

/* For tests: a clock of their own. */
void hub_set_clock(struct hub *hub, const struct clock *clock);

/* --- all of these with hub.lock held --- */

void watcher_go_live(struct watcher *watcher);
/* next_revision: the first one that history must give. */
void watcher_go_behind(struct watcher *watcher, int64_t next_revision);
void watcher_go_overtaken(struct watcher *watcher);
/* Its id is free at once; the memory is when nothing of it is queued. */
void watcher_go_closed(struct watcher *watcher);

void stream_wake(struct hub_stream *stream);
void stream_append(struct hub_stream *stream, struct item *item);
/* Takes the item out of the queue; true when that was the last one of a CLOSED watcher, which is
 * then the caller's to free, after the item. */
bool stream_unlink(struct hub_stream *stream, struct item *item);

/* Memory of one watcher. */
size_t watcher_bytes(const struct watcher *watcher);

void ids_remove(struct hub_stream *stream, struct watcher *watcher);

/* --- and these without --- */

/* Whether its filters let the event through. */
bool watcher_wants(const struct watcher *watcher, const struct event *event);
/* Frees an item that is in no queue, and its hold on a batch. */
void item_free(struct item *item);

#endif
