#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that building and testing need, or prints the command that would.
set -eu
packages="build-essential pkg-config git protobuf-c-compiler libprotobuf-c-dev libuv1-dev
	libnghttp2-dev libssl-dev libsqlite3-dev zlib1g-dev libzstd-dev libhttp-parser-dev libyaml-dev
	libcmocka-dev clang libclang-rt-14-dev clang-format clang-tidy curl openssl jq xxd python3 spin"
missing=
for p in $packages; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0
command="apt-get install -y --no-install-recommends$missing"
as_root=
if [ "$(id -u)" != 0 ]; then
	if sudo -n true 2>/dev/null; then
		as_root="sudo -n"
	else
		echo "kedge needs these Debian packages. Please run this, then try again:" >&2
		echo "    sudo apt-get update && sudo $command" >&2
		exit 1
	fi
fi
echo "installing:$missing"
$as_root apt-get update -q >/dev/null
DEBIAN_FRONTEND=noninteractive $as_root $command -q >/dev/null
