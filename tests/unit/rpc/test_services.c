/* SPDX-License-Identifier: Apache-2.0 */
/* Lease, Cluster, Maintenance, health and what is not served, from HTTP/2 down to the store. */
#include "tests/unit/rpc/rpc_rig.h"

#include "api/proto/health.pb-c.h"
#include "shim/rpc/rpc_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int setup(void **state)
{
	*state = rpc_rig_new(NULL);
	return 0;
}

static int teardown(void **state)
{
	rpc_rig_free(*state);
	return 0;
}

/* --- Lease --- */

static void test_lease_grant_and_revoke(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
	Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
	Etcdserverpb__LeaseGrantResponse *granted;
	Etcdserverpb__LeaseRevokeResponse *revoked;
	Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;

	grant.ttl = -5;
	grant.id = 7;
	RPC_ANSWER(rig, LEASE_PATH("LeaseGrant"), &grant,
		   etcdserverpb__lease_grant_response__unpack, granted);
	assert_int_equal(granted->id, 7);
	assert_int_equal(granted->ttl, LEASE_TTL_SECONDS_MIN);
	assert_int_equal(granted->header->revision, 1);
	etcdserverpb__lease_grant_response__free_unpacked(granted, NULL);
	assert_answer(rpc_rig_call(rig, LEASE_PATH("LeaseGrant"), &grant.base), ERR_LEASE_EXISTS);
	grant.id = 8;
	grant.ttl = LEASE_TTL_SECONDS_MAX + 1;
	assert_answer(rpc_rig_call(rig, LEASE_PATH("LeaseGrant"), &grant.base),
		      ERR_LEASE_TTL_TOO_LARGE);
	put.key = binary("k");
	put.lease = 7;
	assert_answer(rpc_rig_call(rig, KV_PATH("Put"), &put.base), ERR_OK);
	revoke.id = 7;
	RPC_ANSWER(rig, LEASE_PATH("LeaseRevoke"), &revoke,
		   etcdserverpb__lease_revoke_response__unpack, revoked);
	assert_int_equal(revoked->header->revision, 3);
	etcdserverpb__lease_revoke_response__free_unpacked(revoked, NULL);
	assert_answer(rpc_rig_call(rig, LEASE_PATH("LeaseRevoke"), &revoke.base),
		      ERR_LEASE_NOT_FOUND);
	assert_null(rig_get(&rig->store, "k", 0));
}

static void test_lease_time_to_live_and_list(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__LeaseTimeToLiveRequest request =
		ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
	Etcdserverpb__LeaseLeasesRequest list = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
	Etcdserverpb__LeaseTimeToLiveResponse *response;
	Etcdserverpb__LeaseLeasesResponse *leases;
	Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;

	assert_int_equal(rig_grant(&rig->store, 5, 100), ERR_OK);
	put.key = binary("k");
	put.lease = 5;
	assert_answer(rpc_rig_call(rig, KV_PATH("Put"), &put.base), ERR_OK);
	request.id = 5;
	request.keys = true;
	RPC_ANSWER(rig, LEASE_PATH("LeaseTimeToLive"), &request,
		   etcdserverpb__lease_time_to_live_response__unpack, response);
	assert_int_equal(response->grantedttl, 100);
	assert_true(response->ttl > 90 && response->ttl <= 100);
	assert_int_equal(response->n_keys, 1);
	assert_binary(response->keys[0], "k");
	etcdserverpb__lease_time_to_live_response__free_unpacked(response, NULL);
	request.id = 6;
	RPC_ANSWER(rig, LEASE_PATH("LeaseTimeToLive"), &request,
		   etcdserverpb__lease_time_to_live_response__unpack, response);
	assert_int_equal(response->id, 6);
	assert_int_equal(response->ttl, -1);
	assert_int_equal(response->grantedttl, 0);
	etcdserverpb__lease_time_to_live_response__free_unpacked(response, NULL);
	RPC_ANSWER(rig, LEASE_PATH("LeaseLeases"), &list,
		   etcdserverpb__lease_leases_response__unpack, leases);
	assert_int_equal(leases->n_leases, 1);
	assert_int_equal(leases->leases[0]->id, 5);
	assert_int_equal(leases->header->revision, 2);
	etcdserverpb__lease_leases_response__free_unpacked(leases, NULL);
}

