/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_sync.c - the face of the store for sync against a naive model, which is a list of all
 * rows ever written: random merges of several revisions with errors in them, stamped writes, state
 * records, compactions, jumps, holds and restarts; log, keys and records must be the model's.
 *
 * The store has no thread here, so a seed repeats everything. */
#include "shim/base/limits.h"
#include "shim/store/internal.h"
#include "shim/store/sync.h"
#include "tests/harness/store_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PROGRAMS 12
#define STEPS 600
#define TEXT_BYTES 24
#define RECORDS 20

struct text {
	size_t size;
	uint8_t data[TEXT_BYTES];
};

struct model_row {
	int64_t revision;
	int64_t sub;
	struct text key;
	struct text value;
	struct text meta;
	int64_t create_revision;
	int64_t version;
	bool tombstone;
	bool invisible;
	bool merged;
};

struct record {
	bool present;
	struct text value;
};

struct model {
	struct model_row *rows;
	size_t count;
	size_t capacity;
	struct record records[RECORDS];
	int64_t head;
	int64_t next_sub;
};

struct world {
	struct rig rig; /* for folder and clock; its store is not used */
	struct store *store;
	struct store_reader *reader;
	struct arena arena;
	struct rig_random random;
	struct model model;
	struct model before; /* the op in progress: what an undo goes back to */
	int64_t compacted;
	int64_t hold;
	int64_t swept;	  /* when last seen */
	bool hook_fails;  /* at its next call */
	size_t published; /* rows of the model that on_commit has told of */
	int64_t published_head;
	struct store_keys *scan; /* open over several steps */
	int64_t scan_revision;
	size_t scan_rows; /* of the model when it was opened */
};

static uint64_t pick(struct world *world, uint64_t below)
{
	return rig_random(&world->random, below);
}

static bool chance(struct world *world, unsigned percent)
{
	return pick(world, 100) < percent;
}

static struct bytes bytes_of_text(const struct text *text)
{
	return bytes_of(text->data, text->size);
}

static bool text_is(const struct text *text, struct bytes bytes)
{
	return bytes_equal(bytes_of_text(text), bytes);
}

static struct text text_of(struct bytes bytes)
{
	struct text text = {.size = bytes.size};

	assert_true(bytes.size <= TEXT_BYTES);
	if (bytes.size)
		memcpy(text.data, bytes.data, bytes.size);
	return text;
}

static struct text random_text(struct world *world, size_t size_max)
{
	struct text text = {.size = pick(world, size_max + 1)};

	for (size_t i = 0; i < text.size; i++)
		text.data[i] = (uint8_t)('0' + pick(world, 10));
	return text;
}

/* In scope of the hook when it begins with s. */
static struct text random_key(struct world *world)
{
	static const uint8_t letters[] = {'a', 's', 's', 0x00, 0xff};
	struct text key = {.size = 1 + pick(world, 2)};

	for (size_t i = 0; i < key.size; i++)
		key.data[i] = letters[pick(world, sizeof(letters))];
	return key;
}

static struct text random_meta(struct world *world)
{
	return chance(world, 30) ? (struct text){0} : random_text(world, 9);
}

/* --- the model ------------------------------------------------------------------------------- */

static const struct model_row *model_find(const struct model_row *rows, size_t count,
					  struct bytes key, int64_t revision, bool visible)
{
	for (size_t i = count; i > 0; i--)
		if (rows[i - 1].revision <= revision && text_is(&rows[i - 1].key, key) &&
		    !(visible && rows[i - 1].invisible))
			return &rows[i - 1];
	return NULL;
}

static const struct model_row *model_visible(const struct model *model, struct bytes key)
{
	return model_find(model->rows, model->count, key, INT64_MAX, true);
}

