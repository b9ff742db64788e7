#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh : every test that fits in 20 minutes, part by part, and one closing line.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/parts.sh

part tidy tests/tidy/tidy.sh
part unit tests/run-unit.sh build/release
part commandline tests/commandline/run.sh
part etcdctl tests/etcdctl/run.sh
part conformance tests/conformance/run.sh
part bench tests/bench/selftest.sh
part fuzz tests/fuzz/run.sh --fresh --seconds 0 --jobs 2
part differential tests/differential/run.sh --requests 50000
part histories tests/histories/run.sh
part crash tests/crash/run.sh
part clock tests/clock/run.sh
part power tests/disk/power.sh
part flips tests/disk/flips.sh
part models tests/models/run.sh
part sim tests/sim.sh 400
part pressure tests/pressure/run.sh

parts_end
