/* SPDX-License-Identifier: Apache-2.0 */
/* test_merge.c - three sites write one key, meet in any order, and are compared with an oracle that
 * knows no contexts: it keeps a list of all values ever written and, for each write, which of them
 * it took away. */
#include "sync/merge/meta.h"
#include "sync/merge/visible.h"
#include "tests/unit/sync/fake_object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/sync/small_sites.h"

#define STEPS 24 /* of each run */
#define ITEMS_MAX 8192

/* --- the oracle ------------------------------------------------------------------------------- */

struct item { /* one value of one column */
	unsigned event;
	unsigned birth_event;
	struct bytes uid;
	struct column_id id;
	struct bytes value;
};

struct event {
	struct dot dot;
	hlc_stamp stamp;
	bool removes[ITEMS_MAX / 8];	/* by a number of values: the oracle is slow, not big */
	unsigned char taken[ITEMS_MAX]; /* items that this write took away */
	bool born;
};

struct world {
	struct arena arena;
	struct item items[ITEMS_MAX];
	unsigned item_count;
	struct event *events;
	unsigned event_count;
	bool knows[SITES][STEPS * SITES + 1];
	struct state states[SITES];
	struct vector vectors[SITES];
	int64_t revisions[SITES];
	const char *kind;
	struct policy policy;
	unsigned rule;
};

static bool alive(const struct world *world, unsigned site, unsigned number)
{
	const struct item *item = &world->items[number];

	if (!world->knows[site][item->event])
		return false;
	for (unsigned e = 0; e < world->event_count; e++)
		if (world->knows[site][e] && world->events[e].taken[number])
			return false;
	return true;
}

/* Takes away everything that this write saw of a birth, known or not: the birth itself is gone. */
static void take_birth(struct world *world, unsigned event, unsigned birth_event)
{
	world->events[event].removes[birth_event] = true;
}

static bool birth_alive(const struct world *world, unsigned site, unsigned birth_event)
{
	if (!world->knows[site][birth_event])
		return false;
	for (unsigned e = 0; e < world->event_count; e++)
		if (world->knows[site][e] && world->events[e].removes[birth_event])
			return false;
	return true;
}

static struct bytes kept(struct world *world, struct bytes bytes)
{
	struct bytes copy;

	assert_true(arena_copy(&world->arena, bytes, &copy));
	return copy;
}

static unsigned add_item(struct world *world, unsigned event, unsigned birth_event,
			 struct bytes uid, const struct column *column)
{
	struct item *item = &world->items[world->item_count];

	assert_true(world->item_count < ITEMS_MAX);
	*item = (struct item){event, birth_event, uid, column->id, column->bytes};
	return world->item_count++;
}

/* --- sites ------------------------------------------------------------------------------------ */

/* Something that any write may change: how many values there are. */
static enum err look(const struct policy *policy, const struct state *state,
		     const struct birth *best, struct arena *arena, struct facts *ret_facts)
{
	(void)policy;
	(void)arena;
	ret_facts->creator = best->dot.actor.site;
	for (size_t i = 0; i < state->count; i++)
		for (size_t j = 0; j < state->births[i].count; j++)
			ret_facts->owner += (int)state->births[i].cells[j].count;
	return ERR_OK;
}

static int rank(const struct policy *policy, const struct facts *facts, const struct column_id *id,
		const struct actor *actor)
{
	const struct world *world = policy->context;
	unsigned shift = world->rule + (unsigned)facts->owner + facts->creator.bytes[0];

	if (world->policy.atomic || bytes_equal(id->field, BYTES_LITERAL("spec")))
		return (int)((actor->site.bytes[0] + shift) % 3);
	return 0;
}

static int rank_birth(const struct policy *policy, const struct birth *birth)
{
	const struct world *world = policy->context;

	return world->rule % 2 ? birth->dot.actor.site.bytes[0] == 1 : 0;
}

static struct visible visible_at(struct world *world, unsigned site)
{
	struct visible visible;

	assert_int_equal(
		state_visible(&world->states[site], &world->policy, &world->arena, &visible),
		ERR_OK);
	/* No fragments: a birth always shows an object. */
	assert_int_equal(visible.present, world->states[site].count > 0);
	return visible;
}

static struct bytes fresh_value(struct world *world)
{
	struct node *tree = fake_object(world->kind);
	struct buffer buffer = BUFFER_INIT(1 << 20);
	struct bytes value;

