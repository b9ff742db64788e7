// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// verify compares the restarted server with the ledger, and brings the ledger up to its head.
func (d *load) verify(rng *rand.Rand, recorder *watch) error {
	c, err := d.srv.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx := context.Background()
	l := d.l
	d.faults.onRecord(d, recorder)
	d.faults.onLedger(l)
	head, err := headOf(ctx, c)
	if err != nil {
		return err
	}
	if seen := l.observed.Load(); head < seen {
		l.problem("the head is %d after the restart, but %d had been seen", head, seen)
	}
	l.observe(head)
	d.checkCompaction(ctx, c)
	if len(l.problems) > 0 {
		return nil
	}
	history, err := d.history(ctx, c, rng, recorder, head)
	if err != nil || len(l.problems) > 0 {
		return err
	}
	p := newReplay(l, d.ops, time.Now())
	p.run(history)
	if len(l.problems) > 0 {
		return nil
	}
	p.check(d.ops)
	d.checkWatches()
	for _, w := range d.watches[max(0, len(d.watches)-2*watchers):] {
		if w.next != 0 && w.compacted == 0 {
			d.resume(ctx, c, w, head)
		}
	}
	d.checkState(ctx, c, rng)
	return d.checkLeases(ctx, c)
}

func headOf(ctx context.Context, c *grpc.ClientConn) (int64, error) {
	resp, err := pb.NewKVClient(c).Range(ctx, &pb.RangeRequest{Key: []byte("x")})
	if err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

func (d *load) checkCompaction(ctx context.Context, c *grpc.ClientConn) {
	l := d.l
	if l.compactMax == 0 {
		return
	}
	at, err := compactionOf(ctx, c)
	switch {
	case err != nil:
		l.problem("the compaction revision cannot be learned: %v", err)
	case at < l.compacted:
		l.problem("compaction at %d was acknowledged, but after the restart it is %d", l.compacted, at)
	case at > 0 && !l.asked[at]:
		l.problem("compacted at %d, for which nobody asked", at)
	}
	l.compacted, l.compactMax = at, at // who got no answer is gone, and so is its request
}

// history joins what the recorder heard before the kill with what is read back after it; where both know,
// they must agree.
func (d *load) history(ctx context.Context, c *grpc.ClientConn, rng *rand.Rand, recorder *watch, head int64) ([]revision, error) {
	l := d.l
	from := max(l.m.head+1, l.compacted)
	if rng.Intn(4) == 0 {
		from = max(l.compacted, 2) // all there is, that of earlier rounds included
	}
	read, err := readHistory(ctx, c, from, head)
	if err != nil {
		return nil, err
	}
	read = d.faults.onHistory(read)
	for len(read) > 0 && read[0].rev <= l.m.head {
		if want := l.m.history[read[0].rev-2].events; !sameEvents(read[0].events, want, true, l.compactMax) {
			l.problem("revision %d of an earlier round has changed:\n  found%s\n  wants%s", read[0].rev,
				showEvents(read[0].events), showEvents(want))
		}
		read = read[1:]
	}
	out := recorder.heard
	for len(read) > 0 && len(out) > 0 && read[0].rev <= out[len(out)-1].rev {
		i := slices.IndexFunc(out, func(r revision) bool { return r.rev == read[0].rev })
		if i < 0 {
			l.problem("revision %d was not told to a watch of everything", read[0].rev)
			return nil, nil
		}
		if !sameEvents(read[0].events, out[i].events, true, l.compactMax) {
			l.problem("revision %d was given out twice: before the kill\n  %s\n  and after\n  %s", read[0].rev,
				showEvents(out[i].events), showEvents(read[0].events))
		}
		out[i] = read[0]
		read = read[1:]
	}
	if last := max(l.m.head, lastOf(out)); last > head {
		l.problem("a watch was told of revision %d before the kill, but the head is %d", last, head)
	}
	return append(out, read...), nil
}

func lastOf(rs []revision) int64 {
	if len(rs) == 0 {
		return 0
	}
	return rs[len(rs)-1].rev
}

// checkState reads everything at the head and at old revisions, and what is compacted.
func (d *load) checkState(ctx context.Context, c *grpc.ClientConn, rng *rand.Rand) {
	l := d.l
	kv := pb.NewKVClient(c)
	all := func(rev int64) (*pb.RangeResponse, error) {
		return kv.Range(ctx, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Revision: rev})
	}
	revs := []int64{l.m.head}
	if low := max(l.compacted, 1); low < l.m.head {
		revs = append(revs, low, low+rng.Int63n(l.m.head-low))
	}
	for _, rev := range revs {
		resp, err := all(rev)
		if err != nil {
			l.problem("the state at %d cannot be read: %v", rev, err)
			continue
		}
		want := l.m.live("", "\x00", rev)
		if !sameKVs(resp.Kvs, want) || resp.Count != int64(len(want)) {
			l.problem("the state at revision %d:\n  found%s\n  wants%s", rev, showKVs(resp.Kvs), showKVs(want))
		}
	}
	if l.compacted > 1 {
		if _, err := all(l.compacted - 1); status.Convert(err).Message() != errCompacted {
			l.problem("a read below the compaction at %d says: %v", l.compacted, err)
		}
	}
}

