/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/engine/identity.h"

#include "shim/base/crc32c.h"
#include "sync/wire.h"

#include <assert.h>

#define CHANCE_MASK ((UINT32_C(1) << INCARNATION_CHANCE_BITS) - 1)
#define COUNT_MAX (UINT32_MAX >> INCARNATION_CHANCE_BITS)

struct actor identity_self(const struct identity *identity)
{
	assert(identity->count);
	return (struct actor){identity->site, identity->incarnations[identity->count - 1].number};
}

int64_t identity_begin(const struct identity *identity)
{
	assert(identity->count);
	return identity->incarnations[identity->count - 1].begin;
}

struct actor identity_actor_at(const struct identity *identity, int64_t revision)
{
	const struct incarnation *found = &identity->incarnations[0];

	for (size_t i = 1; i < identity->count; i++)
		if (identity->incarnations[i].begin < revision)
			found = &identity->incarnations[i];
	return (struct actor){found->site, found->number};
}

static void add(struct identity *identity, int64_t begin, uint32_t count, uint64_t random)
{
	if (identity->count == INCARNATIONS_KEPT_MAX) {
		memmove(identity->incarnations, identity->incarnations + 1,
			(INCARNATIONS_KEPT_MAX - 1) * sizeof(*identity->incarnations));
		identity->count--;
	}
	identity->incarnations[identity->count++] = (struct incarnation){
		.site = identity->site,
		.number = count << INCARNATION_CHANCE_BITS | ((uint32_t)random & CHANCE_MASK),
		.begin = begin,
	};
}

void identity_begin_next(struct identity *identity, int64_t begin, uint32_t heard, uint64_t random)
{
	uint32_t newest = identity->count ? identity->incarnations[identity->count - 1].number : 0;
	uint32_t count = ((newest > heard ? newest : heard) >> INCARNATION_CHANCE_BITS) + 1;

	if (count > COUNT_MAX) { /* a site of its own from now on */
		memcpy(identity->site.bytes, &random, sizeof(random));
		count = 1;
	}
	add(identity, begin, count, random);
}

void identity_begin_site(struct identity *identity, const struct site *site, int64_t begin,
			 uint64_t random)
{
	identity->site = *site;
	add(identity, begin, 1, random);
}

bool identity_encode(const struct identity *identity, struct buffer *buffer)
{
	bool fits = buffer_append(buffer, bytes_of(identity->site.bytes, SITE_BYTES)) &&
		    wire_put_number(buffer, identity->count);

	for (size_t i = 0; fits && i < identity->count; i++)
		fits = buffer_append(buffer,
				     bytes_of(identity->incarnations[i].site.bytes, SITE_BYTES)) &&
		       wire_put_number(buffer, identity->incarnations[i].number) &&
		       wire_put_number(buffer, (uint64_t)identity->incarnations[i].begin);
	return fits;
}

bool identity_decode(struct bytes bytes, struct identity *ret_identity)
{
	struct wire wire = wire_of(bytes);
	struct identity identity = {.count = 0};
	uint64_t count, number, begin;
	struct bytes site;

	if (!wire_take_fixed(&wire, SITE_BYTES, &site) ||
	    !wire_take_number(&wire, INCARNATIONS_KEPT_MAX, &count) || !count)
		return false;
	memcpy(identity.site.bytes, site.data, SITE_BYTES);
	while (identity.count < count) {
		struct incarnation *incarnation = &identity.incarnations[identity.count++];

		if (!wire_take_fixed(&wire, SITE_BYTES, &site) ||
		    !wire_take_number(&wire, UINT32_MAX, &number) ||
		    !wire_take_number(&wire, REV_MAIN_MAX, &begin))
			return false;
		memcpy(incarnation->site.bytes, site.data, SITE_BYTES);
		incarnation->number = (uint32_t)number;
		incarnation->begin = (int64_t)begin;
	}
	*ret_identity = identity;
	return !wire_left(&wire);
}

/* --- the witness ----------------------------------------------------------------------------- */

bool witness_encode(const struct witness *witness, struct buffer *buffer)
{
	uint32_t crc;

	if (!actor_put(buffer, &witness->self) ||
	    !wire_put_number(buffer, (uint64_t)witness->from) ||
	    !wire_put_number(buffer, (uint64_t)witness->end) ||
	    !wire_put_bytes(buffer, bytes_of(witness->disk, witness->disk_bytes)))
		return false;
	crc = crc32c(0, buffer_bytes(buffer));
	return buffer_append(buffer, bytes_of(&crc, sizeof(crc)));
}

bool witness_decode(struct bytes bytes, struct witness *ret_witness)
{
	struct witness witness = {.from = 0};
	struct wire wire;
	struct bytes disk;
	uint64_t from, end;
	uint32_t crc;

	if (bytes.size < sizeof(crc))
		return false;
	bytes.size -= sizeof(crc);
	memcpy(&crc, bytes.data + bytes.size, sizeof(crc));
	if (crc != crc32c(0, bytes))
		return false;
	wire = wire_of(bytes);
	if (!actor_take(&wire, &witness.self) || !wire_take_number(&wire, REV_MAIN_MAX, &from) ||
	    !wire_take_number(&wire, REV_MAIN_MAX + 1, &end) ||
	    !wire_take_bytes(&wire, DISK_BYTES_MAX, &disk) || wire_left(&wire))
		return false;
	witness.from = (int64_t)from;
	witness.end = (int64_t)end;
	witness.disk_bytes = disk.size;
	if (disk.size)
		memcpy(witness.disk, disk.data, disk.size);
	*ret_witness = witness;
	return true;
}
