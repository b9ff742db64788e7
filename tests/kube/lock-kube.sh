#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# lock-kube.sh VERSION DIR [PACKAGE...]: writes DIR/go.mod and DIR/go.sum, from which build.sh builds Kubernetes
# VERSION. With packages, the lock is for the tests of these instead, for upstream/build.sh.
#
# Kubernetes asks for its own staging modules at version v0.0.0, which exists nowhere; replacing every one
# of them by its published version is what lets k8s.io/kubernetes be built as a dependency.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
. "$here/../lib.sh"

[ $# -ge 2 ] ||
	die "usage: lock-kube.sh VERSION DIR [PACKAGE...], for example: lock-kube.sh v1.37.2 modules/kube-v1.37.2"
version=$1
dir=$2
shift 2
case $version in
v1.[0-9]*.[0-9]*) ;;
*) die "'$version' is not a Kubernetes version like v1.37.2" ;;
esac
need_go
go_env mod
mkdir -p "$dir"
cd "$dir"

upstream=$(cd / && go mod download -json "k8s.io/kubernetes@$version" | sed -n 's/^\t"GoMod": "\(.*\)",\{0,1\}$/\1/p')
[ -n "$upstream" ] || skip "module k8s.io/kubernetes $version cannot be fetched (is a Go module proxy reachable?)"
{
	printf 'module example.invalid/kedge-test-kube\n\n'
	sed -n 's/^go \(.*\)/go \1/p' "$upstream"
	printf '\nrequire k8s.io/kubernetes %s\n\nreplace (\n' "$version"
	sed -n "s#^\t\(k8s.io/[a-z-]*\) => ./staging/.*#\t\1 => \1 v0.${version#v1.}#p" "$upstream"
	printf ')\n'
} >go.mod
if [ $# -gt 0 ]; then
	go_fetch -test "$@"
	exit
fi
go_fetch k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager \
	k8s.io/kubernetes/cmd/kube-scheduler k8s.io/kubernetes/cmd/kubectl
