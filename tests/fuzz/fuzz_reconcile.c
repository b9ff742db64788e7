/* SPDX-License-Identifier: Apache-2.0 */
/* Two sites compare their keys, while somebody changes their messages or speaks for one of them.
 *
 * What must hold: untouched, exactly the differences are found; a message that no peer sends is
 * refused, or answered within the bound of an answer; no key outside the range is reported. */
#include "tests/fuzz/fuzz.h"

#include "sync/limits.h"
#include "sync/reconcile/reconcile.h"

#include <stdio.h>

#define FOLDERS 7
#define FOLDER_KEYS 40
#define KEY_BYTES 24
#define ROUNDS_MAX 2000
/* Of an answer beyond bytes_max: one list of keys or the parts of one range. */
#define EXCESS_BYTES (RECONCILE_LEAF_KEYS * (KEY_BYTES + 16))

struct key {
	struct bytes text;
	bool here;
	bool there;
	bool differs;
	bool found;
	enum difference as;
};

struct world {
	struct key keys[FOLDERS * FOLDER_KEYS]; /* ascending */
	size_t count;
	struct sequence sequences[2];
	struct bytes low;
	struct bytes high;
	bool is_honest;
};

static struct world world;

/* All keys there may be, and the hash of each in two states: hashing takes most of the time. */
static char texts[FOLDERS * FOLDER_KEYS][KEY_BYTES];
static struct state_hash hashes[FOLDERS * FOLDER_KEYS][2];

int LLVMFuzzerInitialize(int *arg_count, char ***args)
{
	(void)arg_count, (void)args;
	fuzz_quiet();
	for (size_t i = 0; i < FOLDERS * FOLDER_KEYS; i++) {
		struct bytes text = bytes_of(texts[i], 0);

		snprintf(texts[i], KEY_BYTES, "/r/%c/%c%zu", (char)('a' + i / FOLDER_KEYS),
			 (char)('a' + i % FOLDER_KEYS / 10), i % 10);
		text.size = strlen(texts[i]);
		hashes[i][0] = state_hash_of(text, BYTES_LITERAL("a"));
		hashes[i][1] = state_hash_of(text, BYTES_LITERAL("b"));
	}
	return 0;
}

static bool is_inside(struct bytes key)
{
	return bytes_compare(world.low, key) <= 0 &&
	       (!world.high.size || bytes_compare(key, world.high) < 0);
}

static void on_difference(void *context, struct bytes text, enum difference difference)
{
	(void)context;
	fuzz_must(is_inside(text));
	for (size_t i = 0; i < world.count && world.is_honest; i++)
		if (bytes_equal(world.keys[i].text, text)) {
			world.keys[i].found = true;
			world.keys[i].as = difference;
			return;
		}
	fuzz_must(!world.is_honest);
}

/* Some keys in each folder; which of them a side has and which differ is by chance. */
static void build(struct fuzz_input *input)
{
	size_t per_folder = 1 + fuzz_byte(input) % FOLDER_KEYS;
	unsigned chance = fuzz_byte(input), state = (unsigned)fuzz_number(input, 2);

	world = (struct world){0};
	for (size_t i = 0; i < FOLDERS * FOLDER_KEYS; i++) {
		struct key *key = &world.keys[world.count];

		if (i % FOLDER_KEYS >= per_folder)
			continue;
		world.count++;
		key->text = bytes_of_string(texts[i]);
		state = state * 1103515245 + 12345;
		key->here = (state >> 16 & 0xff) >= chance;
		key->there = (state >> 24 & 0xff) >= chance;
		key->differs = (state >> 8 & 0xff) < chance;
		if (key->here)
			fuzz_must(!sequence_add(&world.sequences[0], key->text, hashes[i][0]));
		if (key->there)
			fuzz_must(!sequence_add(&world.sequences[1], key->text,
						hashes[i][key->differs]));
	}
}

static void choose_range(struct fuzz_input *input)
{
	static const char *const bounds[] = {"", "/r/a/a5", "/r/c/", "/r/c0", "/r/e/b", "~"};
	unsigned low = fuzz_below(input, 6), high = fuzz_below(input, 6);

	world.low = bytes_of_string(bounds[low < high ? low : 0]);
	world.high = bytes_of_string(bounds[low < high ? high : 0]);
}

