/* SPDX-License-Identifier: Apache-2.0 */
/* restore.c - what is in a snapshot file, whether it is sound, and a new data directory from it.
 *
 * A restored store is a new member of a new cluster and begins at a revision that the old one never
 * reached: clients and peers that remember the old store must not take a revision or a dot of the
 * new one for one that they have seen.  All history is marked compacted, so watchers list anew. */
#include "shim/store/backup.h"
#include "shim/store/internal.h"
#include "shim/store/pages.h"
#include "shim/store/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* More than any store writes between two snapshots: a year at 30 writes per second. */
#define RESTORE_BUMP_DEFAULT INT64_C(1000000000)

#define SQLITE_HEADER_BYTES 100
#define SQLITE_MAGIC "SQLite format 3"
#define BOLT_MAGIC                                                                                 \
	0xed0cdaedu /* etcd's database; 16 bytes into its file, in the machine's order             \
		     */
#define BOLT_MAGIC_AT 16
#define READ_BYTES 65536

#define MEND_SAVE "make a new snapshot with `kedge snapshot save`"

struct snapshot {
	const char *path;
	struct conn conn;
	int64_t file_bytes;
	int64_t data_bytes; /* without the checksum at the end */
	struct schema_numbers numbers;
	struct contents contents; /* as counted */
};

/* --- the file --------------------------------------------------------------------------------- */

static uint32_t load_be32(const uint8_t *from)
{
	return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 |
	       (uint32_t)from[3];
}

static bool header_is_bolt(const uint8_t *header)
{
	uint32_t magic;

	memcpy(&magic, header + BOLT_MAGIC_AT, sizeof(magic));
	return magic == BOLT_MAGIC || __builtin_bswap32(magic) == BOLT_MAGIC;
}

/* Offsets: https://www.sqlite.org/fileformat2.html, section 1.3. */
static enum err header_check(const struct snapshot *snapshot, const uint8_t *header, char *problem)
{
	const char *path = snapshot->path;
	int64_t page_bytes = (int64_t)header[16] << 8 | header[17];

	if (header_is_bolt(header))
		return schema_problem(problem, ERR_STORAGE,
				      "%s is a snapshot of etcd's own database (bbolt): restore it"
				      " with etcdutl, start an etcd on it, and copy its keys to"
				      " kedge with `etcdctl make-mirror`",
				      path);
	if (memcmp(header, SQLITE_MAGIC, sizeof(SQLITE_MAGIC)) != 0)
		return schema_problem(problem, ERR_STORAGE,
				      "%s is not a snapshot of kedge: " MEND_SAVE, path);
	if (load_be32(header + 68) != SCHEMA_APPLICATION_ID)
		return schema_problem(problem, ERR_STORAGE,
				      "%s is an SQLite database of another program, not a snapshot"
				      " of kedge: " MEND_SAVE,
				      path);
	if (load_be32(header + 60) > SCHEMA_VERSION)
		return schema_problem(problem, ERR_STORAGE,
				      "%s was made by a newer kedge (schema %u, this one knows %d):"
				      " restore it with that version",
				      path, load_be32(header + 60), SCHEMA_VERSION);
	if (header[18] != 1 || header[19] != 1)
		return schema_problem(problem, ERR_STORAGE,
				      "%s is the live database of a server, not a snapshot: without"
				      " its -wal file it is not complete; " MEND_SAVE,
				      path);
	if (page_bytes * load_be32(header + 28) != snapshot->data_bytes)
		return schema_problem(
			problem, ERR_DAMAGED,
			"%s is cut short or has something appended: copy it again, or " MEND_SAVE,
			path);
	return ERR_OK;
}

static bool read_fully(int fd, uint8_t *to, size_t size)
{
	while (size) {
		ssize_t got = read(fd, to, size);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		to += got;
		size -= (size_t)got;
	}
	return true;
}

