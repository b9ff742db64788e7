// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// The bounds of docs/limits.md that the cases below hold kedge to.
const (
	callsBytes     = 256 * mib // --request-memory-bytes, where a case sets it
	connBytes      = 16 * mib  // H2_UNSENT_BYTES_MAX
	stuckConn      = mib       // one connection that does not read, besides its calls
	fewBytes       = 64 * mib  // ... or this
	resultsBytes   = 64 * mib  // WRITER_RESULTS_BYTES_MAX
	outboxesBytes  = 128 * mib // WATCH_OUTBOXES_BYTES_MAX
	besidesBytes   = 32 * mib  // what the allocator keeps, SQLite's caches, the index of what was put
	watcherBytes   = 2048
	streamedList   = mib // a list or snapshot on its way to one client
	allowCallBytes = "268435456"
	allowFewBytes  = "67108864"
)

func all(prefix string) *pb.RangeRequest {
	return &pb.RangeRequest{Key: []byte(prefix), RangeEnd: []byte(prefix[:len(prefix)-1] + "0")}
}

// checkList reads a list, by RangeStream or not, and compares all of it with what fill() put.
func (r *run) checkList(prefix string, count, size int, stream bool) {
	conn := r.dial()
	defer conn.Close()
	kv := pb.NewKVClient(conn)
	seen := 0
	take := func(answer *pb.RangeResponse) {
		for _, one := range answer.Kvs {
			if !bytes.Equal(one.Key, fillKey(prefix, seen)) || !bytes.Equal(one.Value, fillValue(seen, size)) {
				r.check(false, "%s, stream %v: key %d is %q", prefix, stream, seen, one.Key)
			}
			seen++
		}
	}
	var err error
	if stream {
		var s pb.KV_RangeStreamClient
		if s, err = kv.RangeStream(context.Background(), all(prefix)); err == nil {
			for err == nil {
				var answer *pb.RangeStreamResponse
				if answer, err = s.Recv(); err == nil {
					take(answer.RangeResponse)
				}
			}
		}
		if err == io.EOF {
			err = nil
		}
	} else {
		var answer *pb.RangeResponse
		if answer, err = kv.Range(context.Background(), all(prefix)); err == nil {
			take(answer)
		}
	}
	r.check(err == nil, "list of %s: %v", prefix, err)
	r.check(seen == count, "list of %s: %d of %d keys", prefix, seen, count)
}

// bigLists gives the same big list to several clients at once.
func bigLists(r *run) {
	const clients = 4
	count, size := r.size(2_000, 100_000), r.size(10_240, 1024)
	r.fill("big/", count, size)
	r.quiet = r.rss()
	r.resetPeak()
	done := make(chan bool)
	for i := range 2 * clients {
		go func() { r.checkList("big/", count, size, i%2 == 0); done <- true }()
	}
	for range 2 * clients {
		<-done
	}
	// Each holds what versions its list is made of, and one piece of it.
	set := int64(count) * rangeItemBytes
	r.bound(fmt.Sprintf("%d lists of %d MiB", 2*clients, count*size/mib), 2*clients*(set+streamedList)+besidesBytes)
}

const rangeItemBytes = 4 * 72 // struct range_item, and the room in which the array grows

// unreadLists asks for big lists and a snapshot and never opens the window; then it opens it.
func unreadLists(r *run) {
	count, size := r.size(2_000, 100_000), r.size(10_240, 1024)
	r.fill("big/", count, size)
	r.quiet = r.rss()
	r.resetPeak()
	var stuck []*raw
	each := r.size(5, 40)
	for range each {
		c := r.rude(0).listen()
		c.call(kvRange, all("big/"))
		c.call(kvStream, all("big/"))
		stuck = append(stuck, c)
	}
	for range 2 { // snapshots have few places: RPC_JOBS_MAX
		c := r.rude(0).listen()
		c.call(snapshotRPC, &pb.SnapshotRequest{})
		stuck = append(stuck, c)
	}
	r.check(r.probe.advance(20), "the probe stands still beside lists that nobody reads")
	set := int64(count) * rangeItemBytes
	r.bound(fmt.Sprintf("%d lists of %d MiB that nobody reads", 2*each, count*size/mib),
		int64(2*each)*(set+streamedList)+2*streamedList+besidesBytes)
	// The first client now takes all of its two answers.
	c := stuck[0]
	for _, id := range []uint32{1, 3} {
		c.mu.Lock()
		c.credit, c.streams[id].keep = true, true
		c.mu.Unlock()
		c.window(id, 1<<20)
		c.window(0, 1<<20)
		r.same(fmt.Sprintf("list %d, read at last", id), "%s", c.outcome(id, 3*probeTimeout))
		r.same(fmt.Sprintf("keys of list %d", id), "%d", bytes.Count(c.streams[id].body, []byte("big/")))
	}
	for _, c := range stuck {
		c.vanish()
	}
	r.settles()
}

