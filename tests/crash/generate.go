// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math/rand"
)

const (
	prefixes = "abcde"
	perOne   = 12 // keys in each
)

func randomKey(rng *rand.Rand) string {
	return fmt.Sprintf("%c/%02d", prefixes[rng.Intn(len(prefixes))], rng.Intn(perOne))
}

// randomRange is one key, a whole prefix, a piece of one, or everything.
func randomRange(rng *rand.Rand) (string, string) {
	p := string(prefixes[rng.Intn(len(prefixes))])
	switch n := rng.Intn(10); {
	case n < 4:
		return randomKey(rng), ""
	case n < 7:
		return p + "/", p + "0"
	case n < 9:
		from := rng.Intn(perOne)
		return fmt.Sprintf("%s/%02d", p, from), fmt.Sprintf("%s/%02d", p, from+1+rng.Intn(4))
	}
	return "\x00", "\x00"
}

func randomSize(rng *rand.Rand) int {
	switch n := rng.Intn(200); {
	case n == 0:
		return 50_000 + rng.Intn(200_000)
	case n < 20:
		return 1000 + rng.Intn(6000)
	}
	return rng.Intn(200)
}

func (d *load) randomPut(rng *rand.Rand, key string) write {
	w := write{key: key, size: randomSize(rng)}
	if rng.Intn(4) == 0 {
		w.lease = d.someLease(rng)
	}
	return w
}

// someLease picks one that was granted and not yet given up, or none.
func (d *load) someLease(rng *rand.Rand) int64 {
	d.l.mu.Lock()
	defer d.l.mu.Unlock()
	for id, l := range d.l.leases { // in Go's random order
		if l.granted && !l.gone && (!l.revoking || rng.Intn(8) == 0) {
			return id
		}
	}
	return 0
}

func (d *load) generate(rng *rand.Rand) *op {
	switch n := rng.Intn(1000); {
	case n < 400:
		return &op{kind: opPut, then: []write{d.randomPut(rng, randomKey(rng))}}
	case n < 440:
		return &op{kind: opDelete, then: []write{{del: true, key: randomKey(rng)}}}
	case n < 470:
		key, end := randomRange(rng)
		return &op{kind: opDelete, then: []write{{del: true, key: key, end: end}}}
	case n < 720:
		return d.randomTxn(rng)
	case n < 900:
		return d.randomRead(rng)
	case n < 925:
		ttl := int64(3660)
		if rng.Intn(4) == 0 {
			ttl = 2 + rng.Int63n(3)
		}
		return &op{kind: opGrant, lease: 1 + rng.Int63(), ttl: ttl}
	case n < 960:
		if id := d.someLease(rng); id != 0 {
			return &op{kind: opKeepAlive, lease: id}
		}
	case n < 975:
		if id := d.someLease(rng); id != 0 {
			return &op{kind: opRevoke, lease: id}
		}
	case n < 983:
		return d.randomCompaction(rng)
	case n < 985:
		return &op{kind: opHash}
	case n < 986:
		return &op{kind: []kind{opDefragment, opSnapshot}[rng.Intn(2)]}
	}
	return d.randomRead(rng)
}

// randomCompaction goes at most to where the recorder is: what it removes has been heard.
func (d *load) randomCompaction(rng *rand.Rand) *op {
	to := d.recTo.Load()
	d.l.mu.Lock()
	from := max(d.l.compactMax, 1) // a watch from 1 would not tell of a compaction there
	d.l.mu.Unlock()
	if to <= from {
		return d.randomRead(rng)
	}
	rev := from + 1 + rng.Int63n(to-from)
	if rng.Intn(3) == 0 {
		rev = to
	}
	return &op{kind: opCompact, rev: rev, physical: rng.Intn(2) == 0}
}

func (d *load) randomRead(rng *rand.Rand) *op {
	o := &op{kind: opRange}
	o.key, o.end = randomRange(rng)
	if rng.Intn(3) == 0 {
		d.l.mu.Lock()
		from := max(d.l.compacted-2, 1)
		d.l.mu.Unlock()
		o.rev = from + rng.Int63n(max(d.l.observed.Load()-from, 1))
	}
	return o
}

// randomTxn writes several keys if some of them are as the client believes, and otherwise a few others.
func (d *load) randomTxn(rng *rand.Rand) *op {
	o := &op{kind: opTxn}
	used := map[string]bool{}
	key := func() string {
		for {
			if k := randomKey(rng); !used[k] {
				used[k] = true
				return k
			}
		}
	}
	for range 1 + rng.Intn(4) {
		o.then = append(o.then, d.randomPut(rng, key()))
	}
	for range rng.Intn(3) {
		o.then = append(o.then, write{del: true, key: key()})
	}
	rng.Shuffle(len(o.then), func(i, j int) { o.then[i], o.then[j] = o.then[j], o.then[i] })
	d.mu.Lock()
	for _, w := range o.then {
		if rng.Intn(2) == 0 {
			o.conds = append(o.conds, cond{key: w.key, mod: d.hints[w.key]})
		}
	}
	d.mu.Unlock()
	for range rng.Intn(3) {
		o.els = append(o.els, d.randomPut(rng, key()))
	}
	return o
}
