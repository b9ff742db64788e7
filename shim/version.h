/* SPDX-License-Identifier: Apache-2.0 */
/* version.h - `kedge version`, and `etcd --version` when the program goes by that name. */
#ifndef SHIM_VERSION_H
#define SHIM_VERSION_H

#include <stdbool.h>

/* The commit this program was built from. */
const char *version_build(void);
/* etcd's four lines, which launchers parse, or kedge's own. */
void version_print(bool as_etcd);

#endif
