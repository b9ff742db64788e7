/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_verb.h - `kedge snapshot save | restore | status`. */
#ifndef SHIM_SNAPSHOT_VERB_H
#define SHIM_SNAPSHOT_VERB_H

int snapshot_main(int arg_count, char **args);

#endif
