/* SPDX-License-Identifier: Apache-2.0 */
/* encode.c - into protobuf-c's structs, which borrow from ours, and from there onto the wire. */
#include "sync/message/encode.h"

#include <assert.h>

/* protobuf-c's structs for what the counts in limits.h allow, and the actors of the touches. */
#define SCRATCH_BYTES_MAX (64 * MIB)

void *encode_failed(struct encoding *encoding, enum err e)
{
	if (!encoding->err)
		encoding->err = e;
	return NULL;
}

void *room(struct encoding *encoding, size_t count, size_t size)
{
	void *memory = encoding->err ? NULL : arena_calloc(&encoding->arena, count, size);

	if (!memory && !encoding->err)
		encode_failed(encoding, fault(ERR_NOMEM, "%zu things of %zu bytes of a message",
					      count, size));
	return memory;
}

bool list_of(struct encoding *encoding, size_t count, size_t max, size_t size, void *ret_list)
{
	uint8_t **pointers, *structs;

	if (count > max)
		encode_failed(encoding, ERR_REQUEST_TOO_LARGE);
	if (!count || encoding->err)
		return false;
	pointers = room(encoding, count, sizeof(*pointers));
	structs = room(encoding, count, size);
	for (size_t i = 0; structs && i < count; i++)
		pointers[i] = structs + i * size;
	memcpy(ret_list, &pointers, sizeof(pointers));
	return structs;
}

ProtobufCBinaryData buffer_kept(struct encoding *encoding, struct buffer *buffer, bool fits)
{
	struct bytes kept = {0};

	if (!fits)
		encode_failed(encoding, ERR_REQUEST_TOO_LARGE);
	else if (!arena_copy(&encoding->arena, buffer_bytes(buffer), &kept))
		encode_failed(encoding, fault(ERR_NOMEM, "%zu bytes of a message", buffer->size));
	buffer_fini(buffer);
	return data_of(kept);
}

ProtobufCBinaryData vector_of(struct encoding *encoding, const struct vector *vector)
{
	struct buffer buffer = BUFFER_INIT(VECTOR_BYTES_MAX);

	if (!vector->count)
		return data_of(bytes_of(NULL, 0));
	return buffer_kept(encoding, &buffer, vector_encode(vector, &buffer));
}

/* --- small parts ------------------------------------------------------------------------------ */

void actor_of(const struct actor *actor, V1(Actor) * ret_actor)
{
	kedge__sync__v1__actor__init(ret_actor);
	ret_actor->site = data_of(bytes_of(actor->site.bytes, SITE_BYTES));
	ret_actor->incarnation = actor->incarnation;
}

static void point_of(const struct chain_point *point, V1(ChainPoint) * ret_point)
{
	kedge__sync__v1__chain_point__init(ret_point);
	ret_point->revision = (uint64_t)point->revision;
	ret_point->hash = point->hash;
}

static void range_of(const struct key_range *range, V1(KeyRange) * ret_range)
{
	kedge__sync__v1__key_range__init(ret_range);
	ret_range->key = data_of(range->key);
	ret_range->end = data_of(range->end);
}

static V1(KeyRange) *
	*ranges_of(struct encoding *encoding, const struct key_range *ranges, size_t count)
{
	V1(KeyRange) * *list;

	if (!list_of(encoding, count, MESSAGE_RANGES_MAX, sizeof(**list), &list))
		return NULL;
	for (size_t i = 0; i < count; i++)
		range_of(&ranges[i], list[i]);
	return list;
}

static ProtobufCBinaryData *runs_of(struct encoding *encoding, const struct bytes *runs,
				    size_t count, size_t max)
{
	ProtobufCBinaryData *list = NULL;

	if (count > max)
		return encode_failed(encoding, ERR_REQUEST_TOO_LARGE);
	if (count)
		list = room(encoding, count, sizeof(*list));
	for (size_t i = 0; list && i < count; i++)
		list[i] = data_of(runs[i]);
	return list;
}

/* --- hello ------------------------------------------------------------------------------------ */

static void put_groups(struct encoding *encoding, const struct hello *hello, V1(Hello) * out)
{
	if (!list_of(encoding, GROUPS, GROUPS, sizeof(**out->groups), &out->groups))
		return;
	out->n_groups = GROUPS;
	for (size_t i = 0; i < GROUPS; i++) {
		kedge__sync__v1__group_state__init(out->groups[i]);
		out->groups[i]->group = (V1(Group))i;
		out->groups[i]->vector = vector_of(encoding, &hello->vectors[i]);
		out->groups[i]->cursor = (uint64_t)hello->cursors[i];
	}
}

