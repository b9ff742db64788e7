/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/store_rig.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define RIG_ARENA_BYTES ((size_t)1 << 30)

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "rig: %s\n", what);
	abort();
}

static int64_t rig_clock(void *context)
{
	const struct rig *rig = context;

	return atomic_load(&rig->now_ns);
}

void rig_remove_folder(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char inner[512];

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
		if (unlink(inner))
			rig_remove_folder(inner);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

enum err rig_up(struct rig *rig, char problem[STORE_PROBLEM_BYTES])
{
	enum err e = store_open(&rig->config, &rig->store, problem);

	if (e)
		return e;
	must(!store_reader_new(rig->store, &rig->reader), "no reader");
	must(!store_start(rig->store), "no start");
	return ERR_OK;
}

void rig_open(struct rig *rig)
{
	char problem[STORE_PROBLEM_BYTES];
	struct store_config config = rig->config;
	const char *base = getenv("TMPDIR");

	*rig = (struct rig){.config = config};
	atomic_store(&rig->now_ns, 1000 * NS_PER_SECOND);
	rig->clock = (struct clock){rig_clock, rig_clock, rig};
	snprintf(rig->dir, sizeof(rig->dir), "%s/kedge-rig-XXXXXX", base ? base : "/tmp");
	must(mkdtemp(rig->dir), "no temporary folder");
	rig->config.data_dir = rig->dir;
	rig->config.clock = &rig->clock;
	rig->config.no_fsync = true;
	arena_init(&rig->arena, RIG_ARENA_BYTES);
	if (rig_up(rig, problem))
		must(false, problem);
}

void rig_down(struct rig *rig)
{
	if (!rig->store)
		return;
	store_stop(rig->store);
	store_reader_free(rig->reader);
	store_close(rig->store);
	rig->store = NULL;
	rig->reader = NULL;
}

void rig_reopen(struct rig *rig)
{
	char problem[STORE_PROBLEM_BYTES];

	rig_down(rig);
	if (rig_up(rig, problem))
		must(false, problem);
}

void rig_forget(struct rig *rig)
{
	arena_fini(&rig->arena);
	arena_init(&rig->arena, RIG_ARENA_BYTES);
}

void rig_close(struct rig *rig)
{
	rig_down(rig);
	arena_fini(&rig->arena);
	rig_remove_folder(rig->dir);
}

/* --- ops ------------------------------------------------------------------------------------- */

static pthread_mutex_t done_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t done_cond = PTHREAD_COND_INITIALIZER;

static void on_done(struct op *op)
{
	struct rig_op *rig_op = (struct rig_op *)(void *)op;

	pthread_mutex_lock(&done_lock);
	atomic_store(&rig_op->done, true);
	pthread_cond_broadcast(&done_cond);
	pthread_mutex_unlock(&done_lock);
}

enum err rig_submit(struct rig *rig, struct rig_op *op)
{
	atomic_store(&op->done, false);
	op->op.on_done = on_done;
	return store_submit(rig->store, &op->op);
}

enum err rig_wait(struct rig_op *op)
{
	pthread_mutex_lock(&done_lock);
	while (!atomic_load(&op->done))
		pthread_cond_wait(&done_cond, &done_lock);
	pthread_mutex_unlock(&done_lock);
	return op->op.err;
}

enum err rig_do(struct rig *rig, struct op *op)
{
	struct rig_op rig_op = {.op = *op};
	enum err e = rig_submit(rig, &rig_op);

	if (e)
		return e;
	e = rig_wait(&rig_op);
	*op = rig_op.op;
	return e;
}

int64_t rig_put(struct rig *rig, const char *key, const char *value)
{
	struct op op = {.kind = OP_PUT,
			.in.put = {.key = bytes_of_string(key), .value = bytes_of_string(value)}};

	must(!rig_do(rig, &op), "put failed");
	return op.out.put.revision;
}

int64_t rig_delete(struct rig *rig, const char *key, const char *end)
{
	struct op op = {.kind = OP_DELETE, .in.delete_range = {.key = bytes_of_string(key)}};

	if (end)
		op.in.delete_range.end = bytes_of_string(end);
	must(!rig_do(rig, &op), "delete failed");
	return op.out.delete_range.deleted;
}

enum err rig_compact(struct rig *rig, int64_t revision, bool physical)
{
	struct op op = {.kind = OP_COMPACT, .in.compact = {revision, physical}};

	return rig_do(rig, &op);
}

enum err rig_grant(struct rig *rig, int64_t id, int64_t ttl_seconds)
{
	struct op op = {.kind = OP_LEASE_GRANT, .in.lease_grant = {id, ttl_seconds}};

	return rig_do(rig, &op);
}

const struct kv *rig_get(struct rig *rig, const char *key, int64_t revision)
{
	struct range_op op = {.key = bytes_of_string(key), .revision = revision};
	struct range_result result;

	must(!store_range(rig->reader, &op, &rig->arena, &result), "get failed");
	return result.kv_count ? &result.kvs[0] : NULL;
}

void rig_advance(struct rig *rig, int64_t ns)
{
	struct op op = {.kind = OP_DELETE, .in.delete_range = {.key = BYTES_LITERAL("\xff none")}};

	atomic_fetch_add(&rig->now_ns, ns);
	must(!rig_do(rig, &op), "the writer does not answer");
}

/* --- comparing ------------------------------------------------------------------------------- */

bool rig_kv_equal(const struct kv *a, const struct kv *b)
{
	return bytes_equal(a->key, b->key) && bytes_equal(a->value, b->value) &&
	       a->create_revision == b->create_revision && a->mod_revision == b->mod_revision &&
	       a->version == b->version && a->lease == b->lease;
}

static bool differ(const char *what, int64_t a, int64_t b)
{
	fprintf(stderr, "differ in %s: %lld and %lld\n", what, (long long)a, (long long)b);
	return false;
}

static bool kvs_equal(const char *what, const struct kv *a, size_t a_count, const struct kv *b,
		      size_t b_count)
{
	if (a_count != b_count)
		return differ(what, (int64_t)a_count, (int64_t)b_count);
	for (size_t i = 0; i < a_count; i++)
		if (!rig_kv_equal(&a[i], &b[i]))
			return differ(what, (int64_t)i, a[i].mod_revision - b[i].mod_revision);
	return true;
}

bool rig_range_equal(const struct range_result *a, const struct range_result *b)
{
	if (a->revision != b->revision)
		return differ("range revision", a->revision, b->revision);
	if (a->count != b->count)
		return differ("range count", a->count, b->count);
	if (a->more != b->more)
		return differ("range more", a->more, b->more);
	return kvs_equal("range kvs", a->kvs, a->kv_count, b->kvs, b->kv_count);
}

static bool put_equal(const struct put_result *a, const struct put_result *b)
{
	if (a->revision != b->revision)
		return differ("put revision", a->revision, b->revision);
	if (a->has_prev != b->has_prev)
		return differ("put has_prev", a->has_prev, b->has_prev);
	return !a->has_prev || kvs_equal("put prev", &a->prev, 1, &b->prev, 1);
}

static bool delete_equal(const struct delete_result *a, const struct delete_result *b)
{
	if (a->revision != b->revision)
		return differ("delete revision", a->revision, b->revision);
	if (a->deleted != b->deleted)
		return differ("deleted", a->deleted, b->deleted);
	return kvs_equal("delete prevs", a->prevs, a->prev_count, b->prevs, b->prev_count);
}

static bool txn_equal(const struct txn_result *a, const struct txn_result *b)
{
	bool equal = true;

	if (a->revision != b->revision)
		return differ("txn revision", a->revision, b->revision);
	if (a->succeeded != b->succeeded)
		return differ("txn succeeded", a->succeeded, b->succeeded);
	if (a->response_count != b->response_count)
		return differ("txn responses", (int64_t)a->response_count,
			      (int64_t)b->response_count);
	for (size_t i = 0; i < a->response_count && equal; i++) {
		const struct response *x = &a->responses[i], *y = &b->responses[i];

		if (x->kind != y->kind)
			return differ("response kind", x->kind, y->kind);
		if (x->kind == REQUEST_RANGE)
			equal = rig_range_equal(&x->as.range, &y->as.range);
		else if (x->kind == REQUEST_PUT)
			equal = put_equal(&x->as.put, &y->as.put);
		else if (x->kind == REQUEST_DELETE)
			equal = delete_equal(&x->as.delete_range, &y->as.delete_range);
		else
			equal = txn_equal(&x->as.txn, &y->as.txn);
	}
	return equal;
}

bool rig_op_equal(const struct op *a, const struct op *b)
{
	if (a->err != b->err)
		return differ("error", a->err, b->err);
	if (a->revision != b->revision)
		return differ("revision", a->revision, b->revision);
	if (a->err)
		return true;
	switch (a->kind) {
	case OP_PUT:
		return put_equal(&a->out.put, &b->out.put);
	case OP_DELETE:
		return delete_equal(&a->out.delete_range, &b->out.delete_range);
	case OP_TXN:
		return txn_equal(&a->out.txn, &b->out.txn);
	case OP_LEASE_GRANT:
		return a->out.lease.id == b->out.lease.id &&
		       a->out.lease.ttl_seconds == b->out.lease.ttl_seconds;
	case OP_COMPACT:
	case OP_LEASE_REVOKE:
	case OP_ALARM_SET:
	case OP_ALARM_CLEAR:
	case OP_DEFRAGMENT:
	case OP_APPLY:
	case OP_JUMP:
		break;
	}
	return true;
}

/* --- chance ---------------------------------------------------------------------------------- */

uint64_t rig_random(struct rig_random *random, uint64_t below)
{
	uint64_t x = random->state += 0x9e3779b97f4a7c15;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	x ^= x >> 31;
	return below ? x % below : x;
}

uint64_t rig_seed(void)
{
	const char *given = getenv("KEDGE_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0)
			      : (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();

	fprintf(stderr, "KEDGE_SEED=%llu repeats this run\n", (unsigned long long)seed);
	return seed;
}
