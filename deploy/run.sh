#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh KEDGE : serves on 127.0.0.1:2379 with its data in build/run-data, and says how to use it.
set -eu
kedge=$1
data=${KEDGE_DATA:-$PWD/build/run-data}
url=${KEDGE_URL:-http://127.0.0.1:2379}
cat <<TEXT
kedge serves on $url, its data is in $data (Ctrl-C stops it).

Point a kube-apiserver at it:
    kube-apiserver --etcd-servers=$url ...
Try it from another terminal:
    curl $url/version
    etcdctl --endpoints=$url put hello world && etcdctl --endpoints=$url get hello

TEXT
exec "$kedge" serve --data-dir "$data" --listen-client-urls "$url" \
	--advertise-client-urls "$url" --log-format console
