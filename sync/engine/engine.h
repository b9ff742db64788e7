/* SPDX-License-Identifier: Apache-2.0 */
/* engine.h - one site's side of sync: messages, ticks and finished store operations go in, messages
 * and store operations come out.
 *
 * Pure: no file, socket, thread or clock; time, randomness, the link and the small file of identity
 * (the witness) are the host's.  So the same code runs in the daemon and in the simulator.
 *
 * Two halves.  The *stamper* is the store's hook: it runs on the store's writer and stamps local
 * writes.  The *engine* runs on one thread of its host: peers, windows, sessions.  What it merges
 * runs on the writer as an OP_APPLY; at most one is under way, so all that the engine knows of its
 * own state is durable.
 *
 * Order of a start: stamper_new(), store_open() with stamper_hook(), engine_open(), store_start(),
 * engine_start(); clients may write once engine_is_ready().
 * Ownership: engine_open .. engine_close; the store and the host outlive the engine.
 * Errors: a fault of the store ends the engine's work: every call then does nothing. */
#ifndef SYNC_ENGINE_ENGINE_H
#define SYNC_ENGINE_ENGINE_H

#include "shim/store/store.h"
#include "shim/store/sync.h"
#include "sync/causal/vector.h"
#include "sync/message/message.h"
#include "sync/rules/rules.h"

struct engine;
struct stamper;
struct engine_peer;

enum notice_kind {
	NOTICE_PEER_READY,
	NOTICE_PEER_REFUSED,
	NOTICE_INCARNATION, /* this site began a new one; text says why */
	NOTICE_CLOCK_AHEAD, /* the peer's clock is wrong */
	NOTICE_SESSION_DONE,
	NOTICE_BARRIER,
	NOTICE_WILDCARD_RELAYED,
	NOTICE_SIBLINGS, /* a merge left siblings */
	NOTICE_CLOSED,	 /* a write superseded siblings that its client never saw */
	NOTICE_UID_CONFLICT,
	NOTICE_ADOPTED,
	NOTICE_HELD, /* merged, but not shown: text says why */
	NOTICE_DELETION_DUE,
	NOTICE_BAD_MESSAGE,
	NOTICE_BREAKER,	     /* a peer was stopped: it would delete too much */
	NOTICE_COMPLETED,    /* a deletion whose last finalizers went at two sites */
	NOTICE_BASE_UNKNOWN, /* a delta could not be applied: sent again whole */
	NOTICE_KINDS
};

struct notice {
	enum notice_kind kind;
	struct engine_peer *peer; /* or NULL */
	struct bytes key;
	const char *text;
};

/* What the host gives.  All are called on the engine's thread but witness_write, which the stamper
 * also calls on the writer. */
struct engine_host {
	void *context;
	void (*send)(void *context, struct engine_peer *peer, struct bytes message);
	/* Submits to the store; when the op is done the host calls engine_done() on its thread. */
	enum err (*submit)(void *context, struct op *op);
	int64_t (*wall_ms)(void *context); /* 0: not known; any thread */
	int64_t (*now_ms)(void *context);  /* monotonic */
	uint64_t (*random)(void *context);
	/* Durable when it returns OK. */
	enum err (*witness_write)(void *context, struct bytes witness);
	void (*notice)(void *context, const struct notice *notice);
};

struct engine_config {
	struct engine_host host;
	const struct rules *rules;
	struct site cluster; /* sites of another cluster are refused */
	bool is_hub;
	bool star; /* all others hear of each other through this site alone, or it has one peer */
	/* The witness file as it was found; empty: none.  disk: what changes when the database is
	 * copied (its inode and device). */
	struct bytes witness;
	struct bytes disk;
	int64_t compare_every_ms; /* periodic comparison of states; 0: off */
	size_t window_bytes;	  /* 0: the default */
	/* Whether what the actor wrote may be shown here under this key; NULL: all may.  Any
	 * thread; a pure function. */
	bool (*may_write)(void *context, const struct actor *actor, struct bytes key);
	/* Deletes that one peer may bring within BREAKER_PERIOD_MS, at least and in thousandths of
	 * this site's keys; more stop it and ask.  0: off. */
	int64_t breaker_deletes;
	int64_t breaker_permille;
	unsigned mistakes; /* tests only: see mistakes.h */
};

/* --- the stamper ---------------------------------------------------------------------------- */

enum err stamper_new(const struct engine_config *config, struct stamper **ret_stamper);
void stamper_free(struct stamper *stamper);
struct store_stamp stamper_hook(struct stamper *stamper);

/* --- life ----------------------------------------------------------------------------------- */

enum err engine_open(const struct engine_config *config, struct store *store,
		     struct stamper *stamper, struct engine **ret_engine);
/* Submits what makes the identity durable. */
enum err engine_start(struct engine *engine);
bool engine_is_ready(const struct engine *engine);
void engine_close(struct engine *engine);

/* --- input ---------------------------------------------------------------------------------- */

/* A link is up or down; the peer lives from one to the other. */
enum err engine_connected(struct engine *engine, struct engine_peer **ret_peer);
void engine_disconnected(struct engine *engine, struct engine_peer *peer);
void engine_receive(struct engine *engine, struct engine_peer *peer, struct bytes message);
void engine_head_moved(struct engine *engine); /* the store published */
void engine_done(struct engine *engine, struct op *op);
void engine_tick(struct engine *engine); /* once a second, or as engine_next_ms() says */
int64_t engine_next_ms(const struct engine *engine);

/* Rules may change at any time: what is visible is made anew, the state stays. */
enum err engine_set_rules(struct engine *engine, const struct rules *rules);
/* Starts a comparison of states with the peer now. */
void engine_compare(struct engine *engine, struct engine_peer *peer);

/* --- what it knows -------------------------------------------------------------------------- */

/* Whether all that the token names is taken in: a client that wrote elsewhere and got the token may
 * read here now. */
bool engine_has(const struct engine *engine, enum group group, const struct vector *token);
/* Calls back when engine_has(), with OK, or at the deadline, with TIMEOUT; from a call into the
 * engine, and at once where it is so already.  BUSY beyond WAITERS_MAX. */
enum err engine_wait(struct engine *engine, enum group group, const struct vector *token,
		     int64_t deadline_ms, void (*on_done)(void *context, enum err e),
		     void *context);
/* One hash over all keys of the group and their states: equal roots, equal sites.  Reads all of
 * them.  BUSY while a job runs. */
enum err engine_root(struct engine *engine, enum group group, uint8_t ret_root[STATE_HASH_BYTES]);

/* Lets a peer go on that the breaker stopped: all that it brings while this link is up. */
void engine_admit(struct engine *engine, struct engine_peer *peer);

struct actor engine_self(const struct engine *engine);
/* The revision vector, own writes up to the published head included. */
enum err engine_vector(const struct engine *engine, enum group group, struct vector *ret_vector);
/* Nothing is under way and no peer that is connected lacks anything. */
bool engine_is_silent(const struct engine *engine);

struct peer_status {
	struct actor actor; /* of its last hello */
	bool ready;
	bool is_comparing;
	bool is_stopped;	/* by the breaker */
	int64_t cursor[GROUPS]; /* how far into its log we are */
	int64_t acked[GROUPS];	/* how far it is into ours */
	uint64_t bytes_sent;
	uint64_t bytes_received;
	uint64_t windows_sent;
	uint64_t windows_received;
	uint64_t sessions;
};

void engine_peer_status(const struct engine_peer *peer, struct peer_status *ret_status);

#endif