static void model_add(struct model *model, struct model_row row)
{
	const struct model_row *old = model_visible(model, bytes_of_text(&row.key));
	bool live = old && !old->tombstone;

	row.revision = model->head + 1;
	row.sub = model->next_sub++;
	if (row.tombstone || row.invisible)
		row.value.size = 0;
	if (!row.tombstone && row.invisible) {
		row.create_revision = live ? old->create_revision : 0;
		row.version = live ? old->version : 0;
	} else if (!row.tombstone) {
		row.create_revision = live ? old->create_revision : row.revision;
		row.version = live ? old->version + 1 : 1;
	}
	if (model->count == model->capacity) {
		model->capacity = model->capacity ? 2 * model->capacity : 64;
		model->rows = reallocarray(model->rows, model->capacity, sizeof(row));
		assert_non_null(model->rows);
	}
	model->rows[model->count++] = row;
}

static void model_end_revision(struct model *model)
{
	model->head += model->next_sub > 0;
	model->next_sub = 0;
}

static void model_undo(struct world *world)
{
	struct model *model = &world->model;
	struct model_row *rows = model->rows;
	size_t capacity = model->capacity;

	*model = world->before;
	model->rows = rows; /* it may have moved; the first ones are as they were */
	model->capacity = capacity;
}

/* --- what runs on the writer ----------------------------------------------------------------- */

static struct bytes record_name(size_t index, char room[8])
{
	snprintf(room, 8, "r%03zu", index);
	return bytes_of_string(room);
}

static void change_record(struct world *world, struct apply *a)
{
	size_t index = pick(world, RECORDS);
	struct record *record = &world->model.records[index];
	struct bytes name, value;
	char room[8];
	bool found;

	name = record_name(index, room);
	assert_int_equal(apply_get_state(a, name, &found, &value), ERR_OK);
	assert_int_equal(found, record->present);
	if (found)
		assert_true(text_is(&record->value, value));
	record->present = chance(world, 60);
	record->value = random_text(world, 20);
	if (record->present)
		assert_int_equal(apply_set_state(a, name, bytes_of_text(&record->value)), ERR_OK);
	else
		assert_int_equal(apply_delete_state(a, name), ERR_OK);
}

static void delete_records(struct world *world, struct apply *a)
{
	size_t from = pick(world, RECORDS), end = pick(world, RECORDS);
	int64_t limit = (int64_t)pick(world, 5), expected = 0, deleted = -1;
	char from_room[8], end_room[8];

	for (size_t i = from; i < end && expected < limit; i++) {
		expected += world->model.records[i].present;
		world->model.records[i].present = false;
	}
	assert_int_equal(apply_delete_states(a, record_name(from, from_room),
					     record_name(end, end_room), limit, &deleted),
			 ERR_OK);
	assert_int_equal(deleted, expected);
}

static void assert_known(const struct apply_row *row, const struct model_row *rows, size_t count,
			 struct bytes key, int64_t revision, int64_t swept)
{
	const struct model_row *newest = model_find(rows, count, key, revision, false);
	const struct model_row *visible = model_find(rows, count, key, revision, true);
	bool live = visible && !visible->tombstone;

	assert_int_equal(row->live, live);
	if (!newest || (!live && !newest->meta.size && newest->revision <= swept)) {
		assert_int_equal(row->meta.size, 0); /* what nobody needs may be gone */
		return;
	}
	assert_true(row->found);
	assert_true(text_is(&newest->meta, row->meta));
	assert_int_equal(row->newest_revision, newest->revision);
	assert_int_equal(row->merged, newest->merged);
	if (visible && (live || visible->revision > swept))
		assert_int_equal(row->visible_revision, visible->revision);
	else if (row->visible_revision)
		assert_int_equal(row->visible_revision, visible->revision);
	if (!live)
		return;
	assert_true(bytes_equal(row->kv.key, key));
	assert_true(text_is(&visible->value, row->kv.value));
	assert_int_equal(row->kv.mod_revision, visible->revision);
	assert_int_equal(row->kv.create_revision, visible->create_revision);
	assert_int_equal(row->kv.version, visible->version);
}

