/* SPDX-License-Identifier: Apache-2.0 */
/* world.h - one run of the simulator: sites with their real stores on disks in
 * memory, links, one time, one oracle; and what comes of it.
 *
 * Everything in a run follows from its seed and the steps that are left in. One
 * thread. Ownership: world_new .. world_free.  A broken invariant ends the run
 * with world_fail(), which does not return; what the run held is then lost with
 * its process. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "sync/rules/rules.h"
#include "tests/sim/chance.h"
#include "tests/sim/net.h"
#include "tests/sim/oracle.h"
#include "tests/sim/queue.h"
#include "tests/sim/thing.h"

#include <setjmp.h>
#include <stdio.h>

#define SITES_MAX 8 /* a clone is one more */
#define LINKS_MAX 24
#define KEYS_MAX 40
#define RULE_SETS 3

/* --- what is counted, and what must have been seen
 * -------------------------------------------- */

/* required: over enough runs each of these must have happened at least once. */
#define SEEN_TABLE(X)                                                                              \
	X(STEPS, "steps", false)                                                                   \
	X(EVENTS, "events", false)                                                                 \
	X(MESSAGES, "messages", true)                                                              \
	X(CHECKS, "states compared with the oracle", true)                                         \
	X(WRITES, "client writes", true)                                                           \
	X(CAS_LOST, "CAS lost", true)                                                              \
	X(TXN_MULTI, "transactions of several keys", true)                                         \
	X(MERGES, "merged rows", true)                                                             \
	X(INVISIBLE, "merged rows that nobody sees", true)                                         \
	X(SIBLINGS, "siblings", true)                                                              \
	X(CLOSED, "siblings closed unseen", true)                                                  \
	X(UID_CONFLICT, "uid conflict", true)                                                      \
	X(ADOPTED, "adoption", false)                                                              \
	X(HELD, "held entry", false)                                                               \
	X(DELETION_DUE, "deletion completed", true)                                                \
	X(INCARNATION, "incarnation begun anew", true)                                             \
	X(REFUSED, "peer refused", true)                                                           \
	X(CLONE, "clone detected", true)                                                           \
	X(CLOCK_AHEAD, "peer's clock ahead", true)                                                 \
	X(BARRIER, "barrier", true)                                                                \
	X(WILDCARD, "wildcard relayed", true)                                                      \
	X(SESSION, "state session", true)                                                          \
	X(SESSION_BROKEN, "state session broken off", true)                                        \
	X(CLAIMED, "keys with a claim", true)                                                      \
	X(BASE_UNKNOWN, "delta without its base", true)                                            \
	X(BAD_MESSAGE, "message that is none", false)                                              \
	X(BROKEN, "link broken", true)                                                             \
	X(IN_FLIGHT_LOST, "message lost in flight", true)                                          \
	X(DUPLICATED, "message twice", true)                                                       \
	X(REORDERED, "message out of order", true)                                                 \
	X(DROPPED, "message dropped inside a link", true)                                          \
	X(STALLED, "link that carries one way only", true)                                         \
	X(CRASHES, "crash", true)                                                                  \
	X(CRASH_IN_APPLY, "crash in the middle of an apply", true)                                 \
	X(UNSYNCED_LOST, "power lost with writes not synced", true)                                \
	X(MAYBE_KEPT, "unanswered write found after a crash", true)                                \
	X(DISK_FULL, "write refused by a full disk", true)                                         \
	X(RESTORED, "restored from a backup", true)                                                \
	X(ROLLED_BACK, "set back with its witness", true)                                          \
	X(LOST_WRITES, "write lost with a restore", true)                                          \
	X(RESTAMPED, "write under a new dot", false)                                               \
	X(TOLD_TWICE, "write under a second dot", false)                                           \
	X(PRUNED, "log compacted", true)                                                           \
	X(RULES, "rules changed", true)                                                            \
	X(CLOCKS, "clock jumped", true)                                                            \
	X(LEAPS, "months passed", true)                                                            \
	X(REPLAYS, "old message replayed", true)                                                   \
	X(QUIET, "runs that fell silent", true)

