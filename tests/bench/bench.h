/* SPDX-License-Identifier: Apache-2.0 */
/* bench.h - one run of the load client: its options, its slots (each has one request outstanding)
 * and what they measured.
 *
 * Threads: one.  Ownership: everything belongs to struct bench. */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include "tests/bench/common.h"
#include "tests/bench/link.h"
#include "tests/bench/stats.h"
#include "tests/bench/wire.h"

struct options {
	const char *workload;
	int64_t port, pid;
	int64_t conns, streams; /* streams: outstanding on each connection */
	int64_t slots;		/* requests outstanding in all; 0: conns * streams */
	int64_t seconds, warmup_ms;
	int64_t keys, value;		 /* objects there are, bytes of a value */
	int64_t limit;			 /* of a list; 0: none */
	int64_t watchers, idle_watchers; /* of all objects; of prefixes where nothing happens */
	int64_t rate;			 /* requests per second; 0: as fast as they are answered */
	int64_t interval, compact;	 /* seconds between lines, between compactions; 0: none */
	int64_t batch;			 /* keys in one transaction of `fill` */
	int64_t seed;
};

enum op { OP_PUT, OP_GET, OP_LIST, OP_STREAM, OP_UPDATE, OP_CREATE, OP_FILL, OP_GRANT, OP_COMPACT };

struct slot {
	struct call call;
	struct bench *bench;
	unsigned number;
	uint64_t turn;
	enum op op;
	uint64_t key;
	int64_t begun_ns;
	int64_t revision; /* or lease, that the answer named */
	const char *problem;
	struct range_seen seen;
	int64_t watchers_left; /* that have not heard of this update */
	bool is_answered;
};

struct tally {
	struct histogram latency;
	uint64_t requests;
	uint64_t events;
};

struct bench {
	struct options options;
	struct link_set *links;
	unsigned slot_count;
	struct slot *slots;
	unsigned active;    /* slots with something outstanding */
	struct slot **idle; /* paced runs: those with nothing */
	unsigned idle_count;
	int64_t *revisions; /* of each key, as last answered */
	int64_t head;	    /* newest revision seen */
	uint8_t *values;    /* random bytes to cut values from */
	uint64_t random;

	bool is_sweep; /* each key once, with sweep_op */
	enum op sweep_op;
	uint64_t sweep_next;
	bool is_running; /* slots go on when answered */
	bool is_measuring;
	struct tally total, interval;
	uint64_t updates; /* answered since the watchers were made */
	uint64_t errors;
	char first_problem[CALL_PROBLEM_BYTES];

	struct watcher *watchers;
	unsigned watchers_created;
	uint64_t events; /* since then */
};

uint64_t bench_random(struct bench *bench, uint64_t below);
struct bytes bench_value(struct bench *bench);
void bench_error(struct bench *bench, const char *problem);
/* An answer that came `ns` after its request was due. */
void bench_record(struct bench *bench, int64_t ns);

/* --- slots.c --- */
void slots_open(struct bench *bench);
void slots_close(struct bench *bench);
void slots_sweep(struct bench *bench, enum op op);
void slots_start(struct bench *bench);			   /* all of them */
void slots_start_due(struct bench *bench, int64_t due_ns); /* one idle one, for a paced run */
void slot_heard(struct bench *bench, int64_t key, int64_t revision);
void slots_compact(struct bench *bench, struct slot *slot, int64_t revision);

/* --- watchers.c --- */
void watchers_open(struct bench *bench);
void watchers_check(struct bench *bench); /* all events came */
void watchers_close(struct bench *bench);

/* --- leases.c --- */
void leases_start(struct bench *bench);

#endif
