/* SPDX-License-Identifier: Apache-2.0 */
/* encode.h - what the encoders share: memory for protobuf-c's structs, which borrow from ours.
 * Internal to sync/message.
 *
 * After an error, which is noted in the encoding, room() gives NULL and list_of() false. */
#ifndef SYNC_MESSAGE_ENCODE_H
#define SYNC_MESSAGE_ENCODE_H

#include "api/proto/sync.pb-c.h"
#include "sync/message/message.h"

#define V1(name) Kedge__Sync__V1__##name

struct encoding {
	struct arena arena;
	struct actor *actors; /* of a window's touches; ascending, each once */
	size_t actor_count;
	const struct claim *claims; /* the message's table */
	size_t claim_count;
	enum err err; /* the first one */
};

/* NULL, for the caller to return. */
void *encode_failed(struct encoding *encoding, enum err e);
void *room(struct encoding *encoding, size_t count, size_t size);
/* Structs and the pointers to them that protobuf-c wants; false also where there are none. */
bool list_of(struct encoding *encoding, size_t count, size_t max, size_t size, void *ret_list);

static inline ProtobufCBinaryData data_of(struct bytes bytes)
{
	return (ProtobufCBinaryData){.len = bytes.size, .data = (uint8_t *)bytes.data};
}

/* Ends the buffer; what did not fit into it is too large. */
ProtobufCBinaryData buffer_kept(struct encoding *encoding, struct buffer *buffer, bool fits);
ProtobufCBinaryData vector_of(struct encoding *encoding, const struct vector *vector);
void actor_of(const struct actor *actor, V1(Actor) * ret_actor);

void put_window(struct encoding *encoding, const struct window *window, V1(Window) * out);
void put_session_page(struct encoding *encoding, const struct session_page *page,
		      V1(SessionPage) * out);

#endif
