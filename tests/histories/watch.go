// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"math/rand"
	"sync"
	"time"

	"google.golang.org/grpc"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

const (
	watchMethod  = "/etcdserverpb.Watch/Watch"
	drainTimeout = 30 * time.Second
)

// arrival is one response to one watcher.
type arrival struct {
	at       int64
	revision int64 // of the header
	events   []*mvccpb.Event
	fragment bool
}

// span is one watcher from its creation to its end.
type span struct {
	stream, number int
	req            *pb.WatchCreateRequest
	id             int64
	created        bool
	createdAt      int64
	createdRev     int64 // header revision of the answer
	first          int64 // first revision it must hear of
	arrivals       []arrival
	next           int64 // where a client goes on that lost the stream now
	cancelled      bool  // by the client, answered
	cancelSent     bool
	compactedAt    int64 // when the server ended it because of a compaction; 0 when it did not
	compactRev     int64
	whole          bool // heard of everything until the end of the load
	refused        bool
}

// watching is one watch stream and those that follow it when it is cut.
type watching struct {
	number int
	rng    *rand.Rand
	rec    *record
	conns  []*grpc.ClientConn
	tamper *tamper
	head   func() int64
	// etcd may send an answer to a progress request after the answer to a create although it was made before,
	// and for the other watchers only. Nobody can tell, so for etcd it says nothing about young watchers.
	etcd bool

	mu       sync.Mutex
	stream   grpc.ClientStream
	spans    map[int64]*span
	pending  []*span
	all      []*span
	piece    *span // whose fragments are under way
	progress int64
	ended    bool
}

func (w *watching) n(n int) int     { return w.rng.Intn(n) }
func (w *watching) one(in int) bool { return w.rng.Intn(in) == 0 }

// run opens streams one after the other until stop is closed, and drains the last one.
func (w *watching) run(stop <-chan struct{}) {
	var before []*span
	for number := 0; ; number++ {
		ctx, cancel := context.WithCancel(context.Background())
		conn := w.conns[w.n(len(w.conns))]
		st, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, watchMethod)
		if err != nil {
			w.rec.fault("watch stream %d cannot be opened: %v", w.number, err)
			cancel()
			return
		}
		w.mu.Lock()
		w.stream, w.spans, w.pending, w.all, w.piece, w.progress, w.ended = st, make(map[int64]*span), nil, nil, nil, 0, false
		w.mu.Unlock()
		done := make(chan struct{})
		go w.read(st, done)
		w.begin(before, number)
		stopped := w.live(stop, number)
		if stopped {
			w.drain()
		}
		cancel()
		<-done
		w.mu.Lock()
		before = w.all
		w.rec.mu.Lock()
		w.rec.spans = append(w.rec.spans, w.all...)
		w.rec.mu.Unlock()
		w.mu.Unlock()
		if stopped {
			return
		}
	}
}

// recordAll runs one stream with one watcher of everything.
func (w *watching) recordAll(stop <-chan struct{}, started chan<- struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	st, err := w.conns[0].NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, watchMethod)
	w.spans = make(map[int64]*span)
	q := &pb.WatchCreateRequest{Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: 1, PrevKv: true}
	if err != nil {
		w.rec.fault("the recorder's stream cannot be opened: %v", err)
		w.all = []*span{{req: q}}
		close(started)
		return
	}
	w.stream = st
	done := make(chan struct{})
	go w.read(st, done)
	w.create(q, q, 0)
	close(started)
	<-stop
	w.drain()
	cancel()
	<-done
	w.rec.mu.Lock()
	w.rec.spans = append(w.rec.spans, w.all...)
	w.rec.mu.Unlock()
}

// begin goes on with the watchers of the stream before, from where they were or from earlier, or makes new ones.
func (w *watching) begin(before []*span, number int) {
	for _, s := range before {
		if s.cancelled || s.cancelSent || s.compactedAt != 0 || s.refused || !s.created {
			continue
		}
		q := &pb.WatchCreateRequest{Key: s.req.Key, RangeEnd: s.req.RangeEnd, Filters: s.req.Filters, PrevKv: s.req.PrevKv,
			Fragment: s.req.Fragment, ProgressNotify: s.req.ProgressNotify, StartRevision: s.next}
		if w.one(4) {
			q.StartRevision = max(1, q.StartRevision-int64(w.n(100)))
		}
		w.create(w.tamper.create(q, w.head()), q, number)
	}
	for len(before) == 0 && w.count() < 1+w.n(4) || w.count() == 0 {
		w.createNew(number)
	}
}

