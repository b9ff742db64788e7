/* SPDX-License-Identifier: Apache-2.0 */
/* The index: a program of rows, undoes, sweeps and questions, beside a plain list of all rows.
 *
 * What must hold: every answer is the one that a look at all rows gives, before and after any
 * sweep, and a sweep names exactly the rows that nobody can need. */
#include "tests/fuzz/fuzz.h"

#include "shim/store/index.h"

#include <stdlib.h>

#define ROWS_MAX 4096
#define KEYS_MAX 512
#define SWEEP_ROWS 7

struct model_row {
	struct bytes key;
	struct version version;
	bool is_gone;
};

struct model {
	struct model_row rows[ROWS_MAX];
	size_t count;
	struct index *index;
	int64_t head; /* newest main revision */
	int64_t compacted;
	size_t scan_at; /* in sorted */
	struct bytes sorted[KEYS_MAX];
	size_t sorted_count;
	int64_t scan_revision;
};

/* --- the naive answers ------------------------------------------------------------------------ */

static const struct version *model_get(const struct model *model, struct bytes key,
				       int64_t revision, bool any)
{
	for (size_t i = model->count; i > 0; i--) {
		const struct model_row *row = &model->rows[i - 1];

		if (!row->is_gone && bytes_equal(row->key, key) &&
		    row_main(row->version.row) <= revision && (any || !row->version.invisible))
			return &row->version;
	}
	return NULL;
}

static bool same_version(const struct version *a, const struct version *b)
{
	if (!a || !b)
		return a == b;
	return a->row == b->row && a->create_revision == b->create_revision &&
	       a->version == b->version && a->lease == b->lease &&
	       a->value_bytes == b->value_bytes && a->tombstone == b->tombstone &&
	       a->invisible == b->invisible && a->has_meta == b->has_meta;
}

