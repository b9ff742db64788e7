/* SPDX-License-Identifier: Apache-2.0 */
/* watch.h - the Watch call: requests into the hub, the hub's items out as they fit.
 *
 * One call is one hub stream.  The half close of the client changes nothing: it goes on listening.
 * Threads: the call's loop; the writer only wakes it.
 * Errors: a malformed request and a failing read end the call, everything else is an answer on it.
 * Limits: a call that is full takes nothing from the hub; one turn of the loop sends at most
 * WATCH_TURN_ITEMS items and reads at most one slice of history. */
#ifndef SHIM_RPC_WATCH_H
#define SHIM_RPC_WATCH_H

#include "shim/net/call.h"

#define WATCH_TURN_ITEMS 256 /* then others get their turn */

#define WATCH_STATE_BYTES 512 /* of its call; for the method table */

void watch_open(struct call *call);
void watch_message(struct call *call, struct bytes message);
void watch_writable(struct call *call);
void watch_end(struct call *call);

#endif
