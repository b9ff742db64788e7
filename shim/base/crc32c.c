/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/crc32c.h"

#include <pthread.h>

#define POLYNOMIAL 0x82f63b78u /* Castagnoli, bit-reversed */
#define SLICES 8	       /* bytes taken at one step: one table for each */

/* Written once under tables_once, constant afterwards. */
static uint32_t tables[SLICES][256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void tables_fill(void)
{
	for (uint32_t byte = 0; byte < 256; byte++) {
		uint32_t crc = byte;

		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
		tables[0][byte] = crc;
	}
	for (int slice = 1; slice < SLICES; slice++) {
		for (uint32_t byte = 0; byte < 256; byte++) {
			uint32_t crc = tables[slice - 1][byte];

			tables[slice][byte] = (crc >> 8) ^ tables[0][crc & 0xff];
		}
	}
}

static uint32_t load_le32(const uint8_t *data)
{
	return (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
	       (uint32_t)data[3] << 24;
}

uint32_t crc32c_portable(uint32_t previous, struct bytes bytes)
{
	const uint8_t *data = bytes.data;
	size_t left = bytes.size;
	uint32_t crc = ~previous;

	pthread_once(&tables_once, tables_fill);
	for (; left >= SLICES; data += SLICES, left -= SLICES) {
		uint32_t low = crc ^ load_le32(data);
		uint32_t high = load_le32(data + 4);

		crc = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^
		      tables[5][low >> 16 & 0xff] ^ tables[4][low >> 24] ^ tables[3][high & 0xff] ^
		      tables[2][high >> 8 & 0xff] ^ tables[1][high >> 16 & 0xff] ^
		      tables[0][high >> 24];
	}
	for (; left; data++, left--)
		crc = (crc >> 8) ^ tables[0][(crc ^ *data) & 0xff];
	return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t previous,
							       struct bytes bytes)
{
	const uint8_t *data = bytes.data;
	size_t left = bytes.size;
	uint64_t crc = (uint32_t)~previous;

	for (; left >= sizeof(uint64_t); data += sizeof(uint64_t), left -= sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, data, sizeof(word));
		crc = __builtin_ia32_crc32di(crc, word);
	}
	for (; left; data++, left--)
		crc = __builtin_ia32_crc32qi((uint32_t)crc, *data);
	return ~(uint32_t)crc;
}

uint32_t crc32c(uint32_t previous, struct bytes bytes)
{
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse42(previous, bytes);
	return crc32c_portable(previous, bytes);
}
#else
uint32_t crc32c(uint32_t previous, struct bytes bytes)
{
	return crc32c_portable(previous, bytes);
}
#endif
