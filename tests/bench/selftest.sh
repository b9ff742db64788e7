#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# selftest.sh : the bench's own client does its work, and notices wrong answers.  No figures are judged.
set -u
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tests/lib.sh
. tests/lib.sh
out=build/release/tests/bench
work=$(mktemp -d)
passed=0 failed=0
kedge_pid='' echo_pid=''

finish() {
	[ -z "$kedge_pid" ] || kill "$kedge_pid"
	[ -z "$echo_pid" ] || kill "$echo_pid"
	wait
	rm -rf "$work"
}
trap finish EXIT

check() { # NAME COMMAND...
	local name=$1
	shift
	if "$@" >"$work/out" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: $name: $*"
		cat "$work/out"
	fi
}

load() {
	"$out/load" "$@" seconds=1 warmup_ms=0 keys=1000 | tee "$work/line" &&
		jq -e '.requests > 0 and .errors == 0' "$work/line" >/dev/null
}

refused() { # TEXT ARGUMENTS... : the run must fail, and say why
	local text=$1
	shift
	! "$out/load" "$@" seconds=1 warmup_ms=0 2>"$work/said" >/dev/null && grep -q "$text" "$work/said"
}

port=$(free_port)
build/kedge serve --data-dir "$work/data" --listen-client-urls "http://127.0.0.1:$port" \
	--advertise-client-urls "http://127.0.0.1:$port" 2>"$work/log" &
kedge_pid=$!
echo_port=$(free_port)
"$out/machine" echo "$echo_port" 1000 256 &
echo_pid=$!
for ((i = 0; i < 100; i++)); do
	grep -q 'ready to serve client requests' "$work/log" && break
	sleep 0.1
done

check create load create port="$port" conns=4
check fill load fill port="$port" batch=100
for workload in put get update keepalive; do
	check "$workload" load $workload port="$port" conns=3 streams=3
	check "$workload without a store" load $workload port="$echo_port" conns=3 streams=3
done
check list load list port="$port" limit=500
check stream load stream port="$port"
check watch load watch port="$port" conns=4 slots=2 watchers=20 idle_watchers=3
check mix load mix port="$port" conns=4 streams=4 limit=100 watchers=4 idle_watchers=10
check paced load update port="$port" conns=4 streams=4 rate=200 compact=1
check "what a server costs" load put port="$port" pid=$kedge_pid
check "... is known" jq -e '.rss_kib > 0 and .cpu_us > 0 and .written_bytes > 0' "$work/line"

check "a value of the wrong size" refused 'wrong size' get port="$port" keys=1000 value=10
check "a key that is not there" refused 'number of keys' get port="$port" keys=2000
check "a list that ends too early" refused 'number of keys' list port="$port" keys=2000
check "a write that lost its race" refused 'not the one last answered' create port="$port" keys=1000
check "a method that is not served" refused 'HTTP status' stream port="$echo_port" keys=1000
check "a server that is not there" refused 'connect' get port="$(free_port)"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
