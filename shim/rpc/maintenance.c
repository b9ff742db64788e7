/* SPDX-License-Identifier: Apache-2.0 */
/* maintenance.c - the service etcdserverpb.Maintenance: its short methods.  Alarms, hashes and the
 * snapshot have files of their own. */
#include "shim/rpc/rpc_internal.h"

#include "shim/base/log.h"
#include "shim/base/version.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* --- Status --- */

static char *copy_text(struct arena *arena, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = arena_alloc(arena, size);

	if (copy)
		memcpy(copy, text, size);
	return copy;
}

static bool fill_errors(struct call *call, Etcdserverpb__StatusResponse *response)
{
	struct rpc_alarm alarms[RPC_ALARMS_MAX];
	size_t count = rpc_alarm_list(rpc_of(call), alarms);
	char text[RPC_ALARM_TEXT_BYTES];

	response->errors = arena_calloc(call_arena(call), count + 1, sizeof(*response->errors));
	for (size_t i = 0; response->errors && i < count; i++) {
		rpc_alarm_text(&alarms[i], text);
		response->errors[i] = copy_text(call_arena(call), text);
		if (!response->errors[i])
			return false;
		response->n_errors++;
	}
	return response->errors;
}

void maintenance_status(struct call *call, struct bytes message)
{
	struct rpc_server *server = rpc_of(call);
	int64_t head = store_head(server->config.store);
	Etcdserverpb__ResponseHeader header = rpc_pb_header(server, head);
	Etcdserverpb__StatusResponse response;
	Etcdserverpb__DowngradeInfo downgrade;
	struct store_stats stats;

	if (!rpc_take_numbers(call, message, NULL, 0))
		return;
	etcdserverpb__status_response__init(&response);
	etcdserverpb__downgrade_info__init(&downgrade);
	response.version = copy_text(call_arena(call), ETCD_API_VERSION);
	response.storageversion = copy_text(call_arena(call), ETCD_STORAGE_VERSION);
	if (!response.version || !response.storageversion || !fill_errors(call, &response)) {
		call_fail(call, fault(ERR_NOMEM, "the status"));
		return;
	}
	store_stats(server->config.store, &stats);
	response.header = &header;
	response.dbsize = stats.file_bytes;
	response.dbsizeinuse = stats.in_use_bytes;
	response.dbsizequota = stats.quota_bytes;
	response.leader = server->identity.member_id;
	/* There is no raft: what has been applied last is the newest revision. */
	response.raftindex = (uint64_t)head;
	response.raftappliedindex = (uint64_t)head;
	response.raftterm = server->identity.term;
	response.downgradeinfo = &downgrade;
	rpc_reply_packed(call, &response.base);
}

/* --- Defragment --- */

static void defragment_reply(struct call *call, const struct op *op)
{
	struct buffer out = BUFFER_INIT(ANSWER_BYTES_MAX);

	(void)op;
	log_info("finished defragment");
	call_reply(call, &out); /* an empty message, without a header */
}

void maintenance_defragment(struct call *call, struct bytes message)
{
	if (!rpc_take_numbers(call, message, NULL, 0))
		return;
	log_info("starting defragment");
	rpc_op(call, OP_DEFRAGMENT);
	rpc_submit(call, defragment_reply);
}

/* --- MoveLeader --- */

void maintenance_move_leader(struct call *call, struct bytes message)
{
	struct buffer out = BUFFER_INIT(ANSWER_BYTES_MAX);
	uint64_t target;

	if (!rpc_take_numbers(call, message, &target, 1))
		return;
	if (target == rpc_of(call)->identity.member_id)
		call_reply(call, &out); /* it leads already */
	else
		call_fail(call, ERR_BAD_LEADER_TRANSFEREE);
}

/* --- Downgrade --- */

struct version {
	long long number[3]; /* major, minor, patch */
};

/* "-..." and "+..." of a semantic version: nothing, or letters, digits, dots and hyphens. */
static bool is_suffix(const char *text)
{
	if (*text == '-') {
		for (text++; *text && *text != '+'; text++) {
			if (!isalnum((unsigned char)*text) && *text != '.' && *text != '-')
				return false;
		}
	}
	if (*text == '+') {
		for (text++; *text; text++) {
			if (!isalnum((unsigned char)*text) && *text != '.' && *text != '-')
				return false;
		}
	}
	return !*text;
}

/* Numbers divided by dots, and a suffix only behind the third. */
static bool parse_version(const char *text, size_t parts, struct version *ret_version)
{
	struct version version = {0};

	for (size_t i = 0; i < parts; i++) {
		char *end;

		if (!isdigit((unsigned char)*text) || strspn(text, "0123456789") > 18)
			return false;
		version.number[i] = strtoll(text, &end, 10);
		text = end;
		if (i + 1 < parts && *text++ != '.')
			return false;
	}
	*ret_version = version;
	return parts == 3 ? is_suffix(text) : !*text;
}

static enum err check_target(const char *text)
{
	struct version target, ours;

	if (!parse_version(text, 3, &target) && !parse_version(text, 2, &target))
		return ERR_DOWNGRADE_FORMAT;
	if (!parse_version(ETCD_CLUSTER_VERSION, 3, &ours) || target.number[0] != ours.number[0] ||
	    target.number[1] != ours.number[1] - 1)
		return ERR_DOWNGRADE_TARGET;
	return ERR_OK;
}

static void downgrade_reply(struct call *call)
{
	struct rpc_server *server = rpc_of(call);
	Etcdserverpb__ResponseHeader header =
		rpc_pb_header(server, store_head(server->config.store));
	Etcdserverpb__DowngradeResponse response;

	etcdserverpb__downgrade_response__init(&response);
	response.header = &header;
	response.version = copy_text(call_arena(call), ETCD_CLUSTER_VERSION);
	if (!response.version) {
		call_fail(call, fault(ERR_NOMEM, "the answer of a downgrade"));
		return;
	}
	*strrchr(response.version, '.') = 0; /* here it is major and minor alone */
	rpc_reply_packed(call, &response.base);
}

static void downgrade(struct call *call, const Etcdserverpb__DowngradeRequest *request)
{
	enum err e = ERR_OK;

	switch ((int)request->action) {
	case ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__VALIDATE:
	case ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__ENABLE:
		e = check_target(request->version);
		break;
	case ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL:
		break; /* succeeds without a job, too */
	default:
		e = ERR_UNKNOWN_METHOD;
		break;
	}
	if (e)
		call_fail(call, e);
	else if (request->action == ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__ENABLE)
		call_finish(call, STATUS_UNIMPLEMENTED,
			    "kedge: there is no older version of the data to go back to");
	else
		downgrade_reply(call);
}

void maintenance_downgrade(struct call *call, struct bytes message)
{
	struct codec codec = CODEC_INIT(call_arena(call));
	ProtobufCMessage *request;
	enum err e = codec_unpack(&codec, &etcdserverpb__downgrade_request__descriptor, message,
				  &request);

	if (e)
		rpc_fail_decode(call, &codec, e);
	else
		downgrade(call, (Etcdserverpb__DowngradeRequest *)request);
}
