/* SPDX-License-Identifier: Apache-2.0 */
/* The meta of a key beside its visible value, from bytes that no encode gave.
 *
 * What must hold: what is not refused is a state in order; encoded again, beside this value or
 * beside none, it comes back the same; merged with itself it stays; what is visible of it is whole,
 * and a client's write of anything can be read. */
#include "tests/fuzz/fuzz.h"

#include "sync/limits.h"
#include "sync/merge/meta.h"
#include "sync/merge/visible.h"

#define ARENA_BYTES (256 * MIB)

int LLVMFuzzerInitialize(int *arg_count, char ***args)
{
	(void)arg_count, (void)args;
	fuzz_quiet();
	return 0;
}

static void must_be_in_order(const struct state *state)
{
	for (size_t i = 0; i < state->count; i++) {
		const struct birth *birth = &state->births[i];

		fuzz_must(!i || dot_compare(&birth[-1].dot, &birth->dot) < 0);
		for (size_t j = 0; j < birth->count; j++) {
			const struct cell *cell = &birth->cells[j];

			fuzz_must(!j || column_id_compare(&cell[-1].id, &cell->id) < 0);
			fuzz_must(cell->count > 0);
			for (size_t k = 1; k < cell->count; k++)
				fuzz_must(dot_compare(&cell->siblings[k - 1].dot,
						      &cell->siblings[k].dot) < 0);
		}
	}
}

static void must_come_back(struct arena *arena, const struct state *state,
			   const struct shown *shown)
{
	struct dot plain = {.revision = 1};
	struct bytes meta;
	struct state back;

	fuzz_must(!meta_encode(state, shown, arena, &meta));
	if (!state->count)
		return;
	fuzz_must(!meta_decode(meta, shown, &plain, arena, &back));
	fuzz_must(state_equal(state, &back));
}

static void gather(struct vector *vector, const struct dot *dot)
{
	fuzz_must(!vector_add(vector, &dot->actor, dot->revision, dot->revision));
}

static void must_stay(struct arena *arena, const struct state *state)
{
	struct vector vector = {0};
	struct context context = {.vector = &vector};
	struct side side = {state, &context};
	struct state merged;

	for (size_t i = 0; i < state->count; i++) {
		const struct birth *birth = &state->births[i];

		gather(&vector, &birth->dot);
		for (size_t j = 0; j < birth->count; j++)
			for (size_t k = 0; k < birth->cells[j].count; k++)
				gather(&vector, &birth->cells[j].siblings[k].dot);
	}
	fuzz_must(!state_merge(&side, &side, arena, &merged));
	fuzz_must(state_equal(state, &merged));
	vector_fini(&vector);
}

/* By an actor that nobody has heard of. */
static void must_be_written(struct arena *arena, const struct state *state,
			    const struct visible *visible, struct bytes value)
{
	struct policy policy = {0};
	struct write write = {
		.old = state,
		.old_value = visible->value,
		.old_present = visible->present,
		.value = value,
		.dot = {{.incarnation = 99}, REV_MAIN_MAX},
		.stamp = UINT64_MAX,
	};
	struct visible after;
	struct state written;

	fuzz_must(!state_write(&write, &policy, arena, &written));
	must_be_in_order(&written);
	fuzz_must(!state_visible(&written, &policy, arena, &after));
	fuzz_must(after.present && bytes_equal(after.value, value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = fuzz_input_of(data, size);
	struct shown shown = {.present = fuzz_below(&input, 2)}, nothing = {0};
	size_t value_size = fuzz_number(&input, 2);
	struct dot plain = {{.incarnation = 1}, 1};
	struct bytes rest = fuzz_rest(&input);
	struct visible visible;
	struct state state;
	struct arena arena;
	enum err e;

	value_size = value_size < rest.size ? value_size : rest.size;
	arena_init(&arena, ARENA_BYTES);
	if (shown.present)
		shown.value = bytes_of(rest.data, value_size);
	e = meta_decode(bytes_of(rest.size ? rest.data + value_size : NULL, rest.size - value_size),
			&shown, &plain, &arena, &state);
	fuzz_must(!e || e == ERR_MALFORMED);
	if (!e) {
		must_be_in_order(&state);
		must_come_back(&arena, &state, &shown);
		must_come_back(&arena, &state, &nothing);
		must_stay(&arena, &state);
		fuzz_must(!state_visible(&state, &(struct policy){0}, &arena, &visible));
		must_be_written(&arena, &state, &visible, shown.value);
	}
	arena_fini(&arena);
	return 0;
}
