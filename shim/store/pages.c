/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/pages.h"

#include "shim/base/crc32c.h"
#include "shim/base/err.h"
#include "shim/base/limits.h"
#include "shim/store/schema.h"

#define FCNTL_NOTE 0x6b656467 /* ours: outside of what SQLite uses */
#define SUMMED_BYTES (DB_PAGE_BYTES - PAGE_SUM_BYTES)
/* Offsets in the first page: https://www.sqlite.org/fileformat2.html, section 1.3. */
#define HEADER_PAGE_SIZE 16
#define HEADER_RESERVED 20
#define HEADER_APPLICATION 68

struct pages_file {
	sqlite3_file base;
	sqlite3_file *real; /* follows this struct */
	const char *path;
	bool ours; /* has checksums */
	struct pages_noted *noted;
};

static sqlite3_vfs *system_vfs;
static sqlite3_vfs pages_vfs;

static struct pages_file *file_of(sqlite3_file *file)
{
	return (struct pages_file *)(void *)file;
}

/* --- sums ------------------------------------------------------------------------------------- */

static void store_le32(uint8_t *to, uint32_t number)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(number >> (8 * i));
}

static void sum_of(const uint8_t *page, int64_t number, uint8_t ret_sum[PAGE_SUM_BYTES])
{
	uint8_t text[4];

	store_le32(text, (uint32_t)number);
	store_le32(ret_sum, crc32c(crc32c(0, bytes_of(text, 4)), bytes_of(page, SUMMED_BYTES)));
}

static bool sum_matches(const uint8_t *page, int64_t number)
{
	uint8_t sum[PAGE_SUM_BYTES];

	sum_of(page, number, sum);
	return !memcmp(sum, page + SUMMED_BYTES, PAGE_SUM_BYTES);
}

static bool is_page(int size, sqlite3_int64 offset)
{
	return size == DB_PAGE_BYTES && offset % DB_PAGE_BYTES == 0;
}

static void note(struct pages_noted *noted, int64_t number)
{
	for (size_t i = 0; i < noted->count && i < PAGES_NOTED_MAX; i++)
		if (noted->pages[i] == number)
			return;
	if (noted->count < PAGES_NOTED_MAX)
		noted->pages[noted->count] = (uint32_t)number;
	noted->count++;
}

static bool is_empty(sqlite3_file *real)
{
	sqlite3_int64 bytes = 1;

	return real->pMethods->xFileSize(real, &bytes) == SQLITE_OK && !bytes;
}

static int damaged(struct pages_file *file, int64_t number)
{
	if (file->noted) {
		note(file->noted, number);
		return SQLITE_OK;
	}
	fault(ERR_DAMAGED,
	      "page %lld of %s fails its checksum: stop the server, and `kedge check` tells what is"
	      " in it",
	      (long long)number, file->path);
	return SQLITE_IOERR_DATA;
}

/* --- reading and writing ---------------------------------------------------------------------- */

static int pages_read(sqlite3_file *file, void *to, int size, sqlite3_int64 offset)
{
	struct pages_file *own = file_of(file);
	int code = own->real->pMethods->xRead(own->real, to, size, offset);

	/* Less than a page is SQLite's look at the header, ahead of the page itself; another size
	 * of pages than ours comes from a damaged header.  SQLite takes the rest of a page that is
	 * not there for zeros, which is right for an empty file only. */
	if (!own->ours || size < 512)
		return code;
	if (code == SQLITE_IOERR_SHORT_READ)
		return is_empty(own->real) ? code : damaged(own, offset / DB_PAGE_BYTES + 1);
	if (code != SQLITE_OK)
		return code;
	if (is_page(size, offset) && sum_matches(to, offset / DB_PAGE_BYTES + 1))
		return SQLITE_OK;
	return damaged(own, offset / DB_PAGE_BYTES + 1);
}

static int pages_write(sqlite3_file *file, const void *from, int size, sqlite3_int64 offset)
{
	struct pages_file *own = file_of(file);
	uint8_t page[DB_PAGE_BYTES];

	if (!own->ours || !is_page(size, offset))
		return own->real->pMethods->xWrite(own->real, from, size, offset);
	memcpy(page, from, SUMMED_BYTES); /* the caller's stays as it is: it may be in the WAL */
	sum_of(page, offset / DB_PAGE_BYTES + 1, page + SUMMED_BYTES);
	return own->real->pMethods->xWrite(own->real, page, size, offset);
}

static int pages_control(sqlite3_file *file, int op, void *argument)
{
	struct pages_file *own = file_of(file);

	if (op == FCNTL_NOTE) {
		own->noted = argument;
		return SQLITE_OK;
	}
	return own->real->pMethods->xFileControl(own->real, op, argument);
}

/* --- the rest is the system's ----------------------------------------------------------------- */

static int pages_close(sqlite3_file *file)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xClose(real);
}

static int pages_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xTruncate(real, size);
}

static int pages_sync(sqlite3_file *file, int flags)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xSync(real, flags);
}

static int pages_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xFileSize(real, ret_size);
}

static int pages_lock(sqlite3_file *file, int level)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xLock(real, level);
}