/* The SHA-256 of the next data_bytes bytes. */
static bool digest_read(int fd, int64_t data_bytes, EVP_MD_CTX *digest,
			uint8_t ret_sum[SNAPSHOT_TRAILER_BYTES])
{
	uint8_t *piece = malloc(READ_BYTES);
	bool good = piece && EVP_DigestInit_ex(digest, EVP_sha256(), NULL);

	while (good && data_bytes > 0) {
		size_t size = data_bytes < READ_BYTES ? (size_t)data_bytes : READ_BYTES;

		good = read_fully(fd, piece, size) && EVP_DigestUpdate(digest, piece, size);
		data_bytes -= (int64_t)size;
	}
	free(piece);
	return good && EVP_DigestFinal_ex(digest, ret_sum, NULL);
}

/* What `etcdctl snapshot save` appends: the checksum of all before it. */
static enum err trailer_check(const struct snapshot *snapshot, int fd, char *problem)
{
	uint8_t expected[SNAPSHOT_TRAILER_BYTES];
	uint8_t sum[SNAPSHOT_TRAILER_BYTES];
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	bool read = digest && lseek(fd, 0, SEEK_SET) == 0 &&
		    digest_read(fd, snapshot->data_bytes, digest, sum) &&
		    read_fully(fd, expected, sizeof(expected));

	EVP_MD_CTX_free(digest);
	if (!read)
		return schema_problem(problem, ERR_STORAGE,
				      "%s cannot be read to its end: check the disk it is on",
				      snapshot->path);
	if (memcmp(sum, expected, sizeof(sum)) != 0)
		return schema_problem(
			problem, ERR_DAMAGED,
			"%s is damaged, its SHA-256 does not match: copy it again, or " MEND_SAVE,
			snapshot->path);
	return ERR_OK;
}

static enum err file_check_open(struct snapshot *snapshot, int fd, char *problem)
{
	uint8_t header[SQLITE_HEADER_BYTES];
	struct stat status;
	bool trailer;
	enum err e;

	if (fstat(fd, &status) || !S_ISREG(status.st_mode))
		return schema_problem(problem, ERR_STORAGE, "%s is not a file: name a snapshot",
				      snapshot->path);
	snapshot->file_bytes = status.st_size;
	trailer = status.st_size % SNAPSHOT_BLOCK_BYTES == SNAPSHOT_TRAILER_BYTES;
	snapshot->data_bytes = status.st_size - (trailer ? SNAPSHOT_TRAILER_BYTES : 0);
	if (snapshot->data_bytes < SQLITE_HEADER_BYTES || !read_fully(fd, header, sizeof(header)))
		return schema_problem(problem, ERR_STORAGE,
				      "%s has only %lld bytes, too few for a snapshot: " MEND_SAVE,
				      snapshot->path, (long long)status.st_size);
	e = header_check(snapshot, header, problem);
	if (!e && trailer)
		e = trailer_check(snapshot, fd, problem);
	return e;
}

static enum err file_check(struct snapshot *snapshot, char *problem)
{
	int fd = open(snapshot->path, O_RDONLY | O_CLOEXEC);
	enum err e;

	if (fd < 0)
		return schema_problem(problem, ERR_STORAGE,
				      "%s cannot be opened (%s): check its name, owner and mode",
				      snapshot->path, strerror(errno));
	e = file_check_open(snapshot, fd, problem);
	close(fd);
	return e;
}

/* --- the database in it ----------------------------------------------------------------------- */

static enum err database_open(struct snapshot *snapshot)
{
	struct conn *conn = &snapshot->conn;
	int code;

	conn_configure_library();
	code = sqlite3_open_v2(snapshot->path, &conn->db,
			       SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, PAGES_VFS);

	if (code != SQLITE_OK)
		return conn_error(conn, code, "opening a snapshot");
	sqlite3_extended_result_codes(conn->db, 1);
	return conn_exec(conn,
			 "PRAGMA query_only=ON; PRAGMA mmap_size=0; PRAGMA trusted_schema=OFF;"
			 "PRAGMA cell_size_check=ON;");
}

/* The walk of a snapshot: checked only, or copied to a target as well. */
struct copy {
	struct contents contents;
	struct conn *target; /* may be NULL */
};

static enum err copy_row(void *context, struct conn *conn, sqlite3_stmt *stmt,
			 const struct row *row)
{
	struct copy *copy = context;
	struct row full;
	enum err e = conn_row_read(conn, stmt, true, &full);

	(void)row;
	return e ? e : contents_row(&copy->contents, &full, copy->target);
}

