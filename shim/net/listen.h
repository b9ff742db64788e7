/* SPDX-License-Identifier: Apache-2.0 */
/* listen.h - one listening socket, TCP or unix.
 *
 * Ownership: embedded in its owner, which keeps it until listener_close() has called back.
 * Threads: open before the loop runs, all else on the loop.
 * Errors: problem names the URL, the cause and the mend. */
#ifndef SHIM_NET_LISTEN_H
#define SHIM_NET_LISTEN_H

#include "shim/net/conn.h"
#include "shim/net/url.h"

#include <sys/stat.h>

#define LISTENER_BACKLOG 4096 /* connections not yet accepted; the kernel may allow fewer */
#define LISTENER_TEXT_BYTES (URL_HOST_BYTES + 32)

struct listener {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} socket;
	struct conn_origin origin; /* of the connections it accepts */
	struct listen_url url;
	bool is_open;
	bool is_waiting; /* a connection could not be taken for want of memory */
	dev_t device;	 /* which file is ours, so that no other server's is removed */
	ino_t inode;
	char text[LISTENER_TEXT_BYTES]; /* its URL with the port it got */
	void (*on_closed)(struct listener *listener);
};

/* origin, url and on_closed are set.  After an error listener_close() is still due. */
enum err listener_open(struct listener *listener, char problem[SERVER_PROBLEM_BYTES]);
void listener_close(struct listener *listener); /* on_closed comes later */
void listener_retry(struct listener *listener); /* takes the connection that waits */

#endif