static void test_keep_alive_answers_each_request_in_order(void **state)
{
	struct rpc_rig *rig = *state;
	static const int64_t ids[] = {5, 6, 5}, ttls[] = {100, 0, 100};
	int32_t id = h2_peer_call(&rig->peer, LEASE_PATH("LeaseKeepAlive"), NULL);
	size_t offset = 0;

	assert_int_equal(rig_grant(&rig->store, 5, 100), ERR_OK);
	for (size_t i = 0; i < 3; i++) {
		Etcdserverpb__LeaseKeepAliveRequest request =
			ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;

		request.id = ids[i];
		h2_peer_message(&rig->peer, id, rpc_rig_pack(rig, &request.base), false);
		rpc_rig_turn(rig);
	}
	for (size_t i = 0; i < 3; i++) {
		struct bytes message = rpc_rig_message(rig, id, &offset);
		Etcdserverpb__LeaseKeepAliveResponse *response =
			etcdserverpb__lease_keep_alive_response__unpack(NULL, message.size,
									message.data);

		assert_int_equal(response->id, ids[i]);
		assert_int_equal(response->ttl, ttls[i]);
		assert_int_equal(response->header->revision, 1);
		etcdserverpb__lease_keep_alive_response__free_unpacked(response, NULL);
	}
	h2_peer_write(&rig->peer, id, bytes_of(NULL, 0), true);
	assert_answer(rpc_rig_finish(rig, id), ERR_OK);
}

static void test_keep_alive_ends_with_a_malformed_request(void **state)
{
	struct rpc_rig *rig = *state;
	int32_t id = h2_peer_call(&rig->peer, LEASE_PATH("LeaseKeepAlive"), NULL);

	h2_peer_message(&rig->peer, id, BYTES_LITERAL("\x08"), false);
	assert_int_equal(rpc_rig_finish(rig, id)->grpc_status, STATUS_INTERNAL);
}

/* --- Cluster --- */

static void test_member_list(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
	Etcdserverpb__MemberListResponse *response;

	request.linearizable = true;
	RPC_ANSWER(rig, CLUSTER_PATH("MemberList"), &request,
		   etcdserverpb__member_list_response__unpack, response);
	assert_int_equal(response->header->revision, 0);
	assert_true(response->header->raft_term == rig->rpc.identity.term);
	assert_int_equal(response->n_members, 1);
	assert_true(response->members[0]->id == rig->rpc.identity.member_id);
	assert_string_equal(response->members[0]->name, "one");
	assert_int_equal(response->members[0]->n_clienturls, 1);
	assert_string_equal(response->members[0]->clienturls[0], "http://127.0.0.1:2379");
	assert_string_equal(response->members[0]->peerurls[0], "http://localhost:2380");
	etcdserverpb__member_list_response__free_unpacked(response, NULL);
}

static void add(struct rpc_rig *rig, const char *url, enum err wanted)
{
	Etcdserverpb__MemberAddRequest request = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
	char text[64];
	char *urls[] = {text};

	snprintf(text, sizeof(text), "%s", url ? url : "");
	request.n_peerurls = url != NULL;
	request.peerurls = urls;
	assert_answer(rpc_rig_call(rig, CLUSTER_PATH("MemberAdd"), &request.base), wanted);
}

