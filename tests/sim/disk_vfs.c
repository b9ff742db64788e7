/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/disk_internal.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define UNIX_EPOCH_MS INT64_C(210866760000000) /* of SQLite's Julian days */
#define CLOCK_MS (UNIX_EPOCH_MS + INT64_C(1767225600000))
#define SLEEP_NS_MAX 20000 /* alone nobody can be waited for; threads hold locks for microseconds */

struct sim_handle {
	sqlite3_file base;
	struct sim_file *file;
	int level;	       /* SQLITE_LOCK_... */
	bool has_map;	       /* of the shared memory */
	unsigned shared_locks; /* of it, by bit */
	unsigned own_locks;
	bool is_temporary;
};

static sqlite3_vfs *system_vfs;
static sqlite3_vfs sim_vfs;

static struct sim_handle *handle_of(sqlite3_file *file)
{
	return (struct sim_handle *)(void *)file;
}

/* The file of a handle, its disk locked. */
static struct sim_file *enter(sqlite3_file *file)
{
	struct sim_file *own = handle_of(file)->file;

	pthread_mutex_lock(&own->disk->lock);
	return own;
}

static int leave(const struct sim_file *file, int failed, int io_code)
{
	pthread_mutex_unlock(&file->disk->lock);
	if (!failed)
		return SQLITE_OK;
	return failed == ENOSPC ? SQLITE_FULL : io_code;
}

/* --- content ---------------------------------------------------------------------------------- */

static int vfs_read(sqlite3_file *file, void *to, int size, sqlite3_int64 offset)
{
	const struct sim_file *own = enter(file);
	bool is_short = own->now.size < (size_t)offset + (size_t)size;

	sim_file_read(own, (size_t)offset, to, (size_t)size);
	leave(own, 0, 0);
	return is_short ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

/* What synchronous=NORMAL syncs: the WAL, before pages of it go to the database. */
static void sync_wal(struct sim_file *database)
{
	char name[SIM_NAME_BYTES + 4];
	struct sim_file *wal;

	snprintf(name, sizeof(name), "%s-wal", database->name);
	wal = sim_file_get(database->disk, name);
	if (wal)
		sim_file_settle(wal);
}

static int vfs_write(sqlite3_file *file, const void *from, int size, sqlite3_int64 offset)
{
	struct sim_file *own = enter(file);

	if (own->disk->loses_syncs && !own->is_wal && !own->disk->dead)
		sync_wal(own);
	return leave(own, sim_file_write(own, (size_t)offset, from, (size_t)size),
		     SQLITE_IOERR_WRITE);
}

static int vfs_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	struct sim_file *own = enter(file);

	return leave(own, sim_file_truncate(own, (size_t)size), SQLITE_IOERR_TRUNCATE);
}

/* The first sync of a new file is one of its folder, too, as SQLite does it. */
static int vfs_sync(sqlite3_file *file, int flags)
{
	struct sim_file *own = enter(file);
	int failed = 0;

	(void)flags;
	if (!own->name_lasts && !handle_of(file)->is_temporary)
		failed = sim_folder_sync(own->disk);
	if (!failed && (!own->is_wal || !own->disk->loses_syncs))
		failed = sim_file_sync(own);
	return leave(own, failed, SQLITE_IOERR_FSYNC);
}

static int vfs_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
	const struct sim_file *own = enter(file);

	*ret_size = (sqlite3_int64)own->now.size;
	return leave(own, 0, 0);
}

/* --- locks of the database file --------------------------------------------------------------- */

static bool take(struct sim_sharing *sharing, struct sim_handle *handle, int level)
{
	if (level == SQLITE_LOCK_SHARED) {
		if (sharing->pending)
			return false;
		sharing->shared++;
		handle->level = level;
		return true;
	}
	if (sharing->writer && sharing->writer != handle)
		return false;
	sharing->writer = handle;
	if (level == SQLITE_LOCK_RESERVED) {
		handle->level = level;
		return true;
	}
	sharing->pending = true;
	handle->level = sharing->shared > 1 ? SQLITE_LOCK_PENDING : SQLITE_LOCK_EXCLUSIVE;
	return handle->level == SQLITE_LOCK_EXCLUSIVE;
}

static int vfs_lock(sqlite3_file *file, int level)
{
	struct sim_handle *handle = handle_of(file);
	struct sim_file *own = enter(file);
	bool taken = handle->level >= level || take(&own->sharing, handle, level);

	leave(own, 0, 0);
	return taken ? SQLITE_OK : SQLITE_BUSY;
}

static void let_go(struct sim_file *own, struct sim_handle *handle, int level)
{
	if (handle->level <= level)
		return;
	if (own->sharing.writer == handle) {
		own->sharing.writer = NULL;
		own->sharing.pending = false;
	}
	if (level == SQLITE_LOCK_NONE)
		own->sharing.shared--;
	handle->level = level;
}

static int vfs_unlock(sqlite3_file *file, int level)
{
	struct sim_file *own = enter(file);

	let_go(own, handle_of(file), level);
	return leave(own, 0, 0);
}

