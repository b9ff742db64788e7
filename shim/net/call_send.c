/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/h2_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define SEND_MESSAGE_BYTES_MAX INT32_MAX /* as etcd configures grpc-go */

#define NAME(text) BYTES_LITERAL(text)
#define STATIC_NV (NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE)
#define STATIC_NAME NGHTTP2_NV_FLAG_NO_COPY_NAME

static bool can_send(const struct call *call)
{
	return call->phase == CALL_OPEN && !call->is_finishing;
}

/* --- headers and trailers --------------------------------------------------------------------- */

static struct bytes status_digits(enum status status)
{
	static const char digits[][3] = {"0", "1",  "2",  "3",	"4",  "5",  "6",  "7", "8",
					 "9", "10", "11", "12", "13", "14", "15", "16"};

	assert((size_t)status < sizeof digits / sizeof *digits);
	return bytes_of_string(digits[status]);
}

/* grpc-go answers with the subtype that it was asked with. */
static struct bytes answer_content_type(struct call *call)
{
	struct bytes subtype, asked = call_field(call, FIELD_CONTENT_TYPE);
	const struct bytes plain = NAME("application/grpc");
	uint8_t *text;

	if (!asked.size || !grpc_content_type(asked, &subtype) || !subtype.size)
		return plain;
	assert(asked.data);
	if (subtype.data[-1] == '+')
		return asked;
	text = arena_alloc(&call->arena, asked.size);
	if (!text)
		return plain;
	memcpy(text, asked.data, asked.size);
	text[plain.size] = '+';
	return bytes_of(text, asked.size);
}

/* Makes call->status_text.  Percent-encoding needs memory of its own; so does a text that must wait
 * for what is queued. */
static void keep_text(struct call *call, const char *text)
{
	struct bytes raw = bytes_of_string(text ? text : "");
	bool is_plain = grpc_message_is_plain(raw);
	size_t capacity;
	char *copy;

	call->status_text = "";
	if (!raw.size)
		return;
	capacity = raw.size * (is_plain ? 1 : GRPC_MESSAGE_GROWTH) + 1;
	copy = arena_alloc(&call->arena, capacity);
	if (!copy) /* the code says enough */
		return;
	copy[grpc_message_encode(raw, copy)] = '\0';
	call->status_text = copy;
}

static void submit_trailers(struct call *call)
{
	nghttp2_nv nv[] = {
		call_nv(NAME("grpc-status"), status_digits(call->status), STATIC_NV),
		call_nv(NAME("grpc-message"), bytes_of_string(call->status_text), STATIC_NAME),
	};

	call->is_sealed = true;
	h2_check(call->session, nghttp2_submit_trailer(call->session->ng, call->stream_id, nv,
						       sizeof nv / sizeof *nv));
}

/* One HEADERS frame that is the whole answer. */
static void submit_trailers_only(struct call *call, int http_status, enum status status)
{
	nghttp2_nv nv[4];

	snprintf(call->http_status, sizeof call->http_status, "%d", http_status);
	nv[0] = call_nv(NAME(":status"), bytes_of_string(call->http_status), STATIC_NAME);
	nv[1] = call_nv(NAME("content-type"), answer_content_type(call), STATIC_NAME);
	nv[2] = call_nv(NAME("grpc-status"), status_digits(status), STATIC_NV);
	nv[3] = call_nv(NAME("grpc-message"), bytes_of_string(call->status_text), STATIC_NAME);
	call->is_answering = true;
	call->is_sealed = true;
	h2_check(call->session,
		 nghttp2_submit_response(call->session->ng, call->stream_id, nv, 4, NULL));
}

/* Response headers go with the first message; later ones wake the sleeping DATA provider. */
static void send_queued(struct call *call)
{
	nghttp2_data_provider provider = {.source.ptr = call, .read_callback = call_read_data};
	nghttp2_nv nv[2];

	if (!call->is_answering) {
		call->is_answering = true;
		nv[0] = call_nv(NAME(":status"), NAME("200"), STATIC_NV);
		nv[1] = call_nv(NAME("content-type"), answer_content_type(call), STATIC_NAME);
		h2_check(call->session, nghttp2_submit_response(call->session->ng, call->stream_id,
								nv, 2, &provider));
	} else if (call->is_deferred) {
		call->is_deferred = false;
		h2_check(call->session,
			 nghttp2_session_resume_data(call->session->ng, call->stream_id));
	}
	h2_wake(call->session);
}

void call_refuse(struct call *call, int http_status, enum status status, const char *text)
{
	keep_text(call, text);
	submit_trailers_only(call, http_status, status);
	call_end(call, status);
	h2_wake(call->session);
}

