/* SPDX-License-Identifier: Apache-2.0 */
/* url.h - the forms in which a listening address is written, as etcd reads them.
 *
 *	http://127.0.0.1:2379   https://[::1]:2379   http://localhost:2379   http://:2379
 *	unix:///absolute/path   unixs://relative/path
 *
 * Errors: problem says what is wrong with the text and what it should look like. */
#ifndef SHIM_NET_URL_H
#define SHIM_NET_URL_H

#include "shim/base/err.h"

#include <stddef.h>
#include <stdint.h>

#define URL_HOST_BYTES 256 /* a DNS name has 253 at most */
#define URL_PATH_BYTES 108 /* sun_path of a unix socket, its NUL included */

struct listen_url {
	bool is_secure;		   /* https, unixs */
	bool is_unix;		   /* path counts, else host and port */
	char host[URL_HOST_BYTES]; /* without brackets; "" means every address */
	uint16_t port;		   /* 0: any free one */
	char path[URL_PATH_BYTES];
};

/* ERR_OK, or ERR_BAD_MEMBER_URLS with a sentence in problem. */
enum err url_parse(const char *text, struct listen_url *ret_url, char *problem,
		   size_t problem_bytes);

#endif
