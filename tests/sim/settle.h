/* SPDX-License-Identifier: Apache-2.0 */
/* settle.h - the end of a run: faults stop, and everything must fall silent,
 * equal and complete. */
#ifndef TESTS_SIM_SETTLE_H
#define TESTS_SIM_SETTLE_H

#include "tests/sim/site.h"

void world_settle(struct world *world);

#endif
