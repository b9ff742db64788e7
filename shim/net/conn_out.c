/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/conn_internal.h"

#include <assert.h>
#include <sys/socket.h>

/* --- buffers: lent for as long as bytes are on their way, so that an idle connection has none - */

bool conn_borrow_out(struct conn *conn)
{
	struct conn_host *host = conn->origin.host;

	if (conn->out.data)
		return true;
	if (host->spare_count) {
		conn->out = host->spare[--host->spare_count];
		return true;
	}
	if (buffer_reserve(&conn->out, CONN_WRITE_BYTES))
		return true;
	fault(ERR_NOMEM, "no memory for a write buffer");
	return false;
}

static void return_buffer(struct conn_host *host, struct buffer *buffer)
{
	if (!buffer->data)
		return;
	if (host->spare_count < CONN_SPARE_BUFFERS && buffer->capacity <= 2 * CONN_WRITE_BYTES) {
		buffer->size = 0;
		host->spare[host->spare_count++] = *buffer;
		*buffer = BUFFER_INIT(CONN_OUT_BYTES_MAX);
	} else {
		buffer_fini(buffer);
	}
}

void conn_return_buffers(struct conn *conn)
{
	assert(!conn->is_writing);
	return_buffer(conn->origin.host, &conn->out);
	return_buffer(conn->origin.host, &conn->writing);
}

/* --- gathering -------------------------------------------------------------------------------- */

static bool pull(struct conn *conn, struct bytes *ret_piece)
{
	*ret_piece = bytes_of(NULL, 0);
	if (conn->phase == CONN_H2)
		return !h2_pull(conn->h2, ret_piece);
	if (conn->phase == CONN_HTTP1)
		return !http1_pull(conn->http1, ret_piece);
	return true;
}

/* What to write next: what stands in conn->out, else what the protocol has, encrypted into
 * conn->out where there is TLS.  Sessions hand out everything they have in one run, so nothing is
 * gained by putting pieces together here. */
