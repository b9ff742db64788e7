/* SPDX-License-Identifier: Apache-2.0 */
/* test_engine_models.c - what the models found (docs/models.md), on the engine itself. */
#include "tests/unit/sync/engine_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_barrier_also_stops_a_reader_at_the_head),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
