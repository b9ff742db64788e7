// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
)

// lease is what is known of one lease. It may expire by itself once safeUntil has passed: the ttl after
// the last moment before which it was certainly renewed.
type lease struct {
	id, ttl   int64
	granted   bool // the grant was acknowledged, or the lease has been seen since
	revoking  bool // somebody asked for its end and may have got it
	gone      bool // its end was acknowledged or seen
	safeUntil time.Time
}

// ledger is all that is known of one data folder, over all rounds.
type ledger struct {
	m        *model
	nextID   atomic.Int64
	observed atomic.Int64 // the highest revision that any answer or event named

	mu         sync.Mutex // while clients run
	leases     map[int64]*lease
	compacted  int64 // acknowledged or seen
	compactMax int64 // asked for
	asked      map[int64]bool

	problems []string
}

func newLedger() *ledger {
	l := &ledger{m: newModel(), leases: map[int64]*lease{}, asked: map[int64]bool{}}
	l.observed.Store(1)
	return l
}

func (l *ledger) problem(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problems = append(l.problems, fmt.Sprintf(format, args...))
}

func (l *ledger) observe(rev int64) {
	for {
		old := l.observed.Load()
		if rev <= old || l.observed.CompareAndSwap(old, rev) {
			return
		}
	}
}

// replay puts the revisions into the model one by one, and finds for each the op that made it.
type replay struct {
	l       *ledger
	byID    map[int64]*op
	certain map[int64]*op // acknowledged to have made this revision
	maybe   []*op         // deletes and revokes of which that is not known
	orphans []orphan      // revisions of deletes alone that no acknowledged op explains
	now     time.Time     // nothing of the history was made later
}

// orphan is such a revision, and who may have made it.
type orphan struct {
	r     revision
	may   []*op
	lease *lease // it may have expired
}

func newReplay(l *ledger, ops []*op, now time.Time) *replay {
	p := &replay{l: l, byID: map[int64]*op{}, certain: map[int64]*op{}, now: now}
	for _, o := range ops {
		p.byID[o.id] = o
		switch {
		case o.outcome == acked && o.changes():
			if other := p.certain[o.head]; other != nil {
				l.problem("revision %d was given to two: %v and %v", o.head, other, o)
			}
			p.certain[o.head] = o
		case o.kind == opRevoke && o.outcome != refused, o.kind == opDelete && o.outcome == unknown:
			p.maybe = append(p.maybe, o)
		}
	}
	return p
}

func (p *replay) run(history []revision) {
	for _, r := range history {
		if r.rev != p.l.m.head+1 {
			p.l.problem("revision %d is missing from the history, which goes on with %d", p.l.m.head+1, r.rev)
			return
		}
		if want := p.explain(r); want != nil {
			if !sameEvents(r.events, want, true, p.l.compactMax) {
				p.l.problem("revision %d is not what its op makes of the state before:\n  found%s\n  wants%s",
					r.rev, showEvents(r.events), showEvents(want))
			}
			r.events = want
		}
		p.l.m.add(r)
		if len(p.l.problems) > 20 {
			return
		}
	}
	p.settle()
}

// explain names the events that revision r must hold, or nil where nobody can be named.
func (p *replay) explain(r revision) []*mvccpb.Event {
	var o *op
	for _, e := range r.events {
		if e.Type == mvccpb.Event_PUT {
			id := writerOf(e.Kv.Value)
			if o = p.byID[id]; o == nil {
				p.l.problem("revision %d holds a put that no client of this round sent:%s", r.rev, showEvents(r.events))
				return nil
			}
			break
		}
	}
	if sure := p.certain[r.rev]; sure != nil {
		if o != nil && o != sure {
			p.l.problem("revision %d was acknowledged to %v, but holds%s", r.rev, sure, showEvents(r.events))
			return nil
		}
		o = sure
	}
	if o == nil {
		return p.orphan(r)
	}
	if o.placed != 0 {
		p.l.problem("%v is there twice, as revisions %d and %d", o, o.placed, r.rev)
		return nil
	}
	if o.outcome == refused || o.outcome == acked && o.head != r.rev {
		p.l.problem("revision %d is the work of %v", r.rev, o)
	}
	if r.rev <= o.floor {
		p.l.problem("revision %d was made by %v, which was sent when %d had been seen", r.rev, o, o.floor)
	}
	o.placed = r.rev
	if o.outcome == acked {
		p.checkAnswer(o)
	}
	return o.effects(p.l.m)
}

// checkAnswer compares the rest of a writer's answer with the state before its revision.
func (p *replay) checkAnswer(o *op) {
	m := p.l.m
	if o.kind == opTxn && o.succeeded != o.holds(m, m.head) {
		p.l.problem("%v was told succeeded=%v, which its conditions did not say", o, o.succeeded)
	}
	if o.kind == opPut && !sameKV(o.prev, m.at(o.then[0].key, m.head)) {
		p.l.problem("%v was told prev_kv %s, which was %s", o, showKV(o.prev), showKV(m.at(o.then[0].key, m.head)))
	}
	if o.kind == opDelete && !sameKVs(o.kvs, m.live(o.then[0].key, o.then[0].end, m.head)) {
		p.l.problem("%v was told prev_kvs%s, which were%s", o, showKVs(o.kvs),
			showKVs(m.live(o.then[0].key, o.then[0].end, m.head)))
	}
}

