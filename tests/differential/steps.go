// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"sort"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// choice is a sort of step and how often it comes, relative to the others.
type choice struct {
	weight int
	make   func(*generator)
}

var choices = []choice{
	{2200, func(g *generator) { g.unary(g.putRequest()) }},
	{2000, func(g *generator) { g.unary(g.rangeRequest()) }},
	{500, func(g *generator) { g.unary(g.deleteRequest()) }},
	{1500, (*generator).transaction},
	{400, (*generator).rangeStream},
	{60, func(g *generator) { g.unary(g.wideTxn()) }},
	{20, func(g *generator) { g.unary(g.deepTxn()) }},
	{150, (*generator).compaction},
	{150, (*generator).grant},
	{100, func(g *generator) { g.unary(&pb.LeaseRevokeRequest{ID: g.leaseID()}) }},
	{20, (*generator).shortGrant},
	{20, (*generator).autoGrant},
	{100, (*generator).keepAlive},
	{150, func(g *generator) { g.unary(&pb.LeaseTimeToLiveRequest{ID: g.leaseID(), Keys: g.one(2)}) }},
	{40, func(g *generator) { g.unary(&pb.LeaseLeasesRequest{}) }},
	{900, (*generator).watch},
	{150, func(g *generator) { g.push(&op{Kind: opDrain}) }},
	{120, func(g *generator) { g.unary(&pb.HashKVRequest{Revision: g.revision()}) }},
	{30, func(g *generator) { g.unary(&pb.HashRequest{}) }},
	{50, func(g *generator) { g.unary(&pb.StatusRequest{}) }},
	{80, (*generator).member},
	{40, func(g *generator) { g.unary(&pb.AlarmRequest{Alarm: pb.AlarmType(g.n(4)), MemberID: g.memberID()}) }},
	{8, (*generator).alarm},
	{4, func(g *generator) { g.unary(&pb.DefragmentRequest{}) }},
	{4, func(g *generator) { g.push(&op{Kind: opSnapshot, Method: "/etcdserverpb.Maintenance/Snapshot"}) }},
	{30, func(g *generator) { g.unary(&pb.MoveLeaderRequest{TargetID: g.memberID()}) }},
	{40, (*generator).downgrade},
	{40, (*generator).health},
	{40, (*generator).unknown},
	{80, (*generator).malformed},
	{12, (*generator).oversize},
	{10, (*generator).burst},
	{6, (*generator).fill},
	{4, (*generator).expire},
	{10, (*generator).restart},
	{700, (*generator).many},
	{200, (*generator).page},
	{40, (*generator).resume},
	{8, (*generator).crowd},
	{6, (*generator).heavy},
	{60, (*generator).sized},
	{4, (*generator).quota},
	{60, (*generator).broken},
	{120, (*generator).odd},
}

// next gives the next step of the program.
func (g *generator) next() *op {
	for len(g.queue) == 0 {
		total := 0
		for _, c := range choices {
			total += c.weight
		}
		x := g.n(total)
		for _, c := range choices {
			if x -= c.weight; x < 0 {
				c.make(g)
				break
			}
		}
	}
	o := g.queue[0]
	g.queue = g.queue[1:]
	if g.alarms > 0 {
		if g.alarms--; g.alarms == 0 {
			for _, id := range []uint64{0, selfID} {
				g.unary(&pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: g.raised, MemberID: id})
			}
		}
	}
	if (o.Kind == opUnary || o.Kind == opStream || o.Kind == opWatchSend) && g.one(25) && len(o.Req) < 10000 && o.Pad == 0 {
		o = g.oddWire(o)
	}
	if (o.Kind == opUnary || o.Kind == opStream) && g.one(3) {
		o.Conn = g.n(connections)
	}
	if (o.Kind == opUnary || o.Kind == opStream) && g.one(60) {
		o.Meta = pick(g, []map[string]string{{"hasleader": "true"}, {"hasleader": "false"}, {"client-api-version": "3.7"},
			{"x-unknown": "1"}, {"x-bytes-bin": "\x00\xff"}, {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}})
	}
	return o
}

