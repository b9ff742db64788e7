/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/disk_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- images ----------------------------------------------------------------------------------- */

static void image_reserve(struct sim_image *image, size_t size)
{
	size_t capacity = image->capacity ? image->capacity : 4096;

	if (size <= image->capacity)
		return;
	while (capacity < size)
		capacity *= 2;
	image->bytes = realloc(image->bytes, capacity);
	SIM_DEMAND(image->bytes, "no memory for %zu bytes", capacity);
	memset(image->bytes + image->capacity, 0, capacity - image->capacity);
	image->capacity = capacity;
}

void sim_image_put(struct sim_image *image, size_t offset, const uint8_t *from, size_t size)
{
	image_reserve(image, offset + size);
	if (size)
		memcpy(image->bytes + offset, from, size);
	if (image->size < offset + size)
		image->size = offset + size;
}

void sim_image_cut(struct sim_image *image, size_t size)
{
	image_reserve(image, size);
	if (size < image->size)
		memset(image->bytes + size, 0, image->size - size);
	image->size = size;
}

void sim_image_set(struct sim_image *image, const uint8_t *bytes, size_t size)
{
	sim_image_cut(image, 0);
	sim_image_put(image, 0, bytes, size);
}

/* --- faults ----------------------------------------------------------------------------------- */

static int operation(struct sim_disk *disk)
{
	disk->operations++;
	if (!disk->dead && disk->kill_in && !--disk->kill_in)
		disk->dead = true;
	return disk->dead ? EIO : 0;
}

