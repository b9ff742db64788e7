/* SPDX-License-Identifier: Apache-2.0 */
/* oracle.h - what every site must hold, without any of sync's algebra: a list
 * of all client writes, for each what it put there and what it took away, and
 * sets of them.
 *
 * A site that has taken in a set of writes must hold of each key exactly the
 * values that these writes put there and none of them took away.  Births work
 * the same: an object is there while no write of the set took it away, and what
 * belongs to an object that is gone is gone.
 *
 * What a write took away is what its site held before and not after; whether it
 * may do that is checked apart (check_write() in reading.h).  It also takes
 * away all that was taken away by those whose values its site held, which it
 * cannot have been unaware of.
 *
 * Ownership: zeroed memory .. oracle_fini; facts_fini() for facts. */
#ifndef TESTS_SIM_ORACLE_H
#define TESTS_SIM_ORACLE_H

#include "sync/causal/dot.h"

#define WRITES_MAX 4096

struct known { /* a set of writes */
	uint64_t words[WRITES_MAX / 64];
};

static inline bool known_has(const struct known *known, unsigned write)
{
	return known->words[write / 64] >> write % 64 & 1;
}

static inline void known_add(struct known *known, unsigned write)
{
	known->words[write / 64] |= UINT64_C(1) << write % 64;
}

static inline void known_remove(struct known *known, unsigned write)
{
	known->words[write / 64] &= ~(UINT64_C(1) << write % 64);
}

void known_merge(struct known *into, const struct known *from);
/* The first that `other` has and `known` has not; WRITES_MAX when there is
 * none. */
unsigned known_lacks(const struct known *known, const struct known *other);
bool known_equal(const struct known *a, const struct known *b);

struct fact {		/* one value of one column of one object */
	unsigned birth; /* the write that created the object */
	unsigned write; /* the one that put the value there */
	uint64_t column;
	uint64_t value; /* a hash */
};

struct fact_set { /* ascending, none twice */
	struct fact *list;
	size_t count;
};

void facts_fini(struct fact_set *facts);
void facts_sort(struct fact_set *facts);
void facts_copy(const struct fact_set *facts, struct fact_set *ret_copy);
bool facts_equal(const struct fact_set *a, const struct fact_set *b);
/* The first of `facts` that `other` lacks; NULL: none. */
const struct fact *facts_lack(const struct fact_set *facts, const struct fact_set *other);
bool facts_have_birth(const struct fact_set *facts, unsigned birth);

struct sim_write {
	unsigned key;
	unsigned site;
	struct actor actor;
	int64_t revision;
	bool deleted;
	/* Done at a site that was set back without knowing it: its dot may have been
   * given out before, until the site and its peer have found out. */
	bool provisional;
	bool lost;	      /* was at one site alone, which was set back or destroyed */
	bool dead;	      /* ... and its dot is given out again */
	unsigned alias;	      /* the same write under its newest dot, plus one; 0: it has
                     one dot */
	struct known context; /* what its site had taken in */
	struct fact_set made;
	struct fact_set taken; /* away */
	unsigned *births_taken;
	size_t birth_count;
};

struct oracle {
	struct sim_write *writes;
	unsigned count;
};

void oracle_fini(struct oracle *oracle);

/* Notes a write by what its site held of the key before and after, whose new
 * facts name it by the number that it will have, which is the count. */
unsigned oracle_add(struct oracle *oracle, const struct sim_write *write,
		    const struct fact_set *before, const struct fact_set *after);

/* The same write once more, under another actor: a site that was set back tells
 * again what it cannot know that others have.  Where both are known, the value
 * is there twice. */
unsigned oracle_alias(struct oracle *oracle, unsigned number, const struct actor *actor);

/* The write that a dot names where `site` says so; WRITES_MAX: none. */
unsigned oracle_find(const struct oracle *oracle, unsigned site, unsigned key,
		     const struct dot *dot);

/* What is to be held of the key where these writes were taken in. */
void oracle_expect(const struct oracle *oracle, unsigned key, const struct known *known,
		   struct fact_set *ret_facts);

#endif
