/* SPDX-License-Identifier: Apache-2.0 */
/* file.c - a rule file: a profile to start from, rows that change or add to it, and what is said of
 * namespaces.  Every name that is not known is refused. */
#include "sync/rules/file.h"

#include <stdio.h>

static bool root_profile(struct reader *reader, yaml_node_t *node, void *target)
{
	(void)reader, (void)node, (void)target; /* was read first */
	return true;
}

static bool root_registry(struct reader *reader, yaml_node_t *node, void *target)
{
	struct arena *arena = &reader->rules->arena;
	struct buffer buffer = BUFFER_INIT(RULES_TEXT_BYTES_MAX * 2);
	struct bytes text = {0};
	bool ok;

	(void)target;
	if (!file_text(reader, node, "registry", &text))
		return false;
	if (text.data[0] != '/')
		return file_fail(reader, node,
				 "registry is the apiserver's --etcd-prefix: /registry");
	ok = buffer_append(&buffer, text) &&
	     (text.data[text.size - 1] == '/' || buffer_append(&buffer, BYTES_LITERAL("/"))) &&
	     arena_copy(arena, buffer_bytes(&buffer), &reader->rules->registry);
	buffer_fini(&buffer);
	return ok || file_fail_build(reader, node, NULL);
}

static const struct setting root_list[] = {{"profile", root_profile},
					   {"registry", root_registry},
					   {"namespaces", file_namespaces},
					   {"rules", file_rows}};

/* The rows to start from. */
static bool begin(struct reader *reader, yaml_node_t *root)
{
	struct words words = {"profile", rules_profile_words, RULES_PROFILES};
	yaml_node_t *node = NULL;
	int profile = PROFILE_TWIN;

	if (root && root->type == YAML_MAPPING_NODE)
		node = file_value(reader, root, "profile");
	if (node && !file_word(reader, node, &words, &profile))
		return false;
	if (rules_new((enum rules_profile)profile, &reader->rules)) {
		reader->rules = NULL;
		return file_fail_build(reader, node, NULL);
	}
	return true;
}

static bool read_document(struct reader *reader)
{
	struct settings settings = {"a rule file", root_list,
				    sizeof(root_list) / sizeof(*root_list)};
	yaml_node_t *root = yaml_document_get_root_node(&reader->document);

	if (!begin(reader, root))
		return false;
	/* An empty file is the profile twin. */
	return !root || file_settings(reader, root, &settings, NULL);
}

/* --- YAML ------------------------------------------------------------------------------------- */

static bool fail_yaml(const yaml_parser_t *parser, struct reader *reader)
{
	const char *what = parser->problem ? parser->problem : "unreadable";
	bool star = parser->context && strstr(parser->context, "alias");

	reader->no_memory = parser->error == YAML_MEMORY_ERROR;
	if (parser->error == YAML_READER_ERROR)
		snprintf(reader->problem, RULES_PROBLEM_BYTES,
			 "byte %zu: not UTF-8 text: %.200s; save the file as UTF-8",
			 parser->problem_offset, what);
	else
		snprintf(reader->problem, RULES_PROBLEM_BYTES,
			 "line %zu, column %zu: not valid YAML: %.200s%s",
			 parser->problem_mark.line + 1, parser->problem_mark.column + 1, what,
			 star ? "; write a star in quotes: \"*\"" : "");
	return false;
}

/* One document and no more. */
static bool read_stream(yaml_parser_t *parser, struct reader *reader)
{
	yaml_document_t more;
	bool ok;

	if (!yaml_parser_load(parser, &reader->document))
		return fail_yaml(parser, reader);
	ok = read_document(reader);
	yaml_document_delete(&reader->document);
	if (!ok)
		return false;
	if (!yaml_parser_load(parser, &more))
		return fail_yaml(parser, reader);
	if (yaml_document_get_root_node(&more))
		ok = file_fail(reader, yaml_document_get_root_node(&more),
			       "a second document begins here: join them into one");
	yaml_document_delete(&more);
	return ok;
}

enum err rules_parse(struct bytes yaml, struct rules **ret_rules, char problem[RULES_PROBLEM_BYTES])
{
	struct reader reader = {.problem = problem};
	yaml_parser_t parser;
	bool ok = false;

	problem[0] = 0;
	if (yaml.size > RULES_FILE_BYTES_MAX) {
		snprintf(problem, RULES_PROBLEM_BYTES, "the file has %zu bytes, %d at most",
			 yaml.size, RULES_FILE_BYTES_MAX);
		return ERR_MALFORMED;
	}
	reader.no_memory = !yaml_parser_initialize(&parser);
	if (!reader.no_memory) {
		yaml_parser_set_input_string(&parser, yaml.size ? yaml.data : (uint8_t *)"",
					     yaml.size);
		ok = read_stream(&parser, &reader);
		yaml_parser_delete(&parser);
	}
	if (ok) {
		rules_sort(reader.rules);
		*ret_rules = reader.rules;
		return ERR_OK;
	}
	rules_free(reader.rules);
	return reader.no_memory ? fault(ERR_NOMEM, "a rule file of %zu bytes", yaml.size)
				: ERR_MALFORMED;
}
