/* SPDX-License-Identifier: Apache-2.0 */
/* test_rules.c - the built-in tables row by row, rule files, hashes, explanations. */
#include "sync/rules/internal.h"
#include "tests/unit/sync/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define TEXT_BYTES_MAX (1 << 20)

static struct rules *built_in(enum rules_profile profile)
{
	struct rules *rules = NULL;

	assert_int_equal(rules_builtin(profile, &rules), ERR_OK);
	return rules;
}

static struct rules *parsed(const char *yaml)
{
	char problem[RULES_PROBLEM_BYTES];
	struct rules *rules = NULL;
	enum err e = rules_parse(bytes_of_string(yaml), &rules, problem);

	if (e)
		fail_msg("%s: %s", yaml, problem);
	return rules;
}

/* "spec.replicas" as the column that holds it. */
static struct column_id column_of(const char *text)
{
	const char *dot = strchr(text, '.'), *open = strchr(text, '[');
	struct column_id id = {.part = PART_WHOLE};
	struct bytes path = bytes_of(text, open ? (size_t)(open - text) : strlen(text));

	id.field = path;
	if (dot && open && dot > open)
		dot = NULL;
	if (open)
		id.entry = bytes_of(open + 1, strlen(open) - 2);
	if (dot) {
		id.field = bytes_of(text, (size_t)(dot - text));
		id.sub = bytes_of(dot + 1, path.size - id.field.size - 1);
	}
	return id;
}

/* --- the tables ------------------------------------------------------------------------------- */

struct expected {
	const char *key; /* below /registry/ */
	enum rules_flow flow;
	const char *winners; /* "spec=cloud ...", NULL: not of interest */
	bool guarded;
	bool atomic;
	enum rules_existence existence;
	enum group group;
};

