/* SPDX-License-Identifier: Apache-2.0 */
/* log.pml - windows, cursors, vectors, wildcards and barriers between three sites, for one key.
 *
 * docs/models.md tells what stands for what.  A dot is a bit; a write takes the next one, whoever
 * writes, so an incarnation is new by construction (incarnation.pml has the other half).
 *
 * Switches.  Scope: DOTS (writes in all, at most 4), QUEUE (rows that a reader may lag), STAR (site
 * 0 is the hub; else everybody talks to everybody), RESTORE (one backup is taken and put back),
 * OVERSEND (what could be suppressed need not be).
 * Rules: STAR_RULE (the hub alone sets barriers, for what others than the peer wrote), STAR_RULE_ONCE
 * (the same until the hub is restored, then for everything), HUB_RULE (the hub alone, for
 * everything), RESTORED_COMPARES (a restored site trusts no cursor).
 * Mistakes: NO_WILDCARD, LIVE_DOTS, NO_BARRIER, BARRIER_SPARES_HEAD, DISCARD, ALWAYS_RELAY.
 * Property: VANISH checks less, see check(); PROGRESS is for pan's search for endless windows. */

#ifndef DOTS
#define DOTS 3
#endif
#ifndef QUEUE
#define QUEUE 2
#endif

#define SITES 3
#define NONE 15		/* a cursor that is no good: states must be compared */
#define NO_SITE 7	/* no backup yet */
#define ALL_DOTS ((1 << DOTS) - 1)
#define BIT(dot) (1 << (dot))

/* The key: siblings that live, and what was taken in, as sets of dots. */
byte live[SITES];
byte seen[SITES];

/* What every write did, for the check. */
byte dots;		/* given out */
byte past[DOTS];	/* what its site had taken in */
byte deletes;		/* the set of those that delete */
byte owner[DOTS];

/* rows[] of reader * SITES + writer: what the reader has not read of the writer's log.  A row says
 * what it touched, whether it is a wildcard, and what the site was just before it: so that a window
 * can end before any row.  A backup is one reader more: it comes back with its cursors. */
#ifdef RESTORE
#define READERS (SITES + 1)
#define SAVED SITES
#define READS(reader, writer) \
	(reader == SAVED -> saved_site != NO_SITE && saved_site != writer : \
			   reader != writer && LINKED(reader, writer))
#else
#define READERS SITES
#define READS(reader, writer) (reader != writer && LINKED(reader, writer))
#endif
short rows[READERS * SITES * QUEUE];
byte unread[READERS * SITES];
#define CURSOR(reader, writer) ((reader) * SITES + (writer))
#define ROW(touch, wild, had, had_seen) \
	((touch) | ((wild) << 4) | ((had) << 5) | ((had_seen) << 9))
#define TOUCH(row) ((row) & 15)
#define WILD(row) (((row) >> 4) & 1)
#define HAD(row) (((row) >> 5) & 15)
#define HAD_SEEN(row) (((row) >> 9) & 15)

#ifdef RESTORE
byte saved_site = NO_SITE;
bool restored;
bool hub_restored;
byte saved_live, saved_seen;
#endif

#ifdef STAR
#define LINKED(x, y) ((x) == 0 || (y) == 0)
#else
#define LINKED(x, y) 1
#endif

/* Whether a comparison that brought `gain` from site w makes the cursors of r's readers no good. */
#if defined(STAR_RULE)
#define GAINED(dot, w) ((dot) < DOTS && (gain & BIT(dot)) && owner[(dot) % DOTS] != w)
#define BARRIER_DUE(r, w) (r == 0 && (GAINED(0, w) || GAINED(1, w) || GAINED(2, w) || GAINED(3, w)))
#elif defined(STAR_RULE_ONCE)
#define GAINED(dot, w) ((dot) < DOTS && (gain & BIT(dot)) && owner[(dot) % DOTS] != w)
#define BARRIER_DUE(r, w) (r == 0 && ((hub_restored && gain) || \
	GAINED(0, w) || GAINED(1, w) || GAINED(2, w) || GAINED(3, w)))