func sortedLeases(leases map[int64]*lease) []int64 {
	ids := make([]int64, 0, len(leases))
	for id := range leases {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	return ids
}

func (g *generator) transaction() {
	q := g.txn(3)
	spareEtcd(q)
	g.unary(q)
}

func (g *generator) rangeStream() {
	g.push(g.streamRequest())
}

func (g *generator) streamRequest() *op {
	q := g.rangeRequest()
	if g.n(10) > 0 {
		q.SortOrder, q.SortTarget = 0, 0
		q.MinModRevision, q.MaxModRevision, q.MinCreateRevision, q.MaxCreateRevision = 0, 0, 0, 0
	}
	if q.SortOrder == pb.RangeRequest_NONE {
		// etcd lets a target without an order through, sorts every chunk by itself, and goes on after the
		// chunk's last key: keys come twice or never.
		q.SortTarget = pb.RangeRequest_KEY
	}
	if g.one(4) {
		q.Key, q.RangeEnd, q.Limit = []byte{0}, []byte{0}, 0
	}
	return &op{Kind: opStream, Method: "/etcdserverpb.KV/RangeStream", Req: marshal(q)}
}

func (g *generator) compaction() {
	q := &pb.CompactionRequest{Revision: g.revision(), Physical: g.one(3)}
	// Mostly a little history is kept, so that old revisions are worth asking for.
	if q.Revision > g.r.rev-20 && q.Revision <= g.r.rev && g.n(8) > 0 {
		q.Revision = max(g.r.compact, g.r.rev-int64(g.n(400)))
	}
	g.unary(q)
	if g.one(4) {
		g.unary(&pb.HashKVRequest{Revision: pick(g, []int64{0, q.Revision, q.Revision + 1})})
	}
}

func (g *generator) grant() {
	ttl := pick(g, []int64{600, 3600, 86400, 1000 + int64(g.n(100000)), 9000000000, 9000000001, math.MaxInt64})
	id := g.leaseID()
	if id == 0 {
		id = 1
	}
	g.unary(&pb.LeaseGrantRequest{ID: id, TTL: ttl})
}

// shortGrant asks for TTLs that are raised to the minimum, and revokes before they can run out.
func (g *generator) shortGrant() {
	id := int64(1000 + g.n(10))
	g.unary(&pb.LeaseGrantRequest{ID: id, TTL: pick(g, []int64{-1, 0, 1, 2, 3, math.MinInt64})})
	g.unary(&pb.LeaseTimeToLiveRequest{ID: id})
	g.unary(&pb.LeaseRevokeRequest{ID: id})
}

func (g *generator) autoGrant() {
	if g.alarms > 0 {
		return // the revoke could be refused, and the lease would stay
	}
	g.push(&op{Kind: opAutoGrant, Method: "/etcdserverpb.Lease/LeaseGrant",
		Req: marshal(&pb.LeaseGrantRequest{TTL: pick(g, []int64{60, 9000000000, 9000000001})})})
}

func (g *generator) keepAlive() {
	o := &op{Kind: opKeepAlive, Method: "/etcdserverpb.Lease/LeaseKeepAlive"}
	for range g.n(5) {
		o.Reqs = append(o.Reqs, marshal(&pb.LeaseKeepAliveRequest{ID: g.leaseID()}))
	}
	g.push(o)
}

func (g *generator) memberID() uint64 {
	return pick(g, []uint64{0, 1, 12345, selfID, selfID, math.MaxUint64})
}

// member asks what a cluster of one must refuse; what would change the cluster is left out.
func (g *generator) member() {
	urls := pick(g, [][]string{nil, {""}, {"127.0.0.1:1"}, {"ftp://127.0.0.1:1"}, {"http://127.0.0.1"}, {"http://127.0.0.1:1/path"}, {"://"}, {"http://127.0.0.1:1", "bad"}})
	switch g.n(6) {
	case 0, 1:
		g.unary(&pb.MemberListRequest{Linearizable: g.one(2)})
	case 2:
		g.unary(&pb.MemberAddRequest{PeerURLs: urls, IsLearner: g.one(2)})
	case 3:
		g.unary(&pb.MemberRemoveRequest{ID: g.memberID()})
	case 4:
		// etcd takes any text as the peer URL of a member it knows, so its own is left out.
		g.unary(&pb.MemberUpdateRequest{ID: pick(g, []uint64{0, 1, 12345, math.MaxUint64}), PeerURLs: urls})
	case 5:
		g.unary(&pb.MemberPromoteRequest{ID: g.memberID()})
	}
}

// alarm raises an alarm, which some of the following steps meet, and lowers it again.
func (g *generator) alarm() {
	if g.alarms > 0 {
		return
	}
	g.raised = pick(g, []pb.AlarmType{pb.AlarmType_NOSPACE, pb.AlarmType_NOSPACE, pb.AlarmType_CORRUPT})
	g.alarms = 10 + g.n(20)
	g.unary(&pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, Alarm: g.raised, MemberID: pick(g, []uint64{0, selfID})})
	g.unary(&pb.AlarmRequest{})
	g.unary(&pb.StatusRequest{})
	g.unary(&pb.PutRequest{Key: []byte("full")})
	g.unary(g.deleteRequest())
	g.transaction()
	g.unary(&pb.LeaseGrantRequest{ID: 77, TTL: 5000})
	g.unary(&pb.LeaseRevokeRequest{ID: 77})
	g.unary(&pb.CompactionRequest{Revision: g.r.rev - 50})
}

