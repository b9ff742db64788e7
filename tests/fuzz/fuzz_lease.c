/* SPDX-License-Identifier: Apache-2.0 */
/* Leases: a program of grants, revokes, attachments, renewals and a clock, beside a plain table.
 *
 * What must hold: a key hangs on the lease of its last attachment and on no other; leases are due
 * in the order of their expiry and never early; what is due no longer renews. */
#include "tests/fuzz/fuzz.h"

#include "shim/base/clock.h"
#include "shim/store/lease.h"

#include <stdlib.h>

#define LEASES 8
#define KEYS 16

struct model {
	struct lessor *lessor;
	int64_t now_ns;
	struct {
		bool lives;
		int64_t ttl;
		int64_t expiry_ns;
	} leases[LEASES + 1]; /* by id */
	int64_t key_lease[KEYS];
	uint8_t key_bytes[KEYS][2];
};

static struct bytes key_of(const struct model *model, unsigned i)
{
	return bytes_of(model->key_bytes[i], 2);
}

static size_t keys_on(const struct model *model, int64_t id)
{
	size_t count = 0;

	for (unsigned i = 0; i < KEYS; i++)
		count += model->key_lease[i] == id;
	return count;
}

static void do_grant(struct model *model, struct fuzz_input *input, int64_t id)
{
	int64_t ttl = 1 + fuzz_byte(input);
	enum err e = lessor_grant(model->lessor, id, ttl, model->now_ns);

	fuzz_must(e == (model->leases[id].lives ? ERR_LEASE_EXISTS : ERR_OK));
	if (e)
		return;
	model->leases[id].lives = true;
	model->leases[id].ttl = ttl;
	model->leases[id].expiry_ns = model->now_ns + ttl * NS_PER_SECOND;
}

static void do_revoke(struct model *model, int64_t id)
{
	fuzz_must(lessor_revoke(model->lessor, id) ==
		  (model->leases[id].lives ? ERR_OK : ERR_LEASE_NOT_FOUND));
	model->leases[id].lives = false;
	for (unsigned i = 0; i < KEYS; i++)
		if (model->key_lease[i] == id)
			model->key_lease[i] = 0;
}

static void do_attach(struct model *model, struct fuzz_input *input, int64_t id)
{
	unsigned key = fuzz_below(input, KEYS);
	enum err e = lessor_attach(model->lessor, key_of(model, key), id);

	fuzz_must(e == (!id || model->leases[id].lives ? ERR_OK : ERR_LEASE_NOT_FOUND));
	if (!e)
		model->key_lease[key] = id;
}

static void do_renew(struct model *model, int64_t id)
{
	int64_t ttl = 0;
	bool may = model->leases[id].lives && model->leases[id].expiry_ns > model->now_ns;

	fuzz_must(lessor_renew(model->lessor, id, model->now_ns, &ttl) ==
		  (may ? ERR_OK : ERR_LEASE_NOT_FOUND));
	if (!may)
		return;
	fuzz_must(ttl == model->leases[id].ttl);
	model->leases[id].expiry_ns = model->now_ns + ttl * NS_PER_SECOND;
}

struct visited {
	const struct model *model;
	int64_t id;
	struct bytes last;
	size_t count;
};

static bool visit_key(void *context, struct bytes key)
{
	struct visited *visited = context;
	unsigned i = key.data[1];

	fuzz_must(key.size == 2 && i < KEYS && visited->model->key_lease[i] == visited->id);
	fuzz_must(!visited->count || bytes_compare(visited->last, key) < 0);
	visited->last = key_of(visited->model, i);
	visited->count++;
	return true;
}

static void check(const struct model *model)
{
	int64_t ids[LEASES + 1], next_ns = INT64_MAX, last_ns = 0;
	size_t due = 0, count = 0;

	for (int64_t id = 1; id <= LEASES; id++) {
		struct visited visited = {model, id, {0}, 0};

		fuzz_must(lessor_has(model->lessor, id) == model->leases[id].lives);
		if (!model->leases[id].lives)
			continue;
		count++;
		due += model->leases[id].expiry_ns <= model->now_ns;
		if (model->leases[id].expiry_ns < next_ns)
			next_ns = model->leases[id].expiry_ns;
		fuzz_must(!lessor_keys(model->lessor, id, true, visit_key, &visited));
		fuzz_must(visited.count == keys_on(model, id));
		fuzz_must(lessor_key_count(model->lessor, id) == visited.count);
	}
	fuzz_must(lessor_count(model->lessor) == count);
	fuzz_must(lessor_next_due_ns(model->lessor) == next_ns);
	fuzz_must(lessor_list(model->lessor, ids, LEASES + 1) == count);
	for (size_t i = 0; i < count; i++) {
		fuzz_must(ids[i] >= 1 && ids[i] <= LEASES);
		fuzz_must(model->leases[ids[i]].expiry_ns >= last_ns);
		last_ns = model->leases[ids[i]].expiry_ns;
	}
	fuzz_must(lessor_due(model->lessor, model->now_ns, ids, LEASES + 1) == due);
	for (size_t i = 0; i < due; i++)
		fuzz_must(model->leases[ids[i]].expiry_ns <= model->now_ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = fuzz_input_of(data, size);
	struct model *model = calloc(1, sizeof(*model));

	fuzz_must(model && !lessor_new(&model->lessor));
	for (unsigned i = 0; i < KEYS; i++) {
		model->key_bytes[i][0] = 'k';
		model->key_bytes[i][1] = (uint8_t)i;
	}
	while (fuzz_more(&input)) {
		unsigned choice = fuzz_byte(&input);
		int64_t id = 1 + choice / 16 % LEASES;

		if (choice % 16 < 3)
			do_grant(model, &input, id);
		else if (choice % 16 < 5)
			do_revoke(model, id);
		else if (choice % 16 < 10)
			do_attach(model, &input, choice & 0x80 ? id : 0);
		else if (choice % 16 < 13)
			do_renew(model, id);
		else
			model->now_ns += fuzz_byte(&input) * NS_PER_SECOND / 4;
		check(model);
	}
	lessor_free(model->lessor);
	free(model);
	return 0;
}
