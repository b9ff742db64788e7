// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	kvPut       = "/etcdserverpb.KV/Put"
	kvRange     = "/etcdserverpb.KV/Range"
	kvTxn       = "/etcdserverpb.KV/Txn"
	kvStream    = "/etcdserverpb.KV/RangeStream"
	watchWatch  = "/etcdserverpb.Watch/Watch"
	snapshotRPC = "/etcdserverpb.Maintenance/Snapshot"
	requestMax  = 3 * mib / 2
	overhead    = 512 << 10
	soon        = 40 * time.Second // for what must come; only a hang waits so long
	atOnce      = 700 * time.Millisecond
	endless     = 1 << 30
)

// everyMethod is each method with a handler; streaming says that the request is one of several.
var everyMethod = []string{
	kvRange, kvPut, kvTxn, "/etcdserverpb.KV/DeleteRange", "/etcdserverpb.KV/Compact", kvStream, watchWatch,
	"/etcdserverpb.Lease/LeaseGrant", "/etcdserverpb.Lease/LeaseRevoke", "/etcdserverpb.Lease/LeaseKeepAlive",
	"/etcdserverpb.Lease/LeaseTimeToLive", "/etcdserverpb.Lease/LeaseLeases", "/etcdserverpb.Cluster/MemberList",
	"/etcdserverpb.Maintenance/Status", "/etcdserverpb.Maintenance/Alarm", "/etcdserverpb.Maintenance/Defragment",
	"/etcdserverpb.Maintenance/Hash", "/etcdserverpb.Maintenance/HashKV", snapshotRPC, "/grpc.health.v1.Health/Check",
	"/grpc.health.v1.Health/Watch",
}

// words of an error with the numbers that the two servers cannot agree on left out.
func words(err error) string {
	s := status.Convert(err)
	return fmt.Sprintf("%d %q", s.Code(), s.Message())
}

// requestSizes goes over each limit by one byte.
func requestSizes(r *run) {
	conn := r.dial()
	defer conn.Close()
	kv := pb.NewKVClient(conn)
	for _, size := range []int{requestMax - 200, requestMax + 1, requestMax + overhead, requestMax + overhead + 1} {
		put := &pb.PutRequest{Key: []byte("size"), Value: make([]byte, size-100)}
		for put.Value = put.Value[:size-100]; proto.Size(put) < size; {
			put.Value = append(put.Value, 0)
		}
		_, err := kv.Put(context.Background(), put)
		r.same(fmt.Sprintf("put of %d bytes", size), "%s", words(err))
		del := &pb.DeleteRangeRequest{Key: put.Value[:size-20]}
		_, err = kv.DeleteRange(context.Background(), del)
		r.same(fmt.Sprintf("delete of %d bytes", proto.Size(del)), "%s", words(err))
		read := &pb.RangeRequest{Key: put.Value[:size-20]}
		_, err = kv.Range(context.Background(), read)
		r.same(fmt.Sprintf("range of %d bytes", proto.Size(read)), "%s", words(err))
	}
	// A length that is only announced must cost nothing and be refused at once.
	c := r.rude(endless).listen()
	defer c.close()
	id := c.open(kvPut)
	c.data(id, []byte{0, 0xff, 0xff, 0xff, 0xff}, false)
	r.same("4 GiB announced", "%s", c.outcome(id, soon))
	id = c.open(kvPut)
	c.data(id, []byte{7, 0, 0, 0, 0}, true)
	r.same("a flag that is none", "%s", c.outcome(id, soon))
	r.same("the connection lives", "%s", strings.Fields(c.outcome(c.call(kvRange, &pb.RangeRequest{Key: []byte("a")}), soon))[1])
}

// expired makes one of two: in grpc-go the reset of the timer and the status of the handler race.
func expired(outcome string) string {
	if outcome == "reset CANCEL" || outcome == `status 4 "context deadline exceeded"` {
		return "deadline exceeded"
	}
	return outcome
}

