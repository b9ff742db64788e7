// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/health/grpc_health_v1" // so that health answers can be decoded
	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	watchTimeout = 15 * time.Second
	// quiet is how long a stream that cannot be asked for progress must stay silent to count as drained.
	quiet = 60 * time.Millisecond
	// silence is how long a progress request must stay unanswered to count as refused. etcd answers at once or never.
	silence = 40 * time.Millisecond
	minTTL  = 2
	// unmarshalling begins the text for a message that is none; what follows changes with every build of Go's library.
	unmarshalling = "grpc: error unmarshalling request: "
)

// difference is what this program looks for.
type difference struct {
	index     int
	op        *op
	signature string // tells one sort of difference from another
	text      string
	// diverged says that the servers hold different data, so that going on makes no sense.
	diverged bool
}

// lease is what the runner knows about a lease.
type lease struct {
	ttl    int64
	expiry time.Time
}

// runner executes steps on both servers and keeps what it learned from A.
type runner struct {
	sides       [2]*side
	streams     map[int]*watchPair
	rev         int64
	compact     int64 // newest compacted revision; 0 when none
	compactions int   // how many were made
	// compacted are all revisions that were compacted.
	compacted map[int64]bool
	accepted  int
	leases    map[int64]*lease
	// pages are lists that a limit cut short: what to ask for to go on.
	pages   []*pb.RangeRequest
	mutate  *mutator
	counts  map[string]int
	refused map[string]int
	index   int
	// loose is the time of the newest compaction that may still be running.
	loose   time.Time
	started time.Time
}

func newRunner(sides [2]*side, m *mutator) *runner {
	return &runner{sides: sides, streams: make(map[int]*watchPair), rev: 1, leases: make(map[int64]*lease), compacted: make(map[int64]bool),
		mutate: m, counts: make(map[string]int), refused: make(map[string]int), started: time.Now()}
}

func (r *runner) close() {
	for _, p := range r.streams {
		p.close()
	}
	r.streams = make(map[int]*watchPair)
}

func (r *runner) diff(o *op, signature, format string, args ...any) *difference {
	return &difference{index: r.index, op: o, signature: o.label() + ": " + signature, text: fmt.Sprintf(format, args...)}
}

// both runs f for the two servers at the same time.
func (r *runner) both(f func(s *side) *answer) (a, b *answer) {
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		b = f(r.sides[1])
	}()
	a = f(r.sides[0])
	wg.Wait()
	return a, b
}

// run executes one step and returns the difference it found, if any.
func (r *runner) run(o *op) *difference {
	r.counts[o.label()] += o.requests()
	switch o.Kind {
	case opUnary:
		return r.runUnary(o)
	case opStart:
		return nil // done before the first step
	case opMany:
		return r.runMany(o)
	case opRaw:
		return r.runRaw(o)
	case opCancel, opDeadline:
		return r.runBroken(o)
	case opTwo, opNone, opBad:
		return r.runOdd(o)
	case opStream:
		return r.runRangeStream(o)
	case opFirst:
		a, b := r.both(func(s *side) *answer { return s.exchange(o, [][]byte{o.Req}, 1) })
		return r.compareAnswers(o, a, b)
	case opSnapshot:
		return r.runSnapshot(o)
	case opKeepAlive:
		return r.runKeepAlive(o)
	case opAutoGrant:
		return r.runAutoGrant(o)
	case opExpire:
		return r.runExpire(o)
	case opWatchOpen, opWatchSend, opWatchHalf, opWatchClose, opWatchStop:
		return r.runWatch(o)
	case opProgress:
		return r.runProgress(o)
	case opDrain:
		return r.drain(o)
	case opRestart:
		return r.runRestart(o)
	}
	return r.diff(o, "unknown step", "a program cannot hold the step %q", o.Kind)
}

func (r *runner) compareStatus(o *op, a, b *answer) *difference {
	if a.code != codes.OK {
		r.refused[o.label()]++
	}
	if a.code != b.code || a.text != b.text && !(strings.HasPrefix(a.text, unmarshalling) && strings.HasPrefix(b.text, unmarshalling)) {
		d := r.diff(o, fmt.Sprintf("status %v -> %v", a.code, b.code), "A: %v %q\n    B: %v %q", a.code, a.text, b.code, b.text)
		d.diverged = a.code == codes.OK || b.code == codes.OK
		return d
	}
	return nil
}