static const struct expected shared_keys[] = {
	{.key = "masterleases/10.0.0.1", .flow = FLOW_NEVER},
	{.key = "peerserverleases/apiserver-x", .flow = FLOW_NEVER},
	{.key = "leases/kube-system/kube-scheduler", .flow = FLOW_NEVER},
	{.key = "leases/kube-system/apiserver-abc", .flow = FLOW_NEVER},
	{.key = "leases/payments/my-operator", .flow = FLOW_NEVER},
	{.key = "leases/kube-node-lease/node-1", .flow = FLOW_UP, .winners = "spec=home"},
	{.key = "leases/kube-node-leases/node-1", .flow = FLOW_NEVER},
	{.key = "leasecandidates/kube-system/x", .flow = FLOW_NEVER},
	{.key = "ranges/serviceips", .flow = FLOW_NEVER},
	{.key = "ranges/servicenodeports", .flow = FLOW_NEVER},
	{.key = "ipaddresses/10.0.0.1", .flow = FLOW_NEVER},
	{.key = "servicecidrs/kubernetes", .flow = FLOW_NEVER},
	{.key = "services/specs/default/kubernetes", .flow = FLOW_NEVER},
	{.key = "services/endpoints/default/kubernetes", .flow = FLOW_NEVER},
	{.key = "endpointslices/default/kubernetes", .flow = FLOW_NEVER},
	{.key = "services/specs/default/kubernetes-dashboard",
	 .flow = FLOW_BOTH,
	 .winners = "spec=cloud status=home"},
	{.key = "services/specs/other/kubernetes",
	 .flow = FLOW_BOTH,
	 .winners = "spec=cloud status=home"},
	{.key = "apiregistration.k8s.io/apiservices/v1.apps", .flow = FLOW_NEVER},
	{.key = "flowschemas/catch-all", .flow = FLOW_NEVER},
	{.key = "prioritylevelconfigurations/exempt", .flow = FLOW_NEVER},
	{.key = "storageversions/apps.deployments", .flow = FLOW_NEVER},
	{.key = "storageversionmigrations/m", .flow = FLOW_NEVER},
	{.key = "configmaps/kube-system/extension-apiserver-authentication", .flow = FLOW_NEVER},
	{.key = "configmaps/payments/kube-root-ca.crt", .flow = FLOW_NEVER},
	{.key = "configmaps/payments/kube-root-ca.crt2",
	 .flow = FLOW_DOWN,
	 .winners = "data=cloud"},
	{.key = "configmaps/kube-public/cluster-info", .flow = FLOW_NEVER},
	{.key = "configmaps/payments/cluster-info", .flow = FLOW_DOWN, .winners = "data=cloud"},
	{.key = "configmaps/kube-system/kubeadm-config", .flow = FLOW_NEVER},
	{.key = "configmaps/kube-system/kubelet-config-1.30", .flow = FLOW_NEVER},
	{.key = "secrets/kube-system/bootstrap-token-abcdef", .flow = FLOW_NEVER},
	{.key = "secrets/kube-system/k3s-serving", .flow = FLOW_NEVER},
	{.key = "certificatesigningrequests/csr-1", .flow = FLOW_NEVER},
	{.key = "podcertificaterequests/ns/p", .flow = FLOW_NEVER},
	{.key = "namespaces/payments",
	 .flow = FLOW_BOTH,
	 .winners = "metadata.labels=cloud spec.finalizers=cloud",
	 .guarded = true},
	{.key = "configmaps/payments/app",
	 .flow = FLOW_DOWN,
	 .winners = "data=cloud binaryData=cloud metadata.labels=cloud"},
	{.key = "secrets/payments/app", .flow = FLOW_DOWN, .winners = "data=cloud type=cloud"},
	{.key = "serviceaccounts/payments/app",
	 .flow = FLOW_DOWN,
	 .winners = "secrets=cloud metadata.labels=cloud"},
	{.key = "roles/payments/app", .flow = FLOW_DOWN, .winners = "rules=cloud", .atomic = true},
	{.key = "clusterroles/admin", .flow = FLOW_DOWN, .winners = "rules=cloud", .atomic = true},
	{.key = "rolebindings/payments/app",
	 .flow = FLOW_DOWN,
	 .winners = "subjects=cloud",
	 .atomic = true},
	{.key = "clusterrolebindings/system:kube-dns",
	 .flow = FLOW_DOWN,
	 .winners = "subjects=cloud",
	 .atomic = true},
	{.key = "validatingwebhookconfigurations/w", .flow = FLOW_NEVER, .atomic = true},
	{.key = "mutatingwebhookconfigurations/w", .flow = FLOW_NEVER, .atomic = true},
	{.key = "validatingadmissionpolicies/p", .flow = FLOW_NEVER, .atomic = true},
	{.key = "validatingadmissionpolicybindings/p", .flow = FLOW_NEVER, .atomic = true},
	{.key = "apiextensions.k8s.io/customresourcedefinitions/widgets.example.com",
	 .flow = FLOW_DOWN,
	 .winners = "spec=cloud status.conditions=site",
	 .guarded = true},
	{.key = "storageclasses/fast",
	 .flow = FLOW_DOWN,
	 .winners = "provisioner=cloud",
	 .atomic = true},
	{.key = "csidrivers/d", .flow = FLOW_DOWN, .winners = "spec=cloud", .atomic = true},
	{.key = "ingressclasses/i", .flow = FLOW_DOWN, .winners = "spec=cloud", .atomic = true},
	{.key = "priorityclasses/p", .flow = FLOW_DOWN, .winners = "value=cloud", .atomic = true},
	{.key = "runtimeclasses/r", .flow = FLOW_DOWN, .winners = "handler=cloud", .atomic = true},
	{.key = "deviceclasses/d", .flow = FLOW_DOWN, .winners = "spec=cloud", .atomic = true},
	{.key = "volumeattributesclasses/v",
	 .flow = FLOW_DOWN,
	 .winners = "driverName=cloud",
	 .atomic = true},
	{.key = "limitranges/payments/l",
	 .flow = FLOW_DOWN,
	 .winners = "spec=cloud",
	 .atomic = true},
	{.key = "networkpolicies/payments/n",
	 .flow = FLOW_DOWN,
	 .winners = "spec=cloud",
	 .atomic = true},
	{.key = "ingress/payments/i", .flow = FLOW_BOTH, .winners = "spec=cloud status=home"},
	{.key = "poddisruptionbudgets/payments/p",
	 .flow = FLOW_BOTH,
	 .winners = "spec=cloud status=home"},
	{.key = "horizontalpodautoscalers/payments/h",
	 .flow = FLOW_BOTH,
	 .winners = "spec=cloud status=home"},
	{.key = "deployments/payments/d",
	 .flow = FLOW_BOTH,
	 .winners = "spec=owner spec.replicas=home status=home"},
	{.key = "statefulsets/payments/s",
	 .flow = FLOW_BOTH,
	 .winners = "spec=owner spec.replicas=home status=home"},
	{.key = "daemonsets/payments/d", .flow = FLOW_BOTH, .winners = "spec=owner status=home"},
	{.key = "jobs/payments/j", .flow = FLOW_BOTH, .winners = "spec=owner status=home"},
	{.key = "cronjobs/payments/c", .flow = FLOW_BOTH, .winners = "spec=owner status=home"},
	{.key = "replicasets/payments/r",
	 .flow = FLOW_UP,
	 .winners = "spec=home status=home",
	 .atomic = true},
	{.key = "controllers/payments/c",
	 .flow = FLOW_UP,
	 .winners = "spec=home status=home",
	 .atomic = true},
	{.key = "controllerrevisions/payments/c",
	 .flow = FLOW_UP,
	 .winners = "data=home",
	 .atomic = true},
	{.key = "pods/payments/p",
	 .flow = FLOW_BOTH,
	 .winners = "spec=home status=home status.conditions=home metadata.labels=lww "
		    "metadata.annotations=lww"},
	{.key = "services/endpoints/payments/s",
	 .flow = FLOW_UP,
	 .winners = "subsets=home",
	 .atomic = true},
	{.key = "endpointslices/payments/s",
	 .flow = FLOW_UP,
	 .winners = "endpoints=home",
	 .atomic = true},
	{.key = "minions/node-1",
	 .flow = FLOW_BOTH,
	 .winners = "spec.taints=cloud spec.unschedulable=cloud spec=home status=home "
		    "metadata.labels=home",
	 .existence = EXISTENCE_UPDATE_WINS},
	{.key = "csinodes/node-1", .flow = FLOW_UP, .winners = "spec=home"},
	{.key = "csistoragecapacities/payments/c", .flow = FLOW_UP, .winners = "capacity=home"},
	{.key = "resourceslices/r", .flow = FLOW_UP, .winners = "spec=home"},
	{.key = "persistentvolumes/pv",
	 .flow = FLOW_BOTH,
	 .winners = "spec=home status=home",
	 .atomic = true},
	{.key = "persistentvolumeclaims/payments/pvc",
	 .flow = FLOW_BOTH,
	 .winners = "spec=home status=home",
	 .atomic = true},
	{.key = "volumeattachments/v", .flow = FLOW_BOTH, .winners = "spec=home", .atomic = true},
	{.key = "resourceclaims/payments/r",
	 .flow = FLOW_BOTH,
	 .winners = "spec=home",
	 .atomic = true},
	{.key = "resourcequotas/payments/q",
	 .flow = FLOW_DOWN,
	 .winners = "spec=cloud status=site"},
	{.key = "events/payments/e.1",
	 .flow = FLOW_UP,
	 .winners = "count=site",
	 .group = GROUP_EVENTS},
	{.key = "example.com/widgets/payments/w",
	 .flow = FLOW_BOTH,
	 .winners = "spec=cloud status=home metadata.labels=cloud other=cloud"},
	{.key = "example.com/clusterwidgets/w",
	 .flow = FLOW_BOTH,
	 .winners = "spec=cloud status=home"},
	{.key = "podtemplates/payments/t",
	 .flow = FLOW_BOTH,
	 .winners = "template=lww",
	 .atomic = true},
	{.key = "brandnew/x", .flow = FLOW_BOTH, .winners = "spec=lww", .atomic = true},
};

