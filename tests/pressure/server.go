// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// server is one program under pressure: kedge, or etcd as the measure of what is sane.
type server struct {
	name string // "kedge" or "etcd"
	addr string
	dir  string
	cmd  *exec.Cmd
	done chan error
}

func (s *server) isKedge() bool { return s.name == "kedge" }

var (
	portLock sync.Mutex
	nextPort = 12000 + rand.Intn(8000)
)

// freePort counts upwards, so that a port is not handed out again while its server is still starting.
func freePort() int {
	portLock.Lock()
	defer portLock.Unlock()
	for {
		nextPort++
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", nextPort))
		if err == nil {
			l.Close()
			return nextPort
		}
	}
}

// startServer runs the program on an empty folder; files limits its descriptors, 0 leaves them alone.
func startServer(name, program, data string, flags []string, files int) (*server, error) {
	dir, err := os.MkdirTemp(data, name+"-")
	if err != nil {
		return nil, err
	}
	s := &server{name: name, addr: fmt.Sprintf("127.0.0.1:%d", freePort()), dir: dir, done: make(chan error, 1)}
	url := "http://" + s.addr
	args := []string{"--data-dir", filepath.Join(dir, "data"), "--listen-client-urls", url,
		"--advertise-client-urls", url, "--log-level", "warn"}
	if s.isKedge() {
		args = append([]string{"serve"}, args...)
	} else {
		peer := fmt.Sprintf("http://127.0.0.1:%d", freePort())
		args = append(args, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", "default="+peer)
	}
	args = append(args, flags...)
	if files > 0 {
		args = append([]string{"-c", fmt.Sprintf("ulimit -n %d; exec \"$0\" \"$@\"", files), program}, args...)
		program = "/bin/sh"
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	s.cmd = exec.Command(program, args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	log.Close()
	go func() { s.done <- s.cmd.Wait() }()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if s.answers() {
			return s, nil
		}
		if len(s.done) > 0 {
			break
		}
	}
	text, _ := os.ReadFile(filepath.Join(dir, "log"))
	s.stop()
	return nil, fmt.Errorf("%s does not start: %s", name, text)
}

func (s *server) answers() bool {
	client := http.Client{Timeout: time.Second}
	r, err := client.Get("http://" + s.addr + "/health")
	if err != nil {
		return false
	}
	defer r.Body.Close()
	return r.StatusCode == 200
}

func (s *server) isAlive() bool { return len(s.done) == 0 }

func (s *server) stop() {
	s.cmd.Process.Kill()
	<-s.done
	s.done <- nil
	os.RemoveAll(s.dir)
}

// dial makes one connection of its own, with windows as large as may be and no limits of its own.
func (s *server) dial(options ...grpc.DialOption) *grpc.ClientConn {
	conn, err := grpc.NewClient("passthrough:///"+s.addr, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)),
	}, options...)...)
	if err != nil {
		panic(err)
	}
	return conn
}

// --- what the process says of itself ---

func (s *server) statusKiB(field string) int64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), field+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return n
		}
	}
	return 0
}

func (s *server) rss() int64     { return s.statusKiB("VmRSS") << 10 }
func (s *server) peakRSS() int64 { return s.statusKiB("VmHWM") << 10 }

// resetPeak makes peakRSS count from now.
func (s *server) resetPeak() {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.cmd.Process.Pid), []byte("5"), 0)
}

// metric sums all series of a name whose labels contain each of the given pieces.
func (s *server) metric(name string, labels ...string) float64 {
	r, err := http.Get("http://" + s.addr + "/metrics")
	if err != nil {
		return math.NaN()
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	sum := 0.0
	for _, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, name+" ") && !strings.HasPrefix(line, name+"{") {
			continue
		}
		fits := true
		for _, label := range labels {
			fits = fits && strings.Contains(line, label)
		}
		if n, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64); err == nil && fits {
			sum += n
		}
	}
	return sum
}

// running counts the calls that have started and not ended.
func (s *server) running() float64 {
	return s.metric("grpc_server_started_total") - s.metric("grpc_server_handled_total")
}

// fill puts count keys under prefix with values of the given size, a few at a time.
func (s *server) fill(prefix string, count, size int) {
	conn := s.dial()
	defer conn.Close()
	kv := pb.NewKVClient(conn)
	next := make(chan int)
	done := make(chan error)
	const workers = 16
	for range workers {
		go func() {
			var failed error
			for i := range next {
				put := &pb.PutRequest{Key: fillKey(prefix, i), Value: fillValue(i, size)}
				_, err := kv.Put(context.Background(), put)
				for tries := 0; err != nil && tries < 10; tries++ { // etcd gives up after 7 s on a busy machine
					_, err = kv.Put(context.Background(), put)
				}
				if err != nil {
					failed = err
				}
			}
			done <- failed
		}()
	}
	for i := range count {
		next <- i
	}
	close(next)
	for range workers {
		if err := <-done; err != nil {
			panic(fmt.Sprintf("cannot fill %s: %v", s.name, err))
		}
	}
}

func fillKey(prefix string, i int) []byte { return fmt.Appendf(nil, "%s%08d", prefix, i) }

// fillValue is different for each i, so that an answer in which two are exchanged is noticed.
func fillValue(i, size int) []byte {
	value := make([]byte, size)
	for at := range value {
		value[at] = byte(i + at*7)
	}
	return value
}
