/* SPDX-License-Identifier: Apache-2.0 */
/* model.h - the store as one would write it without caring for speed, memory or disks: what random
 * tests compare the real one with.
 *
 * It keeps every version of every key for ever and answers by looking at all of them.  It takes the
 * same ops as the store and fills them in the same way.
 * Ownership: model_new() .. model_free(); results live in the op's arena.  Threads: one. */
#ifndef TESTS_HARNESS_MODEL_H
#define TESTS_HARNESS_MODEL_H

#include "shim/store/store.h"

struct model;

struct model *model_new(int64_t lease_ttl_min, int64_t lease_ttl_max);
void model_free(struct model *model);

int64_t model_head(const struct model *model);
int64_t model_compacted(const struct model *model);
/* After a restore or a restart of the store under test nothing changes but leases. */
void model_refresh_leases(struct model *model, int64_t now_ns);

/* OP_PUT, OP_DELETE, OP_TXN, OP_COMPACT, OP_LEASE_GRANT (with an id), OP_LEASE_REVOKE. */
void model_run(struct model *model, struct op *op, int64_t now_ns);
enum err model_range(const struct model *model, const struct range_op *op, struct arena *arena,
		     struct range_result *ret_result);

enum err model_renew(struct model *model, int64_t id, int64_t now_ns, int64_t *ret_ttl_seconds);
/* Revokes what is due, soonest first, each in its own revision. */
void model_expire(struct model *model, int64_t now_ns);
size_t model_lease_count(const struct model *model);
/* The i-th lease; false when there are fewer. */
bool model_lease_at(const struct model *model, size_t index, int64_t *ret_id);
size_t model_lease_keys(const struct model *model, int64_t id);

/* The events of [from, to] on keys in (key, end), in order; prev values in full. */
size_t model_events(const struct model *model, struct bytes key, struct bytes end, int64_t from,
		    int64_t to, struct arena *arena, struct event **ret_events);

#endif
