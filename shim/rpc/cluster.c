/* SPDX-License-Identifier: Apache-2.0 */
/* cluster.c - the service etcdserverpb.Cluster, for a cluster of one that stays alone.
 *
 * What etcd refuses is refused with its words.  What etcd would do, growing the cluster or giving
 * its member another peer URL, is refused with the words that come nearest. */
#include "shim/rpc/rpc_internal.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

/* kubeadm and others take it for granted that a member has a peer URL. */
static const char *const default_peer_urls[] = {"http://localhost:2380", NULL};

static const char *const *peer_urls(const struct rpc_server *server)
{
	return server->config.peer_urls ? server->config.peer_urls : default_peer_urls;
}

/* --- the one member --- */

static size_t count_urls(const char *const *urls)
{
	size_t count = 0;

	while (urls[count])
		count++;
	return count;
}

/* protobuf-c wants pointers to what it does not change. */
static char **copy_urls(struct arena *arena, const char *const *urls, size_t count)
{
	char **copy = arena_calloc(arena, count + 1, sizeof(*copy));

	for (size_t i = 0; copy && i < count; i++) {
		size_t size;

		assert(urls[i]);
		size = strlen(urls[i]) + 1;
		copy[i] = arena_alloc(arena, size);
		if (!copy[i])
			return NULL;
		memcpy(copy[i], urls[i], size);
	}
	return copy;
}

static bool fill_member(struct call *call, Etcdserverpb__Member *member)
{
	const struct rpc_server *server = rpc_of(call);
	const char *name[] = {server->config.name, NULL};
	char **name_copy = copy_urls(call_arena(call), name, 1);

	member->n_peerurls = count_urls(peer_urls(server));
	member->n_clienturls = count_urls(server->config.client_urls);
	member->peerurls = copy_urls(call_arena(call), peer_urls(server), member->n_peerurls);
	member->clienturls =
		copy_urls(call_arena(call), server->config.client_urls, member->n_clienturls);
	if (!name_copy || !member->peerurls || !member->clienturls)
		return false;
	member->id = server->identity.member_id;
	member->name = name_copy[0];
	return true;
}

void cluster_member_list(struct call *call, struct bytes message)
{
	Etcdserverpb__MemberListResponse response = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
	Etcdserverpb__ResponseHeader header = rpc_pb_header(rpc_of(call), 0);
	Etcdserverpb__Member member;
	Etcdserverpb__Member *members[] = {&member};

	etcdserverpb__member__init(&member);
	if (!rpc_take_numbers(call, message, NULL, 0))
		return;
	if (!fill_member(call, &member)) {
		call_fail(call, fault(ERR_NOMEM, "the list of members"));
		return;
	}
	response.header = &header;
	response.members = members;
	response.n_members = 1;
	rpc_reply_packed(call, &response.base);
}

/* --- what cannot be done --- */

static bool is_scheme(const char *url, const char *scheme)
{
	return !strncasecmp(url, scheme, strlen(scheme));
}

static bool is_host_and_port(const char *text)
{
	const char *end = text + strcspn(text, "/?#");
	const char *at = memchr(text, '@', (size_t)(end - text));
	const char *host = at ? at + 1 : text;
	const char *colon = NULL;

	if (*host == '[') {
		const char *bracket = memchr(host, ']', (size_t)(end - host));

		if (!bracket || bracket + 1 >= end || bracket[1] != ':')
			return false;
		colon = bracket + 1;
	} else {
		colon = memchr(host, ':', (size_t)(end - host));
	}
	if (!colon)
		return false;
	for (const char *digit = colon + 1; digit < end; digit++) {
		if (!isdigit((unsigned char)*digit))
			return false;
	}
	return *end != '/'; /* no path */
}

static bool has_control_characters(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	}
	return false;
}

/* NewURLs() in client/pkg/types/urls.go. */
static bool is_peer_url(const char *url)
{
	url += strspn(url, " \t\n\v\f\r");
	if (has_control_characters(url))
		return false;
	if (is_scheme(url, "unix:") || is_scheme(url, "unixs:"))
		return true;
	if (is_scheme(url, "http://"))
		return is_host_and_port(url + strlen("http://"));
	return is_scheme(url, "https://") && is_host_and_port(url + strlen("https://"));
}

static bool is_own_peer_url(const struct rpc_server *server, const char *url)
{
	for (const char *const *own = peer_urls(server); *own; own++) {
		if (!strcmp(*own, url))
			return true;
	}
	return false;
}

static enum err check_peer_urls(const struct rpc_server *server, char *const *urls, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!is_peer_url(urls[i]))
			return ERR_BAD_MEMBER_URLS;
	}
	for (size_t i = 0; i < count; i++) {
		if (is_own_peer_url(server, urls[i]))
			return ERR_PEER_URL_EXISTS;
	}
	return count ? ERR_NOT_ENOUGH_MEMBERS : ERR_BAD_MEMBER_URLS;
}

void cluster_member_add(struct call *call, struct bytes message)
{
	struct codec codec = CODEC_INIT(call_arena(call));
	Etcdserverpb__MemberAddRequest *request;
	ProtobufCMessage *unpacked;
	enum err e = codec_unpack(&codec, &etcdserverpb__member_add_request__descriptor, message,
				  &unpacked);

	if (e) {
		rpc_fail_decode(call, &codec, e);
		return;
	}
	request = (Etcdserverpb__MemberAddRequest *)unpacked;
	call_fail(call, check_peer_urls(rpc_of(call), request->peerurls, request->n_peerurls));
}

void cluster_member_remove(struct call *call, struct bytes message)
{
	uint64_t id;

	if (!rpc_take_numbers(call, message, &id, 1))
		return;
	call_fail(call, id == rpc_of(call)->identity.member_id ? ERR_NOT_ENOUGH_MEMBERS
							       : ERR_MEMBER_NOT_FOUND);
}

void cluster_member_update(struct call *call, struct bytes message)
{
	struct codec codec = CODEC_INIT(call_arena(call));
	ProtobufCMessage *unpacked;
	enum err e = codec_unpack(&codec, &etcdserverpb__member_update_request__descriptor, message,
				  &unpacked);

	if (e)
		rpc_fail_decode(call, &codec, e);
	else if (((Etcdserverpb__MemberUpdateRequest *)unpacked)->id !=
		 rpc_of(call)->identity.member_id)
		call_fail(call, ERR_MEMBER_NOT_FOUND);
	else
		call_finish(call, STATUS_UNIMPLEMENTED,
			    "kedge: a server without peers has no peer URLs to change");
}

void cluster_member_promote(struct call *call, struct bytes message)
{
	uint64_t id;

	if (!rpc_take_numbers(call, message, &id, 1))
		return;
	call_fail(call,
		  id == rpc_of(call)->identity.member_id ? ERR_NOT_LEARNER : ERR_MEMBER_NOT_FOUND);
}
