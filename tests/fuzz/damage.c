/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/damage.h"

#include "shim/base/crc32c.h"
#include "shim/base/limits.h"
#include "shim/store/pages.h"
#include "tests/harness/store_rig.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE_BYTES DB_PAGE_BYTES
#define TRUTHS_MAX 2048

/* --- the base --------------------------------------------------------------------------------- */

static struct damage_base base;
static struct kv truths[TRUTHS_MAX]; /* every version that any revision of the base shows */
static size_t truth_count;
static struct arena truth_arena;
#define REVISIONS_MAX 256
static size_t
	fresh_keys[REVISIONS_MAX]; /* by revision: live keys last written after the compaction */

static void note_truths(struct rig *rig, int64_t revision)
{
	const struct range_op op = {
		.key = bytes_of("", 1), .end = bytes_of("", 1), .revision = revision};
	struct range_result result;

	fuzz_must(!store_range(rig->reader, &op, &truth_arena, &result));
	if (revision)
		fresh_keys[revision] = 0;
	for (size_t i = 0; i < result.kv_count; i++) {
		if (revision)
			fresh_keys[revision] += result.kvs[i].mod_revision > base.compacted;
		if (damage_is_true(&result.kvs[i]))
			continue;
		fuzz_must(truth_count < TRUTHS_MAX);
		truths[truth_count++] = result.kvs[i];
	}
	base.key_count = result.kv_count;
}

static void put(struct rig *rig, unsigned i, size_t value_bytes)
{
	char key[32], value[8192];

	snprintf(key, sizeof(key), "/registry/%u/%u", i % 3, i % 17);
	for (size_t k = 0; k < value_bytes; k++)
		value[k] = (char)('a' + (i + k) % 26);
	value[value_bytes] = 0;
	rig_put(rig, key, value);
	note_truths(rig, 0);
}

/* A put on a lease and two writes in one revision. */
static void transact(struct rig *rig, unsigned i)
{
	char key[32];
	struct request requests[2] = {
		{.kind = REQUEST_PUT, .as.put = {.key = BYTES_LITERAL("leased"), .lease = 7}},
		{.kind = REQUEST_DELETE},
	};
	struct op op = {.kind = OP_TXN,
			.arena = &rig->arena,
			.in.txn = {.success = requests, .success_count = 2}};

	snprintf(key, sizeof(key), "/registry/%u/%u", i % 3, i % 17);
	requests[1].as.delete_range.key = bytes_of_string(key);
	fuzz_must(!rig_do(rig, &op));
	note_truths(rig, 0);
}

static struct bytes read_part(const struct rig *rig, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
	return fuzz_file_read(path);
}

static void fill(struct rig *rig)
{
	static const size_t sizes[] = {0, 1, 30, 500, 2100, 7000};

	fuzz_must(!rig_grant(rig, 7, 100));
	fuzz_must(!rig_grant(rig, 8, 200));
	for (unsigned i = 0; i < 60; i++) {
		put(rig, i, sizes[i % 6]);
		if (i % 7 == 3)
			transact(rig, i);
		if (i % 11 == 5)
			rig_delete(rig, "/registry/1/", "/registry/1/4");
		if (i == 20)
			fuzz_must(!rig_compact(rig, 15, true));
		if (i == 40)
			rig_reopen(rig); /* folds the WAL in */
	}
	note_truths(rig, 0);
}

const struct damage_base *damage_base(void)
{
	static struct rig rig; /* big, and used once */
	char path[256];

	if (base.db.size)
		return &base;
	fuzz_quiet();
	arena_init(&truth_arena, (size_t)1 << 28);
	rig_open(&rig);
	fill(&rig);
	base.head = store_head(rig.store);
	base.compacted = store_compacted(rig.store);
	fuzz_must(base.head < REVISIONS_MAX && base.compacted > 1);
	for (int64_t revision = base.compacted; revision <= base.head; revision++)
		note_truths(&rig, revision);
	snprintf(path, sizeof(path), "%s/snapshot", rig.dir);
	fuzz_must(!store_snapshot_write(rig.reader, path));
	base.snapshot = fuzz_file_read(path);
	base.db = read_part(&rig, "kedge.db");
	base.wal = read_part(&rig, "kedge.db-wal");
	rig_close(&rig);
	fuzz_must(base.wal.size > 10 * (size_t)PAGE_BYTES);
	return &base;
}

bool damage_is_true(const struct kv *kv)
{
	for (size_t i = 0; i < truth_count; i++)
		if (rig_kv_equal(&truths[i], kv))
			return true;
	return false;
}

/* --- damage to bytes -------------------------------------------------------------------------- */

void damage_copy(struct bytes source, struct damage_file *ret_file)
{
	ret_file->data = malloc(source.size + DAMAGE_GROWTH);
	fuzz_must(ret_file->data);
	memcpy(ret_file->data, source.data, source.size);
	ret_file->size = source.size;
}

