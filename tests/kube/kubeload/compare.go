// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"sort"
	"strings"
	"time"
)

const (
	partialList = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
	// The apiserver renews its own leases and events expire while we look; a true difference stays.
	compareTries = 8
	comparePause = 1500 * time.Millisecond
)

type storedKey struct {
	key     string
	claimed bool
}

// readStore asks the store itself: every key below /registry/ by its last revision.
func readStore(etcdctl string) (map[int64]*storedKey, error) {
	cmd := exec.Command(etcdctl, "get", "/registry/", "--prefix", "--keys-only", "--write-out=json")
	raw, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("etcdctl get: %w", err)
	}
	var answer struct {
		Kvs []struct {
			Key         string `json:"key"`
			ModRevision int64  `json:"mod_revision"`
		} `json:"kvs"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, fmt.Errorf("etcdctl get: %w", err)
	}
	keys := make(map[int64]*storedKey, len(answer.Kvs))
	for _, kv := range answer.Kvs {
		name, err := base64.StdEncoding.DecodeString(kv.Key)
		if err != nil {
			return nil, err
		}
		// Kubernetes changes one key per transaction, so a revision names one key.
		if other, taken := keys[kv.ModRevision]; taken {
			return nil, fmt.Errorf("keys %s and %s share revision %d", other.key, name, kv.ModRevision)
		}
		keys[kv.ModRevision] = &storedKey{key: string(name)}
	}
	return keys, nil
}

type resource struct {
	label string
	path  string
}

func getJSON(c *apiClient, path string, into any) error {
	status, raw, err := c.request(http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s: status %d: %s", path, status, firstBytes(raw))
	}
	return json.Unmarshal(raw, into)
}

// discover returns every resource that can be listed, in the version its group prefers.
func discover(c *apiClient) ([]resource, error) {
	paths := []string{"/api/v1"}
	var groups struct {
		Groups []struct {
			PreferredVersion struct {
				GroupVersion string `json:"groupVersion"`
			} `json:"preferredVersion"`
		} `json:"groups"`
	}
	if err := getJSON(c, "/apis", &groups); err != nil {
		return nil, err
	}
	for _, g := range groups.Groups {
		paths = append(paths, "/apis/"+g.PreferredVersion.GroupVersion)
	}
	var found []resource
	for _, path := range paths {
		var answer struct {
			Resources []struct {
				Name  string   `json:"name"`
				Verbs []string `json:"verbs"`
			} `json:"resources"`
		}
		if err := getJSON(c, path, &answer); err != nil {
			return nil, err
		}
		for _, r := range answer.Resources {
			// componentstatuses are computed, never stored.
			if strings.Contains(r.Name, "/") || r.Name == "componentstatuses" {
				continue
			}
			for _, verb := range r.Verbs {
				if verb == "list" {
					found = append(found, resource{r.Name + "  " + path, path + "/" + r.Name})
				}
			}
		}
	}
	return found, nil
}

// Keys of the apiserver itself, which it serves as no object.
func internalKey(key string) bool {
	for _, prefix := range []string{"/registry/ranges/", "/registry/masterleases/", "/registry/peerserverleases/"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

type comparison struct {
	counts map[string]int
	notes  []string
}

func (c *comparison) note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

func (c *comparison) object(keys map[int64]*storedKey, label string, m meta) {
	suffix := "/" + m.Name
	if m.Namespace != "" {
		suffix = "/" + m.Namespace + suffix
	}
	stored := keys[revision(m.ResourceVersion)]
	if stored == nil || !strings.HasSuffix(stored.key, suffix) {
		c.note("%s %s is served at revision %s, which no such key in the store has", label, suffix, m.ResourceVersion)
		return
	}
	stored.claimed = true
}

func compareOnce(o options, api *apiClient, resources []resource) (*comparison, error) {
	keys, err := readStore(o.etcdctl)
	if err != nil {
		return nil, err
	}
	result := &comparison{counts: map[string]int{}}
	type object struct {
		Metadata meta `json:"metadata"`
	}
	for _, r := range resources {
		fresh, _, err := list[object](api, r.path, partialList, paged())
		if err != nil {
			return nil, err
		}
		for _, item := range fresh {
			result.object(keys, r.label, item.Metadata)
		}
		result.counts[r.label] = len(fresh)
		if !o.cacheToo {
			continue
		}
		cached, _, err := list[object](api, r.path, partialList, map[string][]string{"resourceVersion": {"0"}})
		if err != nil {
			return nil, err
		}
		if len(cached) != len(fresh) {
			result.note("%s: %d objects in the watch cache, %d in a fresh list", r.label, len(cached), len(fresh))
		}
		for _, item := range cached {
			result.object(keys, r.label+" (cached)", item.Metadata)
		}
	}
	for at, k := range keys {
		if !k.claimed && !internalKey(k.key) {
			result.note("the store holds %s at revision %d, but the apiserver does not serve it", k.key, at)
		}
	}
	result.counts["keys in the store"] = len(keys)
	return result, nil
}

func runCompare(o options) error {
	api, err := newAPIClient(o)
	if err != nil {
		return err
	}
	resources, err := discover(api)
	if err != nil {
		return err
	}
	var result *comparison
	for try := 0; try < compareTries; try++ {
		if try > 0 {
			time.Sleep(comparePause)
		}
		if result, err = compareOnce(o, api, resources); err != nil {
			return err
		}
		if len(result.notes) == 0 {
			break
		}
	}
	var diff reporter
	for _, note := range result.notes {
		diff.add("%s", note)
	}
	labels := make([]string, 0, len(result.counts))
	for label, n := range result.counts {
		if n > 0 {
			labels = append(labels, label)
		}
	}
	sort.Strings(labels)
	for _, label := range labels {
		fmt.Printf("%6d  %s\n", result.counts[label], label)
	}
	return diff.result("the store does not hold what the apiserver serves")
}
