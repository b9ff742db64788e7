// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math/rand"
	"time"

	"google.golang.org/grpc"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
)

// watch is one watcher of one range, and all that it was told.
type watch struct {
	key, end  string
	start     int64 // as asked for
	prev      bool
	next      int64 // the first revision it has not been told of; 0 until it was created
	from      int64 // the first revision it was to be told of
	heard     []revision
	compacted int64 // the watch was ended by a compaction there
	stream    pb.Watch_WatchClient
}

func (w *watch) String() string {
	return fmt.Sprintf("watch of %q..%q from %d, which heard %d revisions below %d", w.key, w.end, w.start, len(w.heard), w.next)
}

func (w *watch) open(ctx context.Context, c *grpc.ClientConn) error {
	st, err := pb.NewWatchClient(c).Watch(ctx)
	if err != nil {
		return err
	}
	w.stream = st
	return st.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key: []byte(w.key), RangeEnd: []byte(w.end), StartRevision: w.start, PrevKv: w.prev}}})
}

func (w *watch) askProgress() error {
	return w.stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}

// take notes one answer; the error says which promise it breaks.
func (w *watch) take(resp *pb.WatchResponse) error {
	switch {
	case resp.Created:
		if w.from = w.start; w.start == 0 {
			w.from = resp.Header.Revision + 1
		}
		w.next = w.from
		return nil
	case w.next == 0:
		return fmt.Errorf("an answer came before the watch was created: %v", resp)
	case resp.Canceled:
		w.compacted = resp.CompactRevision
		if w.compacted <= w.next {
			return fmt.Errorf("%v was ended by a compaction at %d", w, w.compacted)
		}
		return nil
	case len(resp.Events) == 0: // progress: everything up to there has been told
		w.next = max(w.next, resp.Header.Revision+1)
		return nil
	}
	for _, e := range resp.Events {
		rev := e.Kv.ModRevision
		last := len(w.heard) - 1
		if last >= 0 && w.heard[last].rev == rev && w.next == rev+1 && e != resp.Events[0] {
			w.heard[last].events = append(w.heard[last].events, e)
			continue
		}
		if rev < w.next {
			return fmt.Errorf("%v was told of revision %d late, again or in pieces", w, rev)
		}
		w.heard = append(w.heard, revision{rev: rev, events: []*mvccpb.Event{e}})
		w.next = rev + 1
	}
	if resp.Header.Revision < w.next-1 {
		return fmt.Errorf("%v: a header says %d, below its events", w, resp.Header.Revision)
	}
	return nil
}

// watchOn keeps one watcher after another going, until the server is gone.
func (d *load) watchOn(rng *rand.Rand, c *grpc.ClientConn) {
	defer d.wg.Done()
	for d.ctx.Err() == nil {
		w := d.randomWatch(rng)
		d.mu.Lock()
		d.watches = append(d.watches, w)
		d.mu.Unlock()
		ctx, cancel := context.WithTimeout(d.ctx, time.Duration(rng.Intn(600))*time.Millisecond)
		if rng.Intn(2) == 0 {
			cancel()
			ctx, cancel = context.WithCancel(d.ctx)
		}
		again := d.listen(ctx, rng, c, w, nil)
		cancel()
		if !again {
			return
		}
	}
}

func (d *load) randomWatch(rng *rand.Rand) *watch {
	w := &watch{prev: rng.Intn(4) > 0}
	w.key, w.end = randomRange(rng)
	head := d.l.observed.Load()
	d.l.mu.Lock()
	old := max(d.l.compacted, 1)
	d.l.mu.Unlock()
	switch rng.Intn(5) {
	case 0: // from now on
	case 1:
		w.start = head + 1 + rng.Int63n(20)
	case 2:
		w.start = max(head-rng.Int63n(50), 1)
	default:
		w.start = old + rng.Int63n(max(head-old, 1))
	}
	return w
}

// listen reads until the watch ends; false when the server is gone.
func (d *load) listen(ctx context.Context, rng *rand.Rand, c *grpc.ClientConn, w *watch, each func()) bool {
	if w.open(ctx, c) != nil {
		return ctx.Err() != nil && d.ctx.Err() == nil
	}
	for {
		resp, err := w.stream.Recv()
		if err != nil {
			return ctx.Err() != nil && d.ctx.Err() == nil
		}
		if resp.Header.Revision > 0 {
			d.l.observe(resp.Header.Revision)
		}
		if err := w.take(resp); err != nil {
			d.l.problem("%v", err)
			return false
		}
		if resp.Canceled {
			return true
		}
		if each != nil {
			each()
		}
		if rng != nil && rng.Intn(20) == 0 && w.askProgress() != nil {
			return d.ctx.Err() == nil
		}
	}
}

