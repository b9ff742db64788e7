/* SPDX-License-Identifier: Apache-2.0 */
/* test_visible.c - what is shown of columns that depend on each other, by example. */
#include "sync/merge/identity.h"
#include "sync/merge/visible.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/sync/small_sites.h"

/* Site 0 before site 1 before site 2, in every column. */
static int first_wins(const struct policy *policy, const struct facts *facts,
		      const struct column_id *id, const struct actor *actor)
{
	(void)policy;
	(void)facts;
	(void)id;
	return -actor->site.bytes[0];
}

static int last_wins(const struct policy *policy, const struct facts *facts,
		     const struct column_id *id, const struct actor *actor)
{
	return -first_wins(policy, facts, id, actor);
}

/* Only the spec is ranked. */
static int spec_first_wins(const struct policy *policy, const struct facts *facts,
			   const struct column_id *id, const struct actor *actor)
{
	return bytes_equal(id->field, BYTES_LITERAL("spec")) ? first_wins(policy, facts, id, actor)
							     : 0;
}

/* Of the specs, site 2 before site 0 before site 1. */
static int spec_middle_loses(const struct policy *policy, const struct facts *facts,
			     const struct column_id *id, const struct actor *actor)
{
	(void)policy;
	(void)facts;
	return bytes_equal(id->field, BYTES_LITERAL("spec")) ? (actor->site.bytes[0] * 2 + 1) % 3
							     : 0;
}

static void meet(struct small *small)
{
	for (unsigned round = 0; round < 2; round++)
		for (unsigned to = 0; to < SITES; to++)
			for (unsigned from = 0; from < SITES; from++)
				if (to != from)
					get(small, to, from);
}

static void assert_all_show(struct small *small, const char *text)
{
	for (unsigned site = 0; site < SITES; site++)
		assert_shows(small, site, text);
}

#define APPLIED(text)                                                                              \
	"\"annotations\":{\"kubectl.kubernetes.io/last-applied-configuration\":\"" text "\"},"

static void test_what_was_applied_last_goes_with_the_spec(void **state)
{
	struct small *small = *state;

	small->policy.rank = spec_middle_loses;
	put(small, 0, 1, OBJECT(APPLIED("old"), ",\"spec\":0"));
	meet(small);
	put(small, 0, 2, OBJECT(APPLIED("a"), ",\"spec\":1"));
	put(small, 1, 3, OBJECT(APPLIED("b"), ",\"spec\":2"));
	put(small, 2, 9, OBJECT(APPLIED("c"), ",\"spec\":0"));
	meet(small);
	/* Not the newest, nor that of the site whose spec would win: kubectl would delete what this
	 * spec has. */
	assert_all_show(small, OBJECT(APPLIED("a"), ",\"spec\":1"));
}

static void test_what_was_applied_with_a_hidden_spec_is_hidden(void **state)
{
	struct small *small = *state;

	small->policy.rank = spec_first_wins;
	put(small, 0, 1, OBJECT("", ",\"spec\":0"));
	meet(small);
	put(small, 0, 2, OBJECT("", ",\"spec\":1"));
	put(small, 1, 3, OBJECT(APPLIED("b"), ",\"spec\":2"));
	meet(small);
	assert_all_show(small, OBJECT("", ",\"spec\":1"));
	/* Nothing is lost: other rules show the other. */
	small->policy.rank = last_wins;
	assert_all_show(small, OBJECT(APPLIED("b"), ",\"spec\":2"));
}

#define MANAGER(name, time, more)                                                                  \
	"{\"manager\":\"" name "\",\"operation\":\"Update\",\"time\":\"" time "\"" more "}"
#define MANAGED(list) "\"managedFields\":[" list "],"
#define OF_STATUS ",\"subresource\":\"status\""

static void test_managers_of_a_hidden_spec_are_hidden(void **state)
{
	struct small *small = *state;

	small->policy.rank = spec_first_wins;
	put(small, 0, 1, OBJECT(MANAGED(MANAGER("a", "1", "")), ",\"spec\":0,\"status\":0"));
	meet(small);
	put(small, 0, 2, OBJECT(MANAGED(MANAGER("a", "2", "")), ",\"spec\":1,\"status\":0"));
	put(small, 1, 3,
	    OBJECT(MANAGED(MANAGER("a", "1", "") "," MANAGER("b", "3", "") "," MANAGER(
			   "kubelet", "3", OF_STATUS)),
		   ",\"spec\":2,\"status\":1"));
	meet(small);
	/* The manager of the status stays: the status that it wrote is shown. */
	assert_all_show(
		small, OBJECT(MANAGED(MANAGER("a", "2", "") "," MANAGER("kubelet", "3", OF_STATUS)),
			      ",\"spec\":1,\"status\":1"));
	/* A write that has nothing to do with it leaves the siblings of the spec. */
	put(small, 1, 4,
	    OBJECT(MANAGED(MANAGER("a", "2", "") "," MANAGER("kubelet", "4", OF_STATUS)),
		   ",\"spec\":1,\"status\":2"));
	meet(small);
	small->policy.rank = last_wins;
	for (unsigned site = 0; site < SITES; site++) {
		struct visible visible;

		assert_non_null(strstr(show(small, site, &visible), "\"spec\":2"));
	}
}

