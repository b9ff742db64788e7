/* SPDX-License-Identifier: Apache-2.0 */
/* test_message.c - random messages of every kind go over the wire and back; damaged ones, larger
 * ones and those of another version. */
#include "sync/message/message.h"
#include "tests/unit/sync/random_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void encode(const struct message *message, struct buffer *buffer)
{
	buffer->size = 0;
	assert_int_equal(message_encode(message, buffer), ERR_OK);
}

/* In memory of its exact size, so that a sanitizer sees a byte too far. */
static enum err decode_exactly(struct bytes bytes, struct arena *arena)
{
	uint8_t *exact = malloc(bytes.size ? bytes.size : 1);
	struct message message;
	enum err e;

	assert_non_null(exact);
	if (bytes.size)
		memcpy(exact, bytes.data, bytes.size);
	e = message_decode(bytes_of(exact, bytes.size), arena, &message);
	if (!e) {
		assert_true(message_is_sound(&message));
		message_fini(&message);
	}
	free(exact);
	return e;
}

static void test_a_message_comes_back_as_it_was(void **state)
{
	struct buffer buffer = BUFFER_INIT(MESSAGE_BYTES_MAX),
		      again = BUFFER_INIT(MESSAGE_BYTES_MAX);

	(void)state;
	random_start(__func__);
	for (unsigned run = 0; run < random_runs(3000); run++) {
		enum message_kind kind = (enum message_kind)(run % MESSAGE_KINDS);
		struct message message, back;
		struct arena arena;

		arena_init(&arena, MIB);
		random_message(&arena, kind, &message);
		assert_true(message_is_sound(&message));
		encode(&message, &buffer);
		assert_int_equal(message_decode(buffer_bytes(&buffer), &arena, &back), ERR_OK);
		if (!same_message(&message, &back))
			fail_msg("a %s came back as another", message_name(kind));
		encode(&back, &again);
		assert_true(bytes_equal(buffer_bytes(&buffer), buffer_bytes(&again)));
		message_fini(&message);
		message_fini(&back);
		arena_fini(&arena);
	}
	buffer_fini(&buffer);
	buffer_fini(&again);
}

static void test_a_message_that_was_cut_or_flipped_is_refused_or_sound(void **state)
{
	struct buffer buffer = BUFFER_INIT(MESSAGE_BYTES_MAX);
	unsigned refused = 0, taken = 0;

	(void)state;
	random_start(__func__);
	for (unsigned run = 0; run < random_runs(20000); run++) {
		struct message message;
		struct bytes bytes;
		struct arena arena;
		enum err e;

		arena_init(&arena, MESSAGE_ARENA_BYTES_MAX);
		random_message(&arena, (enum message_kind)random_below(MESSAGE_KINDS), &message);
		encode(&message, &buffer);
		message_fini(&message);
		bytes = buffer_bytes(&buffer);
		if (random_below(2))
			bytes.size = random_below((unsigned)bytes.size + 1);
		for (unsigned flips = random_below(4); bytes.size && flips > 0; flips--)
			((uint8_t *)bytes.data)[random_below((unsigned)bytes.size)] ^=
				(uint8_t)(1u << random_below(8));
		e = decode_exactly(bytes, &arena);
		assert_true(e == ERR_OK || e == ERR_MALFORMED || e == ERR_REQUEST_TOO_LARGE);
		refused += e != ERR_OK;
		taken += e == ERR_OK;
		arena_fini(&arena);
	}
	assert_true(refused > 1000 && taken > 1000);
	buffer_fini(&buffer);
}

/* --- other versions --------------------------------------------------------------------------- */

static void put_field(struct buffer *buffer, unsigned number, struct bytes bytes)
{
	assert_true(wire_put_number(buffer, number << 3 | 2) && wire_put_bytes(buffer, bytes));
}