func (g *generator) downgrade() {
	q := &pb.DowngradeRequest{Action: pb.DowngradeRequest_DowngradeAction(g.n(4)),
		Version: pick(g, []string{"", "abc", "3", "3.6", "3.6.0", "3.7.0", "3.8.0", "3.5.0", "2.3.0", "4.0.0", "3.6.1", "v3.6.0", "3.6.0-rc.1"})}
	if q.Action == pb.DowngradeRequest_ENABLE && len(q.Version) > 2 && q.Version[:3] == "3.6" {
		q.Version = "3.5.0" // a downgrade that starts would change the cluster while it is compared
	}
	g.unary(q)
}

func (g *generator) health() {
	service := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), pick(g, []string{"", "etcdserverpb.KV", "nope"}))
	switch g.n(5) {
	case 0:
		g.push(&op{Kind: opUnary, Method: "/grpc.health.v1.Health/Check"})
	case 1, 2:
		g.push(&op{Kind: opUnary, Method: "/grpc.health.v1.Health/Check", Req: service})
	case 3:
		g.push(&op{Kind: opFirst, Method: "/grpc.health.v1.Health/Watch", Req: service})
	case 4:
		g.push(&op{Kind: opUnary, Method: "/grpc.health.v1.Health/List"})
	}
}

func (g *generator) unknown() {
	g.push(&op{Kind: opUnary, Method: pick(g, []string{
		"/etcdserverpb.KV/Nope", "/etcdserverpb.Nope/Range", "/nope.Nope/Nope", "/etcdserverpb.KV/", "/etcdserverpb.KV/range",
		"/etcdserverpb.Watch/Nope", "/grpc.health.v1.Health/Nope", "//", "/a", "/etcdserverpb.KV/Range/", "/etcdserverpb/KV/Range",
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/etcdserverpb.Lease/LeaseCheckpoint",
	}), Req: pick(g, [][]byte{nil, []byte("\n\x01a")})})
}

var anyMethods = []string{"/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put", "/etcdserverpb.KV/DeleteRange", "/etcdserverpb.KV/Txn",
	"/etcdserverpb.KV/Compact", "/etcdserverpb.KV/RangeStream", "/etcdserverpb.Lease/LeaseTimeToLive",
	"/etcdserverpb.Lease/LeaseKeepAlive", "/etcdserverpb.Cluster/MemberAdd", "/etcdserverpb.Maintenance/Alarm",
	"/etcdserverpb.Maintenance/Downgrade", "/etcdserverpb.Maintenance/HashKV"}

