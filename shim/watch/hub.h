/* SPDX-License-Identifier: Apache-2.0 */
/* hub.h - who hears what: watchers, their streams, and one ordered queue per stream.
 *
 * A stream is one Watch call.  Everything that a stream must say - created, events, cancelled,
 * progress - goes through its one queue in order, so that a progress answer cannot overtake an
 * event it promises.
 *
 *	         hub_watch, start <= published       outbox full or left standing
 *	(new) ------------------------------> BEHIND <------------------ LIVE
 *	   |                                  |    |  history read to the end ^
 *	   |                                  |    +--------------------------+
 *	   +------ start 0 or in the future --|-------------------------------+
 *	                                      v
 *	                                  OVERTAKEN by compaction: told so, its id stays taken
 *	any --- hub_cancel, stream closed ---> CLOSED
 *
 * Ownership: streams are the caller's; batches inside items are counted references.
 * Threads: the writer publishes; hub_stream_* and hub_watch etc. are called on the one thread that
 * owns the stream.  hub.lock guards the registry, stream queues and the published revision; nothing
 * is read from SQLite under it.
 * Limits: a stream queues WATCH_OUTBOX_BYTES_MAX bytes of events, all streams together
 * WATCH_OUTBOXES_BYTES_MAX; what does not fit makes its watcher BEHIND: it reads that from history
 * once the queue is through.  A queue that nobody
 * empties lets its batches go at a compaction, so that it does not keep old rows alive.  Nobody
 * waits for a slow stream.
 * Invariants:
 *  H1 a watcher gets each matching event exactly once, in revision order, whole revisions;
 *  H2 created is the first item of its watcher, created items come in request order;
 *  H3 nothing of a watcher follows its cancelled item;
 *  H4 a progress item with revision R follows every event <= R of every watcher it speaks for. */
#ifndef SHIM_WATCH_HUB_H
#define SHIM_WATCH_HUB_H

#include "shim/store/store.h"

struct hub;
struct hub_stream;

/* Between store_open() and store_start(): nothing may be committed meanwhile. */
enum err hub_new(struct store *store, struct hub **ret_hub);
void hub_free(struct hub *hub); /* no stream may be left */

/* What main registers with the store: publishes commits and compactions. */
void hub_on_commit(void *hub, const struct store_commit *commit);
void hub_on_compact(void *hub, int64_t revision);

/* on_ready: called (any thread, also from within hub_watch() etc., hub.lock held: it must only wake
 * the owner) when there is something to do again after hub_stream_next() had nothing. */
enum err hub_stream_open(struct hub *hub, void (*on_ready)(void *context), void *context,
			 struct hub_stream **ret_stream);
void hub_stream_close(struct hub_stream *stream); /* on_ready is not called any more */

/* Memory of the stream and its watchers, without what is queued.  Owner's thread. */
size_t hub_stream_bytes(const struct hub_stream *stream);

#define WATCH_ID_AUTO 0 /* the hub chooses, counting up from 0 per stream */

struct watch_spec {
	struct bytes key;	/* empty: the first possible key, one NUL byte */
	struct bytes end;	/* as in range_contains() */
	int64_t start_revision; /* 0: from now on */
	int64_t watch_id;	/* WATCH_ID_AUTO or the client's choice */
	bool prev_kv;
	bool progress_notify;
	bool fragment;
	bool no_put;
	bool no_delete;
};

/* Always queues the answer: created, or created+cancelled with etcd's reason (empty range,
 * duplicate id, negative start); a compacted start gives created, then cancelled with the compact
 * revision.  BUSY when WATCH_CONTROL_ITEMS_MAX answers wait already. */
enum err hub_watch(struct hub_stream *stream, const struct watch_spec *spec);
/* Unknown id: nothing at all happens. */
void hub_cancel(struct hub_stream *stream, int64_t watch_id);
/* Queues one progress item (watch id -1) when every watcher of the stream is LIVE and the published
 * revision has reached each one's start; otherwise nothing; without watchers nothing.  An OVERTAKEN
 * watcher keeps its stream silent until the client cancels it, as in etcd. */
void hub_progress(struct hub_stream *stream);
/* The periodic tick of --watch-progress-notify-interval: a progress item for each LIVE watcher that
 * asked for it and was sent no event since the last tick. */
void hub_tick(struct hub_stream *stream);

enum hub_item_kind { HUB_CREATED, HUB_EVENTS, HUB_CANCELED, HUB_PROGRESS };

struct hub_match;

/* One thing to say.  Valid until hub_item_done(), which must come before the stream's next
 * hub_stream_next() or hub_stream_close(); creates, cancels and the rest may come in between. */
struct hub_item {
	enum hub_item_kind kind;
	int64_t watch_id; /* -1 for a refused create and a manual progress */
	int64_t header_revision;
	bool created;		   /* CANCELED: a refused create (created and canceled at once) */
	int64_t compact_revision;  /* CANCELED: overtaken by compaction, header_revision is 0 */
	const char *cancel_reason; /* CANCELED: text or NULL */
	bool prev_kv;		   /* EVENTS: what the watcher asked for */
	bool fragment;
	bool from_history; /* EVENTS: a slice was read: let others have their turn */
	/* EVENTS: whole revisions in ascending order; see hub_match_next(). */
	struct hub_match *matches;
	size_t match_count;
	size_t event_count;	   /* over all matches, at least 1 */
	struct hub_stream *stream; /* the hub's own */
};

/* Which events of one batch are meant: `count` of those from `first` to `last`. */
struct hub_match {
	struct event_batch *batch;
	size_t first;
	size_t last;
	size_t count;
};

/* Index of the first event at or after `from` that is meant; from starts at match->first, and after
 * match->last there is nothing left. */
size_t hub_match_next(const struct hub_item *item, const struct hub_match *match, size_t from);

/* Takes the next item; reads history in one bounded slice when a BEHIND watcher is due.  ERR_OK
 * with the item filled: call again when it is done.  ERR_AGAIN: nothing to say now; more_now tells
 * whether to call again on a later turn of the loop (so that others get theirs), else on_ready will
 * tell.  Anything else is a fault and ends the stream. */
enum err hub_stream_next(struct hub_stream *stream, struct store_reader *reader,
			 struct hub_item *ret_item, bool *ret_more_now);
void hub_item_done(struct hub_item *item);

struct hub_stats {
	uint64_t streams;
	uint64_t watchers;
	uint64_t slow_watchers; /* BEHIND */
	uint64_t events;	/* handed to streams since the start */
	uint64_t pending_events;
	uint64_t pending_bytes;
};

void hub_stats(struct hub *hub, struct hub_stats *ret_stats);
int64_t hub_published(struct hub *hub);

#endif
