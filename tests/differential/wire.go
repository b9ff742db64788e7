// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// wireField is one field of a message as it stands on the wire.
type wireField struct {
	number protowire.Number
	typ    protowire.Type
	value  []byte // without the tag
}

func splitFields(raw []byte) ([]wireField, bool) {
	var all []wireField
	for len(raw) > 0 {
		number, typ, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return nil, false
		}
		size := protowire.ConsumeFieldValue(number, typ, raw[n:])
		if size < 0 {
			return nil, false
		}
		all = append(all, wireField{number, typ, raw[n : n+size]})
		raw = raw[n+size:]
	}
	return all, true
}

func joinFields(all []wireField) []byte {
	var raw []byte
	for _, f := range all {
		raw = append(protowire.AppendTag(raw, f.number, f.typ), f.value...)
	}
	return raw
}

// payload is what a field of the type "bytes" holds.
func (f *wireField) payload() []byte {
	b, _ := protowire.ConsumeBytes(f.value)
	return b
}

func bytesField(number protowire.Number, b []byte) wireField {
	return wireField{number, protowire.BytesType, protowire.AppendBytes(nil, b)}
}

// oddWire changes how a request is written, mostly without changing what it means: unknown fields, fields
// given twice or in another order, parts of a message apart, overlong integers, wrong types.
func (g *generator) oddWire(o *op) *op {
	method := o.Method
	if o.Kind == opWatchSend {
		method = watchMethod
	}
	req, _, ok := methodTypes(method)
	if !ok {
		return o
	}
	raw := g.mutateMessage(o.Req, req.ProtoReflect().Descriptor())
	if q, isTxn := req.(*pb.TxnRequest); isTxn && (proto.Unmarshal(raw, q) != nil || endsEtcd(q)) {
		return o
	}
	if o.Kind == opWatchSend && !sameWatch(o.Req, raw) {
		return o
	}
	if q, isGrant := req.(*pb.LeaseGrantRequest); isGrant && (proto.Unmarshal(raw, q) != nil || q.ID == 0 || q.TTL < 100) {
		return o // a lease that the server names, or that ends while nobody looks
	}
	c := *o
	c.Req = raw
	return &c
}

// sameWatch keeps what the generator decided about start revisions, see create.
func sameWatch(before, after []byte) bool {
	a, b := new(pb.WatchRequest), new(pb.WatchRequest)
	return proto.Unmarshal(before, a) == nil && proto.Unmarshal(after, b) == nil &&
		a.GetCreateRequest().GetStartRevision() == b.GetCreateRequest().GetStartRevision()
}

func (g *generator) mutateMessage(raw []byte, d protoreflect.MessageDescriptor) []byte {
	all, ok := splitFields(raw)
	if !ok {
		return raw
	}
	var inner []int
	for i, f := range all {
		fd := d.Fields().ByNumber(f.number)
		if fd != nil && fd.Message() != nil && f.typ == protowire.BytesType {
			inner = append(inner, i)
		}
	}
	if len(inner) > 0 && g.n(4) > 0 {
		f := &all[pick(g, inner)]
		*f = bytesField(f.number, g.mutateMessage(f.payload(), d.Fields().ByNumber(f.number).Message()))
		return joinFields(all)
	}
	if g.one(3) || len(all) == 0 {
		return g.addField(all, d)
	}
	return g.changeField(all, d)
}

// addField puts a field that is not known, or is known and empty, anywhere.
func (g *generator) addField(all []wireField, d protoreflect.MessageDescriptor) []byte {
	f := bytesField(4000, []byte("unknown"))
	switch g.n(7) {
	case 0:
		f = wireField{protowire.MaxValidNumber, protowire.VarintType, protowire.AppendVarint(nil, math.MaxUint64)}
	case 1:
		f = wireField{77, protowire.Fixed64Type, protowire.AppendFixed64(nil, 1)}
	case 2:
		f = wireField{78, protowire.Fixed32Type, protowire.AppendFixed32(nil, 1)}
	case 3:
		f = group(79, pick(g, []int{1, 2, 3, 50, 3000}))
	case 4:
		f = group(1, 1) // the number is known, the type is not its own
	case 5:
		if n := d.Fields().Len(); n > 0 {
			fd := d.Fields().Get(g.n(n))
			f = wireField{fd.Number(), protowire.VarintType, []byte{0}}
			if k := fd.Kind(); k == protoreflect.BytesKind || k == protoreflect.StringKind || k == protoreflect.MessageKind || fd.IsList() {
				f = bytesField(fd.Number(), nil)
			}
		}
	}
	at := g.n(len(all) + 1)
	return joinFields(append(append(append([]wireField(nil), all[:at]...), f), all[at:]...))
}

