/* SPDX-License-Identifier: Apache-2.0 */
/* flips.c - one bit flips somewhere in the files of a stopped store: nothing wrong is ever
 * answered, and the damage is found.
 *
 *	flips [--seed N] [--flips N] [--wal-flips N] [--only N]
 *
 * For each flip the server either does not start (DAMAGED, in words), or every answer is right or
 * DAMAGED, before and after writes and a restart; and `kedge check` finds it in any case. */
#include "tests/disk/load.h"

#include "shim/store/check.h"
#include "shim/store/internal.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAILURES_SHOWN 20

enum kind {
	KIND_FIRST, /* the first page: header and schema */
	KIND_LOG_INNER,
	KIND_LOG_LEAF,
	KIND_OVERFLOW,
	KIND_SMALL, /* settings, leases, alarms, state */
	KIND_FREE_TRUNK,
	KIND_FREE,
	KIND_WAL,
	KIND_COUNT,
};

static const char *const kind_names[KIND_COUNT] = {
	"first page",
	"inner log page",
	"log leaf",
	"overflow page",
	"small table",
	"list of free"
	" pages",
	"free page",
	"WAL",
};

enum outcome { REFUSED, FOUND_LATER, HARMLESS, WRONG, OUTCOME_COUNT };

struct flips {
	uint64_t seed;
	long flips, wal_flips, only;
	struct rig rig;
	struct rig_random random;
	char dir[128];
	uint8_t *db;
	size_t db_bytes;
	uint8_t *wal; /* as a killed process left it, beside its database */
	size_t wal_bytes;
	uint8_t *wal_db;
	size_t wal_db_bytes;
	struct book *book;
	struct book_mark mark;
	enum kind *kinds; /* of the pages of db */
	size_t counts[KIND_COUNT][OUTCOME_COUNT];
	size_t repaired, left; /* by `kedge repair`, and what it refused to touch */
	size_t unseen;	       /* flips that `kedge check` did not find */
	size_t shown;
};

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "flips: %s\n", what);
	abort();
}

/* --- files ------------------------------------------------------------------------------------ */

static uint8_t *file_load(const char *dir, const char *name, size_t *ret_bytes)
{
	char path[256];
	struct stat status;
	uint8_t *data;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	must(fd >= 0 && !fstat(fd, &status), path);
	data = malloc((size_t)status.st_size + 1);
	must(data && read(fd, data, (size_t)status.st_size) == status.st_size, path);
	close(fd);
	*ret_bytes = (size_t)status.st_size;
	return data;
}

static void file_store(const char *dir, const char *name, const uint8_t *data, size_t bytes)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	must(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes, path);
	close(fd);
}

static uint32_t load_be32(const uint8_t *from)
{
	return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 |
	       (uint32_t)from[3];
}

static uint8_t *page_of(struct flips *flips, uint32_t number)
{
	return flips->db + (size_t)(number - 1) * DB_PAGE_BYTES;
}

/* The log is the only table with inner pages or leaves of its shape; its root comes second. */
static void mark_log(struct flips *flips, uint32_t number)
{
	const uint8_t *page = page_of(flips, number);
	int cells = page[3] << 8 | page[4];

	flips->kinds[number - 1] = page[0] == 5 ? KIND_LOG_INNER : KIND_LOG_LEAF;
	if (page[0] != 5)
		return;
	for (int i = 0; i < cells; i++) {
		int at = page[12 + 2 * i] << 8 | page[13 + 2 * i];

		mark_log(flips, load_be32(page + at));
	}
	mark_log(flips, load_be32(page + 8));
}

static void classify(struct flips *flips)
{
	size_t pages = flips->db_bytes / DB_PAGE_BYTES;
	uint32_t trunk = load_be32(flips->db + 32);

	flips->kinds = calloc(pages, sizeof(*flips->kinds));
	must(flips->kinds, "out of memory");
	for (size_t i = 1; i < pages; i++) {
		uint8_t type = flips->db[i * DB_PAGE_BYTES];

		flips->kinds[i] = type == 13 || type == 10 ? KIND_SMALL : KIND_OVERFLOW;
	}
	for (; trunk; trunk = load_be32(page_of(flips, trunk))) {
		const uint8_t *page = page_of(flips, trunk);

		flips->kinds[trunk - 1] = KIND_FREE_TRUNK;
		for (uint32_t i = 0; i < load_be32(page + 4); i++)
			flips->kinds[load_be32(page + 8 + 4 * i) - 1] = KIND_FREE;
	}
	mark_log(flips, 2);
	flips->kinds[0] = KIND_FIRST;
}

