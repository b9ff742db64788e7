/* SPDX-License-Identifier: Apache-2.0 */
/* check_verb.h - `kedge check` and `kedge repair`. */
#ifndef SHIM_CHECK_VERB_H
#define SHIM_CHECK_VERB_H

int check_main(int arg_count, char **args);
int repair_main(int arg_count, char **args);

#endif
