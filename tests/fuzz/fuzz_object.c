/* SPDX-License-Identifier: Apache-2.0 */
/* Values cut into columns and put together: one as it comes, or the columns of two mixed.
 *
 * What must hold: what a split gave splices to the value, byte for byte; columns are in order, none
 * twice; any mixture of the columns of two objects of one layout is an object with just these. */
#include "tests/fuzz/fuzz.h"

#include "sync/codec/object.h"
#include "sync/limits.h"

#define ARENA_BYTES (64 * MIB)
#define MIXTURE_MAX 512 /* columns; below every limit of the codec */

int LLVMFuzzerInitialize(int *arg_count, char ***args)
{
	(void)arg_count, (void)args;
	fuzz_quiet();
	return 0;
}

static struct object split(struct arena *arena, struct bytes value)
{
	struct object object;
	struct bytes back;

	fuzz_must(!object_split(value, arena, &object));
	for (size_t i = 1; i < object.count; i++)
		fuzz_must(column_id_compare(&object.columns[i - 1].id, &object.columns[i].id) < 0);
	fuzz_must(!object_splice(object.columns, object.count, arena, &back));
	fuzz_must(bytes_equal(back, value));
	return object;
}

static bool is_fixed(const struct column *column)
{
	return column->id.part == PART_TYPE ||
	       (bytes_equal(column->id.field, BYTES_LITERAL("metadata")) &&
		bytes_equal(column->id.sub, BYTES_LITERAL("uid")));
}

static bool is_of(const struct object_type *type, const struct column *column)
{
	return column->id.layout == type->field_layout ||
	       column->id.layout == type->metadata_layout;
}

/* Any choice of columns of two objects; the type and the uid come from the first, and from the
 * second nothing that has another layout. */
static size_t mix(const struct object *a, const struct object *b, struct fuzz_input *choices,
		  struct column *ret_columns)
{
	size_t i = 0, j = 0, count = 0;
	struct object_type type;

	fuzz_must(a->columns[0].id.part == PART_TYPE &&
		  object_type_read(a->columns[0].bytes, &type));
	while (i < a->count || j < b->count) {
		int order = i == a->count ? 1
			    : j == b->count
				    ? -1
				    : column_id_compare(&a->columns[i].id, &b->columns[j].id);
		const struct column *left = order <= 0 ? &a->columns[i] : NULL;
		const struct column *right = order >= 0 ? &b->columns[j] : NULL;
		bool fixed = left && is_fixed(left);

		i += left != NULL;
		j += right != NULL;
		if (right && (is_fixed(right) || !is_of(&type, right)))
			right = NULL;
		if (fixed)
			right = NULL;
		else if (fuzz_below(choices, 2))
			*(left && right ? (fuzz_below(choices, 2) ? &left : &right)
			  : left	? &left
					: &right) = NULL;
		if (left || right)
			ret_columns[count++] = left ? *left : *right;
	}
	return count;
}

/* Orders change with what they order, an empty map is none once it has entries, and a field that
 * stands undivided is shown rather than its parts. */
static bool may_go(const struct column *columns, size_t count, const struct column *wanted)
{
	for (size_t i = 0; i < count; i++) {
		const struct column_id *id = &columns[i].id;
		bool same_sub = bytes_equal(id->sub, wanted->id.sub);

		if (&columns[i] == wanted || !bytes_equal(id->field, wanted->id.field))
			continue;
		if (id->part == PART_WHOLE && (same_sub || !id->sub.size))
			return true;
		if (id->part == PART_ENTRY && same_sub && wanted->id.part == PART_EMPTY)
			return true;
	}
	return wanted->id.part == PART_ORDER;
}

/* Nothing is lost, and nothing appears but orders, and a rest around what is inside it. */
static void must_be_mixture(const struct object *object, const struct column *columns, size_t count)
{
	size_t at = 0;

	for (size_t i = 0; i < count; i++) {
		const struct column *wanted = &columns[i];

		if (may_go(columns, count, wanted))
			continue;
		for (; at < object->count &&
		       column_id_compare(&object->columns[at].id, &wanted->id) < 0;
		     at++)
			fuzz_must(object->columns[at].id.part == PART_ORDER ||
				  object->columns[at].id.part == PART_REST);
		fuzz_must(at < object->count);
		fuzz_must(column_id_equal(&object->columns[at].id, &wanted->id));
		fuzz_must(bytes_equal(object->columns[at].bytes, wanted->bytes));
		at++;
	}
}

static void fuzz_mixture(struct arena *arena, struct fuzz_input *input)
{
	static struct column columns[MIXTURE_MAX];
	uint8_t bits[16];
	struct fuzz_input choices = {bits, sizeof(bits)};
	size_t size = fuzz_number(input, 2), count;
	struct object a, b, back;
	struct bytes rest, value;

	for (size_t i = 0; i < sizeof(bits); i++)
		bits[i] = fuzz_byte(input);
	rest = fuzz_rest(input);
	size = size < rest.size ? size : rest.size;
	a = split(arena, bytes_of(rest.data, size));
	b = split(arena, bytes_of(rest.size ? rest.data + size : rest.data, rest.size - size));
	if (a.format == OBJECT_OPAQUE || b.format == OBJECT_OPAQUE ||
	    a.count + b.count > MIXTURE_MAX)
		return;
	count = mix(&a, &b, &choices, columns);
	fuzz_must(!object_splice(columns, count, arena, &value));
	back = split(arena, value);
	fuzz_must(back.format == a.format);
	fuzz_must(bytes_equal(back.uid, a.uid));
	must_be_mixture(&back, columns, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = fuzz_input_of(data, size);
	struct arena arena;

	arena_init(&arena, ARENA_BYTES);
	if (fuzz_below(&input, 2))
		fuzz_mixture(&arena, &input);
	else
		split(&arena, fuzz_rest(&input));
	arena_fini(&arena);
	return 0;
}
