#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# build.sh [SUITE...]: compiles the named suites (all of them and e2e without a name) of Kubernetes v1.37.2,
# each once, into the cache. The last line on stdout is the folder: NAME.test is the program of a suite,
# NAME.dir names the folder it must run in. Exit 77 = skipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
. "$here/../../lib.sh"

version=v1.37.2
# Keyed by the file that is compiled into the storage tests.
bin=$(cache_root)/kube-tests-$version-$(sha256sum <"$here/testserver.go" | cut -c1-8)
locked=$here/../modules/kube-tests-$version

# suites: NAME PACKAGE of what is asked for.
suites() {
	{
		sed '/^#/d' "$here/suites"
		echo "e2e k8s.io/kubernetes/test/e2e"
	} | awk -v wanted=" $* " 'wanted == "  " || index(wanted, " " $1 " ") { print $1, $2 }'
}

missing() {
	local name package
	while read -r name package; do
		[ -s "$bin/$name.test" ] && [ -s "$bin/$name.dir" ] || echo "$name $package"
	done
}

# The storage tests import a package that runs etcd inside the test. They are compiled from a copy of their
# module in which testserver.go takes its place; everything else is compiled as it was published.
copy_apiserver() {
	local copy=$bin/apiserver
	[ -f "$bin/copy.mod" ] && return 0
	rm -rf "$copy"
	cp -r "$(go list -m -f '{{.Dir}}' k8s.io/apiserver)" "$copy"
	chmod -R u+w "$copy"
	cp "$here/testserver.go" "$copy/pkg/storage/etcd3/testserver/test_server.go"
	cp go.sum "$bin/copy.sum"
	sed "s#^\(\tk8s.io/apiserver =>\) .*#\1 $copy#" go.mod >"$bin/copy.mod"
}

# compile NAME PACKAGE
compile() {
	local name=$1 package=$2 modfile=() folder
	say "compiling $package"
	case $package in
	k8s.io/apiserver/*)
		copy_apiserver
		modfile=(-modfile "$bin/copy.mod")
		;;
	esac
	folder=$(go list "${modfile[@]}" -f '{{.Dir}}' "$package")
	go test -c -vet=off -p "${BUILD_JOBS:-2}" -ldflags "-s -w" "${modfile[@]}" -o "$bin/$name.new" "$package"
	printf '%s\n' "$folder" >"$bin/$name.dir"
	mv "$bin/$name.new" "$bin/$name.test"
}

if [ -n "$(suites "$@" | missing)" ]; then
	need_go
	lock_cache "$bin"
	go_env readonly
	cd "$locked"
	mapfile -t todo < <(suites "$@" | missing)
	if [ "${#todo[@]}" -gt 0 ]; then
		say "fetching the modules of Kubernetes' tests, $version"
		go_fetch -test "${todo[@]#* }"
	fi
	for suite in "${todo[@]}"; do
		# shellcheck disable=SC2086 # the two words of a line
		compile $suite
	done
fi
printf '%s\n' "$bin"
