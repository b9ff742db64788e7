/* SPDX-License-Identifier: Apache-2.0 */
/* backup.h - what writing and restoring a snapshot share: a database file that appears whole or not
 * at all, and what a snapshot holds beside the log.
 *
 * A snapshot is a database of schema.h with these differences: the log has only the rows that are
 * needed to read at its head (so its compaction revision is its head), and two settings tell how
 * many rows there must be and what checksum all contents have together.
 * Threads: one at a time.  Errors: faults, logged; the caller adds words for people. */
#ifndef SHIM_STORE_BACKUP_H
#define SHIM_STORE_BACKUP_H

#include "shim/store/schema.h"

#define SETTING_SNAPSHOT_ROWS "snapshot_rows"
#define SETTING_SNAPSHOT_HASH "snapshot_hash"

/* etcd's tools append the SHA-256 of a snapshot to it and expect the rest in multiples of this. */
#define SNAPSHOT_BLOCK_BYTES 512
#define SNAPSHOT_TRAILER_BYTES 32

#define FRESH_PART ".part"

/* A database in the making, under a temporary name beside its own. */
struct fresh_file {
	struct conn conn; /* in a transaction between open and finish */
	char *path;
	char *part_path;
};

enum err fresh_open(struct fresh_file *fresh, const char *path,
		    const struct store_identity *identity);
/* Commits, syncs, gives the file its name, syncs the folder. */
enum err fresh_finish(struct fresh_file *fresh);
/* Leaves nothing behind of a file that was not finished; releases memory in any case. */
void fresh_fini(struct fresh_file *fresh);

/* What runs over all contents, so that rows that are missing are noticed, too. */
struct contents {
	int64_t rows;
	uint32_t rows_hash;
	uint32_t small_hash; /* leases and the state of sync */
};

uint32_t contents_hash(const struct contents *contents);
/* Adds a row to the contents and, where there is a target, to that. */
enum err contents_row(struct contents *contents, const struct row *row, struct conn *target);
/* The same for all leases and all state of the source. */
enum err contents_small(struct contents *contents, struct conn *source, struct conn *target);

/* Alarm bits as rows. */
enum err backup_alarms(struct conn *target, unsigned alarms);

struct store;

/* Writes all that `source` sees in its open read transaction; of the store only the index and its
 * lock are used. */
enum err backup_write(struct store *store, struct conn *source, const char *path);

enum err folder_sync(const char *path); /* of the folder itself */

#endif
