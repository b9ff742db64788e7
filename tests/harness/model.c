/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/model.h"

#include <assert.h>
#include <stdlib.h>

struct model_version {
	int64_t main_revision;
	int64_t sub;
	bool tombstone;
	struct kv kv;
};

struct model_key {
	struct bytes name;
	struct model_version *versions; /* oldest first */
	size_t count;
};

struct model_lease {
	int64_t id;
	int64_t ttl_seconds;
	int64_t due_ns;
};

struct model {
	struct model_key *keys; /* in key order */
	size_t key_count;
	struct model_lease *leases;
	size_t lease_count;
	int64_t head;
	int64_t sub; /* rows written at head + 1 by the op in progress */
	int64_t compacted;
	int64_t ttl_min;
	int64_t ttl_max;
};

static void *need(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

static struct bytes keep(struct bytes source)
{
	uint8_t *copy = need(malloc(source.size + 1));

	if (source.size)
		memcpy(copy, source.data, source.size);
	return bytes_of(copy, source.size);
}

struct model *model_new(int64_t lease_ttl_min, int64_t lease_ttl_max)
{
	struct model *model = need(calloc(1, sizeof(*model)));

	model->head = 1;
	model->compacted = -1;
	model->ttl_min = lease_ttl_min;
	model->ttl_max = lease_ttl_max;
	return model;
}

static void drop_version(struct model_key *key)
{
	free((void *)(uintptr_t)key->versions[--key->count].kv.value.data);
}

void model_free(struct model *model)
{
	if (!model)
		return;
	for (size_t i = 0; i < model->key_count; i++) {
		while (model->keys[i].count)
			drop_version(&model->keys[i]);
		free(model->keys[i].versions);
		free((void *)(uintptr_t)model->keys[i].name.data);
	}
	free(model->keys);
	free(model->leases);
	free(model);
}

int64_t model_head(const struct model *model)
{
	return model->head;
}

int64_t model_compacted(const struct model *model)
{
	return model->compacted;
}

/* --- versions -------------------------------------------------------------------------------- */

static int64_t sees(const struct model *model)
{
	return model->sub ? model->head + 1 : model->head;
}

static const struct model_version *at(const struct model_key *key, int64_t revision)
{
	for (size_t i = key->count; i-- > 0;)
		if (key->versions[i].main_revision <= revision)
			return &key->versions[i];
	return NULL;
}

static const struct model_version *live_at(const struct model_key *key, int64_t revision)
{
	const struct model_version *version = at(key, revision);

	return version && !version->tombstone ? version : NULL;
}

static struct model_key *find(const struct model *model, struct bytes name)
{
	for (size_t i = 0; i < model->key_count; i++)
		if (bytes_equal(model->keys[i].name, name))
			return &model->keys[i];
	return NULL;
}

static struct model_key *find_or_add(struct model *model, struct bytes name)
{
	struct model_key *key = find(model, name);
	size_t place = 0;

	if (key)
		return key;
	model->keys = need(reallocarray(model->keys, model->key_count + 1, sizeof(*key)));
	while (place < model->key_count && bytes_compare(model->keys[place].name, name) < 0)
		place++;
	memmove(&model->keys[place + 1], &model->keys[place],
		(model->key_count - place) * sizeof(*key));
	model->key_count++;
	model->keys[place] = (struct model_key){.name = keep(name)};
	return &model->keys[place];
}

static struct model_version *append(struct model *model, struct model_key *key)
{
	struct model_version *version;

	key->versions = need(reallocarray(key->versions, key->count + 1, sizeof(*version)));
	version = &key->versions[key->count++];
	*version = (struct model_version){.main_revision = model->head + 1, .sub = model->sub++};
	version->kv.key = key->name;
	version->kv.mod_revision = version->main_revision;
	return version;
}

static void undo(struct model *model)
{
	for (size_t i = 0; i < model->key_count; i++) {
		struct model_key *key = &model->keys[i];

		while (key->count && key->versions[key->count - 1].main_revision > model->head)
			drop_version(key);
	}
	model->sub = 0;
}

static void end(struct model *model)
{
	if (model->sub)
		model->head++;
	model->sub = 0;
}

/* --- results --------------------------------------------------------------------------------- */

static struct kv copy_kv(struct arena *arena, const struct kv *kv)
{
	struct kv copy = *kv;

	if (!arena_copy(arena, kv->key, &copy.key) || !arena_copy(arena, kv->value, &copy.value))
		abort();
	return copy;
}

static struct kv *add_kv(struct arena *arena, struct kv *kvs, size_t count, const struct kv *kv)
{
	struct kv *grown = need(arena_calloc(arena, count + 1, sizeof(*grown)));

	if (count)
		memcpy(grown, kvs, count * sizeof(*grown));
	grown[count] = copy_kv(arena, kv);
	return grown;
}

/* --- range ----------------------------------------------------------------------------------- */

static bool passes(const struct range_op *op, const struct kv *kv)
{
	return (!op->min_mod_revision || kv->mod_revision >= op->min_mod_revision) &&
	       (!op->max_mod_revision || kv->mod_revision <= op->max_mod_revision) &&
	       (!op->min_create_revision || kv->create_revision >= op->min_create_revision) &&
	       (!op->max_create_revision || kv->create_revision <= op->max_create_revision);
}

static int order_of(const struct range_op *op, const struct kv *a, const struct kv *b)
{
	switch (op->target) {
	case SORT_KEY:
		return bytes_compare(a->key, b->key);
	case SORT_VALUE:
		return bytes_compare(a->value, b->value);
	case SORT_VERSION:
		return (a->version > b->version) - (a->version < b->version);
	case SORT_CREATE:
		return (a->create_revision > b->create_revision) -
		       (a->create_revision < b->create_revision);
	case SORT_MOD:
		return (a->mod_revision > b->mod_revision) - (a->mod_revision < b->mod_revision);
	}
	abort();
}

/* Insertion sort: stable, like etcd's on short lists. */
static void sort_kvs(const struct range_op *op, struct kv *kvs, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		for (size_t j = i; j > 0; j--) {
			int order = order_of(op, &kvs[j], &kvs[j - 1]);
			struct kv swap = kvs[j];

			if (op->order == SORT_DESCEND ? order <= 0 : order >= 0)
				break;
			kvs[j] = kvs[j - 1];
			kvs[j - 1] = swap;
		}
	}
}

