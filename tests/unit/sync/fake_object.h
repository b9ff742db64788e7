/* SPDX-License-Identifier: Apache-2.0 */
/* fake_object.h - random Kubernetes objects as plain trees, and their encodings, written without
 * any code of sync/codec.  Children of structs are declared in the order of their field numbers,
 * which is also the order that JSON of Go's structs has here. */
#ifndef TESTS_UNIT_SYNC_FAKE_OBJECT_H
#define TESTS_UNIT_SYNC_FAKE_OBJECT_H

#include "shim/base/buffer.h"
#include "tests/unit/sync/random.h"

#include <assert.h>

enum node_type { NODE_TEXT, NODE_NUMBER, NODE_TRUE, NODE_STRUCT, NODE_MAP, NODE_LIST };

struct node {
	char name[28];
	unsigned number; /* protobuf's, and a number's value */
	enum node_type type;
	char text[24];
	struct node *children;
	size_t count;
};

/* SORTED: as Go writes a map; else as it writes a struct. */
enum encoding { ENCODING_PROTO, ENCODING_JSON, ENCODING_JSON_SORTED, ENCODING_CBOR, ENCODINGS };

#define FAKE_KINDS 6
static const char *const fake_kinds[FAKE_KINDS] = {"ConfigMap", "Deployment", "Node",
						   "Pod",	"Namespace",  "Widget"};

static inline struct node *fake_child(struct node *parent, const char *name, unsigned number,
				      enum node_type type)
{
	struct node *node;

	parent->children =
		realloc(parent->children, (parent->count + 1) * sizeof(*parent->children));
	assert(parent->children);
	node = &parent->children[parent->count++];
	*node = (struct node){.number = number, .type = type};
	snprintf(node->name, sizeof node->name, "%s", name);
	return node;
}

static inline void fake_text(struct node *parent, const char *name, unsigned number)
{
	struct node *node = fake_child(parent, name, number, NODE_TEXT);

	snprintf(node->text, sizeof node->text, "%.*s%x", (int)random_below(8), "some-text",
		 random_below(4096));
}

static inline void fake_map(struct node *parent, const char *name, unsigned number)
{
	unsigned present = random_below(32);
	struct node *map;

	if (!present && random_below(2))
		return; /* else an empty one, of which protobuf writes nothing */
	map = fake_child(parent, name, number, NODE_MAP);
	for (unsigned i = 0; i < 5; i++)
		if (present >> i & 1) {
			char key[8]; /* of several lengths, sorted */

			snprintf(key, sizeof key, "%c%.*s", (char)('a' + i), (int)i % 3, "bcd");
			fake_text(map, key, 0);
		}
}

/* Elements that are structs with these fields, or plain texts; in any order, none twice. */
static inline void fake_list(struct node *parent, const char *name, unsigned number,
			     const char *const *fields, const unsigned *numbers, size_t field_count)
{
	unsigned count = random_below(4), first = random_below(5);
	struct node *list;

	if (!count && random_below(2))
		return;
	list = fake_child(parent, name, number, NODE_LIST);
	for (unsigned i = 0; i < count; i++) {
		unsigned id = (first + 2 * i) % 5;
		struct node *element;

		if (!field_count) {
			element = fake_child(list, "", 0, NODE_TEXT);
			snprintf(element->text, sizeof element->text, "element-%u", id);
			continue;
		}
		element = fake_child(list, "", 0, NODE_STRUCT);
		for (size_t f = 0; f < field_count; f++) {
			struct node *field = fake_child(element, fields[f], numbers[f], NODE_TEXT);

			snprintf(field->text, sizeof field->text, "%s-%u", fields[f],
				 f ? random_below(3) : id);
		}
	}
}

/* To some elements of the list added last, if one was. */
static inline void fake_more(struct node *parent, size_t before, const char *name, unsigned number,
			     enum node_type type)
{
	for (size_t i = 0; parent->count > before && i < parent->children[before].count; i++)
		if (!random_below(3))
			snprintf(fake_child(&parent->children[before].children[i], name, number,
					    type)
					 ->text,
				 sizeof parent->text, "status");
}

