#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh [KEDGE] : the program as a person or a launcher uses it: verbs, flags, exit statuses, bad
# input, signals, sockets, TLS.  Needs curl and openssl; talks gRPC with hand-made messages.
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
kedge=$(realpath "${1:-build/kedge}")
work=$(mktemp -d)
passed=0 failed=0
pids=()
trap 'for p in "${pids[@]}"; do kill -9 "$p" 2>/dev/null; done; rm -rf "$work"' EXIT

ok() { # NAME CONDITION...
	local name=$1
	shift
	if "$@"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAILED: $name"
		[ -f "$work/log" ] && tail -n 5 "$work/log"
	fi
}
says() { grep -q -- "$1" "$2" || { echo "  no \"$1\" in: $(tail -n 3 "$2")"; return 1; }; }

port=$(free_port)
url=http://127.0.0.1:$port

start() { # DATA-DIR [flags...]; the log is $work/log
	local dir=$1
	shift
	rm -f "$work/log" # "ready" of the last start must not count for this one
	"$kedge" serve --data-dir "$dir" --listen-client-urls "$url" --advertise-client-urls "$url" \
		"$@" 2>"$work/log" &
	pid=$!
	pids+=("$pid")
	for _ in $(seq 100); do
		grep -q 'ready to serve client requests' "$work/log" && return 0
		kill -0 $pid 2>/dev/null || return 1
		sleep 0.05
	done
	return 1
}
stop() { kill -TERM "$pid"; wait "$pid"; }
# grpc METHOD HEX-OF-MESSAGE : sends one unary call, prints the response message in hex.  curl 7.88
# loses the headers of some answers whose stream is reset right behind them (of etcd's, too): again.
grpc() {
	local size=$((${#2} / 2))
	for _ in $(seq 20); do
		{ printf '00%08x%s' $size "$2" | xxd -r -p; } |
			curl -s -m 5 --http2-prior-knowledge -H 'content-type: application/grpc' -H 'te: trailers' \
				--data-binary @- -D "$work/headers" "$url/$1" | xxd -p -c 100000 >"$work/answer"
		[ -s "$work/headers" ] && break
	done
	tail -c +11 "$work/answer"
}
put() { grpc etcdserverpb.KV/Put "0a0161120162" >/dev/null; } # a=b
has_data() { grpc etcdserverpb.KV/Range "0a0161" | grep -q 2a0162; } # the value field holds b

# --- verbs and launchers ------------------------------------------------------------------------
"$kedge" version >"$work/out"
ok "version names kedge" says '^kedge Version: ' "$work/out"
ln -s "$kedge" "$work/etcd"
"$work/etcd" --version >"$work/out"
ok "called etcd, --version is etcd's" says '^etcd Version: 3\.[0-9]*\.[0-9]*$' "$work/out"
"$work/etcd" --help >"$work/out"
ok "help lists flags one per line" says '^  --data-dir' "$work/out"
ok "help lists unsafe-no-fsync as the test environment looks for it" \
	grep -qE '^\s*--unsafe-no-fsync\b' "$work/out"
"$kedge" frobnicate 2>"$work/out"
ok "an unknown verb is exit status 2" [ $? = 2 ]
timeout 10 "$kedge" serve --no-such-flag 2>"$work/out"
ok "an unknown flag is exit status 2" [ $? = 2 ]
ok "and is named" says 'no-such-flag' "$work/out"

# --- serving ------------------------------------------------------------------------------------
ok "starts" start "$work/data" --snapshot-count 10000 --initial-cluster "default=http://x:1"
ok "names ignored flags in the log" says '"snapshot-count,initial-cluster"' "$work/log"
ok "log is JSON with etcd's keys" says '^{"level":"info","ts":"20.*","caller":".*:[0-9]*","msg":' "$work/log"
ok "/version" [ "$(curl -s $url/version)" = '{"etcdserver":"3.7.3","etcdcluster":"3.7.0","storage":"3.7.0"}' ]
ok "/health" [ "$(curl -s $url/health)" = '{"health":"true","reason":""}' ]
ok "/livez" [ "$(curl -s $url/livez)" = ok ]
ok "/readyz" [ "$(curl -s $url/readyz)" = ok ]
curl -s "$url/readyz?verbose" >"$work/out"
ok "/readyz?verbose" says '^\[+\]serializable_read ok' "$work/out"
curl -s $url/metrics >"$work/out"
for m in etcd_server_has_leader etcd_mvcc_db_total_size_in_bytes etcd_disk_wal_fsync_duration_seconds_bucket \
	process_resident_memory_bytes grpc_server_handled_total etcd_debugging_mvcc_watcher_total; do
	ok "metric $m" says "^$m" "$work/out"
done
ok "unknown path is 404" [ "$(curl -s -o /dev/null -w '%{http_code}' $url/nothing)" = 404 ]
ok "only the owner reads the data" [ "$(stat -c %a "$work"/data/kedge.db* | sort -u)" = 600 ]
put
ok "a put is answered with status 0" says 'grpc-status: 0' "$work/headers"
ok "and read back" has_data
# delete_range a.. and put a with ignore_value in one transaction: this ends an etcd 3.7.3 for good
grpc etcdserverpb.KV/Txn 12081a060a0161120100120712050a01612801 >/dev/null
ok "a transaction that takes its own ground away is refused" says 'key not found' "$work/headers"
ok "and leaves nothing behind" has_data
grpc etcdserverpb.KV/Nope "" >/dev/null
ok "unknown method is Unimplemented" says 'grpc-status: 12' "$work/headers"
grpc etcdserverpb.KV/Put "0a" >/dev/null
ok "a malformed message is Internal" says 'grpc-status: 13' "$work/headers"
for _ in $(seq 20); do
	curl -s --http2-prior-knowledge -H 'content-type: text/plain' -d x -o /dev/null -D "$work/headers" $url/etcdserverpb.KV/Put
	[ -s "$work/headers" ] && break
done
ok "a wrong content type is refused" says '415' "$work/headers"

# --- automatic compaction -------------------------------------------------------------------------------
compacted() { curl -s "$url/metrics" | awk '/^etcd_debugging_mvcc_compact_revision/ { exit !($2 >= 3) }'; }
stop
start "$work/compacting" --auto-compaction-retention 1s
put
put
ok "history within the retention stays" eval '! compacted'
sleep 2.6
ok "history older than the retention goes" compacted
ok "and the newest version stays" has_data
stop
timeout 10 "$kedge" serve --data-dir "$work/compacting" --listen-client-urls "$url" --advertise-client-urls "$url" \
	--auto-compaction-retention soon 2>"$work/second"
ok "a retention that is none is refused" [ $? = 1 ]
ok "and named" says 'auto-compaction-retention=soon' "$work/second"
start "$work/data"

# --- bad input to the port ------------------------------------------------------------------------
head -c 100000 /dev/urandom | timeout 5 curl -s --http0.9 -X "$(printf 'A%.0s' {1..50})" --data-binary @- $url/ -o /dev/null
exec 7<>/dev/tcp/127.0.0.1/$port; printf '\x16\x03\x01\x02' >&7 # half a TLS hello on plaintext
exec 8<>/dev/tcp/127.0.0.1/$port; head -c 3000 /dev/urandom >&8 2>/dev/null
ok "garbage holds up nobody" [ "$(curl -s -m 5 $url/livez)" = ok ]
exec 7>&- 8>&-

# --- a second server, a busy port -------------------------------------------------------------------
other=http://127.0.0.1:$(free_port)
timeout 10 "$kedge" serve --data-dir "$work/data" --listen-client-urls "$other" --advertise-client-urls "$other" 2>"$work/second"
ok "a second server on the same data is refused" [ $? = 1 ]
ok "naming the one that has it" says "pid $pid" "$work/second"
timeout 10 "$kedge" serve --data-dir "$work/data2" --listen-client-urls "$url" --advertise-client-urls "$url" 2>"$work/second"
ok "a busy port is refused" [ $? = 1 ]
ok "in the words launchers wait for" says 'bind: address already in use' "$work/second"

# --- stop, kill, start again --------------------------------------------------------------------------
stop
ok "SIGTERM ends with status 0" [ $? = 0 ]
ok "starts again" start "$work/data"
ok "with the data" has_data
put
kill -9 $pid
wait $pid 2>/dev/null
ok "starts after kill -9" start "$work/data"
ok "and still has the data" has_data

# --- snapshot -----------------------------------------------------------------------------------------
"$kedge" snapshot save "$work/snap" --data-dir "$work/data" >"$work/out" 2>&1
ok "snapshot save while it runs" [ $? = 0 ]
"$kedge" snapshot status "$work/snap" >"$work/out" 2>&1
ok "snapshot status" says '1 keys' "$work/out"
"$kedge" snapshot restore "$work/snap" --data-dir "$work/restored" >"$work/out" 2>&1
ok "snapshot restore" [ $? = 0 ]
"$kedge" snapshot restore "$work/snap" --data-dir "$work/restored" >"$work/out" 2>&1
ok "restore does not overwrite" [ $? = 1 ]
echo rubbish >"$work/rubbish"
"$kedge" snapshot restore "$work/rubbish" --data-dir "$work/r2" >"$work/out" 2>&1
ok "restore refuses a foreign file" [ $? = 1 ]
ok "and makes nothing" [ ! -e "$work/r2/kedge.db" ]
stop
ok "the restored store starts" start "$work/restored"
ok "with the data" has_data
curl -s $url/metrics >"$work/out"
ok "at a higher revision" awk '/^etcd_debugging_mvcc_current_revision/ { exit !($2 > 1000000000) }' "$work/out"
stop

# --- data directories that are not ours -----------------------------------------------------------------
refused() { # NAME DIR TEXT [STATUS]
	timeout 10 "$kedge" serve --data-dir "$2" --listen-client-urls "$url" --advertise-client-urls "$url" 2>"$work/out"
	ok "$1 is refused" [ $? = "${4:-1}" ]
	ok "$1 is explained" says "$3" "$work/out"
}
touch "$work/file"
refused "a file as data folder" "$work/file" "not a folder\|not a directory"
mkdir "$work/foreign" && sqlite3 "$work/foreign/kedge.db" 'create table t(x); insert into t values(1)' 2>/dev/null ||
	printf 'SQLite format 3\0 but not really' >"$work/foreign/kedge.db"
refused "a foreign database" "$work/foreign" "kedge.db"
mkdir "$work/corrupt" && head -c 20000 /dev/urandom >"$work/corrupt/kedge.db"
refused "a corrupt database" "$work/corrupt" "kedge.db" 4 # no restart mends it
mkdir -p "$work/etcdish/member/snap" && touch "$work/etcdish/member/snap/db"
refused "an etcd data folder" "$work/etcdish" "etcd"

# --- sockets and TLS --------------------------------------------------------------------------------------
pki() {
	cd "$work" || exit 1
	openssl ecparam -genkey -name prime256v1 -noout -out ca.key
	openssl req -x509 -new -key ca.key -subj /CN=test-ca -days 2 -out ca.crt
	for n in server client; do
		openssl ecparam -genkey -name prime256v1 -noout -out $n.key
		openssl req -new -key $n.key -subj /CN=$n -out $n.csr
		printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\n' >ext
		openssl x509 -req -in $n.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $n.crt
	done
	cd - >/dev/null || exit 1
}
pki 2>/dev/null
sock=$work/k.sock
plain=$url
url=https://127.0.0.1:$port
tls="--cacert $work/ca.crt"
timeout 10 "$kedge" serve --data-dir "$work/tls" --listen-client-urls "$url,unix://$sock" --advertise-client-urls "$url" \
	--listen-metrics-urls "$plain" --cert-file "$work/server.crt" --key-file "$work/server.key" 2>"$work/second" 
ok "a port listened to twice is refused" [ $? = 1 ]
ok "serves TLS and a unix socket" start "$work/tls" --listen-client-urls "$url,unix://$sock" \
	--cert-file "$work/server.crt" --key-file "$work/server.key" \
	--trusted-ca-file "$work/ca.crt" --client-cert-auth
ok "refuses a client without certificate" [ "$(curl -s $tls $url/livez 2>/dev/null)" != ok ]
ok "HTTP/1.1 over TLS" [ "$(curl -s --http1.1 $tls --cert $work/client.crt --key $work/client.key $url/livez)" = ok ]
ok "HTTP/2 over TLS" [ "$(curl -s --http2 $tls --cert $work/client.crt --key $work/client.key $url/livez)" = ok ]
exec 7<>/dev/tcp/127.0.0.1/$port; printf '\x16\x03\x01\x02' >&7 # half a hello, left hanging
ok "half a TLS hello holds up nobody" [ "$(curl -s -m 5 $tls --cert $work/client.crt --key $work/client.key $url/livez)" = ok ]
exec 7>&-
ok "the unix socket answers" [ "$(curl -s --unix-socket "$sock" http://localhost/livez)" = ok ]
serial() { openssl s_client -connect 127.0.0.1:$port -cert "$work/client.crt" -key "$work/client.key" </dev/null 2>/dev/null | openssl x509 -noout -serial; }
before=$(serial)
pki 2>/dev/null # new CA too, so only the server certificate is compared
after=$(serial)
ok "a renewed certificate is served without restart" [ -n "$after" ] && ok "and differs" [ "$before" != "$after" ]
stop
ok "the socket file is removed" [ ! -e "$sock" ]

# --- the configuration file -------------------------------------------------------------------------------
url=$plain
printf 'data-dir: %s\nlisten-client-urls: %s\nadvertise-client-urls: %s\nlog-level: warn\n' "$work/data" "$url" "$url" >"$work/conf.yaml"
"$kedge" serve --config-file "$work/conf.yaml" 2>"$work/log" &
pid=$!
pids+=($pid)
for _ in $(seq 50); do [ "$(curl -s $url/livez)" = ok ] && break; sleep 0.1; done
ok "serves from a configuration file" has_data
stop
printf 'data-dir: [\n' >"$work/conf.yaml"
timeout 10 "$kedge" serve --config-file "$work/conf.yaml" 2>"$work/out"
ok "a broken configuration file is exit status 2" [ $? = 2 ]
ok "and its line is named" says 'line ' "$work/out"

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