	for (size_t i = 0; i < tree->children[0].count; i++) {
		struct node *field = &tree->children[0].children[i];

		if (!strcmp(field->name, "uid")) /* few, so that sites create the same one */
			snprintf(field->text, sizeof field->text, "uid-%u",
				 random_below(6) ? 0 : random_below(3));
	}
	fake_encode(tree, random_below(12) ? ENCODING_JSON_SORTED : ENCODING_PROTO, &buffer);
	value = kept(world, buffer_bytes(&buffer));
	buffer_fini(&buffer);
	fake_free(tree);
	return value;
}

/* Some columns of another object in the place of the old one's. */
static struct bytes changed_value(struct world *world, struct bytes old_value)
{
	struct object old, fresh;
	struct column columns[512];
	size_t i = 0, j = 0, count = 0;
	struct bytes value;

	assert_int_equal(object_split(old_value, &world->arena, &old), ERR_OK);
	assert_int_equal(object_split(fresh_value(world), &world->arena, &fresh), ERR_OK);
	if (old.format != fresh.format)
		return old_value;
	while (i < old.count || j < fresh.count) {
		int order = i == old.count ? 1
			    : j == fresh.count
				    ? -1
				    : column_id_compare(&old.columns[i].id, &fresh.columns[j].id);
		bool uid = order <= 0 && bytes_equal(old.columns[i].id.sub, BYTES_LITERAL("uid"));
		bool take_fresh = !uid && order >= 0 && !random_below(4);

		if (take_fresh)
			columns[count++] = fresh.columns[j];
		else if (order <= 0 && (uid || random_below(8)))
			columns[count++] = old.columns[i];
		i += order <= 0;
		j += order >= 0;
	}
	/* Without its type it is none. */
	if (object_splice(columns, count, &world->arena, &value))
		return old_value;
	return value;
}

/* What an atomic write leaves as it is: a deletion is not undone by whoever wins the rest. */
static bool is_apart(const struct column_id *id)
{
	return bytes_equal(id->field, BYTES_LITERAL("metadata")) &&
	       (bytes_equal(id->sub, BYTES_LITERAL("finalizers")) ||
		bytes_equal(id->sub, BYTES_LITERAL("deletionTimestamp")) ||
		bytes_equal(id->sub, BYTES_LITERAL("deletionGracePeriodSeconds")));
}

static void oracle_write(struct world *world, unsigned site, const struct write *write)
{
	unsigned event = world->event_count - 1, births[2] = {0, 0}, birth_count = 0;
	struct object old = {0}, new = {0};
	bool fresh, seen[STEPS * SITES + 1] = {0};

	if (!write->deleted)
		assert_int_equal(object_split(write->value, &world->arena, &new), ERR_OK);
	if (write->old_present)
		assert_int_equal(object_split(write->old_value, &world->arena, &old), ERR_OK);
	for (unsigned n = 0; n < world->item_count; n++) {
		const struct item *item = &world->items[n];

		if (seen[item->birth_event] || !birth_alive(world, site, item->birth_event))
			continue;
		seen[item->birth_event] = true;
		if (!write->deleted && bytes_equal(item->uid, new.uid))
			births[birth_count++ < 1 ? 0 : 1] = item->birth_event;
	}
	fresh = write->deleted || !write->old_present || birth_count != 1 ||
		world->policy.update_wins || !bytes_equal(old.uid, new.uid);
	for (unsigned b = 0; b < event; b++)
		if (seen[b] && (fresh || b != births[0]))
			take_birth(world, event, b);
	for (size_t i = 0; i < new.count; i++) {
		const struct column *column = &new.columns[i];
		bool same = false, there = false;

		for (size_t j = 0; j < old.count && !fresh; j++)
			same |= column_id_equal(&old.columns[j].id, &column->id) &&
				bytes_equal(old.columns[j].bytes, column->bytes);
		same &= !world->policy.atomic || is_apart(&column->id);
		for (unsigned n = 0; n < world->item_count && same; n++)
			there |= world->items[n].birth_event == births[0] &&
				 alive(world, site, n) &&
				 column_id_equal(&world->items[n].id, &column->id);
		if (there)
			continue;
		for (unsigned n = 0; n < world->item_count && !fresh; n++)
			if (world->items[n].birth_event == births[0] && alive(world, site, n) &&
			    column_id_equal(&world->items[n].id, &column->id))
				world->events[event].taken[n] = 1;
		add_item(world, event, fresh ? event : births[0], new.uid, column);
	}
	for (unsigned n = 0; n < world->item_count && !fresh; n++) {
		bool wanted = false;

		for (size_t i = 0; i < new.count; i++)
			wanted |= column_id_equal(&world->items[n].id, &new.columns[i].id);
		if (!wanted && world->items[n].birth_event == births[0] && alive(world, site, n))
			world->events[event].taken[n] = 1;
	}
	world->knows[site][event] = true;
}