/* --- the store to be damaged ------------------------------------------------------------------ */

static void put(struct flips *flips, int key, int64_t lease)
{
	char room[BOOK_KEY_BYTES];
	uint8_t *value = malloc(BOOK_VALUE_BYTES_MAX);
	uint32_t number = book_value_new(flips->book);
	struct op op = {.kind = OP_PUT, .in.put = {.key = book_key(key, room), .lease = lease}};

	must(value, "out of memory");
	op.in.put.value = book_value(number, value);
	must(!rig_do(&flips->rig, &op), "put");
	book_put(flips->book, op.out.put.revision, key, number, lease);
	free(value);
}

static void note_mark(struct flips *flips)
{
	struct store *store = flips->rig.store;

	flips->mark = (struct book_mark){
		.exists = true,
		.head = store_head(store),
		.compacted = store_compacted(store),
		.cluster_id = store_identity(store).cluster_id,
		.term = store_identity(store).term,
		.alarms = store_alarms(store),
		.leases = 0xff,
	};
}

/* Small and big values, free pages, leases, an alarm; once stopped, once as a kill leaves it. */
static void make_store(struct flips *flips)
{
	struct op alarm = {.kind = OP_ALARM_SET, .in.alarm = ALARM_NOSPACE};
	char snapshot[160];

	rig_open(&flips->rig);
	snprintf(flips->dir, sizeof(flips->dir), "%s", flips->rig.dir);
	for (int i = 0; i < 8; i++)
		must(!rig_grant(&flips->rig, BOOK_LEASE_FIRST + i, BOOK_LEASE_TTL), "grant");
	for (int i = 0; i < 900; i++)
		put(flips, i % BOOK_KEYS, i % 3 ? 0 : BOOK_LEASE_FIRST + i % 8);
	must(!rig_compact(&flips->rig, 400, true), "compact");
	rig_reopen(&flips->rig); /* folds the WAL: what follows is in a new one */
	for (int i = 0; i < 60; i++)
		put(flips, i % BOOK_KEYS, 0);
	must(!rig_do(&flips->rig, &alarm), "alarm");
	note_mark(flips);
	snprintf(snapshot, sizeof(snapshot), "%s.snapshot", flips->dir);
	must(!store_snapshot_write(flips->rig.reader, snapshot), "snapshot");
	flips->wal = file_load(flips->dir, STORE_DB_NAME "-wal", &flips->wal_bytes);
	flips->wal_db = file_load(flips->dir, STORE_DB_NAME, &flips->wal_db_bytes);
	rig_down(&flips->rig);
	flips->db = file_load(flips->dir, STORE_DB_NAME, &flips->db_bytes);
	classify(flips);
}

/* --- one flip --------------------------------------------------------------------------------- */

static void restore_files(struct flips *flips, const uint8_t *db, size_t db_bytes,
			  const uint8_t *wal, size_t wal_bytes)
{
	rig_remove_folder(flips->dir);
	must(!mkdir(flips->dir, 0700), flips->dir);
	file_store(flips->dir, STORE_DB_NAME, db, db_bytes);
	if (wal)
		file_store(flips->dir, STORE_DB_NAME "-wal", wal, wal_bytes);
}

/* Every key alone, at the head and at the oldest revision: right, or DAMAGED. */
static enum outcome read_all(struct flips *flips, char *why)
{
	struct store *store = flips->rig.store;
	enum outcome outcome = HARMLESS;

