/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/h2_peer.h"

#include "shim/net/grpc.h"

#include <assert.h>
#include <stdlib.h>

#define PEER_DATA_MAX (256u * 1024 * 1024)
#define PEER_HEADERS_MAX 256

struct peer_stream *h2_peer_stream(struct h2_peer *peer, int32_t id)
{
	size_t slot = (size_t)(id - 1) / 2;
	struct peer_stream *stream;

	assert(id > 0 && id % 2 == 1 && slot < PEER_STREAMS_MAX);
	stream = peer->streams[slot];
	if (!stream) {
		stream = calloc(1, sizeof *stream);
		assert(stream);
		stream->id = id;
		stream->grpc_status = -1;
		stream->data = BUFFER_INIT(PEER_DATA_MAX);
		stream->upload = BUFFER_INIT(PEER_DATA_MAX);
		peer->streams[slot] = stream;
	}
	return stream;
}

/* --- what comes --- */

static void copy_text(char out[PEER_TEXT_BYTES], const uint8_t *value, size_t size)
{
	if (size >= PEER_TEXT_BYTES)
		size = PEER_TEXT_BYTES - 1;
	if (size)
		memcpy(out, value, size);
	out[size] = '\0';
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
		     void *context)
{
	struct peer_stream *stream = h2_peer_stream(context, frame->hd.stream_id);
	struct bytes key = bytes_of(name, name_size);

	(void)ng, (void)flags;
	if (bytes_equal(key, BYTES_LITERAL(":status")))
		stream->http_status = (int)strtol((const char *)value, NULL, 10);
	else if (bytes_equal(key, BYTES_LITERAL("content-type")))
		copy_text(stream->content_type, value, value_size);
	else if (bytes_equal(key, BYTES_LITERAL("grpc-status")))
		stream->grpc_status = (int)strtol((const char *)value, NULL, 10);
	else if (bytes_equal(key, BYTES_LITERAL("grpc-message")))
		copy_text(stream->grpc_message, value, value_size);
	else if (bytes_equal(key, BYTES_LITERAL("allow")))
		copy_text(stream->allow, value, value_size);
	return 0;
}

static void received_goaway(struct h2_peer *peer, const nghttp2_goaway *goaway)
{
	peer->has_goaway = true;
	peer->goaway_code = goaway->error_code;
	peer->goaway_last_id = goaway->last_stream_id;
	copy_text(peer->goaway_text, goaway->opaque_data, goaway->opaque_data_len);
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *frame, void *context)
{
	struct h2_peer *peer = context;

	(void)ng;
	if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) {
		struct peer_stream *stream = h2_peer_stream(peer, frame->hd.stream_id);

		stream->headers_frames += frame->hd.type == NGHTTP2_HEADERS;
		stream->data_frames += frame->hd.type == NGHTTP2_DATA;
		if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
			stream->is_ended = true;
	} else if (frame->hd.type == NGHTTP2_GOAWAY) {
		received_goaway(peer, &frame->goaway);
	} else if (frame->hd.type == NGHTTP2_PING) {
		if (frame->hd.flags & NGHTTP2_FLAG_ACK)
			peer->ping_acks++;
		else
			peer->pings++;
	} else if (frame->hd.type == NGHTTP2_RST_STREAM) {
		peer->resets++;
	}
	return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t size,
		   void *context)
{
	struct h2_peer *peer = context;
	bool is_kept = buffer_append(&h2_peer_stream(peer, id)->data, bytes_of(data, size));

	(void)flags;
	assert(is_kept);
	if (peer->is_greedy)
		nghttp2_session_consume(ng, id, size);
	return 0;
}

static int on_close(nghttp2_session *ng, int32_t id, uint32_t error_code, void *context)
{
	struct peer_stream *stream = h2_peer_stream(context, id);

	(void)ng;
	stream->is_closed = true;
	stream->error_code = error_code;
	return 0;
}

/* --- what goes --- */

static ssize_t read_upload(nghttp2_session *ng, int32_t id, uint8_t *out, size_t length,
			   uint32_t *flags, nghttp2_data_source *source, void *context)
{
	struct peer_stream *stream = source->ptr;
	size_t left = stream->upload.size - stream->upload_sent;

	(void)ng, (void)id, (void)context;
	if (!left && !stream->upload_ends)
		return NGHTTP2_ERR_DEFERRED;
	if (left > length)
		left = length;
	if (left)
		memcpy(out, buffer_bytes(&stream->upload).data + stream->upload_sent, left);
	stream->upload_sent += left;
	if (stream->upload_ends && stream->upload_sent == stream->upload.size)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)left;
}

int32_t h2_peer_request(struct h2_peer *peer, const struct peer_header *headers, bool ends)
{
	nghttp2_nv nv[PEER_HEADERS_MAX];
	nghttp2_data_provider provider = {.read_callback = read_upload};
	int32_t id = (int32_t)nghttp2_session_get_next_stream_id(peer->ng);
	size_t count = 0;
	int32_t submitted;

	for (; headers[count].name; count++) {
		assert(count < PEER_HEADERS_MAX);
		nv[count] = (nghttp2_nv){(uint8_t *)(uintptr_t)headers[count].name,
					 (uint8_t *)(uintptr_t)headers[count].value,
					 strlen(headers[count].name), strlen(headers[count].value),
					 NGHTTP2_NV_FLAG_NONE};
	}
	provider.source.ptr = h2_peer_stream(peer, id);
	submitted =
		nghttp2_submit_request(peer->ng, NULL, nv, count, ends ? NULL : &provider, NULL);
	assert(submitted == id);
	return id;
}

