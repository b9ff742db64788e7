/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/codec/value.h"

#include "api/reader.h"
#include "sync/codec/type.h"
#include "sync/limits.h"

#define ENCRYPTED BYTES_LITERAL("k8s:enc:")
#define NAME_BYTES_MAX 512 /* of a part of the prefix; key names are much shorter */
#define KMS_KEY_ID 2	   /* keyID's field number in KMS v2's EncryptedObject */

/* What stands before the next colon. */
static bool take_part(struct bytes *left, struct bytes *ret_part)
{
	size_t most = left->size < NAME_BYTES_MAX ? left->size : NAME_BYTES_MAX;
	const uint8_t *colon = most ? memchr(left->data, ':', most) : NULL;

	if (!colon)
		return false;
	*ret_part = bytes_of(left->data, (size_t)(colon - left->data));
	*left = bytes_of(colon + 1, left->size - ret_part->size - 1);
	return true;
}

static struct bytes read_key_id(struct bytes encrypted)
{
	struct reader reader = reader_of(encrypted);
	struct bytes key_id = {0};
	struct field field;

	while (reader_next(&reader, &field))
		if (field.number == KMS_KEY_ID && field.type == FIELD_BYTES)
			key_id = field.bytes;
	return reader.malformed ? bytes_of(NULL, 0) : key_id;
}

static void read_encrypted(struct bytes value, struct value_kind *kind)
{
	struct bytes left = bytes_of(value.data + ENCRYPTED.size, value.size - ENCRYPTED.size);
	bool kms;

	kind->form = VALUE_ENCRYPTED;
	if (take_part(&left, &kind->provider) && take_part(&left, &kind->version) &&
	    take_part(&left, &kind->key))
		kind->key_name = bytes_of(kind->provider.data,
					  (size_t)(left.data - 1 - kind->provider.data));
	kms = bytes_equal(kind->provider, BYTES_LITERAL("kms"));
	/* Of providers that nobody knows the worst is assumed. */
	kind->binds_key = !bytes_equal(kind->provider, BYTES_LITERAL("aescbc")) &&
			  !bytes_equal(kind->provider, BYTES_LITERAL("secretbox"));
	if (kms && bytes_equal(kind->version, BYTES_LITERAL("v2")) && kind->key_name.size)
		kind->key_id = read_key_id(left);
}

enum err value_kind(struct bytes value, struct arena *arena, struct value_kind *ret_kind)
{
	struct value_kind kind = {.form = VALUE_FOREIGN, .format = OBJECT_OPAQUE};
	struct work work = {.arena = arena};
	struct bytes container;
	struct type type;

	if (value.size >= ENCRYPTED.size && !memcmp(value.data, ENCRYPTED.data, ENCRYPTED.size)) {
		read_encrypted(value, &kind);
	} else if (value.size && type_find(&work, value, &type, &container)) {
		kind.form = VALUE_OBJECT;
		kind.format = type.known.format;
		kind.api_version = type.known.api_version;
		kind.kind = type.known.kind;
	}
	if (work.no_memory)
		return fault(ERR_NOMEM, "the kind of a value of %zu bytes", value.size);
	*ret_kind = kind;
	return ERR_OK;
}
