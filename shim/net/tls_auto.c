/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/net/tls_internal.h"

#include "shim/base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SERIAL_BYTES 16
#define SECONDS_PER_YEAR (365L * 24 * 3600)
#define SELF_SIGNED_YEARS_MAX 100

static enum err complain(char *problem, const char *what, const char *path)
{
	char reason[256];

	tls_take_error(reason, sizeof(reason));
	snprintf(problem, SERVER_PROBLEM_BYTES, "--auto-tls: cannot %s %.200s: %.200s", what, path,
		 errno ? strerror(errno) : reason);
	return ERR_BAD_MEMBER_URLS;
}

static enum err make_folders(const char *folder, char *problem)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s", folder);
	for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = 0;
		if (mkdir(path, 0700) && errno != EEXIST)
			return complain(problem, "make the folder", path);
		*slash = '/';
	}
	if (mkdir(path, 0700) && errno != EEXIST)
		return complain(problem, "make the folder", path);
	errno = 0;
	return ERR_OK;
}

static bool add_extension(X509 *certificate, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
	bool ok = extension && X509_add_ext(certificate, extension, -1);

	X509_EXTENSION_free(extension);
	return ok;
}

/* "IP:127.0.0.1,DNS:localhost": the hosts of the listening URLs. */
static bool add_hosts(X509 *certificate, const char *const *hosts)
{
	struct buffer names = BUFFER_INIT(64 * 1024);
	uint8_t address[16];
	bool ok = true;

	for (size_t i = 0; ok && hosts[i]; i++) {
		const char *host = hosts[i][0] ? hosts[i] : "localhost";
		bool is_ip = inet_pton(AF_INET, host, address) == 1 ||
			     inet_pton(AF_INET6, host, address) == 1;

		/* A name that could be read as syntax has no place in a certificate. */
		if (strpbrk(host, ",%:") && !is_ip)
			continue;
		ok = buffer_append_format(&names, "%s%s:%s", names.size ? "," : "",
					  is_ip ? "IP" : "DNS", host);
	}
	ok = ok && buffer_append(&names, bytes_of("", 1));
	if (ok && names.size > 1)
		ok = add_extension(certificate, NID_subject_alt_name,
				   (const char *)buffer_bytes(&names).data);
	buffer_fini(&names);
	return ok;
}

static bool set_serial(X509 *certificate)
{
	uint8_t random[SERIAL_BYTES];
	BIGNUM *number;
	bool ok;

	if (RAND_bytes(random, sizeof(random)) != 1)
		return false;
	random[0] &= 0x7f; /* positive */
	number = BN_bin2bn(random, sizeof(random), NULL);
	ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
	BN_free(number);
	return ok;
}

static X509 *make_certificate(EVP_PKEY *key, const char *const *hosts, int years)
{
	X509 *certificate = X509_new();
	X509_NAME *name = certificate ? X509_get_subject_name(certificate) : NULL;
	bool ok = certificate && X509_set_version(certificate, X509_VERSION_3) &&
		  set_serial(certificate) &&
		  X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const uint8_t *)"etcd", -1,
					     -1, 0) &&
		  X509_set_issuer_name(certificate, name) &&
		  X509_gmtime_adj(X509_getm_notBefore(certificate), 0) &&
		  X509_gmtime_adj(X509_getm_notAfter(certificate), years * SECONDS_PER_YEAR) &&
		  X509_set_pubkey(certificate, key) &&
		  add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE") &&
		  add_extension(certificate, NID_key_usage,
				"critical,digitalSignature,keyEncipherment,cRLSign") &&
		  add_extension(certificate, NID_ext_key_usage, "serverAuth,clientAuth") &&
		  add_hosts(certificate, hosts) && X509_sign(certificate, key, EVP_sha256());

	if (ok)
		return certificate;
	X509_free(certificate);
	return NULL;
}

static FILE *create(const char *path, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

	if (!file && fd >= 0)
		close(fd);
	return file;
}

static bool write_files(const char *cert_path, const char *key_path, X509 *certificate,
			EVP_PKEY *key)
{
	FILE *file = create(key_path, 0600);
	bool ok = file && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);

	if (file && fclose(file))
		ok = false;
	file = ok ? create(cert_path, 0644) : NULL;
	ok = file && PEM_write_X509(file, certificate);
	if (file && fclose(file))
		ok = false;
	return ok;
}

enum err tls_make_certificate(const struct tls_config *config, const char *const *hosts,
			      char *problem)
{
	char cert_path[PATH_MAX];
	char key_path[PATH_MAX];
	EVP_PKEY *key = NULL;
	X509 *certificate = NULL;
	enum err e;

	snprintf(cert_path, sizeof(cert_path), "%s/cert.pem", config->auto_tls_dir);
	snprintf(key_path, sizeof(key_path), "%s/key.pem", config->auto_tls_dir);
	if (!access(cert_path, F_OK) && !access(key_path, F_OK))
		return ERR_OK;
	if (config->self_signed_years < 1 || config->self_signed_years > SELF_SIGNED_YEARS_MAX) {
		snprintf(problem, SERVER_PROBLEM_BYTES,
			 "--self-signed-cert-validity must be from 1 to %d years, not %d",
			 SELF_SIGNED_YEARS_MAX, config->self_signed_years);
		return ERR_BAD_MEMBER_URLS;
	}
	e = make_folders(config->auto_tls_dir, problem);
	if (e)
		return e;
	log_warn("automatically generate certificates", LOG_STRING("path", cert_path),
		 LOG_INT("validity-years", config->self_signed_years));
	key = EVP_EC_gen("P-521");
	certificate = key ? make_certificate(key, hosts, config->self_signed_years) : NULL;
	if (!certificate || !write_files(cert_path, key_path, certificate, key))
		e = complain(problem, "write a certificate in", config->auto_tls_dir);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return e;
}
