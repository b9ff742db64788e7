/* SPDX-License-Identifier: Apache-2.0 */
/* The small things everything stands on: slices, arena, buffer, inbox, error table. */
#include "shim/base/arena.h"
#include "shim/base/buffer.h"
#include "shim/base/bytes.h"
#include "shim/base/clock.h"
#include "shim/base/err.h"
#include "shim/base/inbox.h"
#include "shim/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void test_keys_compare_as_unsigned_bytes(void **state)
{
	(void)state;
	assert_true(bytes_compare(BYTES_LITERAL("a"), BYTES_LITERAL("b")) < 0);
	assert_true(bytes_compare(BYTES_LITERAL("a"), BYTES_LITERAL("a\0")) < 0);
	assert_true(bytes_compare(BYTES_LITERAL("\xff"), BYTES_LITERAL("a")) > 0);
	assert_int_equal(bytes_compare(bytes_of(NULL, 0), bytes_of(NULL, 0)), 0);
	assert_true(bytes_equal(BYTES_LITERAL("x\0y"), BYTES_LITERAL("x\0y")));
	assert_false(bytes_equal(BYTES_LITERAL("x\0y"), BYTES_LITERAL("x\0z")));
}

static void test_a_range_selects_as_etcd_does(void **state)
{
	struct bytes a = BYTES_LITERAL("a"), b = BYTES_LITERAL("b"), open = BYTES_LITERAL("\0");
	struct bytes none = bytes_of(NULL, 0);

	(void)state;
	assert_true(range_contains(a, none, a));
	assert_false(range_contains(a, none, b));
	assert_true(range_contains(a, b, BYTES_LITERAL("a\xff")));
	assert_false(range_contains(a, b, b));
	assert_false(range_contains(b, a, b));
	assert_true(range_contains(a, open, BYTES_LITERAL("\xff\xff")));
	assert_false(range_contains(b, open, a));
}

static void test_an_arena_keeps_its_limit(void **state)
{
	struct arena arena;
	struct bytes copy;

	(void)state;
	arena_init(&arena, 10000);
	assert_non_null(arena_alloc(&arena, 1));
	assert_non_null(arena_alloc(&arena, 5000));
	assert_null(arena_alloc(&arena, 9000));
	assert_null(arena_calloc(&arena, SIZE_MAX / 2, 3));
	assert_true(arena_copy(&arena, BYTES_LITERAL("value"), &copy));
	assert_true(bytes_equal(copy, BYTES_LITERAL("value")));
	assert_true(arena_copy(&arena, bytes_of(NULL, 0), &copy));
	assert_int_equal(copy.size, 0);
	arena_fini(&arena);
	assert_int_equal(arena.used_bytes, 0);
}

static void test_arena_memory_is_aligned_and_separate(void **state)
{
	struct arena arena;
	uint8_t *pieces[200];

	(void)state;
	arena_init(&arena, 1 << 20);
	for (size_t i = 0; i < 200; i++) {
		pieces[i] = arena_alloc(&arena, i * 7 + 1);
		assert_non_null(pieces[i]);
		assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
		memset(pieces[i], (int)i, i * 7 + 1);
	}
	for (size_t i = 0; i < 200; i++)
		assert_int_equal(pieces[i][i * 7], (uint8_t)i);
	arena_fini(&arena);
}

static void test_a_buffer_grows_to_its_maximum_and_no_further(void **state)
{
	struct buffer buffer = BUFFER_INIT(1000);
	uint8_t chunk[300] = {1};

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_true(buffer_append(&buffer, bytes_of(chunk, sizeof chunk)));
	assert_false(buffer_append(&buffer, bytes_of(chunk, sizeof chunk)));
	assert_int_equal(buffer.size, 900);
	assert_true(buffer_append_format(&buffer, "%d", 42));
	assert_memory_equal(buffer_bytes(&buffer).data + 900, "42", 2);
	assert_false(buffer_reserve(&buffer, SIZE_MAX));
	buffer_fini(&buffer);
	assert_int_equal(buffer.bytes_max, 1000);
}

struct node {
	struct inbox_node link;
	int number;
};

