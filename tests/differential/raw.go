// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// A raw step is an HTTP/2 request that no gRPC library would send: its headers are in Meta (":method" among
// them) and its body in Req, frame heads and all.

// rawAnswer is what came back, one line for each thing that must be the same.
type rawAnswer struct {
	answer
	shape string
}

const rawTimeout = 10 * time.Second

func newRawTransport() *http2.Transport {
	return &http2.Transport{AllowHTTP: true, DisableCompression: true,
		DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}}
}

func (s *side) sendRaw(o *op) *rawAnswer {
	a := new(rawAnswer)
	method := o.Meta[":method"]
	if method == "" {
		method = http.MethodPost
	}
	ctx, cancel := context.WithTimeout(context.Background(), rawTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.url+o.Method, io.NopCloser(bytes.NewReader(o.Req)))
	if err != nil {
		a.shape = "no request: " + err.Error()
		return a
	}
	req.ContentLength = -1
	req.Header["User-Agent"] = nil
	for k, v := range o.Meta {
		if !strings.HasPrefix(k, ":") {
			req.Header.Set(k, v)
		}
	}
	resp, err := s.raw.RoundTrip(req)
	if err != nil {
		// The text differs with the moment at which the stream was reset.
		a.shape = "no answer"
		return a
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	a.shape = fmt.Sprintf("HTTP %d, content-type %q", resp.StatusCode, resp.Header.Get("Content-Type"))
	if err != nil {
		a.shape += ", broken off"
	}
	where := resp.Trailer
	if resp.Header.Get("Grpc-Status") != "" {
		a.shape += ", trailers only"
		where = resp.Header
	}
	code, err := strconv.Atoi(where.Get("Grpc-Status"))
	if err != nil {
		a.shape += fmt.Sprintf(", grpc-status %q", where.Get("Grpc-Status"))
	}
	a.code, a.text = codes.Code(code), where.Get("Grpc-Message")
	for len(body) >= 5 {
		size := int(binary.BigEndian.Uint32(body[1:5]))
		if len(body) < 5+size {
			break
		}
		a.shape += fmt.Sprintf(", message with flag %d", body[0])
		a.msgs = append(a.msgs, body[5:5+size])
		body = body[5+size:]
	}
	if len(body) > 0 && !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/") {
		a.shape += fmt.Sprintf(", %d more bytes", len(body))
	}
	return a
}

// runRaw compares what two servers make of an odd HTTP/2 request.
func (r *runner) runRaw(o *op) *difference {
	done := make(chan *rawAnswer, 1)
	go func() { done <- r.sides[1].sendRaw(o) }()
	a, b := r.sides[0].sendRaw(o), <-done
	if late(o) {
		return nil // which of the two was in time is a matter of time
	}
	if a.shape != b.shape {
		return r.diff(o, "shape", "A: %s; %v %q\n    B: %s; %v %q", a.shape, a.code, a.text, b.shape, b.code, b.text)
	}
	// Texts come from the gRPC library there, so codes decide.
	a.text, b.text = "", ""
	if o.Method == "/etcdserverpb.KV/RangeStream" && a.code == codes.OK && b.code == codes.OK {
		decoded := *o
		decoded.Req = o.Req[min(5, len(o.Req)):]
		return r.compareStreams(&decoded, &a.answer, &b.answer)
	}
	return r.compareAnswers(o, &a.answer, &b.answer)
}

// late says whether a request has a deadline that may pass before the answer.
func late(o *op) bool {
	t := o.Meta["grpc-timeout"]
	return strings.HasSuffix(t, "n") || strings.HasSuffix(t, "u") || strings.HasSuffix(t, "m") || strings.HasPrefix(t, "0")
}

func frame(flag byte, message []byte) []byte {
	head := make([]byte, 5, 5+len(message))
	head[0] = flag
	binary.BigEndian.PutUint32(head[1:], uint32(len(message)))
	return append(head, message...)
}

var (
	rawTypes = []string{"application/grpc", "application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8", "application/grpc+json",
		"application/grpcx", "application/json", "text/plain", "", "Application/gRPC", "application/grpc-web+proto"}
	rawTimeouts = []string{"", "", "", "1n", "500u", "20m", "10S", "99999999H", "123456789S", "S", "1", "-1S", "1x", "1 S", "0S", "1h", "00000010S"}
	rawCodings  = []string{"", "", "", "identity", "snappy", "GZIP"}
)

// odd makes a request that is odd in one way or in several.
func (g *generator) odd() {
	message := pick(g, [][]byte{nil, marshal(g.rangeRequest()), marshal(&pb.RangeRequest{Key: []byte("a")})})
	o := &op{Kind: opRaw, Method: "/etcdserverpb.KV/Range", Req: frame(0, message), Meta: map[string]string{"te": "trailers", "content-type": "application/grpc"}}
	for range 1 + g.n(2) {
		switch g.n(9) {
		case 0:
			o.Meta["content-type"] = pick(g, rawTypes)
		case 1:
			o.Meta["te"] = pick(g, []string{"", "trailers"})
		case 2:
			o.Meta[":method"] = pick(g, []string{"GET", "PUT", "HEAD", "POST", "OPTIONS"})
		case 3:
			o.Meta["grpc-timeout"] = pick(g, rawTimeouts)
		case 4:
			o.Meta["grpc-encoding"] = pick(g, rawCodings)
			if len(o.Req) > 0 {
				o.Req[0] = byte(g.n(3))
			}
		case 5:
			o.Meta[pick(g, []string{"x-odd", "grpc-accept-encoding", "hasleader", "user-agent", "expect"})] =
				pick(g, []string{"", "!!!", "AAEC", "true", "100-continue", "gzip,identity"})
			o.Meta["x-odd-bin"] = pick(g, []string{"", "AAEC", "AAE=", "AAE"})
		case 6:
			o.Method = pick(g, []string{"/etcdserverpb.KV/Range", "/etcdserverpb.KV/Nope", "/nope/Range", "/", "/etcdserverpb.KV", "/etcdserverpb.KV/Range?x=1",
				"/etcdserverpb.KV//Range", "/etcdserverpb.Cluster/MemberList", "/etcdserverpb.KV/RangeStream", "/etcdserverpb.Lease/LeaseKeepAlive"})
		default:
			o.Req = pick(g, [][]byte{{}, {0}, {0, 0, 0}, frame(0, message)[:4], append(frame(0, message), 0), append(frame(0, message), frame(0, message)...),
				frame(1, message), frame(2, message), frame(255, nil), {0, 0, 0, 0, 9, 1}, {0, 0xff, 0xff, 0xff, 0xff}, {1, 0, 0, 0, 0},
				append(frame(0, message), 1, 2, 3, 4, 5, 6, 7)})
		}
	}
	for k, v := range o.Meta {
		if v == "" {
			delete(o.Meta, k)
		}
	}
	g.push(o)
}
