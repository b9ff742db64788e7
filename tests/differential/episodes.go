// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"sort"

	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// This file makes episodes: several steps that lead to one situation.

// read makes a request that changes nothing and has one right answer at any moment.
func (g *generator) read() *op {
	switch x := g.n(20); {
	case x < 12:
		return unary(g.rangeRequest())
	case x < 16:
		return g.streamRequest()
	case x < 17:
		return unary(&pb.LeaseTimeToLiveRequest{ID: g.leaseID(), Keys: g.one(2)})
	case x < 18:
		q := g.txn(2)
		if onlyReads(q) {
			return unary(q)
		}
		return unary(g.rangeRequest())
	case x < 19 && len(g.r.pages) > 0:
		return unary(pick(g, g.r.pages))
	}
	return unary(pick(g, []proto.Message{&pb.MemberListRequest{Linearizable: true}, &pb.AlarmRequest{},
		&pb.DowngradeRequest{}, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, CountOnly: true}}))
}

func onlyReads(q *pb.TxnRequest) bool {
	only := true
	eachOp(q, func(o *pb.RequestOp) {
		only = only && o.GetRequestPut() == nil && o.GetRequestDeleteRange() == nil
	})
	return only
}

// many sends reads side by side on all connections.
func (g *generator) many() {
	o := &op{Kind: opMany}
	for range 2 + g.n(30) {
		m := g.read()
		m.Conn = g.n(connections)
		o.Many = append(o.Many, m)
	}
	g.push(o)
}

// page continues a list that a limit cut short; whatever happened since, the revision is pinned.
func (g *generator) page() {
	if len(g.r.pages) == 0 {
		g.unary(&pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Limit: int64(g.n(20)) + 1})
		return
	}
	q := proto.Clone(pick(g, g.r.pages)).(*pb.RangeRequest)
	if g.one(4) {
		q.Limit *= 2
	}
	if g.one(8) {
		q.Revision = g.revision()
	}
	if g.one(4) && q.SortOrder == 0 && q.MinModRevision == 0 && q.MaxModRevision == 0 && q.MinCreateRevision == 0 && q.MaxCreateRevision == 0 {
		g.push(&op{Kind: opStream, Method: "/etcdserverpb.KV/RangeStream", Req: marshal(q)})
		return
	}
	g.unary(q)
	if g.one(12) && q.Revision > 0 {
		// The same page when its revision is the compacted one, and when it is gone.
		g.unary(&pb.CompactionRequest{Revision: min(q.Revision+int64(g.n(2)), g.r.rev), Physical: g.one(2)})
		g.unary(q)
	}
}

// resume closes a watch stream and opens another that goes on behind the last events, as a client does
// that lost its connection; or somewhat before, and on another connection.
func (g *generator) resume() {
	id, ok := g.anyStream()
	if !ok {
		return
	}
	p := g.r.streams[id]
	if p.half || p.paused {
		return
	}
	ids := make([]int64, 0, len(p.watchers))
	for w := range p.watchers {
		ids = append(ids, w)
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	g.push(&op{Kind: opWatchClose, Stream: id})
	next := g.nextID
	g.nextID++
	g.push(&op{Kind: opWatchOpen, Stream: next, Conn: g.n(connections)})
	for _, w := range ids {
		was := p.watchers[w]
		q := proto.Clone(was.req).(*pb.WatchCreateRequest)
		q.StartRevision = max(was.start, p.lastRev(w)+1)
		if g.one(3) {
			q.StartRevision -= int64(g.n(30))
		}
		if q.StartRevision > g.r.rev || q.StartRevision < 0 {
			q.StartRevision = 0 // see create: one that waits would keep the others from being asked
		}
		if g.one(2) {
			q.WatchId = w
		}
		g.push(&op{Kind: opWatchSend, Stream: next, Req: marshal(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: q}})})
	}
	g.push(&op{Kind: opDrain})
}

// crowd opens a stream with many watchers that start all over the history.
func (g *generator) crowd() {
	if len(g.r.streams) >= 5 {
		return
	}
	id := g.nextID
	g.nextID++
	g.push(&op{Kind: opWatchOpen, Stream: id, Conn: g.n(connections)})
	for range 10 + g.n(60) {
		q := &pb.WatchCreateRequest{PrevKv: g.one(2), Fragment: g.one(3)}
		q.Key, q.RangeEnd = g.span()
		if g.one(4) {
			q.Key, q.RangeEnd = []byte{0}, []byte{0}
		}
		if g.n(4) > 0 {
			q.StartRevision = g.r.rev - g.rng.Int63n(max(g.r.rev-g.r.compact, 1)) + int64(g.n(2))
			q.StartRevision = min(q.StartRevision, g.r.rev)
		}
		if g.one(5) {
			q.Filters = []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_FilterType(g.n(2))}
		}
		g.push(&op{Kind: opWatchSend, Stream: id, Req: marshal(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: q}})})
		if g.one(4) {
			g.unary(g.putRequest())
		}
	}
	g.push(&op{Kind: opDrain})
	if g.one(2) {
		g.push(&op{Kind: opWatchClose, Stream: id})
	}
}

