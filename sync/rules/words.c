/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/rules/internal.h"

const char *const rules_profile_words[] = {"twin", "shared"};
const char *const rules_flow_words[] = {"never", "up", "down", "both"};
const char *const rules_existence_words[] = {"delete-wins", "update-wins"};
const char *const rules_group_words[] = {"core", "events"};
const char *const rules_home_words[] = {"namespace", "node", "pod"};
const char *const rules_winner_words[] = {"lww", "cloud", "home", "owner", "creator", "site"};

bool word_find(const char *const *words, size_t count, struct bytes text, int *ret_number)
{
	for (size_t i = 0; i < count; i++)
		if (bytes_equal(text, bytes_of_string(words[i]))) {
			*ret_number = (int)i;
			return true;
		}
	return false;
}

enum rules_owner rules_owner_of(struct bytes text, struct bytes *ret_name)
{
	static const char *const words[] = {"cloud", "site", "lww"};
	int number;

	*ret_name = bytes_of(NULL, 0);
	if (!text.size)
		return OWNER_NONE;
	if (word_find(words, 3, text, &number))
		return (enum rules_owner)(OWNER_CLOUD + number);
	*ret_name = text;
	return OWNER_NAMED;
}
