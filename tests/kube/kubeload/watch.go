// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

const catchUpTimeout = 90 * time.Second

// The watcher does what every controller does: list, watch from there, and list again only when told that
// the revision is gone. What it may have missed is then the span between the two, kept as a gap.
type watchRecord struct {
	Seen       []int64          `json:"seen"`
	Gaps       [][2]int64       `json:"gaps"`
	Store      map[string]int64 `json:"store"`
	Disorder   []string         `json:"disorder"`
	Reconnects int              `json:"reconnects"`
	Relists    int              `json:"relists"`
}

type watcher struct {
	api    *apiClient
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	last int64
	rec  watchRecord
}

var errGone = errors.New("the revision is compacted")

func startWatcher(api *apiClient) *watcher {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{api: api, cancel: cancel, done: make(chan struct{})}
	w.rec.Store = map[string]int64{}
	go func() {
		defer close(w.done)
		fresh := true
		for ctx.Err() == nil {
			if fresh {
				fresh = w.relist() != nil
			} else {
				fresh = errors.Is(w.follow(ctx), errGone)
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return w
}

func (w *watcher) relist() error {
	items, at, err := list[configMap](w.api, configMapsPath(), "", paged())
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := revision(at)
	if now < w.last {
		w.rec.Disorder = append(w.rec.Disorder, fmt.Sprintf("a list at %d after an event at %d", now, w.last))
	}
	w.rec.Store = map[string]int64{}
	for _, cm := range items {
		w.rec.Store[cm.Metadata.Name] = revision(cm.Metadata.ResourceVersion)
	}
	w.rec.Gaps = append(w.rec.Gaps, [2]int64{w.last, now})
	w.rec.Relists++
	w.last = now
	return nil
}

type watchEvent struct {
	Type   string `json:"type"`
	Object struct {
		Metadata meta `json:"metadata"`
		Code     int  `json:"code"`
	} `json:"object"`
}

func (w *watcher) follow(ctx context.Context) error {
	w.mu.Lock()
	from := w.last
	w.rec.Reconnects++
	w.mu.Unlock()
	path := w.api.base + configMapsPath() + "?watch=true&allowWatchBookmarks=true&resourceVersion=" +
		strconv.FormatInt(from, 10)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	resp, err := w.api.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusGone {
		return errGone
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	decoder := json.NewDecoder(bufio.NewReader(resp.Body))
	for {
		var ev watchEvent
		if err := decoder.Decode(&ev); err != nil {
			return err
		}
		if ev.Type == "ERROR" {
			if ev.Object.Code == http.StatusGone {
				return errGone
			}
			return fmt.Errorf("watch error %d", ev.Object.Code)
		}
		w.take(ev)
	}
}

func (w *watcher) take(ev watchEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := revision(ev.Object.Metadata.ResourceVersion)
	name := ev.Object.Metadata.Name
	if ev.Type == "BOOKMARK" {
		if at < w.last {
			w.rec.Disorder = append(w.rec.Disorder, fmt.Sprintf("a bookmark at %d after an event at %d", at, w.last))
		}
		w.last = max(w.last, at)
		return
	}
	if at <= w.last {
		w.rec.Disorder = append(w.rec.Disorder, fmt.Sprintf("%s of %s at %d after %d", ev.Type, name, at, w.last))
		return
	}
	_, known := w.rec.Store[name]
	if known != (ev.Type != "ADDED") {
		w.rec.Disorder = append(w.rec.Disorder, fmt.Sprintf("%s of %s at %d, but known is %t", ev.Type, name, at, known))
	}
	w.last = at
	w.rec.Seen = append(w.rec.Seen, at)
	if ev.Type == "DELETED" {
		delete(w.rec.Store, name)
	} else {
		w.rec.Store[name] = at
	}
}

// finish waits until the watch has passed the last acknowledged write. The last write of all may be a
// delete, whose revision its answer does not tell; one more write behind it ends the doubt.
func (w *watcher) finish(highest int64, file string) error {
	deadline := time.Now().Add(catchUpTimeout)
	mark := int64(0)
	for {
		if mark == 0 {
			mark = w.mark()
		}
		w.mu.Lock()
		last := w.last
		w.mu.Unlock()
		if mark > 0 && last >= max(highest, mark) {
			break
		}
		if time.Now().After(deadline) {
			w.mu.Lock()
			w.rec.Disorder = append(w.rec.Disorder, fmt.Sprintf("the watch stands at %d, acknowledged is %d", last, highest))
			w.mu.Unlock()
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.cancel()
	<-w.done
	raw, err := json.Marshal(w.rec)
	if err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o600)
}

const markName = "end-of-ledger"

func (w *watcher) mark() int64 {
	cm := configMap{APIVersion: "v1", Kind: "ConfigMap", Metadata: meta{Name: markName, Namespace: namespace}}
	status, raw, err := w.api.request(http.MethodPost, configMapsPath(), "application/json", cm)
	if err != nil || status != http.StatusCreated {
		return 0
	}
	var got configMap
	if json.Unmarshal(raw, &got) != nil {
		return 0
	}
	return revision(got.Metadata.ResourceVersion)
}
