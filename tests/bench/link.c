/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/link.h"

#include "shim/net/grpc.h"
#include "tests/bench/common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECEIVE_BYTES (512u * 1024)
#define SEND_BYTES (64u * 1024)
#define WINDOW_BYTES (64u << 20) /* the longest list arrives without waiting for credit */
#define EVENTS_MAX 256

struct link {
	int fd;
	bool is_dirty;	 /* in set->dirty */
	bool is_waiting; /* for room in the socket */
	nghttp2_session *session;
	struct link_set *set;
	struct buffer unsent;
	size_t unsent_sent;
};

struct link_set {
	int poll_fd;
	unsigned count;
	unsigned dirty_count;
	struct link *links;
	struct link **dirty; /* have something to send */
	uint8_t *receive_buffer;
	char authority[32];
};

static void touch(struct link *link)
{
	if (link->is_dirty)
		return;
	link->is_dirty = true;
	link->set->dirty[link->set->dirty_count++] = link;
}

/* --- calls ------------------------------------------------------------------------------- */

void call_init(struct call *call, void *owner)
{
	*call = (struct call){.owner = owner,
			      .request = BUFFER_INIT(MESSAGE_BYTES_MAX),
			      .answer = BUFFER_INIT(MESSAGE_BYTES_MAX)};
}

void call_fini(struct call *call)
{
	buffer_fini(&call->request);
	buffer_fini(&call->answer);
}

static ssize_t read_request(nghttp2_session *session, int32_t id, uint8_t *out, size_t length,
			    uint32_t *flags, nghttp2_data_source *source, void *context)
{
	struct call *call = source->ptr;
	size_t total = BUFFER_HEADROOM + call->request.size;
	size_t left = total - call->sent;

	(void)session, (void)id, (void)context;
	if (!left)
		return NGHTTP2_ERR_DEFERRED;
	if (left > length)
		left = length;
	memcpy(out, call->request.data + call->sent, left);
	call->sent += left;
	if (call->sent == total && !call->is_open)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)left;
}

static void frame_request(struct call *call)
{
	/* An empty message has no allocation yet for its prefix to live in. */
	if (!buffer_reserve(&call->request, 1))
		die("out of memory");
	grpc_prefix_write(call->request.data, (uint32_t)call->request.size);
	call->sent = 0;
}

#define HEADER(name, value, size)                                                                  \
	{                                                                                          \
		(uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1,     \
			(size), NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE       \
	}
#define HEADER_FIXED(name, value) HEADER(name, value, sizeof(value) - 1)

void call_begin(struct call *call, struct link *link, const char *path, bool is_stream)
{
	const char *authority = link->set->authority;
	const nghttp2_nv headers[] = {
		HEADER_FIXED(":method", "POST"),
		HEADER_FIXED(":scheme", "http"),
		HEADER(":path", path, strlen(path)),
		HEADER(":authority", authority, strlen(authority)),
		HEADER_FIXED("content-type", "application/grpc"),
		HEADER_FIXED("user-agent", "kedge-bench"),
		HEADER_FIXED("te", "trailers"),
	};
	nghttp2_data_provider provider = {.source = {.ptr = call}, .read_callback = read_request};

	frame_request(call);
	call->link = link;
	call->is_open = is_stream;
	call->has_message = false;
	call->answer.size = 0;
	call->http_status = 0;
	call->grpc_status = -1;
	call->problem[0] = '\0';
	call->stream = nghttp2_submit_request(link->session, NULL, headers,
					      sizeof headers / sizeof headers[0], &provider, call);
	if (call->stream < 0)
		die("a request cannot be begun: %s", nghttp2_strerror(call->stream));
	touch(link);
}

void call_send(struct call *call)
{
	frame_request(call);
	nghttp2_session_resume_data(call->link->session, call->stream);
	touch(call->link);
}

void call_cancel(struct call *call)
{
	if (!call->stream)
		return;
	nghttp2_submit_rst_stream(call->link->session, NGHTTP2_FLAG_NONE, call->stream,
				  NGHTTP2_CANCEL);
	touch(call->link);
}

/* --- what arrives ------------------------------------------------------------------------ */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
		     void *context)
{
	struct call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)flags, (void)context;
	if (!call)
		return 0;
	if (name[0] == ':')
		call->http_status = (int)strtol((const char *)value, NULL, 10);
	else if (name_size == 11 && !memcmp(name, "grpc-status", 11))
		call->grpc_status = (int)strtol((const char *)value, NULL, 10);
	else if (name_size == 12 && !memcmp(name, "grpc-message", 12))
		snprintf(call->problem, sizeof call->problem, "%.*s", (int)value_size, value);
	return 0;
}

