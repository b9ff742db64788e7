#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds everything the cluster test runs, each once per version, into the cache:
# Kubernetes (version from KUBE), kwok for fake nodes, reference etcd, and the test's own client.
# Prints NAME=FOLDER lines on stdout; exit 77 = skipped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
. "$here/../lib.sh"

version=${KUBE:-v1.37.2}
kwok_version=v0.8.0
case $version in
v1.[0-9]*.[0-9]*) ;;
*) die "KUBE='$version' is not a Kubernetes version like v1.37.2" ;;
esac
programs="kube-apiserver kube-controller-manager kube-scheduler kubectl"

# The programs read their own version from these variables; without them they call themselves v0.0.0.
version_flags() {
	local minor=${version#v1.} pair package flags="-s -w"
	for pair in "gitVersion=$version" gitMajor=1 "gitMinor=${minor%%.*}" gitTreeState=clean \
		gitCommit=0000000000000000000000000000000000000000 buildDate=2026-01-01T00:00:00Z; do
		for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
			flags="$flags -X $package.$pair"
		done
	done
	printf '%s\n' "$flags"
}

all_there() {
	local dir=$1 name
	shift
	for name in "$@"; do
		[ -s "$dir/$name" ] || return 1
	done
}

build_kube() {
	local bin=$1 name locked=$here/modules/kube-$version packages=()
	# shellcheck disable=SC2086
	all_there "$bin" $programs && return 0
	need_go
	lock_cache "$bin"
	if [ ! -f "$locked/go.sum" ]; then
		say "no locked modules for Kubernetes $version: resolving them now"
		locked=$bin/modules
		"$here/lock-kube.sh" "$version" "$locked"
	fi
	go_env readonly
	cd "$locked"
	for name in $programs; do
		packages+=("k8s.io/kubernetes/cmd/$name")
	done
	say "fetching Kubernetes $version"
	go_fetch "${packages[@]}"
	for name in $programs; do
		all_there "$bin" "$name" && continue
		say "building $name $version (the first one takes 5 to 15 minutes)"
		go build -ldflags "$(version_flags)" -o "$bin/$name.new" "k8s.io/kubernetes/cmd/$name"
		mv "$bin/$name.new" "$bin/$name"
	done
}

build_kwok() {
	local bin=$1 stage stages
	all_there "$bin" kwok stages.yaml && return 0
	need_go
	lock_cache "$bin"
	go_env readonly
	cd "$here/modules/kwok"
	say "fetching kwok $kwok_version"
	go_fetch sigs.k8s.io/kwok/cmd/kwok
	say "building kwok $kwok_version"
	go build -o "$bin/kwok.new" sigs.k8s.io/kwok/cmd/kwok
	mv "$bin/kwok.new" "$bin/kwok"
	stages=$(go list -m -f '{{.Dir}}' sigs.k8s.io/kwok)/kustomize/stage
	for stage in node/fast/node-initialize node/heartbeat-with-lease/node-heartbeat-with-lease \
		pod/fast/pod-ready pod/fast/pod-complete pod/fast/pod-delete; do
		cat "$stages/$stage.yaml"
		echo ---
	done >"$bin/stages.yaml.new"
	mv "$bin/stages.yaml.new" "$bin/stages.yaml"
}

# The client is keyed by its source, so that an edit is never tested with yesterday's program.
build_client() {
	local bin=$1
	all_there "$bin" kubeload && return 0
	need_go
	lock_cache "$bin"
	go_env readonly
	cd "$here/kubeload"
	go build -o "$bin/kubeload.new" .
	mv "$bin/kubeload.new" "$bin/kubeload"
}

root=$(cache_root)
client_key=$(cat "$here"/kubeload/*.go "$here/kubeload/go.mod" | sha256sum | cut -c1-16)
etcd_bin=$("$here/build-etcd.sh" | tail -n 1) || exit $?
[ -n "$etcd_bin" ] || exit "$SKIPPED"
(build_kube "$root/kube-$version")
(build_kwok "$root/kwok-$kwok_version")
(build_client "$root/kubeload-$client_key")
cat <<PATHS
ETCD_BIN=$etcd_bin
KUBE_BIN=$root/kube-$version
KWOK_BIN=$root/kwok-$kwok_version
CLIENT_BIN=$root/kubeload-$client_key
PATHS
