/* SPDX-License-Identifier: Apache-2.0 */
/* reading.h - a row of a site's log in the terms of the oracle, and whether a
 * client's write did to the state what a write may do.
 *
 * Here, and nowhere else, the simulator reads sync's own forms (row_meta, meta,
 * object_split). Threads: one. */
#ifndef TESTS_SIM_READING_H
#define TESTS_SIM_READING_H

#include "tests/sim/site.h"

struct reading {
	struct fact_set facts;
	uint64_t claims[CLAIMS_SEEN_MAX];
	size_t claim_count;
	size_t state_bytes;
	struct actor writer; /* of the row's own dot, if a value has it */
};

/* The state in a row's meta beside its visible value, by a site's dots; `fresh`
 * is the number of the write that the row is, if it is one.  Fails the run for
 * what nobody wrote. */
void read_state(struct sim_site *site, unsigned key, const struct log_row *row,
		const struct bytes *shown, bool local, struct reading *ret_reading);

struct written {
	struct bytes seen; /* counts where was_live */
	bool was_live;
	struct bytes value; /* counts where not deleted */
	bool deleted;
	unsigned number;
};

/* NULL, or what is wrong. */
const char *check_write(const struct written *written, const struct fact_set *before,
			const struct fact_set *after);

/* Whether each column of a visible value is one of the facts; NULL, or what is
 * wrong. */
const char *check_shown(enum thing_kind kind, struct bytes value, const struct fact_set *facts);

#endif