static void merge_one(struct world *world, struct apply *a)
{
	struct model_row row = {.key = random_key(world),
				.value = random_text(world, 12),
				.meta = random_meta(world),
				.tombstone = chance(world, 30),
				.invisible = chance(world, 30),
				.merged = true};
	struct kv kv = {.key = bytes_of_text(&row.key), .value = bytes_of_text(&row.value)};
	struct bytes meta = bytes_of_text(&row.meta);
	struct apply_row known;

	assert_int_equal(apply_get(a, kv.key, &known), ERR_OK);
	assert_known(&known, world->model.rows, world->model.count, kv.key, INT64_MAX,
		     store_swept(world->store));
	assert_int_equal(apply_revision(a), world->model.head + 1);
	model_add(&world->model, row);
	if (row.tombstone)
		assert_int_equal(apply_delete(a, kv.key, meta, !row.invisible), ERR_OK);
	else
		assert_int_equal(apply_put(a, &kv, meta, !row.invisible), ERR_OK);
}

static enum err merge(struct apply *a, void *context)
{
	struct world *world = context;
	uint64_t steps = pick(world, 8);

	for (uint64_t i = 0; i < steps; i++) {
		switch (pick(world, 6)) {
		case 0:
			assert_int_equal(apply_next_revision(a), ERR_OK);
			model_end_revision(&world->model);
			break;
		case 1:
			change_record(world, a);
			break;
		case 2:
			delete_records(world, a);
			break;
		default:
			merge_one(world, a);
		}
	}
	if (chance(world, 25))
		return ERR_MALFORMED;
	model_end_revision(&world->model);
	return ERR_OK;
}

static bool in_scope(void *context, struct bytes key)
{
	(void)context;
	return key.data[0] == 's';
}

static enum err stamp(void *context, struct apply *a, const struct stamp_row *row,
		      struct bytes *ret_meta)
{
	static struct text meta;
	struct world *world = context;
	const struct model *model = &world->model;
	const struct model_row *newest =
		model_find(model->rows, model->count, row->key, INT64_MAX, false);
	const struct model_row *old = model_visible(model, row->key);
	struct model_row added = {.key = text_of(row->key),
				  .value = text_of(row->value),
				  .tombstone = row->tombstone};

	assert_int_equal(row->revision, model->head + 1);
	assert_int_equal(row->old_present, old && !old->tombstone);
	if (row->old_present)
		assert_true(text_is(&old->value, row->old_value));
	if (!newest || (!newest->meta.size && !row->old_present))
		assert_int_equal(row->old_meta.size, 0);
	else
		assert_true(text_is(&newest->meta, row->old_meta));
	if (chance(world, 20))
		change_record(world, a);
	if (world->hook_fails)
		return ERR_TIMEOUT;
	meta = added.meta = random_meta(world);
	*ret_meta = bytes_of_text(&meta);
	model_add(&world->model, added);
	return ERR_OK;
}

/* Each commit tells of each revision once, in order, with the visible rows of it. */
static void on_commit(void *context, const struct store_commit *commit)
{
	struct world *world = context;
	const struct model *model = &world->model;

	store_commit_publish(commit);
	for (size_t b = 0; b < commit->batch_count; b++) {
		int64_t revision = event_batch_revision(commit->batches[b]);
		size_t visible = 0;

		assert_true(revision > world->published_head);
		world->published_head = revision;
		for (; world->published < model->count &&
		       model->rows[world->published].revision <= revision;
		     world->published++) {
			assert_int_equal(model->rows[world->published].revision, revision);
			visible += !model->rows[world->published].invisible;
		}
		assert_int_equal(event_batch_count(commit->batches[b]), visible);
	}
	assert_int_equal(world->published_head, commit->head_revision);
}

/* --- ops ------------------------------------------------------------------------------------- */

static void on_done(struct op *op)
{
	(void)op;
}

