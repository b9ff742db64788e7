#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# planted.sh [--seconds N] [TARGET...] : proves that each fuzz target can fail.  One file is compiled with a bug and
# linked in front of the rest; the target runs on its kept corpus and then for N seconds (60), and must find it.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
seconds=60
[ "${1:-}" = --seconds ] && seconds=$2 && shift 2

# target@file@sed expression@what the bug is
bugs() {
	cat <<'TABLE'
http1@shim/net/http1.c@s/session->url_size += size;/session->url_size = size;/@a URL that comes in pieces loses all but the last
grpc@shim/net/grpc_reader.c@s/if (size > reader->bytes_max)/if (size > reader->bytes_max + 1)/@a message may be one byte too long
codec@api/codec.c@s/op->min_mod_revision = (int64_t)value/op->min_mod_revision = (int32_t)value/@a revision is cut to 32 bits
config@shim/config.c@s/{"m", UINT64_C(60000000000)}/{"m", UINT64_C(6000000000)}/@a minute has six seconds
h2@shim/net/call_request.c@/call->is_opened = true;/d@calls end without being told
index@shim/store/index.c@s/ || row_main(all\[i - 1\].row) == revision//@a sweep takes the tombstone at its revision
rules@sync/rules/hash.c@s/if (!rule_overlaps(behind, row))/if (!rule_covers(behind, row))/@a row between two is overlooked by the hash
lease@shim/store/lease.c@s/lease->expiry_ns <= now_ns/lease->expiry_ns < now_ns/@what is due still renews
match@shim/watch/match.c@s/node->right ? node->right->farthest : NULL/NULL/@the right half of the tree is forgotten
hub@shim/watch/stream.c@s/next_revision = published + 1;/next_revision = published + 2;/@a new watcher misses a revision
server@shim/store/txn.c@s/return order > 0;/return order >= 0;/@GREATER holds for what is equal
open@shim/store/row.c@s/load_crc(stored.data + value_bytes) !=/0 * load_crc(stored.data + value_bytes) >/@values are given out unchecked
snapshot@shim/store/restore.c@s/contents_hash(&snapshot->contents) == hash/hash >= 0/@the checksum over all contents is not compared
object@sync/codec/splice.c@s/if (!whole \&\& !items.count)/if (!whole)/@an empty field hides its entries
meta@sync/merge/meta.c@s/if (match \&\& match->shown == sibling)/if (false)/@what is shown is stored as well
message@sync/message/decode.c@s/int64_t before = entry->revision;/int64_t before = 0;/@the first dot is not counted from its entry
delta@sync/message/delta.c@s/!size || size > VALUE_BYTES_MAX/!size/@the size of a value is not checked
reconcile@sync/reconcile/reconcile.c@s/ \&\& is_inside(step, text_of(\&step->to));/;/@a bound may be behind the range
TABLE
}

make --no-print-directory -s -j"$(nproc)" FUZZ=1 fuzz-programs || exit 1
read -r -a compile < <(make --no-print-directory -s FUZZ=1 fuzz-compile)
read -r -a libraries < <(make --no-print-directory -s FUZZ=1 fuzz-libraries)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0 failed=0

# plant NAME FILE EXPRESSION WORDS : 0 when the target finds the bug.
plant() {
	local name=$1 file=$2 expression=$3 words=$4 out=build/fuzz source=$scratch/planted.c
	local -a parts
	sed "$expression" "$file" >"$source"
	if cmp -s "$file" "$source"; then
		echo "FAILED  $name: the place for the bug is no longer in $file"
		return 1
	fi
	mapfile -t parts < <(find $out/tests/fuzz $out/tests/harness -name '*.o' ! -name 'fuzz_*')
	if ! "${compile[@]}" -w -iquote "$(dirname "$file")" -c "$source" -o "$scratch/planted.o" ||
		! "${compile[@]}" -fsanitize=fuzzer -o "$scratch/fuzz" "$out/tests/fuzz/fuzz_$name.o" "$scratch/planted.o" \
			"${parts[@]}" $out/libkedge.a "${libraries[@]}"; then
		echo "FAILED  $name: does not build with its bug"
		return 1
	fi
	mkdir -p "$scratch/work"
	if "$scratch/fuzz" -max_len=4096 -max_total_time="$seconds" -timeout=60 -artifact_prefix="$scratch/" \
		"$scratch/work" "tests/fuzz/corpus/$name" >"$scratch/log" 2>&1; then
		echo "FAILED  $name does not find: $words"
		return 1
	fi
	rm -rf "$scratch/work"
	echo "ok      $name finds: $words ($(grep -E 'must hold|Assertion|ERROR' "$scratch/log" | head -n 1 | cut -c 1-120))"
}

while IFS='@' read -r name file expression words; do
	[ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
	if plant "$name" "$file" "$expression" "$words" </dev/null; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
	fi
done < <(bugs)
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
