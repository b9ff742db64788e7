/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/oracle.h"

#include <assert.h>
#include <stdlib.h>

/* --- sets of writes
 * ---------------------------------------------------------------------------
 */

#define WORDS (WRITES_MAX / 64)

void known_merge(struct known *into, const struct known *from)
{
	for (size_t i = 0; i < WORDS; i++)
		into->words[i] |= from->words[i];
}

unsigned known_lacks(const struct known *known, const struct known *other)
{
	for (unsigned i = 0; i < WORDS; i++)
		if (other->words[i] & ~known->words[i])
			return i * 64 +
			       (unsigned)__builtin_ctzll(other->words[i] & ~known->words[i]);
	return WRITES_MAX;
}

bool known_equal(const struct known *a, const struct known *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* --- facts
 * ------------------------------------------------------------------------------------
 */

static int compare_facts(const void *left, const void *right)
{
	const struct fact *a = left, *b = right;

	if (a->birth != b->birth)
		return a->birth < b->birth ? -1 : 1;
	if (a->write != b->write)
		return a->write < b->write ? -1 : 1;
	if (a->column != b->column)
		return a->column < b->column ? -1 : 1;
	return a->value < b->value ? -1 : a->value > b->value;
}

void facts_fini(struct fact_set *facts)
{
	free(facts->list);
	*facts = (struct fact_set){0};
}

static void facts_put(struct fact_set *facts, const struct fact *fact)
{
	if (!(facts->count & (facts->count - 1))) { /* grows at each power of two */
		size_t capacity = facts->count ? 2 * facts->count : 1;

		facts->list = realloc(facts->list, capacity * sizeof(*fact));
		assert(facts->list);
	}
	facts->list[facts->count++] = *fact;
}

void facts_sort(struct fact_set *facts)
{
	size_t kept = 0;

	if (!facts->count)
		return;
	qsort(facts->list, facts->count, sizeof(*facts->list), compare_facts);
	for (size_t i = 1; i < facts->count; i++)
		if (compare_facts(&facts->list[kept], &facts->list[i]))
			facts->list[++kept] = facts->list[i];
	facts->count = kept + 1;
}

void facts_copy(const struct fact_set *facts, struct fact_set *ret_copy)
{
	*ret_copy = (struct fact_set){0};
	for (size_t i = 0; i < facts->count; i++)
		facts_put(ret_copy, &facts->list[i]);
}

bool facts_equal(const struct fact_set *a, const struct fact_set *b)
{
	return !facts_lack(a, b) && !facts_lack(b, a);
}

static bool facts_have(const struct fact_set *facts, const struct fact *fact)
{
	return facts->count &&
	       bsearch(fact, facts->list, facts->count, sizeof(*fact), compare_facts);
}

const struct fact *facts_lack(const struct fact_set *facts, const struct fact_set *other)
{
	for (size_t i = 0; i < facts->count; i++)
		if (!facts_have(other, &facts->list[i]))
			return &facts->list[i];
	return NULL;
}

bool facts_have_birth(const struct fact_set *facts, unsigned birth)
{
	for (size_t i = 0; i < facts->count; i++)
		if (facts->list[i].birth == birth)
			return true;
	return false;
}

/* --- writes
 * -----------------------------------------------------------------------------------
 */

void oracle_fini(struct oracle *oracle)
{
	for (unsigned i = 0; i < oracle->count; i++) {
		facts_fini(&oracle->writes[i].made);
		facts_fini(&oracle->writes[i].taken);
		free(oracle->writes[i].births_taken);
	}
	free(oracle->writes);
	*oracle = (struct oracle){0};
}

static bool took_birth(const struct sim_write *write, unsigned birth)
{
	for (size_t i = 0; i < write->birth_count; i++)
		if (write->births_taken[i] == birth)
			return true;
	return false;
}

static void take_birth(struct sim_write *write, unsigned birth)
{
	if (took_birth(write, birth))
		return;
	write->births_taken = realloc(write->births_taken,
				      (write->birth_count + 1) * sizeof(*write->births_taken));
	assert(write->births_taken);
	write->births_taken[write->birth_count++] = birth;
}

static void take_as(struct sim_write *write, const struct sim_write *earlier)
{
	for (size_t i = 0; i < earlier->taken.count; i++)
		facts_put(&write->taken, &earlier->taken.list[i]);
	for (size_t i = 0; i < earlier->birth_count; i++)
		take_birth(write, earlier->births_taken[i]);
}

unsigned oracle_add(struct oracle *oracle, const struct sim_write *write,
		    const struct fact_set *before, const struct fact_set *after)
{
	unsigned number = oracle->count;
	struct sim_write *added;

	assert(number < WRITES_MAX);
	if (!oracle->writes) {
		oracle->writes = calloc(WRITES_MAX, sizeof(*oracle->writes));
		assert(oracle->writes);
	}
	added = &oracle->writes[oracle->count++];
	*added = *write;
	for (size_t i = 0; i < after->count; i++)
		if (after->list[i].write == number)
			facts_put(&added->made, &after->list[i]);
	for (size_t i = 0; i < before->count; i++) {
		const struct fact *fact = &before->list[i];

		if (!facts_have(after, fact))
			facts_put(&added->taken, fact);
		if (!facts_have_birth(after, fact->birth))
			take_birth(added, fact->birth);
		if (!i || before->list[i - 1].write != fact->write)
			take_as(added, &oracle->writes[fact->write]);
		if (!i || before->list[i - 1].birth != fact->birth)
			take_as(added, &oracle->writes[fact->birth]);
	}
	facts_sort(&added->taken);
	return number;
}

static unsigned alias_of(const struct oracle *oracle, unsigned number)
{
	unsigned alias = oracle->writes[number].alias;

	return alias ? alias - 1 : number;
}

/* The same facts in terms of aliases. */
static void put_aliased(const struct oracle *oracle, const struct fact_set *from,
			struct fact_set *into)
{
	for (size_t i = 0; i < from->count; i++) {
		struct fact fact = from->list[i];

		fact.birth = alias_of(oracle, fact.birth);
		fact.write = alias_of(oracle, fact.write);
		facts_put(into, &fact);
	}
	facts_sort(into);
}

/* What it took away, it took away under all dots. */
static void take_aliases(const struct oracle *oracle, struct sim_write *write)
{
	struct fact_set before;

	facts_copy(&write->taken, &before);
	put_aliased(oracle, &before, &write->taken);
	facts_fini(&before);
	for (size_t i = 0; i < write->birth_count; i++)
		take_birth(write, alias_of(oracle, write->births_taken[i]));
}

unsigned oracle_alias(struct oracle *oracle, unsigned number, const struct actor *actor)
{
	const struct sim_write *write = &oracle->writes[number];
	unsigned alias = oracle->count++;
	struct sim_write *added = &oracle->writes[alias];

	assert(alias < WRITES_MAX);
	*added = (struct sim_write){.key = write->key,
				    .site = write->site,
				    .actor = *actor,
				    .revision = write->revision,
				    .deleted = write->deleted,
				    .context = write->context};
	oracle->writes[number].alias = alias + 1;
	put_aliased(oracle, &write->made, &added->made);
	put_aliased(oracle, &write->taken, &added->taken);
	take_as(added, write);
	for (size_t i = 0; i < write->birth_count; i++)
		take_birth(added, alias_of(oracle, write->births_taken[i]));
	facts_sort(&added->taken);
	for (unsigned i = 0; i < oracle->count; i++)
		if (oracle->writes[i].key == added->key &&
		    !actor_compare(&oracle->writes[i].actor, actor))
			take_aliases(oracle, &oracle->writes[i]);
	for (unsigned i = 0; i < oracle->count; i++) {
		struct known *context = &oracle->writes[i].context;

		if (oracle->writes[i].site != write->site || !known_has(context, number))
			continue;
		known_remove(context, number);
		known_add(context, alias);
	}
	return alias;
}

unsigned oracle_find(const struct oracle *oracle, unsigned site, unsigned key,
		     const struct dot *dot)
{
	unsigned found = WRITES_MAX;

	for (unsigned i = 0; i < oracle->count; i++) {
		const struct sim_write *write = &oracle->writes[i];

		if (write->revision != dot->revision || write->key != key || write->dead ||
		    actor_compare(&write->actor, &dot->actor))
			continue;
		if (write->provisional && write->site == site)
			return i;
		if (found == WRITES_MAX || !write->provisional)
			found = i;
	}
	return found;
}

/* Of all writes of the key in the set: what they took away. */
static void all_taken(const struct oracle *oracle, unsigned key, const struct known *known,
		      struct sim_write *all)
{
	for (unsigned i = 0; i < oracle->count; i++)
		if (oracle->writes[i].key == key && known_has(known, i))
			take_as(all, &oracle->writes[i]);
	facts_sort(&all->taken);
}

void oracle_expect(const struct oracle *oracle, unsigned key, const struct known *known,
		   struct fact_set *ret_facts)
{
	struct sim_write all = {0};

	*ret_facts = (struct fact_set){0};
	all_taken(oracle, key, known, &all);
	for (unsigned i = 0; i < oracle->count; i++) {
		const struct fact_set *made = &oracle->writes[i].made;

		if (oracle->writes[i].key != key || !known_has(known, i))
			continue;
		for (size_t j = 0; j < made->count; j++)
			if (!facts_have(&all.taken, &made->list[j]) &&
			    !took_birth(&all, made->list[j].birth))
				facts_put(ret_facts, &made->list[j]);
	}
	facts_fini(&all.taken);
	free(all.births_taken);
	facts_sort(ret_facts);
}
