#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# planted.sh [--seconds N] [TARGET...] : proves that each fuzz target can fail.  A copy of the tree gets one bug per
# target, the target runs on its kept corpus and then for N seconds (60), and must find it.
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
lease@shim/store/lease.c@s/lease->expiry_ns <= now_ns/lease->expiry_ns < now_ns/@what is due still renews
match@shim/watch/match.c@s/node->right ? node->right->farthest : NULL/NULL/@the right half of the tree is forgotten
hub@shim/watch/stream.c@s/next_revision = published + 1;/next_revision = published + 2;/@a new watcher misses a revision
server@shim/store/txn.c@s/return order > 0;/return order >= 0;/@GREATER holds for what is equal
open@shim/store/row.c@s/load_crc(stored.data + value_bytes) !=/0 * load_crc(stored.data + value_bytes) >/@values are given out unchecked
snapshot@shim/store/restore.c@s/contents_hash(&snapshot->contents) == hash/hash >= 0/@the checksum over all contents is not compared
TABLE
}

copy=$(mktemp -d "${TMPDIR:-/tmp}/kedge-planted.XXXXXX")
trap 'rm -rf "$copy"' EXIT
git ls-files -coz --exclude-standard | tar -c --null -T - | tar -x -C "$copy" || exit 1
mkdir -p "$copy/build"
[ -d build/fuzz ] && cp -a build/fuzz build/gen "$copy/build/"
passed=0 failed=0

# plant NAME FILE EXPRESSION WORDS : 0 when the target finds the bug.
plant() {
	local name=$1 file=$2 expression=$3 words=$4
	cp -p "$copy/$file" "$copy/kept"
	sed -i "$expression" "$copy/$file"
	if cmp -s "$copy/$file" "$copy/kept"; then
		echo "FAILED  $name: the place for the bug is no longer in $file"
		return 1
	fi
	(cd "$copy" && make -s FUZZ=1 "build/fuzz/tests/fuzz/fuzz_$name") >"$copy/log" 2>&1 ||
		{ tail -n 20 "$copy/log" && echo "FAILED  $name: does not build with its bug" && return 1; }
	(cd "$copy" && tests/fuzz/run.sh --one --seconds "$seconds" "$name") >"$copy/log" 2>&1
	local found=$?
	cp -p "$copy/kept" "$copy/$file"
	touch "$copy/$file"
	if [ $found -eq 0 ]; then
		echo "FAILED  $name does not find: $words"
		return 1
	fi
	echo "ok      $name finds: $words ($(grep -E 'must hold|Assertion|ERROR' "$copy/log" | head -n 1 | cut -c 1-120))"
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
