/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/disk/states.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR_BYTES 512
#define SECTORS_MAX 64 /* of one write: bits of a mask */
#define NODES_MAX 512
#define ENTRIES_MAX 64
#define SHM_BYTES 32768

struct image {
	uint8_t *data;
	size_t bytes;
	size_t room;
};

struct node {
	bool is_folder;
	struct image cache; /* as the process sees it */
	struct image disk;  /* as it is after the last sync */
};

/* A name in a folder. */
struct entry {
	int folder;
	int node;
	char name[TRACE_PATH_BYTES];
};

struct names {
	struct entry entries[ENTRIES_MAX];
	size_t count;
};

struct pending {
	enum tap_op op;
	int node;
	bool poisoned; /* a sync for it failed */
	/* Data: the sectors that it touched, as they were after it. */
	size_t offset;
	size_t end; /* of the file, because of it */
	uint8_t *sectors;
	size_t sector_count;
	uint64_t live; /* bit i: sector i is not yet replaced for good */
	/* Names. */
	int folder, folder_to;
	char name[TRACE_PATH_BYTES], name_to[TRACE_PATH_BYTES];
};

struct disk_model {
	struct node nodes[NODES_MAX];
	int node_count;
	struct names now;
	struct names disk;
	struct pending *pending;
	size_t pending_count;
	size_t pending_room;
};

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "states: %s\n", what);
	abort();
}

static void image_resize(struct image *image, size_t bytes)
{
	if (bytes > image->room) {
		image->room = 2 * bytes;
		image->data = realloc(image->data, image->room);
		must(image->data, "out of memory");
	}
	if (bytes > image->bytes)
		memset(image->data + image->bytes, 0, bytes - image->bytes);
	image->bytes = bytes;
}

struct disk_model *disk_new(void)
{
	struct disk_model *model = calloc(1, sizeof(*model));

	must(model, "out of memory");
	model->nodes[0].is_folder = true;
	model->node_count = 1;
	return model;
}

void disk_free(struct disk_model *model)
{
	for (int i = 0; i < model->node_count; i++) {
		free(model->nodes[i].cache.data);
		free(model->nodes[i].disk.data);
	}
	for (size_t i = 0; i < model->pending_count; i++)
		free(model->pending[i].sectors);
	free(model->pending);
	free(model);
}

size_t disk_pending(const struct disk_model *model)
{
	return model->pending_count;
}

/* --- names ----------------------------------------------------------------------------------- */

static struct entry *names_find(struct names *names, int folder, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (names->entries[i].folder == folder && !strcmp(names->entries[i].name, name))
			return &names->entries[i];
	return NULL;
}

static void names_set(struct names *names, int folder, const char *name, int node)
{
	struct entry *entry = names_find(names, folder, name);

	if (!entry) {
		must(names->count < ENTRIES_MAX, "too many names");
		entry = &names->entries[names->count++];
		entry->folder = folder;
		snprintf(entry->name, sizeof(entry->name), "%s", name);
	}
	entry->node = node;
}

static void names_remove(struct names *names, int folder, const char *name)
{
	struct entry *entry = names_find(names, folder, name);

	if (entry)
		*entry = names->entries[--names->count];
}

static void names_apply(struct names *names, const struct pending *pending)
{
	if (pending->op == TAP_CREATE || pending->op == TAP_MKDIR)
		names_set(names, pending->folder, pending->name, pending->node);
	else
		names_remove(names, pending->folder, pending->name);
	if (pending->op == TAP_RENAME)
		names_set(names, pending->folder_to, pending->name_to, pending->node);
}

/* The folder of a path and the last part of it. */
static int folder_of(struct disk_model *model, const char *path, char *ret_name)
{
	int folder = 0;
	const char *slash;

	while ((slash = strchr(path, '/'))) {
		char name[TRACE_PATH_BYTES];
		const struct entry *entry;

		snprintf(name, sizeof(name), "%.*s", (int)(slash - path), path);
		entry = names_find(&model->now, folder, name);
		must(entry, "a path through no folder");
		folder = entry->node;
		path = slash + 1;
	}
	snprintf(ret_name, TRACE_PATH_BYTES, "%s", path);
	return folder;
}

static int node_of(struct disk_model *model, const char *path)
{
	char name[TRACE_PATH_BYTES];
	int folder = folder_of(model, path, name);
	const struct entry *entry = names_find(&model->now, folder, name);

	return *name ? entry ? entry->node : -1 : folder;
}