/* Fields that no version knows yet, of each wire type, and known ones of another type. */
static void put_unknown(struct buffer *buffer)
{
	static const uint8_t numbers[] = {0x80 | (100 << 3 & 0x7f),
					  100 >> 4,
					  7,
					  0x80 | (101 << 3 & 0x7f) | 1,
					  101 >> 4,
					  1,
					  2,
					  3,
					  4,
					  5,
					  6,
					  7,
					  8,
					  0x80 | (102 << 3 & 0x7f) | 5,
					  102 >> 4,
					  1,
					  2,
					  3,
					  4,
					  0x80 | (103 << 3 & 0x7f) | 3,
					  103 >> 4,
					  8,
					  1,
					  0x80 | (103 << 3 & 0x7f) | 4,
					  103 >> 4,
					  1 << 3 | 5,
					  1,
					  2,
					  3,
					  4};

	put_field(buffer, 99, BYTES_LITERAL("new"));
	assert_true(buffer_append(buffer, bytes_of(numbers, sizeof(numbers))));
}

static void test_fields_of_a_newer_version_are_skipped(void **state)
{
	struct buffer entry = BUFFER_INIT(MIB), window = BUFFER_INIT(MIB), all = BUFFER_INIT(MIB);
	struct message message;
	struct arena arena;

	(void)state;
	put_unknown(&entry);
	put_field(&entry, 1, BYTES_LITERAL("/registry/pods/a/b"));
	assert_true(buffer_append(&entry, BYTES_LITERAL("\x38\x05"))); /* revision 5 */
	put_unknown(&entry);
	put_unknown(&window);
	put_field(&window, 12, buffer_bytes(&entry));
	assert_true(buffer_append(&window, BYTES_LITERAL("\x18\x04\x20\x05"))); /* (4, 5] */
	put_unknown(&all);
	put_field(&all, 2, buffer_bytes(&window));
	put_unknown(&all);
	arena_init(&arena, MIB);
	assert_int_equal(message_decode(buffer_bytes(&all), &arena, &message), ERR_OK);
	assert_int_equal(message.kind, MESSAGE_WINDOW);
	assert_int_equal(message.as.window.from, 4);
	assert_int_equal(message.as.window.to, 5);
	assert_int_equal(message.as.window.entry_count, 1);
	assert_int_equal(message.as.window.entries[0].revision, 5);
	assert_true(
		bytes_equal(message.as.window.entries[0].key, BYTES_LITERAL("/registry/pods/a/b")));
	message_fini(&message);
	arena_fini(&arena);
	buffer_fini(&entry);
	buffer_fini(&window);
	buffer_fini(&all);
}

static enum err decode_literal(struct bytes bytes, struct message *ret_message)
{
	struct arena arena;
	enum err e;

	arena_init(&arena, MIB);
	e = message_decode(bytes, &arena, ret_message);
	arena_fini(&arena);
	return e;
}

static void test_what_only_a_newer_version_says_is_malformed(void **state)
{
	struct message message;

	(void)state;
	/* no kind, a kind of number 13, and two kinds */
	assert_int_equal(decode_literal(BYTES_LITERAL(""), &message), ERR_MALFORMED);
	assert_int_equal(decode_literal(BYTES_LITERAL("\x6a\0"), &message), ERR_MALFORMED);
	assert_int_equal(decode_literal(BYTES_LITERAL("\x52\0\x1a\0"), &message), ERR_MALFORMED);
	/* an ack for group 2 */
	assert_int_equal(decode_literal(BYTES_LITERAL("\x1a\2\x08\2"), &message), ERR_MALFORMED);
	/* a live key without a value in a form that is known */
	assert_int_equal(decode_literal(BYTES_LITERAL("\x4a\7\x12\5\x0a\1k\x10\1"), &message),
			 ERR_MALFORMED);
	assert_int_equal(decode_literal(BYTES_LITERAL("\x4a\7\x12\5\x0a\1k\x22\0"), &message),
			 ERR_MALFORMED);
}

