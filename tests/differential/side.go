// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	callTimeout  = 120 * time.Second // on a busy machine; nothing here takes a second by itself
	startTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
	connections  = 3
	// requestBytesDefault is etcd's --max-request-bytes.
	requestBytesDefault = 3 << 19
)

// rawCodec sends and receives bytes as they are, so that a program decides about every byte of a
// request and nothing in an answer is lost by decoding it.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) {
	if b, ok := v.([]byte); ok {
		return b, nil
	}
	return nil, fmt.Errorf("rawCodec: cannot marshal %T", v)
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	if p, ok := v.(*[]byte); ok {
		*p = append([]byte(nil), data...)
		return nil
	}
	return fmt.Errorf("rawCodec: cannot unmarshal into %T", v)
}

func (rawCodec) Name() string { return "proto" }

// answer is what a server said to one request: messages, then a status.
type answer struct {
	msgs [][]byte
	code codes.Code
	text string
}

func (a *answer) setError(err error) {
	s := status.Convert(err)
	a.code, a.text = s.Code(), s.Message()
}

// side is one of the two servers: how to start it, how to talk to it, who it says it is.
type side struct {
	name  string // "A" or "B"
	index int
	url   string
	addr  string
	// command is the template that starts the server; empty when somebody else started it.
	command string
	dir     string
	cmd     *exec.Cmd
	exited  chan error
	// conns are the connections of this client; steps name the one they use. The first also asks for the state.
	conns [connections]*grpc.ClientConn
	raw   *http2.Transport
	// flags are added to command at the next start; requestBytes is what they make of --max-request-bytes.
	flags        []string
	requestBytes int

	memberID, clusterID, term uint64
}

// nextPort counts through the ports below those the kernel hands to outgoing connections. No port comes
// twice in a row: of two servers that were given the same one, both sides would talk to the first.
var (
	nextPort   = 12000 + rand.Intn(20000)
	portsMutex sync.Mutex
)

// freePort picks a port that stays ours while the server that has it is being restarted.
func freePort() (int, error) {
	portsMutex.Lock()
	defer portsMutex.Unlock()
	for range 100 {
		if nextPort++; nextPort >= 32000 {
			nextPort = 12000
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", nextPort))
		if err != nil {
			continue
		}
		return nextPort, l.Close()
	}
	return 0, errors.New("no free port between 12000 and 32000")
}

// fresh gives the server a new, empty data folder and new ports.
func (s *side) fresh(dir string) error {
	if s.command == "" {
		return nil
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	s.dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	s.addr = fmt.Sprintf("127.0.0.1:%d", port)
	s.url = "http://" + s.addr
	return nil
}

// start runs the server, or only connects to it, and learns its ids.
func (s *side) start() error {
	if s.command != "" {
		if err := s.spawn(); err != nil {
			return err
		}
	}
	s.raw = newRawTransport()
	for i := range s.conns {
		if err := s.connect(i); err != nil {
			return err
		}
	}
	return s.awaitReady()
}

func (s *side) connect(i int) error {
	conn, err := grpc.NewClient("passthrough:///"+s.addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1, MaxDelay: 50 * time.Millisecond},
			MinConnectTimeout: 20 * time.Second, // a busy machine takes its time
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)))
	if err != nil {
		return err
	}
	s.conns[i] = conn
	return nil
}

// useFlags sets the flags of the next start.
func (s *side) useFlags(flags []string) {
	s.flags, s.requestBytes = flags, requestBytesDefault
	for _, f := range flags {
		if v, ok := strings.CutPrefix(f, "--max-request-bytes="); ok {
			s.requestBytes, _ = strconv.Atoi(v)
		}
	}
}

