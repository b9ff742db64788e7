// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	callTimeout = 20 * time.Second
	generalKeys = 12 // keys that everything happens to
	linearKeys  = 4  // keys of the generic check: fewer requests, all of them simple
	shortTTL    = 2 * time.Second
)

// client is one of the concurrent users of the server.
type client struct {
	id       int
	rng      *rand.Rand
	conn     *grpc.ClientConn
	rec      *record
	tamper   *tamper
	seq      int
	recorded func() int64     // up to where the recorder has come
	head     int64            // newest revision seen
	floor    int64            // newest compaction asked for
	mods     map[string]int64 // mod revisions seen
	leases   []int64
	endings  bool // grant leases that end by themselves
}

func (c *client) n(n int) int     { return c.rng.Intn(n) }
func (c *client) one(in int) bool { return c.rng.Intn(in) == 0 }

func (c *client) key() []byte { return []byte(fmt.Sprintf("r/%02d", c.n(generalKeys))) }
func linearKey(i int) []byte  { return []byte(fmt.Sprintf("l/%d", i)) }

// value is never the same twice, so that it names the request that wrote it.
func (c *client) value() []byte {
	c.seq++
	v := fmt.Sprintf("%d.%d", c.id, c.seq)
	if c.one(50) {
		return append([]byte(v+" "), make([]byte, c.n(30000))...)
	}
	return []byte(v)
}

var methods = map[string]string{
	"RangeRequest": "KV/Range", "PutRequest": "KV/Put", "DeleteRangeRequest": "KV/DeleteRange", "TxnRequest": "KV/Txn", "CompactionRequest": "KV/Compact",
	"LeaseGrantRequest": "Lease/LeaseGrant", "LeaseRevokeRequest": "Lease/LeaseRevoke", "LeaseTimeToLiveRequest": "Lease/LeaseTimeToLive",
}

func answerTo(req proto.Message) proto.Message {
	switch req.(type) {
	case *pb.RangeRequest:
		return new(pb.RangeResponse)
	case *pb.PutRequest:
		return new(pb.PutResponse)
	case *pb.DeleteRangeRequest:
		return new(pb.DeleteRangeResponse)
	case *pb.TxnRequest:
		return new(pb.TxnResponse)
	case *pb.CompactionRequest:
		return new(pb.CompactionResponse)
	case *pb.LeaseGrantRequest:
		return new(pb.LeaseGrantResponse)
	case *pb.LeaseRevokeRequest:
		return new(pb.LeaseRevokeResponse)
	}
	return new(pb.LeaseTimeToLiveResponse)
}

func methodOf(req proto.Message) string {
	return "/etcdserverpb." + methods[string(req.ProtoReflect().Descriptor().Name())]
}

// do sends a request and records it. Some writes are given up, so that nobody knows what came of them.
func (c *client) do(req proto.Message, linear bool) *call {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	k := &call{client: c.id, req: req, resp: answerTo(req), linear: linear}
	_, isRead := req.(*pb.RangeRequest)
	if odds := 40; !isRead && (!linear && c.one(odds) || linear && c.one(4*odds)) {
		time.AfterFunc(time.Duration(c.n(3000))*time.Microsecond, cancel)
	}
	k.sent = c.rec.now()
	var err error
	if isRead && !linear && c.one(5) {
		k.stream = true
		err = rangeStream(ctx, c.conn, req.(*pb.RangeRequest), k.resp.(*pb.RangeResponse))
	} else {
		err = c.conn.Invoke(ctx, methodOf(req), req, k.resp)
	}
	k.came = c.rec.now()
	s := status.Convert(err)
	k.code, k.text = s.Code(), s.Message()
	switch k.code {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable, codes.Internal, codes.Unknown:
		k.unknown = true
	case codes.OK:
		c.tamper.answer(k)
		if h := k.resp.(headed).GetHeader(); h != nil {
			k.rev = h.Revision
			c.head = max(c.head, k.rev)
		}
	}
	c.rec.add(k)
	return k
}