static enum err run(struct world *world, struct op *op)
{
	op->on_done = on_done;
	op->arena = &world->arena;
	assert_int_equal(store_submit(world->store, op), ERR_OK);
	assert_int_equal(store_turn(world->store), ERR_OK);
	return op->err;
}

static void step_merge(struct world *world)
{
	struct op op = {.kind = OP_APPLY, .in.apply = {merge, world}};

	world->before = world->model;
	if (run(world, &op))
		model_undo(world);
}

static struct request write_request(struct world *world, const struct text *key,
				    const struct text *value)
{
	struct request request = {.kind = chance(world, 30) ? REQUEST_DELETE : REQUEST_PUT};

	if (request.kind == REQUEST_PUT)
		request.as.put =
			(struct put_op){.key = bytes_of_text(key), .value = bytes_of_text(value)};
	else
		request.as.delete_range = (struct delete_op){.key = bytes_of_text(key)};
	return request;
}

/* A write of a client, in a transaction; the hook tells the model of it. */
static void step_write(struct world *world)
{
	struct text keys[2] = {random_key(world), random_key(world)};
	struct text value = random_text(world, 12);
	struct request requests[2];
	struct op op = {.kind = OP_TXN, .in.txn = {.success = requests, .success_count = 2}};
	enum err e;

	keys[0].data[0] = keys[1].data[0] = 's';
	for (size_t i = 0; i < 2; i++)
		requests[i] = write_request(world, &keys[i], &value);
	if (text_is(&keys[0], bytes_of_text(&keys[1])))
		op.in.txn.success_count = 1;
	world->hook_fails = chance(world, 15);
	world->before = world->model;
	e = run(world, &op);
	world->hook_fails = false;
	if (e) {
		assert_int_equal(e, ERR_TIMEOUT);
		model_undo(world);
	} else {
		model_end_revision(&world->model);
	}
}

/* A write out of the hook's scope. */
static void step_write_outside(struct world *world)
{
	struct text key = random_key(world), value = random_text(world, 12);
	struct request request = write_request(world, &key, &value);
	struct op op = {.kind = OP_TXN, .in.txn = {.success = &request, .success_count = 1}};
	bool tombstone = request.kind == REQUEST_DELETE;
	const struct model_row *old;

	key.data[0] = 'a';
	old = model_visible(&world->model, bytes_of_text(&key));
	if (!tombstone || (old && !old->tombstone))
		model_add(&world->model,
			  (struct model_row){.key = key, .value = value, .tombstone = tombstone});
	assert_int_equal(run(world, &op), ERR_OK);
	model_end_revision(&world->model);
}

static void step_compact(struct world *world)
{
	int64_t head = world->model.head;
	struct op op = {.kind = OP_COMPACT,
			.in.compact = {.revision = head - (int64_t)pick(world, 12)}};
	enum err e = run(world, &op);

	assert_int_equal(e, op.in.compact.revision <= world->compacted ? ERR_COMPACTED : ERR_OK);
	if (!e)
		world->compacted = op.in.compact.revision;
}

static void step_jump(struct world *world)
{
	int64_t head = world->model.head;
	struct op op = {.kind = OP_JUMP, .in.jump.revision = head + (int64_t)pick(world, 30) - 3};
	enum err e;

	if (chance(world, 5))
		op.in.jump.revision = JUMP_REVISION_MAX + 1;
	e = run(world, &op);
	assert_int_equal(e, op.in.jump.revision <= head		      ? ERR_COMPACTED
			    : op.in.jump.revision > JUMP_REVISION_MAX ? ERR_FUTURE_REVISION
								      : ERR_OK);
	if (!e)
		world->compacted = world->model.head = op.in.jump.revision;
}

static void step_hold(struct world *world)
{
	world->hold = chance(world, 40) ? INT64_MAX : world->model.head - (int64_t)pick(world, 40);
	store_log_hold(world->store, world->hold);
}

