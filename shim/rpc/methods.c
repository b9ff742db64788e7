/* SPDX-License-Identifier: Apache-2.0 */
/* methods.c - which method exists, and who answers it.  What is not in this table is refused by the
 * net layer in grpc-go's words ("unknown service X", "unknown method Y for service X"). */
#include "shim/rpc/rpc_internal.h"
#include "shim/rpc/watch.h"

/* Services of etcd that kedge does not have yet.  Code 12 is what clients fall back on; the text
 * tells people what is the matter. */
static void not_served(struct call *call, struct bytes message)
{
	(void)message;
	call_finish(call, STATUS_UNIMPLEMENTED, "kedge: this service of etcd is not served yet");
}

#define UNARY(service_, name_, handler, state)                                                     \
	{                                                                                          \
		.service = (service_), .name = (name_), .kind = METHOD_UNARY,                      \
		.state_bytes = (state), .on_message = (handler)                                    \
	}
#define READ(service_, name_, handler) UNARY(service_, name_, handler, 0)
#define WRITE(service_, name_, handler) UNARY(service_, name_, handler, sizeof(struct rpc_write))
#define NOT_SERVED(service_, name_) UNARY(service_, name_, not_served, 0)

#define KV "etcdserverpb.KV"
#define LEASE "etcdserverpb.Lease"
#define CLUSTER "etcdserverpb.Cluster"
#define MAINTENANCE "etcdserverpb.Maintenance"
#define AUTH "etcdserverpb.Auth"
#define LOCK "v3lockpb.Lock"
#define ELECTION "v3electionpb.Election"
#define HEALTH "grpc.health.v1.Health"

const struct method rpc_methods[] = {
	READ(KV, "Range", kv_range),
	WRITE(KV, "Put", kv_put),
	WRITE(KV, "DeleteRange", kv_delete_range),
	WRITE(KV, "Txn", kv_txn),
	WRITE(KV, "Compact", kv_compact),
	{.service = KV,
	 .name = "RangeStream",
	 .kind = METHOD_SERVER_STREAM,
	 .state_bytes = RANGE_STREAM_STATE_BYTES,
	 .on_message = kv_range_stream,
	 .on_writable = kv_range_stream_writable,
	 .on_end = kv_range_stream_end},
	{.service = "etcdserverpb.Watch",
	 .name = "Watch",
	 .kind = METHOD_BIDI_STREAM,
	 .state_bytes = WATCH_STATE_BYTES,
	 .on_open = watch_open,
	 .on_message = watch_message,
	 .on_writable = watch_writable,
	 .on_end = watch_end},
	WRITE(LEASE, "LeaseGrant", lease_grant),
	WRITE(LEASE, "LeaseRevoke", lease_revoke),
	{.service = LEASE,
	 .name = "LeaseKeepAlive",
	 .kind = METHOD_BIDI_STREAM,
	 .on_message = lease_keep_alive,
	 .on_half_close = lease_keep_alive_half_close},
	READ(LEASE, "LeaseTimeToLive", lease_time_to_live),
	READ(LEASE, "LeaseLeases", lease_leases),
	READ(CLUSTER, "MemberList", cluster_member_list),
	READ(CLUSTER, "MemberAdd", cluster_member_add),
	READ(CLUSTER, "MemberRemove", cluster_member_remove),
	READ(CLUSTER, "MemberUpdate", cluster_member_update),
	READ(CLUSTER, "MemberPromote", cluster_member_promote),
	READ(MAINTENANCE, "Status", maintenance_status),
	UNARY(MAINTENANCE, "Alarm", maintenance_alarm, ALARM_STATE_BYTES),
	WRITE(MAINTENANCE, "Defragment", maintenance_defragment),
	UNARY(MAINTENANCE, "Hash", maintenance_hash, HASH_STATE_BYTES),
	UNARY(MAINTENANCE, "HashKV", maintenance_hash_kv, HASH_STATE_BYTES),
	{.service = MAINTENANCE,
	 .name = "Snapshot",
	 .kind = METHOD_SERVER_STREAM,
	 .state_bytes = SNAPSHOT_STATE_BYTES,
	 .on_message = maintenance_snapshot,
	 .on_writable = maintenance_snapshot_writable,
	 .on_end = maintenance_snapshot_end},
	READ(MAINTENANCE, "MoveLeader", maintenance_move_leader),
	READ(MAINTENANCE, "Downgrade", maintenance_downgrade),
	READ(HEALTH, "Check", health_check),
	READ(HEALTH, "List", health_list),
	{.service = HEALTH,
	 .name = "Watch",
	 .kind = METHOD_SERVER_STREAM,
	 .on_message = health_watch},
	NOT_SERVED(AUTH, "AuthEnable"),
	NOT_SERVED(AUTH, "AuthDisable"),
	NOT_SERVED(AUTH, "AuthStatus"),
	NOT_SERVED(AUTH, "Authenticate"),
	NOT_SERVED(AUTH, "UserAdd"),
	NOT_SERVED(AUTH, "UserGet"),
	NOT_SERVED(AUTH, "UserList"),
	NOT_SERVED(AUTH, "UserDelete"),
	NOT_SERVED(AUTH, "UserChangePassword"),
	NOT_SERVED(AUTH, "UserGrantRole"),
	NOT_SERVED(AUTH, "UserRevokeRole"),
	NOT_SERVED(AUTH, "RoleAdd"),
	NOT_SERVED(AUTH, "RoleGet"),
	NOT_SERVED(AUTH, "RoleList"),
	NOT_SERVED(AUTH, "RoleDelete"),
	NOT_SERVED(AUTH, "RoleGrantPermission"),
	NOT_SERVED(AUTH, "RoleRevokePermission"),
	NOT_SERVED(LOCK, "Lock"),
	NOT_SERVED(LOCK, "Unlock"),
	NOT_SERVED(ELECTION, "Campaign"),
	NOT_SERVED(ELECTION, "Proclaim"),
	NOT_SERVED(ELECTION, "Leader"),
	NOT_SERVED(ELECTION, "Resign"),
	{.service = ELECTION,
	 .name = "Observe",
	 .kind = METHOD_SERVER_STREAM,
	 .on_message = not_served},
};

const size_t rpc_method_count = sizeof(rpc_methods) / sizeof(rpc_methods[0]);
