/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/rpc/watch_response.h"

#include <assert.h>

#define MESSAGE_BYTES_MAX ((size_t)INT32_MAX) /* of a gRPC message */

enum response_field {
	RESPONSE_HEADER = 1,
	RESPONSE_WATCH_ID = 2,
	RESPONSE_CREATED = 3,
	RESPONSE_CANCELED = 4,
	RESPONSE_COMPACT_REVISION = 5,
	RESPONSE_CANCEL_REASON = 6,
	RESPONSE_FRAGMENT = 7,
	RESPONSE_EVENTS = 11,
};
enum event_field { FIELD_TYPE = 1, FIELD_KV, FIELD_PREV_KV };

#define FLAG_SIZE 2 /* bytes of a true bool with its tag */

/* --- all but the events ----------------------------------------------------------------------- */

/* Revision 0 is meant so: the header of a watcher that compaction overtook. */
static struct wire_header header_of(const struct watch_voice *voice, const struct hub_item *item)
{
	return (struct wire_header){
		.cluster_id = voice->identity.cluster_id,
		.member_id = voice->identity.member_id,
		.revision = item->header_revision,
		.raft_term = voice->identity.term,
	};
}

static bool is_created(const struct hub_item *item)
{
	return item->kind == HUB_CREATED || item->created;
}

static struct bytes reason_of(const struct hub_item *item)
{
	return bytes_of_string(item->cancel_reason ? item->cancel_reason : "");
}

static size_t frame_size(const struct watch_voice *voice, const struct hub_item *item)
{
	struct wire_header header = header_of(voice, item);

	return wire_message_size(RESPONSE_HEADER, wire_header_size(&header)) +
	       wire_int_size(RESPONSE_WATCH_ID, item->watch_id) +
	       wire_uint_size(RESPONSE_CREATED, is_created(item)) +
	       wire_uint_size(RESPONSE_CANCELED, item->kind == HUB_CANCELED) +
	       wire_int_size(RESPONSE_COMPACT_REVISION, item->compact_revision) +
	       wire_bytes_size(RESPONSE_CANCEL_REASON, reason_of(item));
}

static uint8_t *put_frame(uint8_t *to, const struct watch_voice *voice, const struct hub_item *item)
{
	struct wire_header header = header_of(voice, item);

	to = wire_put_message(to, RESPONSE_HEADER, wire_header_size(&header));
	to = wire_put_header(to, &header);
	to = wire_put_int(to, RESPONSE_WATCH_ID, item->watch_id);
	to = wire_put_uint(to, RESPONSE_CREATED, is_created(item));
	to = wire_put_uint(to, RESPONSE_CANCELED, item->kind == HUB_CANCELED);
	to = wire_put_int(to, RESPONSE_COMPACT_REVISION, item->compact_revision);
	return wire_put_bytes(to, RESPONSE_CANCEL_REASON, reason_of(item));
}

/* --- one event -------------------------------------------------------------------------------- */

struct event_parts {
	const struct event *event;
	struct kv prev;
	bool has_prev;
	size_t size; /* of the Event message, without its tag and length */
};

/* Asking twice costs little: the batch keeps a previous value that was read. */
static enum err event_parts(const struct watch_voice *voice, const struct hub_item *item,
			    const struct watch_cursor *at, struct event_parts *ret_parts)
{
	struct event_batch *batch = item->matches[at->match].batch;
	struct event_parts parts = {.event = event_batch_at(batch, at->event)};
	enum err e = ERR_OK;

	if (item->prev_kv && parts.event->has_prev)
		e = event_prev(batch, at->event, voice->reader, &parts.prev, &parts.has_prev);
	if (e)
		return e;
	parts.size = wire_uint_size(FIELD_TYPE, parts.event->type) +
		     wire_message_size(FIELD_KV, wire_kv_size(&parts.event->kv));
	if (parts.has_prev)
		parts.size += wire_message_size(FIELD_PREV_KV, wire_kv_size(&parts.prev));
	*ret_parts = parts;
	return ERR_OK;
}