int32_t h2_peer_call(struct h2_peer *peer, const char *path, const struct peer_header *more)
{
	struct peer_header headers[PEER_HEADERS_MAX] = {
		{":method", "POST"},
		{":scheme", "http"},
		{":path", path},
		{":authority", "localhost"},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
	};
	size_t count = 6;

	for (; more && more->name; more++) {
		assert(count + 1 < PEER_HEADERS_MAX);
		headers[count++] = *more;
	}
	return h2_peer_request(peer, headers, false);
}

void h2_peer_write(struct h2_peer *peer, int32_t id, struct bytes raw, bool ends)
{
	struct peer_stream *stream = h2_peer_stream(peer, id);
	bool is_kept = buffer_append(&stream->upload, raw);

	assert(is_kept);
	stream->upload_ends = ends;
	nghttp2_session_resume_data(peer->ng, id);
}

void h2_peer_message(struct h2_peer *peer, int32_t id, struct bytes message, bool ends)
{
	uint8_t prefix[GRPC_PREFIX_BYTES];

	grpc_prefix_write(prefix, (uint32_t)message.size);
	h2_peer_write(peer, id, bytes_of(prefix, sizeof prefix), false);
	h2_peer_write(peer, id, message, ends);
}

bool h2_peer_next(struct h2_peer *peer, int32_t id, size_t *offset, struct bytes *ret_message)
{
	struct bytes data = buffer_bytes(&h2_peer_stream(peer, id)->data);
	const uint8_t *prefix = data.data + *offset;
	size_t size;

	if (data.size < *offset + GRPC_PREFIX_BYTES)
		return false;
	size = (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 |
	       prefix[4];
	assert(prefix[0] == 0);
	if (data.size - *offset - GRPC_PREFIX_BYTES < size)
		return false;
	*ret_message = bytes_of(prefix + GRPC_PREFIX_BYTES, size);
	*offset += GRPC_PREFIX_BYTES + size;
	return true;
}

/* --- both ways --- */

/* A copy on the heap ends where the bytes end, so that reading beyond them is noticed. */
static void feed_server(struct h2_peer *peer, struct bytes raw)
{
	uint8_t *copy = malloc(raw.size);
	enum err e;

	assert(copy);
	memcpy(copy, raw.data, raw.size);
	e = h2_receive(peer->server, bytes_of(copy, raw.size));
	if (e)
		peer->receive_error = e;
	free(copy);
}

static bool upload(struct h2_peer *peer)
{
	const uint8_t *data;
	ssize_t size = nghttp2_session_mem_send(peer->ng, &data);

	assert(size >= 0);
	if (size)
		feed_server(peer, bytes_of(data, (size_t)size));
	return size > 0;
}

static bool download(struct h2_peer *peer)
{
	struct bytes output;
	enum err e = h2_pull(peer->server, &output);

	if (e || !output.size)
		return false;
	peer->pulled_runs++;
	nghttp2_session_mem_recv(peer->ng, output.data, output.size);
	return true;
}

void h2_peer_exchange(struct h2_peer *peer)
{
	bool is_moving = true;

	while (is_moving) {
		is_moving = false;
		while (upload(peer))
			is_moving = true;
		while (download(peer))
			is_moving = true;
	}
}

void h2_peer_turn(struct h2_peer *peer)
{
	struct buffer all = BUFFER_INIT(PEER_DATA_MAX);
	const uint8_t *data;
	ssize_t size;

	while ((size = nghttp2_session_mem_send(peer->ng, &data)) > 0) {
		bool is_kept = buffer_append(&all, bytes_of(data, (size_t)size));

		assert(is_kept);
	}
	if (all.size)
		feed_server(peer, buffer_bytes(&all));
	buffer_fini(&all);
	download(peer);
}

void h2_peer_inject(struct h2_peer *peer, struct bytes raw)
{
	while (upload(peer))
		continue;
	feed_server(peer, raw);
}

void h2_peer_frame(struct h2_peer *peer, uint8_t type, uint8_t flags, int32_t id,
		   struct bytes payload)
{
	struct buffer frame = BUFFER_INIT(PEER_DATA_MAX);
	const uint8_t header[9] = {
		(uint8_t)(payload.size >> 16),
		(uint8_t)(payload.size >> 8),
		(uint8_t)payload.size,
		type,
		flags,
		(uint8_t)(id >> 24),
		(uint8_t)(id >> 16),
		(uint8_t)(id >> 8),
		(uint8_t)id,
	};
	bool is_built = buffer_append(&frame, bytes_of(header, sizeof header)) &&
			buffer_append(&frame, payload);

	assert(is_built);
	h2_peer_inject(peer, buffer_bytes(&frame));
	buffer_fini(&frame);
}

void h2_peer_init(struct h2_peer *peer, struct h2_session *server,
		  const struct h2_peer_options *options)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
					 options->stream_window};
	int outcome;

	*peer = (struct h2_peer){.server = server, .is_greedy = !options->is_stingy};
	outcome = nghttp2_session_callbacks_new(&callbacks);
	assert(!outcome);
	outcome = nghttp2_option_new(&option);
	assert(!outcome);
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_max_send_header_block_length(option, 1024 * 1024);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	outcome = nghttp2_session_client_new2(&peer->ng, callbacks, peer, option);
	assert(!outcome);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	outcome = nghttp2_submit_settings(peer->ng, NGHTTP2_FLAG_NONE, &window,
					  options->stream_window ? 1 : 0);
	assert(!outcome);
}

void h2_peer_fini(struct h2_peer *peer)
{
	nghttp2_session_del(peer->ng);
	for (size_t i = 0; i < PEER_STREAMS_MAX; i++) {
		if (!peer->streams[i])
			continue;
		buffer_fini(&peer->streams[i]->data);
		buffer_fini(&peer->streams[i]->upload);
		free(peer->streams[i]);
	}
}