// halfRequests stop in the middle of a message; their deadline must end each of them.
func halfRequests(r *run) {
	c := r.rude(endless).listen()
	defer c.close()
	ids := map[string]uint32{}
	for _, method := range everyMethod {
		ids[method] = c.open(method, "grpc-timeout", "300m")
		c.data(ids[method], []byte{0, 0, 0, 0, 9, 1, 2}, false)
	}
	for _, method := range everyMethod {
		r.same("half a request of "+method, "%s", expired(c.outcome(ids[method], soon)))
	}
	r.same("the connection lives", "%s", strings.Fields(c.outcome(c.call(kvRange, &pb.RangeRequest{Key: []byte("a")}), soon))[1])
	r.settles()
}

// settles waits until no call but the probe's watch (and calls of the moment) is in progress.
func (r *run) settles() {
	if !r.isKedge() {
		return
	}
	running, watchers := 0.0, 0.0
	for end := time.Now().Add(soon); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		running, watchers = r.running(), r.metric("etcd_debugging_mvcc_watcher_total")
		if running <= 2 && watchers == 1 {
			return
		}
	}
	r.check(false, "%.0f calls and %.0f watchers are left behind", running, watchers)
}

// deadlines pass while a call is served: a stream that is open, an answer that is not taken.
func deadlines(r *run) {
	r.fill("deadline/", 1, mib)
	big := &pb.RangeRequest{Key: fillKey("deadline/", 0)}
	c := r.rude(0).listen() // no answer fits
	defer c.close()
	watch := c.open(watchWatch, "grpc-timeout", "400m")
	c.data(watch, framed(packed(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{Key: []byte("a")}}})), false)
	stuck := map[string]uint32{
		"a get":         c.call(kvRange, big, "grpc-timeout", "400m"),
		"a RangeStream": c.call(kvStream, big, "grpc-timeout", "400m"),
		"a snapshot":    c.call(snapshotRPC, &pb.SnapshotRequest{}, "grpc-timeout", "400m"),
	}
	r.same("a watch whose answer is not taken", "%s", c.outcome(watch, soon))
	limit := soon
	if !r.isKedge() {
		limit = atOnce
	}
	// etcd keeps an answer that is complete for as long as the connection lives.
	for _, what := range []string{"a get", "a RangeStream"} {
		r.differs(what+" whose answer is not taken", "reset CANCEL", c.outcome(stuck[what], limit))
	}
	r.same("a snapshot whose answer is not taken", "%s", expired(c.outcome(stuck["a snapshot"], soon)))
	c = r.rude(endless).listen()
	defer c.close()
	for _, method := range []string{watchWatch, "/etcdserverpb.Lease/LeaseKeepAlive", "/grpc.health.v1.Health/Watch"} {
		id := c.open(method, "grpc-timeout", "300m")
		if strings.Contains(method, "health") {
			c.data(id, framed(nil), true)
			r.differs("the deadline of an open "+method, "deadline exceeded", expired(c.outcome(id, soon)))
		} else {
			r.same("the deadline of an open "+method, "%s", expired(c.outcome(id, soon)))
		}
	}
	for _, timeout := range []string{"0m", "99999999H", "1", "-1S", "123456789S", "1x"} {
		id := c.call(kvRange, &pb.RangeRequest{Key: []byte("a")}, "grpc-timeout", timeout)
		r.same("grpc-timeout "+timeout, "%s", c.outcome(id, soon))
	}
	r.settles()
}

// concurrentStreams opens more than --max-concurrent-streams allows.
func concurrentStreams(r *run) {
	c := r.rude(endless).listen()
	defer c.close()
	c.wait(soon, func() bool { return len(c.set) > 0 })
	r.same("the announced maximum", "%d", c.set[http2.SettingMaxConcurrentStreams])
	var ids []uint32
	for range 10 {
		ids = append(ids, c.open(watchWatch))
	}
	over := c.open(watchWatch)
	r.same("the eleventh stream", "%s", c.outcome(over, soon))
	r.same("the first stream", "%s", c.outcome(ids[0], atOnce))
	c.reset(ids[0])
	id := c.call(kvRange, &pb.RangeRequest{Key: []byte("a")})
	r.same("one in the place of the first", "%s", strings.Fields(c.outcome(id, soon))[1])
	c.close()
	// A polite client waits for a place instead of failing.
	conn := r.dial()
	defer conn.Close()
	done := make(chan error)
	for range 50 {
		go func() {
			_, err := pb.NewKVClient(conn).Put(context.Background(), &pb.PutRequest{Key: []byte("polite")})
			done <- err
		}()
	}
	for range 50 {
		r.check(<-done == nil, "a polite client's put fails")
	}
	r.settles()
}

