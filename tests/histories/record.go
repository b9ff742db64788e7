// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// call is one request: when it was sent, when its answer came, and both.
type call struct {
	client     int
	sent, came int64 // nanoseconds since the start of the run
	req, resp  proto.Message
	code       codes.Code
	text       string
	unknown    bool // no answer: it may have been done, or be done later, or never
	stream     bool // by RangeStream
	rev        int64
	owned      bool // its changes were found in the history
	linear     bool // only touches the keys of the generic check
}

func (c *call) String() string {
	text := fmt.Sprintf("client %d, %.6f to %.6f s: %T{%v}", c.client, float64(c.sent)/1e9, float64(c.came)/1e9, c.req, c.req)
	switch {
	case c.unknown:
		return text + " -> no answer"
	case c.code != codes.OK:
		return fmt.Sprintf("%s -> %v %q", text, c.code, c.text)
	}
	return fmt.Sprintf("%s -> {%v}", text, c.resp)
}

type headed interface{ GetHeader() *pb.ResponseHeader }

// wrote says whether an answer tells of a change, so that its header's revision is the request's own.
func wrote(resp proto.Message) bool {
	switch a := resp.(type) {
	case *pb.PutResponse:
		return true
	case *pb.DeleteRangeResponse:
		return a.Deleted > 0
	case *pb.TxnResponse:
		for _, r := range a.Responses {
			if r.GetResponsePut() != nil || r.GetResponseDeleteRange().GetDeleted() > 0 {
				return true
			}
		}
	}
	return false
}

// sight is a revision that a watcher was told of at a time: nothing sent later may know less.
type sight struct {
	at, rev int64
}

// record is all that happened since the server was started empty.
type record struct {
	mu     sync.Mutex
	start  time.Time
	calls  []*call
	shown  []sight
	spans  []*span
	leases map[int64]time.Time // when each lease can end at the earliest
	faults []string
}

func newRecord() *record {
	return &record{start: time.Now(), leases: make(map[int64]time.Time)}
}

func (r *record) now() int64 { return int64(time.Since(r.start)) }

func (r *record) add(c *call) {
	r.mu.Lock()
	r.calls = append(r.calls, c)
	r.mu.Unlock()
}

func (r *record) fault(format string, args ...any) {
	r.mu.Lock()
	if len(r.faults) < 30 {
		r.faults = append(r.faults, fmt.Sprintf(format, args...))
	}
	r.mu.Unlock()
}
