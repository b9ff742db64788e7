/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/backup.h"

#include "shim/store/internal.h"
#include "shim/store/pages.h"
#include "shim/store/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static_assert(DB_PAGE_BYTES % SNAPSHOT_BLOCK_BYTES == 0, "a database is a whole number of blocks");

/* --- a file that appears whole or not at all --- */

/* No journal and no syncs on the way: the file has no name yet, and is synced before it gets one.
 */
#define FRESH_PRAGMAS                                                                              \
	"PRAGMA page_size=%d; PRAGMA auto_vacuum=NONE; PRAGMA journal_mode=OFF;"                   \
	"PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE; PRAGMA mmap_size=0;"               \
	"PRAGMA temp_store=MEMORY; PRAGMA cache_size=-%d;"

/* Made here and not by SQLite, for the mode: a snapshot holds every secret of a cluster. */
static enum err part_create(const char *part_path)
{
	int fd;

	if (unlink(part_path) && errno != ENOENT)
		return fault(ERR_STORAGE, "an old %s cannot be removed: %s", part_path,
			     strerror(errno));
	fd = open(part_path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return fault(ERR_STORAGE, "%s cannot be made: %s", part_path, strerror(errno));
	close(fd);
	return ERR_OK;
}

static enum err part_open(struct fresh_file *fresh)
{
	struct conn *conn = &fresh->conn;
	char pragmas[sizeof(FRESH_PRAGMAS) + 32];
	int code;

	conn_configure_library();
	code = sqlite3_open_v2(fresh->part_path, &conn->db,
			       SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, PAGES_VFS);

	if (code == SQLITE_OK)
		code = pages_reserve(conn->db);
	if (code != SQLITE_OK)
		return conn_error(conn, code, "opening a new database");
	sqlite3_extended_result_codes(conn->db, 1);
	snprintf(pragmas, sizeof(pragmas), FRESH_PRAGMAS, DB_PAGE_BYTES, DB_CACHE_KIB);
	return conn_exec(conn, pragmas);
}

enum err fresh_open(struct fresh_file *fresh, const char *path,
		    const struct store_identity *identity)
{
	enum err e;

	*fresh = (struct fresh_file){.path = strdup(path)};
	if (!fresh->path || asprintf(&fresh->part_path, "%s" FRESH_PART, path) < 0) {
		fresh->part_path = NULL;
		fresh_fini(fresh);
		return fault(ERR_NOMEM, "no memory for the name of a file");
	}
	e = part_create(fresh->part_path);
	if (!e)
		e = part_open(fresh);
	if (!e)
		e = schema_create(&fresh->conn, identity);
	if (!e)
		e = conn_do(&fresh->conn, STMT_BEGIN);
	if (e)
		fresh_fini(fresh);
	return e;
}

void fresh_fini(struct fresh_file *fresh)
{
	conn_close(&fresh->conn);
	if (fresh->part_path)
		unlink(fresh->part_path);
	free(fresh->part_path);
	free(fresh->path);
	*fresh = (struct fresh_file){0};
}

/* Opens, syncs, closes. */
static enum err path_sync(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);
	int result;

	if (fd < 0)
		return fault(ERR_STORAGE, "%s cannot be opened: %s", path, strerror(errno));
	result = fsync(fd);
	if (result)
		fault(ERR_STORAGE, "%s cannot be synced: %s", path, strerror(errno));
	close(fd);
	return result ? ERR_STORAGE : ERR_OK;
}

enum err folder_sync(const char *path)
{
	return path_sync(path, O_RDONLY | O_DIRECTORY);
}

/* The folder in which the file is. */
static enum err parent_sync(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder;
	enum err e;

	if (!slash)
		return folder_sync(".");
	folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	if (!folder)
		return fault(ERR_NOMEM, "no memory for the name of a folder");
	e = folder_sync(folder);
	free(folder);
	return e;
}

enum err fresh_finish(struct fresh_file *fresh)
{
	enum err e = conn_do(&fresh->conn, STMT_COMMIT);

	if (e)
		return e;
	conn_close(&fresh->conn);
	e = path_sync(fresh->part_path, O_RDWR);
	if (e)
		return e;
	if (rename(fresh->part_path, fresh->path))
		return fault(ERR_STORAGE, "%s cannot be renamed to %s: %s", fresh->part_path,
			     fresh->path, strerror(errno));
	free(fresh->part_path);
	fresh->part_path = NULL;
	return parent_sync(fresh->path);
}