func (s *side) spawn() error {
	peer, err := freePort()
	if err != nil {
		return err
	}
	r := strings.NewReplacer("{dir}", filepath.Join(s.dir, "data"), "{url}", s.url,
		"{peer}", fmt.Sprintf("http://127.0.0.1:%d", peer))
	words := strings.Fields(s.command)
	for i := range words {
		words[i] = r.Replace(words[i])
	}
	words = append(words, s.flags...)
	logFile, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	s.cmd = exec.Command(words[0], words[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = logFile, logFile
	// Its own process group, so that an interrupt at the terminal stops this program in order, and it the server.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	cmd, exited := s.cmd, make(chan error, 1)
	s.exited = exited
	go func() { exited <- cmd.Wait() }()
	return nil
}

func (s *side) awaitReady() error {
	deadline := time.Now().Add(startTimeout)
	for {
		resp := new(pb.StatusResponse)
		err := s.ask("/etcdserverpb.Maintenance/Status", &pb.StatusRequest{}, resp, time.Second)
		if err == nil && resp.Leader != 0 {
			return s.learn(resp.Header)
		}
		if s.exited != nil {
			select {
			case e := <-s.exited:
				s.exited <- e
				return fmt.Errorf("server %s ended while starting (%v):\n%s", s.name, e, s.logTail())
			default:
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("server %s at %s is not ready after %v: %v\n%s", s.name, s.addr, startTimeout, err, s.logTail())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// learn keeps the ids of the server, or checks that a restart kept them.
func (s *side) learn(h *pb.ResponseHeader) error {
	if s.memberID == 0 {
		s.memberID, s.clusterID, s.term = h.MemberId, h.ClusterId, h.RaftTerm
		if s.memberID == 0 || s.clusterID == 0 || s.term == 0 {
			return fmt.Errorf("server %s has a zero id or term: %v", s.name, h)
		}
		return nil
	}
	if h.MemberId != s.memberID || h.ClusterId != s.clusterID {
		return fmt.Errorf("server %s changed its ids over a restart: %v", s.name, h)
	}
	if h.RaftTerm < s.term {
		return fmt.Errorf("server %s lowered its term from %d over a restart: %v", s.name, s.term, h)
	}
	s.term = h.RaftTerm
	return nil
}

func (s *side) forget() {
	s.memberID, s.clusterID, s.term = 0, 0, 0
}

// died says whether a server that this program started is gone without having been told to.
func (s *side) died() bool {
	if s.cmd == nil {
		return false
	}
	select {
	case e := <-s.exited:
		s.exited <- e
		return true
	case <-time.After(100 * time.Millisecond):
		return false
	}
}

func (s *side) logTail() string {
	if s.dir == "" {
		return ""
	}
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return ""
	}
	if len(b) > 3000 {
		b = b[len(b)-3000:]
	}
	return string(b)
}

// stop ends the server with a signal and waits for it. The returned text is empty when it ended as
// it should: after SIGTERM with status 0 (or by that signal, which is how etcd ends).
func (s *side) stop(sig syscall.Signal) string {
	if s.raw != nil {
		s.raw.CloseIdleConnections()
	}
	for i, c := range s.conns {
		if c != nil {
			c.Close()
			s.conns[i] = nil
		}
	}
	if s.cmd == nil {
		return ""
	}
	trouble := ""
	select {
	case err := <-s.exited:
		trouble = fmt.Sprintf("server %s had already ended (%v):\n%s", s.name, err, s.logTail())
		s.cmd = nil
		return trouble
	default:
	}
	s.cmd.Process.Signal(sig)
	select {
	case err := <-s.exited:
		var ee *exec.ExitError
		if err != nil && sig == syscall.SIGTERM && errors.As(err, &ee) {
			if ws, ok := ee.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() || ws.Signal() != sig {
				trouble = fmt.Sprintf("server %s ended badly after SIGTERM: %v\n%s", s.name, err, s.logTail())
			}
		}
	case <-time.After(stopTimeout):
		trouble = fmt.Sprintf("server %s did not end within %v of %v", s.name, stopTimeout, sig)
		s.cmd.Process.Kill()
		<-s.exited
	}
	s.cmd = nil
	return trouble
}

func (s *side) ask(method string, req, resp proto.Message, timeout time.Duration) error {
	raw, err := proto.Marshal(req)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var out []byte
	if err := s.conns[0].Invoke(ctx, method, raw, &out, grpc.ForceCodec(rawCodec{})); err != nil {
		return err
	}
	return proto.Unmarshal(out, resp)
}

func (s *side) context(o *op) (context.Context, context.CancelFunc) {
	timeout := callTimeout
	if o.Micros > 0 && o.Kind == opDeadline {
		timeout = time.Duration(o.Micros) * time.Microsecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	if len(o.Meta) > 0 {
		ctx = metadata.NewOutgoingContext(ctx, metadata.New(o.Meta))
	}
	return ctx, cancel
}

func callOptions(o *op) []grpc.CallOption {
	opts := []grpc.CallOption{grpc.ForceCodec(rawCodec{})}
	if o.Gzip {
		opts = append(opts, grpc.UseCompressor(gzip.Name))
	}
	return opts
}

// message is the request of a step as this server gets it: with its own member id in it, and padded with an
// unknown field to the size the step asks for.
func (s *side) message(o *op) []byte {
	raw := putSelf(o.Method, o.Req, s.memberID)
	if o.Pad == 0 {
		return raw
	}
	// What is measured is the request as it goes into the raft log: with a number made of the member id.
	number := protowire.SizeVarint((s.memberID&0xffff)<<48 | 1<<47)
	size := s.requestBytes + o.Pad - padBias
	size -= 2 + 1 + 1 + number + 1 + protowire.SizeVarint(uint64(size))
	rest := size - len(raw) - protowire.SizeTag(padField) - 1
	if rest < 0 {
		return raw
	}
	for protowire.SizeBytes(rest) > size-len(raw)-protowire.SizeTag(padField) {
		rest--
	}
	raw = protowire.AppendTag(append([]byte(nil), raw...), padField, protowire.BytesType)
	return protowire.AppendBytes(raw, make([]byte, rest))
}

// unary sends one request and returns the answer.
func (s *side) unary(o *op) *answer {
	ctx, cancel := s.context(o)
	defer cancel()
	a := new(answer)
	var out []byte
	err := s.conns[o.Conn].Invoke(ctx, o.Method, s.message(o), &out, callOptions(o)...)
	if err != nil {
		a.setError(err)
		return a
	}
	a.msgs = [][]byte{out}
	return a
}

// exchange sends the messages on one stream, half-closes it, and reads until the end, or until
// maxAnswers messages came.
func (s *side) exchange(o *op, reqs [][]byte, maxAnswers int) *answer {
	ctx, cancel := s.context(o)
	defer cancel()
	a := new(answer)
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	st, err := s.conns[o.Conn].NewStream(ctx, desc, o.Method, callOptions(o)...)
	if err != nil {
		a.setError(err)
		return a
	}
	for _, r := range reqs {
		if err := st.SendMsg(r); err != nil {
			break // the status tells why
		}
	}
	st.CloseSend()
	for {
		var out []byte
		err := st.RecvMsg(&out)
		if errors.Is(err, io.EOF) {
			return a
		}
		if err != nil {
			a.setError(err)
			return a
		}
		a.msgs = append(a.msgs, out)
		if maxAnswers > 0 && len(a.msgs) >= maxAnswers {
			return a
		}
	}
}
