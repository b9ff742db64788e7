// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

func createOf(spec *pb.WatchCreateRequest) *pb.WatchRequest {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: spec}}
}

func cancelOf(id int64) *pb.WatchRequest {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: id}}}
}

// watchSome creates count watchers of the given keys on one stream, waits until each has heard the
// one event of its key, cancels all and hears that, too.
func watchSome(conn *grpc.ClientConn, first, count int, created, heard *sync.WaitGroup) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*probeTimeout)
	defer cancel()
	stream, err := pb.NewWatchClient(conn).Watch(ctx)
	if err != nil {
		created.Done()
		heard.Done()
		return err
	}
	go func() {
		for i := range count {
			stream.Send(createOf(&pb.WatchCreateRequest{Key: fillKey("w/", first+i)}))
		}
	}()
	var creates, events, cancels int
	keys := map[int64]string{}
	for cancels < count {
		answer, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("%d created, %d events, %d cancelled: %w", creates, events, cancels, err)
		}
		switch {
		case answer.Created:
			if answer.WatchId != int64(creates) {
				return fmt.Errorf("created %d came as number %d", answer.WatchId, creates)
			}
			keys[answer.WatchId] = string(fillKey("w/", first+creates))
			if creates++; creates == count {
				created.Done()
			}
		case answer.Canceled:
			cancels++
		case len(answer.Events) != 1 || string(answer.Events[0].Kv.Key) != keys[answer.WatchId]:
			return fmt.Errorf("watcher %d heard %v", answer.WatchId, answer.Events)
		default:
			if events++; events == count {
				heard.Done()
				go func() {
					for i := range count {
						stream.Send(cancelOf(int64(i)))
					}
				}()
			}
		}
	}
	return nil
}

func manyWatches(r *run, streams, count int) {
	conn := r.dial()
	defer conn.Close()
	var created, heard sync.WaitGroup
	created.Add(streams)
	heard.Add(streams)
	done := make(chan error, streams)
	each := count / streams
	for i := range streams {
		go func() { done <- watchSome(conn, i*each, each, &created, &heard) }()
	}
	created.Wait()
	rise := r.rss() - r.quiet
	r.note("%d watchers on %d streams: %d bytes each", count, streams, rise/int64(count))
	if r.isKedge() {
		r.check(rise < int64(count)*watcherBytes+16*mib, "a watcher costs %d bytes, the bound is %d", rise/int64(count), watcherBytes)
	}
	r.fill("w/", count, 10)
	heard.Wait()
	good := 0
	for range streams {
		if err := <-done; r.check(err == nil, "a stream of watches: %v", err) {
			good++
		}
	}
	r.same("streams on which every watcher heard its event", "%d", good)
	r.settles()
}

func watchesOneStream(r *run) { manyWatches(r, 1, r.size(1000, 10_000)) }

func watchesManyStreams(r *run) { manyWatches(r, 100, r.size(1000, 10_000)) }

// unreadWatch stops to read while much is put, then reads all of it, each event once.
func unreadWatch(r *run) {
	count, size := r.size(200, 2000), 100<<10
	c := r.rude(0).listen()
	defer c.close()
	id := c.open(watchWatch)
	c.data(id, framed(packed(createOf(&pb.WatchCreateRequest{Key: []byte("uw/"), RangeEnd: []byte("uw0"), PrevKv: true}))), false)
	c.streams[id].keep = true
	c.window(id, 200)
	c.wait(soon, func() bool { return c.streams[id].data > 0 })
	r.fill("uw/", count, size)
	r.check(r.probe.advance(20), "the probe stands still beside a watch that nobody reads")
	r.bound(fmt.Sprintf("a watch with %d MiB unread", count*size/mib), 8*mib+besidesBytes)
	c.mu.Lock()
	c.credit = true
	c.mu.Unlock()
	c.window(id, 1<<20)
	c.window(0, 1<<20)
	want := int64(count + 1)
	seen := map[int64]int{}
	twice := 0
	c.wait(3*probeTimeout, func() bool {
		body := c.streams[id].body
		for len(body) >= 5 {
			n := int(body[1])<<24 | int(body[2])<<16 | int(body[3])<<8 | int(body[4])
			if len(body) < 5+n {
				break
			}
			var answer pb.WatchResponse
			unpack(body[5:5+n], &answer)
			for _, e := range answer.Events {
				if seen[e.Kv.ModRevision]++; seen[e.Kv.ModRevision] > 1 {
					twice++
				}
			}
			body = body[5+n:]
		}
		c.streams[id].body = body
		return len(seen) >= int(want)-1
	})
	r.same("events read at last", "%d, twice %d", len(seen), twice)
}

