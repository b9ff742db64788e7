/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.c - Maintenance.Snapshot: a whole copy of the store, as a stream of blobs.
 *
 *	WRITING --> SENDING --> CLOSED
 *
 * A pool thread writes the copy to a file, which loses its name at once, so that a crash leaves as
 * little behind as can be.  Then the loop sends it in blobs of 32 KiB as the client takes them, and
 * at the end the SHA-256 of all of it, which etcdctl checks.
 * The place among RPC_JOBS_MAX is kept until the file is closed: it also bounds the disk space.
 * So a client that takes it too slowly loses it, as one that does not read its list does. */
#include "shim/rpc/rpc_internal.h"

#include "shim/base/log.h"
#include "shim/base/version.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SNAPSHOT_BLOB_BYTES (32 * 1024)
#define SNAPSHOT_PATH_BYTES 4096
#define SNAPSHOT_PREFIX "kedge-snapshot-"

enum snapshot_field {
	SNAPSHOT_REMAINING_BYTES = 2,
	SNAPSHOT_BLOB,
	SNAPSHOT_VERSION,
};

struct snapshot {
	struct rpc_job base; /* first: the state of a job's call begins with it */
	const char *dir;
	enum { SNAPSHOT_NONE, SNAPSHOT_WRITING, SNAPSHOT_SENDING, SNAPSHOT_CLOSED } state;
	struct loop_timer deadline; /* while SENDING */
	int fd;
	int64_t total_bytes;
	int64_t sent_bytes;
	EVP_MD_CTX *digest;
};

static_assert(sizeof(struct snapshot) <= SNAPSHOT_STATE_BYTES, "room of the call");

static struct snapshot *snapshot_of(struct rpc_job *job)
{
	return container_of(job, struct snapshot, base);
}

static enum err disk_fault(const char *what, const char *path)
{
	return fault(ERR_STORAGE, "cannot %s the snapshot %s: %s", what, path, strerror(errno));
}

/* --- WRITING --- */

static enum err open_unnamed(struct snapshot *snapshot, const char *path)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return disk_fault("open", path);
	if (fstat(fd, &status) != 0) {
		close(fd);
		return disk_fault("measure", path);
	}
	snapshot->fd = fd;
	snapshot->total_bytes = status.st_size;
	return ERR_OK;
}

static void snapshot_work(struct rpc_job *job) /* pool thread */
{
	struct snapshot *snapshot = snapshot_of(job);
	char dir[SNAPSHOT_PATH_BYTES - 16];
	char path[SNAPSHOT_PATH_BYTES];
	int length = snprintf(dir, sizeof(dir), "%s/" SNAPSHOT_PREFIX "XXXXXX", snapshot->dir);

	if (length < 0 || (size_t)length >= sizeof(dir)) {
		errno = ENAMETOOLONG;
		job->err = disk_fault("name", snapshot->dir);
		return;
	}
	/* A folder of its own, for the store wants to make the file itself. */
	if (!mkdtemp(dir)) {
		job->err = disk_fault("make a folder for", dir);
		return;
	}
	snprintf(path, sizeof(path), "%s/db", dir);
	job->err = store_snapshot_write(job->reader, path);
	if (!job->err)
		job->err = open_unnamed(snapshot, path);
	unlink(path);
	rmdir(dir);
}

/* A folder of a killed server holds a finished copy, or one that still has its temporary name. */
static void sweep_folder(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		unlinkat(dirfd(dir), entry->d_name, 0); /* "." and ".." do not go */
	closedir(dir);
	rmdir(path);
}

