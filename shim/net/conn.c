/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/conn_internal.h"

#include "shim/base/clock.h"
#include "shim/base/log.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define KEEPALIVE_SECONDS 30 /* first TCP probe of a silent peer, as etcd's listener */
#define REJECT_LOG_NS (NS_PER_SECOND / 10) /* one line for refused connections per this time */

static const struct bytes h2_preface = BYTES_LITERAL("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

static_assert(sizeof("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") - 1 == CONN_PREFACE_BYTES, "preface");

/* --- timers ----------------------------------------------------------------------------------- */

void conn_set_deadline(struct conn *conn, int64_t timeout_ms)
{
	conn->deadline_ns = clock_now_ns(&clock_system) + timeout_ms * NS_PER_MS;
	conn_arm(conn);
}

/* The timer is only moved forward in time when it fires, so that steady traffic never touches it.
 */
void conn_arm(struct conn *conn)
{
	int64_t due_ns = conn->deadline_ns < conn->tick_ns ? conn->deadline_ns : conn->tick_ns;
	int64_t wait_ns;

	if (due_ns >= conn->armed_ns)
		return;
	wait_ns = due_ns - clock_now_ns(&clock_system);
	conn->armed_ns = due_ns;
	loop_timer_start(conn->origin.host->loop, &conn->timer,
			 wait_ns > 0 ? (uint64_t)(wait_ns / NS_PER_MS) + 1 : 0, 0);
}

static void on_timer(struct loop_timer *timer)
{
	struct conn *conn = container_of(timer, struct conn, timer);
	int64_t now_ns = clock_now_ns(&clock_system);

	conn->armed_ns = INT64_MAX;
	if (now_ns >= conn->deadline_ns) {
		if (conn->phase <= CONN_HANDSHAKE && conn->origin.is_secure)
			conn_reject(conn, "tls: handshake timed out");
		conn_drop(conn);
		return;
	}
	if (conn->h2 && now_ns >= conn->tick_ns) {
		conn->tick_ns = h2_tick(conn->h2, now_ns);
		conn_mark_dirty(conn);
	}
	conn_arm(conn);
}

/* --- refusing --------------------------------------------------------------------------------- */

bool conn_host_may_log(struct conn_host *host)
{
	int64_t now_ns = clock_now_ns(&clock_system);

	if (host->warned_ns && now_ns - host->warned_ns < REJECT_LOG_NS) {
		host->unlogged++;
		return false;
	}
	host->warned_ns = now_ns;
	return true;
}

void conn_reject(struct conn *conn, const char *reason)
{
	struct conn_host *host = conn->origin.host;
	struct tls_failure failure = {0};

	host->stats.connections_refused++;
	if (!conn_host_may_log(host))
		return;
	if (conn->tls)
		tls_failure(conn->tls, &failure);
	log_warn("rejected connection on client endpoint", LOG_STRING("remote-addr", conn->address),
		 LOG_STRING("server-name", failure.server_name),
		 LOG_STRING("ip-addresses", failure.ip_addresses),
		 LOG_STRING("dns-names", failure.dns_names),
		 LOG_STRING("error", reason ? reason : failure.reason),
		 LOG_INT("suppressed", host->unlogged));
	host->unlogged = 0;
}

/* --- bytes in --------------------------------------------------------------------------------- */

static void on_wants_send(void *context)
{
	conn_mark_dirty(context);
}

static bool start_h2(struct conn *conn)
{
	const struct conn_origin *origin = &conn->origin;
	const struct server_config *server =
		origin->is_http_only ? origin->host->http_config : origin->host->config;
	const struct h2_config config = {
		.server = server,
		.loop = origin->host->loop,
		.plain_http = conn->tls != NULL,
		/* etcd serves gRPC over TLS through a library that does not count pings. */
		.enforce_keepalive = !conn->tls && server->keepalive_min_time_ms > 0,
		.peer_address = conn->address,
		.peer_common_name = conn->tls ? tls_common_name(conn->tls) : NULL,
		.on_wants_send = on_wants_send,
		.context = conn,
		.stats = &origin->host->stats,
	};

	if (h2_session_new(&config, &conn->h2))
		return false;
	conn->phase = CONN_H2;
	conn->deadline_ns = INT64_MAX;
	conn->tick_ns = h2_next_tick_ns(conn->h2);
	return true;
}

static bool start_http1(struct conn *conn)
{
	const struct conn_origin *origin = &conn->origin;
	const struct server_config *server =
		origin->is_http_only ? origin->host->http_config : origin->host->config;
	const struct http1_config config = {
		.on_request = server->on_http,
		.context = server->handler_context,
		.peer_address = conn->address,
	};

	if (http1_session_new(&config, &conn->http1))
		return false;
	conn->phase = CONN_HTTP1;
	conn_set_deadline(conn, CONN_HTTP1_REQUEST_TIMEOUT_MS);
	return true;
}

/* Gives plaintext to the protocol.  A peer that broke it still gets what there is to say. */
static void feed(struct conn *conn, struct bytes input)
{
	enum err e = ERR_OK;

	if (conn->is_ending)
		return;
	if (conn->phase == CONN_H2)
		e = h2_receive(conn->h2, input);
	else if (conn->phase == CONN_HTTP1)
		e = http1_receive(conn->http1, input);
	if (e)
		conn_end(conn);
}

/* Collects first bytes until they tell the protocol; then the session has got all of input. */
static void sniff(struct conn *conn, struct bytes input)
{
	size_t room = h2_preface.size - conn->first_size;
	size_t taken = input.size < room ? input.size : room;
	bool is_h2;

	memcpy(conn->first + conn->first_size, input.data, taken);
	conn->first_size += taken;
	is_h2 = !conn->origin.is_http_only || conn->tls;
	is_h2 = is_h2 && !memcmp(conn->first, h2_preface.data, conn->first_size);
	if (is_h2 && conn->first_size < h2_preface.size)
		return;
	if (!(is_h2 ? start_h2(conn) : start_http1(conn))) {
		conn_drop(conn);
		return;
	}
	feed(conn, bytes_of(conn->first, conn->first_size));
	if (input.size > taken)
		feed(conn, bytes_of(input.data + taken, input.size - taken));
}

static void receive_plain(struct conn *conn, struct bytes input)
{
	if (conn->phase == CONN_SNIFF)
		sniff(conn, input);
	else
		feed(conn, input);
}

static void finish_handshake(struct conn *conn)
{
	bool ok = true;

	conn->phase = CONN_SNIFF;
	if (tls_protocol(conn->tls) == TLS_PROTOCOL_H2)
		ok = start_h2(conn);
	else if (tls_protocol(conn->tls) == TLS_PROTOCOL_HTTP1)
		ok = start_http1(conn);
	else
		conn_set_deadline(conn, CONN_FIRST_BYTES_TIMEOUT_MS);
	if (!ok)
		conn_drop(conn);
}

static void receive_secure(struct conn *conn, struct bytes input)
{
	uint8_t *plain = conn->origin.host->plain_bytes;
	enum tls_state state = TLS_READY;
	size_t size;

	if (!conn_borrow_out(conn)) {
		conn_drop(conn);
		return;
	}
	tls_feed(conn->tls, input);
	if (conn->phase == CONN_HANDSHAKE) {
		state = tls_handshake(conn->tls, &conn->out);
		if (state == TLS_READY)
			finish_handshake(conn);
		else if (state != TLS_WANTS_INPUT)
			conn_reject(conn, NULL);
	}
	while (state == TLS_READY && conn->phase != CONN_CLOSED && !conn->is_ending) {
		state = tls_read(conn->tls, plain, CONN_READ_BYTES, &size, &conn->out);
		if (state == TLS_READY)
			receive_plain(conn, bytes_of(plain, size));
	}
	if (state == TLS_CLOSED)
		conn->at_eof = true;
	else if (state == TLS_FAILED)
		conn_end(conn); /* after the alert */
}

/* The first byte tells a TLS client from one that speaks in the clear.  False: refused. */
static bool choose_transport(struct conn *conn, uint8_t first)
{
	static const struct bytes hint =
		BYTES_LITERAL("HTTP/1.0 400 Bad Request\r\n\r\n"
			      "Client sent an HTTP request to an HTTPS server.\n");
	const struct conn_origin *origin = &conn->origin;
	const uint8_t tls_handshake_record = 0x16;

	if (origin->is_secure && (first == tls_handshake_record || !origin->is_insecure)) {
		if (first == tls_handshake_record) {
			conn->phase = CONN_HANDSHAKE;
			return !tls_session_new(origin->host->tls, &conn->tls);
		}
		conn_reject(conn, "tls: first record does not look like a TLS handshake");
		if (first >= 'A' && first <= 'Z' && conn_borrow_out(conn) &&
		    buffer_append(&conn->out, hint))
			conn_end(conn);
		return false;
	}
	conn->phase = CONN_SNIFF;
	return true;
}

static void receive(struct conn *conn, struct bytes input)
{
	if (conn->is_ending || conn->phase == CONN_LINGER)
		return;
	if (conn->phase == CONN_START && !choose_transport(conn, input.data[0])) {
		if (!conn->is_ending)
			conn_drop(conn);
	} else if (conn->tls) {
		receive_secure(conn, input);
	} else {
		receive_plain(conn, input);
	}
	conn_mark_dirty(conn);
}

static void on_end_of_input(struct conn *conn)
{
	conn->at_eof = true;
	if (conn->phase == CONN_HANDSHAKE && !conn->is_ending) {
		conn->origin.host->stats.connections_refused++;
		log_debug("rejected connection on client endpoint",
			  LOG_STRING("remote-addr", conn->address), LOG_STRING("error", "EOF"));
	}
	/* An HTTP/1.1 client may close its side and wait; a gRPC client has gone. */
	if (conn->phase == CONN_HTTP1 || conn->is_ending)
		conn_mark_dirty(conn);
	else
		conn_drop(conn);
}

static void on_alloc(uv_handle_t *handle, size_t suggested_bytes, uv_buf_t *ret_buffer)
{
	struct conn *conn = handle->data;

	(void)suggested_bytes;
	*ret_buffer = uv_buf_init((char *)conn->origin.host->read_bytes, CONN_READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
	struct conn *conn = stream->data;

	if (size > 0) {
		receive(conn, bytes_of(buffer->base, (size_t)size));
		conn_update_reading(conn);
	} else if (size == UV_EOF) {
		uv_read_stop(stream);
		conn->is_reading = false;
		on_end_of_input(conn);
	} else if (size < 0) {
		conn_drop(conn);
	}
}

void conn_update_reading(struct conn *conn)
{
	bool wanted = conn->phase != CONN_CLOSED && !conn->at_eof &&
		      !(conn->http1 && http1_is_full(conn->http1));

	if (wanted == conn->is_reading || conn->phase == CONN_CLOSED)
		return;
	conn->is_reading = wanted;
	if (!wanted)
		uv_read_stop(&conn->socket.stream);
	else if (uv_read_start(&conn->socket.stream, on_alloc, on_read))
		conn_drop(conn);
}

/* --- life ------------------------------------------------------------------------------------- */

/* As Go writes it, IPv4 in IPv6 without its prefix; all unix clients are "@". */
static void format_peer(struct conn *conn)
{
	struct sockaddr_storage storage = {0};
	int size = sizeof(storage);
	char text[INET6_ADDRSTRLEN] = "";
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&storage;
	struct sockaddr_in *in = (struct sockaddr_in *)&storage;

	snprintf(conn->address, sizeof(conn->address), "@");
	if (conn->origin.is_unix)
		return;
	if (uv_tcp_getpeername(&conn->socket.tcp, (struct sockaddr *)&storage, &size))
		return; /* gone already; the first read will tell */
	if (storage.ss_family == AF_INET) {
		inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
		snprintf(conn->address, sizeof(conn->address), "%s:%u", text, ntohs(in->sin_port));
	} else if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		inet_ntop(AF_INET, in6->sin6_addr.s6_addr + 12, text, sizeof(text));
		snprintf(conn->address, sizeof(conn->address), "%s:%u", text,
			 ntohs(in6->sin6_port));
	} else {
		inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
		snprintf(conn->address, sizeof(conn->address), "[%s]:%u", text,
			 ntohs(in6->sin6_port));
	}
}

static bool open_socket(struct conn *conn, uv_stream_t *listener)
{
	uv_loop_t *uv = loop_uv(conn->origin.host->loop);
	int result = conn->origin.is_unix ? uv_pipe_init(uv, &conn->socket.pipe, 0)
					  : uv_tcp_init(uv, &conn->socket.tcp);

	assert(result == 0);
	conn->socket.handle.data = conn;
	if (uv_accept(listener, &conn->socket.stream))
		return false;
	if (!conn->origin.is_unix) {
		uv_tcp_nodelay(&conn->socket.tcp, 1);
		uv_tcp_keepalive(&conn->socket.tcp, 1, KEEPALIVE_SECONDS);
	}
	return true;
}

bool conn_accept(const struct conn_origin *origin, uv_stream_t *listener)
{
	struct conn_host *host = origin->host;
	struct conn *conn = calloc(1, sizeof(*conn));

	if (!conn) {
		fault(ERR_NOMEM, "no memory for a connection");
		return false;
	}
	conn->origin = *origin;
	conn->timer.fn = on_timer;
	conn->armed_ns = conn->deadline_ns = conn->tick_ns = INT64_MAX;
	conn->out = conn->writing = BUFFER_INIT(CONN_OUT_BYTES_MAX);
	list_init(&conn->dirty_node);
	list_append(&host->conns, &conn->node);
	host->stats.connections++;
	host->stats.connections_total++;
	if (!open_socket(conn, listener)) {
		conn_drop(conn);
		return true;
	}
	format_peer(conn);
	if (host->stats.connections > host->conns_max) {
		conn_reject(conn, "too many connections, raise the limit of open files");
		conn_drop(conn);
		return true;
	}
	conn_set_deadline(conn, origin->is_secure ? CONN_HANDSHAKE_TIMEOUT_MS
						  : CONN_FIRST_BYTES_TIMEOUT_MS);
	conn_update_reading(conn);
	return true;
}

void conn_end_sessions(struct conn *conn)
{
	struct h2_session *h2 = conn->h2;
	struct http1_session *http1 = conn->http1;

	conn->h2 = NULL;
	conn->http1 = NULL;
	conn->tick_ns = INT64_MAX;
	h2_session_free(h2);
	http1_session_free(http1);
}

void conn_end(struct conn *conn)
{
	conn->is_ending = true;
	conn_set_deadline(conn, CONN_LAST_WORDS_TIMEOUT_MS);
}

static void on_closed(uv_handle_t *handle)
{
	struct conn *conn = handle->data;
	struct conn_host *host = conn->origin.host;

	conn_return_buffers(conn);
	free(conn);
	host->stats.connections--;
	host->on_conn_closed(host);
}

void conn_drop(struct conn *conn)
{
	if (conn->phase == CONN_CLOSED)
		return;
	conn->phase = CONN_CLOSED;
	list_remove(&conn->node);
	list_remove(&conn->dirty_node);
	loop_timer_stop(&conn->timer);
	conn_end_sessions(conn);
	tls_session_free(conn->tls);
	conn->tls = NULL;
	uv_close(&conn->socket.handle, on_closed);
}

void conn_drain_all(struct conn_host *host)
{
	host->is_draining = true;
	list_for_each_safe (node, after, &host->conns) {
		struct conn *conn = container_of(node, struct conn, node);

		if (conn->phase == CONN_H2)
			h2_drain(conn->h2);
		else if (conn->phase == CONN_HTTP1)
			http1_drain(conn->http1);
		else if (conn->phase < CONN_H2)
			conn_drop(conn);
		conn_mark_dirty(conn);
	}
}

void conn_close_all(struct conn_host *host)
{
	while (!list_is_empty(&host->conns))
		conn_drop(container_of(host->conns.next, struct conn, node));
}
