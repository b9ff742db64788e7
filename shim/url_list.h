/* SPDX-License-Identifier: Apache-2.0 */
/* url_list.h - a comma list of URLs as a NULL-terminated array of trimmed strings.
 *
 * Ownership: url_list_init() .. url_list_fini(). */
#ifndef SHIM_URL_LIST_H
#define SHIM_URL_LIST_H

#include <stdbool.h>
#include <stddef.h>

#define URL_LIST_MAX 64 /* listen URLs of one kind; a typing error beyond that */

struct url_list {
	char *text; /* what urls point into */
	const char *urls[URL_LIST_MAX + 1];
	size_t count;
};

/* false when memory is out or there are more than URL_LIST_MAX. */
bool url_list_init(struct url_list *list, const char *comma_list);
void url_list_fini(struct url_list *list);

#endif
