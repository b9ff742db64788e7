/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - what the engine's files share.
 *
 * Data flows one way: receive.c takes messages apart and hands them to hello.c (who is there),
 * pull.c (windows that come in), push.c (windows that go out), ask.c and answer.c (comparisons of
 * states).  What changes the store goes as a job through job.c, one after the other; merge.c is the
 * part of a job that runs on the writer.  When a job is done, or the store has moved, engine_pump()
 * looks what can be sent.
 *
 * Threads: all of it the engine's, but for a job's `run`, which reads what is here while nobody
 * changes it: the engine changes its durable half only in `done`. */
#ifndef SYNC_ENGINE_INTERNAL_H
#define SYNC_ENGINE_INTERNAL_H

#include "shim/base/list.h"
#include "sync/engine/claims.h"
#include "sync/engine/clock.h"
#include "sync/engine/engine.h"
#include "sync/engine/mistakes.h"
#include "sync/engine/peer_record.h"
#include "sync/engine/records.h"
#include "sync/engine/stamper.h"
#include "sync/message/delta.h"

struct asking;
struct answering;

struct inbound { /* a message that came, with what it points into */
	struct arena arena;
	struct message message;
	size_t bytes;
	bool is_kept; /* a job has taken it over: inbound_free() is the job's */
};

void inbound_free(struct inbound *inbound);

/* --- jobs: what the store is to do, in order -------------------------------------------------- */

struct job {
	struct list node;
	struct op op;
	struct arena arena;
	struct engine *engine;
	struct engine_peer *peer; /* NULL: none, or gone since */
	/* On the engine's thread, when all jobs before it are done; or NULL. */
	enum err (*prepare)(struct job *job);
	/* On the writer; NULL: the op is no OP_APPLY and is submitted as it is. */
	enum err (*run)(struct job *job, struct apply *apply);
	/* Back on the engine's thread; the job is freed after it. */
	void (*done)(struct job *job, enum err e);
	void (*fini)(struct job *job); /* or NULL */
};

/* size: of the struct that begins with the job. */
struct job *job_new(struct engine *engine, struct engine_peer *peer, size_t size);
void job_add(struct job *job); /* gives it away */
void job_free(struct job *job);
void jobs_forget_peer(struct engine *engine, const struct engine_peer *peer);

/* An incarnation that began and is not whole yet; durable. */
struct healing {
	struct actor old;
	int64_t common; /* what the old one wrote above it is the new one's */
	int64_t end;	/* ... up to here */
};

/* --- the engine ------------------------------------------------------------------------------- */

struct engine {
	struct engine_config config;
	struct store *store;
	struct store_reader *reader;
	struct stamper *stamper;
	struct delta_context *deltas; /* of this thread */
	struct delta_context *writer_deltas;

	/* Durable, and changed when it is. */
	struct node_clock clock;
	struct claims claims;
	struct peer_record *records;
	size_t record_count;
	int64_t barriers[GROUPS];

	struct site *clouds; /* hubs that are known, this one too; ascending */
	size_t cloud_count;
	uint64_t clock_versions[GROUPS]; /* count what the clock took over */
	uint32_t heard_incarnation;	 /* the newest of this site that a peer spoke of */
	uint64_t nonce;
	struct list peers;
	struct list jobs;
	struct job *running;
	int64_t cut_max; /* while a job runs: the head before it */
	bool ready;
	bool dead;
	bool shows_other; /* what is shown was made by other rules or hubs */
	bool healing; /* from the begin of an incarnation until no row names the old one wrongly */
	struct healing heal;
	struct asking *asking; /* one comparison at a time */
	struct list waiters;
	size_t waiter_count;
	uint64_t closed_told;
};

struct pull {	       /* what we take from the peer's log */
	bool on;       /* windows fit: the cursor is valid and `told` known */
	bool retrying; /* asked for another window */
	int64_t retried_ms;
	bool wanted;	    /* states must be compared */
	bool is_periodic;   /* ... because it is time, and for no other reason */
	int64_t barrier;    /* cursors below it are no good, the peer says */
	unsigned pending;   /* windows whose jobs wait */
	int64_t next;	    /* where the newest window that waits ends */
	struct vector told; /* the peer's vector at `next` */
	bool is_told;	    /* `told` is known */
	struct vector ours; /* what we told it of our own */
};

struct push { /* what the peer takes from ours */
	bool on;
	bool is_whole;	/* the next window carries the whole vector */
	bool no_deltas; /* until the next acknowledgement */
	int64_t sent;
	int64_t scanned; /* up to here the log has nothing beyond `sent` to tell */
	int64_t acked;
	unsigned ahead;	  /* windows sent and not acknowledged */
	uint64_t version; /* of the clock, as last told */
	int64_t moved_ms; /* the last window or acknowledgement */
	struct vector told;
	struct vector has; /* the peer's vector, as far as we know */
};

struct engine_peer {
	struct list node;
	struct engine *engine;
	struct actor actor;
	uint64_t nonce;
	bool is_known; /* its introduction came */
	bool is_ready; /* its answer to ours too */
	bool is_hub;
	bool is_refused;
	bool owes_answer; /* to its hello */
	bool is_admitted; /* the breaker does not count */
	int64_t deletes;  /* that it brought in this period */
	int64_t period_ms;
	struct pull pulls[GROUPS];
	struct push pushes[GROUPS];
	struct answering *answering;
	struct session_open open; /* waits for a moment without a job */
	bool has_open;
	int64_t compared_ms;
	struct peer_status status;
};

