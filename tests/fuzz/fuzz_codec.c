/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: the bytes of a protobuf message of every type that the services take.
 *
 * What must hold: what was read and is written again reads the same, and so does what protobuf-c
 * makes of the same bytes where it takes them; etcd's check for keys written twice agrees with a
 * naive one. */
#include "tests/fuzz/fuzz.h"

#include "api/check.h"
#include "api/codec.h"
#include "api/proto/health.pb-c.h"
#include "api/proto/rpc.pb-c.h"
#include "api/reader.h"
#include "shim/base/limits.h"
#include "shim/rpc/watch_request.h"
#include "shim/rpc/wire.h"

#include <stdlib.h>

#define ARENA_BYTES_MAX ((size_t)64 << 20)

/* --- writing what was read -------------------------------------------------------------------- */

#define SCALAR_BYTES_MAX 16 /* tag and varint */

static void write_number(struct buffer *out, unsigned field, int64_t value)
{
	uint8_t room[SCALAR_BYTES_MAX];

	fuzz_must(buffer_append(out,
				bytes_of(room, (size_t)(wire_put_int(room, field, value) - room))));
}

/* With presence: also when empty. */
static void write_message(struct buffer *out, unsigned field, struct bytes contents)
{
	uint8_t room[SCALAR_BYTES_MAX];
	size_t size = (size_t)(wire_put_message(room, field, contents.size) - room);

	fuzz_must(buffer_append(out, bytes_of(room, size)));
	fuzz_must(buffer_append(out, contents));
}

static void write_bytes(struct buffer *out, unsigned field, struct bytes bytes)
{
	if (bytes.size)
		write_message(out, field, bytes);
}

static void write_range(struct buffer *out, const struct range_op *op)
{
	write_bytes(out, 1, op->key);
	write_bytes(out, 2, op->end);
	write_number(out, 3, op->limit);
	write_number(out, 4, op->revision);
	write_number(out, 5, (int)op->order);
	write_number(out, 6, (int)op->target);
	write_number(out, 8, op->keys_only);
	write_number(out, 9, op->count_only);
	write_number(out, 10, op->min_mod_revision);
	write_number(out, 11, op->max_mod_revision);
	write_number(out, 12, op->min_create_revision);
	write_number(out, 13, op->max_create_revision);
}

static void write_put(struct buffer *out, const struct put_op *op)
{
	write_bytes(out, 1, op->key);
	write_bytes(out, 2, op->value);
	write_number(out, 3, op->lease);
	write_number(out, 4, op->prev_kv);
	write_number(out, 5, op->ignore_value);
	write_number(out, 6, op->ignore_lease);
}

static void write_delete(struct buffer *out, const struct delete_op *op)
{
	write_bytes(out, 1, op->key);
	write_bytes(out, 2, op->end);
	write_number(out, 3, op->prev_kv);
}

static void write_compare(struct buffer *out, const struct compare *compare)
{
	write_number(out, 1, compare->result);
	write_number(out, 2, compare->target);
	write_bytes(out, 3, compare->key);
	if (compare->target == COMPARE_VALUE)
		write_bytes(out, 7, compare->value);
	else if (compare->target >= COMPARE_VERSION && compare->target <= COMPARE_LEASE)
		write_number(out, 4 + (unsigned)compare->target, compare->number);
	else
		fuzz_must(!compare->number && !compare->value.size);
	write_bytes(out, 64, compare->end);
}

static void write_txn(struct buffer *out, const struct txn_op *op);

static void write_request(struct buffer *out, const struct request *request)
{
	switch (request->kind) {
	case REQUEST_RANGE:
		write_range(out, &request->as.range);
		break;
	case REQUEST_PUT:
		write_put(out, &request->as.put);
		break;
	case REQUEST_DELETE:
		write_delete(out, &request->as.delete_range);
		break;
	case REQUEST_TXN:
		write_txn(out, request->as.txn);
		break;
	}
}

static void write_branch(struct buffer *out, unsigned field, const struct request *requests,
			 size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct buffer body = BUFFER_INIT(ARENA_BYTES_MAX);
		struct buffer op = BUFFER_INIT(ARENA_BYTES_MAX);

		if (requests[i].kind != REQUEST_TXN || requests[i].as.txn) {
			write_request(&body, &requests[i]);
			write_message(&op, (unsigned)requests[i].kind + 1, buffer_bytes(&body));
		}
		write_message(out, field, buffer_bytes(&op));
		buffer_fini(&body);
		buffer_fini(&op);
	}
}