static bool next_piece(struct conn *conn, struct bytes *ret_piece)
{
	if (conn->out.size) {
		*ret_piece = buffer_bytes(&conn->out);
		return true;
	}
	if (!pull(conn, ret_piece))
		return false;
	if (!conn->tls || !ret_piece->size)
		return true;
	if (!conn_borrow_out(conn) || !tls_write(conn->tls, *ret_piece, &conn->out))
		return false;
	*ret_piece = buffer_bytes(&conn->out);
	return true;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void on_written(uv_write_t *write, int status)
{
	struct conn *conn = write->data;

	conn->is_writing = false;
	return_buffer(conn->origin.host, &conn->writing);
	if (conn->phase == CONN_CLOSED)
		return; /* on_closed follows */
	if (status)
		conn_drop(conn);
	else
		conn_mark_dirty(conn);
}

/* Gives the rest of a piece to libuv, which wants it to stay until on_written. */
static bool write_later(struct conn *conn, struct bytes rest)
{
	uv_buf_t queued;

	if (!conn->out.size && (!conn_borrow_out(conn) || !buffer_append(&conn->out, rest)))
		return false;
	/* Else the rest is the end of conn->out already. */
	queued = uv_buf_init((char *)buffer_end(&conn->out) - rest.size, (unsigned)rest.size);
	conn->writing = conn->out;
	conn->out = BUFFER_INIT(CONN_OUT_BYTES_MAX);
	conn->write.data = conn;
	conn->is_writing = !uv_write(&conn->write, &conn->socket.stream, &queued, 1, on_written);
	return conn->is_writing;
}

/* Until nothing is left or the socket is full; after CONN_TURN_BYTES through libuv's queue, which
 * comes back next turn, so that one fast reader does not hold up the others. */
static bool write_all(struct conn *conn)
{
	size_t sent = 0;

	while (!conn->is_writing) {
		struct bytes piece;
		uv_buf_t whole;
		int result = UV_EAGAIN;

		if (!next_piece(conn, &piece))
			return false;
		if (!piece.size)
			break;
		/* libuv only reads from it. */
		whole = uv_buf_init((char *)(uintptr_t)piece.data, (unsigned)piece.size);
		if (sent < CONN_TURN_BYTES)
			result = uv_try_write(&conn->socket.stream, &whole, 1);
		if (result < 0 && result != UV_EAGAIN)
			return false;
		result = result > 0 ? result : 0;
		sent += (size_t)result;
		if ((size_t)result == piece.size)
			conn->out.size = 0;
		else if (!write_later(conn,
				      bytes_of(piece.data + result, piece.size - (size_t)result)))
			return false;
	}
	return_buffer(conn->origin.host, &conn->out);
	return true;
}

/* --- after all was said ----------------------------------------------------------------------- */

static bool has_ended(const struct conn *conn)
{
	return conn->is_ending || conn->at_eof || (conn->h2 && h2_is_done(conn->h2)) ||
	       (conn->http1 && http1_is_done(conn->http1));
}

/* What the peer still sends must be read: closing over unread bytes resets the connection, and the
 * reset may overtake our last answer. */
static void linger(struct conn *conn)
{
	uv_os_fd_t fd;

	if (conn->phase != CONN_LINGER) {
		conn_end_sessions(conn);
		conn->phase = CONN_LINGER;
		conn->is_ending = true;
		conn_set_deadline(conn, CONN_LINGER_TIMEOUT_MS);
		if (conn->tls && conn_borrow_out(conn))
			tls_close(conn->tls, &conn->out);
		conn_update_reading(conn);
		if (conn->out.size) {
			conn_mark_dirty(conn);
			return;
		}
	}
	if (conn->at_eof) {
		conn_drop(conn);
		return;
	}
	if (conn->is_shut_down || uv_fileno(&conn->socket.handle, &fd))
		return;
	conn->is_shut_down = true;
	shutdown(fd, SHUT_WR);
}

static void update_http1_deadline(struct conn *conn)
{
	bool is_busy = !http1_is_idle(conn->http1) || conn->is_writing;
	uint64_t answered = http1_request_count(conn->http1);

	if (is_busy && conn->is_http1_busy && answered == conn->http1_answered)
		return;
	conn->is_http1_busy = is_busy;
	conn->http1_answered = answered;
	conn_set_deadline(conn,
			  is_busy ? CONN_HTTP1_REQUEST_TIMEOUT_MS : CONN_HTTP1_IDLE_TIMEOUT_MS);
}

static void flush(struct conn *conn)
{
	if ((conn->h2 && h2_is_dead(conn->h2)) || !write_all(conn)) {
		conn_drop(conn);
		return;
	}
	if (!conn->is_writing && has_ended(conn)) {
		linger(conn);
		return;
	}
	if (conn->h2) {
		conn->tick_ns = h2_next_tick_ns(conn->h2);
		conn_arm(conn);
	} else if (conn->http1) {
		update_http1_deadline(conn);
		conn_update_reading(conn);
	}
}

static void on_flush(struct loop_task *task)
{
	struct conn_host *host = container_of(task, struct conn_host, flush);
	struct list now;

	/* What becomes dirty meanwhile gets another turn. */
	host->is_flush_due = false;
	list_init(&now);
	while (!list_is_empty(&host->dirty)) {
		struct list *node = host->dirty.next;

		list_remove(node);
		list_append(&now, node);
	}
	while (!list_is_empty(&now)) {
		struct conn *conn = container_of(now.next, struct conn, dirty_node);

		list_remove(&conn->dirty_node);
		flush(conn);
	}
}

void conn_mark_dirty(struct conn *conn)
{
	struct conn_host *host = conn->origin.host;

	if (conn->phase == CONN_CLOSED || !list_is_empty(&conn->dirty_node))
		return;
	list_append(&host->dirty, &conn->dirty_node);
	if (host->is_flush_due)
		return;
	host->is_flush_due = true;
	loop_later(host->loop, &host->flush);
}

void conn_host_init(struct conn_host *host)
{
	list_init(&host->conns);
	list_init(&host->dirty);
	host->flush.fn = on_flush;
}

void conn_host_fini(struct conn_host *host)
{
	assert(list_is_empty(&host->conns));
	assert(!host->is_flush_due);
	while (host->spare_count)
		buffer_fini(&host->spare[--host->spare_count]);
}
