/* SPDX-License-Identifier: Apache-2.0 */
/* Deltas: made of two values, and from bytes that no site made.
 *
 * What must hold: a delta gives its value back and is shorter; any other bytes are refused or give
 * a value within its maximum, and leave the context as good as before. */
#include "tests/fuzz/fuzz.h"

#include "sync/limits.h"
#include "sync/message/delta.h"

#include <stdlib.h>

#define ARENA_BYTES (16 * MIB)

static struct delta_context *context;

static void context_free(void)
{
	delta_context_free(context);
}

int LLVMFuzzerInitialize(int *arg_count, char ***args)
{
	(void)arg_count, (void)args;
	fuzz_quiet();
	fuzz_must(!delta_context_new(&context));
	atexit(context_free);
	return 0;
}

static void must_come_back(struct arena *arena, struct bytes base, struct bytes value)
{
	struct bytes delta, back;

	fuzz_must(!delta_make(context, base, value, arena, &delta));
	if (!delta.size)
		return;
	fuzz_must(delta.size < value.size);
	fuzz_must(!delta_apply(context, base, delta, arena, &back));
	fuzz_must(bytes_equal(back, value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = fuzz_input_of(data, size);
	size_t base_size = fuzz_number(&input, 2);
	struct bytes rest = fuzz_rest(&input), base, other, value;
	struct arena arena;
	enum err e;

	base_size = base_size < rest.size ? base_size : rest.size;
	base = bytes_of(rest.data, base_size);
	other = bytes_of(rest.size ? rest.data + base_size : rest.data, rest.size - base_size);
	arena_init(&arena, ARENA_BYTES);
	e = delta_apply(context, base, other, &arena, &value);
	fuzz_must(!e || e == ERR_MALFORMED);
	fuzz_must(e ? !value.size : value.size > 0 && value.size <= VALUE_BYTES_MAX);
	must_come_back(&arena, base, other);
	must_come_back(&arena, other, base);
	arena_fini(&arena);
	return 0;
}
