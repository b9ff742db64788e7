// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const startTimeout = 60 * time.Second

// server is one server, started empty and ended by SIGKILL.
type server struct {
	cmd   *exec.Cmd
	log   string
	conns []*grpc.ClientConn
}

var nextPort = 32000 - rand.Intn(18000)

func freePort() int {
	for {
		if nextPort--; nextPort < 12000 {
			nextPort = 32000
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", nextPort)); err == nil {
			l.Close()
			return nextPort
		}
	}
}

// startServer runs the command with {dir}, {url} and {peer} replaced, and opens connections to it.
func startServer(command, dir string, connections int) (*server, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", freePort())
	words := strings.Fields(strings.NewReplacer("{dir}", filepath.Join(dir, "data"), "{url}", "http://"+addr,
		"{peer}", fmt.Sprintf("http://127.0.0.1:%d", freePort())).Replace(command))
	s := &server{cmd: exec.Command(words[0], words[1:]...), log: filepath.Join(dir, "log")}
	out, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if err := s.awaitReady(addr); err != nil {
		s.stop()
		return nil, err
	}
	for range connections {
		conn, err := connect(addr)
		if err != nil {
			s.stop()
			return nil, err
		}
		s.conns = append(s.conns, conn)
	}
	return s, nil
}

func connect(addr string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30), grpc.WaitForReady(true)))
}

func (s *server) awaitReady(addr string) error {
	conn, err := connect(addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(10 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		a := new(pb.StatusResponse)
		err := conn.Invoke(ctx, "/etcdserverpb.Maintenance/Status", new(pb.StatusRequest), a)
		cancel()
		if err == nil && a.Leader != 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server is not ready after %v: %v\n%s", startTimeout, err, s.logTail())
		}
	}
}

func (s *server) logTail() string {
	b, _ := os.ReadFile(s.log)
	return string(b[max(0, len(b)-3000):])
}

func (s *server) stop() {
	for _, c := range s.conns {
		c.Close()
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
}