/* Lets the sweep look at holds and pins again, and do all it may. */
static void step_sweep(struct world *world)
{
	int64_t free = world->compacted < world->hold ? world->compacted : world->hold;

	if (world->scan && world->scan_revision < free)
		free = world->scan_revision;
	if (world->swept > free)
		free = world->swept;
	atomic_fetch_add(&world->rig.now_ns, NS_PER_SECOND);
	assert_int_equal(store_turn(world->store), ERR_OK);
	assert_int_equal(store_swept(world->store), free > 0 ? free : 0);
}

/* --- checks ---------------------------------------------------------------------------------- */

struct log_check {
	const struct model *model;
	size_t next;
	size_t rows;
	size_t bytes;
	int64_t revision;   /* of the last row */
	size_t rows_before; /* ... and those before its revision */
	size_t bytes_before;
	bool no_values;
};

static enum err check_log_row(void *context, const struct log_row *row)
{
	struct log_check *check = context;
	const struct model_row *expected;

	assert_true(check->next < check->model->count);
	expected = &check->model->rows[check->next++];
	assert_int_equal(row->revision, expected->revision);
	assert_int_equal(row->sub, expected->sub);
	assert_true(text_is(&expected->key, row->key));
	if (check->no_values) {
		assert_int_equal(row->value.size, expected->value.size);
		assert_null(row->value.data);
	} else {
		assert_true(text_is(&expected->value, row->value));
	}
	assert_true(text_is(&expected->meta, row->meta));
	assert_int_equal(row->create_revision, expected->create_revision);
	assert_int_equal(row->version, expected->version);
	assert_int_equal(row->tombstone, expected->tombstone);
	assert_int_equal(row->invisible, expected->invisible);
	assert_int_equal(row->merged, expected->merged);
	if (row->revision != check->revision) {
		check->revision = row->revision;
		check->rows_before = check->rows;
		check->bytes_before = check->bytes;
	}
	check->rows++;
	check->bytes += row->key.size + row->value.size + row->meta.size;
	return ERR_OK;
}

static void step_log(struct world *world)
{
	const struct model *model = &world->model;
	int64_t swept = store_swept(world->store);
	struct log_op op = {.from = swept + (int64_t)pick(world, 20) - 2,
			    .to = model->head + (int64_t)pick(world, 5) - 3,
			    .rows_max = 1 + pick(world, 30),
			    .bytes_max = 1 + pick(world, 500),
			    .no_values = chance(world, 50)};
	struct log_check check = {.model = model, .no_values = op.no_values};
	int64_t to = 0;

	if (op.from < swept) {
		assert_int_equal(store_log(world->reader, &op, check_log_row, &check, &to),
				 op.from < 0 && !swept ? ERR_OK : ERR_COMPACTED);
		return;
	}
	while (check.next < model->count && model->rows[check.next].revision <= op.from)
		check.next++;
	while (op.from < op.to && op.from < model->head) {
		check.rows = check.bytes = check.rows_before = check.bytes_before = 0;
		check.revision = 0;
		assert_int_equal(store_log(world->reader, &op, check_log_row, &check, &to), ERR_OK);
		assert_true(to > op.from && to <= op.to && to <= model->head);
		assert_true(check.rows_before < op.rows_max && check.bytes_before < op.bytes_max);
		assert_true(check.next == 0 || model->rows[check.next - 1].revision <= to);
		op.from = to;
	}
	if (check.next < model->count && op.from >= op.to)
		assert_true(model->rows[check.next].revision > op.from);
}

static void step_key_at(struct world *world)
{
	const struct model *model = &world->model;
	int64_t swept = store_swept(world->store);
	int64_t span = model->head - swept;
	int64_t revision = swept + (int64_t)pick(world, (uint64_t)span + 4) - 2;
	struct text key = random_key(world);
	struct apply_row row;
	enum err e =
		store_key_at(world->reader, bytes_of_text(&key), revision, &world->arena, &row);

	assert_int_equal(e, revision > model->head		   ? ERR_FUTURE_REVISION
			    : revision < swept && world->swept > 0 ? ERR_COMPACTED
			    : revision < swept			   ? e
								   : ERR_OK);
	if (!e)
		assert_known(&row, model->rows, model->count, bytes_of_text(&key), revision, swept);
}

