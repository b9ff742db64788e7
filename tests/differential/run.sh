#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs random programs of requests on kedge and on a real etcd and compares every answer.
# Ends with "N passed, N failed[, N skipped]"; exit 1 = a difference, 77 = nothing could be compared.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/lib.sh
. "$root/tests/lib.sh"

usage() {
	cat <<USAGE
usage: run.sh [--requests N] [--seed N] [--jobs N] [--kedge PATH] [--etcd] [--program FILE] [--keep-going]
  --requests N    requests to compare (default 20000)
  --seed N        first seed (default 1); every 2000 requests start a new program with the next seed
  --jobs N        programs to run side by side (default 3: servers and this test often wait for each other)
  --kedge PATH    the program under test (default build/kedge)
  --etcd          test etcd against itself instead: the control of the test
  --program FILE  replay a program that found a difference
  --keep-going    list every sort of difference instead of stopping at the first
  --no-control    leave out the proof that the comparison can fail
USAGE
}

requests=20000 seed=1 jobs=3 kedge=$root/build/kedge program='' control=1 extra=()
while [ $# -gt 0 ]; do
	case $1 in
	--requests) requests=$2; shift ;;
	--seed) seed=$2; shift ;;
	--jobs) jobs=$2; shift ;;
	--kedge) kedge=$2; shift ;;
	--etcd) kedge='' ;;
	--program) program=$2; shift ;;
	--keep-going) extra+=(-keep-going) ;;
	--no-control) control='' ;;
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
check() { # name, status that is right, command...
	local name=$1 want=$2 status
	shift 2
	"$@" >"$out/log" 2>&1
	status=$?
	if [ "$status" -eq "$want" ]; then
		passed=$((passed + 1))
		echo "ok      $name: $(tail -n 1 "$out/log")"
	else
		failed=$((failed + 1))
		cat "$out/log"
		echo "FAILED  $name (status $status, not $want)"
	fi
}

bin=$(bash "$root/tests/kube/build-etcd.sh" | tail -n 1; exit "${PIPESTATUS[0]}")
case $? in
0) ;;
"$SKIPPED") finish "the reference etcd cannot be built here" ;;
*) failed=1; finish ;;
esac
if [ -n "$kedge" ] && [ ! -x "$kedge" ]; then
	say "error: $kedge is not there; build it with: make"
	failed=1
	finish
fi

# Data lives in memory where that is possible: a killed process loses nothing it wrote either way.
shm=${TMPDIR:-/tmp}
[ -d /dev/shm ] && [ -w /dev/shm ] && shm=/dev/shm
data=$(mktemp -d "$shm/difftest.XXXXXX")
trap 'rm -rf "$data"' EXIT
out=$root/build/differential
mkdir -p "$out"

tool=$(cache_root)/difftest
(
	go_env readonly
	cd "$here" && go_fetch . && go build -o "$tool.new" . && mv "$tool.new" "$tool"
)
case $? in
0) ;;
"$SKIPPED") finish "the Go modules of the test cannot be fetched" ;;
*) failed=1; finish ;;
esac

urls="--data-dir {dir} --listen-client-urls {url} --advertise-client-urls {url}"
etcd="$bin/etcd $urls --listen-peer-urls {peer} --initial-advertise-peer-urls {peer} --initial-cluster default={peer} --log-level warn"
under_test=$etcd
[ -n "$kedge" ] && under_test="$kedge serve $urls"

if [ -n "$program" ]; then
	exec "$tool" -spawn-a "$etcd" -spawn-b "$under_test" -out "$out" -data "$data" -program "$program" "${extra[@]}"
fi

# First the comparison must be seen to fail: one fault in B's answers has to be found.
if [ -n "$control" ]; then
	for mode in response error event drop double swap late silent split; do
		check "a fault of the sort '$mode' is found" 1 \
			"$tool" -spawn-a "$etcd" -spawn-b "$etcd" -out "$data" -requests 1000 -mutate "$mode" -restarts=false
	done
	check "etcd does not differ from itself" 0 \
		"$tool" -spawn-a "$etcd" -spawn-b "$etcd" -out "$out" -data "$data" -requests 1000 -seed "$seed"
fi
echo "seed $seed, $requests requests"
name="kedge is like etcd"
[ -n "$kedge" ] || name="etcd is like etcd"
check "$name" 0 \
	"$tool" -spawn-a "$etcd" -spawn-b "$under_test" -out "$out" -data "$data" \
	-requests "$requests" -seed "$seed" -jobs "$jobs" -shrink 60s "${extra[@]}"
cat "$out/log"
finish