/* Whether the write, done column by column, shows what was written; else the engine must write all
 * of them, and so must the oracle. */
static void oracle_write_all(struct world *world, unsigned site, const struct state *state)
{
	unsigned event = world->event_count - 1;
	const struct birth *birth = &state->births[0];
	unsigned birth_event = 0;

	while (!dot_equal(&world->events[birth_event].dot, &birth->dot))
		birth_event++;
	world->knows[site][event] = false;
	for (unsigned n = 0; n < world->item_count; n++)
		if (world->items[n].birth_event == birth_event && alive(world, site, n))
			world->events[event].taken[n] = 1;
	while (world->item_count && world->items[world->item_count - 1].event == event)
		world->item_count--;
	world->knows[site][event] = true;
	for (size_t i = 0; i < birth->count; i++)
		add_item(world, event, birth_event, birth->uid,
			 &(struct column){birth->cells[i].id, birth->cells[i].siblings[0].value});
}

static bool all_by(const struct state *state, const struct dot *dot)
{
	for (size_t i = 0; state->count == 1 && i < state->births[0].count; i++)
		if (state->births[0].cells[i].count != 1 ||
		    !dot_equal(&state->births[0].cells[i].siblings[0].dot, dot))
			return false;
	return state->count == 1 && !dot_equal(&state->births[0].dot, dot);
}

static void write_at(struct world *world, unsigned site)
{
	struct visible before = visible_at(world, site), after;
	struct actor actor = actor_of(site);
	struct write write = {
		.old = &world->states[site],
		.old_value = before.value,
		.old_present = before.present,
		.dot = {actor, ++world->revisions[site]},
		.stamp = 1000 + random_below(50),
	};
	struct event *event = &world->events[world->event_count++];
	struct state written;

	*event = (struct event){.dot = write.dot, .stamp = write.stamp};
	write.deleted = before.present && !random_below(14);
	if (!write.deleted)
		write.value = before.present && random_below(8) ? changed_value(world, before.value)
								: fresh_value(world);
	oracle_write(world, site, &write);
	assert_int_equal(state_write(&write, &world->policy, &world->arena, &written), ERR_OK);
	world->states[site] = written;
	if (all_by(&world->states[site], &write.dot))
		oracle_write_all(world, site, &world->states[site]);
	assert_int_equal(vector_add(&world->vectors[site], &actor, 1, write.dot.revision), ERR_OK);
	after = visible_at(world, site);
	assert_int_equal(after.present, !write.deleted);
	if (!write.deleted)
		assert_true(bytes_equal(after.value, write.value));
}

static void pull(struct world *world, unsigned to, unsigned from)
{
	struct context contexts[2] = {{.vector = &world->vectors[to]},
				      {.vector = &world->vectors[from]}};
	struct side sides[2] = {{&world->states[to], &contexts[0]},
				{&world->states[from], &contexts[1]}};
	struct state one, other, again;

	assert_int_equal(state_merge(&sides[0], &sides[1], &world->arena, &one), ERR_OK);
	assert_int_equal(state_merge(&sides[1], &sides[0], &world->arena, &other), ERR_OK);
	assert_true(state_equal(&one, &other));
	assert_int_equal(vector_merge(&world->vectors[to], &world->vectors[from]), ERR_OK);
	sides[0].state = &one;
	assert_int_equal(state_merge(&sides[0], &sides[1], &world->arena, &again), ERR_OK);
	assert_true(state_equal(&one, &again));
	world->states[to] = one;
	for (unsigned e = 0; e < world->event_count; e++)
		world->knows[to][e] |= world->knows[from][e];
}

static void merge_three(struct world *world, const unsigned order[3], bool right,
			struct state *ret_state)
{
	struct vector pair = {0};
	struct context contexts[4];
	struct side sides[4];
	struct state inner;
	unsigned a = right ? 1 : 0, b = right ? 2 : 1, c = right ? 0 : 2;

	for (unsigned i = 0; i < 3; i++) {
		contexts[i] = (struct context){.vector = &world->vectors[order[i]]};
		sides[i] = (struct side){&world->states[order[i]], &contexts[i]};
	}
	assert_int_equal(vector_copy(&world->vectors[order[a]], &pair), ERR_OK);
	assert_int_equal(vector_merge(&pair, &world->vectors[order[b]]), ERR_OK);
	contexts[3] = (struct context){.vector = &pair};
	assert_int_equal(state_merge(&sides[a], &sides[b], &world->arena, &inner), ERR_OK);
	sides[3] = (struct side){&inner, &contexts[3]};
	assert_int_equal(state_merge(&sides[3], &sides[c], &world->arena, ret_state), ERR_OK);
	vector_fini(&pair);
}

