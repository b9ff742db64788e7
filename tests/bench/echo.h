/* SPDX-License-Identifier: Apache-2.0 */
/* echo.h - a gRPC server without a store: what nghttp2, one core and the kernel's sockets allow.
 *
 * It answers Put, Txn, Range, LeaseGrant and LeaseKeepAlive as a store of `keys` objects of
 * `value_bytes` would, in one thread, until it gets a signal. */
#ifndef TESTS_BENCH_ECHO_H
#define TESTS_BENCH_ECHO_H

#include <stddef.h>
#include <stdint.h>

_Noreturn void echo_serve(uint16_t port, uint64_t keys, size_t value_bytes);

#endif