/* Page and place, so that small changes of the input stay near. */
static size_t place_take(struct fuzz_input *input, size_t size)
{
	size_t page = fuzz_byte(input);
	size_t at = page * PAGE_BYTES + fuzz_number(input, 2) % PAGE_BYTES;

	return size ? at % size : 0;
}

static void damage_page(struct fuzz_input *input, struct damage_file *file)
{
	size_t pages = file->size / PAGE_BYTES;
	size_t from, to;
	uint8_t saved[PAGE_BYTES];

	if (!pages)
		return;
	from = fuzz_byte(input) % pages * PAGE_BYTES;
	to = fuzz_byte(input) % pages * PAGE_BYTES;
	memcpy(saved, file->data + to, PAGE_BYTES);
	switch (fuzz_below(input, 4)) {
	case 0:
		memset(file->data + to, 0, PAGE_BYTES);
		break;
	case 1:
		memset(file->data + to, 0xff, PAGE_BYTES);
		break;
	case 2:
		memmove(file->data + to, file->data + from, PAGE_BYTES);
		break;
	default:
		memmove(file->data + to, file->data + from, PAGE_BYTES);
		memcpy(file->data + from, saved, PAGE_BYTES);
		break;
	}
}

void damage_bytes(struct fuzz_input *input, struct damage_file *file)
{
	unsigned choice = fuzz_below(input, 8);
	size_t at = place_take(input, file->size);
	struct bytes bytes;

	if (!file->size)
		return;
	if (choice < 2) {
		file->data[at] ^= (uint8_t)(1u << fuzz_below(input, 8));
	} else if (choice < 4) {
		bytes = fuzz_bytes(input, 16);
		bytes.size = bytes.size < file->size - at ? bytes.size : file->size - at;
		if (bytes.size)
			memcpy(file->data + at, bytes.data, bytes.size);
	} else if (choice < 6) {
		damage_page(input, file);
	} else if (choice == 6) {
		file->size = at;
	} else {
		bytes = fuzz_bytes(input, 64);
		if (bytes.size)
			memcpy(file->data + file->size, bytes.data, bytes.size);
		file->size += bytes.size;
	}
}

void damage_mend_pages(struct damage_file *db)
{
	for (size_t at = 0; at + PAGE_BYTES <= db->size; at += PAGE_BYTES) {
		uint32_t number = (uint32_t)(at / PAGE_BYTES) + 1;
		const size_t summed = PAGE_BYTES - PAGE_SUM_BYTES;
		uint8_t *page = db->data + at;
		uint32_t sum;

		/* Little endian, as the machines that run this. */
		sum = crc32c(crc32c(0, bytes_of(&number, 4)), bytes_of(page, summed));
		memcpy(page + summed, &sum, PAGE_SUM_BYTES);
	}
}

/* --- the WAL's checksums: https://www.sqlite.org/fileformat2.html, section 4.2 ---------------- */

#define WAL_HEADER_BYTES 32
#define FRAME_HEADER_BYTES 24

static uint32_t load32(const uint8_t *from, bool is_big)
{
	uint32_t number;

	memcpy(&number, from, 4);
	return is_big ? __builtin_bswap32(number) : number; /* written for little endian machines */
}

static void wal_sum(const uint8_t *data, size_t size, bool is_big, uint32_t sum[2])
{
	for (size_t i = 0; i + 8 <= size; i += 8) {
		sum[0] += load32(data + i, is_big) + sum[1];
		sum[1] += load32(data + i + 4, is_big) + sum[0];
	}
}

static void wal_sum_store(uint8_t *to, const uint32_t sum[2])
{
	uint32_t big[2] = {__builtin_bswap32(sum[0]), __builtin_bswap32(sum[1])};

	memcpy(to, big, 8);
}

void damage_mend_wal(struct damage_file *wal)
{
	const size_t frame_bytes = FRAME_HEADER_BYTES + PAGE_BYTES;
	uint32_t sum[2] = {0, 0};
	bool is_big;

	if (wal->size < WAL_HEADER_BYTES)
		return;
	is_big = wal->data[3] & 1;
	wal_sum(wal->data, WAL_HEADER_BYTES - 8, is_big, sum);
	wal_sum_store(wal->data + WAL_HEADER_BYTES - 8, sum);
	for (size_t at = WAL_HEADER_BYTES; at + frame_bytes <= wal->size; at += frame_bytes) {
		uint8_t *frame = wal->data + at;

		memcpy(frame + 8, wal->data + 16, 8); /* the salts */
		wal_sum(frame, 8, is_big, sum);
		wal_sum(frame + FRAME_HEADER_BYTES, PAGE_BYTES, is_big, sum);
		wal_sum_store(frame + 16, sum);
	}
}

/* --- damage through SQLite -------------------------------------------------------------------- */