// pings until the server has had enough, at most count; gives the GOAWAY, and how many were answered.
func pingStorm(c *raw, count int, pause time.Duration) string {
	for i := range count {
		if c.ping(i) != nil {
			break
		}
		time.Sleep(pause)
	}
	if text := c.goawayText(atOnce); text != "" {
		return fmt.Sprintf("goaway %s, closed %v", text, c.isClosed(soon))
	}
	return "no goaway"
}

// pingEnforcement: --grpc-keepalive-min-time=1s.
func pingEnforcement(r *run) {
	idle := r.rude(endless).listen()
	r.same("pings without a stream", "%s", pingStorm(idle, 20, 5*time.Millisecond))
	few := r.rude(endless).listen()
	few.wait(soon, func() bool { return len(few.set) > 0 })
	// One is forgiven for what the server sent last, one begins the count, two strikes are allowed.
	r.same("few pings without a stream", "%s", pingStorm(few, 3, 20*time.Millisecond))
	watching := func() *raw {
		c := r.rude(endless).listen()
		id := c.open(watchWatch)
		c.data(id, framed(packed(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
			CreateRequest: &pb.WatchCreateRequest{Key: []byte("quiet")}}})), false)
		c.wait(soon, func() bool { return c.streams[id].data > 0 })
		return c
	}
	often := watching()
	r.same("pings too often beside a watch", "%s", pingStorm(often, 30, 100*time.Millisecond))
	patient := watching()
	r.same("pings as often as allowed", "%s", pingStorm(patient, 4, 1200*time.Millisecond))
	busy := watching()
	for i := range 30 {
		busy.ping(i)
		busy.outcome(busy.call(kvRange, &pb.RangeRequest{Key: []byte("a")}), soon)
	}
	r.same("pings between answers", "%s", pingStorm(busy, 1, 0))
	for _, c := range []*raw{idle, few, often, patient, busy} {
		c.close()
	}
	r.settles()
}

// serverPings: --grpc-keepalive-interval=2s --grpc-keepalive-timeout=8s.  A peer that is gone without
// a word, as on a half-open connection, is one that does not answer.
func serverPings(r *run) {
	mute := r.rude(endless)
	mute.mute = true
	mute.listen()
	mute.open(watchWatch)
	lively := r.rude(endless).listen()
	lively.open(watchWatch)
	r.same("a peer that answers no ping is dropped", "%v", mute.isClosed(soon))
	r.check(mute.pings > 0, "it was never asked")
	// The other must outlast it by several of the server's pings.
	r.same("a peer that answers lives", "%v", lively.wait(soon, func() bool { return lively.pings >= 3 }) && !lively.isClosed(atOnce))
	lively.close()
	r.settles()
}

func dialWindow(s *server, bytes int32) *grpc.ClientConn {
	return s.dial(grpc.WithInitialWindowSize(bytes), grpc.WithInitialConnWindowSize(bytes))
}

var cases = []pressureCase{
	{name: "request-sizes", run: requestSizes},
	{name: "half-requests", run: halfRequests},
	{name: "deadlines", run: deadlines},
	{name: "concurrent-streams", flags: []string{"--max-concurrent-streams", "10"}, run: concurrentStreams},
	{name: "ping-enforcement", flags: []string{"--grpc-keepalive-min-time", "1s"}, run: pingEnforcement, idle: true},
	{name: "server-pings", flags: []string{"--grpc-keepalive-interval", "2s", "--grpc-keepalive-timeout", "8s"}, run: serverPings, idle: true},
}
