/* SPDX-License-Identifier: Apache-2.0 */
/* test_message_sound.c - what a peer may rely on, one thing wrong at a time. */
#include "sync/message/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_a_window_that_no_peer_may_rely_on_is_not_sound(void **state)
{
	uint64_t seven = 7;
	struct dot dot = {.revision = 1};
	struct claim claims[2] = {{.id = 7}, {.id = 8}};
	struct entry entries[2] = {
		{.key = BYTES_LITERAL("b"), .revision = 4, .touches = &dot, .touch_count = 1},
		{.key = BYTES_LITERAL("a"), .revision = 5, .claims = &seven, .claim_count = 1}};
	struct message message = {.kind = MESSAGE_WINDOW};
	struct window *window = &message.as.window;

	(void)state;
	*window = (struct window){.from = 3,
				  .to = 5,
				  .entries = entries,
				  .entry_count = 2,
				  .claims = claims,
				  .claim_count = 2};
	assert_true(message_is_sound(&message));
#define IS_UNSOUND_WITH(what, value, again)                                                        \
	(what) = (value);                                                                          \
	assert_false(message_is_sound(&message));                                                  \
	(what) = (again)
	IS_UNSOUND_WITH(window->from, 4, 3);
	IS_UNSOUND_WITH(window->from, -1, 3);
	IS_UNSOUND_WITH(window->to, 4, 5);
	IS_UNSOUND_WITH(window->to, REV_MAIN_MAX + 1, 5);
	IS_UNSOUND_WITH(window->barrier, -1, 0);
	IS_UNSOUND_WITH(entries[1].revision, 3, 5);
	IS_UNSOUND_WITH(entries[0].key.size, 0, 1);
	IS_UNSOUND_WITH(entries[0].key.size, RECONCILE_KEY_BYTES_MAX + 1, 1);
	IS_UNSOUND_WITH(entries[0].is_delta, true, false);
	IS_UNSOUND_WITH(entries[0].value, BYTES_LITERAL("x"), BYTES_LITERAL(""));
	IS_UNSOUND_WITH(dot.revision, 0, 1);
	IS_UNSOUND_WITH(dot.revision, REV_MAIN_MAX + 1, 1);
	IS_UNSOUND_WITH(seven, 9, 7);
	IS_UNSOUND_WITH(claims[1].id, 7, 8);
	assert_true(message_is_sound(&message));
	message.kind = MESSAGE_SESSION_PAGE;
	message.as.session_page = (struct session_page){1, entries, 2, claims, 2};
	assert_false(message_is_sound(&message));
	entries[0].touch_count = 0;
	assert_true(message_is_sound(&message));
	IS_UNSOUND_WITH(seven, 9, 7);
	IS_UNSOUND_WITH(claims[1].id, 7, 8);
	IS_UNSOUND_WITH(entries[1].key.size, 0, 1);
	assert_true(message_is_sound(&message));
}

static void test_other_messages_that_no_peer_may_rely_on_are_not_sound(void **state)
{
	struct chain_point points[2] = {{.revision = 9}, {.revision = 8}};
	struct key_range range = {BYTES_LITERAL("a"), BYTES_LITERAL("b")};
	struct bytes keys[2] = {BYTES_LITERAL("a"), BYTES_LITERAL("b")};
	struct message message = {.kind = MESSAGE_HELLO};

	(void)state;
	message.as.hello.points = points;
	message.as.hello.point_count = 2;
	message.as.hello.coverage = &range;
	message.as.hello.coverage_count = 1;
	assert_true(message_is_sound(&message));
	IS_UNSOUND_WITH(points[1].revision, 9, 8);
	IS_UNSOUND_WITH(points[0].revision, REV_MAIN_MAX + 1, 9);
	IS_UNSOUND_WITH(range.end, BYTES_LITERAL("a"), BYTES_LITERAL("b"));
	IS_UNSOUND_WITH(message.as.hello.head, -1, 0);
	IS_UNSOUND_WITH(message.as.hello.wall_ms, -1, 0);
	IS_UNSOUND_WITH(message.as.hello.cursors[1], -1, 0);
	message.kind = MESSAGE_SESSION_FETCH;
	message.as.session_fetch = (struct session_fetch){1, keys, 2};
	assert_true(message_is_sound(&message));
	IS_UNSOUND_WITH(keys[1], BYTES_LITERAL("a"), BYTES_LITERAL("b"));
	IS_UNSOUND_WITH(keys[0], BYTES_LITERAL(""), BYTES_LITERAL("a"));
	message = (struct message){.kind = MESSAGE_REFUSE};
	assert_true(message_is_sound(&message));
	IS_UNSOUND_WITH(message.as.refuse.text.size, MESSAGE_TEXT_BYTES_MAX + 1, 0);
	IS_UNSOUND_WITH(message.as.refuse.retry_after_ms, -1, 0);
	IS_UNSOUND_WITH(message.as.refuse.common.revision, -1, 0);
	IS_UNSOUND_WITH(message.as.refuse.seen, -1, 0);
	message = (struct message){.kind = MESSAGE_KINDS};
	assert_false(message_is_sound(&message));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_window_that_no_peer_may_rely_on_is_not_sound),
		cmocka_unit_test(test_other_messages_that_no_peer_may_rely_on_are_not_sound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