static inline void fake_metadata(struct node *object)
{
	static const char *const owner[] = {"kind", "name", "uid"};
	static const unsigned owner_numbers[] = {1, 3, 4};
	static const char *const managed[] = {"manager", "operation", "time"};
	static const unsigned managed_numbers[] = {1, 2, 4};
	struct node *metadata = fake_child(object, "metadata", 1, NODE_STRUCT);

	fake_text(metadata, "name", 1);
	if (random_below(2))
		fake_text(metadata, "namespace", 3);
	fake_text(metadata, "uid", 5);
	if (random_below(2))
		fake_child(metadata, "generation", 7, NODE_NUMBER)->text[0] =
			(char)('1' + random_below(9));
	fake_text(metadata, "creationTimestamp", 8);
	fake_map(metadata, "labels", 11);
	fake_map(metadata, "annotations", 12);
	/* The first field of an element is its number here; owners are known by uid. */
	{
		size_t before = metadata->count;

		fake_list(metadata, "ownerReferences", 13, owner, owner_numbers, 3);
		for (size_t i = 0; metadata->count > before && i < metadata->children[before].count;
		     i++) {
			struct node *element = &metadata->children[before].children[i];

			memcpy(element->children[2].text, element->children[0].text,
			       sizeof element->children[2].text);
		}
		fake_more(metadata, before, "controller", 6, NODE_TRUE);
	}
	fake_list(metadata, "finalizers", 14, NULL, NULL, 0);
	if (random_below(4) == 0)
		fake_text(metadata, "zNewField", 16);
	{
		size_t before = metadata->count;

		fake_list(metadata, "managedFields", 17, managed, managed_numbers, 3);
		fake_more(metadata, before, "subresource", 8, NODE_TEXT);
	}
}

static inline void fake_conditions(struct node *status, unsigned number)
{
	static const char *const fields[] = {"type", "status", "reason"};
	static const unsigned numbers[] = {1, 2, 5};

	fake_list(status, "conditions", number, fields, numbers, 3);
}

static inline void fake_spec_status(struct node *object, const char *kind)
{
	static const char *const taint[] = {"key", "value", "effect"};
	static const unsigned taint_numbers[] = {1, 2, 3};
	struct node *spec = fake_child(object, "spec", 2, NODE_STRUCT), *status;

	if (!strcmp(kind, "Deployment") && random_below(4)) {
		fake_child(spec, "replicas", 1, NODE_NUMBER)->text[0] =
			(char)('0' + random_below(10));
		fake_text(spec, "selector", 2);
	} else if (!strcmp(kind, "Node")) {
		fake_text(spec, "podCIDR", 1);
		if (random_below(2))
			fake_child(spec, "unschedulable", 4, NODE_NUMBER)->text[0] = '1';
		fake_list(spec, "taints", 5, taint, taint_numbers, 3);
	} else if (!strcmp(kind, "Namespace")) {
		fake_list(spec, "finalizers", 1, NULL, NULL, 0);
	} else if (random_below(4)) {
		fake_text(spec, "nodeName", 10);
	}
	if (!random_below(4))
		return;
	status = fake_child(object, "status", 3, NODE_STRUCT);
	if (!strcmp(kind, "Namespace") || !strcmp(kind, "Pod"))
		fake_text(status, "phase", 1);
	if (!strcmp(kind, "Pod"))
		fake_conditions(status, 2);
	if (!strcmp(kind, "Node"))
		fake_conditions(status, 4);
	if (random_below(2))
		fake_text(status, "message", 7);
}

