/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/causal/dot.h"

bool actor_put(struct buffer *buffer, const struct actor *actor)
{
	return buffer_append(buffer, bytes_of(actor->site.bytes, SITE_BYTES)) &&
	       wire_put_number(buffer, actor->incarnation);
}

bool actor_take(struct wire *wire, struct actor *ret_actor)
{
	struct bytes site;
	uint64_t incarnation;

	if (!wire_take_fixed(wire, SITE_BYTES, &site) ||
	    !wire_take_number(wire, UINT32_MAX, &incarnation))
		return false;
	memcpy(ret_actor->site.bytes, site.data, SITE_BYTES);
	ret_actor->incarnation = (uint32_t)incarnation;
	return true;
}