static void put_points(struct encoding *encoding, const struct hello *hello, V1(Hello) * out)
{
	if (!list_of(encoding, hello->point_count, MESSAGE_POINTS_MAX, sizeof(**out->points),
		     &out->points))
		return;
	out->n_points = hello->point_count;
	for (size_t i = 0; i < out->n_points; i++)
		point_of(&hello->points[i], out->points[i]);
}

static void put_versions(struct encoding *encoding, const struct hello *hello, V1(Hello) * out)
{
	if (!list_of(encoding, hello->version_count, MESSAGE_VERSIONS_MAX, sizeof(**out->versions),
		     &out->versions))
		return;
	out->n_versions = hello->version_count;
	for (size_t i = 0; i < out->n_versions; i++) {
		const struct storage_versions *versions = &hello->versions[i];

		kedge__sync__v1__storage_versions__init(out->versions[i]);
		out->versions[i]->prefix = data_of(versions->prefix);
		out->versions[i]->n_api_versions = versions->count;
		out->versions[i]->api_versions = runs_of(encoding, versions->api_versions,
							 versions->count, MESSAGE_API_VERSIONS_MAX);
	}
}

static void put_clouds(struct encoding *encoding, const struct hello *hello, V1(Hello) * out)
{
	if (hello->cloud_count > PEERS_MAX)
		encode_failed(encoding, ERR_REQUEST_TOO_LARGE);
	else if (hello->cloud_count)
		out->clouds = room(encoding, hello->cloud_count, sizeof(*out->clouds));
	if (!out->clouds)
		return;
	out->n_clouds = hello->cloud_count;
	for (size_t i = 0; i < out->n_clouds; i++)
		out->clouds[i] = data_of(bytes_of(hello->clouds[i].bytes, SITE_BYTES));
}

static void put_hello(struct encoding *encoding, const struct hello *hello, V1(Hello) * out)
{
	kedge__sync__v1__hello__init(out);
	out->self = room(encoding, 1, sizeof(*out->self));
	if (!out->self)
		return;
	actor_of(&hello->self, out->self);
	out->protocol = hello->protocol;
	out->layout = hello->layout;
	out->cluster = data_of(bytes_of(hello->cluster.bytes, SITE_BYTES));
	out->nonce = hello->nonce;
	out->head = (uint64_t)hello->head;
	out->wall_ms = (uint64_t)hello->wall_ms;
	put_groups(encoding, hello, out);
	out->cursor_incarnation = hello->cursor_incarnation;
	put_points(encoding, hello, out);
	out->n_coverage = hello->coverage_count;
	out->coverage = ranges_of(encoding, hello->coverage, hello->coverage_count);
	out->rules_hash = data_of(bytes_of(hello->rules_hash, RULES_HASH_BYTES));
	put_versions(encoding, hello, out);
	out->n_key_ids = hello->key_id_count;
	out->key_ids = runs_of(encoding, hello->key_ids, hello->key_id_count, MESSAGE_KEY_IDS_MAX);
	out->window_bytes_max = hello->window_bytes_max;
	out->is_hub = hello->is_hub;
	out->is_answer = hello->is_answer;
	put_clouds(encoding, hello, out);
}

/* --- the rest --------------------------------------------------------------------------------- */

static void put_ack(struct encoding *encoding, const struct ack *ack, V1(Ack) * out)
{
	kedge__sync__v1__ack__init(out);
	out->group = (V1(Group))ack->group;
	out->incarnation = ack->incarnation;
	out->cursor = (uint64_t)ack->cursor;
	out->delta = vector_of(encoding, &ack->delta);
	out->credit_bytes = ack->credit_bytes;
}

static void put_retry(struct encoding *encoding, const struct retry *retry, V1(Retry) * out)
{
	(void)encoding;
	kedge__sync__v1__retry__init(out);
	out->group = (V1(Group))retry->group;
	out->reason = (V1(Retry__Reason))retry->reason;
	out->cursor = (uint64_t)retry->cursor;
}

static void put_session_open(struct encoding *encoding, const struct session_open *open,
			     V1(SessionOpen) * out)
{
	kedge__sync__v1__session_open__init(out);
	out->session = open->session;
	out->group = (V1(Group))open->group;
	out->nonce = open->nonce;
	out->range = room(encoding, 1, sizeof(*out->range));
	if (out->range)
		range_of(&open->range, out->range);
}

