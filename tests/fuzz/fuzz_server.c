/* SPDX-License-Identifier: Apache-2.0 */
/* The whole server but for its sockets: a program of calls, through HTTP/2, the services and a
 * store in memory, one after the other on one connection.
 *
 * What must hold: the answer to every read, write, transaction, compaction and lease call is, byte
 * for byte, what the naive model of the store gives; every other answer is a message of its type.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/server_rig.h"

#include "api/check.h"
#include "api/codec.h"
#include "shim/base/limits.h"
#include "shim/rpc/encode.h"

#include <stdio.h>
#include <stdlib.h>

#define CALLS_MAX 40
#define ARENA_BYTES_MAX ((size_t)64 << 20)

/* --- what the model says ---------------------------------------------------------------------- */

struct expected {
	enum err err;
	struct buffer message;
};

static struct wire_header header_of(const struct server_rig *rig, int64_t revision)
{
	return (struct wire_header){rig->rpc.identity.cluster_id, rig->rpc.identity.member_id,
				    revision, rig->rpc.identity.term};
}

static void expect_range(struct server_rig *rig, struct arena *arena, struct bytes message,
			 struct expected *expected)
{
	struct codec codec = CODEC_INIT(arena);
	struct range_result result;
	struct wire_header header;
	struct range_op op;

	expected->err = codec_range(&codec, message, &op);
	if (!expected->err)
		expected->err = check_range(&op);
	if (!expected->err)
		expected->err = model_range(rig->model, &op, arena, &result);
	if (expected->err)
		return;
	header = header_of(rig, result.revision);
	fuzz_must(!encode_range(&header, &result, &expected->message));
}

static enum err decode(struct codec *codec, struct bytes message, struct op *op)
{
	uint64_t numbers[2];
	enum err e;

	if (op->kind == OP_PUT) {
		e = codec_put(codec, message, &op->in.put);
		return e ? e : check_put(&op->in.put);
	}
	if (op->kind == OP_DELETE) {
		e = codec_delete(codec, message, &op->in.delete_range);
		return e ? e : check_delete(&op->in.delete_range);
	}
	if (op->kind == OP_TXN) {
		e = codec_txn(codec, message, &op->in.txn);
		return e ? e : check_txn(&op->in.txn, TXN_OPS_DEFAULT);
	}
	e = codec_numbers(codec, message, numbers, 2);
	if (op->kind == OP_LEASE_REVOKE)
		op->in.lease_revoke.id = (int64_t)numbers[0];
	else
		op->in.compact.revision = (int64_t)numbers[0];
	return e;
}

static void expect_write(struct server_rig *rig, struct arena *arena, enum op_kind kind,
			 struct bytes message, struct expected *expected)
{
	struct codec codec = CODEC_INIT(arena);
	struct op op = {.kind = kind, .arena = arena};
	struct buffer *out = &expected->message;
	struct wire_header header;

	expected->err = decode(&codec, message, &op);
	if (expected->err)
		return;
	model_run(rig->model, &op, rig->store.now_ns);
	expected->err = op.err;
	if (op.err)
		return;
	header = header_of(rig, op.revision);
	if (kind == OP_PUT)
		fuzz_must(!encode_put(&header, &op.out.put, out));
	else if (kind == OP_DELETE)
		fuzz_must(!encode_delete(&header, &op.out.delete_range, out));
	else if (kind == OP_TXN)
		fuzz_must(!encode_txn(&header, &op.out.txn, arena, out));
}

/* --- judging ---------------------------------------------------------------------------------- */

static void judge_error(const struct peer_stream *stream, enum err e)
{
	fuzz_must_say(stream->grpc_status == (int)err_status(e), stream->grpc_message);
	/* What is malformed is explained further. */
	fuzz_must_say(!strncmp(stream->grpc_message, err_text(e), strlen(err_text(e))),
		      stream->grpc_message);
}

static struct bytes only_message(struct server_rig *rig, const struct peer_stream *stream)
{
	struct bytes message = {0};
	size_t offset = 0;

	fuzz_must_say(stream->grpc_status == 0, stream->grpc_message);
	fuzz_must(h2_peer_next(&rig->peer, stream->id, &offset, &message));
	return message;
}

static void judge(struct server_rig *rig, const struct peer_stream *stream,
		  const struct expected *expected)
{
	if (expected->err)
		judge_error(stream, expected->err);
	else if (expected->message.size)
		fuzz_must(bytes_equal(only_message(rig, stream), buffer_bytes(&expected->message)));
	else
		(void)only_message(rig, stream);
}

