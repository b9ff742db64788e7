/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/disk/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATH_BYTES 512

/* Recursive: SQLite opens files while it maps others. */
static pthread_mutex_t tap_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static const struct tap *tap; /* under tap_lock, like the root */
static char tap_root[PATH_BYTES];

void tap_set(const struct tap *new_tap, const char *root)
{
	pthread_mutex_lock(&tap_lock);
	tap = new_tap;
	snprintf(tap_root, sizeof(tap_root), "%s", root ? root : "");
	pthread_mutex_unlock(&tap_lock);
}

const char *tap_op_name(enum tap_op op)
{
	static const char *const names[TAP_OP_COUNT] = {
		"create", "mkdir",	 "rename", "unlink", "rmdir", "write", "truncate",
		"sync",	  "sync folder", "open",   "read",   "size",  "shm",
	};

	return names[op];
}

static bool watched(const char *path)
{
	size_t length = strlen(tap_root);

	return tap && length && !strncmp(path, tap_root, length) &&
	       (path[length] == '/' || !path[length]);
}

/* Under tap_lock, which stays held until told(). */
static int ask(const struct tap_call *call)
{
	pthread_mutex_lock(&tap_lock);
	if (!watched(call->path) || !tap->before)
		return TAP_DO;
	return tap->before(tap->context, call);
}

static void told(const struct tap_call *call, bool done)
{
	if (done && watched(call->path) && tap->after)
		tap->after(tap->context, call);
	pthread_mutex_unlock(&tap_lock);
}

/* --- calls of libc --------------------------------------------------------------------------- */

int open(const char *path, int flags, ...);
int open64(const char *path, int flags, ...);

/* The result of a call that the tap decided on; `real` makes it. */
#define DECIDED(call, real)                                                                        \
	({                                                                                         \
		int verdict_ = ask(&(call));                                                       \
		int result_ = 0;                                                                   \
                                                                                                   \
		if (verdict_ == TAP_DO)                                                            \
			result_ = (int)(real);                                                     \
		else if (verdict_ > 0)                                                             \
			result_ = -1, errno = verdict_;                                            \
		int errno_ = errno;                                                                \
		told(&(call), verdict_ == TAP_DO && result_ >= 0);                                 \
		errno = errno_;                                                                    \
		result_;                                                                           \
	})

static int open_file(const char *path, int flags, mode_t mode)
{
	struct tap_call call = {.op = TAP_CREATE, .path = path};
	struct stat status;

	if (!(flags & O_CREAT) || lstat(path, &status) == 0)
		return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	return DECIDED(call, syscall(SYS_openat, AT_FDCWD, path, flags, mode));
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
	fd = open_file(path, flags, mode_of(flags, arguments));
	va_end(arguments);
	return fd;
}

int open64(const char *path, int flags, ...)
{
	va_list arguments;
	int fd;

	va_start(arguments, flags);
	fd = open_file(path, flags, mode_of(flags, arguments));
	va_end(arguments);
	return fd;
}

int mkdir(const char *path, mode_t mode)
{
	struct tap_call call = {.op = TAP_MKDIR, .path = path};

	return DECIDED(call, syscall(SYS_mkdir, path, mode));
}

int rmdir(const char *path)
{
	struct tap_call call = {.op = TAP_RMDIR, .path = path};

	return DECIDED(call, syscall(SYS_rmdir, path));
}

int unlink(const char *path)
{
	struct tap_call call = {.op = TAP_UNLINK, .path = path};

	return DECIDED(call, syscall(SYS_unlink, path));
}

int rename(const char *from, const char *to)
{
	struct tap_call call = {.op = TAP_RENAME, .path = from, .path_to = to};

	return DECIDED(call, syscall(SYS_rename, from, to));
}

static bool path_of(int fd, char path[PATH_BYTES])
{
	char link[64];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, PATH_BYTES - 1);
	path[length > 0 ? length : 0] = 0;
	return length >= 0;
}

#define PIECE_BYTES 4096

