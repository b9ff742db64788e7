/* SPDX-License-Identifier: Apache-2.0 */
/* test_rules_policy.c - who wins: sites that write one key, meet and look at it through a table. */
#include "sync/merge/identity.h"
#include "sync/rules/hold.h"
#include "sync/rules/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/sync/small_sites.h"

enum { CLOUD, BERLIN, PARIS };

struct scene {
	struct small small;
	struct rules *rules;
	struct rules_site sites[SITES];
	struct rules_place namespaces[1];
	struct rules_place nodes[2];
	struct rules_view view;
	struct rules_subject subject;
};

static int scene_open(void **state)
{
	static const char *const names[] = {"hub", "berlin", "paris"};
	struct scene *scene = calloc(1, sizeof(*scene));

	arena_init(&scene->small.arena, ARENA_BYTES);
	for (unsigned site = 0; site < SITES; site++)
		scene->sites[site] = (struct rules_site){
			actor_of(site).site, bytes_of_string(names[site]), site == CLOUD};
	scene->namespaces[0] = (struct rules_place){BYTES_LITERAL("homed"), actor_of(PARIS).site};
	scene->nodes[0] = (struct rules_place){BYTES_LITERAL("node-b"), actor_of(BERLIN).site};
	scene->nodes[1] = (struct rules_place){BYTES_LITERAL("node-p"), actor_of(PARIS).site};
	scene->view = (struct rules_view){.sites = scene->sites,
					  .site_count = SITES,
					  .namespaces = scene->namespaces,
					  .namespace_count = 1,
					  .nodes = scene->nodes,
					  .node_count = 2};
	*state = scene;
	return 0;
}

static int scene_close(void **state)
{
	struct scene *scene = *state;

	for (unsigned site = 0; site < SITES; site++)
		vector_fini(&scene->small.vectors[site]);
	arena_fini(&scene->small.arena);
	rules_free(scene->rules);
	free(scene);
	return 0;
}

/* The table of a file, and the key that all write; everything written before is forgotten. */
static void look_at(struct scene *scene, const char *yaml, const char *key)
{
	char problem[RULES_PROBLEM_BYTES];

	for (unsigned site = 0; site < SITES; site++)
		scene->small.states[site] = (struct state){0};
	rules_free(scene->rules);
	scene->rules = NULL;
	if (rules_parse(bytes_of_string(yaml), &scene->rules, problem))
		fail_msg("%s", problem);
	scene->view.rules = scene->rules;
	rules_subject_of(&scene->view, bytes_of_string(key), &scene->subject);
	rules_policy(&scene->subject, &scene->small.policy);
}

static void meet(struct scene *scene)
{
	for (unsigned round = 0; round < 2; round++)
		for (unsigned to = 0; to < SITES; to++)
			for (unsigned from = 0; from < SITES; from++)
				if (to != from)
					get(&scene->small, to, from);
}

static const char *shown(struct scene *scene)
{
	struct visible visible;
	const char *text = NULL;

	for (unsigned site = 0; site < SITES; site++) {
		const char *other = show(&scene->small, site, &visible);

		assert_true(!text || !strcmp(text, other));
		text = other;
	}
	return text;
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no %s in %s", part, text);
}

/* One site creates, all write the column at once, each newer than the one before; who is shown? */
static const char *contest(struct scene *scene, unsigned creator, const char *column)
{
	static char text[160];
	char part[64];

	snprintf(text, sizeof text, OBJECT("", ",\"%s\":\"old\""), column);
	put(&scene->small, creator, 1, text);
	meet(scene);
	for (unsigned site = 0; site < SITES; site++) {
		snprintf(text, sizeof text, OBJECT("", ",\"%s\":\"%c\""), column, "hbp"[site]);
		put(&scene->small, site, 10 + site, text);
	}
	meet(scene);
	for (unsigned site = 0; site < SITES; site++) {
		snprintf(part, sizeof part, "\"%s\":\"%c\"", column, "hbp"[site]);
		if (strstr(shown(scene), part))
			return (const char *const[]){"hub", "berlin", "paris"}[site];
	}
	return "nobody";
}