/* Gives whole messages out; the size of what is left over. */
static size_t take_messages(struct call *call, struct bytes bytes)
{
	while (bytes.size >= GRPC_PREFIX_BYTES) {
		size_t size = (size_t)bytes.data[1] << 24 | (size_t)bytes.data[2] << 16 |
			      (size_t)bytes.data[3] << 8 | bytes.data[4];

		if (bytes.size - GRPC_PREFIX_BYTES < size)
			break;
		call->has_message = true;
		call->on_message(call, bytes_of(bytes.data + GRPC_PREFIX_BYTES, size));
		bytes = bytes_of(bytes.data + GRPC_PREFIX_BYTES + size,
				 bytes.size - GRPC_PREFIX_BYTES - size);
	}
	return bytes.size;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t size, void *context)
{
	struct call *call = nghttp2_session_get_stream_user_data(session, id);
	struct bytes held;
	size_t left;

	(void)flags, (void)context;
	if (!call)
		return 0;
	if (!call->answer.size) {
		left = take_messages(call, bytes_of(data, size));
		if (left && !buffer_append(&call->answer, bytes_of(data + size - left, left)))
			die("an answer is too large");
		return 0;
	}
	if (!buffer_append(&call->answer, bytes_of(data, size)))
		die("an answer is too large");
	held = buffer_bytes(&call->answer);
	left = take_messages(call, held);
	if (left && left < held.size)
		memmove((uint8_t *)(uintptr_t)held.data, held.data + held.size - left, left);
	call->answer.size = left;
	return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *context)
{
	struct call *call = nghttp2_session_get_stream_user_data(session, id);

	(void)context;
	if (!call)
		return 0;
	call->stream = 0;
	if (call->http_status != 200)
		snprintf(call->problem, sizeof call->problem, "HTTP status %d, stream error %u",
			 call->http_status, code);
	else if (call->grpc_status && !call->problem[0])
		snprintf(call->problem, sizeof call->problem, "gRPC status %d, stream error %u",
			 call->grpc_status, code);
	else if (!call->grpc_status && (call->answer.size || !call->has_message))
		snprintf(call->problem, sizeof call->problem, "the answer is not whole");
	call->on_end(call);
	return 0;
}

/* --- connections ------------------------------------------------------------------------- */

static void watch_socket(struct link *link, int operation)
{
	struct epoll_event event = {.events = EPOLLIN | (link->is_waiting ? EPOLLOUT : 0),
				    .data.ptr = link};

	if (epoll_ctl(link->set->poll_fd, operation, link->fd, &event))
		die("epoll_ctl: %s", strerror(errno));
}

static bool send_unsent(struct link *link)
{
	struct bytes bytes = buffer_bytes(&link->unsent);

	while (link->unsent_sent < bytes.size) {
		ssize_t sent = send(link->fd, bytes.data + link->unsent_sent,
				    bytes.size - link->unsent_sent, MSG_NOSIGNAL);

		if (sent < 0 && errno == EAGAIN)
			return false;
		if (sent < 0)
			die("send: %s", strerror(errno));
		link->unsent_sent += (size_t)sent;
	}
	link->unsent.size = 0;
	link->unsent_sent = 0;
	return true;
}

