/* SPDX-License-Identifier: Apache-2.0 */
/* test_codec.c - objects cut into columns and put together again. */
#include "sync/codec/object.h"
#include "sync/limits.h"
#include "tests/unit/sync/fake_object.h"
#include "tests/unit/sync/stored.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ARENA_BYTES (256 * MIB)

static int setup(void **state)
{
	struct arena *arena = malloc(sizeof(*arena));

	arena_init(arena, ARENA_BYTES);
	*state = arena;
	return 0;
}

static int teardown(void **state)
{
	arena_fini(*state);
	free(*state);
	return 0;
}

static void again(struct arena *arena)
{
	arena_fini(arena);
	arena_init(arena, ARENA_BYTES);
}

static struct object split(struct arena *arena, struct bytes value)
{
	struct object object;

	assert_int_equal(object_split(value, arena, &object), ERR_OK);
	for (size_t i = 1; i < object.count; i++)
		assert_true(column_id_compare(&object.columns[i - 1].id, &object.columns[i].id) <
			    0);
	return object;
}

static void assert_gives_back(struct arena *arena, const struct object *object, struct bytes value)
{
	struct bytes back;

	assert_int_equal(object_splice(object->columns, object->count, arena, &back), ERR_OK);
	assert_int_equal(back.size, value.size);
	if (value.size)
		assert_memory_equal(back.data, value.data, value.size);
}

static struct bytes fake_value(struct arena *arena, const struct node *object,
			       enum encoding encoding)
{
	struct buffer buffer = BUFFER_INIT(1 << 20);
	struct bytes value;

	fake_encode(object, encoding, &buffer);
	assert_true(arena_copy(arena, buffer_bytes(&buffer), &value));
	buffer_fini(&buffer);
	return value;
}

static const struct column *find(const struct object *object, const char *field, const char *sub,
				 enum column_part part, const char *entry)
{
	for (size_t i = 0; i < object->count; i++) {
		const struct column_id *id = &object->columns[i].id;

		if (bytes_equal(id->field, bytes_of_string(field)) &&
		    bytes_equal(id->sub, bytes_of_string(sub)) && id->part == part &&
		    bytes_equal(id->entry, bytes_of_string(entry)))
			return &object->columns[i];
	}
	return NULL;
}

/* Each entry of the tree's maps is a column, and whatever the table names. */
static void assert_cut(const struct object *object, const struct node *tree)
{
	for (size_t i = 0; i < tree->count; i++) {
		const struct node *field = &tree->children[i];
		bool metadata = !strcmp(field->name, "metadata");

		for (size_t j = 0; j < field->count; j++) {
			const struct node *inner = &field->children[j];

			if (inner->type == NODE_LIST && !inner->count)
				continue;
			if (field->type == NODE_MAP)
				assert_non_null(
					find(object, field->name, "", PART_ENTRY, inner->name));
			else if (metadata && inner->type == NODE_MAP)
				for (size_t k = 0; k < inner->count; k++)
					assert_non_null(find(object, "metadata", inner->name,
							     PART_ENTRY, inner->children[k].name));
			else if (!strcmp(inner->name, "finalizers"))
				assert_non_null(find(object, field->name, inner->name, PART_ENTRY,
						     inner->children[0].text));
			else if (!strcmp(inner->name, "conditions"))
				assert_non_null(find(object, field->name, inner->name, PART_ENTRY,
						     inner->children[0].children[0].text));
			else if (!strcmp(inner->name, "replicas"))
				assert_non_null(find(object, "spec", "replicas", PART_WHOLE, ""));
		}
	}
}

static void test_random_objects_come_back_byte_for_byte(void **state)
{
	struct arena *arena = *state;

	random_start(__func__);
	for (unsigned run = random_runs(3000); run > 0; run--) {
		const char *kind = fake_kinds[random_below(FAKE_KINDS)];
		enum encoding encoding = (enum encoding)random_below(ENCODINGS);
		struct node *tree = fake_object(kind);
		struct bytes value = fake_value(arena, tree, encoding);
		struct object object = split(arena, value);

		assert_int_equal(object.format, encoding == ENCODING_PROTO  ? OBJECT_PROTO
						: encoding == ENCODING_CBOR ? OBJECT_CBOR
									    : OBJECT_JSON);
		assert_true(bytes_equal(object.kind, bytes_of_string(kind)));
		assert_true(bytes_equal(object.api_version, BYTES_LITERAL("v1")));
		assert_true(object.uid.size > 0);
		assert_cut(&object, tree);
		assert_gives_back(arena, &object, value);
		fake_free(tree);
		again(arena);
	}
}

