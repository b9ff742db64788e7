#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh [--long] [--show NAME] : checks the models exhaustively with spin (docs/models.md).
#
# Every row below is a run: what must come out, its name, the model and its switches.  "holds" means
# that the whole state space was searched and nothing was found; "fails" that a counterexample was;
# "ends" and "endless" are the same for windows that never cease.  --long adds the big ones (15
# minutes, 5 GB); --show prints a counterexample step by step.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh

rows() {
	cat <<'ROWS'
holds    mesh                   log
holds    mesh-restore           log -DRESTORE -DDOTS=2
holds    mesh-oversend          log -DOVERSEND -DDOTS=2 -DQUEUE=3
holds    star                   log -DSTAR
holds    star-restore           log -DSTAR -DRESTORE
holds    star-rule              log -DSTAR -DSTAR_RULE
holds    hub-rule-restore       log -DSTAR -DHUB_RULE -DRESTORE -DRESTORED_COMPARES -DDOTS=2
holds    star-rule-once         log -DSTAR -DSTAR_RULE_ONCE -DRESTORE -DRESTORED_COMPARES -DDOTS=2
fails    no-barrier             log -DNO_BARRIER
fails    barrier-spares-head    log -DBARRIER_SPARES_HEAD
fails    no-wildcard            log -DSTAR -DSTAR_RULE -DNO_WILDCARD
fails    live-dots              log -DLIVE_DOTS
fails    discard                log -DDISCARD -DVANISH
fails    star-rule-restore      log -DSTAR -DSTAR_RULE -DRESTORE -DDOTS=2
fails    star-rule-hub-restore  log -DSTAR -DSTAR_RULE -DRESTORE -DRESTORED_COMPARES
fails    star-once-reads-on     log -DSTAR -DSTAR_RULE_ONCE -DRESTORE -DDOTS=2
fails    hub-rule-reads-on      log -DSTAR -DHUB_RULE -DRESTORE -DDOTS=2
ends     mesh-ends              log -DPROGRESS -DDOTS=2
ends     star-rule-ends         log -DPROGRESS -DDOTS=2 -DSTAR -DSTAR_RULE
endless  always-relay           log -DPROGRESS -DDOTS=2 -DSTAR -DSTAR_RULE -DALWAYS_RELAY
holds    crash                  incarnation -DCRASH
holds    restore-files          incarnation -DCRASH -DRESTORE_FILES
holds    restore-machine        incarnation -DCRASH -DRESTORE_MACHINE -DPEERS=1
holds    clone-disk             incarnation -DCLONE_DISK
holds    clone-machine          incarnation -DCLONE_MACHINE -DPEERS=1
fails    no-bump                incarnation -DRESTORE_FILES -DNO_BUMP
fails    no-witness             incarnation -DRESTORE_FILES -DNO_WITNESS
fails    no-witness-clone       incarnation -DCLONE_DISK -DNO_WITNESS
fails    no-memory              incarnation -DRESTORE_MACHINE -DPEERS=1 -DNO_MEMORY
fails    no-nonce               incarnation -DCLONE_MACHINE -DPEERS=1 -DNO_NONCE
fails    not-durable            incarnation -DCRASH -DNOT_DURABLE
fails    counted                incarnation -DCLONE_DISK -DCOUNTED
fails    machine-two-peers      incarnation -DRESTORE_MACHINE
fails    clone-two-peers        incarnation -DCLONE_MACHINE
ROWS
	[ "$long" = 0 ] || cat <<'ROWS'
holds    long-mesh-restore      log -DRESTORE
holds    long-mesh-oversend     log -DOVERSEND -DQUEUE=3
holds    long-hub-rule-restore  log -DSTAR -DHUB_RULE -DRESTORE -DRESTORED_COMPARES
holds    long-star-rule-once    log -DSTAR -DSTAR_RULE_ONCE -DRESTORE -DRESTORED_COMPARES
holds    long-clone-disk        incarnation -DCLONE_DISK -DCRASH -DWRITES=4 -DREVISIONS=8 -DINCARNATIONS=4
ROWS
}

long=0 show=
while [ $# -gt 0 ]; do
	case $1 in
	--long) long=1 ;;
	--show) show=$2 && shift ;;
	*) die "usage: tests/models/run.sh [--long] [--show NAME]" ;;
	esac
	shift
done
need_tool spin spin
need_tool gcc gcc
memory_mb=$((long ? 8000 : 1900))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# build MODEL SWITCHES... : pan, in $work.  -O0: compiling takes longer than searching.
build() {
	local model=$1
	shift
	cp "tests/models/$model.pml" "$work/model.pml"
	(cd "$work" && spin -a "$@" model.pml >spin.log 2>&1 &&
		gcc -O0 -w $kind -DNOREDUCE -DCOLLAPSE -DMEMLIM=$memory_mb -o pan pan.c >>spin.log 2>&1) ||
		die "$model does not build: $(head -n 3 "$work/spin.log")"
}

# what_came : holds, fails, ends or endless; else what pan says went wrong.
what_came() {
	if grep -q '^pan:.*non-progress cycle' "$work/pan.log"; then
		echo endless
	elif grep -q 'assertion violated' "$work/pan.log"; then
		echo fails
	elif grep -qE 'out of memory|too small|not completed' "$work/pan.log" ||
		! grep -q 'errors: 0' "$work/pan.log"; then
		grep -m 1 -E 'out of memory|too small|not completed|pan:' "$work/pan.log" || echo "broke off"
	elif [ "$kind" = -DNP ]; then
		echo ends
	else
		echo holds
	fi
}

passed=0 failed=0
run() {
	local wanted=$1 name=$2 start came line
	shift 2
	start=$(now_ms)
	kind=-DSAFETY search=
	case $wanted in ends | endless) kind=-DNP search=-l ;; esac
	rm -f "$work"/*.trail
	build "$@"
	(cd "$work" && ./pan $search -m100000 -w20 >pan.log 2>&1)
	came=$(what_came)
	line=$(sed -nE 's/.*depth reached ([0-9]+),.*/depth \1/p; s/^ *([0-9.e+]+) states, stored.*/\1 states/p' "$work/pan.log" |
		paste -sd ' ')
	printf '%-8s %-22s %s, %s s\n' "$came" "$name" "$line" "$((($(now_ms) - start) / 1000))"
	if [ "$came" = "$wanted" ]; then
		passed=$((passed + 1))
	else
		echo "$name should have been: $wanted ($*)"
		tail -n 20 "$work/pan.log"
		failed=$((failed + 1))
	fi
}

# show NAME : the shortest counterexample that pan finds in a minute.
show() {
	local wanted name
	read -r wanted name model switches < <(rows | awk -v name="$show" '$2 == name')
	[ -n "${name:-}" ] || die "no run is called $show"
	kind=-DSAFETY
	case $wanted in ends | endless) kind="-DNP" ;; esac
	kind="$kind -DREACH"
	build "$model" $switches
	(cd "$work" && timeout 60 ./pan $([ "$wanted" = endless ] && echo -l) -i -m40 -w20 >pan.log 2>&1
		spin -t $switches model.pml | sed '/^spin:/,$d')
}

if [ -n "$show" ]; then
	show
	exit
fi
while read -r wanted name arguments; do
	run "$wanted" "$name" $arguments
done < <(rows)
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
