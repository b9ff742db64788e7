/* SPDX-License-Identifier: Apache-2.0 */
/* trace.h - what a workload did to the files of one folder, in order, with marks of what had been
 * acknowledged.
 *
 * Ownership: trace_init() .. trace_fini(); the memory of events is the trace's and shared with
 * processes that are forked later, of which one at a time may record.
 * Threads: recorded from any; read when recording has stopped. */
#ifndef TESTS_DISK_TRACE_H
#define TESTS_DISK_TRACE_H

#include "tests/disk/book.h"
#include "tests/disk/tap.h"

#define TRACE_SITES 2	  /* the store, and the one restored from its snapshot */
#define TRACE_SNAPSHOTS 2 /* by the server, and beside it */
#define TRACE_PATH_BYTES 96

/* What was acknowledged. */
struct world {
	struct book_mark site[TRACE_SITES];
	int64_t snapshot_head[TRACE_SNAPSHOTS]; /* 0: not saved yet */
	bool unknown; /* until the next mark: a revision that a restart did not find may be there */
};

struct trace_event {
	enum tap_op op;
	bool is_mark;
	bool failed; /* a sync that failed: what it was for may never reach the disk */
	char path[TRACE_PATH_BYTES]; /* below the root, "" is the root */
	char path_to[TRACE_PATH_BYTES];
	int64_t offset;
	size_t size;
	uint8_t *data;
	struct world world; /* of a mark */
};

struct trace {
	char root[TRACE_PATH_BYTES];
	struct trace_event *events;
	size_t count;
	uint8_t *bytes; /* of all writes */
	size_t bytes_used;
	/* Sabotage, to see that the test notices. */
	bool drop_syncs;
	bool drop_folder_syncs;
	const char *drop_syncs_of; /* files whose name ends so */
	int sync_fails_in;	   /* > 0: after so many syncs one fails, once */
};

void trace_init(struct trace *trace);
void trace_start(struct trace *trace, const char *root);
void trace_mark(struct trace *trace, const struct world *world);
void trace_stop(void);
void trace_fini(struct trace *trace);

/* Zeroed memory that forked processes share; never freed. */
void *trace_share(size_t bytes);

#endif
