/* SPDX-License-Identifier: Apache-2.0 */
/* incarnation.pml - which names of writes a site gives out when it is restored, copied, or loses
 * what it had not synced: witness, hello, new incarnations.
 *
 * docs/models.md tells what stands for what.  A write is a number that no other write has; its dot
 * is (incarnation, revision).  The site may run on two machines at once; its peers are 1 or 2.
 *
 * Switches.  Scope: PEERS, REVISIONS, WRITES, INCARNATIONS; CRASH (what is not synced is lost),
 * RESTORE_FILES (the database alone is put back), RESTORE_MACHINE (witness and all), CLONE_DISK,
 * CLONE_MACHINE (the same for a second machine, which then runs beside the first).
 * Mistakes: NO_BUMP, NO_WITNESS, NO_MEMORY, NO_NONCE, NOT_DURABLE, COUNTED, CLONE_KEEPS_ROWS. */

#ifndef PEERS
#define PEERS 2
#endif
#ifndef REVISIONS
#define REVISIONS 6
#endif
#ifndef WRITES
#define WRITES 3
#endif
#ifndef INCARNATIONS
#define INCARNATIONS 3
#endif
#define LEASE 2 /* revisions that the witness reserves */

#define MACHINES 2
#define SAVED 2 /* the backup is a third machine that never runs */
#define NO_ID 0

/* A machine's database ... */
byte row[(MACHINES + 1) * (REVISIONS + 1)]; /* write and incarnation, by revision */
byte head[MACHINES + 1];
byte durable[MACHINES];
byte inc[MACHINES + 1];
/* ... its small file beside it, and what tells disks apart ... */
byte wit_inc[MACHINES + 1], wit_from[MACHINES + 1], wit_end[MACHINES + 1];
byte wit_disk[MACHINES + 1], disk[MACHINES + 1];
/* ... and its process. */
bool there[MACHINES + 1], up[MACHINES];
bool linked[MACHINES * PEERS];

/* A peer: the write behind each dot that it has taken in, and its points of the site's log. */
byte known[PEERS * INCARNATIONS * (REVISIONS + 1)];
byte point[PEERS * (REVISIONS + 1)];

byte writes, incarnations, disks;
bool used; /* the one restore or copy */

#define ROW(m, r) row[(m) * (REVISIONS + 1) + (r)]
#define MAKE_ROW(write, i) ((write) | ((i) << 4))
#define WRITE_OF(x) ((x) & 15)
#define INC_OF(x) ((x) >> 4)
#define KNOWN(p, i, r) known[((p) * INCARNATIONS + (i)) * (REVISIONS + 1) + (r)]
#define POINT(p, r) point[(p) * (REVISIONS + 1) + (r)]
#define LINK(m, p) linked[(m) * PEERS + (p)]
#define OTHER(m) (1 - (m))

hidden byte r, q, w, k, common, seen, limit, next, lost, matched;

/* --- the site --------------------------------------------------------------------------------- */

inline unlink(m)
{
	q = 0;
	do
	:: q < PEERS -> LINK(m, q) = false; q++
	:: else -> break
	od
}

inline reserve(m, revision)
{
	wit_inc[m] = inc[m];
	wit_from[m] = revision;
	wit_end[m] = revision + LEASE;
	wit_disk[m] = disk[m]
}

/* From `common` on all that this incarnation wrote is another's, under the same revisions; new
 * revisions begin above all that anybody saw. */
inline heal(m)
{
	unlink(m);
#ifdef COUNTED
	next = inc[m] + 1;
#else
	next = incarnations;
#endif
	if
	:: seen < head[m] -> seen = head[m]
	:: else
	fi;
	if
	:: next >= INCARNATIONS || seen >= REVISIONS -> up[m] = false; there[m] = false
	:: else ->
		r = common + 1;
		do
		:: r <= head[m] ->
			if
			:: ROW(m, r) && INC_OF(ROW(m, r)) == inc[m] ->
				ROW(m, r) = MAKE_ROW(WRITE_OF(ROW(m, r)), next)
			:: else
			fi;
			r++
		:: else -> break
		od;
		if
		:: next >= incarnations -> incarnations = next + 1
		:: else
		fi;
		inc[m] = next;
		head[m] = seen + 1;
		durable[m] = head[m];
		reserve(m, head[m]);
		up[m] = true
	fi;
	printf("machine %d: incarnation %d above %d, on from %d\n", m, inc[m], common, head[m])
}

#define SUSPICIOUS(m) (wit_inc[m] != inc[m] || wit_disk[m] != disk[m] || head[m] < wit_from[m])

inline start(m)
{
#if defined(NO_BUMP) || defined(NO_WITNESS)
	up[m] = true;
#else
	if
	:: SUSPICIOUS(m) -> common = head[m]; seen = wit_end[m]; heal(m)
	:: else -> up[m] = true
	fi;
#endif
	printf("machine %d: starts\n", m)
}

inline write(m)
{
	head[m]++;
	if
	:: head[m] > wit_end[m] -> reserve(m, head[m])
	:: else
	fi;
	writes++;
	ROW(m, head[m]) = MAKE_ROW(writes, inc[m]);
	printf("machine %d: write %d is (%d, %d)\n", m, writes, inc[m], head[m])
}

inline crash(m)
{
	up[m] = false;
	unlink(m);
	r = durable[m] + 1;
	do
	:: r <= head[m] -> ROW(m, r) = 0; r++
	:: else -> break
	od;
	head[m] = durable[m];
	printf("machine %d: crash, head %d\n", m, head[m])
}

/* --- hello ------------------------------------------------------------------------------------ */

