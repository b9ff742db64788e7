// SPDX-License-Identifier: Apache-2.0

// The program kills a server under load, round after round, and compares what is there after each restart
// with a ledger of all that was acknowledged or seen. See README.md.
package main

import (
	"flag"
	"fmt"
	"math/rand"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

type runner struct {
	command  string
	restore  string
	data     string
	faults   *faults
	loadTime time.Duration
	aim      string
	verbose  bool
	rng      *rand.Rand

	srv    *server
	ledger *ledger
	left   int // rounds until the folder is renewed
	folder int
	tally  tally
}

func main() {
	r := &runner{faults: &faults{}}
	rounds := flag.Int("rounds", 30, "rounds: load, kill, restart, compare")
	limit := flag.Duration("for", 0, "begin no further round after this long; 0: no limit")
	seed := flag.Int64("seed", time.Now().UnixNano(), "seed of the plans; what the clients meet is never the same")
	flag.StringVar(&r.command, "command", "", "how the server is started; {dir}, {url}, {peer} are filled in")
	flag.StringVar(&r.restore, "restore", "", "how a snapshot {file} is restored to {dir}; empty: it is not")
	flag.StringVar(&r.data, "data", "", "folder for the data; removed at the end, kept after a failure")
	flag.DurationVar(&r.loadTime, "load", 250*time.Millisecond, "longest time of load in a round")
	flag.StringVar(&r.aim, "aim", "", "only kills of this kind")
	flag.StringVar(&r.faults.name, "fault", "", "break one thing on purpose: "+strings.Join(faultNames, ", "))
	flag.BoolVar(&r.verbose, "v", false, "tell every round")
	listFaults := flag.Bool("faults", false, "print the names of the faults")
	flag.Parse()
	if *listFaults {
		fmt.Println(strings.Join(faultNames, "\n"))
		return
	}
	if r.command == "" || r.data == "" {
		fmt.Fprintln(os.Stderr, "-command and -data are needed")
		os.Exit(2)
	}
	r.rng = rand.New(rand.NewSource(*seed))
	r.tally.aims = map[string]int{}
	fmt.Printf("seed %d\n", *seed)
	r.endWithUs()
	began := time.Now()
	done := 0
	for ; done < *rounds && (*limit == 0 || time.Since(began) < *limit); done++ {
		if !r.round(done) {
			os.Exit(1)
		}
	}
	if r.srv != nil {
		r.srv.kill()
		<-r.srv.ended
		os.RemoveAll(r.srv.dir)
	}
	fmt.Printf("%d rounds in %.0f s, %v\n", done, time.Since(began).Seconds(), r.tally.aims)
	fmt.Println(r.tally.String())
}

// endWithUs takes the server along when this program is interrupted.
func (r *runner) endWithUs() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		if r.srv != nil && r.srv.cmd != nil {
			r.srv.kill()
		}
		os.Exit(130)
	}()
}

// round is false when something is wrong, which has then been told.
func (r *runner) round(n int) bool {
	if r.left == 0 {
		if err := r.renew(); err != nil {
			return r.told(n, nil, err)
		}
	}
	r.left--
	p := randomPlan(r.rng, r.loadTime, r.srv.usualStart)
	for r.aim != "" && p.aim != r.aim {
		p = randomPlan(r.rng, r.loadTime, r.srv.usualStart)
	}
	if r.verbose {
		fmt.Printf("round %d: %v\n", n, &p)
	}
	before := r.ledger.m.head
	d, err := r.crash(&p)
	if err == nil && len(r.ledger.problems) == 0 {
		r.tally.aims[p.aim]++
		r.tally.add(d, before)
	}
	return r.told(n, &p, err)
}

// renew begins with an empty folder.
func (r *runner) renew() error {
	if r.srv != nil {
		r.srv.kill()
		<-r.srv.ended
		os.RemoveAll(r.srv.dir)
	}
	r.folder++
	r.left = 1 + r.rng.Intn(25)
	r.srv = &server{command: r.command}
	r.ledger = newLedger()
	if err := r.srv.fresh(filepath.Join(r.data, fmt.Sprintf("%d-%d", os.Getpid(), r.folder))); err != nil {
		return err
	}
	return r.srv.start()
}

// crash is one round: load, kill, restart, compare.
func (r *runner) crash(p *plan) (*load, error) {
	if err := r.faults.beforeLoad(r.srv); err != nil {
		return nil, err
	}
	d, err := newLoad(r.ledger, r.srv, r.faults)
	if err != nil {
		return nil, err
	}
	recorder := d.record(d.conns[0])
	if err := p.execute(d, r.loadTime+5*time.Second); err != nil {
		return nil, err
	}
	if err := r.faults.onFiles(r.srv); err != nil {
		return nil, err
	}
	for _, after := range p.starts {
		ended := time.Now()
		if err := r.srv.spawn(); err != nil {
			return nil, err
		}
		r.ledger.restarted(ended, r.srv.spawned)
		time.Sleep(after)
		r.srv.kill()
		if err := r.srv.await(syscall.SIGKILL); err != nil {
			return nil, err
		}
	}
	ended := time.Now()
	if err := r.srv.start(); err != nil {
		return nil, err
	}
	r.ledger.restarted(ended, r.srv.spawned)
	if err := d.checkFiles(); err != nil {
		return nil, err
	}
	err = d.verify(r.rng, recorder)
	if err == nil && len(r.ledger.problems) == 0 && r.restore != "" && d.snapshot != nil {
		r.tally.snapshots++
		err = d.checkSnapshot(r.restore)
	}
	return d, err
}

func (r *runner) told(n int, p *plan, err error) bool {
	problems := r.ledger.problems
	if err == nil && len(problems) == 0 {
		return true
	}
	fmt.Printf("round %d failed (folder %d, %d rounds before its end): %v\n", n, r.folder, r.left, p)
	if err != nil {
		fmt.Printf("- %v\n", err)
	}
	for i, text := range problems {
		if i == 10 {
			fmt.Printf("- and %d more\n", len(problems)-i)
			break
		}
		fmt.Printf("- %s\n", text)
	}
	if r.srv.cmd != nil {
		fmt.Printf("the server's log ends:\n%s", r.srv.logTail())
		r.srv.kill()
		<-r.srv.ended
	}
	fmt.Printf("the data is kept in %s\n", r.srv.dir)
	return false
}
