#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A real Kubernetes control plane on kedge (or, as the control of this test, on etcd): fake nodes, deployments,
# jobs, custom resources and more, while kube-apiserver is restarted and the store is killed, and then every
# question that tells whether anything was lost. README.md in this folder says more.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
. "$here/../lib.sh"
# shellcheck source=tests/kube/load.sh
. "$here/load.sh"
# shellcheck source=tests/kube/checks.sh
. "$here/checks.sh"

usage() {
	cat <<'TEXT'
usage: run.sh [--store kedge|etcd] [--mode plain|nocache|tls|unix] [--short] [--kedge PROGRAM] [--keep]

  --store   what to test (kedge)
  --mode    plain: over TCP; nocache: kube-apiserver without its watch cache;
            tls: with client certificates; unix: over a unix socket (plain)
  --short   150 pods and two kills instead of 500 pods and five
  --kedge   the program to test (build/kedge of this source tree)
  --keep    keep the folder with data and logs; a failed test always keeps it

The environment: KUBE = version of Kubernetes (v1.37.2), KEDGE_CACHE = folder for built programs,
SEED = seed of the times of the kills. Exit status: 0 passed, 1 failed, 77 skipped.
TEXT
}

store=kedge
mode=plain
short=
keep=
kedge=$here/../../build/kedge
while [ $# -gt 0 ]; do
	case $1 in
	--store | --mode | --kedge)
		[ $# -ge 2 ] || die "$1 needs a value"
		case $1 in
		--store) store=$2 ;;
		--mode) mode=$2 ;;
		--kedge) kedge=$2 ;;
		esac
		shift
		;;
	--short) short=yes ;;
	--keep) keep=yes ;;
	--help | -h)
		usage
		exit 0
		;;
	*)
		usage >&2
		die "unknown argument '$1'"
		;;
	esac
	shift
done
case $store in kedge | etcd) ;; *) die "--store is kedge or etcd, not '$store'" ;; esac
case $mode in plain | nocache | tls | unix) ;; *) die "--mode is plain, nocache, tls or unix, not '$mode'" ;; esac

if [ -n "$short" ]; then
	n_nodes=10 n_deployments=6 n_replicas=25 n_jobs=6 n_widgets=50 kills=2 want_compared=3 steady_pause=60
else
	n_nodes=30 n_deployments=20 n_replicas=25 n_jobs=20 n_widgets=200 kills=5 want_compared=25 steady_pause=120
fi
job_completions=5
event_ttl=1m
# Compaction, expiry and the consistency checker (5 to 7.5 minutes after a start of the apiserver) fit into this.
steady_timeout=660
# On a busy machine the controller manager reads its own writes late, and then backs off for up to minutes.
settle_timeout=420

need_tool openssl openssl
need_tool flock util-linux
SEED=${SEED:-$RANDOM}
RANDOM=$SEED
jobs_declared=0
widget_round=0
round=0
revisions_at_start=

paths=$("$here/build.sh") || exit $?
while IFS='=' read -r name value; do
	export "$name=$value"
done <<<"$paths"
case $store in
kedge)
	[ -x "$kedge" ] || die "there is no program $kedge; run 'make' first, or name it with --kedge"
	program=$(cd "$(dirname "$kedge")" && pwd)/$(basename "$kedge")
	;;
etcd) program=$ETCD_BIN/etcd ;;
esac

work=$(mktemp -d "${TMPDIR:-/tmp}/kedge-kube.XXXXXX")
mkdir -p "$work/ledger"
writer=

cleanup() {
	local status=$?
	trap - EXIT INT TERM HUP
	if alive "$writer"; then kill -KILL "$writer" 2>/dev/null || true; fi
	"$here/cluster.sh" stop "$work" || true
	"$here/store.sh" stop "$work" || true
	if [ "$status" -eq 0 ] && [ -z "$keep" ]; then
		rm -rf "$work"
	else
		say "data and logs are in $work"
	fi
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# Memory and revision of the store, as far as it is up right now.
note_rss() {
	local pid kb
	pid=$(cat "$work/store.pid" 2>/dev/null) || return 0
	kb=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null) || return 0
	[ "${kb:-0}" -le "$peak_rss_kb" ] || peak_rss_kb=$kb
}
peak_rss_kb=0

