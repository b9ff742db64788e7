/* SPDX-License-Identifier: Apache-2.0 */
/* group.h - keys that travel together: each group has a cursor and a revision vector of its own, so
 * that what is urgent does not wait for what is not, and "the vector has the dot" stays true. */
#ifndef SYNC_GROUP_H
#define SYNC_GROUP_H

enum group {
	GROUP_CORE,
	GROUP_EVENTS, /* Kubernetes' events: many, small, and nobody misses one */
	GROUPS
};

#endif
