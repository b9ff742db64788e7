#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Drives the real etcdctl through its verbs on kedge and on a real etcd and compares what it prints,
# over plain TCP, over TLS with client certificates, and over a unix socket.
# Ends with "N passed, N failed[, N skipped]"; exit 1 = a difference, 77 = nothing could be compared.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/lib.sh
. "$root/tests/lib.sh"
# shellcheck source=tests/etcdctl/cases.sh
. "$here/cases.sh"

usage() {
	cat <<USAGE
usage: run.sh [--kedge PATH] [--etcd] [--perf] [--mode plain|tls|unix]... [CASE...]
  --kedge PATH  the program under test (default build/kedge)
  --etcd        test etcd against itself instead: the control of the test
  --perf        also run "check perf" (a minute)
  --mode MODE   how etcdctl reaches the servers (default: all three)
  CASE          run only these; see cases.sh
USAGE
}

kedge=$root/build/kedge perf='' modes=() cases=()
while [ $# -gt 0 ]; do
	case $1 in
	--kedge) kedge=$2; shift ;;
	--etcd) kedge='' ;;
	--perf) perf=1 ;;
	--mode) modes+=("$2"); shift ;;
	-h | --help) usage; exit 0 ;;
	-*) usage >&2; exit 2 ;;
	*) cases+=("$1") ;;
	esac
	shift
done
[ ${#modes[@]} -gt 0 ] || modes=(plain tls unix)

passed=0 failed=0 data='' work=''
pids=()
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
trap '[ -z "$data" ] || rm -rf "$data"' EXIT

bin=$(bash "$root/tests/kube/build-etcd.sh" | tail -n 1; exit "${PIPESTATUS[0]}")
case $? in
0) ;;
"$SKIPPED") finish "etcd and etcdctl cannot be built here" ;;
*) failed=1; finish ;;
esac
if [ -n "$kedge" ] && [ ! -x "$kedge" ]; then
	say "error: $kedge is not there; build it with: make"
	failed=1
	finish
fi
data=$(mktemp -d)

make_certificates() {
	local d=$data/pki
	mkdir "$d"
	(
		cd "$d" || exit 1
		set -e
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt \
			-days 2 -subj /CN=test-ca
		for who in server client; do
			openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $who.key -out $who.csr -subj "/CN=$who"
			openssl x509 -req -in $who.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out $who.crt \
				-extfile <(printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n')
		done
	) 2>"$data/openssl.log" && return
	cat "$data/openssl.log" >&2
	die "openssl cannot make the certificates"
}

# start NAME MODE: starts server NAME (etcd or kedge) and sets endpoint, ctl_words and mirror_flags.
start() {
	local name=$1 mode=$2 dir=$work/server port words=() url
	mkdir "$dir"
	port=$(free_port)
	mirror_flags=() tls=()
	case $mode in
	plain | plain-perf) url=http://127.0.0.1:$port endpoint=127.0.0.1:$port ;;
	tls)
		url=https://127.0.0.1:$port endpoint=https://127.0.0.1:$port
		words+=(--cert-file "$data/pki/server.crt" --key-file "$data/pki/server.key"
			--client-cert-auth --trusted-ca-file "$data/pki/ca.crt")
		tls=(--cacert "$data/pki/ca.crt" --cert "$data/pki/client.crt" --key "$data/pki/client.key")
		mirror_flags=(--dest-cacert "$data/pki/ca.crt" --dest-cert "$data/pki/client.crt"
			--dest-key "$data/pki/client.key" --dest-insecure-transport=false)
		;;
	unix) url=unix://$dir/s endpoint=unix://$dir/s ;;
	esac
	words+=(--data-dir "$dir/data" --listen-client-urls "$url" --advertise-client-urls "$url")
	if [ "$name" = kedge ] && [ -n "$kedge" ]; then
		words=("$kedge" serve "${words[@]}")
	else
		local peer
		peer=http://127.0.0.1:$(free_port)
		words=("$bin/etcd" "${words[@]}" --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer"
			--initial-cluster "default=$peer")
	fi
	"${words[@]}" >"$dir/log" 2>&1 &
	server_pid=$!
	pids+=("$server_pid")
	ctl_words=("$bin/etcdctl" --endpoints "$endpoint" "${tls[@]}")
	for _ in $(seq 100); do
		"${ctl_words[@]}" endpoint health >/dev/null 2>&1 && return
		kill -0 "$server_pid" 2>/dev/null || break
		sleep 0.1
	done
	tail -n 20 "$dir/log" >&2
	say "error: $name does not serve over $mode"
	return 1
}

ctl() {
	local status
	timeout 30 "${ctl_words[@]}" "$@" 2>&1
	status=$?
	[ "$status" -eq 0 ] || echo "(status $status)"
}