static const struct expected twin_keys[] = {
	{.key = "masterleases/10.0.0.1", .flow = FLOW_NEVER},
	{.key = "leases/kube-system/kube-scheduler", .flow = FLOW_NEVER},
	{.key = "leases/kube-node-lease/node-1", .flow = FLOW_UP, .winners = "spec=site"},
	{.key = "ranges/serviceips", .flow = FLOW_NEVER},
	{.key = "ipaddresses/10.0.0.1", .flow = FLOW_NEVER},
	{.key = "services/specs/default/kubernetes", .flow = FLOW_NEVER},
	{.key = "endpointslices/default/kubernetes", .flow = FLOW_NEVER},
	{.key = "apiregistration.k8s.io/apiservices/v1.apps", .flow = FLOW_NEVER},
	{.key = "flowschemas/catch-all", .flow = FLOW_NEVER},
	{.key = "configmaps/payments/kube-root-ca.crt", .flow = FLOW_NEVER},
	{.key = "configmaps/payments/app", .flow = FLOW_BOTH, .winners = "data=creator"},
	{.key = "secrets/payments/app", .flow = FLOW_BOTH, .winners = "data=creator"},
	{.key = "deployments/payments/d",
	 .flow = FLOW_BOTH,
	 .winners = "spec=creator spec.replicas=creator status=site"},
	{.key = "pods/payments/p",
	 .flow = FLOW_BOTH,
	 .winners = "spec=site status=site metadata.labels=creator"},
	{.key = "persistentvolumeclaims/payments/pvc",
	 .flow = FLOW_BOTH,
	 .winners = "spec=site",
	 .atomic = true},
	{.key = "minions/node-1",
	 .flow = FLOW_BOTH,
	 .winners = "spec=creator status=site",
	 .existence = EXISTENCE_UPDATE_WINS},
	{.key = "namespaces/payments",
	 .flow = FLOW_BOTH,
	 .winners = "metadata.labels=creator",
	 .guarded = true},
	{.key = "apiextensions.k8s.io/customresourcedefinitions/w",
	 .flow = FLOW_BOTH,
	 .winners = "spec=creator",
	 .guarded = true},
	{.key = "events/payments/e.1",
	 .flow = FLOW_UP,
	 .winners = "count=site",
	 .group = GROUP_EVENTS},
	{.key = "example.com/widgets/payments/w",
	 .flow = FLOW_BOTH,
	 .winners = "spec=creator status=site"},
	{.key = "brandnew/x", .flow = FLOW_BOTH, .winners = "spec=creator status=site"},
};