#define SHARED "profile: shared\n"
#define TWIN "profile: twin\n"

static void test_each_winner_wins_as_its_name_says(void **state)
{
	static const struct {
		const char *yaml;
		const char *key;
		const char *column;
		unsigned creator;
		const char *winner;
	} cases[] = {
		/* Paris wrote last, and is the home of the namespace homed. */
		{SHARED, "/registry/configmaps/any/a", "data", BERLIN, "hub"},
		{SHARED, "/registry/brandnew/any/a", "spec", BERLIN, "paris"},
		{SHARED, "/registry/deployments/any/a", "spec", BERLIN, "hub"},
		{SHARED, "/registry/deployments/homed/a", "spec", BERLIN, "paris"},
		{SHARED, "/registry/deployments/any/a", "status", BERLIN, "paris"},
		{SHARED, "/registry/example.com/widgets/homed/a", "spec", BERLIN, "hub"},
		{SHARED, "/registry/resourcequotas/homed/a", "status", CLOUD, "paris"},
		{SHARED, "/registry/csinodes/node-b", "spec", CLOUD, "berlin"},
		{SHARED, "/registry/csinodes/node-p", "spec", CLOUD, "paris"},
		{SHARED, "/registry/leases/kube-node-lease/node-b", "spec", CLOUD, "berlin"},
		{SHARED, "/registry/csinodes/unknown", "spec", CLOUD, "paris"},
		{TWIN, "/registry/configmaps/any/a", "data", BERLIN, "berlin"},
		{TWIN, "/registry/configmaps/any/a", "data", CLOUD, "hub"},
		{TWIN, "/registry/configmaps/homed/a", "data", CLOUD, "paris"},
		{TWIN, "/registry/deployments/any/a", "status", CLOUD, "paris"},
		{TWIN, "/registry/namespaces/homed", "spec", CLOUD, "paris"},
		/* The file goes before what sites say of homes. */
		{TWIN "namespaces: [{namespace: homed, home: berlin}]\n",
		 "/registry/configmaps/homed/a", "data", CLOUD, "berlin"},
		{TWIN "namespaces: [{namespace: any, owner: cloud}]\n",
		 "/registry/configmaps/any/a", "data", BERLIN, "hub"},
		{TWIN "namespaces: [{namespace: any, owner: site}]\n", "/registry/configmaps/any/a",
		 "data", CLOUD, "paris"},
		{TWIN "namespaces: [{namespace: any, owner: berlin}]\n",
		 "/registry/configmaps/any/a", "data", CLOUD, "berlin"},
		{TWIN "namespaces: [{namespace: any, owner: lww}]\n", "/registry/configmaps/any/a",
		 "data", CLOUD, "paris"},
		/* A site that nobody knows owns nothing. */
		{TWIN "namespaces: [{namespace: any, owner: rome, home: rome}]\n",
		 "/registry/configmaps/any/a", "data", CLOUD, "hub"},
		/* What is observed has no owner. */
		{SHARED "namespaces: [{namespace: homed, owner: cloud}]\n",
		 "/registry/deployments/homed/a", "status", CLOUD, "paris"},
	};
	struct scene *scene = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *winner;

		look_at(scene, cases[i].yaml, cases[i].key);
		winner = contest(scene, cases[i].creator, cases[i].column);
		if (strcmp(winner, cases[i].winner) != 0)
			fail_msg("case %zu: %s of %s is won by %s", i, cases[i].column,
				 cases[i].key, winner);
	}
}

