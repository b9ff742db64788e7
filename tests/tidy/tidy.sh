#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tidy.sh : the house style as a test (docs/style.md).  First proves on seeded/ that it still bites:
# every file there breaks the rule it is named after and must be reported for it.
set -u
cd "$(dirname "$0")/../.." || exit 1
rules=tests/tidy/rules.awk
exceptions=tests/tidy/exceptions
failed=0 passed=0

for seed in $(cd tests/tidy/seeded && find . -name '*.c' -o -name '*.h' | sort); do
	rule=$(basename "$seed")
	rule=${rule%.*}
	if (cd tests/tidy/seeded && awk -f ../rules.awk "${seed#./}") | grep -q " $rule:"; then
		passed=$((passed + 1))
	else
		echo "tidy no longer reports $rule in tests/tidy/seeded/${seed#./}"
		failed=$((failed + 1))
	fi
done

found=$(git ls-files -co --exclude-standard '*.c' '*.h' | grep -v '^tests/tidy/' |
	xargs awk -f $rules | grep -v -F -f <(grep -v '^#' $exceptions | cut -d'|' -f1 | sed 's/ *$//') )
if [ -n "$found" ]; then
	echo "$found"
	failed=$((failed + $(wc -l <<<"$found")))
else
	passed=$((passed + 1))
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
