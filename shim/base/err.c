/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/err.h"

#include "shim/base/log.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

enum err_kind { ANSWER, FAULT };

static const struct {
	const char *name;
	enum err_kind kind;
	enum status status;
	const char *text;
} table[ERR_COUNT] = {
#define ERR_ROW(name, kind, status, text) {#name, kind, status, text},
	ERR_TABLE(ERR_ROW)
#undef ERR_ROW
};

enum status err_status(enum err e)
{
	assert(e < ERR_COUNT);
	return table[e].status;
}

const char *err_text(enum err e)
{
	assert(e < ERR_COUNT);
	return table[e].text;
}

const char *err_name(enum err e)
{
	assert(e < ERR_COUNT);
	return table[e].name;
}

bool err_is_fault(enum err e)
{
	assert(e < ERR_COUNT);
	return table[e].kind == FAULT;
}

void fault_at(enum err e, const char *file, int line, const char *format, ...)
{
	char reason[512];
	va_list args;

	assert(err_is_fault(e));
	va_start(args, format);
	vsnprintf(reason, sizeof reason, format, args);
	va_end(args);
	log_line(LOG_ERROR, file, line, err_text(e),
		 (const struct log_field[]){LOG_STRING("error", reason), {.name = NULL}});
}
