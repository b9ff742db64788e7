// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	watchMethod = "/etcdserverpb.Watch/Watch"
	// A watcher that asked for fragments gets them from the request limit and this overhead on.
	requestOverhead = 512 << 10
)

// item is one thing a watch id said: that it was created, one event, or that it ended.
type item struct {
	msg proto.Message
}

// idRecord is what one side said about one watch id.
type idRecord struct {
	items     []item
	created   bool
	canceled  bool
	lastRev   int64 // revision of the newest event
	floor     int64 // newest revision promised by a progress answer
	inPieces  bool  // the last response was a fragment and more follow
	compacted bool
	asked     bool // existed when progress was last asked for
}

// watchSide is one watch stream to one server. The reader goroutine appends what arrives; all else
// happens under mu as well, from the runner.
type watchSide struct {
	side   *side
	stream grpc.ClientStream
	cancel context.CancelFunc
	tamper func(*pb.WatchResponse) []*pb.WatchResponse

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when something arrives
	paused   bool
	resumed  *sync.Cond
	ids      map[int64]*idRecord
	creates  []string // every "created" answer, in order
	lastID   int64    // id of the newest "created" answer
	lastOK   bool     // and whether it made a watcher
	progress int64    // newest revision of an answer to a progress request
	settled  int64    // the same, forgotten when a watcher is created
	asked    int      // answers to progress requests so far
	pieceOf  int64
	inPieces bool
	arrivals int
	lastAt   time.Time
	faults   []string
	ended    bool
	code     codes.Code
	text     string
}

func openWatch(s *side, conn int, meta map[string]string, tamper func(*pb.WatchResponse) []*pb.WatchResponse) (*watchSide, error) {
	ctx, cancel := context.WithCancel(context.Background())
	if len(meta) > 0 {
		ctx = metadata.NewOutgoingContext(ctx, metadata.New(meta))
	}
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	st, err := s.conns[conn].NewStream(ctx, desc, watchMethod, grpc.ForceCodec(rawCodec{}))
	if err != nil {
		cancel()
		return nil, err
	}
	w := &watchSide{side: s, stream: st, cancel: cancel, tamper: tamper,
		changed: make(chan struct{}), ids: make(map[int64]*idRecord), lastAt: time.Now()}
	w.resumed = sync.NewCond(&w.mu)
	go w.read()
	return w, nil
}

func (w *watchSide) read() {
	for {
		w.mu.Lock()
		for w.paused {
			w.resumed.Wait()
		}
		w.mu.Unlock()
		var raw []byte
		err := w.stream.RecvMsg(&raw)
		w.mu.Lock()
		if err != nil {
			w.ended = true
			if !errors.Is(err, io.EOF) {
				st := status.Convert(err)
				w.code, w.text = st.Code(), st.Message()
			}
			w.touch()
			w.mu.Unlock()
			return
		}
		resp := new(pb.WatchResponse)
		if err := proto.Unmarshal(raw, resp); err != nil {
			w.fault("a response is no message: %v", err)
		} else {
			all := []*pb.WatchResponse{resp}
			if w.tamper != nil {
				all = w.tamper(resp)
			}
			for _, r := range all {
				w.take(r, len(raw))
			}
		}
		w.touch()
		w.mu.Unlock()
	}
}

func (w *watchSide) touch() {
	w.arrivals++
	w.lastAt = time.Now()
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *watchSide) fault(format string, args ...any) {
	if len(w.faults) < 20 {
		w.faults = append(w.faults, fmt.Sprintf(format, args...))
	}
}

// take sorts one response into the records and checks the rules that hold on one stream alone.
func (w *watchSide) take(r *pb.WatchResponse, size int) {
	h := r.Header
	if h == nil {
		w.fault("a response has no header: %s", oneLine(r))
		h = new(pb.ResponseHeader)
	} else if h.ClusterId != w.side.clusterID || h.MemberId != w.side.memberID || h.RaftTerm == 0 {
		w.fault("a response has foreign ids: %s", oneLine(r))
	}
	if w.inPieces && r.WatchId != w.pieceOf {
		w.fault("a response for id %d came between the fragments of id %d", r.WatchId, w.pieceOf)
	}
	w.inPieces, w.pieceOf = r.Fragment, r.WatchId
	if u := r.ProtoReflect().GetUnknown(); len(u) > 0 {
		w.fault("a response has unknown fields: %x", []byte(u))
	}

	control := r.Created || r.Canceled || r.CompactRevision != 0 || r.CancelReason != ""
	if control {
		w.takeControl(r, h)
		return
	}
	if len(r.Events) == 0 {
		w.takeProgress(r, h)
		return
	}
	w.takeEvents(r, h, size)
}