var badBytes = [][]byte{{0xff}, {0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, {0x0a, 0x05, 'a'}, {0x07}, {0x00, 0x01}, {0x0b},
	{0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, {0x12, 0x05, 0x0a, 0x80, 0x80, 0x80}}

// malformed sends broken messages, too few and too many of them, and compressed ones.
func (g *generator) malformed() {
	method := pick(g, anyMethods)
	switch g.n(6) {
	case 0, 1, 2:
		g.push(&op{Kind: opBad, Method: method, Req: pick(g, badBytes)})
	case 3:
		g.push(&op{Kind: opNone, Method: pick(g, anyMethods[:5])})
	case 4:
		g.push(&op{Kind: opTwo, Method: "/etcdserverpb.KV/Range", Req: marshal(g.rangeRequest())})
	case 5:
		o := unary(g.rangeRequest())
		o.Gzip = true
		g.push(o)
	}
}

// oversize is around the two limits: what the port takes (2 MiB) and what a request may be (1.5 MiB,
// with some bytes of envelope whose exact number is the server's own affair).
func (g *generator) oversize() {
	if g.large == 0 {
		return
	}
	g.large--
	const mib = 1 << 20
	size := pick(g, []int{1 * mib, 3*mib/2 - 200, 3*mib/2 + 1, 2*mib - 100, 2*mib - 8, 2*mib - 7, 2*mib - 6, 2 * mib, 3 * mib})
	value := make([]byte, size)
	for i := range value {
		value[i] = byte('a' + i%26)
	}
	key := []byte("large")
	switch g.n(4) {
	case 0, 1:
		g.unary(&pb.PutRequest{Key: key, Value: value})
	case 2:
		g.unary(&pb.RangeRequest{Key: value})
	case 3:
		g.unary(&pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: value}}}}})
	}
	g.unary(&pb.RangeRequest{Key: key})
	if g.one(2) {
		g.unary(&pb.DeleteRangeRequest{Key: key})
	}
}

// burst writes much in a row, now and then while a watch stream is not read, so that its events pile up.
func (g *generator) burst() {
	if id, ok := g.anyStream(); ok && g.one(2) {
		g.push(&op{Kind: opWatchStop, Stream: id})
	}
	value := make([]byte, pick(g, []int{10, 1000, 20000}))
	for range 50 + g.n(150) {
		g.unary(&pb.PutRequest{Key: []byte(fmt.Sprintf("m/%d", g.n(400))), Value: value})
	}
	g.push(&op{Kind: opDrain})
}

// fill writes many keys at once, for ranges that need several chunks.
func (g *generator) fill() {
	if g.bulk == 0 {
		return
	}
	g.bulk--
	size := pick(g, []int{0, 10, 3000})
	for i := range 8 {
		q := new(pb.TxnRequest)
		for j := range 100 {
			q.Success = append(q.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{
				RequestPut: &pb.PutRequest{Key: []byte(fmt.Sprintf("fill/%04d", i*100+j)), Value: make([]byte, size)}}})
		}
		g.unary(q)
	}
	for _, limit := range []int64{0, 1, 9, 10, 11, 31, 100, 799, 800, 801} {
		g.push(&op{Kind: opStream, Method: "/etcdserverpb.KV/RangeStream",
			Req: marshal(&pb.RangeRequest{Key: []byte("fill/"), RangeEnd: []byte("fill0"), Limit: limit, KeysOnly: g.one(4)})})
	}
	g.unary(&pb.RangeRequest{Key: []byte("fill/"), RangeEnd: []byte("fill0")})
	g.unary(&pb.DeleteRangeRequest{Key: []byte("fill/"), RangeEnd: []byte("fill0"), PrevKv: g.one(2)})
}

func (g *generator) expire() {
	if g.alarms > 0 {
		return
	}
	id := int64(2000 + g.n(1000))
	o := &op{Kind: opExpire, Reqs: [][]byte{marshal(&pb.LeaseGrantRequest{ID: id, TTL: 1})}}
	for range g.n(4) {
		o.Reqs = append(o.Reqs, marshal(&pb.PutRequest{Key: append([]byte("e"), g.key()...), Lease: id}))
	}
	g.push(o)
}

func (g *generator) restart() {
	if !g.restarts {
		return
	}
	signal := pick(g, []string{"TERM", "KILL"})
	if g.r.compactions > 0 && g.r.compact == 0 {
		// Killed before it has noted the end of a compaction at revision 0, etcd forgets that there was one, since it
		// reads 0 as "none scheduled" (restore in kvstore.go); and takes another. kedge remembers.
		signal = "TERM"
	}
	g.push(&op{Kind: opRestart, Signal: signal, Flags: g.flags})
}