// record hears everything from the ledger's head on, so that the history is known even where a compaction
// removes it. It returns once the watch stands.
func (d *load) record(c *grpc.ClientConn) *watch {
	w := &watch{key: "\x00", end: "\x00", start: d.l.m.head + 1, prev: true}
	stands := make(chan struct{})
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		first := true
		d.listen(d.ctx, nil, c, w, func() {
			if first {
				first = false
				close(stands)
			}
			d.recTo.Store(w.next - 1)
		})
		if first {
			close(stands)
		}
	}()
	<-stands
	return w
}

// readHistory reads the revisions from..to back.
func readHistory(ctx context.Context, c *grpc.ClientConn, from, to int64) ([]revision, error) {
	if from > to {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	w := &watch{key: "\x00", end: "\x00", start: from, prev: true}
	if err := w.open(ctx, c); err != nil {
		return nil, err
	}
	for w.next <= to {
		resp, err := w.stream.Recv()
		if err != nil {
			return nil, fmt.Errorf("%v does not get to %d: %w", w, to, err)
		}
		if err := w.take(resp); err != nil {
			return nil, err
		}
		if resp.Canceled {
			return nil, fmt.Errorf("%v was canceled: %v", w, resp)
		}
	}
	for i, r := range w.heard {
		if r.rev > to { // a lease ran out meanwhile: next round's business
			return w.heard[:i], nil
		}
	}
	return w.heard, nil
}

// compactionOf learns where the log begins: a watch below it is told. 0: nothing was ever compacted.
func compactionOf(ctx context.Context, c *grpc.ClientConn) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	w := &watch{key: "\x00", end: "\x00", start: 1}
	if err := w.open(ctx, c); err != nil {
		return 0, err
	}
	for {
		resp, err := w.stream.Recv()
		switch {
		case err != nil:
			return 0, err
		case resp.Canceled && resp.CompactRevision > 0:
			return resp.CompactRevision, nil
		case len(resp.Events) > 0:
			return 0, nil
		case resp.Created && resp.Header.Revision == 1:
			return 0, nil
		}
	}
}

// checkWatches compares what the round's watchers heard with the history that is now known.
func (d *load) checkWatches() {
	m := d.l.m
	for _, w := range d.watches {
		if w.next == 0 {
			continue
		}
		want := m.seen(w.key, w.end, w.from, w.next-1)
		if w.next-1 > m.head && w.from <= m.head {
			d.l.problem("%v, but the head is %d", w, m.head)
		}
		if w.compacted > d.l.compactMax {
			d.l.problem("%v was ended by a compaction at %d that nobody asked for", w, w.compacted)
		}
		d.checkHeard(w, want)
	}
}

func (d *load) checkHeard(w *watch, want []revision) {
	for i := range max(len(want), len(w.heard)) {
		switch {
		case i >= len(w.heard):
			d.l.problem("%v was not told of revision %d", w, want[i].rev)
		case i >= len(want):
			d.l.problem("%v was told of revision %d, which has%s", w, w.heard[i].rev, showEvents(nil))
		case w.heard[i].rev != want[i].rev ||
			!sameEvents(w.heard[i].events, want[i].events, w.prev, d.l.compactMax):
			d.l.problem("%v was told\n  %d:%s\n  and not\n  %d:%s", w, w.heard[i].rev, showEvents(w.heard[i].events),
				want[i].rev, showEvents(want[i].events))
		default:
			continue
		}
		return
	}
}

// resume opens the watch again where it was cut off, as clients do, and hears the rest up to head.
func (d *load) resume(ctx context.Context, c *grpc.ClientConn, w *watch, head int64) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r := &watch{key: w.key, end: w.end, start: w.next, prev: w.prev}
	if d.faults.is("resume") && w.next <= head {
		r.start = head + 1
	}
	if err := r.open(ctx, c); err != nil {
		d.l.problem("%v cannot be resumed: %v", w, err)
		return
	}
	go func() { // progress tells where the end is; etcd stays silent while a watcher is behind
		for ctx.Err() == nil && r.askProgress() == nil {
			time.Sleep(3 * time.Millisecond)
		}
	}()
	for r.next <= head {
		resp, err := r.stream.Recv()
		if err != nil {
			d.l.problem("%v resumed at %d ends: %v", w, w.next, err)
			return
		}
		if err := r.take(resp); err != nil {
			d.l.problem("%v", err)
			return
		}
		if resp.Canceled {
			if w.next >= d.l.compacted {
				d.l.problem("%v resumed at %d: compacted at %d", w, w.next, resp.CompactRevision)
			}
			return
		}
	}
	for n := len(r.heard); n > 0 && r.heard[n-1].rev > head; n-- {
		r.heard = r.heard[:n-1]
	}
	d.checkHeard(r, d.l.m.seen(w.key, w.end, w.next, head))
}
