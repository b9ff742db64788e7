/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between sites, from bytes that no site sent.
 *
 * What must hold: what is not refused is sound, encoded and decoded again it is the same, and the
 * second encoding is the first; nothing takes more memory than is said. */
#include "tests/fuzz/fuzz.h"

#include "sync/limits.h"
#include "sync/message/message.h"
#include "tests/unit/sync/random_message.h"

int LLVMFuzzerInitialize(int *arg_count, char ***args)
{
	(void)arg_count, (void)args;
	fuzz_quiet();
	return 0;
}

static void must_come_back(const struct message *message)
{
	struct buffer first = BUFFER_INIT(MESSAGE_BYTES_MAX),
		      second = BUFFER_INIT(MESSAGE_BYTES_MAX);
	struct message again;
	struct arena arena;

	arena_init(&arena, MESSAGE_ARENA_BYTES_MAX);
	fuzz_must(!message_encode(message, &first));
	fuzz_must(!message_decode(buffer_bytes(&first), &arena, &again));
	fuzz_must(same_message(message, &again));
	fuzz_must(!message_encode(&again, &second));
	fuzz_must(bytes_equal(buffer_bytes(&first), buffer_bytes(&second)));
	message_fini(&again);
	arena_fini(&arena);
	buffer_fini(&first);
	buffer_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message message;
	struct arena arena;
	enum err e;

	arena_init(&arena, MESSAGE_ARENA_BYTES_MAX);
	e = message_decode(bytes_of(data, size), &arena, &message);
	fuzz_must(!e || e == ERR_MALFORMED || e == ERR_REQUEST_TOO_LARGE);
	if (!e) {
		fuzz_must(message_is_sound(&message));
		/* A reason of refusal that is not known cannot be said again. */
		if (message.kind != MESSAGE_REFUSE || message.as.refuse.why != REFUSED_OTHER)
			must_come_back(&message);
		message_fini(&message);
	}
	arena_fini(&arena);
	return 0;
}
