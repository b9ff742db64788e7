/* SPDX-License-Identifier: Apache-2.0 */
/* hold.h - what must not be given to a site, because its apiserver could not read it.
 *
 * One object that cannot be decoded or decrypted makes an apiserver fail every list and watch of
 * its resource.  So such objects are held back and reported until the receiver says that it can.
 * Pure; any thread. */
#ifndef SYNC_RULES_HOLD_H
#define SYNC_RULES_HOLD_H

#include "sync/codec/value.h"
#include "sync/message/message.h"

enum hold {
	HOLD_NOT,
	HOLD_VERSION, /* written in an API version that the receiver does not read */
	HOLD_KEY,     /* encrypted with a key that the receiver has not got */
	HOLD_MOVED,   /* encrypted for another etcd key */
};

/* Versions count by the longest of the receiver's prefixes; where none fits, or its list is empty,
 * anything is read.  moved: the receiver stores the object under another etcd key. */
enum hold hold_for(const struct hello *receiver, struct bytes key, bool moved,
		   const struct value_kind *kind);
/* Why, and what mends it. */
const char *hold_text(enum hold hold);

#endif
