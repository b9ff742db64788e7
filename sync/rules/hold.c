/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/rules/hold.h"

static bool has(const struct bytes *list, size_t count, struct bytes text)
{
	for (size_t i = 0; i < count; i++)
		if (bytes_equal(list[i], text))
			return true;
	return false;
}

static bool reads_version(const struct hello *receiver, struct bytes key, struct bytes api_version)
{
	const struct storage_versions *best = NULL;

	for (size_t i = 0; i < receiver->version_count; i++) {
		const struct storage_versions *versions = &receiver->versions[i];
		size_t size = versions->prefix.size;

		if (size <= key.size && bytes_equal(versions->prefix, bytes_of(key.data, size)) &&
		    (!best || size > best->prefix.size))
			best = versions;
	}
	return !best || !best->count || has(best->api_versions, best->count, api_version);
}

enum hold hold_for(const struct hello *receiver, struct bytes key, bool moved,
		   const struct value_kind *kind)
{
	switch (kind->form) {
	case VALUE_FOREIGN:
		break;
	case VALUE_OBJECT:
		return reads_version(receiver, key, kind->api_version) ? HOLD_NOT : HOLD_VERSION;
	case VALUE_ENCRYPTED:
		if (!has(receiver->key_ids, receiver->key_id_count, kind->key_name))
			return HOLD_KEY;
		return moved && kind->binds_key ? HOLD_MOVED : HOLD_NOT;
	}
	return HOLD_NOT;
}

const char *hold_text(enum hold hold)
{
	switch (hold) {
	case HOLD_NOT:
		break;
	case HOLD_VERSION:
		return "stored in an API version that the other site does not read: upgrade that "
		       "site, or store the older version here";
	case HOLD_KEY:
		return "encrypted with a key that the other site does not have: give both the same "
		       "EncryptionConfiguration, or leave the resource unencrypted in the store";
	case HOLD_MOVED:
		return "encrypted for one etcd key (aesgcm, kms) and stored under another there: "
		       "use secretbox or aescbc, or the same --etcd-prefix";
	}
	return "";
}