static void fill_range(const struct model *model, const struct range_op *op, int64_t revision,
		       struct arena *arena, struct range_result *result)
{
	bool natural =
		op->order == SORT_NONE || (op->target == SORT_KEY && op->order == SORT_ASCEND);
	bool filters = op->min_mod_revision || op->max_mod_revision || op->min_create_revision ||
		       op->max_create_revision;

	for (size_t i = 0; i < model->key_count; i++) {
		const struct model_version *version = live_at(&model->keys[i], revision);

		if (!version || !range_contains(op->key, op->end, model->keys[i].name))
			continue;
		result->count++;
		if (op->count_only || !passes(op, &version->kv))
			continue;
		if (natural && !filters && op->limit > 0 && result->kv_count > (size_t)op->limit)
			continue;
		result->kvs = add_kv(arena, result->kvs, result->kv_count++, &version->kv);
	}
	sort_kvs(op, result->kvs, result->kv_count);
	if (op->limit > 0 && result->kv_count > (size_t)op->limit) {
		result->kv_count = (size_t)op->limit;
		result->more = true;
	}
	for (size_t i = 0; op->keys_only && i < result->kv_count; i++) {
		result->kvs[i].value = bytes_of(NULL, 0);
		if (op->target != SORT_VALUE)
			result->kvs[i].lease = 0;
	}
}

enum err model_range(const struct model *model, const struct range_op *op, struct arena *arena,
		     struct range_result *ret_result)
{
	struct range_result result = {.revision = sees(model)};

	if (op->revision > sees(model))
		return ERR_FUTURE_REVISION;
	if (op->revision > 0 && op->revision < model->compacted)
		return ERR_COMPACTED;
	fill_range(model, op, op->revision > 0 ? op->revision : sees(model), arena, &result);
	*ret_result = result;
	return ERR_OK;
}

/* --- put, delete ----------------------------------------------------------------------------- */

static struct model_lease *find_lease(const struct model *model, int64_t id)
{
	for (size_t i = 0; i < model->lease_count; i++)
		if (model->leases[i].id == id)
			return &model->leases[i];
	return NULL;
}

static enum err check_put(const struct model *model, const struct put_op *put)
{
	const struct model_key *key = find(model, put->key);

