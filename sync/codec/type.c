/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/codec/type.h"

#include "shim/base/crc32c.h"
#include "sync/limits.h"

#define PROTO_MAGIC BYTES_LITERAL("k8s\0")
#define CBOR_MAGIC BYTES_LITERAL("\xd9\xd9\xf7")
#define TYPE_LETTERS "opjc" /* by enum object_format */

/* Fields of runtime.Unknown and of its TypeMeta. */
enum { UNKNOWN_TYPE = 1, UNKNOWN_RAW = 2 };
enum { TYPE_API_VERSION = 1, TYPE_KIND = 2 };

static bool has_prefix(struct bytes value, struct bytes prefix)
{
	return value.size >= prefix.size && !memcmp(value.data, prefix.data, prefix.size);
}

static struct bytes after(struct bytes value, size_t skipped)
{
	return bytes_of(value.data + skipped, value.size - skipped);
}

/* --- reading values --------------------------------------------------------------------------- */

static bool find_proto(struct work *work, struct bytes envelope, struct type *type,
		       struct bytes *ret_container)
{
	struct items items, names;

	if (!format_proto.read_fields(work, envelope, &items) || items.count < 2 ||
	    items.list[0].number != UNKNOWN_TYPE || items.list[1].number != UNKNOWN_RAW ||
	    !format_proto.read_fields(work, items.list[0].value, &names) || names.count != 2 ||
	    names.list[0].number != TYPE_API_VERSION || names.list[1].number != TYPE_KIND)
		return false;
	type->api_version = names.list[0].value;
	type->kind = names.list[1].value;
	*ret_container = items.list[1].value;
	type->tail = after(envelope, (size_t)(items.list[1].whole.data - envelope.data) +
					     items.list[1].whole.size);
	return true;
}

static bool find_named(struct work *work, const struct format *format, struct bytes container,
		       struct type *type)
{
	struct items items;

	if (!format->read_fields(work, container, &items))
		return false;
	for (size_t i = 0; i < items.count; i++) {
		if (bytes_equal(items.list[i].name, BYTES_LITERAL("apiVersion")))
			type->api_version = items.list[i].value;
		if (bytes_equal(items.list[i].name, BYTES_LITERAL("kind")))
			type->kind = items.list[i].value;
	}
	return true;
}

static bool find_parts(struct work *work, struct bytes value, struct type *type,
		       struct bytes *ret_container)
{
	enum object_format *format = &type->known.format;

	if (has_prefix(value, PROTO_MAGIC)) {
		*format = OBJECT_PROTO;
		return find_proto(work, after(value, PROTO_MAGIC.size), type, ret_container);
	}
	if (has_prefix(value, CBOR_MAGIC)) {
		*format = OBJECT_CBOR;
		*ret_container = after(value, CBOR_MAGIC.size);
		return find_named(work, &format_cbor, *ret_container, type);
	}
	if (has_prefix(value, BYTES_LITERAL("{"))) {
		size_t newline = value.data[value.size - 1] == '\n';

		*format = OBJECT_JSON;
		*ret_container = bytes_of(value.data, value.size - newline);
		type->tail = after(value, value.size - newline);
		return find_named(work, &format_json, *ret_container, type);
	}
	return false;
}

bool type_find(struct work *work, struct bytes value, struct type *ret_type,
	       struct bytes *ret_container)
{
	struct buffer buffer = BUFFER_INIT(CALL_ARENA_BYTES_MAX);
	struct type parts = {0};
	struct bytes column = {0};
	bool ok = find_parts(work, value, &parts, ret_container);

	if (!ok)
		return false;
	ok = buffer_append(&buffer, bytes_of(&TYPE_LETTERS[parts.known.format], 1)) &&
	     wire_put_bytes(&buffer, parts.api_version) && wire_put_bytes(&buffer, parts.kind) &&
	     wire_put_bytes(&buffer, parts.tail) &&
	     arena_copy(work->arena, buffer_bytes(&buffer), &column);
	buffer_fini(&buffer);
	work->no_memory |= !ok;
	return ok && type_read(column, ret_type) && ret_type->known.kind.size &&
	       ret_type->known.api_version.size;
}

/* --- the column ------------------------------------------------------------------------------- */

bool type_read(struct bytes column, struct type *ret_type)
{
	struct wire wire = wire_of(column);
	const struct format *format;
	struct bytes letter;
	const char *at;

	*ret_type = (struct type){.column = column};
	if (!wire_take_fixed(&wire, 1, &letter) || !letter.data[0])
		return false;
	at = strchr(TYPE_LETTERS, letter.data[0]);
	if (!at || !wire_take_bytes(&wire, column.size, &ret_type->api_version) ||
	    !wire_take_bytes(&wire, column.size, &ret_type->kind) ||
	    !wire_take_bytes(&wire, column.size, &ret_type->tail) || wire_left(&wire))
		return false;
	ret_type->known.format = (enum object_format)(at - TYPE_LETTERS);
	ret_type->known.field_layout = crc32c(0, column);
	ret_type->known.metadata_layout = crc32c(0, letter);
	format = format_of(ret_type->known.format);
	return !format || (format->read_text(ret_type->api_version, &ret_type->known.api_version) &&
			   format->read_text(ret_type->kind, &ret_type->known.kind));
}

bool object_type_read(struct bytes type_column, struct object_type *ret_type)
{
	struct type type;

	if (!type_read(type_column, &type))
		return false;
	*ret_type = type.known;
	return true;
}

void type_opaque(struct type *ret_type)
{
	bool ok = type_read(BYTES_LITERAL("o\0\0\0"), ret_type);

	(void)ok;
}

uint32_t type_layout(const struct object_type *type, struct bytes field, enum column_part part)
{
	if (part == PART_TYPE)
		return 0;
	return bytes_equal(field, BYTES_LITERAL("metadata")) ? type->metadata_layout
							     : type->field_layout;
}

/* --- writing values --------------------------------------------------------------------------- */

static bool put_proto(const struct type *type, struct bytes container, struct buffer *buffer)
{
	struct buffer names = BUFFER_INIT(CALL_ARENA_BYTES_MAX);
	struct frame api_version = {.number = TYPE_API_VERSION}, kind = {.number = TYPE_KIND};
	struct frame meta = {.number = UNKNOWN_TYPE}, raw = {.number = UNKNOWN_RAW};
	bool ok = format_proto.put_struct(&names, api_version, type->api_version) &&
		  format_proto.put_struct(&names, kind, type->kind) &&
		  buffer_append(buffer, PROTO_MAGIC) &&
		  format_proto.put_struct(buffer, meta, buffer_bytes(&names)) &&
		  format_proto.put_struct(buffer, raw, container) &&
		  buffer_append(buffer, type->tail);

	buffer_fini(&names);
	return ok;
}

bool type_put(const struct type *type, struct bytes container, struct buffer *buffer)
{
	if (type->known.format == OBJECT_PROTO)
		return put_proto(type, container, buffer);
	if (type->known.format == OBJECT_CBOR && !buffer_append(buffer, CBOR_MAGIC))
		return false;
	return buffer_append(buffer, container) && buffer_append(buffer, type->tail);
}
