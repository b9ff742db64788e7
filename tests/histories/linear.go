// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"time"

	"github.com/anishathalye/porcupine"
	"google.golang.org/grpc/codes"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// The generic check knows nothing of revisions: it asks porcupine for any order of the requests in which
// every answer is right. Its state is the value of each key, empty for none.
type registers [linearKeys]string

func linearIndex(key []byte) int { return int(key[len(key)-1] - '0') }

// fits says whether a list of keys is what the registers hold; one key when only is not negative.
func (r registers) fits(kvs []*mvccpb.KeyValue, only int) bool {
	for i, v := range r {
		if only >= 0 && i != only || v == "" {
			continue
		}
		if len(kvs) == 0 || linearIndex(kvs[0].Key) != i || string(kvs[0].Value) != v {
			return false
		}
		kvs = kvs[1:]
	}
	return len(kvs) == 0
}

func listed(q *pb.RangeRequest) int {
	if len(q.RangeEnd) > 0 {
		return -1
	}
	return linearIndex(q.Key)
}

// stepLinear runs one request on the registers; its answer is nil when there was none.
func stepLinear(state, input, output any) (bool, any) {
	r := state.(registers)
	k := input.(*call)
	switch q := k.req.(type) {
	case *pb.PutRequest:
		r[linearIndex(q.Key)] = string(q.Value)
	case *pb.RangeRequest:
		return r.fits(k.resp.(*pb.RangeResponse).Kvs, listed(q)), state
	case *pb.DeleteRangeRequest:
		i := linearIndex(q.Key)
		if output != nil && (k.resp.(*pb.DeleteRangeResponse).Deleted > 0) != (r[i] != "") {
			return false, state
		}
		r[i] = ""
	case *pb.TxnRequest:
		return r.txn(q, k, output != nil)
	}
	return true, r
}

func (r registers) txn(q *pb.TxnRequest, k *call, answered bool) (bool, any) {
	before := r
	succeeds := true
	for _, c := range q.Compare {
		succeeds = succeeds && r[linearIndex(c.Key)] == string(c.GetValue())
	}
	a := k.resp.(*pb.TxnResponse)
	if answered && a.Succeeded != succeeds {
		return false, before
	}
	ops := q.Failure
	if succeeds {
		ops = q.Success
	}
	for i, o := range ops {
		if p := o.GetRequestPut(); p != nil {
			r[linearIndex(p.Key)] = string(p.Value)
		}
		if g := o.GetRequestRange(); g != nil && answered && !r.fits(a.Responses[i].GetResponseRange().GetKvs(), listed(g)) {
			return false, before
		}
	}
	return true, r
}

// linear runs the generic check; the result is porcupine.Unknown when it takes too long.
func (c *checker) linear(timeout time.Duration) porcupine.CheckResult {
	var history []porcupine.Operation
	for _, k := range c.calls {
		_, isRead := k.req.(*pb.RangeRequest)
		if !k.linear || k.unknown && isRead || !k.unknown && k.code != codes.OK {
			continue
		}
		o := porcupine.Operation{ClientId: k.client, Input: k, Call: k.sent, Output: k.resp, Return: k.came}
		if k.unknown {
			o.Output, o.Return = nil, math.MaxInt64
		}
		history = append(history, o)
	}
	c.counts["requests in the generic check"] += len(history)
	m := porcupine.Model{Init: func() any { return registers{} }, Step: stepLinear}
	result := porcupine.CheckOperationsTimeout(m, history, timeout)
	if result == porcupine.Illegal {
		c.fault("the generic check finds no order of the requests in which all answers are right")
	}
	return result
}