func (w *watchSide) takeControl(r *pb.WatchResponse, h *pb.ResponseHeader) {
	c := proto.Clone(r).(*pb.WatchResponse)
	c.Header = &pb.ResponseHeader{Revision: h.Revision}
	line := oneLine(c)
	if r.Created {
		w.creates = append(w.creates, line)
		w.lastID, w.lastOK = r.WatchId, !r.Canceled
		if r.Canceled {
			if r.WatchId != -1 {
				w.fault("a refused create carries the id %d: %s", r.WatchId, line)
			}
			return
		}
		rec := w.ids[r.WatchId]
		if rec != nil && !rec.canceled {
			w.fault("id %d was created twice", r.WatchId)
		}
		if rec == nil {
			rec = new(idRecord)
			w.ids[r.WatchId] = rec
		}
		*rec = idRecord{items: append(rec.items, item{c}), created: true}
		return
	}
	rec := w.ids[r.WatchId]
	if rec == nil {
		w.fault("the first response for id %d is not its creation: %s", r.WatchId, line)
		rec = new(idRecord)
		w.ids[r.WatchId] = rec
	}
	rec.items = append(rec.items, item{c})
	if r.CompactRevision != 0 && !rec.compacted {
		rec.compacted = true
		return
	}
	rec.canceled = true
}

func (w *watchSide) takeProgress(r *pb.WatchResponse, h *pb.ResponseHeader) {
	if r.WatchId != -1 {
		if rec := w.ids[r.WatchId]; rec == nil || rec.canceled {
			w.fault("progress for id %d, which is not watching", r.WatchId)
		} else {
			rec.floor = max(rec.floor, h.Revision)
		}
		return
	}
	w.asked++
	if h.Revision < w.progress {
		w.fault("progress went back from %d to %d", w.progress, h.Revision)
	}
	w.progress, w.settled = h.Revision, h.Revision
	// An answer that was under way while a watcher was created says nothing about that watcher.
	for _, rec := range w.ids {
		if rec.asked {
			rec.floor = max(rec.floor, h.Revision)
		}
	}
}

func (w *watchSide) takeEvents(r *pb.WatchResponse, h *pb.ResponseHeader, size int) {
	rec := w.ids[r.WatchId]
	if rec == nil || !rec.created {
		w.fault("events for id %d, which was not created", r.WatchId)
		rec = new(idRecord)
		w.ids[r.WatchId] = rec
	}
	if rec.canceled || rec.compacted {
		w.fault("events for id %d after its end", r.WatchId)
	}
	first := r.Events[0].GetKv().GetModRevision()
	if !rec.inPieces && first <= rec.lastRev {
		w.fault("id %d: a response starts with revision %d after one that ended with %d", r.WatchId, first, rec.lastRev)
	}
	rec.inPieces = r.Fragment
	for _, ev := range r.Events {
		rev := ev.GetKv().GetModRevision()
		if rev < rec.lastRev {
			w.fault("id %d: revision %d after %d", r.WatchId, rev, rec.lastRev)
		}
		if rev <= rec.floor {
			w.fault("id %d: event of revision %d after progress at %d", r.WatchId, rev, rec.floor)
		}
		rec.lastRev = rev
		rec.items = append(rec.items, item{ev})
	}
	if h.Revision < rec.lastRev {
		w.fault("id %d: header revision %d is below the event's %d", r.WatchId, h.Revision, rec.lastRev)
	}
	if r.Fragment && (len(r.Events) > 1 && size > w.side.requestBytes+requestOverhead+4096) {
		w.fault("id %d: a fragment of %d events has %d bytes", r.WatchId, len(r.Events), size)
	}
}

// askProgress sends a progress request.
func (w *watchSide) askProgress() error {
	w.mu.Lock()
	for _, rec := range w.ids {
		rec.asked = true
	}
	w.mu.Unlock()
	return w.stream.SendMsg(progressMessage())
}

// await waits until done, which is called under mu, says so; false after the timeout.
func (w *watchSide) await(timeout time.Duration, done func() bool) bool {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	for {
		w.mu.Lock()
		if done() {
			w.mu.Unlock()
			return true
		}
		ch, ended := w.changed, w.ended
		w.mu.Unlock()
		if ended {
			return false
		}
		select {
		case <-ch:
		case <-deadline.C:
			return false
		}
	}
}

