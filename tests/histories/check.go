// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

func (s *span) String() string {
	return fmt.Sprintf("watcher %d.%d.%d of [%q, %q) from %d (first %d) filters %v prev_kv %v", s.stream, s.number, s.id, s.req.Key, s.req.RangeEnd,
		s.req.StartRevision, s.first, s.req.Filters, s.req.PrevKv)
}

// checker holds what the checks of one record need.
type checker struct {
	*record
	m      *model
	head   int64
	kube   bool // prev_kv may not be missing
	counts map[string]int
}

// check replays the history and compares everything with it. events are all events there ever were, as a
// watch from revision 2 told them at the end.
func (c *checker) check(events map[int64][]*mvccpb.Event) {
	if !c.rebuild(events) {
		return // nothing can be compared with half a history
	}
	c.answers()
	c.realTime()
	c.compactions()
	for _, s := range c.spans {
		c.watcher(s)
	}
}

// rebuild finds for each revision the one request that made it, and replays it.
func (c *checker) rebuild(events map[int64][]*mvccpb.Event) bool {
	owners := make(map[int64]*call)
	for _, k := range c.calls {
		if k.code != codes.OK || k.unknown || !wrote(k.resp) {
			continue
		}
		if other := owners[k.rev]; other != nil {
			c.fault("revision %d was given to two requests:\n    %v\n    %v", k.rev, other, k)
		}
		owners[k.rev] = k
		c.head = max(c.head, k.rev)
	}
	for rev := range events {
		c.head = max(c.head, rev)
	}
	for rev := int64(2); rev <= c.head; rev++ {
		changes, ok := c.ownChanges(owners[rev], rev)
		if !ok {
			changes, ok = c.orphan(rev, events[rev])
		}
		if !ok {
			return false
		}
		if !sameEvents(changes, events[rev]) {
			c.fault("revision %d: the requests made %s, the history says %s", rev, changesText(changes), eventsText(events[rev]))
		}
		c.m.commit(changes)
	}
	return true
}

func (c *checker) ownChanges(k *call, rev int64) ([]change, bool) {
	if k == nil {
		return nil, false
	}
	want, changes := c.m.run(k.req, rev-1)
	c.counts["writes"]++
	if !sameAnswer(want, k.resp) {
		c.fault("an answer does not fit the state before revision %d:\n    %v\n    expected {%v}", rev, k, want)
	}
	k.owned = true
	return changes, true
}

// orphan explains a revision for which nobody got an answer: a request that was given up, the end of a lease.
func (c *checker) orphan(rev int64, told []*mvccpb.Event) ([]change, bool) {
	if len(told) == 0 {
		c.fault("revision %d is not in the history, and no answer names it", rev)
		return nil, false
	}
	for _, k := range c.calls {
		_, isRevoke := k.req.(*pb.LeaseRevokeRequest)
		if k.owned || !k.unknown && !(isRevoke && k.code == codes.OK && k.rev == rev) {
			continue
		}
		if _, changes := c.m.run(k.req, rev-1); len(changes) > 0 && sameEvents(changes, told) {
			k.owned, k.rev = true, rev
			c.counts["writes without an answer"]++
			return changes, true
		}
	}
	for id, end := range c.leases {
		_, changes := c.m.run(&pb.LeaseRevokeRequest{ID: id}, rev-1)
		if len(changes) > 0 && sameEvents(changes, told) {
			if at := c.firstSight(rev); at.Before(end) {
				c.fault("lease %d ended %v before its time, in revision %d", id, end.Sub(at), rev)
			}
			c.counts["leases that ended"]++
			return changes, true
		}
	}
	c.fault("nobody can have written revision %d: %s", rev, eventsText(told))
	return nil, false
}

// firstSight is when a watcher was first told of a revision.
func (c *checker) firstSight(rev int64) time.Time {
	first := int64(math.MaxInt64)
	for _, s := range c.shown {
		if s.rev >= rev {
			first = min(first, s.at)
		}
	}
	if first == math.MaxInt64 {
		return time.Now()
	}
	return c.start.Add(time.Duration(first))
}

// sameAnswer compares all but the ids in the header.
func sameAnswer(want, got proto.Message) bool {
	g := proto.Clone(got)
	if h := g.(headed).GetHeader(); h != nil {
		h.ClusterId, h.MemberId, h.RaftTerm = 0, 0, 0
	}
	return proto.Equal(want, g)
}

