/* SPDX-License-Identifier: Apache-2.0 */
/* topology.h - who is linked with whom, and who is a hub. */
#ifndef TESTS_SIM_TOPOLOGY_H
#define TESTS_SIM_TOPOLOGY_H

#include "tests/sim/site.h"

/* Links the sites that are there. */
void topology_make(struct world *world);
/* Links one more site with the peers of another. */
void topology_add_like(struct world *world, unsigned site, unsigned like);
/* The one site that this one is linked with; SITES_MAX: there are several, or
 * none. */
unsigned topology_only_peer(const struct world *world, unsigned site);

#endif