func (w *watchSide) setPaused(p bool) {
	w.mu.Lock()
	w.paused = p
	w.resumed.Broadcast()
	w.mu.Unlock()
}

// watcher is what the runner knows about a watch id from A's answers.
type watcher struct {
	req       *pb.WatchCreateRequest
	start     int64
	compacted bool // its creation was answered, its end by compaction is due or came
}

// watchPair is one watch stream to both servers.
type watchPair struct {
	id       int
	sides    [2]*watchSide
	watchers map[int64]*watcher
	compared map[int64]int
	creates  int
	paused   bool
	half     bool
}

// answersProgress says whether a progress request is due an answer once all watchers are synced.
func (p *watchPair) answersProgress(rev int64) bool {
	if len(p.watchers) == 0 || p.half {
		return false
	}
	for _, w := range p.watchers {
		if w.compacted || w.start > rev {
			return false
		}
	}
	return true
}

// lastRev is the revision of the newest event of a watcher.
func (p *watchPair) lastRev(id int64) int64 {
	a := p.sides[0]
	a.mu.Lock()
	defer a.mu.Unlock()
	if rec := a.ids[id]; rec != nil {
		return rec.lastRev
	}
	return 0
}

func (p *watchPair) send(msg []byte) error {
	for _, s := range p.sides {
		if err := s.stream.SendMsg(msg); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
}

func (p *watchPair) close() {
	for _, s := range p.sides {
		if s != nil {
			s.setPaused(false)
			s.cancel()
		}
	}
}

// faults returns the broken rules of either side.
func (p *watchPair) faults() []string {
	var all []string
	for _, s := range p.sides {
		s.mu.Lock()
		for _, f := range s.faults {
			all = append(all, fmt.Sprintf("server %s: %s", s.side.name, f))
		}
		s.mu.Unlock()
	}
	return all
}

// compare compares what both sides said since the last time. ragged is true when one side merely
// said less so far; then nothing is concluded yet.
func (p *watchPair) compare() (diff string, ragged bool) {
	a, b := p.sides[0], p.sides[1]
	a.mu.Lock()
	defer a.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()

	for i := p.creates; i < len(a.creates) && i < len(b.creates); i++ {
		if a.creates[i] != b.creates[i] {
			return fmt.Sprintf("answer to create number %d\n    A: %s\n    B: %s", i, a.creates[i], b.creates[i]), false
		}
	}
	if len(a.creates) != len(b.creates) {
		return fmt.Sprintf("A answered %d creates, B %d", len(a.creates), len(b.creates)), true
	}
	p.creates = len(a.creates)
	ids := make(map[int64]bool)
	for id := range a.ids {
		ids[id] = true
	}
	for id := range b.ids {
		ids[id] = true
	}
	for id := range ids {
		d, r := p.compareID(id, a.ids[id], b.ids[id])
		if d != "" && !r {
			return d, false
		}
		if d != "" {
			diff, ragged = d, true
		}
	}
	if a.ended != b.ended {
		return fmt.Sprintf("the stream ended on one side: A %v %v %q, B %v %v %q", a.ended, a.code, a.text, b.ended, b.code, b.text), true
	}
	return diff, ragged
}

func (p *watchPair) compareID(id int64, a, b *idRecord) (string, bool) {
	var ia, ib []item
	if a != nil {
		ia = a.items
	}
	if b != nil {
		ib = b.items
	}
	i := p.compared[id]
	for ; i < len(ia) && i < len(ib); i++ {
		if !proto.Equal(ia[i].msg, ib[i].msg) {
			return fmt.Sprintf("watch id %d, item %d\n    A: %s\n    B: %s", id, i, oneLine(ia[i].msg), oneLine(ib[i].msg)), false
		}
		ia[i].msg, ib[i].msg = nil, nil // what was the same is not needed again
	}
	p.compared[id] = i
	if len(ia) > i {
		return fmt.Sprintf("watch id %d: A said %d items, B %d; first missing at B: %s", id, len(ia), len(ib), oneLine(ia[i].msg)), true
	}
	if len(ib) > i {
		return fmt.Sprintf("watch id %d: A said %d items, B %d; first missing at A: %s", id, len(ia), len(ib), oneLine(ib[i].msg)), true
	}
	return "", false
}
