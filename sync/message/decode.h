/* SPDX-License-Identifier: Apache-2.0 */
/* decode.h - the fields of one protobuf message by tables, and what repeats.  Internal to
 * sync/message.
 *
 * Everything gives false after an error, which is noted in the decoding. */
#ifndef SYNC_MESSAGE_DECODE_H
#define SYNC_MESSAGE_DECODE_H

#include "api/reader.h"
#include "sync/message/message.h"

struct decoding {
	struct arena *arena;
	const struct actor *actors; /* of the window */
	size_t actor_count;
	struct claim *claims;
	size_t claim_count;
	size_t touches_left; /* and claims */
	enum err err;	     /* the first one */
};

static inline bool decode_failed(struct decoding *decoding, enum err e)
{
	if (!decoding->err)
		decoding->err = e;
	return false;
}

static inline bool decode_malformed(struct decoding *decoding)
{
	return decode_failed(decoding, ERR_MALFORMED);
}

enum plain_type {
	PLAIN_NONE,
	PLAIN_U32,
	PLAIN_U64,
	PLAIN_I64,	/* not negative */
	PLAIN_REVISION, /* or none */
	PLAIN_BOOL,
	PLAIN_ENUM,	 /* most: the highest that is known */
	PLAIN_ENUM_OPEN, /* ... which stands for all above */
	PLAIN_FIXED64,
	PLAIN_BYTES, /* of any size */
	PLAIN_ARRAY, /* of `most` bytes */
};

struct plain {
	enum plain_type type;
	size_t offset;
	uint64_t most;
};

#define AT(type, name) offsetof(struct type, name)

/* Fills in the fields of a table, which has them by number; the others are skipped. */
bool take_plain(struct decoding *decoding, struct bytes message, const struct plain *table,
		size_t count, void *into);

#define TAKE_PLAIN(decoding, message, table, into)                                                 \
	take_plain(decoding, message, table, sizeof(table) / sizeof((table)[0]), into)

/* The next run of bytes with this number. */
bool next_run(struct reader *reader, uint32_t number, struct bytes *ret_run);
/* The last run with this number, as protobuf wants it; empty where there is none. */
struct bytes last_run(struct bytes message, uint32_t number);

struct repeated {
	uint32_t number;
	size_t max;
	size_t size; /* of one element in memory */
	bool (*take)(struct decoding *decoding, struct bytes run, void *into);
};

/* An array of all runs with this number, each read by `take`; they are counted first.  Where there
 * are none the results stay as they are. */
bool take_repeated(struct decoding *decoding, struct bytes message, const struct repeated *repeated,
		   void *ret_array, size_t *ret_count);

bool take_site(struct decoding *decoding, struct bytes run, void *into);
bool take_run(struct decoding *decoding, struct bytes run, void *into); /* a struct bytes */
bool take_vector(struct decoding *decoding, struct bytes run, struct vector *ret_vector);
bool take_actor(struct decoding *decoding, struct bytes run, void *into);
bool take_point(struct decoding *decoding, struct bytes run, void *into);
bool take_range(struct decoding *decoding, struct bytes run, void *into);

#endif
