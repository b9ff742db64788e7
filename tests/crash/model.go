// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"slices"
	"sort"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
)

// revision is what one transaction changed: its events in order.
type revision struct {
	rev    int64
	events []*mvccpb.Event
}

// version is a key from one revision on; kv is nil where it was deleted.
type version struct {
	rev int64
	kv  *mvccpb.KeyValue
}

// model is the whole history of one data folder, as the ledger believes it to be. It never forgets, so
// that it can say what was there at any revision.
type model struct {
	head    int64
	history []revision // history[i].rev == i+2: revision 1 is the empty store
	keys    map[string][]version
	sorted  []string // every key that ever was
}

func newModel() *model { return &model{head: 1, keys: map[string][]version{}} }

func (m *model) at(key string, rev int64) *mvccpb.KeyValue {
	vs := m.keys[key]
	i := sort.Search(len(vs), func(i int) bool { return vs[i].rev > rev })
	if i == 0 {
		return nil
	}
	return vs[i-1].kv
}

// inRange follows etcd: no end is the one key, "\x00" is everything from key on.
func inRange(key, from, end string) bool {
	switch end {
	case "":
		return key == from
	case "\x00":
		return key >= from
	}
	return key >= from && key < end
}

func (m *model) live(from, end string, rev int64) []*mvccpb.KeyValue {
	var kvs []*mvccpb.KeyValue
	if end == "" {
		if kv := m.at(from, rev); kv != nil {
			kvs = append(kvs, kv)
		}
		return kvs
	}
	for _, key := range m.sorted {
		if inRange(key, from, end) {
			if kv := m.at(key, rev); kv != nil {
				kvs = append(kvs, kv)
			}
		}
	}
	return kvs
}

// attached are the keys of a lease, sorted.
func (m *model) attached(lease, rev int64) []string {
	var keys []string
	for _, kv := range m.live("", "\x00", rev) {
		if kv.Lease == lease {
			keys = append(keys, string(kv.Key))
		}
	}
	return keys
}

// add appends the next revision.
func (m *model) add(r revision) {
	if r.rev != m.head+1 {
		panic(fmt.Sprintf("revision %d added after %d", r.rev, m.head))
	}
	m.head = r.rev
	m.history = append(m.history, r)
	for _, e := range r.events {
		key := string(e.Kv.Key)
		if _, known := m.keys[key]; !known {
			i, _ := slices.BinarySearch(m.sorted, key)
			m.sorted = slices.Insert(m.sorted, i, key)
		}
		v := version{rev: r.rev}
		if e.Type == mvccpb.Event_PUT {
			v.kv = e.Kv
		}
		m.keys[key] = append(m.keys[key], v)
	}
}

// seen is what a watcher of the range must hear of the revisions from..to.
func (m *model) seen(key, end string, from, to int64) []revision {
	var out []revision
	for rev := max(from, 2); rev <= min(to, m.head); rev++ {
		r := revision{rev: rev}
		for _, e := range m.history[rev-2].events {
			if inRange(string(e.Kv.Key), key, end) {
				r.events = append(r.events, e)
			}
		}
		if len(r.events) > 0 {
			out = append(out, r)
		}
	}
	return out
}

func sameKV(a, b *mvccpb.KeyValue) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ModRevision == b.ModRevision && a.CreateRevision == b.CreateRevision && a.Version == b.Version &&
		a.Lease == b.Lease && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value)
}

func sameKVs(a, b []*mvccpb.KeyValue) bool { return slices.EqualFunc(a, b, sameKV) }

// sameEvents compares what was heard with what was to be heard. The previous value may be missing only
// where a compaction has been asked for at or above the event.
func sameEvents(got, want []*mvccpb.Event, prev bool, compacted int64) bool {
	return slices.EqualFunc(got, want, func(g, w *mvccpb.Event) bool {
		if g.Type != w.Type || !sameKV(g.Kv, w.Kv) {
			return false
		}
		if !prev || g.PrevKv == nil && w.Kv.ModRevision <= compacted {
			return g.PrevKv == nil
		}
		return sameKV(g.PrevKv, w.PrevKv)
	})
}

func showKV(kv *mvccpb.KeyValue) string {
	if kv == nil {
		return "nothing"
	}
	value := kv.Value
	if len(value) > 40 {
		value = value[:40]
	}
	return fmt.Sprintf("%s=%q(%d bytes, mod %d, create %d, version %d, lease %d)",
		kv.Key, value, len(kv.Value), kv.ModRevision, kv.CreateRevision, kv.Version, kv.Lease)
}

func showEvents(events []*mvccpb.Event) string {
	out := ""
	for i, e := range events {
		if i == 6 {
			return out + fmt.Sprintf(" and %d more", len(events)-i)
		}
		out += fmt.Sprintf(" %v %s prev %s;", e.Type, showKV(e.Kv), showKV(e.PrevKv))
	}
	if out == "" {
		return " nothing"
	}
	return out
}

func showKVs(kvs []*mvccpb.KeyValue) string {
	out := ""
	for i, kv := range kvs {
		if i == 4 {
			return out + fmt.Sprintf(" and %d more", len(kvs)-i)
		}
		out += " " + showKV(kv)
	}
	return out
}