// heavy makes history of several megabytes and watches it from its start, with and without fragments.
func (g *generator) heavy() {
	if g.large < 3 || len(g.r.streams) >= 5 {
		return
	}
	g.large -= 3
	start := g.r.rev + 1
	size := pick(g, []int{200000, 700000, 1400000})
	for i := range 2 + g.n(5) {
		q := &pb.PutRequest{Key: []byte(fmt.Sprintf("heavy/%d", i%3)), Value: make([]byte, size+g.n(3))}
		g.unary(q)
	}
	keys := 2 + g.n(60)
	q := new(pb.TxnRequest)
	for i := range keys {
		q.Success = append(q.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{
			RequestPut: &pb.PutRequest{Key: []byte(fmt.Sprintf("heavy/t%d", i)), Value: make([]byte, 1400000/keys)}}})
	}
	g.unary(q)
	id := g.nextID
	g.nextID++
	g.push(&op{Kind: opWatchOpen, Stream: id})
	for range 1 + g.n(3) {
		c := &pb.WatchCreateRequest{Key: []byte("heavy/"), RangeEnd: []byte("heavy0"), StartRevision: start, Fragment: g.n(4) > 0, PrevKv: g.one(2)}
		g.push(&op{Kind: opWatchSend, Stream: id, Req: marshal(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: c}})})
	}
	g.push(&op{Kind: opDrain})
	g.push(&op{Kind: opStream, Method: "/etcdserverpb.KV/RangeStream", Req: marshal(&pb.RangeRequest{Key: []byte("heavy/"), RangeEnd: []byte("heavy0"), Limit: int64(g.n(4))})})
	g.unary(&pb.DeleteRangeRequest{Key: []byte("heavy/"), RangeEnd: []byte("heavy0"), PrevKv: g.one(2)})
	g.push(&op{Kind: opDrain}, &op{Kind: opWatchClose, Stream: id})
}

// sized asks for a write whose size is at the limit, or one byte off. What pads it is a field that etcd does
// not know, and keeps.
func (g *generator) sized() {
	o := unary(pick(g, []proto.Message{
		&pb.PutRequest{Key: []byte("sized"), Value: g.value()}, &pb.LeaseGrantRequest{ID: 78, TTL: 5000}, &pb.LeaseRevokeRequest{ID: 78},
		&pb.DeleteRangeRequest{Key: []byte("sized")}, &pb.CompactionRequest{Revision: g.r.compact},
		&pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("sized")}}}}},
		&pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("sized")}}}}},
		&pb.AlarmRequest{}, &pb.RangeRequest{Key: []byte("sized")}}))
	o.Pad = padBias + g.n(5) - 2
	g.push(o)
}

// quota starts the servers with a quota that is full whatever they hold, and again without.
func (g *generator) quota() {
	if !g.restarts || g.alarms > 0 || g.r.compactions > 0 && g.r.compact == 0 {
		return
	}
	g.push(&op{Kind: opRestart, Signal: "TERM", Flags: append(append([]string(nil), g.flags...), "--quota-backend-bytes=1")})
	for range 6 + g.n(20) {
		switch g.n(8) {
		case 0, 1:
			g.unary(g.putRequest())
		case 2, 3:
			g.transaction()
		case 4:
			g.unary(g.deleteRequest())
		case 5:
			g.unary(&pb.LeaseGrantRequest{ID: int64(g.n(100)) + 100, TTL: 5000})
		case 6:
			g.unary(pick(g, []proto.Message{&pb.AlarmRequest{}, &pb.StatusRequest{}, &pb.LeaseRevokeRequest{ID: g.leaseID()}, g.rangeRequest()}))
		case 7:
			g.unary(&pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: pb.AlarmType(g.n(3)), MemberID: pick(g, []uint64{0, selfID})})
		}
	}
	g.push(&op{Kind: opRestart, Signal: "TERM", Flags: g.flags})
	g.unary(&pb.AlarmRequest{})
	g.unary(g.putRequest())
	g.unary(&pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: pb.AlarmType_NOSPACE, MemberID: selfID})
	g.unary(g.putRequest())
}

// broken starts a call and gives it up.
func (g *generator) broken() {
	o := g.read()
	switch g.n(4) {
	case 0:
		o = &op{Method: watchMethod, Req: marshal(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
			CreateRequest: &pb.WatchCreateRequest{Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: g.r.compact + 1}}})}
	case 1:
		o = &op{Method: "/etcdserverpb.KV/RangeStream", Req: marshal(&pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})}
	}
	o.Kind = pick(g, []string{opCancel, opDeadline})
	o.Conn = g.n(connections)
	o.Micros = 1 + g.n(5000)
	o.Answers = g.n(3)
	if o.Kind == opCancel && o.Method == watchMethod && o.Answers > 1 {
		o.Answers = 1 // a second one may never come
	}
	if o.Kind == opCancel && o.Method != watchMethod && o.Answers > 0 && o.Method != "/etcdserverpb.KV/RangeStream" {
		o.Answers = 0
	}
	g.push(o)
}
