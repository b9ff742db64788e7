// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
)

const maxReports = 20

// A state of one name: gone, or alive with this data at this revision (0 = not known).
type state struct {
	alive  bool
	digest string
	rv     int64
}

func (s state) String() string {
	if !s.alive {
		return "gone"
	}
	return fmt.Sprintf("data %s at revision %d", s.digest, s.rv)
}

func (s state) matches(got state) bool {
	return s.alive == got.alive && s.digest == got.digest && (s.rv == 0 || s.rv == got.rv)
}

// readLedger returns, for every name ever written, the states that the cluster may show now, and the
// revisions of all acknowledged writes.
func readLedger(path string) (map[string][]state, []int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	expected := map[string][]state{}
	var revisions []int64
	lines := bufio.NewScanner(file)
	lines.Buffer(make([]byte, 1<<16), 1<<20)
	for lines.Scan() {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, nil, err
		}
		next := state{alive: e.Op != "delete", digest: e.Digest}
		switch e.Outcome {
		case acked:
			if e.Op != "delete" {
				next.rv = revision(e.RV)
				revisions = append(revisions, next.rv)
			}
			expected[e.Name] = []state{next}
		case unknown:
			before := expected[e.Name]
			if before == nil {
				before = []state{{}}
			}
			expected[e.Name] = append(before, next)
		}
	}
	return expected, revisions, lines.Err()
}

type reporter struct{ count int }

func (r *reporter) add(format string, args ...any) {
	r.count++
	if r.count <= maxReports {
		fmt.Printf("  "+format+"\n", args...)
	}
}

func (r *reporter) result(what string) error {
	if r.count > 0 {
		return fmt.Errorf("%d differences: %s", r.count, what)
	}
	return nil
}

func matchesAny(allowed []state, got state) bool {
	for _, s := range allowed {
		if s.matches(got) {
			return true
		}
	}
	return false
}

func runCheckLedger(o options) error {
	expected, revisions, err := readLedger(o.ledgerFile())
	if err != nil {
		return err
	}
	api, err := newAPIClient(o)
	if err != nil {
		return err
	}
	items, _, err := list[configMap](api, configMapsPath(), "", paged())
	if err != nil {
		return err
	}
	actual := map[string]state{}
	for _, cm := range items {
		actual[cm.Metadata.Name] = state{true, digest(cm.Data), revision(cm.Metadata.ResourceVersion)}
	}
	var diff reporter
	doubtful := 0
	for name, allowed := range expected {
		if len(allowed) > 1 {
			doubtful++
		}
		if !matchesAny(allowed, actual[name]) {
			diff.add("%s: acknowledged %v, served %v", name, allowed, actual[name])
		}
	}
	for name := range actual {
		// kube-root-ca.crt is the controller manager's.
		if _, known := expected[name]; !known && name != markName && name != "kube-root-ca.crt" {
			diff.add("%s is served but was never written", name)
		}
	}
	fmt.Printf("%d acknowledged writes to %d names (%d of them with a lost answer), %d alive\n",
		len(revisions), len(expected), doubtful, len(actual))
	if len(revisions) == 0 {
		return fmt.Errorf("the ledger holds no acknowledged write")
	}
	return diff.result("what was acknowledged is not what is served")
}

func runCheckWatch(o options) error {
	expected, revisions, err := readLedger(o.ledgerFile())
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(o.watchFile())
	if err != nil {
		return err
	}
	var rec watchRecord
	if err := json.Unmarshal(raw, &rec); err != nil {
		return err
	}
	seen := make(map[int64]bool, len(rec.Seen))
	for _, rv := range rec.Seen {
		seen[rv] = true
	}
	var diff reporter
	for _, note := range rec.Disorder {
		diff.add("%s", note)
	}
	missed := 0
	for _, rv := range revisions {
		if seen[rv] {
			continue
		}
		if !inGap(rec.Gaps, rv) {
			diff.add("the write at revision %d was acknowledged, but no watch event told of it", rv)
		}
		missed++
	}
	for name, allowed := range expected {
		rv, alive := rec.Store[name]
		fits := false
		for _, s := range allowed {
			fits = fits || (s.alive == alive && (s.rv == 0 || s.rv == rv))
		}
		if !fits {
			diff.add("%s: acknowledged %v, the watch ended with alive %t at revision %d", name, allowed, alive, rv)
		}
	}
	fmt.Printf("%d events, %d watches, %d lists, %d acknowledged writes covered by a new list\n",
		len(rec.Seen), rec.Reconnects, rec.Relists, missed)
	return diff.result("a watch must tell every write once and in order")
}

func inGap(gaps [][2]int64, rv int64) bool {
	for _, g := range gaps {
		if rv > g[0] && rv <= g[1] {
			return true
		}
	}
	return false
}
