/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/h2_internal.h"

#include <assert.h>

static bool is_single(const struct call *call)
{
	return call->method->kind == METHOD_UNARY || call->method->kind == METHOD_SERVER_STREAM;
}

static void tell_message(struct call *call, struct bytes message)
{
	const struct server_config *server = call->server;

	if (call->session->config.stats)
		call->session->config.stats->received_bytes += message.size;
	if (server->on_message)
		server->on_message(server->handler_context, call->method, false);
}

/* grpc-go counts a unary call from here on: one that fails before is never seen by etcd. */
static void start_unary(struct call *call)
{
	call->is_started = true;
	if (call->server->on_call_started)
		call->server->on_call_started(call->server->handler_context, call->method);
}

void call_serve(struct call *call)
{
	if (call->method->kind == METHOD_UNARY)
		start_unary(call);
	tell_message(call, call->request);
	call->method->on_message(call, call->request);
	call_recount(call);
}

/* Serves a request now if this connection has done little in this turn and takes its answers. */
static void take_turn(struct call *call)
{
	struct h2_session *session = call->session;

	if (list_is_empty(&session->ready) && h2_may_serve(session))
		call_serve(call);
	else
		list_append(&session->ready, &call->ready_node);
}

static void take_message(struct call *call, struct bytes message)
{
	if (!is_single(call)) {
		tell_message(call, message);
		call->method->on_message(call, message);
		call_message_done(call);
		return;
	}
	if (call->has_request) {
		call_finish(call, STATUS_INTERNAL,
			    "cardinality violation: received multiple request messages for "
			    "non-client-streaming RPC");
		return;
	}
	call->has_request = true;
	call->request = message;
	if (call->method->kind == METHOD_UNARY)
		take_turn(call);
}

/* A second message of a unary call is never looked at, as in grpc-go. */
static bool wants_input(const struct call *call)
{
	return call->phase == CALL_OPEN &&
	       !(call->method->kind == METHOD_UNARY && call->has_request);
}

/* Whether the message at hand may come in; its length is known as soon as its prefix is. */
static bool is_admitted(struct call *call, struct bytes input)
{
	size_t size;

	if (call->is_admitted || !grpc_reader_length(&call->reader, input, &size))
		return true;
	return size > call->reader.bytes_max || call_admit(call, size);
}

/* Parses until the input is used up, the stream is full or memory is; gives what is left. */
static struct bytes parse(struct call *call, struct bytes input)
{
	struct grpc_problem problem;
	struct bytes message;

	while (input.size && wants_input(call)) {
		if (!is_single(call) && call_is_full(call))
			return input;
		if (!is_admitted(call, input))
			return input;
		switch (grpc_reader_step(&call->reader, &input, &message, &problem)) {
		case GRPC_READ_MORE:
			break;
		case GRPC_READ_MESSAGE:
			take_message(call, message);
			break;
		case GRPC_READ_FAILED:
			call_finish(call, problem.status, problem.text);
			break;
		}
	}
	return bytes_of(input.data, 0);
}

/* A plain request's body is of no interest, but has a limit. */
static void receive_body(struct call *call, size_t size)
{
	call->body_bytes += size;
	if (call->body_bytes > HTTP_BODY_BYTES_MAX)
		call_http_finish(call);
}

void call_receive(struct call *call, struct bytes chunk)
{
	struct bytes rest = bytes_of(chunk.data, 0);
	struct h2_session *session = call->session;

	call->progress_ns = session->now_ns;
	if (call->phase == CALL_HTTP)
		receive_body(call, chunk.size);
	else if (call->phase == CALL_OPEN)
		rest = call->is_paused ? chunk : parse(call, chunk);
	if (rest.size) {
		/* Not given back to the peer's window, so this is bounded by it. */
		call->is_paused = true;
		if (!buffer_append(&call->backlog, rest)) {
			call_reset(call, NGHTTP2_FLOW_CONTROL_ERROR, STATUS_RESOURCE_EXHAUSTED);
			rest.size = 0;
		}
	}
	h2_consume_stream(session, call->stream_id, chunk.size - rest.size);
	if (call->is_paused)
		call_recount(call);
}

void call_receive_resume(struct call *call)
{
	struct bytes waiting = buffer_bytes(&call->backlog), rest;

	if (!call->is_paused || call->is_closed)
		return;
	rest = parse(call, waiting);
	if (rest.size < waiting.size) {
		memmove(call->backlog.data + BUFFER_HEADROOM, rest.data, rest.size);
		call->backlog.size = rest.size;
		h2_consume_stream(call->session, call->stream_id, waiting.size - rest.size);
	}
	if (rest.size)
		return;
	call->is_paused = false;
	buffer_fini(&call->backlog);
	call_recount(call);
	if (call->is_half_closed && call->phase == CALL_OPEN)
		call_receive_end(call);
}

void call_receive_end(struct call *call)
{
	const struct method *method = call->method;
	const bool is_unary = method->kind == METHOD_UNARY;

	if (call->is_input_told || !wants_input(call))
		return;
	call->is_input_told = true;
	if (grpc_reader_is_partial(&call->reader)) {
		call_finish(call, is_unary ? STATUS_UNKNOWN : STATUS_INTERNAL, "unexpected EOF");
	} else if (is_single(call) && !call->has_request) {
		if (is_unary)
			call_finish(call, STATUS_UNKNOWN, "EOF");
		else
			call_finish(call, STATUS_INTERNAL,
				    "cardinality violation: received no request message from "
				    "non-client-streaming RPC");
	} else if (is_single(call)) {
		take_turn(call);
	} else if (method->on_half_close) {
		method->on_half_close(call);
	}
}
