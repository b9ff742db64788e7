/* SPDX-License-Identifier: Apache-2.0 */
/* buffer.h - a growing run of bytes with a maximum, and room kept in front for a frame header.
 *
 * Ownership: the holder of the struct owns data; buffer_fini() frees it, and moving the struct
 * (then clearing the source with BUFFER_INIT) gives it away.
 * Errors: appending fails (false) when memory is out or bytes_max would be passed; the contents
 * then stay as they were.
 * Limits: bytes_max counts the contents, the headroom not included. */
#ifndef SHIM_BASE_BUFFER_H
#define SHIM_BASE_BUFFER_H

#include "shim/base/bytes.h"

#define BUFFER_HEADROOM 5 /* bytes: the length prefix of one gRPC message */

struct buffer {
	uint8_t *data;	 /* start of the allocation; contents begin at data + BUFFER_HEADROOM */
	size_t size;	 /* bytes of contents */
	size_t capacity; /* bytes of contents that fit without growing */
	size_t bytes_max;
};

#define BUFFER_INIT(max) ((struct buffer){.bytes_max = (max)})

void buffer_fini(struct buffer *buffer);
bool buffer_reserve(struct buffer *buffer, size_t more); /* makes room for `more` bytes */
uint8_t *buffer_end(struct buffer *buffer);		 /* where reserved room begins */
bool buffer_append(struct buffer *buffer, struct bytes bytes);
bool buffer_append_format(struct buffer *buffer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* data is never NULL, so that an offset of zero may be added to it. */
static inline struct bytes buffer_bytes(const struct buffer *buffer)
{
	return buffer->data ? bytes_of(buffer->data + BUFFER_HEADROOM, buffer->size)
			    : bytes_of("", 0);
}

#endif
