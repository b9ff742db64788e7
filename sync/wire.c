/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/wire.h"

#define NUMBER_BYTES_MAX 10

struct wire wire_of(struct bytes message)
{
	return (struct wire){
		.at = message.data,
		.end = message.size ? message.data + message.size : message.data,
	};
}

bool wire_take_number(struct wire *wire, uint64_t max, uint64_t *ret_number)
{
	const uint8_t *at = wire->at;
	uint64_t number = 0;

	for (unsigned shift = 0; shift < 7 * NUMBER_BYTES_MAX && at < wire->end; shift += 7) {
		uint8_t byte = *at++;

		if (shift == 63 && byte > 1)
			return false;
		number |= (uint64_t)(byte & 0x7f) << shift;
		if (byte >= 0x80)
			continue;
		/* A last byte of nothing is a longer form of a shorter number. */
		if ((!byte && shift) || number > max)
			return false;
		wire->at = at;
		*ret_number = number;
		return true;
	}
	return false;
}

bool wire_take_fixed(struct wire *wire, size_t size, struct bytes *ret_bytes)
{
	if (size > wire_left(wire))
		return false;
	*ret_bytes = bytes_of(wire->at, size);
	wire->at += size;
	return true;
}

bool wire_take_bytes(struct wire *wire, size_t size_max, struct bytes *ret_bytes)
{
	uint64_t size;

	return wire_take_number(wire, size_max, &size) &&
	       wire_take_fixed(wire, (size_t)size, ret_bytes);
}

bool wire_put_number(struct buffer *buffer, uint64_t number)
{
	uint8_t bytes[NUMBER_BYTES_MAX];
	size_t size = 0;

	for (; number >= 0x80; number >>= 7)
		bytes[size++] = (uint8_t)(number | 0x80);
	bytes[size++] = (uint8_t)number;
	return buffer_append(buffer, bytes_of(bytes, size));
}

bool wire_put_bytes(struct buffer *buffer, struct bytes bytes)
{
	return wire_put_number(buffer, bytes.size) && buffer_append(buffer, bytes);
}