/* One object of every resource that a v1.37.2 control plane had stored. */
static void test_objects_of_a_real_apiserver_come_back_byte_for_byte(void **state)
{
	/* Both have no uid, and belong to one site: they are never synced. */
	static const char *const opaque[] = {"ranges", "peerserverleases"};
	static struct stored stored;
	unsigned formats[OBJECT_CBOR + 1] = {0};
	struct arena *arena = *state;
	struct bytes value;

	while (stored_next(&stored, &value)) {
		struct object object = split(arena, value);
		bool expected =
			!strcmp(stored.resource, opaque[0]) || !strcmp(stored.resource, opaque[1]);

		assert_gives_back(arena, &object, value);
		if ((object.format == OBJECT_OPAQUE) != expected)
			fail_msg("%s is%s opaque", stored.resource, expected ? " not" : "");
		formats[object.format]++;
		again(arena);
	}
	assert_true(formats[OBJECT_PROTO] >= 20 && formats[OBJECT_JSON] >= 3);
}

/* --- mixtures --------------------------------------------------------------------------------- */

static bool has_part(const struct column *columns, size_t count, const struct column_id *like,
		     enum column_part part)
{
	for (size_t i = 0; i < count; i++)
		if (columns[i].id.part == part && bytes_equal(columns[i].id.field, like->field) &&
		    bytes_equal(columns[i].id.sub, like->sub))
			return true;
	return false;
}

/* Any choice of columns of two objects; the type and the uid come from the first. */
static size_t mix(const struct object *a, const struct object *b, struct column *ret_columns)
{
	size_t i = 0, j = 0, count = 0;

	while (i < a->count || j < b->count) {
		int order = i == a->count ? 1
			    : j == b->count
				    ? -1
				    : column_id_compare(&a->columns[i].id, &b->columns[j].id);
		const struct column *left = order <= 0 ? &a->columns[i] : NULL;
		const struct column *right = order >= 0 ? &b->columns[j] : NULL;
		bool fixed = left && (left->id.part == PART_TYPE ||
				      bytes_equal(left->id.sub, BYTES_LITERAL("uid")));

		i += left != NULL;
		j += right != NULL;
		if (fixed || (left && right))
			ret_columns[count++] = fixed || random_below(2) ? *left : *right;
		else if (random_below(2))
			ret_columns[count++] = left ? *left : *right;
	}
	return count;
}

static void assert_is_mixture(const struct object *object, const struct column *columns,
			      size_t count)
{
	size_t at = 0;

	for (size_t i = 0; i < count; i++) {
		const struct column *wanted = &columns[i];

		/* Orders change with what they order; an empty map is none once it has entries. */
		if (wanted->id.part == PART_ORDER ||
		    (wanted->id.part == PART_EMPTY &&
		     has_part(columns, count, &wanted->id, PART_ENTRY)))
			continue;
		while (at < object->count &&
		       column_id_compare(&object->columns[at].id, &wanted->id) < 0) {
			/* Nothing appears but orders, and a rest around what is inside it. */
			assert_true(object->columns[at].id.part == PART_ORDER ||
				    object->columns[at].id.part == PART_REST);
			at++;
		}
		assert_true(at < object->count);
		assert_true(column_id_equal(&object->columns[at].id, &wanted->id));
		assert_true(bytes_equal(object->columns[at].bytes, wanted->bytes));
		at++;
	}
}

