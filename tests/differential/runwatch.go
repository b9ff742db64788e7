// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

func (r *runner) runWatch(o *op) *difference {
	p := r.streams[o.Stream]
	if o.Kind == opWatchOpen {
		if p != nil {
			return nil // only in a shortened program
		}
		p = &watchPair{id: o.Stream, watchers: make(map[int64]*watcher), compared: make(map[int64]int)}
		for i, s := range r.sides {
			w, err := openWatch(s, o.Conn, o.Meta, r.mutate.watch(i))
			if err != nil {
				return r.diff(o, "open", "server %s: %v", s.name, err)
			}
			p.sides[i] = w
		}
		r.streams[o.Stream] = p
		return nil
	}
	if p == nil {
		return nil
	}
	switch o.Kind {
	case opWatchSend:
		return r.watchSend(o, p)
	case opWatchHalf:
		p.half = true
		for _, s := range p.sides {
			s.stream.CloseSend()
		}
	case opWatchStop:
		p.paused = true
		for _, s := range p.sides {
			s.setPaused(true)
		}
	case opWatchClose:
		return r.watchClose(o, p)
	}
	return nil
}

func (r *runner) watchClose(o *op, p *watchPair) *difference {
	if d := r.drainStream(o, p); d != nil {
		return d
	}
	p.close()
	delete(r.streams, o.Stream)
	for _, s := range p.sides {
		if !s.await(watchTimeout, func() bool { return s.ended }) && !s.ended {
			return r.diff(o, "close", "server %s: a cancelled stream does not end", s.side.name)
		}
	}
	return nil
}

func (r *runner) watchSend(o *op, p *watchPair) *difference {
	if p.half {
		return nil
	}
	q := new(pb.WatchRequest)
	broken := proto.Unmarshal(o.Req, q) != nil
	if p.paused || q.GetCancelRequest() != nil || broken {
		// Events in flight when a cancel arrives may or may not be delivered.
		if d := r.drainStream(o, p); d != nil {
			return d
		}
	}
	if err := p.send(o.Req); err != nil {
		return r.diff(o, "send", "%v", err)
	}
	switch {
	case broken:
		return r.watchBroken(o, p)
	case q.GetCreateRequest() != nil:
		return r.watchCreated(o, p, q.GetCreateRequest())
	case q.GetCancelRequest() != nil:
		return r.watchCancelled(o, p, q.GetCancelRequest().WatchId)
	}
	return nil
}

// watchBroken expects the stream to end, for the message was none.
func (r *runner) watchBroken(o *op, p *watchPair) *difference {
	for _, s := range p.sides {
		s.await(watchTimeout, func() bool { return s.ended })
	}
	delete(r.streams, o.Stream)
	p.close()
	a, b := p.sides[0], p.sides[1]
	if a.code != b.code {
		return r.diff(o, "status of the stream", "A: %v %q\n    B: %v %q", a.code, a.text, b.code, b.text)
	}
	return nil
}

func (r *runner) watchCreated(o *op, p *watchPair, q *pb.WatchCreateRequest) *difference {
	want := p.creates + 1
	for _, s := range p.sides {
		s.mu.Lock()
		s.settled = 0
		s.mu.Unlock()
	}
	for _, s := range p.sides {
		if !s.await(watchTimeout, func() bool { return len(s.creates) >= want }) {
			return r.diff(o, "no answer to create", "server %s did not answer (stream ended: %v %v %q)", s.side.name, s.ended, s.code, s.text)
		}
	}
	d, ragged := p.compare()
	if d != "" && !ragged {
		return r.diff(o, "watch answer", "%s", d)
	}
	a := p.sides[0]
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lastOK {
		p.watchers[a.lastID] = &watcher{req: q, start: q.StartRevision,
			compacted: q.StartRevision > 0 && q.StartRevision < r.compact}
	}
	return nil
}

func (r *runner) watchCancelled(o *op, p *watchPair, id int64) *difference {
	if p.watchers[id] == nil {
		return nil // silence is expected; an answer shows up at the next drain
	}
	delete(p.watchers, id)
	for _, s := range p.sides {
		if !s.await(watchTimeout, func() bool { rec := s.ids[id]; return rec != nil && rec.canceled }) {
			return r.diff(o, "no answer to cancel", "server %s did not answer the cancel of id %d", s.side.name, id)
		}
	}
	if d, _ := p.compare(); d != "" {
		return r.diff(o, "watch answer", "%s", d)
	}
	return nil
}