	if (put->lease && !find_lease(model, put->lease))
		return ERR_LEASE_NOT_FOUND;
	if ((put->ignore_value || put->ignore_lease) && !(key && live_at(key, sees(model))))
		return ERR_KEY_NOT_FOUND;
	return ERR_OK;
}

static enum err run_put(struct model *model, const struct put_op *put, struct arena *arena,
			struct put_result *result)
{
	struct model_key *key = find_or_add(model, put->key);
	const struct model_version *old = live_at(key, sees(model));
	struct kv old_kv = old ? copy_kv(arena, &old->kv) : (struct kv){0};
	struct model_version *version;

	if (!old && (put->ignore_value || put->ignore_lease))
		return ERR_KEY_NOT_FOUND;
	*result = (struct put_result){.revision = model->head + 1};
	if (put->prev_kv && old) {
		result->has_prev = true;
		result->prev = old_kv;
	}
	version = append(model, key);
	version->kv.create_revision = old_kv.version ? old_kv.create_revision : model->head + 1;
	version->kv.version = old_kv.version + 1;
	version->kv.value = keep(put->ignore_value ? old_kv.value : put->value);
	version->kv.lease = put->ignore_lease ? old_kv.lease : put->lease;
	return ERR_OK;
}

static void run_delete(struct model *model, const struct delete_op *op, struct arena *arena,
		       struct delete_result *result)
{
	int64_t revision = sees(model);

	*result = (struct delete_result){0};
	for (size_t i = 0; i < model->key_count; i++) {
		struct model_key *key = &model->keys[i];
		const struct model_version *old = live_at(key, revision);

		/* A key that this very revision wrote is live through its newest row. */
		if (model->sub)
			old = live_at(key, model->head + 1);
		if (!old || !range_contains(op->key, op->end, key->name))
			continue;
		if (op->prev_kv)
			result->prevs =
				add_kv(arena, result->prevs, result->prev_count++, &old->kv);
		append(model, key)->tombstone = true;
		result->deleted++;
	}
	result->revision = sees(model);
}

/* --- transactions ---------------------------------------------------------------------------- */

static bool relation(int result, int order)
{
	return result == COMPARE_EQUAL	     ? order == 0
	       : result == COMPARE_GREATER   ? order > 0
	       : result == COMPARE_LESS	     ? order < 0
	       : result == COMPARE_NOT_EQUAL ? order != 0
					     : true;
}

static bool kv_compares(const struct compare *compare, const struct kv *kv)
{
	int64_t number = compare->number;
	int64_t mine;

	switch (compare->target) {
	case COMPARE_VALUE:
		return relation(compare->result, bytes_compare(kv->value, compare->value));
	case COMPARE_VERSION:
		mine = kv->version;
		break;
	case COMPARE_CREATE:
		mine = kv->create_revision;
		break;
	case COMPARE_MOD:
		mine = kv->mod_revision;
		break;
	case COMPARE_LEASE:
		mine = kv->lease;
		break;
	default:
		mine = number;
		break;
	}
	return relation(compare->result, mine < number ? -1 : mine > number);
}

static bool compare_holds(const struct model *model, const struct compare *compare)
{
	bool any = false;

	for (size_t i = 0; i < model->key_count; i++) {
		const struct model_version *version = live_at(&model->keys[i], model->head);

		if (!version || !range_contains(compare->key, compare->end, model->keys[i].name))
			continue;
		any = true;
		if (!kv_compares(compare, &version->kv))
			return false;
	}
	return any || (compare->target != COMPARE_VALUE && kv_compares(compare, &(struct kv){0}));
}

static void decide(const struct model *model, const struct txn_op *txn, struct arena *arena,
		   struct txn_result *result)
{
	const struct request *requests;

	*result = (struct txn_result){.succeeded = true};
	for (size_t i = 0; i < txn->compare_count; i++)
		result->succeeded = result->succeeded && compare_holds(model, &txn->compares[i]);
	requests = result->succeeded ? txn->success : txn->failure;
	result->response_count = result->succeeded ? txn->success_count : txn->failure_count;
	result->responses =
		need(arena_calloc(arena, result->response_count + 1, sizeof(struct response)));
	for (size_t i = 0; i < result->response_count; i++) {
		result->responses[i].kind = requests[i].kind;
		if (requests[i].kind == REQUEST_TXN)
			decide(model, requests[i].as.txn, arena, &result->responses[i].as.txn);
	}
}

