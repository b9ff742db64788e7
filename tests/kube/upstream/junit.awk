# SPDX-License-Identifier: Apache-2.0
#
# ginkgo's JUnit report -> one line "pass|fail NAME" per test that ran; blanks in names become underscores.

/<testcase / {
	match($0, / name="[^"]*"/)
	name = substr($0, RSTART + 7, RLENGTH - 8)
	match($0, / status="[^"]*"/)
	status = substr($0, RSTART + 9, RLENGTH - 10)
	if (name !~ /^\[It\] / || status == "skipped" || status == "pending")
		next
	sub(/^\[It\] /, "", name)
	gsub(/&#39;/, "'", name)
	gsub(/&#34;|&quot;/, "\"", name)
	gsub(/&lt;/, "<", name)
	gsub(/&gt;/, ">", name)
	gsub(/&amp;/, "\\&", name)
	gsub(/ /, "_", name)
	print (status == "passed" ? "pass" : "fail"), name
}
