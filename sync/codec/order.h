/* SPDX-License-Identifier: Apache-2.0 */
/* order.h - in which order items stand.
 *
 * Nothing is recorded where they stand in the usual order.  Else an ORDER column says how: empty
 * for the order of Go's structs (JSON that Go wrote from types), else the names one by one.
 * What an order does not name comes last, in the usual order.
 * Internal to sync/codec.  Items' `sort` is their name in this order. */
#ifndef SYNC_CODEC_ORDER_H
#define SYNC_CODEC_ORDER_H

#include "sync/codec/format.h"

enum order_kind { ORDER_FIELDS, ORDER_METADATA, ORDER_TOP, ORDER_ENTRIES };

struct order {
	const struct format *format;
	enum order_kind kind;
	bool recorded; /* `names` counts */
	struct bytes names;
};

/* Finds out in which order the items stand.  false: two have one name, or no memory. */
bool order_find(struct work *work, const struct order *how, const struct items *items,
		bool *ret_recorded, struct bytes *ret_names);
/* Brings them into an order.  The first `fixed` keep theirs among themselves; the others stand
 * before the first of these that is behind them. */
bool order_apply(struct work *work, const struct order *how, struct items *items, size_t fixed);

#endif
