/* SPDX-License-Identifier: Apache-2.0 */
/* wire.h - etcd's messages encoded and checked by hand, so that the client costs little.
 *
 * Ownership: encoders replace the contents of the given buffer; slices point into the message.
 * Threads: one (nested messages are built in static scratch buffers).
 * Errors: a check returns NULL, or what is wrong with the answer. */
#ifndef TESTS_BENCH_WIRE_H
#define TESTS_BENCH_WIRE_H

#include "shim/base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

#define KEY_PREFIX "/registry/pods/bench-default/"
#define KEY_PREFIX_END "/registry/pods/bench-default0"
#define KEY_BYTES (sizeof(KEY_PREFIX) - 1 + 4 + 8)

/* The key of an object, as Kubernetes names one; 41 bytes. */
struct bytes key_make(uint8_t out[KEY_BYTES], uint64_t number);
int64_t key_number(struct bytes key); /* -1: not one of ours */

struct wire_field {
	unsigned number;
	uint64_t value;	    /* a varint */
	struct bytes bytes; /* a string, bytes or message */
};
/* The next field of message, which shrinks; false at its end or when it is malformed. */
bool wire_next(struct bytes *message, struct wire_field *ret_field);

/* Appends one field. */
void wire_number(struct buffer *out, unsigned field, int64_t value);
void wire_bytes(struct buffer *out, unsigned field, struct bytes value);

/* --- requests --- */
void wire_put(struct buffer *out, struct bytes key, struct bytes value);
void wire_get(struct buffer *out, struct bytes key);
void wire_list(struct buffer *out, struct bytes first, int64_t limit);
/* As an apiserver writes: if mod_revision is the given one, put; else read what is there. */
void wire_update(struct buffer *out, struct bytes key, int64_t revision, struct bytes value);
/* Puts of count keys in one transaction. */
void wire_put_many(struct buffer *out, uint64_t first, unsigned count, struct bytes value);
void wire_compact(struct buffer *out, int64_t revision);
void wire_lease_grant(struct buffer *out, int64_t ttl_seconds);
void wire_keep_alive(struct buffer *out, int64_t lease);
void wire_watch(struct buffer *out, struct bytes prefix, struct bytes prefix_end, int64_t start);

/* --- answers --- */
const char *check_put(struct bytes message, int64_t *ret_revision);
const char *check_update(struct bytes message, int64_t *ret_revision);
const char *check_lease(struct bytes message, int64_t *ret_lease);

struct range_seen {
	uint64_t first; /* number of the first key expected */
	uint64_t kvs;
	size_t value_bytes;   /* expected of each value */
	int64_t mod_revision; /* of the last one */
};
/* A list in one message, or one of several: its keys follow seen->first without a gap. */
const char *check_range(struct bytes message, bool is_stream, struct range_seen *seen);

struct watch_seen {
	bool created;
	bool cancelled;
	uint64_t events;
};
/* Calls on_event for each event with its key's number and revision. */
const char *check_watch(struct bytes message, struct watch_seen *ret_seen,
			void (*on_event)(void *context, int64_t key, int64_t revision),
			void *context);

#endif
