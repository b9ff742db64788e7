# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What etcdctl is asked to do. Each case_* function runs once per server; what it prints is compared.
# `ctl` is etcdctl with the flags that reach the server; it shows its exit status when that is not 0.
# A file name starting with $work is the case's own.

# background NAME COMMAND...: runs etcdctl in the background with its output in $work/NAME.
background() {
	local name=$1
	shift
	"${ctl_words[@]}" "$@" >"$work/$name" 2>&1 &
	last_pid=$!
}

# await FILE TEXT: waits until a background command wrote the text; says so when it never does.
await() {
	for _ in $(seq 200); do
		grep -q -- "$2" "$work/$1" 2>/dev/null && return
		sleep 0.05
	done
	echo "never seen in $1: $2"
}

# stop PID: ends a background command. Not with an interrupt, which a shell without job control turns off.
stop() {
	kill -TERM "$1" 2>/dev/null
	for _ in $(seq 100); do
		kill -0 "$1" 2>/dev/null || break
		sleep 0.05
	done
	kill -KILL "$1" 2>/dev/null && echo "(had to be killed)"
	wait "$1" 2>/dev/null
	echo "(ended with status $?)"
}

case_version() {
	ctl version
}

case_put_get() {
	ctl put foo bar
	ctl put foo baz --prev-kv
	ctl put foo new --prev-kv -w json
	ctl get foo
	ctl get foo -w json
	ctl get foo -w fields
	ctl get foo -w table
	ctl get foo --hex
	ctl get foo --print-value-only
	ctl get missing
	ctl get missing -w json
	ctl put foo --ignore-value
	ctl put missing --ignore-value
	ctl put foo kept --ignore-lease
	ctl put missing kept --ignore-lease
	ctl put foo x --lease=1234
	ctl put '' empty-key
	echo 'from stdin' | ctl put foo
	ctl get foo
	printf 'a\0b\nc' | ctl put binary
	ctl get binary --hex
	ctl put empty ''
	ctl get empty -w fields
}

case_get_options() {
	local k
	for k in k/1 k/2 k/3 k/4 k0 k l/1 K/1; do ctl put "$k" "value of $k" >/dev/null; done
	ctl put k/2 second >/dev/null
	ctl get k/ --prefix
	ctl get k/ --prefix --keys-only
	ctl get k/ --prefix --count-only
	ctl get k/ --prefix --count-only -w fields
	ctl get k/ --prefix --limit 2 -w json
	ctl get k/1 k/3
	ctl get k/3 k/1
	ctl get k/2 --from-key
	ctl get '' --from-key --keys-only
	ctl get '' --prefix --keys-only
	ctl get k/ --prefix --order DESCEND --keys-only
	ctl get k/ --prefix --sort-by MODIFY --order ASCEND
	ctl get k/ --prefix --sort-by CREATE --order DESCEND --limit 2
	ctl get k/ --prefix --sort-by VERSION --order DESCEND --limit 1
	ctl get k/ --prefix --sort-by VALUE --order ASCEND
	ctl get k/ --prefix --consistency=s
	ctl get k/ --prefix --rev 4
	ctl get k/ --prefix --rev 999
	ctl get k/ --prefix --rev -1
	ctl get k/ --prefix --min-mod-rev 4 --keys-only
	ctl get k/ --prefix --max-mod-rev 3 --keys-only
	ctl get k/ --prefix --min-create-rev 3 --max-create-rev 4 --keys-only
	ctl get k/ --prefix --stream
	ctl get k/ --prefix --stream --limit 3 -w json
	ctl get k/ --prefix --stream --order DESCEND
	ctl get none/ --prefix --stream -w json
	ctl get k/1 --sort-by NOTHING
	ctl get k/1 --order SIDEWAYS
}

case_del() {
	local k
	for k in d/1 d/2 d/3 d/4 e/1; do ctl put "$k" v >/dev/null; done
	ctl del d/1
	ctl del d/1
	ctl del d/2 --prev-kv
	ctl del d/3 d/9 --prev-kv -w json
	ctl del e/ --prefix
	ctl put z/1 1 >/dev/null
	ctl put z/2 2 >/dev/null
	ctl del z/2 --from-key
	ctl del ''
	ctl get '' --prefix --keys-only
	ctl del '' --prefix -w fields
}

