/* SPDX-License-Identifier: Apache-2.0 */
/* rules.h - what travels between sites, and whose value is shown where two of them wrote: as data.
 *
 * A table of rows, each for the keys that begin with its pattern: which way they travel, what a
 * delete means against an update, and who wins each column.  Two tables are built in, `twin` and
 * `shared`; a file in YAML starts from one of them and changes or adds rows (docs/rules.md).  Rules
 * never touch a state: another table shows the same states otherwise, and going back shows them as
 * before.
 *
 * The row of a key is the one with most components; of as many, the one that is plain for longer.
 * A component of a pattern may hold `*`, which stands for any run of bytes.
 *
 * What is shown must be the same at every site that knows the same.  So all that follows here is a
 * function of the key's own state, the table and the view; the view holds what sites tell each
 * other (who is a cloud, where namespaces and nodes are at home) and nothing about the site that
 * asks.  No other key's state is looked at: two sites may have it in different versions.
 *
 * Ownership: a table is one allocation of its own, immutable once made, freed by rules_free(); what
 * it gives out lives as long.  A subject points to the view and into the key.
 * Threads: any.  Errors: NOMEM (a fault); a file that is wrong gives MALFORMED and says in
 * `problem` where, what, and what mends it.
 * Limits: RULES_*_MAX in sync/limits.h. */
#ifndef SYNC_RULES_RULES_H
#define SYNC_RULES_RULES_H

#include "sync/group.h"
#include "sync/merge/visible.h"

enum rules_profile { PROFILE_TWIN, PROFILE_SHARED };

enum rules_flow { FLOW_NEVER, FLOW_UP, FLOW_DOWN, FLOW_BOTH }; /* up: from a site to the cloud */

enum rules_existence { EXISTENCE_DELETE_WINS, EXISTENCE_UPDATE_WINS };

/* Where an object is at home, when no namespace says so. */
enum rules_home {
	HOME_NAMESPACE, /* where its namespace is */
	HOME_NODE,	/* where the node of this name is */
	HOME_POD,	/* where the node is to which it is bound */
};

/* Who wins a column.  What a winner leaves equal, the stamp decides. */
enum rules_winner {
	WINNER_LWW,	/* the last write, by stamp */
	WINNER_CLOUD,	/* the cloud, then the home */
	WINNER_HOME,	/* the home; any site before the cloud where it is not known */
	WINNER_OWNER,	/* the home of the namespace where one is named, else as CLOUD */
	WINNER_CREATOR, /* the home of the namespace where one is named, else who created it */
	WINNER_SITE,	/* any site before the cloud */
};

struct rule_column {
	struct bytes field; /* "spec", "metadata"; empty in the last row, which is for all others */
	struct bytes sub;   /* "labels", "replicas"; empty: all of the field */
	struct bytes entry; /* a label's name; empty: all of them */
	enum rules_winner winner;
};

#define RULE_COMPONENTS_MAX 8

struct rule {
	struct bytes pattern; /* below the registry: "configmaps/" */
	enum rules_flow flow;
	enum rules_existence existence;
	enum group group;
	enum rules_home home;
	enum rules_winner identity; /* whose object, when one name has several uids */
	bool guarded;		    /* deletes take much along: count them against the breaker */
	bool atomic;		    /* columns are never mixed: all from one write */
	unsigned coalesce_s;	    /* travels no more often than this; 0: at once */
	const struct rule_column *columns; /* nearer ones first; the last is for all others */
	size_t column_count;
	const struct bytes *except_types; /* values of `type` that never travel (Secrets) */
	size_t except_type_count;
	struct bytes why;
	unsigned line; /* in the file; 0: built in */
	struct bytes components[RULE_COMPONENTS_MAX];
	size_t component_count;
};

struct rules;

#define RULES_PROBLEM_BYTES 512

enum err rules_builtin(enum rules_profile profile, struct rules **ret_rules);
/* A file's contents. */
enum err rules_parse(struct bytes yaml, struct rules **ret_rules,
		     char problem[RULES_PROBLEM_BYTES]);
void rules_free(struct rules *rules);

/* Never NULL: keys that are no objects below the registry have a row that never travels. */
const struct rule *rules_find(const struct rules *rules, struct bytes key);

/* Tables that decide alike hash alike, whatever their files look like: order, comments and reasons
 * do not count, and rows that say what the row behind them says neither. */
enum err rules_hash(const struct rules *rules, uint8_t ret_hash[RULES_HASH_BYTES]);

/* The row of a key for people: where it came from, what it does, who wins what, and why. */
bool rules_explain(const struct rules *rules, struct bytes key, struct buffer *buffer);

/* Rows in the order in which they are looked at, NULL at the end. */
const struct rule *rules_row(const struct rules *rules, size_t number);
enum rules_profile rules_profile_of(const struct rules *rules);
/* "/registry/" */
struct bytes rules_registry(const struct rules *rules);

/* --- the view: what sites tell each other ----------------------------------------------------- */

struct rules_site {
	struct site site;
	struct bytes name;
	bool cloud;
};

struct rules_place { /* a namespace or a node, and where it is at home */
	struct bytes name;
	struct site site;
};

struct rules_view {
	const struct rules *rules;
	const struct rules_site *sites; /* ascending by site; one that is not there is no cloud */
	size_t site_count;
	const struct rules_place *namespaces; /* ascending by name; a file's say goes before it */
	size_t namespace_count;
	const struct rules_place *nodes; /* ascending by name */
	size_t node_count;
};

/* --- one key ---------------------------------------------------------------------------------- */

struct rules_key { /* what a key says; all empty where it is no object below the registry */
	struct bytes resource;	/* "pods", "services/specs", "example.com/widgets" */
	struct bytes namespace; /* a Namespace's is its own name; empty: none */
	struct bytes name;
};

struct rules_namespace; /* what the file says of a namespace */

struct rules_subject {
	const struct rules_view *view;
	const struct rule *rule;
	const struct rules_namespace *said; /* NULL: nothing */
	struct rules_key key;
	bool has_home; /* of the namespace */
	struct site home;
};

/* Sites that the file names and the view does not know: what is said of them has no effect.
 * Begins with *at 0; false: there are no more. */
bool rules_unknown_site(const struct rules_view *view, size_t *at, struct bytes *ret_name,
			unsigned *ret_line);

void rules_subject_of(const struct rules_view *view, struct bytes key,
		      struct rules_subject *ret_subject);

/* Of a state that is not known (NULL), what the row and the namespace say. */
enum rules_flow rules_flow(const struct rules_subject *subject, const struct state *state);

/* The site that completes deletions and writes what only one may write.  false: not known. */
enum err rules_home(const struct rules_subject *subject, const struct state *state,
		    struct arena *arena, bool *ret_known, struct site *ret_site);

/* Who wins, for sync/merge.  The policy points to the subject. */
void rules_policy(const struct rules_subject *subject, struct policy *ret_policy);

/* cloud, site, lww, or a site's name: who owns this one object's columns of intent (CLOUD, OWNER,
 * CREATOR, LWW; what a home or a site observes stays with it). */
#define RULES_OWNER_ANNOTATION "sync.kedge.dev/owner"

#endif
