#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Clocks that step by years, a process and a machine that sleep, a box that boots in 1970.
# Ends with "N passed, N failed[, N skipped]"; exit 77 = etcdctl cannot be built here.
#
# Wrong clocks come from shift.c; etcd does not ask libc for the time, so that it is only compared
# where no clock is shifted. KEDGE=path: the program under test.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/lib.sh
. "$root/tests/lib.sh"

kedge=$(realpath "${KEDGE:-$root/build/kedge}")
work=$(mktemp -d)
trap 'kill $(cat "$work"/*/pid "$work"/*/watch.pid 2>/dev/null) 2>/dev/null; rm -rf "$work"' EXIT
bin=$(bash "$root/tests/kube/build-etcd.sh" | tail -n 1; exit "${PIPESTATUS[0]}") || {
	echo "0 passed, 0 failed, 1 skipped"
	exit "$SKIPPED"
}
shift_so=$work/shift.so
"${CC:-cc}" -O1 -shared -fPIC -o "$shift_so" "$here/shift.c" || die "shift.c does not build"

YEAR=31557600

ok() { # NAME COMMAND... : counted from the part's output at the end
	local name=$1
	shift
	if "$@" >"$dir/out" 2>&1; then
		echo "ok      $part: $name"
	else
		echo "FAILED  $part: $name: $(tail -n 2 "$dir/out" | cut -c 1-300)"
	fi
}

# await COMMAND... : until it succeeds; half a minute is for a busy machine, none of it is measured.
await() {
	for _ in $(seq 300); do
		"$@" && return 0
		sleep 0.1
	done
	return 1
}

# --- servers ------------------------------------------------------------------------------------

# clocks DATE BOOT MONOTONIC : seconds to add to each clock that the server sees.
clocks() {
	python3 -c 'import struct, sys
f = open(sys.argv[1], "r+b" if sys.argv[2] == "set" else "wb")
f.write(struct.pack("=3q", *map(int, sys.argv[3:])))' "$dir/clocks" "$([ -f "$dir/clocks" ] && echo set || echo new)" "$@"
}

# serve FLAGS... : kedge with the clocks of this part.
serve() {
	[ -n "${port:-}" ] || port=$(free_port)
	LD_PRELOAD=$shift_so KEDGE_TEST_CLOCKS=$dir/clocks "$kedge" serve --data-dir "$dir/data" \
		--listen-client-urls "http://127.0.0.1:$port${tls_url:+,$tls_url}" \
		--advertise-client-urls "http://127.0.0.1:$port" "$@" 2>>"$dir/log" &
	echo $! >"$dir/pid"
	up
}

serve_etcd() {
	port=$(free_port)
	local peer
	peer=http://127.0.0.1:$(free_port)
	"$bin/etcd" --data-dir "$dir/data" --listen-client-urls "http://127.0.0.1:$port" \
		--advertise-client-urls "http://127.0.0.1:$port" --listen-peer-urls "$peer" \
		--initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" --log-level warn 2>>"$dir/log" &
	echo $! >"$dir/pid"
	up
}

up() { await curl -sf -m 5 -o "$dir/up" "http://127.0.0.1:$port/health" || echo "FAILED  $part: the server does not start: $(tail -n 3 "$dir/log")"; }
end() { end_process "$dir/pid" TERM; }
ctl() { "$bin/etcdctl" --endpoints "127.0.0.1:$port" --command-timeout=30s "$@"; }

grant() { ctl lease grant "$1" | awk '{print $2}'; }
# left LEASE LEAST MOST : what remains of it, in seconds; an unknown lease has -1.
left() {
	local ttl
	ttl=$(ctl lease timetolive "$1" -w json | jq .ttl)
	echo "ttl $ttl, not $2 to $3"
	[ "$ttl" -ge "$2" ] && [ "$ttl" -le "$3" ]
}
has() { [ "$(ctl get --print-value-only "$1")" = "$2" ]; }
gone() { [ -z "$(ctl get "$1")" ]; }
put() { ctl put "$@" >/dev/null; }
renews() { ctl lease keep-alive --once "$1" | grep -q 'keepalived with TTL'; }
heard() { grep -qx -- "$1" "$dir/watch"; }
watch_all() {
	"$bin/etcdctl" --endpoints "127.0.0.1:$port" watch --prefix "" --progress-notify >"$dir/watch" 2>&1 &
	echo $! >"$dir/watch.pid"
	await hears_probe
}
hears_probe() { put probe x && grep -q probe "$dir/watch"; }
progresses() {
	local before
	before=$(grep -c '^progress notify' "$dir/watch")
	await progressed "$before"
}
progressed() { [ "$(grep -c '^progress notify' "$dir/watch")" -gt "$1" ]; }
compacted() { ctl get x --rev="$1" 2>&1 | grep -q compacted; }
# compacts : automatic compaction comes past the revision of now.
compacts() {
	local now
	now=$(ctl get x -w json | jq .header.revision)
	await compacted_after_put "$now"
}
compacted_after_put() { put filler x && compacted "$1"; }
year_is() { # the date that the server tells in HTTP, and in its newest log line
	local year date
	year=$(date -u -d "@$(($(date +%s) + $1))" +%Y)
	date=$(curl -si -m 5 "http://127.0.0.1:$port/health" | grep -i '^date:')
	echo "$date, not $year"
	grep -q " $year " <<<"$date"
}

