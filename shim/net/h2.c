/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/h2_internal.h"

#include <assert.h>
#include <stdlib.h>

#define OUTPUT_IDLE_BYTES 8192 /* what a quiet connection may keep */

int64_t h2_now_ns(struct h2_session *session)
{
	session->now_ns = clock_now_ns(session->config.clock);
	return session->now_ns;
}

void h2_wake(struct h2_session *session)
{
	if (session->busy || session->is_told)
		return;
	session->is_told = true;
	session->config.on_wants_send(session->config.context);
}

void h2_shut(struct h2_session *session, uint32_t error_code, const char *reason)
{
	if (session->is_closing)
		return;
	session->is_closing = true;
	h2_check(session,
		 nghttp2_submit_goaway(session->ng, NGHTTP2_FLAG_NONE,
				       nghttp2_session_get_last_proc_stream_id(session->ng),
				       error_code, (const uint8_t *)reason, strlen(reason)));
	h2_wake(session);
}

void h2_check(struct h2_session *session, int outcome)
{
	if (outcome != NGHTTP2_ERR_NOMEM || session->is_dead)
		return;
	(void)fault(ERR_NOMEM, "no memory for a frame: closing the connection");
	session->is_dead = true;
}

void h2_consume_stream(struct h2_session *session, int32_t stream_id, size_t size)
{
	if (size)
		h2_check(session, nghttp2_session_consume_stream(session->ng, stream_id, size));
}

/* A peer that asks but does not take its answers gets no credit for more requests. */
void h2_consume_connection(struct h2_session *session, size_t size)
{
	if (session->unsent_bytes > H2_UNSENT_BYTES_MAX)
		session->withheld_bytes += size;
	else
		h2_check(session, nghttp2_session_consume_connection(session->ng, size));
}

void h2_widen_stream(struct h2_session *session, int32_t stream_id, size_t size)
{
	if (size > H2_STREAM_WINDOW_BYTES)
		h2_check(session,
			 nghttp2_session_set_local_window_size(session->ng, NGHTTP2_FLAG_NONE,
							       stream_id, (int32_t)size));
}

static void release_withheld(struct h2_session *session)
{
	if (!session->withheld_bytes || session->unsent_bytes > H2_UNSENT_BYTES_MAX / 2)
		return;
	h2_check(session, nghttp2_session_consume_connection(session->ng, session->withheld_bytes));
	session->withheld_bytes = 0;
}

/* --- birth and death --- */

static enum err session_create(struct h2_session *session)
{
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *option = NULL;
	enum err e = h2_frames_callbacks(&callbacks);

	if (!e && nghttp2_option_new(&option) != 0)
		e = fault(ERR_NOMEM, "no memory for the options of a session");
	if (!e) {
		nghttp2_option_set_no_auto_window_update(option, 1);
		/* Closed streams would be kept for priorities that nobody uses. */
		nghttp2_option_set_no_closed_streams(option, 1);
		/* Resets have an allowance of our own, which answers ENHANCE_YOUR_CALM. */
		nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX);
		if (nghttp2_session_server_new2(&session->ng, callbacks, session, option) != 0)
			e = fault(ERR_NOMEM, "no memory for an HTTP/2 session");
	}
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	return e;
}

static enum err session_greet(struct h2_session *session)
{
	const uint32_t streams_max = session->config.server->concurrent_streams_max;
	nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW_BYTES},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_HEADER_LIST_BYTES_MAX},
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams_max},
	};
	size_t count = sizeof settings / sizeof *settings;

	if (streams_max == UINT32_MAX) /* as good as unlimited, so not said */
		count--;
	if (nghttp2_submit_settings(session->ng, NGHTTP2_FLAG_NONE, settings, count) != 0 ||
	    nghttp2_session_set_local_window_size(session->ng, NGHTTP2_FLAG_NONE, 0,
						  H2_CONNECTION_WINDOW_BYTES) != 0)
		return fault(ERR_NOMEM, "no memory for the settings of a session");
	return ERR_OK;
}

enum err h2_session_new(const struct h2_config *config, struct h2_session **ret_session)
{
	struct h2_session *session = calloc(1, sizeof *session);
	enum err e;

	if (!session)
		return fault(ERR_NOMEM, "no memory for a session");
	session->config = *config;
	if (!session->config.clock)
		session->config.clock = &clock_system;
	list_init(&session->calls);
	list_init(&session->kept);
	list_init(&session->due);
	list_init(&session->ready);
	list_init(&session->pool);
	list_init(&session->memory_node);
	list_init(&session->waiting);
	list_init(&session->waiting_node);
	heap_init(&session->deadlines, h2_deadline_before);
	session->read_ns = h2_now_ns(session);
	session->resets = (struct h2_allowance){H2_RESETS_BURST, session->now_ns};
	session->useless = (struct h2_allowance){H2_USELESS_BURST, session->now_ns};
	h2_memory_add(session);
	e = session_create(session);
	if (!e)
		e = session_greet(session);
	if (e) {
		h2_session_free(session);
		return e;
	}
	*ret_session = session;
	return ERR_OK;
}

