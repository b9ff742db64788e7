/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/listen.h"

#include "shim/base/log.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define UNIX_SOCKET_MODE                                                                           \
	0660 /* less what the umask takes: whoever may connect may do everything                   \
	      */

/* The text etcd's users know ("bind: address already in use"), and what to do about it. */
static enum err refuse(const struct listener *listener, int error, char *problem)
{
	const struct listen_url *url = &listener->url;
	const char *mend = "check the address in the listen URL";
	const char *reason = uv_strerror(error);

	if (error == UV_EADDRINUSE) {
		mend = "stop the program that listens there, or choose another listen URL";
	} else if (error == UV_EADDRNOTAVAIL) {
		reason = "cannot assign requested address";
		mend = "this machine does not have that address; choose one of its own";
	} else if (error == UV_EACCES || error == UV_EPERM) {
		mend = "choose a port above 1023 or a folder this user may write to";
	} else if (error == UV_ENOENT) {
		reason = "no such file or directory";
		mend = "make the folder of the socket first";
	}
	snprintf(problem, SERVER_PROBLEM_BYTES,
		 "cannot listen on %.150s: listen %s %.150s: bind: %s; %s", listener->text,
		 url->is_unix ? "unix" : "tcp",
		 url->is_unix ? url->path : strstr(listener->text, "//") + 2, reason, mend);
	return ERR_BAD_MEMBER_URLS;
}

/* What the listener is called, before its address is known and after. */
static void format_text(struct listener *listener, const struct sockaddr_storage *address)
{
	const char *scheme = listener->origin.is_secure ? "https" : "http";
	const struct listen_url *url = &listener->url;
	char host[INET6_ADDRSTRLEN] = "";

	if (url->is_unix) {
		snprintf(listener->text, sizeof(listener->text), "%s://%s",
			 listener->origin.is_secure ? "unixs" : "unix", url->path);
	} else if (!address) {
		bool has_colon = strchr(url->host, ':');

		snprintf(listener->text, sizeof(listener->text), "%s://%s%s%s:%u", scheme,
			 has_colon ? "[" : "", url->host, has_colon ? "]" : "", url->port);
	} else if (address->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(listener->text, sizeof(listener->text), "%s://[%s]:%u", scheme, host,
			 ntohs(in6->sin6_port));
	} else {
		const struct sockaddr_in *in = (const struct sockaddr_in *)address;

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(listener->text, sizeof(listener->text), "%s://%s:%u", scheme, host,
			 ntohs(in->sin_port));
	}
}

/* --- accepting -------------------------------------------------------------------------------- */

static void on_connection(uv_stream_t *stream, int status)
{
	struct listener *listener = stream->data;
	struct conn_host *host = listener->origin.host;

	if (status >= 0) {
		listener->is_waiting = !conn_accept(&listener->origin, stream);
		return;
	}
	/* Out of file descriptors: libuv has closed what waited, and later ones are taken again. */
	host->stats.connections_refused++;
	if (conn_host_may_log(host))
		log_warn("cannot accept a connection", LOG_STRING("address", listener->text),
			 LOG_STRING("error", uv_strerror(status)));
}

void listener_retry(struct listener *listener)
{
	if (listener->is_open && listener->is_waiting)
		on_connection(&listener->socket.stream, 0);
}

/* --- TCP -------------------------------------------------------------------------------------- */

/* As Go's Listen: of a name's addresses the first IPv4 one, else the first.  An empty host is every
 * address of both families, or of IPv4 where the kernel lacks the other. */
static int resolve(const struct listen_url *url, struct sockaddr_storage *ret_address)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC,
				       .ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *all = NULL;
	const struct addrinfo *chosen;
	int wanted = url->host[0] ? AF_INET : AF_INET6;
	char port[8];
	int result;

	snprintf(port, sizeof(port), "%u", url->port);
	result = getaddrinfo(url->host[0] ? url->host : NULL, port, &hints, &all);
	if (result)
		return result;
	assert(all);
	chosen = all;
	for (const struct addrinfo *one = all; one; one = one->ai_next)
		if (one->ai_family == wanted && chosen->ai_family != wanted)
			chosen = one;
	memcpy(ret_address, chosen->ai_addr, chosen->ai_addrlen);
	freeaddrinfo(all);
	return 0;
}