static uint8_t *put_event(uint8_t *to, const struct event_parts *parts)
{
	to = wire_put_message(to, RESPONSE_EVENTS, parts->size);
	to = wire_put_uint(to, FIELD_TYPE, parts->event->type);
	to = wire_put_message(to, FIELD_KV, wire_kv_size(&parts->event->kv));
	to = wire_put_kv(to, &parts->event->kv);
	if (!parts->has_prev)
		return to;
	to = wire_put_message(to, FIELD_PREV_KV, wire_kv_size(&parts->prev));
	return wire_put_kv(to, &parts->prev);
}

/* --- where in the item ------------------------------------------------------------------------ */

static void cursor_start(const struct hub_item *item, struct watch_cursor *cursor)
{
	if (item->event_count)
		cursor->event = hub_match_next(item, item->matches, item->matches->first);
}

static void cursor_step(const struct hub_item *item, struct watch_cursor *cursor)
{
	const struct hub_match *match = &item->matches[cursor->match];

	if (++cursor->count == item->event_count)
		return;
	cursor->event = hub_match_next(item, match, cursor->event + 1);
	if (cursor->event <= match->last)
		return;
	match = &item->matches[++cursor->match];
	assert(cursor->match < item->match_count);
	cursor->event = hub_match_next(item, match, match->first);
}

/* Moves the cursor past what goes into one message and tells the size of it; etcd's sendFragments:
 * a message has at least one event and is cut before it reaches the limit, in which its own
 * fragment flag counts unless everything fits into one. */
static enum err measure(const struct watch_voice *voice, const struct hub_item *item,
			size_t base_size, struct watch_cursor *cursor, size_t *ret_size)
{
	struct watch_cursor at = *cursor;
	size_t size = base_size;

	while (at.count < item->event_count) {
		bool is_all = !cursor->count && at.count + 1 == item->event_count;
		struct event_parts parts;
		size_t more;
		enum err e = event_parts(voice, item, &at, &parts);

		if (e)
			return e;
		more = wire_message_size(RESPONSE_EVENTS, parts.size);
		if (item->fragment && at.count > cursor->count &&
		    size + more + (is_all ? 0 : FLAG_SIZE) >= voice->fragment_bytes)
			break;
		if (more > MESSAGE_BYTES_MAX - size)
			return fault(ERR_NOMEM, "the events of one revision exceed a message");
		size += more;
		cursor_step(item, &at);
	}
	*cursor = at;
	*ret_size = size;
	return ERR_OK;
}

enum err watch_response_next(const struct watch_voice *voice, const struct hub_item *item,
			     struct watch_cursor *cursor, struct buffer *ret_message,
			     bool *ret_done)
{
	struct buffer message = BUFFER_INIT(MESSAGE_BYTES_MAX);
	struct watch_cursor at, end;
	bool is_last;
	uint8_t *to;
	size_t size = 0;
	enum err e;

	if (!cursor->count)
		cursor_start(item, cursor);
	at = end = *cursor;
	e = measure(voice, item, frame_size(voice, item), &end, &size);
	if (e)
		return e;
	is_last = end.count == item->event_count;
	size += is_last ? 0 : FLAG_SIZE;
	if (!buffer_reserve(&message, size))
		return fault(ERR_NOMEM, "a watch response of %zu bytes", size);
	to = put_frame(buffer_end(&message), voice, item);
	to = wire_put_uint(to, RESPONSE_FRAGMENT, !is_last);
	while (!e && at.count < end.count) {
		struct event_parts parts;

		e = event_parts(voice, item, &at, &parts);
		if (!e)
			to = put_event(to, &parts);
		cursor_step(item, &at);
	}
	if (e) {
		buffer_fini(&message);
		return e;
	}
	assert(to == buffer_end(&message) + size); /* what was measured is what was written */
	message.size = size;
	*cursor = end;
	*ret_message = message;
	*ret_done = is_last;
	return ERR_OK;
}
