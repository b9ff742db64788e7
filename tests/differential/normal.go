// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"sort"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// What may differ between two correct servers is replaced by a constant here, after it has been
// checked by rule. Everything else is compared.

// normalHeader replaces the ids and the term of a filled header by 1. A wrong id stays and differs.
func (s *side) normalHeader(h *pb.ResponseHeader) {
	if h == nil {
		return
	}
	if h.ClusterId == s.clusterID {
		h.ClusterId = 1
	}
	if h.MemberId == s.memberID {
		h.MemberId = 1
	}
	if h.RaftTerm >= s.term {
		s.term = h.RaftTerm
		h.RaftTerm = 1
	}
}

type headed interface{ GetHeader() *pb.ResponseHeader }

func positive[T int64 | uint64](v T) T {
	if v > 0 {
		return 1
	}
	return v
}

func (s *side) normalMembers(members []*pb.Member) {
	for _, m := range members {
		if m.ID == s.memberID {
			m.ID = 1
		}
		for i := range m.PeerURLs {
			m.PeerURLs[i] = "PEER"
		}
		for i, u := range m.ClientURLs {
			if u == s.url {
				m.ClientURLs[i] = "CLIENT"
			}
		}
	}
}

// normalise prepares an answer of side s for comparison.
func (s *side) normalise(resp proto.Message) {
	if h, ok := resp.(headed); ok {
		s.normalHeader(h.GetHeader())
	}
	switch r := resp.(type) {
	case *pb.StatusResponse:
		if r.DbSizeInUse > 0 && r.DbSizeInUse <= r.DbSize {
			r.DbSizeInUse = 1
		}
		r.DbSize = positive(r.DbSize)
		if r.Leader == s.memberID {
			r.Leader = 1
		}
		if r.RaftAppliedIndex > 0 && r.RaftAppliedIndex <= r.RaftIndex {
			r.RaftAppliedIndex = 1
		}
		r.RaftIndex = positive(r.RaftIndex)
		if r.RaftTerm == s.term {
			r.RaftTerm = 1
		}
		// The text of an alarm is made by a Go String method that changes its blanks on purpose.
		for i, e := range r.Errors {
			e = strings.ReplaceAll(e, fmt.Sprint(s.memberID), "SELF")
			r.Errors[i] = strings.Join(strings.Fields(e), " ")
		}
		sort.Strings(r.Errors)
	case *pb.MemberListResponse:
		s.normalMembers(r.Members)
	case *pb.MemberAddResponse:
		s.normalMembers(r.Members)
	case *pb.MemberRemoveResponse:
		s.normalMembers(r.Members)
	case *pb.MemberUpdateResponse:
		s.normalMembers(r.Members)
	case *pb.MemberPromoteResponse:
		s.normalMembers(r.Members)
	case *pb.AlarmResponse:
		for _, a := range r.Alarms {
			if a.MemberID == s.memberID {
				a.MemberID = 1
			}
		}
		sort.Slice(r.Alarms, func(i, j int) bool {
			x, y := r.Alarms[i], r.Alarms[j]
			return x.Alarm < y.Alarm || x.Alarm == y.Alarm && x.MemberID < y.MemberID
		})
	case *pb.LeaseTimeToLiveResponse:
		sort.Slice(r.Keys, func(i, j int) bool { return bytes.Compare(r.Keys[i], r.Keys[j]) < 0 })
	case *pb.LeaseLeasesResponse:
		sort.Slice(r.Leases, func(i, j int) bool { return r.Leases[i].ID < r.Leases[j].ID })
	case *pb.HashResponse:
		// The hash of the whole backend file: the two servers have different files.
		r.Hash = 1
	}
}

// ttlSlack is how far two remaining times may lie apart, in seconds: the two servers of a restart are not ready in the same second.
const ttlSlack = 60

// reconcile evens out what may differ between the two normalised answers to one request.
func reconcile(req, a, b proto.Message) {
	switch ra := a.(type) {
	case *pb.RangeResponse:
		reconcileRange(req.(*pb.RangeRequest), ra, b.(*pb.RangeResponse))
	case *pb.TxnResponse:
		reconcileTxn(req.(*pb.TxnRequest), ra, b.(*pb.TxnResponse))
	case *pb.LeaseTimeToLiveResponse:
		rb := b.(*pb.LeaseTimeToLiveResponse)
		if d := ra.TTL - rb.TTL; ra.TTL >= 0 && rb.TTL >= 0 && d >= -ttlSlack && d <= ttlSlack {
			rb.TTL = ra.TTL
		}
	}
}

func reconcileTxn(req *pb.TxnRequest, a, b *pb.TxnResponse) {
	ops := req.Failure
	if a.Succeeded {
		ops = req.Success
	}
	if a.Succeeded != b.Succeeded || len(a.Responses) != len(ops) || len(b.Responses) != len(ops) {
		return
	}
	for i, o := range ops {
		switch {
		case o.GetRequestRange() != nil:
			ra, rb := a.Responses[i].GetResponseRange(), b.Responses[i].GetResponseRange()
			if ra != nil && rb != nil {
				reconcileRange(o.GetRequestRange(), ra, rb)
			}
		case o.GetRequestTxn() != nil:
			ra, rb := a.Responses[i].GetResponseTxn(), b.Responses[i].GetResponseTxn()
			if ra != nil && rb != nil {
				reconcileTxn(o.GetRequestTxn(), ra, rb)
			}
		}
	}
}