static void test_members_cannot_change(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__MemberRemoveRequest remove_request =
		ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
	Etcdserverpb__MemberPromoteRequest promote = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;
	Etcdserverpb__MemberUpdateRequest update = ETCDSERVERPB__MEMBER_UPDATE_REQUEST__INIT;

	add(rig, NULL, ERR_BAD_MEMBER_URLS);
	add(rig, "", ERR_BAD_MEMBER_URLS);
	add(rig, "127.0.0.1:1", ERR_BAD_MEMBER_URLS);
	add(rig, "http://127.0.0.1", ERR_BAD_MEMBER_URLS);
	add(rig, "http://127.0.0.1:1/path", ERR_BAD_MEMBER_URLS);
	add(rig, "http://127.0.0.1:x", ERR_BAD_MEMBER_URLS);
	add(rig, "http://[::1]", ERR_BAD_MEMBER_URLS);
	add(rig, "ftp://127.0.0.1:1", ERR_BAD_MEMBER_URLS);
	add(rig, "http://localhost:2380", ERR_PEER_URL_EXISTS);
	add(rig, "http://[::1]:1", ERR_NOT_ENOUGH_MEMBERS);
	add(rig, " https://host:1", ERR_NOT_ENOUGH_MEMBERS);
	add(rig, "unix:///a/b", ERR_NOT_ENOUGH_MEMBERS);
	remove_request.id = promote.id = update.id = 1;
	assert_answer(rpc_rig_call(rig, CLUSTER_PATH("MemberRemove"), &remove_request.base),
		      ERR_MEMBER_NOT_FOUND);
	assert_answer(rpc_rig_call(rig, CLUSTER_PATH("MemberPromote"), &promote.base),
		      ERR_MEMBER_NOT_FOUND);
	assert_answer(rpc_rig_call(rig, CLUSTER_PATH("MemberUpdate"), &update.base),
		      ERR_MEMBER_NOT_FOUND);
	remove_request.id = promote.id = update.id = rig->rpc.identity.member_id;
	assert_answer(rpc_rig_call(rig, CLUSTER_PATH("MemberRemove"), &remove_request.base),
		      ERR_NOT_ENOUGH_MEMBERS);
	assert_answer(rpc_rig_call(rig, CLUSTER_PATH("MemberPromote"), &promote.base),
		      ERR_NOT_LEARNER);
	assert_int_equal(rpc_rig_call(rig, CLUSTER_PATH("MemberUpdate"), &update.base)->grpc_status,
			 STATUS_UNIMPLEMENTED);
}

/* --- Maintenance: Status and alarms --- */

static Etcdserverpb__StatusResponse *status(struct rpc_rig *rig)
{
	Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
	Etcdserverpb__StatusResponse *response;

	RPC_ANSWER(rig, MAINTENANCE_PATH("Status"), &request, etcdserverpb__status_response__unpack,
		   response);
	return response;
}

static void test_status(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__StatusResponse *response = status(rig);

	assert_string_equal(response->version, "3.7.3");
	assert_string_equal(response->storageversion, "3.7.0");
	assert_true(response->leader == rig->rpc.identity.member_id);
	assert_true(response->raftindex > 0 && response->raftappliedindex == response->raftindex);
	assert_true(response->dbsize > 0 && response->dbsizeinuse <= response->dbsize);
	assert_int_equal(response->dbsizequota, INT64_C(2) * 1024 * MIB);
	assert_non_null(response->downgradeinfo);
	assert_int_equal(response->n_errors, 0);
	etcdserverpb__status_response__free_unpacked(response, NULL);
}

static size_t alarm_call(struct rpc_rig *rig, int action, uint64_t member, int alarm)
{
	Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
	Etcdserverpb__AlarmResponse *response;
	size_t count;

	request.action = action;
	request.memberid = member;
	request.alarm = alarm;
	RPC_ANSWER(rig, MAINTENANCE_PATH("Alarm"), &request, etcdserverpb__alarm_response__unpack,
		   response);
	count = response->n_alarms;
	if (action && count) {
		assert_true(response->alarms[0]->memberid == member);
		assert_int_equal(response->alarms[0]->alarm, alarm);
	}
	etcdserverpb__alarm_response__free_unpacked(response, NULL);
	return count;
}

enum { GET, ACTIVATE, DEACTIVATE };

static void test_alarms(void **state)
{
	struct rpc_rig *rig = *state;
	uint64_t self = rig->rpc.identity.member_id;
	Etcdserverpb__StatusResponse *response;
	Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
	Etcdserverpb__AlarmRequest wrong = ETCDSERVERPB__ALARM_REQUEST__INIT;
	char wanted[64];

	put.key = binary("k");
	assert_int_equal(alarm_call(rig, GET, 0, ALARM_NONE), 0);
	assert_int_equal(alarm_call(rig, ACTIVATE, self, ALARM_NONE), 0);
	assert_int_equal(alarm_call(rig, DEACTIVATE, self, ALARM_NOSPACE), 0);
	assert_int_equal(alarm_call(rig, ACTIVATE, self, ALARM_NOSPACE), 1);
	assert_int_equal(alarm_call(rig, ACTIVATE, self, ALARM_NOSPACE), 1);
	assert_int_equal(alarm_call(rig, GET, 0, ALARM_NONE), 1);
	assert_int_equal(alarm_call(rig, GET, 0, ALARM_CORRUPT), 0);
	assert_answer(rpc_rig_call(rig, KV_PATH("Put"), &put.base), ERR_NO_SPACE);
	response = status(rig);
	assert_int_equal(response->n_errors, 1);
	snprintf(wanted, sizeof(wanted), "memberID:%llu alarm:NOSPACE", (unsigned long long)self);
	assert_string_equal(response->errors[0], wanted);
	etcdserverpb__status_response__free_unpacked(response, NULL);
	assert_int_equal(alarm_call(rig, DEACTIVATE, self, ALARM_NOSPACE), 1);
	assert_answer(rpc_rig_call(rig, KV_PATH("Put"), &put.base), ERR_OK);
	wrong.action = 3;
	assert_answer(rpc_rig_call(rig, MAINTENANCE_PATH("Alarm"), &wrong.base),
		      ERR_UNKNOWN_METHOD);
}

