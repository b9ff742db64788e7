/* SPDX-License-Identifier: Apache-2.0 */
/* file.h - reading a rule file.  Internal to sync/rules. */
#ifndef SYNC_RULES_FILE_H
#define SYNC_RULES_FILE_H

#include "sync/rules/internal.h"

#include <yaml.h>

struct reader {
	yaml_document_t document;
	struct rules *rules;
	char *problem;
	bool no_memory;
};

struct words { /* what a value may say */
	const char *name;
	const char *const *list;
	size_t count;
};

struct setting {
	const char *name;
	bool (*read)(struct reader *reader, yaml_node_t *value, void *target);
};

struct settings { /* what a mapping may hold */
	const char *what;
	const struct setting *list;
	size_t count;
};

/* Always false, so that it can be returned. */
bool file_fail(struct reader *reader, const yaml_node_t *node, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* A step of build.c failed: its problem, or no memory. */
bool file_fail_build(struct reader *reader, const yaml_node_t *node, const char *problem);

yaml_node_t *file_node(struct reader *reader, int number);
/* Texts point into the document; kept ones are in the table's arena. */
bool file_text(struct reader *reader, const yaml_node_t *node, const char *name,
	       struct bytes *ret_text);
bool file_keep_text(struct reader *reader, const yaml_node_t *node, const char *name,
		    struct bytes *ret_text);
bool file_word(struct reader *reader, const yaml_node_t *node, const struct words *words,
	       int *ret_number);
bool file_truth(struct reader *reader, const yaml_node_t *node, const char *name, bool *ret_truth);

/* The value of a key; NULL: it is not there. */
yaml_node_t *file_value(struct reader *reader, const yaml_node_t *mapping, const char *name);
bool file_is_twice(struct reader *reader, const yaml_node_t *mapping, const yaml_node_pair_t *at,
		   struct bytes name);
/* Every pair of the mapping to its setting. */
bool file_settings(struct reader *reader, const yaml_node_t *mapping,
		   const struct settings *settings, void *target);

bool file_rows(struct reader *reader, yaml_node_t *node, void *target);
bool file_namespaces(struct reader *reader, yaml_node_t *node, void *target);

#endif
