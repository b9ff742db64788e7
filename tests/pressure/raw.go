// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
)

// raw is a client that does only what it is told: it keeps no flow control window open, answers no
// PING unless asked to, and reads nothing before listen().
type raw struct {
	conn   net.Conn
	framer *http2.Framer
	encode *hpack.Encoder
	block  bytes.Buffer
	nextID uint32
	wmu    sync.Mutex // one frame at a time

	mu      sync.Mutex
	changed *sync.Cond
	streams map[uint32]*rawStream
	set     map[http2.SettingID]uint32
	goaway  string         // "code debug-data", or empty
	acks    int            // of our PINGs
	pings   int            // of the server
	room    map[uint32]int // what the server's windows still let us send; 0 is the connection
	closed  bool           // the server has closed the connection
	mute    bool           // PINGs are not answered
	credit  bool           // what is read is given back to both windows
}

type rawStream struct {
	status string // grpc-status
	text   string // grpc-message
	http   string // :status
	data   int
	body   []byte // what came, while keep is set
	keep   bool
	ended  bool
	rst    string // error code of RST_STREAM, or empty
}

func (s *server) rude(windowBytes uint32) *raw {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		panic(err)
	}
	r := &raw{conn: conn, framer: http2.NewFramer(conn, conn), nextID: 1, streams: map[uint32]*rawStream{},
		set: map[http2.SettingID]uint32{}, room: map[uint32]int{0: 65535}}
	r.changed = sync.NewCond(&r.mu)
	r.encode = hpack.NewEncoder(&r.block)
	r.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.framer.AllowIllegalWrites = true
	conn.Write([]byte(http2.ClientPreface))
	r.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: windowBytes})
	return r
}

// write sends with the framer to itself.
func (r *raw) write(send func(f *http2.Framer) error) error {
	r.wmu.Lock()
	defer r.wmu.Unlock()
	return send(r.framer)
}

func (r *raw) ping(i int) error {
	return r.write(func(f *http2.Framer) error { return f.WritePing(false, [8]byte{byte(i), byte(i >> 8)}) })
}

func (r *raw) window(id uint32, bytes uint32) error {
	return r.write(func(f *http2.Framer) error { return f.WriteWindowUpdate(id, bytes) })
}

func (r *raw) reset(id uint32) error {
	return r.write(func(f *http2.Framer) error { return f.WriteRSTStream(id, http2.ErrCodeCancel) })
}

func (r *raw) close() { r.conn.Close() }

// vanish closes with a TCP reset.
func (r *raw) vanish() {
	r.conn.(*net.TCPConn).SetLinger(0)
	r.conn.Close()
}

// --- what it sends ---

func (r *raw) header(path string, more ...string) []byte {
	fields := []string{":method", "POST", ":scheme", "http", ":path", path, ":authority", "localhost",
		"content-type", "application/grpc", "te", "trailers"}
	r.block.Reset()
	fields = append(fields, more...)
	for i := 0; i < len(fields); i += 2 {
		r.encode.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return r.block.Bytes()
}

// open starts a call and gives its stream's id.
func (r *raw) open(path string, more ...string) uint32 {
	id := r.nextID
	r.nextID += 2
	r.mu.Lock()
	r.streams[id] = &rawStream{}
	r.mu.Unlock()
	r.write(func(f *http2.Framer) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.header(path, more...), EndHeaders: true})
	})
	return id
}

func framed(message []byte) []byte {
	out := make([]byte, 5, 5+len(message))
	binary.BigEndian.PutUint32(out[1:], uint32(len(message)))
	return append(out, message...)
}

func (r *raw) data(id uint32, bytes []byte, end bool) error {
	const frameBytes = 16384
	for len(bytes) > frameBytes {
		if err := r.write(func(f *http2.Framer) error { return f.WriteData(id, false, bytes[:frameBytes]) }); err != nil {
			return err
		}
		bytes = bytes[frameBytes:]
	}
	return r.write(func(f *http2.Framer) error { return f.WriteData(id, end, bytes) })
}

