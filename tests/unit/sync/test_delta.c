/* SPDX-License-Identifier: Apache-2.0 */
/* test_delta.c - values as deltas: random ones, what an apiserver stored, damaged ones, and what a
 * status change is on the wire in all. */
#include "sync/merge/meta.h"
#include "sync/merge/visible.h"
#include "sync/message/delta.h"
#include "sync/message/message.h"
#include "tests/unit/sync/fake_object.h"
#include "tests/unit/sync/stored.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ARENA_BYTES (64 * MIB)

struct rig {
	struct arena arena;
	struct delta_context *context;
};

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	arena_init(&rig->arena, ARENA_BYTES);
	assert_int_equal(delta_context_new(&rig->context), ERR_OK);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	arena_fini(&rig->arena);
	delta_context_free(rig->context);
	free(rig);
	return 0;
}

static void again(struct rig *rig)
{
	arena_fini(&rig->arena);
	arena_init(&rig->arena, ARENA_BYTES);
}

static struct bytes make(struct rig *rig, struct bytes base, struct bytes value)
{
	struct bytes delta;

	assert_int_equal(delta_make(rig->context, base, value, &rig->arena, &delta), ERR_OK);
	return delta;
}

static void assert_gives(struct rig *rig, struct bytes base, struct bytes delta, struct bytes value)
{
	struct bytes back;

	assert_int_equal(delta_apply(rig->context, base, delta, &rig->arena, &back), ERR_OK);
	assert_true(bytes_equal(back, value));
}

static struct bytes random_bytes(struct rig *rig, size_t size)
{
	uint8_t *data = arena_alloc(&rig->arena, size);

	assert_non_null(data);
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)random_next();
	return bytes_of(data, size);
}

/* With some bytes changed, put in and left out. */
static struct bytes changed(struct rig *rig, struct bytes base, unsigned changes)
{
	uint8_t *data = arena_alloc(&rig->arena, base.size + changes);
	size_t size = 0;

	assert_non_null(data);
	for (size_t i = 0; i < base.size; i++) {
		bool now = changes && !random_below((unsigned)(base.size / (2 * changes) + 1));
		unsigned how = now ? random_below(3) : 3;

		changes -= now;
		if (how != 0)
			data[size++] = how == 1 ? (uint8_t)random_next() : base.data[i];
		if (how == 2)
			data[size++] = (uint8_t)random_next();
	}
	return bytes_of(data, size);
}

static void test_a_delta_gives_the_value_back(void **state)
{
	struct rig *rig = *state;

	random_start(__func__);
	for (unsigned run = 0; run < random_runs(2000); run++) {
		unsigned changes = random_below(8);
		struct bytes base = random_bytes(rig, 200 + random_below(20000));
		struct bytes value = changed(rig, base, changes);
		struct bytes delta = make(rig, base, value);

		assert_true(delta.size > 0 && delta.size < 32 + 24 * (size_t)changes);
		assert_gives(rig, base, delta, value);
		again(rig);
	}
}

static void test_a_delta_is_empty_where_it_would_not_be_shorter(void **state)
{
	struct rig *rig = *state;
	struct bytes base, nothing = {0};

	random_start(__func__);
	base = random_bytes(rig, 5000);
	for (size_t size = 0; size < 3000; size = size * 2 + 1)
		assert_int_equal(make(rig, base, random_bytes(rig, size)).size, 0);
	assert_int_equal(make(rig, nothing, base).size, 0);
	assert_int_equal(make(rig, base, nothing).size, 0);
}

/* All of the base is in reach, also at the end of the largest value. */
static void test_large_values_have_small_deltas(void **state)
{
	struct rig *rig = *state;
	struct bytes base, value, delta;

	random_start(__func__);
	for (size_t size = 512 * KIB; size <= VALUE_BYTES_MAX; size *= 2) {
		base = random_bytes(rig, size - 100);
		value = changed(rig, base, 10);
		delta = make(rig, base, value);
		assert_in_range(delta.size, 1, 2000);
		assert_gives(rig, base, delta, value);
		again(rig);
	}
	base = random_bytes(rig, VALUE_BYTES_MAX + 1);
	assert_int_equal(make(rig, base, base).size, 0);
}

static void test_values_of_a_real_apiserver_have_small_deltas(void **state)
{
	static struct stored stored;
	struct rig *rig = *state;
	struct bytes base;

	random_start(__func__);
	while (stored_next(&stored, &base)) {
		struct bytes value = changed(rig, base, 5);
		struct bytes delta = make(rig, base, value);

		assert_in_range(delta.size, 1, 96);
		assert_gives(rig, base, delta, value);
	}
}

