/* SPDX-License-Identifier: Apache-2.0 */
/* message.h - what two sites say to each other, as plain structs, and their form on the wire.
 *
 * The wire is api/proto/sync.proto: protobuf, so that a newer site may add fields which an older
 * one skips.  What a field means is said here; docs/sync.md tells the conversation.
 *
 * Ownership: encoding borrows everything.  A decoded message is in the arena and points into the
 * bytes that were given, but for vectors, which own heap memory: message_fini().
 * Errors: MALFORMED for what no peer sends, and for a kind or group that only a newer one knows
 * (such grow SYNC_PROTOCOL); NOMEM (a fault); REQUEST_TOO_LARGE when the message would pass
 * MESSAGE_BYTES_MAX or a count of sync/limits.h.  To encode what message_is_sound() refuses is a
 * bug of the caller.
 * Limits: sync/limits.h; sizes and counts are checked before memory is taken, of which decoding
 * needs MESSAGE_ARENA_BYTES_MAX in the arena at most.  Pure. */
#ifndef SYNC_MESSAGE_MESSAGE_H
#define SYNC_MESSAGE_MESSAGE_H

#include "shim/base/arena.h"
#include "shim/base/buffer.h"
#include "shim/base/err.h"
#include "sync/causal/vector.h"
#include "sync/group.h"
#include "sync/reconcile/sequence.h"

#define SYNC_PROTOCOL 1 /* grows when an older site would misunderstand */
#define CHAIN_BYTES 8
#define RULES_HASH_BYTES 16

/* A place in a site's log: the hash over all rows up to the revision tells two histories apart that
 * gave out the same revision. */
struct chain_point {
	int64_t revision;
	uint64_t hash;
};

struct key_range { /* [key, end); an empty end: to the last key */
	struct bytes key;
	struct bytes end;
};

/* Which API versions a site can decode under a prefix; empty list: any. */
struct storage_versions {
	struct bytes prefix;
	struct bytes *api_versions;
	size_t count;
};

/* The first message of each side, and again after a change of incarnation. */
struct hello {
	uint32_t protocol;
	uint32_t layout; /* CODEC_LAYOUT */
	struct site cluster;
	struct actor self;
	uint64_t nonce; /* of the running process: two with one site id are a clone */
	int64_t head;
	int64_t wall_ms;	       /* 0: not known */
	struct vector vectors[GROUPS]; /* the sender's, in the range of the coverage */
	/* Of the receiver's log, by the sender's memory: where it stands, per group, and points
	 * before that, newest first. */
	uint32_t cursor_incarnation;
	int64_t cursors[GROUPS]; /* 0: none, wants a comparison of states */
	struct chain_point *points;
	size_t point_count;
	struct key_range *coverage; /* what the sender holds and wants to hear of */
	size_t coverage_count;
	uint8_t rules_hash[RULES_HASH_BYTES];
	struct storage_versions *versions;
	size_t version_count;
	struct bytes *key_ids; /* encryption keys that the sender's apiserver has */
	size_t key_id_count;
	uint32_t window_bytes_max; /* of what the sender receives */
	bool is_hub;
	/* false: who the sender is, no more.  true: the sender knows who the receiver is, and what
	 * it says of the receiver's log counts. */
	bool is_answer;
	struct site *clouds; /* all hubs that the sender has heard of */
	size_t cloud_count;
};

/* A vector that counts for some keys alone: what a comparison of states that has not ended took
 * over with them (docs/sync.md). */
struct claim {
	uint64_t id; /* random, the same at every site */
	struct vector vector;
};

/* What one key is: the meta of its row beside its visible value (sync/merge/meta.h). */
struct entry {
	struct bytes key;
	bool live;
	struct bytes meta;
	/* The value, or a delta against the version whose digest is base_digest. */
	bool is_delta;
	uint64_t base_digest;
	struct bytes value;
	uint64_t value_digest;
	/* In windows: why it is told.  wildcard: always, see docs/sync.md. */
	bool wildcard;
	struct dot *touches;
	size_t touch_count;
	uint64_t *claims; /* by id, out of the message's table */
	size_t claim_count;
	int64_t revision; /* of the sender's newest transaction that touched it: those of one */
};