static enum err copy_all(struct snapshot *snapshot, struct conn *target,
			 struct contents *ret_contents)
{
	struct copy copy = {.target = target};
	enum err e = contents_small(&copy.contents, &snapshot->conn, target);

	if (!e)
		e = walk_rows(&snapshot->conn, INT64_MAX, copy_row, &copy);
	if (!e)
		*ret_contents = copy.contents;
	return e;
}

static enum err contents_check(struct snapshot *snapshot, char *problem)
{
	int64_t rows = -1;
	int64_t hash = -1;
	enum err e = conn_setting_get(&snapshot->conn, SETTING_SNAPSHOT_ROWS, -1, &rows);

	if (!e)
		e = conn_setting_get(&snapshot->conn, SETTING_SNAPSHOT_HASH, -1, &hash);
	if (e)
		return e;
	if (rows < 0 || hash < 0)
		return schema_problem(problem, ERR_STORAGE,
				      "%s is a database of kedge, but not a snapshot: " MEND_SAVE,
				      snapshot->path);
	e = schema_numbers_read(&snapshot->conn, &snapshot->numbers);
	if (!e)
		e = copy_all(snapshot, NULL, &snapshot->contents);
	if (e)
		return e;
	if (snapshot->contents.rows == rows && contents_hash(&snapshot->contents) == hash)
		return ERR_OK;
	return schema_problem(
		problem, ERR_DAMAGED,
		"%s is damaged, its contents are not what its checksum says (%lld rows"
		" of %lld): copy it again, or " MEND_SAVE,
		snapshot->path, (long long)snapshot->contents.rows, (long long)rows);
}

/* For what was a fault and had no words yet. */
static enum err explain(char *problem, enum err e, const char *path)
{
	if (!e || problem[0])
		return e;
	if (e == ERR_DAMAGED)
		return schema_problem(
			problem, e,
			"%s is damaged, see the log for where: copy it again, or " MEND_SAVE, path);
	if (e == ERR_NO_SPACE)
		return schema_problem(problem, ERR_STORAGE,
				      "no space is left on the disk of %s: make room there", path);
	return schema_problem(problem, e, "%s: %s", path, err_text(e));
}

/* Opens and verifies every byte that matters. */
static enum err snapshot_open(struct snapshot *snapshot, const char *path, char *problem)
{
	enum err e;

	*snapshot = (struct snapshot){.path = path};
	problem[0] = '\0';
	e = file_check(snapshot, problem);
	if (!e)
		e = database_open(snapshot);
	if (!e)
		e = contents_check(snapshot, problem);
	if (e)
		conn_close(&snapshot->conn);
	return explain(problem, e, path);
}

enum err store_snapshot_status(const char *path, struct snapshot_status *ret_status,
			       char problem[STORE_PROBLEM_BYTES])
{
	struct snapshot snapshot;
	enum err e = snapshot_open(&snapshot, path, problem);

	if (e)
		return e;
	*ret_status = (struct snapshot_status){
		.hash = contents_hash(&snapshot.contents),
		.revision = snapshot.numbers.head,
		.total_keys = snapshot.contents.rows,
		.total_bytes = snapshot.file_bytes,
	};
	conn_close(&snapshot.conn);
	return ERR_OK;
}

/* --- the new data directory ------------------------------------------------------------------- */

static enum err folder_check_empty(const char *data_dir, char *problem)
{
	DIR *folder = opendir(data_dir);
	const struct dirent *entry;
	enum err e = ERR_OK;

	if (!folder)
		return schema_problem(
			problem, ERR_STORAGE,
			"%s cannot be used as a data directory (%s): name a folder that"
			" is empty or does not exist",
			data_dir, strerror(errno));
	while (!e && (entry = readdir(folder))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
		    !strcmp(entry->d_name, "lost+found") ||
		    !strcmp(entry->d_name, STORE_DB_NAME FRESH_PART))
			continue; /* the last one is of a restore that was cut off */
		e = schema_problem(problem, ERR_STORAGE,
				   "%s is not empty, it has %s in it: a restore overwrites nothing;"
				   " name a folder that is empty or does not exist, or move the old"
				   " data away",
				   data_dir, entry->d_name);
	}
	closedir(folder);
	return e;
}

