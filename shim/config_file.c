/* SPDX-License-Identifier: Apache-2.0 */
/* config_file.c - etcd's YAML configuration file: option names as keys, the security options in a
 * nested mapping of their own. */
#include "shim/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
	struct config *config;
	const char *path;
	yaml_document_t document;
	char *problem;
};

static bool fail_at(const struct reader *reader, const yaml_node_t *node, const char *what)
{
	char detail[CONFIG_PROBLEM_BYTES];

	snprintf(detail, sizeof detail, "%s", what);
	snprintf(reader->problem, CONFIG_PROBLEM_BYTES, "%.200s, line %zu: %.280s", reader->path,
		 node ? node->start_mark.line + 1 : 1, detail);
	return false;
}

static const char *scalar(const yaml_node_t *node)
{
	return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value
						      : NULL;
}

/* A scalar, or a sequence of scalars joined with commas. */
static bool value_text(struct reader *reader, const yaml_node_t *node, char *text, size_t size)
{
	size_t used = 0;

	if (scalar(node)) {
		snprintf(text, size, "%s", scalar(node));
		return true;
	}
	if (node->type != YAML_SEQUENCE_NODE)
		return fail_at(reader, node, "a plain value or a list is expected here");
	text[0] = 0;
	for (yaml_node_item_t *item = node->data.sequence.items.start;
	     item < node->data.sequence.items.top; item++) {
		const char *part = scalar(yaml_document_get_node(&reader->document, *item));

		if (!part)
			return fail_at(reader, node, "the list may hold plain values only");
		used += (size_t)snprintf(text + used, size - used, "%s%s", used ? "," : "", part);
		if (used >= size)
			return fail_at(reader, node, "the list is too long");
	}
	return true;
}

/* Keys of client-transport-security are the flags' names but for this one. */
static const char *flag_of(const char *section, const char *key)
{
	if (section && !strcmp(section, "client-transport-security") &&
	    !strcmp(key, "allowed-hostname"))
		return "client-cert-allowed-hostname";
	return key;
}

static bool read_pair(struct reader *reader, const char *section, const yaml_node_t *key_node,
		      const yaml_node_t *value_node)
{
	const char *key = scalar(key_node);
	char value[4096];
	char problem[CONFIG_PROBLEM_BYTES];

	if (!key)
		return fail_at(reader, key_node, "an option name is expected here");
	/* null means: not set. */
	if (scalar(value_node) &&
	    (!scalar(value_node)[0] || !strcmp(scalar(value_node), "null") ||
	     !strcmp(scalar(value_node), "~")) &&
	    value_node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		return true;
	if (!value_text(reader, value_node, value, sizeof value))
		return false;
	if (!config_set(reader->config, flag_of(section, key), value, problem))
		return fail_at(reader, key_node, problem);
	return true;
}

static bool read_mapping(struct reader *reader, const char *section, const yaml_node_t *mapping)
{
	for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
	     pair < mapping->data.mapping.pairs.top; pair++) {
		yaml_node_t *key = yaml_document_get_node(&reader->document, pair->key);
		yaml_node_t *value = yaml_document_get_node(&reader->document, pair->value);

		if (value->type == YAML_MAPPING_NODE) {
			const char *name = scalar(key);

			if (section || !name)
				return fail_at(reader, key, "mappings may not be nested deeper");
			/* etcd's other sections speak of peers and discovery. */
			if (!strcmp(name, "client-transport-security") &&
			    !read_mapping(reader, name, value))
				return false;
			if (strcmp(name, "client-transport-security") != 0 &&
			    strcmp(name, "peer-transport-security") != 0 &&
			    strcmp(name, "discovery-config") != 0 &&
			    strcmp(name, "socket-options") != 0)
				return fail_at(reader, key, "unknown section");
		} else if (!read_pair(reader, section, key, value)) {
			return false;
		}
	}
	return true;
}

static bool read_document(struct reader *reader)
{
	yaml_node_t *root = yaml_document_get_root_node(&reader->document);

	if (!root)
		return true; /* an empty file: defaults */
	if (root->type != YAML_MAPPING_NODE)
		return fail_at(reader, root, "expected lines of the form  option-name: value");
	return read_mapping(reader, NULL, root);
}

bool config_load_file(struct config *config, const char *path, char problem[CONFIG_PROBLEM_BYTES])
{
	struct reader reader = {.config = config, .path = path, .problem = problem};
	yaml_parser_t parser;
	FILE *file = fopen(path, "re");
	bool ok;

	if (!file) {
		snprintf(problem, CONFIG_PROBLEM_BYTES,
			 "cannot read the configuration file %.300s: %s", path, strerror(errno));
		return false;
	}
	if (!yaml_parser_initialize(&parser)) {
		fclose(file);
		snprintf(problem, CONFIG_PROBLEM_BYTES, "out of memory");
		return false;
	}
	yaml_parser_set_input_file(&parser, file);
	if (!yaml_parser_load(&parser, &reader.document)) {
		snprintf(problem, CONFIG_PROBLEM_BYTES, "%.200s, line %zu: not valid YAML: %.200s",
			 path, parser.problem_mark.line + 1,
			 parser.problem ? parser.problem : "unreadable");
		ok = false;
	} else {
		ok = read_document(&reader);
		yaml_document_delete(&reader.document);
	}
	yaml_parser_delete(&parser);
	fclose(file);
	return ok;
}