static void test_any_mixture_of_columns_is_an_object_with_just_these(void **state)
{
	struct arena *arena = *state;

	random_start(__func__);
	for (unsigned run = random_runs(3000); run > 0; run--) {
		const char *kind = fake_kinds[random_below(FAKE_KINDS)];
		enum encoding encoding = (enum encoding)random_below(ENCODINGS);
		struct node *trees[2] = {fake_object(kind), fake_object(kind)};
		struct object a = split(arena, fake_value(arena, trees[0], encoding));
		struct object b = split(arena, fake_value(arena, trees[1], encoding));
		struct column *columns = calloc(a.count + b.count, sizeof(*columns));
		size_t count = mix(&a, &b, columns);
		struct object back;
		struct bytes value;

		assert_int_equal(object_splice(columns, count, arena, &value), ERR_OK);
		back = split(arena, value);
		assert_int_equal(back.format, a.format);
		assert_true(bytes_equal(back.uid, a.uid));
		assert_is_mixture(&back, columns, count);
		assert_gives_back(arena, &back, value);
		free(columns);
		fake_free(trees[0]);
		fake_free(trees[1]);
		again(arena);
	}
}

static void test_columns_of_another_version_are_left_out(void **state)
{
	struct arena *arena = *state;
	struct bytes v1 = BYTES_LITERAL("{\"apiVersion\":\"a/v1\",\"kind\":\"W\",\"metadata\":"
					"{\"name\":\"n\",\"uid\":\"u\"},\"spec\":1}\n");
	struct bytes v2 = BYTES_LITERAL("{\"apiVersion\":\"a/v2\",\"kind\":\"W\",\"metadata\":"
					"{\"labels\":{\"l\":\"x\"},\"name\":\"n\",\"uid\":\"u\"},"
					"\"spec\":{\"v\":2}}\n");
	struct bytes both = BYTES_LITERAL("{\"apiVersion\":\"a/v1\",\"kind\":\"W\",\"metadata\":"
					  "{\"labels\":{\"l\":\"x\"},\"name\":\"n\",\"uid\":\"u\"},"
					  "\"spec\":1}\n");
	struct object one = split(arena, v1), two = split(arena, v2);
	struct column columns[32];
	struct bytes value;
	size_t i = 0, j = 0, count = 0;

	assert_int_equal(one.format, OBJECT_JSON);
	while (i < one.count || j < two.count) {
		int order = i == one.count ? 1
			    : j == two.count
				    ? -1
				    : column_id_compare(&one.columns[i].id, &two.columns[j].id);

		columns[count++] = order <= 0 ? one.columns[i] : two.columns[j];
		i += order <= 0;
		j += order >= 0;
	}
	assert_int_equal(object_splice(columns, count, arena, &value), ERR_OK);
	assert_int_equal(value.size, both.size);
	assert_memory_equal(value.data, both.data, both.size);
}

/* --- what is no object ------------------------------------------------------------------------ */

static void assert_opaque(struct arena *arena, struct bytes value)
{
	struct object object = split(arena, value);

	assert_int_equal(object.format, OBJECT_OPAQUE);
	assert_int_equal(object.count, 2);
	assert_int_equal(object.uid.size, 0);
	assert_gives_back(arena, &object, value);
}

#define META "\"metadata\":{\"uid\":\"u\"}"
#define HEAD "{\"apiVersion\":\"v1\",\"kind\":\"K\","

