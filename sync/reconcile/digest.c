/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/reconcile/digest.h"

#include <assert.h>
#include <openssl/evp.h>

void digest_of(const struct bytes *parts, size_t count, size_t size, uint8_t *ret_digest)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t whole[EVP_MAX_MD_SIZE];
	/* Fails for nothing but memory, and without it there is no going on: see err.h. */
	bool ok = context && EVP_DigestInit_ex(context, EVP_blake2b512(), NULL) == 1;

	for (size_t i = 0; ok && i < count; i++)
		ok = EVP_DigestUpdate(context, parts[i].data, parts[i].size) == 1;
	ok = ok && EVP_DigestFinal_ex(context, whole, NULL) == 1;
	assert(ok && size <= sizeof whole);
	memcpy(ret_digest, whole, size);
	EVP_MD_CTX_free(context);
}
