// SPDX-License-Identifier: Apache-2.0

// histories drives an etcd v3 server with concurrent clients and watchers, records what each was told and
// when, and checks that all of it is one history: see README.md.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

type options struct {
	spawn, data, out string
	seed             int64
	rounds           int
	length           time.Duration
	clients, steps   int
	streams          int
	fault, checks    string
	etcd, endings    bool
	patience         time.Duration
}

func main() {
	o := new(options)
	flag.StringVar(&o.spawn, "spawn", "", "command that starts the server; {dir}, {url} and {peer} are replaced")
	flag.StringVar(&o.data, "data", "", "folder for the server's data")
	flag.StringVar(&o.out, "out", "", "folder for the records that hold a fault")
	flag.Int64Var(&o.seed, "seed", 1, "seed of the first round; the next has the next number")
	flag.IntVar(&o.rounds, "rounds", 0, "rounds to run (0: until -for is over)")
	flag.DurationVar(&o.length, "for", 10*time.Second, "how long to go on")
	flag.IntVar(&o.clients, "clients", 12, "concurrent clients")
	flag.IntVar(&o.steps, "steps", 250, "steps of each client in a round")
	flag.IntVar(&o.streams, "streams", 6, "concurrent watch streams")
	flag.StringVar(&o.fault, "fault", "", "put a fault between server and clients: "+strings.Join(faultSorts, ", "))
	flag.StringVar(&o.checks, "checks", "history,linear", "which checks to run")
	flag.BoolVar(&o.etcd, "etcd", false, "the server is etcd: prev_kv may be missing after a compaction")
	flag.BoolVar(&o.endings, "endings", true, "grant leases that end by themselves")
	flag.DurationVar(&o.patience, "patience", 30*time.Second, "how long the generic check may think about a round")
	flag.Parse()
	if o.spawn == "" || o.data == "" {
		fmt.Fprintln(os.Stderr, "histories: give -spawn and -data")
		os.Exit(2)
	}
	os.Exit(o.run())
}

func (o *options) run() int {
	counts := make(map[string]int)
	began := time.Now()
	bad := 0
	for round := 0; ; round++ {
		if o.rounds > 0 && round >= o.rounds || o.rounds == 0 && time.Since(began) > o.length {
			break
		}
		c, err := o.round(o.seed+int64(round), counts)
		if err != nil {
			fmt.Fprintln(os.Stderr, "histories:", err)
			return 2
		}
		counts["rounds"]++
		if len(c.faults) > 0 {
			bad++
			o.tell(c, o.seed+int64(round))
			break
		}
	}
	names := make([]string, 0, len(counts))
	for n := range counts {
		names = append(names, n)
	}
	sort.Strings(names)
	parts := make([]string, len(names))
	for i, n := range names {
		parts[i] = fmt.Sprintf("%d %s", counts[n], n)
	}
	fmt.Printf("%s; %d rounds with faults\n", strings.Join(parts, ", "), bad)
	return min(bad, 1)
}