static void write_txn(struct buffer *out, const struct txn_op *op)
{
	for (size_t i = 0; i < op->compare_count; i++) {
		struct buffer one = BUFFER_INIT(ARENA_BYTES_MAX);

		write_compare(&one, &op->compares[i]);
		write_message(out, 1, buffer_bytes(&one));
		buffer_fini(&one);
	}
	write_branch(out, 2, op->success, op->success_count);
	write_branch(out, 3, op->failure, op->failure_count);
}

static void write_watch(struct buffer *out, const struct watch_request *request)
{
	struct buffer body = BUFFER_INIT(ARENA_BYTES_MAX);
	const struct watch_spec *spec = &request->spec;

	if (request->kind == WATCH_CREATE) {
		write_bytes(&body, 1, spec->key);
		write_bytes(&body, 2, spec->end);
		write_number(&body, 3, spec->start_revision);
		write_number(&body, 4, spec->progress_notify);
		if (spec->no_put)
			write_message(&body, 5, bytes_of("", 1));
		if (spec->no_delete)
			write_message(&body, 5, bytes_of("\1", 1));
		write_number(&body, 6, spec->prev_kv);
		write_number(&body, 7, spec->watch_id);
		write_number(&body, 8, spec->fragment);
	} else if (request->kind == WATCH_CANCEL) {
		write_number(&body, 1, request->watch_id);
	}
	if (request->kind != WATCH_NOTHING)
		write_message(out, (unsigned)request->kind, buffer_bytes(&body));
	buffer_fini(&body);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* All numbers from here on: KV's kinds, then these. */
enum { KIND_WATCH = REQUEST_TXN + 1, KIND_OTHERS };

/* Reads a message and writes what was understood; what the arena holds stays until its end. */
static enum err digest(struct arena *arena, unsigned kind, struct bytes message, struct buffer *out,
		       struct txn_op *txn)
{
	struct codec codec = CODEC_INIT(arena);
	struct request request = {.kind = (enum request_kind)kind};
	struct watch_request watch;
	enum err e;

	switch (kind) {
	case REQUEST_RANGE:
		e = codec_range(&codec, message, &request.as.range);
		break;
	case REQUEST_PUT:
		e = codec_put(&codec, message, &request.as.put);
		break;
	case REQUEST_DELETE:
		e = codec_delete(&codec, message, &request.as.delete_range);
		break;
	case REQUEST_TXN:
		request.as.txn = txn;
		e = codec_txn(&codec, message, txn);
		fuzz_must(e == ERR_OK || e == ERR_MALFORMED || e == ERR_TOO_MANY_OPS);
		break;
	default:
		e = watch_request_read(message, &watch);
		fuzz_must(e == ERR_OK || e == ERR_MALFORMED);
		if (!e)
			write_watch(out, &watch);
		return e;
	}
	fuzz_must((e == ERR_MALFORMED) == (codec.problem != NULL));
	if (!e)
		write_request(out, &request);
	return e;
}

/* The naive reading of etcd's rule for one level without nested transactions. */
static bool writes_twice(const struct request *requests, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < count; j++) {
			const struct put_op *put = &requests[i].as.put;

			if (i == j || requests[i].kind != REQUEST_PUT)
				continue;
			if (requests[j].kind == REQUEST_PUT &&
			    bytes_equal(put->key, requests[j].as.put.key))
				return true;
			/* An open end is compared as it is written. */
			if (requests[j].kind == REQUEST_DELETE &&
			    range_contains(requests[j].as.delete_range.key,
					   requests[j].as.delete_range.end, put->key) &&
			    (!range_is_open(requests[j].as.delete_range.end) ||
			     bytes_compare(put->key, requests[j].as.delete_range.end) < 0))
				return true;
		}
	return false;
}

static bool is_flat(const struct request *requests, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (requests[i].kind == REQUEST_TXN)
			return false;
	return true;
}

static void fuzz_checks(const struct txn_op *txn)
{
	enum err e = check_txn(txn, TXN_OPS_DEFAULT);

	fuzz_must(check_txn_cost(txn) >= 0);
	if ((e && e != ERR_DUPLICATE_KEY) || !is_flat(txn->success, txn->success_count) ||
	    !is_flat(txn->failure, txn->failure_count))
		return;
	fuzz_must((e == ERR_DUPLICATE_KEY) == (writes_twice(txn->success, txn->success_count) ||
					       writes_twice(txn->failure, txn->failure_count)));
}

/* protobuf-c takes any wire type for a bool, and does not join a member of a oneof that was sent
 * twice: such messages are no measure. */
