/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/rpc/wire.h"

enum header_field { HEADER_CLUSTER_ID = 1, HEADER_MEMBER_ID, HEADER_REVISION, HEADER_RAFT_TERM };
enum kv_field { KV_KEY = 1, KV_CREATE_REVISION, KV_MOD_REVISION, KV_VERSION, KV_VALUE, KV_LEASE };

size_t wire_header_size(const struct wire_header *header)
{
	return wire_uint_size(HEADER_CLUSTER_ID, header->cluster_id) +
	       wire_uint_size(HEADER_MEMBER_ID, header->member_id) +
	       wire_int_size(HEADER_REVISION, header->revision) +
	       wire_uint_size(HEADER_RAFT_TERM, header->raft_term);
}

uint8_t *wire_put_header(uint8_t *to, const struct wire_header *header)
{
	to = wire_put_uint(to, HEADER_CLUSTER_ID, header->cluster_id);
	to = wire_put_uint(to, HEADER_MEMBER_ID, header->member_id);
	to = wire_put_int(to, HEADER_REVISION, header->revision);
	return wire_put_uint(to, HEADER_RAFT_TERM, header->raft_term);
}

size_t wire_kv_head_size(const struct kv *kv)
{
	size_t size = wire_bytes_size(KV_KEY, kv->key) +
		      wire_int_size(KV_CREATE_REVISION, kv->create_revision) +
		      wire_int_size(KV_MOD_REVISION, kv->mod_revision) +
		      wire_int_size(KV_VERSION, kv->version);

	if (kv->value.size)
		size += wire_tag_size(KV_VALUE) + wire_varint_size(kv->value.size);
	return size;
}

size_t wire_kv_tail_size(const struct kv *kv)
{
	return wire_int_size(KV_LEASE, kv->lease);
}

size_t wire_kv_size(const struct kv *kv)
{
	return wire_kv_head_size(kv) + kv->value.size + wire_kv_tail_size(kv);
}

uint8_t *wire_put_kv_head(uint8_t *to, const struct kv *kv)
{
	to = wire_put_bytes(to, KV_KEY, kv->key);
	to = wire_put_int(to, KV_CREATE_REVISION, kv->create_revision);
	to = wire_put_int(to, KV_MOD_REVISION, kv->mod_revision);
	to = wire_put_int(to, KV_VERSION, kv->version);
	if (kv->value.size)
		to = wire_put_message(to, KV_VALUE, kv->value.size);
	return to;
}

uint8_t *wire_put_kv_tail(uint8_t *to, const struct kv *kv)
{
	return wire_put_int(to, KV_LEASE, kv->lease);
}

uint8_t *wire_put_kv(uint8_t *to, const struct kv *kv)
{
	to = wire_put_kv_head(to, kv);
	to = wire_put_raw(to, kv->value);
	return wire_put_kv_tail(to, kv);
}