/* --- hostile deltas --------------------------------------------------------------------------- */

static void test_a_damaged_delta_is_malformed_or_gives_another_value(void **state)
{
	struct rig *rig = *state;
	unsigned malformed = 0, other = 0;

	random_start(__func__);
	for (unsigned run = 0; run < random_runs(20000); run++) {
		struct bytes base = random_bytes(rig, 100 + random_below(300));
		struct bytes value = changed(rig, base, 3), back, delta;
		enum err e;

		assert_true(arena_copy(&rig->arena, make(rig, base, value), &delta));
		if (!random_below(3))
			delta.size = random_below((unsigned)delta.size);
		else
			((uint8_t *)delta.data)[random_below((unsigned)delta.size)] ^=
				(uint8_t)(1u << random_below(8));
		e = delta_apply(rig->context, base, delta, &rig->arena, &back);
		assert_true(e == ERR_OK || e == ERR_MALFORMED);
		malformed += e != ERR_OK;
		other += !e && value_digest(back) != value_digest(value);
		again(rig);
	}
	assert_true(malformed > 1000 && other > 100);
}

static void test_a_delta_against_another_base_is_seen_by_the_digest(void **state)
{
	struct rig *rig = *state;
	struct bytes base, value, back;
	enum err e;

	random_start(__func__);
	base = random_bytes(rig, 3000);
	value = changed(rig, base, 3);
	e = delta_apply(rig->context, random_bytes(rig, 3000), make(rig, base, value), &rig->arena,
			&back);
	assert_true(e == ERR_MALFORMED || value_digest(back) != value_digest(value));
	assert_int_equal(delta_apply(rig->context, bytes_of(NULL, 0), make(rig, base, value),
				     &rig->arena, &back),
			 ERR_MALFORMED);
}

/* Frames by RFC 8878, less their magic number: of one block that repeats a byte. */
static void test_what_no_make_gave_is_malformed_before_memory_is_taken(void **state)
{
	static const struct {
		const char *what;
		struct bytes delta;
		bool ok;
	} cases[] = {
		{"a value of 200", BYTES_LITERAL("\x20\xc8\x43\x06\0x"), true},
		{"cut", BYTES_LITERAL("\x20\xc8\x43\x06\0"), false},
		{"something behind it", BYTES_LITERAL("\x20\xc8\x43\x06\0xy"), false},
		{"two frames",
		 BYTES_LITERAL("\x20\xc8\x43\x06\0x\x28\xb5\x2f\xfd\x20\xc8\x43\x06\0x"), false},
		{"a frame to be skipped",
		 BYTES_LITERAL("\x20\xc8\x43\x06\0x\x50\x2a\x4d\x18\0\0\0\0"), false},
		{"a value of nothing", BYTES_LITERAL("\x20\0\1\0\0"), false},
		{"no content size", BYTES_LITERAL("\0\x58\x43\x06\0x"), false},
		{"another dictionary", BYTES_LITERAL("\x21\7\xc8\x43\x06\0x"), false},
		{"4 MiB and 1", BYTES_LITERAL("\xa0\1\0\x40\0\x43\x06\0x"), false},
		{"2^64 - 1", BYTES_LITERAL("\xe0\xff\xff\xff\xff\xff\xff\xff\xff\x43\x06\0x"),
		 false},
		{"less than it says", BYTES_LITERAL("\x20\xc9\x43\x06\0x"), false},
		{"more than it says", BYTES_LITERAL("\x20\xc7\x43\x06\0x"), false},
		{"nothing at all", BYTES_LITERAL(""), false},
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bytes value;
		enum err e = delta_apply(rig->context, BYTES_LITERAL("base"), cases[i].delta,
					 &rig->arena, &value);

		if (e != (cases[i].ok ? ERR_OK : ERR_MALFORMED))
			fail_msg("%s: %s", cases[i].what, err_name(e));
		assert_int_equal(value.size, cases[i].ok ? 200 : 0);
	}
	/* The context is as good as before. */
	assert_gives(rig, BYTES_LITERAL("base"), cases[0].delta,
		     bytes_of(memset(arena_alloc(&rig->arena, 200), 'x', 200), 200));
	assert_true(rig->arena.used_bytes < 2 * KIB);
}

