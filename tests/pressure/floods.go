// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const floodBytes = 16 * mib // what one connection may cost that only makes noise

// bigHeaders: metadata as large as it gets.
func bigHeaders(r *run) {
	c := r.rude(endless).listen()
	defer c.close()
	get := &pb.RangeRequest{Key: []byte("a")}
	r.same("50 KiB of metadata", "%s", c.outcome(r.continued(c, 5, 10_000), soon))
	// etcd takes 16 MiB, kedge H2_HEADER_LIST_BYTES_MAX.
	r.differs("100 KiB of metadata", "reset FRAME_SIZE_ERROR", c.outcome(r.continued(c, 7, 14_000), soon))
	r.same("the connection after it", "%s", c.outcome(c.call(kvRange, get), soon))
	many := r.rude(endless).listen()
	defer many.close()
	id := r.continued(many, 100, 1)
	r.differs("a header block in 101 frames", "goaway ENHANCE_YOUR_CALM Too many CONTINUATION frames following a HEADER frame",
		many.outcome(id, soon))
}

// continued opens a call with count headers of some bytes each, in CONTINUATION frames.
func (r *run) continued(c *raw, count, size int) uint32 {
	id := c.nextID
	c.nextID += 2
	c.mu.Lock()
	c.streams[id] = &rawStream{}
	c.mu.Unlock()
	first := append([]byte(nil), c.header(kvRange)...)
	c.write(func(f *http2.Framer) error {
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first}); err != nil {
			return err
		}
		for i := range count {
			// Literal without indexing, so that no table makes it small.
			name := fmt.Sprintf("x-%06d", i)
			block := append([]byte{0, byte(len(name))}, name...)
			if size < 127 {
				block = append(block, byte(size))
			} else {
				block = append(block, 0x7f, byte((size-127)&0x7f|0x80), byte((size-127)>>7))
			}
			block = append(block, strings.Repeat("v", size)...)
			if err := f.WriteContinuation(id, i == count-1, block); err != nil {
				return err
			}
		}
		return nil
	})
	c.data(id, framed(packed(&pb.RangeRequest{Key: []byte("a")})), true)
	return id
}

// headerFlood sends a header block that does not end, several of them at once.
func headerFlood(r *run) {
	var done sync.WaitGroup
	for range 4 {
		done.Add(1)
		go func() {
			defer done.Done()
			c := r.rude(endless).listen()
			r.continued(c, r.size(1000, 30_000), 10_000)
			c.vanish()
		}()
	}
	done.Wait()
	r.bound("four endless header blocks", 4*floodBytes)
	// And many calls with large headers that stay open.
	calls := r.size(1000, 50_000)
	c := r.rude(endless).listen()
	value := strings.Repeat("h", 5_000) // too long for the table of the compression
	for range calls {
		c.open(watchWatch, "x-a", value, "x-b", value+"b", "x-c", value[:4500])
	}
	r.check(r.probe.advance(20), "the probe stands still beside big headers")
	r.bound(fmt.Sprintf("%d calls with 14 KiB of headers", calls), callsBytes+besidesBytes)
	c.vanish()
	r.settles()
}

// resets opens streams and resets them at once, as fast as it can ("rapid reset").
func resets(r *run) {
	count := r.size(5_000, 200_000)
	c := r.rude(endless).listen()
	get := framed(packed(&pb.RangeRequest{Key: []byte("a")}))
	for range count {
		id := c.open(kvRange)
		if c.data(id, get, true) != nil || c.reset(id) != nil {
			break
		}
	}
	r.differs("rapid resets", "ENHANCE_YOUR_CALM too_many_resets", c.goawayText(soon/10))
	c.vanish()
	r.check(r.probe.advance(20), "the probe stands still beside rapid resets")
	r.bound("rapid resets", floodBytes)
	r.settles()
}

// noise floods with frames that mean nothing, from a peer that reads nothing.
func noise(r *run) {
	count := r.size(4_000, 500_000)
	floods := map[string]func(f *http2.Framer, i int) error{
		"settings": func(f *http2.Framer, i int) error { return f.WriteSettings() },
		"pings":    func(f *http2.Framer, i int) error { return f.WritePing(false, [8]byte{byte(i)}) },
		"windows":  func(f *http2.Framer, i int) error { return f.WriteWindowUpdate(0, 1) },
		"priority": func(f *http2.Framer, i int) error {
			return f.WritePriority(uint32(2*i+1), http2.PriorityParam{Weight: 1})
		},
		"unknown":   func(f *http2.Framer, i int) error { return f.WriteRawFrame(0xbe, 0, 0, []byte("what")) },
		"bad calls": func(f *http2.Framer, i int) error { return nil },
	}
	for name, send := range floods {
		c := r.rude(endless)
		start := time.Now()
		for i := range count {
			var err error
			if name == "bad calls" {
				err = c.data(c.open("/no.Such/Method"), nil, true)
			} else {
				err = c.write(func(f *http2.Framer) error { return send(f, i) })
			}
			if err != nil {
				break
			}
			c.conn.SetWriteDeadline(time.Now().Add(atOnce))
		}
		r.check(r.probe.advance(10), "the probe stands still beside a flood of %s", name)
		r.note("%d %s: %.1f s", count, name, time.Since(start).Seconds())
		c.vanish()
	}
	r.bound("floods of frames", floodBytes+stuckConn+besidesBytes)
	r.settles()
}

