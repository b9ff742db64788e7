/* SPDX-License-Identifier: Apache-2.0 */
/* Plain HTTP requests that came over HTTP/2. */
#include "shim/net/h2_internal.h"

#include <stdio.h>

#define HEADERS_MAX 16

struct http_fields {
	nghttp2_nv nv[HEADERS_MAX];
	size_t count;
};

static void field_add(struct http_fields *fields, const char *name, const char *value)
{
	if (fields->count < HEADERS_MAX)
		fields->nv[fields->count++] =
			call_nv(bytes_of_string(name), bytes_of_string(value), 0);
}

static const char *field_text(const struct call *call, enum call_field field)
{
	struct bytes value = call_field(call, field);

	return value.size ? (const char *)value.data : "";
}

static void answer(struct call *call, struct http_reply *reply, bool is_head)
{
	struct http_fields fields = {.count = 0};
	char status[12], length[24];

	snprintf(status, sizeof status, "%d", reply->status);
	snprintf(length, sizeof length, "%zu", reply->body.size);
	field_add(&fields, ":status", status);
	if (reply->content_type)
		field_add(&fields, "content-type", reply->content_type);
	if (reply->allow)
		field_add(&fields, "allow", reply->allow);
	field_add(&fields, "content-length", length);
	for (const struct http_header *h = reply->headers; h && h->name; h++)
		field_add(&fields, h->name, h->value);
	if (reply->body.size && !is_head && !call_queue(call, &reply->body, -1)) {
		call_reset(call, NGHTTP2_INTERNAL_ERROR,
			   err_status(fault(ERR_NOMEM, "no memory for an HTTP answer")));
		return;
	}
	call_http_answer(call, fields.nv, fields.count);
}

/* The path up to '?' as a string of its own; NULL when memory is out. */
static const char *path_only(struct call *call, const char **ret_query)
{
	const char *path = field_text(call, FIELD_PATH);
	size_t size = strcspn(path, "?");
	char *copy = arena_alloc(&call->arena, size + 1);

	*ret_query = path[size] ? path + size + 1 : "";
	if (!copy)
		return NULL;
	memcpy(copy, path, size);
	copy[size] = '\0';
	return copy;
}

/* etcd hands to gRPC whatever names it in its content type, well formed or not. */
static bool is_plain_http(const struct call *call)
{
	struct bytes type = call_field(call, FIELD_CONTENT_TYPE);
	const struct bytes grpc = BYTES_LITERAL("application/grpc");

	return call->session->config.plain_http &&
	       (!type.size || !memmem(type.data, type.size, grpc.data, grpc.size));
}

void call_http_finish(struct call *call)
{
	const struct server_config *server = call->server;
	struct http_reply reply = {.status = 404, .body = BUFFER_INIT(SIZE_MAX / 2)};
	struct http_request request = {
		.method = field_text(call, FIELD_METHOD),
		.host = field_text(call, FIELD_AUTHORITY),
		.peer_address = call->session->config.peer_address,
	};

	if (call->phase != CALL_HTTP)
		return;
	if (!is_plain_http(call)) {
		call_refuse_content_type(call);
		return;
	}
	if (!*request.host)
		request.host = field_text(call, FIELD_HOST);
	request.path = path_only(call, &request.query);
	if (!request.path)
		reply.status = 503;
	else if (call->body_bytes > HTTP_BODY_BYTES_MAX)
		reply.status = 413;
	else if (server->on_http)
		server->on_http(server->handler_context, &request, &reply);
	answer(call, &reply, !strcmp(request.method, "HEAD"));
	buffer_fini(&reply.body);
}
