#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# stored.sh ETCDCTL [FLAGS...] : writes to stdout one stored object of every resource of a control plane, one
# a line: the resource and its value in base64.  Made stored.txt from a run of tests/kube, v1.37.2:
#   . DIR/store.env; tests/unit/sync/stored.sh etcdctl > tests/unit/sync/stored.txt
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: stored.sh ETCDCTL [FLAGS...]" >&2 && exit 2; }
"$@" get --prefix /registry/ --keys-only 2>/dev/null | awk -F/ 'NF > 3 && !seen[$3]++' |
	while read -r key; do
		printf '%s ' "$(cut -d/ -f3 <<<"$key")"
		"$@" get --print-value-only "$key" 2>/dev/null | head -c -1 | base64 -w0
		echo
	done