case_txn() {
	ctl put t/a 1 >/dev/null
	ctl txn <<'TXN'
value("t/a") = "1"

put t/a 2
get t/a
del t/none

put t/a 3

TXN
	ctl txn -w json <<'TXN'
mod("t/a") > "100"

put t/b 1

get t/a
get t/ --prefix

TXN
	ctl txn <<'TXN'
version("t/a") > "1"
create("t/a") < "100"

del t/ --prefix


TXN
	ctl txn <<'TXN'


put t/x 1
put t/x 2


TXN
	ctl txn <<'TXN'


put t/x 1
del t/ --prefix


TXN
	ctl get t/ --prefix -w json
	{
		printf '\n'
		for i in $(seq 129); do echo "put many/$i v"; done
		printf '\n\n'
	} | ctl txn
	ctl get many/ --prefix --count-only -w fields
}

case_watch() {
	local pid
	ctl put w/1 before >/dev/null
	background live watch w/ --prefix -w json
	pid=$last_pid
	background prev watch w/1 --prev-kv --rev=1
	local pid2=$last_pid
	await prev before
	# A live watch says nothing when it is ready: write until it shows something.
	for _ in $(seq 100); do
		grep -q w/1 "$work/prev" && break
		sleep 0.05
	done
	sleep 1
	ctl put w/1 one >/dev/null
	ctl put w/2 two >/dev/null
	ctl put x/1 elsewhere >/dev/null
	ctl del w/ --prefix
	ctl put w/1 again >/dev/null
	await live YWdhaW4=
	await prev again
	stop "$pid"
	stop "$pid2"
	cat "$work/live"
	cat "$work/prev"
	background exec watch w/ --prefix --rev=2 -- sh -c 'echo "$ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE rev $ETCD_WATCH_REVISION"'
	pid=$last_pid
	await exec '"again"'
	stop "$pid"
	cat "$work/exec"
	background range watch w/1 w/3 --rev=3 -w fields
	pid=$last_pid
	await range again
	stop "$pid"
	cat "$work/range"
	ctl compaction 4
	timeout 10 "${ctl_words[@]}" watch w/ --prefix --rev=2
	echo "status $?"
}

case_watch_interactive() {
	local pid fifo=$work/commands
	ctl put i/1 v1 >/dev/null
	mkfifo "$fifo"
	"${ctl_words[@]}" watch -i <"$fifo" >"$work/inter" 2>&1 &
	pid=$!
	exec 8>"$fifo"
	echo 'watch i/ --prefix --rev=1' >&8
	await inter v1
	echo 'watch j' >&8
	sleep 1
	echo 'progress' >&8
	await inter 'progress notify'
	ctl put j 1 >/dev/null
	ctl put i/2 2 >/dev/null
	await inter i/2
	await inter '^j$'
	exec 8>&-
	wait "$pid"
	echo "status $?"
	sort "$work/inter"
}

case_lease() {
	local id pid
	id=$(ctl lease grant 600 | sed -n 's/^lease \([0-9a-f]*\) granted.*/\1/p')
	echo "id has ${#id} digits" | sed 's/1[2-6]/12 to 16/'
	ctl lease grant 1 | sed 's/^lease [0-9a-f]* /lease ID /'
	ctl lease grant 0 | sed 's/^lease [0-9a-f]* /lease ID /'
	ctl lease grant 9000000001
	ctl put l/1 v --lease="$id"
	ctl put l/2 v --lease="$id"
	ctl put l/1 w --ignore-lease
	ctl get l/ --prefix -w json
	# The keys come in no fixed order.
	ctl lease timetolive "$id" --keys | sed 's#\[l/2 l/1\]#[l/1 l/2]#'
	ctl lease timetolive "$id" -w json
	ctl lease timetolive 123abc
	ctl lease keep-alive --once "$id"
	ctl lease keep-alive --once 123abc
	ctl lease timetolive "$id" | sed 's/remaining([0-9]*s)/remaining/'
	background keep lease keep-alive "$id"
	pid=$last_pid
	await keep keepalived
	stop "$pid"
	head -n 1 "$work/keep"
	ctl lease revoke "$id"
	ctl lease revoke "$id"
	ctl lease revoke "$id" -w json
	ctl get l/ --prefix -w fields
	ctl put l/3 v --lease="$id"
}

case_lease_list() {
	local a b
	a=$(ctl lease grant 1000 | sed -n 's/^lease \([0-9a-f]*\) granted.*/\1/p')
	b=$(ctl lease grant 500 | sed -n 's/^lease \([0-9a-f]*\) granted.*/\1/p')
	ctl lease list | sed -e "s/$a/FIRST/" -e "s/$b/SECOND/"
	ctl lease revoke "$a" | sed "s/$a/FIRST/"
	ctl lease revoke "$b" | sed "s/$b/SECOND/"
}

