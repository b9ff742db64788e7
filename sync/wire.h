/* SPDX-License-Identifier: Apache-2.0 */
/* wire.h - the few shapes that every encoding of sync is made of.
 *
 * Numbers are varints in their only shortest form, so equal things have equal bytes; runs of bytes
 * have their length in front.  Errors: taking gives false at the first byte that does not fit, and
 * nothing is read beyond the end; putting gives false when the buffer's memory or maximum is out.
 * Ownership: bytes that are taken point into the message. */
#ifndef SYNC_WIRE_H
#define SYNC_WIRE_H

#include "shim/base/buffer.h"
#include "shim/base/bytes.h"

struct wire {
	const uint8_t *at;
	const uint8_t *end;
};

struct wire wire_of(struct bytes message);

static inline size_t wire_left(const struct wire *wire)
{
	return (size_t)(wire->end - wire->at);
}

bool wire_take_number(struct wire *wire, uint64_t max, uint64_t *ret_number);
bool wire_take_fixed(struct wire *wire, size_t size, struct bytes *ret_bytes);
bool wire_take_bytes(struct wire *wire, size_t size_max, struct bytes *ret_bytes);

bool wire_put_number(struct buffer *buffer, uint64_t number);
bool wire_put_bytes(struct buffer *buffer, struct bytes bytes);

#endif
