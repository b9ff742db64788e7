/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/message/delta.h"

#include "sync/limits.h"
#include "sync/reconcile/digest.h"

#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

/* Measured on stored objects of 2 to 400 kB with a changed status: 5 and above take three times as
 * long to save a tenth, 1 and -1 write half as much again. */
#define DELTA_LEVEL 3
/* Base and value together: from here on level 3 overlooks much of the base by itself; with zstd's
 * long distance matching, which takes twice as long, it does not. */
#define LONG_BYTES MIB
/* Every frame begins with the same four bytes, which are left out. */
#define MAGIC_BYTES 4

struct delta_context {
	ZSTD_CCtx *encoder;
	ZSTD_DCtx *decoder;
	uint8_t *scratch; /* one frame */
	size_t scratch_bytes;
};

enum err delta_context_new(struct delta_context **ret_context)
{
	struct delta_context *context = calloc(1, sizeof(*context));

	if (context) {
		context->encoder = ZSTD_createCCtx();
		context->decoder = ZSTD_createDCtx();
	}
	if (!context || !context->encoder || !context->decoder ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(context->encoder, ZSTD_c_compressionLevel,
						DELTA_LEVEL))) {
		delta_context_free(context);
		return fault(ERR_NOMEM, "working memory for deltas");
	}
	*ret_context = context;
	return ERR_OK;
}

void delta_context_free(struct delta_context *context)
{
	if (!context)
		return;
	ZSTD_freeCCtx(context->encoder);
	ZSTD_freeDCtx(context->decoder);
	free(context->scratch);
	free(context);
}

static bool make_scratch(struct delta_context *context, size_t size)
{
	uint8_t *grown;

	if (size <= context->scratch_bytes)
		return true;
	grown = realloc(context->scratch, size);
	if (!grown)
		return false;
	context->scratch = grown;
	context->scratch_bytes = size;
	return true;
}

static size_t compress(struct delta_context *context, struct bytes base, struct bytes value)
{
	ZSTD_CCtx *encoder = context->encoder;
	size_t result = ZSTD_CCtx_reset(encoder, ZSTD_reset_session_only);

	if (!ZSTD_isError(result))
		result = ZSTD_CCtx_setParameter(encoder, ZSTD_c_enableLongDistanceMatching,
						base.size + value.size >= LONG_BYTES);
	if (!ZSTD_isError(result))
		result = ZSTD_CCtx_refPrefix(encoder, base.data, base.size);
	if (!ZSTD_isError(result))
		result = ZSTD_compress2(encoder, context->scratch, context->scratch_bytes,
					value.data, value.size);
	return result;
}

enum err delta_make(struct delta_context *context, struct bytes base, struct bytes value,
		    struct arena *arena, struct bytes *ret_delta)
{
	size_t size;

	*ret_delta = bytes_of(NULL, 0);
	if (!base.size || !value.size || base.size > VALUE_BYTES_MAX ||
	    value.size > VALUE_BYTES_MAX)
		return ERR_OK;
	if (!make_scratch(context, ZSTD_compressBound(value.size)))
		return fault(ERR_NOMEM, "a delta of %zu bytes", value.size);
	size = compress(context, base, value);
	if (ZSTD_isError(size))
		return fault(ERR_NOMEM, "a delta of %zu bytes: %s", value.size,
			     ZSTD_getErrorName(size));
	size -= MAGIC_BYTES;
	if (size < value.size &&
	    !arena_copy(arena, bytes_of(context->scratch + MAGIC_BYTES, size), ret_delta))
		return fault(ERR_NOMEM, "a delta of %zu bytes", size);
	return ERR_OK;
}

/* The delta as a frame of zstd's, and how long its value is. */
static enum err open_frame(struct delta_context *context, struct bytes delta, size_t *ret_size)
{
	unsigned long long size;

	if (!make_scratch(context, MAGIC_BYTES + delta.size))
		return fault(ERR_NOMEM, "a delta of %zu bytes", delta.size);
	for (unsigned i = 0; i < MAGIC_BYTES; i++)
		context->scratch[i] = (uint8_t)(ZSTD_MAGICNUMBER >> (8 * i));
	memcpy(context->scratch + MAGIC_BYTES, delta.data, delta.size);
	/* Errors and "unknown" are very large numbers. */
	size = ZSTD_getFrameContentSize(context->scratch, MAGIC_BYTES + delta.size);
	if (!size || size > VALUE_BYTES_MAX ||
	    ZSTD_findFrameCompressedSize(context->scratch, MAGIC_BYTES + delta.size) !=
		    MAGIC_BYTES + delta.size)
		return ERR_MALFORMED;
	*ret_size = (size_t)size;
	return ERR_OK;
}

enum err delta_apply(struct delta_context *context, struct bytes base, struct bytes delta,
		     struct arena *arena, struct bytes *ret_value)
{
	size_t size, result;
	uint8_t *value;
	enum err e;

	*ret_value = bytes_of(NULL, 0);
	if (!base.size || !delta.size || base.size > VALUE_BYTES_MAX ||
	    delta.size > VALUE_BYTES_MAX)
		return ERR_MALFORMED;
	e = open_frame(context, delta, &size);
	if (e)
		return e;
	value = arena_alloc(arena, size);
	if (!value)
		return fault(ERR_NOMEM, "a value of %zu bytes", size);
	result = ZSTD_DCtx_refPrefix(context->decoder, base.data, base.size);
	if (!ZSTD_isError(result))
		result = ZSTD_decompressDCtx(context->decoder, value, size, context->scratch,
					     MAGIC_BYTES + delta.size);
	if (ZSTD_isError(result) && ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation)
		return fault(ERR_NOMEM, "a value of %zu bytes", size);
	if (result != size)
		return ERR_MALFORMED;
	*ret_value = bytes_of(value, size);
	return ERR_OK;
}

uint64_t value_digest(struct bytes value)
{
	uint8_t digest[sizeof(uint64_t)];
	uint64_t number = 0;

	digest_of(&value, 1, sizeof(digest), digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		number = number << 8 | digest[i];
	return number;
}