// drain waits until every stream has said all it has to say, and compares.
func (r *runner) drain(o *op) *difference {
	for _, p := range r.streams {
		if d := r.drainStream(o, p); d != nil {
			return d
		}
	}
	return nil
}

func progressMessage() []byte {
	raw, _ := proto.Marshal(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
	return raw
}

func (r *runner) drainStream(o *op, p *watchPair) *difference {
	if p.paused {
		p.paused = false
		for _, s := range p.sides {
			s.setPaused(false)
		}
	}
	if p.answersProgress(r.rev) {
		for _, s := range p.sides {
			if !r.progressed(s) {
				return r.diff(o, "no progress", "server %s does not answer progress requests at revision %d although all watchers of stream %d can be synced (at %d, ended %v %v %q)",
					s.side.name, r.rev, p.id, s.progress, s.ended, s.code, s.text)
			}
		}
	}
	deadline := time.Now().Add(watchTimeout)
	for {
		d, ragged := p.compare()
		if faults := p.faults(); len(faults) > 0 {
			return r.diff(o, "watch rule", "stream %d: %v", p.id, faults)
		}
		if d != "" && (!ragged || time.Now().After(deadline)) {
			x := r.diff(o, "watch events", "stream %d: %s", p.id, d)
			x.diverged = true
			return x
		}
		if d == "" && r.settled(p) {
			return nil
		}
		if d == "" && time.Now().After(deadline) {
			return r.diff(o, "never settled", "stream %d has no answer about compaction on both sides", p.id)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// progressed asks one server for progress until it confirms the current revision.
func (r *runner) progressed(s *watchSide) bool {
	deadline := time.Now().Add(watchTimeout)
	for time.Now().Before(deadline) {
		s.mu.Lock()
		before, at := s.asked, s.settled
		s.mu.Unlock()
		if at >= r.rev {
			return true
		}
		if s.askProgress() != nil {
			return false
		}
		s.await(10*time.Millisecond, func() bool { return s.asked > before })
		s.mu.Lock()
		ended := s.ended
		s.mu.Unlock()
		if ended {
			return false
		}
	}
	return false
}

// settled says whether nothing more can be expected on a stream whose two sides agree.
func (r *runner) settled(p *watchPair) bool {
	sure := p.answersProgress(r.rev)
	for _, s := range p.sides {
		s.mu.Lock()
		idle := time.Since(s.lastAt) >= quiet
		for id, w := range p.watchers {
			if rec := s.ids[id]; w.compacted && (rec == nil || !rec.compacted) {
				idle, sure = false, false
			}
		}
		s.mu.Unlock()
		if !sure && !idle {
			return false
		}
	}
	return true
}

// runProgress compares whether a progress request is answered, and with which revision.
func (r *runner) runProgress(o *op) *difference {
	p := r.streams[o.Stream]
	if p == nil || p.half {
		return nil
	}
	if d := r.drainStream(o, p); d != nil {
		return d
	}
	var before, after [2]int
	for i, s := range p.sides {
		s.mu.Lock()
		before[i] = s.asked
		s.mu.Unlock()
		if err := s.askProgress(); err != nil {
			return r.diff(o, "send", "%v", err)
		}
	}
	wait := silence
	if p.answersProgress(r.rev) {
		wait = watchTimeout
	}
	for i, s := range p.sides {
		s.await(wait, func() bool { return s.asked > before[i] })
	}
	for i, s := range p.sides {
		s.mu.Lock()
		after[i] = s.asked - before[i]
		s.mu.Unlock()
	}
	a, b := p.sides[0], p.sides[1]
	if (after[0] > 0) != (after[1] > 0) {
		return r.diff(o, "answered or silent", "A sent %d answers, B %d (stream %d, revision %d)", after[0], after[1], p.id, r.rev)
	}
	if after[0] > 0 && a.progress != b.progress {
		return r.diff(o, "revision", "A answered revision %d, B %d", a.progress, b.progress)
	}
	return nil
}
