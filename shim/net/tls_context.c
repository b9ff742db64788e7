/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/tls_internal.h"

#include "shim/base/log.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

/* In the order of the server's liking; the wire form of ALPN. */
static const uint8_t alpn_offer[] = "\x02h2\x08http/1.1";

/* The oldest entry is the cause, the newer ones are who passed it on. */
void tls_take_error(char *text, size_t text_bytes)
{
	unsigned long code = ERR_peek_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	if (ERR_SYSTEM_ERROR(code))
		reason = strerror(ERR_GET_REASON(code));
	else if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
		 ERR_GET_REASON(code) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
		reason = "tls: client didn't provide a certificate"; /* Go's words */
	snprintf(text, text_bytes, "%s", reason ? reason : "unknown TLS error");
	ERR_clear_error();
}

/* --- watching files --------------------------------------------------------------------------- */

/* Whether the file differs from what was seen last; remembers what it sees.  Its look is taken
 * before it is read, so that a change in between is found at the next call. */
static bool file_has_changed(struct tls_file *file)
{
	struct stat now = {0};
	bool is_same;

	if (!file->path)
		return false;
	if (stat(file->path, &now))
		now = (struct stat){0};
	is_same = now.st_mtim.tv_sec == file->modified.tv_sec &&
		  now.st_mtim.tv_nsec == file->modified.tv_nsec &&
		  now.st_ctim.tv_sec == file->changed.tv_sec &&
		  now.st_ctim.tv_nsec == file->changed.tv_nsec && now.st_size == file->size &&
		  now.st_dev == file->device && now.st_ino == file->inode;
	file->modified = now.st_mtim;
	file->changed = now.st_ctim;
	file->size = now.st_size;
	file->device = now.st_dev;
	file->inode = now.st_ino;
	return !is_same;
}

/* --- one SSL_CTX per set of files ------------------------------------------------------------- */

static int on_alpn(SSL *ssl, const uint8_t **out, uint8_t *out_size, const uint8_t *in,
		   unsigned in_size, void *context)
{
	uint8_t *chosen = NULL;

	(void)ssl;
	(void)context;
	if (SSL_select_next_proto(&chosen, out_size, alpn_offer, sizeof(alpn_offer) - 1, in,
				  in_size) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static void set_options(SSL_CTX *ssl)
{
	/* No resumption: neither tickets nor a cache, because a resumed session would pass by the
	 * revocation list; gRPC clients keep their connections and do not miss it. */
	SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
					 SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
					 SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_num_tickets(ssl, 0);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	/* An idle connection gives its 34 KB of record buffers back. */
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_alpn_select_cb(ssl, on_alpn, NULL);
}

/* Says what could not be done with which file. */
static bool fail_file(char *problem, const char *what, const char *path)
{
	char reason[256];

	tls_take_error(reason, sizeof(reason));
	snprintf(problem, SERVER_PROBLEM_BYTES, "cannot use %s %.200s: %.200s", what, path, reason);
	return false;
}

static bool load_files(const struct tls_context *context, SSL_CTX *ssl, char *problem)
{
	STACK_OF(X509_NAME) * names;

	if (SSL_CTX_use_certificate_chain_file(ssl, context->cert.path) != 1)
		return fail_file(problem, "the certificate (--cert-file)", context->cert.path);
	if (SSL_CTX_use_PrivateKey_file(ssl, context->key.path, SSL_FILETYPE_PEM) != 1)
		return fail_file(problem, "the private key (--key-file)", context->key.path);
	if (SSL_CTX_check_private_key(ssl) != 1)
		return fail_file(problem, "the private key (--key-file) with --cert-file",
				 context->key.path);
	if (!context->is_client_cert_needed)
		return true;
	SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
			   tls_verify_client);
	if (!context->ca.path)
		return SSL_CTX_set_default_verify_paths(ssl) == 1;
	if (SSL_CTX_load_verify_file(ssl, context->ca.path) != 1)
		return fail_file(problem, "the CA (--trusted-ca-file)", context->ca.path);
	names = SSL_load_client_CA_file(context->ca.path);
	if (!names)
		return fail_file(problem, "the CA (--trusted-ca-file)", context->ca.path);
	SSL_CTX_set_client_CA_list(ssl, names);
	return true;
}

static SSL_CTX *make_ssl(struct tls_context *context, char *problem)
{
	SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());

	snprintf(problem, SERVER_PROBLEM_BYTES, "cannot set up TLS");
	if (!ssl)
		return NULL;
	set_options(ssl);
	SSL_CTX_set_app_data(ssl, context);
	if (SSL_CTX_set_min_proto_version(ssl, context->min_version) == 1 &&
	    SSL_CTX_set_max_proto_version(ssl, context->max_version) == 1 &&
	    (!context->ciphers || SSL_CTX_set_cipher_list(ssl, context->ciphers) == 1) &&
	    (!context->suites || SSL_CTX_set_ciphersuites(ssl, context->suites) == 1) &&
	    load_files(context, ssl, problem))
		return ssl;
	SSL_CTX_free(ssl);
	return NULL;
}

