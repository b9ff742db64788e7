/* SPDX-License-Identifier: Apache-2.0 */
/* disk.h - disks in memory that lose what was not synced, run full and fail, for the simulator: the
 * store runs on them as it is.
 *
 * A disk is the folder sim_disk_path(), which no real file system knows.  Programs that link these
 * files have a default SQLite VFS in place of the system's, below the one that adds checksums to
 * pages, and definitions of open(), stat(), fsync() and the few other calls that the store makes
 * around SQLite; both send other paths on to the system.  Names last when their folder was synced,
 * or a new file of SQLite's was.
 *
 * Chance and time are the run's: SQLite's random numbers, getrandom() and SQLite's clock follow
 * from sim_disk_begin(), what a crash leaves from the disk's own seed.  So the same seeds and calls
 * give the same bytes, as long as one thread makes the calls.
 *
 * Ownership: sim_disk_new() or _copy() .. _free(), which needs every file closed, as do _crash()
 * and _restore().
 * Threads: a disk may be used by the threads of one store; those that make, crash and free disks
 * are the caller's to keep apart.
 * Limits: SIM_DISKS_MAX disks of SIM_FILES_MAX files; more end the program with a word, as does
 * every other use that only a mistake in a test explains.
 * Not simulated: flock() between two stores on one disk, and rename(): a snapshot is not written
 * to these disks. */
#ifndef TESTS_SIM_DISK_H
#define TESTS_SIM_DISK_H

#include "shim/base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_DISKS_MAX 1024 /* at one time: sites and their backups */
#define SIM_FILES_MAX 16   /* of one disk, with those removed and not yet forgotten */

struct sim_disk;

/* A new run: all of the process's chance starts at `seed`.  Best with no disk left. */
void sim_disk_begin(uint64_t seed);

struct sim_disk *sim_disk_new(uint64_t seed);
void sim_disk_free(struct sim_disk *disk);
const char *sim_disk_path(const struct sim_disk *disk); /* for store_config.data_dir */

/* --- what goes wrong -------------------------------------------------------------------------- */

/* The n-th write, sync, truncation, creation or removal from now fails, and so do all after it, as
 * if the process had died there: a write may leave its first sectors.  1: the next one; 0 takes it
 * back.  Reads go on, so that a store can be closed. */
void sim_disk_kill_after(struct sim_disk *disk, uint64_t operations);
bool sim_disk_is_dead(const struct sim_disk *disk);

/* What is left of everything that was not synced. */
enum sim_crash {
	SIM_CRASH_KEEPS,  /* all: the process died, the system did not */
	SIM_CRASH_LOSES,  /* nothing */
	SIM_CRASH_PREFIX, /* of each file what was written up to some moment */
	SIM_CRASH_SECTORS /* of each sector of 512 bytes what was written up to some moment */
};

/* One of them, by the disk's chance.  The disk works again afterwards, but for sim_disk_full(). */
enum sim_crash sim_disk_crash(struct sim_disk *disk);
void sim_disk_crash_as(struct sim_disk *disk, enum sim_crash how);

/* Room for `bytes` more; then SQLITE_FULL, until there is room again.  < 0: without bound. */
void sim_disk_full(struct sim_disk *disk, int64_t bytes);

/* Syncs of the WAL succeed and do nothing, until a checkpoint needs them: as with
 * synchronous=NORMAL the database stays sound, but a crash takes the newest commits.  While it is
 * on, a crash is never one by sectors, after which the store would rightly refuse to start. */
void sim_disk_lose_syncs(struct sim_disk *disk, bool on);

/* --- backups and clones ----------------------------------------------------------------------- */

/* A disk with the synced content of this one and an identity of its own. */
struct sim_disk *sim_disk_copy(struct sim_disk *disk, uint64_t seed);

/* The synced content of `from` in place of all that is on the disk.  With new_identity files were
 * copied back; without it the whole machine was set back to a snapshot. */
void sim_disk_restore(struct sim_disk *disk, struct sim_disk *from, bool new_identity);

/* What the inode number of the database is to a real one. */
uint64_t sim_disk_identity(const struct sim_disk *disk);

/* --- files of others than the store ----------------------------------------------------------- */

/* A small file whole, old or new and synced, or not at all: false when the disk died or is full. */
bool sim_disk_write_file(struct sim_disk *disk, const char *name, struct bytes content);
/* Memory of the disk, until it changes; false: there is no such file. */
bool sim_disk_read_file(struct sim_disk *disk, const char *name, struct bytes *ret_content);
void sim_disk_remove_file(struct sim_disk *disk, const char *name);

/* --- looking at it ---------------------------------------------------------------------------- */

uint64_t sim_disk_operations(const struct sim_disk *disk); /* as counted by _kill_after() */
int64_t sim_disk_bytes(const struct sim_disk *disk);
/* Of all names and bytes, synced and not: equal disks have equal sums. */
uint32_t sim_disk_sum(struct sim_disk *disk);

#endif