/* The id may be the server's choice, so the answer is told to the model. */
static void judge_grant(struct server_rig *rig, const struct peer_stream *stream,
			struct arena *arena, struct bytes request)
{
	struct codec codec = CODEC_INIT(arena);
	struct op op = {.kind = OP_LEASE_GRANT, .arena = arena};
	Etcdserverpb__LeaseGrantResponse *answer = NULL;
	struct bytes message;
	uint64_t numbers[2];

	if (codec_numbers(&codec, request, numbers, 2)) {
		judge_error(stream, ERR_MALFORMED);
		return;
	}
	op.in.lease_grant.ttl_seconds = (int64_t)numbers[0];
	op.in.lease_grant.id = (int64_t)numbers[1];
	if (!stream->grpc_status) {
		message = only_message(rig, stream);
		answer = etcdserverpb__lease_grant_response__unpack(NULL, message.size,
								    message.data);
		fuzz_must(answer && (!numbers[1] || answer->id == (int64_t)numbers[1]));
		op.in.lease_grant.id = answer->id;
	} else if (!numbers[1]) {
		op.in.lease_grant.id = INT64_MAX; /* any that is free */
	}
	model_run(rig->model, &op, rig->store.now_ns);
	if (answer) {
		fuzz_must(!op.err && op.out.lease.ttl_seconds == answer->ttl);
		etcdserverpb__lease_grant_response__free_unpacked(answer, NULL);
	} else {
		judge_error(stream, op.err);
	}
}

/* --- calls ------------------------------------------------------------------------------------ */

static void call_judged(struct server_rig *rig, const struct method *method, struct bytes message)
{
	static const struct {
		const char *name;
		enum op_kind kind;
	} writes[] = {{"Put", OP_PUT},
		      {"DeleteRange", OP_DELETE},
		      {"Txn", OP_TXN},
		      {"Compact", OP_COMPACT},
		      {"LeaseRevoke", OP_LEASE_REVOKE}};
	struct expected expected = {.message = BUFFER_INIT(ARENA_BYTES_MAX)};
	struct peer_stream *stream = server_rig_call(rig, method, message);
	struct arena arena;

	/* A raised alarm changes what writes answer; the model knows no alarms. */
	rig->is_alarmed = rig->is_alarmed || !strcmp(method->name, "Alarm");
	if (method->kind != METHOD_UNARY || rig->is_alarmed)
		return;
	arena_init(&arena, ARENA_BYTES_MAX);
	if (!strcmp(method->name, "Range")) {
		expect_range(rig, &arena, message, &expected);
		judge(rig, stream, &expected);
	} else if (!strcmp(method->name, "LeaseGrant")) {
		judge_grant(rig, stream, &arena, message);
	}
	for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
		if (strcmp(method->name, writes[i].name) != 0)
			continue;
		expect_write(rig, &arena, writes[i].kind, message, &expected);
		judge(rig, stream, &expected);
	}
	buffer_fini(&expected.message);
	arena_fini(&arena);
}

static ProtobufCBinaryData binary(struct bytes bytes)
{
	return (ProtobufCBinaryData){bytes.size, (uint8_t *)(uintptr_t)bytes.data};
}

static void call_packed(struct server_rig *rig, const char *name, const ProtobufCMessage *request)
{
	uint8_t room[4096];

	fuzz_must(protobuf_c_message_get_packed_size(request) <= sizeof(room));
	call_judged(rig, server_rig_method(name),
		    bytes_of(room, protobuf_c_message_pack(request, room)));
}

static void do_put(struct server_rig *rig, struct fuzz_input *input)
{
	Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
	unsigned flags = fuzz_byte(input);

	request.key = binary(fuzz_key(input));
	if (!(flags & 1))
		request.value = binary(fuzz_bytes(input, 100));
	request.lease = flags & 2 ? 1 + flags / 64 : 0;
	request.prev_kv = flags & 4;
	request.ignore_value = flags & 8 && flags & 16;
	request.ignore_lease = flags & 8 && flags & 32;
	call_packed(rig, "Put", &request.base);
}

static void do_range(struct server_rig *rig, struct fuzz_input *input)
{
	Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
	unsigned flags = fuzz_byte(input);

	request.key = binary(fuzz_key(input));
	request.range_end = binary(fuzz_range_end(input));
	request.revision = flags & 1 ? fuzz_byte(input) : 0;
	request.limit = flags & 2 ? fuzz_below(input, 8) : 0;
	request.sort_order = fuzz_below(input, 4);
	request.sort_target = fuzz_below(input, 6);
	request.keys_only = flags & 4;
	request.count_only = flags & 8;
	request.min_mod_revision = flags & 16 ? fuzz_byte(input) : 0;
	request.max_create_revision = flags & 32 ? fuzz_byte(input) : 0;
	call_packed(rig, flags & 64 ? "RangeStream" : "Range", &request.base);
}