void tls_context_refresh(struct tls_context *context)
{
	char problem[SERVER_PROBLEM_BYTES];
	bool has_changed = file_has_changed(&context->cert);
	SSL_CTX *ssl;

	/* All three are looked at, since the look is remembered. */
	has_changed |= file_has_changed(&context->key);
	has_changed |= file_has_changed(&context->ca);
	if (file_has_changed(&context->crl)) {
		tls_free_revocations(context->revocations);
		context->revocations = tls_load_revocations(context->crl.path);
		if (!context->revocations)
			log_warn("cannot read the revocation list, refusing all clients",
				 LOG_STRING("crl-file", context->crl.path));
	}
	if (!has_changed)
		return;
	ssl = make_ssl(context, problem);
	if (!ssl) {
		log_warn("keeping the former certificate", LOG_STRING("error", problem));
		return;
	}
	log_info("reloaded TLS files", LOG_STRING("cert-file", context->cert.path),
		 LOG_STRING("key-file", context->key.path));
	SSL_CTX_free(context->ssl); /* sessions under way hold their own reference */
	context->ssl = ssl;
}

/* --- configuration ---------------------------------------------------------------------------- */

static enum err parse_version(const char *text, int without, int *ret_version, char *problem)
{
	if (!text)
		*ret_version = without;
	else if (!strcmp(text, "TLS1.2"))
		*ret_version = TLS1_2_VERSION;
	else if (!strcmp(text, "TLS1.3"))
		*ret_version = TLS1_3_VERSION;
	else {
		snprintf(problem, SERVER_PROBLEM_BYTES,
			 "unexpected TLS version \"%.50s\" (must be one of: TLS1.2, TLS1.3)", text);
		return ERR_BAD_MEMBER_URLS;
	}
	return ERR_OK;
}

static enum err set_versions(const struct tls_config *config, struct tls_context *context,
			     char *problem)
{
	enum err e =
		parse_version(config->min_version, TLS1_2_VERSION, &context->min_version, problem);

	if (!e)
		e = parse_version(config->max_version, 0, &context->max_version, problem);
	if (e)
		return e;
	if (context->max_version && context->max_version < context->min_version) {
		snprintf(problem, SERVER_PROBLEM_BYTES,
			 "the lowest TLS version (--tls-min-version) is above the highest "
			 "(--tls-max-version)");
		return ERR_BAD_MEMBER_URLS;
	}
	if (!config->cipher_suites)
		return ERR_OK;
	if (context->min_version == TLS1_3_VERSION) {
		snprintf(
			problem, SERVER_PROBLEM_BYTES,
			"cipher suites cannot be configured when only TLS1.3 is enabled; leave out "
			"--cipher-suites or lower --tls-min-version");
		return ERR_BAD_MEMBER_URLS;
	}
	return tls_map_ciphers(config->cipher_suites, context, problem);
}

static enum err set_hostnames(const char *names, struct tls_context *context, char *problem)
{
	char *rest;
	char *name;