/* --- events ---------------------------------------------------------------------------------- */

static struct pending *pending_new(struct disk_model *model, enum tap_op op, int node)
{
	struct pending *pending;

	if (model->pending_count == model->pending_room) {
		model->pending_room = model->pending_room ? 2 * model->pending_room : 64;
		model->pending =
			reallocarray(model->pending, model->pending_room, sizeof(*model->pending));
		must(model->pending, "out of memory");
	}
	pending = &model->pending[model->pending_count++];
	*pending = (struct pending){.op = op, .node = node};
	return pending;
}

static bool is_data(const struct pending *pending)
{
	return pending->op == TAP_WRITE || pending->op == TAP_TRUNCATE;
}

static void apply_name(struct disk_model *model, const struct trace_event *event)
{
	char name[TRACE_PATH_BYTES];
	int folder = folder_of(model, event->path, name);
	const struct entry *entry = names_find(&model->now, folder, name);
	struct pending *pending;
	int node = entry ? entry->node : -1;

	if (event->op == TAP_CREATE || event->op == TAP_MKDIR) {
		must(model->node_count < NODES_MAX, "too many files");
		node = model->node_count++;
		model->nodes[node].is_folder = event->op == TAP_MKDIR;
	}
	must(node > 0, "a removal of nothing");
	pending = pending_new(model, event->op, node);
	pending->folder = folder;
	snprintf(pending->name, sizeof(pending->name), "%s", name);
	if (event->op == TAP_RENAME)
		pending->folder_to = folder_of(model, event->path_to, pending->name_to);
	names_apply(&model->now, pending);
}

static void apply_write(struct disk_model *model, int number, const struct trace_event *event)
{
	struct image *cache = &model->nodes[number].cache;
	size_t offset = (size_t)event->offset, end = offset + event->size;
	size_t first = offset / SECTOR_BYTES, last = (end + SECTOR_BYTES - 1) / SECTOR_BYTES;
	struct pending *pending;

	if (end > cache->bytes)
		image_resize(cache, end);
	memcpy(cache->data + offset, event->data, event->size);
	must(last - first <= SECTORS_MAX, "a write of too many sectors");
	pending = pending_new(model, TAP_WRITE, number);
	pending->offset = first * SECTOR_BYTES;
	pending->end = end;
	pending->sector_count = last - first;
	pending->live = ~UINT64_C(0) >> (SECTORS_MAX - pending->sector_count);
	pending->sectors = calloc(pending->sector_count, SECTOR_BYTES);
	must(pending->sectors, "out of memory");
	for (size_t i = 0; i < pending->sector_count; i++) {
		size_t from = (first + i) * SECTOR_BYTES;
		size_t size =
			cache->bytes - from < SECTOR_BYTES ? cache->bytes - from : SECTOR_BYTES;

		memcpy(pending->sectors + i * SECTOR_BYTES, cache->data + from, size);
	}
}

static void apply_truncate(struct disk_model *model, int number, const struct trace_event *event)
{
	struct pending *pending = pending_new(model, TAP_TRUNCATE, number);

	pending->end = (size_t)event->offset;
	image_resize(&model->nodes[number].cache, pending->end);
}

/* Puts the sectors of a mask into an image. */
static void put_sectors(struct image *image, const struct pending *pending, uint64_t mask)
{
	if (pending->op == TAP_TRUNCATE) {
		image_resize(image, pending->end);
		return;
	}
	for (size_t i = 0; i < pending->sector_count; i++) {
		size_t from = pending->offset + i * SECTOR_BYTES;
		/* The last sector of a file ends where the file does, or where it did before. */
		size_t file_end = image->bytes > pending->end ? image->bytes : pending->end;
		size_t size = file_end - from < SECTOR_BYTES ? file_end - from : SECTOR_BYTES;

		if (!(mask & pending->live & UINT64_C(1) << i))
			continue;
		if (image->bytes < from + size)
			image_resize(image, from + size);
		memcpy(image->data + from, pending->sectors + i * SECTOR_BYTES, size);
	}
}

