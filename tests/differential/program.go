// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// selfID stands for "the member id of the server asked" in a program. The two servers have different
// ids, so requests that name a member carry this number and the executor puts the real one in.
const selfID = 0x5E1F5E1F5E1F5E1F

// padField is a field that no message has. padBias keeps Pad from being 0, which means "as it is".
const (
	padField = 500
	padBias  = 1000
)

// The kinds of steps a program is made of.
const (
	opUnary      = "unary"       // one request, one answer
	opTwo        = "two"         // two messages on a unary method: only the code is compared
	opNone       = "none"        // no message on a unary method: only the code is compared
	opBad        = "bad"         // bytes that are no message: only the code is compared
	opStream     = "stream"      // one request, a finished stream of answers (RangeStream)
	opFirst      = "first"       // one request, the first answer of an endless stream (Health/Watch)
	opSnapshot   = "snapshot"    // Maintenance/Snapshot: checked by rule, the bytes differ
	opKeepAlive  = "keepalive"   // several messages on one LeaseKeepAlive stream
	opAutoGrant  = "autogrant"   // a lease whose id the server picks, revoked at once
	opExpire     = "expire"      // a lease of the shortest TTL with keys, waited for
	opWatchOpen  = "watch-open"  // a new watch stream
	opWatchSend  = "watch-send"  // a message on a watch stream
	opWatchHalf  = "watch-half"  // the client half-closes the stream
	opWatchClose = "watch-close" // the client cancels the stream
	opWatchStop  = "watch-stop"  // the client stops reading until the next drain
	opProgress   = "progress"    // asks for progress and compares answer or silence
	opDrain      = "drain"       // waits for all events and compares them
	opRestart    = "restart"     // stops both servers with Signal and starts them again, with Flags
	opStart      = "start"       // the first step: the flags that the servers were started with
	opMany       = "many"        // reads of Many, all at once, on several connections
	opCancel     = "cancel"      // a call that the client cancels after Answers answers or Micros
	opRaw        = "raw"         // an HTTP/2 request that no gRPC library sends
	opDeadline   = "deadline"    // a call whose deadline is Micros away
)

// op is one step of a program. It holds everything needed to run it again: a program is a text
// file with one JSON object per line.
type op struct {
	Kind   string            `json:"op"`
	Method string            `json:"method,omitempty"`
	Req    []byte            `json:"req,omitempty"`
	Reqs   [][]byte          `json:"reqs,omitempty"`
	Stream int               `json:"stream,omitempty"`
	Signal string            `json:"signal,omitempty"`
	Meta   map[string]string `json:"meta,omitempty"`
	Gzip   bool              `json:"gzip,omitempty"`
	// Conn is the connection to use.
	Conn  int      `json:"conn,omitempty"`
	Flags []string `json:"flags,omitempty"`
	Many  []*op    `json:"many,omitempty"`
	// Pad is padBias plus how many bytes the request is to be above the limit (--max-request-bytes).
	Pad     int `json:"pad,omitempty"`
	Answers int `json:"answers,omitempty"`
	Micros  int `json:"micros,omitempty"`
	// Text is the request for people; it is not read back.
	Text string `json:"text,omitempty"`
}

// requests is how many requests a step stands for.
func (o *op) requests() int {
	return max(1, len(o.Many))
}

func (o *op) label() string {
	if o.Method == "" {
		return o.Kind
	}
	if o.Kind == opUnary || o.Kind == opStream {
		return o.Method
	}
	return o.Kind + " " + o.Method
}

func (o *op) String() string {
	s := o.Kind
	if o.Method != "" {
		s += " " + o.Method
	}
	if o.Stream != 0 {
		s += fmt.Sprintf(" stream=%d", o.Stream)
	}
	if o.Signal != "" {
		s += " " + o.Signal
	}
	if o.Gzip {
		s += " gzip"
	}
	if o.Conn != 0 {
		s += fmt.Sprintf(" conn=%d", o.Conn)
	}
	if o.Pad != 0 {
		s += fmt.Sprintf(" pad=%d", o.Pad-padBias)
	}
	for _, f := range o.Flags {
		s += " " + f
	}
	for k, v := range o.Meta {
		s += fmt.Sprintf(" %s:%s", k, v)
	}
	text := o.Text
	if text == "" {
		text = describe(o)
	}
	return s + " {" + text + "}"
}

func saveProgram(path string, ops []*op) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, o := range ops {
		c := *o
		if len(c.Req) < 4096 {
			c.Text = describe(o)
		}
		if err := enc.Encode(&c); err != nil {
			f.Close()
			return err
		}
	}
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func loadProgram(path string) ([]*op, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var ops []*op
	dec := json.NewDecoder(bufio.NewReader(f))
	for dec.More() {
		o := new(op)
		if err := dec.Decode(o); err != nil {
			return nil, fmt.Errorf("%s: step %d: %w", path, len(ops)+1, err)
		}
		o.Text = ""
		ops = append(ops, o)
	}
	return ops, nil
}

// methodTypes gives empty request and response messages for "/package.Service/Method".
func methodTypes(method string) (req, resp proto.Message, ok bool) {
	var svc, name string
	for i := len(method) - 1; i > 0; i-- {
		if method[i] == '/' {
			svc, name = method[1:i], method[i+1:]
			break
		}
	}
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(svc))
	if err != nil {
		return nil, nil, false
	}
	sd, isService := d.(protoreflect.ServiceDescriptor)
	if !isService {
		return nil, nil, false
	}
	md := sd.Methods().ByName(protoreflect.Name(name))
	if md == nil {
		return nil, nil, false
	}
	in, err1 := protoregistry.GlobalTypes.FindMessageByName(md.Input().FullName())
	out, err2 := protoregistry.GlobalTypes.FindMessageByName(md.Output().FullName())
	if err1 != nil || err2 != nil {
		return nil, nil, false
	}
	return in.New().Interface(), out.New().Interface(), true
}

// describe renders the request of a step for people.
func describe(o *op) string {
	method := o.Method
	switch o.Kind {
	case opWatchSend:
		method = "/etcdserverpb.Watch/Watch"
	case opExpire:
		return fmt.Sprintf("%d messages", len(o.Reqs))
	case opRaw:
		return fmt.Sprintf("%.200q", o.Req)
	case opMany:
		all := make([]string, len(o.Many))
		for i, m := range o.Many {
			all[i] = m.String()
		}
		return strings.Join(all, " & ")
	}
	req, _, ok := methodTypes(method)
	if !ok {
		return fmt.Sprintf("%.80q", o.Req)
	}
	raws := o.Reqs
	if raws == nil {
		raws = [][]byte{o.Req}
	}
	text := ""
	for i, raw := range raws {
		if i > 0 {
			text += " | "
		}
		proto.Reset(req)
		if o.Kind == opBad || proto.Unmarshal(raw, req) != nil {
			text += fmt.Sprintf("%.80q", raw)
			continue
		}
		text += oneLine(req)
	}
	return text
}

// putSelf replaces selfID by the member id of the server in the request, where there is one.
func putSelf(method string, raw []byte, memberID uint64) []byte {
	req, _, ok := methodTypes(method)
	if !ok || proto.Unmarshal(raw, req) != nil {
		return raw
	}
	found := false
	m := req.ProtoReflect()
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fd.Kind() == protoreflect.Uint64Kind && !fd.IsList() && v.Uint() == selfID {
			m.Set(fd, protoreflect.ValueOfUint64(memberID))
			found = true
		}
		return true
	})
	if !found {
		return raw
	}
	out, err := proto.Marshal(req)
	if err != nil {
		return raw
	}
	return out
}
