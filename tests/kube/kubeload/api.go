// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const (
	namespace      = "ledger"
	requestTimeout = 20 * time.Second
	pageSize       = 500
	// A list of every object of one kind stays far below this.
	maxAnswerBytes = 256 << 20
)

type meta struct {
	Name            string `json:"name"`
	Namespace       string `json:"namespace,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

type configMap struct {
	APIVersion string            `json:"apiVersion,omitempty"`
	Kind       string            `json:"kind,omitempty"`
	Metadata   meta              `json:"metadata"`
	Data       map[string]string `json:"data,omitempty"`
}

type apiClient struct {
	base string
	http *http.Client
}

func newAPIClient(o options) (*apiClient, error) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(o.pki, "admin.crt"), filepath.Join(o.pki, "admin.key"))
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(filepath.Join(o.pki, "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s/ca.crt", o.pki)
	}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}},
		ForceAttemptHTTP2: true,
	}
	return &apiClient{base: o.server, http: &http.Client{Transport: transport}}, nil
}

// request returns the status and the body; an error means that no whole answer arrived.
func (c *apiClient) request(method, path, contentType string, body any) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		payload = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, payload)
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	} else if contentType != "" {
		req.Header.Set("Accept", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return 0, nil, err
	}
	return resp.StatusCode, raw, nil
}

type objectList[T any] struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
		Continue        string `json:"continue"`
	} `json:"metadata"`
	Items []T `json:"items"`
}

// list reads every page of one consistent list; query may carry resourceVersion=0 to ask the watch cache.
func list[T any](c *apiClient, path, accept string, query url.Values) ([]T, string, error) {
	var items []T
	if query == nil {
		query = url.Values{}
	}
	for {
		status, raw, err := c.request(http.MethodGet, path+"?"+query.Encode(), accept, nil)
		if err != nil {
			return nil, "", err
		}
		if status != http.StatusOK {
			return nil, "", fmt.Errorf("list %s: status %d: %s", path, status, firstBytes(raw))
		}
		var page objectList[T]
		if err := json.Unmarshal(raw, &page); err != nil {
			return nil, "", fmt.Errorf("list %s: %w", path, err)
		}
		items = append(items, page.Items...)
		if page.Metadata.Continue == "" {
			return items, page.Metadata.ResourceVersion, nil
		}
		query.Set("continue", page.Metadata.Continue)
		query.Del("resourceVersion")
	}
}

func paged() url.Values {
	return url.Values{"limit": {strconv.Itoa(pageSize)}}
}

func configMapsPath() string { return "/api/v1/namespaces/" + namespace + "/configmaps" }

func firstBytes(raw []byte) string {
	if len(raw) > 300 {
		raw = raw[:300]
	}
	return string(raw)
}

// digest names a ConfigMap's data; encoding/json sorts the keys.
func digest(data map[string]string) string {
	raw, err := json.Marshal(data)
	if err != nil {
		panic(err) // a map of strings always has a JSON form
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

func revision(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return n
}
