/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/tls_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define LIST_BYTES_MAX (16 * 1024) /* all suites that OpenSSL knows need a quarter */
#define TLS13_SUITE_HIGH_BYTE 0x13 /* RFC 8446: {0x13,0x01} to {0x13,0x05} */

/* Two names that etcd takes besides IANA's. */
static const struct {
	const char *name;
	const char *iana;
} aliases[] = {
	{"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"},
	{"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
};

static const SSL_CIPHER *find_cipher(SSL_CTX *all, const char *name)
{
	STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(all);

	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
		if (!strcmp(name, aliases[i].name))
			name = aliases[i].iana;
	for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++) {
		const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(ciphers, i);
		const char *standard = SSL_CIPHER_standard_name(cipher);

		if (standard && !strcmp(standard, name))
			return cipher;
	}
	return NULL;
}

static bool append_name(struct buffer *list, const char *name)
{
	return buffer_append_format(list, "%s%s", list->size ? ":" : "", name);
}

/* Where the names of one version are collected. */
struct cipher_lists {
	struct buffer ciphers; /* TLS 1.2 */
	struct buffer suites;  /* TLS 1.3 */
};

static enum err map_one(SSL_CTX *all, const char *name, struct cipher_lists *lists, char *problem)
{
	const SSL_CIPHER *cipher = find_cipher(all, name);
	bool is_suite;

	if (!cipher) {
		snprintf(problem, SERVER_PROBLEM_BYTES,
			 "unexpected TLS cipher suite \"%.100s\" (--cipher-suites): use IANA names "
			 "that this OpenSSL has, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
			 name);
		return ERR_BAD_MEMBER_URLS;
	}
	is_suite = SSL_CIPHER_get_protocol_id(cipher) >> 8 == TLS13_SUITE_HIGH_BYTE;
	if (append_name(is_suite ? &lists->suites : &lists->ciphers, SSL_CIPHER_get_name(cipher)))
		return ERR_OK;
	return fault(ERR_NOMEM, "no memory for cipher suites");
}

static enum err keep(struct buffer *list, char **ret_text)
{
	if (!list->size || !list->data)
		return ERR_OK;
	*ret_text = strndup((const char *)buffer_bytes(list).data, list->size);
	return *ret_text ? ERR_OK : fault(ERR_NOMEM, "no memory for cipher suites");
}

enum err tls_map_ciphers(const char *names, struct tls_context *context, char *problem)
{
	struct cipher_lists lists = {BUFFER_INIT(LIST_BYTES_MAX), BUFFER_INIT(LIST_BYTES_MAX)};
	SSL_CTX *all = SSL_CTX_new(TLS_server_method());
	char *copy = strdup(names);
	char *rest = copy;
	enum err e = ERR_OK;
	const char *name;

	if (!all || !copy || !SSL_CTX_set_cipher_list(all, "ALL:COMPLEMENTOFALL:@SECLEVEL=0"))
		e = fault(ERR_NOMEM, "no memory to look up cipher suites");
	while (!e && (name = strsep(&rest, ", ")))
		if (name[0])
			e = map_one(all, name, &lists, problem);
	if (!e)
		e = keep(&lists.ciphers, &context->ciphers);
	if (!e)
		e = keep(&lists.suites, &context->suites);
	/* Only names of TLS 1.3 leave nothing to agree on below it. */
	if (!e && context->suites && !context->ciphers)
		context->min_version = TLS1_3_VERSION;
	buffer_fini(&lists.ciphers);
	buffer_fini(&lists.suites);
	free(copy);
	SSL_CTX_free(all);
	return e;
}