#elif defined(HUB_RULE)
#define BARRIER_DUE(r, w) (r == 0 && gain)
#else
#define BARRIER_DUE(r, w) gain
#endif

#ifdef BARRIER_SPARES_HEAD
#define BARRED(cursor) (unread[cursor] != 0)
#else
#define BARRED(cursor) 1
#endif

hidden byte i, j, c, gain, other, other_seen, new, touch, wild, changed, unknown, maximal;

#define SHOW(s) printf("        live %d seen %d\n", live[s], seen[s])

/* --- the check -------------------------------------------------------------------------------- */

/* Of what a site has taken in, exactly that lives which nothing else of it has replaced. */
inline maximal_of(set)
{
	maximal = set & ~deletes;
	i = 0;
	do
	:: i < dots ->
		if
		:: set & BIT(i) -> maximal = maximal & ~past[i]
		:: else
		fi;
		i++
	:: else -> break
	od
}

inline check(s)
{
	maximal_of(seen[s]);
#ifdef VANISH
	assert(!(maximal && !live[s] && seen[0] == seen[1] && seen[1] == seen[2]))
#else
	assert(live[s] == maximal)
#endif
}

/* --- the log ---------------------------------------------------------------------------------- */

/* Of reader and writer in c. */
inline no_rows()
{
	j = 0;
	do
	:: j < QUEUE -> rows[c * QUEUE + j] = 0; j++
	:: else -> break
	od
}

/* A reader that lags more than QUEUE rows finds the log pruned. */
inline append_to(row)
{
	if
	:: unread[c] == NONE
	:: unread[c] == QUEUE -> no_rows(); unread[c] = NONE
	:: else -> rows[c * QUEUE + unread[c]] = row; unread[c]++
	fi
}

inline append(s, row)
{
	i = 0;
	do
	:: i < READERS ->
		c = CURSOR(i, s);
		if
		:: READS(i, s) -> append_to(row)
		:: else
		fi;
		i++
	:: else -> break
	od
}

/* The first k rows are read. */
inline shift(k)
{
	j = 0;
	do
	:: j < QUEUE ->
		if
		:: j + k < QUEUE -> rows[c * QUEUE + j] = rows[c * QUEUE + j + k]
		:: else -> rows[c * QUEUE + j] = 0
		fi;
		j++
	:: else -> break
	od;
	unread[c] = unread[c] - k
}

/* Also who has read everything must compare: of what it has read it does not know all. */
inline barrier(s)
{
	i = 0;
	do
	:: i < READERS ->
		c = CURSOR(i, s);
		if
		:: READS(i, s) && BARRED(c) -> no_rows(); unread[c] = NONE
		:: else
		fi;
		i++
	:: else -> break
	od
}

/* --- merging ---------------------------------------------------------------------------------- */

inline merge(s)
{
	new = (live[s] & other) | (live[s] & ~other_seen) | (other & ~seen[s]);
#ifdef DISCARD
	/* The hub's write wins, then the newest. */
	i = 0;
	do
	:: i < dots && (new & (new - 1)) ->
		if
		:: (new & BIT(i)) && owner[i] == 0 -> new = BIT(i)
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0;
	do
	:: i < dots && (new & (new - 1)) -> new = new & ~BIT(i); i++
	:: else -> break
	od;
#endif
	changed = (new != live[s])
}

inline write(s, is_delete)
{
	append(s, ROW(BIT(dots), 0, live[s], seen[s]));
	past[dots] = seen[s];
	owner[dots] = s;
	if
	:: is_delete -> live[s] = 0; deletes = deletes | BIT(dots)
	:: else -> live[s] = BIT(dots)
	fi;
	seen[s] = seen[s] | BIT(dots);
	dots++;
	printf("site %d: dot %d, a delete %d\n", s, dots - 1, is_delete);
	SHOW(s);
	check(s)
}

