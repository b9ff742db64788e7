/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/codec/layout.h"

#include <stdio.h>

#define END                                                                                        \
	{                                                                                          \
		.name = NULL                                                                       \
	}
#define NAME_BYTES 16

/* managedFields: one entry for each manager, operation, version and subresource. */
static const struct field_layout metadata_fields[] = {
	{.name = "name", .number = 1},
	{.name = "generateName", .number = 2},
	{.name = "namespace", .number = 3},
	{.name = "selfLink", .number = 4},
	{.name = "uid", .number = 5},
	{.name = "resourceVersion", .number = 6},
	{.name = "generation", .number = 7},
	{.name = "creationTimestamp", .number = 8},
	{.name = "deletionTimestamp", .number = 9},
	{.name = "deletionGracePeriodSeconds", .number = 10},
	{.name = "labels", .number = 11, .mode = FIELD_MODE_MAP},
	{.name = "annotations", .number = 12, .mode = FIELD_MODE_MAP},
	{.name = "ownerReferences", .number = 13, .mode = FIELD_MODE_LIST, .keys = {{"uid", 4}}},
	{.name = "finalizers", .number = 14, .mode = FIELD_MODE_SET},
	{.name = "managedFields",
	 .number = 17,
	 .mode = FIELD_MODE_LIST,
	 .keys = {{"manager", 1}, {"operation", 2}, {"apiVersion", 3}, {"subresource", 8}}},
	END,
};

static const struct field_layout metadata = {.name = "metadata",
					     .number = 1,
					     .mode = FIELD_MODE_STRUCT,
					     .inner = metadata_fields,
					     .apart = true};

static const struct field_layout scaled_spec[] = {{.name = "replicas", .number = 1}, END};
static const struct field_layout scaled[] = {
	{.name = "spec", .number = 2, .mode = FIELD_MODE_STRUCT, .inner = scaled_spec}, END};

static const struct field_layout node_spec[] = {
	{.name = "unschedulable", .number = 4},
	{.name = "taints",
	 .number = 5,
	 .mode = FIELD_MODE_LIST,
	 .keys = {{"key", 1}, {"effect", 3}}},
	END,
};
static const struct field_layout node_status[] = {
	{.name = "conditions", .number = 4, .mode = FIELD_MODE_LIST, .keys = {{"type", 1}}}, END};
static const struct field_layout node[] = {
	{.name = "spec", .number = 2, .mode = FIELD_MODE_STRUCT, .inner = node_spec},
	{.name = "status", .number = 3, .mode = FIELD_MODE_STRUCT, .inner = node_status},
	END,
};

static const struct field_layout pod_status[] = {
	{.name = "conditions", .number = 2, .mode = FIELD_MODE_LIST, .keys = {{"type", 1}}}, END};
static const struct field_layout pod[] = {
	{.name = "status", .number = 3, .mode = FIELD_MODE_STRUCT, .inner = pod_status}, END};

static const struct field_layout namespace_spec[] = {
	{.name = "finalizers", .number = 1, .mode = FIELD_MODE_SET}, END};
static const struct field_layout namespace_status[] = {{.name = "phase", .number = 1}, END};
static const struct field_layout namespaces[] = {
	{.name = "spec", .number = 2, .mode = FIELD_MODE_STRUCT, .inner = namespace_spec},
	{.name = "status", .number = 3, .mode = FIELD_MODE_STRUCT, .inner = namespace_status},
	END,
};

/* Stored as JSON only, so protobuf's numbers are not needed. */
static const struct field_layout crd_status[] = {
	{.name = "conditions", .mode = FIELD_MODE_LIST, .keys = {{"type", 0}}},
	{.name = "storedVersions", .mode = FIELD_MODE_SET},
	END,
};
static const struct field_layout crd[] = {
	{.name = "status", .mode = FIELD_MODE_STRUCT, .inner = crd_status}, END};

static const struct field_layout data_maps[] = {
	{.name = "data", .number = 2, .mode = FIELD_MODE_MAP},
	{.name = "binaryData", .number = 3, .mode = FIELD_MODE_MAP},
	END,
};
static const struct field_layout secret[] = {{.name = "data", .number = 2, .mode = FIELD_MODE_MAP},
					     END};

static const struct kind_layout usual = {NULL, "spec,status", NULL};