static void test_an_inbox_keeps_order_and_capacity(void **state)
{
	struct inbox inbox;
	struct node nodes[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
	struct inbox_node *taken;
	bool was_empty, closed;

	(void)state;
	inbox_init(&inbox, 2);
	assert_int_equal(inbox_put(&inbox, &nodes[0].link, &was_empty), ERR_OK);
	assert_true(was_empty);
	assert_int_equal(inbox_put(&inbox, &nodes[1].link, &was_empty), ERR_OK);
	assert_false(was_empty);
	assert_int_equal(inbox_put(&inbox, &nodes[2].link, NULL), ERR_BUSY);
	taken = inbox_take(&inbox);
	assert_ptr_equal(taken, &nodes[0].link);
	assert_ptr_equal(taken->next, &nodes[1].link);
	assert_null(inbox_wait(&inbox, NS_PER_MS, &closed));
	assert_false(closed);
	inbox_close(&inbox);
	assert_int_equal(inbox_put(&inbox, &nodes[0].link, NULL), ERR_STOPPED);
	assert_null(inbox_wait(&inbox, -1, &closed));
	assert_true(closed);
	inbox_fini(&inbox);
}

static void test_a_chain_goes_into_an_inbox_whole_or_not_at_all(void **state)
{
	struct inbox inbox;
	struct inbox_chain chain = {0};
	struct node nodes[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
	struct inbox_node *taken;
	bool was_empty;

	(void)state;
	inbox_init(&inbox, 3);
	assert_int_equal(inbox_put(&inbox, &nodes[0].link, NULL), ERR_OK);
	for (int i = 1; i < 4; i++)
		inbox_chain_add(&chain, &nodes[i].link);
	assert_int_equal(inbox_put_chain(&inbox, &chain, &was_empty), ERR_BUSY);
	assert_int_equal(chain.count, 3);
	assert_ptr_equal(inbox_take(&inbox), &nodes[0].link);
	assert_int_equal(inbox_put_chain(&inbox, &chain, &was_empty), ERR_OK);
	assert_true(was_empty);
	assert_null(chain.first);
	taken = inbox_take(&inbox);
	for (int i = 1; i < 4; i++, taken = taken->next)
		assert_ptr_equal(taken, &nodes[i].link);
	assert_null(taken);
	inbox_chain_add(&chain, &nodes[0].link);
	inbox_close(&inbox);
	assert_int_equal(inbox_put_chain(&inbox, &chain, &was_empty), ERR_STOPPED);
	assert_int_equal(chain.count, 1);
	inbox_fini(&inbox);
}

#define PUTTERS 4
#define PUTS 5000

static struct inbox shared;

static void *put_many(void *arg)
{
	struct node *nodes = arg;

	for (int i = 0; i < PUTS; i++) {
		nodes[i].number = i;
		while (inbox_put(&shared, &nodes[i].link, NULL) == ERR_BUSY)
			usleep(10);
	}
	return NULL;
}

static void test_an_inbox_loses_nothing_between_threads(void **state)
{
	static struct node nodes[PUTTERS][PUTS];
	pthread_t threads[PUTTERS];
	size_t taken = 0;
	bool closed;

	(void)state;
	inbox_init(&shared, 64);
	for (size_t i = 0; i < PUTTERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, put_many, nodes[i]), 0);
	while (taken < PUTTERS * PUTS) {
		struct inbox_node *node = inbox_wait(&shared, -1, &closed);

		for (; node; node = node->next)
			taken++;
	}
	for (size_t i = 0; i < PUTTERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(taken, PUTTERS * PUTS);
	inbox_fini(&shared);
}

static void test_the_error_table_has_etcds_words(void **state)
{
	(void)state;
	assert_string_equal(err_text(ERR_COMPACTED),
			    "etcdserver: mvcc: required revision has been compacted");
	assert_int_equal(err_status(ERR_COMPACTED), STATUS_OUT_OF_RANGE);
	assert_int_equal(err_status(ERR_NOT_ENOUGH_MEMBERS), STATUS_UNKNOWN);
	assert_string_equal(err_name(ERR_LEASE_NOT_FOUND), "LEASE_NOT_FOUND");
	assert_true(err_is_fault(ERR_STORAGE));
	assert_false(err_is_fault(ERR_NO_SPACE));
}

/* Runs what logs with stderr in a pipe and gives back the line. */
static void capture_log(char *line, size_t size, const char *hostile)
{
	int ends[2], saved = dup(STDERR_FILENO);
	ssize_t got;

	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	log_warn("a \"quoted\" message", LOG_STRING("text", hostile), LOG_INT("n", -5),
		 LOG_BOOL("yes", true), LOG_FLOAT("f", 0.5));
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[1]);
	got = read(ends[0], line, size - 1);
	close(ends[0]);
	assert_true(got > 0);
	line[got] = 0;
}

static void test_a_log_line_is_json_whatever_it_is_told(void **state)
{
	char line[16384];

	(void)state;
	capture_log(line, sizeof line, "tab\tquote\" back\\ new\n end");
	assert_non_null(strstr(line, "\"msg\":\"a \\\"quoted\\\" message\""));
	assert_non_null(strstr(line, "\"text\":\"tab\\u0009quote\\\" back\\\\ new\\n end\""));
	assert_non_null(strstr(line, "\"n\":-5,\"yes\":true,\"f\":0.5}\n"));
	assert_non_null(strstr(line, "\"caller\":\"base/test_base.c:"));
}

static void test_an_overlong_log_line_is_cut_but_whole_lines_stay(void **state)
{
	char line[16384], *hostile = malloc(20000);

	(void)state;
	assert_non_null(hostile);
	memset(hostile, 'x', 19999);
	hostile[19999] = 0;
	capture_log(line, sizeof line, hostile);
	assert_int_equal(line[strlen(line) - 1], '\n');
	assert_true(strlen(line) <= 8192);
	free(hostile);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_compare_as_unsigned_bytes),
		cmocka_unit_test(test_a_range_selects_as_etcd_does),
		cmocka_unit_test(test_an_arena_keeps_its_limit),
		cmocka_unit_test(test_arena_memory_is_aligned_and_separate),
		cmocka_unit_test(test_a_buffer_grows_to_its_maximum_and_no_further),
		cmocka_unit_test(test_an_inbox_keeps_order_and_capacity),
		cmocka_unit_test(test_a_chain_goes_into_an_inbox_whole_or_not_at_all),
		cmocka_unit_test(test_an_inbox_loses_nothing_between_threads),
		cmocka_unit_test(test_the_error_table_has_etcds_words),
		cmocka_unit_test(test_a_log_line_is_json_whatever_it_is_told),
		cmocka_unit_test(test_an_overlong_log_line_is_cut_but_whole_lines_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