// tell prints what was found and keeps the record.
func (o *options) tell(c *checker, seed int64) {
	for _, f := range c.faults {
		fmt.Printf("FAULT seed %d: %.3000s\n", seed, f)
	}
	if o.out == "" {
		return
	}
	path := filepath.Join(o.out, fmt.Sprintf("record-%d.txt", seed))
	f, err := os.Create(path)
	if err != nil {
		return
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	defer w.Flush()
	sort.Slice(c.calls, func(i, j int) bool { return c.calls[i].sent < c.calls[j].sent })
	for _, k := range c.calls {
		fmt.Fprintf(w, "%.2000s\n", k)
	}
	for _, s := range c.spans {
		fmt.Fprintf(w, "%v: next %d, cancelled %v, compacted at %d, whole %v\n", s, s.next, s.cancelled, s.compactRev, s.whole)
		for _, a := range s.arrivals {
			fmt.Fprintf(w, "    %.6f s, header %d, fragment %v: %.2000s\n", float64(a.at)/1e9, a.revision, a.fragment, eventsText(a.events))
		}
	}
	fmt.Printf("record: %s\n", path)
}

// round starts a server, lets clients and watchers loose on it, and checks what they saw.
func (o *options) round(seed int64, counts map[string]int) (*checker, error) {
	srv, err := startServer(o.spawn, filepath.Join(o.data, "server"), 5)
	if err != nil {
		return nil, err
	}
	defer srv.stop()
	rec := newRecord()
	t := newTamper(o.fault, seed)
	var head atomic.Int64
	head.Store(1)
	recorder := &watching{number: 0, rng: rand.New(rand.NewSource(seed)), rec: rec, conns: srv.conns[:1], head: head.Load}
	stopRecorder, recorded := make(chan struct{}), make(chan struct{})
	position := recorder.record(stopRecorder, recorded)

	stop := make(chan struct{})
	var watchers, clients sync.WaitGroup
	for i := 1; i <= o.streams; i++ {
		w := &watching{number: i, rng: rand.New(rand.NewSource(seed*1000 + int64(i))), rec: rec, conns: srv.conns, tamper: t, head: head.Load, etcd: o.etcd}
		watchers.Add(1)
		go func() { defer watchers.Done(); w.run(stop) }()
	}
	for i := range o.clients {
		c := &client{id: i, rng: rand.New(rand.NewSource(seed*1000 + 500 + int64(i))), conn: srv.conns[i%len(srv.conns)], rec: rec, tamper: t,
			mods: make(map[string]int64), recorded: position, endings: o.endings}
		clients.Add(1)
		go func() {
			defer clients.Done()
			for range o.steps {
				c.step()
				for h := head.Load(); c.head > h && !head.CompareAndSwap(h, c.head); h = head.Load() {
				}
			}
		}()
	}
	clients.Wait()
	o.settle(srv, rec, &head)
	close(stop)
	watchers.Wait()
	close(stopRecorder)
	<-recorded
	c := &checker{record: rec, m: newModel(), kube: !o.etcd, counts: counts}
	counts["requests"] += len(rec.calls)
	if strings.Contains(o.checks, "history") {
		c.check(recorder.history())
	} else {
		c.faults = nil
	}
	if strings.Contains(o.checks, "linear") && c.linear(o.patience) == porcupine.Unknown {
		counts["rounds too hard for the generic check"]++
	}
	return c, nil
}

// settle waits for the leases that end by themselves and for what was given up, and learns the last revision.
func (o *options) settle(srv *server, rec *record, head *atomic.Int64) {
	last := time.Now().Add(-time.Second)
	rec.mu.Lock()
	for _, at := range rec.leases {
		if at.After(last) {
			last = at
		}
	}
	rec.mu.Unlock()
	time.Sleep(time.Until(last) + 1200*time.Millisecond) // etcd looks for ended leases every 500 ms
	c := &client{id: -1, rng: rand.New(rand.NewSource(0)), conn: srv.conns[0], rec: rec}
	if k := c.do(&pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}, false); k.rev > 0 {
		head.Store(k.rev)
	}
}

// record starts the watcher that hears everything from the first revision on, and says how far it has come.
func (w *watching) record(stop <-chan struct{}, done chan<- struct{}) func() int64 {
	started := make(chan struct{})
	go func() {
		defer close(done)
		w.recordAll(stop, started)
	}()
	<-started
	return func() int64 {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.all[0].next - 1
	}
}

// history gives the events of each revision that the recorder heard of.
func (w *watching) history() map[int64][]*mvccpb.Event {
	all := make(map[int64][]*mvccpb.Event)
	for _, a := range w.all[0].arrivals {
		for _, e := range a.events {
			all[e.Kv.ModRevision] = append(all[e.Kv.ModRevision], e)
		}
	}
	return all
}
