/* SPDX-License-Identifier: Apache-2.0 */
/* crc32c.h - the Castagnoli checksum: guards stored rows and is the hash of etcd's HashKV.
 *
 * Threads: any.  Errors: none.
 * Chaining: crc32c(crc32c(0, a), b) equals crc32c(0, ab), as with Go's hash/crc32 Update(). */
#ifndef SHIM_BASE_CRC32C_H
#define SHIM_BASE_CRC32C_H

#include "shim/base/bytes.h"

/* previous: 0 at the start, else the result over the bytes before these. */
uint32_t crc32c(uint32_t previous, struct bytes bytes);

/* The same without special instructions; crc32c() uses it where the processor lacks them. */
uint32_t crc32c_portable(uint32_t previous, struct bytes bytes);

#endif
