/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/index_tree.h"

#include <assert.h>
#include <stdlib.h>

#define TREE_SPARSE (TREE_FANOUT / 4)	  /* a node with fewer looks for a sibling to join */
#define TREE_JOINED (TREE_FANOUT * 3 / 4) /* ... unless the next insert would split them again */

static struct tree_leaf *node_leaf(struct tree_node *node)
{
	return (struct tree_leaf *)(void *)node;
}

static struct tree_inner *node_inner(struct tree_node *node)
{
	return (struct tree_inner *)(void *)node;
}

/* Both kinds of node keep one key per slot; only the place of the array differs. */
static struct index_key **node_keys(struct tree_node *node)
{
	return node->level ? node_inner(node)->firsts : node_leaf(node)->keys;
}

static size_t node_bytes(unsigned level)
{
	return level ? sizeof(struct tree_inner) : sizeof(struct tree_leaf);
}

static struct tree_node *node_new(unsigned level)
{
	struct tree_node *node = calloc(1, node_bytes(level));

	if (node)
		node->level = (uint16_t)level;
	return node;
}

static void node_free(struct tree *tree, struct tree_node *node)
{
	tree->held_bytes -= node_bytes(node->level);
	free(node);
}

bool tree_init(struct tree *tree)
{
	*tree = (struct tree){.root = node_new(0), .held_bytes = node_bytes(0)};
	return tree->root != NULL;
}

/* Depth first without recursion: the last child of the root is cut off until it is a leaf. */
void tree_fini(struct tree *tree)
{
	struct tree_path path;
	unsigned level;

	for (level = 0; level <= TREE_HEIGHT_MAX; level++) {
		free(tree->spares[level]);
		tree->spares[level] = NULL;
	}
	if (!tree->root)
		return;
	level = tree->root->level;
	path.steps[level].node = tree->root;
	for (;;) {
		struct tree_node *node = path.steps[level].node;

		if (level && node->count) {
			path.steps[level - 1].node = node_inner(node)->children[--node->count];
			level--;
			continue;
		}
		if (node == tree->root)
			break;
		free(node);
		level++;
	}
	free(tree->root);
	tree->root = NULL;
}

