/* SPDX-License-Identifier: Apache-2.0 */
/* common.h - what both bench programs use: a clock, and one way to give up. */
#ifndef TESTS_BENCH_COMMON_H
#define TESTS_BENCH_COMMON_H

#include <stdint.h>

#define MESSAGE_BYTES_MAX (512u << 20)

int64_t now_ns(void);
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
