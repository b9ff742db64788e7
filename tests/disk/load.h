/* SPDX-License-Identifier: Apache-2.0 */
/* load.h - a workload that does to a store all that changes its files: first start, puts, deletes,
 * transactions and groups of them, leases, alarms, compaction with its sweep, checkpoints,
 * defragmentation, restarts, processes that end without a word, syncs that fail, snapshots in both
 * ways, and a restore.
 *
 * One op or group at a time, each followed by a mark; the same seed does the same. */
#ifndef TESTS_DISK_LOAD_H
#define TESTS_DISK_LOAD_H

#include "tests/disk/trace.h"

#define LOAD_DATA "site/a/data" /* below the root; its parents are made, too */
#define LOAD_RESTORED "site/restored"

struct load_options {
	uint64_t seed;
	int steps;		 /* ops between two of the big things */
	const char *synchronous; /* NULL: as it should be */
};

/* `book` has TRACE_SITES elements; it and the trace are in shared memory (trace_share), for each
 * life of the server is a process of its own. */
void load_run(const struct load_options *options, const char *root, struct book *book,
	      struct trace *trace);

#endif
