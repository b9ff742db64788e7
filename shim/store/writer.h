/* SPDX-License-Identifier: Apache-2.0 */
/* writer.h - the one thread that writes: takes what waits, commits it as a group, publishes,
 * answers; between commits it revokes leases that are due and sweeps behind compactions.
 *
 * Ownership: writer_new() takes the connection.  Threads: new and free before the thread starts and
 * after it ended.
 * Errors: a full disk is an answer; every other failure of a commit stops the store. */
#ifndef SHIM_STORE_WRITER_H
#define SHIM_STORE_WRITER_H

#include "shim/store/batch.h"
#include "shim/store/checkpoint.h"
#include "shim/store/compact.h"

struct writer {
	struct store *store;
	struct conn conn;
	struct checkpoint checkpoint;
	struct batch batch;
	struct sweeper sweeper;
	pthread_t thread;
	bool started;
	bool has_answered; /* since the listener was told */

	struct inbox_node *waiting;  /* taken from the inbox, not yet in a batch */
	struct inbox_node *physical; /* compactions that are answered when swept */
	int64_t expire_from_ns; /* no expiry before: at most one tick of leases per LEASE_TICK_MS */
	int64_t sweep_from_ns;
	int64_t due[LEASE_EXPIRE_PER_TICK];
};

/* Moves *conn into the writer. */
enum err writer_new(struct store *store, struct conn *conn, int64_t swept,
		    struct writer **ret_writer);
void writer_free(struct writer *writer);
enum err writer_start(struct writer *writer);
/* Does what is to be done now on the caller's thread; only without a thread of its own. */
void writer_turn(struct writer *writer);
/* After the inbox was closed; a writer without a thread finishes what is queued. */
void writer_join(struct writer *writer);

/* Tells the committed batch to readers, watchers, pins and figures, and forgets it. */
void writer_publish(struct writer *writer);

/* Reads the sizes of the file for quota and Status; from the thread that owns the connection. */
enum err writer_measure(struct writer *writer);

#endif
