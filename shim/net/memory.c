/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/memory.h"

#include "shim/base/log.h"
#include "shim/net/h2_internal.h"

#include <assert.h>

#define SHARE_OF_MACHINE 4

void net_memory_init(struct net_memory *memory, size_t bytes_max)
{
	*memory = (struct net_memory){.bytes_max = bytes_max};
	list_init(&memory->sessions);
	list_init(&memory->waiting);
}

size_t net_memory_default(void)
{
	uint64_t machine = uv_get_total_memory();
	uint64_t container = uv_get_constrained_memory();

	if (container && container < machine)
		machine = container;
	if (machine / SHARE_OF_MACHINE < MEMORY_CALLS_BYTES_MIN)
		return MEMORY_CALLS_BYTES_MIN;
	if (machine / SHARE_OF_MACHINE > MEMORY_CALLS_BYTES_MAX)
		return MEMORY_CALLS_BYTES_MAX;
	return (size_t)(machine / SHARE_OF_MACHINE);
}

/* --- who must go ------------------------------------------------------------------------------ */

/* The connection ends on the loop's next turn, when nobody stands on its calls. */
static void doom(struct net_memory *memory, struct h2_session *session)
{
	memory->doomed = session;
	memory->closed++;
	session->is_dead = true;
	log_warn("closing the connection that holds most memory for its requests",
		 LOG_STRING("remote-addr", session->config.peer_address),
		 LOG_INT("bytes", (int64_t)session->charged_bytes),
		 LOG_INT("bytes-of-all", (int64_t)memory->used_bytes),
		 LOG_INT("request-memory-bytes", (int64_t)memory->bytes_max));
	session->config.on_wants_send(session->config.context);
}

/* It is the peer's turn, and it has done nothing since: half a message, or an answer not taken. */
static bool is_stalled(const struct call *call, int64_t since_ns)
{
	bool is_half_sent = call->is_admitted && !call->has_request;

	return call->progress_ns <= since_ns &&
	       (is_half_sent || call->unsent_bytes || call->source_left);
}

/* Whose peer holds most in calls that it let stand since then; NULL: nothing to speak of. */
static struct h2_session *largest_stalled(const struct net_memory *memory, int64_t since_ns)
{
	struct h2_session *found = NULL;
	size_t most = NET_SMALL_MESSAGE_BYTES;

	list_for_each (node, &memory->sessions) {
		struct h2_session *session = container_of(node, struct h2_session, memory_node);
		size_t bytes = 0;

		list_for_each (inner, &session->calls) {
			const struct call *call = container_of(inner, struct call, node);

			bytes += is_stalled(call, since_ns) ? call->charged_bytes : 0;
		}
		if (bytes <= most)
			continue;
		most = bytes;
		found = session;
	}
	return found;
}

/* All is used: whoever holds most, waiting or not. */
static struct h2_session *largest_of_all(const struct net_memory *memory)
{
	struct h2_session *found = NULL;

	list_for_each (node, &memory->sessions) {
		struct h2_session *session = container_of(node, struct h2_session, memory_node);

		if (!found || session->charged_bytes > found->charged_bytes)
			found = session;
	}
	return found;
}

static void enforce(struct net_memory *memory)
{
	struct h2_session *session;

	if (memory->used_bytes <= memory->bytes_max || memory->doomed)
		return;
	session = largest_of_all(memory);
	if (session && session->charged_bytes)
		doom(memory, session);
}

/* --- counting --- */

static void charge(struct call *call, size_t bytes)
{
	struct net_memory *memory = call->memory;

	/* Sizes may shrink: unsigned arithmetic does both. */
	memory->used_bytes += bytes - call->charged_bytes;
	if (call->session)
		call->session->charged_bytes += bytes - call->charged_bytes;
	call->charged_bytes = bytes;
}

static void admit(struct call *call, size_t message_bytes)
{
	struct buffer *body = &call->reader.body;

	call->is_admitted = true;
	call->message_bytes = message_bytes;
	body->size = 0;
	if (message_bytes > NET_SMALL_MESSAGE_BYTES) {
		call->progress_ns = h2_now_ns(call->session); /* it may have waited long */
		buffer_reserve(body, message_bytes); /* exactly; else it would grow by doubling */
	}
	h2_widen_stream(call->session, call->stream_id, message_bytes + GRPC_PREFIX_BYTES);
	call_recount(call);
}