static void assert_winners(const struct rule *rule, const char *key, const char *winners)
{
	char text[256], *rest = text;

	snprintf(text, sizeof text, "%s", winners ? winners : "");
	for (char *word; (word = strsep(&rest, " "));) {
		char *sign = strchr(word, '=');
		struct column_id id;
		enum rules_winner winner;

		if (!sign)
			continue;
		*sign = 0;
		id = column_of(word);
		winner = columns_winner(rule->columns, rule->column_count, &id);
		if (strcmp(rules_winner_words[winner], sign + 1) != 0)
			fail_msg("%s: %s is won by %s, not by %s", key, word,
				 rules_winner_words[winner], sign + 1);
	}
}

static void check_table(enum rules_profile profile, const struct expected *keys, size_t count)
{
	struct rules *rules = built_in(profile);
	struct rules_view view = {.rules = rules};

	for (size_t i = 0; i < count; i++) {
		const struct expected *expected = &keys[i];
		struct rules_subject subject;
		char key[160];

		snprintf(key, sizeof key, "/registry/%s", expected->key);
		rules_subject_of(&view, bytes_of_string(key), &subject);
		assert_ptr_equal(subject.rule, rules_find(rules, bytes_of_string(key)));
		if (rules_flow(&subject, NULL) != expected->flow)
			fail_msg("%s: flow %s", key, rules_flow_words[subject.rule->flow]);
		if (subject.rule->guarded != expected->guarded ||
		    subject.rule->atomic != expected->atomic ||
		    subject.rule->existence != expected->existence ||
		    subject.rule->group != expected->group)
			fail_msg("%s: guarded, atomic, existence or group", key);
		assert_true(subject.rule->why.size > 0);
		assert_winners(subject.rule, key, expected->winners);
	}
	rules_free(rules);
}

static void test_every_row_of_the_shared_table_decides_as_designed(void **state)
{
	(void)state;
	check_table(PROFILE_SHARED, shared_keys, sizeof(shared_keys) / sizeof(*shared_keys));
}

static void test_every_row_of_the_twin_table_decides_as_designed(void **state)
{
	(void)state;
	check_table(PROFILE_TWIN, twin_keys, sizeof(twin_keys) / sizeof(*twin_keys));
}

/* Each row of the source is found by a key that is its own pattern. */
static void test_no_row_is_hidden_by_another(void **state)
{
	(void)state;
	for (int profile = 0; profile < RULES_PROFILES; profile++) {
		struct rules *rules = built_in((enum rules_profile)profile);

		for (size_t i = 0; rules_row(rules, i); i++) {
			const struct rule *row = rules_row(rules, i);
			char key[160];

			snprintf(key, sizeof key, "/registry/%.*s%s", (int)row->pattern.size,
				 (const char *)row->pattern.data,
				 row->component_count < 2 ? "/name" : "");
			assert_ptr_equal(rules_find(rules, bytes_of_string(key)), row);
		}
		rules_free(rules);
	}
}

static void test_keys_that_are_no_objects_never_travel(void **state)
{
	static const char *const keys[] = {"",
					   "/",
					   "compact_rev_key",
					   "/registry",
					   "/registry/",
					   "/registry/health",
					   "/registry/pods/",
					   "/registry//",
					   "/registryx/pods/ns/p",
					   "/sites/a/registry/pods/ns/p",
					   "/bootstrap/abc",
					   "registry/pods/ns/p"};
	struct rules *rules = built_in(PROFILE_SHARED);

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		const struct rule *rule = rules_find(rules, bytes_of_string(keys[i]));

		assert_int_equal(rule->flow, FLOW_NEVER);
		assert_int_equal(rule->pattern.size, 0);
		assert_int_equal(rules_key_of(rules, bytes_of_string(keys[i])).resource.size, 0);
	}
	rules_free(rules);
}