static void check_associative(struct world *world)
{
	static const unsigned order[3] = {0, 1, 2};
	struct state left, right;

	merge_three(world, order, false, &left);
	merge_three(world, order, true, &right);
	assert_true(state_equal(&left, &right));
}

/* --- comparing -------------------------------------------------------------------------------- */

static void assert_found(const struct world *world, unsigned site, const struct birth *birth,
			 const struct cell *cell, const struct sibling *sibling)
{
	for (unsigned n = 0; n < world->item_count; n++) {
		const struct item *item = &world->items[n];
		const struct event *event = &world->events[item->event];

		if (dot_equal(&event->dot, &sibling->dot) && event->stamp == sibling->stamp &&
		    dot_equal(&world->events[item->birth_event].dot, &birth->dot) &&
		    column_id_equal(&item->id, &cell->id) &&
		    bytes_equal(item->value, sibling->value) &&
		    bytes_equal(item->uid, birth->uid) && alive(world, site, n) &&
		    birth_alive(world, site, item->birth_event))
			return;
	}
	fail_msg("site %u has a value that the oracle has not", site);
}

static void check_site(const struct world *world, unsigned site)
{
	const struct state *state = &world->states[site];
	size_t siblings = 0, expected = 0;

	for (size_t i = 0; i < state->count; i++)
		for (size_t j = 0; j < state->births[i].count; j++)
			for (size_t k = 0; k < state->births[i].cells[j].count; k++, siblings++)
				assert_found(world, site, &state->births[i],
					     &state->births[i].cells[j],
					     &state->births[i].cells[j].siblings[k]);
	for (unsigned n = 0; n < world->item_count; n++)
		expected += alive(world, site, n) &&
			    birth_alive(world, site, world->items[n].birth_event);
	assert_int_equal(siblings, expected);
}

/* --- what is shown ---------------------------------------------------------------------------- */

struct seen { /* that the rare was reached */
	unsigned siblings;
	unsigned births;
	unsigned empty;
	unsigned controllers; /* several, of which one write's were shown */
	unsigned managers;    /* not shown because their spec is not */
	unsigned mixed;	      /* atomic objects of which two sites had written */
};

/* Calls for each sibling of the shown uid. */
static void each_shown(const struct state *state, struct bytes uid,
		       void (*call)(void *context, const struct cell *, const struct sibling *),
		       void *context)
{
	for (size_t i = 0; i < state->count; i++)
		for (size_t j = 0;
		     bytes_equal(state->births[i].uid, uid) && j < state->births[i].count; j++)
			for (size_t k = 0; k < state->births[i].cells[j].count; k++)
				call(context, &state->births[i].cells[j],
				     &state->births[i].cells[j].siblings[k]);
}

struct search { /* one column of what is shown, and who may have written it */
	const struct column *column;
	const struct dot *dot;		/* NULL: any */
	const struct dot *not_dots[64]; /* none of these */
	size_t not_count;
	bool found;
};

static void search_one(void *context, const struct cell *cell, const struct sibling *sibling)
{
	struct search *search = context;
	bool allowed = !search->dot || dot_equal(search->dot, &sibling->dot);

	for (size_t i = 0; i < search->not_count; i++)
		allowed &= !dot_equal(search->not_dots[i], &sibling->dot);
	search->found |= allowed && column_id_equal(&cell->id, &search->column->id) &&
			 bytes_equal(sibling->value, search->column->bytes);
}

static bool is_part(const struct column_id *id, const char *field, const char *sub)
{
	return bytes_equal(id->field, bytes_of_string(field)) &&
	       bytes_equal(id->sub, bytes_of_string(sub));
}

struct dots {
	const struct dot *list[512];
	size_t count;
	const struct object *object; /* what is shown */
	const char *field;	     /* siblings of which, that are not shown; NULL: all */
};

static void add_dot(void *context, const struct cell *cell, const struct sibling *sibling)
{
	struct dots *dots = context;

	if (dots->field && (!is_part(&cell->id, dots->field, "") ||
			    (cell->id.part != PART_WHOLE && cell->id.part != PART_REST)))
		return;
	for (size_t i = 0; dots->field && i < dots->object->count; i++)
		if (column_id_equal(&dots->object->columns[i].id, &cell->id) &&
		    bytes_equal(dots->object->columns[i].bytes, sibling->value))
			return;
	assert_true(dots->count < 512);
	dots->list[dots->count++] = &sibling->dot;
}

