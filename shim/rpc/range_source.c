/* SPDX-License-Identifier: Apache-2.0 */
/* range_source.c - one RangeResponse of any size, made in pieces as the peer takes it.
 *
 *	HEAD --> KV --> VALUE --> TAIL --> KV ... --> END
 *
 * The message's length is known and sent before its first value is read.  A piece that does not fit
 * into the room of the moment is kept, and its rest goes first the next time.
 * The cursor pins history.  A peer that takes less than RANGE_PACE_BYTES a second loses it, and
 *with it the stream: nobody keeps old rows alive by not reading. */
#include "shim/rpc/encode.h"
#include "shim/rpc/rpc_internal.h"

#include "shim/base/limits.h"

#include <assert.h>
#include <stdlib.h>

#define RANGE_PACE_BYTES (64 * KIB) /* a second, over the whole answer */
#define RANGE_GRACE_MS 60000	    /* besides */

uint64_t range_time_ms(uint64_t message_bytes)
{
	return RANGE_GRACE_MS + message_bytes / RANGE_PACE_BYTES * 1000;
}

enum piece { PIECE_HEAD, PIECE_KV, PIECE_VALUE, PIECE_TAIL, PIECE_END, PIECE_NONE };

struct range_source {
	struct range_cursor *cursor; /* NULL once the time is over */
	struct wire_header header;
	struct loop_timer deadline;
	enum piece next;
	size_t index;	    /* of the kv at hand */
	struct bytes rest;  /* of a piece: goes first; in rest_data, or a value in the cursor */
	uint8_t *rest_data; /* a piece that was larger than the room, or NULL */
	size_t rest_capacity;
};

/* Room for a piece that is written whole: in the output where it fits, else aside. */
static uint8_t *piece_room(struct range_source *source, struct buffer *out, size_t room,
			   size_t size)
{
	if (size <= room)
		return buffer_end(out);
	if (size > source->rest_capacity) {
		uint8_t *data = realloc(source->rest_data, size);

		if (!data)
			return NULL;
		source->rest_data = data;
		source->rest_capacity = size;
	}
	return source->rest_data;
}

static size_t piece_size(const struct range_source *source)
{
	const struct range_result *head = store_range_head(source->cursor);

	switch (source->next) {
	case PIECE_HEAD:
		return encode_range_head_size(&source->header);
	case PIECE_KV:
		return encode_kv_head_size(store_range_peek(source->cursor, source->index));
	case PIECE_TAIL:
		return wire_kv_tail_size(store_range_peek(source->cursor, source->index));
	case PIECE_END:
		return encode_range_tail_size(head);
	case PIECE_VALUE:
	case PIECE_NONE:
		break;
	}
	return 0;
}

static uint8_t *piece_write(const struct range_source *source, uint8_t *to)
{
	switch (source->next) {
	case PIECE_HEAD:
		return encode_range_head(to, &source->header);
	case PIECE_KV:
		return encode_kv_head(to, store_range_peek(source->cursor, source->index));
	case PIECE_TAIL:
		return wire_put_kv_tail(to, store_range_peek(source->cursor, source->index));
	case PIECE_END:
		return encode_range_tail(to, store_range_head(source->cursor));
	case PIECE_VALUE:
	case PIECE_NONE:
		break;
	}
	return to;
}

static void piece_advance(struct range_source *source)
{
	size_t count = store_range_head(source->cursor)->kv_count;

	switch (source->next) {
	case PIECE_TAIL:
		source->index++;
		/* fall through */
	case PIECE_HEAD:
		source->next = source->index < count ? PIECE_KV : PIECE_END;
		break;
	case PIECE_KV:
		source->next = store_range_peek(source->cursor, source->index)->value.size
				       ? PIECE_VALUE
				       : PIECE_TAIL;
		break;
	case PIECE_VALUE:
		source->next = PIECE_TAIL;
		break;
	case PIECE_END:
	case PIECE_NONE:
		source->next = PIECE_NONE;
		break;
	}
}

/* Makes the next piece: in out, or as the rest. */
static enum err piece_make(struct range_source *source, struct buffer *out, size_t room)
{
	size_t size = piece_size(source);
	uint8_t *to;
	enum err e = ERR_OK;

	if (source->next == PIECE_VALUE) {
		e = store_range_value(source->cursor, source->index, &source->rest);
	} else if (size) {
		to = piece_room(source, out, room, size);
		if (!to)
			return fault(ERR_NOMEM, "a piece of %zu bytes", size);
		piece_write(source, to);
		if (to == source->rest_data)
			source->rest = bytes_of(to, size);
		else
			out->size += size;
	}
	if (!e)
		piece_advance(source);
	return e;
}

static enum err source_produce(void *context, struct buffer *out, size_t max)
{
	struct range_source *source = context;
	size_t end = out->size + max;
	enum err e = ERR_OK;

	if (!source->cursor)
		return ERR_TIMEOUT;
	if (!buffer_reserve(out, max))
		return fault(ERR_NOMEM, "a slice of %zu bytes", max);
	while (!e && out->size < end && (source->rest.size || source->next != PIECE_NONE)) {
		size_t room = end - out->size;
		size_t taken = source->rest.size < room ? source->rest.size : room;

		if (!taken) {
			e = piece_make(source, out, room);
			continue;
		}
		memcpy(buffer_end(out), source->rest.data, taken);
		out->size += taken;
		source->rest = bytes_of(source->rest.data + taken, source->rest.size - taken);
	}
	return e;
}

static void source_close(void *context)
{
	struct range_source *source = context;

	loop_timer_stop(&source->deadline);
	store_range_close(source->cursor);
	free(source->rest_data);
	free(source);
}

static void source_expire(struct loop_timer *timer)
{
	struct range_source *source = container_of(timer, struct range_source, deadline);

	store_range_close(source->cursor);
	source->cursor = NULL;
}

void range_source_reply(struct call *call, struct range_cursor *cursor,
			const struct wire_header *header, uint64_t message_bytes)
{
	struct range_source *source = calloc(1, sizeof(*source));
	struct call_source callbacks = {source_produce, source_close, source};

	if (!source) {
		store_range_close(cursor);
		call_fail(call, fault(ERR_NOMEM, "a big answer"));
		return;
	}
	source->cursor = cursor;
	source->header = *header;
	source->deadline.fn = source_expire;
	loop_timer_start(call_loop(call), &source->deadline, range_time_ms(message_bytes), 0);
	call_set_held(call, store_range_bytes(cursor));
	call_reply_source(call, message_bytes, &callbacks);
}