static const struct kind_layout kinds[] = {
	{"CSIStorageCapacity", "nodeTopology,storageClassName,capacity,maximumVolumeSize", NULL},
	{"ClusterRole", "rules,aggregationRule", NULL},
	{"ClusterRoleBinding", "subjects,roleRef", NULL},
	{"ConfigMap", "data,binaryData,immutable", data_maps},
	{"ControllerRevision", "data,revision", NULL},
	{"CustomResourceDefinition", "spec,status", crd},
	{"Deployment", "spec,status", scaled},
	{"EndpointSlice", "endpoints,ports,addressType", NULL},
	{"Endpoints", "subsets", NULL},
	{"Event",
	 "involvedObject,reason,message,source,firstTimestamp,lastTimestamp,count,type,eventTime,"
	 "series,action,related,reportingComponent,reportingInstance",
	 NULL},
	{"MutatingWebhookConfiguration", "webhooks", NULL},
	{"Namespace", "spec,status", namespaces},
	{"Node", "spec,status", node},
	{"Pod", "spec,status", pod},
	{"PodTemplate", "template", NULL},
	{"PriorityClass", "value,globalDefault,description,preemptionPolicy", NULL},
	{"RangeAllocation", "range,data", NULL},
	{"ReplicaSet", "spec,status", scaled},
	{"ReplicationController", "spec,status", scaled},
	{"Role", "rules", NULL},
	{"RoleBinding", "subjects,roleRef", NULL},
	{"RuntimeClass", "handler,overhead,scheduling", NULL},
	{"Secret", "data,type,stringData,immutable", secret},
	{"ServiceAccount", "secrets,imagePullSecrets,automountServiceAccountToken", NULL},
	{"StatefulSet", "spec,status", scaled},
	{"StorageClass",
	 "provisioner,parameters,reclaimPolicy,mountOptions,allowVolumeExpansion,"
	 "volumeBindingMode,allowedTopologies",
	 NULL},
	{"ValidatingWebhookConfiguration", "webhooks", NULL},
	{"VolumeAttributesClass", "driverName,parameters", NULL},
};

static bool is_name(struct bytes name, const char *text)
{
	return bytes_equal(name, bytes_of_string(text));
}

const struct kind_layout *layout_of_kind(struct bytes kind)
{
	size_t low = 0, high = sizeof(kinds) / sizeof(*kinds);

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = bytes_compare(bytes_of_string(kinds[middle].kind), kind);

		if (!order)
			return &kinds[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return &usual;
}

static const struct field_layout *row_of(const struct field_layout *rows, struct bytes name)
{
	for (; rows && rows->name; rows++)
		if (is_name(name, rows->name))
			return rows;
	return NULL;
}

const struct field_layout *layout_of_field(const struct kind_layout *kind, struct bytes name)
{
	return is_name(name, "metadata") ? &metadata : row_of(kind->fields, name);
}

const struct field_layout *layout_of_inner(const struct field_layout *field, struct bytes name)
{
	return row_of(field->inner, name);
}

static bool number_name(struct work *work, uint32_t number, struct bytes *ret_name)
{
	char *text = arena_alloc(work->arena, NAME_BYTES);

	if (!text) {
		work->no_memory = true;
		return false;
	}
	*ret_name = bytes_of(text, (size_t)snprintf(text, NAME_BYTES, "#%u", number));
	return true;
}

bool layout_name(struct work *work, const struct kind_layout *kind, uint32_t number,
		 struct bytes *ret_name)
{
	const char *at = kind->names;

	if (number == 1) {
		*ret_name = BYTES_LITERAL("metadata");
		return true;
	}
	for (uint32_t n = 2; at; n++) {
		size_t size = strcspn(at, ",");

		if (n == number) {
			*ret_name = bytes_of(at, size);
			return true;
		}
		at = at[size] ? at + size + 1 : NULL;
	}
	return number_name(work, number, ret_name);
}

bool layout_inner_name(struct work *work, const struct field_layout *field, uint32_t number,
		       struct bytes *ret_name)
{
	for (const struct field_layout *row = field->inner; row && row->name; row++)
		if (row->number == number) {
			*ret_name = bytes_of_string(row->name);
			return true;
		}
	return number_name(work, number, ret_name);
}

unsigned layout_go_rank(bool of_metadata, struct bytes name)
{
	static const char *const top[] = {"kind", "apiVersion", "metadata",   "immutable",
					  "data", "binaryData", "stringData", "type",
					  "spec", "status",	NULL};
	unsigned rank = 0;

	if (of_metadata) {
		for (; metadata_fields[rank].name; rank++)
			if (is_name(name, metadata_fields[rank].name))
				break;
		return rank;
	}
	while (top[rank] && !is_name(name, top[rank]))
		rank++;
	return rank;
}
