/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/engine/scope.h"

#include <stdlib.h>

enum err scope_new(const struct rules *rules, const struct site *clouds, size_t cloud_count,
		   struct scope **ret_scope)
{
	struct scope *scope = calloc(1, sizeof(*scope));

	if (scope)
		scope->sites = calloc(cloud_count + 1, sizeof(*scope->sites));
	if (!scope || !scope->sites) {
		scope_free(scope);
		return fault(ERR_NOMEM, "the scope of %zu hubs", cloud_count);
	}
	for (size_t i = 0; i < cloud_count; i++)
		scope->sites[i] = (struct rules_site){.site = clouds[i], .cloud = true};
	scope->site_count = cloud_count;
	scope->view = (struct rules_view){
		.rules = rules, .sites = scope->sites, .site_count = cloud_count};
	*ret_scope = scope;
	return ERR_OK;
}

void scope_free(struct scope *scope)
{
	if (scope)
		free(scope->sites);
	free(scope);
}

bool scope_has(const struct scope *scope, struct bytes key, enum group *ret_group)
{
	const struct rule *rule = rules_find(scope->view.rules, key);

	*ret_group = rule->group;
	return rule->flow != FLOW_NEVER;
}

void scope_policy(const struct scope *scope, struct bytes key, struct key_policy *ret_policy)
{
	rules_subject_of(&scope->view, key, &ret_policy->subject);
	rules_policy(&ret_policy->subject, &ret_policy->policy);
}
