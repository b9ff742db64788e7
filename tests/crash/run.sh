#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Kills the server under load, round after round, and compares each restart with a ledger.
# Ends with "N passed, N failed[, N skipped]"; exit 1 = something was lost, 77 = it cannot be built here.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/lib.sh
. "$root/tests/lib.sh"

usage() {
	cat <<USAGE
usage: run.sh [--rounds N] [--for TIME] [--seed N] [--aim NAME] [--kedge PATH] [--etcd] [--memory] [--no-control] [-v]
  --rounds N     rounds of load, kill, restart, compare (default 30)
  --for TIME     begin no further round after this long, as 10m
  --seed N       replays the plans of that run: who is killed when; what the clients meet is never the same
  --aim NAME     only kills of one kind: uniform, ack, burst, early, compact, physical, defragment, snapshot,
                 recovery, term
  --kedge PATH   the program under test (default build/kedge)
  --etcd         test etcd instead: the control of the test
  --memory       keep the data in memory, not on the disk: faster, with shorter commits
  --no-control   leave out the proof that the checks can fail
USAGE
}

rounds=30 kedge=$root/build/kedge etcd='' memory='' control=1 extra=()
while [ $# -gt 0 ]; do
	case $1 in
	--rounds) rounds=$2; shift ;;
	--for) extra+=(-for "$2"); shift ;;
	--seed) extra+=(-seed "$2"); shift ;;
	--aim) extra+=(-aim "$2"); shift ;;
	--kedge) kedge=$2; shift ;;
	--etcd) etcd=1 ;;
	--memory) memory=1 ;;
	--no-control) control='' ;;
	-v) extra+=(-v) ;;
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

tool=$(cache_root)/crashtest
mkdir -p "$(cache_root)"
(
	need_go
	go_env readonly
	cd "$here" && go_fetch . && go build -o "$tool.new" . && mv "$tool.new" "$tool"
)
case $? in
0) ;;
"$SKIPPED") finish "the test cannot be built here" ;;
*) failed=1; finish ;;
esac

urls="--data-dir {dir} --listen-client-urls {url} --advertise-client-urls {url} --log-level warn"
if [ -n "$etcd" ]; then
	bin=$(bash "$root/tests/kube/build-etcd.sh" | tail -n 1; exit "${PIPESTATUS[0]}")
	case $? in
	0) ;;
	"$SKIPPED") finish "the reference etcd cannot be built here" ;;
	*) failed=1; finish ;;
	esac
	server=(-command "$bin/etcd $urls --listen-peer-urls {peer} --initial-advertise-peer-urls {peer} --initial-cluster default={peer}")
	control='' # some of the faults are made in kedge's files
else
	if [ ! -x "$kedge" ]; then
		say "error: $kedge is not there; build it with: make"
		failed=1
		finish
	fi
	server=(-command "$kedge serve $urls" -restore "$kedge snapshot restore {file} --data-dir {dir}")
fi

shm=$root/build/crash
[ -d /dev/shm ] && [ -w /dev/shm ] && shm=/dev/shm
data=$root/build/crash
[ -n "$memory" ] && data=$shm
mkdir -p "$data" "$shm"
scratch=$(mktemp -d "$shm/crashtest.XXXXXX")
data=$(mktemp -d "$data/data.XXXXXX")
trap 'rm -rf "$scratch"; rmdir "$data" 2>/dev/null' EXIT # after a failure the data stays

# First every check is seen to fail: each fault must be found within some rounds.
if [ -n "$control" ]; then
	for fault in $("$tool" -faults); do
		aim=uniform
		[ "$fault" = snapshot ] && aim=snapshot
		log=$("$tool" "${server[@]}" -data "$scratch" -fault "$fault" -aim "$aim" -rounds 60 -load 80ms 2>&1)
		if [ $? -eq 1 ] && grep -q '^round' <<<"$log"; then
			passed=$((passed + 1))
			echo "ok      the fault '$fault' is found: $(grep -m 1 '^- ' <<<"$log" | cut -c 3-110)"
		else
			failed=$((failed + 1))
			tail -n 20 <<<"$log"
			echo "FAILED  the fault '$fault' is not found"
		fi
	done
fi

if "$tool" "${server[@]}" -data "$data" -rounds "$rounds" "${extra[@]}"; then
	passed=$((passed + 1))
	echo "ok      nothing is lost"
else
	failed=$((failed + 1))
	echo "FAILED  see above"
fi
finish
