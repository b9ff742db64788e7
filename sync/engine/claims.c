/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/engine/claims.h"

#include "sync/engine/records.h"

void claims_fini(struct claims *claims)
{
	for (size_t i = 0; i < claims->count; i++)
		vector_fini(&claims->list[i].vector);
	claims->count = 0;
}

const struct claim *claims_find(const struct claims *claims, uint64_t id)
{
	for (size_t i = 0; i < claims->count; i++)
		if (claims->list[i].id == id)
			return &claims->list[i];
	return NULL;
}

static void drop(struct claims *claims, size_t index)
{
	vector_fini(&claims->list[index].vector);
	claims->count--;
	memmove(claims->list + index, claims->list + index + 1,
		(claims->count - index) * sizeof(*claims->list));
}

enum err claims_add(struct claims *claims, uint64_t id, const struct vector *vector)
{
	struct claim claim = {.id = id};

	if (claims_find(claims, id))
		return ERR_OK;
	if (vector_copy(vector, &claim.vector))
		return ERR_NOMEM;
	if (claims->count == CLAIMS_MAX)
		drop(claims, 0);
	claims->list[claims->count++] = claim;
	return ERR_OK;
}

enum err claims_copy(const struct claims *from, struct claims *to)
{
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < from->count; i++)
		e = claims_add(to, from->list[i].id, &from->list[i].vector);
	return e;
}

bool claims_prune(struct claims *claims, enum group group, const struct vector *vector)
{
	size_t before = claims->count;

	for (size_t i = claims->count; i-- > 0;)
		if ((claims->list[i].id & 1) == (uint64_t)group &&
		    vector_covers(vector, &claims->list[i].vector))
			drop(claims, i);
	return claims->count < before;
}

enum err claims_put(struct apply *apply, const struct claims *claims)
{
	struct record_name name = record_claims();
	struct buffer buffer = BUFFER_INIT(CLAIMS_MAX * (VECTOR_BYTES_MAX / 16));
	bool fits = true;
	enum err e;

	for (size_t i = 0; fits && i < claims->count; i++)
		fits = buffer_append(&buffer, bytes_of(&claims->list[i].id, 8)) &&
		       vector_encode(&claims->list[i].vector, &buffer);
	e = fits ? apply_set_state(apply, record_bytes(&name), buffer_bytes(&buffer))
		 : fault(ERR_NOMEM, "the record of claims");
	buffer_fini(&buffer);
	return e;
}

static enum err decode(struct claims *claims, struct bytes value)
{
	struct wire wire = wire_of(value);

	while (wire_left(&wire)) {
		struct claim claim = {.id = 0};
		struct bytes id;

		if (claims->count == CLAIMS_MAX || !wire_take_fixed(&wire, 8, &id) ||
		    vector_decode(&wire, &claim.vector))
			return fault(ERR_DAMAGED, "the record of claims cannot be read");
		memcpy(&claim.id, id.data, 8);
		claims->list[claims->count++] = claim;
	}
	return ERR_OK;
}

enum err claims_load(struct claims *claims, struct store_reader *reader)
{
	struct record_name name = record_claims();
	struct arena arena;
	struct bytes value = {0};
	bool found = false;
	enum err e;

	arena_init(&arena, CLAIMS_MAX * (VECTOR_BYTES_MAX / 16) + KIB);
	e = store_state_get(reader, record_bytes(&name), &arena, &found, &value);
	if (!e && found)
		e = decode(claims, value);
	arena_fini(&arena);
	return e;
}
