#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds what kedge is compared with, each once per version, into the cache: etcd, and kine with SQLite.
# Prints NAME=PATH lines on stdout, and KINE_SKIPPED=reason where kine cannot be built; exit 77 = skipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
. "$here/../lib.sh"

kine_version=v0.16.4

# kine's SQLite driver is C: unlike all other programs here it is built with cgo.
build_kine() {
	local bin=$1
	[ -x "$bin/kine" ] && return 0
	need_go
	lock_cache "$bin"
	go_env readonly
	export CGO_ENABLED=1
	cd "$here/kine"
	say "fetching kine $kine_version"
	go_fetch github.com/k3s-io/kine
	say "building kine $kine_version (its SQLite takes minutes)"
	go build -o "$bin/kine.new" github.com/k3s-io/kine
	mv "$bin/kine.new" "$bin/kine"
}

etcd_bin=$("$here/../kube/build-etcd.sh" | tail -n 1) || exit $?
[ -n "$etcd_bin" ] || exit "$SKIPPED"
echo "ETCD=$etcd_bin/etcd"
kine_bin=$(cache_root)/kine-$kine_version
if (build_kine "$kine_bin"); then
	echo "KINE=$kine_bin/kine"
else
	echo "KINE_SKIPPED=kine $kine_version could not be built (see above)"
fi