start_everything() {
	local flags=(--etcd-compaction-interval=1m "--event-ttl=$event_ttl") how=plain
	case $mode in
	nocache) flags+=(--watch-cache=false) ;;
	tls | unix) how=$mode ;;
	esac
	"$here/pki.sh" "$work/pki" 0
	"$here/store.sh" init "$work" "$store" "$program" "$how" "$work/pki"
	# shellcheck source=/dev/null
	. "$work/store.env"
	"$here/store.sh" start "$work"
	"$here/cluster.sh" start "$work" "$STORE_ENDPOINT" "${flags[@]}"
	api=$(sed -n 's/.*server: "\([^"]*\)".*/\1/p' "$work/pki/admin.conf")
	revisions_at_start=$(store_revision)
}

start_writer() {
	"$CLIENT_BIN/kubeload" write --server "$api" --pki "$work/pki" --ledger "$work/ledger" \
		--rate 60 --seed "$SEED" >"$work/writer.out" 2>&1 &
	writer=$!
}

stop_writer() {
	kill -TERM "$writer" 2>/dev/null || true
	wait "$writer"
}

restart_apiserver() {
	say "kube-apiserver ends by SIG$1 and starts again"
	"$here/cluster.sh" apiserver-stop "$work" "$1"
	"$here/cluster.sh" apiserver-start "$work"
	apiserver_restarts=$((apiserver_restarts + 1))
	"$here/cluster.sh" revive "$work"
}
apiserver_restarts=0

kill_store() {
	note_rss
	"$here/store.sh" kill "$work"
	"$here/store.sh" start "$work"
	kills_done=$((kills_done + 1))
	say "kill $kills_done: the store serves again after $(tail -n 1 "$work/start.ms") ms"
}
kills_done=0

# Everything is declared; the apiserver is killed in the middle of it.
first_load() {
	local i
	declare_objects namespaces
	declare_objects widget_definition
	insist kc wait --for=condition=Established crd/widgets.test.example.com --timeout=15s
	declare_objects nodes
	declare_objects quota
	# Until the controller manager has filled in its status, a quota limits nothing.
	insist kc -n quota wait --for=jsonpath='{.status.hard.pods}'=10 resourcequota/small --timeout=15s
	start_writer
	declare_objects deployments 0 "$n_replicas"
	sleep 1
	restart_apiserver KILL
	declare_objects jobs_of 0
	jobs_declared=$n_jobs
	declare_objects widgets crd "$n_widgets" 0
	for i in $(seq 1 3 "$kills"); do
		declare_objects doomed "$i"
	done
	declare_objects deployment quota greedy 25 0
	# Only a full quota is left alone from here on: while pods are being admitted, the controller manager may
	# count them before they are there and give their room away again (13 of 10 were seen after a restart).
	check "the quota is filled" within "$settle_timeout" quota_used 10
	restart_apiserver TERM
	check "server-side apply: a conflict is seen, a forced one wins" server_side_apply
}

# One kill in the middle of a change; the third takes the apiserver with it, the last comes twice.
strike() {
	local number=$1
	say "change $number begins"
	churn "$number"
	sleep "$((RANDOM % 3)).$((RANDOM % 10))"
	if [ "$number" -eq 3 ]; then
		"$here/cluster.sh" apiserver-stop "$work" KILL
		kill_store
		"$here/cluster.sh" apiserver-start "$work"
		apiserver_restarts=$((apiserver_restarts + 1))
	else
		kill_store
	fi
	if [ "$number" -eq "$kills" ] && [ -z "$short" ]; then
		sleep 0.5
		kill_store
	fi
	insist kc get --raw /readyz
	"$here/cluster.sh" revive "$work"
	check "change $number is complete after the kill" within "$settle_timeout" deployments_ready "$number" "$n_replicas"
	round=$number
}

all_expired() {
	expired events event_keys && expired leases lease_ids
}

time_has_passed() {
	compacted "$revisions_at_start" && all_expired || return 1
	[ "$mode" = nocache ] || consistency_checked "$want_compared"
}

# A change is under way, so there are events now, and leases that end them.
sample_expiring() {
	event_keys >"$work/sample.events"
	lease_ids >"$work/sample.leases"
}

