// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// pagesMax is how many lists cut by a limit are kept to be continued.
const pagesMax = 16

// learnPage keeps how to ask for the rest of a list, as kube-apiserver does: behind the last key, at
// the revision of the first page.
func (r *runner) learnPage(q *pb.RangeRequest, a *pb.RangeResponse) {
	if !a.More || len(a.Kvs) == 0 || q.SortOrder == pb.RangeRequest_DESCEND || q.SortTarget != pb.RangeRequest_KEY {
		return
	}
	rest := proto.Clone(q).(*pb.RangeRequest)
	rest.Key = append(append([]byte(nil), a.Kvs[len(a.Kvs)-1].Key...), 0)
	if rest.Revision <= 0 {
		rest.Revision = a.Header.GetRevision()
	}
	if len(r.pages) == pagesMax {
		r.pages = r.pages[1:]
	}
	r.pages = append(r.pages, rest)
}

// runMany sends all reads at once, spread over the connections. Nothing writes meanwhile, so each has
// one right answer.
func (r *runner) runMany(o *op) *difference {
	ask := func(s *side) []*answer {
		answers := make([]*answer, len(o.Many))
		var wg sync.WaitGroup
		for i, m := range o.Many {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if m.Kind == opStream {
					answers[i] = s.exchange(m, [][]byte{m.Req}, 0)
				} else {
					answers[i] = s.unary(m)
				}
			}()
		}
		wg.Wait()
		return answers
	}
	b := make(chan []*answer, 1)
	go func() { b <- ask(r.sides[1]) }()
	all := [2][]*answer{ask(r.sides[0]), <-b}
	for i, m := range o.Many {
		compare := r.compareAnswers
		if m.Kind == opStream {
			compare = r.compareStreams
		}
		if d := compare(m, all[0][i], all[1][i]); d != nil {
			d.op = o
			d.signature = "many: " + d.signature
			return d
		}
	}
	return nil
}

// broken lists the ends that a call may take which its client gives up.
var broken = map[codes.Code]bool{codes.OK: true, codes.Canceled: true, codes.DeadlineExceeded: true}

// runBroken starts a call on both servers and gives it up, by cancelling or by a deadline. What it
// still says is a matter of time; what matters is that the steps that follow find nothing amiss.
func (r *runner) runBroken(o *op) *difference {
	a, b := r.both(func(s *side) *answer { return s.abandon(o) })
	if !broken[a.code] && !broken[b.code] && a.code != b.code {
		return r.diff(o, "end of a given up call", "A: %v %q\n    B: %v %q", a.code, a.text, b.code, b.text)
	}
	return nil
}

func (s *side) abandon(o *op) *answer {
	ctx, cancel := s.context(o)
	defer cancel()
	a := new(answer)
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	st, err := s.conns[o.Conn].NewStream(ctx, desc, o.Method, callOptions(o)...)
	if err != nil {
		a.setError(err)
		return a
	}
	st.SendMsg(s.message(o))
	if o.Kind == opCancel && o.Answers == 0 {
		time.AfterFunc(time.Duration(o.Micros)*time.Microsecond, cancel)
	}
	if o.Method != watchMethod {
		st.CloseSend()
	}
	for {
		var out []byte
		err := st.RecvMsg(&out)
		if errors.Is(err, io.EOF) {
			return a
		}
		if err != nil {
			a.setError(err)
			return a
		}
		a.msgs = append(a.msgs, out)
		if o.Kind == opCancel && o.Answers > 0 && len(a.msgs) >= o.Answers {
			cancel()
		}
	}
}
