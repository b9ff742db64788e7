/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/rules/internal.h"

/* Keys that are no objects: the apiserver's housekeeping, foreign keys, reserved prefixes. */
static const char why_outside[] =
	"no object below the registry: an apiserver's housekeeping, or a foreign key";
static const struct rule_column no_columns[] = {{.winner = WINNER_LWW}};
static const struct rule outside = {
	.flow = FLOW_NEVER,
	.columns = no_columns,
	.column_count = 1,
	.why = {(const uint8_t *)why_outside, sizeof(why_outside) - 1},
};

/* What stands behind the registry's prefix, in components; 0: no object. */
static size_t path_of(const struct rules *rules, struct bytes key,
		      struct bytes ret_components[RULE_COMPONENTS_MAX])
{
	struct bytes registry = rules->registry;
	size_t count;

	if (key.size <= registry.size || memcmp(key.data, registry.data, registry.size) != 0)
		return 0;
	count = components_of(bytes_of(key.data + registry.size, key.size - registry.size),
			      ret_components);
	/* A resource and a name at the least. */
	return count < 2 || !ret_components[count - 1].size ? 0 : count;
}

const struct rule *rules_find(const struct rules *rules, struct bytes key)
{
	struct bytes components[RULE_COMPONENTS_MAX];
	size_t count = path_of(rules, key, components);

	for (size_t i = 0; count && i < rules->row_count; i++)
		if (rule_matches(&rules->rows[i], components, count))
			return &rules->rows[i];
	return &outside;
}

/* A group with a dot, and services, are followed by the resource. */
static size_t resource_components(struct bytes first)
{
	bool two = memchr(first.data, '.', first.size) ||
		   bytes_equal(first, BYTES_LITERAL("services"));

	return two ? 2 : 1;
}

struct rules_key rules_key_of(const struct rules *rules, struct bytes key)
{
	struct bytes components[RULE_COMPONENTS_MAX];
	size_t count = path_of(rules, key, components), resource;
	struct rules_key parts = {0};

	if (!count || !components[0].size)
		return parts;
	resource = resource_components(components[0]);
	if (count <= resource || count > resource + 2)
		return parts;
	parts.resource = bytes_of(components[0].data,
				  (size_t)(components[resource - 1].data +
					   components[resource - 1].size - components[0].data));
	parts.name = components[count - 1];
	if (count == resource + 2)
		parts.namespace = components[resource];
	else if (bytes_equal(parts.resource, BYTES_LITERAL("namespaces")))
		parts.namespace = parts.name;
	return parts;
}

const struct rules_namespace *rules_namespace_of(const struct rules *rules, struct bytes name)
{
	size_t low = 0, high = rules->namespace_plain;

	if (!name.size)
		return NULL;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = bytes_compare(rules->namespaces[middle].pattern, name);

		if (!order)
			return &rules->namespaces[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (size_t i = rules->namespace_plain; i < rules->namespace_count; i++)
		if (glob_match(rules->namespaces[i].pattern, name))
			return &rules->namespaces[i];
	return NULL;
}

/* Types, opaque values and the order of fields go with the spec: they are one decision. */
static bool column_matches(const struct rule_column *column, const struct column_id *id)
{
	struct bytes field = id->field.size ? id->field : BYTES_LITERAL("spec");

	if (!column->field.size)
		return true;
	return bytes_equal(column->field, field) &&
	       (!column->sub.size || bytes_equal(column->sub, id->sub)) &&
	       (!column->entry.size || bytes_equal(column->entry, id->entry));
}

enum rules_winner columns_winner(const struct rule_column *columns, size_t count,
				 const struct column_id *id)
{
	for (size_t i = 0; i < count; i++)
		if (column_matches(&columns[i], id))
			return columns[i].winner;
	return WINNER_LWW;
}

const struct rule *rules_row(const struct rules *rules, size_t number)
{
	return number < rules->row_count ? &rules->rows[number] : NULL;
}

enum rules_profile rules_profile_of(const struct rules *rules)
{
	return rules->profile;
}

struct bytes rules_registry(const struct rules *rules)
{
	return rules->registry;
}
