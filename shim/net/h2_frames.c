/* SPDX-License-Identifier: Apache-2.0 */
/* nghttp2's callbacks: frames to calls, and calls to frames. */
#include "shim/net/h2_internal.h"

#include <stdlib.h>

#define FRAME_HEADER_BYTES 9
#define OUTPUT_FIRST_BYTES 4096
#define HEADER_OVERHEAD_BYTES 32 /* RFC 9113 6.5.2 */

static struct call *stream_call(struct h2_session *session, int32_t stream_id)
{
	return nghttp2_session_get_stream_user_data(session->ng, stream_id);
}

/* --- request headers --- */

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *context)
{
	struct h2_session *session = context;
	const int32_t stream_id = frame->hd.stream_id;
	struct call *call;

	session->header_call = NULL;
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	session->last_stream_id = stream_id;
	if (session->is_closing)
		return 0;
	call = session->memory_count < H2_CALLS_MAX ? call_new(session, stream_id) : NULL;
	if (!call) {
		h2_reset_seen(session); /* a peer that does not read would queue them without end */
		h2_check(session, nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, stream_id,
							    NGHTTP2_REFUSED_STREAM));
		return 0;
	}
	nghttp2_session_set_stream_user_data(ng, stream_id, call);
	session->header_call = call;
	return 0;
}

static const struct {
	struct bytes name;
	enum call_field field; /* FIELD_COUNT: dropped, as reserved by gRPC */
} reserved[] = {
	{BYTES_LITERAL(":method"), FIELD_METHOD},
	{BYTES_LITERAL(":path"), FIELD_PATH},
	{BYTES_LITERAL(":scheme"), FIELD_COUNT},
	{BYTES_LITERAL(":authority"), FIELD_AUTHORITY},
	{BYTES_LITERAL("host"), FIELD_HOST},
	{BYTES_LITERAL("content-type"), FIELD_CONTENT_TYPE},
	{BYTES_LITERAL("grpc-timeout"), FIELD_TIMEOUT},
	{BYTES_LITERAL("grpc-encoding"), FIELD_ENCODING},
	{BYTES_LITERAL("te"), FIELD_COUNT},
};

static bool header_keep(struct call *call, struct bytes name_bytes, nghttp2_rcbuf *name,
			nghttp2_rcbuf *value)
{
	for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++) {
		enum call_field field = reserved[i].field;

		if (!bytes_equal(reserved[i].name, name_bytes))
			continue;
		if (field == FIELD_COUNT)
			return true;
		nghttp2_rcbuf_incref(value);
		if (call->field[field])
			nghttp2_rcbuf_decref(call->field[field]);
		call->field[field] = value;
		return true;
	}
	return call_header_add(call, name, value);
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, nghttp2_rcbuf *name,
		     nghttp2_rcbuf *value, uint8_t flags, void *context)
{
	struct h2_session *session = context;
	struct call *call = session->header_call;
	nghttp2_vec name_vec = nghttp2_rcbuf_get_buf(name);
	nghttp2_vec value_vec = nghttp2_rcbuf_get_buf(value);

	(void)ng, (void)frame, (void)flags;
	if (!call || call->is_rejected)
		return 0;
	call->header_bytes += name_vec.len + value_vec.len + HEADER_OVERHEAD_BYTES;
	if (call->header_bytes > H2_HEADER_LIST_BYTES_MAX) {
		call->is_rejected = true;
		h2_reset_seen(session);
		call_reset(call, NGHTTP2_FRAME_SIZE_ERROR, STATUS_RESOURCE_EXHAUSTED);
		return 0;
	}
	call_recount(call);
	if (!header_keep(call, bytes_of(name_vec.base, name_vec.len), name, value))
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	return 0;
}

/* --- received frames --- */

static void receive_headers(struct h2_session *session, const nghttp2_frame *frame)
{
	struct call *call = stream_call(session, frame->hd.stream_id);

	session->header_call = NULL;
	if (!call || call->is_rejected)
		return;
	if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		call_dispatch(call);
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		call_half_closed(call);
}

static void receive_end_of_data(struct h2_session *session, const nghttp2_frame *frame)
{
	struct call *call;

	if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return;
	call = stream_call(session, frame->hd.stream_id);
	if (call)
		call_half_closed(call);
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *frame, void *context)
{
	struct h2_session *session = context;

	(void)ng;
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		receive_headers(session, frame);
		break;
	case NGHTTP2_DATA:
		receive_end_of_data(session, frame);
		break;
	case NGHTTP2_RST_STREAM:
		h2_reset_seen(session);
		break;
	case NGHTTP2_SETTINGS:
		if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
			h2_useless_frame(session);
		break;
	case NGHTTP2_PING:
		if (frame->hd.flags & NGHTTP2_FLAG_ACK)
			h2_ping_answered(session, frame->ping.opaque_data);
		else
			h2_ping_received(session);
		break;
	default:
		break;
	}
	return 0;
}

