/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/tls_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

#define BIO_INDEX 127 /* nobody looks for our kind of BIO, so it needs no number of its own */
#define COMMON_NAME_BYTES 256 /* RFC 5280 allows 64 characters */

struct tls_session {
	SSL *ssl;
	struct bytes input;    /* ciphertext not yet taken */
	struct buffer *output; /* where the call under way appends, else NULL */
	bool is_broken;	       /* nothing more may be written */
	X509 *refused;	       /* the client's certificate, when it did not pass */
	char common_name[COMMON_NAME_BYTES];
	char reason[TLS_REASON_BYTES]; /* of the failure */
};

/* --- OpenSSL's view of our buffers ------------------------------------------------------------ */

static int on_bio_write(BIO *bio, const char *data, int size)
{
	struct tls_session *session = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (size <= 0 || !session->output ||
	    !buffer_append(session->output, bytes_of(data, (size_t)size)))
		return -1;
	return size;
}

static int on_bio_read(BIO *bio, char *data, int size)
{
	struct tls_session *session = BIO_get_data(bio);
	size_t taken = size > 0 ? (size_t)size : 0;

	BIO_clear_retry_flags(bio);
	if (!session->input.size) {
		BIO_set_retry_read(bio);
		return -1;
	}
	taken = taken < session->input.size ? taken : session->input.size;
	memcpy(data, session->input.data, taken);
	session->input = bytes_of(session->input.data + taken, session->input.size - taken);
	return (int)taken;
}

static long on_bio_control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH;
}

enum err tls_bio_method_new(BIO_METHOD **ret_method)
{
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_INDEX, "kedge");

	if (!method || !BIO_meth_set_write(method, on_bio_write) ||
	    !BIO_meth_set_read(method, on_bio_read) || !BIO_meth_set_ctrl(method, on_bio_control)) {
		BIO_meth_free(method);
		return fault(ERR_NOMEM, "no memory for TLS input and output");
	}
	*ret_method = method;
	return ERR_OK;
}

/* --- life ------------------------------------------------------------------------------------- */

enum err tls_session_new(struct tls_context *context, struct tls_session **ret_session)
{
	struct tls_session *session = calloc(1, sizeof(*session));
	BIO *bio = NULL;

	tls_context_refresh(context);
	if (session)
		session->ssl = SSL_new(context->ssl);
	if (session && session->ssl)
		bio = BIO_new(context->bio_method);
	if (!bio) {
		tls_session_free(session);
		ERR_clear_error();
		return fault(ERR_NOMEM, "no memory for a TLS session");
	}
	SSL_set_app_data(session->ssl, session);
	BIO_set_data(bio, session);
	BIO_set_init(bio, 1);
	SSL_set_bio(session->ssl, bio, bio);
	SSL_set_accept_state(session->ssl);
	*ret_session = session;
	return ERR_OK;
}

void tls_session_free(struct tls_session *session)
{
	if (!session)
		return;
	SSL_free(session->ssl);
	X509_free(session->refused);
	free(session);
}

void tls_feed(struct tls_session *session, struct bytes ciphertext)
{
	assert(!session->input.size); /* all of the former was taken */
	session->input = ciphertext;
}

/* --- the handshake ---------------------------------------------------------------------------- */

static void keep_common_name(struct tls_session *session)
{
	X509 *certificate = SSL_get0_peer_certificate(session->ssl);
	int size;

	if (!certificate || SSL_get_verify_result(session->ssl) != X509_V_OK)
		return;
	size = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName,
					 session->common_name, sizeof(session->common_name));
	/* A name that holds a NUL would compare equal to another one: it is none. */
	if (size < 0 || strlen(session->common_name) != (size_t)size)
		session->common_name[0] = 0;
}

/* In Go's words where they are about certificates, because people search for them. */
static void keep_reason(struct tls_session *session)
{
	long verdict = SSL_get_verify_result(session->ssl);

	if (verdict == X509_V_ERR_HOSTNAME_MISMATCH)
		snprintf(session->reason, sizeof(session->reason),
			 "client certificate authentication failed");
	else if (verdict != X509_V_OK)
		snprintf(session->reason, sizeof(session->reason),
			 "tls: failed to verify certificate: %s",
			 X509_verify_cert_error_string(verdict));
	else
		tls_take_error(session->reason, sizeof(session->reason));
	ERR_clear_error();
}

/* After a fatal error OpenSSL must not be asked to write again. */
static enum tls_state failed(struct tls_session *session)
{
	keep_reason(session);
	session->is_broken = true;
	session->input = bytes_of(NULL, 0);
	return TLS_FAILED;
}

