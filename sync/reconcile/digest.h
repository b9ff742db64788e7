/* SPDX-License-Identifier: Apache-2.0 */
/* digest.h - BLAKE2b, cut to the length that is wanted.  Internal to sync. */
#ifndef SYNC_RECONCILE_DIGEST_H
#define SYNC_RECONCILE_DIGEST_H

#include "shim/base/bytes.h"

/* Over the parts one after the other; writes size bytes, 64 at most. */
void digest_of(const struct bytes *parts, size_t count, size_t size, uint8_t *ret_digest);

#endif
