/* SPDX-License-Identifier: Apache-2.0 */
/* The index against a naive model: a sorted table of all keys there can be, each with a plain array
 * of versions. */
#include "shim/store/index_pool.h"
#include "shim/store/index_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEY_COUNT 6000 /* enough for many leaves to split and join */
#define KEY_TEXT_BYTES 64
#define MODEL_VERSIONS_MAX 64

struct model_key {
	char text[KEY_TEXT_BYTES];
	size_t size;
	struct version versions[MODEL_VERSIONS_MAX];
	size_t version_count;
};

struct model {
	struct model_key keys[KEY_COUNT];
	int64_t head; /* newest main revision given out */
	int64_t compacted;
	struct index *index;
	uint64_t random;
};

/* xorshift64*: the tests must be repeatable anywhere. */
static uint64_t random_next(struct model *model)
{
	model->random ^= model->random >> 12;
	model->random ^= model->random << 25;
	model->random ^= model->random >> 27;
	return model->random * UINT64_C(2685821657736338717);
}

static size_t random_below(struct model *model, size_t bound)
{
	return (size_t)(random_next(model) >> 16) % bound;
}

static struct bytes model_bytes(const struct model_key *key)
{
	return bytes_of(key->text, key->size);
}

static int model_key_order(const void *a, const void *b)
{
	return bytes_compare(model_bytes(a), model_bytes(b));
}

static int model_setup(void **state)
{
	struct model *model = calloc(1, sizeof(*model));

	assert_non_null(model);
	model->random = 88172645463325252u;
	model->head = 1;
	model->compacted = -1;
	for (size_t i = 0; i < KEY_COUNT; i++) {
		struct model_key *key = &model->keys[i];

		/* Kinds of shapes: shared prefixes, prefixes of each other, NUL and 0xff bytes. */
		key->size = (size_t)snprintf(key->text, sizeof(key->text), "/registry/k%zu/%zx%*s",
					     i % 7, i * 2654435761u % 1000003, (int)(i % 23), "");
		if (i % 11 == 0)
			key->text[key->size - 1] = (char)(i % 2 ? 0xff : 0);
	}
	qsort(model->keys, KEY_COUNT, sizeof(model->keys[0]), model_key_order);
	for (size_t i = 1; i < KEY_COUNT; i++)
		assert_true(model_key_order(&model->keys[i - 1], &model->keys[i]) < 0);
	assert_int_equal(index_new(&model->index), ERR_OK);
	*state = model;
	return 0;
}

static int model_teardown(void **state)
{
	struct model *model = *state;

	index_free(model->index);
	free(model);
	return 0;
}

static const struct version *model_get(const struct model_key *key, int64_t revision)
{
	for (size_t i = key->version_count; i > 0; i--) {
		const struct version *version = &key->versions[i - 1];

		if (row_main(version->row) <= revision && !version->invisible)
			return version;
	}
	return NULL;
}

static bool model_live(const struct model_key *key, int64_t revision)
{
	const struct version *version = model_get(key, revision);

	return version && !version->tombstone;
}

static void versions_same(const struct version *a, const struct version *b)
{
	assert_int_equal(a != NULL, b != NULL);
	if (!a)
		return;
	assert_int_equal(a->row, b->row);
	assert_int_equal(a->create_revision, b->create_revision);
	assert_int_equal(a->version, b->version);
	assert_int_equal(a->lease, b->lease);
	assert_int_equal(a->value_bytes, b->value_bytes);
	assert_int_equal(a->tombstone, b->tombstone);
	assert_int_equal(a->invisible, b->invisible);
	assert_int_equal(a->has_meta, b->has_meta);
}

/* --- random changes --------------------------------------------------------------------------- */

static struct version *model_add(struct model *model, struct model_key *key, int64_t sub)
{
	struct version *version = &key->versions[key->version_count];

