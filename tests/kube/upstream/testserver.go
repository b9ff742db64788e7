// SPDX-License-Identifier: Apache-2.0

// Package testserver takes the place of k8s.io/apiserver/pkg/storage/etcd3/testserver when
// upstream/build.sh compiles Kubernetes' storage tests. The original runs etcd inside the test; this one
// runs the program that KEDGE_TEST_STORE names, so that the same tests judge any store.
package testserver

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.etcd.io/etcd/server/v3/embed"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 10 * time.Second
)

// Tests run in parallel; a port is taken from its draw until its server listens.
var starting sync.Mutex

// NewTestConfig returns what the tests may change before they call RunEtcd. Only the fields that are
// passed on by arguments have an effect.
func NewTestConfig(t testing.TB) *embed.Config {
	t.Helper()
	config := embed.NewConfig()
	config.Dir = t.TempDir()
	if err := os.Chmod(config.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	config.UnsafeNoFsync = true
	client, peer := freeURL(t), freeURL(t)
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	return config
}

// RunEtcd starts the program and returns a client whose requests are counted, as the tests expect.
func RunEtcd(t testing.TB, config *embed.Config) *kubernetes.Client {
	t.Helper()
	starting.Lock()
	defer starting.Unlock()
	if config == nil {
		config = NewTestConfig(t)
	}
	program := os.Getenv("KEDGE_TEST_STORE")
	if program == "" {
		t.Fatal("KEDGE_TEST_STORE does not name the program to test")
	}
	run(t, program, arguments(config))

	tlsConfig, err := config.ClientTLSInfo.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.New(clientv3.Config{
		Endpoints:   strings.Split(urls(config.AdvertiseClientUrls), ","),
		DialTimeout: 10 * time.Second,
		TLS:         tlsConfig,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if _, err := client.KV.Get(ctx, "is it up", clientv3.WithCountOnly()); err != nil {
		t.Fatalf("%s does not answer: %v", program, err)
	}
	lists := storagetesting.NewKubernetesRecorder(client.Kubernetes)
	client.KV = storagetesting.NewKVRecorder(client.KV, lists)
	client.Kubernetes = lists
	return client
}

func freeURL(t testing.TB) url.URL {
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return url.URL{Scheme: "http", Host: "localhost:" + port}
}

func urls(list []url.URL) string {
	texts := make([]string, len(list))
	for i := range list {
		texts[i] = list[i].String()
	}
	return strings.Join(texts, ",")
}

func arguments(config *embed.Config) []string {
	args := []string{
		"--name", config.Name, "--data-dir", config.Dir,
		"--listen-client-urls", urls(config.ListenClientUrls),
		"--advertise-client-urls", urls(config.AdvertiseClientUrls),
		"--listen-peer-urls", urls(config.ListenPeerUrls),
		"--initial-advertise-peer-urls", urls(config.AdvertisePeerUrls),
		"--initial-cluster", config.InitialCluster,
		"--watch-progress-notify-interval", config.WatchProgressNotifyInterval.String(),
		"--quota-backend-bytes", fmt.Sprint(config.QuotaBackendBytes),
		"--log-level", "warn",
	}
	if config.UnsafeNoFsync {
		args = append(args, "--unsafe-no-fsync")
	}
	tls := config.ClientTLSInfo
	for flag, file := range map[string]string{
		"--cert-file": tls.CertFile, "--key-file": tls.KeyFile, "--trusted-ca-file": tls.TrustedCAFile,
	} {
		if file != "" {
			args = append(args, flag, file)
		}
	}
	return args
}

// run starts the program; it ends with the test, and the test fails when it ends earlier.
func run(t testing.TB, program string, args []string) {
	t.Helper()
	var output bytes.Buffer
	command := exec.Command(program, args...)
	command.Stdout, command.Stderr = &output, &output
	// A test that runs out of time ends without its clean-up.
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	t.Cleanup(func() {
		select {
		case err := <-ended:
			t.Errorf("%s ended before the test: %v\n%s", program, err, output.String())
			return
		default:
		}
		_ = command.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(stopTimeout):
			_ = command.Process.Kill()
			<-ended
			t.Errorf("%s did not end within %s", program, stopTimeout)
		}
	})
}