static inline struct node *fake_object(const char *kind)
{
	struct node *object = calloc(1, sizeof(*object));

	assert(object);
	object->type = NODE_STRUCT;
	snprintf(object->name, sizeof object->name, "%s", kind);
	fake_metadata(object);
	if (!strcmp(kind, "ConfigMap")) {
		fake_map(object, "data", 2);
		fake_map(object, "binaryData", 3);
		if (!random_below(4))
			fake_child(object, "immutable", 4, NODE_NUMBER)->text[0] = '1';
	} else {
		fake_spec_status(object, kind);
	}
	return object;
}

static inline void fake_free_children(struct node *node)
{
	for (size_t i = 0; i < node->count; i++)
		fake_free_children(&node->children[i]);
	free(node->children);
}

static inline void fake_free(struct node *object)
{
	fake_free_children(object);
	free(object);
}

/* --- encodings -------------------------------------------------------------------------------- */

static inline void fake_put(struct buffer *buffer, const void *data, size_t size)
{
	bool ok = buffer_append(buffer, bytes_of(data, size));

	assert(ok);
}

static inline void fake_varint(struct buffer *buffer, size_t number)
{
	for (;; number >>= 7) {
		uint8_t byte = (uint8_t)(number & 0x7f) | (number >= 0x80 ? 0x80 : 0);

		fake_put(buffer, &byte, 1);
		if (number < 0x80)
			return;
	}
}

static inline void fake_run(struct buffer *buffer, unsigned number, struct bytes bytes)
{
	fake_varint(buffer, number << 3 | 2);
	fake_varint(buffer, bytes.size);
	fake_put(buffer, bytes.data, bytes.size);
}

static inline void fake_proto(const struct node *node, unsigned number, struct buffer *buffer);

static inline void fake_proto_inside(const struct node *node, struct buffer *buffer)
{
	for (size_t i = 0; i < node->count; i++)
		fake_proto(&node->children[i], node->children[i].number, buffer);
}

static inline void fake_proto(const struct node *node, unsigned number, struct buffer *buffer)
{
	struct buffer inside = BUFFER_INIT(1 << 20);

	switch (node->type) {
	case NODE_TEXT:
		fake_run(buffer, number, bytes_of_string(node->text));
		break;
	case NODE_NUMBER:
		fake_varint(buffer, number << 3);
		fake_put(buffer, node->text, 1);
		break;
	case NODE_TRUE:
		fake_varint(buffer, number << 3);
		fake_put(buffer, "\1", 1);
		break;
	case NODE_STRUCT:
		fake_proto_inside(node, &inside);
		fake_run(buffer, number, buffer_bytes(&inside));
		break;
	case NODE_MAP:
		for (size_t i = 0; i < node->count; i++) {
			inside.size = 0;
			fake_run(&inside, 1, bytes_of_string(node->children[i].name));
			fake_run(&inside, 2, bytes_of_string(node->children[i].text));
			fake_run(buffer, number, buffer_bytes(&inside));
		}
		break;
	case NODE_LIST:
		for (size_t i = 0; i < node->count; i++)
			fake_proto(&node->children[i], number, buffer);
		break;
	}
	buffer_fini(&inside);
}

static inline int fake_order(const struct node *a, const struct node *b, enum encoding encoding)
{
	size_t left = strlen(a->name), right = strlen(b->name);

	if (encoding == ENCODING_CBOR && left != right)
		return left < right ? -1 : 1;
	return strcmp(a->name, b->name);
}

/* Children in the order of the encoding: an index list, sorted by insertion. */
static inline void fake_sorted(const struct node *node, enum encoding encoding, size_t *order)
{
	bool sort =
		node->type == NODE_MAP || (node->type == NODE_STRUCT && encoding != ENCODING_JSON);

	for (size_t i = 0; i < node->count; i++) {
		size_t at = i;

		for (; sort && at > 0 &&
		       fake_order(&node->children[i], &node->children[order[at - 1]], encoding) < 0;
		     at--)
			order[at] = order[at - 1];
		order[at] = i;
	}
}