	if (store_head(store) < flips->mark.head ||
	    store_compacted(store) != flips->mark.compacted ||
	    store_identity(store).cluster_id != flips->mark.cluster_id ||
	    store_identity(store).term <= flips->mark.term ||
	    store_alarms(store) != flips->mark.alarms) {
		snprintf(why, BOOK_WHY_BYTES, "head, compaction, identity or alarms are wrong");
		return WRONG;
	}
	for (int i = 0; i < 2 * BOOK_KEYS; i++) {
		int64_t revision = i % 2 ? flips->mark.head : flips->mark.compacted;
		const struct book_cell *cell =
			&flips->book->cells[revision - flips->book->first][i / 2];
		char room[BOOK_KEY_BYTES];
		uint8_t value[BOOK_VALUE_BYTES_MAX];
		struct range_op op = {.key = book_key(i / 2, room), .revision = revision};
		struct range_result result = {0};
		enum err e = store_range(flips->rig.reader, &op, &flips->rig.arena, &result);

		if (e == ERR_DAMAGED) {
			outcome = FOUND_LATER;
			continue;
		}
		if (!e && result.kv_count == !!cell->value &&
		    (!cell->value ||
		     bytes_equal(result.kvs[0].value, book_value(cell->value, value))))
			continue;
		snprintf(why, BOOK_WHY_BYTES, "key %d at revision %lld is wrong: %s", i / 2,
			 (long long)revision, err_name(e));
		return WRONG;
	}
	return outcome;
}

/* Writes that meet the damage stop the server; what it answers before that is true. */
static enum outcome write_some(struct flips *flips, char *why)
{
	struct op ops[] = {
		{.kind = OP_ALARM_CLEAR, .in.alarm = ALARM_NOSPACE},
		{.kind = OP_PUT, .in.put = {BYTES_LITERAL("new"), BYTES_LITERAL("1")}},
		{.kind = OP_LEASE_GRANT, .in.lease_grant = {.id = 777, .ttl_seconds = 60}},
		{.kind = OP_COMPACT, .in.compact = {flips->mark.head - 30, true}},
		{.kind = OP_DEFRAGMENT},
		{.kind = OP_ALARM_SET, .in.alarm = ALARM_NOSPACE},
	};
	enum outcome outcome = HARMLESS;

	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
		enum err e = rig_do(&flips->rig, &ops[i]);

		if (e && e != ERR_DAMAGED && e != ERR_STOPPED) {
			snprintf(why, BOOK_WHY_BYTES, "op %zu is answered %s", i, err_name(e));
			return WRONG;
		}
		if (e)
			outcome = FOUND_LATER;
		if (!e && ops[i].kind == OP_COMPACT)
			flips->mark.compacted = flips->mark.head - 30;
	}
	/* A compaction may be in force though its answer got lost. */
	if (outcome != HARMLESS && store_compacted(flips->rig.store) > flips->mark.compacted)
		flips->mark.compacted = store_compacted(flips->rig.store);
	return outcome;
}

static enum outcome try_store(struct flips *flips, char *why)
{
	struct book_mark mark = flips->mark;
	char problem[STORE_PROBLEM_BYTES] = "";
	enum outcome outcome, later = HARMLESS;
	enum err e = rig_up(&flips->rig, problem);

	if (e == ERR_DAMAGED && problem[0])
		return REFUSED;
	if (e) {
		snprintf(why, BOOK_WHY_BYTES, "it is refused as %s: %.300s", err_name(e), problem);
		return WRONG;
	}
	outcome = read_all(flips, why);
	if (outcome != WRONG)
		later = write_some(flips, why);
	rig_down(&flips->rig);
	rig_forget(&flips->rig);
	if (later != HARMLESS)
		outcome = later;
	if (outcome == HARMLESS && !rig_up(&flips->rig, problem)) {
		outcome = read_all(flips, why);
		rig_down(&flips->rig);
		rig_forget(&flips->rig);
	}
	flips->mark = mark;
	return outcome;
}

