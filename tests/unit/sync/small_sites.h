/* SPDX-License-Identifier: Apache-2.0 */
/* small_sites.h - three sites with one key, for examples: put a text, get from another, look.
 * Included behind cmocka. */
#ifndef TESTS_UNIT_SYNC_SMALL_SITES_H
#define TESTS_UNIT_SYNC_SMALL_SITES_H

#include "sync/merge/visible.h"

#include <stdlib.h>

#define SITES 3
#define ARENA_BYTES (512 * 1024 * 1024)

static inline struct actor actor_of(unsigned site)
{
	struct actor actor = {.incarnation = 1};

	actor.site.bytes[0] = (uint8_t)site;
	return actor;
}

struct small { /* sites that write JSON */
	struct arena arena;
	struct state states[SITES];
	struct vector vectors[SITES];
	int64_t revisions[SITES];
	struct policy policy;
};

static inline int setup(void **state)
{
	struct small *small = calloc(1, sizeof(*small));

	arena_init(&small->arena, ARENA_BYTES);
	*state = small;
	return 0;
}

static inline int teardown(void **state)
{
	struct small *small = *state;

	for (unsigned site = 0; site < SITES; site++)
		vector_fini(&small->vectors[site]);
	arena_fini(&small->arena);
	free(small);
	return 0;
}

static inline const char *show(struct small *small, unsigned site, struct visible *visible)
{
	char *text;

	assert_int_equal(
		state_visible(&small->states[site], &small->policy, &small->arena, visible),
		ERR_OK);
	text = arena_calloc(&small->arena, visible->value.size + 1, 1);
	if (visible->value.size)
		memcpy(text, visible->value.data, visible->value.size);
	return text;
}

/* NULL deletes. */
static inline void put(struct small *small, unsigned site, hlc_stamp stamp, const char *text)
{
	struct visible before;
	struct actor actor = actor_of(site);
	struct write write = {.old = &small->states[site],
			      .value = bytes_of_string(text ? text : ""),
			      .deleted = !text,
			      .dot = {actor, ++small->revisions[site]},
			      .stamp = stamp};
	struct state written;

	assert_true(arena_copy(&small->arena, write.value, &write.value));
	show(small, site, &before);
	write.old_value = before.value;
	write.old_present = before.present;
	assert_int_equal(state_write(&write, &small->policy, &small->arena, &written), ERR_OK);
	small->states[site] = written;
	assert_int_equal(vector_add(&small->vectors[site], &actor, 1, write.dot.revision), ERR_OK);
}

static inline void get(struct small *small, unsigned to, unsigned from)
{
	struct context contexts[2] = {{.vector = &small->vectors[to]},
				      {.vector = &small->vectors[from]}};
	struct side sides[2] = {{&small->states[to], &contexts[0]},
				{&small->states[from], &contexts[1]}};
	struct state merged;

	assert_int_equal(state_merge(&sides[0], &sides[1], &small->arena, &merged), ERR_OK);
	small->states[to] = merged;
	assert_int_equal(vector_merge(&small->vectors[to], &small->vectors[from]), ERR_OK);
}

static inline void assert_shows(struct small *small, unsigned site, const char *text)
{
	struct visible visible;
	const char *seen = show(small, site, &visible);

	assert_string_equal(seen, text);
	assert_int_equal(visible.present, *text != 0);
}

#define OBJECT(meta, rest)                                                                         \
	"{\"apiVersion\":\"v1\",\"kind\":\"W\",\"metadata\":{" meta "\"uid\":\"u\"}" rest "}\n"

#endif
