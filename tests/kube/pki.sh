#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# pki.sh DIR APISERVER_PORT: one CA, every certificate of one control plane and of its store, and kubeconfigs.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: pki.sh DIR APISERVER_PORT" >&2; exit 2; }
mkdir -p "$1"
cd "$1"
port=$2
umask 077

openssl ecparam -genkey -name prime256v1 -noout -out ca.key
openssl req -x509 -new -key ca.key -subj /CN=kedge-test-ca -days 30 -out ca.crt
openssl genrsa -out sa.key 2048 2>/dev/null
openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null

# leaf FILE COMMON_NAME ORGANISATION KEY_USAGE SUBJECT_ALT_NAMES
leaf() {
	openssl ecparam -genkey -name prime256v1 -noout -out "$1.key"
	openssl req -new -key "$1.key" -subj "${3:+/O=$3}/CN=$2" -out "$1.csr"
	printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=%s\n%s\n' \
		"$4" "${5:+subjectAltName=$5}" >"$1.ext"
	openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 \
		-extfile "$1.ext" -out "$1.crt" 2>/dev/null
	rm "$1.csr" "$1.ext"
}

services=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc
leaf apiserver kube-apiserver "" serverAuth "DNS:localhost,$services,IP:127.0.0.1,IP:10.0.0.1"
leaf apiserver-kubelet-client kube-apiserver "" clientAuth ""
leaf admin kubernetes-admin system:masters clientAuth ""
leaf kcm system:kube-controller-manager "" clientAuth ""
leaf scheduler system:kube-scheduler "" clientAuth ""
leaf front-proxy-client front-proxy-client "" clientAuth ""
leaf store-server store "" serverAuth,clientAuth "DNS:localhost,IP:127.0.0.1"
leaf store-client apiserver-store-client "" clientAuth ""

for name in admin kcm scheduler; do
	cat >"$name.conf" <<KUBECONFIG
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:$port", certificate-authority: "$PWD/ca.crt"}}]
users: [{name: u, user: {client-certificate: "$PWD/$name.crt", client-key: "$PWD/$name.key"}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
KUBECONFIG
done
