// SPDX-License-Identifier: Apache-2.0

// difftest compares two etcd v3 servers: random programs of requests run on both in lock-step, and
// every answer, error and watch event must be the same.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type options struct {
	a, b           string
	spawnA, spawnB string
	requests       int
	length, jobs   int
	seed           int64
	program        string
	out, data      string
	mutate         string
	keepGoing      bool
	restarts       bool
	shrink         time.Duration
	verbose        bool
}

func parseOptions() *options {
	o := new(options)
	flag.StringVar(&o.a, "a", "", "host:port of server A, the reference")
	flag.StringVar(&o.b, "b", "", "host:port of server B")
	flag.StringVar(&o.spawnA, "spawn-a", "", "command that starts A; {dir}, {url} and {peer} are replaced")
	flag.StringVar(&o.spawnB, "spawn-b", "", "command that starts B")
	flag.IntVar(&o.requests, "requests", 2000, "steps to run in all")
	flag.IntVar(&o.length, "length", 2000, "steps of one program; each starts with empty servers when -spawn-a and -spawn-b are given")
	flag.IntVar(&o.jobs, "jobs", 1, "programs to run side by side, each on servers of its own")
	flag.Int64Var(&o.seed, "seed", 1, "seed of the first program; the next has the next number")
	flag.StringVar(&o.program, "program", "", "file with a program to replay instead of random ones")
	flag.StringVar(&o.out, "out", "", "folder for the programs that found a difference (default: a temporary one)")
	flag.StringVar(&o.data, "data", "", "folder for the servers' data (default: that of -out)")
	flag.StringVar(&o.mutate, "mutate", "", "put one fault into B's answers: "+strings.Join(mutateModes, ", "))
	flag.BoolVar(&o.keepGoing, "keep-going", false, "go on after a difference, and list them by sort at the end")
	flag.BoolVar(&o.restarts, "restarts", true, "stop and start both servers within programs (needs -spawn-a and -spawn-b)")
	flag.DurationVar(&o.shrink, "shrink", 0, "how long to try to shorten a program that found a difference")
	flag.BoolVar(&o.verbose, "v", false, "print every step")
	flag.Parse()
	return o
}

// plan hands out the programs of a run: which seed is next, how many steps are left, and whether to go on.
type plan struct {
	mu    sync.Mutex
	seed  int64
	steps int
	// stopping is set by a signal or a difference: the programs at hand end after their step.
	stopping atomic.Bool
}

// next gives the seed and the length of the next program; a length of 0 ends the run.
func (p *plan) next(length int) (int64, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping.Load() {
		return 0, 0
	}
	n := min(length, p.steps)
	p.steps -= n
	p.seed++
	return p.seed - 1, n
}

// session runs programs one after the other on its two servers, and keeps what it found.
type session struct {
	*options
	*plan
	number int
	sides  [2]*side
	quiet  bool
	found  map[string][]*difference
	counts map[string]int
	// refused counts the requests that A answered with an error.
	refused map[string]int
	// spent is the time that passed over the steps of each sort.
	spent map[string]time.Duration
	// accepted counts the differences that freshHash excuses.
	accepted int
	programs int
}

func newSession(o *options, p *plan, number int) *session {
	s := &session{options: o, plan: p, number: number, found: make(map[string][]*difference), counts: make(map[string]int),
		refused: make(map[string]int), spent: make(map[string]time.Duration)}
	s.sides[0] = &side{name: "A", index: 0, addr: s.a, url: "http://" + s.a, command: s.spawnA}
	s.sides[1] = &side{name: "B", index: 1, addr: s.b, url: "http://" + s.b, command: s.spawnB}
	return s
}

// add takes over what another session saw.
func (s *session) add(t *session) {
	for k, v := range t.found {
		s.found[k] = append(s.found[k], v...)
	}
	for k, v := range t.counts {
		s.counts[k] += v
		s.refused[k] += t.refused[k]
		s.spent[k] += t.spent[k]
	}
	s.accepted += t.accepted
	s.programs += t.programs
}

