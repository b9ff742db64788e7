/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/wal.h"

#include "shim/base/limits.h"
#include "shim/store/schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define REWRITE_BYTES 65536

/* https://www.sqlite.org/fileformat2.html, section 4.1. */
#define WAL_MAGIC 0x377f0682u /* the lowest bit: checksums are over big-endian words */
#define WAL_VERSION 3007000u
#define WAL_HEADER_BYTES 32
#define FRAME_HEADER_BYTES 24
#define FRAME_BYTES (FRAME_HEADER_BYTES + DB_PAGE_BYTES)
#define SECTOR_BYTES 512 /* the least that a disk writes as one */
#define SALT_OFFSET 8	 /* in a frame's header; before it page number and size after commit */

struct sum {
	uint32_t a, b;
};

/* What the walk through the frames knows. */
struct walk {
	const char *path;
	int fd;
	bool is_big_endian;
	uint8_t salt[8];
	struct sum chain;      /* over all frames so far, while all were good */
	struct sum stored;     /* of the frame before, as it says itself */
	bool after_commit;     /* it says that it ends a transaction */
	int64_t damaged_frame; /* the first one, from 1; 0: none yet */
};

static uint32_t load_be32(const uint8_t *from)
{
	return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 |
	       (uint32_t)from[3];
}

static uint32_t load_word(const uint8_t *from, bool is_big_endian)
{
	uint32_t word = load_be32(from);

	return is_big_endian ? word : __builtin_bswap32(word);
}

static struct sum sum_add(struct sum sum, const uint8_t *data, size_t bytes, bool is_big_endian)
{
	for (size_t i = 0; i < bytes; i += 8) {
		sum.a += load_word(data + i, is_big_endian) + sum.b;
		sum.b += load_word(data + i + 4, is_big_endian) + sum.a;
	}
	return sum;
}

static struct sum sum_stored(const uint8_t *from)
{
	return (struct sum){load_be32(from), load_be32(from + 4)};
}

static bool sum_equal(struct sum x, struct sum y)
{
	return x.a == y.a && x.b == y.b;
}

static struct sum frame_sum(const struct walk *walk, struct sum before, const uint8_t *frame)
{
	before = sum_add(before, frame, 8, walk->is_big_endian);
	return sum_add(before, frame + FRAME_HEADER_BYTES, DB_PAGE_BYTES, walk->is_big_endian);
}

static enum err is_damaged(const struct walk *walk, char *problem)
{
	return schema_problem(
		problem,
		fault(ERR_DAMAGED, "frame %lld of %s fails its checksum, and commits follow it",
		      (long long)walk->damaged_frame, walk->path),
		"%s is damaged at frame %lld: what was committed after it is lost.  `kedge snapshot"
		" save` still reads what is before it; restore that, or a better snapshot, into a"
		" fresh --data-dir",
		walk->path, (long long)walk->damaged_frame);
}

static off_t frame_offset(int64_t number)
{
	return WAL_HEADER_BYTES + (number - 1) * FRAME_BYTES;
}

/* After a power cut a header that lies across two sectors may have its salts from this round and
 * what is before them from an earlier one.  Then only the checksum tells whether the frame is a
 * commit: a bit that flipped in such a frame, one of 64, goes unnoticed if it is the last commit
 * but one. */
static bool may_be_torn(int64_t number)
{
	return (frame_offset(number) + SALT_OFFSET) % SECTOR_BYTES == 0;
}

/* False where the WAL has no (more) frames of its own: those of earlier rounds have other salts. */
static bool look_at(struct walk *walk, int64_t number, const uint8_t *frame)
{
	struct sum stored = sum_stored(frame + 16);
	bool is_own = !memcmp(frame + SALT_OFFSET, walk->salt, sizeof(walk->salt));
	bool follows = is_own && sum_equal(frame_sum(walk, walk->stored, frame), stored);
	bool says_commit = is_own && load_be32(frame) && load_be32(frame + 4);

	if (walk->damaged_frame && walk->after_commit && follows)
		return true;
	if (!walk->damaged_frame) {
		walk->chain = frame_sum(walk, walk->chain, frame);
		if (!is_own || !sum_equal(walk->chain, stored))
			walk->damaged_frame = number;
	}
	walk->stored = stored;
	walk->after_commit = says_commit && (follows || !may_be_torn(number));
	return false;
}

