/* SPDX-License-Identifier: Apache-2.0 */
/* clients.h - what writes at the sites: apiservers that update what they read
 * by comparing mod_revision, and other users of etcd.
 *
 * Ownership: a client_op is the site's from client_write() on, until
 * client_done() or, when its answer never came, until the site is freed. */
#ifndef TESTS_SIM_CLIENTS_H
#define TESTS_SIM_CLIENTS_H

#include "tests/sim/site.h"

/* Reads and writes at a site; what, follows from the chance. */
void client_write(struct sim_site *site, uint64_t chance);
/* The op is done: checks the answer, and tries again where a CAS was lost. */
void client_done(struct sim_site *site, struct client_op *client);
void client_retry(struct sim_site *site, struct client_op *client);
/* How many keys a done op has changed. */
unsigned client_changed(const struct client_op *client);
void client_op_free(struct client_op *client);

/* Compacts the site's log, at a revision that follows from the chance. */
void client_compact(struct sim_site *site, uint64_t chance);
void client_clear_alarm(struct sim_site *site);

/* The keys of a run. */
void clients_make_keys(struct world *world);

#endif
