/* SPDX-License-Identifier: Apache-2.0 */
/* thing.h - the objects that the simulated clients write, as they would know
 * them: plain fields whose contents are numbers, so that it can be told of each
 * which write put it there.
 *
 * The stored forms are Kubernetes': protobuf in its envelope, JSON as custom
 * resources have it, and plain text.  Written without the codec of sync, which
 * has to cut and mix them.
 *
 * Values, no ownership.  Reading gives false for anything that these clients
 * could not have written column by column: a field that is missing, text that
 * belongs to no number. */
#ifndef TESTS_SIM_THING_H
#define TESTS_SIM_THING_H

#include "shim/base/buffer.h"

#define THING_LABELS 3
#define THING_NOTES 2 /* annotations */
#define THING_FINALIZERS 2
#define THING_ENTRIES 3
#define THING_CONDITIONS 2
#define THING_BYTES_MAX (64 * 1024)

enum thing_kind {
	THING_CONFIG, /* ConfigMap: entries */
	THING_DEPLOY, /* Deployment: spec, replicas, status */
	THING_NODE,   /* Node: spec, status, conditions */
	THING_WIDGET, /* a custom resource in JSON: spec, status */
	THING_EVENT,  /* Event: spec (its reason) */
	THING_TEXT,   /* not an object: spec */
	THING_KINDS
};

struct thing {
	enum thing_kind kind;
	uint32_t uid; /* THING_TEXT has none */
	int64_t generation;
	uint32_t created; /* seconds */
	uint32_t deleted; /* seconds; 0: is not being deleted */
	bool has_grace;
	uint32_t grace;
	bool finalizers[THING_FINALIZERS];
	uint32_t labels[THING_LABELS]; /* 0: not there, as in all that follow */
	uint32_t notes[THING_NOTES];
	uint32_t entries[THING_ENTRIES];
	uint32_t conditions[THING_CONDITIONS];
	uint32_t replicas;
	uint32_t spec;
	uint32_t status;
};

bool thing_has_uid(enum thing_kind kind);
void thing_put(const struct thing *thing, struct buffer *buffer);
bool thing_read(enum thing_kind kind, struct bytes value, struct thing *ret_thing);
const char *thing_kind_name(enum thing_kind kind);

#endif
