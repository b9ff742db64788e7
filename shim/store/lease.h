/* SPDX-License-Identifier: Apache-2.0 */
/* lease.h - the lessor: which leases live, until when, and which keys hang on them.  Pure.
 *
 * Ownership: key bytes are copied in.  Threads: none of its own; store.c guards it with lease.lock
 * (a leaf): the writer changes it, net threads renew and ask under the same lock.
 * Time: monotonic nanoseconds come in as an argument.
 * Errors: NOMEM, LEASE_EXISTS, LEASE_NOT_FOUND.
 * Rules: etcd server/lease/lessor.go: a key hangs on at most one lease, the one of its last put;
 * expiry is never early; a renewal sets the remaining time to the full TTL; after a restart every
 * lease has its full TTL again; an expired lease that is not yet revoked no longer renews. */
#ifndef SHIM_STORE_LEASE_H
#define SHIM_STORE_LEASE_H

#include "shim/base/bytes.h"
#include "shim/base/err.h"

struct lessor;

enum err lessor_new(struct lessor **ret_lessor);
void lessor_free(struct lessor *lessor);

enum err lessor_grant(struct lessor *lessor, int64_t id, int64_t ttl_seconds, int64_t now_ns);
/* Forgets the lease and detaches its keys. */
enum err lessor_revoke(struct lessor *lessor, int64_t id);
bool lessor_has(const struct lessor *lessor, int64_t id);

/* The key hangs on `id` from now on and on no other; id 0 only detaches. */
enum err lessor_attach(struct lessor *lessor, struct bytes key, int64_t id);
void lessor_detach(struct lessor *lessor, struct bytes key);

enum err lessor_renew(struct lessor *lessor, int64_t id, int64_t now_ns, int64_t *ret_ttl_seconds);

/* remaining is truncated to whole seconds and may be negative for one that is due. */
enum err lessor_times(const struct lessor *lessor, int64_t id, int64_t now_ns,
		      int64_t *ret_granted_seconds, int64_t *ret_remaining_seconds);

/* Calls fn for each key on the lease; sorted by key when `sorted`, as revoke deletes. */
typedef bool lessor_key_fn(void *context, struct bytes key);
enum err lessor_keys(const struct lessor *lessor, int64_t id, bool sorted, lessor_key_fn *fn,
		     void *context);
size_t lessor_key_count(const struct lessor *lessor, int64_t id);

size_t lessor_count(const struct lessor *lessor);
/* Ids by expiry, soonest first, at most max. */
size_t lessor_list(const struct lessor *lessor, int64_t *ids, size_t max);

/* When the next lease is due; INT64_MAX when there is none. */
int64_t lessor_next_due_ns(const struct lessor *lessor);
/* Ids that are due at now, at most max, soonest first; they stay until revoked. */
size_t lessor_due(const struct lessor *lessor, int64_t now_ns, int64_t *ids, size_t max);

#endif
