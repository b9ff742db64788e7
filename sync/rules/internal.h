/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - how a table is made and looked through.  Internal to sync/rules. */
#ifndef SYNC_RULES_INTERNAL_H
#define SYNC_RULES_INTERNAL_H

#include "sync/limits.h"
#include "sync/rules/rules.h"

enum rules_owner { OWNER_NONE, OWNER_CLOUD, OWNER_SITE, OWNER_LWW, OWNER_NAMED };

struct rules_namespace {
	struct bytes pattern;
	bool has_flow;
	enum rules_flow flow;
	enum rules_owner owner;
	struct bytes owner_name; /* of NAMED: a site's */
	struct bytes home_name;	 /* a site's; empty: not said */
	unsigned line;
};

struct rules {
	struct arena arena;
	enum rules_profile profile;
	struct bytes registry;
	struct rule *rows; /* in the order in which they are looked at */
	size_t row_count;
	struct rules_namespace *namespaces; /* plain names ascending, then patterns, nearer first */
	size_t namespace_count;
	size_t namespace_plain;
};

/* A row in the making. */
struct row_draft {
	struct rule rule;
	struct rule_column columns[RULES_COLUMNS_MAX];
};

/* A row as it stands in the source of the built-in tables.  winners: "spec=cloud *=lww". */
struct built_in_row {
	const char *pattern;
	const char *winners;
	const char *why;
	const char *except_types; /* with blanks between them */
	enum rules_flow flow;
	enum rules_existence existence;
	enum group group;
	enum rules_home home;
	enum rules_winner identity;
	bool guarded;
	bool atomic;
	unsigned coalesce_s;
};

extern const struct built_in_row rules_twin_rows[];
extern const size_t rules_twin_count;
extern const struct built_in_row rules_shared_rows[];
extern const size_t rules_shared_count;

/* --- build.c: problems are words, NULL when memory is out ------------------------------------- */

/* The rows of a profile, with room for RULES_ROWS_MAX, unsorted. */
enum err rules_new(enum rules_profile profile, struct rules **ret_rules);
void rules_sort(struct rules *rules);

bool draft_pattern(struct row_draft *draft, struct arena *arena, struct bytes text,
		   const char **ret_problem);
bool draft_winner(struct row_draft *draft, struct arena *arena, struct bytes column,
		  enum rules_winner winner, const char **ret_problem);
/* Puts the row in the place of one with its pattern, or behind all others. */
bool draft_finish(const struct row_draft *draft, struct rules *rules, const char **ret_problem);
/* The row whose pattern this is, else the one that would hold for its keys; never NULL. */
const struct rule *rules_base(const struct rules *rules, const struct row_draft *draft,
			      bool *ret_same);

/* --- match.c ---------------------------------------------------------------------------------- */

bool glob_match(struct bytes glob, struct bytes text);
bool glob_is_plain(struct bytes glob);
/* < 0: a is looked at before b. */
int glob_order(struct bytes a, struct bytes b);

/* Cuts at slashes; what is behind the last component that fits stays with it. */
size_t components_of(struct bytes path, struct bytes ret_components[RULE_COMPONENTS_MAX]);
int rule_order(const struct rule *a, const struct rule *b);
bool rule_matches(const struct rule *rule, const struct bytes *components, size_t count);
/* All keys of b are keys of a; some keys may be of both. */
bool rule_covers(const struct rule *a, const struct rule *b);
bool rule_overlaps(const struct rule *a, const struct rule *b);

/* --- words.c: the words of a file and of an explanation --------------------------------------- */

extern const char *const rules_profile_words[];
extern const char *const rules_flow_words[];
extern const char *const rules_existence_words[];
extern const char *const rules_group_words[];
extern const char *const rules_home_words[];
extern const char *const rules_winner_words[];
#define RULES_PROFILES 2
#define RULES_FLOWS 4
#define RULES_EXISTENCES 2
#define RULES_HOMES 3
#define RULES_WINNERS 6

/* The number of a word; false: it is none of them. */
bool word_find(const char *const *words, size_t count, struct bytes text, int *ret_number);

/* --- lookups ---------------------------------------------------------------------------------- */

/* The winner that the columns say for this one. */
enum rules_winner columns_winner(const struct rule_column *columns, size_t count,
				 const struct column_id *id);
struct rules_key rules_key_of(const struct rules *rules, struct bytes key);
const struct rules_namespace *rules_namespace_of(const struct rules *rules, struct bytes name);
/* cloud, site, lww, or a site's name, which is in *ret_name. */
enum rules_owner rules_owner_of(struct bytes text, struct bytes *ret_name);

#endif