#define OWNER(uid, more) "{\"kind\":\"K\",\"name\":\"n\",\"uid\":\"" uid "\"" more "}"
#define OWNED(list) "\"ownerReferences\":[" list "],"
#define CONTROLS ",\"controller\":true"

static void test_of_two_controllers_the_one_of_the_shown_spec_is_shown(void **state)
{
	struct small *small = *state;

	small->policy.rank = spec_first_wins;
	put(small, 0, 1, OBJECT(OWNED(OWNER("o", "")), ",\"spec\":0"));
	meet(small);
	put(small, 0, 2, OBJECT(OWNED(OWNER("o", "") "," OWNER("x", CONTROLS)), ",\"spec\":1"));
	put(small, 1, 3, OBJECT(OWNED(OWNER("o", "") "," OWNER("y", CONTROLS)), ",\"spec\":2"));
	meet(small);
	assert_all_show(small,
			OBJECT(OWNED(OWNER("o", "") "," OWNER("x", CONTROLS)), ",\"spec\":1"));
	small->policy.rank = last_wins;
	assert_all_show(small,
			OBJECT(OWNED(OWNER("o", "") "," OWNER("y", CONTROLS)), ",\"spec\":2"));
}

static void test_owners_that_do_not_control_are_joined(void **state)
{
	struct small *small = *state;

	put(small, 0, 1, OBJECT("", ",\"spec\":0"));
	meet(small);
	put(small, 0, 2, OBJECT(OWNED(OWNER("x", CONTROLS)), ",\"spec\":0"));
	put(small, 1, 3, OBJECT(OWNED(OWNER("y", "")), ",\"spec\":0"));
	meet(small);
	assert_all_show(small,
			OBJECT(OWNED(OWNER("x", CONTROLS) "," OWNER("y", "")), ",\"spec\":0"));
}

static void test_two_controllers_of_one_write_are_shown_as_written(void **state)
{
	struct small *small = *state;

	put(small, 0, 1, OBJECT(OWNED(OWNER("x", CONTROLS)), ",\"spec\":0"));
	put(small, 0, 2,
	    OBJECT(OWNED(OWNER("x", CONTROLS) "," OWNER("y", CONTROLS)), ",\"spec\":0"));
	assert_shows(small, 0,
		     OBJECT(OWNED(OWNER("x", CONTROLS) "," OWNER("y", CONTROLS)), ",\"spec\":0"));
}

static void test_an_atomic_object_is_never_mixed(void **state)
{
	struct small *small = *state;

	small->policy.rank = first_wins;
	small->policy.atomic = true;
	put(small, 0, 1, OBJECT("\"labels\":{\"a\":\"0\"},", ",\"spec\":0,\"status\":0"));
	meet(small);
	/* Different columns: without atomic they would be joined. */
	put(small, 0, 2, OBJECT("\"labels\":{\"a\":\"0\"},", ",\"spec\":1,\"status\":0"));
	put(small, 1, 3,
	    OBJECT("\"labels\":{\"a\":\"0\",\"b\":\"1\"},", ",\"spec\":0,\"status\":1"));
	meet(small);
	assert_all_show(small, OBJECT("\"labels\":{\"a\":\"0\"},", ",\"spec\":1,\"status\":0"));
	small->policy.rank = last_wins;
	assert_all_show(
		small, OBJECT("\"labels\":{\"a\":\"0\",\"b\":\"1\"},", ",\"spec\":0,\"status\":1"));
}

#define ENDING "\"deletionTimestamp\":\"2026-01-01T00:00:00Z\","
#define HELD "\"finalizers\":[\"x\"],"

