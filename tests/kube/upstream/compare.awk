# SPDX-License-Identifier: Apache-2.0
#
# compare.awk ETCD KEDGE: two files of "pass|fail|skip NAME" -> one line "VERDICT KEDGE ETCD NAME" per test.
# VERDICT: same = passes on both; worse = passes on etcd only; other = fails or is skipped on etcd, so nothing
# is learned. What counts are tests without subtests, and tests that fail although all of their subtests
# pass. A subtest that only etcd ran is left out when its test passes here: some names are drawn at random.

NR == FNR { etcd[$2] = $1; note_parents($2); next }
{ kedge[$2] = $1; note_parents($2) }

function note_parents(name) {
	while (sub(/\/[^\/]*$/, "", name))
		parent[name] = 1
}

function top(name) {
	sub(/\/.*/, "", name)
	return name
}

END {
	for (name in etcd) {
		if (name in parent)
			continue
		here = (name in kedge) ? kedge[name] : "none"
		if (here == "none" && kedge[top(name)] == "pass" && top(name) != name)
			continue
		tell(name, here)
	}
	for (name in parent)
		if (etcd[name] == "pass" && kedge[name] != "pass" && !explained(name))
			tell(name, (name in kedge) ? kedge[name] : "none")
}

function explained(name,   other) {
	for (other in worse)
		if (index(other, name "/") == 1)
			return 1
	return 0
}

function tell(name, here,   verdict) {
	if (etcd[name] != "pass")
		verdict = "other"
	else if (here == "pass")
		verdict = "same"
	else {
		verdict = "worse"
		worse[name] = 1
	}
	print verdict, here, etcd[name], name
}
