#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# One control plane (kube-apiserver, controller manager, scheduler, kwok's fake nodes) on any etcd endpoint.
#
# cluster.sh start DIR ENDPOINT [apiserver flags...]   start everything
# cluster.sh apiserver DIR ENDPOINT [flags...]         start an apiserver and nothing else
# cluster.sh stop DIR                                  stop everything
# cluster.sh controllers-stop DIR                      stop everything but the apiserver
# cluster.sh apiserver-stop DIR TERM|KILL              the apiserver alone
# cluster.sh apiserver-start DIR
# cluster.sh revive DIR                                start what has ended, as a supervisor would
#
# KUBE_BIN and KWOK_BIN name the folders of the programs. Certificates are expected in, or made into, DIR/pki;
# an https endpoint is spoken to with the client certificate from there. DIR/pki/admin.conf is for kubectl.
# DIR/unexpected has a line for every apiserver that ended by itself, DIR/revived one for every other program.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
. "$here/../lib.sh"

READY_TIMEOUT=180
usage="usage: cluster.sh start|apiserver DIR ENDPOINT [flags] | stop|controllers-stop|apiserver-start|revive DIR | apiserver-stop DIR SIGNAL"
: "${KUBE_BIN:?names the folder with kube-apiserver}" "${KWOK_BIN:?names the folder with kwok}"

# run NAME PROGRAM ARGS...
run() {
	local name=$1
	shift
	"$@" </dev/null >>"$dir/$name.log" 2>&1 &
	echo $! >"$dir/$name.pid"
}

api_port='' kcm_port='' scheduler_port='' store_flags=() extra_flags=()

load_settings() {
	# shellcheck source=/dev/null
	. "$dir/cluster.env"
}

apiserver_start() {
	local pki=$dir/pki deadline
	KUBE_WATCHCACHE_CONSISTENCY_CHECKER=true run apiserver "$KUBE_BIN/kube-apiserver" "${store_flags[@]}" \
		--bind-address=127.0.0.1 --secure-port="$api_port" --advertise-address=192.0.2.1 \
		--endpoint-reconciler-type=none \
		--tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
		--client-ca-file="$pki/ca.crt" \
		--kubelet-client-certificate="$pki/apiserver-kubelet-client.crt" \
		--kubelet-client-key="$pki/apiserver-kubelet-client.key" \
		--service-account-issuer=https://kubernetes.default.svc \
		--service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
		--service-cluster-ip-range=10.0.0.0/16 --authorization-mode=Node,RBAC --allow-privileged=true \
		--requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy-client \
		--requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
		--requestheader-extra-headers-prefix=X-Remote-Extra- \
		--proxy-client-cert-file="$pki/front-proxy-client.crt" \
		--proxy-client-key-file="$pki/front-proxy-client.key" --v=2 "${extra_flags[@]}"
	deadline=$((SECONDS + READY_TIMEOUT))
	until "$KUBE_BIN/kubectl" --kubeconfig "$pki/admin.conf" get --raw /readyz >/dev/null 2>&1; do
		alive_file "$dir/apiserver.pid" || {
			tail -n 5 "$dir/apiserver.log" >&2
			die "kube-apiserver ended at its start; see $dir/apiserver.log"
		}
		[ "$SECONDS" -lt "$deadline" ] || die "kube-apiserver does not get ready; see $dir/apiserver.log"
		sleep 0.3
	done
}

kcm_start() {
	local pki=$dir/pki
	run kcm "$KUBE_BIN/kube-controller-manager" --kubeconfig="$pki/kcm.conf" \
		--authentication-kubeconfig="$pki/kcm.conf" --authorization-kubeconfig="$pki/kcm.conf" \
		--root-ca-file="$pki/ca.crt" --service-account-private-key-file="$pki/sa.key" \
		--cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" \
		--use-service-account-credentials=true --controllers='*,bootstrapsigner,tokencleaner' \
		--bind-address=127.0.0.1 --secure-port="$kcm_port" --leader-elect=true \
		--kube-api-qps=500 --kube-api-burst=1000
}

scheduler_start() {
	local pki=$dir/pki
	run scheduler "$KUBE_BIN/kube-scheduler" --kubeconfig="$pki/scheduler.conf" \
		--authentication-kubeconfig="$pki/scheduler.conf" --authorization-kubeconfig="$pki/scheduler.conf" \
		--bind-address=127.0.0.1 --secure-port="$scheduler_port" --leader-elect=true \
		--kube-api-qps=500 --kube-api-burst=1000
}

kwok_start() {
	run kwok "$KWOK_BIN/kwok" --kubeconfig="$dir/pki/admin.conf" --manage-all-nodes=true \
		--node-lease-duration-seconds=40 --config="$KWOK_BIN/stages.yaml"
}

prepare() {
	local endpoint=$1
	shift
	{
		printf 'api_port=%s\nkcm_port=%s\nscheduler_port=%s\n' "$(free_port)" "$(free_port)" "$(free_port)"
		printf 'store_flags=(--etcd-servers=%q' "$endpoint"
		case $endpoint in
		https:*) printf ' %q' --etcd-cafile="$dir/pki/ca.crt" --etcd-certfile="$dir/pki/store-client.crt" \
			--etcd-keyfile="$dir/pki/store-client.key" ;;
		esac
		printf ')\nextra_flags=('
		[ $# -eq 0 ] || printf ' %q' "$@"
		printf ')\n'
	} >"$dir/cluster.env"
	load_settings
	[ -f "$dir/pki/ca.crt" ] || "$here/pki.sh" "$dir/pki" "$api_port"
	# The certificates may have been made before the port was known.
	sed -i "s#server: \"https://127.0.0.1:[0-9]*\"#server: \"https://127.0.0.1:$api_port\"#" "$dir"/pki/*.conf
}

start() {
	prepare "$@"
	apiserver_start
	kcm_start
	scheduler_start
	kwok_start
}

controllers_stop() {
	local name
	for name in kwok scheduler kcm; do
		end_process "$dir/$name.pid" TERM
	done
}

revive() {
	local name
	if ! alive_file "$dir/apiserver.pid"; then
		date +%T >>"$dir/unexpected"
		apiserver_start
	fi
	for name in kcm scheduler kwok; do
		alive_file "$dir/$name.pid" && continue
		echo "$name" >>"$dir/revived"
		"${name}_start"
	done
}

[ $# -ge 2 ] || die "$usage"
verb=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
shift 2
if [ "$verb" != start ] && [ "$verb" != apiserver ] && [ -f "$dir/cluster.env" ]; then
	load_settings
fi
case $verb in
start)
	[ $# -ge 1 ] || die "$usage"
	start "$@"
	;;
apiserver)
	[ $# -ge 1 ] || die "$usage"
	prepare "$@"
	apiserver_start
	;;
stop)
	controllers_stop
	end_process "$dir/apiserver.pid" TERM
	;;
controllers-stop) controllers_stop ;;
apiserver-start) apiserver_start ;;
apiserver-stop)
	[ $# -eq 1 ] || die "$usage"
	end_process "$dir/apiserver.pid" "$1"
	;;
revive) revive ;;
*) die "$usage" ;;
esac