static void test_a_newer_reason_of_refusal_is_other_and_its_text_is_kept(void **state)
{
	struct message message;

	(void)state;
	assert_int_equal(decode_literal(BYTES_LITERAL("\x62\5\x08\x63\x2a\1t"), &message), ERR_OK);
	assert_int_equal(message.as.refuse.why, REFUSED_OTHER);
	assert_int_equal(message.as.refuse.text.size, 1);
}

static void test_a_hello_of_more_groups_is_read_for_the_known_ones(void **state)
{
	struct message message;

	(void)state;
	/* groups 7 and 1, each with a cursor */
	assert_int_equal(
		decode_literal(BYTES_LITERAL("\x0a\x0c\x42\4\x08\7\x18\5\x42\4\x08\1\x18\6"),
			       &message),
		ERR_OK);
	assert_int_equal(message.as.hello.cursors[GROUP_EVENTS], 6);
	assert_int_equal(message.as.hello.cursors[GROUP_CORE], 0);
	/* the same one twice */
	assert_int_equal(
		decode_literal(BYTES_LITERAL("\x0a\x0c\x42\4\x08\1\x18\5\x42\4\x08\1\x18\6"),
			       &message),
		ERR_MALFORMED);
}

/* --- bounds ----------------------------------------------------------------------------------- */

static void test_counts_beyond_their_limits_are_refused_on_both_sides(void **state)
{
	static struct bytes keys[MESSAGE_KEYS_MAX + 1];
	static uint8_t texts[MESSAGE_KEYS_MAX + 1][3];
	struct buffer buffer = BUFFER_INIT(MESSAGE_BYTES_MAX),
		      body = BUFFER_INIT(MESSAGE_BYTES_MAX);
	struct message message = {.kind = MESSAGE_SESSION_FETCH};
	struct arena arena;

	(void)state;
	for (size_t i = 0; i <= MESSAGE_KEYS_MAX; i++) {
		texts[i][0] = (uint8_t)(i >> 16), texts[i][1] = (uint8_t)(i >> 8);
		texts[i][2] = (uint8_t)i;
		keys[i] = bytes_of(texts[i], 3);
		put_field(&body, 2, keys[i]);
	}
	message.as.session_fetch = (struct session_fetch){1, keys, MESSAGE_KEYS_MAX};
	encode(&message, &buffer);
	arena_init(&arena, MESSAGE_ARENA_BYTES_MAX);
	assert_int_equal(decode_exactly(buffer_bytes(&buffer), &arena), ERR_OK);
	arena_fini(&arena);
	message.as.session_fetch.key_count++;
	assert_int_equal(message_encode(&message, &buffer), ERR_REQUEST_TOO_LARGE);
	buffer.size = 0;
	put_field(&buffer, 8, buffer_bytes(&body));
	arena_init(&arena, MESSAGE_ARENA_BYTES_MAX);
	assert_int_equal(decode_exactly(buffer_bytes(&buffer), &arena), ERR_MALFORMED);
	assert_int_equal(arena.used_bytes, 0);
	arena_fini(&arena);
	buffer_fini(&buffer);
	buffer_fini(&body);
}