/* What the writer was where a window of k rows ends. */
inline at_cut(w, k)
{
	if
	:: k < unread[c] ->
		other = HAD(rows[c * QUEUE + k]);
		other_seen = HAD_SEEN(rows[c * QUEUE + k])
	:: else -> other = live[w]; other_seen = seen[w]
	fi
}

inline gather(k)
{
	touch = 0;
	wild = 0;
	j = 0;
	do
	:: j < k ->
		touch = touch | TOUCH(rows[c * QUEUE + j]);
		wild = wild | WILD(rows[c * QUEUE + j]);
		j++
	:: else -> break
	od
}

inline take_entry(r)
{
	merge(r);
	unknown = touch & ~seen[r];
#ifdef ALWAYS_RELAY
	if
	:: changed || unknown || wild ->
		wild = wild || (changed && !unknown);
#else
	if
	:: changed || unknown || (wild && gain) ->
#ifdef NO_WILDCARD
		wild = 0;
#else
#ifdef LIVE_DOTS
		wild = 0;
		unknown = new;
#else
		wild = (wild && (changed || gain)) || (changed && !unknown);
#endif
#endif
#endif
		append(r, ROW(unknown, wild, live[r], seen[r]));
		live[r] = new
	:: else
	fi
}

/* A window of k rows of w's log.  With may_skip, nothing of the key is in it if the reader is
 * known to have all that touched it. */
inline pull(r, w, k, may_skip)
{
	c = CURSOR(r, w);
	at_cut(w, k);
	gather(k);
	gain = other_seen & ~seen[r];
	shift(k);
	if
	:: k == 0
	:: k > 0 && may_skip && !wild && !(touch & ~seen[r])
	:: else -> take_entry(r)
	fi;
	seen[r] = seen[r] | other_seen;
	printf("site %d: window of %d rows from %d: touch %d wild %d\n", r, k, w, touch, wild);
	SHOW(r);
	check(r)
}

/* States are compared, and the vector taken over.  The cursor is kept where it is good, or moves to
 * where the other's log ends. */
inline compare(r, w, keeps_cursor)
{
	c = CURSOR(r, w);
	other = live[w];
	other_seen = seen[w];
	gain = other_seen & ~seen[r];
	if
	:: keeps_cursor
	:: else -> no_rows(); unread[c] = 0
	fi;
	merge(r);
	if
	:: changed ->
#ifdef LIVE_DOTS
		append(r, ROW(new, 0, live[r], seen[r]));
#else
#ifdef NO_WILDCARD
		append(r, ROW(0, 0, live[r], seen[r]));
#else
		append(r, ROW(0, 1, live[r], seen[r]));
#endif
#endif
		live[r] = new
	:: else
	fi;
	seen[r] = seen[r] | other_seen;
#ifndef NO_BARRIER
	if
	:: BARRIER_DUE(r, w) -> barrier(r)
	:: else
	fi;
#endif
	printf("site %d: compared with %d, keeps its cursor %d\n", r, w, keeps_cursor);
	SHOW(r);
	check(r)
}

/* --- a backup is put back --------------------------------------------------------------------- */

#ifdef RESTORE
/* Rows and count of one cursor to another, and none where they were. */
inline copy_cursor(from, to)
{
	unread[to] = unread[from];
	j = 0;
	do
	:: j < QUEUE -> rows[(to) * QUEUE + j] = rows[(from) * QUEUE + j]; j++
	:: else -> break
	od
}

inline save(s)
{
	saved_site = s;
	saved_live = live[s];
	i = 0;
	do
	:: i < SITES -> copy_cursor(CURSOR(s, i), CURSOR(SAVED, i)); i++
	:: else -> break
	od;
	saved_seen = seen[s];
	printf("site %d: backup\n", s)
}

