/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/rules/file.h"

#include <stdarg.h>
#include <stdio.h>

/* --- problems --------------------------------------------------------------------------------- */

bool file_fail(struct reader *reader, const yaml_node_t *node, const char *format, ...)
{
	yaml_mark_t mark = node ? node->start_mark : (yaml_mark_t){0};
	va_list args;
	int used = snprintf(reader->problem, RULES_PROBLEM_BYTES,
			    "line %zu, column %zu: ", mark.line + 1, mark.column + 1);

	va_start(args, format);
	vsnprintf(reader->problem + used, RULES_PROBLEM_BYTES - (size_t)used, format, args);
	va_end(args);
	return false;
}

/* A step of build.c: its problem, or no memory. */
bool file_fail_build(struct reader *reader, const yaml_node_t *node, const char *problem)
{
	if (problem)
		return file_fail(reader, node, "%s", problem);
	reader->no_memory = true;
	return false;
}

/* --- values ----------------------------------------------------------------------------------- */

yaml_node_t *file_node(struct reader *reader, int number)
{
	return yaml_document_get_node(&reader->document, number);
}

bool file_text(struct reader *reader, const yaml_node_t *node, const char *name,
	       struct bytes *ret_text)
{
	struct bytes text = {0};

	if (node->type != YAML_SCALAR_NODE)
		return file_fail(reader, node, "%s is a plain value, not a list or a mapping",
				 name);
	text = bytes_of(node->data.scalar.value, node->data.scalar.length);
	if (!text.size)
		return file_fail(reader, node, "%s has no value: give one, or leave the line out",
				 name);
	if (text.size > RULES_TEXT_BYTES_MAX)
		return file_fail(reader, node, "%s is longer than %d bytes", name,
				 RULES_TEXT_BYTES_MAX);
	if (memchr(text.data, 0, text.size))
		return file_fail(reader, node, "%s holds a zero byte", name);
	*ret_text = text;
	return true;
}

bool file_keep_text(struct reader *reader, const yaml_node_t *node, const char *name,
		    struct bytes *ret_text)
{
	struct bytes text = {0};

	if (!file_text(reader, node, name, &text))
		return false;
	if (!arena_copy(&reader->rules->arena, text, ret_text))
		return file_fail_build(reader, node, NULL);
	return true;
}

bool file_word(struct reader *reader, const yaml_node_t *node, const struct words *words,
	       int *ret_number)
{
	char list[160] = "";
	size_t used = 0;
	struct bytes text = {0};

	if (!file_text(reader, node, words->name, &text))
		return false;
	if (word_find(words->list, words->count, text, ret_number))
		return true;
	for (size_t i = 0; i < words->count; i++)
		used += (size_t)snprintf(list + used, sizeof list - used, "%s%s",
					 !i			 ? ""
					 : i + 1 == words->count ? " or "
								 : ", ",
					 words->list[i]);
	return file_fail(reader, node, "%s cannot be \"%.*s\": write %s", words->name,
			 text.size > 60 ? 60 : (int)text.size, (const char *)text.data, list);
}

static const char *const truth_words[] = {"false", "true"};

bool file_truth(struct reader *reader, const yaml_node_t *node, const char *name, bool *ret_truth)
{
	int number;

	if (!file_word(reader, node, &(struct words){name, truth_words, 2}, &number))
		return false;
	*ret_truth = number;
	return true;
}

/* --- mappings --------------------------------------------------------------------------------- */

/* The value of a key; NULL: it is not there. */
yaml_node_t *file_value(struct reader *reader, const yaml_node_t *mapping, const char *name)
{
	const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;

	for (; pair < mapping->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = file_node(reader, pair->key);

		if (key->type == YAML_SCALAR_NODE &&
		    bytes_equal(bytes_of(key->data.scalar.value, key->data.scalar.length),
				bytes_of_string(name)))
			return file_node(reader, pair->value);
	}
	return NULL;
}

bool file_is_twice(struct reader *reader, const yaml_node_t *mapping, const yaml_node_pair_t *at,
		   struct bytes name)
{
	const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;

	for (; pair < at; pair++) {
		const yaml_node_t *key = file_node(reader, pair->key);

		if (bytes_equal(bytes_of(key->data.scalar.value, key->data.scalar.length), name))
			return true;
	}
	return false;
}

static const struct setting *find_setting(const struct settings *settings, struct bytes name)
{
	for (size_t i = 0; i < settings->count; i++)
		if (bytes_equal(name, bytes_of_string(settings->list[i].name)))
			return &settings->list[i];
	return NULL;
}

static bool fail_unknown(struct reader *reader, const yaml_node_t *key,
			 const struct settings *settings, struct bytes name)
{
	char list[256] = "";
	size_t used = 0;

	for (size_t i = 0; i < settings->count; i++)
		used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "",
					 settings->list[i].name);
	return file_fail(reader, key, "nothing here is called \"%.*s\"; %s has %s",
			 name.size > 60 ? 60 : (int)name.size, (const char *)name.data,
			 settings->what, list);
}

/* Every pair of the mapping to its setting. */
bool file_settings(struct reader *reader, const yaml_node_t *mapping,
		   const struct settings *settings, void *target)
{
	if (mapping->type != YAML_MAPPING_NODE)
		return file_fail(reader, mapping, "%s is written as lines of the form  name: value",
				 settings->what);
	for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
	     pair < mapping->data.mapping.pairs.top; pair++) {
		const yaml_node_t *key = file_node(reader, pair->key);
		const struct setting *setting;
		struct bytes name = {0};

		if (!file_text(reader, key, "a name", &name))
			return false;
		setting = find_setting(settings, name);
		if (!setting)
			return fail_unknown(reader, key, settings, name);
		if (file_is_twice(reader, mapping, pair, name))
			return file_fail(reader, key, "%s is there twice: keep one", setting->name);
		if (!setting->read(reader, file_node(reader, pair->value), target))
			return false;
	}
	return true;
}