/* The most entries with the most dots of the most actors stay within the arena's bound. */
static void test_the_largest_window_fits_into_its_bounds(void **state)
{
	size_t count = MESSAGE_ENTRIES_MAX, dots = MESSAGE_TOUCHES_MAX / count;
	struct buffer buffer = BUFFER_INIT(MESSAGE_BYTES_MAX);
	struct message message = {.kind = MESSAGE_WINDOW};
	struct arena arena, decoded;

	(void)state;
	arena_init(&arena, 64 * MIB);
	message.as.window.to = 5;
	message.as.window.entry_count = count;
	message.as.window.entries = random_room(&arena, count, sizeof(struct entry));
	for (size_t i = 0; i < count; i++) {
		struct dot *touches = random_room(&arena, dots, sizeof(*touches));

		for (size_t j = 0; j < dots; j++)
			touches[j] = (struct dot){.actor.incarnation = (uint32_t)(i % 50000),
						  .revision = 5};
		message.as.window.entries[i] = (struct entry){.key = BYTES_LITERAL("key"),
							      .revision = 5,
							      .touches = touches,
							      .touch_count = dots};
	}
	encode(&message, &buffer);
	arena_init(&decoded, MESSAGE_ARENA_BYTES_MAX);
	assert_int_equal(decode_exactly(buffer_bytes(&buffer), &decoded), ERR_OK);
	arena_fini(&decoded);
	message.as.window.entries[0].touch_count = 0;
	message.as.window.entries[1].touch_count = 0;
	message.as.window.entries[2].touches =
		random_room(&arena, 3 * dots + 1, sizeof(struct dot));
	for (size_t j = 0; j < 3 * dots + 1; j++)
		message.as.window.entries[2].touches[j].revision = 1;
	message.as.window.entries[2].touch_count = 3 * dots + 1;
	buffer.size = 0;
	assert_int_equal(message_encode(&message, &buffer), ERR_REQUEST_TOO_LARGE);
	message.as.window.entries[2].touch_count = 3 * dots;
	encode(&message, &buffer);
	arena_fini(&arena);
	buffer_fini(&buffer);
}

/* Twice half of them and one more: what one entry may have is not what all may. */
static void check_counted(struct bytes table, unsigned field, unsigned bytes_each)
{
	struct buffer entry = BUFFER_INIT(MIB), window = BUFFER_INIT(MESSAGE_BYTES_MAX),
		      all = window;
	size_t half = MESSAGE_TOUCHES_MAX / 2 * bytes_each;
	uint8_t *zeros = calloc(1, half + bytes_each);

	assert_non_null(zeros);
	assert_true(buffer_append(&window, table));
	assert_true(buffer_append(&window, BYTES_LITERAL("\x20\5")));
	for (unsigned extra = 0; extra <= 1; extra++) {
		struct arena arena;

		entry.size = all.size = 0;
		put_field(&entry, 1, BYTES_LITERAL("key"));
		assert_true(buffer_append(&entry, BYTES_LITERAL("\x38\5")));
		put_field(&entry, field, bytes_of(zeros, half + bytes_each * extra));
		put_field(&window, 12, buffer_bytes(&entry));
		put_field(&all, 2, buffer_bytes(&window));
		arena_init(&arena, MESSAGE_ARENA_BYTES_MAX);
		assert_int_equal(decode_exactly(buffer_bytes(&all), &arena),
				 extra ? ERR_MALFORMED : ERR_OK);
		arena_fini(&arena);
	}
	free(zeros);
	buffer_fini(&entry);
	buffer_fini(&window);
	buffer_fini(&all);
}

static void test_dots_and_claims_are_counted_over_all_entries(void **state)
{
	(void)state;
	check_counted(BYTES_LITERAL("\x5a\2\x10\1"), 9, 2);
	check_counted(BYTES_LITERAL("\x6a\0"), 10, 1);
}

