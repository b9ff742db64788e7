#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Rude clients, many clients and big requests on kedge and on a real etcd: what can be seen from outside
# is compared, kedge's memory is held to the bounds of docs/limits.md, and a probe shows that nobody else
# is held up. Ends with "N passed, N failed"; exit 77 = nothing could be tested.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/lib.sh
. "$root/tests/lib.sh"

usage() {
	cat <<USAGE
usage: run.sh [--long] [--only NAME,NAME] [--kedge PATH] [--no-etcd] [-v]
  --long          ten times as much of everything
  --only NAMES    these cases
  --kedge PATH    the program under test (default build/kedge)
  --no-etcd       kedge alone: nothing is compared
  -v              tell all that was seen
USAGE
}

kedge=$root/build/kedge etcd=1 args=()
while [ $# -gt 0 ]; do
	case $1 in
	--long) args+=(-long) ;;
	--only) args+=(-only "$2"); shift ;;
	--kedge) kedge=$2; shift ;;
	--no-etcd) etcd='' ;;
	-v) args+=(-v) ;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
	shift
done

[ -x "$kedge" ] || die "$kedge is not there; build it with: make"
if [ -n "$etcd" ]; then
	etcd=$(bash "$root/tests/kube/build-etcd.sh" | tail -n 1; exit "${PIPESTATUS[0]}") || exit
	etcd=$etcd/etcd
fi
need_go
tool=$(cache_root)/pressuretest
(
	go_env readonly
	cd "$here" && go_fetch . && go build -o "$tool.new" . && mv "$tool.new" "$tool"
) || exit

# Data lives in memory where that is possible: this is not about the disk.
shm=${TMPDIR:-/tmp}
[ -d /dev/shm ] && [ -w /dev/shm ] && shm=/dev/shm
data=$(mktemp -d "$shm/pressure.XXXXXX")
trap 'rm -rf "$data"' EXIT
ulimit -n "$(ulimit -Hn)"
"$tool" -kedge "$kedge" -etcd "$etcd" -data "$data" "${args[@]}"
