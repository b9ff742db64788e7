// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	mvccpb "go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// faults break one thing on purpose, to see that the checks notice. Each name says what is broken.
var faultNames = []string{
	"ack",        // a put is answered but never sent
	"txn",        // a transaction of several keys is answered but never sent
	"revert",     // the data folder is replaced by the copy that was made before the round
	"wal",        // the write-ahead log is lost
	"half",       // one event of a revision with several is missing from the history
	"bytes",      // one byte of a value in the history is different
	"twice",      // a revision holds something else after the restart than a watcher heard before
	"head",       // a revision above the head was seen before the kill
	"resume",     // a resumed watch skips what it missed
	"watch",      // a watcher is not told of one revision
	"again",      // a watcher is told of one revision twice
	"prev",       // an event's previous value is wrong
	"compaction", // a compaction that was acknowledged is forgotten
	"lease-lost", // a granted lease is not there
	"lease-back", // a revoked lease is there
	"lease-ttl",  // a lease does not have its full ttl after the restart
	"lease-keys", // a lease has lost a key
	"read",       // a read returns an older value
	"snapshot",   // a snapshot holds other keys than its revision had
	"file",       // a file is left behind in the data folder
}

var errSwallowed = errors.New("answered without having been sent")

type faults struct {
	name string
	used atomic.Bool
}

func (f *faults) is(name string) bool { return f.name == name }

// once is true the first time the fault can be committed.
func (f *faults) once(name string) bool { return f.name == name && f.used.CompareAndSwap(false, true) }

// swallow answers a write in the server's place, with a revision that may well come.
func (f *faults) swallow(o *op, l *ledger) error {
	mine := o.kind == opPut && o.then[0].lease == 0 && f.is("ack") || o.kind == opTxn && len(o.then) > 2 && f.is("txn")
	if !mine || o.id < 50 || !f.used.CompareAndSwap(false, true) {
		return nil
	}
	o.head, o.succeeded = l.observed.Load()+1, true
	return errSwallowed
}

// onHistory breaks what was read back after the restart.
func (f *faults) onHistory(h []revision) []revision {
	for i, r := range h {
		for j, e := range r.events {
			switch {
			case f.is("half") && len(r.events) > 1 && f.once("half"):
				h[i].events = append(append([]*mvccpb.Event{}, r.events[:j]...), r.events[j+1:]...)
			case f.is("bytes") && e.Type == mvccpb.Event_PUT && i > len(h)/2 && f.once("bytes"):
				e.Kv.Value[len(e.Kv.Value)-1] ^= 1
			case f.is("prev") && e.PrevKv != nil && len(e.PrevKv.Value) > 0 && i > len(h)/2 && f.once("prev"):
				e.PrevKv = proto.Clone(e.PrevKv).(*mvccpb.KeyValue)
				e.PrevKv.Version++
			}
		}
	}
	return h
}

// onRecord breaks what a watcher heard before the kill.
func (f *faults) onRecord(d *load, recorder *watch) {
	if n := len(recorder.heard); n > 0 && f.once("twice") {
		e := proto.Clone(recorder.heard[n-1].events[0]).(*mvccpb.Event)
		e.Kv.Value = bytes.Clone(append(e.Kv.Value, 'x'))
		recorder.heard[n-1].events[0] = e
	}
	for _, w := range d.watches {
		n := len(w.heard)
		switch {
		case n > 2 && f.once("watch"):
			w.heard = append(w.heard[:n/2], w.heard[n/2+1:]...)
		case n > 2 && f.once("again"):
			w.heard = append(w.heard, w.heard[n-1])
		}
	}
	for _, o := range d.ops {
		if o.kind == opRange && len(o.kvs) > 0 && o.outcome == acked && f.once("read") {
			o.kvs[0] = proto.Clone(o.kvs[0]).(*mvccpb.KeyValue)
			o.kvs[0].ModRevision--
		}
	}
}

// onLedger breaks what the ledger believes, which is the same as a server that does not keep it.
func (f *faults) onLedger(l *ledger) {
	if f.is("head") {
		l.observed.Add(1)
	}
	if f.is("compaction") && l.compactMax > 0 && f.once("compaction") {
		l.compactMax++
		l.compacted = l.compactMax
	}
	for _, e := range l.leases {
		switch {
		case e.granted && !e.revoking && !e.gone && e.ttl > 100 && f.is("lease-back"):
			e.revoking, e.gone = true, true
			f.name = ""
		case e.granted && f.once("lease-lost"):
			l.leases[4711] = &lease{id: 4711, ttl: 3660, granted: true, safeUntil: e.safeUntil.Add(seconds(4000))}
			return
		}
	}
}

// onFiles breaks the data folder between the kill and the restart.
func (f *faults) onFiles(s *server) error {
	switch f.name {
	case "revert":
		if err := os.RemoveAll(s.dataDir()); err != nil {
			return err
		}
		return os.CopyFS(s.dataDir(), os.DirFS(filepath.Join(s.dir, "before")))
	case "wal":
		return os.RemoveAll(filepath.Join(s.dataDir(), "kedge.db-wal"))
	case "file":
		return os.WriteFile(filepath.Join(s.dataDir(), "kedge-left-behind"), []byte("x"), 0o600)
	}
	return nil
}

// beforeLoad keeps the copy that "revert" puts back.
func (f *faults) beforeLoad(s *server) error {
	if f.name != "revert" {
		return nil
	}
	err := os.CopyFS(filepath.Join(s.dir, "before"), os.DirFS(s.dataDir()))
	if errors.Is(err, fs.ErrExist) {
		return nil // the copy of an earlier round does as well
	}
	return err
}
