/* SPDX-License-Identifier: Apache-2.0 */
/* lease.c - the service etcdserverpb.Lease. */
#include "shim/rpc/rpc_internal.h"

/* Answers of this service begin with header, ID and TTL; not all have all. */
struct lease_answer {
	int64_t revision;
	int64_t id;
	int64_t ttl_seconds;
	int64_t granted_seconds; /* field 4 of LeaseTimeToLiveResponse */
};

enum lease_field { LEASE_HEADER = 1, LEASE_ID, LEASE_TTL, LEASE_GRANTED_TTL, LEASE_KEYS };
enum leases_field { LEASES_HEADER = 1, LEASES_LEASES };

/* Writes into a new buffer with `more` bytes of room behind. */
static enum err encode_answer(struct call *call, const struct lease_answer *answer, size_t more,
			      struct buffer *ret_out)
{
	struct wire_header header = rpc_header(rpc_of(call), answer->revision);
	struct buffer out = BUFFER_INIT(ANSWER_BYTES_MAX);
	size_t size = wire_header_size(&header);
	uint8_t *to;

	if (!buffer_reserve(
		    &out, wire_message_size(LEASE_HEADER, size) +
				  wire_int_size(LEASE_ID, answer->id) +
				  wire_int_size(LEASE_TTL, answer->ttl_seconds) +
				  wire_int_size(LEASE_GRANTED_TTL, answer->granted_seconds) + more))
		return fault(ERR_NOMEM, "a lease's answer and %zu bytes", more);
	to = wire_put_message(buffer_end(&out), LEASE_HEADER, size);
	to = wire_put_header(to, &header);
	to = wire_put_int(to, LEASE_ID, answer->id);
	to = wire_put_int(to, LEASE_TTL, answer->ttl_seconds);
	to = wire_put_int(to, LEASE_GRANTED_TTL, answer->granted_seconds);
	out.size = (size_t)(to - buffer_end(&out));
	*ret_out = out;
	return ERR_OK;
}

/* --- LeaseGrant, LeaseRevoke --- */

static void grant_reply(struct call *call, const struct op *op)
{
	struct lease_answer answer = {
		.revision = op->revision,
		.id = op->out.lease.id,
		.ttl_seconds = op->out.lease.ttl_seconds,
	};
	struct buffer out;
	enum err e = encode_answer(call, &answer, 0, &out);

	if (e)
		call_fail(call, e);
	else
		call_reply(call, &out);
}

void lease_grant(struct call *call, struct bytes message)
{
	struct rpc_server *server = rpc_of(call);
	struct op *op = rpc_op(call, OP_LEASE_GRANT);
	uint64_t numbers[2];
	enum err e;

	if (!rpc_take_numbers(call, message, numbers, 2))
		return;
	op->in.lease_grant.ttl_seconds = (int64_t)numbers[0];
	op->in.lease_grant.id = (int64_t)numbers[1];
	e = store_quota_check(server->config.store, COST_LEASE_BYTES);
	if (!e)
		e = rpc_check_size(server, message);
	if (e)
		call_fail(call, e);
	else
		rpc_submit(call, grant_reply);
}

static void revoke_reply(struct call *call, const struct op *op)
{
	rpc_reply_header(call, op->revision);
}

void lease_revoke(struct call *call, struct bytes message)
{
	struct op *op = rpc_op(call, OP_LEASE_REVOKE);
	uint64_t id;
	enum err e;

	if (!rpc_take_numbers(call, message, &id, 1))
		return;
	op->in.lease_revoke.id = (int64_t)id;
	e = rpc_check_size(rpc_of(call), message);
	if (e)
		call_fail(call, e);
	else
		rpc_submit(call, revoke_reply);
}

/* --- LeaseKeepAlive: one answer for each request, in order --- */

void lease_keep_alive(struct call *call, struct bytes message)
{
	struct store *store = rpc_of(call)->config.store;
	struct lease_answer answer = {0};
	struct buffer out;
	uint64_t id;
	enum err e;

	if (!rpc_take_numbers(call, message, &id, 1))
		return;
	/* The revision from before the renewal: a client that sees it knows the lease lived then.
	 */
	answer.revision = store_head(store);
	answer.id = (int64_t)id;
	e = store_lease_renew(store, answer.id, &answer.ttl_seconds);
	if (e == ERR_LEASE_NOT_FOUND)
		e = ERR_OK; /* a TTL of 0 says so */
	if (!e)
		e = encode_answer(call, &answer, 0, &out);
	if (e)
		call_fail(call, e);
	else
		call_send(call, &out);
}

void lease_keep_alive_half_close(struct call *call)
{
	call_finish(call, STATUS_OK, NULL);
}

/* --- LeaseTimeToLive, LeaseLeases --- */

static size_t keys_size(const struct lease_info *info)
{
	size_t size = 0;

	for (size_t i = 0; i < info->key_count; i++)
		size += wire_message_size(LEASE_KEYS, info->keys[i].size);
	return size;
}

static void put_keys(const struct lease_info *info, struct buffer *out)
{
	uint8_t *to = buffer_end(out);

	for (size_t i = 0; i < info->key_count; i++) {
		to = wire_put_message(to, LEASE_KEYS, info->keys[i].size);
		to = wire_put_raw(to, info->keys[i]);
	}
	out->size += (size_t)(to - buffer_end(out));
}

void lease_time_to_live(struct call *call, struct bytes message)
{
	struct store *store = rpc_of(call)->config.store;
	struct lease_info info = {0};
	struct lease_answer answer;
	struct buffer out;
	uint64_t numbers[2];
	enum err e;

	if (!rpc_take_numbers(call, message, numbers, 2))
		return;
	e = store_lease_info(store, (int64_t)numbers[0], numbers[1], call_arena(call), &info);
	if (e == ERR_LEASE_NOT_FOUND) {
		info = (struct lease_info){.remaining_seconds = -1};
		e = ERR_OK;
	}
	answer = (struct lease_answer){
		.revision = store_head(store),
		.id = (int64_t)numbers[0],
		.ttl_seconds = info.remaining_seconds,
		.granted_seconds = info.granted_seconds,
	};
	if (!e)
		e = encode_answer(call, &answer, keys_size(&info), &out);
	if (e) {
		call_fail(call, e);
		return;
	}
	put_keys(&info, &out);
	call_reply(call, &out);
}

void lease_leases(struct call *call, struct bytes message)
{
	struct store *store = rpc_of(call)->config.store;
	struct lease_answer answer = {.revision = store_head(store)};
	struct buffer out;
	int64_t *ids = NULL;
	size_t count = 0, size = 0;
	uint8_t *to;
	enum err e;

	if (!rpc_take_numbers(call, message, NULL, 0))
		return;
	e = store_lease_list(store, call_arena(call), &ids, &count);
	for (size_t i = 0; !e && i < count; i++)
		size += wire_message_size(LEASES_LEASES, wire_int_size(1, ids[i]));
	if (!e)
		e = encode_answer(call, &answer, size, &out);
	if (e) {
		call_fail(call, e);
		return;
	}
	to = buffer_end(&out);
	for (size_t i = 0; i < count; i++) {
		to = wire_put_message(to, LEASES_LEASES, wire_int_size(1, ids[i]));
		to = wire_put_int(to, 1, ids[i]);
	}
	out.size += (size_t)(to - buffer_end(&out));
	call_reply(call, &out);
}
