// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"sort"

	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// version is what one revision made of a key; kv is nil when it was deleted.
type version struct {
	rev int64
	kv  *mvccpb.KeyValue
}

// change is what one revision did to one key, in the order in which it did it.
type change struct {
	key  string
	kv   *mvccpb.KeyValue // nil when deleted
	prev *mvccpb.KeyValue // nil when there was none
}

// model is all of a server's history, built by replaying the requests in the order of their revisions. It
// forgets nothing, so that every read, whenever and at whichever revision, can be checked.
type model struct {
	rev     int64
	keys    map[string][]version
	changes map[int64][]change
}

func newModel() *model {
	return &model{rev: 1, keys: make(map[string][]version), changes: make(map[int64][]change)}
}

// get is the state of a key as of a revision.
func (m *model) get(key string, rev int64) *mvccpb.KeyValue {
	all := m.keys[key]
	i := sort.Search(len(all), func(i int) bool { return all[i].rev > rev })
	if i == 0 {
		return nil
	}
	return all[i-1].kv
}

func inRange(key, from, end string) bool {
	switch end {
	case "":
		return key == from
	case "\x00":
		return key >= from
	}
	return key >= from && key < end
}

// view is the state as of a revision with the changes of a transaction in progress on top.
type view struct {
	m       *model
	base    int64
	rev     int64 // of the writes
	changes []change
}

func (v *view) get(key string) *mvccpb.KeyValue {
	for i := len(v.changes) - 1; i >= 0; i-- {
		if v.changes[i].key == key {
			return v.changes[i].kv
		}
	}
	return v.m.get(key, v.base)
}

// scan lists the live keys of a range in order.
func (v *view) scan(from, end string) []*mvccpb.KeyValue {
	if end == "" {
		if kv := v.get(from); kv != nil {
			return []*mvccpb.KeyValue{kv}
		}
		return nil
	}
	names := make(map[string]bool)
	for k := range v.m.keys {
		if inRange(k, from, end) {
			names[k] = true
		}
	}
	for _, c := range v.changes {
		if inRange(c.key, from, end) {
			names[c.key] = true
		}
	}
	var all []*mvccpb.KeyValue
	for k := range names {
		if kv := v.get(k); kv != nil {
			all = append(all, kv)
		}
	}
	sort.Slice(all, func(i, j int) bool { return bytes.Compare(all[i].Key, all[j].Key) < 0 })
	return all
}

func (v *view) change(key string, kv *mvccpb.KeyValue) {
	v.changes = append(v.changes, change{key: key, kv: kv, prev: v.get(key)})
}

// now is the revision that an answer inside a transaction names.
func (v *view) now() int64 {
	if len(v.changes) > 0 {
		return v.rev
	}
	return v.base
}

func header(rev int64) *pb.ResponseHeader { return &pb.ResponseHeader{Revision: rev} }

func (v *view) put(q *pb.PutRequest) *pb.PutResponse {
	old := v.get(string(q.Key))
	kv := &mvccpb.KeyValue{Key: q.Key, Value: q.Value, Lease: q.Lease, CreateRevision: v.rev, ModRevision: v.rev, Version: 1}
	if old != nil {
		kv.CreateRevision, kv.Version = old.CreateRevision, old.Version+1
		if q.IgnoreLease {
			kv.Lease = old.Lease
		}
	}
	v.change(string(q.Key), kv)
	a := &pb.PutResponse{Header: header(v.rev)}
	if q.PrevKv {
		a.PrevKv = old
	}
	return a
}

func (v *view) remove(q *pb.DeleteRangeRequest) *pb.DeleteRangeResponse {
	all := v.scan(string(q.Key), string(q.RangeEnd))
	for _, kv := range all {
		v.change(string(kv.Key), nil)
	}
	a := &pb.DeleteRangeResponse{Header: header(v.now()), Deleted: int64(len(all))}
	if q.PrevKv {
		a.PrevKvs = all
	}
	return a
}

