/* SPDX-License-Identifier: Apache-2.0 */
/* range_stream.c - KV.RangeStream: a list in many messages, all of one revision.
 *
 * All messages but the last hold kvs and nothing else, and at least one; the last one holds header,
 * more and count besides.  An empty list is one message.  Messages are cut at about
 * SOURCE_SLICE_BYTES and made as the client takes them. */
#include "shim/rpc/encode.h"
#include "shim/rpc/rpc_internal.h"

#include "shim/base/limits.h"

#include <assert.h>

#define RANGE_STREAM_RESPONSE 1 /* the one field of RangeStreamResponse */

struct range_stream {
	struct call *call;
	struct range_cursor *cursor; /* NULL when all is sent or the call is over */
	struct wire_header header;
	struct loop_timer deadline;
	size_t next; /* first kv not sent */
};

static_assert(sizeof(struct range_stream) <= RANGE_STREAM_STATE_BYTES, "room of the call");

static void stream_close(struct range_stream *stream)
{
	loop_timer_stop(&stream->deadline);
	if (stream->cursor)
		call_set_held(stream->call, 0);
	store_range_close(stream->cursor);
	stream->cursor = NULL;
}

static void stream_expire(struct loop_timer *timer)
{
	struct range_stream *stream = container_of(timer, struct range_stream, deadline);

	stream_close(stream);
	call_fail(stream->call, ERR_TIMEOUT);
}

/* As many of the next kvs as make one message. */
static struct range_part next_part(const struct range_stream *stream)
{
	size_t total = store_range_head(stream->cursor)->kv_count;
	struct range_part part = {.cursor = stream->cursor, .first = stream->next};
	uint64_t size = 0;

	while (part.first + part.count < total && size < SOURCE_SLICE_BYTES) {
		size += encode_part_kv_size(part.cursor, part.first + part.count);
		part.count++;
	}
	if (part.first + part.count == total)
		part.header = &stream->header;
	return part;
}

static enum err send_part(struct range_stream *stream, const struct range_part *part)
{
	struct buffer out = BUFFER_INIT(ANSWER_BYTES_MAX);
	uint64_t size = encode_part_size(part);
	enum err e;

	if (size > ANSWER_BYTES_MAX - 16 ||
	    !buffer_reserve(&out, wire_message_size(RANGE_STREAM_RESPONSE, (size_t)size)))
		return fault(ERR_NOMEM, "a part of %llu bytes", (unsigned long long)size);
	out.size =
		(size_t)(wire_put_message(buffer_end(&out), RANGE_STREAM_RESPONSE, (size_t)size) -
			 buffer_end(&out));
	e = encode_part(part, size, &out);
	if (e)
		buffer_fini(&out);
	else
		call_send(stream->call, &out);
	return e;
}

void kv_range_stream_writable(struct call *call)
{
	struct range_stream *stream = call_state(call);

	while (stream->cursor && !call_is_full(call)) {
		struct range_part part = next_part(stream);
		enum err e = send_part(stream, &part);

		stream->next += part.count;
		if (e || part.header)
			stream_close(stream);
		if (e)
			call_fail(call, e);
		else if (part.header)
			call_finish(call, STATUS_OK, NULL);
	}
}

void kv_range_stream_end(struct call *call)
{
	stream_close(call_state(call));
}

static void stream_start(struct call *call, const struct range_op *op)
{
	struct range_stream *stream = call_state(call);
	struct rpc_server *server = rpc_of(call);
	struct range_part all = {0};
	enum err e = store_range_open(server->reader, op, &stream->cursor);

	stream->call = call;
	if (e) {
		call_fail(call, e);
		return;
	}
	stream->header = rpc_header(server, store_range_head(stream->cursor)->revision);
	stream->deadline.fn = stream_expire;
	all.cursor = stream->cursor;
	all.count = store_range_head(stream->cursor)->kv_count;
	call_set_held(call, store_range_bytes(stream->cursor));
	loop_timer_start(call_loop(call), &stream->deadline, range_time_ms(encode_part_size(&all)),
			 0);
	kv_range_stream_writable(call);
}

void kv_range_stream(struct call *call, struct bytes message)
{
	struct codec codec = CODEC_INIT(call_arena(call));
	struct range_op op;
	enum err e = codec_range(&codec, message, &op);

	if (e) {
		rpc_fail_decode(call, &codec, e);
		return;
	}
	e = check_range_stream(&op);
	if (e)
		call_fail(call, e);
	else
		stream_start(call, &op);
}
