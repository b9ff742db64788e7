#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# sim.sh [RUNS] [FIRST_SEED] : the simulator (docs/simulator.md), two processes with half of the seeds each;
# each seed that fails prints a short trace and how to replay it.
set -u
cd "$(dirname "$0")/.." || exit 1
program=${SIM:-build/release/tests/sim/sim}
runs=${1:-2000} first=${2:-1}
half=$(((runs + 1) / 2))
logs=$(mktemp -d)
passed=0 failed=0

"$program" --seed "$first" --runs $half --all-paths >"$logs/1" 2>&1 &
"$program" --seed $((first + half)) --runs $((runs - half)) --all-paths >"$logs/2" 2>&1 &
wait
for log in "$logs"/*; do
	cat "$log"
	line=$(tail -n 1 "$log")
	if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
		passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
	else
		failed=$((failed + 1)) # it broke off
	fi
done
rm -rf "$logs"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