static void test_a_digest_is_the_start_of_blake2b(void **state)
{
	(void)state;
	/* b2sum of "abc" */
	assert_true(value_digest(BYTES_LITERAL("abc")) == UINT64_C(0xba80a53f981c4d0d));
}

/* --- a status change on the wire -------------------------------------------------------------- */

/* A pod as an apiserver stored it, and an annotation as kubectl writes it: some 5 kB. */
static struct bytes a_pod(struct rig *rig)
{
	static struct stored stored;
	struct buffer raw = BUFFER_INIT(MIB), inside = BUFFER_INIT(MIB), value = BUFFER_INIT(MIB);
	struct object pod, other;
	struct column columns[128];
	struct bytes splice, real;
	size_t count = 0, i = 0;

	assert_true(arena_copy(&rig->arena, stored_find(&stored, "pods"), &real));
	assert_int_equal(object_split(real, &rig->arena, &pod), ERR_OK);
	for (unsigned n = 0; raw.size < 2600; n++)
		buffer_append_format(&raw, "{\"name\":\"VARIABLE_%u\",\"value\":\"%llx\"},", n,
				     (unsigned long long)random_next());
	fake_run(&inside, 1, BYTES_LITERAL("kubectl.kubernetes.io/last-applied-configuration"));
	fake_run(&inside, 2, buffer_bytes(&raw));
	raw.size = 0;
	fake_run(&raw, 5, BYTES_LITERAL("some-uid"));
	fake_run(&raw, 12, buffer_bytes(&inside));
	inside.size = 0;
	fake_run(&inside, 1, buffer_bytes(&raw));
	fake_put(&value, "k8s\0\n\x09\n\2v1\x12\3Pod", 15);
	fake_run(&value, 2, buffer_bytes(&inside));
	fake_put(&value, "\x1a\0\x22\0", 4);
	assert_int_equal(object_split(buffer_bytes(&value), &rig->arena, &other), ERR_OK);
	for (i = 0; i < other.count && other.columns[i].id.part != PART_ENTRY; i++)
		;
	assert_true(i < other.count);
	for (size_t j = 0; j < pod.count; j++) {
		if (j == count && column_id_compare(&other.columns[i].id, &pod.columns[j].id) < 0)
			columns[count++] = other.columns[i];
		columns[count++] = pod.columns[j];
	}
	assert_int_equal(count, pod.count + 1);
	assert_int_equal(object_splice(columns, count, &rig->arena, &splice), ERR_OK);
	buffer_fini(&raw);
	buffer_fini(&inside);
	buffer_fini(&value);
	return splice;
}

/* Another time wherever one stands, and another reason why the container ended. */
static unsigned change_status(struct bytes column)
{
	uint8_t *at = (uint8_t *)column.data, *reason;
	unsigned changes = 0;

	for (size_t i = 0; i + 8 <= column.size; i++)
		if (at[i] == 0x08 && at[i + 5] < 0x08 && at[i + 6] == 0x10 && !at[i + 7]) {
			at[i + 1] ^= 0x15;
			at[i + 2] ^= 0x03;
			changes++;
		}
	reason = memmem(at, column.size, "Completed", 9);
	if (reason)
		memcpy(reason, "OOMKilled", 9);
	return changes + (reason != NULL);
}

static struct bytes with_another_status(struct rig *rig, struct bytes value)
{
	struct object object;
	struct bytes copy;
	unsigned columns = 0, changes = 0;

	assert_true(arena_copy(&rig->arena, value, &copy));
	assert_int_equal(object_split(copy, &rig->arena, &object), ERR_OK);
	for (size_t i = 0; i < object.count; i++) {
		const struct column *column = &object.columns[i];
		bool status = bytes_equal(column->id.field, BYTES_LITERAL("status")) ||
			      (bytes_equal(column->id.sub, BYTES_LITERAL("managedFields")) &&
			       memmem(column->id.entry.data, column->id.entry.size, "kwok", 4));
		unsigned more = status ? change_status(column->bytes) : 0;

		columns += more > 0;
		changes += more;
	}
	print_message("%zu bytes, %u changes in %u columns\n", value.size, changes, columns);
	assert_true(columns >= 4 && changes >= 6);
	return copy;
}

struct parts {
	struct bytes delta;
	struct bytes meta;
	struct state state;
};