static void do_delete(struct server_rig *rig, struct fuzz_input *input)
{
	Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;

	request.key = binary(fuzz_key(input));
	request.range_end = binary(fuzz_range_end(input));
	request.prev_kv = fuzz_below(input, 2);
	call_packed(rig, "DeleteRange", &request.base);
}

static void do_lease(struct server_rig *rig, struct fuzz_input *input)
{
	Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
	Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
	unsigned choice = fuzz_byte(input);

	grant.id = revoke.id = 1 + choice / 64;
	grant.ttl = choice % 64 - 1;
	if (choice & 1)
		call_packed(rig, "LeaseGrant", &grant.base);
	else
		call_packed(rig, "LeaseRevoke", &revoke.base);
}

static void do_compact(struct server_rig *rig, struct fuzz_input *input)
{
	Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;

	request.revision = fuzz_below(input, 32);
	request.physical = request.revision & 1;
	call_packed(rig, "Compact", &request.base);
}

/* One level: a compare, and two operations on either side. */
static void do_txn(struct server_rig *rig, struct fuzz_input *input)
{
	Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
	Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
	Etcdserverpb__RequestOp ops[4], *list[4];
	Etcdserverpb__PutRequest puts[4];
	Etcdserverpb__DeleteRangeRequest deletes[4];

	compare.key = binary(fuzz_key(input));
	compare.result = fuzz_below(input, 4);
	compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
	compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
	compare.version = fuzz_below(input, 4);
	compare.range_end = binary(fuzz_range_end(input));
	for (size_t i = 0; i < 4; i++) {
		etcdserverpb__request_op__init(list[i] = &ops[i]);
		etcdserverpb__put_request__init(&puts[i]);
		etcdserverpb__delete_range_request__init(&deletes[i]);
		puts[i].key = deletes[i].key = binary(fuzz_key(input));
		puts[i].value = binary(fuzz_bytes(input, 20));
		puts[i].prev_kv = deletes[i].prev_kv = puts[i].value.len & 1;
		ops[i].request_case =
			fuzz_below(input, 3)
				? ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT
				: ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
		if (ops[i].request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
			ops[i].request_put = &puts[i];
		else
			ops[i].request_delete_range = &deletes[i];
	}
	txn.n_compare = fuzz_below(input, 2);
	txn.compare = compares;
	txn.n_success = txn.n_failure = 2;
	txn.success = list;
	txn.failure = list + 2;
	call_packed(rig, "Txn", &txn.base);
}

static void do_watch(struct server_rig *rig, struct fuzz_input *input)
{
	Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
	Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
	uint8_t room[512];
	unsigned flags = fuzz_byte(input);

	create.key = binary(fuzz_key(input));
	create.range_end = binary(fuzz_range_end(input));
	create.start_revision = flags & 1 ? fuzz_below(input, 40) : 0;
	create.prev_kv = flags & 2;
	create.fragment = flags & 4;
	create.progress_notify = flags & 8;
	create.watch_id = flags / 64;
	request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
	request.create_request = &create;
	server_rig_watch(rig,
			 flags & 16 ? fuzz_bytes(input, 60)
				    : bytes_of(room, protobuf_c_message_pack(&request.base, room)));
}

static void step(struct server_rig *rig, struct fuzz_input *input)
{
	static void (*const parts[])(struct server_rig *, struct fuzz_input *) = {
		do_put, do_put, do_put,	  do_range,   do_range, do_delete,
		do_txn, do_txn, do_lease, do_compact, do_watch,
	};
	unsigned choice = fuzz_below(input, 14);

	if (choice < sizeof(parts) / sizeof(parts[0]))
		parts[choice](rig, input);
	else /* any bytes to any method */
		call_judged(rig, &rpc_methods[fuzz_byte(input) % rpc_method_count],
			    fuzz_bytes(input, 255));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = fuzz_input_of(data, size);
	struct server_rig *rig;

	fuzz_quiet();
	rig = server_rig_open();
	for (unsigned i = 0; i < CALLS_MAX && fuzz_more(&input); i++)
		step(rig, &input);
	server_rig_close(rig);
	return 0;
}