static void test_alarms_in_the_name_of_others(void **state)
{
	struct rpc_rig *rig = *state;
	uint64_t self = rig->rpc.identity.member_id;
	Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
	Etcdserverpb__AlarmRequest one_more = ETCDSERVERPB__ALARM_REQUEST__INIT;

	put.key = binary("k");
	assert_int_equal(alarm_call(rig, ACTIVATE, 0, ALARM_CORRUPT), 1);
	assert_int_equal(alarm_call(rig, DEACTIVATE, self, ALARM_CORRUPT), 0);
	assert_answer(rpc_rig_call(rig, KV_PATH("Put"), &put.base), ERR_CORRUPT);
	assert_int_equal(alarm_call(rig, ACTIVATE, self, ALARM_CORRUPT), 1);
	assert_int_equal(alarm_call(rig, GET, 0, ALARM_NONE), 2);
	assert_int_equal(alarm_call(rig, DEACTIVATE, 0, ALARM_CORRUPT), 1);
	assert_answer(rpc_rig_call(rig, KV_PATH("Put"), &put.base), ERR_CORRUPT);
	assert_int_equal(alarm_call(rig, DEACTIVATE, self, ALARM_CORRUPT), 1);
	assert_answer(rpc_rig_call(rig, KV_PATH("Put"), &put.base), ERR_OK);
	for (uint64_t member = 1; member <= RPC_FOREIGN_ALARMS_MAX; member++)
		assert_int_equal(alarm_call(rig, ACTIVATE, member, ALARM_NOSPACE), 1);
	one_more.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
	one_more.memberid = 99;
	one_more.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
	assert_answer(rpc_rig_call(rig, MAINTENANCE_PATH("Alarm"), &one_more.base),
		      ERR_TOO_MANY_REQUESTS);
	assert_int_equal(alarm_call(rig, GET, 0, ALARM_NONE), RPC_FOREIGN_ALARMS_MAX);
}

/* --- Maintenance: the rest --- */

static void test_defragment_and_move_leader(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__DefragmentRequest defragment = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
	Etcdserverpb__MoveLeaderRequest move = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
	struct peer_stream *stream =
		rpc_rig_call(rig, MAINTENANCE_PATH("Defragment"), &defragment.base);

	assert_answer(stream, ERR_OK);
	assert_int_equal(stream->data.size, 5); /* an empty message */
	move.targetid = rig->rpc.identity.member_id;
	assert_answer(rpc_rig_call(rig, MAINTENANCE_PATH("MoveLeader"), &move.base), ERR_OK);
	move.targetid++;
	assert_answer(rpc_rig_call(rig, MAINTENANCE_PATH("MoveLeader"), &move.base),
		      ERR_BAD_LEADER_TRANSFEREE);
}

