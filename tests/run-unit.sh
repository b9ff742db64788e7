#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run-unit.sh OUT : runs every unit test program under OUT, one process each, and sums up.
set -u
out=$1
passed=0 failed=0
for program in $(find "$out/tests/unit" -name 'test_*' -type f -executable | sort); do
	start=$(date +%s)
	text=$(timeout 300 "$program" 2>&1)
	code=$?
	p=$(grep -c '^\[       OK \]' <<<"$text")
	f=$(grep -c '^\[  FAILED  \] [a-z]' <<<"$text")
	[ "$f" -gt 0 ] && f=$(grep '^\[  FAILED  \] [a-z]' <<<"$text" | sort -u | wc -l)
	if [ $code -ne 0 ] && [ "$f" -eq 0 ]; then
		f=1 # crashed, timed out or was stopped by a sanitizer
	fi
	printf '%-60s %3d passed, %d failed, %d s\n' "${program#"$out"/tests/}" "$p" "$f" \
		$(($(date +%s) - start))
	if [ "$f" -gt 0 ]; then
		echo "exit status $code"
		tail -n 60 <<<"$text"
	fi
	passed=$((passed + p)) failed=$((failed + f))
done
[ "$passed" -gt 0 ] || { echo "no unit test ran in $out"; failed=$((failed + 1)); }
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
