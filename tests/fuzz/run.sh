#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh [--seconds N] [--jobs N] [--fresh] [TARGET...] : runs the fuzz targets, the kept corpus first.
#   --seconds N   for each target, 0: the kept corpus only
#   --fresh       forget what earlier runs on this machine found (build/fuzz-work)
# run.sh --build    only builds them (nothing, when this machine has no fuzzer runtime)
# run.sh --keep     joins what was found into the kept corpus, minimised
# A crash is left in build/fuzz-crashes/TARGET-crash-*; run the target with that file to see it again, and
# keep the file as corpus/TARGET/was-NAME once it is mended.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
out=build/fuzz
work=build/fuzz-work
crashes=build/fuzz-crashes
logs=build/test-logs
seconds=60 jobs=1 mode=run fresh=
CORPUS_FILE_BYTES=8192 # nothing bigger is kept
mkdir -p $work $crashes $logs

# The compiler alone is not enough: its runtime is a package of its own.
have_runtime() {
	printf 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n);\nint LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return !d && n; }\n' |
		clang -fsanitize=fuzzer,address,undefined -x c - -o $work/probe >/dev/null 2>&1
}

all_targets() {
	(cd tests/fuzz && ls fuzz_*.c) | sed 's/^fuzz_//; s/\.c$//'
}

# The options of one target: a dictionary and a length of its own, where they are there.
options_of() {
	[ -f "tests/fuzz/dict/$1" ] && printf '%s\n' "-dict=tests/fuzz/dict/$1"
	case $1 in
	h2 | server) echo -max_len=8192 ;;
	snapshot | open) echo -max_len=512 ;;
	*) echo -max_len=4096 ;;
	esac
}

# run_one TARGET : one run, one line about it.
run_one() {
	local name=$1 log=$logs/fuzz-$1.log code units cov cpu TIMEFORMAT='%U %S'
	local -a options
	mapfile -t options < <(options_of "$name")
	mkdir -p "$work/$name"
	[ "$seconds" -gt 0 ] || options+=(-runs=0)
	{
		time "$out/tests/fuzz/fuzz_$name" "${options[@]}" -max_total_time="$seconds" -timeout=60 \
			-rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$crashes/$name-" \
			"$work/$name" "tests/fuzz/corpus/$name" >"$log" 2>&1
	} 2>"$work/time-$name"
	code=$?
	cpu=$(awk '{ printf "%.1f", $1 + $2 }' "$work/time-$name")
	units=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
	cov=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
	printf '%s\t%s\t%s\t%s\t%s\n' "$(date -u +%FT%TZ)" "$name" "$cpu" "${units:-0}" "${cov#cov: }" >>$work/totals
	if [ $code -ne 0 ]; then
		echo "$name: FAILED ($code)"
		grep -E 'must hold|ERROR|runtime error|Assertion|Test unit written|^    #[0-9]* .* in [a-z]' "$log" |
			grep -v ' in \(fuzzer::\|__\)' | head -n 20
		return 1
	fi
	echo "$name: ${units:-0} inputs, ${cov:-no coverage}, $cpu s"
}

# keep TARGET : the kept corpus and all finds, down to what reaches something new.
keep() {
	local name=$1 kept=tests/fuzz/corpus/$1 merged=$work/merged-$1
	rm -rf "$merged"
	mkdir -p "$merged" "$kept" "$work/$name"
	find "$work/$name" -size +${CORPUS_FILE_BYTES}c -delete
	mapfile -t options < <(options_of "$name")
	"$out/tests/fuzz/fuzz_$name" "${options[@]}" -merge=1 "$merged" "$kept" "$work/$name" \
		>"$logs/fuzz-merge-$name.log" 2>&1 || die "merging $name failed, see $logs/fuzz-merge-$name.log"
	find "$kept" -type f ! -name 'was-*' ! -name 'seed-*' -delete
	for file in "$merged"/*; do
		[ -f "$file" ] && cp "$file" "$kept/$(basename "$file" | cut -c 1-16)"
	done
	rm -rf "$merged"
	echo "$name: $(find "$kept" -type f | wc -l) files, $(du -sb "$kept" | cut -f 1) bytes"
}

while [ $# -gt 0 ]; do
	case $1 in
	--seconds) seconds=$2 && shift ;;
	--jobs) jobs=$2 && shift ;;
	--fresh) fresh=1 ;;
	--build) mode=build ;;
	--keep) mode=keep ;;
	--one) mode=one ;; # for itself
	-*) die "unknown option $1" ;;
	*) break ;;
	esac
	shift
done
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(all_targets)

if [ $mode = one ]; then
	run_one "${targets[0]}"
	exit
fi
if ! have_runtime; then
	[ $mode = build ] && exit 0
	skip "clang or its fuzzer runtime is missing; try: apt-get install clang libclang-rt-14-dev"
fi
make --no-print-directory -s -j"$(nproc)" FUZZ=1 fuzz-programs >$logs/fuzz-build.log 2>&1 ||
	{ tail -n 30 $logs/fuzz-build.log && die "the fuzz targets do not build"; }
[ $mode = build ] && exit 0
if [ $mode = keep ]; then
	for name in "${targets[@]}"; do
		keep "$name"
	done
	exit
fi
[ -n "$fresh" ] && for name in "${targets[@]}"; do rm -rf "${work:?}/$name"; done
printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -I{} "$0" --one --seconds "$seconds" {} >$work/report
cat $work/report
failed=$(grep -c ': FAILED' $work/report)
echo "$((${#targets[@]} - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
