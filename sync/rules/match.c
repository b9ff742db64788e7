/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/rules/internal.h"

bool glob_is_plain(struct bytes glob)
{
	return !glob.size || !memchr(glob.data, '*', glob.size);
}

/* Each star takes as little as it can; when the rest does not fit, the last one takes one more. */
bool glob_match(struct bytes glob, struct bytes text)
{
	size_t at = 0, in = 0, star = SIZE_MAX, taken = 0;

	while (in < text.size) {
		if (at < glob.size && glob.data[at] == '*') {
			star = at++;
			taken = in;
		} else if (at < glob.size && glob.data[at] == text.data[in]) {
			at++;
			in++;
		} else if (star != SIZE_MAX) {
			at = star + 1;
			in = ++taken;
		} else {
			return false;
		}
	}
	while (at < glob.size && glob.data[at] == '*')
		at++;
	return at == glob.size;
}

static size_t plain_bytes(struct bytes glob)
{
	size_t count = 0;

	for (size_t i = 0; i < glob.size; i++)
		count += glob.data[i] != '*';
	return count;
}

int glob_order(struct bytes a, struct bytes b)
{
	bool plain[2] = {glob_is_plain(a), glob_is_plain(b)};
	size_t sizes[2] = {plain_bytes(a), plain_bytes(b)};

	if (plain[0] != plain[1])
		return plain[0] ? -1 : 1;
	if (!plain[0] && sizes[0] != sizes[1])
		return sizes[0] > sizes[1] ? -1 : 1;
	return bytes_compare(a, b);
}

size_t components_of(struct bytes path, struct bytes ret_components[RULE_COMPONENTS_MAX])
{
	size_t count = 0, start = 0;

	for (size_t i = 0; i < path.size && count < RULE_COMPONENTS_MAX - 1; i++)
		if (path.data[i] == '/') {
			ret_components[count++] = bytes_of(path.data + start, i - start);
			start = i + 1;
		}
	if (path.size)
		ret_components[count++] = bytes_of(path.data + start, path.size - start);
	return count;
}

int rule_order(const struct rule *a, const struct rule *b)
{
	int order = 0;

	if (a->component_count != b->component_count)
		return a->component_count > b->component_count ? -1 : 1;
	for (size_t i = 0; !order && i < a->component_count; i++)
		order = glob_order(a->components[i], b->components[i]);
	return order;
}

bool rule_matches(const struct rule *rule, const struct bytes *components, size_t count)
{
	if (rule->component_count > count)
		return false;
	for (size_t i = 0; i < rule->component_count; i++)
		if (!glob_match(rule->components[i], components[i]))
			return false;
	return true;
}

static bool component_covers(struct bytes a, struct bytes b)
{
	if (glob_is_plain(b))
		return glob_match(a, b);
	return bytes_equal(a, b) || bytes_equal(a, BYTES_LITERAL("*"));
}

static bool component_overlaps(struct bytes a, struct bytes b)
{
	if (glob_is_plain(a))
		return glob_match(b, a);
	return !glob_is_plain(b) || glob_match(a, b);
}

bool rule_covers(const struct rule *a, const struct rule *b)
{
	if (a->component_count > b->component_count)
		return false;
	for (size_t i = 0; i < a->component_count; i++)
		if (!component_covers(a->components[i], b->components[i]))
			return false;
	return true;
}

bool rule_overlaps(const struct rule *a, const struct rule *b)
{
	for (size_t i = 0; i < a->component_count && i < b->component_count; i++)
		if (!component_overlaps(a->components[i], b->components[i]))
			return false;
	return true;
}
