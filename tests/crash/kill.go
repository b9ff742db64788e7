// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math/rand"
	"syscall"
	"time"
)

// plan says when the server of a round is killed.
type plan struct {
	aim    string
	after  time.Duration // from the start of the load, or from the n-th acknowledgement on
	acks   int64         // 0: by time
	op     *op           // sent by the killer first
	delay  time.Duration // between that and the kill
	wait   bool          // the kill comes after the op's answer
	signal syscall.Signal
	starts []time.Duration // restarts that are killed this long after they began
}

var aims = []string{"uniform", "uniform", "ack", "ack", "burst", "early", "compact", "physical", "defragment",
	"snapshot", "recovery", "recovery", "term"}

func randomPlan(rng *rand.Rand, load, usualStart time.Duration) plan {
	upTo := func(d time.Duration) time.Duration { return time.Duration(rng.Int63n(int64(d) + 1)) }
	p := plan{aim: aims[rng.Intn(len(aims))], after: upTo(load), signal: syscall.SIGKILL}
	switch p.aim {
	case "ack": // while others are being committed
		p.acks, p.after = 1+rng.Int63n(1000), upTo(200*time.Microsecond)
	case "burst":
		p.acks, p.after = 1+rng.Int63n(300), upTo(2*time.Millisecond)
	case "early":
		p.after = upTo(10 * time.Millisecond)
	case "compact", "physical":
		p.op, p.delay = &op{kind: opCompact, physical: p.aim == "physical"}, upTo(15*time.Millisecond)
		p.wait = rng.Intn(3) == 0
	case "defragment":
		p.op, p.delay = &op{kind: opDefragment}, upTo(40*time.Millisecond)
	case "snapshot":
		p.op, p.delay = &op{kind: opSnapshot}, upTo(40*time.Millisecond)
		p.wait = rng.Intn(3) == 0
	case "term":
		p.signal = syscall.SIGTERM
	}
	if p.aim == "recovery" || rng.Intn(6) == 0 {
		for range 1 + rng.Intn(4) {
			p.starts = append(p.starts, upTo(usualStart*5/4))
		}
	}
	return p
}

func (p *plan) String() string {
	s := fmt.Sprintf("%s, %v after", p.aim, p.after)
	if p.acks > 0 {
		s += fmt.Sprintf(" answer %d", p.acks)
	} else {
		s += " the start of the load"
	}
	if p.op != nil {
		s += fmt.Sprintf(", then %v later (answer awaited: %v)", p.delay, p.wait)
	}
	if len(p.starts) > 0 {
		s += fmt.Sprintf(", and again %v after restarts", p.starts)
	}
	return s
}

// execute drives the round to its end: the server is gone when it returns.
func (p *plan) execute(d *load, limit time.Duration) error {
	strike := func() {
		d.killed.Store(true)
		d.srv.cmd.Process.Signal(p.signal)
	}
	reached := make(chan struct{})
	if p.acks > 0 {
		d.onAck = func(n int64) {
			if n == p.acks {
				if p.after < 50*time.Microsecond {
					strike()
				}
				close(reached)
			}
		}
	} else {
		close(reached)
	}
	d.start(time.Now().UnixNano())
	select {
	case <-reached:
		time.Sleep(p.after)
	case <-time.After(limit):
	}
	if p.op != nil {
		if p.op.kind == opCompact {
			if p.op.rev = d.recTo.Load(); p.op.rev < 2 {
				p.op = &op{kind: opHash} // nothing to compact yet
			}
		}
		answered := make(chan struct{})
		d.wg.Add(1)
		go func() { defer d.wg.Done(); defer close(answered); d.do(d.conns[0], p.op) }()
		if p.wait {
			<-answered
		}
		time.Sleep(p.delay)
	}
	strike()
	err := d.srv.await(p.signal)
	d.finish()
	return err
}
