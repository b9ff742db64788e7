# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # the sizes and folders are run.sh's
#
# What the cluster is told to be. Everything is declared, so that it can be said again when the store was
# down meanwhile, and so that the end state does not depend on where a kill struck. Sourced by run.sh.

kc() {
	"$KUBE_BIN/kubectl" --kubeconfig "$work/pki/admin.conf" --cache-dir "$work/kubectl-cache" \
		--request-timeout=20s "$@"
}

# declare_objects GENERATOR ARGS...: says it until the apiserver has taken all of it.
declare_objects() {
	local tries=0
	"$@" >"$work/declared.yaml"
	until kc apply --server-side --force-conflicts -f "$work/declared.yaml" >"$work/declare.log" 2>&1; do
		tries=$((tries + 1))
		if [ "$tries" -ge 60 ]; then
			tail -n 5 "$work/declare.log" >&2
			die "the cluster does not take what '$*' declares"
		fi
		sleep 1
	done
}

# insist COMMAND...: the same for commands that may be given twice.
insist() {
	local tries=0
	until "$@" >"$work/insist.log" 2>&1; do
		tries=$((tries + 1))
		if [ "$tries" -ge 60 ]; then
			tail -n 5 "$work/insist.log" >&2
			die "this keeps failing: $*"
		fi
		sleep 1
	done
}

namespaces() {
	local name
	for name in ledger load batch shared crd quota; do
		printf -- '---\napiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n' "$name"
	done
}

nodes() {
	local i
	for i in $(seq "$n_nodes"); do
		cat <<YAML
---
apiVersion: v1
kind: Node
metadata:
  name: node-$i
  labels: {type: kwok, kubernetes.io/hostname: node-$i}
YAML
	done
}

# pod_template LABEL ROUND RESTART_POLICY
pod_template() {
	cat <<YAML
  template:
    metadata:
      labels: {app: $1, round: "$2"}
    spec:
      automountServiceAccountToken: false
      restartPolicy: $3
      containers:
      - {name: main, image: none.invalid/main:1, resources: {requests: {cpu: 10m, memory: 16Mi}}}
YAML
}

# deployment NAMESPACE NAME REPLICAS ROUND
deployment() {
	cat <<YAML
---
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: $1, name: $2}
spec:
  replicas: $3
  selector: {matchLabels: {app: $2}}
$(pod_template "$2" "$4" Always)
YAML
}

# deployments ROUND REPLICAS: a new round is a rollout of all of them.
deployments() {
	local i
	for i in $(seq "$n_deployments"); do
		deployment load "deployment-$i" "$2" "$1"
	done
}

# jobs BATCH
jobs_of() {
	local i
	for i in $(seq "$n_jobs"); do
		cat <<YAML
---
apiVersion: batch/v1
kind: Job
metadata: {namespace: batch, name: job-$1-$i}
spec:
  completions: $job_completions
  parallelism: 3
$(pod_template "job-$1-$i" 1 Never)
YAML
	done
}

widget_definition() {
	cat <<'YAML'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.test.example.com}
spec:
  group: test.example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              round: {type: integer}
              text: {type: string}
YAML
}

# widgets NAMESPACE COUNT ROUND
widgets() {
	local i
	for i in $(seq "$2"); do
		cat <<YAML
---
apiVersion: test.example.com/v1
kind: Widget
metadata: {namespace: $1, name: widget-$i}
spec: {round: $3, text: "a widget of round $3"}
YAML
	done
}

# A namespace with something of everything, so that its deletion has work to do.
doomed() {
	local i
	cat <<YAML
apiVersion: v1
kind: Namespace
metadata: {name: doomed-$1}
YAML
	deployment "doomed-$1" doomed 5 1
	for i in $(seq 20); do
		printf -- '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: doomed-%s, name: c-%s}\ndata: {a: b}\n' "$1" "$i"
	done
	widgets "doomed-$1" 5 1
}

quota() {
	cat <<'YAML'
apiVersion: v1
kind: ResourceQuota
metadata: {namespace: quota, name: small}
spec:
  hard: {pods: "10", configmaps: "6", requests.cpu: "1"}
YAML
}

quota_filler() {
	local i
	for i in 1 2 3 4 5; do
		printf -- '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: quota, name: c-%s}\n' "$i"
	done
}

# share MANAGER FIELDS [--force-conflicts]
share() {
	printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: shared, name: shared}\ndata: {%s}\n' "$2" |
		kc apply --server-side --field-manager="$1" ${3:+"$3"} -f -
}

# Two managers own fields of one object; that one wants a field of the other is a conflict, unless it is forced.
server_side_apply() {
	insist share first 'left: one, mine: three'
	insist share second 'right: two'
	if share second 'right: two, left: stolen' >"$work/conflict.log" 2>&1; then
		echo "a second manager took a field without a conflict"
		return 1
	fi
	grep 'conflict with "first"' "$work/conflict.log" || return 1
	insist share second 'right: two, left: taken' --force-conflicts
}

# churn NUMBER starts the change that a kill then strikes into the middle of.
churn() {
	case $(($1 % 3)) in
	0)
		declare_objects jobs_of "$1"
		jobs_declared=$((jobs_declared + n_jobs))
		;;
	1) insist kc delete namespace "doomed-$1" --wait=false --ignore-not-found ;;
	2)
		declare_objects widgets crd "$n_widgets" "$1"
		widget_round=$1
		;;
	esac
	declare_objects deployments "$1" "$n_replicas"
}