static int vfs_check_lock(sqlite3_file *file, int *ret_locked)
{
	const struct sim_file *own = enter(file);

	*ret_locked = own->sharing.writer ? 1 : 0;
	return leave(own, 0, 0);
}

/* --- shared memory ---------------------------------------------------------------------------- */

static int vfs_shm_map(sqlite3_file *file, int region, int size, int extend,
		       void volatile **ret_memory)
{
	struct sim_handle *handle = handle_of(file);
	struct sim_file *own = enter(file);
	uint8_t **memory = &own->sharing.regions[region];

	SIM_DEMAND(region < SIM_SHM_REGIONS_MAX, "the WAL of %s is too long", own->name);
	if (!handle->has_map)
		own->sharing.users++;
	handle->has_map = true;
	if (!*memory && extend) {
		*memory = calloc(1, (size_t)size);
		SIM_DEMAND(*memory, "no memory for a WAL index");
	}
	*ret_memory = *memory;
	return leave(own, 0, 0);
}

static void shm_release(struct sim_sharing *sharing, struct sim_handle *handle, unsigned slots)
{
	for (unsigned i = 0; i < SIM_SHM_LOCKS; i++) {
		if (slots & handle->own_locks & 1u << i)
			sharing->locks[i] = 0;
		else if (slots & handle->shared_locks & 1u << i)
			sharing->locks[i]--;
	}
	handle->own_locks &= ~slots;
	handle->shared_locks &= ~slots;
}

static bool shm_take(struct sim_sharing *sharing, struct sim_handle *handle, unsigned slots,
		     bool shares)
{
	unsigned held = handle->own_locks | handle->shared_locks;

	for (unsigned i = 0; i < SIM_SHM_LOCKS; i++)
		if (slots & ~held & 1u << i && (shares ? sharing->locks[i] < 0 : sharing->locks[i]))
			return false;
	for (unsigned i = 0; i < SIM_SHM_LOCKS; i++)
		if (slots & ~held & 1u << i)
			sharing->locks[i] += shares ? 1 : -1;
	if (shares)
		handle->shared_locks |= slots & ~held;
	else
		handle->own_locks |= slots & ~held;
	return true;
}

static int vfs_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
	struct sim_handle *handle = handle_of(file);
	struct sim_file *own = enter(file);
	unsigned slots = ((1u << count) - 1) << offset;
	bool taken = true;

	if (flags & SQLITE_SHM_UNLOCK)
		shm_release(&own->sharing, handle, slots);
	else
		taken = shm_take(&own->sharing, handle, slots, flags & SQLITE_SHM_SHARED);
	leave(own, 0, 0);
	return taken ? SQLITE_OK : SQLITE_BUSY;
}

static void vfs_shm_barrier(sqlite3_file *file)
{
	leave(enter(file), 0, 0);
}

static void unmap(struct sim_file *own, struct sim_handle *handle)
{
	struct sim_sharing *sharing = &own->sharing;

	if (!handle->has_map)
		return;
	handle->has_map = false;
	shm_release(sharing, handle, ~0u);
	if (--sharing->users)
		return;
	for (size_t i = 0; i < SIM_SHM_REGIONS_MAX; i++) {
		free(sharing->regions[i]);
		sharing->regions[i] = NULL;
	}
}

static int vfs_shm_unmap(sqlite3_file *file, int remove)
{
	struct sim_file *own = enter(file);

	(void)remove;
	unmap(own, handle_of(file));
	return leave(own, 0, 0);
}

/* --- the rest of a file ----------------------------------------------------------------------- */

static int vfs_close(sqlite3_file *file)
{
	struct sim_handle *handle = handle_of(file);
	struct sim_file *own = enter(file);
	struct sim_disk *disk = own->disk;

	unmap(own, handle);
	let_go(own, handle, SQLITE_LOCK_NONE);
	if (handle->is_temporary)
		sim_file_forget(own);
	sim_file_let_go(own);
	pthread_mutex_unlock(&disk->lock);
	return SQLITE_OK;
}

static int vfs_control(sqlite3_file *file, int op, void *argument)
{
	(void)file;
	(void)op;
	(void)argument;
	return SQLITE_NOTFOUND;
}

static int vfs_sector_size(sqlite3_file *file)
{
	(void)file;
	return 4096; /* the system's */
}

static int vfs_characteristics(sqlite3_file *file)
{
	(void)file;
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = vfs_close,
	.xRead = vfs_read,
	.xWrite = vfs_write,
	.xTruncate = vfs_truncate,
	.xSync = vfs_sync,
	.xFileSize = vfs_size,
	.xLock = vfs_lock,
	.xUnlock = vfs_unlock,
	.xCheckReservedLock = vfs_check_lock,
	.xFileControl = vfs_control,
	.xSectorSize = vfs_sector_size,
	.xDeviceCharacteristics = vfs_characteristics,
	.xShmMap = vfs_shm_map,
	.xShmLock = vfs_shm_lock,
	.xShmBarrier = vfs_shm_barrier,
	.xShmUnmap = vfs_shm_unmap,
};