// dataWithin sends as much as the server's windows allow and waits for more of them, but never longer
// than the limit; true when all was sent.
func (r *raw) dataWithin(id uint32, bytes []byte, end bool, limit time.Duration) bool {
	const frameBytes = 16384
	for {
		room := 0
		ok := r.wait(limit, func() bool {
			first, said := r.set[http2.SettingInitialWindowSize]
			if !said {
				first = 65535
			}
			room = min(r.room[0], r.room[id]+int(first), frameBytes, len(bytes))
			return room > 0 || len(bytes) == 0 || r.streams[id].ended
		})
		if !ok || r.streams[id].ended {
			return false
		}
		r.mu.Lock()
		r.room[0] -= room
		r.room[id] -= room
		r.mu.Unlock()
		if r.data(id, bytes[:room], end && room == len(bytes)) != nil {
			return false
		}
		if bytes = bytes[room:]; len(bytes) == 0 {
			return true
		}
	}
}

// call sends a whole unary request.
func (r *raw) call(path string, request proto.Message, more ...string) uint32 {
	id := r.open(path, more...)
	r.data(id, framed(packed(request)), true)
	return id
}

func packed(message proto.Message) []byte {
	out, err := proto.Marshal(message)
	if err != nil {
		panic(err)
	}
	return out
}

// --- what it hears ---

// listen reads in the background from now on.
func (r *raw) listen() *raw {
	go func() {
		for {
			frame, err := r.framer.ReadFrame()
			r.mu.Lock()
			var stream http2.StreamError
			if errors.As(err, &stream) {
				err = nil // our own framer's opinion
			} else if err == nil {
				r.hear(frame)
			}
			r.closed = err != nil
			r.changed.Broadcast()
			r.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return r
}

func (r *raw) hear(frame http2.Frame) {
	s := r.streams[frame.Header().StreamID]
	if s == nil {
		s = &rawStream{}
		r.streams[frame.Header().StreamID] = s
	}
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			f.ForeachSetting(func(one http2.Setting) error { r.set[one.ID] = one.Val; return nil })
			go r.write(func(f *http2.Framer) error { return f.WriteSettingsAck() })
		}
	case *http2.MetaHeadersFrame:
		for _, field := range f.Fields {
			switch field.Name {
			case ":status":
				s.http = field.Value
			case "grpc-status":
				s.status = field.Value
			case "grpc-message":
				s.text = field.Value
			}
		}
		s.end(f.StreamEnded())
	case *http2.DataFrame:
		s.data += len(f.Data())
		if s.keep {
			s.body = append(s.body, f.Data()...)
		}
		s.end(f.StreamEnded())
		if n := f.Length; r.credit && n > 0 {
			r.window(0, n)
			if !s.ended {
				r.window(f.StreamID, n)
			}
		}
	case *http2.WindowUpdateFrame:
		r.room[f.StreamID] += int(f.Increment)
	case *http2.RSTStreamFrame:
		s.rst = f.ErrCode.String()
		s.end(true)
	case *http2.GoAwayFrame:
		r.goaway = f.ErrCode.String() + " " + string(f.DebugData())
	case *http2.PingFrame:
		if f.IsAck() {
			r.acks++
		} else {
			r.pings++
			if !r.mute {
				r.write(func(w *http2.Framer) error { return w.WritePing(true, f.Data) })
			}
		}
	}
}

func (s *rawStream) end(ended bool) {
	s.ended = s.ended || ended
}

// wait until the condition holds, with the lock held; false when it never does.
func (r *raw) wait(limit time.Duration, condition func() bool) bool {
	timer := time.AfterFunc(limit, func() { r.mu.Lock(); r.changed.Broadcast(); r.mu.Unlock() })
	defer timer.Stop()
	end := time.Now().Add(limit)
	r.mu.Lock()
	defer r.mu.Unlock()
	for !condition() {
		if r.closed || time.Now().After(end) {
			return condition()
		}
		r.changed.Wait()
	}
	return true
}

// outcome of a call in words that can be compared: its status, its reset, or that it goes on.
func (r *raw) outcome(id uint32, limit time.Duration) string {
	r.wait(limit, func() bool { return r.streams[id].ended })
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.streams[id]
	switch {
	case s.status != "":
		return fmt.Sprintf("status %s %q", s.status, s.text)
	case s.rst != "":
		return "reset " + s.rst
	case s.ended:
		return "ended, HTTP " + s.http
	case r.goaway != "":
		return "goaway " + r.goaway
	case r.closed:
		return "connection closed"
	}
	return "goes on"
}

func (r *raw) isClosed(limit time.Duration) bool {
	return r.wait(limit, func() bool { return r.closed })
}

func (r *raw) goawayText(limit time.Duration) string {
	r.wait(limit, func() bool { return r.goaway != "" })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.goaway
}

func unpack(bytes []byte, into proto.Message) {
	if err := proto.Unmarshal(bytes, into); err != nil {
		panic(err)
	}
}