func eventOf(ch change, rev int64) (kind mvccpb.Event_EventType, kv *mvccpb.KeyValue) {
	if ch.kv != nil {
		return mvccpb.Event_PUT, ch.kv
	}
	return mvccpb.Event_DELETE, &mvccpb.KeyValue{Key: []byte(ch.key), ModRevision: rev}
}

func sameEvents(changes []change, told []*mvccpb.Event) bool {
	if len(changes) != len(told) {
		return false
	}
	for i, ch := range changes {
		kind, kv := eventOf(ch, told[i].Kv.GetModRevision())
		if kind != told[i].Type || !proto.Equal(kv, told[i].Kv) {
			return false
		}
	}
	return true
}

func changesText(all []change) string {
	var parts []string
	for _, ch := range all {
		parts = append(parts, fmt.Sprintf("%q: {%v}", ch.key, ch.kv))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func eventsText(all []*mvccpb.Event) string {
	var parts []string
	for _, e := range all {
		parts = append(parts, fmt.Sprintf("%.300s", fmt.Sprint(e)))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// answers compares every answer that changed nothing with the state at the revision it names.
func (c *checker) answers() {
	for _, k := range c.calls {
		if k.code != codes.OK || k.unknown || k.owned {
			continue
		}
		switch k.req.(type) {
		case *pb.RangeRequest, *pb.TxnRequest, *pb.DeleteRangeRequest, *pb.LeaseRevokeRequest:
		case *pb.PutRequest:
			c.fault("an acknowledged put is not in the history: %v", k)
			continue
		default:
			continue
		}
		if k.rev < 1 || k.rev > c.head {
			c.fault("an answer names revision %d, which there never was: %v", k.rev, k)
			continue
		}
		c.counts["reads"]++
		want, changes := c.m.run(k.req, k.rev)
		if len(changes) > 0 {
			c.fault("a request that must have changed the state at revision %d says it did not: %v", k.rev, k)
		} else if !sameAnswer(want, k.resp) {
			c.fault("an answer does not fit the state at revision %d:\n    %v\n    expected {%v}", k.rev, k, want)
		}
	}
}

// realTime checks that nobody was told less than was known to anybody before they asked. With answers that
// fit the state at the revision they name, this is what makes the history linearizable.
func (c *checker) realTime() {
	known := append([]sight(nil), c.shown...)
	var all []*call
	for _, k := range c.calls {
		if k.rev == 0 {
			continue
		}
		all = append(all, k)
		if !k.unknown && k.code == codes.OK {
			known = append(known, sight{k.came, k.rev})
		}
	}
	sort.Slice(known, func(i, j int) bool { return known[i].at < known[j].at })
	sort.Slice(all, func(i, j int) bool { return all[i].sent < all[j].sent })
	i, top := 0, int64(0)
	for _, k := range all {
		for i < len(known) && known[i].at < k.sent {
			top = max(top, known[i].rev)
			i++
		}
		if k.rev < top || k.owned && k.rev == top {
			c.fault("a request sent after revision %d was known got revision %d: %v", top, k.rev, k)
		}
	}
	for _, s := range c.shown {
		if s.rev > c.head {
			c.fault("a watch stream was told of revision %d, which there never was (the last is %d)", s.rev, c.head)
		}
	}
}

// compactions checks that reads of the past succeed or are refused as the compactions say.
func (c *checker) compactions() {
	type compaction struct{ rev, sent, came int64 }
	var all []compaction
	for _, k := range c.calls {
		if q, ok := k.req.(*pb.CompactionRequest); ok {
			switch {
			case k.unknown:
				all = append(all, compaction{q.Revision, k.sent, math.MaxInt64})
			case k.code == codes.OK:
				all = append(all, compaction{q.Revision, k.sent, k.came})
			}
		}
	}
	for _, k := range c.calls {
		q, ok := k.req.(*pb.RangeRequest)
		if !ok || q.Revision <= 0 || k.unknown {
			continue
		}
		must, may := false, false
		for _, x := range all {
			must = must || x.rev > q.Revision && x.came < k.sent
			may = may || x.rev > q.Revision && x.sent < k.came
		}
		refused := k.code == codes.OutOfRange && k.text == "etcdserver: mvcc: required revision has been compacted"
		if refused && !may || !refused && must {
			c.fault("a read of the past does not fit the compactions (must be refused: %v, may be: %v): %v", must, may, k)
		}
	}
	for _, s := range c.spans {
		if s.compactedAt == 0 {
			continue
		}
		fits := false
		for _, x := range all {
			fits = fits || x.rev == s.compactRev && x.sent < s.compactedAt
		}
		if !fits || s.next >= s.compactRev {
			c.fault("%v: ended by a compaction at %d although it had got to %d", s, s.compactRev, s.next)
		}
	}
}

// watcher compares what a watcher was told with its part of the history.
func (c *checker) watcher(s *span) {
	if !s.created || s.refused {
		return
	}
	c.counts["watchers"]++
	rev := s.first           // the next revision to look at
	var open []*mvccpb.Event // what is missing of the fragments under way
	for _, a := range s.arrivals {
		if len(a.events) == 0 {
			c.counts["progress answers"]++
			if missed := c.due(s, rev, a.revision); len(missed) > 0 {
				c.fault("%v: progress at %d before %s", s, a.revision, eventsText(missed))
				return
			}
			rev = max(rev, a.revision+1)
			continue
		}
		c.counts["events"] += len(a.events)
		for i := 0; i < len(a.events); {
			if len(open) == 0 {
				for len(open) == 0 && rev <= c.head {
					open = c.due(s, rev, rev)
					rev++
				}
			}
			if len(open) == 0 {
				c.fault("%v: told of what never was: %s", s, eventsText(a.events[i:]))
				return
			}
			if why := c.sameEvent(s, open[0], a.events[i], a.at); why != "" {
				c.fault("%v: %s\n    expected %v\n    told     %v\n    in a response of header revision %d", s, why, open[0], a.events[i], a.revision)
				return
			}
			open = open[1:]
			i++
		}
		if len(open) > 0 && !a.fragment {
			c.fault("%v: the events of revision %d are not in one response: %s follow", s, rev-1, eventsText(open))
			return
		}
		if a.revision < rev-1 {
			c.fault("%v: header revision %d in a response about revision %d", s, a.revision, rev-1)
		}
	}
	if missed := c.due(s, rev, c.head); s.whole && len(missed) > 0 {
		c.fault("%v: never told of %s", s, eventsText(missed))
	}
}

// due lists the events of a watcher between two revisions, both included.
func (c *checker) due(s *span, from, to int64) []*mvccpb.Event {
	var all []*mvccpb.Event
	for rev := max(from, 2); rev <= min(to, c.head); rev++ {
		for _, ch := range c.m.changes[rev] {
			if !inRange(ch.key, string(s.req.Key), string(s.req.RangeEnd)) {
				continue
			}
			kind, kv := eventOf(ch, rev)
			e := &mvccpb.Event{Type: kind, Kv: kv}
			filtered := false
			for _, f := range s.req.Filters {
				filtered = filtered || (f == pb.WatchCreateRequest_NOPUT) == (kind == mvccpb.Event_PUT)
			}
			if filtered {
				continue
			}
			if s.req.PrevKv && ch.prev != nil {
				e.PrevKv = ch.prev
			}
			all = append(all, e)
		}
	}
	return all
}

// sameEvent says what is wrong with an event, if anything.
func (c *checker) sameEvent(s *span, want, got *mvccpb.Event, at int64) string {
	if proto.Equal(want, got) {
		return ""
	}
	if got.Kv.GetModRevision() != want.Kv.ModRevision {
		return fmt.Sprintf("event of revision %d where one of %d is due", got.Kv.GetModRevision(), want.Kv.ModRevision)
	}
	if want.Type != got.Type || !proto.Equal(want.Kv, got.Kv) {
		return "another event"
	}
	if got.PrevKv == nil && (!c.kube || got.Kv.ModRevision <= s.createdRev) {
		// What was compacted before a watcher came to read it is gone. etcd looks values up when it sends an
		// event, so there it can also be gone for an event of after the watcher's creation.
		for _, k := range c.calls {
			if q, ok := k.req.(*pb.CompactionRequest); ok && (k.unknown || k.code == codes.OK) && q.Revision >= got.Kv.ModRevision && k.sent < at {
				return ""
			}
		}
	}
	return "wrong prev_kv"
}
