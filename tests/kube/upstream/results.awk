# SPDX-License-Identifier: Apache-2.0
#
# What `go test -v` printed -> one line "pass|fail|skip NAME" per test and subtest. A test that began and
# has no result (a panic, the time was up) has failed.

/^=== RUN +/ { if (!($3 in result)) result[$3] = "fail" }

# A line of the test's own that does not end may stand before it.
match($0, /--- (PASS|FAIL|SKIP): Test[^ ]* \(/) {
	split(substr($0, RSTART, RLENGTH), word, " ")
	result[word[3]] = tolower(substr(word[2], 1, 4))
}

END { for (name in result) print result[name], name }