/* A hub's client created it, a controller at the edge writes its status. */
static struct parts written(struct rig *rig, struct bytes old_value, struct bytes value,
			    const struct dot *dot)
{
	struct dot birth = {{.incarnation = 1, .site.bytes = {1}}, 1234567};
	struct shown shown = {true, value, NULL};
	struct policy policy = {0};
	struct object object;
	struct parts parts;
	struct state old;
	struct write write = {.old = &old,
			      .old_value = old_value,
			      .old_present = true,
			      .value = value,
			      .dot = *dot,
			      .stamp = UINT64_C(1764115200000) << 16};

	assert_int_equal(object_split(old_value, &rig->arena, &object), ERR_OK);
	assert_int_equal(state_create(&object, &birth, write.stamp - (1 << 20), &rig->arena, &old),
			 ERR_OK);
	assert_int_equal(state_write(&write, &policy, &rig->arena, &parts.state), ERR_OK);
	assert_int_equal(meta_encode(&parts.state, &shown, &rig->arena, &parts.meta), ERR_OK);
	parts.delta = make(rig, old_value, value);
	return parts;
}

static void assert_arrives(struct rig *rig, struct bytes wire, struct bytes old_value,
			   const struct state *expected)
{
	struct shown shown = {.present = true};
	struct message message;
	struct state back;
	struct entry *entry;

	assert_int_equal(message_decode(wire, &rig->arena, &message), ERR_OK);
	assert_int_equal(message.as.window.entry_count, 1);
	entry = &message.as.window.entries[0];
	assert_true(entry->is_delta && entry->base_digest == value_digest(old_value));
	assert_int_equal(
		delta_apply(rig->context, old_value, entry->value, &rig->arena, &shown.value),
		ERR_OK);
	assert_true(value_digest(shown.value) == entry->value_digest);
	assert_int_equal(meta_decode(entry->meta, &shown, NULL, &rig->arena, &back), ERR_OK);
	assert_true(state_equal(&back, expected));
	message_fini(&message);
}

static void test_a_status_change_of_a_pod_is_a_window_of_500_bytes_at_most(void **state)
{
	struct rig *rig = *state;
	struct dot dot = {{.incarnation = 2}, 2345678};
	struct buffer buffer = BUFFER_INIT(MESSAGE_BYTES_MAX);
	struct message message = {.kind = MESSAGE_WINDOW};
	struct bytes old_value, value;
	struct parts parts;

	random_start(__func__);
	for (size_t i = 0; i < SITE_BYTES; i++)
		dot.actor.site.bytes[i] = (uint8_t)random_next();
	old_value = a_pod(rig);
	assert_in_range(old_value.size, 4900, 5300);
	value = with_another_status(rig, old_value);
	parts = written(rig, old_value, value, &dot);
	message.as.window = (struct window){
		.incarnation = 2,
		.from = dot.revision - 1,
		.to = dot.revision,
		.chain = random_next(),
		.entries = &(struct entry){.key = BYTES_LITERAL(
						   "/registry/pods/some-namespace/job-0-1-5wf86"),
					   .live = true,
					   .meta = parts.meta,
					   .is_delta = true,
					   .base_digest = value_digest(old_value),
					   .value = parts.delta,
					   .value_digest = value_digest(value),
					   .touches = &dot,
					   .touch_count = 1,
					   .revision = dot.revision},
		.entry_count = 1,
	};
	assert_int_equal(
		vector_add(&message.as.window.delta, &dot.actor, dot.revision, dot.revision),
		ERR_OK);
	assert_int_equal(message_encode(&message, &buffer), ERR_OK);
	print_message("delta %zu, meta %zu, key 43, in all %zu bytes\n", parts.delta.size,
		      parts.meta.size, buffer.size);
	assert_in_range(buffer.size, 100, 500);
	assert_arrives(rig, buffer_bytes(&buffer), old_value, &parts.state);
	message_fini(&message);
	buffer_fini(&buffer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_delta_gives_the_value_back),
		TEST(test_a_delta_is_empty_where_it_would_not_be_shorter),
		TEST(test_large_values_have_small_deltas),
		TEST(test_values_of_a_real_apiserver_have_small_deltas),
		TEST(test_a_damaged_delta_is_malformed_or_gives_another_value),
		TEST(test_a_delta_against_another_base_is_seen_by_the_digest),
		TEST(test_what_no_make_gave_is_malformed_before_memory_is_taken),
		TEST(test_a_digest_is_the_start_of_blake2b),
		TEST(test_a_status_change_of_a_pod_is_a_window_of_500_bytes_at_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