static void test_sites_that_nobody_knows_are_named(void **state)
{
	struct scene *scene = *state;
	unsigned line = 0;
	struct bytes name;
	size_t at = 0;

	look_at(scene,
		TWIN "namespaces:\n- {namespace: a, home: berlin, owner: rome}\n"
		     "- {namespace: b, owner: cloud}\n- {namespace: c, home: oslo}\n",
		"/registry/configmaps/a/b");
	assert_true(rules_unknown_site(&scene->view, &at, &name, &line));
	assert_true(bytes_equal(name, BYTES_LITERAL("rome")));
	assert_int_equal(line, 3);
	assert_true(rules_unknown_site(&scene->view, &at, &name, &line));
	assert_true(bytes_equal(name, BYTES_LITERAL("oslo")));
	assert_int_equal(line, 5);
	assert_false(rules_unknown_site(&scene->view, &at, &name, &line));
}

#define OWNED_BY(text) "\"annotations\":{\"" RULES_OWNER_ANNOTATION "\":\"" text "\"},"

static void test_an_object_may_name_its_own_owner(void **state)
{
	static const struct {
		const char *annotation;
		const char *shown;
	} cases[] = {
		{OWNED_BY("cloud"), "\"spec\":1"}, {OWNED_BY("berlin"), "\"spec\":2"},
		{OWNED_BY("paris"), "\"spec\":3"}, {OWNED_BY("lww"), "\"spec\":3"},
		{OWNED_BY("site"), "\"spec\":3"},  {OWNED_BY("nobody"), "\"spec\":2"},
		{OWNED_BY(""), "\"spec\":2"},
	};
	struct scene *scene = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[256];

		look_at(scene, TWIN, "/registry/example.com/widgets/any/a");
		for (unsigned round = 0; round < 2; round++) {
			for (unsigned site = 0; site < SITES; site++) {
				snprintf(text, sizeof text,
					 "{\"apiVersion\":\"v1\",\"kind\":\"W\",\"metadata\":{%s"
					 "\"uid\":\"u\"},\"spec\":%u}\n",
					 cases[i].annotation, round ? site + 1 : 0);
				if (round || site == BERLIN)
					put(&scene->small, site, 10 + site, text);
			}
			meet(scene);
		}
		assert_has(shown(scene), cases[i].shown);
	}
}

/* Rules that depend on what a write changes must still show what was written. */
static void test_a_write_that_changes_the_owner_is_shown_as_written(void **state)
{
	struct scene *scene = *state;

	look_at(scene, TWIN, "/registry/example.com/widgets/any/a");
	put(&scene->small, BERLIN, 1, OBJECT("", ",\"spec\":0"));
	meet(scene);
	put(&scene->small, CLOUD, 2, OBJECT("", ",\"spec\":1"));
	put(&scene->small, BERLIN, 3, OBJECT("", ",\"spec\":2"));
	meet(scene);
	assert_has(shown(scene), "\"spec\":2");
	put(&scene->small, BERLIN, 4, OBJECT(OWNED_BY("cloud"), ",\"spec\":2"));
	assert_shows(&scene->small, BERLIN, OBJECT(OWNED_BY("cloud"), ",\"spec\":2"));
	meet(scene);
	assert_has(shown(scene), "\"spec\":2");
}

#define POD(node, more)                                                                            \
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"uid\":\"u\"},\"spec\":{"          \
	"\"containers\":[]" node "}" more "}\n"
#define ON(node) ",\"nodeName\":\"" node "\""

