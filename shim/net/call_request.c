/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/h2_internal.h"

#include <assert.h>
#include <stdio.h>

/* --- which method --- */

static bool method_matches(const struct method *method, struct bytes service, struct bytes name)
{
	return bytes_equal(bytes_of_string(method->service), service) &&
	       bytes_equal(bytes_of_string(method->name), name);
}

/* Clients use few methods, so that the table is searched once for each of them. */
static const struct method *method_find(struct h2_session *session, struct bytes path)
{
	const struct server_config *server = session->config.server;
	const uint8_t *tail = path.data + path.size;
	size_t slot = (path.size * 31 + tail[-1] * 7u + tail[-2]) % H2_RECENT_METHODS;
	const struct method *method = session->recent[slot];
	struct bytes service, name;

	if (!grpc_path_split(path, &service, &name))
		return NULL;
	if (method && method_matches(method, service, name))
		return method;
	for (size_t i = 0; i < server->method_count; i++) {
		method = &server->methods[i];
		if (method_matches(method, service, name)) {
			session->recent[slot] = method;
			return method;
		}
	}
	return NULL;
}

static void refuse_method(struct call *call, struct bytes path)
{
	const struct server_config *server = call->server;
	char text[GRPC_PROBLEM_BYTES + 64];
	struct bytes service, name;
	bool is_known = false;

	if (!grpc_path_split(path, &service, &name)) {
		char quoted[GRPC_PROBLEM_BYTES];

		grpc_quote(path, quoted, sizeof quoted);
		snprintf(text, sizeof text, "malformed method name: %s", quoted);
		call_refuse(call, 200, STATUS_UNIMPLEMENTED, text);
		return;
	}
	for (size_t i = 0; i < server->method_count && !is_known; i++)
		is_known = bytes_equal(bytes_of_string(server->methods[i].service), service);
	if (is_known)
		snprintf(text, sizeof text, "unknown method %.*s for service %.*s", (int)name.size,
			 (const char *)name.data, (int)service.size, (const char *)service.data);
	else
		snprintf(text, sizeof text, "unknown service %.*s", (int)service.size,
			 (const char *)service.data);
	call_refuse(call, 200, STATUS_UNIMPLEMENTED, text);
}

/* --- refusals before a handler --- */

static void refuse_quoting(struct call *call, const char *before, struct bytes value,
			   const char *after, enum status status, int http_status)
{
	char quoted[GRPC_PROBLEM_BYTES], text[2 * GRPC_PROBLEM_BYTES];

	grpc_quote(value, quoted, sizeof quoted);
	snprintf(text, sizeof text, "%s%s%s", before, quoted, after);
	call_refuse(call, http_status, status, text);
}

/* grpc-timeout; false when the call was refused for it. */
static bool read_timeout(struct call *call)
{
	char problem[GRPC_TIMEOUT_PROBLEM_BYTES], text[GRPC_PROBLEM_BYTES];
	int64_t timeout_ns;

	if (!call->field[FIELD_TIMEOUT])
		return true;
	if (!grpc_timeout_parse(call_field(call, FIELD_TIMEOUT), &timeout_ns, problem)) {
		snprintf(text, sizeof text, "malformed grpc-timeout: %s", problem);
		call_refuse(call, 400, STATUS_INTERNAL, text);
		return false;
	}
	if (__builtin_add_overflow(call->session->now_ns, timeout_ns, &call->deadline_ns))
		return true;
	call->has_deadline = timeout_ns > 0;
	return true;
}

/* The checks of grpc-go's transport, in its order. */
static bool transport_accepts(struct call *call)
{
	if (!read_timeout(call))
		return false;
	if (!bytes_equal(call_field(call, FIELD_METHOD), BYTES_LITERAL("POST"))) {
		refuse_quoting(call, "Received a HEADERS frame with :method ",
			       call_field(call, FIELD_METHOD), " which should be POST",
			       STATUS_INTERNAL, 405);
		return false;
	}
	if (call->field[FIELD_TIMEOUT] && !call->has_deadline &&
	    call->deadline_ns == call->session->now_ns) {
		call_refuse(call, 200, STATUS_DEADLINE_EXCEEDED, "context deadline exceeded");
		return false;
	}
	return true;
}

static bool encoding_accepts(struct call *call)
{
	struct bytes encoding = call_field(call, FIELD_ENCODING);

	call->reader.encoding = grpc_encoding_parse(encoding);
	if (call->reader.encoding != GRPC_UNKNOWN_ENCODING)
		return true;
	refuse_quoting(call, "grpc: Decompressor is not installed for grpc-encoding ", encoding, "",
		       STATUS_UNIMPLEMENTED, 200);
	return false;
}

/* --- the handler --- */

static void call_open(struct call *call, const struct method *method)
{
	struct h2_session *session = call->session;

	call->method = method;
	if (method->state_bytes)
		call->state = arena_calloc(&call->arena, 1, method->state_bytes);
	if ((method->state_bytes && !call->state) ||
	    (call->has_deadline && !h2_deadline_add(session, call))) {
		call_refuse(call, 200, err_status(ERR_NOMEM), err_text(ERR_NOMEM));
		return;
	}
	call->phase = CALL_OPEN;
	call->is_opened = true;
	session->open_count++;
	call->started_ns = session->now_ns;
	call->reader.keep = method->kind == METHOD_UNARY || method->kind == METHOD_SERVER_STREAM;
	if (method->kind != METHOD_UNARY) {
		call->is_started = true;
		if (call->server->on_call_started)
			call->server->on_call_started(call->server->handler_context, method);
	}
	if (method->on_open)
		method->on_open(call);
	if (session->is_draining && method->kind != METHOD_UNARY)
		call_fail(call, ERR_STOPPED);
}

/* What is not gRPC is answered when it is complete: peers that speak plain HTTP expect to be heard
 * out, and nghttp2 then has seen whether the request was well formed. */
void call_dispatch(struct call *call)
{
	struct bytes path = call_field(call, FIELD_PATH), subtype;
	const struct method *method;

	if (!grpc_content_type(call_field(call, FIELD_CONTENT_TYPE), &subtype)) {
		call->phase = CALL_HTTP;
		return;
	}
	if (!transport_accepts(call))
		return;
	method = path.size > 1 ? method_find(call->session, path) : NULL;
	if (!method)
		refuse_method(call, path);
	else if (encoding_accepts(call))
		call_open(call, method);
}

void call_refuse_content_type(struct call *call)
{
	refuse_quoting(call, "invalid gRPC request content-type ",
		       call_field(call, FIELD_CONTENT_TYPE), "", STATUS_INVALID_ARGUMENT, 415);
}

void call_half_closed(struct call *call)
{
	if (call->is_half_closed)
		return;
	call->is_half_closed = true;
	if (call->phase == CALL_HTTP)
		call_http_finish(call);
	else if (call->phase == CALL_OPEN && !call->is_paused)
		call_receive_end(call);
}
