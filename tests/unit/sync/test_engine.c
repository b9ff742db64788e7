/* SPDX-License-Identifier: Apache-2.0 */
/* test_engine.c - sites that write apart and meet, over the real store. */
#include "tests/unit/sync/engine_rig.h"
#include "tests/unit/sync/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEY "/registry/example.com/widgets/default/w"

static const char *widget(const char *uid, const char *spec, const char *status)
{
	static char text[4096];

	snprintf(text, sizeof(text),
		 "{\"apiVersion\":\"example.com/v1\",\"kind\":\"Widget\",\"metadata\":{"
		 "\"creationTimestamp\":\"2026-01-01T00:00:00Z\",\"generation\":1,\"name\":\"w\","
		 "\"namespace\":\"default\",\"uid\":\"%s\"},\"spec\":{\"text\":\"%s\"},"
		 "\"status\":{\"text\":\"%s\"}}\n",
		 uid, spec, status);
	return text;
}

static void test_a_put_comes_to_the_other_site(void **state)
{
	struct engine_rig rig;

	(void)state;
	rig_new(&rig, 2, false);
	rig_connect(&rig, 0, 1);
	rig_settle(&rig);
	rig_put(&rig.sites[0], KEY, widget("u", "one", "-"));
	rig_settle(&rig);
	assert_string_equal(rig_get(&rig.sites[1], KEY), widget("u", "one", "-"));
	rig_delete(&rig.sites[1], KEY);
	rig_settle(&rig);
	assert_null(rig_get(&rig.sites[0], KEY));
	rig_free(&rig);
}

static void test_spec_and_status_written_apart_are_both_there(void **state)
{
	struct engine_rig rig;

	(void)state;
	rig_new(&rig, 2, false);
	rig_connect(&rig, 0, 1);
	rig_put(&rig.sites[0], KEY, widget("u", "one", "-"));
	rig_settle(&rig);
	rig_disconnect(&rig, 0, 1);
	rig_put(&rig.sites[0], KEY, widget("u", "two", "-"));
	rig_put(&rig.sites[1], KEY, widget("u", "one", "ready"));
	rig_connect(&rig, 0, 1);
	rig_settle(&rig);
	rig_expect_equal(&rig);
	assert_string_equal(rig_get(&rig.sites[0], KEY), widget("u", "two", "ready"));
	rig_free(&rig);
}

static void test_never_synced_keys_stay(void **state)
{
	struct engine_rig rig;

	(void)state;
	rig_new(&rig, 2, false);
	rig_connect(&rig, 0, 1);
	rig_settle(&rig);
	rig_put(&rig.sites[0], "/registry/leases/kube-system/kube-scheduler", "x");
	rig_put(&rig.sites[0], "/other", "x");
	rig_settle(&rig);
	assert_null(rig_get(&rig.sites[1], "/registry/leases/kube-system/kube-scheduler"));
	assert_null(rig_get(&rig.sites[1], "/other"));
	rig_free(&rig);
}

static void random_write(struct rig_site *site, unsigned keys)
{
	char key[128], text[32];

	snprintf(key, sizeof(key), KEY "%u", random_below(keys));
	snprintf(text, sizeof(text), "%u", random_below(1000));
	if (random_below(5) == 0)
		rig_delete(site, key);
	else if (random_below(2))
		rig_put(site, key, widget("u", text, "-"));
	else
		rig_put(site, key, widget("u", "-", text));
}

static void connect_all(struct engine_rig *rig, bool star)
{
	for (size_t i = 0; i < rig->site_count; i++)
		for (size_t j = i + 1; j < rig->site_count; j++)
			if (!star || i == 0)
				rig_connect(rig, i, j);
}

static void disconnect_all(struct engine_rig *rig)
{
	for (size_t i = 0; i < rig->site_count; i++)
		for (size_t j = i + 1; j < rig->site_count; j++)
			rig_disconnect(rig, i, j);
	rig->link_count = 0;
}

static void run_random(bool star, size_t sites)
{
	struct engine_rig rig;

	rig_new(&rig, sites, star);
	for (unsigned round = 0; round < 6; round++) {
		connect_all(&rig, star);
		for (unsigned i = 0; i < 10; i++)
			random_write(&rig.sites[random_below((unsigned)sites)], 5);
		if (random_below(2))
			rig_settle(&rig);
		disconnect_all(&rig);
		for (unsigned i = 0; i < 10; i++)
			random_write(&rig.sites[random_below((unsigned)sites)], 5);
		if (random_below(3) == 0)
			rig_compact(&rig.sites[random_below((unsigned)sites)]);
		if (random_below(3) == 0) {
			struct rig_site *site = &rig.sites[random_below((unsigned)sites)];

			rig_stop(site);
			rig_start(site);
		}
	}
	connect_all(&rig, star);
	rig_settle(&rig);
	rig_expect_equal(&rig);
	rig_free(&rig);
}

static void test_random_stars_come_to_rest_equal(void **state)
{
	(void)state;
	random_start("stars");
	for (unsigned i = 0; i < random_runs(10); i++)
		run_random(true, 2 + random_below(3));
}

static void test_random_meshes_come_to_rest_equal(void **state)
{
	(void)state;
	random_start("meshes");
	for (unsigned i = 0; i < random_runs(10); i++)
		run_random(false, 2 + random_below(3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_put_comes_to_the_other_site),
		cmocka_unit_test(test_spec_and_status_written_apart_are_both_there),
		cmocka_unit_test(test_never_synced_keys_stay),
		cmocka_unit_test(test_random_stars_come_to_rest_equal),
		cmocka_unit_test(test_random_meshes_come_to_rest_equal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