static void test_a_pod_is_at_home_where_it_is_bound(void **state)
{
	struct scene *scene = *state;
	struct site home;
	bool known;

	look_at(scene, SHARED, "/registry/pods/any/p");
	put(&scene->small, CLOUD, 1, POD("", ""));
	meet(scene);
	assert_int_equal(rules_home(&scene->subject, &scene->small.states[0], &scene->small.arena,
				    &known, &home),
			 ERR_OK);
	assert_false(known);
	/* Two schedulers bind it; Paris' own goes before the cloud's, though that came first. */
	put(&scene->small, CLOUD, 2, POD(ON("node-b"), ""));
	put(&scene->small, PARIS, 3, POD(ON("node-p"), ""));
	meet(scene);
	assert_has(shown(scene), ON("node-p"));
	assert_int_equal(rules_home(&scene->subject, &scene->small.states[0], &scene->small.arena,
				    &known, &home),
			 ERR_OK);
	assert_true(known);
	assert_memory_equal(home.bytes, actor_of(PARIS).site.bytes, SITE_BYTES);
	/* Its status is its home's. */
	put(&scene->small, PARIS, 4, POD(ON("node-p"), ",\"status\":{\"phase\":\"p\"}"));
	meet(scene);
	put(&scene->small, PARIS, 5, POD(ON("node-p"), ",\"status\":{\"phase\":\"q\"}"));
	put(&scene->small, BERLIN, 6, POD(ON("node-p"), ",\"status\":{\"phase\":\"r\"}"));
	put(&scene->small, CLOUD, 7, POD(ON("node-p"), ",\"status\":{\"phase\":\"s\"}"));
	meet(scene);
	assert_has(shown(scene), "\"phase\":\"q\"");
}

#define TWICE(uid, born, rest)                                                                     \
	"{\"apiVersion\":\"v1\",\"kind\":\"W\",\"metadata\":{\"creationTimestamp\":\"" born        \
	"\",\"uid\":\"" uid "\"}" rest "}\n"
#define DAY(n) "2026-01-0" n "T00:00:00Z"

static const char *elect(struct scene *scene, const char *yaml, const char *key)
{
	look_at(scene, yaml, key);
	put(&scene->small, CLOUD, 1, TWICE("hub", DAY("2"), ""));
	put(&scene->small, BERLIN, 1, TWICE("berlin", DAY("3"), ""));
	put(&scene->small, PARIS, 1, TWICE("paris", DAY("1"), ""));
	meet(scene);
	return shown(scene);
}

static void test_of_two_objects_with_one_name_the_right_one_stays(void **state)
{
	struct scene *scene = *state;

	/* The site's in the twin, whichever is older; of two sites' the older one. */
	assert_has(elect(scene, TWIN, "/registry/configmaps/any/a"), "\"paris\"");
	assert_has(elect(scene, TWIN "namespaces: [{namespace: any, owner: cloud}]\n",
			 "/registry/configmaps/any/a"),
		   "\"hub\"");
	assert_has(elect(scene, TWIN "namespaces: [{namespace: any, owner: berlin}]\n",
			 "/registry/configmaps/any/a"),
		   "\"berlin\"");
	assert_has(elect(scene, SHARED, "/registry/configmaps/homed/a"), "\"hub\"");
	assert_has(elect(scene, SHARED, "/registry/csinodes/node-b"), "\"berlin\"");
	assert_has(elect(scene, SHARED, "/registry/replicasets/homed/a"), "\"paris\"");
	assert_has(elect(scene, SHARED "rules: [{key: configmaps, identity: lww}]\n",
			 "/registry/configmaps/any/a"),
		   "\"paris\"");
}

static void test_changed_rules_show_the_same_state_otherwise_and_back(void **state)
{
	struct scene *scene = *state;
	struct state before[SITES];

	look_at(scene, SHARED, "/registry/configmaps/any/a");
	assert_string_equal(contest(scene, BERLIN, "data"), "hub");
	memcpy(before, scene->small.states, sizeof before);
	look_at(scene, TWIN, "/registry/configmaps/any/a");
	memcpy(scene->small.states, before, sizeof before);
	assert_has(shown(scene), "\"data\":\"b\"");
	look_at(scene, SHARED, "/registry/configmaps/any/a");
	memcpy(scene->small.states, before, sizeof before);
	assert_has(shown(scene), "\"data\":\"h\"");
}

/* --- flow by value ---------------------------------------------------------------------------- */

#define SECRET(type)                                                                               \
	"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"uid\":\"u\"},\"type\":\"" type \
	"\"}\n"
