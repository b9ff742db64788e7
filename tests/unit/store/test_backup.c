/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: what is in one, that damage is noticed, and what a restore makes of it. */
#include "shim/store/pages.h"
#include "tests/unit/store/fixture.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define BIG_BYTES 20000 /* a value of many pages */
#define BUMP 1000000000

struct paths {
	char snapshot[FIXTURE_PATH_BYTES];
	char other[FIXTURE_PATH_BYTES];
	char data_dir[FIXTURE_PATH_BYTES];
	char db[FIXTURE_PATH_BYTES];
};

static struct paths paths_in(const struct fixture *fixture)
{
	struct paths paths;

	snprintf(paths.snapshot, sizeof(paths.snapshot), "%s/snapshot.db", fixture->dir);
	snprintf(paths.other, sizeof(paths.other), "%s/other.db", fixture->dir);
	snprintf(paths.data_dir, sizeof(paths.data_dir), "%s/restored", fixture->dir);
	snprintf(paths.db, sizeof(paths.db), "%s/restored/%s", fixture->dir, STORE_DB_NAME);
	return paths;
}

static bool path_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static int64_t file_bytes(const char *path)
{
	struct stat status;

	assert_int_equal(stat(path, &status), 0);
	return status.st_size;
}

static uint8_t *file_read(const char *path, size_t *ret_size)
{
	size_t size = (size_t)file_bytes(path);
	uint8_t *data = malloc(size + 1);
	FILE *file = fopen(path, "rb");

	assert_non_null(data);
	assert_non_null(file);
	assert_int_equal(fread(data, 1, size, file), size);
	fclose(file);
	*ret_size = size;
	return data;
}