	if (key->version_count == MODEL_VERSIONS_MAX)
		return NULL;
	*version = (struct version){.row = model->head << 23 | sub};
	version->invisible = random_below(model, 8) == 0;
	version->tombstone = random_below(model, 4) == 0;
	version->has_meta = random_below(model, 3) == 0;
	if (!version->tombstone) {
		version->create_revision = (int64_t)random_below(model, 1000);
		version->version = (int64_t)random_below(model, 9) + 1;
		version->lease = (int64_t)random_below(model, 3);
		version->value_bytes = (uint32_t)random_below(model, 5000);
	}
	key->version_count++;
	assert_int_equal(index_add(model->index, model_bytes(key), version), ERR_OK);
	return version;
}

/* One revision of one to four rows. */
static void do_commit(struct model *model)
{
	size_t rows = 1 + random_below(model, 4);

	model->head++;
	for (size_t sub = 0; sub < rows; sub++)
		model_add(model, &model->keys[random_below(model, KEY_COUNT)], (int64_t)sub);
}

/* A batch of some revisions is begun and taken back, key by key. */
static void do_undo(struct model *model)
{
	int64_t row_from = model->head << 23 | ((1 << 23) - 1);
	struct model_key *touched[40];
	size_t count = 1 + random_below(model, 40);

	for (size_t i = 0; i < count; i++) {
		touched[i] = &model->keys[random_below(model, KEY_COUNT)];
		model->head++;
		model_add(model, touched[i], 0);
	}
	for (size_t i = 0; i < count; i++) {
		struct model_key *key = touched[i];

		index_undo(model->index, model_bytes(key), row_from);
		while (key->version_count && key->versions[key->version_count - 1].row > row_from)
			key->version_count--;
	}
	model->head = row_main(row_from);
}

/* A forget-me-not of the rule in index.h, written the other way round: which rows are needed. */
static bool model_needs(const struct model_key *key, size_t at, int64_t revision)
{
	const struct version *version = &key->versions[at];
	const struct version *visible = model_get(key, revision);
	bool visible_kept = visible && !(visible->tombstone && row_main(visible->row) < revision);

	if (row_main(version->row) > revision)
		return true;
	if (version == visible && visible_kept)
		return true;
	if (at + 1 < key->version_count && row_main(version[1].row) <= revision)
		return false; /* not the newest of any kind */
	return visible_kept || version->has_meta;
}

static int row_order(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a;
	int64_t right = *(const int64_t *)b;

	return (left > right) - (left < right);
}

static size_t model_sweep(struct model *model, int64_t revision, int64_t *rows)
{
	size_t count = 0;

	for (size_t i = 0; i < KEY_COUNT; i++) {
		struct model_key *key = &model->keys[i];
		bool needed[MODEL_VERSIONS_MAX];
		size_t kept = 0;

		for (size_t at = 0; at < key->version_count; at++)
			needed[at] = model_needs(key, at, revision);
		for (size_t at = 0; at < key->version_count; at++) {
			if (needed[at])
				key->versions[kept++] = key->versions[at];
			else
				rows[count++] = key->versions[at].row;
		}
		key->version_count = kept;
	}
	return count;
}

static void do_sweep(struct model *model)
{
	static int64_t expected[KEY_COUNT * MODEL_VERSIONS_MAX];
	static int64_t found[KEY_COUNT * MODEL_VERSIONS_MAX + 1000];
	size_t rows_max = 1 + random_below(model, 1000);
	size_t keys_max = 1 + random_below(model, 1000);
	struct index_sweep sweep = {0};
	size_t found_count = 0;
	size_t expected_count;
	int64_t span = model->head - (model->compacted > 0 ? model->compacted : 0);

	model->compacted = model->head - (int64_t)random_below(model, (size_t)span + 1);
	expected_count = model_sweep(model, model->compacted, expected);
	while (!sweep.done) {
		size_t got = index_sweep(model->index, &sweep, model->compacted,
					 found + found_count, rows_max, keys_max);

		assert_true(got <= rows_max);
		found_count += got;
		assert_true(found_count <= expected_count);
	}
	index_sweep_fini(&sweep);
	assert_int_equal(found_count, expected_count);
	qsort(found, found_count, sizeof(found[0]), row_order);
	qsort(expected, expected_count, sizeof(expected[0]), row_order);
	assert_memory_equal(found, expected, found_count * sizeof(found[0]));
}

