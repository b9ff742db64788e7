/* SPDX-License-Identifier: Apache-2.0 */
/* peek.h - one field inside a column, for the few that rules must know: whether an owner is the
 * controller, to which node a pod is bound.
 *
 * The column holds a struct: a whole field, the rest of one, or an entry of a list.  What is not
 * well-formed, or holds something else, is not found.
 * Ownership: what is found points into the column or the arena.  Errors: NOMEM (a fault). */
#ifndef SYNC_CODEC_PEEK_H
#define SYNC_CODEC_PEEK_H

#include "sync/codec/object.h"

struct peek {
	enum object_format format;
	const char *name;
	uint32_t number; /* protobuf's */
};

struct peeked {
	bool found;
	bool truth;	   /* a boolean that is true */
	struct bytes text; /* of a text, as written; else empty */
};

/* The encoding that a metadata column's layout names. */
enum object_format peek_metadata_format(const struct column_id *id);

enum err peek_column(const struct peek *peek, const struct column *column, struct arena *arena,
		     struct peeked *ret_peeked);

/* The text of a map's entry; empty where it is none. */
enum err peek_entry(enum object_format format, struct bytes column, struct arena *arena,
		    struct bytes *ret_text);

#endif
