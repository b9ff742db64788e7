// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// An entry of the ledger is one write whose answer is known ("acked") or may have been lost ("unknown").
type entry struct {
	Name    string `json:"name"`
	Op      string `json:"op"`
	Outcome string `json:"outcome"`
	RV      string `json:"rv,omitempty"`
	Digest  string `json:"digest,omitempty"`
	Note    string `json:"note,omitempty"`
}

const (
	acked    = "acked"
	unknown  = "unknown"
	violated = "violated"
	rejected = "rejected"
)

// Every name belongs to one worker for ever and is never used again after a delete or an unknown outcome;
// so the expected state of a name is always one known state, or one of two after an unknown outcome.
type worker struct {
	api    *apiClient
	book   *ledger
	random *rand.Rand
	id     int
	born   int
	limit  int
	live   []configMap
}

type ledger struct {
	mu       sync.Mutex
	file     *os.File
	out      *bufio.Writer
	counts   map[string]int
	delays   []time.Duration
	lastAck  time.Time
	longest  time.Duration
	highest  int64
	failures int
}

func newLedger(path string) (*ledger, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &ledger{file: file, out: bufio.NewWriter(file), counts: map[string]int{}, lastAck: time.Now()}, nil
}

func (l *ledger) record(e entry, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Outcome == rejected {
		l.counts["refused for now"]++
		return
	}
	raw, err := json.Marshal(e)
	if err == nil {
		_, err = l.out.Write(append(raw, '\n'))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "kubeload write: the ledger cannot be written: %v\n", err)
		os.Exit(1)
	}
	l.counts[e.Op+" "+e.Outcome]++
	if e.Outcome == violated {
		l.failures++
		if l.failures <= maxReports {
			fmt.Fprintf(os.Stderr, "  %s of %s: %s\n", e.Op, e.Name, e.Note)
		}
	}
	if e.Outcome != acked {
		return
	}
	now := time.Now()
	if gap := now.Sub(l.lastAck); gap > l.longest {
		l.longest = gap
	}
	l.lastAck = now
	l.delays = append(l.delays, took)
	if rv := revision(e.RV); rv > l.highest {
		l.highest = rv
	}
}

func (l *ledger) close() error {
	if err := l.out.Flush(); err != nil {
		return err
	}
	return l.file.Close()
}

func (l *ledger) summary() {
	l.mu.Lock()
	defer l.mu.Unlock()
	sort.Slice(l.delays, func(i, j int) bool { return l.delays[i] < l.delays[j] })
	names := make([]string, 0, len(l.counts))
	for name := range l.counts {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Printf("%-20s %d\n", name, l.counts[name])
	}
	if n := len(l.delays); n > 0 {
		fmt.Printf("%-20s %d (p50 %s, p99 %s, longest pause between two %s)\n", "acknowledged writes", n,
			l.delays[n/2].Round(time.Millisecond/10), l.delays[n*99/100].Round(time.Millisecond/10),
			l.longest.Round(time.Millisecond))
	}
}

