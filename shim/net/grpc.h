/* SPDX-License-Identifier: Apache-2.0 */
/* grpc.h - gRPC's rules that need neither a session nor a socket.
 *
 * Answers and texts are those of grpc-go v1.82, which etcd 3.7 is built with; clients and tests
 * compare some of them.
 * Ownership: functions that format write into memory of the caller; a reader owns what it gathers.
 * Threads: any; a reader belongs to its call.
 * Limits: a message is at most reader.bytes_max long, before and after decompression. */
#ifndef SHIM_NET_GRPC_H
#define SHIM_NET_GRPC_H

#include "shim/base/buffer.h"
#include "shim/base/err.h"

#define GRPC_PREFIX_BYTES 5
#define GRPC_PROBLEM_BYTES 256
#define GRPC_TIMEOUT_PROBLEM_BYTES 128

/* "application/grpc", then nothing or '+' or ';' and a subtype, which ret_subtype gets. */
bool grpc_content_type(struct bytes value, struct bytes *ret_subtype);

/* The value of grpc-timeout: up to eight digits and a unit out of HMSmun.  False: problem says what
 * is wrong with it. */
bool grpc_timeout_parse(struct bytes value, int64_t *ret_timeout_ns,
			char problem[GRPC_TIMEOUT_PROBLEM_BYTES]);

/* "/package.Service/Method"; false when it is not of this form. */
bool grpc_path_split(struct bytes path, struct bytes *ret_service, struct bytes *ret_name);

/* As Go's %q, cut to fit capacity (at least 3), always terminated. */
void grpc_quote(struct bytes value, char *out, size_t capacity);

/* The percent-encoding of grpc-message; bytes that are not UTF-8 become U+FFFD.  out needs
 * GRPC_MESSAGE_GROWTH times the size of text; gives the length. */
#define GRPC_MESSAGE_GROWTH 9
size_t grpc_message_encode(struct bytes text, char *out);
bool grpc_message_is_plain(struct bytes text); /* goes out as it is */

enum grpc_encoding { GRPC_IDENTITY, GRPC_GZIP, GRPC_UNKNOWN_ENCODING };
enum grpc_encoding grpc_encoding_parse(struct bytes value);

/* --- messages out of a run of bytes --- */

struct grpc_reader {
	size_t bytes_max;
	bool keep; /* the message must outlive the input it came in */
	enum grpc_encoding encoding;
	uint8_t prefix[GRPC_PREFIX_BYTES];
	size_t prefix_size; /* bytes of the prefix seen so far */
	struct buffer body; /* a message that came in pieces, or is kept */
	struct buffer inflated;
};

enum grpc_read { GRPC_READ_MORE, GRPC_READ_MESSAGE, GRPC_READ_FAILED };

struct grpc_problem {
	enum status status;
	char text[GRPC_PROBLEM_BYTES];
};

void grpc_reader_init(struct grpc_reader *reader, size_t bytes_max);
void grpc_reader_fini(struct grpc_reader *reader);
/* Ready for another call; a small buffer stays for it. */
void grpc_reader_reset(struct grpc_reader *reader);

/* Takes from the front of *input.  MESSAGE: ret_message is valid until the next step or as long as
 * the input, with keep until the next step or reset.  FAILED: ret_problem is the answer. */
enum grpc_read grpc_reader_step(struct grpc_reader *reader, struct bytes *input,
				struct bytes *ret_message, struct grpc_problem *ret_problem);
/* The length of the message that begins in the reader or in front of input; false while its prefix
 * is not whole. */
bool grpc_reader_length(const struct grpc_reader *reader, struct bytes input, size_t *ret_bytes);
/* Inside a message.  A prefix that breaks off counts as nothing, as in grpc-go. */
bool grpc_reader_is_partial(const struct grpc_reader *reader);

/* Decompresses into out, whose bytes_max must be above `max`. */
enum grpc_read grpc_gunzip(struct bytes input, size_t max, struct buffer *out,
			   struct grpc_problem *ret_problem);

/* Writes the prefix of an uncompressed message. */
void grpc_prefix_write(uint8_t prefix[GRPC_PREFIX_BYTES], uint32_t message_bytes);

#endif