static void flush(struct link *link)
{
	bool is_done = false, was_waiting = link->is_waiting;

	link->is_dirty = false;
	while (send_unsent(link) && !is_done) {
		while (link->unsent.size < SEND_BYTES) {
			const uint8_t *data;
			ssize_t size = nghttp2_session_mem_send(link->session, &data);

			if (size < 0)
				die("nghttp2: %s", nghttp2_strerror((int)size));
			is_done = !size;
			if (is_done)
				break;
			if (!buffer_append(&link->unsent, bytes_of(data, (size_t)size)))
				die("out of memory");
		}
	}
	link->is_waiting = link->unsent.size > 0;
	if (link->is_waiting != was_waiting)
		watch_socket(link, EPOLL_CTL_MOD);
}

static void receive(struct link *link)
{
	uint8_t *buffer = link->set->receive_buffer;
	ssize_t size;

	do {
		ssize_t used;

		size = recv(link->fd, buffer, RECEIVE_BYTES, 0);
		if (size < 0 && errno == EAGAIN)
			return;
		if (size <= 0)
			die("the server closed a connection%s%s", size ? ": " : "",
			    size ? strerror(errno) : "");
		used = nghttp2_session_mem_recv(link->session, buffer, (size_t)size);
		if (used != size)
			die("nghttp2: %s", used < 0 ? nghttp2_strerror((int)used) : "stopped");
		touch(link);
	} while (size == RECEIVE_BYTES);
}

void links_turn(struct link_set *set, int64_t timeout_ns)
{
	struct epoll_event events[EVENTS_MAX];
	struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
	int count;

	for (unsigned i = 0; i < set->dirty_count; i++)
		flush(set->dirty[i]);
	set->dirty_count = 0;
	count = epoll_pwait2(set->poll_fd, events, EVENTS_MAX, &timeout, NULL);
	if (count < 0 && errno != EINTR)
		die("epoll: %s", strerror(errno));
	for (int i = 0; i < count; i++) {
		struct link *link = events[i].data.ptr;

		if (events[i].events & ~(uint32_t)EPOLLOUT)
			receive(link);
		else
			touch(link);
	}
}

static nghttp2_session *new_session(struct link *link)
{
	nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES},
	};
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	nghttp2_session *session;

	if (nghttp2_session_callbacks_new(&callbacks) || nghttp2_option_new(&option))
		die("out of memory");
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_peer_max_concurrent_streams(option, 1u << 20);
	if (nghttp2_session_client_new2(&session, callbacks, link, option))
		die("out of memory");
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 2);
	nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, 1 << 30);
	return session;
}

static void connect_link(struct link *link, uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1;

	link->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (link->fd < 0 || connect(link->fd, (struct sockaddr *)&address, sizeof address))
		die("connect to 127.0.0.1:%u: %s", port, strerror(errno));
	setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	fcntl(link->fd, F_SETFL, O_NONBLOCK);
	link->unsent = BUFFER_INIT(MESSAGE_BYTES_MAX);
	link->session = new_session(link);
	watch_socket(link, EPOLL_CTL_ADD);
	touch(link);
}

struct link_set *links_open(uint16_t port, unsigned count)
{
	struct link_set *set = calloc(1, sizeof *set);

	if (!set)
		die("out of memory");
	set->count = count;
	set->links = calloc(count, sizeof *set->links);
	set->dirty = calloc(count, sizeof(struct link *));
	set->receive_buffer = malloc(RECEIVE_BYTES);
	set->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!set->links || !set->dirty || !set->receive_buffer || set->poll_fd < 0)
		die("out of memory or descriptors");
	snprintf(set->authority, sizeof set->authority, "127.0.0.1:%u", port);
	for (unsigned i = 0; i < count; i++) {
		set->links[i].set = set;
		connect_link(&set->links[i], port);
	}
	return set;
}

void links_close(struct link_set *set)
{
	for (unsigned i = 0; i < set->count; i++) {
		nghttp2_session_del(set->links[i].session);
		close(set->links[i].fd);
		buffer_fini(&set->links[i].unsent);
	}
	close(set->poll_fd);
	free(set->links);
	free(set->dirty);
	free(set->receive_buffer);
	free(set);
}

struct link *links_get(struct link_set *set, unsigned number)
{
	return &set->links[number % set->count];
}