func (v *view) list(q *pb.RangeRequest) *pb.RangeResponse {
	from := v
	if q.Revision > 0 {
		from = &view{m: v.m, base: q.Revision}
	}
	all := from.scan(string(q.Key), string(q.RangeEnd))
	a := &pb.RangeResponse{Header: header(v.now()), Count: int64(len(all))}
	if q.CountOnly {
		return a
	}
	if q.Limit > 0 && int64(len(all)) > q.Limit {
		all, a.More = all[:q.Limit], true
	}
	for _, kv := range all {
		if q.KeysOnly {
			kv = &mvccpb.KeyValue{Key: kv.Key, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version}
		}
		a.Kvs = append(a.Kvs, kv)
	}
	return a
}

func (v *view) holds(c *pb.Compare) bool {
	kv := v.get(string(c.Key))
	if kv == nil {
		kv = new(mvccpb.KeyValue)
		if c.Target == pb.Compare_VALUE {
			return false
		}
	}
	order := 0
	switch c.Target {
	case pb.Compare_MOD:
		order = compare(kv.ModRevision, c.GetModRevision())
	case pb.Compare_CREATE:
		order = compare(kv.CreateRevision, c.GetCreateRevision())
	case pb.Compare_VERSION:
		order = compare(kv.Version, c.GetVersion())
	case pb.Compare_LEASE:
		order = compare(kv.Lease, c.GetLease())
	case pb.Compare_VALUE:
		order = bytes.Compare(kv.Value, c.GetValue())
	}
	switch c.Result {
	case pb.Compare_EQUAL:
		return order == 0
	case pb.Compare_GREATER:
		return order > 0
	case pb.Compare_LESS:
		return order < 0
	}
	return order != 0
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (v *view) txn(q *pb.TxnRequest) *pb.TxnResponse {
	a := &pb.TxnResponse{Succeeded: true}
	for _, c := range q.Compare {
		a.Succeeded = a.Succeeded && v.holds(c)
	}
	ops := q.Failure
	if a.Succeeded {
		ops = q.Success
	}
	for _, o := range ops {
		r := new(pb.ResponseOp)
		switch {
		case o.GetRequestPut() != nil:
			r.Response = &pb.ResponseOp_ResponsePut{ResponsePut: v.put(o.GetRequestPut())}
		case o.GetRequestDeleteRange() != nil:
			r.Response = &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: v.remove(o.GetRequestDeleteRange())}
		case o.GetRequestRange() != nil:
			r.Response = &pb.ResponseOp_ResponseRange{ResponseRange: v.list(o.GetRequestRange())}
		}
		a.Responses = append(a.Responses, r)
	}
	a.Header = header(v.now())
	return a
}

// run gives the answer to a request that meets the state as of base, and what it changes as revision base+1.
func (m *model) run(req proto.Message, base int64) (proto.Message, []change) {
	v := &view{m: m, base: base, rev: base + 1}
	switch q := req.(type) {
	case *pb.PutRequest:
		return v.put(q), v.changes
	case *pb.DeleteRangeRequest:
		return v.remove(q), v.changes
	case *pb.RangeRequest:
		return v.list(q), nil
	case *pb.TxnRequest:
		a := v.txn(q)
		return a, v.changes
	case *pb.LeaseRevokeRequest:
		for _, kv := range v.scan("\x00", "\x00") {
			if kv.Lease == q.ID {
				v.change(string(kv.Key), nil)
			}
		}
		return &pb.LeaseRevokeResponse{Header: header(v.now())}, v.changes
	}
	return nil, nil
}

// commit makes the changes the next revision. Of several to one key in one revision the last one stays.
func (m *model) commit(changes []change) {
	m.rev++
	m.changes[m.rev] = changes
	for _, c := range changes {
		all := m.keys[c.key]
		if n := len(all); n > 0 && all[n-1].rev == m.rev {
			all = all[:n-1]
		}
		m.keys[c.key] = append(all, version{m.rev, c.kv})
	}
}
