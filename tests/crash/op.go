// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"time"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
)

type kind int

const (
	opPut kind = iota
	opDelete
	opTxn
	opRange
	opCompact
	opGrant
	opRevoke
	opKeepAlive
	opDefragment
	opSnapshot
	opHash
)

var kindNames = [...]string{"put", "delete", "txn", "range", "compact", "grant", "revoke", "keepalive",
	"defragment", "snapshot", "hash"}

func (k kind) String() string { return kindNames[k] }

type outcome int

const (
	unknown outcome = iota // no answer, or one that does not say: the server may have done it
	acked
	refused
)

// write is one put or one delete of a plain put, a plain delete or a branch of a transaction.
type write struct {
	key, end string
	del      bool
	size     int
	lease    int64
}

type cond struct {
	key string
	mod int64 // the mod revision it must have; 0: the key must not be there
}

// op is one request of a client and what became of it. The client that sent it owns it until the round's
// load is over; then the ledger does.
type op struct {
	id    int64
	kind  kind
	conds []cond
	then  []write
	els   []write

	key, end string // range
	rev      int64  // range: 0 is now; compaction
	physical bool
	lease    int64
	ttl      int64

	floor int64 // the highest revision that any client had seen when this was sent
	sent  time.Time

	outcome   outcome
	err       error
	head      int64 // header revision of the answer
	succeeded bool  // of a transaction
	deleted   int64 // of a delete
	prev      *mvccpb.KeyValue
	kvs       []*mvccpb.KeyValue

	placed int64 // the revision in the history that this op made
}

func (o *op) String() string {
	s := fmt.Sprintf("%v #%d", o.kind, o.id)
	switch o.kind {
	case opPut, opDelete, opTxn:
		s += fmt.Sprintf(" if %v then %v else %v", o.conds, o.then, o.els)
	case opRange:
		s += fmt.Sprintf(" %q..%q at %d", o.key, o.end, o.rev)
	case opCompact:
		s += fmt.Sprintf(" %d physical %v", o.rev, o.physical)
	case opGrant, opRevoke, opKeepAlive:
		s += fmt.Sprintf(" lease %d ttl %d", o.lease, o.ttl)
	}
	switch o.outcome {
	case acked:
		s += fmt.Sprintf(" (acknowledged at %d)", o.head)
	case refused:
		s += fmt.Sprintf(" (refused: %v)", o.err)
	case unknown:
		s += fmt.Sprintf(" (no answer: %v)", o.err)
	}
	return s
}

// filler is where values come from: every value is a number and a piece of it.
var filler = func() []byte {
	b := make([]byte, 1<<20)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}()

// value tells by its first bytes which op wrote it, and with all of them that nothing of it is damaged.
func (o *op) value(branch byte, index, size int) []byte {
	b := fmt.Appendf(nil, "%d %c%d ", o.id, branch, index)
	from := int(o.id*7919+int64(index)*104729) & 0x7ffff
	return append(b, filler[from:from+size]...)
}

// writerOf reads the op's number out of a value; 0 when there is none.
func writerOf(value []byte) int64 {
	for i, c := range value {
		if c == ' ' {
			id, err := strconv.ParseInt(string(value[:i]), 10, 64)
			if err != nil {
				return 0
			}
			return id
		}
		if i == 20 {
			break
		}
	}
	return 0
}

// holds says whether the conditions hold right after revision rev.
func (o *op) holds(m *model, rev int64) bool {
	for _, c := range o.conds {
		var mod int64
		if kv := m.at(c.key, rev); kv != nil {
			mod = kv.ModRevision
		}
		if mod != c.mod {
			return false
		}
	}
	return true
}

func (o *op) branch(m *model, rev int64) ([]write, byte) {
	if o.holds(m, rev) {
		return o.then, 't'
	}
	return o.els, 'e'
}

// effects are the events this op makes as revision head+1. The writes of one op touch different keys, so
// each can be computed from the state before.
func (o *op) effects(m *model) []*mvccpb.Event {
	if o.kind == opRevoke {
		return deletions(m, m.attached(o.lease, m.head))
	}
	var events []*mvccpb.Event
	writes, letter := o.branch(m, m.head)
	for i, w := range writes {
		if w.del {
			var keys []string
			for _, kv := range m.live(w.key, w.end, m.head) {
				keys = append(keys, string(kv.Key))
			}
			events = append(events, deletions(m, keys)...)
			continue
		}
		kv := &mvccpb.KeyValue{Key: []byte(w.key), Value: o.value(letter, i, w.size), Lease: w.lease,
			CreateRevision: m.head + 1, ModRevision: m.head + 1, Version: 1}
		prev := m.at(w.key, m.head)
		if prev != nil {
			kv.CreateRevision, kv.Version = prev.CreateRevision, prev.Version+1
		}
		events = append(events, &mvccpb.Event{Type: mvccpb.Event_PUT, Kv: kv, PrevKv: prev})
	}
	return events
}

func deletions(m *model, keys []string) []*mvccpb.Event {
	var events []*mvccpb.Event
	for _, key := range keys {
		events = append(events, &mvccpb.Event{Type: mvccpb.Event_DELETE,
			Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: m.head + 1}, PrevKv: m.at(key, m.head)})
	}
	return events
}

// changes says whether an acknowledged op made a revision, as far as its answer tells: a revoke does not.
func (o *op) changes() bool {
	switch o.kind {
	case opPut:
		return true
	case opDelete:
		return o.deleted > 0
	case opTxn:
		writes := o.els
		if o.succeeded {
			writes = o.then
		}
		for _, w := range writes {
			if !w.del {
				return true
			}
		}
	}
	return false
}