/* --- checks ----------------------------------------------------------------------------------- */

struct scan {
	struct model *model;
	size_t next; /* in model->keys */
	int64_t revision;
	int64_t seen;
	int64_t stop_after;
};

static bool scan_visit(void *context, struct bytes key, const struct version *version)
{
	struct scan *scan = context;

	while (scan->next < KEY_COUNT &&
	       !model_live(&scan->model->keys[scan->next], scan->revision))
		scan->next++;
	assert_true(scan->next < KEY_COUNT);
	assert_true(bytes_equal(key, model_bytes(&scan->model->keys[scan->next])));
	versions_same(version, model_get(&scan->model->keys[scan->next], scan->revision));
	scan->next++;
	return ++scan->seen != scan->stop_after;
}

static void check_range(struct model *model, size_t from, struct bytes end, int64_t revision)
{
	struct bytes key = model_bytes(&model->keys[from]);
	struct scan scan = {.model = model, .next = from, .revision = revision, .stop_after = -1};
	int64_t expected = 0;

	for (size_t i = 0; i < KEY_COUNT; i++)
		expected += range_contains(key, end, model_bytes(&model->keys[i])) &&
			    model_live(&model->keys[i], revision);
	assert_int_equal(index_count(model->index, key, end, revision), expected);
	index_scan(model->index, key, end, revision, scan_visit, &scan);
	assert_int_equal(scan.seen, expected);
	if (expected < 2)
		return;
	scan = (struct scan){model, from, revision, 0, 1 + (int64_t)random_below(model, 3)};
	index_scan(model->index, key, end, revision, scan_visit, &scan);
	assert_int_equal(scan.seen, scan.stop_after < expected ? scan.stop_after : expected);
}

static int64_t random_revision(struct model *model)
{
	int64_t least = model->compacted > 0 ? model->compacted : 0;

	switch (random_below(model, 3)) {
	case 0:
		return INT64_MAX;
	case 1:
		return model->head;
	default:
		return least + (int64_t)random_below(model, (size_t)(model->head - least) + 2);
	}
}

static const struct version *model_newest(const struct model_key *key, int64_t revision)
{
	for (size_t i = key->version_count; i > 0; i--)
		if (row_main(key->versions[i - 1].row) <= revision)
			return &key->versions[i - 1];
	return NULL;
}

static void check_pair(struct model *model, const struct model_key *key, int64_t revision)
{
	struct index_pair pair = index_pair(model->index, model_bytes(key), revision);

	versions_same(pair.newest.row ? &pair.newest : NULL, model_newest(key, revision));
	versions_same(pair.visible.row ? &pair.visible : NULL, model_get(key, revision));
	assert_int_equal(pair_is_live(&pair), model_live(key, revision));
}

static void do_check(struct model *model)
{
	size_t from = random_below(model, KEY_COUNT);
	struct model_key *key = &model->keys[random_below(model, KEY_COUNT)];
	int64_t revision = random_revision(model);
	const struct version *version = model_get(key, revision);

	versions_same(index_get(model->index, model_bytes(key), revision), version);
	check_pair(model, key, revision);
	for (size_t i = 0; i < key->version_count; i++)
		assert_int_equal(
			index_keeps(model->index, model_bytes(key), key->versions[i].row, revision),
			&key->versions[i] == version && !version->tombstone);
	check_range(model, from, bytes_of(NULL, 0), revision);
	check_range(model, from, BYTES_LITERAL("\0"), revision);
	check_range(model, from, model_bytes(&model->keys[random_below(model, KEY_COUNT)]),
		    revision);
}

