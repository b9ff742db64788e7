#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# faults.sh [EVERY] : failing operations (faults.c): the first calls of each kind, then each EVERY-th (60).
set -u
cd "$(dirname "$0")/../.." || exit 1
[ -w /dev/shm ] && export TMPDIR=/dev/shm
build/release/tests/disk/faults --every "${1:-60}" 2>&1 | grep -v '^{"level'
exit "${PIPESTATUS[0]}"
