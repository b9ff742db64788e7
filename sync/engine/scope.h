/* SPDX-License-Identifier: Apache-2.0 */
/* scope.h - the rules together with what a site has heard of the others: which keys travel, in
 * which group, and whose value is shown.
 *
 * Immutable once made; the engine makes a new one when a rule or a hub comes to be known, and hands
 * it to the writer in an op, which shows everything anew.
 * Ownership: scope_new .. scope_free; rules are borrowed. */
#ifndef SYNC_ENGINE_SCOPE_H
#define SYNC_ENGINE_SCOPE_H

#include "sync/group.h"
#include "sync/rules/rules.h"

struct scope {
	struct rules_view view;
	struct rules_site *sites; /* the hubs */
	size_t site_count;
};

enum err scope_new(const struct rules *rules, const struct site *clouds, size_t cloud_count,
		   struct scope **ret_scope);
void scope_free(struct scope *scope);

/* Whether the key travels at all. */
bool scope_has(const struct scope *scope, struct bytes key, enum group *ret_group);

struct key_policy { /* policy.context points into it */
	struct rules_subject subject;
	struct policy policy;
};

void scope_policy(const struct scope *scope, struct bytes key, struct key_policy *ret_policy);

#endif