/* The others' cursors are of the incarnation before. */
inline restore(s)
{
	live[s] = saved_live;
	seen[s] = saved_seen;
	i = 0;
	do
	:: i < SITES ->
		copy_cursor(CURSOR(SAVED, i), CURSOR(s, i));
		c = CURSOR(SAVED, i);
		no_rows();
		unread[c] = 0;
#ifdef RESTORED_COMPARES
		c = CURSOR(s, i);
		if
		:: READS(s, i) -> no_rows(); unread[c] = NONE
		:: else
		fi;
#endif
		c = CURSOR(i, s);
		if
		:: READS(i, s) -> no_rows(); unread[c] = NONE
		:: else
		fi;
		i++
	:: else -> break
	od;
	saved_live = 0;
	saved_seen = 0;
	saved_site = NO_SITE;
	restored = true;
	hub_restored = (s == 0);
	printf("site %d: restored\n", s);
	SHOW(s);
	check(s)
}
#endif

/* --- what may happen -------------------------------------------------------------------------- */

/* Everything but windows: those alone must come to an end. */
#ifdef PROGRESS
#define MARK(label) ; label: skip
#else
#define MARK(label)
#endif

#define NEWS(r, w) (seen[w] & ~seen[r])
/* Sites that are alike are not told apart: the first write is the hub's or the first one's. */
#ifdef STAR
#define MAY_WRITE(s) (dots < DOTS && (dots || (s) < 2))
#else
#define MAY_WRITE(s) (dots < DOTS && (dots || (s) == 0))
#endif
#define WRITE(s) \
	:: d_step { MAY_WRITE(s) -> write(s, false) } MARK(progress_put_##s) \
	:: d_step { MAY_WRITE(s) && live[s] -> write(s, true) } MARK(progress_delete_##s)

/* Windows without a row are looked at where they tell something. */
#define CUT_NEWS(r, w) \
	((unread[CURSOR(r, w)] == 0 && NEWS(r, w)) || \
	 (unread[CURSOR(r, w)] > 0 && (HAD_SEEN(rows[CURSOR(r, w) * QUEUE]) & ~seen[r])))
#define HAS(r, w, k) (unread[CURSOR(r, w)] != NONE && unread[CURSOR(r, w)] >= k)
#ifdef OVERSEND
#define PULL(r, w, k) \
	:: d_step { HAS(r, w, k) -> pull(r, w, k, true) } \
	:: d_step { HAS(r, w, k) -> pull(r, w, k, false) }
#else
#define PULL(r, w, k) \
	:: d_step { HAS(r, w, k) -> pull(r, w, k, true) }
#endif
#define COMPARE(r, w) \
	:: d_step { NEWS(r, w) || live[r] != live[w] || unread[CURSOR(r, w)] == NONE -> \
		compare(r, w, false) } MARK(progress_compare_##r##w) \
	:: d_step { unread[CURSOR(r, w)] != NONE && (NEWS(r, w) || live[r] != live[w]) -> \
		compare(r, w, true) } MARK(progress_keep_##r##w)
#if QUEUE == 3
#define PULL_ALL(r, w) PULL(r, w, 1) PULL(r, w, 2) PULL(r, w, 3)
#else
#define PULL_ALL(r, w) PULL(r, w, 1) PULL(r, w, 2)
#endif
#define PAIR(r, w) \
	:: d_step { unread[CURSOR(r, w)] != NONE && CUT_NEWS(r, w) -> pull(r, w, 0, true) } \
	PULL_ALL(r, w) COMPARE(r, w)

#define SAVE(s) \
	:: d_step { saved_site == NO_SITE && !restored && dots -> save(s) } MARK(progress_save_##s) \
	:: d_step { saved_site == s -> restore(s) } MARK(progress_restore_##s)

init {
end:	do
	WRITE(0) WRITE(1) WRITE(2)
	PAIR(0, 1) PAIR(1, 0) PAIR(0, 2) PAIR(2, 0)
#ifndef STAR
	PAIR(1, 2) PAIR(2, 1)
#endif
#ifdef RESTORE
	SAVE(0) SAVE(1) SAVE(2)
#endif
	od
}