/* --- contents --------------------------------------------------------------------------------- */

uint32_t contents_hash(const struct contents *contents)
{
	return walk_hash_number(walk_hash_number(contents->rows_hash, contents->rows),
				contents->small_hash);
}

enum err contents_row(struct contents *contents, const struct row *row, struct conn *target)
{
	contents->rows++;
	contents->rows_hash = walk_hash_row(contents->rows_hash, row);
	return target ? conn_row_insert(target, row) : ERR_OK;
}

static enum err contents_lease(struct contents *contents, sqlite3_stmt *source, struct conn *target)
{
	int64_t id = sqlite3_column_int64(source, 0);
	int64_t ttl_seconds = sqlite3_column_int64(source, 1);
	sqlite3_stmt *stmt;

	contents->small_hash = walk_hash_number(contents->small_hash, id);
	contents->small_hash = walk_hash_number(contents->small_hash, ttl_seconds);
	if (!target)
		return ERR_OK;
	stmt = conn_stmt(target, STMT_LEASE_SET);
	if (!stmt)
		return ERR_STORAGE;
	sqlite3_bind_int64(stmt, 1, id);
	sqlite3_bind_int64(stmt, 2, ttl_seconds);
	return conn_run(target, stmt);
}

static enum err contents_state(struct contents *contents, sqlite3_stmt *source, struct conn *target)
{
	struct row hashed = {0};
	sqlite3_stmt *stmt;

	hashed.key.data = sqlite3_column_blob(source, 0);
	hashed.key.size = (size_t)sqlite3_column_bytes(source, 0);
	hashed.value.data = sqlite3_column_blob(source, 1);
	hashed.value.size = (size_t)sqlite3_column_bytes(source, 1);
	contents->small_hash = walk_hash_row(contents->small_hash, &hashed);
	if (!target)
		return ERR_OK;
	stmt = conn_stmt(target, STMT_STATE_SET);
	if (!stmt)
		return ERR_STORAGE;
	/* Bound as they are, so that text stays text and an empty blob does not become NULL. */
	sqlite3_bind_value(stmt, 1, sqlite3_column_value(source, 0));
	sqlite3_bind_value(stmt, 2, sqlite3_column_value(source, 1));
	return conn_run(target, stmt);
}

typedef enum err small_fn(struct contents *contents, sqlite3_stmt *source, struct conn *target);

static enum err contents_table(struct contents *contents, struct conn *source, enum stmt scan,
			       struct conn *target, small_fn *fn)
{
	sqlite3_stmt *stmt = conn_stmt(source, scan);
	bool found = false;
	enum err e;

	if (!stmt)
		return ERR_STORAGE;
	while (!(e = conn_step(source, stmt, &found)) && found) {
		e = fn(contents, stmt, target);
		if (e)
			break;
	}
	sqlite3_reset(stmt);
	return e;
}

enum err contents_small(struct contents *contents, struct conn *source, struct conn *target)
{
	enum err e = contents_table(contents, source, STMT_LEASE_SCAN, target, contents_lease);

	if (!e)
		e = contents_table(contents, source, STMT_STATE_SCAN, target, contents_state);
	return e;
}

/* --- writing ---------------------------------------------------------------------------------- */

struct backup {
	struct store *store;
	struct conn *source;
	struct fresh_file target;
	struct contents contents;
	int64_t head;
};

/* Needed at the head: what lives there, and the newest row of a key for what sync knows of it. */
static bool backup_needs(struct backup *backup, const struct row *row)
{
	struct index_pair pair;

	pthread_rwlock_rdlock(&backup->store->index_lock);
	pair = index_pair(backup->store->index, row->key, backup->head);
	pthread_rwlock_unlock(&backup->store->index_lock);
	if (row->rev == pair.newest.row)
		return pair_is_live(&pair) || row->meta.size;
	return pair_is_live(&pair) && row->rev == pair.visible.row;
}

static enum err backup_row(void *context, struct conn *conn, sqlite3_stmt *stmt,
			   const struct row *row)
{
	struct backup *backup = context;
	struct row full;
	enum err e;

	if (!backup_needs(backup, row))
		return ERR_OK;
	e = conn_row_read(conn, stmt, true, &full);
	return e ? e : contents_row(&backup->contents, &full, &backup->target.conn);
}

