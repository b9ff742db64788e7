/* SPDX-License-Identifier: Apache-2.0 */
/* test_reconcile.c - two sets of keys are compared; what is found is compared with what is. */
#include "sync/limits.h"
#include "sync/reconcile/reconcile.h"
#include "sync/wire.h"
#include "tests/unit/sync/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define KEYS_MAX 100000
#define KEY_BYTES 96
#define ROUNDS_MAX 100000

struct entry {
	char key[KEY_BYTES];
	bool here;
	bool there;
	bool differs;
	unsigned found; /* how often it was reported, and as what */
	enum difference as;
};

struct pair {
	struct entry *entries; /* ascending */
	size_t count;
	struct sequence sequences[2];
	size_t bytes;
	size_t largest;
	unsigned messages;
};

static int entry_order(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->key, ((const struct entry *)b)->key);
}

static void on_difference(void *context, struct bytes key, enum difference difference)
{
	struct pair *pair = context;
	struct entry wanted;
	struct entry *entry;

	assert_true(key.size < KEY_BYTES);
	memset(&wanted, 0, sizeof wanted);
	memcpy(wanted.key, key.data, key.size);
	entry = bsearch(&wanted, pair->entries, pair->count, sizeof(wanted), entry_order);
	assert_non_null(entry);
	entry->found++;
	entry->as = difference;
}

static struct state_hash hash_of(const struct entry *entry, bool other)
{
	return state_hash_of(bytes_of_string(entry->key), bytes_of(other ? "b" : "a", 1));
}

static void fill(struct pair *pair)
{
	qsort(pair->entries, pair->count, sizeof(*pair->entries), entry_order);
	for (size_t i = 0; i < pair->count; i++) {
		struct entry *entry = &pair->entries[i];
		struct bytes key = bytes_of_string(entry->key);

		if (entry->here)
			assert_int_equal(
				sequence_add(&pair->sequences[0], key, hash_of(entry, false)),
				ERR_OK);
		if (entry->there)
			assert_int_equal(sequence_add(&pair->sequences[1], key,
						      hash_of(entry, entry->differs)),
					 ERR_OK);
	}
}

static void count_message(struct pair *pair, const struct buffer *message)
{
	pair->messages++;
	pair->bytes += message->size;
	if (message->size > pair->largest)
		pair->largest = message->size;
	assert_true(pair->messages < ROUNDS_MAX);
}

static void compare(struct pair *pair, struct bytes low, struct bytes high, size_t bytes_max)
{
	struct buffer buffers[2] = {BUFFER_INIT(64 * MIB), BUFFER_INIT(64 * MIB)};
	struct reconcile sides[2];
	bool done = false;

	for (unsigned i = 0; i < 2; i++)
		sides[i] = (struct reconcile){&pair->sequences[i], low,	   high,	  42,
					      bytes_max,	   i == 0, on_difference, pair};
	assert_int_equal(reconcile_start(&sides[0], &buffers[0]), ERR_OK);
	while (!done) {
		count_message(pair, &buffers[0]);
		buffers[1].size = 0;
		assert_int_equal(
			reconcile_step(&sides[1], buffer_bytes(&buffers[0]), &buffers[1], &done),
			ERR_OK);
		assert_false(done);
		count_message(pair, &buffers[1]);
		buffers[0].size = 0;
		assert_int_equal(
			reconcile_step(&sides[0], buffer_bytes(&buffers[1]), &buffers[0], &done),
			ERR_OK);
	}
	buffer_fini(&buffers[0]);
	buffer_fini(&buffers[1]);
}

/* once: nothing is reported twice. */
static void assert_exact(const struct pair *pair, struct bytes low, struct bytes high, bool once)
{
	for (size_t i = 0; i < pair->count; i++) {
		const struct entry *entry = &pair->entries[i];
		struct bytes key = bytes_of_string(entry->key);
		bool inside = bytes_compare(low, key) <= 0 &&
			      (!high.size || bytes_compare(key, high) < 0);
		bool expected =
			inside && (entry->here != entry->there || (entry->here && entry->differs));

		assert_int_equal(entry->found > 0, expected);
		assert_true(!once || entry->found <= 1);
		if (expected)
			assert_int_equal(entry->as, entry->here && entry->there ? DIFFERENCE_BOTH
						    : entry->here ? DIFFERENCE_HERE_ONLY
								  : DIFFERENCE_THERE_ONLY);
	}
}

static void pair_open(struct pair *pair, size_t count)
{
	*pair = (struct pair){.entries = calloc(count + 1, sizeof(*pair->entries)), .count = count};
}

static void pair_close(struct pair *pair)
{
	sequence_fini(&pair->sequences[0]);
	sequence_fini(&pair->sequences[1]);
	free(pair->entries);
}

/* Keys as an apiserver's: some long prefixes, some shared names. */
static void name_entry(struct entry *entry, size_t number)
{
	static const char *const kinds[] = {"pods",    "configmaps",	 "events",
					    "secrets", "services/specs", "deployments"};

	snprintf(entry->key, KEY_BYTES, "/registry/%s/namespace-%zu/name-%zx-%zx",
		 kinds[number % 6], number * 2654435761u % 50, number * 2654435761u % 65521,
		 number);
}

