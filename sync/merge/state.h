/* SPDX-License-Identifier: Apache-2.0 */
/* state.h - what sync knows of one key, and how two sites' knowledge becomes one.
 *
 * A key has births: each the dot of the write that created an object there.  Normally there is
 * one; after same-name creates on two sides, or updates under update-wins, there are several until
 * a client writes again.  A birth has cells, one for each column; a cell has siblings, the values
 * that were written without knowledge of each other.  A key without births is deleted, or never
 * was: there are no tombstones; what was deleted is what a vector has and the data has not.
 *
 * state_merge() keeps a dot that both sides have, or that one has and the other's context has not.
 * A birth that goes takes its cells along.  No rule has a say in it, so merging is commutative,
 * associative and idempotent, whatever the sites' rules are; rules only choose what is visible
 * (visible.h).  Precondition: a side's context has all dots of its state.
 *
 * delete-wins and update-wins differ in the write alone: an update under delete-wins stays in the
 * birth that a concurrent delete takes away; under update-wins it is a birth of its own.
 *
 * Ownership: states are immutable, live in an arena and point into the memory that they were made
 * from.  Pure; any thread.  Errors: NOMEM (a fault) when the arena is full. */
#ifndef SYNC_MERGE_STATE_H
#define SYNC_MERGE_STATE_H

#include "sync/causal/hlc.h"
#include "sync/causal/vector.h"
#include "sync/codec/object.h"

struct sibling {
	struct dot dot;
	hlc_stamp stamp;
	struct bytes value;
};

struct cell {
	struct column_id id;
	struct sibling *siblings; /* ascending by dot, at least one */
	size_t count;
};

struct birth {
	struct dot dot;
	struct bytes uid;
	struct cell *cells; /* ascending by id */
	size_t count;
};

struct state {
	struct birth *births; /* ascending by dot */
	size_t count;
};

/* One side of a merge. */
struct side {
	const struct state *state;
	const struct context *context;
};

enum err state_merge(const struct side *a, const struct side *b, struct arena *arena,
		     struct state *ret_state);
bool state_equal(const struct state *a, const struct state *b);

/* A birth in which every column was written by one dot. */
enum err state_create(const struct object *object, const struct dot *dot, hlc_stamp stamp,
		      struct arena *arena, struct state *ret_state);

/* The whole state in its one canonical form, values left out: what comparing sites hash. */
bool state_put_canonical(const struct state *state, struct buffer *buffer);

#endif