void call_reset(struct call *call, uint32_t error_code, enum status status)
{
	if (call->is_closed)
		return;
	call->is_sealed = true;
	h2_check(call->session, nghttp2_submit_rst_stream(call->session->ng, NGHTTP2_FLAG_NONE,
							  call->stream_id, error_code));
	call_end(call, status);
	h2_wake(call->session);
}

void call_http_answer(struct call *call, const nghttp2_nv *headers, size_t count)
{
	nghttp2_data_provider provider = {.source.ptr = call, .read_callback = call_read_data};

	call->is_answering = true;
	call->is_finishing = true;
	h2_check(call->session,
		 nghttp2_submit_response(call->session->ng, call->stream_id, headers, count,
					 call->unsent_bytes ? &provider : NULL));
	call_end(call, STATUS_OK);
	h2_wake(call->session);
}

/* --- the queue --- */

static struct out_message *out_new(struct call *call)
{
	if (call->is_inline_used)
		return calloc(1, sizeof(struct out_message));
	call->is_inline_used = true;
	call->out_inline = (struct out_message){0};
	return &call->out_inline;
}

static void out_free(struct call *call, struct out_message *out)
{
	buffer_fini(&out->buffer);
	if (out == &call->out_inline)
		call->is_inline_used = false;
	else
		free(out);
}

bool call_queue(struct call *call, struct buffer *buffer, int64_t message_bytes)
{
	struct out_message *out;

	if (!buffer_reserve(buffer, 0)) /* an empty message still needs room for its prefix */
		return false;
	out = out_new(call);
	if (!out)
		return false;
	out->buffer = *buffer;
	out->left = buffer_bytes(buffer);
	*buffer = BUFFER_INIT(buffer->bytes_max);
	if (message_bytes >= 0) {
		static_assert(BUFFER_HEADROOM == GRPC_PREFIX_BYTES, "the prefix fits in front");
		grpc_prefix_write(out->buffer.data, (uint32_t)message_bytes);
		out->left = bytes_of(out->buffer.data, out->left.size + GRPC_PREFIX_BYTES);
	}
	*call->out_last = out;
	call->out_last = &out->next;
	call->unsent_bytes += out->left.size;
	call->session->unsent_bytes += out->left.size;
	call_recount(call);
	if (call_is_full(call))
		call->was_full = true;
	return true;
}

static void close_source(struct call *call)
{
	if (!call->has_source)
		return;
	call->has_source = false;
	call->source_left = 0;
	if (call->source.close)
		call->source.close(call->source.context);
	call_set_held(call, 0);
}

void call_queue_drop(struct call *call)
{
	while (call->out_first) {
		struct out_message *out = call->out_first;

		call->out_first = out->next;
		out_free(call, out);
	}
	call->out_last = &call->out_first;
	call->session->unsent_bytes -= call->unsent_bytes;
	call->unsent_bytes = 0;
	buffer_fini(&call->slice);
	close_source(call);
	call_recount(call);
}

static void out_done(struct call *call, struct out_message *out)
{
	call->out_first = out->next;
	if (!call->out_first)
		call->out_last = &call->out_first;
	if (call->source_left) { /* the next slice uses the same memory */
		call->slice = out->buffer;
		call->slice.size = 0;
		out->buffer = BUFFER_INIT(0);
	}
	out_free(call, out);
}

void call_take_unsent(struct call *call, uint8_t *to, size_t length)
{
	size_t left = length;

	assert(length <= call->unsent_bytes);
	while (left) {
		struct out_message *out = call->out_first;
		size_t piece = left < out->left.size ? left : out->left.size;

		memcpy(to, out->left.data, piece);
		to += piece;
		left -= piece;
		out->left = bytes_of(out->left.data + piece, out->left.size - piece);
		if (!out->left.size)
			out_done(call, out);
	}
	call->unsent_bytes -= length;
	call->session->unsent_bytes -= length;
	call->progress_ns = h2_now_ns(call->session);
	call_recount(call);
	if (call->unsent_bytes >= CALL_SEND_LOW_BYTES || call->phase != CALL_OPEN)
		return;
	if (call->was_full)
		call_mark_due(call, DUE_WRITABLE);
	if (call->is_paused)
		call_mark_due(call, DUE_INPUT);
	call->was_full = false;
}

