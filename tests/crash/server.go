// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	startTimeout = 5 * time.Minute // a machine may be busy; nothing here is about speed
	stopTimeout  = 5 * time.Minute
	callTimeout  = 2 * time.Minute
)

// server is the process under test: how it is started, and the one that runs now.
type server struct {
	command string // a template: {dir}, {url}, {peer}
	dir     string // holds data/ and the log
	addr    string
	peer    string
	cmd     *exec.Cmd
	ended   chan struct{} // closed when cmd was waited for
	spawned time.Time     // before the process existed: no lease of it can be older

	memberID, clusterID, term uint64
	usualStart                time.Duration // a running mean, for kills that aim at the start
}

var nextPort = 12000 + os.Getpid()%20000

// freePort stays below the ports that the kernel hands to outgoing connections, so that a server that is
// down finds its port free again.
func freePort() (string, error) {
	for range 200 {
		if nextPort++; nextPort >= 32000 {
			nextPort = 12000
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", nextPort))
		if err != nil {
			continue
		}
		return fmt.Sprintf("127.0.0.1:%d", nextPort), l.Close()
	}
	return "", errors.New("no free port between 12000 and 32000")
}

// fresh gives the server a new, empty folder and new ports.
func (s *server) fresh(dir string) error {
	var err error
	if s.addr, err = freePort(); err != nil {
		return err
	}
	if s.peer, err = freePort(); err != nil {
		return err
	}
	s.dir = dir
	s.memberID, s.clusterID, s.term = 0, 0, 0
	return os.MkdirAll(dir, 0o700)
}

func (s *server) dataDir() string { return filepath.Join(s.dir, "data") }

func (s *server) spawn() error {
	words := strings.Fields(s.command)
	r := strings.NewReplacer("{dir}", s.dataDir(), "{url}", "http://"+s.addr, "{peer}", "http://"+s.peer)
	for i := range words {
		words[i] = r.Replace(words[i])
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	// Its own group, so that an interrupt at the terminal reaches this program first.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.spawned = time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	s.cmd, s.ended = cmd, ended
	go func() { cmd.Wait(); close(ended) }()
	return nil
}

// start runs the server and waits until it answers.
func (s *server) start() error {
	if err := s.spawn(); err != nil {
		return err
	}
	if err := s.awaitReady(); err != nil {
		return err
	}
	took := time.Since(s.spawned)
	if s.usualStart == 0 {
		s.usualStart = took
	}
	s.usualStart = (4*s.usualStart + took) / 5
	return nil
}

func (s *server) awaitReady() error {
	for deadline := s.spawned.Add(startTimeout); ; {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			c.Close()
			break
		}
		if s.hasEnded() {
			return fmt.Errorf("the server ended while it started (%v):\n%s", s.cmd.ProcessState, s.logTail())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server does not listen after %v:\n%s", startTimeout, s.logTail())
		}
		time.Sleep(2 * time.Millisecond)
	}
	conn, err := s.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	for deadline := s.spawned.Add(startTimeout); ; time.Sleep(5 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		resp, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
		cancel()
		if err == nil && resp.Leader != 0 {
			return s.learn(resp.Header)
		}
		if s.hasEnded() || time.Now().After(deadline) {
			return fmt.Errorf("the server does not become ready: %v\n%s", err, s.logTail())
		}
	}
}

// learn keeps who the server says it is, or checks that a restart kept it.
func (s *server) learn(h *pb.ResponseHeader) error {
	if s.memberID == 0 {
		s.memberID, s.clusterID, s.term = h.MemberId, h.ClusterId, h.RaftTerm
		return nil
	}
	if h.MemberId != s.memberID || h.ClusterId != s.clusterID {
		return fmt.Errorf("the ids changed over a restart: %v", h)
	}
	if h.RaftTerm < s.term {
		return fmt.Errorf("the term fell from %d over a restart: %v", s.term, h)
	}
	s.term = h.RaftTerm
	return nil
}

func (s *server) dial() (*grpc.ClientConn, error) {
	wait := backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1, MaxDelay: 10 * time.Millisecond}
	return grpc.NewClient("passthrough:///"+s.addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: wait, MinConnectTimeout: startTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)))
}

func (s *server) hasEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// kill is SIGKILL, at once and from any goroutine.
func (s *server) kill() { s.cmd.Process.Signal(syscall.SIGKILL) }

// await waits for the end of a process that was told to end, and says what is wrong with how it ended.
func (s *server) await(sig syscall.Signal) error {
	select {
	case <-s.ended:
	case <-time.After(stopTimeout):
		s.kill()
		<-s.ended
		return fmt.Errorf("the server did not end within %v of %v", stopTimeout, sig)
	}
	ws := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() && ws.Signal() == sig || sig == syscall.SIGTERM && ws.Exited() && ws.ExitStatus() == 0 {
		return nil
	}
	return fmt.Errorf("the server ended by itself (%v):\n%s", s.cmd.ProcessState, s.logTail())
}

func (s *server) logTail() string {
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return ""
	}
	return string(b[max(0, len(b)-6000):])
}
