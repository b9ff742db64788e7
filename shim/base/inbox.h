/* SPDX-License-Identifier: Apache-2.0 */
/* inbox.h - how many threads hand work to one.
 *
 * Ownership: inbox_put() gives the node away; inbox_take() makes the taker its owner.
 * Threads: put from any thread; take and wait from the one consumer thread.  A leaf lock.
 * Errors: ERR_BUSY at capacity, ERR_STOPPED after inbox_close(); nothing is ever dropped.
 * Limits: capacity counts nodes. */
#ifndef SHIM_BASE_INBOX_H
#define SHIM_BASE_INBOX_H

#include "shim/base/err.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct inbox_node {
	struct inbox_node *next;
};

/* Nodes that go in together, oldest first; zeroed memory is an empty one.  Its owner's alone. */
struct inbox_chain {
	struct inbox_node *first;
	struct inbox_node *last;
	size_t count;
};

static inline void inbox_chain_add(struct inbox_chain *chain, struct inbox_node *node)
{
	node->next = NULL;
	if (chain->first)
		chain->last->next = node;
	else
		chain->first = node;
	chain->last = node;
	chain->count++;
}

struct inbox {
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t filled;
	struct inbox_node *first;
	struct inbox_node **last;
	size_t count;
	size_t capacity;
	bool closed;
};

void inbox_init(struct inbox *inbox, size_t capacity);
void inbox_fini(struct inbox *inbox); /* must be empty */

/* ret_was_empty (may be NULL) tells a consumer with its own wake-up whether one is needed. */
enum err inbox_put(struct inbox *inbox, struct inbox_node *node, bool *ret_was_empty);

/* All of a chain that is not empty, with one wake-up, or none: on an error the chain stays the
 * caller's.  A chain that was put is empty. */
enum err inbox_put_chain(struct inbox *inbox, struct inbox_chain *chain, bool *ret_was_empty);

/* The whole content, oldest first, linked by next; NULL when empty. */
struct inbox_node *inbox_take(struct inbox *inbox);

/* As inbox_take(), but waits for content until timeout_ns have passed (negative: for ever).
 * ret_closed: closed and empty, nothing will ever come again. */
struct inbox_node *inbox_wait(struct inbox *inbox, int64_t timeout_ns, bool *ret_closed);

void inbox_close(struct inbox *inbox); /* later puts fail; what is inside is still taken */

#endif
