/* SPDX-License-Identifier: Apache-2.0 */
/* test_engine_models.c - what the models found (docs/models.md), on the engine itself. */
#include "tests/unit/sync/engine_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEY "/registry/example.com/widgets/default/w"
#define OTHER_KEY "/registry/example.com/widgets/default/other"
#define WIDGET                                                                                     \
	"{\"apiVersion\":\"example.com/v1\",\"kind\":\"Widget\",\"metadata\":{\"name\":\"w\","     \
	"\"namespace\":\"default\",\"uid\":\"u\"},\"spec\":{\"text\":\"-\"}}\n"

/* Model run barrier-spares-head.  Site 0 hears of a put and a delete of a key that it never had, by
 * a comparison, and so without a row; site 1 has the key, and has read all of site 0's log. */
static void test_a_barrier_also_stops_a_reader_at_the_head(void **state)
{
	struct engine_rig rig;

	(void)state;
	rig_new(&rig, 3, false);
	rig_connect(&rig, 0, 1);
	rig_put(&rig.sites[0], OTHER_KEY, WIDGET);
	rig_settle(&rig);
	rig_disconnect(&rig, 0, 1);
	rig_connect(&rig, 1, 2);
	rig_put(&rig.sites[2], KEY, WIDGET);
	rig_settle(&rig);
	assert_non_null(rig_get(&rig.sites[1], KEY));
	rig_disconnect(&rig, 1, 2);
	rig_delete(&rig.sites[2], KEY);
	rig_connect(&rig, 0, 2);
	rig_settle(&rig);
	rig_disconnect(&rig, 0, 2);
	rig_connect(&rig, 0, 1);
	rig_settle(&rig);
	rig_connect(&rig, 1, 2);
	rig_settle(&rig);
	assert_null(rig_get(&rig.sites[1], KEY));
	rig_expect_equal(&rig);
	rig_free(&rig);
}

/* --- backups ---------------------------------------------------------------------------------- */

static void copy_folder(const char *from, const char *to)
{
	char *command;

	assert_true(asprintf(&command, "rm -rf %s && cp -r %s %s", to, from, to) > 0);
	assert_int_equal(system(command), 0);
	free(command);
}

static void back_up(struct rig_site *site, const char *folder)
{
	rig_stop(site);
	copy_folder(site->dir, folder);
	rig_start(site);
}

/* Files copied back: the witness stays, and the disk is another. */
static void put_back(struct rig_site *site, const char *folder)
{
	rig_stop(site);
	copy_folder(folder, site->dir);
	site->disk[0]++;
	rig_start(site);
}

/* Model run star-rule-restore.  The hub hears of a put and a delete by a comparison with the site
 * that made both, without a row; that site is set back to before the delete, its cursor with it. */
static void test_a_restored_site_of_a_star_hears_of_its_own_delete(void **state)
{
	struct engine_rig rig;
	struct rig_site *leaf = &rig.sites[1];
	char folder[sizeof(leaf->dir) + 8];

	(void)state;
	rig_new(&rig, 2, true);
	snprintf(folder, sizeof(folder), "%s.saved", leaf->dir);
	rig_connect(&rig, 0, 1);
	rig_put(&rig.sites[0], OTHER_KEY, WIDGET);
	rig_settle(&rig);
	rig_disconnect(&rig, 0, 1);
	back_up(leaf, folder);
	rig_connect(&rig, 0, 1);
	rig_put(leaf, OTHER_KEY, WIDGET);
	rig_settle(&rig);
	rig_disconnect(&rig, 0, 1);
	put_back(leaf, folder); /* so that the hub compares when it comes back */
	rig_put(leaf, KEY, WIDGET);
	back_up(leaf, folder);
	rig_delete(leaf, KEY);
	rig_connect(&rig, 0, 1);
	rig_settle(&rig);
	rig_disconnect(&rig, 0, 1);
	put_back(leaf, folder);
	assert_non_null(rig_get(leaf, KEY));
	rig_connect(&rig, 0, 1);
	rig_settle(&rig);
	assert_null(rig_get(leaf, KEY));
	rig_expect_equal(&rig);
	rig_free(&rig);
	copy_folder("/dev/null", folder);
	remove(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_barrier_also_stops_a_reader_at_the_head),
		cmocka_unit_test(test_a_restored_site_of_a_star_hears_of_its_own_delete),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