func (w *watching) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.all)
}

func (w *watching) createNew(number int) {
	q := &pb.WatchCreateRequest{Key: []byte{0}, RangeEnd: []byte{0}, PrevKv: w.n(3) > 0, Fragment: w.one(3), ProgressNotify: w.one(3)}
	switch w.n(5) {
	case 0:
		q.Key, q.RangeEnd = []byte("r/"), []byte("r0")
	case 1:
		q.Key, q.RangeEnd = []byte{'r', '/', '0', byte('0' + w.n(10))}, nil
	case 2:
		q.Key, q.RangeEnd = []byte("l/"), []byte("r/05")
	}
	switch head := w.head(); w.n(6) {
	case 0, 1:
		q.StartRevision = max(1, head-int64(w.n(400)))
	case 2:
		q.StartRevision = max(1, head+int64(w.n(20))-5)
	}
	if w.one(5) {
		q.Filters = []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_FilterType(w.n(2))}
	}
	w.create(w.tamper.create(q, w.head()), q, number)
}

// create sends q; meant is what the client thinks it sent.
func (w *watching) create(q, meant *pb.WatchCreateRequest, number int) {
	s := &span{stream: w.number, number: number, req: meant}
	w.mu.Lock()
	w.pending = append(w.pending, s)
	w.all = append(w.all, s)
	w.mu.Unlock()
	w.stream.SendMsg(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: q}})
}

func (w *watching) askProgress() {
	w.stream.SendMsg(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: new(pb.WatchProgressRequest)}})
}

func (w *watching) cancelOne(s *span) {
	w.mu.Lock()
	known := s.created && !s.refused && !s.cancelSent
	if known {
		s.cancelSent = true
	}
	w.mu.Unlock()
	if known {
		w.stream.SendMsg(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: s.id}}})
	}
}

// live keeps the stream busy for a while; true when the load has ended.
func (w *watching) live(stop <-chan struct{}, number int) bool {
	life := time.After(time.Duration(20+w.n(1200)) * time.Millisecond)
	for {
		select {
		case <-stop:
			return true
		case <-life:
			return false
		case <-time.After(time.Duration(1+w.n(20)) * time.Millisecond):
		}
		switch x := w.n(20); {
		case x < 14:
			w.askProgress()
		case x < 15 && w.count() > 1:
			w.mu.Lock()
			s := w.all[w.n(len(w.all))]
			w.mu.Unlock()
			w.cancelOne(s)
		case x < 17 && w.count() < 12:
			w.createNew(number)
		}
	}
}

// drain waits until the server has confirmed the last revision to all watchers of the stream.
func (w *watching) drain() {
	head := w.head()
	deadline := time.Now().Add(drainTimeout)
	for time.Now().Before(deadline) {
		waits, open := false, 0
		w.mu.Lock()
		spans := append([]*span(nil), w.all...)
		progress, ended := w.progress, w.ended
		for _, s := range spans {
			waits = waits || !s.created
			if s.created && !s.refused && !s.cancelled {
				open++
			}
		}
		w.mu.Unlock()
		if ended {
			w.rec.fault("watch stream %d was ended by the server", w.number)
			return
		}
		for _, s := range spans {
			// One that waits for the future keeps the others from being confirmed; one that a compaction
			// ended still counts until it is cancelled.
			if s.req.StartRevision > head || s.compacted(w) {
				w.cancelOne(s)
			}
		}
		if !waits && open == 0 {
			return
		}
		if !waits && progress >= head {
			w.mu.Lock()
			for _, s := range spans {
				s.whole = !s.refused && !s.cancelSent && s.compactedAt == 0
			}
			w.mu.Unlock()
			return
		}
		w.askProgress()
		time.Sleep(5 * time.Millisecond)
	}
	w.rec.fault("watch stream %d is not confirmed at revision %d within %v (last %d)", w.number, head, drainTimeout, w.progress)
}