// manyConnections each put, read and watch.
func manyConnections(r *run) {
	count := r.size(300, 1000)
	var conns []*grpc.ClientConn
	for range count {
		conns = append(conns, r.dial(grpc.WithReadBufferSize(4096), grpc.WithWriteBufferSize(4096)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*probeTimeout)
	defer cancel()
	done := make(chan error, count)
	var ready sync.WaitGroup
	ready.Add(count)
	for i, conn := range conns {
		go func() {
			stream, err := pb.NewWatchClient(conn).Watch(ctx)
			if err == nil {
				stream.Send(createOf(&pb.WatchCreateRequest{Key: []byte("all")}))
				_, err = stream.Recv()
			}
			if err == nil {
				_, err = pb.NewKVClient(conn).Put(ctx, &pb.PutRequest{Key: fillKey("mc/", i), Value: []byte("x")})
			}
			ready.Done()
			if err == nil {
				_, err = stream.Recv()
			}
			done <- err
		}()
	}
	ready.Wait()
	rise := r.rss() - r.quiet
	r.note("%d connections with a watch: %d KiB each", count, rise/int64(count)>>10)
	if r.isKedge() {
		r.check(rise < int64(count)*connectionBytes, "a connection costs %d KiB, the bound is %d", rise/int64(count)>>10, connectionBytes>>10)
	}
	_, err := pb.NewKVClient(conns[0]).Put(ctx, &pb.PutRequest{Key: []byte("all")})
	r.check(err == nil, "put for all: %v", err)
	good := 0
	for range count {
		if err := <-done; err == nil {
			good++
		} else {
			r.note("a connection: %v", err)
		}
	}
	r.same("connections that put and heard", "%d", good)
	for _, conn := range conns {
		conn.Close()
	}
	r.settles()
}

const connectionBytes = 64 << 10 // one that has little to say, without TLS

// tooManyConnections: the server may open 300 files.
func tooManyConnections(r *run) {
	first := r.rude(endless).listen()
	var others []*raw
	for range 400 {
		c := r.rude(endless)
		c.conn.SetDeadline(time.Time{})
		others = append(others, c.listen())
	}
	refused := 0
	time.Sleep(atOnce)
	for _, c := range others {
		c.mu.Lock()
		if c.closed {
			refused++
		}
		c.mu.Unlock()
	}
	// etcd lets them wait for a place, which looks the same to them as a server that hangs.
	told := "closed at once"
	if refused == 0 {
		told = "left waiting"
	}
	r.differs("connections beyond the limit", "closed at once", told)
	r.note("%d of 400 were refused", refused)
	get := &pb.RangeRequest{Key: []byte("a")}
	r.same("a connection from before", "%s", first.outcome(first.call(kvRange, get), soon))
	r.check(r.probe.advance(20), "the probe stands still beside too many connections")
	for _, c := range others {
		c.vanish()
	}
	ok := false
	for end := time.Now().Add(soon); !ok && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		c := r.rude(endless).listen()
		ok = strings.HasPrefix(c.outcome(c.call(kvRange, get), time.Second), "status 0")
		c.close()
	}
	r.same("a new connection when others have gone", "%v", ok)
}

// vanishing clients leave in the middle of everything, with and without a word.
func vanishing(r *run) {
	r.fill("va/", 50, 100<<10)
	var silent []*raw
	for i := range r.size(100, 1000) {
		c := r.rude(0)
		switch i % 5 {
		case 0: // a connection on which nothing follows
			silent = append(silent, c)
			continue
		case 1:
			c.call(kvRange, all("va/"))
		case 2:
			c.data(c.open(kvPut), framed(make([]byte, 50_000))[:40_000], false)
		case 3:
			c.data(c.open(watchWatch), framed(packed(createOf(&pb.WatchCreateRequest{Key: []byte("va/")}))), false)
			c.conn.Write([]byte{0, 0, 9})
		case 4:
			c.conn.Write([]byte("\x00\x00\xff\x99garbage of no sense"))
		}
		if i%2 == 0 {
			c.vanish()
		} else {
			c.close()
		}
	}
	r.check(r.probe.advance(20), "the probe stands still beside clients that vanish")
	for _, c := range silent {
		c.vanish()
	}
	r.bound("clients that vanish", besidesBytes)
	r.settles()
}

// deafPeer has an answer on its way, reads nothing and answers no ping: it must still be dropped.
func deafPeer(r *run) {
	r.fill("deaf/", 24, mib)
	c := r.rude(endless)
	c.window(0, endless)
	for i := range 24 {
		c.call(kvRange, &pb.RangeRequest{Key: fillKey("deaf/", i)})
	}
	// Not even a write may show that this peer lives.  Only kedge tells from outside when it drops it.
	dropped := !r.isKedge()
	for end := time.Now().Add(probeTimeout); !dropped && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		dropped = r.metric("kedge_client_connections") <= 2 // the probe, and who asks
	}
	r.check(dropped, "a deaf peer keeps its connection")
	r.check(!r.isKedge() || c.listen().isClosed(soon), "a deaf peer is answered after all")
	c.close()
	r.settles()
}

func init() {
	bounded := []string{"--request-memory-bytes", allowCallBytes}
	quick := []string{"--grpc-keepalive-interval", "2s", "--grpc-keepalive-timeout", "4s"}
	cases = append(cases,
		pressureCase{name: "big-headers", run: bigHeaders},
		pressureCase{name: "header-flood", run: headerFlood, kedge: bounded},
		pressureCase{name: "resets", run: resets},
		pressureCase{name: "noise", run: noise},
		pressureCase{name: "many-connections", run: manyConnections},
		pressureCase{name: "too-many-connections", run: tooManyConnections, files: 300},
		pressureCase{name: "vanishing", run: vanishing},
		pressureCase{name: "deaf-peer", run: deafPeer, flags: quick, idle: true},
	)
}
