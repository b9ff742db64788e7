#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# all.sh [--short]: the cluster test on kedge in every mode, and then on etcd as its control.
# With --short one short run on kedge alone. Ends with `N passed, N failed` (and `, N skipped`).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
passed=0 failed=0 skipped=0

# one TITLE ARGS...: a run that ends without a result counts as one failure.
one() {
	local title=$1 log result status=0
	shift
	log=$(mktemp)
	printf '== %s: run.sh %s\n' "$title" "$*"
	"$here/run.sh" "$@" 2>&1 | tee "$log" || status=$?
	result=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$log" | tail -n 1)
	rm -f "$log"
	if [ "$status" -eq 77 ]; then
		skipped=$((skipped + 1))
		return
	fi
	[ -n "$result" ] || result="0 1"
	passed=$((passed + ${result%% *}))
	failed=$((failed + ${result##* }))
	[ "$status" -eq 0 ] || [ "${result##* }" -ne 0 ] || failed=$((failed + 1))
}

case ${1:-} in
--short) one "short form" --short ;;
"")
	one "plain" --mode plain
	one "no watch cache" --mode nocache
	one "TLS with client certificates" --mode tls
	one "unix socket" --mode unix
	one "control: real etcd" --store etcd
	;;
*)
	echo "usage: all.sh [--short]" >&2
	exit 2
	;;
esac

if [ "$skipped" -gt 0 ]; then
	printf '%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
else
	printf '%s passed, %s failed\n' "$passed" "$failed"
fi
[ "$failed" -eq 0 ]
