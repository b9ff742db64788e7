/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz.h - what the fuzz targets share: reading an input as a program, and judging what came of it.
 *
 * A target reads its input through a struct fuzz_input: small numbers that choose what to do, and
 * runs of bytes to do it with.  Past the end everything is zero, so that every prefix of a program
 * is one, too.
 * Threads: one.  Errors: what must hold is said with fuzz_must(), which ends the process with the
 * place and, when given, words; libFuzzer then keeps the input. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "shim/base/buffer.h"
#include "shim/base/bytes.h"

/* The two names that libFuzzer looks for. */
int LLVMFuzzerInitialize(int *arg_count, char ***args);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

static inline struct fuzz_input fuzz_input_of(const uint8_t *data, size_t size)
{
	return (struct fuzz_input){data, size};
}

static inline bool fuzz_more(const struct fuzz_input *input)
{
	return input->left > 0;
}

static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
	if (!input->left)
		return 0;
	input->left--;
	return *input->at++;
}

/* Little endian, of one to eight bytes. */
static inline uint64_t fuzz_number(struct fuzz_input *input, size_t bytes)
{
	uint64_t number = 0;

	for (size_t i = 0; i < bytes; i++)
		number |= (uint64_t)fuzz_byte(input) << (8 * i);
	return number;
}

static inline unsigned fuzz_below(struct fuzz_input *input, unsigned bound)
{
	return fuzz_byte(input) % bound;
}

/* A slice of the input: at most `most` bytes, as many as the next byte says. */
static inline struct bytes fuzz_bytes(struct fuzz_input *input, size_t most)
{
	size_t size = fuzz_byte(input) % (most + 1);
	struct bytes taken;

	size = size < input->left ? size : input->left;
	taken = bytes_of(input->at, size);
	input->at += size;
	input->left -= size;
	return taken;
}

static inline struct bytes fuzz_rest(struct fuzz_input *input)
{
	struct bytes rest = bytes_of(input->at, input->left);

	input->at += input->left;
	input->left = 0;
	return rest;
}

/* Keys of a small alphabet, so that they meet: prefixes of each other, NUL and 0xff among them. */
struct bytes fuzz_key(struct fuzz_input *input);
/* As the end of a range: empty, the open end, or a key. */
struct bytes fuzz_range_end(struct fuzz_input *input);

/* Errors and warnings of the code under test are expected here, and many: they go nowhere. */
void fuzz_quiet(void);

/* A new empty folder in memory where there is such a thing; removed by fuzz_folder_remove(). */
#define FUZZ_PATH_BYTES 128
void fuzz_folder_make(char path[FUZZ_PATH_BYTES]);
void fuzz_folder_empty(const char *path);
void fuzz_folder_remove(const char *path);
void fuzz_file_write(const char *path, struct bytes contents);
/* In malloc'ed memory, which the caller frees. */
struct bytes fuzz_file_read(const char *path);

#define fuzz_must(holds) ((holds) ? (void)0 : fuzz_failed(#holds, __FILE__, __LINE__, NULL))
#define fuzz_must_say(holds, words)                                                                \
	((holds) ? (void)0 : fuzz_failed(#holds, __FILE__, __LINE__, (words)))
_Noreturn void fuzz_failed(const char *what, const char *file, int line, const char *words);

#endif