func (s *span) compacted(w *watching) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return s.compactedAt != 0
}

func (w *watching) read(st grpc.ClientStream, done chan struct{}) {
	defer close(done)
	for {
		m := new(pb.WatchResponse)
		if err := st.RecvMsg(m); err != nil {
			w.mu.Lock()
			w.ended = true
			w.mu.Unlock()
			return
		}
		for _, r := range w.tamper.watch(m) {
			w.mu.Lock()
			w.take(r)
			w.mu.Unlock()
		}
	}
}

// take files a response under its watcher, and checks what can be checked without the history.
func (w *watching) take(r *pb.WatchResponse) {
	at := w.rec.now()
	rev := r.Header.GetRevision()
	if w.piece != nil && w.spans[r.WatchId] != w.piece {
		w.rec.fault("stream %d: a response for id %d between the fragments of another", w.number, r.WatchId)
	}
	w.piece = nil
	if r.Created {
		w.takeCreated(r, at)
		return
	}
	if r.WatchId == -1 {
		w.takeProgress(at, rev)
		return
	}
	s := w.spans[r.WatchId]
	if s == nil {
		w.rec.fault("stream %d: a response for the unknown id %d: %v", w.number, r.WatchId, r)
		return
	}
	if s.cancelled || s.compactedAt != 0 && len(r.Events) > 0 {
		w.rec.fault("%v: a response after the end: %v", s, r)
	}
	switch {
	case r.CompactRevision != 0:
		s.compactedAt, s.compactRev = at, r.CompactRevision
		if !r.Canceled {
			w.rec.fault("%v: compact_revision without canceled: %v", s, r)
		}
	case r.Canceled:
		s.cancelled = true
		delete(w.spans, r.WatchId)
		if !s.cancelSent {
			w.rec.fault("%v: cancelled by the server: %v", s, r)
		}
	default:
		s.arrivals = append(s.arrivals, arrival{at, rev, r.Events, r.Fragment})
		if r.Fragment {
			w.piece = s
		} else if n := len(r.Events); n > 0 {
			s.next = r.Events[n-1].Kv.ModRevision + 1
		} else {
			s.next = max(s.next, rev+1)
		}
		w.see(at, rev)
	}
}

func (w *watching) see(at, rev int64) {
	w.rec.mu.Lock()
	w.rec.shown = append(w.rec.shown, sight{at, rev})
	w.rec.mu.Unlock()
}

func (w *watching) takeCreated(r *pb.WatchResponse, at int64) {
	if len(w.pending) == 0 {
		w.rec.fault("stream %d: a create nobody asked for was answered: %v", w.number, r)
		return
	}
	s := w.pending[0]
	w.pending = w.pending[1:]
	s.created, s.id, s.createdAt, s.createdRev = true, r.WatchId, at, r.Header.GetRevision()
	if r.Canceled {
		s.refused = true
		w.rec.fault("%v: refused: %v", s, r)
		return
	}
	if w.spans[r.WatchId] != nil {
		w.rec.fault("%v: the id %d is in use", s, r.WatchId)
	}
	w.spans[r.WatchId] = s
	s.first = s.req.StartRevision
	if s.first <= 0 {
		s.first = r.Header.GetRevision() + 1
	}
	s.next = s.first
	w.see(at, r.Header.GetRevision())
}

// takeProgress files an answer to a progress request under all watchers of the stream, for it speaks for all.
func (w *watching) takeProgress(at, rev int64) {
	if rev < w.progress {
		w.rec.fault("stream %d: progress went back from %d to %d", w.number, w.progress, rev)
	}
	w.progress = rev
	for _, s := range w.spans {
		if w.etcd && at-s.createdAt < int64(time.Second) {
			continue
		}
		if s.compactedAt == 0 {
			s.arrivals = append(s.arrivals, arrival{at: at, revision: rev})
			s.next = max(s.next, rev+1)
		}
	}
	w.see(at, rev)
}