/* Nothing of the main resource's managers that came with a spec that is not shown. */
static void check_managers(const struct state *state, const struct visible *visible,
			   const struct object *object, struct seen *seen)
{
	struct dots hidden = {.object = object, .field = "spec"};

	each_shown(state, visible->uid, add_dot, &hidden);
	for (size_t i = 0; i < object->count; i++) {
		struct search search = {.column = &object->columns[i]};
		const struct column_id *id = &object->columns[i].id;

		if (!is_part(id, "metadata", "managedFields") || !id->entry.size ||
		    id->entry.data[id->entry.size - 1])
			continue;
		for (size_t j = 0; j < hidden.count && j < 64; j++)
			search.not_dots[search.not_count++] = hidden.list[j];
		each_shown(state, visible->uid, search_one, &search);
		assert_true(search.found);
	}
	seen->managers += hidden.count > 0;
}

static bool is_controller(const struct column *column)
{
	return is_part(&column->id, "metadata", "ownerReferences") &&
	       column->id.part == PART_ENTRY && column->bytes.size > 2 &&
	       (memmem(column->bytes.data, column->bytes.size, "controller\":true", 16) ||
		!memcmp(column->bytes.data + column->bytes.size - 2, "\x30\1", 2));
}

/* All of some columns have one and the same write, if this may be asked of them. */
static bool one_write(const struct state *state, const struct visible *visible,
		      const struct object *object, bool (*asked)(const struct column *))
{
	struct dots all = {0};

	each_shown(state, visible->uid, add_dot, &all);
	for (size_t d = 0; d < all.count; d++) {
		bool fits = true;

		for (size_t i = 0; fits && i < object->count; i++) {
			struct search search = {.column = &object->columns[i], .dot = all.list[d]};

			if (!asked(search.column))
				continue;
			each_shown(state, visible->uid, search_one, &search);
			fits = search.found;
		}
		if (fits)
			return true;
	}
	return false;
}

static bool is_of_one_piece(const struct column *column)
{
	return !is_apart(&column->id) && !is_part(&column->id, "metadata", "generation");
}

static void check_shown(struct world *world, unsigned site, struct seen *seen)
{
	const struct state *state = &world->states[site];
	struct visible visible = visible_at(world, site);
	struct object object;

	if (!visible.present)
		return;
	assert_int_equal(object_split(visible.value, &world->arena, &object), ERR_OK);
	assert_true(object.format != OBJECT_OPAQUE);
	check_managers(state, &visible, &object, seen);
	assert_true(one_write(state, &visible, &object, is_controller));
	if (world->policy.atomic)
		assert_true(one_write(state, &visible, &object, is_of_one_piece));
	for (size_t i = 0; i < state->count; i++)
		for (size_t j = 0; j < state->births[i].count; j++) {
			const struct cell *cell = &state->births[i].cells[j];
			struct column column = {cell->id, cell->siblings[0].value};
			bool shown = false;

			for (size_t k = 0; k < object.count; k++)
				shown |= column_id_equal(&object.columns[k].id, &cell->id);
			seen->controllers += !shown && is_controller(&column);
			seen->mixed += world->policy.atomic && cell->count > 1;
		}
}

static void check_meta(struct world *world, unsigned site, size_t *seen_bytes)
{
	struct visible visible = visible_at(world, site);
	struct shown shown = {visible.present, visible.value, NULL};
	struct dot plain = {actor_of(site), 1};
	struct state back;
	struct bytes meta;

	assert_int_equal(meta_encode(&world->states[site], &shown, &world->arena, &meta), ERR_OK);
	assert_int_equal(meta_decode(meta, &shown, &plain, &world->arena, &back), ERR_OK);
	assert_true(state_equal(&world->states[site], &back));
	*seen_bytes = meta.size;
	/* A state that cannot be shown (held back) is all in its meta. */
	shown = (struct shown){0};
	assert_int_equal(meta_encode(&world->states[site], &shown, &world->arena, &meta), ERR_OK);
	assert_int_equal(meta_decode(meta, &shown, &plain, &world->arena, &back), ERR_OK);
	assert_true(state_equal(&world->states[site], &back));
}

static void world_open(struct world *world)
{
	memset(world, 0, sizeof(*world));
	arena_init(&world->arena, ARENA_BYTES);
	world->events = calloc(STEPS * SITES + 1, sizeof(*world->events));
	world->kind = fake_kinds[random_below(FAKE_KINDS)];
	world->rule = random_below(8);
	world->policy = (struct policy){.context = world,
					.look = look,
					.rank = rank,
					.rank_birth = rank_birth,
					.update_wins = world->rule == 5,
					.atomic = world->rule >= 6};
}

