/* SPDX-License-Identifier: Apache-2.0 */
/* memory.h - how many bytes the calls of a server hold together, and who lets go when it is much.
 *
 * Counted are requests as they arrive and while they are worked on, headers, answers that wait for
 * their peer, and what a handler declares (call_set_held).  Rules, in the order in which they bite:
 *  M1 a message over NET_SMALL_MESSAGE_BYTES is taken in only while less than half is used; else
 *     its stream gets no more credit, and it waits; connections take turns;
 *  M2 when a message has waited NET_STALL_NS, the connection whose peer holds most in calls that it
 *     neither went on sending nor reading for so long is closed; after NET_WAIT_NS the message is
 *     refused with "too many requests";
 *  M3 when all is used, the connection that holds most is closed, whatever it does.
 * So a client that holds little is never turned away for the sake of one that holds much.
 * Ownership: the memory outlives every call of the server, those of lost connections included.
 * Threads: the loop's.
 * Limits: bytes_max may be passed by what one turn of the loop and one call can add. */
#ifndef SHIM_NET_MEMORY_H
#define SHIM_NET_MEMORY_H

#include "shim/base/list.h"

#include <stddef.h>
#include <stdint.h>

struct h2_session;

struct net_memory {
	size_t bytes_max;
	size_t used_bytes;
	struct list sessions; /* of struct h2_session */
	struct list
		waiting; /* of struct h2_session with calls that wait (M1), the next one first */
	struct h2_session *doomed; /* is being closed: one at a time, until its bytes are back */
	uint64_t closed;	   /* connections, by M2 and M3 */
	uint64_t refused;	   /* messages, by M2 */
};

void net_memory_init(struct net_memory *memory, size_t bytes_max);

/* A quarter of what this machine or container has, within MEMORY_CALLS_BYTES_MIN and _MAX. */
size_t net_memory_default(void);

#endif
