/* SPDX-License-Identifier: Apache-2.0 */
/* type.h - the type column: encoding, apiVersion, kind, and what stands behind the object.
 *
 * Bytes: one letter for the encoding; then, each with its length, apiVersion and kind as the
 * encoding writes them and what follows the object (the envelope's last fields, JSON's newline).
 * Internal to sync/codec. */
#ifndef SYNC_CODEC_TYPE_H
#define SYNC_CODEC_TYPE_H

#include "sync/codec/format.h"

struct type {
	struct object_type known;
	struct bytes api_version; /* as written */
	struct bytes kind;
	struct bytes tail;
	struct bytes column; /* all of it */
};

/* Recognises the encoding and finds the object's fields in it.  false: no object. */
bool type_find(struct work *work, struct bytes value, struct type *ret_type,
	       struct bytes *ret_container);
void type_opaque(struct type *ret_type);
bool type_read(struct bytes column, struct type *ret_type);
/* The value whose fields are in the container. */
bool type_put(const struct type *type, struct bytes container, struct buffer *buffer);
uint32_t type_layout(const struct object_type *type, struct bytes field, enum column_part part);

#endif
