/* SPDX-License-Identifier: Apache-2.0 */
/* check.h - what etcd refuses before it asks its store, in etcd's order.
 *
 * Pure.  Source of the rules: server/etcdserver/api/v3rpc/key.go and quota.go,
 * server/storage/quota.go and processInternalRaftRequestOnce() in server/etcdserver/v3_server.go.
 * The order of the checks of one request is: quota (store_quota_check with the cost below), then
 * the request's own, then size. */
#ifndef API_CHECK_H
#define API_CHECK_H

#include "shim/store/op.h"

enum err check_range(const struct range_op *op);
enum err check_range_stream(const struct range_op *op);
enum err check_put(const struct put_op *op);
enum err check_delete(const struct delete_op *op);
/* ops_max: --max-txn-ops.  Includes the search for a key that is written twice. */
enum err check_txn(const struct txn_op *op, size_t ops_max);

/* A key that two puts of one branch write, or that a delete of the branch covers.  In check_keys.c.
 */
enum err check_txn_keys(const struct txn_op *op);

/* Only plain ranges on both branches: such a transaction is no write, whatever its size. */
bool check_txn_is_read_only(const struct txn_op *op);

/* What the quota charges; 0 for what writes nothing. */
#define COST_KV_BYTES 256
#define COST_LEASE_BYTES 64
int64_t check_put_cost(const struct put_op *op);
int64_t check_txn_cost(const struct txn_op *op);

/* Whether a write of message_bytes is REQUEST_TOO_LARGE.  etcd measures the request as it goes into
 * its raft log, inside of an envelope whose size depends on the member id. */
enum err check_size(size_t message_bytes, uint64_t member_id, size_t request_bytes_max);

#endif
