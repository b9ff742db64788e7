/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CAPACITY_MIN 256

void buffer_fini(struct buffer *buffer)
{
	free(buffer->data);
	*buffer = BUFFER_INIT(buffer->bytes_max);
}

bool buffer_reserve(struct buffer *buffer, size_t more)
{
	size_t needed, capacity;
	uint8_t *data;

	if (more > buffer->bytes_max || buffer->size > buffer->bytes_max - more)
		return false;
	needed = buffer->size + more;
	if (buffer->data && needed <= buffer->capacity)
		return true;
	capacity = buffer->capacity > CAPACITY_MIN ? buffer->capacity : CAPACITY_MIN;
	while (capacity < needed)
		capacity = capacity > SIZE_MAX / 4 ? needed : capacity * 2;
	/* An exact first size avoids doubling a message whose length was computed beforehand. */
	if (!buffer->data && needed > CAPACITY_MIN)
		capacity = needed;
	if (capacity > SIZE_MAX - BUFFER_HEADROOM)
		return false;
	data = realloc(buffer->data, capacity + BUFFER_HEADROOM);
	if (!data)
		return false;
	buffer->data = data;
	buffer->capacity = capacity;
	return true;
}

uint8_t *buffer_end(struct buffer *buffer)
{
	return buffer->data + BUFFER_HEADROOM + buffer->size;
}

bool buffer_append(struct buffer *buffer, struct bytes bytes)
{
	if (!bytes.size)
		return true;
	if (!buffer_reserve(buffer, bytes.size))
		return false;
	memcpy(buffer_end(buffer), bytes.data, bytes.size);
	buffer->size += bytes.size;
	return true;
}

bool buffer_append_format(struct buffer *buffer, const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0 || !buffer_reserve(buffer, (size_t)length + 1))
		return false;
	va_start(args, format);
	vsnprintf((char *)buffer_end(buffer), (size_t)length + 1, format, args);
	va_end(args);
	buffer->size += (size_t)length;
	return true;
}
