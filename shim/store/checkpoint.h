/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint.h - folds the WAL into the database, hears when that fails, and bounds the WAL.
 *
 * SQLite's own way drops errors of checkpoints: a page that cannot be written would make the WAL
 * grow until the disk is full.  And a WAL cannot begin anew while anybody reads from it: a process
 * that hangs in the middle of a read (`kedge snapshot save`, an sqlite3 shell) has the same effect.
 * Threads: the writer's. */
#ifndef SHIM_STORE_CHECKPOINT_H
#define SHIM_STORE_CHECKPOINT_H

#include "shim/store/conn.h"

struct checkpoint {
	struct conn *conn;
	int fold_pages;	   /* in the WAL: then it is folded */
	int64_t pages;	   /* that are in it */
	int64_t pages_max; /* beyond, nothing is written */
	int64_t retry_ns;  /* of clock_system: not before */
	enum err failed;   /* of the latest fold, until taken */
};

/* From now on, after each commit of the connection. */
void checkpoint_init(struct checkpoint *checkpoint, struct conn *conn);
/* What a fold since the last call came to: NO_SPACE, or a fault. */
enum err checkpoint_failure(struct checkpoint *checkpoint);
/* Whether the WAL has no room for a commit; tries to fold it, not more often than once a second. */
bool checkpoint_is_full(struct checkpoint *checkpoint);
/* Writes all pages anew, by way of the WAL, and gives free ones back to the file system. */
enum err checkpoint_vacuum(struct checkpoint *checkpoint, const char *data_dir);

#endif