static inline struct peer_record *peer_record_of(struct engine *engine, const struct site *site)
{
	for (size_t i = 0; i < engine->record_count; i++)
		if (!memcmp(&engine->records[i].site, site, sizeof(*site)))
			return &engine->records[i];
	return NULL;
}

/* A fault: nothing goes on from here. */
void engine_die(struct engine *engine, enum err e);
void engine_notice(struct engine *engine, enum notice_kind kind, struct engine_peer *peer,
		   struct bytes key, const char *text);
/* Ends the message.  REQUEST_TOO_LARGE: not sent. */
enum err engine_send(struct engine_peer *peer, struct message *message);
void engine_refuse(struct engine_peer *peer, enum refusal why, const char *text);
void engine_refuse_clone(struct engine_peer *peer, uint64_t nonce);
void engine_pump(struct engine *engine);
enum err engine_add_cloud(struct engine *engine, const struct site *site, bool *ret_grew);
/* Takes note of hubs that a peer knows; a new one changes what is shown. */
enum err engine_hear_clouds(struct engine *engine, const struct hello *hello);
/* Shows everything anew by the engine's rules and hubs. */
enum err show_all(struct engine *engine);
int64_t engine_now(const struct engine *engine); /* ms */
/* The newest revision at which a window may end now. */
int64_t engine_cut_head(const struct engine *engine);

/* Hubs that are known, this site where it is one too, and the rules by which things are shown. */
enum err shown_load(struct engine *engine);
enum err shown_put(const struct engine *engine, struct apply *apply);

/* --- hello.c ---------------------------------------------------------------------------------- */

void hello_introduce(struct engine_peer *peer);
void hello_pump(struct engine_peer *peer);
void hello_receive(struct engine_peer *peer, const struct hello *hello);

/* --- heal.c ----------------------------------------------------------------------------------- */

/* Begins an incarnation: what this site wrote above `common` was written twice or is forgotten, and
 * nobody has seen a revision of it above `seen`. */
void heal_begin(struct engine *engine, int64_t common, int64_t seen, const char *why);
/* The record of the identity; heal: an incarnation that is not whole yet, or NULL. */
enum err heal_put(struct apply *apply, const struct identity *identity, const struct healing *heal);
/* Tells rows anew, and ends the heal. */
void heal_go_on(struct engine *engine);
/* It is certain who this site is. */
void heal_ready(struct engine *engine);
/* Another running server has this site's identity: goes on as a site of its own. */
void heal_clone(struct engine *engine);
/* The identity of the start: a first one, the one that is there, or a new incarnation. */
void heal_start(struct engine *engine);

/* --- keep.c and wait.c ------------------------------------------------------------------------ */

enum err keep_load(struct engine *engine);
void keep_tick(struct engine *engine);
void waiters_look(struct engine *engine);
void waiters_end(struct engine *engine);

/* --- entry.c ---------------------------------------------------------------------------------- */

struct key_state { /* of one key, as the log has it */
	struct bytes key;
	struct bytes meta;
	int64_t newest_revision;
	bool live;
	struct bytes value;
};

/* Fills meta, live, value, digest and claims; touches stay the caller's. */
enum err entry_make(const struct engine *engine, const struct claims *claims,
		    const struct key_state *key, struct arena *arena, struct entry *ret_entry);
/* The claims that entries name, with vectors of their own. */
enum err entry_claims(const struct claims *known, const struct entry *entries, size_t count,
		      struct arena *arena, struct claim **ret_claims, size_t *ret_count);
enum err entry_hash(const struct engine *engine, const struct key_state *key,
		    struct state_hash *ret_hash);

/* --- push.c and pull.c ------------------------------------------------------------------------ */

void push_start(struct engine_peer *peer, enum group group, int64_t cursor);
void push_pump(struct engine_peer *peer, enum group group);
void push_ack(struct engine_peer *peer, const struct ack *ack);
void push_retry(struct engine_peer *peer, const struct retry *retry);
/* Tells the peer that its cursor is no good. */
/* Stops windows to a peer that a new barrier stands before. */
void push_check(struct engine_peer *peer, enum group group);
void push_barrier(struct engine_peer *peer, enum group group);

void pull_window(struct engine_peer *peer, struct inbound *inbound);
/* The peer's log from the durable cursor on is to be sent again. */
void pull_retry(struct engine_peer *peer, enum group group, enum retry_reason reason);
void pull_ack(struct engine_peer *peer, enum group group, uint64_t credit);
/* Adds to the site's vector what the other's is known to mean here; ret_gain: what is new. */
enum err pull_gain(struct engine *engine, enum group group, const struct vector *from,
		   struct vector *ret_gain);

/* --- ask.c and answer.c ----------------------------------------------------------------------- */

void ask_pump(struct engine *engine);
void ask_opened(struct engine_peer *peer, const struct session_opened *opened);
void ask_compare(struct engine_peer *peer, const struct session_compare *compare);
void ask_page(struct engine_peer *peer, struct inbound *inbound);
void ask_refused(struct engine_peer *peer);
void ask_end(struct engine *engine); /* lets go of it, whatever its state */
/* A key that another merge wrote while a comparison is under way. */
void ask_late(struct engine *engine, struct bytes key);
void ask_lost(struct engine *engine); /* the same, for a link that is gone */
bool ask_has(const struct engine *engine, uint64_t session);
bool ask_is_for(const struct engine *engine, const struct engine_peer *peer);

void answer_open(struct engine_peer *peer, const struct session_open *open);
void answer_pump(struct engine_peer *peer);
void answer_compare(struct engine_peer *peer, const struct session_compare *compare);
void answer_fetch(struct engine_peer *peer, const struct session_fetch *fetch);
void answer_close(struct engine_peer *peer);

#endif