enum seen {
#define SEEN_NUMBER(name, words, required) SEEN_##name,
	SEEN_TABLE(SEEN_NUMBER)
#undef SEEN_NUMBER
		SEEN_COUNT
};

struct result { /* in memory that a child of the runner shares with it */
	uint64_t seen[SEEN_COUNT];
	bool failed;
	unsigned step; /* at which it broke */
	char invariant[16];
	char text[1024];
};

/* --- the plan of a run
 * ------------------------------------------------------------------------ */

enum topology {
	TOPOLOGY_STAR,
	TOPOLOGY_PAIR,
	TOPOLOGY_TREE,
	TOPOLOGY_MESH,
	TOPOLOGY_RANDOM,
	TOPOLOGIES
};

const char *topology_name(enum topology topology);

enum step_kind {
	STEP_WRITE,
	STEP_BURST,
	STEP_CUT,
	STEP_HEAL,
	STEP_ONE_WAY,
	STEP_FLAP,
	STEP_WILD, /* a link that duplicates, reorders, drops */
	STEP_REPLAY,
	STEP_STOP,
	STEP_START,
	STEP_CRASH,
	STEP_SLOW,
	STEP_FULL,
	STEP_BACKUP,
	STEP_RESTORE,
	STEP_CLONE,
	STEP_PRUNE,
	STEP_RULES,
	STEP_CLOCK,
	STEP_LEAP,
	STEP_COMPARE,
	STEP_RESTART, /* stop and start at once */
	STEP_KINDS
};

struct step {
	enum step_kind kind;
	unsigned target;  /* a site or a link, modulo how many there are */
	uint64_t chance;  /* everything else that it decides */
	int64_t pause_ms; /* that pass afterwards */
};

#define STEPS_MAX 400

struct plan {
	uint64_t seed;
	enum topology topology;
	unsigned sites;
	unsigned keys;
	unsigned mistakes;
	bool left_out[STEPS_MAX];
	struct step steps[STEPS_MAX];
	unsigned count;
};

/* Everything follows from the seed; TOPOLOGIES: the topology, too. */
void plan_make(struct plan *plan, uint64_t seed, enum topology topology);

/* --- the run
 * ----------------------------------------------------------------------------------
 */

struct sim_key {
	char text[80];
	enum thing_kind kind;
	bool travels;  /* else never leaves its site */
	bool is_event; /* they travel in a group of their own */
	bool mark;
};

struct sim_site;

struct world {
	struct plan *plan;
	struct result *result;
	FILE *trace; /* or NULL */
	jmp_buf failed;
	int64_t now_ms;
	struct queue queue;
	struct chance chance; /* of what no step decides */
	struct sim_site *sites[SITES_MAX];
	unsigned site_count;
	struct link links[LINKS_MAX];
	unsigned link_count;
	struct sim_key keys[KEYS_MAX];
	unsigned key_count;
	struct rules *rules[RULE_SETS];
	struct oracle oracle;
	uint32_t next_number; /* of what clients write */
	uint64_t events;
	unsigned step;
	bool settling; /* faults have stopped */
};

/* Runs the plan; false: an invariant broke, see the result. */
bool world_run(struct plan *plan, struct result *result, FILE *trace);

/* Lets simulated time pass. */
void world_pass(struct world *world, int64_t ms);
void world_fail(struct world *world, const char *invariant, const char *format, ...)
	__attribute__((format(printf, 3, 4), noreturn));
/* One line of the trace. */
void world_tell(const struct world *world, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static inline void world_count(struct world *world, enum seen seen)
{
	world->result->seen[seen]++;
}

unsigned world_key_of(const struct world *world, struct bytes key); /* KEYS_MAX: none */

#endif
