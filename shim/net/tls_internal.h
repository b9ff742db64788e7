/* SPDX-License-Identifier: Apache-2.0 */
/* tls_internal.h - what tls.c (sessions) and the other tls_*.c (contexts) share, nobody else. */
#ifndef SHIM_NET_TLS_INTERNAL_H
#define SHIM_NET_TLS_INTERNAL_H

#include "shim/net/tls.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#define TLS_HOSTNAMES_MAX 64 /* of --client-cert-allowed-hostname */

/* One file, and what it looked like when it was last read or tried. */
struct tls_file {
	char *path; /* NULL: not configured */
	struct timespec modified;
	struct timespec changed;
	off_t size;
	dev_t device;
	ino_t inode;
};

struct tls_context {
	SSL_CTX *ssl; /* in service */
	struct tls_file cert;
	struct tls_file key;
	struct tls_file ca;
	struct tls_file crl;
	STACK_OF(X509_CRL) * revocations; /* NULL when the file cannot be read */
	bool is_client_cert_needed;
	int min_version;
	int max_version; /* 0: newest */
	char *ciphers;	 /* TLS 1.2, OpenSSL's names; NULL: its defaults */
	char *suites;	 /* TLS 1.3, NULL: its defaults */
	char *hostnames; /* cut at its commas; */
	const char *hostname[TLS_HOSTNAMES_MAX];
	size_t hostname_count;
	BIO_METHOD *bio_method;
};

/* --- tls.c ------------------------------------------------------------------------------------ */
enum err tls_bio_method_new(BIO_METHOD **ret_method);
/* Remembers for the log whose certificate did not pass. */
void tls_session_refuse(struct tls_session *session, X509 *certificate);

/* --- tls_context.c ---------------------------------------------------------------------------- */
/* Reads again what has changed; called for each new session. */
void tls_context_refresh(struct tls_context *context);

/* --- tls_verify.c ----------------------------------------------------------------------------- */
/* What a client certificate must pass beyond its chain: the revocation list and the allowed host
 * names.  Set as the verify callback. */
int tls_verify_client(int is_ok, X509_STORE_CTX *store);
/* PEM or DER, one list or several; NULL when there is none that can be read. */
STACK_OF(X509_CRL) * tls_load_revocations(const char *path);
void tls_free_revocations(STACK_OF(X509_CRL) * revocations);

/* --- tls_ciphers.c ---------------------------------------------------------------------------- */
/* Turns IANA names into OpenSSL's two lists. */
enum err tls_map_ciphers(const char *names, struct tls_context *context, char *problem);

/* --- tls_auto.c ------------------------------------------------------------------------------- */
/* Makes cert.pem and key.pem in config->auto_tls_dir unless both are there. */
enum err tls_make_certificate(const struct tls_config *config, const char *const *hosts,
			      char *problem);

/* Why OpenSSL failed, in words; clears its queue. */
void tls_take_error(char *text, size_t text_bytes);

#endif
