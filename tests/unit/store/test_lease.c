/* SPDX-License-Identifier: Apache-2.0 */
/* The lessor against a naive model: an array of leases and an array that says which key hangs on
 * which. */
#include "shim/base/clock.h"
#include "shim/store/lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define LEASES 200 /* ids are 1..LEASES */
#define KEYS 500

struct model {
	struct lessor *lessor;
	bool granted[LEASES + 1];
	int64_t ttl_seconds[LEASES + 1];
	int64_t expiry_ns[LEASES + 1];
	int64_t on_lease[KEYS]; /* 0: none */
	int64_t now_ns;
	uint64_t random;
};

static size_t random_below(struct model *model, size_t bound)
{
	model->random = model->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (size_t)(model->random >> 33) % bound;
}

struct key_text {
	char text[24];
};

static struct bytes key_bytes(size_t number, struct key_text *text)
{
	int size = snprintf(text->text, sizeof(text->text), "/leases/%zu", number);

	return bytes_of(text->text, (size_t)size);
}

static size_t model_key_count(const struct model *model, int64_t id)
{
	size_t count = 0;

	for (size_t i = 0; i < KEYS; i++)
		count += model->on_lease[i] == id;
	return count;
}

static size_t model_count(const struct model *model)
{
	size_t count = 0;

	for (size_t id = 1; id <= LEASES; id++)
		count += model->granted[id];
	return count;
}

/* --- random changes --------------------------------------------------------------------------- */

static void do_grant(struct model *model, int64_t id)
{
	int64_t ttl_seconds = 1 + (int64_t)random_below(model, 20);
	enum err e = lessor_grant(model->lessor, id, ttl_seconds, model->now_ns);

	assert_int_equal(e, model->granted[id] ? ERR_LEASE_EXISTS : ERR_OK);
	if (e != ERR_OK)
		return;
	model->granted[id] = true;
	model->ttl_seconds[id] = ttl_seconds;
	model->expiry_ns[id] = model->now_ns + ttl_seconds * NS_PER_SECOND;
}

static void do_revoke(struct model *model, int64_t id)
{
	enum err e = lessor_revoke(model->lessor, id);

	assert_int_equal(e, model->granted[id] ? ERR_OK : ERR_LEASE_NOT_FOUND);
	model->granted[id] = false;
	for (size_t i = 0; i < KEYS; i++) {
		if (model->on_lease[i] == id)
			model->on_lease[i] = 0;
	}
}

static void do_attach(struct model *model, int64_t id)
{
	size_t number = random_below(model, KEYS);
	struct key_text text;
	enum err e = lessor_attach(model->lessor, key_bytes(number, &text), id);

	assert_int_equal(e, model->granted[id] ? ERR_OK : ERR_LEASE_NOT_FOUND);
	if (e == ERR_OK)
		model->on_lease[number] = id;
}

static void do_detach(struct model *model)
{
	size_t number = random_below(model, KEYS);
	struct key_text text;
	struct bytes key = key_bytes(number, &text);

	if (random_below(model, 2))
		lessor_detach(model->lessor, key);
	else
		assert_int_equal(lessor_attach(model->lessor, key, 0), ERR_OK);
	model->on_lease[number] = 0;
}

static void do_renew(struct model *model, int64_t id)
{
	bool lives = model->granted[id] && model->expiry_ns[id] > model->now_ns;
	int64_t ttl_seconds = -5;
	enum err e = lessor_renew(model->lessor, id, model->now_ns, &ttl_seconds);

	assert_int_equal(e, lives ? ERR_OK : ERR_LEASE_NOT_FOUND);
	assert_int_equal(ttl_seconds, lives ? model->ttl_seconds[id] : -5);
	if (lives)
		model->expiry_ns[id] = model->now_ns + ttl_seconds * NS_PER_SECOND;
}

