/* SPDX-License-Identifier: Apache-2.0 */
/* receive.c - a message comes in and goes to whom it concerns. */
#include "sync/engine/internal.h"

#include <stdlib.h>

#define MESSAGE_ARENA_BYTES (64 * MIB)

void inbound_free(struct inbound *inbound)
{
	if (!inbound)
		return;
	message_fini(&inbound->message);
	arena_fini(&inbound->arena);
	free(inbound);
}

static void heed_refusal(struct engine_peer *peer, const struct refuse *refuse)
{
	struct engine *engine = peer->engine;

	if (refuse->why == REFUSED_SESSION) {
		ask_refused(peer);
		return;
	}
	peer->is_refused = true;
	engine_notice(engine, NOTICE_PEER_REFUSED, peer, refuse->text, "the peer refused");
	if (refuse->why == REFUSED_CLONE && refuse->common.hash == engine->nonce &&
	    !mistake(&engine->config, MISTAKE_NO_BUMP))
		heal_clone(engine);
}

static void dispatch(struct engine_peer *peer, struct inbound *inbound)
{
	struct message *message = &inbound->message;

	switch (message->kind) {
	case MESSAGE_HELLO:
		hello_receive(peer, &message->as.hello);
		break;
	case MESSAGE_WINDOW:
		pull_window(peer, inbound);
		break;
	case MESSAGE_ACK:
		if (peer->is_ready)
			push_ack(peer, &message->as.ack);
		break;
	case MESSAGE_RETRY:
		if (peer->is_ready)
			push_retry(peer, &message->as.retry);
		break;
	case MESSAGE_SESSION_OPEN:
		answer_open(peer, &message->as.session_open);
		break;
	case MESSAGE_SESSION_OPENED:
		ask_opened(peer, &message->as.session_opened);
		break;
	case MESSAGE_SESSION_COMPARE:
		if (ask_is_for(peer->engine, peer) &&
		    ask_has(peer->engine, message->as.session_compare.session))
			ask_compare(peer, &message->as.session_compare);
		else
			answer_compare(peer, &message->as.session_compare);
		break;
	case MESSAGE_SESSION_FETCH:
		answer_fetch(peer, &message->as.session_fetch);
		break;
	case MESSAGE_SESSION_PAGE:
		ask_page(peer, inbound);
		break;
	case MESSAGE_SESSION_CLOSE:
		answer_close(peer);
		break;
	case MESSAGE_REFUSE:
		heed_refusal(peer, &message->as.refuse);
		break;
	case MESSAGE_EVICT:
	case MESSAGE_KINDS:
		break;
	}
}

void engine_receive(struct engine *engine, struct engine_peer *peer, struct bytes bytes)
{
	struct inbound *inbound = engine->dead ? NULL : calloc(1, sizeof(*inbound));
	struct bytes copy;
	enum err e;

	if (!inbound)
		return;
	peer->status.bytes_received += bytes.size;
	arena_init(&inbound->arena, MESSAGE_ARENA_BYTES);
	e = arena_copy(&inbound->arena, bytes, &copy)
		    ? message_decode(copy, &inbound->arena, &inbound->message)
		    : ERR_NOMEM;
	if (e)
		engine_notice(engine, NOTICE_BAD_MESSAGE, peer, bytes_of(NULL, 0), err_text(e));
	else
		dispatch(peer, inbound);
	if (!inbound->is_kept)
		inbound_free(inbound);
	engine_pump(engine);
}