static void test_foreign_values_are_one_opaque_column(void **state)
{
	static const char *const texts[] = {
		"",
		"x",
		"{",
		"k8s",
		"k8s:enc:aescbc:v1:key1:0123456789",
		"{}",
		"{}\n",
		"{\"metadata\":{\"uid\":\"u\"}}",      /* no kind */
		HEAD "\"metadata\":{\"name\":\"n\"}}", /* no uid */
		HEAD "\"metadata\":{\"uid\":7}}",      /* no text */
		HEAD META "}\n\n",		       /* one newline too many */
		HEAD META ",\"spec\": 1}",	       /* white space */
		HEAD META ",\"spec\":1,\"spec\":2}",   /* twice */
		HEAD META ",\"spec\":01}",	       /* no JSON */
		HEAD META ",\"spec\":1.}",
		HEAD META ",\"spec\":\"\\x\"}",
		HEAD META ",\"spec\":[1,]}",
		HEAD META ",\"spec\":nul}",
		HEAD META ",}",
		HEAD META "}}",
		"\xd9\xd9\xf7\xbf\xff", /* CBOR of unknown length */
		"\xd9\xd9\xf7\xa0",
	};
	struct arena *arena = *state;
	struct bytes good = BYTES_LITERAL(HEAD META ",\"spec\":[1.5e-3,{},[],\"\\u00e9\",null]}");
	char *deep = malloc(2 * CODEC_DEPTH_MAX + 200);
	int size = snprintf(deep, 64, HEAD META ",\"s\":");

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_opaque(arena, bytes_of_string(texts[i]));
	assert_opaque(arena, BYTES_LITERAL("k8s\0"));
	assert_opaque(arena, BYTES_LITERAL("k8s\0\x0a\x00\x12\x00"));
	assert_int_equal(split(arena, good).format, OBJECT_JSON);
	for (size_t depth = CODEC_DEPTH_MAX; depth <= CODEC_DEPTH_MAX + 1; depth++) {
		size_t at = (size_t)size;

		/* The value itself is inside nothing, so all of the allowance is its own. */
		memset(deep + at, '[', depth + 1);
		at += depth + 1;
		memset(deep + at, ']', depth + 1);
		at += depth + 1;
		deep[at++] = '}';
		assert_int_equal(split(arena, bytes_of(deep, at)).format,
				 depth == CODEC_DEPTH_MAX ? OBJECT_JSON : OBJECT_OPAQUE);
	}
	free(deep);
}

/* Well-formed, but not as anybody writes it: what would not come back is not cut. */
static void test_unusual_encodings_are_opaque(void **state)
{
	struct arena *arena = *state;
	struct bytes usual = BYTES_LITERAL("k8s\0\x0a\x07\x0a\x02v1\x12\x01K"
					   "\x12\x05\x0a\x03\x2a\x01u\x1a\x00\x22\x00");

	assert_int_equal(split(arena, usual).format, OBJECT_PROTO);
	/* A length in two bytes, of the envelope and of the metadata. */
	assert_opaque(arena, BYTES_LITERAL("k8s\0\x0a\x87\x00\x0a\x02v1\x12\x01K"
					   "\x12\x05\x0a\x03\x2a\x01u\x1a\x00\x22\x00"));
	assert_opaque(arena, BYTES_LITERAL("k8s\0\x0a\x07\x0a\x02v1\x12\x01K"
					   "\x12\x06\x0a\x83\x00\x2a\x01u\x1a\x00\x22\x00"));
	/* Metadata twice; a third name in the type. */
	assert_opaque(arena,
		      BYTES_LITERAL("k8s\0\x0a\x07\x0a\x02v1\x12\x01K\x12\x0a\x0a\x03\x2a\x01u"
				    "\x0a\x03\x2a\x01u\x1a\x00\x22\x00"));
	assert_opaque(arena, BYTES_LITERAL("k8s\0\x0a\x0a\x0a\x02v1\x12\x01K\x1a\x01X"
					   "\x12\x05\x0a\x03\x2a\x01u\x1a\x00\x22\x00"));
	/* CBOR: names as text strings, a head longer than need be. */
	assert_int_equal(split(arena, BYTES_LITERAL("\xd9\xd9\xf7\xa3\x44kind\x41K\x48metadata\xa1"
						    "\x43uid\x41u\x4a"
						    "apiVersion\x42v1"))
				 .format,
			 OBJECT_CBOR);
	assert_opaque(arena, BYTES_LITERAL("\xd9\xd9\xf7\xa3\x44kind\x41K\x68metadata\xa1"
					   "\x43uid\x41u\x4a"
					   "apiVersion\x42v1"));
	assert_opaque(arena, BYTES_LITERAL("\xd9\xd9\xf7\xb8\x03\x44kind\x41K\x48metadata\xa1"
					   "\x43uid\x41u\x4a"
					   "apiVersion\x42v1"));
}

