/* SPDX-License-Identifier: Apache-2.0 */
/* site.h - one simulated site: the real store on a disk in memory, stamper,
 * engine, and what the simulator has seen of them.
 *
 * What a site holds is known from its log alone: after each turn of the store
 * its new rows are read, and every check compares those with the oracle.
 *
 * Ownership: site_new .. site_free. */
#ifndef TESTS_SIM_SITE_H
#define TESTS_SIM_SITE_H

#include "shim/store/sync.h"
#include "sync/engine/engine.h"
#include "tests/sim/disk.h"
#include "tests/sim/world.h"

#define WRITE_KEYS_MAX 4 /* of one transaction */
#define CLAIMS_SEEN_MAX 4
#define WITNESS_NAME "witness" /* the file on the site's disk */

struct client_op { /* a write on its way, or one whose answer never came */
	struct op op;
	struct arena arena;
	unsigned site;
	unsigned keys[WRITE_KEYS_MAX];
	struct bytes values[WRITE_KEYS_MAX]; /* NULL data: a delete */
	unsigned key_count;
	unsigned tries; /* left, when the CAS is lost */
	unsigned found; /* rows of it, in this turn */
	uint64_t chance;
	struct compare compares[WRITE_KEYS_MAX];
	struct request requests[WRITE_KEYS_MAX];
	struct client_op *next;
};

struct waiting { /* for the disk */
	struct op *op;
	struct client_op *client; /* NULL: the engine's */
};

struct held_key { /* what the newest row of a key says */
	bool seen;
	bool live;
	int64_t mod_revision;
	struct bytes value; /* owned; counts where live */
	size_t meta_bytes;
	size_t state_bytes; /* of it, what is the state's */
	struct fact_set facts;
	uint64_t claims[CLAIMS_SEEN_MAX];
	size_t claim_count;
	bool due; /* a new row, or a newly known write: to be compared */
};

struct moment { /* what the site had taken in at a revision of its */
	int64_t revision;
	struct known known;
};

struct seen_event { /* of its watch stream */
	int64_t revision;
	unsigned key;
	bool deleted;
	uint32_t sum; /* of the value */
};

struct history { /* what can be known of the site's past; a backup keeps one,
                    too */
	struct known known;
	struct moment *moments;
	size_t moment_count;
	struct seen_event *events;
	size_t event_count;
	struct held_key held[KEYS_MAX];
	int64_t head;
};

void history_fini(struct history *history);
void history_copy(const struct history *history, struct history *ret_copy);
/* What the site had taken in at the revision. */
const struct known *history_at(const struct history *history, int64_t revision);

struct sim_site {
	struct world *world;
	unsigned number;
	bool is_hub;
	bool star;
	bool clone;
	bool twin; /* the same identity as the one it was copied from */
	bool gone; /* a clone that was destroyed */

	struct sim_disk *disk;
	struct sim_disk *backup; /* or NULL */
	struct history backup_history;
	struct actor backup_self;
	bool full; /* its disk */

	bool running;
	uint64_t life;
	struct clock clock;
	int64_t skew_ms;
	bool clock_dead;
	int64_t slow_ms;
	unsigned rule_set;
	struct chance chance; /* the engine's */
	struct store *store;
	struct store_reader *reader;
	struct stamper *stamper;
	struct engine *engine;
	uint64_t disk_id;
	int64_t compare_every_ms;
	bool was_ready;
	bool crashed;
	bool starting;	 /* its log is read anew: no events come with rows */
	bool restarted;	 /* nothing may be known but what was */
	bool jumps;	 /* its revisions may have been moved forward */
	bool connecting; /* engine_connected() has not given the peer yet */
	unsigned connecting_link;

	struct waiting *waiting;
	size_t waiting_count;
	bool turn_due;
	struct op **done; /* during a turn */
	size_t done_count;
	struct client_op *maybes; /* answers never came */
	int64_t next_tick_ms;

	struct history now;
	size_t seen_events; /* of its watch stream, compared with rows */
	struct actor self;
	bool may_reuse;		/* set back with its witness, and nobody has told it yet */
	struct known forgotten; /* of its own, set back: others may bring it back */
};

struct sim_site *site_new(struct world *world, unsigned number);
void site_free(struct sim_site *site);

void site_start(struct sim_site *site);
void site_set_rules(struct sim_site *site);
/* Orderly; what waits is dropped unanswered. */
void site_stop(struct sim_site *site);
/* The process dies, and the disk with it when power goes. */
void site_crash(struct sim_site *site);
/* They are no longer on the disk. */
void site_drop_maybes(struct sim_site *site);
bool site_is_ready(const struct sim_site *site);

/* Gives an op to the store, as soon as the disk has time. */
void site_submit(struct sim_site *site, struct op *op, struct client_op *client);
void site_turn(struct sim_site *site);
void site_tick(struct sim_site *site);
/* After everything that the engine was told. */
void site_after_input(struct sim_site *site);
const char *site_name(const struct sim_site *site);

void site_connect(struct sim_site *site, unsigned link, unsigned end);
void site_disconnect(struct sim_site *site, unsigned link, unsigned end);
void site_receive(struct sim_site *site, unsigned link, unsigned end, struct bytes message);

void site_add_event(struct sim_site *site, int64_t revision, struct bytes key, bool deleted,
		    struct bytes value);
/* Of a set of writes, those of events or those of all other keys: each group of
 * keys has a vector of its own. */
struct known known_in(const struct world *world, const struct known *known, bool events);

/* Reads new rows of the log, and compares (observe.c). */
void site_observe(struct sim_site *site);
void site_check(struct sim_site *site);
/* After a start: the store holds what it had acknowledged. */
void site_check_started(struct sim_site *site);
void site_check_sent(struct sim_site *site, struct bytes message);
void site_check_received(struct sim_site *site, struct bytes message);
/* The site has found out that its dots may have been given out before: its
 * writes since then have new ones.  false: the dot is no such one. */
bool site_restamp(struct sim_site *site, unsigned key, const struct dot *dot);

#endif