/* (from, to] of the sender's log, entries ascending by revision. */
struct window {
	enum group group;
	uint32_t incarnation; /* the sender's */
	int64_t from;
	int64_t to;
	struct vector delta; /* what the sender's vector at `to` has and had not at `from` */
	bool delta_is_whole; /* ... or the whole of it */
	uint64_t chain;	     /* at `to` */
	bool more;	     /* another part of the same window follows */
	uint32_t part;	     /* from 0 */
	int64_t barrier;     /* cursors below it are invalid */
	struct entry *entries;
	size_t entry_count;
	struct claim *claims;
	size_t claim_count;
};

struct ack {
	enum group group;
	uint32_t incarnation;  /* of the log that is acknowledged */
	int64_t cursor;	       /* durable */
	struct vector delta;   /* what the sender's vector gained since it last told */
	uint64_t credit_bytes; /* more that may be sent */
};

enum retry_reason { RETRY_BASE_UNKNOWN, RETRY_OUT_OF_ORDER };

struct retry { /* send again from the cursor */
	enum group group;
	enum retry_reason reason; /* BASE_UNKNOWN: without deltas */
	int64_t cursor;
};

/* --- state mode: the asker compares its keys with the answerer's, fetches what differs -------- */

struct session_open {
	uint64_t session; /* the asker's number */
	enum group group;
	uint64_t nonce; /* of the comparison */
	struct key_range range;
};

struct session_opened {
	uint64_t session;
	uint32_t incarnation;
	int64_t revision;     /* pinned */
	struct vector vector; /* at it */
	uint64_t chain;
	uint64_t key_count;
	uint8_t root[STATE_HASH_BYTES];
};

struct session_compare { /* both ways; body: sync/reconcile */
	uint64_t session;
	struct bytes body;
};

struct session_fetch {
	uint64_t session;
	struct bytes *keys; /* ascending */
	size_t key_count;
};

struct session_page {
	uint64_t session;
	struct entry *
		entries; /* all that were asked for; a key that is gone is not live, without meta */
	size_t entry_count;
	struct claim *claims;
	size_t claim_count;
};

struct session_close {
	uint64_t session;
};

struct evict { /* left the receiver's scope: let go, never a delete */
	struct key_range *ranges;
	size_t range_count;
};

enum refusal {
	REFUSED_PROTOCOL,
	REFUSED_LAYOUT,
	REFUSED_CLUSTER,
	REFUSED_CLONE,	 /* another running process has this site id */
	REFUSED_AMNESIA, /* the receiver has forgotten what it told: heal, then say hello again */
	REFUSED_QUARANTINE, /* waits for a person's word */
	REFUSED_SESSION,    /* no such session (any more) */
	REFUSED_BUSY,
	REFUSED_OTHER, /* only when read: a newer site's reason; its text says which */
};

struct refuse {
	enum refusal why;
	int64_t retry_after_ms;
	struct chain_point common; /* AMNESIA: the newest point that both have; 0: none */
	int64_t seen;		   /* AMNESIA: the highest revision heard from the receiver */
	struct bytes text;	   /* for people: cause and mend */
};

enum message_kind {
	MESSAGE_HELLO,
	MESSAGE_WINDOW,
	MESSAGE_ACK,
	MESSAGE_RETRY,
	MESSAGE_SESSION_OPEN,
	MESSAGE_SESSION_OPENED,
	MESSAGE_SESSION_COMPARE,
	MESSAGE_SESSION_FETCH,
	MESSAGE_SESSION_PAGE,
	MESSAGE_SESSION_CLOSE,
	MESSAGE_EVICT,
	MESSAGE_REFUSE,
	MESSAGE_KINDS
};

struct message {
	enum message_kind kind;
	union {
		struct hello hello;
		struct window window;
		struct ack ack;
		struct retry retry;
		struct session_open session_open;
		struct session_opened session_opened;
		struct session_compare session_compare;
		struct session_fetch session_fetch;
		struct session_page session_page;
		struct session_close session_close;
		struct evict evict;
		struct refuse refuse;
	} as;
};

/* What a peer may rely on: revisions in range, entries with a key and in order, ranges not empty,
 * claims that are in the table. */
bool message_is_sound(const struct message *message);

/* Appends to the buffer. */
enum err message_encode(const struct message *message, struct buffer *buffer);
enum err message_decode(struct bytes bytes, struct arena *arena, struct message *ret_message);
/* Ends the vectors of a message, decoded or built. */
void message_fini(struct message *message);

const char *message_name(enum message_kind kind);

#endif
