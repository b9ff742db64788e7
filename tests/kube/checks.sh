# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # the sizes and folders are run.sh's
#
# What must be true afterwards. Every check is a function that prints what is wrong and returns non-zero.
# Sourced by run.sh.

passed=0
failed=0

# check TITLE COMMAND...
check() {
	local title=$1 log=$work/check.log begun=$SECONDS
	shift
	if "$@" >"$log" 2>&1; then
		passed=$((passed + 1))
		printf 'ok    %s (%d s)\n' "$title" $((SECONDS - begun))
		[ -z "${show:-}" ] || sed 's/^/      /' "$log"
	else
		failed=$((failed + 1))
		printf 'FAIL  %s (%d s)\n' "$title" $((SECONDS - begun))
		head -n 40 "$log" | sed 's/^/      /'
	fi
}

# within SECONDS COMMAND...: until it is true; the last try tells what is wrong.
within() {
	local deadline=$((SECONDS + $1)) nudge_at=$((SECONDS + 5))
	shift
	until "$@" >/dev/null 2>&1; do
		if [ "$SECONDS" -ge "$deadline" ]; then
			"$@"
			return
		fi
		if [ "$SECONDS" -ge "$nudge_at" ]; then
			nudge_kwok >/dev/null 2>&1 || true
			nudge_at=$((SECONDS + 5))
		fi
		sleep 1
	done
}

# A kubelet repeats a write that failed; kwok gives a pod up after some errors, until the pod changes again.
# So the pods that are waiting for kwok are changed.
nudge_kwok() {
	local namespace pods
	list_of pods -A -- '{.metadata.namespace}|{.metadata.name}|{.spec.nodeName}|{.status.phase}|{.metadata.deletionTimestamp}' |
		awk -F'|' '$3 != "" && ($5 != "" || $4 == "Pending" || ($1 == "batch" && $4 == "Running")) {
				names[$1] = names[$1] " " $2
			}
			END { for (n in names) print n names[n] }' |
		while read -r namespace pods; do
			# shellcheck disable=SC2086
			kc -n "$namespace" annotate pod $pods "nudged=$SECONDS" --overwrite </dev/null || true
		done
}

same() {
	[ "$2" = "$3" ] || {
		printf '%s: expected %s, found %s\n' "$1" "$2" "$3"
		return 1
	}
}

etcdctl() {
	"$ETCD_BIN/etcdctl" "$@"
}

client() {
	local verb=$1
	shift
	"$CLIENT_BIN/kubeload" "$verb" --server "$api" --pki "$work/pki" --ledger "$work/ledger" "$@"
}

# list_of ARGS... -- FIELDS: one line per object; FIELDS as in jsonpath.
list_of() {
	local args=()
	while [ "$1" != -- ]; do
		args+=("$1")
		shift
	done
	kc get "${args[@]}" -o jsonpath="{range .items[*]}$2{\"\n\"}{end}"
}

nodes_ready() {
	local ready
	ready=$(list_of nodes -- '{.status.conditions[?(@.type=="Ready")].status}' | grep -cx True) || true
	same "ready nodes" "$n_nodes" "$ready"
}