/* What is synced now replaces what an earlier sync had failed for. */
static void outdate(struct disk_model *model, size_t before, const struct pending *newer)
{
	for (size_t i = 0; i < before; i++) {
		struct pending *old = &model->pending[i];

		if (old->node != newer->node || old->op != TAP_WRITE || newer->op != TAP_WRITE)
			continue;
		for (size_t s = 0; s < old->sector_count; s++) {
			size_t at = old->offset + s * SECTOR_BYTES;

			if (at >= newer->offset &&
			    at < newer->offset + newer->sector_count * SECTOR_BYTES)
				old->live &= ~(UINT64_C(1) << s);
		}
	}
}

static void apply_sync(struct disk_model *model, int number, bool failed)
{
	size_t kept = 0;

	for (size_t i = 0; i < model->pending_count; i++) {
		struct pending *pending = &model->pending[i];

		if (is_data(pending) && pending->node == number && !pending->poisoned) {
			pending->poisoned = failed;
			if (!failed) {
				put_sectors(&model->nodes[number].disk, pending, ~UINT64_C(0));
				outdate(model, kept, pending);
				free(pending->sectors);
				continue;
			}
		}
		model->pending[kept++] = *pending;
	}
	model->pending_count = kept;
}

static void apply_sync_folder(struct disk_model *model, int folder)
{
	size_t kept = 0;

	for (size_t i = 0; i < model->pending_count; i++) {
		struct pending *pending = &model->pending[i];

		if (!is_data(pending) &&
		    (pending->folder == folder ||
		     (pending->op == TAP_RENAME && pending->folder_to == folder)))
			names_apply(&model->disk, pending);
		else
			model->pending[kept++] = *pending;
	}
	model->pending_count = kept;
}

void disk_apply(struct disk_model *model, const struct trace_event *event)
{
	int node;

	if (event->op < TAP_WRITE) {
		apply_name(model, event);
		return;
	}
	node = node_of(model, event->path);
	if (node < 0) /* a file that has lost its name */
		return;
	if (event->op == TAP_WRITE)
		apply_write(model, node, event);
	else if (event->op == TAP_TRUNCATE)
		apply_truncate(model, node, event);
	else if (event->op == TAP_SYNC)
		apply_sync(model, node, event->failed);
	else
		apply_sync_folder(model, node);
}

/* --- states ---------------------------------------------------------------------------------- */

const char *choice_name(enum choice_kind kind)
{
	static const char *const names[CHOICE_KIND_COUNT] = {
		"nothing",  "all",	   "one of all subsets", "a prefix",
		"only one", "all but one", "a subset",		 "some sectors",
	};

	return names[kind];
}

/* Which sectors of the i-th pending thing are on the disk; for a name or a size, all or none. */
static uint64_t chosen(const struct choice *choice, size_t i, struct rig_random *random)
{
	const uint64_t all = ~UINT64_C(0);
	uint64_t dice = rig_random(random, 0);

	switch (choice->kind) {
	case CHOICE_ALL:
		return all;
	case CHOICE_SUBSET_NUMBER:
		return choice->number & UINT64_C(1) << (i % 64) ? all : 0;
	case CHOICE_PREFIX:
		return i < choice->number ? all : i == choice->number ? dice : 0;
	case CHOICE_ONE:
		return i == choice->number ? all : 0;
	case CHOICE_ALL_BUT_ONE:
		return i == choice->number ? 0 : all;
	case CHOICE_SUBSET:
		return dice & 1 ? all : 0;
	case CHOICE_SECTORS:
		return dice;
	case CHOICE_NONE:
	case CHOICE_KIND_COUNT:
		break;
	}
	return 0;
}

static void fill(struct image *image, size_t from, bool garbage, struct rig_random *random)
{
	for (size_t i = from; i < image->bytes; i++)
		image->data[i] = garbage ? (uint8_t)rig_random(random, 256) : 0;
}

/* A file, in `image`, whose room is used again. */
static void build_file(struct disk_model *model, int node, const struct choice *choice,
		       struct image *image)
{
	struct rig_random random = {choice->seed};
	struct rig_random noise = {choice->seed + 1};
	const struct image *disk = &model->nodes[node].disk;
	bool grows = choice->seed & 1 && choice->kind > CHOICE_ALL;
	bool garbage = choice->seed & 2;

