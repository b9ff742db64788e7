/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/disk.h"

#include "shim/base/crc32c.h"
#include "tests/sim/disk_internal.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t disks_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sim_disk *disks[SIM_DISKS_MAX]; /* under disks_lock, like the next two */
static uint64_t next_identity = 1;
static uint64_t process_chance;

void sim_disk_misused(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("simulated disk: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	abort();
}

/* --- the process ------------------------------------------------------------------------------ */

void sim_disk_begin(uint64_t seed)
{
	pthread_mutex_lock(&disks_lock);
	process_chance = seed;
	next_identity = 1;
	pthread_mutex_unlock(&disks_lock);
	sqlite3_randomness(0, NULL); /* its generator asks for a new seed */
}

void sim_disk_fill_random(void *to, size_t size)
{
	uint8_t *bytes = to;

	pthread_mutex_lock(&disks_lock);
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(sim_chance(&process_chance) >> 56);
	pthread_mutex_unlock(&disks_lock);
}

bool sim_disk_is_path(const char *path)
{
	size_t length = sizeof(SIM_ROOT) - 1;

	return path && !strncmp(path, SIM_ROOT, length) && (path[length] == '/' || !path[length]);
}

struct sim_disk *sim_disk_find(const char *path, const char **ret_name)
{
	struct sim_disk *disk = NULL;
	char *end;
	size_t number;

	if (!sim_disk_is_path(path) || !path[sizeof(SIM_ROOT) - 1])
		return NULL;
	path += sizeof(SIM_ROOT);
	number = strtoul(path, &end, 10);
	if (end == path || (*end && *end != '/') || number >= SIM_DISKS_MAX)
		return NULL;
	pthread_mutex_lock(&disks_lock);
	disk = disks[number];
	pthread_mutex_unlock(&disks_lock);
	*ret_name = *end ? end + 1 : end;
	return disk;
}

/* --- one disk --------------------------------------------------------------------------------- */

struct sim_disk *sim_disk_new(uint64_t seed)
{
	struct sim_disk *disk = calloc(1, sizeof(*disk));
	size_t number = 0;

	SIM_DEMAND(disk, "no memory for a disk");
	disk->chance = seed;
	disk->bytes_max = -1;
	pthread_mutex_init(&disk->lock, NULL);
	pthread_mutex_lock(&disks_lock);
	while (number < SIM_DISKS_MAX && disks[number])
		number++;
	SIM_DEMAND(number < SIM_DISKS_MAX, "more than %d disks", SIM_DISKS_MAX);
	disks[number] = disk;
	disk->identity = next_identity++;
	pthread_mutex_unlock(&disks_lock);
	snprintf(disk->path, sizeof(disk->path), SIM_ROOT "/%zu", number);
	return disk;
}

void sim_disk_free(struct sim_disk *disk)
{
	const char *name;

	if (!disk)
		return;
	SIM_DEMAND(sim_disk_find(disk->path, &name) == disk, "%s is freed twice", disk->path);
	while (disk->file_count)
		sim_file_drop(disk, disk->file_count - 1);
	pthread_mutex_lock(&disks_lock);
	disks[strtoul(disk->path + sizeof(SIM_ROOT), NULL, 10)] = NULL;
	pthread_mutex_unlock(&disks_lock);
	pthread_mutex_destroy(&disk->lock);
	free(disk);
}

const char *sim_disk_path(const struct sim_disk *disk)
{
	return disk->path;
}

uint64_t sim_disk_identity(const struct sim_disk *disk)
{
	return disk->identity;
}

uint64_t sim_disk_operations(const struct sim_disk *disk)
{
	return disk->operations;
}

int64_t sim_disk_bytes(const struct sim_disk *disk)
{
	return disk->bytes;
}

bool sim_disk_is_dead(const struct sim_disk *disk)
{
	return disk->dead;
}

void sim_disk_kill_after(struct sim_disk *disk, uint64_t operations)
{
	pthread_mutex_lock(&disk->lock);
	disk->kill_in = operations;
	pthread_mutex_unlock(&disk->lock);
}

void sim_disk_full(struct sim_disk *disk, int64_t bytes)
{
	pthread_mutex_lock(&disk->lock);
	disk->bytes_max = bytes < 0 ? -1 : disk->bytes + bytes;
	pthread_mutex_unlock(&disk->lock);
}

void sim_disk_lose_syncs(struct sim_disk *disk, bool on)
{
	pthread_mutex_lock(&disk->lock);
	disk->loses_syncs = on;
	pthread_mutex_unlock(&disk->lock);
}

static uint32_t add_image(uint32_t sum, const struct sim_image *image)
{
	sum = crc32c(sum, bytes_of((const uint8_t *)&image->size, sizeof(image->size)));
	return crc32c(sum, bytes_of(image->bytes, image->size));
}

uint32_t sim_disk_sum(struct sim_disk *disk)
{
	uint32_t sum = 0;

	pthread_mutex_lock(&disk->lock);
	for (size_t i = 0; i < disk->file_count; i++) {
		sum = crc32c(sum, bytes_of_string(disk->files[i]->name));
		sum = add_image(add_image(sum, &disk->files[i]->now), &disk->files[i]->synced);
	}
	pthread_mutex_unlock(&disk->lock);
	return sum;
}

/* --- copies ----------------------------------------------------------------------------------- */

static void measure(struct sim_disk *disk)
{
	disk->bytes = 0;
	for (size_t i = 0; i < disk->file_count; i++)
		if (!disk->files[i]->removed)
			disk->bytes += (int64_t)disk->files[i]->now.size;
}

static void copy_files(struct sim_disk *to, struct sim_disk *from)
{
	pthread_mutex_lock(&from->lock);
	for (size_t i = 0; i < from->file_count; i++) {
		const struct sim_file *file = from->files[i];
		struct sim_file *copy;

		if (file->removed)
			continue;
		copy = sim_file_add(to, file->name);
		copy->name_lasts = true;
		sim_image_set(&copy->now, file->synced.bytes, file->synced.size);
		sim_image_set(&copy->synced, file->synced.bytes, file->synced.size);
	}
	pthread_mutex_unlock(&from->lock);
	measure(to);
}

struct sim_disk *sim_disk_copy(struct sim_disk *disk, uint64_t seed)
{
	struct sim_disk *copy = sim_disk_new(seed);

	copy_files(copy, disk);
	return copy;
}

void sim_disk_restore(struct sim_disk *disk, struct sim_disk *from, bool new_identity)
{
	SIM_DEMAND(disk != from, "%s is restored from itself", disk->path);
	while (disk->file_count)
		sim_file_drop(disk, disk->file_count - 1);
	copy_files(disk, from);
	disk->dead = false;
	disk->kill_in = 0;
	if (!new_identity)
		return;
	pthread_mutex_lock(&disks_lock);
	disk->identity = next_identity++;
	pthread_mutex_unlock(&disks_lock);
}

/* --- files of others -------------------------------------------------------------------------- */

static int replace(struct sim_disk *disk, const char *name, struct bytes content)
{
	struct sim_file *file = sim_file_get(disk, name);
	int64_t more = (int64_t)content.size - (file ? (int64_t)file->now.size : 0);
	int failed;

	if (disk->bytes_max >= 0 && more > 0 && disk->bytes + more > disk->bytes_max)
		return -1;
	/* A new file beside it, synced, and renamed: one operation, all or nothing. */
	failed = file ? sim_file_sync(file) : sim_file_create(disk, name, &file);
	if (failed)
		return failed;
	sim_image_set(&file->now, content.data, content.size);
	sim_image_set(&file->synced, content.data, content.size);
	file->name_lasts = true;
	disk->bytes += more;
	return 0;
}

bool sim_disk_write_file(struct sim_disk *disk, const char *name, struct bytes content)
{
	int failed;

	pthread_mutex_lock(&disk->lock);
	failed = replace(disk, name, content);
	pthread_mutex_unlock(&disk->lock);
	return !failed;
}

bool sim_disk_read_file(struct sim_disk *disk, const char *name, struct bytes *ret_content)
{
	const struct sim_file *file;

	pthread_mutex_lock(&disk->lock);
	file = sim_file_get(disk, name);
	if (file)
		*ret_content = bytes_of(file->now.bytes, file->now.size);
	pthread_mutex_unlock(&disk->lock);
	return file;
}

void sim_disk_remove_file(struct sim_disk *disk, const char *name)
{
	pthread_mutex_lock(&disk->lock);
	for (size_t i = disk->file_count; i-- > 0;)
		if (!strcmp(disk->files[i]->name, name))
			sim_file_drop(disk, i);
	measure(disk);
	pthread_mutex_unlock(&disk->lock);
}