void damage_sql(struct fuzz_input *input, const char *path)
{
	static const char *const columns[] = {"rev",   "key", "create_rev", "version", "lease",
					      "flags", "crc", "meta",	    "value"};
	char sql[256];
	unsigned choice = fuzz_below(input, 8);
	long long number = (long long)fuzz_number(input, 1 + fuzz_below(input, 8));
	unsigned row = fuzz_byte(input);
	sqlite3 *db = NULL;

	switch (choice) {
	case 0:
		snprintf(sql, sizeof(sql),
			 "DELETE FROM log WHERE rev = (SELECT rev FROM log LIMIT 1 "
			 "OFFSET %u)",
			 row % 90);
		break;
	case 1:
		snprintf(sql, sizeof(sql), "UPDATE leases SET ttl=%lld WHERE id=7", number);
		break;
	case 2:
		snprintf(sql, sizeof(sql), "INSERT OR REPLACE INTO leases VALUES(%lld,%u)", number,
			 row);
		break;
	case 3:
		snprintf(sql, sizeof(sql), "UPDATE settings SET value=%lld WHERE rowid=%u", number,
			 row % 8);
		snprintf(sql, sizeof(sql),
			 "UPDATE settings SET value=%lld WHERE name=(SELECT name FROM settings "
			 "LIMIT 1 OFFSET %u)",
			 number, row % 8);
		break;
	case 4:
		snprintf(sql, sizeof(sql), "INSERT OR REPLACE INTO alarms VALUES(%lld)", number);
		break;
	case 5:
		snprintf(sql, sizeof(sql),
			 "UPDATE log SET %s=x'%02x%02x' WHERE rev=(SELECT rev FROM "
			 "log LIMIT 1 OFFSET %u)",
			 columns[(unsigned)number % 9], row, choice, row % 90);
		break;
	default:
		snprintf(sql, sizeof(sql),
			 "UPDATE log SET %s=%s%lld WHERE rev=(SELECT rev FROM log LIMIT 1 OFFSET "
			 "%u)",
			 columns[row % 9], choice == 6 ? "" : "-", number, row % 90);
		break;
	}
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, PAGES_VFS) == SQLITE_OK)
		sqlite3_exec(db, sql, NULL, NULL, NULL);
	sqlite3_close(db);
}

/* --- judgement -------------------------------------------------------------------------------- */

/* What was written after the compaction is all there or the store does not open: every revision up
 * to its head is whole.  A WAL that is cut short is a head that is lower. */
static void judge_whole(struct store *store, const struct range_result *result)
{
	int64_t compacted = store_compacted(store);
	size_t fresh = 0;

	if (compacted != base.compacted || result->revision <= compacted ||
	    result->revision > base.head)
		return;
	for (size_t i = 0; i < result->kv_count; i++)
		fresh += result->kvs[i].mod_revision > compacted;
	fuzz_must(fresh == fresh_keys[result->revision]);
}

static int64_t judge_range(struct store *store, struct store_reader *reader, int64_t revision)
{
	const struct range_op op = {
		.key = bytes_of("", 1), .end = bytes_of("", 1), .revision = revision};
	struct range_result result;
	struct arena arena;
	int64_t count = -1;

	arena_init(&arena, (size_t)1 << 26);
	if (!store_range(reader, &op, &arena, &result)) {
		for (size_t i = 0; i < result.kv_count; i++)
			fuzz_must(damage_is_true(&result.kvs[i]));
		fuzz_must(result.count == (int64_t)result.kv_count);
		if (!revision)
			judge_whole(store, &result);
		count = result.count;
	}
	arena_fini(&arena);
	return count;
}

static void judge_history(struct store *store, struct store_reader *reader)
{
	const struct history_op op = {
		.key = bytes_of("", 1),
		.end = bytes_of("", 1),
		.from = store_compacted(store) < 1 ? 1 : store_compacted(store),
		.to = store_head(store),
		.rows_max = 10000,
		.bytes_max = (size_t)1 << 26,
	};
	struct event_batch *batches[256];
	size_t count = 0;
	int64_t next;

	if (op.from > op.to || store_history(reader, &op, batches, 256, &count, &next))
		return;
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < event_batch_count(batches[i]); k++) {
			const struct event *event = event_batch_at(batches[i], k);
			struct kv prev;
			bool found;

			if (event->type == EVENT_PUT)
				fuzz_must(damage_is_true(&event->kv));
			if (!event_prev(batches[i], k, reader, &prev, &found) && found)
				fuzz_must(damage_is_true(&prev));
		}
		event_batch_unref(batches[i]);
	}
}

int64_t damage_judge(struct store *store)
{
	struct store_reader *reader = NULL;
	struct store_hash hash;
	int64_t head = store_head(store), low = store_compacted(store), count;

	if (store_reader_new(store, &reader))
		return -1;
	count = judge_range(store, reader, 0);
	low = low < 1 ? 1 : low;
	for (int64_t revision = low; revision <= head && revision < low + 200; revision += 5)
		judge_range(store, reader, revision);
	judge_history(store, reader);
	(void)store_hash_kv(reader, 0, &hash);
	store_reader_free(reader);
	return count;
}
