/* SPDX-License-Identifier: Apache-2.0 */
/* list.h - intrusive doubly linked lists: the node lives inside its object, so linking cannot fail.
 *
 * Ownership: a list owns nothing.  Threads: whoever owns the list owns its links. */
#ifndef SHIM_BASE_LIST_H
#define SHIM_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next;
	struct list *prev;
};

#define container_of(pointer, type, member)                                                        \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void list_init(struct list *node)
{
	node->next = node;
	node->prev = node;
}

static inline bool list_is_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_append(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

/* Unlinks and re-initialises, so removing twice is harmless. */
static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

#define list_for_each(node, head)                                                                  \
	for (struct list *node = (head)->next; node != (head); node = node->next)

/* The body may remove `node`. */
#define list_for_each_safe(node, after, head)                                                      \
	for (struct list *node = (head)->next, *after = node->next; node != (head);                \
	     node = after, after = node->next)

#endif