static void test_a_deletion_of_an_atomic_object_is_not_undone(void **state)
{
	struct small *small = *state;
	struct visible visible;

	small->policy.rank = first_wins;
	small->policy.atomic = true;
	put(small, 0, 1, OBJECT(HELD, ",\"spec\":0"));
	meet(small);
	put(small, 0, 2, OBJECT(HELD, ",\"spec\":1"));
	put(small, 1, 3, OBJECT(ENDING HELD, ",\"spec\":0"));
	meet(small);
	assert_all_show(small, OBJECT(ENDING HELD, ",\"spec\":1"));
	put(small, 0, 4, OBJECT(ENDING HELD, ",\"spec\":2"));
	put(small, 1, 5, OBJECT(ENDING, ",\"spec\":1"));
	meet(small);
	/* Its end does not wait for a finalizer that was removed. */
	assert_all_show(small, OBJECT(ENDING, ",\"spec\":2"));
	show(small, 2, &visible);
	assert_true(visible.deletion_due);
}

/* --- identity --------------------------------------------------------------------------------- */

#define TWIN(uid, born, more, rest)                                                                \
	"{\"apiVersion\":\"v1\",\"kind\":\"W\",\"metadata\":{\"creationTimestamp\":\"" born        \
	"\"," more "\"uid\":\"" uid "\"}" rest "}\n"

static struct identity identity_of(struct small *small, unsigned site)
{
	struct identity identity;

	assert_int_equal(
		state_identity(&small->states[site], &small->policy, &small->arena, &identity),
		ERR_OK);
	return identity;
}

static void test_the_same_object_made_twice_is_adopted(void **state)
{
	struct small *small = *state;
	struct identity identity;

	assert_int_equal(identity_of(small, 0).uids, 0);
	put(small, 0, 1,
	    TWIN("u", "2026-01-02T00:00:00Z", MANAGED(MANAGER("a", "1", "")), ",\"spec\":1"));
	assert_int_equal(identity_of(small, 0).uids, 1);
	assert_false(identity_of(small, 0).adopted);
	put(small, 1, 2, TWIN("v", "2026-01-01T00:00:00Z", "\"generation\":2,", ",\"spec\":1"));
	meet(small);
	identity = identity_of(small, 2);
	assert_int_equal(identity.uids, 2);
	assert_true(identity.adopted);
	/* The older one. */
	assert_all_show(small,
			TWIN("v", "2026-01-01T00:00:00Z", "\"generation\":2,", ",\"spec\":1"));
}

static void test_two_objects_of_one_name_are_a_conflict(void **state)
{
	struct small *small = *state;

	put(small, 0, 1, TWIN("u", "2026-01-02T00:00:00Z", "", ",\"spec\":1"));
	put(small, 1, 2, TWIN("v", "2026-01-01T00:00:00Z", "", ",\"spec\":2"));
	put(small, 2, 2, TWIN("w", "2026-01-03T00:00:00Z", "", ",\"spec\":1"));
	meet(small);
	assert_int_equal(identity_of(small, 0).uids, 3);
	assert_false(identity_of(small, 0).adopted);
	/* One that has more says something else, too. */
	put(small, 0, 3, NULL);
	meet(small);
	put(small, 0, 4, TWIN("u", "2026-01-02T00:00:00Z", "", ",\"spec\":1"));
	put(small, 1, 5, TWIN("v", "2026-01-01T00:00:00Z", "", ",\"spec\":1,\"status\":1"));
	meet(small);
	assert_int_equal(identity_of(small, 0).uids, 2);
	assert_false(identity_of(small, 0).adopted);
}

static void test_a_changed_uid_is_told_from_a_change(void **state)
{
	struct visible none = {0};
	struct visible u = {.present = true, .uid = BYTES_LITERAL("u")};
	struct visible v = {.present = true, .uid = BYTES_LITERAL("v")};

	(void)state;
	assert_true(visible_uid_changed(&u, &v));
	assert_false(visible_uid_changed(&u, &u));
	assert_false(visible_uid_changed(&none, &u));
	assert_false(visible_uid_changed(&u, &none));
}

#define SMALL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SMALL(test_what_was_applied_last_goes_with_the_spec),
		SMALL(test_what_was_applied_with_a_hidden_spec_is_hidden),
		SMALL(test_managers_of_a_hidden_spec_are_hidden),
		SMALL(test_of_two_controllers_the_one_of_the_shown_spec_is_shown),
		SMALL(test_owners_that_do_not_control_are_joined),
		SMALL(test_two_controllers_of_one_write_are_shown_as_written),
		SMALL(test_an_atomic_object_is_never_mixed),
		SMALL(test_a_deletion_of_an_atomic_object_is_not_undone),
		SMALL(test_the_same_object_made_twice_is_adopted),
		SMALL(test_two_objects_of_one_name_are_a_conflict),
		cmocka_unit_test(test_a_changed_uid_is_told_from_a_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
