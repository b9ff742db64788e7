// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"math"
	"math/rand"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// generator makes random steps. It looks at what the runner learned, so that revisions, leases and
// watch ids are often near something interesting; the steps it makes are concrete and can be replayed.
type generator struct {
	rng      *rand.Rand
	r        *runner
	queue    []*op
	restarts bool
	nextID   int // number of the next watch stream
	alarms   int // steps until a raised alarm is lowered again; 0 when none
	large    int // large requests left in this program
	bulk     int
	raised   pb.AlarmType
	// flags are those that the servers have when they are started again.
	flags []string
}

func newGenerator(seed int64, r *runner, restarts bool, flags []string) *generator {
	return &generator{rng: rand.New(rand.NewSource(seed)), r: r, restarts: restarts, nextID: 1, large: 6, bulk: 2, flags: flags}
}

func (g *generator) n(n int) int           { return g.rng.Intn(n) }
func (g *generator) one(in int) bool       { return g.rng.Intn(in) == 0 }
func pick[T any](g *generator, s []T) T    { return s[g.rng.Intn(len(s))] }
func (g *generator) push(ops ...*op)       { g.queue = append(g.queue, ops...) }
func marshal(m proto.Message) []byte       { b, _ := proto.Marshal(m); return b }
func unary(m proto.Message) *op            { return &op{Kind: opUnary, Method: methodOf(m), Req: marshal(m)} }
func (g *generator) unary(m proto.Message) { g.push(unary(m)) }

// keys are chosen for what byte strings get wrong: NUL, 0xff, prefixes of each other, LIKE's wild
// cards, upper and lower case, bytes that are no UTF-8.
var oddKeys = []string{
	"\x00", "\x00\x00", "\x00a", "\x01", "a", "a\x00", "a\x00\x00", "a\x01", "a\xff", "a\xff\xff", "ab", "aB", "A", "a_", "a%",
	"b", "b/", "b/1", "b/10", "b/2", "b0", "c\xc3\xa9", "c\xc3", "\xc3\x28", "\x7f", "\x80", "\xfe", "\xfe\xff", "\xff",
	"\xff\x00", "\xff\xff", "\xff\xff\xff", "'", "\"; DROP", "/registry/pods/default/x", "/registry/pods/default/y",
	"/registry/pods/default0", "compact_rev_key", strings.Repeat("k", 300), strings.Repeat("\xff", 40),
}

func (g *generator) key() []byte {
	switch x := g.n(100); {
	case x < 2:
		return nil
	case x < 55:
		return []byte(pick(g, oddKeys))
	case x < 90:
		return []byte(fmt.Sprintf("n/%02d", g.n(30)))
	case x < 96:
		return []byte(fmt.Sprintf("m/%d", g.n(400)))
	}
	return append([]byte(pick(g, oddKeys)), byte(g.n(256)))
}

