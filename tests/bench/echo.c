/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/echo.h"

#include "shim/net/grpc.h"
#include "tests/bench/common.h"
#include "tests/bench/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECEIVE_BYTES (256u * 1024)
#define EVENTS_MAX 256
#define OUTPUT_BYTES (64u * 1024)
#define LEASE_TTL_SECONDS 600

enum method { METHOD_PUT, METHOD_TXN, METHOD_RANGE, METHOD_GRANT, METHOD_KEEP_ALIVE, METHOD_NONE };

struct server {
	int poll_fd;
	uint64_t keys;
	struct bytes value;
	int64_t leases;
	uint8_t *receive_buffer;
};

struct peer {
	int fd;
	struct server *server;
	nghttp2_session *session;
	struct buffer output;
	size_t output_sent;
	bool is_waiting; /* for room in the socket */
};

struct stream {
	enum method method;
	bool is_answered; /* headers are out */
	struct buffer request, answer;
	size_t answer_sent; /* of prefix and message */
};

/* --- answers ----------------------------------------------------------------------------- */

static void add_pair(struct server *server, struct buffer *out, struct bytes key)
{
	static struct buffer pair;

	pair.bytes_max = MESSAGE_BYTES_MAX;
	pair.size = 0;
	wire_bytes(&pair, 1, key);
	wire_number(&pair, 2, 1);
	wire_number(&pair, 3, 1);
	wire_number(&pair, 4, 1);
	wire_bytes(&pair, 5, server->value);
	wire_bytes(out, 2, buffer_bytes(&pair));
}

static void answer_range(struct server *server, struct bytes request, struct buffer *out)
{
	struct bytes first = {0};
	struct wire_field field;
	bool is_list = false;
	uint64_t limit = 0, left;
	uint8_t key[KEY_BYTES];

	while (wire_next(&request, &field)) {
		if (field.number == 1)
			first = field.bytes;
		else if (field.number == 2)
			is_list = true;
		else if (field.number == 3)
			limit = field.value;
	}
	left = is_list ? server->keys - (uint64_t)key_number(first) : 1;
	if (limit && limit < left)
		left = limit;
	for (uint64_t i = 0; i < left; i++)
		add_pair(server, out, key_make(key, (uint64_t)key_number(first) + i));
}

static void answer(struct server *server, struct stream *stream, struct bytes request)
{
	struct buffer *out = &stream->answer;
	struct wire_field field;

	out->size = 0;
	stream->answer_sent = 0;
	wire_bytes(out, 1, BYTES_LITERAL("\x18\x01")); /* header.revision: 1 */
	if (stream->method == METHOD_TXN)
		wire_number(out, 2, 1);
	else if (stream->method == METHOD_RANGE)
		answer_range(server, request, out);
	else if (stream->method == METHOD_GRANT)
		wire_number(out, 2, ++server->leases);
	else if (stream->method == METHOD_KEEP_ALIVE && wire_next(&request, &field))
		wire_number(out, 2, (int64_t)field.value);
	if (stream->method == METHOD_GRANT || stream->method == METHOD_KEEP_ALIVE)
		wire_number(out, 3, LEASE_TTL_SECONDS);
	grpc_prefix_write(out->data, (uint32_t)out->size);
}

/* --- HTTP/2 ------------------------------------------------------------------------------ */

#define HEADER(name, value)                                                                        \
	{                                                                                          \
		(uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1,     \
			sizeof(value) - 1,                                                         \
			NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE               \
	}

static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *out, size_t length,
			   uint32_t *flags, nghttp2_data_source *source, void *context)
{
	static const nghttp2_nv trailers[] = {HEADER("grpc-status", "0")};
	struct stream *stream = source->ptr;
	size_t total = BUFFER_HEADROOM + stream->answer.size;
	size_t left = total - stream->answer_sent;

	(void)context;
	if (!left)
		return NGHTTP2_ERR_DEFERRED;
	if (left > length)
		left = length;
	memcpy(out, stream->answer.data + stream->answer_sent, left);
	stream->answer_sent += left;
	if (stream->answer_sent == total && stream->method != METHOD_KEEP_ALIVE) {
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		nghttp2_submit_trailer(session, id, trailers, 1);
	}
	return (ssize_t)left;
}

