#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# san.sh thread | address,undefined : every test with a kedge that a sanitizer watches (make test-san SAN=...).
# A sanitizer's report fails the last part, whatever the test that caused it made of it: reports go to files, for
# the tests start kedge in ways that hide what it says and how it ends.
#   KUBE_TOO=1  also a short control plane (six minutes more, and the Kubernetes programs)
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/parts.sh
case ${1:-} in
thread | address,undefined) ;;
*)
	echo "usage: san.sh thread | address,undefined" >&2
	exit 2
	;;
esac
out=build/${1//,/-}
kedge=$PWD/$out/kedge
reports=$PWD/build/test-logs/san-${1//,/-}
rm -rf "$reports"
mkdir -p "$reports"
# A race does not end the program, so that one does not hide the next; bad memory does.
export TSAN_OPTIONS="log_path=$reports/report halt_on_error=0 second_deadlock_stack=1"
export ASAN_OPTIONS="log_path=$reports/report detect_stack_use_after_return=1 strict_string_checks=1"
export UBSAN_OPTIONS="log_path=$reports/report print_stacktrace=1"

# no_reports : the files that the sanitizers wrote.
no_reports() {
	local found
	found=$(find "$reports" -type f | wc -l)
	[ "$found" -eq 0 ] || head -n 60 "$(find "$reports" -type f | head -n 1)"
	echo "$((found == 0)) passed, $found failed"
	[ "$found" -eq 0 ]
}

part unit tests/run-unit.sh "$out"
part commandline tests/commandline/run.sh "$kedge"
part etcdctl tests/etcdctl/run.sh --kedge "$kedge"
part conformance tests/conformance/run.sh --kedge "$kedge" --interop-server "$PWD/$out/tests/interop_server"
part differential tests/differential/run.sh --kedge "$kedge" --no-control --requests "${DIFFERENTIAL_REQUESTS:-10000}"
part crash tests/crash/run.sh --kedge "$kedge" --no-control --rounds "${CRASH_ROUNDS:-5}"
[ -z "${KUBE_TOO:-}" ] || part kube tests/kube/run.sh --short --kedge "$kedge"
part reports no_reports

parts_end