enum tls_state tls_handshake(struct tls_session *session, struct buffer *out)
{
	int result;

	ERR_clear_error();
	session->output = out;
	result = SSL_do_handshake(session->ssl);
	session->output = NULL;
	if (result == 1) {
		keep_common_name(session);
		return TLS_READY;
	}
	if (SSL_get_error(session->ssl, result) == SSL_ERROR_WANT_READ)
		return TLS_WANTS_INPUT;
	return failed(session);
}

enum tls_protocol tls_protocol(const struct tls_session *session)
{
	const uint8_t *name = NULL;
	unsigned size = 0;

	SSL_get0_alpn_selected(session->ssl, &name, &size);
	if (bytes_equal(bytes_of(name, size), BYTES_LITERAL("h2")))
		return TLS_PROTOCOL_H2;
	if (bytes_equal(bytes_of(name, size), BYTES_LITERAL("http/1.1")))
		return TLS_PROTOCOL_HTTP1;
	return TLS_PROTOCOL_NONE;
}

const char *tls_common_name(const struct tls_session *session)
{
	return session->common_name[0] ? session->common_name : NULL;
}

static void append_name(char *list, size_t list_bytes, const char *name)
{
	size_t used = strlen(list);

	snprintf(list + used, list_bytes - used, "%s%s", used ? "," : "", name);
}

static void list_names(X509 *certificate, struct tls_failure *failure)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	char text[INET6_ADDRSTRLEN];

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_DNS) {
			append_name(failure->dns_names, sizeof(failure->dns_names),
				    (const char *)ASN1_STRING_get0_data(name->d.dNSName));
		} else if (name->type == GEN_IPADD) {
			int size = ASN1_STRING_length(name->d.iPAddress);

			if ((size == 4 || size == 16) &&
			    inet_ntop(size == 4 ? AF_INET : AF_INET6,
				      ASN1_STRING_get0_data(name->d.iPAddress), text, sizeof(text)))
				append_name(failure->ip_addresses, sizeof(failure->ip_addresses),
					    text);
		}
	}
	GENERAL_NAMES_free(names);
}

/* OpenSSL forgets a certificate that did not pass, but whose it was is what one wants to know. */
void tls_session_refuse(struct tls_session *session, X509 *certificate)
{
	if (session->refused || !certificate || !X509_up_ref(certificate))
		return;
	session->refused = certificate;
}

void tls_failure(const struct tls_session *session, struct tls_failure *ret_failure)
{
	const char *server_name = SSL_get_servername(session->ssl, TLSEXT_NAMETYPE_host_name);
	X509 *certificate = session->refused;

	*ret_failure = (struct tls_failure){0};
	snprintf(ret_failure->reason, sizeof(ret_failure->reason), "%s", session->reason);
	if (server_name)
		snprintf(ret_failure->server_name, sizeof(ret_failure->server_name), "%s",
			 server_name);
	if (certificate)
		list_names(certificate, ret_failure);
}

/* --- data ------------------------------------------------------------------------------------- */

enum tls_state tls_read(struct tls_session *session, void *plaintext, size_t plaintext_bytes,
			size_t *ret_size, struct buffer *out)
{
	int result;

	if (session->is_broken)
		return TLS_FAILED;
	ERR_clear_error();
	session->output = out;
	result = SSL_read_ex(session->ssl, plaintext, plaintext_bytes, ret_size);
	session->output = NULL;
	if (result == 1)
		return TLS_READY;
	switch (SSL_get_error(session->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return TLS_WANTS_INPUT;
	case SSL_ERROR_ZERO_RETURN:
		session->input = bytes_of(NULL, 0);
		return TLS_CLOSED;
	default:
		return failed(session);
	}
}

bool tls_write(struct tls_session *session, struct bytes plaintext, struct buffer *out)
{
	size_t written = 0;
	int result;

	if (!plaintext.size)
		return true;
	if (session->is_broken)
		return false;
	ERR_clear_error();
	session->output = out;
	result = SSL_write_ex(session->ssl, plaintext.data, plaintext.size, &written);
	session->output = NULL;
	if (result == 1 && written == plaintext.size)
		return true;
	failed(session);
	return false;
}

void tls_close(struct tls_session *session, struct buffer *out)
{
	if (session->is_broken || !SSL_is_init_finished(session->ssl))
		return;
	ERR_clear_error();
	session->output = out;
	SSL_shutdown(session->ssl);
	session->output = NULL;
	ERR_clear_error();
}