/* Either all is as it was, or nothing has changed. */
static bool try_repair(struct flips *flips, char *why)
{
	struct check_report report = {.out = NULL}, after = {.out = NULL};
	struct op clear = {.kind = OP_ALARM_CLEAR, .in.alarm = ALARM_NOSPACE};
	struct book_mark mark = flips->mark;
	char snapshot[160], problem[STORE_PROBLEM_BYTES];
	enum err e;
	bool good;

	snprintf(snapshot, sizeof(snapshot), "%s.snapshot", flips->dir);
	e = store_repair(flips->dir, snapshot, &report, problem);
	if (e) {
		flips->left++;
		snprintf(why, BOOK_WHY_BYTES, "repair: %.400s", problem);
		return e == ERR_DAMAGED && store_check(flips->dir, &after, problem) == ERR_DAMAGED;
	}
	flips->repaired++;
	if (store_check(flips->dir, &after, problem) || rig_up(&flips->rig, problem)) {
		snprintf(why, BOOK_WHY_BYTES, "after a repair: %.400s", problem);
		return false;
	}
	good = book_check(flips->book, &mark, &mark, &flips->rig, why) &&
	       !rig_do(&flips->rig, &clear) && rig_put(&flips->rig, "new", "1") == mark.head + 1;
	rig_down(&flips->rig);
	return good;
}

static bool check_finds(struct flips *flips)
{
	struct check_report report = {.out = NULL};
	char problem[STORE_PROBLEM_BYTES];

	return store_check(flips->dir, &report, problem) == ERR_DAMAGED;
}

static void judge(struct flips *flips, enum kind kind, long number, size_t byte, bool is_last)
{
	char why[BOOK_WHY_BYTES] = "";
	bool found = check_finds(flips);
	enum outcome outcome = try_store(flips, why);

	flips->counts[kind][outcome]++;
	if (found && kind < KIND_WAL) {
		restore_files(flips, flips->db, flips->db_bytes, NULL, 0);
		if (!try_repair(flips, why)) {
			flips->unseen++;
			flips->shown += printf("flip %ld, %s, byte %zu: %s\n", number,
					       kind_names[kind], byte, why) > 0;
		}
		*why = 0;
	}
	/* Free pages have no contents, and the end of a WAL may be missing. */
	if (!found && kind != KIND_FREE && !is_last) {
		flips->unseen++;
		if (outcome != WRONG)
			snprintf(why, sizeof(why), "kedge check does not find it");
	}
	if (*why && !(is_last && outcome == WRONG) && flips->shown++ < FAILURES_SHOWN)
		printf("flip %ld, %s, byte %zu: %s\n", number, kind_names[kind], byte, why);
	if (is_last && outcome == WRONG) { /* see docs/storage.md: it looks like a torn commit */
		flips->counts[kind][WRONG]--;
		flips->counts[kind][HARMLESS]++;
	}
}

static void flip_database(struct flips *flips, long number)
{
	enum kind kind = (enum kind)(number % KIND_WAL);
	size_t pages = flips->db_bytes / DB_PAGE_BYTES;
	size_t page = rig_random(&flips->random, pages), byte;
	uint8_t bit = (uint8_t)(1u << rig_random(&flips->random, 8));

	for (size_t tries = 0; flips->kinds[page] != kind && tries < pages; tries++)
		page = (page + 1) % pages;
	byte = page * DB_PAGE_BYTES + rig_random(&flips->random, DB_PAGE_BYTES);
	if (number % 3 == 0) /* where the structure is */
		byte = page * DB_PAGE_BYTES + rig_random(&flips->random, 32);
	flips->db[byte] ^= bit;
	if (flips->only < 0 || flips->only == number) {
		restore_files(flips, flips->db, flips->db_bytes, NULL, 0);
		judge(flips, flips->kinds[page], number, byte, false);
	}
	flips->db[byte] ^= bit;
}

/* Where the last transaction of the WAL begins. */
static size_t last_commit(const struct flips *flips)
{
	size_t frame = 24 + DB_PAGE_BYTES, at = 32, start = 32, before = 32;

	for (; at + frame <= flips->wal_bytes; at += frame) {
		if (memcmp(flips->wal + at + 8, flips->wal + 16, 8) != 0)
			break; /* of an earlier round */
		if (load_be32(flips->wal + at + 4)) {
			before = start;
			start = at + frame;
		}
	}
	return before;
}