static void file_write(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

/* A merge that clients do not see. */
static void put_hidden(struct fixture *fixture, const char *key, int64_t rev)
{
	struct row row = {.rev = rev,
			  .key = bytes_of_string(key),
			  .version = 1,
			  .create_revision = row_main(rev),
			  .flags = ROW_INVISIBLE,
			  .meta = BYTES_LITERAL("stamp"),
			  .value = BYTES_LITERAL("sibling")};

	fixture_row(fixture, &row);
}

/* A bit of everything: superseded, deleted, empty, big, leased, invisible; revision 9 at the end.
 */
static void fill(struct fixture *fixture)
{
	char *big = malloc(BIG_BYTES + 1);

	assert_non_null(big);
	memset(big, 'x', BIG_BYTES);
	big[BIG_BYTES] = '\0';
	fixture_put(fixture, "a", "old", 0);
	fixture_put(fixture, "a", "new", 0);
	fixture_put(fixture, "gone", "soon", 0);
	fixture_delete(fixture, "gone");
	fixture_put(fixture, "big", big, 0);
	put_hidden(fixture, "empty", ROW_OF(6, 1)); /* covered by what follows, so not needed */
	fixture_put(fixture, "empty", "", 0);
	fixture_put(fixture, "leased", "value", 77);
	put_hidden(fixture, "hidden", ROW_OF(9, 0));
	put_hidden(fixture, "a", ROW_OF(9, 1));
	fixture_advance(fixture);
	free(big);
	assert_int_equal(conn_exec(&fixture->writer, "INSERT INTO leases(id, ttl) VALUES(77, 600);"
						     "INSERT INTO alarms(alarm) VALUES(1);"
						     "INSERT INTO state(name, value)"
						     " VALUES('cursor', x'00ff')"),
			 ERR_OK);
}

static struct paths snapshot_make(struct fixture *fixture)
{
	struct paths paths = paths_in(fixture);

	fill(fixture);
	assert_int_equal(store_snapshot_write(&fixture->reader, paths.snapshot), ERR_OK);
	assert_true(list_is_empty(&fixture->store.pins.all));
	return paths;
}

/* --- what is in a snapshot --- */

static void a_snapshot_is_whole_and_private(void **state)
{
	struct paths paths = snapshot_make(*state);
	char part[FIXTURE_PATH_BYTES + 8];
	struct snapshot_status info;
	char problem[STORE_PROBLEM_BYTES];
	struct stat status;

	assert_int_equal(stat(paths.snapshot, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	assert_int_equal(status.st_size % 512, 0);
	snprintf(part, sizeof(part), "%s.part", paths.snapshot);
	assert_false(path_exists(part));
	assert_int_equal(store_snapshot_status(paths.snapshot, &info, problem), ERR_OK);
	assert_int_equal(info.revision, 9);
	assert_int_equal(info.total_keys, 6); /* a, big, empty, leased, and hidden ones of 2 keys */
	assert_int_equal(info.total_bytes, status.st_size);
}

static void the_same_contents_have_the_same_hash(void **state)
{
	struct fixture *fixture = *state;
	struct paths paths = snapshot_make(fixture);
	struct snapshot_status first;
	struct snapshot_status second;
	char problem[STORE_PROBLEM_BYTES];

	assert_int_equal(store_snapshot_status(paths.snapshot, &first, problem), ERR_OK);
	/* Over an old file, and with what a crash left behind in the way. */
	file_write(paths.other, "rubbish", 7);
	assert_int_equal(store_snapshot_write(&fixture->reader, paths.other), ERR_OK);
	assert_int_equal(store_snapshot_status(paths.other, &second, problem), ERR_OK);
	assert_int_equal(first.hash, second.hash);
	fixture_put(fixture, "a", "newer", 0);
	assert_int_equal(store_snapshot_write(&fixture->reader, paths.other), ERR_OK);
	assert_int_equal(store_snapshot_status(paths.other, &second, problem), ERR_OK);
	assert_int_not_equal(first.hash, second.hash);
	assert_int_equal(second.revision, 10);
}

static void an_empty_store_has_a_snapshot(void **state)
{
	struct fixture *fixture = *state;
	struct paths paths = paths_in(fixture);
	struct snapshot_status info;
	char problem[STORE_PROBLEM_BYTES];

	assert_int_equal(store_snapshot_write(&fixture->reader, paths.snapshot), ERR_OK);
	assert_int_equal(store_snapshot_status(paths.snapshot, &info, problem), ERR_OK);
	assert_int_equal(info.revision, 1);
	assert_int_equal(info.total_keys, 0);
	assert_int_equal(store_snapshot_restore(paths.snapshot, paths.data_dir, 5, problem),
			 ERR_OK);
}

static void a_snapshot_that_cannot_be_written_leaves_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct paths paths = paths_in(fixture);
	struct rlimit limit;
	struct rlimit small;
	enum err e;

	fill(fixture);
	assert_int_equal(store_snapshot_write(&fixture->reader, "/nowhere/at/all.db"), ERR_STORAGE);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	small = limit;
	small.rlim_cur = 6 * KIB;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	e = store_snapshot_write(&fixture->reader, paths.snapshot);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(e, ERR_STORAGE);
	assert_false(path_exists(paths.snapshot));
	strncat(paths.snapshot, ".part", sizeof(paths.snapshot) - strlen(paths.snapshot) - 1);
	assert_false(path_exists(paths.snapshot));
	assert_true(list_is_empty(&fixture->store.pins.all));
}

static void a_damaged_store_gives_no_snapshot(void **state)
{
	struct fixture *fixture = *state;
	struct paths paths = paths_in(fixture);

	fill(fixture);
	assert_int_equal(conn_exec(&fixture->writer,
				   "UPDATE log SET version = 9 WHERE key = CAST('big' AS BLOB)"),
			 ERR_OK);
	assert_int_equal(store_snapshot_write(&fixture->reader, paths.snapshot), ERR_DAMAGED);
	assert_false(path_exists(paths.snapshot));
}

/* --- what a restore makes of it --- */

static int64_t query_number(struct conn *conn, const char *sql)
{
	sqlite3_stmt *stmt = NULL;
	int64_t number;

	assert_int_equal(sqlite3_prepare_v2(conn->db, sql, -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	number = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return number;
}

static void restored_check(const struct fixture *fixture, const struct paths *paths, int64_t head)
{
	struct schema_numbers numbers;
	struct conn conn;

	assert_int_equal(conn_open(&conn, paths->db, CONN_READ, true), ERR_OK);
	assert_int_equal(schema_numbers_read(&conn, &numbers), ERR_OK);
	assert_true(numbers.identity.cluster_id != fixture->identity.cluster_id);
	assert_true(numbers.identity.member_id != fixture->identity.member_id);
	assert_int_equal(numbers.head, head);
	assert_int_equal(numbers.compacted, head);
	assert_int_equal(numbers.swept, head);
	assert_int_equal(numbers.alarms, 0);
	assert_int_equal(query_number(&conn, "SELECT count(*) FROM log"), 6);
	assert_int_equal(query_number(&conn, "SELECT count(*) FROM settings"), 6);
	assert_int_equal(query_number(&conn, "SELECT ttl FROM leases WHERE id = 77"), 600);
	assert_int_equal(query_number(&conn, "SELECT count(*) FROM state WHERE name = 'cursor'"
					     " AND value = x'00ff'"),
			 1);
	conn_close(&conn);
}

static void check_value(struct store_reader *reader, const char *key, const char *value,
			int64_t mod_revision)
{
	struct range_op op = {.key = bytes_of_string(key)};
	struct range_result result;
	struct arena arena;

	arena_init(&arena, MIB);
	assert_int_equal(store_range(reader, &op, &arena, &result), ERR_OK);
	assert_int_equal(result.revision, 9 + BUMP);
	assert_int_equal(result.kv_count, value != NULL);
	if (value) {
		assert_true(bytes_equal(result.kvs[0].value, bytes_of_string(value)));
		assert_int_equal(result.kvs[0].mod_revision, mod_revision);
	}
	arena_fini(&arena);
}

static void ignore_commit(void *context, const struct store_commit *commit)
{
	(void)context;
	store_commit_publish(commit);
}

static void ignore_compact(void *context, int64_t revision)
{
	(void)context;
	(void)revision;
}

static void ignore_fault(void *context, enum err e)
{
	(void)context;
	(void)e;
}

/* A server starts on the restored data and reads what was saved, and nothing older. */
static void restored_serve(const struct paths *paths)
{
	struct store_config config = {
		.data_dir = paths->data_dir,
		.no_fsync = true,
		.clock = &clock_system,
		.listener = {.on_commit = ignore_commit,
			     .on_compact = ignore_compact,
			     .on_fault = ignore_fault},
	};
	struct range_op old = {.key = BYTES_LITERAL("a"), .revision = 9};
	char problem[STORE_PROBLEM_BYTES];
	struct store_reader *reader;
	struct range_result result;
	struct store *store;
	struct arena arena;

	assert_int_equal(store_open(&config, &store, problem), ERR_OK);
	assert_int_equal(store_start(store), ERR_OK);
	assert_int_equal(store_head(store), 9 + BUMP);
	assert_int_equal(store_compacted(store), 9 + BUMP);
	assert_int_equal(store_reader_new(store, &reader), ERR_OK);
	check_value(reader, "a", "new", 3);
	check_value(reader, "empty", "", 7);
	check_value(reader, "leased", "value", 8);
	check_value(reader, "gone", NULL, 0);
	check_value(reader, "hidden", NULL, 0);
	arena_init(&arena, MIB);
	assert_int_equal(store_range(reader, &old, &arena, &result), ERR_COMPACTED);
	arena_fini(&arena);
	store_reader_free(reader);
	store_stop(store);
	store_close(store);
}

static void a_restore_is_a_new_store_further_on(void **state)
{
	struct fixture *fixture = *state;
	struct paths paths = snapshot_make(fixture);
	char problem[STORE_PROBLEM_BYTES];
	struct stat status;

	assert_int_equal(store_snapshot_restore(paths.snapshot, paths.data_dir, 0, problem),
			 ERR_OK);
	assert_int_equal(stat(paths.data_dir, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0700);
	restored_check(fixture, &paths, 9 + BUMP);
	restored_serve(&paths);
}

static void the_bump_is_the_callers_choice(void **state)
{
	struct fixture *fixture = *state;
	struct paths paths = snapshot_make(fixture);
	char problem[STORE_PROBLEM_BYTES];
	char *inner = NULL;

	/* A fresh file system has this folder in it. */
	assert_int_equal(mkdir(paths.data_dir, 0700), 0);
	assert_true(asprintf(&inner, "%s/lost+found", paths.data_dir) > 0);
	assert_int_equal(mkdir(inner, 0700), 0);
	free(inner);
	assert_int_equal(store_snapshot_restore(paths.snapshot, paths.data_dir, 41, problem),
			 ERR_OK);
	restored_check(fixture, &paths, 50);
}

/* `etcdctl snapshot save` appends the SHA-256 of what it received. */
static void the_checksum_of_etcdctl_is_verified(void **state)
{
	struct fixture *fixture = *state;
	struct paths paths = snapshot_make(fixture);
	char problem[STORE_PROBLEM_BYTES];
	struct snapshot_status info;
	size_t size;
	uint8_t *data = file_read(paths.snapshot, &size);

	data = realloc(data, size + SHA256_DIGEST_LENGTH);
	assert_non_null(data);
	SHA256(data, size, data + size);
	file_write(paths.other, data, size + SHA256_DIGEST_LENGTH);
	assert_int_equal(store_snapshot_status(paths.other, &info, problem), ERR_OK);
	assert_int_equal(info.revision, 9);
	assert_int_equal(store_snapshot_restore(paths.other, paths.data_dir, 0, problem), ERR_OK);
	restored_check(fixture, &paths, 9 + BUMP);
	fixture_remove(paths.data_dir);
	data[size] ^= 1;
	file_write(paths.other, data, size + SHA256_DIGEST_LENGTH);
	assert_int_equal(store_snapshot_restore(paths.other, paths.data_dir, 0, problem),
			 ERR_DAMAGED);
	assert_non_null(strstr(problem, "SHA-256"));
	assert_false(path_exists(paths.data_dir));
	free(data);
}

/* --- what is refused --- */

static void refuse(struct paths *paths, const char *path, const char *word)
{
	struct snapshot_status info;
	char problem[STORE_PROBLEM_BYTES] = "";

	assert_int_not_equal(store_snapshot_status(path, &info, problem), ERR_OK);
	assert_non_null(strstr(problem, word));
	memset(problem, 'x', sizeof(problem) - 1);
	assert_int_not_equal(store_snapshot_restore(path, paths->data_dir, 0, problem), ERR_OK);
	assert_non_null(strstr(problem, word));
	assert_non_null(strstr(problem, path));
	assert_false(path_exists(paths->data_dir));
}

static void refuse_data(struct paths *paths, const void *data, size_t size, const char *word)
{
	file_write(paths->other, data, size);
	refuse(paths, paths->other, word);
}

static void what_is_no_snapshot_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct paths paths = paths_in(fixture);
	uint8_t block[4096] = {0};

	refuse(&paths, "/nowhere/at/all.db", "cannot be opened");
	refuse(&paths, fixture->dir, "is not a file");
	refuse_data(&paths, "", 0, "too few");
	refuse_data(&paths, "hello", 5, "too few");
	memset(block, 'x', sizeof(block));
	refuse_data(&paths, block, sizeof(block), "not a snapshot of kedge");
	/* The first page of a bbolt file: its header, then the magic number. */
	memset(block, 0, sizeof(block));
	memcpy(block + 16, &(uint32_t){0xed0cdaed}, 4);
	refuse_data(&paths, block, sizeof(block), "etcdctl make-mirror");
}

static void database_make(const char *path, const char *sql)
{
	sqlite3 *db = NULL;

	unlink(path);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* A sound copy of our own database, but made by SQLite. */
static void database_copy(struct fixture *fixture, const char *path)
{
	char *sql = sqlite3_mprintf("VACUUM INTO %Q", path);

	assert_non_null(sql);
	unlink(path);
	assert_int_equal(conn_exec(&fixture->writer, sql), ERR_OK);
	sqlite3_free(sql);
}

static void other_databases_are_refused(void **state)
{
	struct fixture *fixture = *state;
	struct paths paths = snapshot_make(fixture);

	assert_int_equal(conn_exec(&fixture->writer, "PRAGMA wal_checkpoint(TRUNCATE)"), ERR_OK);
	refuse(&paths, fixture->db_path, "live database");
	database_make(paths.other, "CREATE TABLE kine(id INTEGER)");
	refuse(&paths, paths.other, "another program");
	database_make(paths.other, "CREATE TABLE t(id INTEGER); PRAGMA application_id=0x6b656467;"
				   "PRAGMA user_version=2;");
	refuse(&paths, paths.other, "newer kedge");
	database_copy(fixture, paths.other);
	refuse(&paths, paths.other, "not a snapshot");
}

static void cut_and_padded_files_are_refused(void **state)
{
	struct fixture *fixture = *state;
	struct paths paths = snapshot_make(fixture);
	size_t size;
	uint8_t *data = file_read(paths.snapshot, &size);

	data = realloc(data, size + 2 * DB_PAGE_BYTES);
	assert_non_null(data);
	memset(data + size, 0, 2 * DB_PAGE_BYTES);
	refuse_data(&paths, data, size - 1, "cut short");
	refuse_data(&paths, data, size - DB_PAGE_BYTES, "cut short");
	refuse_data(&paths, data, DB_PAGE_BYTES, "cut short");
	refuse_data(&paths, data, size + 1, "cut short");
	refuse_data(&paths, data, size + DB_PAGE_BYTES, "cut short");
	free(data);
}

/* Rows that are sound one by one, but not all there. */
static void missing_rows_are_noticed(void **state)
{
	static const char *const changes[] = {
		"DELETE FROM log WHERE key = CAST('empty' AS BLOB)",
		"DELETE FROM leases",
		"UPDATE state SET value = x'01'",
		"UPDATE settings SET value = value + 1 WHERE name = 'snapshot_hash'",
		"UPDATE settings SET value = value + 1 WHERE name = 'snapshot_rows'",
		"UPDATE log SET lease = 5 WHERE key = CAST('big' AS BLOB)",
		"UPDATE log SET value = x'' WHERE key = CAST('big' AS BLOB)",
	};
	struct fixture *fixture = *state;
	struct paths paths = snapshot_make(fixture);
	size_t size;
	uint8_t *data = file_read(paths.snapshot, &size);

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		sqlite3 *db = NULL;

		file_write(paths.other, data, size);
		assert_int_equal(
			sqlite3_open_v2(paths.other, &db, SQLITE_OPEN_READWRITE, PAGES_VFS),
			SQLITE_OK);
		assert_int_equal(sqlite3_exec(db, changes[i], NULL, NULL, NULL), SQLITE_OK);
		assert_int_equal(sqlite3_changes(db), 1);
		sqlite3_close(db);
		refuse(&paths, paths.other, "damaged");
	}
	free(data);
}

/* A flipped bit is refused, or was in a byte that nothing depends on. */
static void flipped_bits_never_pass(void **state)
{
	struct fixture *fixture = *state;
	struct paths paths = snapshot_make(fixture);
	char problem[STORE_PROBLEM_BYTES];
	struct snapshot_status whole;
	size_t refused = 0;
	size_t size;
	uint8_t *data = file_read(paths.snapshot, &size);

	assert_int_equal(store_snapshot_status(paths.snapshot, &whole, problem), ERR_OK);
	for (size_t at = 0; at < size; at += 61) {
		struct snapshot_status info;

		data[at] ^= 0x10;
		file_write(paths.other, data, size);
		data[at] ^= 0x10;
		problem[0] = '\0';
		if (store_snapshot_status(paths.other, &info, problem) != ERR_OK) {
			assert_int_not_equal(problem[0], '\0');
			refused++;
			continue;
		}
		assert_int_equal(info.hash, whole.hash);
		assert_int_equal(info.total_keys, whole.total_keys);
	}
	assert_true(refused > size / 61 / 2);
	free(data);
}

static void a_target_in_use_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct paths paths = snapshot_make(fixture);
	char problem[STORE_PROBLEM_BYTES];

	/* The folder of the store itself, a file, a folder in a folder that is not there. */
	assert_int_equal(store_snapshot_restore(paths.snapshot, fixture->dir, 0, problem),
			 ERR_STORAGE);
	assert_non_null(strstr(problem, "is not empty"));
	assert_int_equal(store_snapshot_restore(paths.snapshot, paths.snapshot, 0, problem),
			 ERR_STORAGE);
	assert_non_null(strstr(problem, "Not a directory"));
	assert_int_equal(store_snapshot_restore(paths.snapshot, "/nowhere/at/all", 0, problem),
			 ERR_STORAGE);
	assert_non_null(strstr(problem, "cannot be made"));
	assert_int_equal(store_snapshot_restore(paths.snapshot, paths.data_dir, -1, problem),
			 ERR_STORAGE);
	assert_non_null(strstr(problem, "never given out twice"));
	assert_int_equal(store_snapshot_restore(paths.snapshot, paths.data_dir, INT64_MAX, problem),
			 ERR_STORAGE);
	assert_non_null(strstr(problem, "smaller number"));
	assert_int_equal(
		store_snapshot_restore(paths.snapshot, paths.data_dir, REV_MAIN_MAX - 8, problem),
		ERR_STORAGE);
	assert_false(path_exists(paths.data_dir));
	assert_int_equal(
		store_snapshot_restore(paths.snapshot, paths.data_dir, REV_MAIN_MAX - 9, problem),
		ERR_OK);
	assert_int_equal(store_snapshot_restore(paths.snapshot, paths.data_dir, 0, problem),
			 ERR_STORAGE);
	assert_non_null(strstr(problem, "is not empty"));
}

static void a_failed_restore_leaves_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct paths paths = snapshot_make(fixture);
	char problem[STORE_PROBLEM_BYTES];
	struct rlimit limit;
	struct rlimit small;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	small = limit;
	small.rlim_cur = 6 * KIB;
	for (int made = 0; made < 2; made++) {
		enum err e;

		if (made)
			assert_int_equal(mkdir(paths.data_dir, 0700), 0);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
		e = store_snapshot_restore(paths.snapshot, paths.data_dir, 0, problem);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
		assert_int_equal(e, ERR_STORAGE);
		assert_non_null(strstr(problem, paths.data_dir));
		assert_int_equal(path_exists(paths.data_dir), made);
	}
	/* It was there before, and it is empty again. */
	assert_int_equal(rmdir(paths.data_dir), 0);
}

/* What is durable has its leases in the database already, so it must be in with its rows. */
static void a_commit_not_yet_published_is_in_it(void **state)
{
	struct fixture *fixture = *state;
	struct paths paths = paths_in(fixture);
	char problem[STORE_PROBLEM_BYTES];
	struct snapshot_status info;

	fill(fixture);
	fixture_put_at(fixture, 0, "fresh", BYTES_LITERAL("value"), 0);
	assert_int_equal(store_snapshot_write(&fixture->reader, paths.snapshot), ERR_OK);
	assert_int_equal(store_snapshot_status(paths.snapshot, &info, problem), ERR_OK);
	assert_int_equal(info.revision, 10);
	assert_int_equal(info.total_keys, 7);
	/* One that is not durable is not, although the index knows it. */
	fixture_advance(fixture);
	fixture_begin(fixture);
	fixture_put_at(fixture, 0, "fresher", BYTES_LITERAL("value"), 0);
	assert_int_equal(store_snapshot_write(&fixture->reader, paths.other), ERR_OK);
	fixture_commit(fixture);
	assert_int_equal(store_snapshot_status(paths.other, &info, problem), ERR_OK);
	assert_int_equal(info.revision, 10);
	assert_int_equal(info.total_keys, 7);
}

/* --- a snapshot while others write --- */

struct busy_writer {
	struct fixture *fixture;
	atomic_bool stop;
	int64_t revisions;
};

/* Every revision puts the same value under two keys and into a lease, and now and then all before
 * it is compacted and swept. */
static void *busy_write(void *context)
{
	struct busy_writer *busy = context;
	struct fixture *fixture = busy->fixture;

	while (!atomic_load(&busy->stop)) {
		int64_t revision = atomic_load(&fixture->store.head) + 1;
		char text[64];

		snprintf(text, sizeof(text), "INSERT OR REPLACE INTO leases VALUES(1, %lld)",
			 (long long)revision);
		fixture_begin(fixture);
		fixture_put_at(fixture, 0, "left", bytes_of(&revision, sizeof(revision)), 0);
		fixture_put_at(fixture, 1, "right", bytes_of(&revision, sizeof(revision)), 0);
		assert_int_equal(conn_exec(&fixture->writer, text), ERR_OK);
		fixture_commit(fixture);
		fixture_advance(fixture);
		if (++busy->revisions % 50)
			continue;
		pins_compact(&fixture->store.pins, revision);
		fixture_begin(fixture);
		fixture_sweep(fixture);
		fixture_commit(fixture);
	}
	return NULL;
}

static void busy_check(const char *path, int64_t at_least)
{
	char problem[STORE_PROBLEM_BYTES];
	struct snapshot_status info;
	struct conn conn = {0};
	int64_t row = 0;

	assert_int_equal(store_snapshot_status(path, &info, problem), ERR_OK);
	assert_true(info.revision >= at_least);
	assert_int_equal(info.total_keys, 502);
	assert_int_equal(sqlite3_open(path, &conn.db), SQLITE_OK);
	assert_int_equal(query_number(&conn, "SELECT ttl FROM leases"), info.revision);
	for (int64_t sub = 0; sub < 2; sub++) {
		row = 0;
		assert_int_equal(conn_value_read(&conn, ROW_OF(info.revision, sub), sizeof(row),
						 (uint8_t *)&row),
				 ERR_OK);
		assert_int_equal(row, info.revision);
	}
	conn_close(&conn);
}

static void a_snapshot_is_of_one_moment(void **state)
{
	struct fixture *fixture = *state;
	struct busy_writer busy = {.fixture = fixture};
	struct paths paths = paths_in(fixture);
	pthread_t thread;

	fixture_begin(fixture);
	for (int i = 0; i < 500; i++) {
		char key[16];

		snprintf(key, sizeof(key), "key-%d", i);
		fixture_put(fixture, key, "value", 0);
	}
	fixture_commit(fixture);
	assert_int_equal(pthread_create(&thread, NULL, busy_write, &busy), 0);
	while (atomic_load(&fixture->store.head) < 600)
		usleep(1000);
	for (int i = 0; i < 15; i++) {
		int64_t head = atomic_load(&fixture->store.head);
		struct store_hash hash;
		uint32_t whole;

		assert_int_equal(store_snapshot_write(&fixture->reader, paths.snapshot), ERR_OK);
		busy_check(paths.snapshot, head);
		assert_int_equal(store_hash_kv(&fixture->reader, 0, &hash), ERR_OK);
		assert_int_equal(store_hash(&fixture->reader, &whole), ERR_OK);
	}
	atomic_store(&busy.stop, true);
	pthread_join(thread, NULL);
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(a_snapshot_is_whole_and_private),
		WITH_STORE(the_same_contents_have_the_same_hash),
		WITH_STORE(an_empty_store_has_a_snapshot),
		WITH_STORE(a_snapshot_that_cannot_be_written_leaves_nothing),
		WITH_STORE(a_damaged_store_gives_no_snapshot),
		WITH_STORE(a_restore_is_a_new_store_further_on),
		WITH_STORE(the_bump_is_the_callers_choice),
		WITH_STORE(the_checksum_of_etcdctl_is_verified),
		WITH_STORE(what_is_no_snapshot_is_refused),
		WITH_STORE(other_databases_are_refused),
		WITH_STORE(cut_and_padded_files_are_refused),
		WITH_STORE(missing_rows_are_noticed),
		WITH_STORE(flipped_bits_never_pass),
		WITH_STORE(a_target_in_use_is_refused),
		WITH_STORE(a_failed_restore_leaves_nothing),
		WITH_STORE(a_commit_not_yet_published_is_in_it),
		WITH_STORE(a_snapshot_is_of_one_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
