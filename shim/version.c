/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/version.h"

#include "shim/base/version.h"

#include "build_id.h"

#include <nghttp2/nghttp2.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <uv.h>

const char *version_build(void)
{
	return KEDGE_BUILD;
}

static void print_platform(const char *label)
{
	struct utsname name;

	if (!uname(&name))
		printf("%s: linux/%s\n", label, name.machine);
}

void version_print(bool as_etcd)
{
	if (as_etcd) {
		printf("etcd Version: %s\nGit SHA: %s\nGo Version: none (kedge %s)\n",
		       ETCD_API_VERSION, KEDGE_BUILD, KEDGE_VERSION);
		print_platform("Go OS/Arch");
		return;
	}
	printf("kedge Version: %s\nGit SHA: %s\netcd API: %s\nSQLite: %s\nOpenSSL: %s\n"
	       "nghttp2: %s\nlibuv: %s\n",
	       KEDGE_VERSION, KEDGE_BUILD, ETCD_API_VERSION, sqlite3_libversion(),
	       OpenSSL_version(OPENSSL_VERSION_STRING), nghttp2_version(0)->version_str,
	       uv_version_string());
	print_platform("OS/Arch");
}
