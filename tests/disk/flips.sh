#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# flips.sh [FLIPS] : flipped bits (flips.c): FLIPS (280) in the database, a fifth of it in the WAL.
set -u
cd "$(dirname "$0")/../.." || exit 1
flips=${1:-280}
[ -w /dev/shm ] && export TMPDIR=/dev/shm
build/release/tests/disk/flips --flips "$flips" --wal-flips $((flips / 5)) 2>&1 | grep -v '^{"level'
exit "${PIPESTATUS[0]}"