static int order(const void *a, const void *b)
{
	return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

/* All keys of the range that live at the revision, in order. */
static void model_list(struct model *model, struct bytes key, struct bytes end, int64_t revision)
{
	model->sorted_count = 0;
	for (size_t i = 0; i < model->count; i++) {
		const struct model_row *row = &model->rows[i];
		const struct version *version;
		bool is_known = false;

		if (!range_contains(key, end, row->key))
			continue;
		version = model_get(model, row->key, revision, false);
		if (!version || version->tombstone)
			continue;
		for (size_t k = 0; k < model->sorted_count; k++)
			is_known = is_known || bytes_equal(model->sorted[k], row->key);
		if (!is_known && model->sorted_count < KEYS_MAX)
			model->sorted[model->sorted_count++] = row->key;
	}
	qsort(model->sorted, model->sorted_count, sizeof(model->sorted[0]), order);
}

/* --- what a program does ---------------------------------------------------------------------- */

static void add_one(struct model *model, struct fuzz_input *input, int64_t row)
{
	struct model_row *added = &model->rows[model->count];
	unsigned choice = fuzz_byte(input);

	*added = (struct model_row){.key = fuzz_key(input)};
	added->version = (struct version){
		.row = row,
		.tombstone = choice % 4 == 0,
		.invisible = choice % 16 == 5,
		.has_meta = choice % 3 == 1,
	};
	if (!added->version.tombstone) {
		added->version.create_revision = row_main(row);
		added->version.version = choice;
		added->version.lease = choice % 3;
		added->version.value_bytes = choice * 100;
	}
	if (index_add(model->index, added->key, &added->version))
		fuzz_must_say(false, "index_add");
	model->count++;
}

/* One revision of up to four rows. */
static void do_commit(struct model *model, struct fuzz_input *input)
{
	unsigned rows = 1 + fuzz_below(input, 4);

	if (model->count + rows > ROWS_MAX)
		return;
	model->head += 1;
	for (unsigned sub = 0; sub < rows; sub++)
		add_one(model, input, model->head << 23 | sub);
}

/* A batch that fails: the newest rows go, as a writer takes them back, newest first. */
static void do_undo(struct model *model, struct fuzz_input *input)
{
	unsigned rows = 1 + fuzz_below(input, 4);
	int64_t first = (model->head + 1) << 23;

	if (model->count + rows > ROWS_MAX)
		return;
	for (unsigned sub = 0; sub < rows; sub++)
		add_one(model, input, first + sub);
	while (rows--) {
		const struct model_row *row = &model->rows[--model->count];

		index_undo(model->index, row->key, row->version.row - 1);
	}
}

static void do_get(struct model *model, struct fuzz_input *input)
{
	struct bytes key = fuzz_key(input);
	int64_t revision = model->compacted + fuzz_below(input, 32);
	struct index_pair pair;

	fuzz_must(same_version(index_get(model->index, key, revision),
			       model_get(model, key, revision, false)));
	pair = index_pair(model->index, key, revision);
	fuzz_must(same_version(pair.newest.row ? &pair.newest : NULL,
			       model_get(model, key, revision, true)));
	fuzz_must(same_version(pair.visible.row ? &pair.visible : NULL,
			       model_get(model, key, revision, false)));
}

static bool scan_visit(void *context, struct bytes key, const struct version *version)
{
	struct model *model = context;

	fuzz_must(model->scan_at < model->sorted_count);
	fuzz_must(bytes_equal(key, model->sorted[model->scan_at]));
	fuzz_must(same_version(version, model_get(model, key, model->scan_revision, false)));
	model->scan_at++;
	return true;
}

static void do_scan(struct model *model, struct bytes key, struct bytes end, int64_t revision)
{
	model->scan_revision = revision;
	model->scan_at = 0;
	model_list(model, key, end, revision);
	index_scan(model->index, key, end, revision, scan_visit, model);
	fuzz_must(model->scan_at == model->sorted_count);
	fuzz_must(index_count(model->index, key, end, revision) == (int64_t)model->sorted_count);
}

/* Nobody can need it at or above the revision: needed are the newest visible row, unless it is a
 * tombstone from before, and the newest of any kind where that one stays or it has meta. */
static bool is_useless(const struct model *model, size_t at, int64_t revision)
{
	const struct model_row *row = &model->rows[at], *visible = NULL, *newest = NULL;
	bool is_visible_kept;

	if (row_main(row->version.row) > revision)
		return false;
	for (size_t i = 0; i < model->count; i++) {
		const struct model_row *other = &model->rows[i];

		if (other->is_gone || !bytes_equal(other->key, row->key) ||
		    row_main(other->version.row) > revision)
			continue;
		newest = other;
		visible = other->version.invisible ? visible : other;
	}
	is_visible_kept = visible && (!visible->version.tombstone ||
				      row_main(visible->version.row) == revision);
	if (row == visible && is_visible_kept)
		return false;
	return row != newest || !(is_visible_kept || newest->version.has_meta);
}

static void do_sweep(struct model *model, struct fuzz_input *input)
{
	int64_t revision = model->compacted + fuzz_below(input, 16), rows[SWEEP_ROWS];
	struct index_sweep sweep = {0};
	size_t useless = 0, removed = 0;

	if (revision > model->head)
		revision = model->head;
	for (size_t i = 0; i < model->count; i++)
		useless += !model->rows[i].is_gone && is_useless(model, i, revision);
	while (!sweep.done) {
		size_t count = index_sweep(model->index, &sweep, revision, rows, SWEEP_ROWS, 3);

		fuzz_must(count <= SWEEP_ROWS);
		removed += count;
		for (size_t i = 0; i < count; i++) {
			size_t at = 0;

			while (at < model->count && model->rows[at].version.row != rows[i])
				at++;
			fuzz_must(at < model->count && !model->rows[at].is_gone);
			fuzz_must(is_useless(model, at, revision));
			model->rows[at].is_gone = true;
		}
	}
	index_sweep_fini(&sweep);
	fuzz_must(removed == useless);
	model->compacted = revision;
}

static void step(struct model *model, struct fuzz_input *input)
{
	unsigned choice = fuzz_below(input, 16);

	if (choice < 6) {
		do_commit(model, input);
	} else if (choice < 8) {
		do_undo(model, input);
	} else if (choice < 11) {
		do_get(model, input);
	} else if (choice < 14) {
		struct bytes key = fuzz_key(input);
		struct bytes end = fuzz_range_end(input);

		do_scan(model, key, end, model->compacted + fuzz_below(input, 32));
	} else {
		do_sweep(model, input);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = fuzz_input_of(data, size);
	struct model *model = calloc(1, sizeof(*model));

	fuzz_must(model && !index_new(&model->index));
	model->head = 1;
	while (fuzz_more(&input))
		step(model, &input);
	do_scan(model, bytes_of("", 0), bytes_of("", 1), model->head);
	fuzz_must(index_key_count(model->index) == (int64_t)model->sorted_count);
	index_free(model->index);
	free(model);
	return 0;
}
