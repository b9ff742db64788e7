/* SPDX-License-Identifier: Apache-2.0 */
/* delta.h - a changed value as what differs from a version that the receiver has (zstd with that
 * version as its prefix).
 *
 * Ownership: results are in the arena; the context holds zstd's working memory and belongs to one
 * thread.  Errors: MALFORMED for a delta that does not give a value of at most VALUE_BYTES_MAX;
 * NOMEM (a fault).  A wrong base gives another value or MALFORMED: value_digest() tells.  Pure.
 * Limits: bases and values of VALUE_BYTES_MAX; how long the value is, is checked before memory is
 * taken.  A context grows to some 10 MiB with values of that size; 0.5 MiB for usual objects.
 *
 * On the wire a delta is one zstd frame (RFC 8878) with content size and without checksum, less its
 * first four bytes, which are always the same. */
#ifndef SYNC_MESSAGE_DELTA_H
#define SYNC_MESSAGE_DELTA_H

#include "shim/base/arena.h"
#include "shim/base/err.h"

#include <stdint.h>

struct delta_context;

enum err delta_context_new(struct delta_context **ret_context);
void delta_context_free(struct delta_context *context);

/* ret_delta is empty where it would not be shorter than the value, and without a base. */
enum err delta_make(struct delta_context *context, struct bytes base, struct bytes value,
		    struct arena *arena, struct bytes *ret_delta);
enum err delta_apply(struct delta_context *context, struct bytes base, struct bytes delta,
		     struct arena *arena, struct bytes *ret_value);

/* Names a version: 8 bytes of BLAKE2b. */
uint64_t value_digest(struct bytes value);

#endif
