// SPDX-License-Identifier: Apache-2.0

// Command pressure is a rude client, and many of them: it runs the same cases on kedge and on etcd,
// compares what can be seen from outside, measures memory against the bounds that docs/limits.md
// states, and watches through a probe whether others are held up.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// pressureCase is one way to be a nuisance. Servers are fresh for each set of flags.
type pressureCase struct {
	name  string
	flags []string // of both servers
	kedge []string // of kedge alone
	files int      // limit of open files of the server
	idle  bool     // costs nothing but time: may run beside others
	run   func(r *run)
}

// run is one case on one server: what it saw.
type run struct {
	*server
	name   string
	long   bool
	seen   []observation
	failed []string
	notes  []string
	probe  *probe
	quiet  int64 // RSS before
}

// observation is compared between the servers, unless kedge is meant to differ.
type observation struct {
	what, value string
	differs     bool
}

// same notes what must be alike on both servers.
func (r *run) same(what, format string, values ...any) {
	r.seen = append(r.seen, observation{what: what, value: fmt.Sprintf(format, values...)})
}

// differs notes what kedge does otherwise on purpose: kedge must do exactly this.
func (r *run) differs(what, kedge, got string) {
	r.seen = append(r.seen, observation{what, got, true})
	if r.isKedge() && got != kedge {
		r.failed = append(r.failed, fmt.Sprintf("%s: %s, not %s", what, got, kedge))
	}
}

func (r *run) check(ok bool, format string, values ...any) bool {
	if !ok {
		r.failed = append(r.failed, fmt.Sprintf(format, values...))
	}
	return ok
}

func (r *run) note(format string, values ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, values...))
}

// size chooses between the short and the long form.
func (r *run) size(short, long int) int {
	if r.long {
		return long
	}
	return short
}

const mib = 1 << 20

// bound checks that kedge's memory never rose by more than this since the case began; etcd's is told.
func (r *run) bound(what string, bytes int64) {
	rise := r.peakRSS() - r.quiet
	r.note("%s: memory rose by %d MiB of %d allowed", what, rise/mib, bytes/mib)
	if r.isKedge() {
		r.check(rise <= bytes, "%s: memory rose by %d MiB, the bound is %d MiB", what, rise/mib, bytes/mib)
	}
}

func runCase(c pressureCase, s *server, long bool) (r *run) {
	r = &run{server: s, name: c.name, long: long, quiet: s.rss()}
	s.resetPeak()
	r.probe = startProbe(s, c.name)
	start := time.Now()
	defer func() {
		if problem := recover(); problem != nil {
			r.check(false, "the test itself broke: %v", problem)
		}
		failure, figures := r.probe.finish()
		r.check(failure == "", "somebody else is held up: %s", failure)
		r.check(s.isAlive(), "the server has ended")
		r.note("%s; peak RSS %d MiB, after it %d MiB; %.1f s", figures, s.peakRSS()/mib, s.rss()/mib,
			time.Since(start).Seconds())
	}()
	c.run(r)
	return r
}

func compare(kedge, etcd *run) {
	for i, k := range kedge.seen {
		if etcd == nil || k.differs {
			continue
		}
		if i >= len(etcd.seen) || etcd.seen[i].what != k.what {
			kedge.check(false, "%s: not seen on etcd", k.what)
		} else if e := etcd.seen[i]; e.value != k.value {
			kedge.check(false, "%s: %s; etcd: %s", k.what, k.value, e.value)
		}
	}
}

func (r *run) report(out *strings.Builder, verbose bool) {
	for _, line := range r.notes {
		fmt.Fprintf(out, "        %-5s %s\n", r.server.name, line)
	}
	if verbose || len(r.failed) > 0 {
		for _, o := range r.seen {
			fmt.Fprintf(out, "        %-5s %s: %s\n", r.server.name, o.what, o.value)
		}
	}
	for _, line := range r.failed {
		fmt.Fprintf(out, "        %-5s WRONG %s\n", r.server.name, line)
	}
}

type program struct {
	kedge, etcd, data string
	long, verbose     bool
}

// on runs the case on one server, or gives nil where there is none to test.
func (p *program) on(c pressureCase, name, path string, flags []string) *run {
	if path == "" {
		return nil
	}
	s, err := startServer(name, path, p.data, append(append([]string(nil), c.flags...), flags...), c.files)
	if err != nil {
		return &run{server: &server{name: name}, failed: []string{err.Error()}}
	}
	defer s.stop()
	return runCase(c, s, p.long)
}

// one runs the case on both servers side by side; the text ends with the verdict.
func (p *program) one(c pressureCase) (text string, ok bool) {
	kedges := make(chan *run)
	go func() { kedges <- p.on(c, "kedge", p.kedge, c.kedge) }()
	etcd := p.on(c, "etcd", p.etcd, nil)
	kedge := <-kedges
	if kedge != nil && etcd != nil {
		compare(kedge, etcd)
	}
	ok = true
	var out strings.Builder
	for _, r := range []*run{kedge, etcd} {
		if r != nil {
			ok = ok && len(r.failed) == 0
			r.report(&out, p.verbose)
		}
	}
	if verdict := "FAILED "; ok {
		fmt.Fprintln(&out, "ok     ", c.name)
	} else {
		fmt.Fprintln(&out, verdict, c.name)
	}
	return out.String(), ok
}

func main() {
	var p program
	only := flag.String("only", "", "comma list of cases")
	flag.StringVar(&p.kedge, "kedge", "", "program under test; empty: etcd alone")
	flag.StringVar(&p.etcd, "etcd", "", "program to compare with; empty: kedge alone")
	flag.StringVar(&p.data, "data", "", "folder for data")
	flag.BoolVar(&p.long, "long", false, "the big form")
	flag.BoolVar(&p.verbose, "v", false, "tell all that was seen")
	flag.Parse()
	passed, failed := 0, 0
	tell := func(text string, ok bool) {
		fmt.Print(text)
		if ok {
			passed++
		} else {
			failed++
		}
	}
	// Those that only wait do so together.
	var idle sync.WaitGroup
	var turn sync.Mutex
	for _, c := range cases {
		if *only != "" && !strings.Contains(","+*only+",", ","+c.name+",") {
			continue
		}
		if c.idle {
			idle.Add(1)
			go func() {
				defer idle.Done()
				text, ok := p.one(c)
				turn.Lock()
				defer turn.Unlock()
				tell(text, ok)
			}()
			continue
		}
		text, ok := p.one(c)
		turn.Lock()
		tell(text, ok)
		turn.Unlock()
	}
	idle.Wait()
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}