static void check_key_count(struct model *model)
{
	int64_t live = 0;

	for (size_t i = 0; i < KEY_COUNT; i++)
		live += model_live(&model->keys[i], INT64_MAX);
	assert_int_equal(index_key_count(model->index), live);
}

static void everything_agrees_with_the_model(void **state)
{
	struct model *model = *state;

	for (int round = 0; round < 60; round++) {
		/* Growing, then shrinking phases: with few commits a sweep empties the tree. */
		size_t commits = round % 10 < 6 ? 3000 : 50;

		for (size_t i = 0; i < commits; i++)
			do_commit(model);
		for (int i = 0; i < 10; i++)
			do_undo(model);
		for (int i = 0; i < 12; i++)
			do_check(model);
		do_sweep(model);
		check_key_count(model);
		for (int i = 0; i < 12; i++)
			do_check(model);
	}
	/* Everything is deleted and compacted away: the memory of nodes must come back. */
	for (size_t i = 0; i < KEY_COUNT; i++) {
		struct version tombstone = {.row = ++model->head << 23, .tombstone = true};
		struct model_key *key = &model->keys[i];

		if (key->version_count == MODEL_VERSIONS_MAX)
			key->version_count--;
		key->versions[key->version_count++] = tombstone;
		assert_int_equal(index_add(model->index, model_bytes(key), &tombstone), ERR_OK);
	}
	check_key_count(model);
	model->head++;
	model->compacted = model->head;
	while (index_pair(model->index, model_bytes(&model->keys[0]), INT64_MAX).newest.row)
		do_sweep(model);
	check_range(model, 0, BYTES_LITERAL("\0"), INT64_MAX);
}

/* --- the shape of the tree -------------------------------------------------------------------- */

struct shape {
	size_t keys;
	size_t bytes;
	const struct tree_leaf *last_leaf;
};

static struct index_key *shape_check(const struct tree_node *node, struct shape *shape)
{
	if (!node->level) {
		const struct tree_leaf *leaf = (const struct tree_leaf *)(const void *)node;

		for (unsigned i = 1; i < node->count; i++)
			assert_true(bytes_compare(index_key_bytes(leaf->keys[i - 1]),
						  index_key_bytes(leaf->keys[i])) < 0);
		assert_ptr_equal(leaf->previous, shape->last_leaf);
		if (shape->last_leaf)
			assert_ptr_equal(shape->last_leaf->next, leaf);
		shape->last_leaf = leaf;
		shape->keys += node->count;
		shape->bytes += sizeof(*leaf);
		return leaf->keys[0];
	}
	const struct tree_inner *inner = (const struct tree_inner *)(const void *)node;

	shape->bytes += sizeof(*inner);
	assert_true(node->count > 0);
	for (unsigned i = 0; i < node->count; i++) {
		assert_int_equal(inner->children[i]->level + 1, node->level);
		assert_true(inner->children[i]->count > 0);
		assert_ptr_equal(shape_check(inner->children[i], shape), inner->firsts[i]);
	}
	return inner->firsts[0];
}

static void tree_check(const struct tree *tree)
{
	struct shape shape = {0};

	shape_check(tree->root, &shape);
	assert_int_equal(shape.keys, tree->key_count);
	assert_int_equal(shape.bytes, tree->held_bytes);
	assert_null(shape.last_leaf->next);
	if (tree->root->level)
		assert_true(tree->root->count > 1);
}

static struct index_key *tree_key_new(uint32_t number)
{
	struct index_key *key = calloc(1, sizeof(*key) + 4);

	assert_non_null(key);
	key->key_bytes = 4;
	for (int i = 0; i < 4; i++)
		key->key[i] = (uint8_t)(number >> (24 - 8 * i));
	return key;
}

