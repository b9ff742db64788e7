/* SPDX-License-Identifier: Apache-2.0 */
/* reader.h - the fields of one protobuf message, one after the other.
 *
 * Ownership: fields point into the message.  Errors: after the last field reader_next() gives
 * false, and so it does at the first byte that is not protobuf; `malformed` tells the two apart.
 * Limits: groups, which nobody sends, are skipped to GROUP_DEPTH_MAX; nothing else recurses. */
#ifndef API_READER_H
#define API_READER_H

#include "shim/base/bytes.h"

#define GROUP_DEPTH_MAX 10001 /* as deep as Go goes */

enum field_type {
	FIELD_VARINT = 0,
	FIELD_FIXED64 = 1,
	FIELD_BYTES = 2,
	FIELD_GROUP = 3, /* skipped already, nothing to see */
	FIELD_GROUP_END = 4,
	FIELD_FIXED32 = 5,
};

struct field {
	uint32_t number;
	enum field_type type;
	uint64_t value;	    /* VARINT, FIXED32, FIXED64 */
	struct bytes bytes; /* BYTES */
};

struct reader {
	const uint8_t *at;
	const uint8_t *end;
	bool malformed;
};

static inline struct reader reader_of(struct bytes message)
{
	return (struct reader){
		.at = message.data,
		.end = message.size ? message.data + message.size : message.data,
	};
}

bool reader_next(struct reader *reader, struct field *ret_field);

/* Whether the text is what a proto3 string may hold. */
bool utf8_is_valid(struct bytes text);

#endif
