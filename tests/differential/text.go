// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"hash/crc32"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// flatten renders a message as "path = value" lines in a fixed order, so that two messages can be
// compared line by line. prototext is unfit: it changes its blanks on purpose.
func flatten(m protoreflect.Message, prefix string, out *[]string) {
	fields := m.Descriptor().Fields()
	for i := 0; i < fields.Len(); i++ {
		fd := fields.Get(i)
		if !m.Has(fd) {
			continue
		}
		name := prefix + string(fd.Name())
		v := m.Get(fd)
		switch {
		case fd.IsList():
			list := v.List()
			for j := 0; j < list.Len(); j++ {
				flattenValue(fd, list.Get(j), fmt.Sprintf("%s[%d]", name, j), out)
			}
		case fd.IsMap():
			*out = append(*out, fmt.Sprintf("%s = %v", name, v.Map().Len()))
		default:
			flattenValue(fd, v, name, out)
		}
	}
	if u := m.GetUnknown(); len(u) > 0 {
		*out = append(*out, fmt.Sprintf("%s<unknown> = %x", prefix, []byte(u)))
	}
}

func flattenValue(fd protoreflect.FieldDescriptor, v protoreflect.Value, name string, out *[]string) {
	switch fd.Kind() {
	case protoreflect.MessageKind:
		before := len(*out)
		flatten(v.Message(), name+".", out)
		if len(*out) == before {
			*out = append(*out, name+" = {}")
		}
	case protoreflect.BytesKind:
		*out = append(*out, fmt.Sprintf("%s = %s", name, short(fmt.Sprintf("%q", v.Bytes()))))
	case protoreflect.StringKind:
		*out = append(*out, fmt.Sprintf("%s = %s", name, short(fmt.Sprintf("%q", v.String()))))
	case protoreflect.EnumKind:
		if ev := fd.Enum().Values().ByNumber(v.Enum()); ev != nil {
			*out = append(*out, fmt.Sprintf("%s = %s", name, ev.Name()))
		} else {
			*out = append(*out, fmt.Sprintf("%s = %d", name, v.Enum()))
		}
	default:
		*out = append(*out, fmt.Sprintf("%s = %v", name, v.Interface()))
	}
}

func short(s string) string {
	if len(s) <= 160 {
		return s
	}
	// The checksum keeps long values comparable line by line.
	return fmt.Sprintf("%s...%s (%d characters, crc %08x)", s[:60], s[len(s)-20:], len(s), crc32.ChecksumIEEE([]byte(s)))
}

// shortLines cuts very long lines of a text for people; the whole is in the program file.
func shortLines(s string) string {
	all := strings.Split(s, "\n")
	for i, l := range all {
		if len(l) > 1500 {
			all[i] = l[:1500] + fmt.Sprintf("... (%d characters)", len(l))
		}
	}
	return strings.Join(all, "\n")
}

func lines(m proto.Message) []string {
	var out []string
	if m != nil {
		flatten(m.ProtoReflect(), "", &out)
	}
	return out
}

func oneLine(m proto.Message) string {
	all := lines(m)
	if len(all) > 60 {
		all = append(all[:60:60], fmt.Sprintf("... %d more", len(all)-60))
	}
	return strings.Join(all, ", ")
}

// firstDifference names the first line in which two messages differ, and the path without indexes,
// which tells one sort of difference from another.
func firstDifference(a, b []string) (path, text string) {
	for i := 0; i < len(a) || i < len(b); i++ {
		x, y := "(nothing)", "(nothing)"
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x == y {
			continue
		}
		p := x
		if x == "(nothing)" {
			p = y
		}
		p = strings.SplitN(p, " = ", 2)[0]
		var kept strings.Builder
		skip := false
		for _, r := range p {
			switch {
			case r == '[':
				skip = true
				kept.WriteString("[]")
			case r == ']':
				skip = false
			case !skip:
				kept.WriteRune(r)
			}
		}
		return kept.String(), fmt.Sprintf("A: %s\n    B: %s", x, y)
	}
	return "", ""
}
