// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	probeTimeout = 120 * time.Second
	probePause   = 5 * time.Millisecond
)

// probe is the client that must not notice: it puts, reads back, and watches what it put, and asks
// its watch for progress, on a connection of its own while others misbehave.
type probe struct {
	conn   *grpc.ClientConn
	stop   [2]context.CancelFunc // of write and watch
	done   [2]sync.WaitGroup
	prefix string
	isEtcd bool

	mu        sync.Mutex
	rounds    int // put, get and event of it
	progress  int
	slowest   time.Duration // round
	failure   string
	lastEvent int
}

func startProbe(s *server, name string) *probe {
	p := &probe{conn: s.dial(), prefix: "probe/" + name + "/", isEtcd: !s.isKedge()}
	watching := make(chan pb.Watch_WatchClient, 1)
	for i, work := range []func(context.Context, chan pb.Watch_WatchClient){p.write, p.watch} {
		ctx, cancel := context.WithCancel(context.Background())
		p.stop[i] = cancel
		p.done[i].Add(1)
		go func() { defer p.done[i].Done(); work(ctx, watching) }()
	}
	return p
}

func (p *probe) fail(format string, values ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failure == "" {
		p.failure = fmt.Sprintf(format, values...)
	}
}

func (p *probe) write(ctx context.Context, watching chan pb.Watch_WatchClient) {
	kv := pb.NewKVClient(p.conn)
	stream := <-watching
	for i := 1; ctx.Err() == nil && stream != nil; i++ {
		start := time.Now()
		if err := p.round(kv, i); err != nil {
			p.fail("round %d: %v", i, err)
			return
		}
		if i%10 == 0 && ctx.Err() == nil {
			stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
		}
		p.mu.Lock()
		p.rounds = i
		p.slowest = max(p.slowest, time.Since(start))
		p.mu.Unlock()
		time.Sleep(probePause)
	}
}

// round has its own deadline: a test that ends in the middle of one lets it finish.
func (p *probe) round(kv pb.KVClient, i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	key, value := []byte(p.prefix+"key"), fmt.Appendf(nil, "%d", i)
	_, err := kv.Put(ctx, &pb.PutRequest{Key: key, Value: value})
	for p.isEtcd && err != nil && ctx.Err() == nil { // it gives up after 7 s on a busy machine
		_, err = kv.Put(ctx, &pb.PutRequest{Key: key, Value: value})
	}
	if err != nil {
		return fmt.Errorf("put: %w", err)
	}
	got, err := kv.Range(ctx, &pb.RangeRequest{Key: key})
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != string(value) {
		return fmt.Errorf("get: not what was put: %v", got.Kvs)
	}
	for {
		p.mu.Lock()
		seen := p.lastEvent
		p.mu.Unlock()
		if seen >= i {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no event for it, the last was %d", seen)
		}
		time.Sleep(time.Millisecond)
	}
}

func (p *probe) watch(ctx context.Context, watching chan pb.Watch_WatchClient) {
	stream, err := pb.NewWatchClient(p.conn).Watch(ctx)
	if err == nil {
		err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
			Key: []byte(p.prefix), RangeEnd: []byte(p.prefix[:len(p.prefix)-1] + "0")}}})
	}
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		p.fail("watch: %v", err)
		watching <- nil
		return
	}
	watching <- stream
	for {
		answer, err := stream.Recv()
		if err != nil {
			if ctx.Err() == nil {
				p.fail("watch: %v", err)
			}
			return
		}
		p.mu.Lock()
		for _, event := range answer.Events {
			n := 0
			fmt.Sscanf(string(event.Kv.Value), "%d", &n)
			if n != p.lastEvent+1 && !(p.isEtcd && n == p.lastEvent) && p.failure == "" {
				p.failure = fmt.Sprintf("event %d follows event %d", n, p.lastEvent)
			}
			p.lastEvent = n
		}
		if len(answer.Events) == 0 && !answer.Created && !answer.Canceled {
			p.progress++
		}
		p.mu.Unlock()
	}
}

func (p *probe) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rounds
}

// advance waits until the probe has made this many more rounds: the proof that nobody is held up now.
func (p *probe) advance(rounds int) bool {
	target := p.count() + rounds
	for end := time.Now().Add(probeTimeout); time.Now().Before(end); time.Sleep(probePause) {
		p.mu.Lock()
		failed := p.failure != ""
		p.mu.Unlock()
		if failed {
			return false
		}
		if p.count() >= target {
			return true
		}
	}
	return false
}

// finish ends it and gives what went wrong, or nothing, and its figures.
func (p *probe) finish() (failure, figures string) {
	if !p.advance(2) {
		p.fail("it stands still after %d rounds", p.count())
	}
	for i := range p.stop { // the last round has its event before the watch ends
		p.stop[i]()
		p.done[i].Wait()
	}
	p.conn.Close()
	return p.failure, fmt.Sprintf("probe: %d rounds, slowest %d ms, %d progress answers", p.rounds,
		p.slowest.Milliseconds(), p.progress)
}