// compareAnswers compares two answers to the same request, message by message.
func (r *runner) compareAnswers(o *op, a, b *answer) *difference {
	r.mutate.answer(o, b)
	if r.freshHash(o, a, b) {
		r.accepted++
		return nil
	}
	if d := r.compareStatus(o, a, b); d != nil {
		if a.code == codes.OK && len(a.msgs) > 0 {
			d.text += "\n    A's answer: " + r.decoded(o, a.msgs[0])
		}
		if b.code == codes.OK && len(b.msgs) > 0 {
			d.text += "\n    B's answer: " + r.decoded(o, b.msgs[0])
		}
		return d
	}
	if len(a.msgs) != len(b.msgs) {
		return r.diff(o, "number of messages", "A sent %d messages, B %d", len(a.msgs), len(b.msgs))
	}
	for i := range a.msgs {
		req, ra, ok := methodTypes(o.Method)
		if !ok {
			if string(a.msgs[i]) != string(b.msgs[i]) {
				return r.diff(o, "bytes", "A: %x\n    B: %x", a.msgs[i], b.msgs[i])
			}
			continue
		}
		_, rb, _ := methodTypes(o.Method)
		if err := proto.Unmarshal(a.msgs[i], ra); err != nil {
			return r.diff(o, "broken message", "A's answer is no message: %v", err)
		}
		if err := proto.Unmarshal(b.msgs[i], rb); err != nil {
			return r.diff(o, "broken message", "B's answer is no message: %v", err)
		}
		proto.Unmarshal(o.Req, req)
		if d := r.compareMessages(o, req, ra, rb); d != nil {
			return d
		}
	}
	return nil
}

// freshHash says whether an answer to HashKV differs from etcd's in the one way that is accepted. For its
// newest compaction revisions etcd answers with the hash it took while it compacted: over other records,
// and even for a revision that is compacted by now. It forgets them at a restart, or takes them again,
// depending on how far it was. A server that always computes the hash anew, which is what etcd does for
// all other revisions, is right too.
func (r *runner) freshHash(o *op, a, b *answer) bool {
	q := new(pb.HashKVRequest)
	if o.Method != "/etcdserverpb.Maintenance/HashKV" || proto.Unmarshal(o.Req, q) != nil || !r.compacted[q.Revision] || a.code != codes.OK {
		return false
	}
	if b.code != codes.OK {
		return q.Revision > 0 && q.Revision < r.compact && b.code == codes.OutOfRange &&
			b.text == "etcdserver: mvcc: required revision has been compacted"
	}
	ra, rb := new(pb.HashKVResponse), new(pb.HashKVResponse)
	if proto.Unmarshal(a.msgs[0], ra) != nil || proto.Unmarshal(b.msgs[0], rb) != nil {
		return false
	}
	want := q.Revision
	if want == 0 {
		want = r.rev
	}
	fresh := rb.CompactRevision == r.compact || r.compact == 0 && rb.CompactRevision == -1
	return !proto.Equal(ra, rb) && fresh && rb.HashRevision == want &&
		rb.Header.GetRevision() == ra.Header.GetRevision()
}

func (r *runner) decoded(o *op, raw []byte) string {
	_, m, ok := methodTypes(o.Method)
	if !ok || proto.Unmarshal(raw, m) != nil {
		return fmt.Sprintf("%.200x", raw)
	}
	return oneLine(m)
}

func (r *runner) compareMessages(o *op, req, ra, rb proto.Message) *difference {
	r.sides[0].normalise(ra)
	r.sides[1].normalise(rb)
	reconcile(req, ra, rb)
	if proto.Equal(ra, rb) {
		r.learn(req, ra)
		return nil
	}
	path, text := firstDifference(lines(ra), lines(rb))
	d := r.diff(o, path, "%s\n    A's answer: %s\n    B's answer: %s", text, oneLine(ra), oneLine(rb))
	d.diverged = path == "header.revision"
	r.learn(req, ra)
	return d
}