// sortKey is the text by which etcd sorted: equal texts are a tie, and the sort is not stable.
func sortKey(target pb.RangeRequest_SortTarget, kv *mvccpb.KeyValue) string {
	switch target {
	case pb.RangeRequest_VERSION:
		return fmt.Sprint(kv.Version)
	case pb.RangeRequest_CREATE:
		return fmt.Sprint(kv.CreateRevision)
	case pb.RangeRequest_MOD:
		return fmt.Sprint(kv.ModRevision)
	case pb.RangeRequest_VALUE:
		return string(kv.Value)
	}
	return string(kv.Key)
}

// reconcileRange puts the keys of each tie into key order on both sides. In a tie that the limit
// cut, either server may show any of its members, so B's take over A's when the sort keys agree.
func reconcileRange(req *pb.RangeRequest, a, b *pb.RangeResponse) {
	if req.SortTarget == pb.RangeRequest_KEY || len(a.Kvs) != len(b.Kvs) || len(a.Kvs) < 2 && !a.More {
		return
	}
	// keys_only with a sort by value shows no sort keys: all is one tie.
	blind := req.SortTarget == pb.RangeRequest_VALUE && req.KeysOnly
	n := len(a.Kvs)
	for i := 0; i < n; {
		j := i + 1
		for j < n && (blind || sortKey(req.SortTarget, a.Kvs[j]) == sortKey(req.SortTarget, a.Kvs[i])) {
			j++
		}
		cut := j == n && a.More && b.More
		for k := i; k < j; k++ {
			if blind {
				continue
			}
			if sortKey(req.SortTarget, b.Kvs[k]) != sortKey(req.SortTarget, a.Kvs[i]) {
				return
			}
		}
		if cut {
			copy(b.Kvs[i:j], a.Kvs[i:j])
		} else {
			byKey(a.Kvs[i:j])
			byKey(b.Kvs[i:j])
		}
		i = j
	}
}

func byKey(kvs []*mvccpb.KeyValue) {
	sort.Slice(kvs, func(i, j int) bool { return bytes.Compare(kvs[i].Key, kvs[j].Key) < 0 })
}

// joinChunks checks the rules of a RangeStream's chunks and joins them to one response.
func joinChunks(a *answer) (*pb.RangeResponse, string) {
	whole := new(pb.RangeResponse)
	for i, raw := range a.msgs {
		m := new(pb.RangeStreamResponse)
		if err := proto.Unmarshal(raw, m); err != nil {
			return nil, fmt.Sprintf("chunk %d is no message: %v", i, err)
		}
		r := m.RangeResponse
		if r == nil {
			return nil, fmt.Sprintf("chunk %d holds no range response", i)
		}
		last := i == len(a.msgs)-1
		switch {
		case !last && len(r.Kvs) == 0:
			return nil, fmt.Sprintf("chunk %d of %d has no keys", i, len(a.msgs))
		case !last && (r.Header != nil || r.More || r.Count != 0):
			return nil, fmt.Sprintf("chunk %d of %d has a header, more or count", i, len(a.msgs))
		case last && a.code == 0 && r.Header == nil:
			return nil, "the last chunk has no header"
		}
		whole.Kvs = append(whole.Kvs, r.Kvs...)
		whole.Header, whole.More, whole.Count = r.Header, r.More, r.Count
		if u := m.ProtoReflect().GetUnknown(); len(u) > 0 {
			return nil, fmt.Sprintf("chunk %d has unknown fields %x", i, []byte(u))
		}
		if u := r.ProtoReflect().GetUnknown(); len(u) > 0 {
			whole.ProtoReflect().SetUnknown(u)
		}
	}
	if a.code == 0 && len(a.msgs) == 0 {
		return nil, "the stream ended well without a message"
	}
	return whole, ""
}

// checkSnapshot checks a snapshot stream by its rules, for the contents are each server's own.
func checkSnapshot(a *answer) string {
	if a.code != 0 {
		return fmt.Sprintf("snapshot failed: %v %s", a.code, a.text)
	}
	if len(a.msgs) < 2 {
		return fmt.Sprintf("snapshot has %d messages", len(a.msgs))
	}
	h := sha256.New()
	total := 0
	blobs := make([]*pb.SnapshotResponse, len(a.msgs))
	for i, raw := range a.msgs {
		blobs[i] = new(pb.SnapshotResponse)
		if err := proto.Unmarshal(raw, blobs[i]); err != nil {
			return fmt.Sprintf("message %d is broken: %v", i, err)
		}
		if i < len(a.msgs)-1 {
			total += len(blobs[i].Blob)
			h.Write(blobs[i].Blob)
		}
	}
	left := total
	for i, r := range blobs[:len(blobs)-1] {
		left -= len(r.Blob)
		if r.RemainingBytes != uint64(left) {
			return fmt.Sprintf("message %d says %d bytes remain, but %d do", i, r.RemainingBytes, left)
		}
		if r.Version != blobs[0].Version {
			return fmt.Sprintf("message %d has version %q", i, r.Version)
		}
	}
	end := blobs[len(blobs)-1]
	if !bytes.Equal(end.Blob, h.Sum(nil)) || end.RemainingBytes != 0 {
		return "the last message is not the SHA-256 of the data"
	}
	if total%512 != 0 {
		return fmt.Sprintf("%d bytes are no multiple of 512", total)
	}
	return ""
}

// forEachScalar visits every set scalar of a message, deep first.
func forEachScalar(m protoreflect.Message, visit func(protoreflect.Message, protoreflect.FieldDescriptor)) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
		case fd.Kind() == protoreflect.MessageKind && fd.IsList():
			for i := 0; i < v.List().Len(); i++ {
				forEachScalar(v.List().Get(i).Message(), visit)
			}
		case fd.Kind() == protoreflect.MessageKind:
			forEachScalar(v.Message(), visit)
		default:
			visit(m, fd)
		}
		return true
	})
}
