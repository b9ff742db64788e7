/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - one line per event to stderr: JSON with etcd's keys (launchers parse them), or a console
 * form for people.
 *
 * Threads: any; one write(2) per line.  Limits: a line is cut at LOG_LINE_BYTES_MAX.
 * Values of keys are never logged.  Fields come as a NULL-terminated list of triples made by the
 * macros below:
 *
 *	log_info("compacted", LOG_INT("revision", r), LOG_STRING("mode", "periodic"));
 */
#ifndef SHIM_BASE_LOG_H
#define SHIM_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
	const char *name; /* NULL ends the list */
	enum { LOG_FIELD_STRING, LOG_FIELD_INT, LOG_FIELD_FLOAT, LOG_FIELD_BOOL } kind;
	union {
		const char *string;
		int64_t number;
		double real;
		bool flag;
	} as;
};

#define LOG_STRING(n, v)                                                                           \
	{                                                                                          \
		(n), LOG_FIELD_STRING,                                                             \
		{                                                                                  \
			.string = (v)                                                              \
		}                                                                                  \
	}
#define LOG_INT(n, v)                                                                              \
	{                                                                                          \
		(n), LOG_FIELD_INT,                                                                \
		{                                                                                  \
			.number = (v)                                                              \
		}                                                                                  \
	}
#define LOG_FLOAT(n, v)                                                                            \
	{                                                                                          \
		(n), LOG_FIELD_FLOAT,                                                              \
		{                                                                                  \
			.real = (v)                                                                \
		}                                                                                  \
	}
#define LOG_BOOL(n, v)                                                                             \
	{                                                                                          \
		(n), LOG_FIELD_BOOL,                                                               \
		{                                                                                  \
			.flag = (v)                                                                \
		}                                                                                  \
	}

#define log_at(level, message, ...)                                                                \
	log_line((level), __FILE__, __LINE__, (message),                                           \
		 (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.name = NULL}})
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)

void log_line(enum log_level level, const char *file, int line, const char *message,
	      const struct log_field *fields);

/* Called once at start, before there are threads. */
void log_configure(enum log_level least, bool console);
/* True and sets *ret_level for etcd's words: debug, info, warn, error, panic, fatal. */
bool log_level_parse(const char *word, enum log_level *ret_level);

#endif
