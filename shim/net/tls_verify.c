/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/tls_internal.h"

#include <openssl/err.h>
#include <openssl/pem.h>

/* --- revocation list -------------------------------------------------------------------------- */

void tls_free_revocations(STACK_OF(X509_CRL) * revocations)
{
	sk_X509_CRL_pop_free(revocations, X509_CRL_free);
}

static bool read_pem(BIO *file, STACK_OF(X509_CRL) * revocations)
{
	X509_CRL *crl;

	while ((crl = PEM_read_bio_X509_CRL(file, NULL, NULL, NULL)))
		if (!sk_X509_CRL_push(revocations, crl)) {
			X509_CRL_free(crl);
			return false;
		}
	/* The end of the file is an error too; what counts is that something was found. */
	return sk_X509_CRL_num(revocations) > 0;
}

static bool read_der(BIO *file, STACK_OF(X509_CRL) * revocations)
{
	X509_CRL *crl;

	if (BIO_reset(file) != 0)
		return false;
	crl = d2i_X509_CRL_bio(file, NULL);
	if (crl && sk_X509_CRL_push(revocations, crl))
		return true;
	X509_CRL_free(crl);
	return false;
}

STACK_OF(X509_CRL) * tls_load_revocations(const char *path)
{
	STACK_OF(X509_CRL) *revocations = sk_X509_CRL_new_null();
	BIO *file = BIO_new_file(path, "rb");
	bool ok =
		revocations && file && (read_pem(file, revocations) || read_der(file, revocations));

	BIO_free(file);
	ERR_clear_error();
	if (ok)
		return revocations;
	tls_free_revocations(revocations);
	return NULL;
}

/* By serial number alone, as etcd compares. */
static bool is_revoked(STACK_OF(X509_CRL) * revocations, X509 *certificate)
{
	ASN1_INTEGER *serial = X509_get_serialNumber(certificate);

	for (int i = 0; i < sk_X509_CRL_num(revocations); i++) {
		X509_REVOKED *entry;

		if (X509_CRL_get0_by_serial(sk_X509_CRL_value(revocations, i), &entry, serial) == 1)
			return true;
	}
	return false;
}

/* --- allowed host names ----------------------------------------------------------------------- */

/* The certificate must be valid for one of them by its alternative names; the common name does not
 * count, as in Go. */
static bool is_hostname_allowed(const struct tls_context *context, X509 *certificate)
{
	const unsigned flags =
		X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;

	for (size_t i = 0; i < context->hostname_count; i++) {
		const char *name = context->hostname[i];

		if (X509_check_ip_asc(certificate, name, 0) == 1 ||
		    X509_check_host(certificate, name, 0, flags, NULL) == 1)
			return true;
	}
	return !context->hostname_count;
}

/* X509_V_OK, or what OpenSSL would say about it. */
static int check_certificate(const struct tls_context *context, X509 *certificate, bool is_leaf)
{
	/* Without its list nobody can tell who is revoked. */
	if (context->crl.path && !context->revocations)
		return X509_V_ERR_UNABLE_TO_GET_CRL;
	if (context->revocations && is_revoked(context->revocations, certificate))
		return X509_V_ERR_CERT_REVOKED;
	if (is_leaf && !is_hostname_allowed(context, certificate))
		return X509_V_ERR_HOSTNAME_MISMATCH;
	return X509_V_OK;
}

int tls_verify_client(int is_ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	X509 *certificate = X509_STORE_CTX_get_current_cert(store);
	int verdict = X509_V_OK;

	if (is_ok)
		verdict = check_certificate(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)), certificate,
					    X509_STORE_CTX_get_error_depth(store) == 0);
	if (is_ok && verdict == X509_V_OK)
		return 1;
	if (verdict != X509_V_OK)
		X509_STORE_CTX_set_error(store, verdict);
	tls_session_refuse(SSL_get_app_data(ssl), X509_STORE_CTX_get0_cert(store));
	return 0;
}