static void must_be_exact(void)
{
	for (size_t i = 0; i < world.count; i++) {
		const struct key *key = &world.keys[i];
		bool expected = is_inside(key->text) &&
				(key->here != key->there || (key->here && key->differs));

		fuzz_must(key->found == expected);
		fuzz_must(!expected || key->as == (key->here && key->there ? DIFFERENCE_BOTH
						   : key->here		   ? DIFFERENCE_HERE_ONLY
							       : DIFFERENCE_THERE_ONLY));
	}
}

/* Changes a message by the next bytes of the input: over what is there, or put in. */
static void change(struct fuzz_input *input, struct buffer *message)
{
	size_t at = message->size ? fuzz_number(input, 2) % message->size : 0;
	struct bytes bytes = fuzz_bytes(input, 64), whole = buffer_bytes(message);
	struct buffer changed = BUFFER_INIT(64 * MIB);
	size_t over = fuzz_below(input, 2) ? bytes.size : 0;

	over = over < whole.size - at ? over : whole.size - at;
	fuzz_must(
		buffer_append(&changed, bytes_of(whole.data, at)) &&
		buffer_append(&changed, bytes) &&
		buffer_append(&changed, bytes_of(whole.data + at + over, whole.size - at - over)));
	buffer_fini(message);
	*message = changed;
}

/* What one side says to a message, of which it keeps nothing. */
static enum err step(const struct reconcile *side, const struct buffer *message,
		     struct buffer *answer, bool *ret_done)
{
	enum err e;

	answer->size = 0;
	e = reconcile_step(side, buffer_bytes(message), answer, ret_done);
	fuzz_must(!e || e == ERR_MALFORMED);
	fuzz_must(answer->size <= side->bytes_max + EXCESS_BYTES + 3 * message->size);
	fuzz_must(!*ret_done || (side->asks && !answer->size));
	return e;
}

static void converse(struct fuzz_input *input, size_t bytes_max)
{
	struct buffer message = BUFFER_INIT(64 * MIB), answer = BUFFER_INIT(64 * MIB);
	struct reconcile sides[2];
	unsigned round = 0, changed_round = fuzz_byte(input);
	bool done = false;
	enum err e = ERR_OK;

	world.is_honest = changed_round > 16;
	for (unsigned i = 0; i < 2; i++)
		sides[i] = (struct reconcile){.sequence = &world.sequences[i],
					      .low = world.low,
					      .high = world.high,
					      .nonce = 42,
					      .bytes_max = bytes_max,
					      .asks = i == 0,
					      .on_difference = on_difference};
	fuzz_must(!reconcile_start(&sides[0], &message));
	for (; !e && !done && round < ROUNDS_MAX; round++) {
		struct buffer swap = message;

		if (!world.is_honest && round >= changed_round && fuzz_more(input))
			change(input, &message);
		e = step(&sides[(round + 1) % 2], &message, &answer, &done);
		swap = message;
		message = answer;
		answer = swap;
	}
	if (world.is_honest) {
		fuzz_must(!e && done);
		must_be_exact();
	}
	buffer_fini(&message);
	buffer_fini(&answer);
}

/* Bytes that have nothing of a message. */
static void listen(struct fuzz_input *input, size_t bytes_max)
{
	struct buffer message = BUFFER_INIT(64 * MIB), answer = BUFFER_INIT(64 * MIB);
	unsigned asks = fuzz_below(input, 2);
	struct reconcile side = {.sequence = &world.sequences[asks],
				 .low = world.low,
				 .high = world.high,
				 .bytes_max = bytes_max,
				 .asks = asks,
				 .on_difference = on_difference};
	bool done;

	fuzz_must(buffer_append(&message, fuzz_rest(input)));
	step(&side, &message, &answer, &done);
	buffer_fini(&message);
	buffer_fini(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = fuzz_input_of(data, size);
	bool listens = fuzz_below(&input, 2);
	size_t bytes_max;

	build(&input);
	choose_range(&input);
	bytes_max = 200 + 16 * (size_t)fuzz_byte(&input);
	if (listens)
		listen(&input, bytes_max);
	else
		converse(&input, bytes_max);
	sequence_fini(&world.sequences[0]);
	sequence_fini(&world.sequences[1]);
	return 0;
}
