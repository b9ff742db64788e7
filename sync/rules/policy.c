/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/codec/peek.h"
#include "sync/rules/internal.h"

#define POD_NODE_NAME 10 /* nodeName's field number in a pod's spec */

/* --- the view --------------------------------------------------------------------------------- */

static bool site_equal(const struct site *a, const struct site *b)
{
	return !memcmp(a->bytes, b->bytes, SITE_BYTES);
}

static bool is_cloud(const struct rules_view *view, const struct site *site)
{
	size_t low = 0, high = view->site_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = memcmp(view->sites[middle].site.bytes, site->bytes, SITE_BYTES);

		if (!order)
			return view->sites[middle].cloud;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static bool site_of_name(const struct rules_view *view, struct bytes name, struct site *ret_site)
{
	for (size_t i = 0; name.size && i < view->site_count; i++)
		if (bytes_equal(view->sites[i].name, name)) {
			*ret_site = view->sites[i].site;
			return true;
		}
	return false;
}

bool rules_unknown_site(const struct rules_view *view, size_t *at, struct bytes *ret_name,
			unsigned *ret_line)
{
	struct site site;

	/* Two names for each namespace. */
	for (; *at < view->rules->namespace_count * 2; (*at)++) {
		const struct rules_namespace *said = &view->rules->namespaces[*at / 2];
		struct bytes name = *at % 2 ? said->owner_name : said->home_name;

		if (!name.size || site_of_name(view, name, &site))
			continue;
		*ret_name = name;
		*ret_line = said->line;
		(*at)++;
		return true;
	}
	return false;
}

static bool find_place(const struct rules_place *places, size_t count, struct bytes name,
		       struct site *ret_site)
{
	size_t low = 0, high = name.size ? count : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = bytes_compare(places[middle].name, name);

		if (!order) {
			*ret_site = places[middle].site;
			return true;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* --- the key ---------------------------------------------------------------------------------- */

void rules_subject_of(const struct rules_view *view, struct bytes key,
		      struct rules_subject *ret_subject)
{
	struct rules_subject subject = {.view = view,
					.rule = rules_find(view->rules, key),
					.key = rules_key_of(view->rules, key)};

	subject.said = rules_namespace_of(view->rules, subject.key.namespace);
	if (subject.said && site_of_name(view, subject.said->home_name, &subject.home))
		subject.has_home = true;
	else
		subject.has_home = find_place(view->namespaces, view->namespace_count,
					      subject.key.namespace, &subject.home);
	*ret_subject = subject;
}

/* Whether a column ends in this text, as a text of any encoding: between quotes, or behind its
 * length. */
static bool says(struct bytes column, struct bytes text)
{
	bool quoted = column.size && column.data[column.size - 1] == '"';
	uint8_t before;

	column.size -= quoted;
	if (column.size <= text.size ||
	    memcmp(column.data + column.size - text.size, text.data, text.size) != 0)
		return false;
	before = column.data[column.size - text.size - 1];
	return quoted ? before == '"' : before == text.size || before == (0x40 | text.size);
}

static bool cell_excepted(const struct rule *rule, const struct cell *cell)
{
	if (!bytes_equal(cell->id.field, BYTES_LITERAL("type")) || cell->id.sub.size)
		return false;
	for (size_t i = 0; i < cell->count; i++)
		for (size_t j = 0; j < rule->except_type_count; j++)
			if (says(cell->siblings[i].value, rule->except_types[j]))
				return true;
	return false;
}

static bool is_excepted(const struct rule *rule, const struct state *state)
{
	for (size_t i = 0; rule->except_type_count && i < state->count; i++)
		for (size_t j = 0; j < state->births[i].count; j++)
			if (cell_excepted(rule, &state->births[i].cells[j]))
				return true;
	return false;
}

enum rules_flow rules_flow(const struct rules_subject *subject, const struct state *state)
{
	const struct rules_namespace *said = subject->said;
	enum rules_flow flow = subject->rule->flow;

	if (state && is_excepted(subject->rule, state))
		return FLOW_NEVER;
	if (!said || !said->has_flow || flow == FLOW_NEVER)
		return flow;
	/* What only goes up is observed at the site: there is nothing to send down. */
	return flow == FLOW_UP && said->flow != FLOW_NEVER ? flow : said->flow;
}

/* --- facts ------------------------------------------------------------------------------------ */

static enum object_format format_of_cell(const struct birth *birth, const struct cell *cell)
{
	struct object_type type;

	for (size_t i = 0; i < birth->count; i++)
		for (size_t j = 0;
		     birth->cells[i].id.part == PART_TYPE && j < birth->cells[i].count; j++)
			if (object_type_read(birth->cells[i].siblings[j].value, &type) &&
			    type.field_layout == cell->id.layout)
				return type.format;
	return OBJECT_OPAQUE;
}

/* A binding that its home made goes before one that another site made, an older one before a
 * younger one. */
struct binding {
	bool found;
	bool by_home;
	const struct sibling *sibling;
	struct site site;
};

static bool binding_is_better(const struct binding *a, const struct binding *b)
{
	if (!b->found || a->by_home != b->by_home)
		return !b->found || a->by_home;
	if (a->sibling->stamp != b->sibling->stamp)
		return a->sibling->stamp < b->sibling->stamp;
	return dot_compare(&a->sibling->dot, &b->sibling->dot) < 0;
}

static enum err look_at_bindings(const struct rules_view *view, const struct birth *birth,
				 const struct cell *cell, struct arena *arena,
				 struct binding *binding)
{
	struct peek peek = {format_of_cell(birth, cell), "nodeName", POD_NODE_NAME};
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < cell->count; i++) {
		struct column column = {cell->id, cell->siblings[i].value};
		struct binding one = {.found = true, .sibling = &cell->siblings[i]};
		struct peeked node;

		e = peek_column(&peek, &column, arena, &node);
		if (e || !find_place(view->nodes, view->node_count, node.text, &one.site))
			continue;
		one.by_home = site_equal(&one.site, &one.sibling->dot.actor.site);
		if (binding_is_better(&one, binding))
			*binding = one;
	}
	return e;
}

/* Where the node is to which the pod is bound. */
static enum err find_binding(const struct rules_view *view, const struct state *state,
			     struct bytes uid, struct arena *arena, struct binding *ret_binding)
{
	enum err e = ERR_OK;

	*ret_binding = (struct binding){0};
	for (size_t i = 0; view->node_count && i < state->count; i++) {
		const struct birth *birth = &state->births[i];

		for (size_t j = 0; !e && bytes_equal(birth->uid, uid) && j < birth->count; j++)
			if (bytes_equal(birth->cells[j].id.field, BYTES_LITERAL("spec")) &&
			    birth->cells[j].id.part == PART_WHOLE)
				e = look_at_bindings(view, birth, &birth->cells[j], arena,
						     ret_binding);
	}
	return e;
}

static enum err find_home(const struct rules_subject *subject, const struct state *state,
			  struct bytes uid, struct arena *arena, struct facts *facts)
{
	const struct rules_view *view = subject->view;
	struct binding binding = {0};
	enum err e = ERR_OK;

	facts->home = subject->home;
	facts->has_home = subject->has_home;
	if (subject->rule->home == HOME_NODE &&
	    find_place(view->nodes, view->node_count, subject->key.name, &facts->home))
		facts->has_home = true;
	if (subject->rule->home == HOME_POD)
		e = find_binding(view, state, uid, arena, &binding);
	if (binding.found) {
		facts->home = binding.site;
		facts->has_home = true;
	}
	return e;
}

enum err rules_home(const struct rules_subject *subject, const struct state *state,
		    struct arena *arena, bool *ret_known, struct site *ret_site)
{
	struct facts facts = {0};
	struct policy policy;
	struct bytes uid = {0};
	enum err e;

	rules_policy(subject, &policy);
	if (state->count)
		uid = state_shown_birth(state, &policy)->uid;
	e = find_home(subject, state, uid, arena, &facts);
	*ret_known = !e && facts.has_home;
	*ret_site = facts.home;
	return e;
}

static void set_owner(const struct rules_view *view, struct bytes text, struct facts *facts)
{
	struct bytes name;
	enum rules_owner owner = rules_owner_of(text, &name);

	if (owner == OWNER_NONE ||
	    (owner == OWNER_NAMED && !site_of_name(view, name, &facts->owner_site)))
		return;
	facts->owner = (int)owner;
}

static void set_said_owner(const struct rules_subject *subject, struct facts *facts)
{
	static const char *const words[] = {"", "cloud", "site", "lww"};
	const struct rules_namespace *said = subject->said;

	if (said)
		set_owner(subject->view,
			  said->owner == OWNER_NAMED ? said->owner_name
						     : bytes_of_string(words[said->owner]),
			  facts);
}

/* --- ranks ------------------------------------------------------------------------------------ */

static int rank_winner(const struct rules_subject *subject, const struct facts *facts,
		       enum rules_winner winner, const struct site *site)
{
	bool cloud = is_cloud(subject->view, site);
	bool at_home = facts->has_home && site_equal(&facts->home, site);

	if (winner == WINNER_CREATOR && !subject->has_home) {
		bool by_cloud = is_cloud(subject->view, &facts->creator);

		return site_equal(&facts->creator, site) ? 2 : by_cloud == cloud;
	}
	switch (winner) {
	case WINNER_SITE:
		return !cloud;
	case WINNER_CREATOR:
	case WINNER_HOME:
		return at_home ? 2 : facts->has_home ? cloud : !cloud;
	case WINNER_OWNER:
		if (subject->has_home)
			return at_home ? 2 : cloud;
		return cloud ? 2 : at_home;
	case WINNER_CLOUD:
		return cloud ? 2 : at_home;
	case WINNER_LWW:
		break;
	}
	return 0;
}

static int rank_owned(const struct rules_subject *subject, const struct facts *facts,
		      enum rules_winner winner, const struct site *site)
{
	switch ((enum rules_owner)facts->owner) {
	case OWNER_CLOUD:
		return rank_winner(subject, facts, WINNER_CLOUD, site);
	case OWNER_SITE:
		return rank_winner(subject, facts, WINNER_SITE, site);
	case OWNER_NAMED:
		if (site_equal(&facts->owner_site, site))
			return 3;
		break;
	case OWNER_LWW:
		return 0;
	case OWNER_NONE:
		break;
	}
	return rank_winner(subject, facts, winner, site);
}

static int rank_column(const struct policy *policy, const struct facts *facts,
		       const struct column_id *id, const struct actor *actor)
{
	const struct rules_subject *subject = policy->context;
	const struct rule *rule = subject->rule;
	enum rules_winner winner = columns_winner(rule->columns, rule->column_count, id);

	/* What a home or a site observes is nobody else's to own. */
	if (winner == WINNER_HOME || winner == WINNER_SITE)
		return rank_winner(subject, facts, winner, &actor->site);
	return rank_owned(subject, facts, winner, &actor->site);
}

/* The annotation has no say here: each birth has its own. */
static int rank_birth(const struct policy *policy, const struct birth *birth)
{
	const struct rules_subject *subject = policy->context;
	struct facts facts = {.has_home = subject->has_home, .home = subject->home};

	if (subject->rule->home == HOME_NODE &&
	    find_place(subject->view->nodes, subject->view->node_count, subject->key.name,
		       &facts.home))
		facts.has_home = true;
	set_said_owner(subject, &facts);
	return rank_owned(subject, &facts, subject->rule->identity, &birth->dot.actor.site);
}

/* --- the object's own annotation -------------------------------------------------------------- */

static bool is_annotation(const struct column_id *id)
{
	return id->part == PART_ENTRY && bytes_equal(id->field, BYTES_LITERAL("metadata")) &&
	       bytes_equal(id->sub, BYTES_LITERAL("annotations")) &&
	       bytes_equal(id->entry, BYTES_LITERAL(RULES_OWNER_ANNOTATION));
}

/* Which sibling of the annotation counts is decided without it. */
static enum err look_at_annotation(const struct policy *policy, const struct state *state,
				   struct bytes uid, struct arena *arena, struct facts *facts)
{
	const struct rules_subject *subject = policy->context;
	struct judge judge = {policy, *facts};
	const struct sibling *best = NULL;
	const struct column_id *id = NULL;
	struct bytes text;
	enum err e;

	for (size_t i = 0; i < state->count; i++)
		for (size_t j = 0;
		     bytes_equal(state->births[i].uid, uid) && j < state->births[i].count; j++) {
			const struct cell *cell = &state->births[i].cells[j];

			for (size_t k = 0; is_annotation(&cell->id) && k < cell->count; k++)
				if (!best || sibling_compare(&judge, &cell->id, &cell->siblings[k],
							     best) > 0) {
					best = &cell->siblings[k];
					id = &cell->id;
				}
		}
	if (!best)
		return ERR_OK;
	e = peek_entry(peek_metadata_format(id), best->value, arena, &text);
	if (!e)
		set_owner(subject->view, text, facts);
	return e;
}

static enum err look(const struct policy *policy, const struct state *state,
		     const struct birth *best, struct arena *arena, struct facts *ret_facts)
{
	const struct rules_subject *subject = policy->context;
	enum err e;

	ret_facts->creator = best->dot.actor.site;
	e = find_home(subject, state, best->uid, arena, ret_facts);
	set_said_owner(subject, ret_facts);
	return e ? e : look_at_annotation(policy, state, best->uid, arena, ret_facts);
}

void rules_policy(const struct rules_subject *subject, struct policy *ret_policy)
{
	*ret_policy = (struct policy){
		.context = subject,
		.look = look,
		.rank = rank_column,
		.rank_birth = rank_birth,
		.update_wins = subject->rule->existence == EXISTENCE_UPDATE_WINS,
		.atomic = subject->rule->atomic,
	};
}