# --- parts: each in its own folder, all at the same time ------------------------------------------

# The date jumps by 30 years and back by 60; nothing but the date itself may notice.
part_steps() {
	local long short
	clocks 0 0 0
	serve --watch-progress-notify-interval 100ms --auto-compaction-mode periodic --auto-compaction-retention 1s
	long=$(grant 3600)
	put long x --lease "$long"
	watch_all
	for shift in $((30 * YEAR)) $((-30 * YEAR)) 0; do
		short=$(grant 3) # due in 3 s, whatever the date does in between
		put short "due $shift" --lease "$short"
		clocks "$shift" 0 0
		ok "date $shift s: a lease keeps its time" left "$long" 3400 3600
		ok "date $shift s: its key is there" has long x
		ok "date $shift s: it can be renewed" renews "$long"
		ok "date $shift s: a write reaches a watch" await hears "step $shift"
		ok "date $shift s: progress is notified" progresses
		ok "date $shift s: automatic compaction goes on" compacts
		ok "date $shift s: a lease still ends" await gone short
		ok "date $shift s: its end reaches a watch" await heard short
		ok "date $shift s: HTTP tells the date" year_is "$shift"
	done
	end
	ok "the log tells the date" grep -q "\"ts\":\"$(date -u +%Y)-.*shutting down" "$dir/log"
}
hears() { put "$1" x && heard "$1"; }

# The machine sleeps for a day: CLOCK_BOOTTIME goes on, CLOCK_MONOTONIC does not. As with etcd, whose
# clock is Go's, the leases of clients that slept as well are still there.
part_suspend() {
	local long
	clocks 0 0 0
	serve
	long=$(grant 600)
	put key x --lease "$long"
	clocks 86400 86400 0
	ok "a lease outlives the sleep of its machine" left "$long" 400 600
	ok "and can be renewed" renews "$long"
	ok "its key is there" has key x
	end
}

# The proof that those can fail: a server whose timers jumped too would lose the lease at once.
part_control() {
	local long
	clocks 0 0 0
	serve
	long=$(grant 600)
	put key x --lease "$long"
	clocks 86400 86400 86400
	ok "a ttl that follows the date is noticed" left "$long" -90000 -1
	put other x # wakes the writer, which sleeps in true time
	ok "a lease that follows the date is noticed" await gone key
	end
}

# The process sleeps (SIGSTOP) for longer than a lease lasts; kedge and etcd must tell the same story.
stopped() {
	local long short
	watch_all
	long=$(grant 3600)
	put long held --lease "$long"
	until short=$(grant 5) && put short held --lease "$short" 2>"$dir/out"; do :; done # in time on a busy machine
	kill -STOP "$(cat "$dir/pid")"
	sleep 6.5
	kill -CONT "$(cat "$dir/pid")"
	ctl lease keep-alive --once "$short" 2>&1 | sed "s/$short/ID/"
	await gone short && echo "its key is gone"
	left "$short" -1 -1 >"$dir/out" && echo "the lease is gone"
	left "$long" 3000 3594 >"$dir/out" && echo "the time of sleep counts" # 3600 less 6
	renews "$long" && left "$long" 3500 3600 >"$dir/out" && echo "the long one is renewed"
	await hears after && echo "the watch from before is served"
	grep -A 1 '^PUT\|^DELETE' "$dir/watch" | grep -v '^probe\|^--' | uniq # writes to probe and after are repeated
	end
}
part_stop_kedge() { clocks 0 0 0; serve; stopped >"$dir/story"; }
part_stop_etcd() { serve_etcd; stopped >"$dir/story"; }

# Starts at odd dates, one after another on the same data.
part_start() {
	local shift now
	now=$(date +%s)
	for date in 5 4102444800 16725225600 "$now" -86400; do # 1970, 2100, 2500, now, 1969
		shift=$((date - now))
		clocks "$shift" 0 0
		serve
		ok "date $date: serves" put "key $date" x
		ok "date $date: has what was written before" has "key 5" x
		ok "date $date: HTTP tells it" year_is "$shift"
		ok "date $date: the log tells it" grep -q "\"ts\":\"$(date -u -d "@$date" +%Y)-" "$dir/log"
		end
	done
}

