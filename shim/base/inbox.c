/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/base/inbox.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

void inbox_init(struct inbox *inbox, size_t capacity)
{
	pthread_condattr_t attributes;

	*inbox = (struct inbox){.capacity = capacity};
	inbox->last = &inbox->first;
	pthread_mutex_init(&inbox->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&inbox->filled, &attributes);
	pthread_condattr_destroy(&attributes);
}

void inbox_fini(struct inbox *inbox)
{
	assert(!inbox->first);
	pthread_cond_destroy(&inbox->filled);
	pthread_mutex_destroy(&inbox->lock);
}

enum err inbox_put_chain(struct inbox *inbox, struct inbox_chain *chain, bool *ret_was_empty)
{
	enum err e = ERR_OK;
	bool was_empty = false;

	assert(chain->first && !chain->last->next);
	pthread_mutex_lock(&inbox->lock);
	if (inbox->closed) {
		e = ERR_STOPPED;
	} else if (chain->count > inbox->capacity - inbox->count) {
		e = ERR_BUSY;
	} else {
		was_empty = !inbox->first;
		*inbox->last = chain->first;
		inbox->last = &chain->last->next;
		inbox->count += chain->count;
	}
	pthread_mutex_unlock(&inbox->lock);
	if (e)
		return e;
	if (was_empty) /* not under the lock, on which the consumer would only wait again */
		pthread_cond_signal(&inbox->filled);
	*chain = (struct inbox_chain){0};
	if (ret_was_empty)
		*ret_was_empty = was_empty;
	return ERR_OK;
}

enum err inbox_put(struct inbox *inbox, struct inbox_node *node, bool *ret_was_empty)
{
	struct inbox_chain chain = {0};

	inbox_chain_add(&chain, node);
	return inbox_put_chain(inbox, &chain, ret_was_empty);
}

static struct inbox_node *take_locked(struct inbox *inbox)
{
	struct inbox_node *first = inbox->first;

	inbox->first = NULL;
	inbox->last = &inbox->first;
	inbox->count = 0;
	return first;
}

struct inbox_node *inbox_take(struct inbox *inbox)
{
	struct inbox_node *first;

	pthread_mutex_lock(&inbox->lock);
	first = take_locked(inbox);
	pthread_mutex_unlock(&inbox->lock);
	return first;
}

static struct timespec deadline_after(int64_t timeout_ns)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += timeout_ns / 1000000000;
	at.tv_nsec += timeout_ns % 1000000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

struct inbox_node *inbox_wait(struct inbox *inbox, int64_t timeout_ns, bool *ret_closed)
{
	struct timespec deadline = deadline_after(timeout_ns > 0 ? timeout_ns : 0);
	struct inbox_node *first;

	pthread_mutex_lock(&inbox->lock);
	while (!inbox->first && !inbox->closed) {
		if (timeout_ns < 0)
			pthread_cond_wait(&inbox->filled, &inbox->lock);
		else if (pthread_cond_timedwait(&inbox->filled, &inbox->lock, &deadline) ==
			 ETIMEDOUT)
			break;
	}
	first = take_locked(inbox);
	*ret_closed = inbox->closed && !first;
	pthread_mutex_unlock(&inbox->lock);
	return first;
}

void inbox_close(struct inbox *inbox)
{
	pthread_mutex_lock(&inbox->lock);
	inbox->closed = true;
	pthread_cond_broadcast(&inbox->filled);
	pthread_mutex_unlock(&inbox->lock);
}
