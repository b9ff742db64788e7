/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/thing.h"

#include "api/reader.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TEXT_BYTES 2048
#define TIME_BASE 1760000000 /* 2025 */
#define BIG_EVERY 13	     /* one text in so many is long */

static const char *const label_names[THING_LABELS] = {"app", "tier", "zone"};
static const char *const note_names[THING_NOTES] = {"example.com/note", "team"};
static const char *const entry_names[THING_ENTRIES] = {"a.conf", "b.conf", "c.conf"};
static const char *const finalizer_names[THING_FINALIZERS] = {"example.com/first",
							      "example.com/second"};
static const char *const condition_names[THING_CONDITIONS] = {"DiskPressure", "Ready"};

static const struct {
	const char *name;
	const char *api_version;
	bool json;
} kinds[THING_KINDS] = {
	[THING_CONFIG] = {"ConfigMap", "v1", false},
	[THING_DEPLOY] = {"Deployment", "apps/v1", false},
	[THING_NODE] = {"Node", "v1", false},
	[THING_WIDGET] = {"Widget", "example.com/v1", true},
	[THING_EVENT] = {"Event", "v1", false},
	[THING_TEXT] = {"text", "", false},
};

bool thing_has_uid(enum thing_kind kind)
{
	return kind != THING_TEXT;
}

const char *thing_kind_name(enum thing_kind kind)
{
	return kinds[kind].name;
}

/* --- text of a number, and back
 * --------------------------------------------------------------- */

static const char *text_of(const char *role, uint32_t number, char text[TEXT_BYTES])
{
	size_t size = (size_t)snprintf(text, TEXT_BYTES, "%s-%" PRIu32 "-", role, number);
	size_t more = number % BIG_EVERY ? number % 5 : 200 + number % 1500;

	for (size_t i = 0; i < more; i++)
		text[size++] = (char)('a' + (number * 31 + i * i) % 26);
	text[size] = '\0';
	return text;
}

static bool number_of(const char *role, struct bytes text, uint32_t *ret_number)
{
	char copy[TEXT_BYTES], expected[TEXT_BYTES];
	size_t skipped = strlen(role) + 1;

	if (text.size <= skipped || text.size >= sizeof copy)
		return false;
	memcpy(copy, text.data, text.size);
	copy[text.size] = '\0';
	*ret_number = (uint32_t)strtoul(copy + skipped, NULL, 10);
	return *ret_number && !strcmp(copy, text_of(role, *ret_number, expected));
}

static bool index_of(const char *const *names, size_t count, struct bytes name, size_t *ret_index)
{
	for (size_t i = 0; i < count; i++)
		if (bytes_equal(name, bytes_of_string(names[i]))) {
			*ret_index = i;
			return true;
		}
	return false;
}

static void put(struct buffer *buffer, struct bytes bytes)
{
	bool ok = buffer_append(buffer, bytes);

	assert(ok);
}

/* --- protobuf
 * ---------------------------------------------------------------------------------
 */

static void put_varint(struct buffer *buffer, uint64_t number)
{
	for (;; number >>= 7) {
		uint8_t byte = (uint8_t)(number & 0x7f) | (number >= 0x80 ? 0x80 : 0);

		put(buffer, bytes_of(&byte, 1));
		if (number < 0x80)
			return;
	}
}

static void put_number(struct buffer *buffer, unsigned field, uint64_t number)
{
	put_varint(buffer, field << 3);
	put_varint(buffer, number);
}

static void put_run(struct buffer *buffer, unsigned field, struct bytes bytes)
{
	put_varint(buffer, field << 3 | 2);
	put_varint(buffer, bytes.size);
	put(buffer, bytes);
}

/* Ends `inside` and puts it as a field. */
static void put_inside(struct buffer *buffer, unsigned field, struct buffer *inside)
{
	put_run(buffer, field, buffer_bytes(inside));
	buffer_fini(inside);
}

static void put_text(struct buffer *buffer, unsigned field, const char *role, uint32_t number)
{
	char text[TEXT_BYTES];

	put_run(buffer, field, bytes_of_string(text_of(role, number, text)));
}