// unreadAnswers are many, and small enough to be made at once, on one connection that reads nothing.
func unreadAnswers(r *run) {
	r.fill("piece/", 1, 100<<10)
	get := &pb.RangeRequest{Key: fillKey("piece/", 0)}
	c := r.rude(endless) // it never reads from its socket
	count := r.size(3_000, 20_000)
	sent := make(chan int)
	go func() {
		for i := range count {
			if id := c.open(kvRange); c.data(id, framed(packed(get)), true) != nil {
				sent <- i
				return
			}
		}
		sent <- count
	}()
	select {
	case n := <-sent:
		r.note("%d of %d requests sent", n, count)
	case <-time.After(5 * time.Second):
		r.note("the server stopped to take requests")
	}
	r.check(r.probe.advance(50), "the probe stands still beside answers that nobody reads")
	r.bound(fmt.Sprintf("%d answers of 100 KiB that nobody reads", count), connBytes+stuckConn+besidesBytes)
	c.vanish()
	r.settles()
}

// unreadThenRead is the same with a client that reads in the end: nothing may be lost.
func unreadThenRead(r *run) {
	r.fill("piece/", 1, 100<<10)
	get := &pb.RangeRequest{Key: fillKey("piece/", 0)}
	c := r.rude(endless)
	count := r.size(1_000, 10_000)
	go func() {
		for range count {
			c.data(c.open(kvRange), framed(packed(get)), true)
		}
	}()
	time.Sleep(time.Second)
	c.window(0, endless)
	c.listen()
	c.credit = true
	ok := 0
	c.wait(3*probeTimeout, func() bool {
		ok = 0
		for _, s := range c.streams {
			if s.ended && s.status == "0" {
				ok++
			}
		}
		return ok == count
	})
	r.same("answers, read at last", "%d", ok)
	c.close()
	r.bound("answers read late", connBytes+stuckConn+besidesBytes)
}

// unreadResults come out of the writer: each of many small writes asks for a big previous value, or
// for a list inside its transaction.
func unreadResults(r *run) {
	r.fill("result/", 20, mib)
	key := fillKey("result/", 0)
	put := &pb.PutRequest{Key: key, IgnoreValue: true, PrevKv: true}
	txn := &pb.TxnRequest{Success: []*pb.RequestOp{
		{Request: &pb.RequestOp_RequestRange{RequestRange: all("result/")}},
		{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("other")}}}}}
	var rude []*raw
	for _, one := range []struct {
		path    string
		request proto.Message
		count   int
	}{{kvPut, put, r.size(50, 4000)}, {kvTxn, txn, r.size(12, 500)}} {
		c := r.rude(endless)
		rude = append(rude, c)
		go func() {
			for range one.count {
				if c.data(c.open(one.path), framed(packed(one.request)), true) != nil {
					return
				}
			}
		}()
	}
	r.check(r.probe.advance(50), "the probe stands still beside results that nobody reads")
	time.Sleep(time.Second)
	r.check(r.probe.advance(20), "the probe stands still beside results that nobody reads, later")
	// All results of one turn become answers before the largest goes, and others come in meanwhile.
	r.bound("results that nobody reads", fewBytes+2*(resultsBytes+20*mib)+besidesBytes)
	for _, c := range rude {
		c.vanish()
	}
	r.settles()
}

// unreadCursors: many lists of many small keys cost little to send and much to keep.
func unreadCursors(r *run) {
	count := r.size(4_000, 50_000)
	r.fill("k/", count, 16)
	r.quiet = r.rss()
	r.resetPeak()
	c := r.rude(0).listen()
	lists := r.size(300, 1000)
	for range lists {
		c.call(kvRange, all("k/"))
	}
	r.check(r.probe.advance(20), "the probe stands still beside lists that nobody reads")
	r.bound(fmt.Sprintf("%d lists of %d keys", lists, count), callsBytes+stuckConn+besidesBytes)
	c.vanish()
	r.settles()
}

