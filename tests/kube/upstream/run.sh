#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Kubernetes' own tests on kedge and, as the control, on etcd: the storage layer's, chosen integration tests
# (the file `suites`), and the end-to-end tests of sig-api-machinery with fake nodes. Prints a table of the
# suites, every test that is not equal on both, and `N passed, N failed`: failed is what passes on etcd and,
# twice, not on kedge. ../README.md says more.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
. "$here/../../lib.sh"

usage() {
	cat <<'TEXT'
usage: run.sh [--only "SUITE..."] [--kedge PROGRAM] [--control fresh] [--keep]

  --only     these suites of tests/kube/upstream/suites, or e2e (all)
  --kedge    the program to test (build/kedge of this source tree)
  --control  fresh: run etcd again, although its results are in the cache
  --keep     keep the folder with the logs; a failed run always keeps it

The environment: PATIENCE = factor for the minutes that a suite may take (1); a busy machine needs more.
Exit status: 0 passed, 1 failed, 77 skipped.
TEXT
}

only="" control="" keep=""
kedge=$here/../../../build/kedge
while [ $# -gt 0 ]; do
	case $1 in
	--only | --kedge | --control)
		[ $# -ge 2 ] || die "$1 needs a value"
		case $1 in
		--only) only=$2 ;;
		--kedge) kedge=$2 ;;
		--control) control=$2 ;;
		esac
		shift
		;;
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
case $control in "" | fresh) ;; *) die "--control is fresh, not '$control'" ;; esac
[ -x "$kedge" ] || die "there is no program $kedge; run 'make' first, or name it with --kedge"
all_suites=$(sed '/^#/d' "$here/suites" | cut -d' ' -f1 | xargs)
only=${only:-$all_suites e2e}
for suite in $only; do
	case " $all_suites e2e " in *" $suite "*) ;; *) die "there is no suite '$suite': $all_suites e2e" ;; esac
done
PATIENCE=${PATIENCE:-1}
need_tool openssl openssl
need_tool flock util-linux

# The built programs: the suites, etcd, and the control plane for e2e.
# shellcheck disable=SC2086
bin=$("$here/build.sh" $only | tail -n 1) || exit $?
case " $only " in
*" e2e "*) paths=$("$here/../build.sh") || exit $? ;;
*) paths=ETCD_BIN=$("$here/../build-etcd.sh" | tail -n 1) || exit $? ;;
esac
while IFS='=' read -r name value; do
	export "$name=$value"
done <<<"$paths"