static bool is_plain(const ProtobufCMessageDescriptor *type, struct bytes message, size_t depth)
{
	struct reader reader = reader_of(message);
	uint32_t member = 0;
	struct field field;

	while (depth && reader_next(&reader, &field)) {
		const ProtobufCFieldDescriptor *known =
			protobuf_c_message_descriptor_get_field(type, field.number);

		if (!known)
			continue;
		if (known->type == PROTOBUF_C_TYPE_BOOL && field.type != FIELD_VARINT)
			return false;
		if (known->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
			if (member)
				return false;
			member = field.number;
		}
		if (known->type == PROTOBUF_C_TYPE_MESSAGE && field.type == FIELD_BYTES &&
		    !is_plain(known->descriptor, field.bytes, depth - 1))
			return false;
	}
	return depth > 0;
}

/* --- what protobuf-c read, without what the store does not look at -------------------------- */

/* A number for another target, or zero, is the same as none. */
static void plain_compare(Etcdserverpb__Compare *compare)
{
	bool is_zero = compare->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE
			       ? !compare->value.len
			       : !compare->version;

	if (compare->target_union_case == 0)
		return;
	if (is_zero || (int)compare->target_union_case != (int)compare->target + 4) {
		compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION__NOT_SET;
		compare->version = 0;
	}
}

/* Two filters that are known, in order, each once. */
static void plain_filters(Etcdserverpb__WatchCreateRequest *create)
{
	bool is_there[2] = {false, false};

	for (size_t i = 0; i < create->n_filters; i++)
		if ((unsigned)create->filters[i] < 2)
			is_there[create->filters[i]] = true;
	create->n_filters = 0;
	for (unsigned i = 0; i < 2; i++)
		if (is_there[i])
			create->filters[create->n_filters++] =
				(Etcdserverpb__WatchCreateRequest__FilterType)i;
}

static void plain_message(ProtobufCMessage *message);

static void plain_field(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	uint8_t *base = (uint8_t *)message;
	size_t count = 1;
	ProtobufCMessage **list;

	if (field->type != PROTOBUF_C_TYPE_MESSAGE)
		return;
	if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		count = *(size_t *)(void *)(base + field->quantifier_offset);
		list = *(ProtobufCMessage ***)(void *)(base + field->offset);
	} else {
		list = (ProtobufCMessage **)(void *)(base + field->offset);
		if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
		    *(uint32_t *)(void *)(base + field->quantifier_offset) != field->id)
			return;
	}
	for (size_t i = 0; i < count; i++)
		if (list[i])
			plain_message(list[i]);
}

static void plain_message(ProtobufCMessage *message)
{
	/* Leaks nothing: the arrays came from the arena of the caller. */
	message->n_unknown_fields = 0;
	if (message->descriptor == &etcdserverpb__range_request__descriptor)
		((Etcdserverpb__RangeRequest *)message)->serializable = 0;
	if (message->descriptor == &etcdserverpb__compare__descriptor)
		plain_compare((Etcdserverpb__Compare *)message);
	if (message->descriptor == &etcdserverpb__watch_create_request__descriptor)
		plain_filters((Etcdserverpb__WatchCreateRequest *)message);
	for (unsigned i = 0; i < message->descriptor->n_fields; i++)
		plain_field(message, &message->descriptor->fields[i]);
}

static void *take(void *context, size_t size)
{
	return arena_alloc(context, size ? size : 1);
}

static void leave(void *context, void *memory)
{
	(void)context, (void)memory;
}

/* The same message, written by protobuf-c; false when that does not take it. */
static bool plain_pack(struct arena *arena, const ProtobufCMessageDescriptor *type,
		       struct bytes message, struct buffer *out)
{
	ProtobufCAllocator allocator = {take, leave, arena};
	ProtobufCMessage *unpacked =
		protobuf_c_message_unpack(type, &allocator, message.size, message.data);

	if (!unpacked)
		return false;
	plain_message(unpacked);
	fuzz_must(buffer_reserve(out, protobuf_c_message_get_packed_size(unpacked)));
	out->size = protobuf_c_message_pack(unpacked, buffer_end(out));
	return true;
}

