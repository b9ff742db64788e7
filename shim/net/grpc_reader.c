/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/grpc.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <zlib.h>

#define KEPT_BODY_BYTES 4096 /* a buffer up to this size waits for the next call */
#define INFLATE_STEP_BYTES (16 * 1024)

void grpc_reader_init(struct grpc_reader *reader, size_t bytes_max)
{
	*reader = (struct grpc_reader){.bytes_max = bytes_max};
	reader->body = BUFFER_INIT(bytes_max);
	/* One byte more shows that there is more than allowed. */
	reader->inflated = BUFFER_INIT(bytes_max + INFLATE_STEP_BYTES);
}

void grpc_reader_fini(struct grpc_reader *reader)
{
	buffer_fini(&reader->body);
	buffer_fini(&reader->inflated);
}

void grpc_reader_reset(struct grpc_reader *reader)
{
	if (reader->body.capacity > KEPT_BODY_BYTES)
		buffer_fini(&reader->body);
	reader->body.size = 0;
	buffer_fini(&reader->inflated);
	reader->prefix_size = 0;
	reader->keep = false;
	reader->encoding = GRPC_IDENTITY;
}

__attribute__((format(printf, 3, 4))) static enum grpc_read
failed(struct grpc_problem *ret_problem, enum status status, const char *format, ...)
{
	va_list args;

	ret_problem->status = status;
	va_start(args, format);
	vsnprintf(ret_problem->text, sizeof ret_problem->text, format, args);
	va_end(args);
	return GRPC_READ_FAILED;
}

bool grpc_reader_is_partial(const struct grpc_reader *reader)
{
	return reader->prefix_size == GRPC_PREFIX_BYTES;
}

static uint32_t message_bytes(const uint8_t *p)
{
	return (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
}

bool grpc_reader_length(const struct grpc_reader *reader, struct bytes input, size_t *ret_bytes)
{
	uint8_t prefix[GRPC_PREFIX_BYTES];
	size_t missing = GRPC_PREFIX_BYTES - reader->prefix_size;

	if (input.size < missing)
		return false;
	memcpy(prefix, reader->prefix, reader->prefix_size);
	if (missing)
		memcpy(prefix + reader->prefix_size, input.data, missing);
	*ret_bytes = message_bytes(prefix);
	return true;
}

static struct bytes take(struct bytes *input, size_t size)
{
	struct bytes taken = bytes_of(input->data, size);

	assert(size <= input->size);
	*input = bytes_of(input->data + size, input->size - size);
	return taken;
}

/* The message is complete: what its first byte says about compression. */
static enum grpc_read unpack(struct grpc_reader *reader, struct bytes body,
			     struct bytes *ret_message, struct grpc_problem *ret_problem)
{
	uint8_t flag = reader->prefix[0];
	enum grpc_read outcome;

	reader->prefix_size = 0;
	if (flag > 1)
		return failed(ret_problem, STATUS_INTERNAL,
			      "grpc: received unexpected payload format %u", flag);
	if (!flag) {
		*ret_message = body;
		return GRPC_READ_MESSAGE;
	}
	if (reader->encoding != GRPC_GZIP)
		return failed(ret_problem, STATUS_INTERNAL,
			      "grpc: compressed flag set with identity or empty encoding");
	reader->inflated.size = 0;
	outcome = grpc_gunzip(body, reader->bytes_max, &reader->inflated, ret_problem);
	if (outcome == GRPC_READ_MESSAGE)
		*ret_message = buffer_bytes(&reader->inflated);
	return outcome;
}

enum grpc_read grpc_reader_step(struct grpc_reader *reader, struct bytes *input,
				struct bytes *ret_message, struct grpc_problem *ret_problem)
{
	size_t size, missing;
	struct bytes piece;

	if (reader->prefix_size < GRPC_PREFIX_BYTES) {
		missing = GRPC_PREFIX_BYTES - reader->prefix_size;
		piece = take(input, input->size < missing ? input->size : missing);
		if (piece.size)
			memcpy(reader->prefix + reader->prefix_size, piece.data, piece.size);
		reader->prefix_size += piece.size;
		if (reader->prefix_size < GRPC_PREFIX_BYTES)
			return GRPC_READ_MORE;
		reader->body.size = 0;
	}
	size = message_bytes(reader->prefix);
	if (size > reader->bytes_max)
		return failed(ret_problem, STATUS_RESOURCE_EXHAUSTED,
			      "grpc: received message larger than max (%zu vs. %zu)", size,
			      reader->bytes_max);
	missing = size - reader->body.size;
	if (missing == size && input->size >= size && !reader->keep)
		return unpack(reader, take(input, size), ret_message, ret_problem);
	/* The buffer grows with what arrives, not with what was announced. */
	piece = take(input, input->size < missing ? input->size : missing);
	if (!buffer_append(&reader->body, piece))
		return failed(ret_problem, err_status(ERR_NOMEM), "%s", err_text(ERR_NOMEM));
	if (reader->body.size < size)
		return GRPC_READ_MORE;
	return unpack(reader, buffer_bytes(&reader->body), ret_message, ret_problem);
}

/* Runs zlib until the end of the stream, the limit, or an error, which is Z_OK's opposite here. */
static int inflate_all(z_stream *stream, size_t max, struct buffer *out)
{
	for (;;) {
		size_t step = INFLATE_STEP_BYTES;
		int outcome;

		if (out->size > max)
			return Z_STREAM_END;
		if (step > max + 1 - out->size)
			step = max + 1 - out->size;
		if (!buffer_reserve(out, step))
			return Z_MEM_ERROR;
		stream->next_out = buffer_end(out);
		stream->avail_out = (uInt)step;
		outcome = inflate(stream, Z_NO_FLUSH);
		out->size += step - stream->avail_out;
		if (outcome == Z_STREAM_END && stream->avail_in) /* another gzip member */
			outcome = inflateReset(stream);
		if (outcome != Z_OK)
			return outcome;
	}
}

enum grpc_read grpc_gunzip(struct bytes input, size_t max, struct buffer *out,
			   struct grpc_problem *ret_problem)
{
	z_stream stream = {.avail_in = (uInt)input.size};
	int outcome;

	assert(max < out->bytes_max && input.size <= UINT32_MAX);
	stream.next_in = (Bytef *)(uintptr_t)input.data;
	if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK)
		return failed(ret_problem, err_status(ERR_NOMEM), "%s", err_text(ERR_NOMEM));
	outcome = inflate_all(&stream, max, out);
	inflateEnd(&stream);
	if (outcome == Z_MEM_ERROR)
		return failed(ret_problem, err_status(ERR_NOMEM), "%s", err_text(ERR_NOMEM));
	if (outcome == Z_DATA_ERROR || outcome == Z_NEED_DICT)
		return failed(ret_problem, STATUS_INTERNAL,
			      "grpc: failed to decompress the message: gzip: invalid header");
	if (outcome != Z_STREAM_END)
		return failed(ret_problem, STATUS_INTERNAL,
			      "grpc: failed to read decompressed data: unexpected EOF");
	if (out->size > max)
		return failed(ret_problem, STATUS_RESOURCE_EXHAUSTED,
			      "grpc: received message after decompression larger than max %zu",
			      max);
	return GRPC_READ_MESSAGE;
}
