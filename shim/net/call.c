/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/h2_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <strings.h>

/* --- life ------------------------------------------------------------------------------------- */

static struct call *call_from_pool(struct h2_session *session)
{
	struct call *call;

	if (list_is_empty(&session->pool)) {
		call = calloc(1, sizeof *call);
		if (call)
			grpc_reader_init(&call->reader, session->config.server->message_bytes_max);
		return call;
	}
	call = container_of(session->pool.next, struct call, node);
	list_remove(&call->node);
	session->pool_count--;
	return call;
}

/* Everything but the reader, whose small buffer is worth keeping, starts from zero. */
static void call_clear(struct call *call)
{
	struct grpc_reader reader = call->reader;

	memset(call, 0, sizeof *call);
	call->reader = reader;
}

struct call *call_new(struct h2_session *session, int32_t stream_id)
{
	struct call *call = call_from_pool(session);

	if (!call)
		return NULL;
	call->session = session;
	call->loop = session->config.loop;
	call->server = session->config.server;
	call->memory = session->config.server->memory;
	call->stream_id = stream_id;
	call->refs = 1;
	call->headers = call->headers_inline;
	call->header_capacity = CALL_HEADERS_INLINE;
	call->out_last = &call->out_first;
	call->backlog = BUFFER_INIT(H2_STREAM_WINDOW_BYTES);
	call->status_text = "";
	arena_init(&call->arena, CALL_ARENA_BYTES_MAX);
	list_append(&session->calls, &call->node);
	list_init(&call->due_node);
	list_init(&call->ready_node);
	list_init(&call->waiting_node);
	call->progress_ns = session->now_ns;
	session->call_count++;
	session->memory_count++;
	call_recount(call);
	return call;
}

/* What a pooled call does not keep. */
static void call_fini(struct call *call)
{
	for (size_t i = 0; i < call->header_count; i++) {
		nghttp2_rcbuf_decref(call->headers[i].name);
		nghttp2_rcbuf_decref(call->headers[i].value);
	}
	for (int i = 0; i < FIELD_COUNT; i++) {
		if (call->field[i])
			nghttp2_rcbuf_decref(call->field[i]);
	}
	if (call->headers != call->headers_inline)
		free(call->headers);
	buffer_fini(&call->backlog);
	arena_fini(&call->arena);
	grpc_reader_reset(&call->reader);
}

void call_destroy(struct call *call)
{
	grpc_reader_fini(&call->reader);
	free(call);
}

void call_hold(struct call *call)
{
	call->refs++;
}

void call_release(struct call *call)
{
	struct h2_session *session = call->session;

	assert(call->refs > 0);
	if (--call->refs)
		return;
	assert(!call->out_first && !call->has_source);
	call_fini(call);
	call_forget(call);
	if (!session) {
		call_destroy(call);
		return;
	}
	list_remove(&call->node);
	session->memory_count--;
	if (session->pool_count >= H2_CALLS_POOLED_MAX) {
		call_destroy(call);
		return;
	}
	call_clear(call);
	list_append(&session->pool, &call->node);
	session->pool_count++;
}

bool call_header_add(struct call *call, nghttp2_rcbuf *name, nghttp2_rcbuf *value)
{
	if (call->header_count == call->header_capacity) {
		size_t capacity = call->header_capacity * 2;
		struct call_header *headers = malloc(capacity * sizeof *headers);

		if (!headers)
			return false;
		memcpy(headers, call->headers, call->header_count * sizeof *headers);
		if (call->headers != call->headers_inline)
			free(call->headers);
		call->headers = headers;
		call->header_capacity = capacity;
	}
	nghttp2_rcbuf_incref(name);
	nghttp2_rcbuf_incref(value);
	call->headers[call->header_count++] = (struct call_header){name, value};
	return true;
}

/* --- the end --- */

void call_end(struct call *call, enum status status)
{
	if (call->phase == CALL_ENDED)
		return;
	call->phase = CALL_ENDED;
	call->status = status;
	list_remove(&call->ready_node);
	call_wait_no_more(call);
	if (call->is_opened)
		call_mark_due(call, DUE_END);
	else
		call->is_over = true;
}

void call_stream_closed(struct call *call)
{
	call_end(call, STATUS_CANCELLED);
	call->is_closed = true;
	call->session->open_count -= call->is_opened;
	h2_deadline_remove(call->session, call);
	call_queue_drop(call);
	call_detach_if_done(call);
}

void call_detach_if_done(struct call *call)
{
	struct h2_session *session = call->session;

	if (!call->is_closed || !call->is_over)
		return;
	list_remove(&call->due_node);
	call->due = 0;
	list_remove(&call->node);
	list_append(&session->kept, &call->node);
	session->call_count--;
	call_release(call);
}

void call_orphan(struct call *call)
{
	list_remove(&call->node);
	call->session = NULL;
}

static void call_run_end(struct call *call)
{
	const struct server_config *server = call->server;

	if (call->is_started && server->on_call_ended)
		server->on_call_ended(server->handler_context, call->method, call->status,
				      h2_now_ns(call->session) - call->started_ns);
	if (call->method->on_end)
		call->method->on_end(call);
	call->is_over = true;
}

void call_mark_due(struct call *call, enum call_due due)
{
	if (!call->due)
		list_append(&call->session->due, &call->due_node);
	call->due |= due;
	h2_wake(call->session);
}

/* Nothing before the last line lets go of the call: streams close only inside nghttp2. */
void call_run_due(struct call *call)
{
	unsigned due = call->due;

	call->due = 0;
	if (due & DUE_INPUT)
		call_receive_resume(call);
	if (due & DUE_WRITABLE && call->phase == CALL_OPEN && call->method->on_writable)
		call->method->on_writable(call);
	if (!(due & DUE_END))
		return;
	call_run_end(call);
	call_detach_if_done(call);
}

/* --- what a handler asks --- */

void *call_state(struct call *call)
{
	return call->state;
}

void *call_context(struct call *call)
{
	return call->server->handler_context;
}

const struct method *call_method(const struct call *call)
{
	return call->method;
}

struct arena *call_arena(struct call *call)
{
	return &call->arena;
}

struct loop *call_loop(struct call *call)
{
	return call->loop;
}

bool call_is_ended(const struct call *call)
{
	return call->phase == CALL_ENDED;
}

const char *call_metadata(const struct call *call, const char *name)
{
	const size_t size = strlen(name);

	for (size_t i = 0; i < call->header_count; i++) {
		nghttp2_vec found = nghttp2_rcbuf_get_buf(call->headers[i].name);

		if (found.len == size && strncasecmp((const char *)found.base, name, size) == 0)
			return (const char *)nghttp2_rcbuf_get_buf(call->headers[i].value).base;
	}
	return NULL;
}

struct call_peer call_peer(const struct call *call)
{
	if (!call->session)
		return (struct call_peer){.address = ""};
	return (struct call_peer){
		.address = call->session->config.peer_address,
		.common_name = call->session->config.peer_common_name,
	};
}

/* --- between threads --- */

static void call_run_posted(struct loop_task *task)
{
	struct call *call = container_of(task, struct call, task);

	call->posted(call);
}

void call_post_later(struct call *call, void (*fn)(struct call *call), struct inbox_chain *chain)
{
	call->posted = fn;
	call->task.fn = call_run_posted;
	inbox_chain_add(chain, &call->task.node);
}

void call_post(struct call *call, void (*fn)(struct call *call))
{
	struct inbox_chain one = {0};

	call_post_later(call, fn, &one);
	loop_post_chain(call->loop, &one);
}