static void respond(struct peer *peer, int32_t id, struct stream *stream)
{
	static const nghttp2_nv headers[] = {HEADER(":status", "200"),
					     HEADER("content-type", "application/grpc")};
	nghttp2_data_provider provider = {.source = {.ptr = stream}, .read_callback = read_answer};

	if (stream->is_answered)
		nghttp2_session_resume_data(peer->session, id);
	else
		nghttp2_submit_response(peer->session, id, headers, 2, &provider);
	stream->is_answered = true;
}

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	struct stream *stream;

	(void)context;
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	stream = calloc(1, sizeof *stream);
	if (!stream)
		die("out of memory");
	stream->method = METHOD_NONE;
	stream->request = BUFFER_INIT(MESSAGE_BYTES_MAX);
	stream->answer = BUFFER_INIT(MESSAGE_BYTES_MAX);
	nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
		     void *context)
{
	static const struct {
		const char *path;
		enum method method;
	} methods[] = {{"/etcdserverpb.KV/Put", METHOD_PUT},
		       {"/etcdserverpb.KV/Txn", METHOD_TXN},
		       {"/etcdserverpb.KV/Range", METHOD_RANGE},
		       {"/etcdserverpb.Lease/LeaseGrant", METHOD_GRANT},
		       {"/etcdserverpb.Lease/LeaseKeepAlive", METHOD_KEEP_ALIVE}};
	struct stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)flags, (void)context;
	if (!stream || name_size != 5 || memcmp(name, ":path", 5) != 0)
		return 0;
	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
		if (strlen(methods[i].path) == value_size &&
		    !memcmp(methods[i].path, value, value_size))
			stream->method = methods[i].method;
	}
	return stream->method == METHOD_NONE ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t size, void *context)
{
	struct peer *peer = context;
	struct stream *stream = nghttp2_session_get_stream_user_data(session, id);
	struct bytes held;

	(void)flags;
	if (!stream || !buffer_append(&stream->request, bytes_of(data, size)))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	held = buffer_bytes(&stream->request);
	if (held.size < GRPC_PREFIX_BYTES ||
	    held.size - GRPC_PREFIX_BYTES <
		    ((size_t)held.data[1] << 24 | (size_t)held.data[2] << 16 |
		     (size_t)held.data[3] << 8 | held.data[4]))
		return 0;
	answer(peer->server, stream,
	       bytes_of(held.data + GRPC_PREFIX_BYTES, held.size - GRPC_PREFIX_BYTES));
	stream->request.size = 0;
	respond(peer, id, stream);
	return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *context)
{
	struct stream *stream = nghttp2_session_get_stream_user_data(session, id);

	(void)code, (void)context;
	if (!stream)
		return 0;
	buffer_fini(&stream->request);
	buffer_fini(&stream->answer);
	free(stream);
	return 0;
}

/* --- sockets ----------------------------------------------------------------------------- */

static void peer_close(struct peer *peer)
{
	nghttp2_session_del(peer->session);
	close(peer->fd);
	buffer_fini(&peer->output);
	free(peer);
}

static bool send_output(struct peer *peer)
{
	struct bytes bytes = buffer_bytes(&peer->output);

	while (peer->output_sent < bytes.size) {
		ssize_t sent = send(peer->fd, bytes.data + peer->output_sent,
				    bytes.size - peer->output_sent, MSG_NOSIGNAL);

		if (sent < 0)
			return false;
		peer->output_sent += (size_t)sent;
	}
	peer->output.size = peer->output_sent = 0;
	return true;
}

static void peer_flush(struct peer *peer)
{
	struct epoll_event event = {.data.ptr = peer};
	bool is_done = false, was_waiting = peer->is_waiting;

	while (send_output(peer) && !is_done) {
		const uint8_t *data;
		ssize_t size = 1;

		while (peer->output.size < OUTPUT_BYTES && size > 0) {
			size = nghttp2_session_mem_send(peer->session, &data);
			if (size > 0 && !buffer_append(&peer->output, bytes_of(data, (size_t)size)))
				die("out of memory");
		}
		is_done = size <= 0;
	}
	peer->is_waiting = peer->output.size > 0;
	event.events = EPOLLIN | (peer->is_waiting ? EPOLLOUT : 0);
	if (peer->is_waiting != was_waiting)
		epoll_ctl(peer->server->poll_fd, EPOLL_CTL_MOD, peer->fd, &event);
}

static void peer_ready(struct peer *peer)
{
	uint8_t *buffer = peer->server->receive_buffer;
	ssize_t size = recv(peer->fd, buffer, RECEIVE_BYTES, MSG_DONTWAIT);

	if (size > 0 && nghttp2_session_mem_recv(peer->session, buffer, (size_t)size) != size)
		size = 0;
	if (!size || (size < 0 && errno != EAGAIN))
		peer_close(peer);
	else
		peer_flush(peer);
}

static void accept_peer(struct server *server, int listener)
{
	nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1u << 20},
					     {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1u << 20}};
	struct peer *peer = calloc(1, sizeof *peer);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	int one = 1;

	if (!peer || nghttp2_session_callbacks_new(&callbacks) || nghttp2_option_new(&option))
		die("out of memory");
	peer->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (peer->fd < 0)
		die("accept: %s", strerror(errno));
	setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	peer->server = server;
	peer->output = BUFFER_INIT(MESSAGE_BYTES_MAX);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_session_server_new2(&peer->session, callbacks, peer, option);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_submit_settings(peer->session, NGHTTP2_FLAG_NONE, settings, 2);
	nghttp2_session_set_local_window_size(peer->session, NGHTTP2_FLAG_NONE, 0, 1 << 26);
	epoll_ctl(server->poll_fd, EPOLL_CTL_ADD, peer->fd, &event);
	peer_flush(peer);
}

static int listen_on(struct server *server, uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
		die("port %u: %s", port, strerror(errno));
	server->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_ctl(server->poll_fd, EPOLL_CTL_ADD, listener, &event))
		die("epoll_ctl: %s", strerror(errno));
	return listener;
}

_Noreturn void echo_serve(uint16_t port, uint64_t keys, size_t value_bytes)
{
	uint8_t *value = calloc(1, value_bytes + 1);
	struct server server = {.keys = keys,
				.value = bytes_of(value, value_bytes),
				.receive_buffer = malloc(RECEIVE_BYTES)};
	struct epoll_event events[EVENTS_MAX];
	int listener = listen_on(&server, port);

	if (!value || !server.receive_buffer)
		die("out of memory");
	for (;;) {
		int count = epoll_wait(server.poll_fd, events, EVENTS_MAX, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].data.ptr)
				peer_ready(events[i].data.ptr);
			else
				accept_peer(&server, listener);
		}
	}
}
