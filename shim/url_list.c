/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/url_list.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

bool url_list_init(struct url_list *list, const char *comma_list)
{
	char *rest = NULL;

	*list = (struct url_list){.text = strdup(comma_list)};
	if (!list->text)
		return false;
	for (char *url = strtok_r(list->text, ",", &rest); url; url = strtok_r(NULL, ",", &rest)) {
		char *end;

		while (isspace((unsigned char)*url))
			url++;
		end = url + strlen(url);
		while (end > url && isspace((unsigned char)end[-1]))
			*--end = 0;
		if (!*url)
			continue;
		if (list->count == URL_LIST_MAX)
			return false;
		list->urls[list->count++] = url;
	}
	return true;
}

void url_list_fini(struct url_list *list)
{
	free(list->text);
	*list = (struct url_list){.text = NULL};
}