static int grow(struct sim_disk *disk, int64_t bytes)
{
	if (disk->bytes_max >= 0 && bytes > 0 && disk->bytes + bytes > disk->bytes_max)
		return ENOSPC;
	disk->bytes += bytes;
	return 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void note(struct sim_file *file, struct sim_write write, const void *from)
{
	if (file->write_count == file->write_capacity) {
		file->write_capacity = file->write_capacity ? 2 * file->write_capacity : 16;
		file->writes = realloc(file->writes, file->write_capacity * sizeof(*file->writes));
		SIM_DEMAND(file->writes, "no memory for %zu writes", file->write_capacity);
	}
	write.data = file->pending.size;
	if (!write.truncates)
		sim_image_put(&file->pending, write.data, from, write.size);
	file->writes[file->write_count++] = write;
}

static void put(struct sim_file *file, size_t offset, const void *from, size_t size)
{
	note(file, (struct sim_write){.offset = offset, .size = size}, from);
	sim_image_put(&file->now, offset, from, size);
}

/* The process dies inside the write. */
static void put_part(struct sim_file *file, size_t offset, const void *from, size_t size)
{
	size_t sectors = size / SIM_SECTOR_BYTES;
	size_t part = sim_chance(&file->disk->chance) % (sectors + 1) * SIM_SECTOR_BYTES;

	if (part && offset + part <= file->now.size)
		put(file, offset, from, part);
}

int sim_file_write(struct sim_file *file, size_t offset, const void *from, size_t size)
{
	struct sim_disk *disk = file->disk;
	bool lived = !disk->dead;
	int failed = operation(disk);

	if (failed) {
		if (lived)
			put_part(file, offset, from, size);
		return failed;
	}
	if (offset + size > file->now.size)
		failed = grow(disk, (int64_t)(offset + size - file->now.size));
	if (!failed)
		put(file, offset, from, size);
	return failed;
}

int sim_file_truncate(struct sim_file *file, size_t size)
{
	int failed = operation(file->disk);

	if (!failed)
		failed = grow(file->disk, (int64_t)size - (int64_t)file->now.size);
	if (failed)
		return failed;
	note(file, (struct sim_write){.offset = size, .truncates = true}, NULL);
	sim_image_cut(&file->now, size);
	return 0;
}

void sim_file_read(const struct sim_file *file, size_t offset, void *to, size_t size)
{
	size_t there = offset < file->now.size ? file->now.size - offset : 0;

	if (there > size)
		there = size;
	if (there)
		memcpy(to, file->now.bytes + offset, there);
	memset((uint8_t *)to + there, 0, size - there);
}

/* --- syncing ---------------------------------------------------------------------------------- */

void sim_file_settle(struct sim_file *file)
{
	for (size_t i = 0; i < file->write_count; i++) {
		const struct sim_write *write = &file->writes[i];

		if (write->truncates)
			sim_image_cut(&file->synced, write->offset);
		else
			sim_image_put(&file->synced, write->offset,
				      file->pending.bytes + write->data, write->size);
	}
	file->write_count = 0;
	sim_image_cut(&file->pending, 0);
}

int sim_file_sync(struct sim_file *file)
{
	int failed = operation(file->disk);

	if (!failed)
		sim_file_settle(file);
	return failed;
}

int sim_folder_sync(struct sim_disk *disk)
{
	int failed = operation(disk);

	for (size_t i = disk->file_count; !failed && i-- > 0;) {
		struct sim_file *file = disk->files[i];

		file->name_lasts = true;
		if (file->removed && !file->handles)
			sim_file_drop(disk, i);
	}
	return failed;
}

/* --- names ------------------------------------------------------------------------------------ */

struct sim_file *sim_file_get(struct sim_disk *disk, const char *name)
{
	for (size_t i = 0; i < disk->file_count; i++)
		if (!disk->files[i]->removed && !strcmp(disk->files[i]->name, name))
			return disk->files[i];
	return NULL;
}

struct sim_file *sim_file_add(struct sim_disk *disk, const char *name)
{
	struct sim_file *file = calloc(1, sizeof(*file));
	size_t length = strlen(name);

	SIM_DEMAND(file, "no memory for a file");
	SIM_DEMAND(disk->file_count < SIM_FILES_MAX, "more than %d files", SIM_FILES_MAX);
	SIM_DEMAND(length < SIM_NAME_BYTES, "the name is too long: %s", name);
	file->disk = disk;
	memcpy(file->name, name, length + 1);
	file->is_wal = length > 4 && !strcmp(name + length - 4, "-wal");
	disk->files[disk->file_count++] = file;
	return file;
}

int sim_file_create(struct sim_disk *disk, const char *name, struct sim_file **ret_file)
{
	int failed = operation(disk);

	if (!failed)
		*ret_file = sim_file_add(disk, name);
	return failed;
}

static size_t index_of(const struct sim_file *file)
{
	size_t i = 0;

	while (file->disk->files[i] != file)
		i++;
	return i;
}

/* What was removed before it under the same name cannot come back any more: one ghost is enough. */
static void forget_older(struct sim_disk *disk, const char *name)
{
	for (size_t i = disk->file_count; i-- > 0;)
		if (disk->files[i]->removed && !disk->files[i]->handles &&
		    !strcmp(disk->files[i]->name, name))
			sim_file_drop(disk, i);
}

int sim_file_remove(struct sim_file *file)
{
	struct sim_disk *disk = file->disk;
	int failed = operation(disk);

	if (failed)
		return failed;
	grow(disk, -(int64_t)file->now.size);
	if (file->name_lasts)
		forget_older(disk, file->name);
	file->removed = true;
	if (!file->name_lasts && !file->handles)
		sim_file_drop(disk, index_of(file));
	return 0;
}

void sim_file_forget(struct sim_file *file)
{
	grow(file->disk, -(int64_t)file->now.size);
	file->name_lasts = false;
	file->removed = true;
}

void sim_file_let_go(struct sim_file *file)
{
	if (!--file->handles && file->removed && !file->name_lasts)
		sim_file_drop(file->disk, index_of(file));
}

void sim_file_drop(struct sim_disk *disk, size_t index)
{
	struct sim_file *file = disk->files[index];

	SIM_DEMAND(!file->handles, "%s/%s is open", disk->path, file->name);
	memmove(disk->files + index, disk->files + index + 1,
		(disk->file_count - index - 1) * sizeof(disk->files[0]));
	disk->file_count--;
	free(file->now.bytes);
	free(file->synced.bytes);
	free(file->pending.bytes);
	free(file->writes);
	free(file);
}