static void put_pair(struct buffer *buffer, unsigned field, const char *name, uint32_t number)
{
	struct buffer inside = BUFFER_INIT(THING_BYTES_MAX);

	if (!number)
		return;
	put_run(&inside, 1, bytes_of_string(name));
	put_text(&inside, 2, name, number);
	put_inside(buffer, field, &inside);
}

static void put_time(struct buffer *buffer, unsigned field, uint32_t seconds)
{
	struct buffer inside = BUFFER_INIT(THING_BYTES_MAX);

	put_number(&inside, 1, (uint64_t)TIME_BASE + seconds);
	put_number(&inside, 2, 0);
	put_inside(buffer, field, &inside);
}

/* As gogo writes it: ascending, texts even where they are empty. */
static void put_metadata(const struct thing *thing, struct buffer *buffer)
{
	struct buffer inside = BUFFER_INIT(THING_BYTES_MAX);

	put_run(&inside, 1, BYTES_LITERAL("name"));
	put_run(&inside, 2, BYTES_LITERAL(""));
	put_run(&inside, 3, BYTES_LITERAL("default"));
	put_run(&inside, 4, BYTES_LITERAL(""));
	put_text(&inside, 5, "uid", thing->uid);
	put_run(&inside, 6, BYTES_LITERAL(""));
	put_number(&inside, 7, (uint64_t)thing->generation);
	put_time(&inside, 8, thing->created);
	if (thing->deleted)
		put_time(&inside, 9, thing->deleted);
	if (thing->has_grace)
		put_number(&inside, 10, thing->grace);
	for (size_t i = 0; i < THING_LABELS; i++)
		put_pair(&inside, 11, label_names[i], thing->labels[i]);
	for (size_t i = 0; i < THING_NOTES; i++)
		put_pair(&inside, 12, note_names[i], thing->notes[i]);
	for (size_t i = 0; i < THING_FINALIZERS; i++)
		if (thing->finalizers[i])
			put_run(&inside, 14, bytes_of_string(finalizer_names[i]));
	put_inside(buffer, 1, &inside);
}

static void put_body(const struct thing *thing, struct buffer *buffer)
{
	struct buffer spec = BUFFER_INIT(THING_BYTES_MAX), status = BUFFER_INIT(THING_BYTES_MAX);

	put_metadata(thing, buffer);
	if (thing->kind == THING_CONFIG) {
		for (size_t i = 0; i < THING_ENTRIES; i++)
			put_pair(buffer, 2, entry_names[i], thing->entries[i]);
		return;
	}
	if (thing->kind == THING_EVENT) {
		put_text(buffer, 3, "spec", thing->spec);
		return;
	}
	if (thing->kind == THING_DEPLOY)
		put_number(&spec, 1, thing->replicas);
	put_text(&spec, 3, "spec", thing->spec);
	put_inside(buffer, 2, &spec);
	for (size_t i = 0; i < THING_CONDITIONS && thing->kind == THING_NODE; i++)
		put_pair(&status, 4, condition_names[i], thing->conditions[i]);
	if (thing->status)
		put_text(&status, 7, "status", thing->status);
	put_inside(buffer, 3, &status);
}

static void put_proto(const struct thing *thing, struct buffer *buffer)
{
	struct buffer inside = BUFFER_INIT(THING_BYTES_MAX), body = BUFFER_INIT(THING_BYTES_MAX);

	put(buffer, BYTES_LITERAL("k8s\0"));
	put_run(&inside, 1, bytes_of_string(kinds[thing->kind].api_version));
	put_run(&inside, 2, bytes_of_string(kinds[thing->kind].name));
	put_inside(buffer, 1, &inside);
	put_body(thing, &body);
	put_inside(buffer, 2, &body);
	put(buffer, BYTES_LITERAL("\x1a\0\x22\0"));
}

static bool read_pair(struct bytes bytes, const char *const *names, size_t count,
		      uint32_t *ret_numbers)
{
	struct reader reader = reader_of(bytes);
	struct field name, value;
	size_t index;

	return reader_next(&reader, &name) && reader_next(&reader, &value) &&
	       index_of(names, count, name.bytes, &index) && !ret_numbers[index] &&
	       number_of(names[index], value.bytes, &ret_numbers[index]);
}