#define SHAPE_KEYS 40000
#define SHAPE_CLOSELY 700 /* checked at every step: some splits of leaves */

static void shape_fill(struct tree *tree, struct index_key **keys, const uint32_t *order)
{
	struct tree_path path;

	for (size_t i = 0; i < SHAPE_KEYS; i++) {
		assert_null(tree_seek(tree, index_key_bytes(keys[order[i]]), &path));
		assert_true(tree_insert(tree, &path, keys[order[i]]));
		if (i % 997 == 0 || i < SHAPE_CLOSELY)
			tree_check(tree);
	}
	tree_check(tree);
}

static void shape_drain(struct tree *tree, struct index_key **keys, const uint32_t *order)
{
	struct tree_path path;

	for (size_t i = 0; i < SHAPE_KEYS; i++) {
		struct index_key *key = keys[order[i]];

		assert_ptr_equal(tree_seek(tree, index_key_bytes(key), &path), key);
		tree_remove(tree, &path);
		if (i % 997 == 0)
			tree_check(tree);
		if (i == SHAPE_KEYS - 100)
			assert_true(tree->held_bytes < 100 * sizeof(struct tree_inner));
	}
	tree_check(tree);
	assert_int_equal(tree->root->level, 0);
	assert_int_equal(tree->held_bytes, sizeof(struct tree_leaf));
}

static void order_fill(uint32_t *order, int kind, struct model *model)
{
	for (uint32_t i = 0; i < SHAPE_KEYS; i++)
		order[i] = kind == 1 ? SHAPE_KEYS - 1 - i : i;
	for (uint32_t i = SHAPE_KEYS - 1; kind == 2 && i > 0; i--) {
		size_t other = random_below(model, i + 1);
		uint32_t swap = order[i];

		order[i] = order[other];
		order[other] = swap;
	}
}

static void the_tree_stays_in_shape(void **state)
{
	struct index_key **keys = calloc(SHAPE_KEYS, sizeof(struct index_key *));
	uint32_t *order = calloc(SHAPE_KEYS, sizeof(*order));
	struct tree tree;

	assert_non_null(keys);
	assert_non_null(order);
	for (uint32_t i = 0; i < SHAPE_KEYS; i++)
		keys[i] = tree_key_new(i);
	assert_true(tree_init(&tree));
	for (int kind = 0; kind < 9; kind++) {
		order_fill(order, kind % 3, *state);
		shape_fill(&tree, keys, order);
		order_fill(order, kind / 3, *state);
		shape_drain(&tree, keys, order);
	}
	order_fill(order, 2, *state);
	shape_fill(&tree, keys, order);
	tree_fini(&tree);
	for (uint32_t i = 0; i < SHAPE_KEYS; i++)
		free(keys[i]);
	free(keys);
	free(order);
}

/* --- single cases ----------------------------------------------------------------------------- */

static void an_empty_index_answers(void **state)
{
	struct index *index;
	struct index_sweep sweep = {0};
	int64_t row;

	(void)state;
	assert_int_equal(index_new(&index), ERR_OK);
	assert_null(index_get(index, BYTES_LITERAL("a"), INT64_MAX));
	assert_int_equal(index_pair(index, BYTES_LITERAL("a"), INT64_MAX).newest.row, 0);
	assert_int_equal(index_count(index, BYTES_LITERAL("a"), BYTES_LITERAL("\0"), 5), 0);
	assert_int_equal(index_count(index, BYTES_LITERAL("a"), BYTES_LITERAL("b"), 5), 0);
	index_undo(index, BYTES_LITERAL("a"), 0);
	assert_int_equal(index_sweep(index, &sweep, 5, &row, 1, 1), 0);
	assert_true(sweep.done);
	index_sweep_fini(&sweep);
	assert_false(index_keeps(index, BYTES_LITERAL("a"), 1, 1));
	assert_int_equal(index_key_count(index), 0);
	index_free(index);
	index_free(NULL);
}

