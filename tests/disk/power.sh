#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# power.sh [ROUNDS] : power cuts (power.c). First sees that the test notices what it must notice,
# then looks at the states of a random workload: a short one, or with ROUNDS states per point a long one.
set -u
cd "$(dirname "$0")/../.." || exit 1
program=build/release/tests/disk/power
passed=0 failed=0

# sabotage FLAG... : without these syncs acknowledged writes get lost, and the test must say so.
sabotage() {
	local lost
	lost=$("$program" --seed 1 --steps 2 --rounds 3 --quiet "$@" 2>/dev/null | tail -n 1)
	echo "seen failing with $*: $lost"
	if [[ $lost =~ ^[0-9]+\ passed,\ ([0-9]+)\ failed$ ]] && [ "${BASH_REMATCH[1]}" -gt 0 ]; then
		passed=$((passed + 1))
	else
		echo "  but it must fail"
		failed=$((failed + 1))
	fi
}

sabotage --synchronous NORMAL
sabotage --synchronous OFF
sabotage --drop-folder-syncs
sabotage --drop-syncs-of .part

log=$(mktemp)
if [ $# -gt 0 ]; then
	workload=(--steps 40 --rounds "$1")
else
	workload=(--steps 12 --rounds 5)
fi
"$program" "${workload[@]}" >"$log" 2>&1
grep -v '^{' "$log"
line=$(tail -n 1 "$log")
if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
	passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
else
	failed=$((failed + 1)) # it broke off
fi
rm -f "$log"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