static bool has_room(const struct net_memory *memory, size_t message_bytes)
{
	return message_bytes <= NET_SMALL_MESSAGE_BYTES ||
	       memory->used_bytes + message_bytes <= memory->bytes_max / 2;
}

/* One message of each connection in turn. */
static void admit_waiting(struct net_memory *memory)
{
	while (!list_is_empty(&memory->waiting)) {
		struct h2_session *session =
			container_of(memory->waiting.next, struct h2_session, waiting_node);
		struct call *call = container_of(session->waiting.next, struct call, waiting_node);

		if (!has_room(memory, call->waiting_bytes))
			return;
		call_wait_no_more(call);
		if (!list_is_empty(&session->waiting)) {
			list_remove(&session->waiting_node);
			list_append(&memory->waiting, &session->waiting_node);
		}
		admit(call, call->waiting_bytes);
		call_mark_due(call, DUE_INPUT);
	}
}

void call_recount(struct call *call)
{
	const struct grpc_reader *reader = &call->reader;
	size_t bytes = sizeof *call + call->header_bytes + reader->inflated.capacity +
		       call->backlog.capacity + call->arena.used_bytes + call->unsent_bytes +
		       call->held_bytes;
	bool shrinks;

	if (!call->memory)
		return;
	bytes += call->message_bytes > reader->body.capacity ? call->message_bytes
							     : reader->body.capacity;
	shrinks = bytes < call->charged_bytes;
	charge(call, bytes);
	if (shrinks)
		admit_waiting(call->memory);
	else
		enforce(call->memory);
}

void call_forget(struct call *call)
{
	if (!call->memory)
		return;
	charge(call, 0);
	admit_waiting(call->memory);
}

void call_set_held(struct call *call, size_t bytes)
{
	call->held_bytes = bytes;
	call_recount(call);
}

/* --- messages that come in --- */

bool call_admit(struct call *call, size_t message_bytes)
{
	struct net_memory *memory = call->memory;

	if (!memory || (has_room(memory, message_bytes) && list_is_empty(&memory->waiting)) ||
	    message_bytes <= NET_SMALL_MESSAGE_BYTES) {
		admit(call, message_bytes);
		return true;
	}
	call->waiting_bytes = message_bytes;
	call->waiting_ns = call->session->now_ns;
	if (list_is_empty(&call->session->waiting))
		list_append(&memory->waiting, &call->session->waiting_node);
	list_append(&call->session->waiting, &call->waiting_node);
	return false;
}

void call_wait_no_more(struct call *call)
{
	if (list_is_empty(&call->waiting_node))
		return;
	list_remove(&call->waiting_node);
	if (list_is_empty(&call->session->waiting))
		list_remove(&call->session->waiting_node);
}

void call_message_done(struct call *call)
{
	call->is_admitted = false;
	call->message_bytes = 0;
	call_recount(call);
}

/* --- sessions --- */

void h2_memory_add(struct h2_session *session)
{
	struct net_memory *memory = session->config.server->memory;

	list_init(&session->memory_node);
	if (memory)
		list_append(&memory->sessions, &session->memory_node);
}

void h2_memory_remove(struct h2_session *session)
{
	struct net_memory *memory = session->config.server->memory;

	list_remove(&session->memory_node);
	if (!memory || memory->doomed != session)
		return;
	memory->doomed = NULL;
	enforce(memory); /* it may not have been enough */
}

void h2_memory_run(struct h2_session *session)
{
	struct net_memory *memory = session->config.server->memory;
	int64_t now_ns = session->now_ns;

	while (memory && !list_is_empty(&session->waiting)) {
		struct call *call = container_of(session->waiting.next, struct call, waiting_node);
		struct h2_session *stalled = NULL;

		if (now_ns - call->waiting_ns >= NET_WAIT_NS) {
			memory->refused++;
			call_fail(call, ERR_TOO_MANY_REQUESTS); /* and it waits no more */
			continue;
		}
		if (now_ns - call->waiting_ns >= NET_STALL_NS && !memory->doomed)
			stalled = largest_stalled(memory, now_ns - NET_STALL_NS);
		if (stalled)
			doom(memory, stalled);
		return;
	}
}