static void fuzz_request(unsigned kind, struct bytes message)
{
	static const ProtobufCMessageDescriptor *const types[] = {
		[REQUEST_RANGE] = &etcdserverpb__range_request__descriptor,
		[REQUEST_PUT] = &etcdserverpb__put_request__descriptor,
		[REQUEST_DELETE] = &etcdserverpb__delete_range_request__descriptor,
		[REQUEST_TXN] = &etcdserverpb__txn_request__descriptor,
		[KIND_WATCH] = &etcdserverpb__watch_request__descriptor,
	};
	struct buffer once = BUFFER_INIT(ARENA_BYTES_MAX), twice = once, theirs = once, ours = once;
	struct txn_op txn = {0}, other;
	struct arena arena;

	arena_init(&arena, ARENA_BYTES_MAX);
	if (!digest(&arena, kind, message, &once, &txn)) {
		fuzz_must(!digest(&arena, kind, buffer_bytes(&once), &twice, &other));
		fuzz_must(bytes_equal(buffer_bytes(&once), buffer_bytes(&twice)));
		if (kind == REQUEST_TXN)
			fuzz_checks(&txn);
		if (is_plain(types[kind], message, 2 * TXN_DEPTH_MAX) &&
		    plain_pack(&arena, types[kind], message, &theirs)) {
			fuzz_must(plain_pack(&arena, types[kind], buffer_bytes(&once), &ours));
			fuzz_must(bytes_equal(buffer_bytes(&theirs), buffer_bytes(&ours)));
		}
	}
	buffer_fini(&once);
	buffer_fini(&twice);
	buffer_fini(&theirs);
	buffer_fini(&ours);
	arena_fini(&arena);
}

/* --- all others ------------------------------------------------------------------------------- */

static const ProtobufCMessageDescriptor *const others[] = {
	&etcdserverpb__compaction_request__descriptor,
	&etcdserverpb__lease_grant_request__descriptor,
	&etcdserverpb__lease_revoke_request__descriptor,
	&etcdserverpb__lease_keep_alive_request__descriptor,
	&etcdserverpb__lease_time_to_live_request__descriptor,
	&etcdserverpb__lease_leases_request__descriptor,
	&etcdserverpb__member_add_request__descriptor,
	&etcdserverpb__member_remove_request__descriptor,
	&etcdserverpb__member_update_request__descriptor,
	&etcdserverpb__member_list_request__descriptor,
	&etcdserverpb__member_promote_request__descriptor,
	&etcdserverpb__alarm_request__descriptor,
	&etcdserverpb__status_request__descriptor,
	&etcdserverpb__defragment_request__descriptor,
	&etcdserverpb__hash_request__descriptor,
	&etcdserverpb__hash_kvrequest__descriptor,
	&etcdserverpb__snapshot_request__descriptor,
	&etcdserverpb__move_leader_request__descriptor,
	&etcdserverpb__downgrade_request__descriptor,
	&grpc__health__v1__health_check_request__descriptor,
};

/* codec_numbers() against protobuf-c: both fields of a LeaseGrantRequest. */
static void fuzz_numbers(struct bytes message)
{
	struct arena arena;
	struct codec codec = CODEC_INIT(&arena);
	uint64_t numbers[2];
	Etcdserverpb__LeaseGrantRequest *theirs =
		etcdserverpb__lease_grant_request__unpack(NULL, message.size, message.data);

	arena_init(&arena, ARENA_BYTES_MAX);
	if (!codec_numbers(&codec, message, numbers, 2) && theirs)
		fuzz_must(numbers[0] == (uint64_t)theirs->ttl &&
			  numbers[1] == (uint64_t)theirs->id);
	etcdserverpb__lease_grant_request__free_unpacked(theirs, NULL);
	arena_fini(&arena);
}

static void fuzz_other(unsigned which, struct bytes message)
{
	const ProtobufCMessageDescriptor *type = others[which];
	struct arena arena;
	struct codec codec = CODEC_INIT(&arena);
	ProtobufCMessage *unpacked, *again;
	uint8_t *packed, *repacked;
	size_t size;

	arena_init(&arena, ARENA_BYTES_MAX);
	if (!codec_unpack(&codec, type, message, &unpacked)) {
		size = protobuf_c_message_get_packed_size(unpacked);
		packed = malloc(size + 1);
		repacked = malloc(size + 1);
		fuzz_must(packed && repacked);
		fuzz_must(protobuf_c_message_pack(unpacked, packed) == size);
		fuzz_must(!codec_unpack(&codec, type, bytes_of(packed, size), &again));
		fuzz_must(protobuf_c_message_get_packed_size(again) == size);
		protobuf_c_message_pack(again, repacked);
		fuzz_must(!memcmp(packed, repacked, size));
		free(packed);
		free(repacked);
	} else {
		fuzz_must(codec.problem);
	}
	arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = fuzz_input_of(data, size);
	unsigned kind =
		fuzz_below(&input, KIND_OTHERS + (unsigned)(sizeof(others) / sizeof(*others)));
	struct bytes message = fuzz_rest(&input);

	fuzz_quiet();
	if (kind < KIND_OTHERS) {
		fuzz_request(kind, message);
	} else {
		fuzz_other(kind - KIND_OTHERS, message);
		fuzz_numbers(message);
	}
	return 0;
}
