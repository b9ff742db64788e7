#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Holds the client port against two judges that are not ours: h2spec for HTTP/2, and the client of
# gRPC's interoperability tests (grpc-go's) against a small test service over our net layer.
# Ends with "N passed, N failed[, N skipped]"; exit 77 = nothing could be tested.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/lib.sh
. "$root/tests/lib.sh"

usage() {
	cat <<USAGE
usage: run.sh [--kedge PATH] [--interop-server PATH] [--reference]
  --kedge PATH           the server that h2spec tests (default build/kedge)
  --interop-server PATH  a grpc.testing.TestService that takes --port N (default build/release/tests/interop_server)
  --reference            test grpc-go's own interop server and etcd instead: the control of this script;
                         only h2spec is expected to complain there
USAGE
}

kedge=$root/build/kedge interop=$root/build/release/tests/interop_server reference=''
while [ $# -gt 0 ]; do
	case $1 in
	--kedge) kedge=$2; shift ;;
	--interop-server) interop=$2; shift ;;
	--reference) reference=1 ;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
	shift
done

passed=0 failed=0 data='' server=''
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
pass() {
	passed=$((passed + 1))
	echo "ok      $*"
}
fail() {
	failed=$((failed + 1))
	echo "FAILED  $*"
}
stop_server() {
	[ -n "$server" ] && kill -KILL "$server" 2>/dev/null && wait "$server" 2>/dev/null
	server=''
}
clean_up() {
	stop_server
	[ -n "$data" ] && rm -rf "$data"
}
trap clean_up EXIT
data=$(mktemp -d)

tools=$(cache_root)/conformance
(
	go_env readonly
	mkdir -p "$tools" && cd "$here" || exit 1
	packages=(github.com/summerwind/h2spec/cmd/h2spec ./interopclient google.golang.org/grpc/interop/server)
	go_fetch "${packages[@]}" && go build -o "$tools/" "${packages[@]}"
)
case $? in
0) ;;
"$SKIPPED") finish "the Go modules of the tools cannot be fetched" ;;
*) failed=1; finish ;;
esac

# serve NAME PORT COMMAND...: starts a server and waits until the port answers.
serve() {
	local name=$1 port=$2
	shift 2
	"$@" >"$data/$name.log" 2>&1 &
	server=$!
	for _ in $(seq 100); do
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
		kill -0 "$server" 2>/dev/null || break
		sleep 0.1
	done
	tail -n 20 "$data/$name.log"
	fail "$name does not listen on port $port"
	return 1
}

alive_after() { # what was tested
	if kill -0 "$server" 2>/dev/null; then
		pass "the server is alive after $1"
	else
		tail -n 40 "$data"/*.log
		fail "the server ended during $1"
	fi
}

run_interop() {
	local port name reason
	port=$(free_port)
	if [ -n "$reference" ]; then
		serve interop "$port" "$tools/server" --port "$port" || return
	elif [ -x "$interop" ]; then
		serve interop "$port" "$interop" --port "$port" || return
	else
		fail "$interop is not there; build it with: make"
		return
	fi
	for name in empty_unary large_unary client_streaming server_streaming ping_pong empty_stream \
		timeout_on_sleeping_server cancel_after_begin cancel_after_first_response status_code_and_message \
		special_status_message unimplemented_method unimplemented_service custom_metadata; do
		if timeout 60 "$tools/interopclient" --server_port "$port" --test_case "$name" >"$data/out" 2>&1; then
			pass "interop $name"
		elif [ -z "$reference" ] && reason=$(grep -P "^$name\t" "$here/interop.accepted"); then
			echo "accepted interop $name: ${reason#*$'\t'}"
		else
			tail -n 5 "$data/out"
			fail "interop $name"
		fi
	done
	alive_after "the interop tests"
	stop_server
}

# The failed tests of a JUnit report, as "section<tab>title".
failures() {
	awk '/<testcase /{
		match($0, /package="[^"]*"/); p = substr($0, RSTART + 9, RLENGTH - 10)
		match($0, /classname="[^"]*"/); c = substr($0, RSTART + 11, RLENGTH - 12)
	}
	/<(error|failure)/{ print p "\t" c }' "$1"
}

run_h2spec() {
	local port tests bad accepted=0 line reason
	port=$(free_port)
	if [ -n "$reference" ]; then
		local bin
		bin=$(bash "$root/tests/kube/build-etcd.sh" | tail -n 1)
		local peer
		peer=http://127.0.0.1:$(free_port)
		serve h2 "$port" "$bin/etcd" --data-dir "$data/etcd" --listen-client-urls "http://127.0.0.1:$port" \
			--advertise-client-urls "http://127.0.0.1:$port" --listen-peer-urls "$peer" \
			--initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" || return
	elif [ -x "$kedge" ]; then
		serve h2 "$port" "$kedge" serve --data-dir "$data/kedge" --listen-client-urls "http://127.0.0.1:$port" \
			--advertise-client-urls "http://127.0.0.1:$port" || return
	else
		fail "$kedge is not there; build it with: make"
		return
	fi
	timeout 300 "$tools/h2spec" --host 127.0.0.1 --port "$port" --timeout 1 --junit-report "$data/h2.xml" >"$data/out" 2>&1
	tests=$(grep -c '<testcase ' "$data/h2.xml" 2>/dev/null)
	if [ "${tests:-0}" -lt 100 ]; then
		tail -n 20 "$data/out"
		fail "h2spec ran ${tests:-0} tests"
		return
	fi
	failures "$data/h2.xml" >"$data/failures"
	bad=0
	while IFS= read -r line; do
		reason=$(awk -F '\t' -v line="$line" '$1 "\t" $2 == line { print $3 }' "$here/h2spec.accepted")
		if [ -n "$reason" ]; then
			accepted=$((accepted + 1))
			printf 'accepted h2spec %s: %s\n' "$line" "$reason"
		else
			bad=$((bad + 1))
			fail "h2spec $line"
		fi
	done <"$data/failures"
	[ "$bad" -eq 0 ] || grep -A 8 '×' "$data/out" | head -n 200
	passed=$((passed + tests - bad - accepted))
	echo "h2spec: $tests tests, $bad failed, $accepted failed as accepted in h2spec.accepted"
	alive_after h2spec
	stop_server
}

run_interop
run_h2spec
finish
