// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math/rand"
	"sync"

	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// faultSorts are the faults that can be put between the server and the clients, and the check that must see
// each: a check that was never seen to fail proves nothing.
var faultSorts = []string{"lost", "doubled", "reordered", "split", "late", "high", "prev", "noprev", "filter", "gap", "overlap", "other",
	"stale", "old", "cas", "revision", "previous"}

// tamper puts one sort of fault into what clients are told, now and then. A nil tamper does nothing.
type tamper struct {
	sort string
	mu   sync.Mutex
	rng  *rand.Rand
	done int
	held []*pb.WatchResponse
	kept map[string]proto.Message
}

func newTamper(sort string, seed int64) *tamper {
	if sort == "" {
		return nil
	}
	return &tamper{sort: sort, rng: rand.New(rand.NewSource(seed)), kept: make(map[string]proto.Message)}
}

func (t *tamper) chance(n int) bool {
	if t.rng.Intn(n) != 0 {
		return false
	}
	t.done++
	return true
}

// create changes what a watcher asks for without telling it.
func (t *tamper) create(q *pb.WatchCreateRequest, head int64) *pb.WatchCreateRequest {
	if t == nil {
		return q
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := proto.Clone(q).(*pb.WatchCreateRequest)
	switch {
	case t.sort == "filter" && len(q.Filters) > 0 && t.chance(1):
		c.Filters = nil
	case t.sort == "gap" && q.StartRevision > 1 && q.StartRevision+3 < head && t.chance(2):
		c.StartRevision += 3
	case t.sort == "overlap" && q.StartRevision > 4 && t.chance(2):
		c.StartRevision -= 3
	}
	return c
}

// watch changes, holds back or doubles a response.
func (t *tamper) watch(r *pb.WatchResponse) []*pb.WatchResponse {
	out := []*pb.WatchResponse{r}
	if t == nil {
		return out
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(r.Events)
	if n == 0 {
		isProgress := !r.Created && !r.Canceled && r.WatchId == -1
		if isProgress && t.sort == "high" && t.chance(5) {
			r.Header.Revision += 2
		}
		return out
	}
	switch t.sort {
	case "lost":
		if t.chance(20) {
			return nil
		}
	case "doubled":
		if t.chance(20) {
			return append(out, r)
		}
	case "reordered":
		if n > 1 && t.chance(4) {
			r.Events[0], r.Events[n-1] = r.Events[n-1], r.Events[0]
		}
	case "split":
		if n > 1 && r.Events[0].Kv.ModRevision == r.Events[n-1].Kv.ModRevision && t.chance(3) {
			second := proto.Clone(r).(*pb.WatchResponse)
			second.Events = second.Events[1:]
			r.Events = r.Events[:1]
			return append(out, second)
		}
	case "late":
		if t.chance(10) {
			early := &pb.WatchResponse{Header: r.Header, WatchId: r.WatchId}
			return []*pb.WatchResponse{early, r}
		}
	case "prev", "noprev", "other":
		t.event(r.Events[t.rng.Intn(n)])
	}
	return out
}

func (t *tamper) event(e *mvccpb.Event) {
	switch {
	case t.sort == "other" && t.chance(10):
		e.Kv.Key = append(append([]byte(nil), e.Kv.Key...), 'x')
	case t.sort == "prev" && e.PrevKv != nil && t.chance(10):
		e.PrevKv.ModRevision--
	case t.sort == "noprev" && e.PrevKv != nil && t.chance(10):
		e.PrevKv = nil
	}
}

// answer changes the answer to a request.
func (t *tamper) answer(k *call) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch a := k.resp.(type) {
	case *pb.RangeResponse:
		t.list(k, a)
	case *pb.TxnResponse:
		if q := k.req.(*pb.TxnRequest); t.sort == "cas" && k.linear && len(q.Compare) > 0 && !a.Succeeded && t.chance(3) {
			a.Succeeded = true
			a.Responses = []*pb.ResponseOp{{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{Header: header(a.Header.Revision)}}}}
		}
	case *pb.PutResponse:
		if t.sort == "revision" && t.chance(20) {
			a.Header.Revision++
		}
		if t.sort == "previous" && a.PrevKv != nil && t.chance(20) {
			a.PrevKv.Version++
		}
	}
}

// list answers a read with what the same read was told before: as a whole, or with a header of now.
func (t *tamper) list(k *call, a *pb.RangeResponse) {
	q := k.req.(*pb.RangeRequest)
	if t.sort != "stale" && t.sort != "old" || q.Revision > 0 || !k.linear {
		return
	}
	name := string(q.Key) + "," + string(q.RangeEnd)
	before, _ := t.kept[name].(*pb.RangeResponse)
	t.kept[name] = proto.Clone(a)
	if before == nil || len(before.Kvs) == len(a.Kvs) && (len(a.Kvs) == 0 || proto.Equal(before.Kvs[0], a.Kvs[0])) || !t.chance(3) {
		return
	}
	now := a.Header
	proto.Reset(a)
	proto.Merge(a, before)
	if t.sort == "old" {
		a.Header = now
	}
}
