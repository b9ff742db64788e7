/* SPDX-License-Identifier: Apache-2.0 */
/* object.h - a stored Kubernetes object as columns, cut from its bytes and put together again.
 *
 * A column is the unit of merging: an entry of a metadata map, a field of the metadata, spec,
 * status, any other top-level field, an entry of a ConfigMap.  What a column holds was written by
 * an apiserver in one piece and is never decoded: merging moves bytes.
 *
 * Four encodings: protobuf in its `k8s\0` envelope, JSON, CBOR, and everything else (encrypted
 * values, foreign data, anything not written the way apiservers write), which is one opaque column.
 * The promise: object_splice() of what object_split() gave is the value, byte for byte; a value for
 * which that would not hold is opaque.  Any mixture of columns that agree in `layout` with their
 * type column gives a well-formed object.
 *
 * The layout is a constant of the protocol (docs/sync.md): the same at every site, whatever its
 * rules.  CODEC_LAYOUT names it; a change of any cut needs a new number.
 *
 * Columns from elsewhere are not looked into: whoever does not trust them splits what they give,
 * and takes an opaque result for a forgery.
 *
 * Ownership: results point into the value and the arena.  Pure; any thread.
 * Errors: NOMEM (a fault) when the arena is full; MALFORMED only from object_splice(), for columns
 * that no split gave.
 * Limits: CODEC_COLUMNS_MAX columns, else opaque; maps and lists beyond CODEC_ENTRIES_MAX entries
 * are one column; nesting beyond CODEC_DEPTH_MAX is opaque. */
#ifndef SYNC_CODEC_OBJECT_H
#define SYNC_CODEC_OBJECT_H

#include "shim/base/arena.h"
#include "shim/base/err.h"

#include <stdint.h>

#define CODEC_LAYOUT 1

enum object_format { OBJECT_OPAQUE, OBJECT_PROTO, OBJECT_JSON, OBJECT_CBOR };

enum column_part {
	PART_VALUE, /* an opaque value */
	PART_TYPE,  /* encoding, apiVersion and kind */
	PART_ORDER, /* in which order the fields or entries stand, where it is not the usual one */
	PART_WHOLE, /* the field, undivided */
	PART_REST,  /* the fields of spec or status that are no columns of their own */
	PART_ENTRY, /* one entry of a map or a list */
	PART_EMPTY, /* the field is there and has no entries; counts only while it has none */
};

struct column_id {
	uint32_t layout;    /* columns with different layouts never stand in one object */
	struct bytes field; /* "metadata", "spec", "#7" where protobuf gives no name */
	struct bytes sub;   /* "labels", "replicas"; empty for the field itself */
	enum column_part part;
	struct bytes entry; /* the entry's key: a label's name, a condition's type, ... */
};

struct column {
	struct column_id id;
	struct bytes bytes;
};

struct object {
	enum object_format format;
	struct bytes api_version; /* empty where opaque, like the next two */
	struct bytes kind;
	struct bytes uid;
	struct column *columns; /* ascending, no id twice */
	size_t count;
};

enum err object_split(struct bytes value, struct arena *arena, struct object *ret_object);

/* Columns ascending, no id twice, one of them TYPE or VALUE; columns of layouts other than the
 * type's are left out.  The value is in the arena. */
enum err object_splice(const struct column *columns, size_t count, struct arena *arena,
		       struct bytes *ret_value);

int column_id_compare(const struct column_id *a, const struct column_id *b);
bool column_id_equal(const struct column_id *a, const struct column_id *b);

/* What the type column says of the rest: the layout of its fields and that of its metadata. */
struct object_type {
	enum object_format format;
	struct bytes api_version;
	struct bytes kind;
	uint32_t field_layout;
	uint32_t metadata_layout;
};

bool object_type_read(struct bytes type_column, struct object_type *ret_type);

#endif
