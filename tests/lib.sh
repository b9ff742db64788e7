# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Shared by the test scripts: messages, the cache, ports, and the rules of a build from Go modules.
# Sourced, never run. Exit status 77 means "skipped": a tool or the network is missing here,
# and nothing was learned about the store.

SKIPPED=77
GO_NEEDED=1.26

say() {
	printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2
}

die() {
	say "error: $*"
	exit 1
}

skip() {
	say "skipped: $*"
	exit "$SKIPPED"
}

need_tool() {
	command -v "$1" >/dev/null 2>&1 || skip "the program '$1' is not installed; try: apt-get install $2"
}

cache_root() {
	printf '%s\n' "${KEDGE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kedge}"
}

# A Go older than 1.21 cannot fetch a newer toolchain by itself, and does not even read these go.mod files.
need_go() {
	local have minor
	command -v go >/dev/null 2>&1 ||
		skip "Go is not installed; Go $GO_NEEDED or later builds the programs this test runs"
	have=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || have=unknown
	minor=${have#go1.}
	minor=${minor%%[!0-9]*}
	[ "${minor:-0}" -ge 21 ] ||
		skip "this Go is $have; Go $GO_NEEDED or later (or any from 1.21 on, which fetches it) is needed"
}

# go_env readonly|mod: every build is static and without machine paths; with readonly, it may not
# change the committed go.mod and go.sum either.
go_env() {
	export CGO_ENABLED=0 GOWORK=off
	export GOFLAGS="-mod=$1 -trimpath -buildvcs=false"
}

# Fetching and compiling are told apart, so that a missing network is a skip and a broken build a failure.
go_fetch() {
	local log
	log=$(mktemp)
	if ! go list -deps "$@" >/dev/null 2>"$log"; then
		tail -n 5 "$log" >&2
		rm -f "$log"
		skip "the Go modules for '$*' cannot be fetched (is a Go module proxy reachable?)"
	fi
	rm -f "$log"
}

# One builder at a time per cache folder: the differential tests and the cluster test share it.
lock_cache() {
	mkdir -p "$1" || die "the cache folder $1 cannot be made; set KEDGE_CACHE to one that can"
	exec 9>"$1/.lock"
	flock 9
}

# A process whose parent is gone may stay a zombie for ever where nobody collects it; that is dead, but not before
# its last thread is: until then its sockets and locks are held.
alive() {
	local pid=${1:-} tasks
	[ -n "$pid" ] && [ -r "/proc/$pid/status" ] || return 1
	grep -q '^State:[[:space:]]*[ZX]' "/proc/$pid/status" 2>/dev/null || return 0
	tasks=("/proc/$pid/task/"*)
	[ "${#tasks[@]}" -gt 1 ]
}

alive_file() {
	[ -f "$1" ] && alive "$(cat "$1")"
}

# end_process PIDFILE SIGNAL: signals, waits until it is gone, and removes the file. As a supervisor would, it
# sends SIGKILL after 10 s: kube-apiserver waits up to a minute for its watchers to go.
end_process() {
	local file=$1 pid tries=0
	[ -f "$file" ] || return 0
	pid=$(cat "$file")
	alive "$pid" && kill "-$2" "$pid" 2>/dev/null
	while alive "$pid"; do
		tries=$((tries + 1))
		[ "$tries" -ne 100 ] || kill -KILL "$pid" 2>/dev/null || true
		[ "$tries" -lt 200 ] || die "process $pid ($file) does not end"
		sleep 0.1
	done
	rm -f "$file"
}

# Below the range the kernel hands out by itself, so that a port stays ours while its server is down.
# Scripts that run side by side take turns at one counter: two that drew lots would meet now and then, and
# both talk to the server of whichever was first.
free_port() {
	local counter=${TMPDIR:-/tmp}/kedge-test-ports-$(id -u) port tries
	(
		flock 8
		port=$(cat "$counter")
		[ "${port:-0}" -ge 20000 ] || port=$((20000 + $$ % 10000))
		for ((tries = 0; tries < 10000; tries++)); do
			port=$((port + 1))
			[ "$port" -lt 30000 ] || port=20000
			(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
			printf '%s\n' "$port" | tee "$counter"
			exit 0
		done
		die "no free port on 127.0.0.1"
	) 8>>"$counter"
}

now_ms() {
	date +%s%3N
}