	image->bytes = 0;
	image_resize(image, disk->bytes);
	if (disk->bytes)
		memcpy(image->data, disk->data, disk->bytes);
	for (size_t i = 0; i < model->pending_count; i++) {
		const struct pending *pending = &model->pending[i];
		uint64_t mask = chosen(choice, i, &random);
		size_t before = image->bytes;

		if (!is_data(pending) || pending->node != node)
			continue;
		if (pending->op == TAP_TRUNCATE && !(mask & 1))
			continue;
		if (pending->op == TAP_WRITE && grows && pending->end > before) {
			image_resize(image, pending->end);
			fill(image, before, garbage, &noise);
		}
		put_sectors(image, pending, mask);
	}
}

/* The names that are on the disk. */
static void build_names(struct disk_model *model, const struct choice *choice, struct names *names)
{
	struct rig_random random = {choice->seed};

	*names = model->disk;
	for (size_t i = 0; i < model->pending_count; i++)
		if (chosen(choice, i, &random) & 1 && !is_data(&model->pending[i]))
			names_apply(names, &model->pending[i]);
}

typedef void visit_fn(void *context, const char *path, const struct image *image);

static void visit(struct disk_model *model, const struct choice *choice, visit_fn *fn,
		  void *context)
{
	struct image image = {0};
	struct names names;
	/* Folders that can be reached, with their paths. */
	struct {
		int node;
		char path[2 * TRACE_PATH_BYTES];
	} folders[ENTRIES_MAX] = {{0}};
	size_t folder_count = 1;

	build_names(model, choice, &names);
	for (size_t f = 0; f < folder_count; f++) {
		for (size_t i = 0; i < names.count; i++) {
			const struct entry *entry = &names.entries[i];
			char path[4 * TRACE_PATH_BYTES];

			if (entry->folder != folders[f].node)
				continue;
			snprintf(path, sizeof(path), "%s/%s", folders[f].path, entry->name);
			if (model->nodes[entry->node].is_folder) {
				fn(context, path, NULL);
				must(folder_count < ENTRIES_MAX, "too many folders");
				folders[folder_count].node = entry->node;
				snprintf(folders[folder_count++].path, 2 * TRACE_PATH_BYTES, "%.*s",
					 2 * TRACE_PATH_BYTES - 1, path);
				continue;
			}
			build_file(model, entry->node, choice, &image);
			fn(context, path, &image);
		}
	}
	free(image.data);
}

static void hash_bytes(uint64_t *hash, const uint8_t *data, size_t bytes)
{
	for (; bytes >= 8; data += 8, bytes -= 8) {
		uint64_t word;

		memcpy(&word, data, 8);
		*hash = (*hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		*hash ^= *hash >> 29;
	}
	for (; bytes; data++, bytes--)
		*hash = (*hash ^ *data) * UINT64_C(0x100000001b3);
}

static void visit_hash(void *context, const char *path, const struct image *image)
{
	hash_bytes(context, (const uint8_t *)path, strlen(path));
	if (image)
		hash_bytes(context, image->data, image->bytes);
}

uint64_t disk_hash(struct disk_model *model, const struct choice *choice)
{
	uint64_t hash = 14695981039346656037u;

	visit(model, choice, visit_hash, &hash);
	return hash;
}

static bool is_shm(const char *path)
{
	size_t length = strlen(path);

	return length > 4 && !strcmp(path + length - 4, "-shm");
}

static void visit_write(void *context, const char *path, const struct image *image)
{
	static uint8_t garbage[SHM_BYTES];
	char full[8 * TRACE_PATH_BYTES];
	int fd;
	const uint8_t *data = image ? image->data : NULL;
	size_t bytes = image ? image->bytes : 0;

	snprintf(full, sizeof(full), "%s%s", (const char *)context, path);
	if (!image) {
		must(!mkdir(full, 0700), "a folder cannot be made");
		return;
	}
	if (is_shm(path)) { /* mapped, never synced: anything may be in it */
		memset(garbage, 0xa5, sizeof(garbage));
		data = garbage;
		bytes = sizeof(garbage);
	}
	fd = open(full, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	must(fd >= 0, "a file cannot be made");
	must(!bytes || write(fd, data, bytes) == (ssize_t)bytes, "a file cannot be written");
	close(fd);
}

void disk_write(struct disk_model *model, const struct choice *choice, const char *folder)
{
	char path[4 * TRACE_PATH_BYTES];

	snprintf(path, sizeof(path), "%s", folder);
	visit(model, choice, visit_write, path);
}