// learn keeps what later steps need to know, from A's answer.
func (r *runner) learn(req, resp proto.Message) {
	if h, ok := resp.(headed); ok && h.GetHeader() != nil && h.GetHeader().Revision > r.rev {
		r.rev = h.GetHeader().Revision
	}
	switch q := req.(type) {
	case *pb.RangeRequest:
		r.learnPage(q, resp.(*pb.RangeResponse))
	case *pb.CompactionRequest:
		r.compact = q.Revision
		r.compactions++
		r.compacted[q.Revision] = true
		if !q.Physical {
			r.loose = time.Now()
		}
	case *pb.LeaseGrantRequest:
		g := resp.(*pb.LeaseGrantResponse)
		r.leases[g.ID] = &lease{ttl: g.TTL, expiry: time.Now().Add(time.Duration(g.TTL) * time.Second)}
	case *pb.LeaseRevokeRequest:
		delete(r.leases, q.ID)
	case *pb.LeaseKeepAliveRequest:
		if l := r.leases[q.ID]; l != nil {
			l.expiry = time.Now().Add(time.Duration(l.ttl) * time.Second)
		}
	}
}

func (r *runner) runUnary(o *op) *difference {
	if o.Method == "/etcdserverpb.KV/Compact" {
		// etcd cancels a watcher that compaction overtakes, and drops prev_kv that is compacted when
		// an event is sent; both depend on time, so events go first.
		if d := r.drain(o); d != nil {
			return d
		}
	}
	return r.patiently(o, func() *difference {
		a, b := r.both(func(s *side) *answer { return s.unary(o) })
		if d := r.leaseOrder(o, a, b); d != nil {
			return d
		}
		return r.compareAnswers(o, a, b)
	})
}