static inline void fake_json(const struct node *node, enum encoding encoding, struct buffer *buffer)
{
	size_t order[64];

	if (node->type == NODE_TEXT || node->type == NODE_NUMBER) {
		buffer_append_format(buffer, node->type == NODE_TEXT ? "\"%s\"" : "%s", node->text);
		return;
	}
	if (node->type == NODE_TRUE) {
		fake_put(buffer, "true", 4);
		return;
	}
	assert(node->count <= 64);
	fake_sorted(node, encoding, order);
	fake_put(buffer, node->type == NODE_LIST ? "[" : "{", 1);
	for (size_t i = 0; i < node->count; i++) {
		const struct node *inside = &node->children[order[i]];

		if (i)
			fake_put(buffer, ",", 1);
		if (node->type != NODE_LIST)
			buffer_append_format(buffer, "\"%s\":", inside->name);
		fake_json(inside, encoding, buffer);
	}
	fake_put(buffer, node->type == NODE_LIST ? "]" : "}", 1);
}

static inline void fake_cbor_head(struct buffer *buffer, unsigned major, size_t number)
{
	uint8_t head[2] = {(uint8_t)(major << 5 | (number < 24 ? number : 24)), (uint8_t)number};

	assert(number < 256);
	fake_put(buffer, head, number < 24 ? 1 : 2);
}

static inline void fake_cbor(const struct node *node, struct buffer *buffer)
{
	size_t order[64];

	if (node->type == NODE_NUMBER) {
		fake_cbor_head(buffer, 0, (size_t)(node->text[0] - '0'));
		return;
	}
	if (node->type == NODE_TEXT) {
		fake_cbor_head(buffer, 2, strlen(node->text));
		fake_put(buffer, node->text, strlen(node->text));
		return;
	}
	if (node->type == NODE_TRUE) {
		fake_put(buffer, "\xf5", 1);
		return;
	}
	assert(node->count <= 64);
	fake_sorted(node, ENCODING_CBOR, order);
	fake_cbor_head(buffer, node->type == NODE_LIST ? 4 : 5, node->count);
	for (size_t i = 0; i < node->count; i++) {
		const struct node *inside = &node->children[order[i]];

		if (node->type != NODE_LIST) {
			fake_cbor_head(buffer, 2, strlen(inside->name));
			fake_put(buffer, inside->name, strlen(inside->name));
		}
		fake_cbor(inside, buffer);
	}
}

/* apiVersion and kind as fields, where the encoding has them in the object. */
static inline void fake_typed(const struct node *object, enum encoding encoding,
			      struct buffer *buffer)
{
	struct node typed = {.type = NODE_STRUCT};
	struct node *field = fake_child(&typed, "kind", 0, NODE_TEXT);

	memcpy(field->text, object->name, sizeof field->text);
	field = fake_child(&typed, "apiVersion", 0, NODE_TEXT);
	memcpy(field->text, "v1", 3);
	for (size_t i = 0; i < object->count; i++)
		*fake_child(&typed, "", 0, NODE_TEXT) = object->children[i];
	if (encoding == ENCODING_CBOR) {
		fake_put(buffer, "\xd9\xd9\xf7", 3);
		fake_cbor(&typed, buffer);
	} else {
		fake_json(&typed, encoding, buffer);
		fake_put(buffer, "\n", 1);
	}
	free(typed.children);
}

static inline void fake_encode(const struct node *object, enum encoding encoding,
			       struct buffer *buffer)
{
	struct buffer inside = BUFFER_INIT(1 << 20);

	if (encoding != ENCODING_PROTO) {
		fake_typed(object, encoding, buffer);
		return;
	}
	fake_put(buffer, "k8s\0", 4);
	fake_run(&inside, 1, BYTES_LITERAL("v1"));
	fake_run(&inside, 2, bytes_of_string(object->name));
	fake_run(buffer, 1, buffer_bytes(&inside));
	inside.size = 0;
	fake_proto_inside(object, &inside);
	fake_run(buffer, 2, buffer_bytes(&inside));
	fake_put(buffer, "\x1a\0\x22\0", 4);
	buffer_fini(&inside);
}

#endif
