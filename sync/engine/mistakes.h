/* SPDX-License-Identifier: Apache-2.0 */
/* mistakes.h - designs that were tried and are wrong, kept as switches, so that the simulator can
 * be seen finding each (docs/sync.md tells why each is wrong).  The daemon sets none.
 *
 * A release build knows none of them: mistake() is false unless SYNC_MISTAKES is defined. */
#ifndef SYNC_ENGINE_MISTAKES_H
#define SYNC_ENGINE_MISTAKES_H

#define MISTAKE_TABLE(X)                                                                           \
	X(DISCARD, "discard", "siblings that a rule does not choose are dropped")                  \
	X(NO_WILDCARD, "no-wildcard", "rows of a session are suppressed like others")              \
	X(NO_BARRIER, "no-barrier", "a session that learned dots without keys sets no barrier")    \
	X(NO_BUMP, "no-bump", "a restored or copied site keeps its incarnation")                   \
	X(LIVE_DOTS, "live-dots", "what a row touched is taken for the dots that live in it")      \
	X(NOT_DURABLE, "not-durable", "windows are cut before the disk has them")                  \
	X(NO_SESSION_CONTEXT, "no-session-context",                                                \
	  "what a session took over is forgotten until the session ends")                          \
	X(CUT_INSIDE, "cut-inside", "windows are cut between the rows of one merge")

enum mistake_number {
#define MISTAKE_NUMBER(name, word, text) MISTAKE_NUMBER_##name,
	MISTAKE_TABLE(MISTAKE_NUMBER)
#undef MISTAKE_NUMBER
		MISTAKES
};

enum mistake {
#define MISTAKE_BIT(name, word, text) MISTAKE_##name = 1 << MISTAKE_NUMBER_##name,
	MISTAKE_TABLE(MISTAKE_BIT)
#undef MISTAKE_BIT
};

#ifdef SYNC_MISTAKES
#define mistake(config, bit) ((config)->mistakes & (bit))
#else
#define mistake(config, bit) ((void)(config), 0)
#endif

#endif