work=$(mktemp -d "${TMPDIR:-/tmp}/kedge-up.XXXXXX")
running=
cleanup() {
	local status=$?
	trap - EXIT INT TERM HUP
	if [ -n "$running" ]; then
		"$here/../cluster.sh" stop "$running" 2>/dev/null || true
		"$here/../store.sh" stop "$running" || true
	fi
	if [ "$status" -eq 0 ] && [ -z "$keep" ]; then
		rm -rf "$work"
	else
		say "logs are in $work"
	fi
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$work/path-kedge" "$work/path-etcd"
# Tests that start a server of their own take `etcd` from the path; kedge serves when it is called so.
kedge=$(cd "$(dirname "$kedge")" && pwd)/$(basename "$kedge")
ln -s "$kedge" "$work/path-kedge/etcd"
ln -s "$ETCD_BIN/etcd" "$work/path-etcd/etcd"

# open_store STORE FOLDER: a new store; $STORE_ENDPOINT is where it serves.
open_store() {
	local program=$kedge
	[ "$1" = kedge ] || program=$ETCD_BIN/etcd
	mkdir -p "$2/tmp"
	"$here/../store.sh" init "$2" "$1" "$program" plain ''
	running=$2
	"$here/../store.sh" start "$2"
	# shellcheck source=/dev/null
	. "$2/store.env"
}

close_store() {
	"$here/../store.sh" stop "$running"
	running=
}

# go_suite STORE SUITE FOLDER [PATTERN]: FOLDER/results of one test program.
go_suite() {
	local store=$1 suite=$2 folder=$3 args=(-test.v) minutes skip status=0
	read -r minutes skip < <(awk -v suite="$suite" '$1 == suite { print $3, $4 }' "$here/suites")
	args+=("-test.timeout=$((minutes * PATIENCE))m")
	[ "$skip" = - ] || args+=("-test.skip=$skip")
	[ $# -lt 4 ] || args+=("-test.run=$4")
	open_store "$store" "$folder"
	(
		cd "$(cat "$bin/$suite.dir")"
		PATH=$work/path-$store:$PATH TMPDIR=$folder/tmp KUBE_INTEGRATION_ETCD_URL=$STORE_ENDPOINT \
			KEDGE_TEST_STORE=$work/path-$store/etcd \
			"$bin/$suite.test" "${args[@]}" >"$folder/out" 2>"$folder/err" </dev/null
	) || status=$?
	close_store
	awk -f "$here/results.awk" "$folder/out" >"$folder/results"
	# Tests that did not begin are in nobody's results, so a control that ends early would compare less.
	if [ "$store" = etcd ] && grep -q '^panic: ' "$folder/out" "$folder/err"; then
		die "the tests of $suite broke off on etcd; if the time was up, try a higher PATIENCE; see $folder"
	fi
	# Some programs check at their end that nothing is left running.
	if [ "$status" -eq 0 ] || grep -q '^fail' "$folder/results"; then
		echo "pass exit-status" >>"$folder/results"
	else
		echo "fail exit-status" >>"$folder/results"
	fi
}

fake_nodes() {
	local i
	for i in 1 2; do
		cat <<YAML
---
apiVersion: v1
kind: Node
metadata:
  name: node-$i
  labels: {type: kwok, kubernetes.io/hostname: node-$i}
YAML
	done
}

# e2e_suite STORE FOLDER [PATTERN...]: the same for the end-to-end tests that need no kubelet.
e2e_suite() {
	local store=$1 folder=$2 focus=() pattern conf
	shift 2
	for pattern in "$@"; do
		focus+=("--ginkgo.focus=$pattern")
	done
	[ $# -gt 0 ] || focus=('--ginkgo.focus=\[sig-api-machinery\]')
	open_store "$store" "$folder"
	"$here/../cluster.sh" start "$folder" "$STORE_ENDPOINT"
	conf=$folder/pki/admin.conf
	fake_nodes | "$KUBE_BIN/kubectl" --kubeconfig "$conf" apply -f - >/dev/null
	(
		cd "$(cat "$bin/e2e.dir")"
		TMPDIR=$folder/tmp PATH=$KUBE_BIN:$PATH "$bin/e2e.test" --provider=skeleton --kubeconfig="$conf" --num-nodes=2 \
			--allowed-not-ready-nodes=10 --disable-log-dump=true --kubectl-path="$KUBE_BIN/kubectl" \
			"--ginkgo.junit-report=$folder/junit.xml" --ginkgo.timeout=1h "${focus[@]}" --ginkgo.skip="$e2e_skip" \
			>"$folder/out" 2>"$folder/err" </dev/null
	) || true
	"$here/../cluster.sh" stop "$folder"
	close_store
	[ -s "$folder/junit.xml" ] || die "e2e.test wrote no report; see $folder/out"
	awk -f "$here/junit.awk" "$folder/junit.xml" >"$folder/results"
}
# Fake nodes run no containers, so whatever calls into a pod is left out; and what is slow or off by default.
e2e_skip='Slow|Serial|Disruptive|Flaky|Feature:|Webhook|webhook|Aggregator|AdmissionWebhook|CustomResourceConversion|Etcd failure|SSH|exec|websocket|health handlers|client-go.*certificates|100 namespaces'

# again STORE SUITE FOLDER NAME...: these tests once more; what they say now replaces what they said before.
again() {
	local store=$1 suite=$2 folder=$3 tops
	shift 3
	say "$suite on $store: $# tests once more"
	if [ "$suite" = e2e ]; then
		mapfile -t tops < <(printf '%s\n' "$@" | sed 's/[][(){}.*+?^$|\\]/\\&/g; s/_/[_ ]/g')
		e2e_suite "$store" "$folder" "${tops[@]}"
	elif [ "$*" = exit-status ]; then
		go_suite "$store" "$suite" "$folder"
	else
		mapfile -t tops < <(printf '%s\n' "$@" | sed 's#/.*##' | sort -u)
		go_suite "$store" "$suite" "$folder" "^($(printf '%s\n' "${tops[@]}" | paste -sd'|'))\$"
	fi
	sed 's/^[a-z]* //; s#/.*##' "$folder/results" | sort -u >"$folder/told"
	awk 'NR == FNR { told[$1] = 1; next } { top = $2; sub(/\/.*/, "", top) } !(top in told)' \
		"$folder/told" "${folder%-again}/results" >"$folder/merged"
	cat "$folder/results" >>"$folder/merged"
}

suite_on() {
	if [ "$2" = e2e ]; then
		e2e_suite "$1" "$3"
	else
		go_suite "$@"
	fi
}

# The control's results are kept with the programs: etcd does not change. What fails there is tried twice too.
run_control() {
	local suite=$1 folder=$work/$1/etcd kept=$bin/control/$1 failing
	mkdir -p "$bin/control"
	[ ! -s "$kept" ] || [ "$control" = fresh ] || return 0
	say "$suite on etcd"
	suite_on etcd "$suite" "$folder"
	mapfile -t failing < <(sed -n 's/^fail //p' "$folder/results" | grep -v '^exit-status$')
	if [ "${#failing[@]}" -gt 0 ]; then
		again etcd "$suite" "$folder-again" "${failing[@]}"
		mv "$folder-again/merged" "$folder/results"
	fi
	sort "$folder/results" >"$kept.new"
	mv "$kept.new" "$kept"
}

compare() {
	awk -f "$here/compare.awk" "$bin/control/$1" "$2" | sort
}

# run_suite SUITE: its line of the table, and what is not equal.
run_suite() {
	local suite=$1 folder=$work/$1/kedge verdicts=$work/$1/verdicts worse begun=$SECONDS
	run_control "$suite"
	begun=$SECONDS
	say "$suite on kedge"
	suite_on kedge "$suite" "$folder"
	compare "$suite" "$folder/results" >"$verdicts"
	mapfile -t worse < <(sed -n 's/^worse [a-z]* [a-z]* //p' "$verdicts")
	if [ "${#worse[@]}" -gt 0 ]; then
		again kedge "$suite" "$folder-again" "${worse[@]}"
		compare "$suite" "$folder-again/merged" >"$verdicts.again"
		# What failed once is told, and counts as passed.
		awk 'NR == FNR { if ($1 == "worse") bad[$4] = 1; next }
			$1 == "same" && ($4 in bad) { $1 = "flaky" } { print }' "$verdicts" "$verdicts.again" >"$verdicts.new"
		mv "$verdicts.new" "$verdicts"
	fi
	table_line "$suite" "$verdicts" "$((SECONDS - begun))"
}

count() {
	grep -c "$1" "$2" || true
}

table_line() {
	local suite=$1 verdicts=$2 same flaky worse other
	same=$(count '^same' "$verdicts")
	flaky=$(count '^flaky' "$verdicts")
	worse=$(count '^worse' "$verdicts")
	other=$(count '^other' "$verdicts")
	passed=$((passed + same + flaky))
	failed=$((failed + worse))
	printf '%-17s %6d %6d %7d %9d %9d %6d\n' "$suite" "$((same + flaky + worse))" "$((same + flaky))" "$worse" "$flaky" \
		"$other" "$3"
	sed -n 's/^\(worse\|flaky\|other\) /\1 /p' "$verdicts" | sed "s/^/$suite /" >>"$work/differences"
}

passed=0 failed=0
: >"$work/differences"
printf '%-17s %6s %6s %7s %9s %9s %6s\n' suite etcd kedge failed 'at retry' 'no basis' seconds
for suite in $only; do
	run_suite "$suite"
done
cat <<'TEXT'

etcd: tests that pass on etcd. kedge: of these, those that pass on kedge. failed: those that fail on kedge twice.
at retry: those of kedge's that passed at the second try only. no basis: tests skipped or failing on etcd.

TEXT
{
	grep -v ' other [a-z]* skip ' "$work/differences" || true
} | awk '
	BEGIN { said["worse"] = "fails on kedge"; said["flaky"] = "passed at the second try"; said["other"] = "fails on etcd" }
	{ printf "%s: %s: %s (kedge %s, etcd %s)\n", $1, said[$2], $5, $3, $4 }'
printf '\n%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