static enum err check(const struct model *model, const struct txn_op *txn,
		      const struct txn_result *result)
{
	const struct request *requests = result->succeeded ? txn->success : txn->failure;
	enum err e = ERR_OK;

	for (size_t i = 0; i < result->response_count && !e; i++) {
		int64_t revision = requests[i].as.range.revision;

		if (requests[i].kind == REQUEST_TXN)
			e = check(model, requests[i].as.txn, &result->responses[i].as.txn);
		else if (requests[i].kind == REQUEST_PUT)
			e = check_put(model, &requests[i].as.put);
		else if (requests[i].kind == REQUEST_RANGE && revision > model->head)
			e = ERR_FUTURE_REVISION;
		else if (requests[i].kind == REQUEST_RANGE && revision &&
			 revision < model->compacted)
			e = ERR_COMPACTED;
	}
	return e;
}

static enum err execute(struct model *model, const struct txn_op *txn, struct arena *arena,
			struct txn_result *result)
{
	const struct request *requests = result->succeeded ? txn->success : txn->failure;
	enum err e = ERR_OK;

	for (size_t i = 0; i < result->response_count && !e; i++) {
		struct response *response = &result->responses[i];

		if (requests[i].kind == REQUEST_RANGE)
			e = model_range(model, &requests[i].as.range, arena, &response->as.range);
		else if (requests[i].kind == REQUEST_PUT)
			e = run_put(model, &requests[i].as.put, arena, &response->as.put);
		else if (requests[i].kind == REQUEST_DELETE)
			run_delete(model, &requests[i].as.delete_range, arena,
				   &response->as.delete_range);
		else
			e = execute(model, requests[i].as.txn, arena, &response->as.txn);
	}
	result->revision = sees(model);
	return e;
}

static enum err run_txn(struct model *model, const struct txn_op *txn, struct arena *arena,
			struct txn_result *result)
{
	enum err e;

	decide(model, txn, arena, result);
	e = check(model, txn, result);
	return e ? e : execute(model, txn, arena, result);
}

/* --- leases ---------------------------------------------------------------------------------- */

static enum err grant(struct model *model, struct op *op, int64_t now_ns)
{
	int64_t ttl = op->in.lease_grant.ttl_seconds;
	int64_t id = op->in.lease_grant.id;

	assert(id);
	if (ttl > model->ttl_max)
		return ERR_LEASE_TTL_TOO_LARGE;
	if (find_lease(model, id))
		return ERR_LEASE_EXISTS;
	ttl = ttl < model->ttl_min ? model->ttl_min : ttl;
	model->leases =
		need(reallocarray(model->leases, model->lease_count + 1, sizeof(*model->leases)));
	model->leases[model->lease_count++] =
		(struct model_lease){id, ttl, now_ns + ttl * NS_PER_SECOND};
	op->out.lease.id = id;
	op->out.lease.ttl_seconds = ttl;
	return ERR_OK;
}

static enum err revoke(struct model *model, int64_t id)
{
	struct model_lease *lease = find_lease(model, id);

	if (!lease)
		return ERR_LEASE_NOT_FOUND;
	for (size_t i = 0; i < model->key_count; i++) {
		const struct model_version *version = live_at(&model->keys[i], model->head);

		if (version && version->kv.lease == id)
			append(model, &model->keys[i])->tombstone = true;
	}
	*lease = model->leases[--model->lease_count];
	return ERR_OK;
}

enum err model_renew(struct model *model, int64_t id, int64_t now_ns, int64_t *ret_ttl_seconds)
{
	struct model_lease *lease = find_lease(model, id);

	if (!lease)
		return ERR_LEASE_NOT_FOUND;
	lease->due_ns = now_ns + lease->ttl_seconds * NS_PER_SECOND;
	*ret_ttl_seconds = lease->ttl_seconds;
	return ERR_OK;
}

void model_refresh_leases(struct model *model, int64_t now_ns)
{
	int64_t ttl;

	for (size_t i = 0; i < model->lease_count; i++)
		model_renew(model, model->leases[i].id, now_ns, &ttl);
}