// orphan gathers who may have made a revision of deletes alone.
func (p *replay) orphan(r revision) []*mvccpb.Event {
	m := p.l.m
	w := orphan{r: r}
	var want []*mvccpb.Event
	for _, o := range p.maybe {
		if o.outcome == acked && o.head != r.rev || r.rev <= o.floor {
			continue
		}
		if e := o.effects(m); sameEvents(r.events, e, true, p.l.compactMax) {
			w.may, want = append(w.may, o), e
		}
	}
	if prev := m.at(string(r.events[0].Kv.Key), m.head); prev != nil && prev.Lease != 0 {
		lease := p.l.leases[prev.Lease]
		e := deletions(m, m.attached(prev.Lease, m.head))
		if lease != nil && !lease.gone && sameEvents(r.events, e, true, p.l.compactMax) && lease.safeUntil.Before(p.now) {
			w.lease, want = lease, e
		}
	}
	p.orphans = append(p.orphans, w)
	return want
}

// settle gives each orphan an op of its own (an augmenting path each), or else the end of a lease.
func (p *replay) settle() {
	owner := map[*op]int{}
	var place func(i int, tried map[*op]bool) bool
	place = func(i int, tried map[*op]bool) bool {
		for _, o := range p.orphans[i].may {
			if tried[o] {
				continue
			}
			tried[o] = true
			if j, taken := owner[o]; !taken || place(j, tried) {
				owner[o] = i
				return true
			}
		}
		return false
	}
	for i, w := range p.orphans {
		if place(i, map[*op]bool{}) {
			continue
		}
		if w.lease != nil {
			w.lease.gone = true
			continue
		}
		p.l.problem("revision %d has no author:%s", w.r.rev, showEvents(w.r.events))
	}
	for o, i := range owner {
		o.placed = p.orphans[i].r.rev
		if o.kind == opRevoke {
			p.l.leases[o.lease].gone = true
		}
	}
}

// check looks at every op of the round once its history is known.
func (p *replay) check(ops []*op) {
	m := p.l.m
	for _, o := range ops {
		if o.outcome != acked {
			if o.outcome == refused {
				p.checkRefusal(o)
			}
			continue
		}
		if o.head > m.head {
			p.l.problem("%v, but the head is %d", o, m.head)
			continue
		}
		if o.head < o.floor {
			p.l.problem("%v, but it was sent when %d had been seen", o, o.floor)
		}
		switch {
		case o.placed != 0:
		case o.changes():
			p.l.problem("lost: %v", o)
		default:
			p.checkIdle(o)
		}
	}
}

// checkIdle: an answer that changed nothing speaks about the state at its header's revision.
func (p *replay) checkIdle(o *op) {
	m := p.l.m
	switch o.kind {
	case opDelete:
		if kvs := m.live(o.then[0].key, o.then[0].end, o.head); len(kvs) > 0 {
			p.l.problem("%v found nothing to delete, but there was%s", o, showKVs(kvs))
		}
	case opTxn:
		if o.succeeded != o.holds(m, o.head) {
			p.l.problem("%v was told succeeded=%v, which its conditions did not say", o, o.succeeded)
		}
	case opRevoke:
		if keys := m.attached(o.lease, o.head); len(keys) > 0 {
			p.l.problem("%v, but %q were attached at that revision", o, keys)
		}
	case opRange:
		rev := o.rev
		if rev == 0 {
			rev = o.head
		}
		if want := m.live(o.key, o.end, rev); !sameKVs(o.kvs, want) {
			p.l.problem("%v returned%s, which was%s", o, showKVs(o.kvs), showKVs(want))
		}
	}
}

// checkRefusal: nobody is told "compacted" or "no such lease" without a cause.
func (p *replay) checkRefusal(o *op) {
	text := o.err.Error()
	switch text {
	case errCompacted:
		if o.kind == opCompact && o.rev <= p.l.compactMax || o.kind == opRange && o.rev < p.l.compactMax {
			return
		}
	case errLeaseNotFound:
		for _, id := range o.leases() {
			if l := p.l.leases[id]; l == nil || l.gone || l.revoking || l.safeUntil.Before(p.now) {
				return
			}
		}
	case errLeaseExists:
		return
	}
	p.l.problem("%v", o)
}

func (o *op) leases() []int64 {
	ids := []int64{o.lease}
	for _, w := range append(append([]write{}, o.then...), o.els...) {
		ids = append(ids, w.lease)
	}
	out := ids[:0]
	for _, id := range ids {
		if id != 0 {
			out = append(out, id)
		}
	}
	return out
}