static void world_close(struct world *world)
{
	for (unsigned site = 0; site < SITES; site++)
		vector_fini(&world->vectors[site]);
	free(world->events);
	arena_fini(&world->arena);
}

static void check_quiet(struct world *world)
{
	for (unsigned round = 0; round < 2; round++)
		for (unsigned site = 0; site < SITES; site++)
			pull(world, site, (site + 1) % SITES);
	for (unsigned site = 1; site < SITES; site++) {
		struct visible a = visible_at(world, 0), b = visible_at(world, site);

		assert_true(vector_equal(&world->vectors[0], &world->vectors[site]));
		assert_true(state_equal(&world->states[0], &world->states[site]));
		assert_int_equal(a.present, b.present);
		assert_true(bytes_equal(a.value, b.value));
	}
}

static void test_sites_agree_with_the_oracle_and_with_each_other(void **state)
{
	struct seen seen = {0};
	struct world *world = malloc(sizeof(*world));

	(void)state;
	random_start(__func__);
	for (unsigned run = random_runs(60); run > 0; run--) {
		world_open(world);
		write_at(world, 0);
		for (unsigned site = 1; site < SITES; site++)
			pull(world, site, 0);
		for (unsigned step = 0; step < STEPS; step++) {
			unsigned site = random_below(SITES);
			size_t bytes;

			if (random_below(2))
				write_at(world, site);
			else
				pull(world, site, (site + 1 + random_below(SITES - 1)) % SITES);
			check_site(world, site);
			check_meta(world, site, &bytes);
			check_shown(world, site, &seen);
			check_associative(world);
			seen.births += world->states[site].count > 1;
			seen.empty += world->states[site].count == 0;
			for (size_t i = 0; world->states[site].count > 0 &&
					   i < world->states[site].births[0].count;
			     i++)
				seen.siblings += world->states[site].births[0].cells[i].count > 1;
		}
		check_quiet(world);
		world_close(world);
	}
	printf("siblings %u, several births %u, deleted %u, controllers %u, managers %u, mixed "
	       "%u\n",
	       seen.siblings, seen.births, seen.empty, seen.controllers, seen.managers, seen.mixed);
	assert_true(seen.siblings && seen.births && seen.empty && seen.controllers &&
		    seen.managers && seen.mixed);
	free(world);
}

/* --- by example ------------------------------------------------------------------------------- */

static void test_changes_of_different_columns_are_both_kept(void **state)
{
	struct small *small = *state;

	put(small, 0, 1, OBJECT("\"labels\":{\"a\":\"1\"},", ",\"spec\":1,\"status\":1"));
	get(small, 1, 0);
	put(small, 0, 2,
	    OBJECT("\"labels\":{\"a\":\"1\",\"b\":\"2\"},", ",\"spec\":2,\"status\":1"));
	put(small, 1, 2, OBJECT("", ",\"spec\":1,\"status\":2"));
	get(small, 1, 0);
	get(small, 0, 1);
	/* The label that one side removed is gone, the other one's is there. */
	assert_shows(small, 0, OBJECT("\"labels\":{\"b\":\"2\"},", ",\"spec\":2,\"status\":2"));
	assert_shows(small, 1, OBJECT("\"labels\":{\"b\":\"2\"},", ",\"spec\":2,\"status\":2"));
}

static int first_site_wins(const struct policy *policy, const struct facts *facts,
			   const struct column_id *id, const struct actor *actor)
{
	(void)policy;
	(void)facts;
	(void)id;
	return -actor->site.bytes[0];
}

/* The schedule in which a store that throws away what a rule did not choose loses the column at
 * both sites. */
static void test_what_a_rule_did_not_choose_is_not_lost(void **state)
{
	struct small *small = *state;

	small->policy.rank = first_site_wins;
	put(small, 0, 1, OBJECT("", ",\"spec\":0"));
	get(small, 1, 0);
	get(small, 2, 0);
	put(small, 0, 2, OBJECT("", ",\"spec\":1")); /* the cloud */
	put(small, 1, 9, OBJECT("", ",\"spec\":2")); /* an edge, at the same time */
	get(small, 2, 0);
	put(small, 2, 3, OBJECT("", ",\"spec\":3")); /* another edge, which saw the cloud's */
	get(small, 0, 1); /* here the cloud's wins over the first edge's */
	assert_shows(small, 0, OBJECT("", ",\"spec\":1"));
	get(small, 0, 2);
	get(small, 1, 2);
	assert_shows(small, 0, OBJECT("", ",\"spec\":2"));
	assert_shows(small, 1, OBJECT("", ",\"spec\":2"));
	get(small, 0, 1);
	get(small, 1, 0);
	assert_shows(small, 0, OBJECT("", ",\"spec\":2"));
	assert_shows(small, 1, OBJECT("", ",\"spec\":2"));
	assert_true(state_equal(&small->states[0], &small->states[1]));
}

