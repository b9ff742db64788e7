/* SPDX-License-Identifier: Apache-2.0 */
/* disk_internal.h - what the parts of the simulated disk share: files with their unsynced writes.
 *
 * Every function but sim_disk_find() wants the disk's lock held.  Results are errno's: 0, EIO from
 * a dead disk, ENOSPC from a full one. */
#ifndef TESTS_SIM_DISK_INTERNAL_H
#define TESTS_SIM_DISK_INTERNAL_H

#include "tests/sim/disk.h"

#include <pthread.h>

#define SIM_ROOT "/kedge-sim"
#define SIM_PATH_BYTES 32
#define SIM_NAME_BYTES 48
#define SIM_SECTOR_BYTES 512
#define SIM_SHM_REGIONS_MAX 256 /* of 32 KiB: for a WAL of a million frames */
#define SIM_SHM_LOCKS 8		/* SQLite's */

struct sim_image {
	uint8_t *bytes;
	size_t size;
	size_t capacity; /* zeros behind the size */
};

/* One write or truncation that is not synced. */
struct sim_write {
	size_t offset; /* or the new size */
	size_t size;
	size_t data; /* where its bytes are in the file's `pending` */
	bool truncates;
};

struct sim_handle;

/* Locks and shared memory of the connections that have it open. */
struct sim_sharing {
	unsigned shared;	   /* handles that read */
	struct sim_handle *writer; /* reserved, pending or exclusive */
	bool pending;		   /* the writer lets no new readers in */
	uint8_t *regions[SIM_SHM_REGIONS_MAX];
	unsigned users;		  /* handles with a map */
	int locks[SIM_SHM_LOCKS]; /* -1: exclusive, else that many share it */
};

struct sim_file {
	struct sim_disk *disk;
	char name[SIM_NAME_BYTES];
	struct sim_image now;
	struct sim_image synced;
	struct sim_image pending;
	struct sim_write *writes;
	size_t write_count, write_capacity;
	bool is_wal;
	bool name_lasts; /* its creation is synced */
	bool removed;	 /* and the removal not: the newest of this name */
	unsigned handles;
	struct sim_sharing sharing;
};

struct sim_disk {
	pthread_mutex_t lock;
	char path[SIM_PATH_BYTES];
	uint64_t identity;
	uint64_t chance;
	uint64_t operations;
	uint64_t kill_in; /* operations until it dies; 0: it does not */
	bool dead;
	bool loses_syncs;
	int64_t bytes;	   /* of all files */
	int64_t bytes_max; /* < 0: none */
	struct sim_file *files[SIM_FILES_MAX];
	size_t file_count;
};

/* Ends the program: a test is wrong. */
#define SIM_DEMAND(condition, ...)                                                                 \
	do {                                                                                       \
		if (!(condition))                                                                  \
			sim_disk_misused(__VA_ARGS__);                                             \
	} while (0)

_Noreturn void sim_disk_misused(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* splitmix64: every state is a good one. */
static inline uint64_t sim_chance(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* The process's own chance, as SQLite and getrandom() see it. */
void sim_disk_fill_random(void *to, size_t size);

bool sim_disk_is_path(const char *path);
/* NULL: no disk of that name.  The name within it is "" for the folder itself. */
struct sim_disk *sim_disk_find(const char *path, const char **ret_name);

/* --- files ------------------------------------------------------------------------------------ */

struct sim_file *sim_file_get(struct sim_disk *disk, const char *name); /* NULL: none */
int sim_file_create(struct sim_disk *disk, const char *name, struct sim_file **ret_file);
int sim_file_remove(struct sim_file *file);
void sim_file_read(const struct sim_file *file, size_t offset, void *to, size_t size);
int sim_file_write(struct sim_file *file, size_t offset, const void *from, size_t size);
int sim_file_truncate(struct sim_file *file, size_t size);
int sim_file_sync(struct sim_file *file);
int sim_folder_sync(struct sim_disk *disk);
/* A handle less: of a file that was removed while it was open, the last one. */
void sim_file_let_go(struct sim_file *file);
/* Removed, whatever works or not: temporary files are gone with their process. */
void sim_file_forget(struct sim_file *file);

/* Without the disk's accounts and faults, for crashes and copies. */
struct sim_file *sim_file_add(struct sim_disk *disk, const char *name);
void sim_file_drop(struct sim_disk *disk, size_t index);
void sim_file_settle(struct sim_file *file); /* all that was written is synced */
void sim_image_set(struct sim_image *image, const uint8_t *bytes, size_t size);
void sim_image_put(struct sim_image *image, size_t offset, const uint8_t *from, size_t size);
void sim_image_cut(struct sim_image *image, size_t size);

#endif
