/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* Known answers: RFC 3720 section B.4, and the check value of the polynomial. */
static void known_answers(void **state)
{
	uint8_t block[32];

	(void)state;
	assert_int_equal(crc32c(0, BYTES_LITERAL("123456789")), 0xe3069283u);
	memset(block, 0, sizeof(block));
	assert_int_equal(crc32c(0, bytes_of(block, sizeof(block))), 0x8a9136aau);
	memset(block, 0xff, sizeof(block));
	assert_int_equal(crc32c(0, bytes_of(block, sizeof(block))), 0x62a8ab43u);
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, bytes_of(block, sizeof(block))), 0x46dd794eu);
}

static void nothing_changes_nothing(void **state)
{
	(void)state;
	assert_int_equal(crc32c(0, bytes_of(NULL, 0)), 0);
	assert_int_equal(crc32c(0x12345678u, bytes_of(NULL, 0)), 0x12345678u);
	assert_int_equal(crc32c_portable(0x12345678u, bytes_of(NULL, 0)), 0x12345678u);
}

static uint32_t crc32c_bitwise(uint32_t previous, struct bytes bytes)
{
	uint32_t crc = ~previous;

	for (size_t i = 0; i < bytes.size; i++) {
		crc ^= bytes.data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

/* Every length and start offset around the word size, whole and in two pieces. */
static void all_ways_agree(void **state)
{
	uint8_t data[128];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 167 + 13);
	for (size_t from = 0; from < 9; from++) {
		for (size_t size = 0; from + size <= sizeof(data); size++) {
			struct bytes all = bytes_of(data + from, size);
			struct bytes head = bytes_of(data + from, size / 3);
			struct bytes tail = bytes_of(data + from + size / 3, size - size / 3);
			uint32_t expected = crc32c_bitwise(0, all);

			assert_int_equal(crc32c(0, all), expected);
			assert_int_equal(crc32c_portable(0, all), expected);
			assert_int_equal(crc32c(crc32c(0, head), tail), expected);
			assert_int_equal(crc32c_portable(crc32c_portable(0, head), tail), expected);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),
		cmocka_unit_test(nothing_changes_nothing),
		cmocka_unit_test(all_ways_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