func rangeStream(ctx context.Context, conn *grpc.ClientConn, q *pb.RangeRequest, whole *pb.RangeResponse) error {
	st, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/etcdserverpb.KV/RangeStream")
	if err != nil {
		return err
	}
	if err := st.SendMsg(q); err != nil {
		return err
	}
	st.CloseSend()
	for {
		m := new(pb.RangeStreamResponse)
		err := st.RecvMsg(m)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r := m.RangeResponse
		whole.Kvs = append(whole.Kvs, r.GetKvs()...)
		whole.Header, whole.More, whole.Count = r.GetHeader(), r.GetMore(), r.GetCount()
	}
}

// step does one thing, chosen at random.
func (c *client) step() {
	switch x := c.n(100); {
	case x < 22:
		c.linearStep()
	case x < 42:
		c.put()
	case x < 62:
		c.do(c.list(), false)
	case x < 78:
		c.update()
	case x < 86:
		c.do(c.together(), false)
	case x < 91:
		c.do(&pb.DeleteRangeRequest{Key: c.key(), PrevKv: c.one(2)}, false)
	case x < 92:
		from := c.key()
		c.do(&pb.DeleteRangeRequest{Key: from, RangeEnd: append(append([]byte(nil), from...), '9'), PrevKv: c.one(2)}, false)
	case x < 94:
		c.do(&pb.DeleteRangeRequest{Key: []byte("r/0"), RangeEnd: []byte("r/03")}, false)
	case x < 98:
		c.lease()
	default:
		// Not above what the recorder has, or it would be cut off as others may be.
		if to := min(c.head-int64(c.n(200)), c.recorded()); to > c.floor+30 {
			c.floor = to
			c.do(&pb.CompactionRequest{Revision: to, Physical: c.one(3)}, false)
		}
	}
}

func (c *client) put() {
	q := &pb.PutRequest{Key: c.key(), Value: c.value(), PrevKv: c.one(2)}
	if len(c.leases) > 0 && c.one(4) {
		q.Lease = c.leases[c.n(len(c.leases))]
	}
	c.do(q, false)
}

// list reads one key, some or all, now or at a revision of the past.
func (c *client) list() *pb.RangeRequest {
	q := &pb.RangeRequest{Key: c.key(), Serializable: c.one(4)}
	switch c.n(4) {
	case 0:
		q.Key, q.RangeEnd = []byte("r/"), []byte("r0")
	case 1:
		q.Key, q.RangeEnd = []byte{0}, []byte{0}
	case 2:
		q.RangeEnd = c.key()
	}
	if c.one(4) {
		q.Limit = int64(c.n(6))
	}
	q.CountOnly, q.KeysOnly = c.one(10), c.one(10)
	if c.one(3) && c.head > 1 {
		q.Revision = max(1, c.head-int64(c.n(60)))
	}
	return q
}

// update is what kube-apiserver does: put, create or delete if the key is as it was last seen.
func (c *client) update() {
	key := c.key()
	q := &pb.TxnRequest{
		Compare: []*pb.Compare{{Target: pb.Compare_MOD, Result: pb.Compare_EQUAL, Key: key, TargetUnion: &pb.Compare_ModRevision{ModRevision: c.mods[string(key)]}}},
		Failure: []*pb.RequestOp{rangeOp(&pb.RangeRequest{Key: key})},
	}
	if c.one(4) {
		q.Success = []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: key, PrevKv: c.one(2)}}}}
	} else {
		q.Success = []*pb.RequestOp{putOp(&pb.PutRequest{Key: key, Value: c.value()})}
	}
	k := c.do(q, false)
	if k.code != codes.OK || k.unknown {
		return
	}
	a := k.resp.(*pb.TxnResponse)
	if a.Succeeded {
		c.mods[string(key)] = k.rev
		return
	}
	c.mods[string(key)] = 0
	for _, r := range a.Responses {
		for _, kv := range r.GetResponseRange().GetKvs() {
			c.mods[string(key)] = kv.ModRevision
		}
	}
}

func putOp(q *pb.PutRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: q}}
}

func rangeOp(q *pb.RangeRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: q}}
}