/* --- names ------------------------------------------------------------------------------------ */

static int open_file(struct sim_disk *disk, const char *name, struct sim_handle *handle, int flags)
{
	struct sim_file *file = sim_file_get(disk, name);
	int failed = 0;

	if (!file && !(flags & SQLITE_OPEN_CREATE))
		return ENOENT;
	if (!file)
		failed = sim_file_create(disk, name, &file);
	if (failed)
		return failed;
	file->handles++;
	handle->file = file;
	handle->base.pMethods = &methods;
	return 0;
}

/* Temporary files without a name are made where VACUUM's are, see checkpoint_vacuum(). */
static const char *path_of(const char *name)
{
	if (!name && sim_disk_is_path(sqlite3_temp_directory))
		return sqlite3_temp_directory;
	return name;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
		    int *ret_flags)
{
	struct sim_handle *handle = handle_of(file);
	const char *inner = NULL;
	struct sim_disk *disk;
	int failed;

	(void)vfs;
	if (!sim_disk_is_path(path_of(name)))
		return system_vfs->xOpen(system_vfs, name, file, flags, ret_flags);
	*handle = (struct sim_handle){.is_temporary = !name};
	disk = sim_disk_find(path_of(name), &inner);
	if (!disk)
		return SQLITE_CANTOPEN;
	pthread_mutex_lock(&disk->lock);
	failed = open_file(disk, name ? inner : "(temporary)", handle, flags);
	pthread_mutex_unlock(&disk->lock);
	if (ret_flags)
		*ret_flags = flags;
	return failed ? SQLITE_CANTOPEN : SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
	const char *inner = NULL;
	struct sim_disk *disk = sim_disk_find(name, &inner);
	struct sim_file *file;
	int failed = 0;

	(void)vfs;
	if (!disk)
		return system_vfs->xDelete(system_vfs, name, sync_folder);
	pthread_mutex_lock(&disk->lock);
	file = sim_file_get(disk, inner);
	if (file)
		failed = sim_file_remove(file);
	if (file && !failed && sync_folder)
		failed = sim_folder_sync(disk);
	pthread_mutex_unlock(&disk->lock);
	if (!file)
		return SQLITE_IOERR_DELETE_NOENT;
	return failed ? SQLITE_IOERR_DELETE : SQLITE_OK;
}

/* As the system's: a file without content is as good as none. */
static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret_result)
{
	const char *inner = NULL;
	struct sim_disk *disk = sim_disk_find(name, &inner);
	const struct sim_file *file;

	(void)vfs;
	if (!disk)
		return system_vfs->xAccess(system_vfs, name, flags, ret_result);
	pthread_mutex_lock(&disk->lock);
	file = sim_file_get(disk, inner);
	*ret_result = !*inner || (file && (flags != SQLITE_ACCESS_EXISTS || file->now.size));
	pthread_mutex_unlock(&disk->lock);
	return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
	(void)vfs;
	if (!sim_disk_is_path(name))
		return system_vfs->xFullPathname(system_vfs, name, size, out);
	return snprintf(out, (size_t)size, "%s", name) < size ? SQLITE_OK : SQLITE_CANTOPEN;
}

/* --- chance and time -------------------------------------------------------------------------- */

static int vfs_randomness(sqlite3_vfs *vfs, int size, char *to)
{
	(void)vfs;
	sim_disk_fill_random(to, (size_t)size);
	return size;
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
	struct timespec time = {.tv_nsec = SLEEP_NS_MAX};

	(void)vfs;
	nanosleep(&time, NULL);
	return microseconds;
}

static int vfs_time_ms(sqlite3_vfs *vfs, sqlite3_int64 *ret_ms)
{
	(void)vfs;
	*ret_ms = CLOCK_MS;
	return SQLITE_OK;
}

static int vfs_time(sqlite3_vfs *vfs, double *ret_days)
{
	(void)vfs;
	*ret_days = (double)CLOCK_MS / 86400000.0;
	return SQLITE_OK;
}

/* Before main(), for the store's VFS builds on whichever is the default when it is first used. */
__attribute__((constructor)) static void install(void)
{
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* as the store wants it, which comes later */
	sqlite3_initialize();
	system_vfs = sqlite3_vfs_find(NULL);
	sim_vfs = *system_vfs;
	sim_vfs.pNext = NULL;
	sim_vfs.zName = "simulated";
	if (sim_vfs.szOsFile < (int)sizeof(struct sim_handle))
		sim_vfs.szOsFile = (int)sizeof(struct sim_handle);
	sim_vfs.xOpen = vfs_open;
	sim_vfs.xDelete = vfs_delete;
	sim_vfs.xAccess = vfs_access;
	sim_vfs.xFullPathname = vfs_full_path;
	sim_vfs.xRandomness = vfs_randomness;
	sim_vfs.xSleep = vfs_sleep;
	sim_vfs.xCurrentTime = vfs_time;
	sim_vfs.xCurrentTimeInt64 = vfs_time_ms;
	sqlite3_vfs_register(&sim_vfs, 1);
}
