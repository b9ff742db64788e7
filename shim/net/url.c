/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/url.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct scheme {
	const char *prefix;
	bool is_secure;
	bool is_unix;
};

static_assert(URL_PATH_BYTES == 107 + 1, "the text below names it");

static const struct scheme schemes[] = {
	{"http:", false, false},
	{"https:", true, false},
	{"unix:", false, true},
	{"unixs:", true, true},
};

/* Where to say what is wrong, and about which text. */
struct complaint {
	const char *text;
	char *problem;
	size_t problem_bytes;
};

static enum err complain(const struct complaint *complaint, const char *reason)
{
	snprintf(complaint->problem, complaint->problem_bytes, "%s: %.200s", reason,
		 complaint->text);
	return ERR_BAD_MEMBER_URLS;
}

static enum err parse_port(const struct complaint *complaint, const char *digits, size_t size,
			   uint16_t *ret_port)
{
	unsigned long port = 0;

	if (!size || size > 5)
		return complain(complaint, "URL needs a port number from 0 to 65535");
	for (size_t i = 0; i < size; i++) {
		if (!isdigit((unsigned char)digits[i]))
			return complain(complaint, "URL needs a port number from 0 to 65535");
		port = port * 10 + (unsigned long)(digits[i] - '0');
	}
	if (port > UINT16_MAX)
		return complain(complaint, "URL needs a port number from 0 to 65535");
	*ret_port = (uint16_t)port;
	return ERR_OK;
}

/* In a URL the zone of a link-local address is written %25eth0. */
static enum err copy_host(const struct complaint *complaint, const char *host, size_t size,
			  struct listen_url *url)
{
	size_t out = 0;

	if (size >= sizeof(url->host))
		return complain(complaint, "URL has a host name longer than 253 characters");
	for (size_t i = 0; i < size; i++) {
		if (isspace((unsigned char)host[i]) || host[i] == '@')
			return complain(complaint, "URL has a host that is neither a name nor "
						   "an address");
		url->host[out++] = host[i];
		if (host[i] == '%' && size - i > 2 && host[i + 1] == '2' && host[i + 2] == '5')
			i += 2;
	}
	url->host[out] = 0;
	return ERR_OK;
}

/* authority is what stands after "//". */
static enum err parse_tcp(const struct complaint *complaint, const char *authority,
			  struct listen_url *url)
{
	size_t size = strcspn(authority, "/?#");
	const char *host = authority;
	const char *colon;
	enum err e = ERR_OK;

	if (authority[size])
		return complain(complaint, "URL must not contain a path");
	colon = memrchr(authority, ':', size);
	if (authority[0] == '[') {
		const char *bracket = memchr(authority, ']', size);

		host = authority + 1;
		if (!bracket || bracket + 1 != colon)
			colon = NULL;
		else
			e = copy_host(complaint, host, (size_t)(bracket - host), url);
	} else if (colon) {
		if (memchr(authority, ':', (size_t)(colon - authority)))
			return complain(complaint,
					"URL needs square brackets around an IPv6 address");
		e = copy_host(complaint, host, (size_t)(colon - host), url);
	}
	if (!colon)
		return complain(complaint, "URL address does not have the form \"host:port\"");
	if (e)
		return e;
	return parse_port(complaint, colon + 1, size - (size_t)(colon + 1 - authority), &url->port);
}

static enum err parse_unix(const struct complaint *complaint, const char *path,
			   struct listen_url *url)
{
	size_t size = strcspn(path, "?#");

	if (!size)
		return complain(complaint, "URL needs the path of a socket, as in "
					   "unix:///run/kedge.sock");
	if (size >= sizeof(url->path))
		return complain(complaint, "URL has a socket path longer than 107 characters");
	memcpy(url->path, path, size);
	url->path[size] = 0;
	return ERR_OK;
}

enum err url_parse(const char *text, struct listen_url *ret_url, char *problem,
		   size_t problem_bytes)
{
	const struct complaint complaint = {text, problem, problem_bytes};
	const struct scheme *scheme = NULL;
	struct listen_url url = {0};
	const char *rest;
	enum err e;

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (!strncasecmp(text, schemes[i].prefix, strlen(schemes[i].prefix)))
			scheme = &schemes[i];
	if (!scheme)
		return complain(&complaint, "URL scheme must be http, https, unix, or unixs");
	rest = text + strlen(scheme->prefix);
	if (!strncmp(rest, "//", 2))
		rest += 2;
	else if (!scheme->is_unix || rest[0] != '/')
		return complain(&complaint, "URL needs \"//\" after its scheme");
	url.is_secure = scheme->is_secure;
	url.is_unix = scheme->is_unix;
	e = url.is_unix ? parse_unix(&complaint, rest, &url) : parse_tcp(&complaint, rest, &url);
	if (!e)
		*ret_url = url;
	return e;
}