func main() {
	o := parseOptions()
	if (o.spawnA == "") != (o.spawnB == "") || o.spawnA == "" && (o.a == "" || o.b == "") {
		fmt.Fprintln(os.Stderr, "difftest: give -a and -b, or -spawn-a and -spawn-b")
		os.Exit(2)
	}
	s := newSession(o, &plan{seed: o.seed, steps: o.requests}, 0)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		s.stopping.Store(true)
		signal.Stop(signals)
	}()
	if err := s.run(); err != nil {
		fmt.Fprintln(os.Stderr, "difftest:", err)
		os.Exit(2)
	}
	s.summary()
	if len(s.found) > 0 {
		os.Exit(1)
	}
}

func (s *session) run() error {
	if s.out == "" {
		dir, err := os.MkdirTemp("", "difftest")
		if err != nil {
			return err
		}
		s.out = dir
		defer func() {
			if len(s.found) == 0 {
				os.RemoveAll(dir)
			}
		}()
	}
	if s.data == "" {
		s.data = s.out
	}
	if err := os.MkdirAll(s.out, 0o777); err != nil {
		return err
	}
	if s.program != "" {
		ops, err := loadProgram(s.program)
		if err != nil {
			return err
		}
		_, err = s.once(s.options.seed, ops, 0)
		return err
	}
	if s.spawnA == "" {
		s.jobs = 1 // servers that somebody else started have one history
	}
	errs := make(chan error, s.jobs)
	jobs := make([]*session, s.jobs)
	for i := range jobs {
		jobs[i] = newSession(s.options, s.plan, i)
		go func() { errs <- jobs[i].work() }()
	}
	var first error
	for range jobs {
		first = firstError(first, <-errs)
	}
	for _, j := range jobs {
		s.add(j)
	}
	return first
}

// work runs programs until there are no more, or one found a difference.
func (s *session) work() error {
	for {
		seed, n := s.plan.next(s.length)
		if n == 0 {
			return nil
		}
		s.programs++
		ran, err := s.once(seed, nil, n)
		if err != nil {
			return err
		}
		if len(s.found) > 0 && !s.keepGoing {
			s.stopping.Store(true)
			return s.keep(seed, ran)
		}
	}
}

