// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// restoreBump is how far a restore moves the revision forward.
const restoreBump = 1_000_000_000

// snapshot is a copy that was taken under load and came over whole.
type snapshot struct {
	floor int64 // a revision it must hold
	data  []byte
}

func takeSnapshot(ctx context.Context, c *grpc.ClientConn) ([]byte, error) {
	st, err := pb.NewMaintenanceClient(c).Snapshot(ctx, &pb.SnapshotRequest{})
	if err != nil {
		return nil, err
	}
	var data []byte
	for {
		resp, err := st.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		data = append(data, resp.Blob...)
	}
	n := len(data) - sha256.Size
	if n < 0 || sha256.Sum256(data[:n]) != [sha256.Size]byte(data[n:]) {
		return nil, errors.New("a whole snapshot does not end with its checksum")
	}
	return data[:n], nil
}

// checkSnapshot restores the copy, serves it, and compares what it holds with the history: it must be one
// state that the store was in while the copy was made.
func (d *load) checkSnapshot(restore string) error {
	l := d.l
	copied := &server{command: d.srv.command}
	dir := filepath.Join(d.srv.dir, "restored")
	os.RemoveAll(dir)
	if err := copied.fresh(dir); err != nil {
		return err
	}
	file := filepath.Join(dir, "snapshot")
	if err := os.WriteFile(file, d.snapshot.data, 0o600); err != nil {
		return err
	}
	words := strings.Fields(strings.NewReplacer("{file}", file, "{dir}", copied.dataDir()).Replace(restore))
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		l.problem("a snapshot cannot be restored: %v\n%s", err, out)
		return nil
	}
	if err := copied.start(); err != nil {
		return err
	}
	defer func() { copied.kill(); <-copied.ended }()
	c, err := copied.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	resp, err := pb.NewKVClient(c).Range(context.Background(), &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	if err != nil {
		return err
	}
	rev := resp.Header.Revision - restoreBump
	if d.faults.is("snapshot") && len(resp.Kvs) > 0 {
		resp.Kvs = resp.Kvs[1:]
	}
	if rev < d.snapshot.floor || rev > l.m.head {
		l.problem("a snapshot holds revision %d, but was made between %d and %d", rev, d.snapshot.floor, l.m.head)
		return nil
	}
	if want := l.m.live("", "\x00", rev); !sameKVs(resp.Kvs, want) {
		return fmt.Errorf("a snapshot of revision %d restored:\n  found%s\n  wants%s", rev, showKVs(resp.Kvs), showKVs(want))
	}
	return nil
}
