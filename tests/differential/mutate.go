// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math/rand"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// mutateModes are the single faults this program can put into B's answers, to prove that it sees
// them: a comparison that was never seen to fail proves nothing.
var mutateModes = []string{"response", "error", "event", "drop", "double", "swap", "late", "silent", "split"}

// mutator puts one fault into the answers of B. A nil mutator does nothing.
type mutator struct {
	mode string
	mu   sync.Mutex
	rng  *rand.Rand
	what string // the fault put in; empty until then
	held *pb.WatchResponse
	rest *pb.WatchResponse
}

func newMutator(mode string, seed int64) *mutator {
	if mode == "" {
		return nil
	}
	return &mutator{mode: mode, rng: rand.New(rand.NewSource(seed))}
}

// chance is true about once in n calls, until a fault was put in.
func (m *mutator) chance(n int) bool {
	return m.what == "" && m.rng.Intn(n) == 0
}

// Fields that two correct servers may fill differently: a change there must not be seen.
func excused(fd protoreflect.FieldDescriptor) bool {
	n := string(fd.Name())
	return strings.HasPrefix(n, "raft") || strings.HasPrefix(n, "dbSize") || n == "TTL" || n == "peerURLs" || n == "hash"
}

func (m *mutator) answer(o *op, b *answer) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.mode == "error" && b.code != codes.OK && b.text != "" && m.chance(5):
		if m.rng.Intn(2) == 0 {
			b.code = b.code%16 + 1
			m.what = "code of " + o.String()
		} else {
			b.text += "."
			m.what = "text of " + o.String()
		}
	case m.mode == "response" && b.code == codes.OK && len(b.msgs) == 1 && m.chance(20):
		m.alterAnswer(o, b)
	}
}

func (m *mutator) alterAnswer(o *op, b *answer) {
	req, resp, ok := methodTypes(o.Method)
	if !ok || strings.HasSuffix(o.Method, "HashKV") || proto.Unmarshal(b.msgs[0], resp) != nil {
		return
	}
	// In a sort with ties the choice of keys is the server's.
	if q, isRange := req.(*pb.RangeRequest); isRange {
		if proto.Unmarshal(o.Req, q) != nil || q.SortTarget != pb.RangeRequest_KEY {
			return
		}
	}
	if strings.HasSuffix(o.Method, "/Txn") && strings.Contains(describe(o), "sort_target") {
		return
	}
	if m.alter(resp) == "" {
		return
	}
	raw, err := proto.Marshal(resp)
	if err != nil {
		return
	}
	b.msgs[0] = raw
}

// alter changes one scalar of a message and returns its name.
func (m *mutator) alter(msg proto.Message) string {
	type place struct {
		m  protoreflect.Message
		fd protoreflect.FieldDescriptor
	}
	var places []place
	forEachScalar(msg.ProtoReflect(), func(pm protoreflect.Message, fd protoreflect.FieldDescriptor) {
		if !excused(fd) && !fd.IsList() {
			places = append(places, place{pm, fd})
		}
	})
	if len(places) == 0 {
		return ""
	}
	p := places[m.rng.Intn(len(places))]
	v := p.m.Get(p.fd)
	switch p.fd.Kind() {
	case protoreflect.BoolKind:
		v = protoreflect.ValueOfBool(!v.Bool())
	case protoreflect.BytesKind:
		v = protoreflect.ValueOfBytes(append(append([]byte(nil), v.Bytes()...), 'x'))
	case protoreflect.StringKind:
		v = protoreflect.ValueOfString(v.String() + "x")
	case protoreflect.EnumKind:
		v = protoreflect.ValueOfEnum(v.Enum() + 1)
	case protoreflect.Int64Kind:
		v = protoreflect.ValueOfInt64(v.Int() + 1)
	case protoreflect.Uint64Kind:
		v = protoreflect.ValueOfUint64(v.Uint() + 1)
	case protoreflect.Int32Kind:
		v = protoreflect.ValueOfInt32(int32(v.Int()) + 1)
	case protoreflect.Uint32Kind:
		v = protoreflect.ValueOfUint32(uint32(v.Uint()) + 1)
	default:
		return ""
	}
	p.m.Set(p.fd, v)
	m.what = string(p.fd.FullName())
	return m.what
}

// watch gives the function that tampers with the watch responses of side number i.
func (m *mutator) watch(i int) func(*pb.WatchResponse) []*pb.WatchResponse {
	if m == nil || i == 0 {
		return nil
	}
	return func(r *pb.WatchResponse) []*pb.WatchResponse {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.tamper(r)
	}
}

func (m *mutator) tamper(r *pb.WatchResponse) []*pb.WatchResponse {
	isProgress := len(r.Events) == 0 && !r.Created && !r.Canceled
	out := []*pb.WatchResponse{r}
	if m.held != nil && isProgress {
		out = append(out, m.held)
		m.held = nil
		return out
	}
	if len(r.Events) == 0 {
		return out
	}
	switch m.mode {
	case "event":
		if m.chance(4) {
			m.alter(r.Events[m.rng.Intn(len(r.Events))])
		}
	case "drop":
		if m.chance(4) {
			m.what = "dropped " + oneLine(r)
			return nil
		}
	case "double":
		if m.chance(4) {
			m.what = "doubled " + oneLine(r)
			return append(out, r)
		}
	case "swap":
		if n := len(r.Events); n > 1 && m.chance(2) {
			r.Events[0], r.Events[n-1] = r.Events[n-1], r.Events[0]
			m.what = "swapped in " + oneLine(r)
		}
	case "late":
		if m.chance(4) {
			m.what = "held back until after progress: " + oneLine(r)
			m.held = r
			return nil
		}
	case "silent":
		if m.chance(4) {
			m.what = "header revision of " + oneLine(r)
			r.Header.Revision = r.Events[0].Kv.ModRevision - 1
		}
	case "split":
		n := len(r.Events)
		if n > 1 && r.Events[0].Kv.ModRevision == r.Events[n-1].Kv.ModRevision && m.chance(2) {
			m.what = "split " + oneLine(r)
			second := proto.Clone(r).(*pb.WatchResponse)
			second.Events = second.Events[1:]
			r.Events = r.Events[:1]
			return append(out, second)
		}
	}
	return out
}