certificates() {
	cat >"$dir/ssl.conf" <<-CONF
		[req]
		distinguished_name = name
		[name]
		[host]
		subjectAltName = IP:127.0.0.1
	CONF
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=ca -days 3650 \
		-config "$dir/ssl.conf" -keyout "$dir/ca.key" -out "$dir/ca.crt" -addext basicConstraints=critical,CA:TRUE
	for name in server client; do
		openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -config "$dir/ssl.conf" \
			-keyout "$dir/$name.key" -out "$dir/$name.csr"
		openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 365 \
			-extfile "$dir/ssl.conf" -extensions host -out "$dir/$name.crt"
	done
} >/dev/null 2>&1

secure() { curl -sS -m 10 --cacert "$dir/ca.crt" --cert "$dir/client.crt" --key "$dir/client.key" "$tls_url/health"; }
refused() { ! secure; }

# A box boots in 1970 and learns the date later. The server's own certificate is for clients to judge;
# those of clients are judged at each handshake, by the date of that moment.
part_tls() {
	local now year=31536000
	certificates
	tls_url=https://127.0.0.1:$(free_port)
	now=$(date +%s)
	clocks $((5 - now)) 0 0
	serve --cert-file "$dir/server.crt" --key-file "$dir/server.key" --client-cert-auth --trusted-ca-file "$dir/ca.crt"
	ok "1970: a client certificate is not valid yet" refused
	ok "1970: the log says so" grep -q 'not yet valid' "$dir/log"
	clocks 0 0 0
	ok "the date is set: it is, without a restart" secure
	"$bin/etcdctl" --endpoints "$tls_url" --cacert "$dir/ca.crt" --cert "$dir/client.crt" \
		--key "$dir/client.key" watch --prefix "" >"$dir/watch" 2>&1 &
	echo $! >"$dir/watch.pid"
	ok "a watch over TLS" await hears_probe
	clocks $((2 * year)) 0 0
	ok "two years later: it has expired" refused
	ok "two years later: the log says so" grep -q 'expired' "$dir/log"
	ok "two years later: a connection from before goes on" await hears later
	end
}

# --auto-tls in 1970: the certificate stays as it was made, as etcd's does.
part_auto_tls() {
	local now
	now=$(date +%s)
	clocks $((5 - now)) 0 0
	tls_url=https://127.0.0.1:$(free_port)
	serve --auto-tls
	ok "1970: serves with the certificate it made" curl -skS -m 10 "$tls_url/health"
	clocks 0 0 0
	ok "the date is set: goes on serving" curl -skS -m 10 "$tls_url/health"
	end
	serve --auto-tls
	ok "a restart keeps the certificate of 1970" certificate_of 1971
	rm "$dir/data/cert.pem" "$dir/data/key.pem"
	end
	serve --auto-tls
	ok "without it a new one is made" certificate_of "$(($(date -u +%Y) + 1))"
	end
}
certificate_of() {
	local end
	end=$(openssl s_client -connect "${tls_url#https://}" </dev/null 2>/dev/null | openssl x509 -noout -enddate)
	echo "$end"
	grep -q " $1 " <<<"$end"
}

run() {
	part=$1 dir=$work/$1
	mkdir -p "$dir"
	"part_$1" >"$dir/results" 2>"$dir/err" </dev/null
}

parts="steps suspend control stop_kedge stop_etcd start tls auto_tls"
for name in ${PARTS:-$parts}; do
	run "$name" &
	jobs_pids+=("$!")
done
wait "${jobs_pids[@]}"
for name in ${PARTS:-$parts}; do
	cat "$work/$name/results" "$work/$name/err" 2>/dev/null
done >"$work/results"
if [ -f "$work/stop_kedge/story" ] && [ -f "$work/stop_etcd/story" ]; then
	if diff "$work/stop_etcd/story" "$work/stop_kedge/story" >"$work/diff" && [ "$(wc -l <"$work/diff")" -eq 0 ] &&
		grep -q 'the watch from before is served' "$work/stop_etcd/story"; then
		echo "ok      stop: kedge and etcd tell the same ($(wc -l <"$work/stop_etcd/story") lines)"
	else
		echo "FAILED  stop: etcd (<) and kedge (>): $(cat "$work/diff" "$work/stop_etcd/story")"
	fi >>"$work/results"
fi
cat "$work/results"
passed=$(grep -c '^ok ' "$work/results")
failed=$(grep -c '^FAILED' "$work/results")
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
