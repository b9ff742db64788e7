#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the reference etcd and etcdctl from their Go modules, once per version, into the cache.
# The last line on stdout is the folder that holds `etcd` and `etcdctl`; exit 77 = skipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
. "$here/../lib.sh"

version=v3.7.3
bin=$(cache_root)/etcd-$version
if [ -x "$bin/etcd" ] && [ -x "$bin/etcdctl" ]; then
	printf '%s\n' "$bin"
	exit 0
fi

need_go
lock_cache "$bin"
if [ ! -x "$bin/etcd" ] || [ ! -x "$bin/etcdctl" ]; then
	go_env readonly
	cd "$here/modules/etcd"
	say "fetching etcd $version"
	go_fetch go.etcd.io/etcd/server/v3 go.etcd.io/etcd/etcdctl/v3
	for name in etcd etcdctl; do
		case $name in
		etcd) package=go.etcd.io/etcd/server/v3 ;;
		etcdctl) package=go.etcd.io/etcd/etcdctl/v3 ;;
		esac
		say "building $name $version"
		go build -o "$bin/$name.new" "$package"
		mv "$bin/$name.new" "$bin/$name"
	done
fi

"$bin/etcd" --version | grep -qx "etcd Version: ${version#v}" ||
	die "$bin/etcd does not call itself ${version#v}; remove $bin and try again"
printf '%s\n' "$bin"