case_lease_expiry() {
	local id pid
	id=$(ctl lease grant 2 | sed -n 's/^lease \([0-9a-f]*\) granted.*/\1/p')
	ctl put x/1 v --lease="$id" >/dev/null
	ctl put x/2 v --lease="$id" >/dev/null
	background expiry watch x/ --prefix --prev-kv --rev=1
	pid=$last_pid
	await expiry 'DELETE'
	sleep 0.3
	stop "$pid"
	cat "$work/expiry"
	ctl lease timetolive "$id"
	ctl get x/ --prefix -w fields
}

case_compaction() {
	local i
	for i in 1 2 3 4 5 6; do ctl put c "$i" >/dev/null; done
	ctl compaction 4
	ctl get c --rev 3
	ctl get c --rev 4
	ctl compaction 4
	ctl compaction 5 --physical
	ctl compaction 999
	ctl compaction abc
	ctl get c -w json
}

case_maintenance() {
	ctl put m v >/dev/null
	ctl defrag
	ctl alarm list
	ctl alarm disarm
	ctl endpoint health
	ctl endpoint health -w json
	ctl endpoint status -w json
	ctl endpoint status -w fields
	ctl endpoint status
	ctl endpoint hashkv
	ctl endpoint hashkv --rev 1 -w json
	ctl endpoint hashkv --rev 2 -w fields
	ctl endpoint hashkv --rev 999
	ctl downgrade validate 3.6.0
	ctl downgrade validate 3.2.0
	ctl downgrade validate nonsense
	ctl downgrade cancel
}

case_member() {
	local id
	id=$(ctl member list -w fields | sed -n 's/^"ID" : //p')
	id=$(printf '%x' "$id")
	ctl member list
	ctl member list -w table
	ctl member list -w json
	ctl member remove "$id"
	ctl member remove 123
	ctl member promote "$id"
	ctl member promote 123
	ctl member update 123 --peer-urls=http://127.0.0.1:1
	ctl member update "$id" --peer-urls=nonsense
	ctl member add new --peer-urls=nonsense
	ctl move-leader "$id"
	ctl move-leader 123
}

case_snapshot() {
	ctl put s v >/dev/null
	ctl snapshot save "$work/snap.db"
	[ -s "$work/snap.db" ] && echo "the file is there"
	echo "beyond a multiple of 512: $(($(stat -c %s "$work/snap.db") % 512))"
	head -c -32 "$work/snap.db" | sha256sum | cut -d' ' -f1 >"$work/sum"
	tail -c 32 "$work/snap.db" | od -An -vtx1 | tr -d ' \n' | cmp - <(tr -d '\n' <"$work/sum") && echo "its checksum is right"
	ctl snapshot save /nonexistent/snap.db
}

case_lock() {
	local pid
	ctl lock mutex -- sh -c 'echo "holding ${ETCD_LOCK_KEY%%/*}"'
	ctl lock mutex -- sh -c 'exit 3'
	background first lock mutex
	pid=$last_pid
	await first 'mutex/'
	background second lock mutex
	local pid2=$last_pid
	sleep 1
	echo "the second has: $(cat "$work/second")"
	stop "$pid"
	await second 'mutex/'
	stop "$pid2"
	cat "$work/first" "$work/second"
	ctl get mutex --prefix --count-only -w fields
}

case_elect() {
	local pid pid2
	background leader elect boss one
	pid=$last_pid
	await leader one
	background heir elect boss two
	pid2=$last_pid
	background observer elect -l boss
	local pid3=$last_pid
	await observer one
	stop "$pid"
	await heir two
	await observer two
	stop "$pid2"
	stop "$pid3"
	cat "$work/leader" "$work/heir" "$work/observer"
}

case_mirror() {
	local pid i
	for i in 1 2 3; do ctl put "src/$i" "v$i" >/dev/null; done
	background mirror make-mirror "${mirror_flags[@]}" --prefix src/ --dest-prefix dst/ "$endpoint"
	pid=$last_pid
	for _ in $(seq 100); do
		ctl get dst/3 --print-value-only | grep -q v3 && break
		sleep 0.05
	done
	sleep 0.5
	ctl put src/4 v4 >/dev/null
	ctl del src/1 >/dev/null
	for _ in $(seq 100); do
		[ -z "$(ctl get dst/1)" ] && break
		sleep 0.05
	done
	stop "$pid"
	ctl get dst/ --prefix
}

case_big_values() {
	head -c 1000000 /dev/zero | tr '\0' x | ctl put big
	ctl get big --print-value-only | sha256sum
	head -c 1600000 /dev/zero | tr '\0' x | ctl put big --max-request-bytes 3000000
	head -c 2500000 /dev/zero | tr '\0' x | ctl put big --max-request-bytes 3000000
	ctl del big
}