static bool read_time(struct bytes bytes, uint32_t *ret_seconds)
{
	struct reader reader = reader_of(bytes);
	struct field field;

	if (!reader_next(&reader, &field) || field.value < TIME_BASE)
		return false;
	*ret_seconds = (uint32_t)(field.value - TIME_BASE);
	return true;
}

static bool read_metadata_field(const struct field *field, struct thing *thing)
{
	size_t index;

	switch (field->number) {
	case 5:
		return number_of("uid", field->bytes, &thing->uid);
	case 7:
		thing->generation = (int64_t)field->value;
		return true;
	case 8:
		return read_time(field->bytes, &thing->created);
	case 9:
		return read_time(field->bytes, &thing->deleted);
	case 10:
		thing->has_grace = true;
		thing->grace = (uint32_t)field->value;
		return true;
	case 11:
		return read_pair(field->bytes, label_names, THING_LABELS, thing->labels);
	case 12:
		return read_pair(field->bytes, note_names, THING_NOTES, thing->notes);
	case 14:
		if (!index_of(finalizer_names, THING_FINALIZERS, field->bytes, &index))
			return false;
		thing->finalizers[index] = true;
		return true;
	default:
		return field->number >= 1 && field->number <= 6;
	}
}

static bool read_metadata(struct bytes bytes, struct thing *thing)
{
	struct reader reader = reader_of(bytes);
	struct field field;
	unsigned seen = 0;

	while (reader_next(&reader, &field)) {
		seen |= 1u << field.number % 32;
		if (!read_metadata_field(&field, thing))
			return false;
	}
	return !reader.malformed && (seen & 0x1fe) == 0x1fe; /* 1 to 8 are always there */
}

static bool read_inner(struct bytes bytes, bool spec, struct thing *thing)
{
	struct reader reader = reader_of(bytes);
	struct field field;
	bool ok = true;

	while (ok && reader_next(&reader, &field)) {
		if (spec && field.number == 1)
			thing->replicas = (uint32_t)field.value;
		else if (spec && field.number == 3)
			ok = number_of("spec", field.bytes, &thing->spec);
		else if (!spec && field.number == 4)
			ok = read_pair(field.bytes, condition_names, THING_CONDITIONS,
				       thing->conditions);
		else
			ok = !spec && field.number == 7 &&
			     number_of("status", field.bytes, &thing->status);
	}
	return ok && !reader.malformed && (!spec || thing->spec);
}

static bool read_body_field(const struct field *field, struct thing *thing)
{
	if (field->number == 1)
		return read_metadata(field->bytes, thing);
	if (thing->kind == THING_CONFIG)
		return field->number == 2 &&
		       read_pair(field->bytes, entry_names, THING_ENTRIES, thing->entries);
	if (thing->kind == THING_EVENT)
		return field->number == 3 && number_of("spec", field->bytes, &thing->spec);
	return (field->number == 2 || field->number == 3) &&
	       read_inner(field->bytes, field->number == 2, thing);
}

static bool read_proto(struct bytes value, struct thing *thing)
{
	struct reader reader;
	struct field field;
	unsigned seen = 0, needed = thing->kind == THING_CONFIG	 ? 0x2
				    : thing->kind == THING_EVENT ? 0xa
								 : 0xe;

	if (value.size < 4 || memcmp(value.data, "k8s", 4))
		return false;
	reader = reader_of(bytes_of(value.data + 4, value.size - 4));
	if (!reader_next(&reader, &field) || field.number != 1 || !reader_next(&reader, &field) ||
	    field.number != 2)
		return false;
	reader = reader_of(field.bytes);
	while (reader_next(&reader, &field)) {
		seen |= 1u << field.number % 32;
		if (!read_body_field(&field, thing))
			return false;
	}
	return !reader.malformed && (seen & needed) == needed;
}

/* --- JSON, as it stands: no white space, names sorted, nothing escaped
 * ------------------------ */

