// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

const (
	rateNamespace  = "rate"
	rateValueBytes = 1024
	rateWarmUp     = 3 * time.Second
	ratePerLife    = 10 // updates between the create and the delete of an object
)

// runRate writes as fast as the apiserver answers: every worker creates a ConfigMap, updates it, deletes it,
// and begins anew. One line of JSON says how fast that was; any answer but success ends the run.
func runRate(o options) error {
	api, err := newAPIClient(o)
	if err != nil {
		return err
	}
	body := map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": meta{Name: rateNamespace}}
	status, raw, err := api.request(http.MethodPost, "/api/v1/namespaces", "application/json", body)
	if err != nil || (status != http.StatusCreated && status != http.StatusConflict) {
		return fmt.Errorf("the namespace cannot be made: status %d: %s %v", status, firstBytes(raw), err)
	}

	begin := time.Now().Add(rateWarmUp)
	end := begin.Add(time.Duration(o.seconds) * time.Second)
	delays := make([][]time.Duration, o.workers)
	writes := make([]int, o.workers)
	errs := make([]error, o.workers)
	var all sync.WaitGroup
	for i := 0; i < o.workers; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			delays[i], writes[i], errs[i] = writeUntil(api, i, begin, end)
		}(i)
	}
	all.Wait()
	var whole []time.Duration
	var made int
	for i := 0; i < o.workers; i++ {
		if errs[i] != nil {
			return errs[i]
		}
		whole = append(whole, delays[i]...)
		made += writes[i]
	}
	if len(whole) == 0 {
		return fmt.Errorf("nothing was answered in time")
	}
	sort.Slice(whole, func(i, j int) bool { return whole[i] < whole[j] })
	at := func(share float64) float64 {
		return float64(whole[int(share*float64(len(whole)-1))].Nanoseconds()) / 1000
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"workers": o.workers, "seconds": o.seconds, "requests": len(whole),
		"rate": float64(len(whole)) / float64(o.seconds), "p50_us": at(0.5), "p99_us": at(0.99), "problem": "",
		"made": made, // the warm-up included
	})
}

// writeUntil returns how long each write took that was begun and answered in time, and how many there were at all.
func writeUntil(api *apiClient, worker int, begin, end time.Time) ([]time.Duration, int, error) {
	var delays []time.Duration
	cm := configMap{APIVersion: "v1", Kind: "ConfigMap"}
	folder := "/api/v1/namespaces/" + rateNamespace + "/configmaps"
	turn := 0
	for ; time.Now().Before(end); turn++ {
		method, path, want := http.MethodPut, folder+"/"+cm.Metadata.Name, http.StatusOK
		var body any
		switch turn % (ratePerLife + 2) {
		case 0:
			cm.Metadata = meta{Name: fmt.Sprintf("w%d-%d", worker, turn), Namespace: rateNamespace}
			method, path, want = http.MethodPost, folder, http.StatusCreated
		case ratePerLife + 1:
			method = http.MethodDelete
		}
		if method != http.MethodDelete {
			cm.Data = map[string]string{"turn": fmt.Sprint(turn), "payload": strings.Repeat("x", rateValueBytes)}
			body = cm
		}
		start := time.Now()
		status, raw, err := api.request(method, path, "application/json", body)
		took := time.Since(start)
		if err != nil || status != want {
			return nil, turn, fmt.Errorf("%s %s: status %d: %s %v", method, path, status, firstBytes(raw), err)
		}
		if start.After(begin) && time.Now().Before(end) {
			delays = append(delays, took)
		}
		if method == http.MethodDelete {
			continue
		}
		if err := json.Unmarshal(raw, &cm); err != nil {
			return nil, turn, fmt.Errorf("%s %s: %w", method, path, err)
		}
	}
	return delays, turn, nil
}