// trickle sends a request and takes the answer byte by byte.
func trickle(r *run) {
	r.fill("trickle/", 1, 600)
	c := r.rude(0).listen()
	defer c.close()
	id := c.open(kvRange)
	request := framed(packed(&pb.RangeRequest{Key: fillKey("trickle/", 0)}))
	for i := range request {
		c.data(id, request[i:i+1], i == len(request)-1)
		time.Sleep(time.Millisecond)
	}
	c.mu.Lock()
	c.streams[id].keep = true
	c.mu.Unlock()
	for c.outcome(id, 0) == "goes on" {
		if c.window(id, 1) != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	r.same("an answer taken byte by byte", "%s", c.outcome(id, soon))
	var answer pb.RangeResponse
	ok := len(c.streams[id].body) > 5 && proto.Unmarshal(c.streams[id].body[5:], &answer) == nil && len(answer.Kvs) == 1
	r.same("its value", "%v", ok && bytes.Equal(answer.Kvs[0].Value, fillValue(0, 600)))
	// The same with a big put, a byte of the body at a time, to the limit of patience.
	id = c.open(kvPut)
	put := framed(packed(&pb.PutRequest{Key: []byte("trickle"), Value: bytes.Repeat([]byte("x"), 3000)}))
	for i := range put {
		c.data(id, put[i:i+1], i == len(put)-1)
	}
	c.window(id, 1000)
	r.same("a put sent byte by byte", "%s", c.outcome(id, soon))
}

// bigPuts are hundreds at once, on connections of their own and on one.
func bigPuts(r *run) {
	count := r.size(60, 400)
	value := bytes.Repeat([]byte("v"), requestMax-1000)
	shared := r.dial()
	defer shared.Close()
	failed := make(chan string)
	for i := range count {
		go func() {
			conn := shared
			if i%3 > 0 {
				conn = r.dial()
				defer conn.Close()
			}
			_, err := pb.NewKVClient(conn).Put(context.Background(), &pb.PutRequest{Key: fmt.Appendf(nil, "bp/%d", i%50), Value: value})
			if err != nil {
				failed <- err.Error()
			} else {
				failed <- ""
			}
		}()
	}
	bad := map[string]int{}
	for range count {
		if text := <-failed; text != "" {
			bad[text]++
		}
	}
	if r.isKedge() { // etcd gives up after 7 s, which a busy machine may take
		r.check(len(bad) == 0, "big puts failed: %v", bad)
	} else {
		r.note("big puts that failed: %v", bad)
	}
	r.bound(fmt.Sprintf("%d puts of 1.5 MiB at once", count), callsBytes+besidesBytes)
}

// halfPuts announce a big message, send most of it and stop.
func halfPuts(r *run) {
	conns, streams := 4, r.size(100, 1000)
	var rude []*raw
	piece := make([]byte, 900<<10)
	copy(piece, []byte{0, 0, 0x18, 0, 0})
	for range conns {
		c := r.rude(endless).listen()
		rude = append(rude, c)
		go func() {
			for range streams {
				id := c.open(kvPut)
				// As much as its windows allow: a client that ignores them is told so at once.
				c.dataWithin(id, piece, false, atOnce/10)
			}
		}()
	}
	r.check(r.probe.advance(50), "the probe stands still beside puts that never end")
	time.Sleep(3 * time.Second)
	conn := r.dial()
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	_, err := pb.NewKVClient(conn).Put(ctx, &pb.PutRequest{Key: []byte("honest"), Value: piece})
	r.check(err == nil, "an honest big put beside those that never end: %v", err)
	r.bound(fmt.Sprintf("%d puts of 1.5 MiB that never end", conns*streams), callsBytes+int64(conns)*stuckConn+besidesBytes)
	for _, c := range rude {
		c.vanish()
	}
	r.settles()
}

func init() {
	bounded := []string{"--request-memory-bytes", allowCallBytes}
	quota := []string{"--quota-backend-bytes", "8589934592"}
	cases = append(cases,
		pressureCase{name: "trickle", run: trickle},
		pressureCase{name: "big-lists", run: bigLists, flags: quota},
		pressureCase{name: "unread-lists", run: unreadLists, flags: quota},
		pressureCase{name: "unread-answers", run: unreadAnswers},
		pressureCase{name: "read-late", run: unreadThenRead},
		pressureCase{name: "unread-results", run: unreadResults, kedge: []string{"--request-memory-bytes", allowFewBytes}, flags: quota},
		pressureCase{name: "unread-cursors", run: unreadCursors, kedge: bounded},
		pressureCase{name: "big-puts", run: bigPuts, kedge: bounded, flags: quota},
		pressureCase{name: "half-puts", run: halfPuts, kedge: bounded, flags: quota},
	)
}