func runWrite(o options) error {
	if o.workers < 1 || o.names < 2 || o.rate < 1 {
		return fmt.Errorf("--workers and --rate must be at least 1, --names at least 2")
	}
	api, err := newAPIClient(o)
	if err != nil {
		return err
	}
	book, err := newLedger(o.ledgerFile())
	if err != nil {
		return err
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	watching := startWatcher(api)

	tick := time.NewTicker(time.Second / time.Duration(o.rate))
	defer tick.Stop()
	var all sync.WaitGroup
	for i := 0; i < o.workers; i++ {
		w := &worker{api: api, book: book, random: rand.New(rand.NewSource(o.seed + int64(i))), id: i, limit: o.names}
		all.Add(1)
		go func() {
			defer all.Done()
			for {
				select {
				case <-stop.Done():
					return
				case <-tick.C:
					w.step()
				}
			}
		}()
	}
	all.Wait()
	if err := book.close(); err != nil {
		return err
	}
	if err := watching.finish(book.highest, o.watchFile()); err != nil {
		return err
	}
	book.summary()
	if book.failures > 0 {
		return fmt.Errorf("%d writes were answered as only a lost or doubled write explains", book.failures)
	}
	return nil
}

func (w *worker) step() {
	switch dice := w.random.Intn(100); {
	// Half the names are made first, so that there is always one to change below.
	case len(w.live) < w.limit/2 || (dice < 20 && len(w.live) < w.limit):
		w.create()
	case dice < 70:
		w.update(w.random.Intn(len(w.live)), false)
	case dice < 80:
		w.update(w.random.Intn(len(w.live)), true)
	case dice < 90:
		w.read(w.random.Intn(len(w.live)))
	default:
		w.remove(w.random.Intn(len(w.live)))
	}
}

var sequence atomic.Int64

// Mostly small values, now and then a large one: sizes up to 64 KiB.
func (w *worker) newData() map[string]string {
	size := 32 << w.random.Intn(6)
	if w.random.Intn(50) == 0 {
		size = 32 << 10
	}
	raw := make([]byte, size)
	_, _ = w.random.Read(raw)
	return map[string]string{"seq": strconv.FormatInt(sequence.Add(1), 10), "payload": hex.EncodeToString(raw)}
}

// outcome sorts an answer: a 404 or 409 for a name that nobody else touches can only come from a write that
// was lost or doubled; 403, 429 and a refused connection come before anything was done; after any other error
// nobody knows.
func outcome(status int, raw []byte, err error) (string, string) {
	var refused *net.OpError
	switch {
	case errors.As(err, &refused) && refused.Op == "dial":
		return rejected, ""
	case err != nil:
		return unknown, err.Error()
	case status >= 200 && status < 300:
		return acked, ""
	case status == http.StatusForbidden || status == http.StatusTooManyRequests:
		return rejected, ""
	case status >= 500:
		return unknown, fmt.Sprintf("status %d: %s", status, firstBytes(raw))
	}
	return violated, fmt.Sprintf("status %d: %s", status, firstBytes(raw))
}

// finish books one write and returns the stored object when it was acknowledged.
func (w *worker) finish(e entry, start time.Time, status int, raw []byte, err error) (configMap, string) {
	var got configMap
	e.Outcome, e.Note = outcome(status, raw, err)
	if e.Outcome == acked && e.Op != "delete" {
		if err := json.Unmarshal(raw, &got); err != nil || digest(got.Data) != e.Digest {
			e.Outcome, e.Note = violated, "the answer does not carry what was written: "+firstBytes(raw)
		}
		e.RV = got.Metadata.ResourceVersion
	}
	w.book.record(e, time.Since(start))
	if e.Outcome == rejected {
		time.Sleep(200 * time.Millisecond)
	}
	return got, e.Outcome
}

func (w *worker) create() {
	w.born++
	cm := configMap{APIVersion: "v1", Kind: "ConfigMap", Data: w.newData()}
	cm.Metadata = meta{Name: fmt.Sprintf("w%d-%d", w.id, w.born), Namespace: namespace}
	start := time.Now()
	status, raw, err := w.api.request(http.MethodPost, configMapsPath(), "application/json", cm)
	got, result := w.finish(entry{Name: cm.Metadata.Name, Op: "create", Digest: digest(cm.Data)}, start, status, raw, err)
	if result == acked {
		w.live = append(w.live, got)
	}
}

// An update is a PUT on the revision last seen, or a merge patch without one.
func (w *worker) update(i int, patch bool) {
	cm := w.live[i]
	cm.APIVersion, cm.Kind, cm.Data = "v1", "ConfigMap", w.newData()
	path := configMapsPath() + "/" + cm.Metadata.Name
	start := time.Now()
	var status int
	var raw []byte
	var err error
	if patch {
		body := map[string]any{"data": cm.Data}
		status, raw, err = w.api.request(http.MethodPatch, path, "application/merge-patch+json", body)
	} else {
		status, raw, err = w.api.request(http.MethodPut, path, "application/json", cm)
	}
	got, result := w.finish(entry{Name: cm.Metadata.Name, Op: "update", Digest: digest(cm.Data)}, start, status, raw, err)
	switch result {
	case acked:
		w.live[i] = got
	case unknown, violated:
		w.retire(i)
	}
}

func (w *worker) remove(i int) {
	name := w.live[i].Metadata.Name
	start := time.Now()
	status, raw, err := w.api.request(http.MethodDelete, configMapsPath()+"/"+name, "", nil)
	if _, result := w.finish(entry{Name: name, Op: "delete"}, start, status, raw, err); result != rejected {
		w.retire(i)
	}
}

// read checks at once that an acknowledged write can be read back; errors while the store is down say nothing.
func (w *worker) read(i int) {
	want := w.live[i]
	status, raw, err := w.api.request(http.MethodGet, configMapsPath()+"/"+want.Metadata.Name, "", nil)
	if err != nil || status >= 500 || status == http.StatusTooManyRequests || status == http.StatusForbidden {
		return
	}
	var got configMap
	err = json.Unmarshal(raw, &got)
	if err == nil && status == http.StatusOK && digest(got.Data) == digest(want.Data) &&
		got.Metadata.ResourceVersion == want.Metadata.ResourceVersion {
		return
	}
	note := fmt.Sprintf("wanted revision %s, got status %d: %s", want.Metadata.ResourceVersion, status, firstBytes(raw))
	w.book.record(entry{Name: want.Metadata.Name, Op: "read", Outcome: violated, Note: note}, 0)
	w.retire(i)
}

func (w *worker) retire(i int) {
	w.live[i] = w.live[len(w.live)-1]
	w.live = w.live[:len(w.live)-1]
}