/* The store's own; SQLite writes by pwrite64(), which its VFS tells of.  In pieces, as a disk may
 * take them. */
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	char path[PATH_BYTES];
	size_t done = 0;

	if (!path_of(fd, path))
		return syscall(SYS_pwrite64, fd, data, size, offset);
	while (done < size) {
		const uint8_t *piece = (const uint8_t *)data + done;
		size_t length = size - done < PIECE_BYTES ? size - done : PIECE_BYTES;
		off_t at = offset + (off_t)done;
		struct tap_call call = {
			.op = TAP_WRITE,
			.path = path,
			.offset = at,
			.data = piece,
			.size = length,
		};

		if (DECIDED(call, syscall(SYS_pwrite64, fd, piece, length, at)) < 0)
			return done ? (ssize_t)done : -1;
		done += length;
	}
	return (ssize_t)done;
}

static int sync_fd(int fd, long number)
{
	struct tap_call call = {.op = TAP_SYNC};
	char path[PATH_BYTES];
	struct stat status;

	if (!path_of(fd, path) || fstat(fd, &status))
		return (int)syscall(number, fd);
	call.path = path;
	if (S_ISDIR(status.st_mode))
		call.op = TAP_SYNC_FOLDER;
	return DECIDED(call, syscall(number, fd));
}

int fsync(int fd)
{
	return sync_fd(fd, SYS_fsync);
}

int fdatasync(int fd)
{
	return sync_fd(fd, SYS_fdatasync);
}

/* --- the VFS --------------------------------------------------------------------------------- */

struct tap_file {
	sqlite3_file base;
	const char *path;   /* SQLite's; NULL: a temporary file */
	sqlite3_file *real; /* follows this struct */
};

static struct tap_file *file_of(sqlite3_file *file)
{
	return (struct tap_file *)(void *)file;
}

static sqlite3_vfs *base_vfs;
static sqlite3_vfs tap_vfs;

static int code_of(int verdict, int io_code)
{
	if (verdict == TAP_PRETEND)
		return SQLITE_OK;
	if (verdict == TAP_SHORT)
		return SQLITE_IOERR_SHORT_READ;
	return verdict == ENOSPC ? SQLITE_FULL : io_code;
}

/* Does `real` unless the tap decides otherwise; files without a name are nobody's business. */
#define THROUGH(file, call, io_code, real)                                                         \
	({                                                                                         \
		int code_ = 0;                                                                     \
                                                                                                   \
		if ((file)->path) {                                                                \
			int verdict_ = ask(&(call));                                               \
			code_ = verdict_ == TAP_DO ? (real) : code_of(verdict_, io_code);          \
			told(&(call), verdict_ == TAP_DO && code_ == SQLITE_OK);                   \
		} else {                                                                           \
			code_ = (real);                                                            \
		}                                                                                  \
		code_;                                                                             \
	})

static int file_close(sqlite3_file *file)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xClose(real);
}

static int file_read(sqlite3_file *file, void *to, int size, sqlite3_int64 offset)
{
	struct tap_file *own = file_of(file);
	struct tap_call call = {
		.op = TAP_READ, .path = own->path, .offset = offset, .size = (size_t)size};
	int code = THROUGH(own, call, SQLITE_IOERR_READ,
			   own->real->pMethods->xRead(own->real, to, size, offset));

	if (code == SQLITE_IOERR_SHORT_READ && own->path) {
		/* A tap that cuts a read short has not filled it; SQLite counts on zeros. */
		int again = own->real->pMethods->xRead(own->real, to, size, offset);

		if (again == SQLITE_OK)
			memset((char *)to + size / 2, 0, (size_t)(size - size / 2));
	}
	return code;
}

static int file_write(sqlite3_file *file, const void *from, int size, sqlite3_int64 offset)
{
	struct tap_file *own = file_of(file);
	struct tap_call call = {.op = TAP_WRITE,
				.path = own->path,
				.offset = offset,
				.data = from,
				.size = (size_t)size};
	int code = THROUGH(own, call, SQLITE_IOERR_WRITE,
			   own->real->pMethods->xWrite(own->real, from, size, offset));

	if (code == SQLITE_FULL && size > 1)
		own->real->pMethods->xWrite(own->real, from, size / 2, offset);
	return code;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	struct tap_file *own = file_of(file);
	struct tap_call call = {.op = TAP_TRUNCATE, .path = own->path, .offset = size};

	return THROUGH(own, call, SQLITE_IOERR_TRUNCATE,
		       own->real->pMethods->xTruncate(own->real, size));
}