#define PROTO_SECRET(type, size)                                                                   \
	"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Secret\x12" size "\x0a\x03\x2a\x01u\x1a" type "\x1a\0\x22" \
	"\0"

static enum rules_flow flow_of(struct scene *scene, struct bytes value)
{
	struct dot dot = {actor_of(CLOUD), 1};
	struct object object;
	struct state state;

	assert_int_equal(object_split(value, &scene->small.arena, &object), ERR_OK);
	assert_true(object.count > 2);
	assert_int_equal(state_create(&object, &dot, 1, &scene->small.arena, &state), ERR_OK);
	return rules_flow(&scene->subject, &state);
}

static void test_secrets_of_one_cluster_do_not_travel(void **state)
{
	struct scene *scene = *state;

	look_at(scene, SHARED, "/registry/secrets/any/s");
	assert_int_equal(rules_flow(&scene->subject, NULL), FLOW_DOWN);
	assert_int_equal(flow_of(scene, BYTES_LITERAL(SECRET("Opaque"))), FLOW_DOWN);
	assert_int_equal(
		flow_of(scene, BYTES_LITERAL(SECRET("kubernetes.io/service-account-token"))),
		FLOW_NEVER);
	assert_int_equal(
		flow_of(scene, BYTES_LITERAL(SECRET("my.kubernetes.io/service-account-token"))),
		FLOW_DOWN);
	assert_int_equal(
		flow_of(scene, BYTES_LITERAL(PROTO_SECRET("\x1f"
							  "bootstrap.kubernetes.io/token..",
							  "\x26"))),
		FLOW_DOWN);
	assert_int_equal(flow_of(scene, BYTES_LITERAL(PROTO_SECRET("\x1d"
								   "bootstrap.kubernetes.io/token",
								   "\x24"))),
			 FLOW_NEVER);
}

/* --- what cannot be read elsewhere ------------------------------------------------------------ */

static struct value_kind kind_of(struct scene *scene, struct bytes value)
{
	struct value_kind kind;

	assert_int_equal(value_kind(value, &scene->small.arena, &kind), ERR_OK);
	return kind;
}

static void assert_text(struct bytes bytes, const char *text)
{
	assert_true(bytes_equal(bytes, bytes_of_string(text)));
}

static void test_encrypted_values_name_their_key(void **state)
{
	struct scene *scene = *state;
	struct value_kind kind = kind_of(scene, BYTES_LITERAL("k8s:enc:aescbc:v1:key1:\x01\x02"));

	assert_int_equal(kind.form, VALUE_ENCRYPTED);
	assert_text(kind.provider, "aescbc");
	assert_text(kind.version, "v1");
	assert_text(kind.key, "key1");
	assert_text(kind.key_name, "aescbc:v1:key1");
	assert_false(kind.binds_key);
	assert_false(kind_of(scene, BYTES_LITERAL("k8s:enc:secretbox:v1:k:x")).binds_key);
	assert_true(kind_of(scene, BYTES_LITERAL("k8s:enc:aesgcm:v1:k:x")).binds_key);
	assert_true(kind_of(scene, BYTES_LITERAL("k8s:enc:newer:v1:k:x")).binds_key);
	kind = kind_of(scene, BYTES_LITERAL("k8s:enc:kms:v2:vault:\x0a\x01x\x12\x03id7\x1a\x01y"));
	assert_text(kind.key_name, "kms:v2:vault");
	assert_text(kind.key_id, "id7");
	assert_true(kind.binds_key);
	/* Cut short: encrypted all the same. */
	kind = kind_of(scene, BYTES_LITERAL("k8s:enc:aescbc:v1"));
	assert_int_equal(kind.form, VALUE_ENCRYPTED);
	assert_int_equal(kind.key_name.size, 0);
	kind = kind_of(scene, BYTES_LITERAL("k8s:enc:"));
	assert_int_equal(kind.form, VALUE_ENCRYPTED);
}