func prefixEnd(key []byte) []byte {
	end := append([]byte(nil), key...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return []byte{0}
}

func (g *generator) span() (key, end []byte) {
	key = g.key()
	switch x := g.n(100); {
	case x < 30:
	case x < 45:
		end = []byte{0}
	case x < 60:
		end = prefixEnd(key)
	case x < 65:
		key, end = []byte{0}, []byte{0}
	case x < 70:
		end = append(append([]byte(nil), key...), 0)
	case x < 74:
		end = key
	case x < 82:
		key, end = []byte("n/"), []byte("n0")
	case x < 86:
		key, end = []byte("m/"), []byte("m0")
	case x < 88:
		end = []byte{0, 0}
	default:
		end = g.key()
		if g.n(4) > 0 && bytes.Compare(key, end) > 0 {
			key, end = end, key
		}
	}
	return key, end
}

func (g *generator) value() []byte {
	switch x := g.n(20); {
	case x < 2:
		return nil
	case x < 10:
		return []byte{byte('0' + g.n(4))}
	case x < 15:
		return []byte(fmt.Sprintf("v%d", g.n(1000)))
	case x < 18:
		b := make([]byte, g.n(64))
		g.rng.Read(b)
		return b
	}
	return bytes.Repeat([]byte{byte(g.n(256))}, g.n(4000))
}

// revision is a revision to read or watch at: mostly none, else around the edges.
func (g *generator) revision() int64 {
	rev, c := g.r.rev, g.r.compact
	switch x := g.n(40); {
	case x < 12:
		return 0
	case x < 26:
		return c + g.rng.Int63n(max(rev-c, 1)) + 1
	case x < 29:
		return rev
	case x < 30:
		return rev + 1
	case x < 31:
		return rev + 100
	case x < 33:
		return c
	case x < 34:
		return c - 1
	case x < 35:
		return c + 1
	case x < 36:
		return 1
	case x < 37:
		return -1
	case x < 38:
		return math.MaxInt64
	case x < 39:
		return math.MinInt64
	}
	return g.rng.Int63n(rev + 1)
}

func (g *generator) bound() int64 {
	if g.n(12) > 0 {
		return 0
	}
	return pick(g, []int64{1, g.r.rev, g.r.rev - 5, g.r.rev / 2, g.r.compact, g.rng.Int63n(g.r.rev + 1), -1, math.MaxInt64})
}

func (g *generator) limit() int64 {
	switch x := g.n(20); {
	case x < 8:
		return 0
	case x < 16:
		return int64(g.n(8)) + 1
	case x < 18:
		return int64(g.n(60))
	case x < 19:
		return -int64(g.n(3))
	}
	return pick(g, []int64{math.MaxInt64, math.MinInt64, math.MaxInt64 - 1, 1 << 32})
}

func (g *generator) rangeRequest() *pb.RangeRequest {
	q := new(pb.RangeRequest)
	q.Key, q.RangeEnd = g.span()
	q.Limit = g.limit()
	q.Revision = g.revision()
	if g.n(3) == 0 {
		q.SortOrder = pb.RangeRequest_SortOrder(g.n(3))
		q.SortTarget = pb.RangeRequest_SortTarget(g.n(5))
	}
	if g.one(150) {
		q.SortOrder = pb.RangeRequest_SortOrder(pick(g, []int32{3, -1, 100}))
	}
	if g.one(150) {
		q.SortTarget = pb.RangeRequest_SortTarget(pick(g, []int32{5, -1, 100}))
	}
	q.Serializable = g.one(4)
	q.KeysOnly = g.one(5)
	q.CountOnly = g.one(8)
	q.MinModRevision, q.MaxModRevision = g.bound(), g.bound()
	q.MinCreateRevision, q.MaxCreateRevision = g.bound(), g.bound()
	return q
}

func (g *generator) leaseID() int64 {
	switch x := g.n(20); {
	case x < 13:
		return int64(g.n(8)) + 1
	case x < 14:
		return 0
	case x < 15:
		return -int64(g.n(3)) - 1
	case x < 16:
		return math.MaxInt64
	case x < 17:
		return math.MinInt64
	}
	return int64(g.n(40)) + 1
}

func (g *generator) putLease() int64 {
	if g.n(3) > 0 {
		return 0
	}
	if len(g.r.leases) > 0 && g.n(10) > 0 {
		// Maps have no order, so the choice is made by number and not by position.
		id := int64(0)
		want := g.n(len(g.r.leases))
		for _, known := range sortedLeases(g.r.leases) {
			if want == 0 {
				id = known
			}
			want--
		}
		return id
	}
	return g.leaseID()
}

func (g *generator) putRequest() *pb.PutRequest {
	q := &pb.PutRequest{Key: g.key(), Value: g.value(), Lease: g.putLease(), PrevKv: g.one(3)}
	if g.one(12) {
		q.IgnoreValue = true
		if g.n(6) > 0 {
			q.Value = nil
		}
	}
	if g.one(12) {
		q.IgnoreLease = true
		if g.n(6) > 0 {
			q.Lease = 0
		}
	}
	return q
}

func (g *generator) deleteRequest() *pb.DeleteRangeRequest {
	q := &pb.DeleteRangeRequest{PrevKv: g.one(3)}
	q.Key, q.RangeEnd = g.span()
	if len(q.RangeEnd) > 0 && g.n(3) > 0 {
		// Most deletes are narrow, or nothing would live long.
		q.RangeEnd = nil
	}
	return q
}

func (g *generator) compare() *pb.Compare {
	c := &pb.Compare{Result: pb.Compare_CompareResult(g.n(4)), Target: pb.Compare_CompareTarget(g.n(5)), Key: g.key()}
	if g.one(6) {
		c.Key, c.RangeEnd = g.span()
	}
	if g.one(60) {
		c.Result = pb.Compare_CompareResult(pick(g, []int32{4, -1}))
	}
	if g.one(60) {
		c.Target = pb.Compare_CompareTarget(pick(g, []int32{5, -1}))
	}
	union := c.Target
	if g.one(25) {
		union = pb.Compare_CompareTarget(g.n(6)) // may not fit the target, or be none
	}
	rev := pick(g, []int64{0, 0, 1, g.r.rev, g.rng.Int63n(g.r.rev + 1), -1})
	switch union {
	case pb.Compare_VERSION:
		c.TargetUnion = &pb.Compare_Version{Version: int64(g.n(4))}
	case pb.Compare_CREATE:
		c.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: rev}
	case pb.Compare_MOD:
		c.TargetUnion = &pb.Compare_ModRevision{ModRevision: rev}
	case pb.Compare_VALUE:
		c.TargetUnion = &pb.Compare_Value{Value: g.value()}
	case pb.Compare_LEASE:
		c.TargetUnion = &pb.Compare_Lease{Lease: g.putLease()}
	}
	return c
}