static void put_format(struct buffer *buffer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void put_format(struct buffer *buffer, const char *format, ...)
{
	char text[TEXT_BYTES + 64];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	put(buffer, bytes_of_string(text));
}

static const char *time_text(uint32_t seconds, char text[32])
{
	time_t when = (time_t)TIME_BASE + seconds;
	struct tm parts;

	gmtime_r(&when, &parts);
	strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
	return text;
}

static void put_map(struct buffer *buffer, const char *field, const char *const *names,
		    const uint32_t *numbers, size_t count)
{
	bool first = true;
	char text[TEXT_BYTES];

	for (size_t i = 0; i < count; i++) {
		if (!numbers[i])
			continue;
		put_format(buffer, "%s", first ? "" : ",");
		if (first)
			put_format(buffer, "\"%s\":{", field);
		put_format(buffer, "\"%s\":\"%s\"", names[i], text_of(names[i], numbers[i], text));
		first = false;
	}
	if (!first)
		put_format(buffer, "},");
}

static void put_finalizers(const struct thing *thing, struct buffer *buffer)
{
	bool first = true;

	for (size_t i = 0; i < THING_FINALIZERS; i++) {
		if (!thing->finalizers[i])
			continue;
		put_format(buffer, "%s\"%s\"", first ? "\"finalizers\":[" : ",",
			   finalizer_names[i]);
		first = false;
	}
	if (!first)
		put_format(buffer, "],");
}

static void put_json(const struct thing *thing, struct buffer *buffer)
{
	char text[TEXT_BYTES], when[32];

	put_format(buffer, "{\"apiVersion\":\"%s\",\"kind\":\"%s\",\"metadata\":{",
		   kinds[thing->kind].api_version, kinds[thing->kind].name);
	put_map(buffer, "annotations", note_names, thing->notes, THING_NOTES);
	put_format(buffer, "\"creationTimestamp\":\"%s\",", time_text(thing->created, when));
	if (thing->has_grace)
		put_format(buffer, "\"deletionGracePeriodSeconds\":%" PRIu32 ",", thing->grace);
	if (thing->deleted)
		put_format(buffer, "\"deletionTimestamp\":\"%s\",",
			   time_text(thing->deleted, when));
	put_finalizers(thing, buffer);
	put_format(buffer, "\"generation\":%" PRId64 ",", thing->generation);
	put_map(buffer, "labels", label_names, thing->labels, THING_LABELS);
	put_format(buffer, "\"name\":\"name\",\"namespace\":\"default\",\"uid\":\"%s\"}",
		   text_of("uid", thing->uid, text));
	put_format(buffer, ",\"spec\":{\"size\":\"%s\"}", text_of("spec", thing->spec, text));
	if (thing->status)
		put_format(buffer, ",\"status\":{\"phase\":\"%s\"}",
			   text_of("status", thing->status, text));
	put_format(buffer, "}\n");
}

/* A value's end: behind its string, its brackets, or its number. */
static const uint8_t *json_end(const uint8_t *at, const uint8_t *end)
{
	int depth = 0;
	bool quoted = false;

	for (; at < end; at++) {
		if (*at == '"')
			quoted = !quoted;
		else if (!quoted && (*at == '{' || *at == '['))
			depth++;
		else if (!quoted && (*at == '}' || *at == ']') && --depth < 0)
			return at;
		else if (!quoted && *at == ',' && !depth)
			return at;
	}
	return at;
}

/* The next member of an object, or element where ret_name is NULL; *inside is
 * what is left. */
static bool json_next(struct bytes *inside, struct bytes *ret_name, struct bytes *ret_value)
{
	const uint8_t *at = inside->data, *end = inside->data + inside->size, *stop;

	if (!inside->size)
		return false;
	if (ret_name) {
		stop = memchr(at + 1, '"', inside->size - 1);
		if (*at != '"' || !stop || stop + 2 > end)
			return false;
		*ret_name = bytes_of(at + 1, (size_t)(stop - at - 1));
		at = stop + 2;
	}
	stop = json_end(at, end);
	*ret_value = bytes_of(at, (size_t)(stop - at));
	at = stop < end ? stop + 1 : stop;
	*inside = bytes_of(at, (size_t)(end - at));
	return true;
}

/* Without the first and the last byte. */
static struct bytes inner(struct bytes value)
{
	return value.size < 2 ? bytes_of("", 0) : bytes_of(value.data + 1, value.size - 2);
}

static bool is(struct bytes name, const char *text)
{
	return bytes_equal(name, bytes_of_string(text));
}

static bool json_map(struct bytes value, const char *const *names, size_t count,
		     uint32_t *ret_numbers)
{
	struct bytes inside = inner(value), name, text;
	size_t index;

	while (json_next(&inside, &name, &text))
		if (!index_of(names, count, name, &index) ||
		    !number_of(names[index], inner(text), &ret_numbers[index]))
			return false;
	return true;
}

static bool json_time(struct bytes value, uint32_t *ret_seconds)
{
	struct tm parts = {0};
	char text[32];

	if (value.size >= sizeof text)
		return false;
	memcpy(text, inner(value).data, inner(value).size);
	text[inner(value).size] = '\0';
	if (!strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts))
		return false;
	*ret_seconds = (uint32_t)(timegm(&parts) - TIME_BASE);
	return true;
}

