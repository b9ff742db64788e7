/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/disk.h"
#include "tests/sim/disk_internal.h"

#include <string.h>

/* What of a file's writes reached the disk: all before `size_cut` moved its end, and of a sector
 * those before its own cut. */
struct survival {
	enum sim_crash how;
	uint64_t chance; /* of this file */
	size_t size_cut;
	size_t write_count;
};

static size_t cut_of(const struct survival *survival, size_t sector)
{
	uint64_t chance = survival->chance + sector;
	uint64_t kind = sim_chance(&chance);

	if (survival->how != SIM_CRASH_SECTORS)
		return survival->size_cut;
	if (kind % 3 == 0)
		return 0;
	if (kind % 3 == 1)
		return survival->write_count;
	return sim_chance(&chance) % (survival->write_count + 1);
}

static void apply(struct sim_file *file, size_t index, const struct survival *survival)
{
	const struct sim_write *write = &file->writes[index];
	const uint8_t *data = file->pending.bytes + write->data;

	for (size_t done = 0; done < write->size;) {
		size_t at = write->offset + done;
		size_t piece = SIM_SECTOR_BYTES - at % SIM_SECTOR_BYTES;

		if (piece > write->size - done)
			piece = write->size - done;
		if (index < cut_of(survival, at / SIM_SECTOR_BYTES))
			sim_image_put(&file->synced, at, data + done, piece);
		done += piece;
	}
}

static void lose(struct sim_file *file, const struct survival *survival)
{
	size_t size = file->synced.size;

	for (size_t i = 0; i < file->write_count; i++) {
		const struct sim_write *write = &file->writes[i];
		bool moves_end = i < survival->size_cut;

		if (!write->truncates) {
			apply(file, i, survival);
			if (moves_end && size < write->offset + write->size)
				size = write->offset + write->size;
		} else if (moves_end) {
			sim_image_cut(&file->synced, write->offset);
			size = write->offset;
		}
	}
	sim_image_cut(&file->synced, size);
	file->write_count = 0;
	sim_image_cut(&file->pending, 0);
}

static void crash_file(struct sim_file *file, enum sim_crash how)
{
	uint64_t *chance = &file->disk->chance;
	struct survival survival = {
		.how = how,
		.chance = sim_chance(chance),
		.write_count = file->write_count,
	};

	if (how == SIM_CRASH_KEEPS)
		survival.size_cut = file->write_count;
	else if (how != SIM_CRASH_LOSES)
		survival.size_cut = sim_chance(chance) % (file->write_count + 1);
	lose(file, &survival);
	sim_image_set(&file->now, file->synced.bytes, file->synced.size);
}

static bool loses_name(struct sim_disk *disk, enum sim_crash how)
{
	if (how == SIM_CRASH_KEEPS || how == SIM_CRASH_LOSES)
		return how == SIM_CRASH_LOSES;
	return sim_chance(&disk->chance) % 2;
}

/* Creations and removals reach a disk in their order: where a removed file comes back, what was
 * made under its name later is gone. */
static void crash_names(struct sim_disk *disk, enum sim_crash how)
{
	for (size_t i = disk->file_count; i-- > 0;) {
		struct sim_file *file = disk->files[i];
		struct sim_file *later = file->removed ? sim_file_get(disk, file->name) : NULL;

		if (!file->removed || (later && later->name_lasts) || !loses_name(disk, how))
			continue;
		if (later)
			later->removed = true;
		file->removed = false;
		file->name_lasts = true;
	}
	for (size_t i = disk->file_count; i-- > 0;) {
		const struct sim_file *file = disk->files[i];

		if (file->removed || (!file->name_lasts && loses_name(disk, how)))
			sim_file_drop(disk, i);
		else
			disk->files[i]->name_lasts = true;
	}
}

void sim_disk_crash_as(struct sim_disk *disk, enum sim_crash how)
{
	pthread_mutex_lock(&disk->lock);
	for (size_t i = 0; i < disk->file_count; i++)
		SIM_DEMAND(!disk->files[i]->handles, "%s/%s is open at a crash", disk->path,
			   disk->files[i]->name);
	for (size_t i = 0; i < disk->file_count; i++)
		crash_file(disk->files[i], how);
	crash_names(disk, how);
	disk->bytes = 0;
	for (size_t i = 0; i < disk->file_count; i++)
		disk->bytes += (int64_t)disk->files[i]->now.size;
	disk->dead = false;
	disk->kill_in = 0;
	pthread_mutex_unlock(&disk->lock);
}

enum sim_crash sim_disk_crash(struct sim_disk *disk)
{
	enum sim_crash how = (enum sim_crash)(sim_chance(&disk->chance) % 4);

	if (how == SIM_CRASH_SECTORS && disk->loses_syncs)
		how = SIM_CRASH_PREFIX;
	sim_disk_crash_as(disk, how);
	return how;
}