static void test_hashes(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__HashKVRequest request = ETCDSERVERPB__HASH_KVREQUEST__INIT;
	Etcdserverpb__HashRequest whole = ETCDSERVERPB__HASH_REQUEST__INIT;
	Etcdserverpb__HashKVResponse *response;
	Etcdserverpb__HashResponse *hash;
	uint32_t before;

	rig_put(&rig->store, "a", "1");
	RPC_ANSWER(rig, MAINTENANCE_PATH("HashKV"), &request, etcdserverpb__hash_kvresponse__unpack,
		   response);
	before = response->hash;
	assert_int_equal(response->header->revision, 2);
	assert_int_equal(response->hash_revision, 2);
	assert_int_equal(response->compact_revision, -1);
	etcdserverpb__hash_kvresponse__free_unpacked(response, NULL);
	rig_put(&rig->store, "a", "2");
	request.revision = 2;
	RPC_ANSWER(rig, MAINTENANCE_PATH("HashKV"), &request, etcdserverpb__hash_kvresponse__unpack,
		   response);
	assert_true(response->hash == before);
	assert_int_equal(response->header->revision, 3);
	etcdserverpb__hash_kvresponse__free_unpacked(response, NULL);
	request.revision = 9;
	assert_answer(rpc_rig_call(rig, MAINTENANCE_PATH("HashKV"), &request.base),
		      ERR_FUTURE_REVISION);
	RPC_ANSWER(rig, MAINTENANCE_PATH("Hash"), &whole, etcdserverpb__hash_response__unpack,
		   hash);
	assert_int_equal(hash->header->revision, 3);
	etcdserverpb__hash_response__free_unpacked(hash, NULL);
	assert_int_equal(rig->rpc.jobs, 0);
}

static void downgrade(struct rpc_rig *rig, int action, const char *version, enum err wanted)
{
	Etcdserverpb__DowngradeRequest request = ETCDSERVERPB__DOWNGRADE_REQUEST__INIT;
	char text[64];

	snprintf(text, sizeof(text), "%s", version);
	request.action = action;
	request.version = text;
	assert_answer(rpc_rig_call(rig, MAINTENANCE_PATH("Downgrade"), &request.base), wanted);
}

static void test_downgrade(void **state)
{
	struct rpc_rig *rig = *state;
	static const char *const wrong[] = {
		"",	 "3",	    "x",	 "3.6.0.0", "3.6.",
		"3.6-a", "3.6.0-é", "3.6.0+a+b", "v3.6.0",  "3.99999999999999999999"};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		downgrade(rig, 0, wrong[i], ERR_DOWNGRADE_FORMAT);
	downgrade(rig, 1, "3.7.0", ERR_DOWNGRADE_TARGET);
	downgrade(rig, 0, "2.6", ERR_DOWNGRADE_TARGET);
	downgrade(rig, 0, "3.6", ERR_OK);
	downgrade(rig, 0, "3.6.12-rc.1+x", ERR_OK);
	downgrade(rig, 2, "", ERR_OK);
	downgrade(rig, 3, "", ERR_UNKNOWN_METHOD);
}

/* --- Snapshot --- */