/* Produces the next slice of a source into the empty queue. */
static bool fill_from_source(struct call *call)
{
	size_t max = call->source_left < SOURCE_SLICE_BYTES ? (size_t)call->source_left
							    : SOURCE_SLICE_BYTES;
	int64_t prefix = call->is_source_begun ? -1 : (int64_t)call->source_left;
	struct buffer slice = call->slice;
	enum err e;

	call->slice = BUFFER_INIT(0);
	slice.bytes_max = SOURCE_SLICE_BYTES;
	e = call->source.produce(call->source.context, &slice, max);
	if (!e) {
		assert(slice.size > 0 && slice.size <= max);
		call->is_source_begun = true;
		call->source_left -= slice.size;
		if (!call_queue(call, &slice, prefix))
			e = fault(ERR_NOMEM, "no memory for a slice of an answer");
	}
	buffer_fini(&slice);
	if (e) {
		close_source(call);
		call_end(call, err_status(e));
		return false;
	}
	if (!call->source_left) {
		close_source(call);
		call_end(call, STATUS_OK);
	}
	return true;
}

ssize_t call_read_data(nghttp2_session *session, int32_t stream_id, uint8_t *buffer, size_t length,
		       uint32_t *flags, nghttp2_data_source *source, void *context)
{
	struct call *call = source->ptr;
	size_t ready;

	(void)session, (void)stream_id, (void)buffer, (void)context;
	if (call->is_sealed)
		return NGHTTP2_ERR_DEFERRED;
	if (!call->unsent_bytes && call->source_left && !fill_from_source(call))
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* a reset follows */
	ready = call->unsent_bytes < length ? call->unsent_bytes : length;
	if (ready == call->unsent_bytes && call->is_finishing && !call->source_left) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (call->is_opened) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			submit_trailers(call);
		}
	} else if (!ready) {
		call->is_deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	return (ssize_t)ready;
}

/* --- what handlers call --- */

static void out_of_memory(struct call *call)
{
	call_reset(call, NGHTTP2_INTERNAL_ERROR,
		   err_status(fault(ERR_NOMEM, "no memory for an answer")));
}

static bool size_is_sendable(struct call *call, uint64_t size)
{
	char text[GRPC_PROBLEM_BYTES];

	if (size <= SEND_MESSAGE_BYTES_MAX)
		return true;
	snprintf(text, sizeof text, "grpc: trying to send message larger than max (%llu vs. %d)",
		 (unsigned long long)size, SEND_MESSAGE_BYTES_MAX);
	call_finish(call, STATUS_RESOURCE_EXHAUSTED, text);
	return false;
}

static void tell_sent(struct call *call, uint64_t size)
{
	if (call->session->config.stats)
		call->session->config.stats->sent_bytes += size;
	if (call->server->on_message)
		call->server->on_message(call->server->handler_context, call->method, true);
}

/* Queues without waking: an answer's status follows at once. */
static bool enqueue(struct call *call, struct buffer *message)
{
	size_t size = message->size;
	bool is_queued = false;

	if (can_send(call) && size_is_sendable(call, size)) {
		is_queued = call_queue(call, message, (int64_t)size);
		if (is_queued)
			tell_sent(call, size);
		else
			out_of_memory(call);
	}
	buffer_fini(message);
	return is_queued;
}

void call_send(struct call *call, struct buffer *message)
{
	if (enqueue(call, message))
		send_queued(call);
}

void call_reply(struct call *call, struct buffer *message)
{
	if (!enqueue(call, message))
		return;
	call->is_finishing = true;
	send_queued(call);
	call_end(call, STATUS_OK);
}

void call_finish(struct call *call, enum status status, const char *text)
{
	if (!can_send(call))
		return;
	call->is_finishing = true;
	keep_text(call, text);
	call_end(call, status);
	if (!call->is_answering)
		submit_trailers_only(call, 200, status);
	else if (!call->unsent_bytes)
		submit_trailers(call);
	h2_wake(call->session);
}

void call_fail(struct call *call, enum err e)
{
	call_finish(call, err_status(e), err_text(e));
}

void call_reply_source(struct call *call, uint64_t message_bytes, const struct call_source *source)
{
	struct buffer empty = BUFFER_INIT(0);

	if (!can_send(call) || !size_is_sendable(call, message_bytes)) {
		if (source->close)
			source->close(source->context);
		return;
	}
	if (!message_bytes) {
		call_reply(call, &empty);
		if (source->close)
			source->close(source->context);
		return;
	}
	call->source = *source;
	call->has_source = true;
	call->source_left = message_bytes;
	call->is_finishing = true;
	tell_sent(call, message_bytes);
	send_queued(call);
}

size_t call_unsent_bytes(const struct call *call)
{
	return call->unsent_bytes;
}

bool call_is_full(const struct call *call)
{
	return call->unsent_bytes > CALL_SEND_HIGH_BYTES;
}