// together changes several keys in one revision, and looks before and after.
func (c *client) together() *pb.TxnRequest {
	q := new(pb.TxnRequest)
	if c.one(3) {
		q.Compare = append(q.Compare, &pb.Compare{Target: pb.Compare_VERSION, Result: pb.Compare_CompareResult(c.n(4)), Key: c.key(), TargetUnion: &pb.Compare_Version{Version: int64(c.n(3))}})
	}
	if c.one(5) {
		q.Success = append(q.Success, rangeOp(&pb.RangeRequest{Key: []byte("r/"), RangeEnd: []byte("r0"), Limit: 3}))
	}
	put := make(map[string]bool)
	for range 1 + c.n(5) {
		key := c.key()
		if !put[string(key)] {
			put[string(key)] = true
			q.Success = append(q.Success, putOp(&pb.PutRequest{Key: key, Value: c.value(), PrevKv: c.one(3)}))
		}
	}
	if key := c.key(); !put[string(key)] && c.one(3) {
		q.Success = append(q.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: key}}})
	}
	if c.one(3) {
		q.Success = append(q.Success, rangeOp(&pb.RangeRequest{Key: []byte("r/"), RangeEnd: []byte("r0"), Limit: 3}))
	}
	q.Failure = []*pb.RequestOp{rangeOp(&pb.RangeRequest{Key: c.key()}), rangeOp(&pb.RangeRequest{Key: c.key()})}
	return q
}

// lease grants, revokes, or grants one that ends by itself while the others work.
func (c *client) lease() {
	switch {
	case len(c.leases) > 0 && c.one(3):
		i := c.n(len(c.leases))
		c.do(&pb.LeaseRevokeRequest{ID: c.leases[i]}, false)
		c.leases = append(c.leases[:i], c.leases[i+1:]...)
	case len(c.leases) < 3:
		c.seq++
		q := &pb.LeaseGrantRequest{ID: int64(c.id+1)<<32 | int64(c.seq), TTL: 3600}
		if c.endings && c.one(3) {
			q.TTL = 1
			c.rec.mu.Lock()
			c.rec.leases[q.ID] = time.Now().Add(shortTTL)
			c.rec.mu.Unlock()
		}
		if k := c.do(q, false); k.code == codes.OK && !k.unknown {
			c.leases = append(c.leases, q.ID)
		}
	}
}

// linearStep is one request of those that the generic check understands.
func (c *client) linearStep() {
	key := linearKey(c.n(linearKeys))
	var q proto.Message
	switch x := c.n(10); {
	case x < 3:
		q = &pb.PutRequest{Key: key, Value: c.small()}
	case x < 5:
		q = &pb.RangeRequest{Key: key, Serializable: c.one(4)}
	case x < 6:
		q = &pb.RangeRequest{Key: []byte("l/"), RangeEnd: []byte("l0")}
	case x < 7:
		q = &pb.DeleteRangeRequest{Key: key}
	case x < 9:
		q = &pb.TxnRequest{
			Compare: []*pb.Compare{{Target: pb.Compare_VALUE, Result: pb.Compare_EQUAL, Key: key, TargetUnion: &pb.Compare_Value{Value: c.guess(key)}}},
			Success: []*pb.RequestOp{putOp(&pb.PutRequest{Key: key, Value: c.small()})},
			Failure: []*pb.RequestOp{rangeOp(&pb.RangeRequest{Key: key})},
		}
	default:
		i := c.n(linearKeys - 1)
		q = &pb.TxnRequest{Success: []*pb.RequestOp{putOp(&pb.PutRequest{Key: linearKey(i), Value: c.small()}),
			putOp(&pb.PutRequest{Key: linearKey(i + 1), Value: c.small()}), rangeOp(&pb.RangeRequest{Key: []byte("l/"), RangeEnd: []byte("l0")})}}
	}
	c.do(q, true)
}

func (c *client) small() []byte {
	c.seq++
	return []byte(fmt.Sprintf("%d.%d", c.id, c.seq))
}

// guess is a value that the key had a moment ago.
func (c *client) guess(key []byte) []byte {
	k := c.do(&pb.RangeRequest{Key: key}, true)
	if k.code == codes.OK {
		for _, kv := range k.resp.(*pb.RangeResponse).Kvs {
			return kv.Value
		}
	}
	return []byte("none")
}