static void assert_parts(const struct rules *rules, const char *key, const char *resource,
			 const char *namespace, const char *name)
{
	struct rules_key parts = rules_key_of(rules, bytes_of_string(key));

	assert_true(bytes_equal(parts.resource, bytes_of_string(resource)));
	assert_true(bytes_equal(parts.namespace, bytes_of_string(namespace)));
	assert_true(bytes_equal(parts.name, bytes_of_string(name)));
}

static void test_a_key_tells_resource_namespace_and_name(void **state)
{
	struct rules *rules = built_in(PROFILE_TWIN);

	(void)state;
	assert_parts(rules, "/registry/pods/ns/p", "pods", "ns", "p");
	assert_parts(rules, "/registry/minions/n", "minions", "", "n");
	assert_parts(rules, "/registry/namespaces/ns", "namespaces", "ns", "ns");
	assert_parts(rules, "/registry/services/specs/ns/s", "services/specs", "ns", "s");
	assert_parts(rules, "/registry/example.com/widgets/ns/w", "example.com/widgets", "ns", "w");
	assert_parts(rules, "/registry/example.com/widgets/w", "example.com/widgets", "", "w");
	assert_parts(rules, "/registry/pods/a/b/c", "", "", "");
	rules_free(rules);
}

static void test_stars_match_any_run_of_bytes(void **state)
{
	static const struct {
		const char *glob;
		const char *text;
		bool matches;
	} cases[] = {
		{"*", "", true},
		{"*", "abc", true},
		{"a*", "abc", true},
		{"a*", "bc", false},
		{"*c", "abc", true},
		{"*b", "abc", false},
		{"a*c*e", "abcde", true},
		{"a*c*e", "acxce", true},
		{"a*c*e", "abde", false},
		{"*.*", "a.b", true},
		{"*.*", "ab", false},
		{"abc", "abc", true},
		{"abc", "abcd", false},
		{"a**b", "ab", true},
		{"", "", true},
		{"", "a", false},
		{"*a*a*a*b", "aaaaaa", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(
			glob_match(bytes_of_string(cases[i].glob), bytes_of_string(cases[i].text)),
			cases[i].matches);
}

/* --- files ------------------------------------------------------------------------------------ */

static const struct rule *find_in(const struct rules *rules, const char *key)
{
	return rules_find(rules, bytes_of_string(key));
}

static void test_a_row_says_only_what_it_changes(void **state)
{
	struct rules *rules = parsed("profile: shared\n"
				     "rules:\n"
				     "  - key: configmaps/payments\n"
				     "    flow: both\n"
				     "    winners:\n"
				     "      data: home\n"
				     "      data[app.conf]: lww\n"
				     "  - key: secrets\n"
				     "    except-types: []\n"
				     "  - key: deployments\n"
				     "    winners: {\"*\": cloud}\n"
				     "    why: GitOps decides all\n");
	const struct rule *rule = find_in(rules, "/registry/configmaps/payments/app");

	(void)state;
	assert_int_equal(rule->flow, FLOW_BOTH);
	assert_int_equal(rule->line, 3);
	assert_winners(rule, "app",
		       "data=home data[app.conf]=lww data[x]=home metadata.labels=cloud");
	/* What is more than the namespace still counts before it. */
	assert_int_equal(find_in(rules, "/registry/configmaps/payments/kube-root-ca.crt")->flow,
			 FLOW_NEVER);
	assert_int_equal(find_in(rules, "/registry/configmaps/other/app")->flow, FLOW_DOWN);
	rule = find_in(rules, "/registry/secrets/payments/s");
	assert_int_equal(rule->except_type_count, 0);
	assert_int_equal(rule->flow, FLOW_DOWN);
	/* A star begins anew. */
	rule = find_in(rules, "/registry/deployments/a/b");
	assert_int_equal(rule->column_count, 1);
	assert_winners(rule, "b", "spec=cloud status=cloud");
	assert_true(bytes_equal(rule->why, BYTES_LITERAL("GitOps decides all")));
	rules_free(rules);
}

static void test_the_order_of_rows_in_a_file_does_not_count(void **state)
{
	static const char wide[] = "  - key: configmaps\n    winners: {data: home}\n";
	static const char near[] = "  - key: configmaps/payments\n    flow: both\n";
	uint8_t hashes[2][RULES_HASH_BYTES];
	char text[256];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct rules *rules;

		snprintf(text, sizeof text, "profile: shared\nrules:\n%s%s", i ? wide : near,
			 i ? near : wide);
		rules = parsed(text);
		assert_winners(find_in(rules, "/registry/configmaps/payments/a"), "a", "data=home");
		assert_int_equal(rules_hash(rules, hashes[i]), ERR_OK);
		rules_free(rules);
	}
	assert_memory_equal(hashes[0], hashes[1], RULES_HASH_BYTES);
}

static void test_a_namespace_may_have_a_flow_of_its_own(void **state)
{
	struct rules *rules = parsed("profile: shared\n"
				     "namespaces:\n"
				     "  - {namespace: payments, flow: both}\n"
				     "  - {namespace: \"team-*\", flow: never}\n"
				     "  - {namespace: team-a, flow: down}\n");
	static const struct {
		const char *key;
		enum rules_flow flow;
	} cases[] = {
		{"/registry/configmaps/payments/a", FLOW_BOTH},
		{"/registry/configmaps/payments/kube-root-ca.crt", FLOW_NEVER},
		{"/registry/replicasets/payments/a", FLOW_UP},
		{"/registry/configmaps/other/a", FLOW_DOWN},
		{"/registry/deployments/team-b/a", FLOW_NEVER},
		{"/registry/replicasets/team-b/a", FLOW_NEVER},
		{"/registry/namespaces/team-b", FLOW_NEVER},
		{"/registry/deployments/team-a/a", FLOW_DOWN},
	};
	struct rules_view view = {.rules = rules};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct rules_subject subject;

		rules_subject_of(&view, bytes_of_string(cases[i].key), &subject);
		if (rules_flow(&subject, NULL) != cases[i].flow)
			fail_msg("%s", cases[i].key);
	}
	rules_free(rules);
}

