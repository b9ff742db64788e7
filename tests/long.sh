#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# long.sh : the tests whose worth grows with the time they get, part by part, and one closing line.
# Each part has a knob, an environment variable; the defaults take some hours on two cores.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/parts.sh

part differential tests/differential/run.sh --requests "${DIFFERENTIAL_REQUESTS:-5000000}" --seed "${SEED:-1}"
part fuzz tests/fuzz/run.sh --seconds "${FUZZ_SECONDS:-1800}" --jobs 2
part power tests/disk/power.sh "${POWER_ROUNDS:-300}"
part flips tests/disk/flips.sh "${FLIPS:-20000}"
part faults tests/disk/faults.sh "${FAULTS_EVERY:-5}"
part histories tests/histories/run.sh --for "${HISTORIES_FOR:-2h}" --seed "${SEED:-1}"
part pressure tests/pressure/run.sh --long ${PRESSURE:+--only "$PRESSURE"}
part models tests/models/run.sh --long
part sim tests/sim.sh "${SIM_RUNS:-20000}"
part crash tests/crash/run.sh --rounds "${CRASH_ROUNDS:-5000}" --no-control
part crash-etcd tests/crash/run.sh --etcd --rounds 30

parts_end
