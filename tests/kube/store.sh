#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# store.sh init DIR kedge|etcd PROGRAM plain|tls|unix PKI   choose the store and how it is reached
# store.sh start DIR                                        start it, wait until it serves
# store.sh kill DIR | stop DIR                              kill -9 | SIGTERM
#
# DIR/store.env says afterwards how to reach it: STORE_ENDPOINT and, for etcdctl, the ETCDCTL_* variables.
# DIR/start.ms has one line per start: milliseconds from the start of the program until it serves.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
. "$here/../lib.sh"

START_TIMEOUT_MS=60000
usage="usage: store.sh init DIR kedge|etcd PROGRAM plain|tls|unix PKI | start DIR | kill DIR | stop DIR"

init() {
	local kind=$1 program=$2 mode=$3 pki=$4 port endpoint
	port=$(free_port)
	case $mode in
	plain) endpoint=http://127.0.0.1:$port ;;
	tls) endpoint=https://127.0.0.1:$port ;;
	unix) endpoint=unix://$dir/store.sock ;;
	*) die "$usage" ;;
	esac
	cat >"$dir/store.env" <<ENV
STORE_KIND='$kind'
STORE_PROGRAM='$program'
STORE_MODE='$mode'
STORE_PKI='$pki'
STORE_ENDPOINT='$endpoint'
STORE_PEER='http://127.0.0.1:$(free_port)'
export ETCDCTL_ENDPOINTS='$endpoint'
ENV
	[ "$mode" != tls ] || cat >>"$dir/store.env" <<ENV
export ETCDCTL_CACERT='$pki/ca.crt' ETCDCTL_CERT='$pki/store-client.crt' ETCDCTL_KEY='$pki/store-client.key'
ENV
}

start() {
	local args log begun pid
	# shellcheck source=/dev/null
	. "$dir/store.env"
	alive_file "$dir/store.pid" && die "the store in $dir runs already"
	args=(--data-dir "$dir/data" --listen-client-urls "$STORE_ENDPOINT" --advertise-client-urls "$STORE_ENDPOINT")
	[ "$STORE_MODE" != tls ] || args+=(--cert-file "$STORE_PKI/store-server.crt" --key-file "$STORE_PKI/store-server.key"
		--trusted-ca-file "$STORE_PKI/ca.crt" --client-cert-auth)
	case $STORE_KIND in
	kedge) args=(serve "${args[@]}") ;;
	etcd) args+=(--name default --listen-peer-urls "$STORE_PEER" --initial-advertise-peer-urls "$STORE_PEER"
		--initial-cluster "default=$STORE_PEER") ;;
	*) die "$usage" ;;
	esac
	log=$dir/store.$(find "$dir" -name 'store.*.log' | wc -l).log
	# The environment goes, because etcd and kedge both read ETCD_* variables.
	begun=$(now_ms)
	env -i PATH="$PATH" ${ASAN_OPTIONS:+"ASAN_OPTIONS=$ASAN_OPTIONS"} ${TSAN_OPTIONS:+"TSAN_OPTIONS=$TSAN_OPTIONS"} \
		"$STORE_PROGRAM" "${args[@]}" </dev/null >"$log" 2>&1 &
	pid=$!
	echo "$pid" >"$dir/store.pid"
	until grep -q 'ready to serve client requests' "$log"; do
		alive "$pid" || {
			tail -n 5 "$log" >&2
			die "the store ended at its start; see $log"
		}
		[ $(($(now_ms) - begun)) -lt "$START_TIMEOUT_MS" ] || die "the store does not get ready; see $log"
		sleep 0.01
	done
	echo $(($(now_ms) - begun)) >>"$dir/start.ms"
}

[ $# -ge 2 ] || die "$usage"
verb=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
shift 2
case $verb in
init)
	[ $# -eq 4 ] || die "$usage"
	init "$@"
	;;
start) start ;;
kill) end_process "$dir/store.pid" KILL ;;
stop) end_process "$dir/store.pid" TERM ;;
*) die "$usage" ;;
esac