static void do_something(struct model *model)
{
	int64_t id = 1 + (int64_t)random_below(model, LEASES);

	switch (random_below(model, 12)) {
	case 0:
	case 1:
		do_grant(model, id);
		break;
	case 2:
		do_revoke(model, id);
		break;
	case 3:
		do_detach(model);
		break;
	case 4:
		do_renew(model, id);
		break;
	case 5:
		model->now_ns += (int64_t)random_below(model, 200) * NS_PER_MS;
		break;
	default:
		do_attach(model, id);
		break;
	}
}

/* --- checks ----------------------------------------------------------------------------------- */

struct key_check {
	struct model *model;
	int64_t id;
	size_t seen;
	size_t stop_after;
	bool sorted;
	char last[24];
};

static bool key_visit(void *context, struct bytes key)
{
	struct key_check *check = context;
	char text[24] = "";
	size_t number;

	assert_true(key.size < sizeof(text));
	memcpy(text, key.data, key.size);
	assert_int_equal(sscanf(text, "/leases/%zu", &number), 1);
	assert_int_equal(check->model->on_lease[number], check->id);
	if (check->sorted)
		assert_true(strcmp(check->last, text) < 0);
	memcpy(check->last, text, sizeof(text));
	return ++check->seen != check->stop_after;
}

static void check_lease(struct model *model, int64_t id)
{
	bool granted = model->granted[id];
	size_t key_count = model_key_count(model, id);
	int64_t ttl_seconds;
	int64_t remaining;

	assert_int_equal(lessor_has(model->lessor, id), granted);
	assert_int_equal(lessor_key_count(model->lessor, id), key_count);
	for (int kind = 0; kind < 4; kind++) {
		struct key_check check = {.model = model,
					  .id = id,
					  .stop_after = kind & 2 ? 2 : 0,
					  .sorted = kind & 1};
		enum err e = lessor_keys(model->lessor, id, check.sorted, key_visit, &check);

		assert_int_equal(e, granted ? ERR_OK : ERR_LEASE_NOT_FOUND);
		assert_int_equal(check.seen,
				 check.stop_after && key_count > 2 ? check.stop_after : key_count);
	}
	assert_int_equal(lessor_times(model->lessor, id, model->now_ns, &ttl_seconds, &remaining),
			 granted ? ERR_OK : ERR_LEASE_NOT_FOUND);
	if (!granted)
		return;
	assert_int_equal(ttl_seconds, model->ttl_seconds[id]);
	assert_int_equal(remaining, (model->expiry_ns[id] - model->now_ns) / NS_PER_SECOND);
}

static void check_order(const struct model *model, const int64_t *ids, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		assert_true(model->granted[ids[i]]);
		if (i)
			assert_true(model->expiry_ns[ids[i - 1]] < model->expiry_ns[ids[i]] ||
				    (model->expiry_ns[ids[i - 1]] == model->expiry_ns[ids[i]] &&
				     ids[i - 1] < ids[i]));
	}
}

static void check_time(struct model *model)
{
	int64_t ids[LEASES + 1];
	size_t due = 0;
	int64_t next = INT64_MAX;
	size_t max = random_below(model, 20);
	size_t count;

	for (size_t id = 1; id <= LEASES; id++) {
		if (!model->granted[id])
			continue;
		due += model->expiry_ns[id] <= model->now_ns;
		next = model->expiry_ns[id] < next ? model->expiry_ns[id] : next;
	}
	assert_int_equal(lessor_count(model->lessor), model_count(model));
	assert_int_equal(lessor_next_due_ns(model->lessor), next);
	count = lessor_due(model->lessor, model->now_ns, ids, max);
	assert_int_equal(count, due < max ? due : max);
	check_order(model, ids, count);
	count = lessor_due(model->lessor, model->now_ns, ids, LEASES);
	assert_int_equal(count, due);
	check_order(model, ids, count);
	count = lessor_list(model->lessor, ids, LEASES);
	assert_int_equal(count, model_count(model));
	check_order(model, ids, count);
	assert_int_equal(lessor_list(model->lessor, ids, max), max < count ? max : count);
}

