/* SPDX-License-Identifier: Apache-2.0 */
/* certs.h - certificates made on the spot for the tests of TLS. */
#ifndef TESTS_UNIT_NET_CERTS_H
#define TESTS_UNIT_NET_CERTS_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct identity {
	EVP_PKEY *key;
	X509 *certificate;
};

static inline void identity_extend(X509 *certificate, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(extension);
	assert_true(X509_add_ext(certificate, extension, -1));
	X509_EXTENSION_free(extension);
}

/* Signed by issuer, or by itself where that is NULL, which makes a CA. */
static inline struct identity identity_new(const char *name, const char *alternative_names,
					   long serial, const struct identity *issuer)
{
	struct identity identity = {EVP_EC_gen("P-256"), X509_new()};
	X509 *certificate = identity.certificate;
	X509_NAME *subject = X509_get_subject_name(certificate);

	assert_non_null(identity.key);
	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, identity.key);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const uint8_t *)name, -1, -1, 0);
	X509_set_issuer_name(certificate,
			     issuer ? X509_get_subject_name(issuer->certificate) : subject);
	identity_extend(certificate, NID_basic_constraints,
			issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
	if (alternative_names)
		identity_extend(certificate, NID_subject_alt_name, alternative_names);
	assert_true(X509_sign(certificate, issuer ? issuer->key : identity.key, EVP_sha256()) > 0);
	return identity;
}

static inline void identity_free(struct identity *identity)
{
	X509_free(identity->certificate);
	EVP_PKEY_free(identity->key);
}

static inline void identity_write(const struct identity *identity, const char *cert_path,
				  const char *key_path)
{
	FILE *file = fopen(cert_path, "w");

	assert_non_null(file);
	assert_true(PEM_write_X509(file, identity->certificate));
	fclose(file);
	if (!key_path)
		return;
	file = fopen(key_path, "w");
	assert_non_null(file);
	assert_true(PEM_write_PrivateKey(file, identity->key, NULL, NULL, 0, NULL, NULL));
	fclose(file);
}

/* A revocation list with one serial number (negative: none). */
static inline void revocations_write(const struct identity *issuer, long serial, const char *path)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->certificate));
	X509_CRL_set1_lastUpdate(crl, now);
	X509_CRL_set1_nextUpdate(crl, now);
	if (serial >= 0) {
		X509_REVOKED *entry = X509_REVOKED_new();
		ASN1_INTEGER *number = ASN1_INTEGER_new();

		ASN1_INTEGER_set(number, serial);
		X509_REVOKED_set_serialNumber(entry, number);
		X509_REVOKED_set_revocationDate(entry, now);
		assert_true(X509_CRL_add0_revoked(crl, entry));
		ASN1_INTEGER_free(number);
	}
	X509_CRL_sort(crl);
	assert_true(X509_CRL_sign(crl, issuer->key, EVP_sha256()) > 0);
	assert_true(PEM_write_X509_CRL(file, crl));
	fclose(file);
	ASN1_TIME_free(now);
	X509_CRL_free(crl);
}

#endif