static void delete_against_update(struct small *small, bool update_wins)
{
	small->policy.update_wins = update_wins;
	put(small, 0, 1, OBJECT("", ",\"spec\":1,\"status\":1"));
	get(small, 1, 0);
	put(small, 0, 2, NULL);
	put(small, 1, 2, OBJECT("", ",\"spec\":2,\"status\":1"));
	get(small, 0, 1);
	get(small, 1, 0);
	/* All of the object or nothing. */
	assert_shows(small, 0, update_wins ? OBJECT("", ",\"spec\":2,\"status\":1") : "");
	assert_shows(small, 1, update_wins ? OBJECT("", ",\"spec\":2,\"status\":1") : "");
	put(small, 0, 3, NULL);
	get(small, 1, 0);
	assert_shows(small, 1, "");
}

static void test_delete_wins_over_a_concurrent_update(void **state)
{
	delete_against_update(*state, false);
}

static void test_update_wins_over_a_concurrent_delete(void **state)
{
	delete_against_update(*state, true);
}

static void test_generation_grows_where_two_specs_met(void **state)
{
	struct small *small = *state;

	put(small, 0, 1, OBJECT("\"generation\":4,", ",\"spec\":1"));
	get(small, 1, 0);
	put(small, 0, 2, OBJECT("\"generation\":5,", ",\"spec\":2"));
	put(small, 1, 3, OBJECT("\"generation\":5,", ",\"spec\":3"));
	get(small, 0, 1);
	assert_shows(small, 0, OBJECT("\"generation\":6,", ",\"spec\":3"));
	/* A write that leaves it as it saw it changes nothing about that. */
	put(small, 0, 4, OBJECT("\"generation\":6,", ",\"spec\":3,\"status\":1"));
	assert_shows(small, 0, OBJECT("\"generation\":6,", ",\"spec\":3,\"status\":1"));
	put(small, 0, 5, OBJECT("\"generation\":7,", ",\"spec\":4,\"status\":1"));
	get(small, 1, 0);
	assert_shows(small, 1, OBJECT("\"generation\":7,", ",\"spec\":4,\"status\":1"));
}

/* What is shown may be made from several siblings; a write that ends them must still be shown. */
static void test_what_was_written_is_shown_whatever_it_supersedes(void **state)
{
	struct small *small = *state;

	put(small, 0, 1, OBJECT("\"generation\":5,", ",\"spec\":1"));
	get(small, 1, 0);
	put(small, 0, 2, OBJECT("\"generation\":5,", ",\"spec\":2"));
	put(small, 1, 3, OBJECT("\"generation\":5,", ",\"spec\":3"));
	get(small, 0, 1);
	assert_shows(small, 0, OBJECT("\"generation\":6,", ",\"spec\":3"));
	put(small, 0, 4, OBJECT("\"generation\":6,", ",\"spec\":4"));
	assert_shows(small, 0, OBJECT("\"generation\":6,", ",\"spec\":4"));
}

#define DYING(finalizers, grace) OBJECT(grace "\"deletionTimestamp\":\"2026-01-0" finalizers, "")

static void test_the_last_finalizers_may_go_at_different_sites(void **state)
{
	struct small *small = *state;
	struct visible visible;

	put(small, 0, 1, DYING("3T00:00:00Z\",\"finalizers\":[\"x\",\"y\"],", ""));
	get(small, 1, 0);
	put(small, 0, 2, DYING("2T00:00:00Z\",\"finalizers\":[\"x\"],", ""));
	put(small, 1, 1, DYING("1T00:00:00Z\",\"finalizers\":[\"y\"],", ""));
	show(small, 0, &visible);
	assert_false(visible.deletion_due);
	get(small, 0, 1);
	assert_shows(small, 0, DYING("1T00:00:00Z\",", ""));
	show(small, 0, &visible);
	assert_true(visible.deletion_due);
}

static void test_time_to_go_decides_whether_a_deletion_is_due(void **state)
{
	struct small *small = *state;
	struct visible visible;

	put(small, 0, 1, DYING("2T00:00:00Z\",", "\"deletionGracePeriodSeconds\":30,"));
	show(small, 0, &visible);
	assert_false(visible.deletion_due);
	put(small, 0, 2, DYING("2T00:00:00Z\",", "\"deletionGracePeriodSeconds\":0,"));
	show(small, 0, &visible);
	assert_true(visible.deletion_due);
}

