// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	workers  = 12
	conns    = 5
	watchers = 6

	errCompacted     = "etcdserver: mvcc: required revision has been compacted"
	errLeaseNotFound = "etcdserver: requested lease not found"
	errLeaseExists   = "etcdserver: lease already exists"
)

// load is the clients of one round: workers, watchers and the recorder, all until the server is killed.
type load struct {
	l        *ledger
	srv      *server
	conns    []*grpc.ClientConn
	ctx      context.Context
	end      context.CancelFunc
	acks     atomic.Int64
	onAck    func(n int64) // called by the client that got the n-th acknowledgement
	killed   atomic.Bool
	recTo    atomic.Int64 // the recorder has heard everything up to here
	faults   *faults
	wg       sync.WaitGroup
	mu       sync.Mutex
	ops      []*op
	watches  []*watch
	snapshot *snapshot        // the last one
	hints    map[string]int64 // mod revisions as clients last saw them
}

func newLoad(l *ledger, srv *server, f *faults) (*load, error) {
	d := &load{l: l, srv: srv, faults: f, hints: map[string]int64{}}
	d.ctx, d.end = context.WithCancel(context.Background())
	for range conns {
		c, err := srv.dial()
		if err != nil {
			return nil, err
		}
		d.conns = append(d.conns, c)
	}
	d.recTo.Store(l.m.head)
	return d, nil
}

func (d *load) start(seed int64) {
	for i := range workers {
		d.wg.Add(1)
		go d.work(rand.New(rand.NewSource(seed+int64(i))), d.conns[i%conns])
	}
	for i := range watchers {
		d.wg.Add(1)
		go d.watchOn(rand.New(rand.NewSource(seed+100+int64(i))), d.conns[i%conns])
	}
}

// finish is called when the server is gone.
func (d *load) finish() {
	d.end()
	d.wg.Wait()
	for _, c := range d.conns {
		c.Close()
	}
}

func (d *load) work(rng *rand.Rand, c *grpc.ClientConn) {
	defer d.wg.Done()
	for d.ctx.Err() == nil {
		o := d.generate(rng)
		d.do(c, o)
		if o.outcome == unknown {
			return
		}
	}
}

// do sends one op, notes what became of it, and tells the ledger what must be known while others still run.
func (d *load) do(c *grpc.ClientConn, o *op) {
	o.id = d.l.nextID.Add(1)
	d.before(o)
	o.floor = d.l.observed.Load()
	o.sent = time.Now()
	err := d.faults.swallow(o, d.l)
	if !errors.Is(err, errSwallowed) {
		err = d.send(c, o)
	} else {
		err = nil
	}
	o.err = err
	switch s := status.Convert(err); {
	case err == nil:
		o.outcome = acked
	case strings.HasPrefix(s.Message(), "etcdserver: ") && !strings.Contains(s.Message(), "stopped") &&
		!strings.Contains(s.Message(), "timed out") && !strings.Contains(s.Message(), "leader"):
		o.outcome = refused
		o.err = errors.New(s.Message())
	}
	d.after(o)
	if o.outcome == unknown && !d.killed.Load() && !d.srv.hasEnded() {
		time.Sleep(50 * time.Millisecond) // the kill may be on its way
		if !d.killed.Load() {
			d.l.problem("%v, but nobody had killed the server", o)
		}
	}
	if o.outcome == acked {
		d.l.observe(o.head)
		if n := d.acks.Add(1); d.onAck != nil {
			d.onAck(n)
		}
	}
}

// before notes what may happen from now on.
func (d *load) before(o *op) {
	l := d.l
	l.mu.Lock()
	defer l.mu.Unlock()
	switch o.kind {
	case opCompact:
		l.compactMax = max(l.compactMax, o.rev)
		l.asked[o.rev] = true
	case opGrant:
		l.leases[o.lease] = &lease{id: o.lease, ttl: o.ttl, safeUntil: time.Now().Add(seconds(o.ttl))}
	case opRevoke:
		l.leases[o.lease].revoking = true
	}
}

func (d *load) after(o *op) {
	d.mu.Lock()
	d.ops = append(d.ops, o)
	for _, kv := range o.kvs {
		d.hints[string(kv.Key)] = kv.ModRevision
	}
	if o.outcome == acked {
		for _, w := range o.then {
			if d.hints[w.key] = o.head; w.del {
				d.hints[w.key] = 0
			}
		}
	}
	d.mu.Unlock()
	if o.outcome == acked {
		d.l.settled(o)
	}
}

// settled notes what an answer makes certain.
func (l *ledger) settled(o *op) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch o.kind {
	case opCompact:
		l.compacted = max(l.compacted, o.rev)
	case opGrant:
		l.leases[o.lease].granted = true
	case opRevoke:
		l.leases[o.lease].gone = true
	case opKeepAlive:
		if e := l.leases[o.lease]; o.ttl > 0 {
			e.renewed(o.sent)
		} else if !e.revoking && !e.gone && time.Now().Before(e.safeUntil) {
			l.problems = append(l.problems, fmt.Sprintf("%v: the lease is lost", o))
		}
	}
}