void snapshot_sweep(const char *snapshot_dir)
{
	DIR *dir = opendir(snapshot_dir);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		char path[SNAPSHOT_PATH_BYTES];

		if (strncmp(entry->d_name, SNAPSHOT_PREFIX, strlen(SNAPSHOT_PREFIX)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", snapshot_dir, entry->d_name);
		sweep_folder(path);
	}
	closedir(dir);
}

/* --- SENDING --- */

static void snapshot_close(struct snapshot *snapshot, struct rpc_server *server)
{
	if (snapshot->state == SNAPSHOT_CLOSED)
		return;
	snapshot->state = SNAPSHOT_CLOSED;
	loop_timer_stop(&snapshot->deadline);
	if (snapshot->fd >= 0)
		close(snapshot->fd);
	snapshot->fd = -1;
	EVP_MD_CTX_free(snapshot->digest);
	snapshot->digest = NULL;
	rpc_job_give(server);
}

/* `blob` bytes follow the returned place. */
static uint8_t *put_message_head(uint8_t *to, uint64_t remaining_bytes, size_t blob)
{
	to = wire_put_uint(to, SNAPSHOT_REMAINING_BYTES, remaining_bytes);
	return wire_put_message(to, SNAPSHOT_BLOB, blob);
}

static enum err send_blob(struct snapshot *snapshot, const uint8_t *blob, size_t size)
{
	struct bytes version = BYTES_LITERAL(ETCD_STORAGE_VERSION);
	struct buffer out = BUFFER_INIT(ANSWER_BYTES_MAX);
	uint64_t remaining = (uint64_t)(snapshot->total_bytes - snapshot->sent_bytes);
	uint8_t *to;

	if (!buffer_reserve(&out, wire_uint_size(SNAPSHOT_REMAINING_BYTES, remaining) +
					  wire_message_size(SNAPSHOT_BLOB, size) +
					  wire_bytes_size(SNAPSHOT_VERSION, version)))
		return fault(ERR_NOMEM, "a blob of a snapshot");
	to = put_message_head(buffer_end(&out), remaining, size);
	to = wire_put_raw(to, bytes_of(blob, size));
	to = wire_put_bytes(to, SNAPSHOT_VERSION, version);
	out.size = (size_t)(to - buffer_end(&out));
	call_send(snapshot->base.call, &out);
	return ERR_OK;
}

static enum err send_next(struct snapshot *snapshot)
{
	int64_t left = snapshot->total_bytes - snapshot->sent_bytes;
	size_t size = left < SNAPSHOT_BLOB_BYTES ? (size_t)left : SNAPSHOT_BLOB_BYTES;
	uint8_t blob[SNAPSHOT_BLOB_BYTES];
	ssize_t got = pread(snapshot->fd, blob, size, snapshot->sent_bytes);

	if (got < 0 || (size_t)got != size)
		return disk_fault("read", "that is being sent");
	if (!EVP_DigestUpdate(snapshot->digest, blob, size))
		return fault(ERR_NOMEM, "the digest of a snapshot");
	snapshot->sent_bytes += (int64_t)size;
	return send_blob(snapshot, blob, size);
}

static enum err send_digest(struct snapshot *snapshot)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned size;

	if (!EVP_DigestFinal_ex(snapshot->digest, digest, &size))
		return fault(ERR_NOMEM, "the digest of a snapshot");
	return send_blob(snapshot, digest, size);
}

void maintenance_snapshot_writable(struct call *call)
{
	struct snapshot *snapshot = call_state(call);
	enum err e = ERR_OK;

	if (snapshot->state != SNAPSHOT_SENDING)
		return;
	while (!e && !call_is_full(call) && snapshot->sent_bytes < snapshot->total_bytes)
		e = send_next(snapshot);
	if (!e && snapshot->sent_bytes < snapshot->total_bytes)
		return;
	if (!e)
		e = send_digest(snapshot);
	snapshot_close(snapshot, rpc_of(call));
	if (e) {
		call_fail(call, e);
		return;
	}
	log_info("successfully sent database snapshot to client",
		 LOG_INT("total-bytes", snapshot->total_bytes),
		 LOG_STRING("storage-version", ETCD_STORAGE_VERSION));
	call_finish(call, STATUS_OK, NULL);
}

static void snapshot_expire(struct loop_timer *timer)
{
	struct snapshot *snapshot = container_of(timer, struct snapshot, deadline);
	struct call *call = snapshot->base.call;

	snapshot_close(snapshot, rpc_of(call));
	call_fail(call, ERR_TIMEOUT);
}

static void snapshot_written(struct rpc_job *job)
{
	struct snapshot *snapshot = snapshot_of(job);
	struct call *call = job->call;
	enum err e = job->err;

	snapshot->digest = EVP_MD_CTX_new();
	if (!e && (!snapshot->digest || !EVP_DigestInit_ex(snapshot->digest, EVP_sha256(), NULL)))
		e = fault(ERR_NOMEM, "the digest of a snapshot");
	if (e || call_is_ended(call)) {
		snapshot_close(snapshot, rpc_of(call));
		call_fail(call, e);
		return;
	}
	log_info("sending database snapshot to client",
		 LOG_INT("total-bytes", snapshot->total_bytes),
		 LOG_STRING("storage-version", ETCD_STORAGE_VERSION));
	snapshot->state = SNAPSHOT_SENDING;
	snapshot->deadline.fn = snapshot_expire;
	loop_timer_start(call_loop(call), &snapshot->deadline,
			 range_time_ms((uint64_t)snapshot->total_bytes), 0);
	maintenance_snapshot_writable(call);
}

void maintenance_snapshot(struct call *call, struct bytes message)
{
	struct snapshot *snapshot = call_state(call);
	enum err e;

	if (!rpc_take_numbers(call, message, NULL, 0))
		return;
	snapshot->dir = rpc_of(call)->config.snapshot_dir;
	snapshot->fd = -1;
	e = rpc_start_job(call, snapshot_work, snapshot_written);
	if (e)
		call_fail(call, e);
	else
		snapshot->state = SNAPSHOT_WRITING;
}

/* While the pool thread still writes, snapshot_written() cleans up. */
void maintenance_snapshot_end(struct call *call)
{
	struct snapshot *snapshot = call_state(call);

	if (snapshot->state == SNAPSHOT_SENDING)
		snapshot_close(snapshot, rpc_of(call));
}