	if (!names)
		return ERR_OK;
	context->hostnames = strdup(names);
	if (!context->hostnames)
		return fault(ERR_NOMEM, "no memory for host names");
	rest = context->hostnames;
	while ((name = strsep(&rest, ", "))) {
		if (!name[0])
			continue;
		if (context->hostname_count == TLS_HOSTNAMES_MAX) {
			snprintf(problem, SERVER_PROBLEM_BYTES,
				 "--client-cert-allowed-hostname takes %d names at most",
				 TLS_HOSTNAMES_MAX);
			return ERR_BAD_MEMBER_URLS;
		}
		context->hostname[context->hostname_count++] = name;
	}
	if (!context->is_client_cert_needed)
		log_warn("--client-cert-allowed-hostname has no effect without --client-cert-auth "
			 "or "
			 "--trusted-ca-file");
	return ERR_OK;
}

static bool copy_path(struct tls_file *file, const char *path)
{
	if (!path)
		return true;
	file->path = strdup(path);
	return file->path;
}

static enum err set_paths(const struct tls_config *config, struct tls_context *context,
			  char *problem)
{
	bool is_auto = !config->cert_file && config->auto_tls;
	char cert[PATH_MAX];
	char key[PATH_MAX];

	snprintf(cert, sizeof(cert), "%s/cert.pem",
		 config->auto_tls_dir ? config->auto_tls_dir : "");
	snprintf(key, sizeof(key), "%s/key.pem", config->auto_tls_dir ? config->auto_tls_dir : "");
	if (!is_auto && (!config->cert_file || !config->key_file)) {
		snprintf(
			problem, SERVER_PROBLEM_BYTES,
			"--cert-file and --key-file must both be given [key: %.150s, cert: %.150s]",
			config->key_file ? config->key_file : "",
			config->cert_file ? config->cert_file : "");
		return ERR_BAD_MEMBER_URLS;
	}
	if (copy_path(&context->cert, is_auto ? cert : config->cert_file) &&
	    copy_path(&context->key, is_auto ? key : config->key_file) &&
	    copy_path(&context->ca, config->trusted_ca_file) &&
	    copy_path(&context->crl, config->crl_file))
		return ERR_OK;
	return fault(ERR_NOMEM, "no memory for TLS paths");
}

static enum err load_first(struct tls_context *context, char *problem)
{
	file_has_changed(&context->cert);
	file_has_changed(&context->key);
	file_has_changed(&context->ca);
	file_has_changed(&context->crl);
	context->ssl = make_ssl(context, problem);
	if (!context->ssl)
		return ERR_BAD_MEMBER_URLS;
	if (!context->crl.path)
		return ERR_OK;
	context->revocations = tls_load_revocations(context->crl.path);
	if (context->revocations)
		return ERR_OK;
	snprintf(problem, SERVER_PROBLEM_BYTES,
		 "cannot read the revocation list (--client-crl-file) %.300s: it must be a CRL in "
		 "PEM or DER form",
		 context->crl.path);
	return ERR_BAD_MEMBER_URLS;
}

enum err tls_context_new(const struct tls_config *config, const char *const *certificate_hosts,
			 struct tls_context **ret_context, char problem[SERVER_PROBLEM_BYTES])
{
	struct tls_context *context = calloc(1, sizeof(*context));
	enum err e;

	if (!context)
		return fault(ERR_NOMEM, "no memory for a TLS context");
	context->is_client_cert_needed = config->client_cert_auth || config->trusted_ca_file;
	e = tls_bio_method_new(&context->bio_method);
	if (!e)
		e = set_paths(config, context, problem);
	if (!e)
		e = set_versions(config, context, problem);
	if (!e)
		e = set_hostnames(config->allowed_hostnames, context, problem);
	if (!e && !config->cert_file && config->auto_tls)
		e = tls_make_certificate(config, certificate_hosts, problem);
	if (!e)
		e = load_first(context, problem);
	if (e) {
		tls_context_free(context);
		return e;
	}
	*ret_context = context;
	return ERR_OK;
}

void tls_context_free(struct tls_context *context)
{
	if (!context)
		return;
	SSL_CTX_free(context->ssl);
	tls_free_revocations(context->revocations);
	BIO_meth_free(context->bio_method);
	free(context->cert.path);
	free(context->key.path);
	free(context->ca.path);
	free(context->crl.path);
	free(context->ciphers);
	free(context->suites);
	free(context->hostnames);
	free(context);
}
