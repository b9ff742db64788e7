/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/engine/records.h"

#include <assert.h>
#include <stdio.h>

#define HELD "held/"

static void add(struct record_name *name, const void *data, size_t size)
{
	assert(name->size + size <= sizeof(name->data));
	memcpy(name->data + name->size, data, size);
	name->size += size;
}

static void add_number(struct record_name *name, uint64_t number, size_t size)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(number >> 8 * (size - 1 - i));
	add(name, bytes, size);
}

static struct record_name named(const char *text)
{
	struct record_name name = {.size = 0};

	add(&name, text, strlen(text));
	return name;
}

static struct record_name of_clock(enum group group, const char *what)
{
	char text[RECORD_NAME_BYTES_MAX];

	snprintf(text, sizeof(text), "clock/%d/%s", (int)group, what);
	return named(text);
}

struct record_name record_base(enum group group)
{
	return of_clock(group, "base");
}

struct record_name record_barrier(enum group group)
{
	return of_clock(group, "barrier");
}

struct record_name record_step(enum group group, int64_t revision)
{
	struct record_name name = of_clock(group, "step/");

	add_number(&name, (uint64_t)revision, 8);
	return name;
}

bool record_step_revision(struct bytes name, int64_t *ret_revision)
{
	uint64_t revision = 0;

	if (name.size != record_step(GROUP_CORE, 0).size)
		return false;
	for (size_t i = name.size - 8; i < name.size; i++)
		revision = revision << 8 | name.data[i];
	if (revision > REV_MAIN_MAX)
		return false;
	*ret_revision = (int64_t)revision;
	return true;
}

struct record_name record_identity(void)
{
	return named("identity");
}

struct record_name record_healing(void)
{
	return named("healing");
}

struct record_name record_stamp(void)
{
	return named("stamp");
}

struct record_name record_peer(const struct site *site)
{
	struct record_name name = named("peer/");

	add(&name, site->bytes, SITE_BYTES);
	return name;
}

struct record_name record_shown(void)
{
	return named("shown");
}

struct record_name record_claims(void)
{
	return named("claims");
}

struct record_name record_journal(int64_t revision, uint32_t number)
{
	struct record_name name = named("journal/");

	add_number(&name, (uint64_t)revision, 8);
	add_number(&name, number, 4);
	return name;
}

bool record_held(struct bytes key, struct arena *arena, struct bytes *ret_name)
{
	uint8_t *name = arena_alloc(arena, sizeof(HELD) - 1 + key.size);

	if (!name)
		return false;
	memcpy(name, HELD, sizeof(HELD) - 1);
	if (key.size)
		memcpy(name + sizeof(HELD) - 1, key.data, key.size);
	*ret_name = bytes_of(name, sizeof(HELD) - 1 + key.size);
	return true;
}

void record_range(enum record_kind kind, struct record_name *ret_from, struct record_name *ret_end)
{
	static const char *const prefixes[] = {
		[RECORD_PEERS] = "peer/",
		[RECORD_HELD] = HELD,
		[RECORD_JOURNAL] = "journal/",
	};

	*ret_from = *ret_end = named(prefixes[kind]);
	ret_end->data[ret_end->size - 1]++; /* '/' + 1 */
}