static void random_pair(struct pair *pair)
{
	size_t counts[] = {0, 1, 2, 31, 32, 33, 34, 500, 3000};
	unsigned shape = random_below(6), rate = 1 + random_below(200);

	pair_open(pair, counts[random_below(9)] + random_below(5));
	for (size_t i = 0; i < pair->count; i++) {
		struct entry *entry = &pair->entries[i];

		name_entry(entry, i);
		entry->here = shape != 0 && (shape != 2 || !random_below(3));
		entry->there = shape != 1 && (shape != 3 || !random_below(rate));
		if (random_below(rate))
			continue;
		entry->differs = random_below(2);
		if (!random_below(3))
			entry->here = !entry->here;
	}
	fill(pair);
}

static void test_exactly_the_differences_are_found(void **state)
{
	(void)state;
	random_start(__func__);
	for (unsigned run = random_runs(300); run > 0; run--) {
		static const char *const bounds[] = {
			"", "/registry/e", "/registry/pods/", "/registry/pods0", "/registry/t",
			"~"};
		unsigned low = random_below(6), high = random_below(6);
		struct bytes from = bytes_of_string(bounds[low < high ? low : 0]);
		struct bytes to = bytes_of_string(bounds[low < high ? high : 0]);
		bool cut = random_below(2);
		struct pair pair;

		random_pair(&pair);
		compare(&pair, from, to, cut ? 500 : 64 * MIB);
		assert_exact(&pair, from, to, !cut);
		pair_close(&pair);
	}
}

static void large_pair(struct pair *pair, size_t differences)
{
	pair_open(pair, KEYS_MAX);
	for (size_t i = 0; i < KEYS_MAX; i++) {
		name_entry(&pair->entries[i], i);
		pair->entries[i].here = pair->entries[i].there = true;
	}
	for (size_t i = 0; i < differences; i++)
		pair->entries[random_below(KEYS_MAX)].differs = true;
	fill(pair);
	compare(pair, bytes_of("", 0), bytes_of("", 0), RECONCILE_MESSAGE_BYTES);
	assert_exact(pair, bytes_of("", 0), bytes_of("", 0), true);
	printf("%zu differences: %zu bytes in %u messages, the largest %zu\n", differences,
	       pair->bytes, pair->messages, pair->largest);
}

static void test_few_bytes_find_few_differences_in_100000_keys(void **state)
{
	static const struct {
		size_t differences, bytes_max;
	} bars[] = {{0, 32}, {1, 4000}, {100, 100000}};

	(void)state;
	random_start(__func__);
	for (size_t i = 0; i < 3; i++) {
		uint8_t roots[2][STATE_HASH_BYTES];
		struct pair pair;

		large_pair(&pair, bars[i].differences);
		assert_true(pair.bytes <= bars[i].bytes_max);
		assert_true(pair.largest <= RECONCILE_MESSAGE_BYTES + 4 * KIB);
		sequence_root(&pair.sequences[0], roots[0]);
		sequence_root(&pair.sequences[1], roots[1]);
		assert_int_equal(!memcmp(roots[0], roots[1], STATE_HASH_BYTES),
				 bars[i].differences == 0);
		pair_close(&pair);
	}
}

static void test_messages_keep_their_size_when_everything_differs(void **state)
{
	struct pair pair;

	(void)state;
	pair_open(&pair, 20000);
	for (size_t i = 0; i < pair.count; i++) {
		name_entry(&pair.entries[i], i);
		pair.entries[i].there = true;
	}
	fill(&pair);
	compare(&pair, bytes_of("", 0), bytes_of("", 0), 4 * KIB);
	assert_exact(&pair, bytes_of("", 0), bytes_of("", 0), false);
	assert_true(pair.largest <= 8 * KIB);
	pair_close(&pair);
}

static void test_a_root_tells_states_and_keys_apart(void **state)
{
	struct bytes a = BYTES_LITERAL("a"), ab = BYTES_LITERAL("ab"), b = BYTES_LITERAL("b");
	struct bytes none = {0};
	struct state_hash one = state_hash_of(a, ab), two = state_hash_of(ab, b);
	struct sequence first = {0}, second = {0};
	uint8_t roots[2][STATE_HASH_BYTES];

	(void)state;
	/* The key's length counts: "a"+"bb" is not "ab"+"b". */
	assert_true(state_hash_of(a, BYTES_LITERAL("bb")).low != state_hash_of(ab, b).low);
	assert_int_equal(sequence_add(&first, a, one), ERR_OK);
	assert_int_equal(sequence_add(&first, b, two), ERR_OK);
	assert_int_equal(sequence_add(&second, a, one), ERR_OK);
	sequence_root(&first, roots[0]);
	sequence_root(&second, roots[1]);
	assert_memory_not_equal(roots[0], roots[1], STATE_HASH_BYTES);
	assert_int_equal(sequence_sum(&first, 1, 2).low, two.low);
	assert_int_equal(sequence_sum(&first, 1, 2).high, two.high);
	assert_int_equal(sequence_find(&first, none), 0);
	assert_int_equal(sequence_find(&first, ab), 1);
	assert_int_equal(sequence_find(&first, BYTES_LITERAL("c")), 2);
	sequence_fini(&first);
	sequence_fini(&second);
}