static void test_meta_of_an_object_of_one_site_is_small(void **state)
{
	struct small *small = *state;
	struct visible visible;
	struct shown shown = {true, {0}, NULL};
	struct bytes meta;

	put(small, 0, 1, OBJECT("", ",\"spec\":1,\"status\":1"));
	get(small, 1, 0);
	show(small, 0, &visible);
	shown.value = visible.value;
	assert_int_equal(meta_encode(&small->states[0], &shown, &small->arena, &meta), ERR_OK);
	assert_true(meta.size <= 40);
	put(small, 1, 2, OBJECT("", ",\"spec\":1,\"status\":2"));
	show(small, 1, &visible);
	shown.value = visible.value;
	assert_int_equal(meta_encode(&small->states[1], &shown, &small->arena, &meta), ERR_OK);
	assert_true(meta.size <= 72); /* two sites */
}

static void test_a_row_without_meta_was_written_in_one_go(void **state)
{
	struct small *small = *state;
	struct shown shown = {true, BYTES_LITERAL(OBJECT("", ",\"spec\":1")), NULL};
	struct dot dot = {actor_of(1), 7};
	struct state plain;

	assert_int_equal(meta_decode(bytes_of(NULL, 0), &shown, &dot, &small->arena, &plain),
			 ERR_OK);
	assert_int_equal(plain.count, 1);
	assert_true(dot_equal(&plain.births[0].dot, &dot));
	shown = (struct shown){0};
	assert_int_equal(meta_decode(bytes_of(NULL, 0), &shown, &dot, &small->arena, &plain),
			 ERR_OK);
	assert_int_equal(plain.count, 0);
}

static void test_changed_meta_is_refused_or_is_another_state(void **state)
{
	struct small *small = *state;
	struct shown shown = {.present = true};
	unsigned refused = 0, accepted = 0;
	struct dot plain = {actor_of(1), 7};
	struct visible visible;
	struct bytes meta;

	random_start(__func__);
	put(small, 0, 1, OBJECT("\"labels\":{\"a\":\"1\"},", ",\"spec\":1,\"status\":1"));
	get(small, 1, 0);
	put(small, 0, 2, OBJECT("\"labels\":{\"b\":\"1\"},", ",\"spec\":2,\"status\":1"));
	put(small, 1, 3, OBJECT("", ",\"spec\":3,\"status\":2"));
	get(small, 0, 1);
	show(small, 0, &visible);
	shown.value = visible.value;
	assert_int_equal(meta_encode(&small->states[0], &shown, &small->arena, &meta), ERR_OK);
	for (unsigned run = random_runs(20000); run > 0; run--) {
		size_t size = random_below(4) ? meta.size : 1 + random_below((unsigned)meta.size);
		uint8_t *copy = malloc(size);
		struct arena arena;
		struct state back;
		enum err e;

		arena_init(&arena, ARENA_BYTES);
		memcpy(copy, meta.data, size);
		for (unsigned changes = random_below(3); changes > 0; changes--)
			copy[random_below((unsigned)size)] = (uint8_t)random_next();
		e = meta_decode(bytes_of(copy, size), &shown, &plain, &arena, &back);
		assert_true(e == ERR_OK || e == ERR_MALFORMED);
		refused += e != ERR_OK;
		accepted += e == ERR_OK;
		for (size_t i = 0; i < back.count; i++)
			for (size_t j = 1; j < back.births[i].count; j++)
				assert_true(column_id_compare(&back.births[i].cells[j - 1].id,
							      &back.births[i].cells[j].id) < 0);
		arena_fini(&arena);
		free(copy);
	}
	assert_true(refused > 0 && accepted > 0);
}

#define SMALL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sites_agree_with_the_oracle_and_with_each_other),
		SMALL(test_changes_of_different_columns_are_both_kept),
		SMALL(test_what_a_rule_did_not_choose_is_not_lost),
		SMALL(test_delete_wins_over_a_concurrent_update),
		SMALL(test_update_wins_over_a_concurrent_delete),
		SMALL(test_generation_grows_where_two_specs_met),
		SMALL(test_what_was_written_is_shown_whatever_it_supersedes),
		SMALL(test_the_last_finalizers_may_go_at_different_sites),
		SMALL(test_time_to_go_decides_whether_a_deletion_is_due),
		SMALL(test_meta_of_an_object_of_one_site_is_small),
		SMALL(test_a_row_without_meta_was_written_in_one_go),
		SMALL(test_changed_meta_is_refused_or_is_another_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