/* The number of keys of the node that are less than `key`.  ret_equal: the next one equals it. */
static unsigned keys_less(struct index_key *const *keys, unsigned count, struct bytes key,
			  bool *ret_equal)
{
	unsigned low = 0;
	unsigned high = count;

	*ret_equal = false;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		int order;

		/* Every look costs a cache miss, so the two candidates of the next one are asked
		 * for while this one is on its way. */
		__builtin_prefetch(keys[(low + middle) / 2]->key);
		if (middle + 1 < high)
			__builtin_prefetch(keys[(middle + 1 + high) / 2]->key);
		order = bytes_compare(index_key_bytes(keys[middle]), key);
		if (!order) {
			*ret_equal = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The child that holds the key: the last one that does not begin above it. */
static unsigned child_for(struct tree_inner *inner, struct bytes key)
{
	bool equal;
	unsigned less = keys_less(inner->firsts, inner->node.count, key, &equal);

	if (equal || less == 0)
		return less;
	return less - 1;
}

struct index_key *tree_seek(const struct tree *tree, struct bytes key, struct tree_path *ret_path)
{
	struct tree_node *node = tree->root;
	struct tree_leaf *leaf;
	unsigned slot;
	bool equal;

	while (node->level) {
		slot = child_for(node_inner(node), key);
		ret_path->steps[node->level].node = node;
		ret_path->steps[node->level].slot = slot;
		node = node_inner(node)->children[slot];
	}
	leaf = node_leaf(node);
	slot = keys_less(leaf->keys, node->count, key, &equal);
	ret_path->steps[0].node = node;
	ret_path->steps[0].slot = slot;
	return equal ? leaf->keys[slot] : NULL;
}

struct index_key *tree_find(const struct tree *tree, struct bytes key)
{
	struct tree_path path;

	return tree_seek(tree, key, &path);
}

struct tree_place tree_lower(const struct tree *tree, struct bytes key)
{
	struct tree_path path;

	tree_seek(tree, key, &path);
	return (struct tree_place){node_leaf(path.steps[0].node), path.steps[0].slot};
}

struct tree_place tree_end(const struct tree *tree)
{
	struct tree_node *node = tree->root;

	while (node->level)
		node = node_inner(node)->children[node->count - 1];
	return (struct tree_place){node_leaf(node), node->count};
}

/* --- insertion -------------------------------------------------------------------------------- */

static void node_open(struct tree_node *node, unsigned slot)
{
	struct index_key **keys = node_keys(node);
	size_t behind = node->count - slot;

	memmove(&keys[slot + 1], &keys[slot], behind * sizeof(struct index_key *));
	if (node->level) {
		struct tree_node **children = node_inner(node)->children;

		memmove(&children[slot + 1], &children[slot], behind * sizeof(struct tree_node *));
	}
	node->count++;
}

static void node_close(struct tree_node *node, unsigned slot)
{
	struct index_key **keys = node_keys(node);
	size_t behind = node->count - slot - 1;

	memmove(&keys[slot], &keys[slot + 1], behind * sizeof(struct index_key *));
	if (node->level) {
		struct tree_node **children = node_inner(node)->children;

		memmove(&children[slot], &children[slot + 1], behind * sizeof(struct tree_node *));
	}
	node->count--;
}

/* Moves what is at `from` and behind to the end of another node of the same level. */
static void node_move(struct tree_node *source, unsigned from, struct tree_node *target)
{
	size_t moved = source->count - from;

	memcpy(&node_keys(target)[target->count], &node_keys(source)[from],
	       moved * sizeof(struct index_key *));
	if (source->level)
		memcpy(&node_inner(target)->children[target->count],
		       &node_inner(source)->children[from], moved * sizeof(struct tree_node *));
	target->count = (uint16_t)(target->count + moved);
	source->count = (uint16_t)from;
}

/* The least key below a node changed: so it is in its parent, and above while it is leftmost. */
static void firsts_refresh(struct tree *tree, struct tree_path *path, unsigned level)
{
	for (; level < tree->root->level; level++) {
		struct tree_inner *parent = node_inner(path->steps[level + 1].node);

		parent->firsts[path->steps[level + 1].slot] = node_keys(path->steps[level].node)[0];
		if (path->steps[level + 1].slot)
			return;
	}
}

static void leaf_chain(struct tree_leaf *left, struct tree_leaf *right)
{
	right->next = left->next;
	right->previous = left;
	if (right->next)
		right->next->previous = right;
	left->next = right;
}

/* Splits a full node and lets the path lead to where the new slot is to be opened. */
static void node_split(struct tree_path *path, unsigned level, struct tree_node *right)
{
	struct tree_node *left = path->steps[level].node;
	unsigned slot = path->steps[level].slot;
	bool in_order = !level && slot == TREE_FANOUT && !node_leaf(left)->next;
	unsigned from = in_order ? TREE_FANOUT : TREE_FANOUT / 2;

	node_move(left, from, right);
	if (!level)
		leaf_chain(node_leaf(left), node_leaf(right));
	if (slot >= from) {
		path->steps[level].node = right;
		path->steps[level].slot = slot - from;
	}
}

/* All nodes that an insertion needs are made first, so that lack of memory changes nothing; what a
 * failed attempt made is there for the next one.  ret_splits: how many levels split. */
static bool spares_make(struct tree *tree, const struct tree_path *path, unsigned *ret_splits)
{
	unsigned height = tree->root->level + 1u;
	unsigned splits = 0;

	while (splits < height && path->steps[splits].node->count == TREE_FANOUT)
		splits++;
	for (unsigned level = 0; level < splits + (splits == height); level++) {
		if (!tree->spares[level])
			tree->spares[level] = node_new(level);
		if (!tree->spares[level])
			return false;
	}
	*ret_splits = splits;
	return true;
}

static struct tree_node *spare_take(struct tree *tree, unsigned level)
{
	struct tree_node *node = tree->spares[level];

	tree->spares[level] = NULL;
	tree->held_bytes += node_bytes(level);
	return node;
}

/* A root of two children above the old one; the path gets a step more. */
static void root_raise(struct tree *tree, struct tree_path *path, struct tree_node *root)
{
	struct tree_inner *inner = node_inner(root);

	assert(root->level < TREE_HEIGHT_MAX);
	inner->children[0] = tree->root;
	inner->firsts[0] = node_keys(tree->root)[0];
	root->count = 1;
	tree->root = root;
	path->steps[root->level].node = root;
	path->steps[root->level].slot = 0;
}

/* One slot of the step's node is opened for the key, and for the child where there is one. */
static void slot_fill(struct tree_path *path, unsigned level, struct index_key *key,
		      struct tree_node *child)
{
	struct tree_node *node = path->steps[level].node;
	unsigned slot = path->steps[level].slot;

	node_open(node, slot);
	node_keys(node)[slot] = key;
	if (level)
		node_inner(node)->children[slot] = child;
}

bool tree_insert(struct tree *tree, struct tree_path *path, struct index_key *key)
{
	struct tree_node *child = NULL;
	struct index_key *first = key;
	unsigned splits;
	unsigned level;

	if (!spares_make(tree, path, &splits))
		return false;
	if (splits == tree->root->level + 1u)
		root_raise(tree, path, spare_take(tree, splits));
	for (level = 0; level < splits; level++) {
		struct tree_node *left = path->steps[level].node;
		struct tree_node *right = spare_take(tree, level);

		node_split(path, level, right);
		slot_fill(path, level, first, child);
		/* A new least key of the left half may have to go up before the path leaves it. */
		if (path->steps[level].node == left)
			firsts_refresh(tree, path, level);
		child = right;
		first = node_keys(right)[0];
		path->steps[level + 1].slot++;
	}
	slot_fill(path, level, first, child);
	if (!path->steps[level].slot)
		firsts_refresh(tree, path, level);
	tree->key_count++;
	return true;
}

/* --- removal ---------------------------------------------------------------------------------- */

static void leaf_unchain(struct tree_leaf *leaf)
{
	if (leaf->next)
		leaf->next->previous = leaf->previous;
	if (leaf->previous)
		leaf->previous->next = leaf->next;
}

/* Takes the child in the parent's slot out of the tree; it must be empty. */
static void child_drop(struct tree *tree, struct tree_inner *parent, unsigned slot)
{
	struct tree_node *child = parent->children[slot];

	if (!child->level)
		leaf_unchain(node_leaf(child));
	node_close(&parent->node, slot);
	node_free(tree, child);
}

/* Empties and drops a child where it is empty, or sparse with room in a sibling. */
static bool child_join(struct tree *tree, struct tree_inner *parent, unsigned slot)
{
	struct tree_node *child = parent->children[slot];
	struct tree_node *left = slot ? parent->children[slot - 1] : NULL;
	struct tree_node *right = slot + 1 < parent->node.count ? parent->children[slot + 1] : NULL;

	if (!child->count) {
		child_drop(tree, parent, slot);
		return true;
	}
	if (child->count >= TREE_SPARSE)
		return false;
	if (left && left->count + child->count <= TREE_JOINED) {
		node_move(child, 0, left);
		child_drop(tree, parent, slot);
		return true;
	}
	if (right && right->count + child->count <= TREE_JOINED) {
		node_move(right, 0, child);
		child_drop(tree, parent, slot + 1);
		return true;
	}
	return false;
}

void tree_remove(struct tree *tree, struct tree_path *path)
{
	unsigned top = tree->root->level;

	node_close(path->steps[0].node, path->steps[0].slot);
	tree->key_count--;
	/* The firsts first, while the path is true: a join below reads them. */
	if (!path->steps[0].slot && path->steps[0].node->count)
		firsts_refresh(tree, path, 0);
	for (unsigned level = 1; level <= top; level++) {
		struct tree_inner *parent = node_inner(path->steps[level].node);
		unsigned slot = path->steps[level].slot;

		if (!child_join(tree, parent, slot))
			return;
		if (!slot && parent->node.count)
			firsts_refresh(tree, path, level);
	}
	while (tree->root->level && tree->root->count == 1) {
		struct tree_node *old = tree->root;

		tree->root = node_inner(old)->children[0];
		node_free(tree, old);
	}
}