static void test_objects_name_their_version(void **state)
{
	struct scene *scene = *state;
	struct value_kind kind = kind_of(scene, BYTES_LITERAL(SECRET("Opaque")));

	assert_int_equal(kind.form, VALUE_OBJECT);
	assert_int_equal(kind.format, OBJECT_JSON);
	assert_text(kind.api_version, "v1");
	assert_text(kind.kind, "Secret");
	kind = kind_of(scene, BYTES_LITERAL(PROTO_SECRET("\x01x", "\x08")));
	assert_int_equal(kind.format, OBJECT_PROTO);
	assert_text(kind.kind, "Secret");
	assert_int_equal(kind_of(scene, BYTES_LITERAL("")).form, VALUE_FOREIGN);
	assert_int_equal(kind_of(scene, BYTES_LITERAL("hello")).form, VALUE_FOREIGN);
	assert_int_equal(kind_of(scene, BYTES_LITERAL("{\"a\":1}")).form, VALUE_FOREIGN);
}

static void test_what_a_site_cannot_read_is_held_back(void **state)
{
	struct scene *scene = *state;
	struct bytes old[] = {BYTES_LITERAL("v1beta1"), BYTES_LITERAL("v1")};
	struct bytes older[] = {BYTES_LITERAL("v1beta1")};
	struct bytes keys[] = {BYTES_LITERAL("aesgcm:v1:k")};
	struct storage_versions versions[] = {
		{BYTES_LITERAL("/registry/"), NULL, 0},
		{BYTES_LITERAL("/registry/secrets/"), older, 1},
		{BYTES_LITERAL("/registry/secrets/new/"), old, 2},
	};
	struct hello hello = {
		.versions = versions, .version_count = 3, .key_ids = keys, .key_id_count = 1};
	struct value_kind object = kind_of(scene, BYTES_LITERAL(SECRET("Opaque")));
	struct value_kind mine = kind_of(scene, BYTES_LITERAL("k8s:enc:aesgcm:v1:k:x"));
	struct value_kind other = kind_of(scene, BYTES_LITERAL("k8s:enc:aesgcm:v1:other:x"));
	struct bytes key = BYTES_LITERAL("/registry/secrets/a/b");

	assert_int_equal(hold_for(&hello, key, false, &object), HOLD_VERSION);
	assert_int_equal(hold_for(&hello, BYTES_LITERAL("/registry/secrets/new/b"), false, &object),
			 HOLD_NOT);
	assert_int_equal(hold_for(&hello, BYTES_LITERAL("/registry/pods/a/b"), false, &object),
			 HOLD_NOT);
	assert_int_equal(hold_for(&hello, BYTES_LITERAL("/other"), false, &object), HOLD_NOT);
	assert_int_equal(hold_for(&hello, key, false, &mine), HOLD_NOT);
	assert_int_equal(hold_for(&hello, key, true, &mine), HOLD_MOVED);
	assert_int_equal(hold_for(&hello, key, false, &other), HOLD_KEY);
	for (int hold = HOLD_VERSION; hold <= HOLD_MOVED; hold++)
		assert_true(strlen(hold_text((enum hold)hold)) > 20);
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, scene_open, scene_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE(test_each_winner_wins_as_its_name_says),
		SCENE(test_sites_that_nobody_knows_are_named),
		SCENE(test_an_object_may_name_its_own_owner),
		SCENE(test_a_write_that_changes_the_owner_is_shown_as_written),
		SCENE(test_a_pod_is_at_home_where_it_is_bound),
		SCENE(test_of_two_objects_with_one_name_the_right_one_stays),
		SCENE(test_changed_rules_show_the_same_state_otherwise_and_back),
		SCENE(test_secrets_of_one_cluster_do_not_travel),
		SCENE(test_encrypted_values_name_their_key),
		SCENE(test_objects_name_their_version),
		SCENE(test_what_a_site_cannot_read_is_held_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
