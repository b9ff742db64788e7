/* SPDX-License-Identifier: Apache-2.0 */
/* layout.h - where objects are cut: a constant of the protocol, as a table.
 *
 * A field that is not in the table is one column.  Every change here is a new CODEC_LAYOUT.
 * Internal to sync/codec. */
#ifndef SYNC_CODEC_LAYOUT_H
#define SYNC_CODEC_LAYOUT_H

#include "sync/codec/format.h"

enum field_mode {
	FIELD_MODE_ONE,	   /* one column */
	FIELD_MODE_MAP,	   /* a column for each entry */
	FIELD_MODE_LIST,   /* a column for each element, known by its key fields */
	FIELD_MODE_SET,	   /* a list of texts, each its own key */
	FIELD_MODE_STRUCT, /* its fields are cut again */
};

#define LIST_KEYS_MAX 4

struct list_key {
	const char *name;
	uint32_t number;
};

struct field_layout {
	const char *name;
	uint32_t number;
	enum field_mode mode;
	struct list_key keys[LIST_KEYS_MAX]; /* of LIST; ended by a NULL name */
	const struct field_layout *inner;    /* of STRUCT; ended by a NULL name */
	bool apart; /* of STRUCT: a column for each other field too, not one for the rest */
};

struct kind_layout {
	const char *kind;
	const char *names;		   /* protobuf's top-level fields from 2 on, with commas */
	const struct field_layout *fields; /* those that are more than one column; may be NULL */
};

/* Never NULL: kinds that nobody knows have spec and status. */
const struct kind_layout *layout_of_kind(struct bytes kind);

/* The row of a top-level field, or of a field inside; NULL: one column. */
const struct field_layout *layout_of_field(const struct kind_layout *kind, struct bytes name);
const struct field_layout *layout_of_inner(const struct field_layout *field, struct bytes name);

/* A name for a protobuf field: from the tables, else "#" and its number. */
bool layout_name(struct work *work, const struct kind_layout *kind, uint32_t number,
		 struct bytes *ret_name);
bool layout_inner_name(struct work *work, const struct field_layout *field, uint32_t number,
		       struct bytes *ret_name);

/* Where Go's structs have the field in JSON, metadata or top level; what they do not have is last
 * and equal. */
unsigned layout_go_rank(bool metadata, struct bytes name);

#endif