static enum err newest_row(struct conn *conn, int64_t *ret_row)
{
	sqlite3_stmt *stmt = NULL;
	int code = sqlite3_prepare_v2(conn->db, "SELECT max(rev) FROM log", -1, &stmt, NULL);
	enum err e;

	if (code != SQLITE_OK)
		return conn_error(conn, code, "looking for the newest row");
	e = conn_number(conn, stmt, 0, ret_row);
	sqlite3_finalize(stmt);
	return e;
}

enum err backup_alarms(struct conn *target, unsigned alarms)
{
	enum err e = ERR_OK;

	for (int alarm = 1; alarm < 31 && !e; alarm++) {
		sqlite3_stmt *stmt;

		if (!(alarms & 1u << alarm))
			continue;
		stmt = conn_stmt(target, STMT_ALARM_SET);
		if (!stmt)
			return ERR_STORAGE;
		sqlite3_bind_int(stmt, 1, alarm);
		e = conn_run(target, stmt);
	}
	return e;
}

/* Leases have no revisions, so they and the head are read in one transaction of SQLite: that makes
 * the head the one at which exactly these leases lived.  It may be a little newer than what is
 * published. */
static enum err backup_begin(struct backup *backup, int64_t published, const char *path)
{
	struct schema_numbers numbers;
	int64_t newest = 0;
	enum err e = schema_numbers_read(backup->source, &numbers);

	if (!e)
		e = newest_row(backup->source, &newest);
	if (e)
		return e;
	backup->head = published > numbers.head ? published : numbers.head;
	if (row_main(newest) > backup->head)
		backup->head = row_main(newest);
	e = fresh_open(&backup->target, path, &numbers.identity);
	if (!e)
		e = contents_small(&backup->contents, backup->source, &backup->target.conn);
	if (!e)
		e = backup_alarms(&backup->target.conn, numbers.alarms);
	return e;
}

static enum err backup_end(struct backup *backup)
{
	struct conn *conn = &backup->target.conn;
	enum err e = conn_setting_set(conn, SETTING_HEAD, backup->head);

	if (!e)
		e = conn_setting_set(conn, SETTING_COMPACTED, backup->head);
	if (!e)
		e = conn_setting_set(conn, SETTING_SWEPT, backup->head);
	if (!e)
		e = conn_setting_set(conn, SETTING_SNAPSHOT_ROWS, backup->contents.rows);
	if (!e)
		e = conn_setting_set(conn, SETTING_SNAPSHOT_HASH, contents_hash(&backup->contents));
	return e ? e : fresh_finish(&backup->target);
}

static enum err backup_rows(struct backup *backup)
{
	enum err e =
		walk_rows(backup->source, ROW_OF(backup->head, REV_SUB_MAX), backup_row, backup);

	return e ? e : backup_end(backup);
}

/* The rows are read outside of a transaction, so that the WAL is not held while they are. */
static enum err backup_run(struct backup *backup, int64_t published, const char *path)
{
	enum err end;
	enum err e = conn_do(backup->source, STMT_READ_BEGIN);

	if (e)
		return e;
	e = backup_begin(backup, published, path);
	end = conn_do(backup->source, STMT_COMMIT);
	if (!e)
		e = end;
	if (!e)
		e = backup_rows(backup);
	fresh_fini(&backup->target);
	return e;
}

enum err backup_write(struct store *store, struct conn *source, const char *path)
{
	struct backup backup = {.store = store, .source = source};
	enum err e = backup_begin(&backup, 0, path);

	if (!e)
		e = backup_rows(&backup);
	fresh_fini(&backup.target);
	return e;
}

enum err store_snapshot_write(struct store_reader *reader, const char *path)
{
	struct backup backup = {.store = reader->store, .source = &reader->conn};
	int64_t published = store_head(reader->store);
	struct pin pin;
	enum err e = pins_hold(&reader->store->pins, &pin, published, published);

	if (e)
		return e;
	e = backup_run(&backup, published, path);
	pins_release(&reader->store->pins, &pin);
	/* To a client this answer would mean the quota of the store. */
	if (e == ERR_NO_SPACE)
		return fault(ERR_STORAGE, "no space is left for the snapshot %s", path);
	return e;
}
