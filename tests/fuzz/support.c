/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/fuzz.h"

#include "shim/base/log.h"
#include "tests/harness/store_rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct bytes keys[] = {
	BYTES_LITERAL("a"),	   BYTES_LITERAL("b"),	   BYTES_LITERAL("ab"),
	BYTES_LITERAL("a\0"),	   BYTES_LITERAL("\0"),	   BYTES_LITERAL("\0\0"),
	BYTES_LITERAL("\xff"),	   BYTES_LITERAL("a\xff"), BYTES_LITERAL("/r/x"),
	BYTES_LITERAL("/r/x/one"), BYTES_LITERAL("/r/y"),  BYTES_LITERAL("/r0"),
};

#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

struct bytes fuzz_key(struct fuzz_input *input)
{
	unsigned choice = fuzz_byte(input);

	return choice < 240 ? keys[choice % KEY_COUNT] : fuzz_bytes(input, 40);
}

struct bytes fuzz_range_end(struct fuzz_input *input)
{
	switch (fuzz_byte(input) % 4) {
	case 0:
		return bytes_of(NULL, 0);
	case 1:
		return bytes_of("", 1);
	default:
		return fuzz_key(input);
	}
}

void fuzz_quiet(void)
{
	log_configure((enum log_level)(LOG_ERROR + 1), false);
}

void fuzz_folder_make(char path[FUZZ_PATH_BYTES])
{
	const char *base = access("/dev/shm", W_OK) ? getenv("TMPDIR") : "/dev/shm";

	snprintf(path, FUZZ_PATH_BYTES, "%s/kedge-fuzz-XXXXXX", base ? base : "/tmp");
	fuzz_must(mkdtemp(path));
}

void fuzz_folder_empty(const char *path)
{
	rig_remove_folder(path);
	fuzz_must_say(!mkdir(path, 0700), path);
}

void fuzz_folder_remove(const char *path)
{
	rig_remove_folder(path);
}

void fuzz_file_write(const char *path, struct bytes contents)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	fuzz_must_say(fd >= 0, path);
	while (contents.size) {
		ssize_t written = write(fd, contents.data, contents.size);

		fuzz_must_say(written > 0, path);
		contents = bytes_of(contents.data + written, contents.size - (size_t)written);
	}
	close(fd);
}

struct bytes fuzz_file_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	uint8_t *data;

	fuzz_must_say(size >= 0, path);
	data = malloc((size_t)size + 1);
	fuzz_must(data);
	fuzz_must_say(pread(fd, data, (size_t)size, 0) == size, path);
	close(fd);
	return bytes_of(data, (size_t)size);
}

void fuzz_failed(const char *what, const char *file, int line, const char *words)
{
	fprintf(stderr, "%s:%d: must hold: %s%s%s\n", file, line, what, words ? ": " : "",
		words ? words : "");
	abort();
}