static void test_another_registry_is_said_once(void **state)
{
	struct rules *rules = parsed("registry: /k8s\n");

	(void)state;
	assert_int_equal(find_in(rules, "/k8s/configmaps/a/b")->flow, FLOW_BOTH);
	assert_int_equal(find_in(rules, "/registry/configmaps/a/b")->flow, FLOW_NEVER);
	rules_free(rules);
}

static void test_what_is_wrong_is_named_with_its_line_and_mend(void **state)
{
	static const struct {
		const char *yaml;
		const char *problem;
	} cases[] = {
		{"profil: twin\n", "line 1, column 1: nothing here is called \"profil\"; a rule "
				   "file has profile, registry, namespaces, rules"},
		{"profile: both\n",
		 "line 1, column 10: profile cannot be \"both\": write twin or shared"},
		{"profile: twin\nprofile: twin\n", "line 2, column 1: profile is there twice"},
		{"rules:\n  - key: pods\n    flow: sideways\n",
		 "line 3, column 11: flow cannot be \"sideways\": write never, up, down or both"},
		{"rules:\n  - flow: up\n", "line 2, column 5: a row needs a key"},
		{"rules:\n  - key: /pods\n", "line 2, column 10: keys stand below the registry"},
		{"rules:\n  - key: a//b\n", "line 2, column 10: two slashes in a row"},
		{"rules:\n  - key: a/b/c/d/e/f/g/h/i\n", "line 2, column 10: at most 8 parts"},
		{"rules:\n  - key: pods\n    floww: up\n",
		 "line 3, column 5: nothing here is called \"floww\"; a row has key, flow"},
		{"rules:\n  - key: pods\n  - key: pods/\n", "line 2 has this key, too"},
		{"rules:\n  - key: pods\n    winners: {spec: everybody}\n",
		 "line 3, column 21: a winner cannot be \"everybody\": write lww, cloud, home"},
		{"rules:\n  - key: pods\n    winners: {.: cloud}\n", "a column is *, a field"},
		{"rules:\n  - key: pods\n    winners: {spec: cloud, spec: home}\n",
		 "this column is there twice"},
		{"rules:\n  - key: pods\n    winners: {*: cloud}\n",
		 "write a star in quotes: \"*\""},
		{"rules:\n  - key: pods\n    identity: creator\n", "identity cannot be creator"},
		{"rules:\n  - key: pods\n    atomic: maybe\n", "atomic cannot be \"maybe\": write "
							       "false or true"},
		{"rules:\n  - key: pods\n    coalesce-seconds: soon\n", "a number from 0 to 86400"},
		{"rules:\n  - key: pods\n    coalesce-seconds: 86401\n",
		 "a number from 0 to 86400"},
		{"rules:\n  - key: pods\n    flow:\n", "flow has no value"},
		{"rules:\n  - key: pods\n    why: [a]\n", "why is a plain value"},
		{"rules:\n  - key: pods\n    except-types: a\n", "except-types is a list"},
		{"rules: {}\n", "rules are a list"},
		{"rules: [pods]\n", "a row is written as lines"},
		{"- a\n", "a rule file is written as lines"},
		{"registry: registry\n", "registry is the apiserver's --etcd-prefix"},
		{"namespaces:\n  - home: berlin\n", "an entry needs a name"},
		{"namespaces:\n  - {namespace: a, home: cloud}\n", "a home is one site"},
		{"namespaces:\n  - {namespace: a/b}\n", "a namespace's name has no slash"},
		{"namespaces:\n  - {namespace: a}\n  - {namespace: a}\n", "line 2 speaks of it"},
		{"a: [\n", "not valid YAML"},
		{"\xff\xfe\xff", "not UTF-8"},
		{"profile: twin\n---\nprofile: twin\n", "line 3, column 1: a second document"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char problem[RULES_PROBLEM_BYTES];
		struct rules *rules = NULL;

		if (rules_parse(bytes_of_string(cases[i].yaml), &rules, problem) != ERR_MALFORMED)
			fail_msg("taken: %s", cases[i].yaml);
		if (!strstr(problem, cases[i].problem))
			fail_msg("%s gives \"%s\"", cases[i].yaml, problem);
		assert_null(rules);
	}
}

static void test_files_have_a_largest_size(void **state)
{
	struct buffer text = BUFFER_INIT(TEXT_BYTES_MAX);
	char problem[RULES_PROBLEM_BYTES];
	struct rules *rules = NULL;

	(void)state;
	assert_true(buffer_append(&text, BYTES_LITERAL("rules:\n")));
	for (int i = 0; i < RULES_ROWS_MAX; i++)
		assert_true(buffer_append_format(&text, "- key: kind%d\n", i));
	assert_int_equal(rules_parse(buffer_bytes(&text), &rules, problem), ERR_MALFORMED);
	assert_non_null(strstr(problem, "too many rows"));
	while (text.size <= RULES_FILE_BYTES_MAX)
		assert_true(buffer_append(&text, BYTES_LITERAL("# more\n")));
	assert_int_equal(rules_parse(buffer_bytes(&text), &rules, problem), ERR_MALFORMED);
	assert_non_null(strstr(problem, "at most"));
	buffer_fini(&text);
}

/* --- hashes ----------------------------------------------------------------------------------- */

static bool same_hash(const char *a, const char *b)
{
	struct rules *rules[2] = {parsed(a), parsed(b)};
	uint8_t hashes[2][RULES_HASH_BYTES];

	for (int i = 0; i < 2; i++) {
		assert_int_equal(rules_hash(rules[i], hashes[i]), ERR_OK);
		rules_free(rules[i]);
	}
	return !memcmp(hashes[0], hashes[1], RULES_HASH_BYTES);
}

static void test_equal_tables_hash_equal_however_they_are_written(void **state)
{
	(void)state;
	assert_true(same_hash("", "profile: twin\nregistry: /registry/\n"));
	assert_true(same_hash("", "# a comment\nrules:\n- key: configmaps\n  why: because\n"));
	assert_true(same_hash("", "rules:\n- {key: configmaps, flow: both}\n"));
	assert_true(same_hash("", "rules:\n- {key: a/b/c, winners: {spec.replicas: creator}}\n"));
	assert_true(same_hash("", "rules:\n- {key: example.com/widgets/ns}\n"));
	assert_true(same_hash("profile: shared\nrules:\n- {key: secrets, except-types: [a, b]}\n",
			      "profile: shared\nrules:\n- {key: secrets, except-types: [b, a]}\n"));
	assert_true(same_hash("namespaces:\n- {namespace: a}\n- {namespace: b}\n",
			      "namespaces:\n- {namespace: b}\n- {namespace: a}\n"));
	/* What never travels has no winners. */
	assert_true(same_hash("", "rules:\n- {key: ranges, winners: {spec: cloud}}\n"));
}

static void test_tables_that_decide_otherwise_hash_otherwise(void **state)
{
	(void)state;
	assert_false(same_hash("profile: twin\n", "profile: shared\n"));
	assert_false(same_hash("", "registry: /k8s\n"));
	assert_false(same_hash("", "rules:\n- {key: configmaps, flow: down}\n"));
	assert_false(same_hash("", "rules:\n- {key: configmaps, winners: {data: cloud}}\n"));
	assert_false(same_hash("", "rules:\n- {key: configmaps, identity: cloud}\n"));
	assert_false(same_hash("", "rules:\n- {key: configmaps, existence: update-wins}\n"));
	assert_false(same_hash("", "rules:\n- {key: configmaps, atomic: true}\n"));
	assert_false(same_hash("", "rules:\n- {key: configmaps, guarded: true}\n"));
	assert_false(same_hash("", "rules:\n- {key: configmaps, home: node}\n"));
	assert_false(same_hash("", "rules:\n- {key: configmaps, group: events}\n"));
	assert_false(same_hash("", "rules:\n- {key: configmaps, coalesce-seconds: 1}\n"));
	assert_false(same_hash("", "rules:\n- {key: configmaps, except-types: [a]}\n"));
	assert_false(same_hash("", "rules:\n- {key: \"configmaps/*/x\", flow: never}\n"));
	assert_false(same_hash("", "namespaces:\n- {namespace: a, owner: cloud}\n"));
	assert_false(same_hash("namespaces:\n- {namespace: a, owner: x}\n",
			       "namespaces:\n- {namespace: a, home: x}\n"));
	/* As the row behind it, but another row is between the two. */
	assert_false(same_hash("rules:\n- {key: a, flow: up}\n",
			       "rules:\n- {key: a, flow: up}\n- {key: a/b, flow: both}\n"));
	/* As the widest row, but for some of its keys one in between would decide otherwise. */
	assert_false(same_hash("rules:\n- {key: a/*c, flow: up}\n",
			       "rules:\n- {key: a/*c, flow: up}\n- {key: a/bb*}\n"));
}

/* --- explanations ----------------------------------------------------------------------------- */

static void assert_explained(const struct rules *rules, const char *key, const char *const *lines)
{
	struct buffer buffer = BUFFER_INIT(TEXT_BYTES_MAX);
	char text[4096];

	assert_true(rules_explain(rules, bytes_of_string(key), &buffer));
	assert_true(buffer.size < sizeof text);
	snprintf(text, sizeof text, "%.*s", (int)buffer.size,
		 (const char *)buffer_bytes(&buffer).data);
	for (; *lines; lines++)
		if (!strstr(text, *lines))
			fail_msg("no \"%s\" in:\n%s", *lines, text);
	buffer_fini(&buffer);
}

static void test_a_key_is_explained(void **state)
{
	struct rules *rules = parsed("profile: shared\n"
				     "namespaces:\n"
				     "  - {namespace: payments, flow: both, owner: berlin}\n"
				     "rules:\n"
				     "  - {key: widgets, flow: never, why: local}\n");

	(void)state;
	assert_explained(
		rules, "/registry/configmaps/payments/app",
		(const char *const[]){"key        /registry/configmaps/payments/app\n",
				      "row        configmaps (built in, profile shared)\n",
				      "namespace  payments, flow both, owner berlin (line 3 of the",
				      "flow       both ways\n", "existence  delete-wins",
				      "winner     * = cloud: the cloud, then the home\n",
				      "why        entries are independent", NULL});
	assert_explained(rules, "/registry/widgets/a\n",
			 (const char *const[]){"key        /registry/widgets/a\\x0a\n",
					       "row        widgets (line 5 of the rule file)\n",
					       "flow       never", "why        local\n", NULL});
	assert_explained(rules, "/registry/health",
			 (const char *const[]){"row        none\n", "why        no object", NULL});
	rules_free(rules);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_row_of_the_shared_table_decides_as_designed),
		cmocka_unit_test(test_every_row_of_the_twin_table_decides_as_designed),
		cmocka_unit_test(test_no_row_is_hidden_by_another),
		cmocka_unit_test(test_keys_that_are_no_objects_never_travel),
		cmocka_unit_test(test_a_key_tells_resource_namespace_and_name),
		cmocka_unit_test(test_stars_match_any_run_of_bytes),
		cmocka_unit_test(test_a_row_says_only_what_it_changes),
		cmocka_unit_test(test_the_order_of_rows_in_a_file_does_not_count),
		cmocka_unit_test(test_a_namespace_may_have_a_flow_of_its_own),
		cmocka_unit_test(test_another_registry_is_said_once),
		cmocka_unit_test(test_what_is_wrong_is_named_with_its_line_and_mend),
		cmocka_unit_test(test_files_have_a_largest_size),
		cmocka_unit_test(test_equal_tables_hash_equal_however_they_are_written),
		cmocka_unit_test(test_tables_that_decide_otherwise_hash_otherwise),
		cmocka_unit_test(test_a_key_is_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