// unreadWatches are left standing one after the other, so that each holds events of its own.
func unreadWatches(r *run) {
	watches, size := r.size(30, 300), 100<<10
	var rude []*raw
	perWatch := 12 // more than the transport takes
	for i := range watches {
		c := r.rude(0).listen()
		id := c.open(watchWatch)
		c.data(id, framed(packed(createOf(&pb.WatchCreateRequest{Key: []byte("us/"), RangeEnd: []byte("us0")}))), false)
		c.window(id, 100)
		c.wait(soon, func() bool { return c.streams[id].data > 0 })
		rude = append(rude, c)
		if i%2 == 0 {
			r.fill("us/", perWatch, size)
		}
	}
	r.fill("us/", r.size(100, 1000), size)
	r.check(r.probe.advance(20), "the probe stands still beside watches that nobody reads")
	// Of each stream the transport has one message more than CALL_SEND_HIGH_BYTES.
	r.bound(fmt.Sprintf("%d watches that nobody reads", watches), outboxesBytes+int64(watches)*mib+besidesBytes)
	for _, c := range rude {
		c.vanish()
	}
	r.settles()
}

// cancelled ends calls of every kind in every way, at any moment.
func cancelled(r *run) {
	r.fill("ca/", 60, 20<<10)
	rounds := r.size(6, 200)
	whole := all("ca/")
	for round := range rounds {
		c := r.rude(uint32(1+round%3) * 10_000).listen()
		var ids []uint32
		begin := func(path string, message []byte, end bool) {
			id := c.open(path)
			c.data(id, framed(message), end)
			ids = append(ids, id)
		}
		for i := range 10 {
			begin(kvRange, packed(whole), true)
			begin(kvStream, packed(whole), true)
			begin(kvPut, packed(&pb.PutRequest{Key: fillKey("cc/", i), Value: make([]byte, 40_000)}), true)
			begin(watchWatch, packed(createOf(&pb.WatchCreateRequest{Key: []byte("ca/"), RangeEnd: []byte("ca0"), StartRevision: 1})), false)
			begin("/etcdserverpb.Lease/LeaseKeepAlive", packed(&pb.LeaseKeepAliveRequest{ID: 7}), i%2 == 0)
			begin("/etcdserverpb.Lease/LeaseGrant", packed(&pb.LeaseGrantRequest{TTL: 3600}), true)
			begin("/etcdserverpb.Maintenance/Hash", packed(&pb.HashRequest{}), true)
			begin(kvTxn, packed(&pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: whole}}}}), true)
		}
		begin(snapshotRPC, packed(&pb.SnapshotRequest{}), true)
		begin("/etcdserverpb.Maintenance/Defragment", packed(&pb.DefragmentRequest{}), true)
		time.Sleep(time.Duration(round%7) * 3 * time.Millisecond)
		switch round % 3 {
		case 0:
			for _, id := range ids {
				c.reset(id)
			}
			c.window(0, 1<<24)
			r.same(fmt.Sprintf("round %d: the connection after its calls were cancelled", round), "%s",
				c.outcome(c.call("/grpc.health.v1.Health/Check", &pb.HashRequest{}), soon))
			c.close()
		case 1:
			c.close()
		case 2:
			c.vanish()
		}
	}
	r.settles()
}

func init() {
	quota := []string{"--quota-backend-bytes", "8589934592"}
	cases = append(cases,
		pressureCase{name: "watches-one-stream", run: watchesOneStream},
		pressureCase{name: "watches-many-streams", run: watchesManyStreams},
		pressureCase{name: "unread-watch", run: unreadWatch, flags: quota},
		pressureCase{name: "unread-watches", run: unreadWatches, flags: quota},
		pressureCase{name: "cancelled", run: cancelled, flags: quota},
	)
}