static int pages_unlock(sqlite3_file *file, int level)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xUnlock(real, level);
}

static int pages_check_lock(sqlite3_file *file, int *ret_locked)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xCheckReservedLock(real, ret_locked);
}

static int pages_sector_size(sqlite3_file *file)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xSectorSize(real);
}

static int pages_characteristics(sqlite3_file *file)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xDeviceCharacteristics(real);
}

static int pages_shm_map(sqlite3_file *file, int region, int size, int extend,
			 void volatile **ret_memory)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xShmMap(real, region, size, extend, ret_memory);
}

static int pages_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xShmLock(real, offset, count, flags);
}

static void pages_shm_barrier(sqlite3_file *file)
{
	sqlite3_file *real = file_of(file)->real;

	real->pMethods->xShmBarrier(real);
}

static int pages_shm_unmap(sqlite3_file *file, int remove)
{
	sqlite3_file *real = file_of(file)->real;

	return real->pMethods->xShmUnmap(real, remove);
}

static const sqlite3_io_methods methods = {
	.iVersion = 2, /* no mapped reads: they would pass by the checksums */
	.xClose = pages_close,
	.xRead = pages_read,
	.xWrite = pages_write,
	.xTruncate = pages_truncate,
	.xSync = pages_sync,
	.xFileSize = pages_size,
	.xLock = pages_lock,
	.xUnlock = pages_unlock,
	.xCheckReservedLock = pages_check_lock,
	.xFileControl = pages_control,
	.xSectorSize = pages_sector_size,
	.xDeviceCharacteristics = pages_characteristics,
	.xShmMap = pages_shm_map,
	.xShmLock = pages_shm_lock,
	.xShmBarrier = pages_shm_barrier,
	.xShmUnmap = pages_shm_unmap,
};

/* --- opening ---------------------------------------------------------------------------------- */

static uint32_t load_be32(const uint8_t *from)
{
	return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 |
	       (uint32_t)from[3];
}

/* No single flipped bit makes our file look like another's, and a read that fails decides nothing:
 * pages written without sums would be damage. */
static int look_at(sqlite3_file *real, bool *ret_ours)
{
	uint8_t page[DB_PAGE_BYTES];
	sqlite3_int64 bytes = 0;
	bool shaped;
	int code = real->pMethods->xFileSize(real, &bytes);

	*ret_ours = !bytes; /* about to be made */
	if (code != SQLITE_OK || bytes < DB_PAGE_BYTES)
		return code; /* the rest is shorter than any of ours */
	code = real->pMethods->xRead(real, page, DB_PAGE_BYTES, 0);
	if (code != SQLITE_OK)
		return code;
	shaped = page[HEADER_PAGE_SIZE] == DB_PAGE_BYTES >> 8 && !page[HEADER_PAGE_SIZE + 1] &&
		 page[HEADER_RESERVED] == PAGE_SUM_BYTES;
	*ret_ours = shaped || load_be32(page + HEADER_APPLICATION) == SCHEMA_APPLICATION_ID ||
		    sum_matches(page, 1);
	return SQLITE_OK;
}

static int pages_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
		      int *ret_flags)
{
	struct pages_file *own = file_of(file);
	int code;

	(void)vfs;
	if (!(flags & SQLITE_OPEN_MAIN_DB))
		return system_vfs->xOpen(system_vfs, name, file, flags, ret_flags);
	*own = (struct pages_file){.real = (sqlite3_file *)(void *)(own + 1), .path = name};
	code = system_vfs->xOpen(system_vfs, name, own->real, flags, ret_flags);
	if (code != SQLITE_OK)
		return code;
	own->base.pMethods = &methods; /* from now on SQLite closes it */
	return look_at(own->real, &own->ours);
}

static int pages_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
	(void)vfs;
	return system_vfs->xDelete(system_vfs, name, sync_folder);
}

static int pages_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret_result)
{
	(void)vfs;
	return system_vfs->xAccess(system_vfs, name, flags, ret_result);
}

static int pages_full_path(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
	(void)vfs;
	return system_vfs->xFullPathname(system_vfs, name, size, out);
}

void pages_register(void)
{
	sqlite3_initialize();
	system_vfs = sqlite3_vfs_find(NULL);
	pages_vfs = *system_vfs; /* time, chance, errors: as they are there */
	pages_vfs.pNext = NULL;
	pages_vfs.zName = PAGES_VFS;
	pages_vfs.szOsFile = (int)sizeof(struct pages_file) + system_vfs->szOsFile;
	pages_vfs.xOpen = pages_open;
	pages_vfs.xDelete = pages_delete;
	pages_vfs.xAccess = pages_access;
	pages_vfs.xFullPathname = pages_full_path;
	sqlite3_vfs_register(&pages_vfs, 0);
}

int pages_reserve(sqlite3 *db)
{
	int bytes = PAGE_SUM_BYTES;

	return sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &bytes);
}

int pages_note(sqlite3 *db, struct pages_noted *noted)
{
	return sqlite3_file_control(db, "main", FCNTL_NOTE, noted);
}