static void everything_agrees_with_the_model(void **state)
{
	struct model *model = calloc(1, sizeof(*model));

	(void)state;
	assert_non_null(model);
	model->random = 4711;
	assert_int_equal(lessor_new(&model->lessor), ERR_OK);
	for (int round = 0; round < 600; round++) {
		for (int i = 0; i < 100; i++)
			do_something(model);
		check_time(model);
		for (int i = 0; i < 5; i++)
			check_lease(model, 1 + (int64_t)random_below(model, LEASES));
	}
	lessor_free(model->lessor);
	free(model);
}

/* --- single cases ----------------------------------------------------------------------------- */

static void a_lease_never_expires_early(void **state)
{
	struct lessor *lessor;
	int64_t granted;
	int64_t remaining;
	int64_t id;

	(void)state;
	assert_int_equal(lessor_new(&lessor), ERR_OK);
	assert_int_equal(lessor_grant(lessor, 7, 2, 1000), ERR_OK);
	assert_int_equal(lessor_next_due_ns(lessor), 1000 + 2 * NS_PER_SECOND);
	assert_int_equal(lessor_due(lessor, 999 + 2 * NS_PER_SECOND, &id, 1), 0);
	assert_int_equal(lessor_due(lessor, 1000 + 2 * NS_PER_SECOND, &id, 0), 0);
	assert_int_equal(lessor_due(lessor, 1000 + 2 * NS_PER_SECOND, &id, 1), 1);
	assert_int_equal(id, 7);
	/* Due, but there until it is revoked; its remaining time goes below zero. */
	assert_int_equal(lessor_renew(lessor, 7, 1000 + 2 * NS_PER_SECOND, &granted),
			 ERR_LEASE_NOT_FOUND);
	assert_true(lessor_has(lessor, 7));
	assert_int_equal(lessor_times(lessor, 7, 1000 + 5 * NS_PER_SECOND, &granted, &remaining),
			 ERR_OK);
	assert_int_equal(granted, 2);
	assert_int_equal(remaining, -3);
	lessor_free(lessor);
}

static void the_longest_ttl_does_not_overflow(void **state)
{
	struct lessor *lessor;
	int64_t id;

	(void)state;
	assert_int_equal(lessor_new(&lessor), ERR_OK);
	assert_int_equal(lessor_grant(lessor, 1, 9000000000, INT64_MAX / 2), ERR_OK);
	assert_int_equal(lessor_grant(lessor, 2, INT64_MAX, 0), ERR_OK);
	assert_int_equal(lessor_next_due_ns(lessor), INT64_MAX);
	assert_int_equal(lessor_due(lessor, INT64_MAX - 1, &id, 1), 0);
	assert_int_equal(lessor_list(lessor, &id, 1), 1);
	lessor_free(lessor);
}

static void an_empty_lessor_answers(void **state)
{
	struct key_check check = {0};
	struct lessor *lessor;
	int64_t id;

	(void)state;
	assert_int_equal(lessor_new(&lessor), ERR_OK);
	assert_int_equal(lessor_count(lessor), 0);
	assert_int_equal(lessor_next_due_ns(lessor), INT64_MAX);
	assert_int_equal(lessor_due(lessor, INT64_MAX, &id, 1), 0);
	assert_int_equal(lessor_list(lessor, &id, 1), 0);
	lessor_detach(lessor, BYTES_LITERAL("nobody"));
	assert_int_equal(lessor_attach(lessor, BYTES_LITERAL("nobody"), 0), ERR_OK);
	assert_int_equal(lessor_keys(lessor, 3, true, key_visit, &check), ERR_LEASE_NOT_FOUND);
	lessor_free(lessor);
	lessor_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_agrees_with_the_model),
		cmocka_unit_test(a_lease_never_expires_early),
		cmocka_unit_test(the_longest_ttl_does_not_overflow),
		cmocka_unit_test(an_empty_lessor_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
