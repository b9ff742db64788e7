# SPDX-License-Identifier: Apache-2.0
# rules.awk FILE... : prints "file:line rule: what" for each breach of the rules in docs/style.md.

function report(rule, what) { printf "%s:%d %s: %s\n", FILENAME, FNR, rule, what }

# Which folders an include of ours may name, seen from a folder: the arrows of docs/architecture.md.
function may_include(from, header) {
	if (from == "shim/base")
		return header ~ /^shim\/base\//
	if (from == "shim/store")
		return header ~ /^shim\/(base|store)\//
	if (from == "shim/watch")
		return header ~ /^shim\/(base|store|watch)\//
	if (from == "shim/net")
		return header ~ /^shim\/(base|net)\//
	if (from == "api")
		return header ~ /^(api|shim\/base)\// || header == "shim/store/op.h"
	if (from == "shim/rpc")
		return header ~ /^(api|shim\/(base|store|watch|net|rpc))\//
	if (from ~ /^sync(\/|$)/)
		return header ~ /^(sync|api|shim\/(base|store))\//
	return 1
}

FNR == 1 {
	if (previous)
		end_of_file()
	previous = FILENAME
	folder = FILENAME
	sub(/\/[^\/]*$/, "", folder)
	test = FILENAME ~ /^tests\//
	header = FILENAME ~ /\.h$/
	function_start = 0
	if ($0 !~ /SPDX-License-Identifier: Apache-2.0/)
		report("license", "the first line must be the SPDX tag")
}

{
	line = $0
	while ((at = index(line, "\t")))
		line = substr(line, 1, at - 1) substr("        ", 1, 8 - (at - 1) % 8) substr(line, at + 1)
	if (length(line) > 100)
		report("width", length(line) " columns, 100 at most")
	last = FNR
}

/^#include "/ {
	split($0, quoted, "\"")
	if (!test && !may_include(folder, quoted[2]))
		report("arrow", folder " may not include " quoted[2])
}

/^\/\/|[ \t;{}]\/\/ / { if ($0 !~ /"[^"]*\/\//) report("comment", "use /* */ comments") }
/(^|[^_a-z])(strcpy|strcat|sprintf|gets|strtok|alloca|atoi)\(/ {
	report("banned", "unbounded or ambiguous libc call")
}
/TODO|FIXME|(^|[^X])XXX([^X]|$)/ { report("unfinished", "no unfinished work in the tree") }
/(^|[^a-z_])goto [a-z]/ { if ($0 !~ /goto fail;/) report("goto", "one label only: fail") }

# Functions begin with "{" alone in column 0 and end with "}" there.
/^\{/ && !header { function_start = FNR }
/^\}/ && function_start {
	if (FNR - function_start - 1 > (test ? 100 : 60))
		report("length", "function of " FNR - function_start - 1 " lines")
	function_start = 0
}

function end_of_file() {
	limit = header_of(previous) ? 300 : 500
	if (previous ~ /^tests\//)
		limit = 1000
	if (last > limit)
		printf "%s:%d size: %d lines, %d at most\n", previous, last, last, limit
}
function header_of(name) { return name ~ /\.h$/ }

END { end_of_file() }