static enum err walk_frames(struct walk *walk, char *problem)
{
	uint8_t frame[FRAME_BYTES];
	int64_t number = 1;

	while (pread(walk->fd, frame, sizeof(frame), frame_offset(number)) ==
	       (ssize_t)sizeof(frame)) {
		if (look_at(walk, number, frame))
			return is_damaged(walk, problem);
		number++;
	}
	return ERR_OK;
}

static enum err check_open(struct walk *walk, char *problem)
{
	uint8_t header[WAL_HEADER_BYTES];
	struct sum sum = {0};
	uint32_t magic;
	int right;

	if (pread(walk->fd, header, sizeof(header), 0) != (ssize_t)sizeof(header))
		return ERR_OK; /* nothing was synced yet */
	magic = load_be32(header);
	walk->is_big_endian = magic & 1;
	sum = sum_add(sum, header, WAL_HEADER_BYTES - 8, walk->is_big_endian);
	if (sum_equal(sum, sum_stored(header + 24))) {
		memcpy(walk->salt, header + 16, sizeof(walk->salt));
		walk->chain = walk->stored = sum;
		return walk_frames(walk, problem);
	}
	/* Half a header is never seen, for it is within one sector. */
	right = ((magic & ~1u) == WAL_MAGIC) + (load_be32(header + 4) == WAL_VERSION) +
		(load_be32(header + 8) == DB_PAGE_BYTES);
	return right >= 2 ? is_damaged(walk, problem) : ERR_OK;
}

enum err wal_check(const char *db_path, char problem[STORE_PROBLEM_BYTES])
{
	struct walk walk = {0};
	char *path = NULL;
	enum err e = ERR_OK;

	if (asprintf(&path, "%s-wal", db_path) < 0)
		return fault(ERR_NOMEM, "a path");
	walk.path = path;
	walk.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (walk.fd >= 0) {
		e = check_open(&walk, problem);
		close(walk.fd);
	}
	free(path);
	return e;
}

/* --- rewriting -------------------------------------------------------------------------------- */

/* Every byte as it is.  Returns an errno. */
static int rewrite(int fd)
{
	uint8_t *piece = malloc(REWRITE_BYTES);
	off_t offset = 0;
	ssize_t got = -1;

	if (!piece)
		return ENOMEM;
	while ((got = pread(fd, piece, REWRITE_BYTES, offset)) > 0) {
		errno = 0;
		if (pwrite(fd, piece, (size_t)got, offset) != got) {
			free(piece);
			return errno ? errno : ENOSPC;
		}
		offset += got;
	}
	free(piece);
	return got < 0 || fsync(fd) ? errno : 0;
}

enum err wal_rewrite(const char *db_path, char problem[STORE_PROBLEM_BYTES])
{
	char *path = NULL;
	int fd, failed;

	if (asprintf(&path, "%s-wal", db_path) < 0)
		return fault(ERR_NOMEM, "a path");
	fd = open(path, O_RDWR | O_CLOEXEC);
	failed = fd < 0 ? errno : rewrite(fd);
	if (fd >= 0)
		close(fd);
	if (failed && failed != ENOENT)
		schema_problem(problem, fault(ERR_STORAGE, "%s: %s", path, strerror(failed)),
			       "%s cannot be read and written (%s): check the disk, and owner and"
			       " mode of the file",
			       path, strerror(failed));
	free(path);
	return failed && failed != ENOENT ? ERR_STORAGE : ERR_OK;
}