func (g *generator) requestOp(depth int) *pb.RequestOp {
	switch x := g.n(100); {
	case x < 1:
		return new(pb.RequestOp)
	case x < 40:
		q := g.putRequest()
		// Fewer duplicates, or nearly every transaction would be refused.
		if g.n(3) > 0 {
			q.Key = []byte(fmt.Sprintf("m/%d", g.n(400)))
			q.IgnoreLease, q.IgnoreValue = false, false
		}
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: q}}
	case x < 70:
		q := g.rangeRequest()
		if g.n(3) > 0 {
			q.Revision = 0
		}
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: q}}
	case x < 85 || depth <= 0:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: g.deleteRequest()}}
	}
	return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: g.txn(depth - 1)}}
}

func (g *generator) branch(depth int) []*pb.RequestOp {
	var ops []*pb.RequestOp
	for i := g.n(5); i > 0; i-- {
		ops = append(ops, g.requestOp(depth))
	}
	return ops
}

// endsEtcd says whether a transaction can kill etcd 3.7.3. A delete of everything from a key on (range_end
// "\0") is not seen to overlap a put, so the put runs after the key is gone. With ignore_value or
// ignore_lease etcd then panics, and does so again at every start, for the request is in its log; and any
// such put is lost, and a read of it the end, once that very revision is compacted.
func endsEtcd(q *pb.TxnRequest) bool {
	open, puts := false, false
	eachOp(q, func(o *pb.RequestOp) {
		d := o.GetRequestDeleteRange()
		open = open || d != nil && string(d.RangeEnd) == "\x00"
		puts = puts || o.GetRequestPut() != nil
	})
	return open && puts
}

// spareEtcd keeps a transaction from killing etcd.
func spareEtcd(q *pb.TxnRequest) {
	if endsEtcd(q) {
		eachOp(q, func(o *pb.RequestOp) {
			if d := o.GetRequestDeleteRange(); d != nil && string(d.RangeEnd) == "\x00" {
				d.RangeEnd = bytes.Repeat([]byte{0xff}, 50)
			}
		})
	}
}

// eachOp visits the operations of a transaction and of those in it.
func eachOp(q *pb.TxnRequest, visit func(*pb.RequestOp)) {
	for _, ops := range [][]*pb.RequestOp{q.Success, q.Failure} {
		for _, o := range ops {
			visit(o)
			if t := o.GetRequestTxn(); t != nil {
				eachOp(t, visit)
			}
		}
	}
}

func (g *generator) txn(depth int) *pb.TxnRequest {
	q := new(pb.TxnRequest)
	for i := g.n(3); i > 0; i-- {
		q.Compare = append(q.Compare, g.compare())
	}
	q.Success, q.Failure = g.branch(depth), g.branch(depth)
	return q
}

// wideTxn has about as many operations as a transaction may have, in one of the three lists.
func (g *generator) wideTxn() *pb.TxnRequest {
	q := new(pb.TxnRequest)
	n := pick(g, []int{127, 128, 129, 200})
	which := g.n(3)
	for i := range n {
		key := []byte(fmt.Sprintf("w/%d", i))
		o := &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}}
		if g.one(2) {
			o = &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key}}}
		}
		switch which {
		case 0:
			q.Compare = append(q.Compare, &pb.Compare{Key: key, Target: pb.Compare_MOD, TargetUnion: &pb.Compare_ModRevision{}})
		case 1:
			q.Success = append(q.Success, o)
		default:
			q.Failure = append(q.Failure, o)
		}
	}
	return q
}

// deepTxn is a chain of transactions around the depth where the budget of operations ends.
func (g *generator) deepTxn() *pb.TxnRequest {
	depth := pick(g, []int{5, 50, 126, 127, 128, 129, 200, 1000})
	q := &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("deep"), Value: g.value()}}}}}
	for range depth {
		q = &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: q}}}}
	}
	return q
}