void model_expire(struct model *model, int64_t now_ns)
{
	for (;;) {
		const struct model_lease *first = NULL;

		for (size_t i = 0; i < model->lease_count; i++)
			if (!first || model->leases[i].due_ns < first->due_ns)
				first = &model->leases[i];
		if (!first || first->due_ns > now_ns)
			return;
		revoke(model, first->id);
		end(model);
	}
}

size_t model_lease_count(const struct model *model)
{
	return model->lease_count;
}

bool model_lease_at(const struct model *model, size_t index, int64_t *ret_id)
{
	if (index >= model->lease_count)
		return false;
	*ret_id = model->leases[index].id;
	return true;
}

size_t model_lease_keys(const struct model *model, int64_t id)
{
	size_t count = 0;

	for (size_t i = 0; i < model->key_count; i++) {
		const struct model_version *version = live_at(&model->keys[i], model->head);

		count += version && version->kv.lease == id;
	}
	return count;
}

/* --- one op ---------------------------------------------------------------------------------- */

static enum err compact(struct model *model, int64_t revision)
{
	if (revision <= model->compacted)
		return ERR_COMPACTED;
	if (revision > model->head)
		return ERR_FUTURE_REVISION;
	model->compacted = revision;
	return ERR_OK;
}

static enum err run(struct model *model, struct op *op, int64_t now_ns)
{
	enum err e;

	switch (op->kind) {
	case OP_PUT:
		e = check_put(model, &op->in.put);
		return e ? e : run_put(model, &op->in.put, op->arena, &op->out.put);
	case OP_DELETE:
		run_delete(model, &op->in.delete_range, op->arena, &op->out.delete_range);
		return ERR_OK;
	case OP_TXN:
		return run_txn(model, &op->in.txn, op->arena, &op->out.txn);
	case OP_COMPACT:
		return compact(model, op->in.compact.revision);
	case OP_LEASE_GRANT:
		return grant(model, op, now_ns);
	case OP_LEASE_REVOKE:
		return revoke(model, op->in.lease_revoke.id);
	case OP_ALARM_SET:
	case OP_ALARM_CLEAR:
	case OP_DEFRAGMENT:
	case OP_APPLY:
	case OP_JUMP:
		break;
	}
	abort();
}

void model_run(struct model *model, struct op *op, int64_t now_ns)
{
	op->err = run(model, op, now_ns);
	if (op->err)
		undo(model);
	end(model);
	op->revision = model->head;
}

/* --- events ---------------------------------------------------------------------------------- */

struct found {
	int64_t main_revision;
	int64_t sub;
	struct event event;
};

static int by_row(const void *left, const void *right)
{
	const struct found *a = left, *b = right;

	if (a->main_revision != b->main_revision)
		return a->main_revision < b->main_revision ? -1 : 1;
	return a->sub < b->sub ? -1 : a->sub > b->sub;
}

static struct event event_of(const struct model_key *key, const struct model_version *version)
{
	bool is_create =
		!version->tombstone && version->kv.create_revision == version->main_revision;
	const struct model_version *before =
		is_create ? NULL : live_at(key, version->main_revision - 1);
	struct event event = {.type = version->tombstone ? EVENT_DELETE : EVENT_PUT,
			      .kv = version->kv,
			      .has_prev = before};

	if (before)
		event.prev = before->kv;
	return event;
}

size_t model_events(const struct model *model, struct bytes key, struct bytes end_key, int64_t from,
		    int64_t to, struct arena *arena, struct event **ret_events)
{
	struct found *all = NULL;
	size_t count = 0;

	for (size_t i = 0; i < model->key_count; i++) {
		const struct model_key *found = &model->keys[i];

		for (size_t v = 0; v < found->count; v++) {
			const struct model_version *version = &found->versions[v];

			if (version->main_revision < from || version->main_revision > to ||
			    !range_contains(key, end_key, found->name))
				continue;
			all = need(reallocarray(all, count + 1, sizeof(*all)));
			all[count++] = (struct found){version->main_revision, version->sub,
						      event_of(found, version)};
		}
	}
	if (count)
		qsort(all, count, sizeof(*all), by_row);
	*ret_events = need(arena_calloc(arena, count + 1, sizeof(**ret_events)));
	for (size_t i = 0; i < count; i++)
		(*ret_events)[i] = all[i].event;
	free(all);
	return count;
}