// anyStream names an open watch stream.
func (g *generator) anyStream() (int, bool) {
	ids := make([]int, 0, len(g.r.streams))
	for id := range g.r.streams {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return 0, false
	}
	sort.Ints(ids)
	return pick(g, ids), true
}

// watch makes a step on a watch stream.
func (g *generator) watch() {
	id, ok := g.anyStream()
	if !ok || len(g.r.streams) < 4 && g.one(6) {
		id = g.nextID
		g.nextID++
		g.push(&op{Kind: opWatchOpen, Stream: id, Conn: g.n(connections), Meta: map[string]string{"hasleader": "true"}})
		g.create(id)
		return
	}
	p := g.r.streams[id]
	switch x := g.n(100); {
	case x < 50 && len(p.watchers) < 12:
		g.create(id)
	case x < 65:
		g.cancel(id, p)
	case x < 88:
		g.push(&op{Kind: opProgress, Stream: id})
	case x < 90:
		g.push(&op{Kind: opWatchHalf, Stream: id})
	case x < 91:
		// Bytes that are no message end the stream.
		g.push(&op{Kind: opWatchSend, Stream: id, Req: []byte{0x0a, 0x7f}})
	case x < 93:
		g.push(&op{Kind: opWatchSend, Stream: id, Req: pick(g, [][]byte{nil, {0xa2, 0x06, 0x00}})})
	case x < 97:
		g.push(&op{Kind: opWatchClose, Stream: id})
	default:
		g.push(&op{Kind: opDrain})
	}
}

func (g *generator) create(id int) {
	q := new(pb.WatchCreateRequest)
	q.Key, q.RangeEnd = g.span()
	if g.one(3) {
		q.Key, q.RangeEnd = []byte{0}, []byte{0}
	}
	// A stream that waits for a future revision cannot be asked whether it is up to date. So a watcher
	// of the past never joins one, and one that waits only joins a stream of such.
	waits := false
	if p := g.r.streams[id]; p != nil {
		for _, w := range p.watchers {
			waits = waits || w.start > g.r.rev || w.compacted
		}
		if p.paused {
			return
		}
	}
	q.StartRevision = g.revision()
	if waits && q.StartRevision > 0 && q.StartRevision <= g.r.rev {
		q.StartRevision = pick(g, []int64{0, -1, g.r.rev + int64(g.n(50))})
		if q.StartRevision == g.r.rev {
			q.StartRevision = 0
		}
	}
	if q.StartRevision > g.r.rev+200 && g.n(3) > 0 {
		q.StartRevision = g.r.rev + int64(g.n(20))*10 + 1
	}
	q.PrevKv = g.one(2)
	q.Fragment = g.one(4)
	q.ProgressNotify = g.one(4)
	for range g.n(6) - 3 {
		q.Filters = append(q.Filters, pb.WatchCreateRequest_FilterType(pick(g, []int32{0, 1, 0, 1, 5})))
	}
	if g.one(4) {
		q.WatchId = pick(g, []int64{1, 2, 3, 5, 7, 1 << 40, math.MaxInt64, -2, -7})
	}
	g.push(&op{Kind: opWatchSend, Stream: id, Req: marshal(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: q}})})
	if q.StartRevision > g.r.rev {
		// Whether the stream is up to date must be known before the writes that follow.
		g.push(&op{Kind: opDrain})
	}
}

func (g *generator) cancel(id int, p *watchPair) {
	known := make([]int64, 0, len(p.watchers))
	for w := range p.watchers {
		known = append(known, w)
	}
	sort.Slice(known, func(i, j int) bool { return known[i] < known[j] })
	target := pick(g, []int64{0, 1, -1, 99, math.MaxInt64})
	if len(known) > 0 && g.n(4) > 0 {
		target = pick(g, known)
	}
	var m proto.Message = &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: target}}}
	g.push(&op{Kind: opWatchSend, Stream: id, Req: marshal(m)})
}
