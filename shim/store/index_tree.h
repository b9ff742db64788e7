/* SPDX-License-Identifier: Apache-2.0 */
/* index_tree.h - the order of the index: a B+tree of pointers to keys, leaves chained.
 *
 * Inner to the index.  The tree compares keys through the pointers, so that a key is stored once.
 * Ownership: nodes are the tree's; the keys are the caller's and must outlive their place in it.
 * Threads: none of its own.  Errors: tree_insert() is false when memory is out, and then nothing
 * has changed.
 * Balance: a full node splits in halves, but the last leaf stays full when keys come in order; a
 * node that gets sparse is joined with a sibling, so scans stay dense after mass deletion. */
#ifndef SHIM_STORE_INDEX_TREE_H
#define SHIM_STORE_INDEX_TREE_H

#include "shim/store/index.h"

#define TREE_FANOUT 128	   /* pointers per node; measured best of 32, 64, 128 */
#define TREE_HEIGHT_MAX 16 /* joining keeps nodes about a quarter full: 32^16 keys */

struct index_key {
	union {
		struct version one; /* version_count == 1, by far the most */
		struct {
			struct version *all; /* ascending rows */
			uint32_t capacity;
		} many;
	} versions;
	uint32_t version_count;
	uint32_t key_bytes;
	uint8_t key[];
};

struct tree_node {
	uint16_t count;
	uint16_t level; /* 0: a leaf */
};

struct tree_leaf {
	struct tree_node node;
	struct tree_leaf *next;
	struct tree_leaf *previous;
	struct index_key *keys[TREE_FANOUT];
};

struct tree_inner {
	struct tree_node node;
	struct index_key *firsts[TREE_FANOUT]; /* the least key below each child */
	struct tree_node *children[TREE_FANOUT];
};

struct tree {
	struct tree_node *root; /* never NULL */
	size_t key_count;
	size_t held_bytes;			       /* of the nodes in it */
	struct tree_node *spares[TREE_HEIGHT_MAX + 1]; /* by level; only after a lack of memory */
};

/* The way from the root to a leaf slot; steps[0] is the leaf. */
struct tree_path {
	struct {
		struct tree_node *node;
		unsigned slot;
	} steps[TREE_HEIGHT_MAX];
};

struct tree_place {
	const struct tree_leaf *leaf;
	unsigned slot; /* == leaf->node.count: behind the leaf's last */
};

bool tree_init(struct tree *tree);
void tree_fini(struct tree *tree);

/* The key, or NULL; the path leads to where it is or would be. */
struct index_key *tree_seek(const struct tree *tree, struct bytes key, struct tree_path *ret_path);
struct index_key *tree_find(const struct tree *tree, struct bytes key);
/* Puts the key where tree_seek() did not find it; the tree must not have changed since. */
bool tree_insert(struct tree *tree, struct tree_path *path, struct index_key *key);
/* Takes out the key that tree_seek() found. */
void tree_remove(struct tree *tree, struct tree_path *path);

/* The first place whose key is not less than `key`. */
struct tree_place tree_lower(const struct tree *tree, struct bytes key);
/* Behind the last key of all. */
struct tree_place tree_end(const struct tree *tree);

static inline struct bytes index_key_bytes(const struct index_key *key)
{
	return bytes_of(key->key, key->key_bytes);
}

#endif