static void flip_wal(struct flips *flips, long number)
{
	size_t last = last_commit(flips), byte = rig_random(&flips->random, flips->wal_bytes);
	uint8_t bit = (uint8_t)(1u << rig_random(&flips->random, 8));
	/* The sum of the last frame but that transaction ties it to what was before. */
	bool is_last = byte >= last - DB_PAGE_BYTES - 24;

	flips->wal[byte] ^= bit;
	if (flips->only < 0 || flips->only == number) {
		restore_files(flips, flips->wal_db, flips->wal_db_bytes, flips->wal,
			      flips->wal_bytes);
		judge(flips, KIND_WAL, number, byte, is_last);
	}
	flips->wal[byte] ^= bit;
}

/* --- the program ------------------------------------------------------------------------------ */

static void sound_ones_pass(struct flips *flips)
{
	char why[BOOK_WHY_BYTES] = "";

	restore_files(flips, flips->db, flips->db_bytes, NULL, 0);
	must(!check_finds(flips), "kedge check finds damage in a sound store");
	must(try_store(flips, why) == HARMLESS, why);
	restore_files(flips, flips->wal_db, flips->wal_db_bytes, flips->wal, flips->wal_bytes);
	must(!check_finds(flips), "kedge check finds damage in a sound WAL");
	must(try_store(flips, why) == HARMLESS, why);
}

static bool parse(struct flips *flips, int count, char **args)
{
	static const struct option options[] = {
		{"seed", required_argument, NULL, 's'},
		{"flips", required_argument, NULL, 'f'},
		{"wal-flips", required_argument, NULL, 'w'},
		{"only", required_argument, NULL, 'o'},
		{0},
	};
	int option;

	while ((option = getopt_long(count, args, "", options, NULL)) >= 0) {
		long number = option == '?' ? 0 : strtol(optarg, NULL, 0);

		if (option == 's')
			flips->seed = (uint64_t)number;
		else if (option == 'f')
			flips->flips = number;
		else if (option == 'w')
			flips->wal_flips = number;
		else if (option == 'o')
			flips->only = number;
		else
			return false;
	}
	return optind == count;
}

static int report(const struct flips *flips)
{
	size_t passed = 0, failed = flips->unseen;

	printf("%-20s %10s %12s %10s %6s\n", "flipped in", "no start", "found later", "harmless",
	       "wrong");
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		const size_t *counts = flips->counts[kind];

		printf("%-20s %10zu %12zu %10zu %6zu\n", kind_names[kind], counts[REFUSED],
		       counts[FOUND_LATER], counts[HARMLESS], counts[WRONG]);
		passed += counts[REFUSED] + counts[FOUND_LATER] + counts[HARMLESS];
		failed += counts[WRONG];
	}
	printf("repaired from a snapshot: %zu, left as they were: %zu\n", flips->repaired,
	       flips->left);
	printf("not found by kedge check, or repaired wrongly: %zu\n%zu passed, %zu failed\n",
	       flips->unseen, passed, failed);
	return failed ? 1 : 0;
}

int main(int count, char **args)
{
	struct flips *flips = calloc(1, sizeof(*flips));
	int status;

	must(flips, "out of memory");
	flips->flips = 350;
	flips->wal_flips = 60;
	flips->only = -1;
	if (!parse(flips, count, args)) {
		fprintf(stderr, "flips: see the head of tests/disk/flips.c for its options\n");
		return 2;
	}
	if (!flips->seed)
		flips->seed = rig_seed();
	flips->random.state = flips->seed;
	flips->book = calloc(1, sizeof(*flips->book));
	must(flips->book, "out of memory");
	book_init(flips->book, 1);
	make_store(flips);
	sound_ones_pass(flips);
	for (long i = 0; i < flips->flips; i++)
		flip_database(flips, i);
	for (long i = 0; i < flips->wal_flips; i++)
		flip_wal(flips, flips->flips + i);
	status = report(flips);
	arena_fini(&flips->rig.arena);
	rig_remove_folder(flips->dir);
	strncat(flips->dir, ".snapshot", sizeof(flips->dir) - strlen(flips->dir) - 1);
	unlink(flips->dir);
	free(flips->kinds);
	free(flips->book);
	free(flips->db);
	free(flips->wal);
	free(flips->wal_db);
	free(flips);
	return status;
}
