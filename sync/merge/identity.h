/* SPDX-License-Identifier: Apache-2.0 */
/* identity.h - one name, several uids: the same object made twice, or two objects.
 *
 * Two apiservers that each began with an empty store have made some 150 objects of the same names,
 * equal but for their uids and times.  Such are adopted: one identity is shown, and nobody needs to
 * be told.  What else is under one name is a conflict.
 *
 * Pure.  Errors: NOMEM (a fault). */
#ifndef SYNC_MERGE_IDENTITY_H
#define SYNC_MERGE_IDENTITY_H

#include "sync/merge/visible.h"

struct identity {
	size_t uids;  /* of the state's births; 0: there is no object */
	bool adopted; /* several, equal but for what tells one object from another */
};

/* Compares what would be shown of each uid, without uid, creationTimestamp, resourceVersion,
 * generation and managedFields. */
enum err state_identity(const struct state *state, const struct policy *policy, struct arena *arena,
			struct identity *ret_identity);

/* Whether watchers must be told of a delete and then of a put, each in a revision of its own:
 * they handle a uid that changes under a name badly. */
bool visible_uid_changed(const struct visible *before, const struct visible *after);

#endif
