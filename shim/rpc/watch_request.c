/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/rpc/watch_request.h"

#include "api/reader.h"

enum filter { FILTER_NOPUT = 0, FILTER_NODELETE = 1 };

static void add_filter(struct watch_spec *spec, uint64_t filter)
{
	spec->no_put = spec->no_put || filter == FILTER_NOPUT;
	spec->no_delete = spec->no_delete || filter == FILTER_NODELETE;
}

/* The packed form of a repeated enum. */
static enum err add_filters(struct watch_spec *spec, struct bytes packed)
{
	while (packed.size) {
		uint64_t value = 0;
		unsigned shift = 0;
		uint8_t byte;

		do {
			if (!packed.size || shift > 63)
				return ERR_MALFORMED;
			byte = *packed.data;
			packed = bytes_of(packed.data + 1, packed.size - 1);
			value |= (uint64_t)(byte & 0x7f) << shift;
			shift += 7;
		} while (byte & 0x80);
		add_filter(spec, value);
	}
	return ERR_OK;
}

static void take_number(struct watch_spec *spec, const struct field *field)
{
	switch (field->number) {
	case 3:
		spec->start_revision = (int64_t)field->value;
		break;
	case 4:
		spec->progress_notify = field->value;
		break;
	case 5:
		add_filter(spec, field->value);
		break;
	case 6:
		spec->prev_kv = field->value;
		break;
	case 7:
		spec->watch_id = (int64_t)field->value;
		break;
	case 8:
		spec->fragment = field->value;
		break;
	default:
		break;
	}
}

static enum err read_create(struct bytes message, struct watch_spec *spec)
{
	struct reader reader = reader_of(message);
	enum err e = ERR_OK;
	struct field field;

	while (!e && reader_next(&reader, &field)) {
		if (field.type == FIELD_VARINT)
			take_number(spec, &field);
		else if (field.type == FIELD_BYTES && field.number == 1)
			spec->key = field.bytes;
		else if (field.type == FIELD_BYTES && field.number == 2)
			spec->end = field.bytes;
		else if (field.type == FIELD_BYTES && field.number == 5)
			e = add_filters(spec, field.bytes);
	}
	return reader.malformed ? ERR_MALFORMED : e;
}

static enum err read_cancel(struct bytes message, int64_t *watch_id)
{
	struct reader reader = reader_of(message);
	struct field field;

	while (reader_next(&reader, &field)) {
		if (field.number == 1 && field.type == FIELD_VARINT)
			*watch_id = (int64_t)field.value;
	}
	return reader.malformed ? ERR_MALFORMED : ERR_OK;
}

static enum err read_progress(struct bytes message)
{
	struct reader reader = reader_of(message);
	struct field field;

	while (reader_next(&reader, &field))
		continue;
	return reader.malformed ? ERR_MALFORMED : ERR_OK;
}

/* A member of the oneof: another one before it is forgotten, the same one is merged with it. */
static enum err read_member(const struct field *field, struct watch_request *request)
{
	if (field->number > WATCH_PROGRESS || field->type != FIELD_BYTES)
		return ERR_OK;
	if (request->kind != field->number) {
		*request = (struct watch_request){0};
		request->kind = field->number;
	}
	if (field->number == WATCH_CREATE)
		return read_create(field->bytes, &request->spec);
	if (field->number == WATCH_CANCEL)
		return read_cancel(field->bytes, &request->watch_id);
	return read_progress(field->bytes);
}

enum err watch_request_read(struct bytes message, struct watch_request *ret_request)
{
	struct watch_request request = {0};
	struct reader reader;
	enum err e = ERR_OK;
	struct field field;

	if (!message.size) {
		*ret_request = request;
		return ERR_OK;
	}
	reader = reader_of(message);
	while (!e && reader_next(&reader, &field))
		e = read_member(&field, &request);
	if (!e && reader.malformed)
		e = ERR_MALFORMED;
	if (!e)
		*ret_request = request;
	return e;
}
