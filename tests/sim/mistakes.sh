#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# mistakes.sh [FACTOR] : designs that are known to be wrong, switched on one at a time
# (sync/engine/mistakes.h): the simulator must find each within so many seeds (times FACTOR).
set -u
cd "$(dirname "$0")/../.." || exit 1
program=${SIM:-build/release/tests/sim/sim}
factor=${1:-1}
passed=0 failed=0

# must_fail MISTAKE SEEDS [FLAG...]
must_fail() {
	local word=$1 within=$(($2 * factor)) line
	shift 2
	line=$("$program" --mistake "$word" --seed 1 --runs "$within" --first "$@" 2>/dev/null |
		grep '^seed ' | head -n 1)
	if [[ $line =~ ^seed\ ([0-9]+) ]]; then
		echo "$word: found after ${BASH_REMATCH[1]} seeds ($within allowed): ${line#*: }"
		passed=$((passed + 1))
	else
		echo "$word: not found in $within seeds"
		failed=$((failed + 1))
	fi
}

must_fail discard 20
must_fail no-wildcard 100
must_fail no-barrier 500
must_fail no-bump 50
must_fail live-dots 100
must_fail not-durable 100
must_fail no-session-context 500
must_fail cut-inside 100

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