struct list_check {
	struct world *world;
	size_t next;
};

static bool check_record(void *context, struct bytes name, struct bytes value)
{
	struct list_check *check = context;
	const struct record *records = check->world->model.records;
	char room[8];

	while (check->next < RECORDS && !records[check->next].present)
		check->next++;
	assert_true(check->next < RECORDS);
	assert_true(bytes_equal(name, record_name(check->next, room)));
	assert_true(text_is(&records[check->next].value, value));
	check->next++;
	return true;
}

static void step_records(struct world *world)
{
	struct list_check check = {.world = world};

	assert_int_equal(store_state_scan(world->reader, bytes_of(NULL, 0), bytes_of(NULL, 0),
					  check_record, &check),
			 ERR_OK);
	for (; check.next < RECORDS; check.next++)
		assert_false(world->model.records[check.next].present);
}

/* Clients see the visible versions and nothing else. */
static void step_read(struct world *world)
{
	struct text key = random_key(world);
	struct range_op op = {.key = bytes_of_text(&key)};
	const struct model_row *visible = model_visible(&world->model, op.key);
	struct range_result result;

	assert_int_equal(store_range(world->reader, &op, &world->arena, &result), ERR_OK);
	assert_int_equal(result.revision, world->model.head);
	assert_int_equal(result.kv_count, visible && !visible->tombstone);
	if (!result.kv_count)
		return;
	assert_true(text_is(&visible->value, result.kvs[0].value));
	assert_int_equal(result.kvs[0].mod_revision, visible->revision);
	assert_int_equal(result.kvs[0].version, visible->version);
}

/* --- all keys -------------------------------------------------------------------------------- */

static int key_order(const void *left, const void *right)
{
	const struct model_row *a = *(const struct model_row *const *)left;
	const struct model_row *b = *(const struct model_row *const *)right;

	return bytes_compare(bytes_of_text(&a->key), bytes_of_text(&b->key));
}

/* The newest row of each key that a scan must show, in order of keys. */
static size_t expected_keys(const struct world *world, const struct model_row **found)
{
	const struct model_row *rows = world->model.rows;
	size_t count = 0;

	for (size_t i = 0; i < world->scan_rows; i++) {
		struct bytes key = bytes_of_text(&rows[i].key);
		const struct model_row *visible =
			model_find(rows, world->scan_rows, key, INT64_MAX, true);

		if (model_find(rows, world->scan_rows, key, INT64_MAX, false) == &rows[i] &&
		    (rows[i].meta.size || (visible && !visible->tombstone)))
			found[count++] = &rows[i];
	}
	qsort(found, count, sizeof(*found), key_order);
	return count;
}

static void assert_keys_row(const struct world *world, const struct keys_row *row,
			    const struct model_row *newest, bool with_value)
{
	const struct model_row *visible =
		model_find(world->model.rows, world->scan_rows, row->key, INT64_MAX, true);
	bool live = visible && !visible->tombstone;

	assert_true(text_is(&newest->key, row->key));
	assert_true(text_is(&newest->meta, row->meta));
	assert_int_equal(row->newest_revision, newest->revision);
	assert_int_equal(row->merged, newest->merged);
	assert_int_equal(row->live, live);
	if (!live)
		return;
	assert_int_equal(row->visible_revision, visible->revision);
	assert_int_equal(row->value.size, visible->value.size);
	if (with_value)
		assert_true(text_is(&visible->value, row->value));
}

static void open_scan(struct world *world)
{
	struct keys_op op = {
		.key = BYTES_LITERAL("\0"), .end = BYTES_LITERAL("\0"), .values = true};

	assert_int_equal(store_keys_open(world->reader, &op, &world->scan, &world->scan_revision),
			 ERR_OK);
	assert_int_equal(world->scan_revision, world->model.head);
	world->scan_rows = world->model.count;
}