static int on_data_chunk(nghttp2_session *ng, uint8_t flags, int32_t stream_id, const uint8_t *data,
			 size_t size, void *context)
{
	struct h2_session *session = context;
	struct call *call = stream_call(session, stream_id);

	(void)ng, (void)flags;
	h2_consume_connection(session, size);
	if (call)
		call_receive(call, bytes_of(data, size));
	else
		h2_consume_stream(session, stream_id, size);
	return 0;
}

static bool is_closed_stream(struct h2_session *session, int32_t stream_id)
{
	return stream_id % 2 && stream_id <= session->last_stream_id &&
	       nghttp2_session_get_stream_remote_close(session->ng, stream_id) < 0;
}

/* Frames that cost us work and carry nothing, or come for a stream that is no more. */
static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *context)
{
	struct h2_session *session = context;
	bool is_useless;

	(void)ng;
	if (hd->type == NGHTTP2_HEADERS && is_closed_stream(session, hd->stream_id))
		h2_closed_stream_headers(session, hd->stream_id);
	switch (hd->type) {
	case NGHTTP2_DATA:
		is_useless = !hd->length && !(hd->flags & NGHTTP2_FLAG_END_STREAM);
		break;
	case NGHTTP2_HEADERS:
	case NGHTTP2_SETTINGS: /* counted when complete: empty ones do not pass here */
	case NGHTTP2_RST_STREAM:
	case NGHTTP2_PING:
	case NGHTTP2_WINDOW_UPDATE:
	case NGHTTP2_CONTINUATION:
		is_useless = false;
		break;
	default: /* PRIORITY, GOAWAY; unknown types do not get here, nghttp2 skips them cheaply */
		is_useless = true;
		break;
	}
	if (is_useless)
		h2_useless_frame(session);
	return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t stream_id, uint32_t error_code,
			   void *context)
{
	struct h2_session *session = context;
	struct call *call = stream_call(session, stream_id);

	(void)ng;
	if (!call)
		return 0;
	/* A reset that the peer provoked costs as much as one that it sent. */
	if (error_code != NGHTTP2_NO_ERROR && error_code != NGHTTP2_CANCEL && !call->is_sealed)
		h2_reset_seen(session);
	if (session->header_call == call)
		session->header_call = NULL;
	nghttp2_session_set_stream_user_data(ng, stream_id, NULL);
	call_stream_closed(call);
	return 0;
}

/* --- sent frames --- */

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *context)
{
	struct h2_session *session = context;

	switch (frame->hd.type) {
	case NGHTTP2_GOAWAY:
		session->is_goaway_sent = session->is_closing;
		return 0;
	case NGHTTP2_HEADERS:
	case NGHTTP2_DATA:
		break;
	default:
		return 0;
	}
	session->is_strike_reset = true;
	/* The answer is complete: a peer that still sends is told to stop. */
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
	    nghttp2_session_get_stream_remote_close(ng, frame->hd.stream_id) == 0)
		h2_check(session, nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE,
							    frame->hd.stream_id, NGHTTP2_NO_ERROR));
	return 0;
}

/* Where `size` bytes may be written; NULL and is_dead when memory is out, NULL when the run is
 * full. */
static uint8_t *output_room(struct h2_session *session, size_t size)
{
	size_t needed = session->output_size + size;
	size_t capacity = session->output_capacity;
	uint8_t *output;

	if (needed > H2_OUTPUT_RUN_BYTES && session->output_size)
		return NULL;
	if (needed <= capacity)
		return session->output + session->output_size;
	capacity = capacity ? capacity : OUTPUT_FIRST_BYTES;
	while (capacity < needed)
		capacity *= 2;
	output = realloc(session->output, capacity);
	if (!output) {
		session->is_dead = true;
		return NULL;
	}
	session->output = output;
	session->output_capacity = capacity;
	return output + session->output_size;
}

static ssize_t on_send(nghttp2_session *ng, const uint8_t *data, size_t length, int flags,
		       void *context)
{
	struct h2_session *session = context;
	uint8_t *room = output_room(session, length);

	(void)ng, (void)flags;
	if (!room)
		return session->is_dead ? NGHTTP2_ERR_CALLBACK_FAILURE : NGHTTP2_ERR_WOULDBLOCK;
	memcpy(room, data, length);
	session->output_size += length;
	return (ssize_t)length;
}

/* DATA goes from the call's queue straight into the run of output. */
static int on_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *header,
			size_t length, nghttp2_data_source *source, void *context)
{
	struct h2_session *session = context;
	uint8_t *room = output_room(session, FRAME_HEADER_BYTES + length);

	(void)ng, (void)frame;
	if (!room)
		return session->is_dead ? NGHTTP2_ERR_CALLBACK_FAILURE : NGHTTP2_ERR_WOULDBLOCK;
	memcpy(room, header, FRAME_HEADER_BYTES);
	call_take_unsent(source->ptr, room + FRAME_HEADER_BYTES, length);
	session->output_size += FRAME_HEADER_BYTES + length;
	return 0;
}

enum err h2_frames_callbacks(nghttp2_session_callbacks **ret_callbacks)
{
	nghttp2_session_callbacks *callbacks;

	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		return fault(ERR_NOMEM, "no memory for the callbacks of a session");
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
	nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
	nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
	nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
	*ret_callbacks = callbacks;
	return ERR_OK;
}