// checkLeases: what was granted is there with its full time and its keys, what was revoked is not.
func (d *load) checkLeases(ctx context.Context, c *grpc.ClientConn) error {
	l := d.l
	client := pb.NewLeaseClient(c)
	resp, err := client.LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
	if err != nil {
		return err
	}
	there := map[int64]bool{}
	for _, s := range resp.Leases {
		there[s.ID] = true
		if l.leases[s.ID] == nil {
			l.problem("lease %d is there, which nobody asked for", s.ID)
		}
	}
	for id, e := range l.leases {
		now := time.Now()
		if there[id] {
			if e.gone {
				l.problem("lease %d is back", id)
			}
			e.granted, e.revoking = true, false
			e.renewed(d.srv.spawned)
			if err := d.checkLease(ctx, client, e); err != nil {
				return err
			}
			continue
		}
		if e.granted && !e.gone && !e.revoking && now.Before(e.safeUntil) {
			l.problem("lease %d (ttl %d) is lost", id, e.ttl)
		}
		// One that ran out since the head was read has its last revision in the next round's history.
		e.gone = e.gone || len(l.m.attached(id, l.m.head)) == 0
	}
	return nil
}

func (d *load) checkLease(ctx context.Context, client pb.LeaseClient, e *lease) error {
	l := d.l
	resp, err := client.LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: e.id, Keys: true})
	if err != nil {
		return err
	}
	if d.faults.is("lease-ttl") {
		resp.TTL -= 100
	}
	if d.faults.is("lease-keys") && len(resp.Keys) > 0 {
		resp.Keys = resp.Keys[1:]
	}
	now := time.Now()
	if now.After(e.safeUntil) {
		return nil // it may be running out just now
	}
	least := e.ttl - int64(now.Sub(d.srv.spawned)/time.Second) - 1
	if resp.GrantedTTL != e.ttl || resp.TTL < least || resp.TTL > e.ttl+2 {
		l.problem("lease %d has %d of %d s left; it was granted %d, and the server runs for %v", e.id, resp.TTL,
			resp.GrantedTTL, e.ttl, now.Sub(d.srv.spawned))
	}
	var keys []string
	for _, k := range resp.Keys {
		keys = append(keys, string(k))
	}
	slices.Sort(keys)
	if want := l.m.attached(e.id, l.m.head); !slices.Equal(keys, want) {
		l.problem("lease %d holds %q, which was %q", e.id, keys, want)
	}
	return nil
}

// checkFiles: a crash leaves nothing behind that the next start does not clear away.
func (d *load) checkFiles() error {
	entries, err := os.ReadDir(d.srv.dataDir())
	if err != nil {
		return err
	}
	known := []string{"kedge.db", "kedge.db-wal", "kedge.db-shm", "kedge.lock", "member"}
	for _, e := range entries {
		if !slices.Contains(known, e.Name()) {
			d.l.problem("the data folder holds %s", e.Name())
		}
	}
	return nil
}

// tally counts what the kills hit, which tells whether they were well aimed.
type tally struct {
	ops, unanswered, found, revisions, watches, snapshots int
	aims                                                  map[string]int
}

func (t *tally) add(d *load, before int64) {
	t.revisions += int(d.l.m.head - before)
	t.watches += len(d.watches)
	for _, o := range d.ops {
		t.ops++
		if o.outcome == unknown && (o.kind == opPut || o.kind == opTxn || o.kind == opDelete) {
			t.unanswered++
			if o.placed != 0 {
				t.found++
			}
		}
	}
}

func (t *tally) String() string {
	return fmt.Sprintf("%d requests, %d revisions, %d watches, %d snapshots restored; of %d writes without an answer %d are there",
		t.ops, t.revisions, t.watches, t.snapshots, t.unanswered, t.found)
}