# Time has to pass for compaction, expiry and the consistency checker; the cluster goes on changing meanwhile.
steady() {
	local deadline=$((SECONDS + steady_timeout)) next=0
	say "steady until compaction, expiry and the consistency checker have had their time"
	until time_has_passed >/dev/null 2>&1 || [ "$SECONDS" -ge "$deadline" ]; do
		if [ "$SECONDS" -ge "$next" ]; then
			next=$((SECONDS + steady_pause))
			round=$((round + 1))
			declare_objects deployments "$round" "$((n_replicas - 5))"
			sleep 3
			declare_objects deployments "$round" "$n_replicas"
			[ -e "$work/sample.events" ] || sample_expiring
		fi
		"$here/cluster.sh" revive "$work"
		note_rss
		sleep 5
	done
}

final_checks() {
	check "every node is ready" within 60 nodes_ready
	check "$((n_deployments * n_replicas)) pods run as declared" within "$settle_timeout" deployments_ready "$round" "$n_replicas"
	check "every job is complete" within 120 jobs_complete
	check "every custom resource is of the last round" widgets_are "$widget_round"
	check "the deleted namespaces are gone, key by key" within 120 doomed_gone
	check "the quota stopped at ten pods" within 60 quota_used 10
	insist kc -n quota scale deployment greedy --replicas=4
	check "the quota is given back" within 60 quota_used 4
	check "the quota refuses one too many" quota_refuses
	check "server-side apply: both managers are remembered" shared_as_applied
	check "history is compacted every minute" compacted "$revisions_at_start"
	check "events expired" expired events event_keys
	check "their leases expired" expired leases lease_ids
	check "no answer to the writer told of a lost or doubled write" stop_writer
	check "nothing acknowledged is missing" client check-ledger
	check "a watch told every write once and in order" client check-watch
	if [ "$mode" != nocache ]; then
		show=yes check "the consistency checker compared and never complained" consistency_checked "$want_compared"
	fi
	pods=$(list_of pods -A -- '{.metadata.name}' | wc -l)
	"$here/cluster.sh" controllers-stop "$work"
	if [ "$mode" = nocache ]; then
		check "what etcdctl lists is what the apiserver serves" client compare --etcdctl "$ETCD_BIN/etcdctl" --cache=false
	else
		check "what etcdctl lists is what the apiserver serves" client compare --etcdctl "$ETCD_BIN/etcdctl"
	fi
	cp "$work/check.log" "$work/compare.log"
	check "kube-apiserver never panicked, complained or ended by itself" no_complaint
	check "the store's log has no failure" store_log_clean
}

figures() {
	note_rss
	printf '\nfigures: %s, Kubernetes %s, %s form, mode %s, seed %s\n' "$store" "${KUBE:-v1.37.2}" \
		"${short:+short}${short:-full}" "$mode" "$SEED" | sed 's/shortyes/short/'
	printf '  control plane up in %s s, first %s pods running after %s s\n' \
		"$up_s" "$((n_deployments * n_replicas))" "$pods_s"
	printf '  pods at the end %s, revisions written %s\n' "$pods" "$(($(store_revision) - revisions_at_start))"
	printf '  kills survived %s, apiserver restarts %s, other programs revived %s\n' "$kills_done" \
		"$apiserver_restarts" "$(sort "$work/revived" 2>/dev/null | wc -l)"
	printf '  store: peak RSS %s MiB, starts after a kill (ms): %s\n' "$((peak_rss_kb / 1024))" \
		"$(sed 1d "$work/start.ms" | xargs)"
	sed 's/^/  writer: /' "$work/writer.out"
	printf '  %s s in all\n' "$SECONDS"
}

say "a control plane of Kubernetes ${KUBE:-v1.37.2} on $store ($mode), seed $SEED, in $work"
SECONDS=0
start_everything
up_s=$SECONDS
say "the control plane is up"
first_load
check "the first pods run" within "$settle_timeout" deployments_ready 0 "$n_replicas"
pods_s=$((SECONDS - up_s))
for number in $(seq "$kills"); do
	strike "$number"
done
steady
final_checks
figures
printf '\n%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