/* Where the peer's memory of the log and the log part, newest point first. */
inline compare_points(m, p)
{
	common = 0;
	lost = false;
	matched = false;
	r = REVISIONS;
	do
	:: r > 0 && !matched ->
		if
		:: POINT(p, r) && r <= head[m] && WRITE_OF(ROW(m, r)) == POINT(p, r) ->
			common = r;
			matched = true
		:: POINT(p, r) && !(r <= head[m] && WRITE_OF(ROW(m, r)) == POINT(p, r)) ->
			lost = true
		:: else
		fi;
		r--
	:: else -> break
	od;
	seen = 0;
	r = 1;
	do
	:: r <= REVISIONS ->
		if
		:: POINT(p, r) || KNOWN(p, inc[m], r) -> seen = r
		:: else
		fi;
		r++
	:: else -> break
	od;
	lost = lost || seen > head[m]
}

inline hello(m, p)
{
	compare_points(m, p);
#ifndef NO_NONCE
	if
	:: LINK(OTHER(m), p) ->
		lost = true;
#ifdef CLONE_KEEPS_ROWS
		common = head[m];
#endif
	:: else
	fi;
#endif
#ifdef NO_MEMORY
	lost = LINK(OTHER(m), p);
#endif
#ifdef NO_BUMP
	lost = false;
#endif
	if
	:: lost -> printf("machine %d: peer %d knows better\n", m, p); heal(m)
	:: else -> LINK(m, p) = true; printf("machine %d: linked to %d\n", m, p)
	fi
}

/* --- the check: one dot, one write ------------------------------------------------------------ */

inline take(p, i, revision, number)
{
	q = 0;
	do
	:: q < PEERS ->
		k = KNOWN(q, i, revision);
		assert(k == NO_ID || k == number);
		q++
	:: else -> break
	od;
	KNOWN(p, i, revision) = number
}

inline ship(m, p)
{
#ifdef NOT_DURABLE
	limit = head[m];
#else
	limit = durable[m];
#endif
	r = 1;
	do
	:: r <= limit ->
		w = ROW(m, r);
		if
		:: w -> take(p, INC_OF(w), r, WRITE_OF(w)); POINT(p, r) = WRITE_OF(w)
		:: else
		fi;
		r++
	:: else -> break
	od;
	printf("machine %d: up to %d to peer %d\n", m, limit, p)
}

/* --- backups and copies ----------------------------------------------------------------------- */

inline copy(from, to, with_witness)
{
	r = 0;
	do
	:: r <= REVISIONS -> ROW(to, r) = ROW(from, r); r++
	:: else -> break
	od;
	head[to] = head[from];
	inc[to] = inc[from];
	if
	:: with_witness ->
		wit_inc[to] = wit_inc[from];
		wit_from[to] = wit_from[from];
		wit_end[to] = wit_end[from];
		wit_disk[to] = wit_disk[from];
		disk[to] = disk[from]
	:: else
	fi
}

inline save()
{
	copy(0, SAVED, true);
	r = durable[0] + 1;
	do
	:: r <= REVISIONS -> ROW(SAVED, r) = 0; r++
	:: else -> break
	od;
	head[SAVED] = durable[0];
	there[SAVED] = true;
	printf("backup at %d\n", head[SAVED])
}

/* Whatever follows, the backup itself is not needed again. */
inline put_back(m, with_witness, new_disk)
{
	up[m] = false;
	unlink(m);
	copy(SAVED, m, with_witness);
	durable[m] = head[m];
	there[m] = true;
	if
	:: new_disk -> disks++; disk[m] = disks
	:: else
	fi;
	there[SAVED] = false;
	used = true;
	printf("machine %d: from the backup, witness too %d, other disk %d\n", m, with_witness,
	       new_disk)
}

/* --- what may happen -------------------------------------------------------------------------- */

#ifdef NOT_DURABLE
#define TELLS(m) head[m]
#else
#define TELLS(m) durable[m]
#endif

#define MACHINE(m) \
	:: d_step { there[m] && !up[m] -> start(m) } \
	:: d_step { up[m] && writes < WRITES && head[m] < REVISIONS -> write(m) } \
	:: d_step { up[m] && durable[m] < head[m] -> durable[m] = head[m] }
#define PAIR(m, p) \
	:: d_step { up[m] && !LINK(m, p) -> hello(m, p) } \
	:: d_step { LINK(m, p) -> LINK(m, p) = false } \
	:: d_step { LINK(m, p) && TELLS(m) -> ship(m, p) }

init {
	d_step {
		there[0] = true;
		incarnations = 1;
		reserve(0, 0)
	}
end:	do
	MACHINE(0)
	PAIR(0, 0)
#if PEERS == 2
	PAIR(0, 1)
#endif
#if defined(CLONE_DISK) || defined(CLONE_MACHINE)
	MACHINE(1)
	PAIR(1, 0)
#if PEERS == 2
	PAIR(1, 1)
#endif
#endif
#ifdef CRASH
	:: d_step { up[0] && durable[0] < head[0] -> crash(0) }
#endif
#if defined(RESTORE_FILES) || defined(RESTORE_MACHINE) || defined(CLONE_DISK) || defined(CLONE_MACHINE)
	:: d_step { up[0] && !there[SAVED] && !used -> save() }
#endif
#ifdef RESTORE_FILES
	:: d_step { there[SAVED] -> put_back(0, false, true) }
#endif
#ifdef RESTORE_MACHINE
	:: d_step { there[SAVED] -> put_back(0, true, false) }
#endif
#ifdef CLONE_DISK
	:: d_step { there[SAVED] -> put_back(1, true, true) }
#endif
#ifdef CLONE_MACHINE
	:: d_step { there[SAVED] -> put_back(1, true, false) }
#endif
	od
}