static void run_due(struct h2_session *session)
{
	while (!list_is_empty(&session->due)) {
		struct call *call = container_of(session->due.next, struct call, due_node);

		list_remove(&call->due_node);
		call_run_due(call);
	}
}

void h2_session_free(struct h2_session *session)
{
	if (!session)
		return;
	assert(!session->busy);
	session->busy++;
	list_for_each_safe (node, after, &session->calls)
		call_stream_closed(container_of(node, struct call, node));
	run_due(session);
	assert(list_is_empty(&session->calls));
	list_for_each_safe (node, after, &session->kept)
		call_orphan(container_of(node, struct call, node));
	list_for_each_safe (node, after, &session->pool)
		call_destroy(container_of(node, struct call, node));
	h2_memory_remove(session);
	heap_fini(&session->deadlines);
	nghttp2_session_del(session->ng);
	free(session->output);
	free(session);
}

/* --- turns: a client with a thousand requests in one read must not hold up the others --- */

bool h2_may_serve(struct h2_session *session)
{
	return session->unsent_bytes <= H2_UNSENT_BYTES_MAX &&
	       h2_now_ns(session) - session->turn_ns < H2_TURN_NS;
}

static void run_ready(struct h2_session *session)
{
	session->turn_ns = h2_now_ns(session);
	while (!list_is_empty(&session->ready) && h2_may_serve(session)) {
		struct call *call = container_of(session->ready.next, struct call, ready_node);

		list_remove(&call->ready_node);
		call_serve(call);
	}
}

/* --- bytes in --- */

/* What nghttp2 does not answer with a GOAWAY of its own. */
static enum err receive_failed(struct h2_session *session, ssize_t outcome)
{
	switch (outcome) {
	case NGHTTP2_ERR_NOMEM:
		session->is_dead = true;
		return fault(ERR_NOMEM, "no memory for received frames");
	case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
		h2_shut(session, NGHTTP2_PROTOCOL_ERROR, "bad connection preface");
		return ERR_MALFORMED;
	default: /* too many unanswered PINGs, SETTINGS or CONTINUATIONs */
		h2_shut(session, NGHTTP2_ENHANCE_YOUR_CALM, nghttp2_strerror((int)outcome));
		return ERR_MALFORMED;
	}
}

enum err h2_receive(struct h2_session *session, struct bytes input)
{
	enum err e = ERR_OK;
	ssize_t outcome;

	if (session->is_closing || session->is_dead)
		return ERR_MALFORMED;
	session->busy++;
	session->read_ns = session->turn_ns = h2_now_ns(session);
	session->ping_sent_ns = 0; /* whatever it says, the peer is alive */
	h2_allowance_fill(session);
	outcome = nghttp2_session_mem_recv(session->ng, input.data, input.size);
	if (outcome < 0)
		e = receive_failed(session, outcome);
	else if (session->is_closing)
		e = ERR_MALFORMED;
	run_due(session);
	session->busy--;
	return e;
}

/* --- bytes out --- */

enum err h2_pull(struct h2_session *session, struct bytes *ret_output)
{
	int outcome = 0;

	session->busy++;
	session->output_size = 0;
	session->is_told = false;
	if (!list_is_empty(&session->ready) && !session->is_dead)
		run_ready(session);
	while (!session->is_dead && !session->is_goaway_sent && !outcome) {
		outcome = nghttp2_session_send(session->ng);
		/* Callbacks may have more to say, which still goes out with this run. */
		if (list_is_empty(&session->due))
			break;
		run_due(session);
	}
	release_withheld(session);
	session->busy--;
	if (!list_is_empty(&session->ready) && session->unsent_bytes <= H2_UNSENT_BYTES_MAX)
		h2_wake(session);
	if (outcome) {
		session->is_dead = true;
		return fault(ERR_NOMEM, "no memory for frames to send");
	}
	if (!session->output_size && session->output_capacity > OUTPUT_IDLE_BYTES) {
		free(session->output);
		session->output = NULL;
		session->output_capacity = 0;
	}
	*ret_output = bytes_of(session->output, session->output_size);
	return ERR_OK;
}

bool h2_is_dead(const struct h2_session *session)
{
	return session->is_dead;
}

bool h2_is_done(const struct h2_session *session)
{
	if (session->is_dead || session->is_goaway_sent)
		return true;
	return !nghttp2_session_want_read(session->ng) && !nghttp2_session_want_write(session->ng);
}

size_t h2_call_count(const struct h2_session *session)
{
	return session->call_count;
}

/* --- time --- */

int64_t h2_tick(struct h2_session *session, int64_t now_ns)
{
	session->busy++;
	session->now_ns = now_ns;
	h2_deadlines_run(session);
	h2_keepalive_run(session);
	h2_memory_run(session);
	h2_drain_run(session, false);
	run_due(session);
	session->busy--;
	return h2_next_tick_ns(session);
}

void h2_drain(struct h2_session *session)
{
	session->busy++;
	h2_now_ns(session);
	h2_drain_start(session);
	run_due(session);
	session->busy--;
	h2_wake(session);
}
