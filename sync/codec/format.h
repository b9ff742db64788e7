/* SPDX-License-Identifier: Apache-2.0 */
/* format.h - one face for protobuf, JSON and CBOR: containers of items, read and put together.
 *
 * A container is a message's payload, a JSON object or a CBOR map.  Reading checks that the whole
 * container is well-formed as far as cutting needs it and gives false at anything else, so what was
 * read can be moved about.  Nothing is decoded but names.
 *
 * Ownership: items point into the container; lists and what is put together are in the arena.
 * Internal to sync/codec. */
#ifndef SYNC_CODEC_FORMAT_H
#define SYNC_CODEC_FORMAT_H

#include "sync/codec/object.h"
#include "sync/wire.h"

struct work { /* one call of the codec */
	struct arena *arena;
	bool no_memory;
};

struct item {
	struct bytes name;  /* JSON: between the quotes as written; empty in protobuf */
	uint32_t number;    /* protobuf's field number */
	struct bytes whole; /* the item with its name or tag; repeated fields all together */
	struct bytes value; /* what it holds; the first of repeated ones; empty for numbers */
	struct bytes sort;  /* set by who orders items */
};

struct items {
	struct item *list;
	size_t count;
	size_t capacity;
};

bool items_add(struct work *work, struct items *items, struct item item);

struct frame { /* how to name what is put together */
	struct bytes name;
	uint32_t number;
};

struct format {
	enum object_format format;
	/* Fields of a container, repeated ones together, in the order in which they stand. */
	bool (*read_fields)(struct work *work, struct bytes container, struct items *ret_items);
	/* Entries of a field that is a map: name is the key. */
	bool (*read_map)(struct work *work, const struct item *field, struct items *ret_items);
	/* Elements of a field that is a list. */
	bool (*read_list)(struct work *work, const struct item *field, struct items *ret_items);
	bool (*read_text)(struct bytes value, struct bytes *ret_text);
	/* The usual order of fields and of map entries. */
	int (*compare_fields)(const struct item *a, const struct item *b);
	int (*compare_names)(struct bytes a, struct bytes b);
	/* The container that holds these items, without its own name. */
	bool (*put_container)(struct buffer *buffer, const struct item *items, size_t count);
	/* A field as it stands in its container. */
	bool (*put_struct)(struct buffer *buffer, struct frame frame, struct bytes container);
	bool (*put_map)(struct buffer *buffer, struct frame frame, const struct item *items,
			size_t count);
	bool (*put_list)(struct buffer *buffer, struct frame frame, const struct item *items,
			 size_t count);
};

extern const struct format format_proto;
extern const struct format format_json;
extern const struct format format_cbor;

const struct format *format_of(enum object_format format);

#endif