static void close_scan(struct world *world)
{
	const struct model_row **expected = calloc(world->scan_rows + 1, sizeof(*expected));
	size_t count = expected_keys(world, expected);
	struct keys_row row;
	bool found;

	for (size_t i = 0; i < count; i++) {
		assert_int_equal(store_keys_next(world->scan, &row, &found), ERR_OK);
		assert_true(found);
		assert_keys_row(world, &row, expected[i], true);
		assert_int_equal(
			store_keys_get(world->scan, bytes_of_text(&expected[i]->key), &row, &found),
			ERR_OK);
		assert_true(found);
		assert_keys_row(world, &row, expected[i], true);
	}
	assert_int_equal(store_keys_next(world->scan, &row, &found), ERR_OK);
	assert_false(found);
	store_keys_close(world->scan);
	world->scan = NULL;
	free(expected);
}

/* --- life ------------------------------------------------------------------------------------ */

static void up(struct world *world)
{
	char problem[STORE_PROBLEM_BYTES];

	if (store_open(&world->rig.config, &world->store, problem))
		fail_msg("%s", problem);
	assert_int_equal(store_reader_new(world->store, &world->reader), ERR_OK);
	store_log_hold(world->store, world->hold);
}

static void down(struct world *world)
{
	store_stop(world->store);
	store_reader_free(world->reader);
	store_close(world->store);
}

static void step_reopen(struct world *world)
{
	int64_t swept;

	if (world->scan)
		close_scan(world);
	swept = store_swept(world->store);
	down(world);
	up(world);
	assert_true(store_swept(world->store) <=
		    (swept > world->compacted ? swept : world->compacted));
	world->swept = store_swept(world->store);
}

static void step(struct world *world)
{
	static void (*const steps[])(struct world *) = {
		step_merge,	    step_merge,	  step_merge,  step_write,   step_write,
		step_write_outside, step_compact, step_hold,   step_sweep,   step_log,
		step_log,	    step_key_at,  step_key_at, step_records, step_read,
	};

	steps[pick(world, sizeof(steps) / sizeof(steps[0]))](world);
	if (chance(world, 2))
		step_jump(world);
	if (chance(world, 2))
		step_reopen(world);
	if (chance(world, 10) && world->scan)
		close_scan(world);
	else if (chance(world, 10) && !world->scan)
		open_scan(world);
	assert_int_equal(store_head(world->store), world->model.head);
	assert_int_equal(store_compacted(world->store), world->compacted);
	assert_true(store_swept(world->store) >= world->swept);
	assert_true(store_swept(world->store) <= (world->compacted > 0 ? world->compacted : 0));
	world->swept = store_swept(world->store);
	arena_fini(&world->arena);
}

static void test_random_merges_match_the_model(void **state)
{
	uint64_t seed = rig_seed();

	(void)state;
	for (int program = 0; program < PROGRAMS; program++) {
		struct world world = {.random = {seed + (uint64_t)program}};

		fprintf(stderr, "program %d: KEDGE_SEED=%llu\n", program,
			(unsigned long long)(seed + (uint64_t)program));
		rig_open(&world.rig);
		rig_down(&world.rig);
		world.rig.config.stamp = (struct store_stamp){in_scope, stamp, &world};
		world.rig.config.listener.on_commit = on_commit;
		world.rig.config.listener.context = &world;
		world.model.head = world.published_head = 1;
		world.hold = INT64_MAX;
		world.compacted = NEVER_COMPACTED;
		arena_init(&world.arena, SIZE_MAX);
		up(&world);
		for (int i = 0; i < STEPS; i++)
			step(&world);
		if (world.scan)
			close_scan(&world);
		down(&world);
		rig_close(&world.rig);
		free(world.model.rows);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_merges_match_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
