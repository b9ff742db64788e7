/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/store/datadir.h"

#include "shim/store/internal.h"
#include "shim/store/schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

char *datadir_path(const char *data_dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", data_dir, name) < 0 ? NULL : path;
}

static int make_parents(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(path, 0700) && errno != EEXIST)
			return -1;
		*slash = '/';
	}
	return mkdir(path, 0700) && errno != EEXIST ? -1 : 0;
}

static enum err make_directory(const char *data_dir, char *problem)
{
	struct stat stat_buffer;
	char *path = strdup(data_dir);
	int failed;

	if (!path)
		return fault(ERR_NOMEM, "a path");
	failed = make_parents(path) ? errno : 0;
	if (failed)
		schema_problem(problem, ERR_STORAGE,
			       "--data-dir %s cannot be made: %s: %s; make it by hand or choose"
			       " another",
			       data_dir, path, strerror(failed));
	free(path);
	if (failed)
		return ERR_STORAGE;
	if (stat(data_dir, &stat_buffer))
		return schema_problem(
			problem, ERR_STORAGE,
			"--data-dir %s cannot be looked at (%s): check owner and mode", data_dir,
			strerror(errno));
	if (!S_ISDIR(stat_buffer.st_mode))
		return schema_problem(problem, ERR_STORAGE,
				      "--data-dir %s is not a directory: name one, or a path that"
				      " does not exist yet",
				      data_dir);
	return ERR_OK;
}

/* A file system may know no sync of folders, and a folder above ours may be closed to us: then its
 * owner made it. */
static enum err sync_one(const char *path, char *problem)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int failed;

	if (fd < 0)
		return ERR_OK;
	failed = fsync(fd) && errno != EINVAL && errno != ENOTSUP ? errno : 0;
	close(fd);
	return failed ? schema_problem(problem,
				       fault(ERR_STORAGE, "sync of %s: %s", path, strerror(failed)),
				       "%s cannot be synced (%s): check the disk", path,
				       strerror(failed))
		      : ERR_OK;
}

enum err datadir_sync(const char *data_dir, char problem[STORE_PROBLEM_BYTES])
{
	char *path = strdup(data_dir);
	enum err e = path ? ERR_OK : fault(ERR_NOMEM, "a path");

	while (!e && *path) {
		char *slash;

		e = sync_one(path, problem);
		slash = strrchr(path, '/');
		if (slash == path && path[1])
			path[1] = 0; /* the root comes last */
		else if (slash)
			*slash = 0;
		else
			break;
	}
	if (!e && data_dir[0] != '/')
		e = sync_one(".", problem);
	free(path);
	return e;
}

/* etcd keeps its files under member/: mixing the two would make one of them useless. */
static enum err refuse_etcd(const char *data_dir, char *problem)
{
	char *member = datadir_path(data_dir, "member/snap/db");
	bool is_etcd;

	if (!member)
		return fault(ERR_NOMEM, "a path");
	is_etcd = access(member, F_OK) == 0;
	free(member);
	return is_etcd ? schema_problem(problem, ERR_STORAGE,
					"--data-dir %s holds the data of an etcd, which kedge does"
					" not read: choose another",
					data_dir)
		       : ERR_OK;
}

static enum err locked_by_other(const char *data_dir, int fd, char *problem)
{
	char pid[32] = "";
	ssize_t bytes = pread(fd, pid, sizeof(pid) - 1, 0);

	pid[bytes > 0 ? bytes : 0] = 0;
	pid[strcspn(pid, "\n")] = 0;
	return schema_problem(problem, ERR_STORAGE,
			      "--data-dir %s is in use by another server (pid %s): stop that one,"
			      " or choose another",
			      data_dir, *pid ? pid : "unknown");
}

enum err datadir_lock(const char *data_dir, int *ret_lock_fd, char problem[STORE_PROBLEM_BYTES])
{
	char *path = NULL;
	int fd = -1;
	enum err e = make_directory(data_dir, problem);

	if (!e)
		e = refuse_etcd(data_dir, problem);
	if (e)
		return e;
	path = datadir_path(data_dir, STORE_LOCK_NAME);
	if (!path)
		return fault(ERR_NOMEM, "a path");
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		e = schema_problem(problem, ERR_STORAGE,
				   "%s cannot be opened (%s): check owner and mode of the folder",
				   path, strerror(errno));
	else if (flock(fd, LOCK_EX | LOCK_NB))
		e = errno == EWOULDBLOCK
			    ? locked_by_other(data_dir, fd, problem)
			    : schema_problem(problem, ERR_STORAGE, "%s cannot be locked (%s)", path,
					     strerror(errno));
	else if (ftruncate(fd, 0) || dprintf(fd, "%ld\n", (long)getpid()) < 0)
		e = schema_problem(problem, ERR_STORAGE, "%s cannot be written (%s)", path,
				   strerror(errno));
	free(path);
	if (e && fd >= 0)
		close(fd);
	if (!e)
		*ret_lock_fd = fd;
	return e;
}

void datadir_unlock(int lock_fd)
{
	if (lock_fd >= 0)
		close(lock_fd);
}