static void put_session_opened(struct encoding *encoding, const struct session_opened *opened,
			       V1(SessionOpened) * out)
{
	kedge__sync__v1__session_opened__init(out);
	out->session = opened->session;
	out->incarnation = opened->incarnation;
	out->revision = (uint64_t)opened->revision;
	out->vector = vector_of(encoding, &opened->vector);
	out->chain = opened->chain;
	out->key_count = opened->key_count;
	out->root = data_of(bytes_of(opened->root, STATE_HASH_BYTES));
}

static void put_session_compare(struct encoding *encoding, const struct session_compare *compare,
				V1(SessionCompare) * out)
{
	(void)encoding;
	kedge__sync__v1__session_compare__init(out);
	out->session = compare->session;
	out->body = data_of(compare->body);
}

static void put_session_fetch(struct encoding *encoding, const struct session_fetch *fetch,
			      V1(SessionFetch) * out)
{
	kedge__sync__v1__session_fetch__init(out);
	out->session = fetch->session;
	out->n_keys = fetch->key_count;
	out->keys = runs_of(encoding, fetch->keys, fetch->key_count, MESSAGE_KEYS_MAX);
}

static void put_session_close(struct encoding *encoding, const struct session_close *close,
			      V1(SessionClose) * out)
{
	(void)encoding;
	kedge__sync__v1__session_close__init(out);
	out->session = close->session;
}

static void put_evict(struct encoding *encoding, const struct evict *evict, V1(Evict) * out)
{
	kedge__sync__v1__evict__init(out);
	out->n_ranges = evict->range_count;
	out->ranges = ranges_of(encoding, evict->ranges, evict->range_count);
}

static void put_refuse(struct encoding *encoding, const struct refuse *refuse, V1(Refuse) * out)
{
	assert(refuse->why < REFUSED_OTHER);
	kedge__sync__v1__refuse__init(out);
	out->reason = (V1(Refuse__Reason))refuse->why;
	out->retry_after_ms = (uint64_t)refuse->retry_after_ms;
	out->common = room(encoding, 1, sizeof(*out->common));
	if (out->common)
		point_of(&refuse->common, out->common);
	out->seen = (uint64_t)refuse->seen;
	out->text = data_of(refuse->text);
}

/* --- the envelope ----------------------------------------------------------------------------- */

/* The kinds: name in capitals, name in small letters, protobuf-c's type. */
#define KINDS(X)                                                                                   \
	X(HELLO, hello, Hello)                                                                     \
	X(WINDOW, window, Window)                                                                  \
	X(ACK, ack, Ack)                                                                           \
	X(RETRY, retry, Retry)                                                                     \
	X(SESSION_OPEN, session_open, SessionOpen)                                                 \
	X(SESSION_OPENED, session_opened, SessionOpened)                                           \
	X(SESSION_COMPARE, session_compare, SessionCompare)                                        \
	X(SESSION_FETCH, session_fetch, SessionFetch)                                              \
	X(SESSION_PAGE, session_page, SessionPage)                                                 \
	X(SESSION_CLOSE, session_close, SessionClose)                                              \
	X(EVICT, evict, Evict)                                                                     \
	X(REFUSE, refuse, Refuse)

static void put_message(struct encoding *encoding, const struct message *message, V1(Message) * out)
{
	kedge__sync__v1__message__init(out);
	switch (message->kind) {
#define PUT(KIND, name, type)                                                                      \
	case MESSAGE_##KIND:                                                                       \
		out->kind_case = KEDGE__SYNC__V1__MESSAGE__KIND_##KIND;                            \
		out->name = room(encoding, 1, sizeof(*out->name));                                 \
		if (out->name)                                                                     \
			put_##name(encoding, &message->as.name, out->name);                        \
		break;
		KINDS(PUT)
#undef PUT
	case MESSAGE_KINDS:
		assert(!"a kind");
	}
}

static enum err pack(const V1(Message) * message, struct buffer *buffer)
{
	size_t size = kedge__sync__v1__message__get_packed_size(message);

	if (size > MESSAGE_BYTES_MAX || size > buffer->bytes_max - buffer->size)
		return ERR_REQUEST_TOO_LARGE;
	if (!buffer_reserve(buffer, size))
		return fault(ERR_NOMEM, "a message of %zu bytes", size);
	buffer->size += kedge__sync__v1__message__pack(message, buffer_end(buffer));
	return ERR_OK;
}

enum err message_encode(const struct message *message, struct buffer *buffer)
{
	struct encoding encoding = {0};
	V1(Message) out;
	enum err e;

	assert(message_is_sound(message));
	arena_init(&encoding.arena, SCRATCH_BYTES_MAX);
	put_message(&encoding, message, &out);
	e = encoding.err ? encoding.err : pack(&out, buffer);
	arena_fini(&encoding.arena);
	return e;
}
