/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection does by the clock and against abuse. */
#include "shim/net/h2_internal.h"

#define PING_BYTES 8
#define IDLE_PING_NS (2 * 3600 * NS_PER_SECOND) /* without calls, as grpc-go */

static const uint8_t drain_ping[PING_BYTES] = {1, 6, 1, 8, 0, 3, 3, 9};

/* --- deadlines -------------------------------------------------------------------------------- */

bool h2_deadline_before(const struct heap_node *a, const struct heap_node *b)
{
	const struct call *first = container_of(a, const struct call, deadline_node);
	const struct call *second = container_of(b, const struct call, deadline_node);

	return first->deadline_ns < second->deadline_ns;
}

bool h2_deadline_add(struct h2_session *session, struct call *call)
{
	call->is_timed = heap_push(&session->deadlines, &call->deadline_node);
	return call->is_timed;
}

void h2_deadline_remove(struct h2_session *session, struct call *call)
{
	if (call->is_timed)
		heap_remove(&session->deadlines, &call->deadline_node);
	call->is_timed = false;
}

static struct call *first_deadline(const struct h2_session *session)
{
	struct heap_node *node = heap_first(&session->deadlines);

	return node ? container_of(node, struct call, deadline_node) : NULL;
}

/* An answer that has begun cannot get another status in front of what the peer does not take. */
void h2_deadlines_run(struct h2_session *session)
{
	struct call *call;

	while ((call = first_deadline(session)) && call->deadline_ns <= session->now_ns) {
		h2_deadline_remove(session, call);
		if (call->unsent_bytes || call->source_left)
			call_reset(call, NGHTTP2_CANCEL, STATUS_DEADLINE_EXCEEDED);
		else
			call_finish(call, STATUS_DEADLINE_EXCEEDED, "context deadline exceeded");
	}
}

/* --- keepalive --- */

static int64_t keepalive_due_ns(const struct h2_session *session)
{
	const struct server_config *server = session->config.server;

	if (server->keepalive_interval_ms <= 0)
		return INT64_MAX;
	if (session->ping_sent_ns)
		return session->ping_sent_ns + server->keepalive_timeout_ms * NS_PER_MS;
	return session->read_ns + server->keepalive_interval_ms * NS_PER_MS;
}

void h2_keepalive_run(struct h2_session *session)
{
	if (session->now_ns < keepalive_due_ns(session))
		return;
	if (session->ping_sent_ns) {
		session->is_dead = true;
		return;
	}
	session->ping_sent_ns = session->now_ns;
	h2_check(session, nghttp2_submit_ping(session->ng, NGHTTP2_FLAG_NONE, NULL));
}

/* grpc-go's rule: every PING that comes too early is a strike, anything that we send in between
 * forgives them all (a client measuring bandwidth pings while it is being answered). */
void h2_ping_received(struct h2_session *session)
{
	const struct server_config *server = session->config.server;
	int64_t least_ns =
		session->open_count ? server->keepalive_min_time_ms * NS_PER_MS : IDLE_PING_NS;
	int64_t before_ns = session->pinged_ns;

	session->pinged_ns = session->now_ns;
	if (session->is_strike_reset) {
		session->is_strike_reset = false;
		session->ping_strikes = 0;
		return;
	}
	if (!session->config.enforce_keepalive) {
		h2_useless_frame(session);
		return;
	}
	if (before_ns && session->now_ns - before_ns < least_ns)
		session->ping_strikes++;
	if (session->ping_strikes > H2_PING_STRIKES_MAX)
		h2_shut(session, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
}

void h2_ping_answered(struct h2_session *session, const uint8_t payload[PING_BYTES])
{
	if (!memcmp(payload, drain_ping, PING_BYTES))
		h2_drain_run(session, true);
}

/* --- abuse --- */

static void allowance_fill(struct h2_allowance *allowance, int64_t burst, int64_t per_second,
			   int64_t now_ns)
{
	int64_t passed_ns = now_ns - allowance->refilled_ns;

	if (passed_ns >= burst * NS_PER_SECOND / per_second)
		allowance->left = burst;
	else if (passed_ns < NS_PER_SECOND / per_second)
		return; /* keep the fraction */
	else
		allowance->left += passed_ns * per_second / NS_PER_SECOND;
	allowance->refilled_ns = now_ns;
	if (allowance->left > burst)
		allowance->left = burst;
}

void h2_allowance_fill(struct h2_session *session)
{
	allowance_fill(&session->resets, H2_RESETS_BURST, H2_RESETS_PER_SECOND, session->now_ns);
	allowance_fill(&session->useless, H2_USELESS_BURST, H2_USELESS_PER_SECOND, session->now_ns);
}

void h2_reset_seen(struct h2_session *session)
{
	if (--session->resets.left < 0)
		h2_shut(session, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_resets");
}

void h2_useless_frame(struct h2_session *session)
{
	if (--session->useless.left < 0)
		h2_shut(session, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_useless_frames");
}

/* nghttp2 remembers no closed streams and would pass over this; RFC 9113 5.1 wants it answered, and
 * so does grpc-go. */
void h2_closed_stream_headers(struct h2_session *session, int32_t stream_id)
{
	if (stream_id == session->last_stream_id)
		h2_shut(session, NGHTTP2_STREAM_CLOSED, "HEADERS on a closed stream");
	else
		h2_shut(session, NGHTTP2_PROTOCOL_ERROR, "stream identifier goes back");
}

/* --- the graceful end --- */

static void end_streaming(struct h2_session *session)
{
	list_for_each_safe (node, after, &session->calls) {
		struct call *call = container_of(node, struct call, node);

		if (call->phase == CALL_OPEN && call->method->kind != METHOD_UNARY)
			call_fail(call, ERR_STOPPED);
	}
}

/* The first GOAWAY only warns: requests that are on their way are still served.  The second, when
 * the peer has answered a PING behind the first, names the last stream. */
void h2_drain_start(struct h2_session *session)
{
	if (session->is_draining || session->is_closing)
		return;
	session->is_draining = true;
	session->drain_ns = session->now_ns + H2_DRAIN_WAIT_MS * NS_PER_MS;
	h2_check(session, nghttp2_submit_shutdown_notice(session->ng));
	h2_check(session, nghttp2_submit_ping(session->ng, NGHTTP2_FLAG_NONE, drain_ping));
	end_streaming(session);
}

void h2_drain_run(struct h2_session *session, bool is_answered)
{
	if (!session->drain_ns || (!is_answered && session->now_ns < session->drain_ns))
		return;
	session->drain_ns = 0;
	h2_check(session,
		 nghttp2_submit_goaway(session->ng, NGHTTP2_FLAG_NONE,
				       nghttp2_session_get_last_proc_stream_id(session->ng),
				       NGHTTP2_NO_ERROR, NULL, 0));
}

int64_t h2_next_tick_ns(const struct h2_session *session)
{
	const struct call *call = first_deadline(session);
	int64_t next_ns = keepalive_due_ns(session);

	if (call && call->deadline_ns < next_ns)
		next_ns = call->deadline_ns;
	if (!list_is_empty(&session->waiting) && session->now_ns + NS_PER_SECOND < next_ns)
		next_ns = session->now_ns + NS_PER_SECOND;
	if (session->drain_ns && session->drain_ns < next_ns)
		next_ns = session->drain_ns;
	return next_ns;
}