// renewed: the lease was alive at that moment, and has its whole ttl from some later one on.
func (e *lease) renewed(t time.Time) {
	if until := t.Add(seconds(e.ttl)); until.After(e.safeUntil) {
		e.safeUntil = until
	}
}

// restarted: what was alive when the old process ended has its whole ttl from the start of the new one on.
func (l *ledger) restarted(ended, spawned time.Time) {
	for _, e := range l.leases {
		if e.granted && !e.gone && e.safeUntil.After(ended) {
			e.renewed(spawned)
		}
	}
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

func (d *load) send(c *grpc.ClientConn, o *op) error {
	ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
	defer cancel()
	kv, leases := pb.NewKVClient(c), pb.NewLeaseClient(c)
	var h *pb.ResponseHeader
	var err error
	switch o.kind {
	case opPut:
		var resp *pb.PutResponse
		if resp, err = kv.Put(ctx, o.put(0, 't', o.then[0])); err == nil {
			h, o.prev = resp.Header, resp.PrevKv
		}
	case opDelete:
		var resp *pb.DeleteRangeResponse
		if resp, err = kv.DeleteRange(ctx, del(o.then[0])); err == nil {
			h, o.deleted, o.kvs = resp.Header, resp.Deleted, resp.PrevKvs
		}
	case opTxn:
		var resp *pb.TxnResponse
		if resp, err = kv.Txn(ctx, o.txn()); err == nil {
			h, o.succeeded = resp.Header, resp.Succeeded
		}
	case opRange:
		var resp *pb.RangeResponse
		req := &pb.RangeRequest{Key: []byte(o.key), RangeEnd: []byte(o.end), Revision: o.rev}
		if resp, err = kv.Range(ctx, req); err == nil {
			h, o.kvs = resp.Header, resp.Kvs
		}
	case opCompact:
		var resp *pb.CompactionResponse
		if resp, err = kv.Compact(ctx, &pb.CompactionRequest{Revision: o.rev, Physical: o.physical}); err == nil {
			h = resp.Header
		}
	case opGrant:
		var resp *pb.LeaseGrantResponse
		if resp, err = leases.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: o.lease, TTL: o.ttl}); err == nil {
			h = resp.Header
		}
	case opRevoke:
		var resp *pb.LeaseRevokeResponse
		if resp, err = leases.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: o.lease}); err == nil {
			h = resp.Header
		}
	default:
		h, err = d.sendOther(ctx, c, o)
	}
	if err == nil {
		o.head = h.Revision
	}
	return err
}

func (d *load) sendOther(ctx context.Context, c *grpc.ClientConn, o *op) (*pb.ResponseHeader, error) {
	m := pb.NewMaintenanceClient(c)
	switch o.kind {
	case opKeepAlive:
		st, err := pb.NewLeaseClient(c).LeaseKeepAlive(ctx)
		if err != nil {
			return nil, err
		}
		if err := st.Send(&pb.LeaseKeepAliveRequest{ID: o.lease}); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		resp, err := st.Recv()
		if err != nil {
			return nil, err
		}
		o.ttl = resp.TTL
		return resp.Header, nil
	case opDefragment:
		// etcd's answer has no header
		_, err := m.Defragment(ctx, &pb.DefragmentRequest{})
		return &pb.ResponseHeader{Revision: o.floor}, err
	case opHash:
		resp, err := m.HashKV(ctx, &pb.HashKVRequest{})
		if err != nil {
			return nil, err
		}
		return resp.Header, nil
	case opSnapshot:
		data, err := takeSnapshot(ctx, c)
		if err == nil {
			d.mu.Lock()
			d.snapshot = &snapshot{floor: o.floor, data: data}
			d.mu.Unlock()
		}
		return &pb.ResponseHeader{Revision: o.floor}, err
	}
	panic(o.kind)
}

func (o *op) put(i int, branch byte, w write) *pb.PutRequest {
	return &pb.PutRequest{Key: []byte(w.key), Value: o.value(branch, i, w.size), Lease: w.lease,
		PrevKv: o.kind == opPut}
}

func del(w write) *pb.DeleteRangeRequest {
	return &pb.DeleteRangeRequest{Key: []byte(w.key), RangeEnd: []byte(w.end), PrevKv: true}
}

func (o *op) txn() *pb.TxnRequest {
	req := new(pb.TxnRequest)
	for _, c := range o.conds {
		req.Compare = append(req.Compare, &pb.Compare{Result: pb.Compare_EQUAL, Target: pb.Compare_MOD,
			Key: []byte(c.key), TargetUnion: &pb.Compare_ModRevision{ModRevision: c.mod}})
	}
	req.Success, req.Failure = o.requests('t', o.then), o.requests('e', o.els)
	return req
}

func (o *op) requests(branch byte, writes []write) []*pb.RequestOp {
	var out []*pb.RequestOp
	for i, w := range writes {
		if w.del {
			out = append(out, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: del(w)}})
		} else {
			out = append(out, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: o.put(i, branch, w)}})
		}
	}
	return out
}