/* The tap hears of it in fdatasync(). */
static int file_sync(sqlite3_file *file, int flags)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xSync(real, flags);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
	struct tap_file *own = file_of(file);
	struct tap_call call = {.op = TAP_SIZE, .path = own->path};

	return THROUGH(own, call, SQLITE_IOERR_FSTAT,
		       own->real->pMethods->xFileSize(own->real, ret_size));
}

static int file_lock(sqlite3_file *file, int level)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xLock(real, level);
}

static int file_unlock(sqlite3_file *file, int level)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xUnlock(real, level);
}

static int file_check_lock(sqlite3_file *file, int *ret_locked)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xCheckReservedLock(real, ret_locked);
}

static int file_control(sqlite3_file *file, int op, void *argument)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xFileControl(real, op, argument);
}

static int file_sector_size(sqlite3_file *file)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xSectorSize(real);
}

static int file_characteristics(sqlite3_file *file)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xDeviceCharacteristics(real);
}

static int file_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **ret)
{
	struct tap_file *own = file_of(file);
	struct tap_call call = {.op = TAP_SHM, .path = own->path};

	return THROUGH(own, call, SQLITE_IOERR_SHMMAP,
		       own->real->pMethods->xShmMap(own->real, region, size, extend, ret));
}

static int file_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xShmLock(real, offset, count, flags);
}

static void file_shm_barrier(sqlite3_file *file)
{
	sqlite3_file *real = file_of(file)->real;

	real->pMethods->xShmBarrier(real);
}

static int file_shm_unmap(sqlite3_file *file, int remove)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xShmUnmap(real, remove);
}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = file_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_sync,
	.xFileSize = file_size,
	.xLock = file_lock,
	.xUnlock = file_unlock,
	.xCheckReservedLock = file_check_lock,
	.xFileControl = file_control,
	.xSectorSize = file_sector_size,
	.xDeviceCharacteristics = file_characteristics,
	.xShmMap = file_shm_map,
	.xShmLock = file_shm_lock,
	.xShmBarrier = file_shm_barrier,
	.xShmUnmap = file_shm_unmap,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
		    int *ret_flags)
{
	struct tap_file *own = file_of(file);
	struct tap_call call = {.op = TAP_OPEN, .path = name};
	int code = SQLITE_OK;

	(void)vfs;
	*own = (struct tap_file){.path = name, .real = (sqlite3_file *)(void *)(own + 1)};
	if (name) {
		int verdict = ask(&call);

		code = verdict > 0 ? SQLITE_CANTOPEN : SQLITE_OK;
		told(&call, code == SQLITE_OK);
	}
	if (code == SQLITE_OK)
		code = base_vfs->xOpen(base_vfs, name, own->real, flags, ret_flags);
	own->base.pMethods = code == SQLITE_OK ? &methods : NULL;
	return code;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
	(void)vfs;
	return base_vfs->xDelete(base_vfs, name, sync_folder);
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret_result)
{
	(void)vfs;
	return base_vfs->xAccess(base_vfs, name, flags, ret_result);
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
	(void)vfs;
	return base_vfs->xFullPathname(base_vfs, name, size, out);
}

void tap_install(void)
{
	sqlite3_initialize();
	base_vfs = sqlite3_vfs_find(NULL);
	tap_vfs = *base_vfs; /* time, chance, errors: as they are there */
	tap_vfs.pNext = NULL;
	tap_vfs.zName = "tap";
	tap_vfs.szOsFile = (int)sizeof(struct tap_file) + base_vfs->szOsFile;
	tap_vfs.xOpen = vfs_open;
	tap_vfs.xDelete = vfs_delete;
	tap_vfs.xAccess = vfs_access;
	tap_vfs.xFullPathname = vfs_full_path;
	sqlite3_vfs_register(&tap_vfs, 1);
}
