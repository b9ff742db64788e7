/* SPDX-License-Identifier: Apache-2.0 */
/* wire.h - writing protobuf by hand, for the answers that are many or big.
 *
 * Every message is sized first (wire_x_size) and then written into room of exactly that size
 * (wire_put_x, which returns the end of what it wrote): one allocation, one pass, no copy.
 * proto3's rule holds throughout: a scalar of value zero is left out, in size and in bytes. */
#ifndef SHIM_RPC_WIRE_H
#define SHIM_RPC_WIRE_H

#include "shim/base/bytes.h"
#include "shim/store/op.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* ids and term of the server; a part of zero is left out, as inside of a transaction. */
struct wire_header {
	uint64_t cluster_id;
	uint64_t member_id;
	int64_t revision;
	uint64_t raft_term;
};

static inline size_t wire_varint_size(uint64_t value)
{
	/* Seven bits a byte, and one byte for zero. */
	return (size_t)(63 - __builtin_clzll(value | 1)) / 7 + 1;
}

static inline uint8_t *wire_put_varint(uint8_t *to, uint64_t value)
{
	while (value >= 0x80) {
		*to++ = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	*to++ = (uint8_t)value;
	return to;
}

static inline uint64_t wire_tag(unsigned field, enum wire_type type)
{
	return (uint64_t)field << 3 | type;
}

static inline size_t wire_tag_size(unsigned field)
{
	return wire_varint_size(wire_tag(field, WIRE_VARINT));
}

/* --- scalars; int64 goes as its two's complement --- */

static inline size_t wire_uint_size(unsigned field, uint64_t value)
{
	return value ? wire_tag_size(field) + wire_varint_size(value) : 0;
}

static inline uint8_t *wire_put_uint(uint8_t *to, unsigned field, uint64_t value)
{
	if (!value)
		return to;
	to = wire_put_varint(to, wire_tag(field, WIRE_VARINT));
	return wire_put_varint(to, value);
}

static inline size_t wire_int_size(unsigned field, int64_t value)
{
	return wire_uint_size(field, (uint64_t)value);
}

static inline uint8_t *wire_put_int(uint8_t *to, unsigned field, int64_t value)
{
	return wire_put_uint(to, field, (uint64_t)value);
}

/* --- runs of bytes and embedded messages --- */

/* An embedded message is written also when it is empty: its presence means something. */
static inline size_t wire_message_size(unsigned field, size_t size)
{
	return wire_tag_size(field) + wire_varint_size(size) + size;
}

/* The tag and length; the contents follow. */
static inline uint8_t *wire_put_message(uint8_t *to, unsigned field, size_t size)
{
	to = wire_put_varint(to, wire_tag(field, WIRE_BYTES));
	return wire_put_varint(to, size);
}

static inline size_t wire_bytes_size(unsigned field, struct bytes bytes)
{
	return bytes.size ? wire_message_size(field, bytes.size) : 0;
}

static inline uint8_t *wire_put_raw(uint8_t *to, struct bytes bytes)
{
	if (bytes.size)
		memcpy(to, bytes.data, bytes.size);
	return to + bytes.size;
}

static inline uint8_t *wire_put_bytes(uint8_t *to, unsigned field, struct bytes bytes)
{
	if (!bytes.size)
		return to;
	return wire_put_raw(wire_put_message(to, field, bytes.size), bytes);
}

/* --- what every service shares --- */

size_t wire_header_size(const struct wire_header *header); /* of the contents, without the tag */
uint8_t *wire_put_header(uint8_t *to, const struct wire_header *header);

/* mvccpb.KeyValue, contents only.  The value is the fifth of six fields, so a message can be
 * written around a value that comes later: head (ends with the value's length), value, tail. */
size_t wire_kv_size(const struct kv *kv);
size_t wire_kv_head_size(const struct kv *kv);
uint8_t *wire_put_kv_head(uint8_t *to, const struct kv *kv);
size_t wire_kv_tail_size(const struct kv *kv);
uint8_t *wire_put_kv_tail(uint8_t *to, const struct kv *kv);
uint8_t *wire_put_kv(uint8_t *to, const struct kv *kv);

#endif
