#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Lets concurrent clients and watchers loose on kedge and checks that what they saw is one history.
# Ends with "N passed, N failed[, N skipped]"; exit 1 = a fault, 77 = nothing could be checked.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/lib.sh
. "$root/tests/lib.sh"

usage() {
	cat <<USAGE
usage: run.sh [--for TIME] [--seed N] [--kedge PATH] [--etcd] [--no-faults]
  --for TIME    how long to go on (default 40s; any Go duration)
  --seed N      seed of the first round (default 1); the next round has the next number
  --kedge PATH  the program under test (default build/kedge)
  --etcd        test etcd instead: the control of the test
  --no-faults   leave out the proof that each check can fail
USAGE
}

length=40s seed=1 kedge=$root/build/kedge faults=1
while [ $# -gt 0 ]; do
	case $1 in
	--for) length=$2; shift ;;
	--seed) seed=$2; shift ;;
	--kedge) kedge=$2; shift ;;
	--etcd) kedge='' ;;
	--no-faults) faults='' ;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
	shift
done

passed=0 failed=0
finish() {
	if [ -n "${1:-}" ]; then
		say "skipped: $1"
		echo "$passed passed, $failed failed, 1 skipped"
		[ "$failed" -eq 0 ] && exit "$SKIPPED"
		exit 1
	fi
	echo "$passed passed, $failed failed"
	[ "$failed" -eq 0 ]
	exit
}

# Data lives in memory where that is possible: this test kills nothing.
shm=${TMPDIR:-/tmp}
[ -d /dev/shm ] && [ -w /dev/shm ] && shm=/dev/shm
data=$(mktemp -d "$shm/histories.XXXXXX")
trap 'rm -rf "$data"' EXIT
out=$root/build/histories
mkdir -p "$out"

tool=$(cache_root)/histories
mkdir -p "$(cache_root)"
(
	need_go
	go_env readonly
	cd "$here" && go_fetch . && go build -o "$tool.new" . && mv "$tool.new" "$tool"
)
case $? in
0) ;;
"$SKIPPED") finish "the Go modules of the test cannot be fetched" ;;
*) failed=1; finish ;;
esac

urls="--data-dir {dir} --listen-client-urls {url} --advertise-client-urls {url}"
server="$kedge serve $urls" extra=()
if [ -z "$kedge" ]; then
	bin=$(bash "$root/tests/kube/build-etcd.sh" | tail -n 1; exit "${PIPESTATUS[0]}")
	case $? in
	0) ;;
	"$SKIPPED") finish "the reference etcd cannot be built here" ;;
	*) failed=1; finish ;;
	esac
	server="$bin/etcd $urls --listen-peer-urls {peer} --initial-advertise-peer-urls {peer} --initial-cluster default={peer} --log-level warn"
	extra=(-etcd)
elif [ ! -x "$kedge" ]; then
	say "error: $kedge is not there; build it with: make"
	failed=1
	finish
fi

# fault SORT CHECKS : a short round with one sort of fault must be found bad by those checks.
fault() {
	local dir=$data/$1-$2
	mkdir -p "$dir"
	"$tool" -spawn "$server" "${extra[@]}" -data "$dir" -rounds 2 -steps 80 -endings=false -seed "$seed" -checks "$2" -fault "$1" \
		>"$dir/result" 2>&1
	echo $? >"$dir/status"
}
if [ -n "$faults" ]; then
	all=()
	for sort in lost doubled reordered split late high prev noprev filter gap overlap other stale old cas revision previous; do
		all+=("$sort-history")
	done
	all+=(stale-linear old-linear cas-linear)
	for each in "${all[@]}"; do
		fault "${each%-*}" "${each#*-}" &
		while [ "$(jobs -pr | wc -l)" -ge 3 ]; do wait -n; done
	done
	wait
	for each in "${all[@]}"; do
		if [ "$(cat "$data/$each/status")" = 1 ]; then
			passed=$((passed + 1))
			echo "ok      ${each#*-} finds '${each%-*}': $(grep -m 1 '^FAULT' "$data/$each/result" | cut -c 1-150)"
		else
			failed=$((failed + 1))
			cat "$data/$each/result"
			echo "FAILED  ${each#*-} does not find '${each%-*}'"
		fi
	done
fi

echo "seed $seed, $length"
if "$tool" -spawn "$server" "${extra[@]}" -data "$data" -out "$out" -for "$length" -seed "$seed"; then
	passed=$((passed + 1))
else
	failed=$((failed + 1))
fi
finish
