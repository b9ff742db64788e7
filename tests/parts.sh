# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# parts.sh : runs tests part by part and adds up what they say.  Sourced by run.sh and long.sh.
# REQUIRE_ALL=1 makes a skipped part a failure (CI sets it).

passed=0 failed=0 skipped=0
logs=build/test-logs
mkdir -p $logs

# part NAME COMMAND... : its last "N passed, N failed[, N skipped]" line counts.
part() {
	local name=$1 start line p f s
	shift
	start=$(date +%s)
	echo "== $name"
	"$@" >"$logs/$name.log" 2>&1
	local code=$?
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' "$logs/$name.log" | tail -n 1)
	p=$(sed -E 's/^([0-9]+) passed.*/\1/' <<<"${line:-0 passed}")
	f=$(sed -E 's/.* ([0-9]+) failed.*/\1/' <<<"${line:-0 passed, 0 failed}")
	s=$(sed -nE 's/.* ([0-9]+) skipped$/\1/p' <<<"$line")
	s=${s:-0}
	if [ $code -eq 77 ] && [ "$f" -eq 0 ]; then
		s=$((s > 0 ? s : 1)) # it cannot run on this machine and has said why
	elif [ $code -ne 0 ] && [ "$f" -eq 0 ]; then
		f=1 # it broke off without counting
	fi
	if [ "${REQUIRE_ALL:-}" = 1 ] && [ "$s" -gt 0 ]; then
		f=$((f + s))
	fi
	[ "$f" -gt 0 ] && tail -n 60 "$logs/$name.log"
	grep -i 'skip' "$logs/$name.log" | head -n 3
	echo "   $name: $p passed, $f failed, $s skipped, $(($(date +%s) - start)) s"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

# parts_end : one closing line, and the status for all of it.
parts_end() {
	echo
	if [ $skipped -gt 0 ]; then
		echo "$passed passed, $failed failed, $skipped skipped"
	else
		echo "$passed passed, $failed failed"
	fi
	[ $failed -eq 0 ]
}