static void ignore(void *context, struct bytes key, enum difference difference)
{
	(void)context;
	(void)key;
	(void)difference;
}

static void test_changed_messages_are_refused_or_answered(void **state)
{
	unsigned refused = 0, answered = 0;
	struct pair pair;

	(void)state;
	random_start(__func__);
	pair_open(&pair, 300);
	for (size_t i = 0; i < pair.count; i++) {
		name_entry(&pair.entries[i], i);
		pair.entries[i].here = pair.entries[i].there = i % 40 != 0;
		pair.entries[i].differs = i % 50 == 1;
		if (i % 40 == 0)
			pair.entries[i].here = true;
	}
	fill(&pair);
	for (unsigned run = random_runs(3000); run > 0; run--) {
		struct buffer message = BUFFER_INIT(64 * MIB), answer = message, last = message;
		struct reconcile sides[2];
		unsigned rounds = random_below(3);
		bool done;
		enum err e = ERR_OK;

		for (unsigned i = 0; i < 2; i++)
			sides[i] = (struct reconcile){.sequence = &pair.sequences[i],
						      .nonce = 7,
						      .bytes_max = 2000,
						      .asks = i == 0,
						      .on_difference = ignore};
		assert_int_equal(reconcile_start(&sides[0], &message), ERR_OK);
		for (unsigned round = 0; round < rounds && message.size; round++) {
			answer.size = 0;
			assert_int_equal(reconcile_step(&sides[!(round & 1)],
							buffer_bytes(&message), &answer, &done),
					 ERR_OK);
			last = message;
			message = answer;
			answer = last;
		}
		if (message.size) {
			size_t size = random_below(4) ? message.size
						      : random_below((unsigned)message.size);
			uint8_t *copy = malloc(size ? size : 1);

			memcpy(copy, buffer_bytes(&message).data, size);
			for (unsigned changes = random_below(3); changes > 0 && size; changes--)
				copy[random_below((unsigned)size)] = (uint8_t)random_next();
			answer.size = 0;
			e = reconcile_step(&sides[!(rounds & 1)], bytes_of(copy, size), &answer,
					   &done);
			free(copy);
		}
		assert_true(e == ERR_OK || e == ERR_MALFORMED);
		refused += e != ERR_OK;
		answered += e == ERR_OK;
		buffer_fini(&message);
		buffer_fini(&answer);
	}
	assert_true(refused > 0 && answered > 0);
	pair_close(&pair);
}

/* Of [b, d), by a peer that would like to hear, or tell, more. */
static void test_keys_outside_the_range_are_neither_told_nor_taken(void **state)
{
	static const struct {
		struct bytes message;
		bool asks;
		bool ok;
	} cases[] = {
		/* fingerprints of all up to c, to d and to e */
		{BYTES_LITERAL("\1........\1\1c"), false, true},
		{BYTES_LITERAL("\1........\1\1d"), false, false},
		{BYTES_LITERAL("\1........\1\1e"), false, false},
		/* lists of c, a, d, and of c in [b, c) */
		{BYTES_LITERAL("\2\1\0\1c........\0"), true, true},
		{BYTES_LITERAL("\2\1\0\1a........\0"), true, false},
		{BYTES_LITERAL("\2\1\0\1d........\0"), true, false},
		{BYTES_LITERAL("\2\1\0\1c........\1\1c"), true, false},
		/* differences in c, a and d */
		{BYTES_LITERAL("\3\3\0\1c\0\0"), true, true},
		{BYTES_LITERAL("\3\3\0\1a\0\0"), true, false},
		{BYTES_LITERAL("\3\3\0\1d\0\0"), true, false},
	};
	struct sequence sequence = {0};

	(void)state;
	for (char key = 'a'; key < 'f'; key++)
		assert_int_equal(sequence_add(&sequence, bytes_of(&"abcdef"[key - 'a'], 1),
					      (struct state_hash){1, 1}),
				 ERR_OK);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct reconcile reconcile = {.sequence = &sequence,
					      .low = BYTES_LITERAL("b"),
					      .high = BYTES_LITERAL("d"),
					      .bytes_max = 2000,
					      .asks = cases[i].asks,
					      .on_difference = ignore};
		struct buffer answer = BUFFER_INIT(MIB);
		bool done;

		assert_int_equal(reconcile_step(&reconcile, cases[i].message, &answer, &done),
				 cases[i].ok ? ERR_OK : ERR_MALFORMED);
		buffer_fini(&answer);
	}
	sequence_fini(&sequence);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exactly_the_differences_are_found),
		cmocka_unit_test(test_few_bytes_find_few_differences_in_100000_keys),
		cmocka_unit_test(test_messages_keep_their_size_when_everything_differs),
		cmocka_unit_test(test_a_root_tells_states_and_keys_apart),
		cmocka_unit_test(test_changed_messages_are_refused_or_answered),
		cmocka_unit_test(test_keys_outside_the_range_are_neither_told_nor_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
