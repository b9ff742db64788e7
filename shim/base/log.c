/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/log.h"

#include "shim/base/limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

/* Set once by log_configure() before there are threads, read by all. */
static enum log_level least_level = LOG_INFO;
static bool console_form;

static const char *const level_words[] = {"debug", "info", "warn", "error"};

struct line {
	char text[LOG_LINE_BYTES_MAX];
	size_t size;
};

__attribute__((format(printf, 2, 3))) static void line_add(struct line *line, const char *format,
							   ...)
{
	size_t room = sizeof line->text - 2 - line->size; /* keeps "}\n" possible */
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(line->text + line->size, room, format, args);
	va_end(args);
	if (length > 0)
		line->size += (size_t)length < room ? (size_t)length : room - 1;
}

static void line_add_quoted(struct line *line, const char *text)
{
	line_add(line, "\"");
	for (const char *c = text ? text : ""; *c; c++) {
		if (*c == '"' || *c == '\\')
			line_add(line, "\\%c", *c);
		else if (*c == '\n')
			line_add(line, "\\n");
		else if ((unsigned char)*c < 0x20)
			line_add(line, "\\u%04x", (unsigned char)*c);
		else
			line_add(line, "%c", *c);
	}
	line_add(line, "\"");
}

static void line_add_field(struct line *line, const struct log_field *field)
{
	line_add_quoted(line, field->name);
	line_add(line, ":");
	switch (field->kind) {
	case LOG_FIELD_STRING:
		line_add_quoted(line, field->as.string);
		break;
	case LOG_FIELD_INT:
		line_add(line, "%lld", (long long)field->as.number);
		break;
	case LOG_FIELD_FLOAT:
		line_add(line, "%g", field->as.real);
		break;
	case LOG_FIELD_BOOL:
		line_add(line, field->as.flag ? "true" : "false");
		break;
	}
}

static void line_add_time(struct line *line)
{
	struct timespec now;
	struct tm parts;
	char text[40];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &parts);
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
	line_add(line, "%s.%06ldZ", text, now.tv_nsec / 1000);
}

/* etcd's caller is the last folder and the file: "store/writer.c:120". */
static const char *short_place(const char *file)
{
	const char *slash = strrchr(file, '/');

	while (slash && slash > file && slash[-1] != '/')
		slash--;
	return slash && slash > file ? slash : file;
}

void log_line(enum log_level level, const char *file, int line_number, const char *message,
	      const struct log_field *fields)
{
	struct line line = {.size = 0};
	ssize_t written;

	if (level < least_level)
		return;
	if (console_form) {
		line_add_time(&line);
		line_add(&line, "\t%s\t%s:%d\t%s\t{", level_words[level], short_place(file),
			 line_number, message);
	} else {
		line_add(&line, "{\"level\":\"%s\",\"ts\":\"", level_words[level]);
		line_add_time(&line);
		line_add(&line, "\",\"caller\":\"%s:%d\",\"msg\":", short_place(file), line_number);
		line_add_quoted(&line, message);
	}
	for (const struct log_field *field = fields; field->name; field++) {
		if (!console_form || field != fields)
			line_add(&line, ",");
		line_add_field(&line, field);
	}
	line.text[line.size++] = '}';
	line.text[line.size++] = '\n';
	/* Nothing can be done about a log that takes no more. */
	written = write(STDERR_FILENO, line.text, line.size);
	(void)written;
}

void log_configure(enum log_level least, bool console)
{
	least_level = least;
	console_form = console;
}

bool log_level_parse(const char *word, enum log_level *ret_level)
{
	for (size_t i = 0; i < sizeof level_words / sizeof *level_words; i++) {
		if (!strcasecmp(word, level_words[i])) {
			*ret_level = (enum log_level)i;
			return true;
		}
	}
	if (!strcasecmp(word, "dpanic") || !strcasecmp(word, "panic") ||
	    !strcasecmp(word, "fatal")) {
		*ret_level = LOG_ERROR;
		return true;
	}
	return false;
}