# What may differ: ids, the term, the raft index, sizes, times, the address, and lease ids.
normal() {
	local member=$1 cluster=$2 url=$3 hex_member hex_cluster
	hex_member=$(printf '%x' "$member")
	hex_cluster=$(printf '%x' "$cluster")
	sed -E -e "s#$url#ENDPOINT#g" -e "s#\b($member|$hex_member)\b#MEMBER#g" -e "s#\b($cluster|$hex_cluster)\b#CLUSTER#g" \
		-e "s#$work#WORK#g" -e 's#http://(127\.0\.0\.1|localhost):[0-9]+#PEER#g' \
		-e 's/"ts":"[^"]*"/"ts":T/; s/"took":"[^"]*"/"took":T/; s/took (= )?[0-9.]+(ms|µs|s)/took T/; s/"caller":"[^"]*"//' \
		-e 's/"(dbSize|dbSizeInUse|raft_term|raftTerm|raftIndex|raftAppliedIndex)":[0-9]+/"\1":N/g' \
		-e 's/^"(RaftTerm|RaftIndex|RaftAppliedIndex|DBSize|DBSizeInUse|Size)" : [0-9]+/"\1" : N/' \
		-e 's/\b[0-9.]+ [kM]B\b/SIZE/g; s/\b[0-9]+%/USE/; s/(true|false), (true|false), [0-9]+, [0-9]+, [0-9]+,/\1, \2, RAFT,/' -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z?[+0-9:]*/TIME/g' \
		-e "s/(Peer.Addr|LocalAddr): '[^']*'/\1/g" -e 's/"(ID|id|lease)":[0-9]{12,}/"\1":LEASE/g' -e 's/^"Lease" : [0-9]{12,}/"Lease" : LEASE/' \
		-e 's/\b[0-9a-f]{12,16}\b/LEASE/g' -e 's/remaining\([0-9]+s\)/remaining/' -e 's/"ttl":[0-9]+/"ttl":N/' \
		-e 's/(retry-attempt|attempt)":[0-9]+/attempt":N/; s/"target":"etcd-endpoints:[^"]*"/"target":T/' \
		-e '/^(┌|│|├|└)/{s/(─)+/─/g; s/ +/ /g}' "$4"
}

# run_one CASE SERVER MODE: runs a case on a new, empty server, in a subshell; the output goes to a file.
run_one() {
	local name=$1 server=$2 mode=$3 member cluster
	work=$data/$server-$mode-$name
	mkdir -p "$work"
	pids=()
	trap 'kill -KILL "${pids[@]}" 2>/dev/null' EXIT
	start "$server" "$mode" || return 1
	ids=$("${ctl_words[@]}" endpoint status -w json)
	member=$(sed -E 's/.*"member_id":([0-9]+).*/\1/' <<<"$ids")
	cluster=$(sed -E 's/.*"cluster_id":([0-9]+).*/\1/' <<<"$ids")
	"case_$name" >"$work/raw" 2>&1
	if ! kill -0 "$server_pid" 2>/dev/null; then
		echo "the server died" >>"$work/raw"
	fi
	normal "$member" "$cluster" "$endpoint" "$work/raw" >"$work/out"
}

run_case() { # case, mode
	local name=$1 mode=$2 a b
	(run_one "$name" etcd "$mode") &
	a=$!
	(run_one "$name" kedge "$mode") &
	b=$!
	if wait "$a" && wait "$b" && diff -a -U 3 --label etcd --label kedge \
		"$data/etcd-$mode-$name/out" "$data/kedge-$mode-$name/out" >"$data/diff"; then
		passed=$((passed + 1))
		echo "ok      $name ($mode)"
	else
		failed=$((failed + 1))
		cat "$data/diff"
		echo "FAILED  $name ($mode)"
	fi
}

if [ ${#cases[@]} -eq 0 ]; then
	mapfile -t cases < <(declare -F | sed -n 's/^declare -f case_//p')
fi
make_certificates
for mode in "${modes[@]}"; do
	for name in "${cases[@]}"; do
		run_case "$name" "$mode"
	done
done

# A minute of steady load: whether the machine is quick enough is not compared, that every request is
# answered is.
check_perf() {
	(
		work=$data/perf
		mkdir "$work"
		pids=()
		trap 'kill -KILL "${pids[@]}" 2>/dev/null' EXIT
		start kedge plain-perf || exit 1
		"${ctl_words[@]}" check perf --load s --auto-compact --auto-defrag 2>&1 | tr '\r' '\n' | tee "$work/out" | grep -aE '^(PASS|FAIL)'
		grep -aq 'Throughput' "$work/out" && ! grep -aqi 'errors' "$work/out"
	)
}
if [ -n "$perf" ]; then
	if check_perf; then
		passed=$((passed + 1))
		echo "ok      check perf"
	else
		failed=$((failed + 1))
		echo "FAILED  check perf"
	fi
fi
finish