func group(number protowire.Number, depth int) wireField {
	value := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1)
	for i := range depth {
		end := protowire.AppendTag(nil, number, protowire.EndGroupType)
		value = append(value, end...)
		if i < depth-1 {
			value = append(protowire.AppendTag(nil, number, protowire.StartGroupType), value...)
		}
	}
	return wireField{number, protowire.StartGroupType, value}
}

// changeField writes one of the fields in another way.
func (g *generator) changeField(all []wireField, d protoreflect.MessageDescriptor) []byte {
	i := g.n(len(all))
	f := all[i]
	fd := d.Fields().ByNumber(f.number)
	rest := append([]wireField(nil), all...)
	switch g.n(7) {
	case 0: // given twice; the last counts, or both are one
		first := f
		if fd != nil && fd.Message() == nil && f.typ == protowire.BytesType {
			first = bytesField(f.number, []byte("first"))
		} else if f.typ == protowire.VarintType {
			first.value = protowire.AppendVarint(nil, uint64(g.n(5)))
		}
		return joinFields(append([]wireField{first}, rest...))
	case 1: // in another order
		g.rng.Shuffle(len(rest), func(a, b int) { rest[a], rest[b] = rest[b], rest[a] })
		return joinFields(rest)
	case 2:
		return g.overlong(rest, i)
	case 3: // of another type: an unknown field then
		rest[i] = pick(g, []wireField{{f.number, protowire.Fixed64Type, protowire.AppendFixed64(nil, 3)},
			{f.number, protowire.Fixed32Type, protowire.AppendFixed32(nil, 3)}, {f.number, protowire.VarintType, []byte{3}}, bytesField(f.number, []byte{1})})
		return joinFields(rest)
	case 4: // a message in two parts
		if fd == nil || fd.Message() == nil || f.typ != protowire.BytesType {
			return joinFields(rest)
		}
		parts, ok := splitFields(f.payload())
		if !ok {
			return joinFields(rest)
		}
		at := g.n(len(parts) + 1)
		rest[i] = bytesField(f.number, joinFields(parts[at:]))
		return joinFields(append(append(append([]wireField(nil), rest[:i]...), bytesField(f.number, joinFields(parts[:at]))), rest[i:]...))
	case 5: // more bits than the type has
		if f.typ == protowire.VarintType && fd != nil && (fd.Kind() == protoreflect.EnumKind || fd.Kind() == protoreflect.BoolKind) {
			v, _ := protowire.ConsumeVarint(f.value)
			rest[i].value = protowire.AppendVarint(nil, v|pick(g, []uint64{1 << 32, 1 << 40, 1 << 63, 2}))
		}
		return joinFields(rest)
	default: // packed and one by one
		if fd != nil && fd.IsList() && fd.Kind() == protoreflect.EnumKind {
			if f.typ == protowire.BytesType {
				rest[i] = wireField{f.number, protowire.VarintType, []byte{byte(g.n(2))}}
			} else {
				rest[i] = bytesField(f.number, append(append([]byte(nil), f.value...), byte(g.n(2))))
			}
		}
		return joinFields(rest)
	}
}

// overlong writes a tag, a length or a number with more bytes than it needs.
func (g *generator) overlong(all []wireField, i int) []byte {
	stretch := func(raw []byte) []byte {
		v, n := protowire.ConsumeVarint(raw)
		size := min(n+1+g.n(3), 9)
		if size <= n {
			return raw
		}
		var out []byte
		for range size - 1 {
			out = append(out, byte(v&0x7f)|0x80)
			v >>= 7
		}
		return append(append(out, byte(v)), raw[n:]...)
	}
	head, tail := joinFields(all[:i]), joinFields(all[i+1:])
	f := all[i]
	tag := protowire.AppendTag(nil, f.number, f.typ)
	if g.one(2) {
		tag = stretch(tag)
	} else if f.typ == protowire.VarintType || f.typ == protowire.BytesType {
		f.value = stretch(f.value)
	}
	return append(append(append(head, tag...), f.value...), tail...)
}
