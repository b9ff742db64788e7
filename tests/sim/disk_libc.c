/* SPDX-License-Identifier: Apache-2.0 */
/* disk_libc.c - the calls of libc that the store makes around SQLite, for paths of simulated disks.
 *
 * What open() gives for such a path is an anonymous file of the kernel with a copy of the content
 * and the path as its name, so that every call on it works as it is; fsync() brings the content
 * back.  Whatever is written there and not synced is lost, as it may be. */
#include "tests/sim/disk_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FD_PATH_BYTES 256
#define ANONYMOUS "/memfd:"

/* --- opening ---------------------------------------------------------------------------------- */

int open(const char *path, int flags, ...);
int open64(const char *path, int flags, ...);

static int fail(int error)
{
	errno = error;
	return -1;
}

static int fd_of(const char *path, const struct sim_file *file)
{
	int fd = memfd_create(path, MFD_CLOEXEC);

	SIM_DEMAND(fd >= 0, "no memory file for %s: %s", path, strerror(errno));
	if (file)
		SIM_DEMAND(pwrite(fd, file->now.bytes, file->now.size, 0) ==
				   (ssize_t)file->now.size,
			   "%s cannot be copied: %s", path, strerror(errno));
	return fd;
}

static int open_file(struct sim_disk *disk, const char *path, const char *name, int flags)
{
	struct sim_file *file = sim_file_get(disk, name);
	int failed;

	SIM_DEMAND(!(flags & (O_TRUNC | O_APPEND)), "%s: such an open() is not simulated", path);
	if (file && (flags & O_EXCL))
		return fail(EEXIST);
	if (!file) {
		failed = flags & O_CREAT ? sim_file_create(disk, name, &file) : ENOENT;
		if (failed)
			return fail(failed);
	}
	return fd_of(path, file);
}

static int open_path(const char *path, int flags, mode_t mode)
{
	const char *name = NULL;
	struct sim_disk *disk;
	int fd;

	if (!sim_disk_is_path(path))
		return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	if (flags & O_DIRECTORY)
		return fd_of(path, NULL);
	disk = sim_disk_find(path, &name);
	if (!disk)
		return fail(ENOENT);
	pthread_mutex_lock(&disk->lock);
	fd = open_file(disk, path, name, flags);
	pthread_mutex_unlock(&disk->lock);
	return fd;
}

static mode_t mode_of(int flags, va_list arguments)
{
	return flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
	va_list arguments;
	int fd;

	va_start(arguments, flags);
	fd = open_path(path, flags, mode_of(flags, arguments));
	va_end(arguments);
	return fd;
}

int open64(const char *path, int flags, ...)
{
	va_list arguments;
	int fd;

	va_start(arguments, flags);
	fd = open_path(path, flags, mode_of(flags, arguments));
	va_end(arguments);
	return fd;
}

/* --- looking ---------------------------------------------------------------------------------- */

/* 0 with the file, or NULL for a folder; else an errno. */
static int look_up(const char *path, const struct sim_file **ret_file, const struct sim_disk **ret)
{
	const char *name = "";
	struct sim_disk *disk = sim_disk_find(path, &name);

	*ret = disk;
	*ret_file = NULL;
	if (!disk)
		return strcmp(path, SIM_ROOT) ? ENOENT : 0;
	pthread_mutex_lock(&disk->lock);
	*ret_file = sim_file_get(disk, name);
	pthread_mutex_unlock(&disk->lock);
	return *name && !*ret_file ? ENOENT : 0;
}

int stat(const char *path, struct stat *ret)
{
	const struct sim_file *file;
	const struct sim_disk *disk;
	int failed;

	if (!sim_disk_is_path(path))
		return fstatat(AT_FDCWD, path, ret, 0);
	failed = look_up(path, &file, &disk);
	if (failed)
		return fail(failed);
	*ret = (struct stat){.st_mode = file ? S_IFREG | 0600 : S_IFDIR | 0700, .st_nlink = 1};
	if (disk)
		ret->st_ino = disk->identity;
	if (file)
		ret->st_size = (off_t)file->now.size;
	return 0;
}

int access(const char *path, int mode)
{
	const struct sim_file *file;
	const struct sim_disk *disk;
	int failed;

	if (!sim_disk_is_path(path))
		return faccessat(AT_FDCWD, path, mode, 0);
	failed = look_up(path, &file, &disk);
	return failed ? fail(failed) : 0;
}

int mkdir(const char *path, mode_t mode)
{
	const struct sim_file *file;
	const struct sim_disk *disk;

	if (!sim_disk_is_path(path))
		return mkdirat(AT_FDCWD, path, mode);
	return fail(look_up(path, &file, &disk) ? EROFS : EEXIST);
}

/* --- syncing ---------------------------------------------------------------------------------- */

/* Whatever was written to the anonymous file, as one write. */
static int bring_back(int fd, struct sim_file *file)
{
	struct stat status;
	uint8_t *bytes;
	size_t size;
	int failed = 0;

	SIM_DEMAND(!fstat(fd, &status), "a memory file without a size");
	size = (size_t)status.st_size;
	bytes = malloc(size + 1);
	SIM_DEMAND(bytes && pread(fd, bytes, size, 0) == (ssize_t)size, "%s cannot be read back",
		   file->name);
	if (size < file->now.size)
		failed = sim_file_truncate(file, size);
	if (!failed && (size != file->now.size || memcmp(bytes, file->now.bytes, size)))
		failed = sim_file_write(file, 0, bytes, size);
	free(bytes);
	return failed ? failed : sim_file_sync(file);
}

static int sync_path(int fd, const char *path)
{
	const char *name = "";
	struct sim_disk *disk = sim_disk_find(path, &name);
	struct sim_file *file;
	int failed;

	if (!disk)
		return 0; /* the folder of all disks */
	pthread_mutex_lock(&disk->lock);
	file = sim_file_get(disk, name);
	if (file)
		failed = bring_back(fd, file);
	else
		failed = *name ? 0 : sim_folder_sync(disk);
	pthread_mutex_unlock(&disk->lock);
	return failed ? fail(failed) : 0;
}

static int sync_fd(int fd, long number)
{
	char path[FD_PATH_BYTES], link[64];
	char *end;
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	path[length > 0 ? length : 0] = 0;
	/* The store syncs all folders above its own; above the disks there is nothing of theirs. */
	if (!strcmp(path, "/"))
		return 0;
	if (strncmp(path, ANONYMOUS SIM_ROOT, sizeof(ANONYMOUS SIM_ROOT) - 1))
		return (int)syscall(number, fd);
	end = strchr(path, ' '); /* "(deleted)" */
	if (end)
		*end = 0;
	return sync_path(fd, path + sizeof(ANONYMOUS) - 1);
}

int fsync(int fd)
{
	return sync_fd(fd, SYS_fsync);
}

int fdatasync(int fd)
{
	return sync_fd(fd, SYS_fdatasync);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* The store gives memory back after it started, which here takes longer than the start. */
int malloc_trim(size_t pad)
{
	(void)pad;
	return 0;
}

/* --- chance ----------------------------------------------------------------------------------- */

ssize_t getrandom(void *to, size_t size, unsigned flags)
{
	(void)flags;
	sim_disk_fill_random(to, size);
	return (ssize_t)size;
}