static int64_t json_number(struct bytes value)
{
	int64_t number = 0;

	for (size_t i = 0; i < value.size; i++)
		number = number * 10 + (value.data[i] - '0');
	return number;
}

static bool json_finalizers(struct bytes value, struct thing *thing)
{
	struct bytes inside = inner(value), text;
	size_t index;

	while (json_next(&inside, NULL, &text)) {
		if (!index_of(finalizer_names, THING_FINALIZERS, inner(text), &index))
			return false;
		thing->finalizers[index] = true;
	}
	return true;
}

static bool json_metadata_member(struct bytes name, struct bytes value, struct thing *thing)
{
	if (is(name, "annotations"))
		return json_map(value, note_names, THING_NOTES, thing->notes);
	if (is(name, "labels"))
		return json_map(value, label_names, THING_LABELS, thing->labels);
	if (is(name, "finalizers"))
		return json_finalizers(value, thing);
	if (is(name, "uid"))
		return number_of("uid", inner(value), &thing->uid);
	if (is(name, "creationTimestamp"))
		return json_time(value, &thing->created);
	if (is(name, "deletionTimestamp"))
		return json_time(value, &thing->deleted);
	if (is(name, "deletionGracePeriodSeconds")) {
		thing->has_grace = true;
		thing->grace = (uint32_t)json_number(value);
	} else if (is(name, "generation")) {
		thing->generation = json_number(value);
	} else {
		return is(name, "name") || is(name, "namespace");
	}
	return true;
}

static bool json_metadata(struct bytes value, struct thing *thing)
{
	struct bytes inside = inner(value), name, member;

	while (json_next(&inside, &name, &member))
		if (!json_metadata_member(name, member, thing))
			return false;
	return thing->uid && thing->generation;
}

static bool json_text(struct bytes value, const char *field, const char *role, uint32_t *ret_number)
{
	struct bytes inside = inner(value), name, text;

	return json_next(&inside, &name, &text) && is(name, field) &&
	       number_of(role, inner(text), ret_number);
}

static bool read_json(struct bytes value, struct thing *thing)
{
	struct bytes inside, name, member;
	bool ok = value.size > 3 && value.data[value.size - 1] == '\n';

	inside = inner(bytes_of(value.data, value.size - 1));
	while (ok && json_next(&inside, &name, &member)) {
		if (is(name, "metadata"))
			ok = json_metadata(member, thing);
		else if (is(name, "spec"))
			ok = json_text(member, "size", "spec", &thing->spec);
		else if (is(name, "status"))
			ok = json_text(member, "phase", "status", &thing->status);
		else
			ok = is(name, "apiVersion") || is(name, "kind");
	}
	return ok && thing->uid && thing->spec;
}

/* --- both
 * -------------------------------------------------------------------------------------
 */

void thing_put(const struct thing *thing, struct buffer *buffer)
{
	char text[TEXT_BYTES];

	if (thing->kind == THING_TEXT)
		put(buffer, bytes_of_string(text_of("spec", thing->spec, text)));
	else if (kinds[thing->kind].json)
		put_json(thing, buffer);
	else
		put_proto(thing, buffer);
}

bool thing_read(enum thing_kind kind, struct bytes value, struct thing *ret_thing)
{
	*ret_thing = (struct thing){.kind = kind};
	if (kind == THING_TEXT)
		return number_of("spec", value, &ret_thing->spec);
	if (kinds[kind].json)
		return read_json(value, ret_thing);
	return read_proto(value, ret_thing);
}