static void reversed_and_empty_ranges_hold_nothing(void **state)
{
	struct version version = {.row = 2 << 23, .create_revision = 2, .version = 1};
	struct index *index;

	(void)state;
	assert_int_equal(index_new(&index), ERR_OK);
	assert_int_equal(index_add(index, BYTES_LITERAL("b"), &version), ERR_OK);
	assert_int_equal(index_count(index, BYTES_LITERAL("c"), BYTES_LITERAL("a"), 5), 0);
	assert_int_equal(index_count(index, BYTES_LITERAL("b"), BYTES_LITERAL("b"), 5), 0);
	assert_int_equal(index_count(index, BYTES_LITERAL("\0"), BYTES_LITERAL("\0"), 5), 1);
	assert_int_equal(index_count(index, BYTES_LITERAL("\0"), BYTES_LITERAL("\0"), 1), 0);
	assert_int_equal(index_count(index, BYTES_LITERAL("\0"), BYTES_LITERAL("\0"), -1), 0);
	assert_null(index_get(index, BYTES_LITERAL("b"), 1));
	assert_null(index_get(index, BYTES_LITERAL("b"), -7));
	index_free(index);
}

/* etcd #18089: a watch may start exactly at the compaction and must still see the deletion. */
static void a_tombstone_at_the_compaction_stays(void **state)
{
	struct version put = {.row = 2 << 23, .create_revision = 2, .version = 1};
	struct version deletion = {.row = 3 << 23, .tombstone = true};
	struct index_sweep sweep = {0};
	struct index *index;
	int64_t rows[4];

	(void)state;
	assert_int_equal(index_new(&index), ERR_OK);
	assert_int_equal(index_add(index, BYTES_LITERAL("a"), &put), ERR_OK);
	assert_int_equal(index_key_count(index), 1);
	assert_int_equal(index_add(index, BYTES_LITERAL("a"), &deletion), ERR_OK);
	assert_int_equal(index_key_count(index), 0);
	assert_int_equal(index_sweep(index, &sweep, 3, rows, 4, 4), 1);
	assert_int_equal(rows[0], 2 << 23);
	assert_int_equal(index_get(index, BYTES_LITERAL("a"), 3)->row, 3 << 23);
	index_sweep_fini(&sweep);
	assert_int_equal(index_sweep(index, &sweep, 4, rows, 4, 4), 1);
	assert_int_equal(rows[0], 3 << 23);
	assert_int_equal(index_pair(index, BYTES_LITERAL("a"), INT64_MAX).newest.row, 0);
	index_sweep_fini(&sweep);
	index_free(index);
}

static void the_pool_reuses_pieces(void **state)
{
	struct pool pool;
	void *pieces[1000];
	size_t held;

	(void)state;
	pool_init(&pool);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 1000; i++) {
			pieces[i] = pool_alloc(&pool, i);
			assert_non_null(pieces[i]);
			assert_int_equal((uintptr_t)pieces[i] % POOL_GRAIN_BYTES, 0);
			memset(pieces[i], (int)i, i);
		}
		if (!round)
			held = pool.held_bytes;
		assert_int_equal(pool.held_bytes, held);
		for (size_t i = 0; i < 1000; i++) {
			for (size_t at = 0; at < i; at++)
				assert_int_equal(((uint8_t *)pieces[i])[at], (uint8_t)i);
			pool_free(&pool, pieces[i], i);
		}
	}
	pool_fini(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(everything_agrees_with_the_model, model_setup,
						model_teardown),
		cmocka_unit_test_setup_teardown(the_tree_stays_in_shape, model_setup,
						model_teardown),
		cmocka_unit_test(an_empty_index_answers),
		cmocka_unit_test(reversed_and_empty_ranges_hold_nothing),
		cmocka_unit_test(a_tombstone_at_the_compaction_stays),
		cmocka_unit_test(the_pool_reuses_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