// prepare starts empty servers, or connects to the ones that run.
func (s *session) prepare() error {
	for _, x := range s.sides {
		x.forget()
		dir := filepath.Join(s.data, fmt.Sprintf("server-%d-%s", s.number, x.name))
		if x.command != "" {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
		if err := x.fresh(dir); err != nil {
			return err
		}
	}
	errs := make(chan error, 2)
	for _, x := range s.sides {
		go func() { errs <- x.start() }()
	}
	return firstError(<-errs, <-errs)
}

func firstError(errs ...error) error {
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	return nil
}

func (s *session) release(r *runner) {
	r.close()
	for _, x := range s.sides {
		x.stop(9)
	}
}

// once runs one program, a random one of n requests when ops is nil, and returns the steps it took.
func (s *session) once(seed int64, ops []*op, n int) ([]*op, error) {
	flags := startFlags(seed)
	if ops != nil {
		flags = nil
		if len(ops) > 0 && ops[0].Kind == opStart {
			flags = ops[0].Flags
		}
	}
	for _, x := range s.sides {
		x.useFlags(flags)
	}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	m := newMutator(s.mutate, seed)
	r := newRunner(s.sides, m)
	defer s.release(r)
	if s.spawnA == "" {
		if err := s.adopt(r); err != nil {
			return nil, err
		}
	}
	g := newGenerator(seed, r, s.restarts && s.spawnA != "", flags)
	var ran []*op
	for i, done := 0, 0; ; i++ {
		var o *op
		last := false
		switch {
		case ops != nil && i < len(ops):
			o = ops[i]
		case ops == nil && i == 0 && len(flags) > 0:
			o = &op{Kind: opStart, Flags: flags}
		case ops == nil && done < n:
			o = g.next()
		default:
			o, last = &op{Kind: opDrain}, true
		}
		r.index = i
		ran = append(ran, o)
		done += o.requests()
		if s.verbose {
			fmt.Printf("%6d %s\n", i, o)
		}
		before := time.Now()
		d := r.run(o)
		s.spent[o.label()] += time.Since(before)
		if d != nil {
			for _, x := range s.sides {
				if !d.diverged && x.died() {
					d.signature = "server " + x.name + " died: " + o.label()
					d.text += "\n" + x.logTail()
					d.diverged = true
				}
			}
			s.note(seed, d)
			if d.diverged || !s.keepGoing {
				break
			}
		}
		if last || s.stopping.Load() {
			break
		}
	}
	for k, v := range r.counts {
		s.counts[k] += v
		s.refused[k] += r.refused[k]
	}
	s.accepted += r.accepted
	if m != nil && !s.quiet {
		fmt.Printf("mutated: %s\n", m.what)
	}
	return ran, nil
}

// adopt learns the state of servers that were running before.
func (s *session) adopt(r *runner) error {
	o := &op{Kind: opUnary, Method: "/etcdserverpb.Lease/LeaseLeases"}
	if d := r.run(o); d != nil {
		return fmt.Errorf("the servers differ before the first step: %s", d.text)
	}
	return nil
}

func (s *session) note(seed int64, d *difference) {
	first := len(s.found[d.signature]) == 0
	s.found[d.signature] = append(s.found[d.signature], d)
	if !first || s.quiet {
		return
	}
	fmt.Printf("DIFFERENCE seed %d step %d: %s\n    request: %s\n    %s\n", seed, d.index, d.signature,
		shortLines(d.op.String()), shortLines(d.text))
}

// keep writes the program that found a difference to a file, shortened if asked.
func (s *session) keep(seed int64, ran []*op) error {
	path := filepath.Join(s.out, fmt.Sprintf("program-%d.jsonl", seed))
	if err := saveProgram(path, ran); err != nil {
		return err
	}
	fmt.Printf("program: %s (%d steps); replay it with -program\n", path, len(ran))
	if s.shrink == 0 || s.spawnA == "" {
		return nil
	}
	small, err := s.shorten(seed, ran)
	if err != nil || len(small) == len(ran) {
		return err
	}
	path = filepath.Join(s.out, fmt.Sprintf("program-%d.small.jsonl", seed))
	if err := saveProgram(path, small); err != nil {
		return err
	}
	fmt.Printf("shortened: %s (%d steps)\n", path, len(small))
	return nil
}

// shorten takes steps out as long as the same sort of difference is found.
func (s *session) shorten(seed int64, ops []*op) ([]*op, error) {
	want := ""
	for sig := range s.found {
		want = sig
	}
	quiet := *s.options
	quiet.verbose, quiet.keepGoing = false, false
	t := newSession(&quiet, new(plan), s.number)
	t.sides, t.quiet = s.sides, true
	start := 0
	if len(ops) > 0 && ops[0].Kind == opStart {
		start = 1 // without its flags the program is another
	}
	fails := func(try []*op) (bool, error) {
		t.found = make(map[string][]*difference)
		_, err := t.once(seed, try, 0)
		return len(t.found[want]) > 0, err
	}
	deadline := time.Now().Add(s.shrink)
	for size := len(ops) / 2; size >= 1; size /= 2 {
		for from := start; from < len(ops)-1; {
			if time.Now().After(deadline) {
				return ops, nil
			}
			to := min(from+size, len(ops)-1) // the last step is the one that differs
			try := append(append([]*op(nil), ops[:from]...), ops[to:]...)
			bad, err := fails(try)
			if err != nil {
				return nil, err
			}
			if bad {
				ops = try
			} else {
				from = to
			}
		}
	}
	return ops, nil
}

func (s *session) summary() {
	labels := make([]string, 0, len(s.counts))
	total := 0
	for l, n := range s.counts {
		labels = append(labels, l)
		total += n
	}
	sort.Slice(labels, func(i, j int) bool {
		if s.counts[labels[i]] != s.counts[labels[j]] {
			return s.counts[labels[i]] > s.counts[labels[j]]
		}
		return labels[i] < labels[j]
	})
	for _, l := range labels {
		fmt.Printf("%8d %s (%d refused, %.1f s)\n", s.counts[l], l, s.refused[l], s.spent[l].Seconds())
	}
	sigs := make([]string, 0, len(s.found))
	all := 0
	for sig, ds := range s.found {
		sigs = append(sigs, sig)
		all += len(ds)
	}
	sort.Strings(sigs)
	for _, sig := range sigs {
		fmt.Printf("%8d times different: %s\n", len(s.found[sig]), sig)
	}
	if s.accepted > 0 {
		fmt.Printf("%8d times a HashKV of a compaction revision was computed anew by B, which is accepted\n", s.accepted)
	}
	fmt.Printf("%d requests in %d programs compared, %d differences\n", total, s.programs, all)
}
