/* SPDX-License-Identifier: Apache-2.0 */
/* bytes.h - a slice of somebody else's memory, and etcd's key order on it.
 *
 * Ownership: a slice owns nothing; the header that hands one out says how long it lives.
 * Keys and values hold any byte, NUL included, so they are never C strings. */
#ifndef SHIM_BASE_BYTES_H
#define SHIM_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
	const uint8_t *data; /* may be NULL when size is 0 */
	size_t size;
};

#define BYTES_LITERAL(text) ((struct bytes){(const uint8_t *)(text), sizeof(text) - 1})

static inline struct bytes bytes_of(const void *data, size_t size)
{
	return (struct bytes){(const uint8_t *)data, size};
}

static inline struct bytes bytes_of_string(const char *text)
{
	return bytes_of(text, strlen(text));
}

/* Unsigned byte order, a prefix before what extends it: the order of etcd's keys. */
static inline int bytes_compare(struct bytes a, struct bytes b)
{
	size_t shared = a.size < b.size ? a.size : b.size;
	int order = shared ? memcmp(a.data, b.data, shared) : 0;

	if (order)
		return order;
	return a.size < b.size ? -1 : a.size > b.size;
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
	return a.size == b.size && (!a.size || !memcmp(a.data, b.data, a.size));
}

/* What a (key, range_end) pair of etcd's API selects.  An empty end selects the key alone; an end
 * of one NUL byte means "no upper bound"; anything else is the half-open interval [key, end). */
static inline bool range_is_single(struct bytes end)
{
	return end.size == 0;
}

static inline bool range_is_open(struct bytes end)
{
	return end.size == 1 && end.data[0] == 0;
}

static inline bool range_contains(struct bytes key, struct bytes end, struct bytes candidate)
{
	if (range_is_single(end))
		return bytes_equal(key, candidate);
	if (bytes_compare(candidate, key) < 0)
		return false;
	return range_is_open(end) || bytes_compare(candidate, end) < 0;
}

#endif