static size_t count_files(const char *path)
{
	DIR *dir = opendir(path);
	size_t count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void test_snapshot(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__SnapshotRequest request = ETCDSERVERPB__SNAPSHOT_REQUEST__INIT;
	size_t files = count_files(rig->store.dir), offset = 0, total = 0;
	struct peer_stream *stream;
	uint8_t digest[SHA256_DIGEST_LENGTH] = {0};
	struct bytes message;
	uint8_t *all = malloc(16 * MIB);
	bool is_last = false;

	assert_non_null(all);
	for (unsigned i = 0; i < 500; i++)
		rig_put(&rig->store, "key", "some value");
	stream = rpc_rig_call(rig, MAINTENANCE_PATH("Snapshot"), &request.base);
	assert_answer(stream, ERR_OK);
	while (h2_peer_next(&rig->peer, stream->id, &offset, &message)) {
		Etcdserverpb__SnapshotResponse *part =
			etcdserverpb__snapshot_response__unpack(NULL, message.size, message.data);

		assert_false(is_last);
		assert_null(part->header);
		assert_string_equal(part->version, "3.7.0");
		is_last = part->remaining_bytes == 0 && part->blob.len == sizeof(digest);
		if (is_last) {
			memcpy(digest, part->blob.data, sizeof(digest));
		} else {
			assert_true(part->blob.len <= 32 * KIB);
			memcpy(all + total, part->blob.data, part->blob.len);
			total += part->blob.len;
		}
		etcdserverpb__snapshot_response__free_unpacked(part, NULL);
	}
	assert_true(is_last);
	assert_true(total > 0 && total % 512 == 0);
	assert_memory_equal(SHA256(all, total, NULL), digest, sizeof(digest));
	assert_memory_equal(all, "SQLite format 3", 16);
	assert_int_equal(count_files(rig->store.dir), files);
	assert_int_equal(rig->rpc.jobs, 0);
	free(all);
}

static void test_a_snapshot_that_nobody_waits_for(void **state)
{
	struct rpc_rig *rig = *state;
	Etcdserverpb__SnapshotRequest request = ETCDSERVERPB__SNAPSHOT_REQUEST__INIT;
	size_t files = count_files(rig->store.dir);

	for (unsigned i = 0; i <= RPC_JOBS_MAX; i++)
		rpc_rig_start(rig, MAINTENANCE_PATH("Snapshot"), &request.base);
	h2_peer_exchange(&rig->peer);
	assert_int_equal(rig->rpc.jobs, RPC_JOBS_MAX);
	rpc_rig_disconnect(rig);
	for (unsigned left = RPC_WAIT_MS * 5; rig->rpc.jobs && left; left--) {
		uv_run(loop_uv(rig->loop), UV_RUN_NOWAIT);
		rpc_rig_pause();
	}
	assert_int_equal(rig->rpc.jobs, 0);
	assert_int_equal(count_files(rig->store.dir), files);
}

/* --- health, and what is not served --- */

/* A server that is killed leaves the copy under its last or its first name. */
static void test_snapshots_of_a_killed_server_go(void **state)
{
	struct rpc_rig *rig = *state;
	static const char *const names[] = {"db", "db.part"};
	char folder[512], path[600];

	for (size_t i = 0; i < 2; i++) {
		snprintf(folder, sizeof(folder), "%s/kedge-snapshot-abc%zu", rig->store.dir, i);
		assert_int_equal(mkdir(folder, 0700), 0);
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		assert_int_equal(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
	}
	snapshot_sweep(rig->store.dir);
	for (size_t i = 0; i < 2; i++) {
		snprintf(folder, sizeof(folder), "%s/kedge-snapshot-abc%zu", rig->store.dir, i);
		assert_int_equal(access(folder, F_OK), -1);
	}
}

static void test_health(void **state)
{
	struct rpc_rig *rig = *state;
	Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	char unknown[] = "x";
	struct peer_stream *stream =
		rpc_rig_call(rig, "/grpc.health.v1.Health/Check", &request.base);
	int32_t watch = rpc_rig_start(rig, "/grpc.health.v1.Health/Watch", &request.base);
	size_t offset = 0;

	assert_answer(stream, ERR_OK);
	assert_true(
		bytes_equal(rpc_rig_message(rig, stream->id, &offset), BYTES_LITERAL("\x08\x01")));
	rpc_rig_turn(rig);
	offset = 0;
	assert_true(bytes_equal(rpc_rig_message(rig, watch, &offset), BYTES_LITERAL("\x08\x01")));
	assert_false(h2_peer_stream(&rig->peer, watch)->is_ended);
	request.service = unknown;
	stream = rpc_rig_call(rig, "/grpc.health.v1.Health/Check", &request.base);
	assert_int_equal(stream->grpc_status, STATUS_NOT_FOUND);
	assert_string_equal(stream->grpc_message, "unknown service");
}

static void test_services_of_a_later_day(void **state)
{
	struct rpc_rig *rig = *state;
	static const char *const paths[] = {"/etcdserverpb.Auth/Authenticate",
					    "/v3lockpb.Lock/Lock",
					    "/v3electionpb.Election/Observe"};
	Etcdserverpb__StatusRequest empty = ETCDSERVERPB__STATUS_REQUEST__INIT;

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		struct peer_stream *stream = rpc_rig_call(rig, paths[i], &empty.base);

		assert_int_equal(stream->grpc_status, STATUS_UNIMPLEMENTED);
		assert_string_equal(stream->grpc_message,
				    "kedge: this service of etcd is not served yet");
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_lease_grant_and_revoke),
		TEST(test_lease_time_to_live_and_list),
		TEST(test_keep_alive_answers_each_request_in_order),
		TEST(test_keep_alive_ends_with_a_malformed_request),
		TEST(test_member_list),
		TEST(test_members_cannot_change),
		TEST(test_status),
		TEST(test_alarms),
		TEST(test_alarms_in_the_name_of_others),
		TEST(test_defragment_and_move_leader),
		TEST(test_hashes),
		TEST(test_downgrade),
		TEST(test_snapshot),
		TEST(test_a_snapshot_that_nobody_waits_for),
		TEST(test_snapshots_of_a_killed_server_go),
		TEST(test_health),
		TEST(test_services_of_a_later_day),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
