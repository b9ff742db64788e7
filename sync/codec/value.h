/* SPDX-License-Identifier: Apache-2.0 */
/* value.h - what a stored value is, without cutting it: its encoding and type, or how it was
 * encrypted.
 *
 * An apiserver that encrypts at rest puts `k8s:enc:PROVIDER:VERSION:KEY:` in front of the
 * ciphertext.  aesgcm and kms bind the ciphertext to its etcd key: under another key (another
 * --etcd-prefix) it cannot be read, even by who has the secret.
 *
 * Ownership: results point into the value.  Pure.  Errors: NOMEM (a fault). */
#ifndef SYNC_CODEC_VALUE_H
#define SYNC_CODEC_VALUE_H

#include "sync/codec/object.h"

enum value_form {
	VALUE_FOREIGN, /* nothing that an apiserver writes */
	VALUE_OBJECT,
	VALUE_ENCRYPTED,
};

struct value_kind {
	enum value_form form;
	/* of OBJECT */
	enum object_format format;
	struct bytes api_version;
	struct bytes kind;
	/* of ENCRYPTED; empty where the prefix does not say */
	struct bytes provider; /* "aescbc", "aesgcm", "secretbox", "kms" */
	struct bytes version;  /* "v1" */
	struct bytes key;      /* name of the key, or of the KMS plugin */
	struct bytes key_name; /* these three as they stand there: "aescbc:v1:key1" */
	struct bytes key_id;   /* KMS v2: which key the plugin used */
	bool binds_key;	       /* to the etcd key */
};

enum err value_kind(struct bytes value, struct arena *arena, struct value_kind *ret_kind);

#endif