static bool family_works(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static enum err open_tcp(struct listener *listener, char *problem)
{
	struct sockaddr_storage address = {0};
	int size = sizeof(address);
	int result = resolve(&listener->url, &address);

	if (result) {
		snprintf(problem, SERVER_PROBLEM_BYTES,
			 "cannot listen on %.150s: no address for host \"%.150s\" (%s); write an "
			 "IP address "
			 "of this machine",
			 listener->text, listener->url.host, gai_strerror(result));
		return ERR_BAD_MEMBER_URLS;
	}
	if (!listener->url.host[0] && !family_works(address.ss_family)) {
		struct sockaddr_in any = {.sin_family = AF_INET,
					  .sin_port = htons(listener->url.port)};

		memcpy(&address, &any, sizeof(any));
	}
	/* bind() reports a port in use only in uv_listen(); SO_REUSEADDR is set by libuv. */
	result = uv_tcp_bind(&listener->socket.tcp, (const struct sockaddr *)&address, 0);
	if (!result)
		result = uv_listen(&listener->socket.stream, LISTENER_BACKLOG, on_connection);
	if (result)
		return refuse(listener, result, problem);
	if (!uv_tcp_getsockname(&listener->socket.tcp, (struct sockaddr *)&address, &size))
		format_text(listener, &address);
	return ERR_OK;
}

/* --- unix sockets ----------------------------------------------------------------------------- */

/* A socket file outlives the process that made it: it may go when nobody answers on it, and nothing
 * else is ever removed. */
static enum err remove_stale(const struct listener *listener, const struct sockaddr_un *address,
			     char *problem)
{
	struct stat status;
	int fd, result;

	if (lstat(address->sun_path, &status))
		return ERR_OK; /* bind() tells what else is wrong */
	if (!S_ISSOCK(status.st_mode)) {
		snprintf(
			problem, SERVER_PROBLEM_BYTES,
			"cannot listen on %s: the file exists and is not a socket; move it away or "
			"choose another path",
			listener->text);
		return ERR_BAD_MEMBER_URLS;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return refuse(listener, uv_translate_sys_error(errno), problem);
	result = connect(fd, (const struct sockaddr *)address, sizeof(*address)) ? errno : 0;
	close(fd);
	if (result != ECONNREFUSED)
		return refuse(listener, UV_EADDRINUSE, problem);
	if (unlink(address->sun_path) && errno != ENOENT)
		return refuse(listener, uv_translate_sys_error(errno), problem);
	return ERR_OK;
}

static enum err open_unix(struct listener *listener, char *problem)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat status;
	int fd, result;
	enum err e;

	memcpy(address.sun_path, listener->url.path, sizeof(listener->url.path));
	e = remove_stale(listener, &address, problem);
	if (e)
		return e;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return refuse(listener, uv_translate_sys_error(errno), problem);
	/* The file gets its mode from the socket, so there is no moment at which it is too open. */
	if (fchmod(fd, UNIX_SOCKET_MODE) ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address))) {
		result = uv_translate_sys_error(errno);
		close(fd);
		return refuse(listener, result, problem);
	}
	if (!stat(address.sun_path, &status)) {
		listener->device = status.st_dev;
		listener->inode = status.st_ino;
	}
	result = uv_pipe_open(&listener->socket.pipe, fd);
	if (result)
		close(fd);
	else
		result = uv_listen(&listener->socket.stream, LISTENER_BACKLOG, on_connection);
	return result ? refuse(listener, result, problem) : ERR_OK;
}

static void remove_socket_file(const struct listener *listener)
{
	struct stat status;

	if (!listener->inode || lstat(listener->url.path, &status))
		return;
	if (status.st_dev == listener->device && status.st_ino == listener->inode)
		unlink(listener->url.path);
}

/* --- life ------------------------------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *handle)
{
	struct listener *listener = handle->data;

	listener->on_closed(listener);
}

enum err listener_open(struct listener *listener, char problem[SERVER_PROBLEM_BYTES])
{
	uv_loop_t *uv = loop_uv(listener->origin.host->loop);
	int result = listener->url.is_unix ? uv_pipe_init(uv, &listener->socket.pipe, 0)
					   : uv_tcp_init(uv, &listener->socket.tcp);

	if (result)
		return fault(ERR_NOMEM, "cannot make a listener: %s", uv_strerror(result));
	listener->socket.handle.data = listener;
	listener->is_open = true;
	format_text(listener, NULL);
	return listener->url.is_unix ? open_unix(listener, problem) : open_tcp(listener, problem);
}

void listener_close(struct listener *listener)
{
	if (!listener->is_open)
		return;
	listener->is_open = false;
	remove_socket_file(listener);
	uv_close(&listener->socket.handle, on_handle_closed);
}