static void test_big_maps_are_one_column(void **state)
{
	struct arena *arena = *state;

	for (unsigned entries = CODEC_ENTRIES_MAX; entries <= CODEC_ENTRIES_MAX + 1; entries++) {
		struct buffer buffer = BUFFER_INIT(1 << 20);
		struct object object;

		buffer_append_format(&buffer, "{\"apiVersion\":\"v1\",\"data\":{");
		for (unsigned i = 0; i < entries; i++)
			buffer_append_format(&buffer, "%s\"k%06u\":\"v\"", i ? "," : "", i);
		buffer_append_format(&buffer, "},\"kind\":\"ConfigMap\"," META "}\n");
		object = split(arena, buffer_bytes(&buffer));
		assert_int_equal(object.format, OBJECT_JSON);
		assert_int_equal(find(&object, "data", "", PART_WHOLE, "") == NULL,
				 entries == CODEC_ENTRIES_MAX);
		assert_gives_back(arena, &object, buffer_bytes(&buffer));
		buffer_fini(&buffer);
	}
}

static void test_a_full_arena_is_a_fault(void **state)
{
	struct node *tree = fake_object("Pod");
	struct bytes value = fake_value(*state, tree, ENCODING_PROTO);
	struct object object;
	enum err e = ERR_NOMEM;

	for (size_t bytes = 64; e; bytes += 512) {
		struct arena small;

		arena_init(&small, bytes);
		e = object_split(value, &small, &object);
		assert_true(e == ERR_OK || e == ERR_NOMEM);
		if (!e)
			assert_int_equal(object.format, OBJECT_PROTO);
		arena_fini(&small);
	}
	fake_free(tree);
}

static void test_changed_bytes_come_back_too(void **state)
{
	struct arena *arena = *state;
	unsigned opaque = 0, objects = 0;

	random_start(__func__);
	for (unsigned run = random_runs(20000); run > 0; run--) {
		struct node *tree = fake_object(fake_kinds[random_below(FAKE_KINDS)]);
		struct bytes value =
			fake_value(arena, tree, (enum encoding)random_below(ENCODINGS));
		uint8_t *copy = malloc(value.size); /* its own block, so that overreads are seen */
		size_t size = random_below(4) ? value.size : random_below((unsigned)value.size);
		struct object object;

		memcpy(copy, value.data, value.size);
		for (unsigned changes = random_below(4); changes > 0 && size; changes--)
			copy[random_below((unsigned)size)] = (uint8_t)random_next();
		copy = realloc(copy, size ? size : 1);
		object = split(arena, bytes_of(copy, size));
		assert_gives_back(arena, &object, bytes_of(copy, size));
		if (object.format == OBJECT_OPAQUE)
			opaque++;
		else
			objects++;
		free(copy);
		fake_free(tree);
		again(arena);
	}
	assert_true(opaque > 0 && objects > 0);
}

static void test_columns_of_no_object_are_refused(void **state)
{
	struct arena *arena = *state;
	struct object object = split(arena, BYTES_LITERAL(HEAD META ",\"spec\":1}\n"));
	struct column type = object.columns[0], column;
	struct bytes value;

	assert_int_equal(type.id.part, PART_TYPE);
	assert_int_equal(object_splice(NULL, 0, arena, &value), ERR_MALFORMED);
	assert_int_equal(object_splice(object.columns + 1, object.count - 1, arena, &value),
			 ERR_MALFORMED);
	for (size_t size = 0; size < type.bytes.size; size++) {
		column = type;
		column.bytes.size = size;
		assert_int_equal(object_splice(&column, 1, arena, &value), ERR_MALFORMED);
	}
	/* An opaque value without the value. */
	object = split(arena, BYTES_LITERAL("x"));
	assert_int_equal(object_splice(&object.columns[0], 1, arena, &value), ERR_MALFORMED);
	assert_int_equal(object_splice(&object.columns[1], 1, arena, &value), ERR_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_random_objects_come_back_byte_for_byte, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			test_any_mixture_of_columns_is_an_object_with_just_these, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_objects_of_a_real_apiserver_come_back_byte_for_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(test_columns_of_another_version_are_left_out, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_foreign_values_are_one_opaque_column, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_unusual_encodings_are_opaque, setup, teardown),
		cmocka_unit_test_setup_teardown(test_big_maps_are_one_column, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_full_arena_is_a_fault, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changed_bytes_come_back_too, setup, teardown),
		cmocka_unit_test_setup_teardown(test_columns_of_no_object_are_refused, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