// patiently repeats a comparison for a while where etcd is known to need time before it answers for good.
func (r *runner) patiently(o *op, once func() *difference) *difference {
	var until time.Time
	switch o.Method {
	case "/etcdserverpb.Maintenance/HashKV":
		// A compaction that still runs has not stored its hash yet; see HashStorage in etcd.
		until = r.loose.Add(3 * time.Second)
	case "/etcdserverpb.Maintenance/Status", "/etcdserverpb.Maintenance/Snapshot":
		// etcd settles its storage version some seconds after its start.
		until = r.started.Add(12 * time.Second)
	}
	for {
		d := once()
		if d == nil || time.Now().After(until) {
			return d
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// leaseOrder checks that LeaseLeases lists by expiry, as far as expiries lie clearly apart.
func (r *runner) leaseOrder(o *op, answers ...*answer) *difference {
	if o.Method != "/etcdserverpb.Lease/LeaseLeases" {
		return nil
	}
	for i, a := range answers {
		resp := new(pb.LeaseLeasesResponse)
		if a.code != codes.OK || proto.Unmarshal(a.msgs[0], resp) != nil {
			continue
		}
		var latest *lease
		for _, l := range resp.Leases {
			known := r.leases[l.ID]
			if known == nil {
				continue
			}
			if latest != nil && latest.expiry.Sub(known.expiry) > 3*time.Second {
				return r.diff(o, "order", "server %s does not list by expiry: %s", r.sides[i].name, oneLine(resp))
			}
			latest = known
		}
	}
	return nil
}

// runOdd sends what no proper client sends. Texts come from the gRPC library there, so codes decide.
func (r *runner) runOdd(o *op) *difference {
	reqs := [][]byte{o.Req}
	switch o.Kind {
	case opTwo:
		reqs = [][]byte{o.Req, o.Req}
	case opNone:
		reqs = nil
	}
	a, b := r.both(func(s *side) *answer { return s.exchange(o, reqs, 0) })
	a.text, b.text = "", ""
	return r.compareStatus(o, a, b)
}

func (r *runner) runRangeStream(o *op) *difference {
	a, b := r.both(func(s *side) *answer { return s.exchange(o, [][]byte{o.Req}, 0) })
	return r.compareStreams(o, a, b)
}

func (r *runner) compareStreams(o *op, a, b *answer) *difference {
	r.mutate.answer(o, b)
	if d := r.compareStatus(o, a, b); d != nil {
		return d
	}
	wholeA, faultA := joinChunks(a)
	wholeB, faultB := joinChunks(b)
	if faultA != "" || faultB != "" {
		return r.diff(o, "chunk rules", "A: %s\n    B: %s", faultA, faultB)
	}
	req := new(pb.RangeRequest)
	proto.Unmarshal(o.Req, req)
	return r.compareMessages(o, req, wholeA, wholeB)
}

func (r *runner) runSnapshot(o *op) *difference {
	return r.patiently(o, func() *difference { return r.compareSnapshots(o) })
}

func (r *runner) compareSnapshots(o *op) *difference {
	a, b := r.both(func(s *side) *answer { return s.exchange(o, [][]byte{o.Req}, 0) })
	faultA, faultB := checkSnapshot(a), checkSnapshot(b)
	if faultA != "" || faultB != "" {
		return r.diff(o, "snapshot rules", "A: %s\n    B: %s", faultA, faultB)
	}
	va, vb := new(pb.SnapshotResponse), new(pb.SnapshotResponse)
	proto.Unmarshal(a.msgs[0], va)
	proto.Unmarshal(b.msgs[0], vb)
	if va.Version != vb.Version {
		return r.diff(o, "version", "A: %q\n    B: %q", va.Version, vb.Version)
	}
	return nil
}

func (r *runner) runKeepAlive(o *op) *difference {
	a, b := r.both(func(s *side) *answer { return s.exchange(o, o.Reqs, 0) })
	d := r.compareAnswers(o, a, b)
	if d != nil {
		return d
	}
	for _, raw := range o.Reqs {
		q := new(pb.LeaseKeepAliveRequest)
		if proto.Unmarshal(raw, q) == nil {
			r.learn(q, &pb.LeaseKeepAliveResponse{})
		}
	}
	return nil
}

// runAutoGrant lets each server pick a lease id, attaches nothing, and revokes it again.
func (r *runner) runAutoGrant(o *op) *difference {
	grant := &op{Kind: opUnary, Method: "/etcdserverpb.Lease/LeaseGrant", Req: o.Req}
	a, b := r.both(func(s *side) *answer { return s.unary(grant) })
	if d := r.compareStatus(o, a, b); d != nil || a.code != codes.OK {
		return d
	}
	var got [2]pb.LeaseGrantResponse
	for i, x := range []*answer{a, b} {
		if err := proto.Unmarshal(x.msgs[0], &got[i]); err != nil {
			return r.diff(o, "broken message", "server %s: %v", r.sides[i].name, err)
		}
		if got[i].ID <= 0 {
			return r.diff(o, "ID", "server %s picked the lease id %d", r.sides[i].name, got[i].ID)
		}
	}
	ids := [2]int64{got[0].ID, got[1].ID}
	got[0].ID, got[1].ID = 0, 0
	r.sides[0].normalise(&got[0])
	r.sides[1].normalise(&got[1])
	if !proto.Equal(&got[0], &got[1]) {
		return r.diff(o, "answer", "A: %s\n    B: %s", oneLine(&got[0]), oneLine(&got[1]))
	}
	a, b = r.both(func(s *side) *answer {
		raw, _ := proto.Marshal(&pb.LeaseRevokeRequest{ID: ids[s.index]})
		return s.unary(&op{Kind: opUnary, Method: "/etcdserverpb.Lease/LeaseRevoke", Req: raw})
	})
	return r.compareAnswers(&op{Kind: opAutoGrant, Method: "/etcdserverpb.Lease/LeaseRevoke"}, a, b)
}

// runExpire grants a lease of the shortest TTL, runs the requests (which attach keys), and waits
// for both servers to expire it: never early, and in one revision.
func (r *runner) runExpire(o *op) *difference {
	if d := r.drain(o); d != nil {
		return d
	}
	grant := &op{Kind: opUnary, Method: "/etcdserverpb.Lease/LeaseGrant", Req: o.Reqs[0]}
	granted := time.Now()
	if d := r.runUnary(grant); d != nil {
		return d
	}
	q := new(pb.LeaseGrantRequest)
	proto.Unmarshal(o.Reqs[0], q)
	for _, raw := range o.Reqs[1:] {
		if d := r.runUnary(&op{Kind: opUnary, Method: "/etcdserverpb.KV/Put", Req: raw}); d != nil {
			return d
		}
	}
	if r.leases[q.ID] == nil {
		return nil // refused
	}
	delete(r.leases, q.ID)
	ask, _ := proto.Marshal(&pb.LeaseTimeToLiveRequest{ID: q.ID, Keys: true})
	ttl := &op{Kind: opUnary, Method: "/etcdserverpb.Lease/LeaseTimeToLive", Req: ask}
	if d := r.awaitExpiry(o, ttl, granted); d != nil {
		return d
	}
	if d := r.runUnary(ttl); d != nil {
		return d
	}
	return r.drain(o)
}

// awaitExpiry waits until both servers answer that the lease is gone, and complains about one that
// says so too early or never.
func (r *runner) awaitExpiry(o, ttl *op, granted time.Time) *difference {
	var gone [2]bool
	for !gone[0] || !gone[1] {
		for i, s := range r.sides {
			resp := new(pb.LeaseTimeToLiveResponse)
			a := s.unary(ttl)
			age := time.Since(granted)
			if gone[i] {
				continue
			}
			gone[i] = a.code == codes.OK && proto.Unmarshal(a.msgs[0], resp) == nil && resp.TTL == -1
			if gone[i] && age < minTTL*time.Second {
				return r.diff(o, "early", "server %s expired a lease of %d s after %v", s.name, minTTL, age)
			}
			if !gone[i] && age > 30*time.Second {
				return r.diff(o, "never", "server %s did not expire a lease of %d s in %v", s.name, minTTL, age)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

func (r *runner) runRestart(o *op) *difference {
	if r.sides[0].command == "" || r.sides[1].command == "" {
		return nil
	}
	if d := r.drain(o); d != nil {
		return d
	}
	sig := syscall.SIGTERM
	if o.Signal == "KILL" {
		sig = syscall.SIGKILL
	}
	for _, s := range r.sides {
		if sig == syscall.SIGKILL {
			// Both die with their streams open, as in life.
			s.cmd.Process.Signal(sig)
		}
	}
	r.close()
	for _, s := range r.sides {
		if trouble := s.stop(sig); trouble != "" && sig != syscall.SIGKILL {
			d := r.diff(o, "end", "%s", trouble)
			d.diverged = true
			return d
		}
	}
	for _, s := range r.sides {
		s.useFlags(o.Flags)
		if err := s.start(); err != nil {
			d := r.diff(o, "start", "%v", err)
			d.diverged = true
			return d
		}
	}
	r.started = time.Now()
	for _, l := range r.leases {
		l.expiry = time.Now().Add(time.Duration(l.ttl) * time.Second)
	}
	return r.sweep(o)
}

// sweep compares everything the two servers can be asked about their data.
func (r *runner) sweep(o *op) *difference {
	steps := []proto.Message{
		&pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}},
		&pb.HashKVRequest{},
		&pb.LeaseLeasesRequest{},
		&pb.AlarmRequest{},
		&pb.MemberListRequest{},
	}
	for i := int64(0); i < 6; i++ {
		rev := r.rev - (r.rev-r.compact)*i/5
		if rev > 0 {
			steps = append(steps, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Revision: rev})
		}
	}
	ids := make([]int64, 0, len(r.leases))
	for id := range r.leases {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	for _, id := range ids {
		steps = append(steps, &pb.LeaseTimeToLiveRequest{ID: id, Keys: true})
	}
	for _, m := range steps {
		raw, _ := proto.Marshal(m)
		step := &op{Kind: opUnary, Method: methodOf(m), Req: raw}
		r.counts["after restart"]++
		if d := r.runUnary(step); d != nil {
			d.signature = "after restart: " + d.signature
			d.diverged = true
			return d
		}
	}
	return nil
}

func methodOf(m proto.Message) string {
	switch m.(type) {
	case *pb.RangeRequest:
		return "/etcdserverpb.KV/Range"
	case *pb.PutRequest:
		return "/etcdserverpb.KV/Put"
	case *pb.DeleteRangeRequest:
		return "/etcdserverpb.KV/DeleteRange"
	case *pb.TxnRequest:
		return "/etcdserverpb.KV/Txn"
	case *pb.CompactionRequest:
		return "/etcdserverpb.KV/Compact"
	}
	name := string(m.ProtoReflect().Descriptor().Name())
	name = strings.TrimSuffix(name, "Request")
	for _, svc := range []string{"Lease", "Cluster", "Maintenance"} {
		full := "/etcdserverpb." + svc + "/" + name
		if _, _, ok := methodTypes(full); ok {
			return full
		}
	}
	panic("no method for " + name)
}
