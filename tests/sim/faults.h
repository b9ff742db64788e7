/* SPDX-License-Identifier: Apache-2.0 */
/* faults.h - the steps of a plan, each done to the world as it then is. */
#ifndef TESTS_SIM_FAULTS_H
#define TESTS_SIM_FAULTS_H

#include "tests/sim/site.h"

void step_do(struct world *world, const struct step *step);
const char *step_name(enum step_kind kind);

/* After sites were set back or destroyed: which writes are nowhere any more. */
void find_lost(struct world *world);

#endif
