/* SPDX-License-Identifier: Apache-2.0 */
/* store_rig.h - a store in a temporary folder with a clock that only moves when told to.
 *
 * Ownership: rig_open() .. rig_close(), which removes the folder.  Threads: the test's; rig_do()
 * may be called from several. */
#ifndef TESTS_HARNESS_STORE_RIG_H
#define TESTS_HARNESS_STORE_RIG_H

#include "shim/store/store.h"

#include <stdatomic.h>

struct rig {
	struct store_config config;
	struct clock clock;
	_Atomic int64_t now_ns;
	char dir[128];
	struct store *store;
	struct store_reader *reader;
	struct arena arena; /* for results; emptied by rig_forget() */
};

void rig_open(struct rig *rig); /* opens and starts */
void rig_close(struct rig *rig);
/* Stops and opens again, as a restart does. */
void rig_reopen(struct rig *rig);
/* The two halves, for tests that change the configuration or the files in between. */
void rig_down(struct rig *rig);
enum err rig_up(struct rig *rig, char problem[STORE_PROBLEM_BYTES]);
void rig_forget(struct rig *rig);
void rig_remove_folder(const char *path);

/* Submits and waits; returns op->err. */
enum err rig_do(struct rig *rig, struct op *op);
/* Submits without waiting; rig_wait() afterwards. */
struct rig_op {
	struct op op;
	struct rig *rig;
	_Atomic bool done;
};
enum err rig_submit(struct rig *rig, struct rig_op *op);
enum err rig_wait(struct rig_op *op);

int64_t rig_put(struct rig *rig, const char *key, const char *value);  /* the revision */
int64_t rig_delete(struct rig *rig, const char *key, const char *end); /* how many */
enum err rig_compact(struct rig *rig, int64_t revision, bool physical);
enum err rig_grant(struct rig *rig, int64_t id, int64_t ttl_seconds);
/* The value at a revision (0: now) in the rig's arena; NULL when there is none. */
const struct kv *rig_get(struct rig *rig, const char *key, int64_t revision);
/* Moves the clock and lets the writer revoke what is due. */
void rig_advance(struct rig *rig, int64_t ns);

bool rig_kv_equal(const struct kv *a, const struct kv *b);
/* Prints the first difference and returns false. */
bool rig_range_equal(const struct range_result *a, const struct range_result *b);
bool rig_op_equal(const struct op *a, const struct op *b);

/* Random numbers that a printed seed repeats. */
struct rig_random {
	uint64_t state;
};
uint64_t rig_random(struct rig_random *random, uint64_t below);
uint64_t rig_seed(void); /* KEDGE_SEED, or a new one, printed */

#endif