static void test_touches_and_claims_that_nobody_sends_are_malformed(void **state)
{
	/* One actor, `to` 5, an entry of key k and revision 5 with these touches or claims. */
	static const struct {
		const char *touches;
		size_t size;
		bool ok;
	} cases[] = {
		{"\0\0", 2, true},
		{"\1\0", 2, false},			 /* the second actor of one */
		{"\0\0\0", 3, false},			 /* half a dot */
		{"\0\0\x80", 3, false},			 /* a number that does not end */
		{"\0\x80\0", 3, false},			 /* a longer form of nothing */
		{"\0\x09", 2, false},			 /* revision 0 */
		{"\0\x07", 2, true},			 /* revision 1 */
		{"\0\xf4\xff\xff\xff\xff\x3f", 7, true}, /* the highest one */
		{"\0\xf6\xff\xff\xff\xff\x3f", 7, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buffer entry = BUFFER_INIT(MIB), window = entry, all = entry;
		struct message message;

		put_field(&entry, 1, BYTES_LITERAL("k"));
		assert_true(buffer_append(&entry, BYTES_LITERAL("\x38\5")));
		put_field(&entry, 9, bytes_of(cases[i].touches, cases[i].size));
		put_field(&window, 11, BYTES_LITERAL("\x10\1"));
		assert_true(buffer_append(&window, BYTES_LITERAL("\x20\5")));
		put_field(&window, 12, buffer_bytes(&entry));
		put_field(&all, 2, buffer_bytes(&window));
		assert_int_equal(decode_literal(buffer_bytes(&all), &message),
				 cases[i].ok ? ERR_OK : ERR_MALFORMED);
		buffer_fini(&entry);
		buffer_fini(&window);
		buffer_fini(&all);
	}
}

static void test_claims_count_like_dots(void **state)
{
	struct claim claim = {.id = 7};
	uint64_t *ids = calloc(MESSAGE_TOUCHES_MAX + 1, sizeof(*ids));
	struct entry entry = {.key = BYTES_LITERAL("key"), .revision = 1, .claims = ids};
	struct buffer buffer = BUFFER_INIT(MESSAGE_BYTES_MAX);
	struct message message = {.kind = MESSAGE_WINDOW};
	struct arena arena;

	(void)state;
	assert_non_null(ids);
	for (size_t i = 0; i <= MESSAGE_TOUCHES_MAX; i++)
		ids[i] = 7;
	message.as.window = (struct window){
		.to = 1, .entries = &entry, .entry_count = 1, .claims = &claim, .claim_count = 1};
	entry.claim_count = MESSAGE_TOUCHES_MAX + 1;
	assert_int_equal(message_encode(&message, &buffer), ERR_REQUEST_TOO_LARGE);
	message.kind = MESSAGE_SESSION_PAGE;
	message.as.session_page = (struct session_page){1, &entry, 1, &claim, 1};
	assert_int_equal(message_encode(&message, &buffer), ERR_REQUEST_TOO_LARGE);
	entry.claim_count--;
	encode(&message, &buffer);
	arena_init(&arena, MESSAGE_ARENA_BYTES_MAX);
	assert_int_equal(decode_exactly(buffer_bytes(&buffer), &arena), ERR_OK);
	arena_fini(&arena);
	free(ids);
	buffer_fini(&buffer);
}

static void test_a_message_beyond_its_maximum_is_too_large(void **state)
{
	uint8_t *body = calloc(1, MESSAGE_BYTES_MAX + 1);
	struct message message = {.kind = MESSAGE_SESSION_COMPARE};
	struct buffer buffer = BUFFER_INIT(2 * MESSAGE_BYTES_MAX);

	(void)state;
	assert_non_null(body);
	message.as.session_compare.body = bytes_of(body, MESSAGE_BYTES_MAX);
	assert_int_equal(message_encode(&message, &buffer), ERR_REQUEST_TOO_LARGE);
	assert_int_equal(buffer.size, 0);
	assert_int_equal(decode_literal(bytes_of(body, MESSAGE_BYTES_MAX + 1), &message),
			 ERR_MALFORMED);
	free(body);
	buffer_fini(&buffer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_message_comes_back_as_it_was),
		cmocka_unit_test(test_a_message_that_was_cut_or_flipped_is_refused_or_sound),
		cmocka_unit_test(test_fields_of_a_newer_version_are_skipped),
		cmocka_unit_test(test_what_only_a_newer_version_says_is_malformed),
		cmocka_unit_test(test_a_newer_reason_of_refusal_is_other_and_its_text_is_kept),
		cmocka_unit_test(test_a_hello_of_more_groups_is_read_for_the_known_ones),
		cmocka_unit_test(test_counts_beyond_their_limits_are_refused_on_both_sides),
		cmocka_unit_test(test_the_largest_window_fits_into_its_bounds),
		cmocka_unit_test(test_dots_and_claims_are_counted_over_all_entries),
		cmocka_unit_test(test_touches_and_claims_that_nobody_sends_are_malformed),
		cmocka_unit_test(test_claims_count_like_dots),
		cmocka_unit_test(test_a_message_beyond_its_maximum_is_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