static enum err folder_prepare(const char *data_dir, bool *ret_made, char *problem)
{
	if (!mkdir(data_dir, 0700)) {
		*ret_made = true;
		return ERR_OK;
	}
	if (errno != EEXIST)
		return schema_problem(problem, ERR_STORAGE,
				      "%s cannot be made (%s): make the folder it is to be in, or"
				      " check its owner and mode",
				      data_dir, strerror(errno));
	*ret_made = false;
	return folder_check_empty(data_dir, problem);
}

static enum err revision_bumped(const struct snapshot *snapshot, int64_t bump_revision,
				int64_t *ret_head, char *problem)
{
	int64_t bump = bump_revision ? bump_revision : RESTORE_BUMP_DEFAULT;

	if (bump < 0)
		return schema_problem(problem, ERR_STORAGE,
				      "a restore cannot move the revision back (by %lld): revisions"
				      " are never given out twice; name a positive number",
				      (long long)bump);
	if (bump > REV_MAIN_MAX || snapshot->numbers.head > REV_MAIN_MAX - bump)
		return schema_problem(
			problem, ERR_STORAGE,
			"revision %lld moved forward by %lld would pass the highest one"
			" there is (%lld): name a smaller number",
			(long long)snapshot->numbers.head, (long long)bump,
			(long long)REV_MAIN_MAX);
	*ret_head = snapshot->numbers.head + bump;
	return ERR_OK;
}

/* Alarms stay behind: they were raised by a member that this one is not. */
static enum err restore_file(struct snapshot *snapshot, const char *db_path, int64_t head)
{
	struct store_identity identity;
	struct fresh_file fresh;
	struct contents contents;
	enum err e = schema_identity_new(&identity);

	if (!e)
		e = fresh_open(&fresh, db_path, &identity);
	if (e)
		return e;
	e = copy_all(snapshot, &fresh.conn, &contents);
	if (!e && contents_hash(&contents) != contents_hash(&snapshot->contents))
		e = fault(ERR_DAMAGED, "the snapshot changed while it was restored");
	if (!e)
		e = conn_setting_set(&fresh.conn, SETTING_HEAD, head);
	if (!e)
		e = conn_setting_set(&fresh.conn, SETTING_COMPACTED, head);
	if (!e)
		e = conn_setting_set(&fresh.conn, SETTING_SWEPT, head);
	if (!e)
		e = fresh_finish(&fresh);
	fresh_fini(&fresh);
	return e;
}

/* The folder itself may be new, or made by a restore that was cut off: its name must be durable,
 * too. */
static enum err folder_parent_sync(const char *data_dir)
{
	char *parent = NULL;
	enum err e;

	if (asprintf(&parent, "%s/..", data_dir) < 0)
		return fault(ERR_NOMEM, "no memory for the name of a folder");
	e = folder_sync(parent);
	free(parent);
	return e;
}

static enum err restore_into(struct snapshot *snapshot, const char *data_dir, int64_t head,
			     char *problem)
{
	char *db_path = NULL;
	bool made = false;
	enum err e;

	if (asprintf(&db_path, "%s/%s", data_dir, STORE_DB_NAME) < 0)
		return fault(ERR_NOMEM, "no memory for the name of a file");
	e = folder_prepare(data_dir, &made, problem);
	if (e) {
		free(db_path);
		return e;
	}
	e = restore_file(snapshot, db_path, head);
	if (!e)
		e = folder_parent_sync(data_dir);
	/* The folder was empty, so what is in it now is ours to take away. */
	if (e)
		unlink(db_path);
	if (e && made)
		rmdir(data_dir);
	free(db_path);
	return e;
}

enum err store_snapshot_restore(const char *path, const char *data_dir, int64_t bump_revision,
				char problem[STORE_PROBLEM_BYTES])
{
	struct snapshot snapshot;
	int64_t head = 0;
	enum err e = snapshot_open(&snapshot, path, problem);

	if (e)
		return e;
	e = revision_bumped(&snapshot, bump_revision, &head, problem);
	if (!e)
		e = restore_into(&snapshot, data_dir, head, problem);
	conn_close(&snapshot.conn);
	return explain(problem, e, data_dir);
}