# deployments_ready ROUND REPLICAS
deployments_ready() {
	local wrong running
	wrong=$(list_of -n load deployments -- '{.metadata.name} {.metadata.generation} {.status.observedGeneration} {.status.replicas} {.status.updatedReplicas} {.status.availableReplicas}' |
		awk -v want="$2" '{ seen++ } $2 != $3 || $4 != want || $5 != want || $6 != want { print }
			END { if (!seen) print "no deployments" }')
	[ -z "$wrong" ] || {
		printf 'name, generation, observed, replicas, updated, available:\n%s\n' "$wrong"
		return 1
	}
	running=$(list_of -n load pods -l "round=$1" -- '{.status.phase} {.spec.nodeName}' | grep -c '^Running node-') || true
	same "running pods of round $1" $((n_deployments * $2)) "$running" || return 1
	same "pods in all" $((n_deployments * $2)) "$(list_of -n load pods -- '{.metadata.name}' | wc -l)"
}

jobs_complete() {
	local wrong
	wrong=$(list_of -n batch jobs -- '{.metadata.name} {.status.succeeded} {.status.conditions[?(@.type=="Complete")].status}' |
		awk -v want="$job_completions" '{ seen++ } $2 != want || $3 != "True" { print }
			END { if (!seen) print "no jobs" }')
	[ -z "$wrong" ] || {
		printf 'name, succeeded, complete:\n%s\n' "$wrong"
		return 1
	}
	same "jobs" "$jobs_declared" "$(list_of -n batch jobs -- '{.metadata.name}' | wc -l)"
}

# widgets_are ROUND
widgets_are() {
	same "widgets of round $1" "$n_widgets" "$(list_of -n crd widgets -- '{.spec.round}' | grep -cx "$1")"
}

# Gone from the apiserver, and with every key from the store.
doomed_gone() {
	local left
	left=$(list_of namespaces -- '{.metadata.name}' | grep ^doomed-) || true
	same "namespaces left" "" "$left" || return 1
	left=$(etcdctl get /registry/ --prefix --keys-only | grep /doomed-) || true
	same "keys left" "" "$left"
}

quota_used() {
	same "pods used" "$1" "$(kc -n quota get resourcequota small -o 'jsonpath={.status.used.pods}')" || return 1
	same "pods running" "$1" "$(list_of -n quota pods -- '{.status.phase}' | grep -cx Running)"
}

# The namespace holds kube-root-ca.crt; five more fit, the next must be refused.
quota_refuses() {
	declare_objects quota_filler
	! kc -n quota create configmap c-6 2>"$work/quota.log" || {
		echo "a ConfigMap beyond the quota was taken"
		return 1
	}
	grep 'exceeded quota: small' "$work/quota.log"
}

shared_as_applied() {
	same "data" 'taken two three' \
		"$(kc -n shared get configmap shared -o 'jsonpath={.data.left} {.data.right} {.data.mine}')" || return 1
	same "managers" 'first second' "$(kc -n shared get configmap shared -o 'jsonpath={.metadata.managedFields[*].manager}' |
		tr ' ' '\n' | sort -u | xargs)"
}

store_revision() {
	etcdctl get no-such-key --write-out=json | sed -n 's/.*"revision":\([0-9]*\).*/\1/p'
}

compacted() {
	local answer
	answer=$(etcdctl get /registry/namespaces/default --keys-only --rev="$1" 2>&1) || true
	case $answer in
	*"required revision has been compacted"*) ;;
	*)
		echo "revision $1 can still be read"
		return 1
		;;
	esac
}

# The keys of events with the revision of each: an event that is told again gets a new revision and a new life.
event_keys() {
	etcdctl get /registry/events/ --prefix --write-out=fields --keys-only |
		awk '/^"Key"/ { key = $3 } /^"ModRevision"/ { print key, $3 }' | sort
}

lease_ids() {
	etcdctl lease list | sed 1d | sort
}

expired() {
	local left
	[ -s "$work/sample.$1" ] || {
		echo "there were no $1 to expire"
		return 1
	}
	left=$("$2" | comm -12 - "$work/sample.$1" | wc -l)
	same "$1 left of $(wc -l <"$work/sample.$1") that were there earlier" 0 "$left"
}

no_complaint() {
	! grep -hE 'Cache consistency check failed|^panic:|^fatal error:|Observed a panic' "$work/apiserver.log" ||
		return 1
	[ ! -e "$work/unexpected" ] || {
		echo "kube-apiserver ended by itself at: $(xargs <"$work/unexpected")"
		return 1
	}
}

consistency_checks() {
	kc get --raw /metrics | awk -v status="$1" '/storage_consistency_checks_total/ && index($0, "status=\"" status "\"") { n += $NF }
		END { print n + 0 }'
}

consistency_checked() {
	local n
	same "failed consistency checks" 0 "$(consistency_checks failure)" || return 1
	n=$(consistency_checks success)
	[ "$n" -ge "$1" ] || {
		echo "the checker compared $n resources so far, wanted are $1"
		return 1
	}
	echo "$n resources compared by the checker"
}

store_log_clean() {
	! grep -hE '"level":"(fatal|panic|dpanic)"|^panic:|ERROR: (Address|Thread|Leak|Undefined)|runtime error:|[Aa]ssertion.*failed' \
		"$work"/store.*.log
}
