package logllm

import (
	"encoding/binary"
	"math"
	"slices"
)

// What the first byte of an object says of its size: up to 33 the object's whole size; else one of these.
const (
	length8  = 64 + iota // one byte of length, then as many bytes: str 8, bin 8
	length16             // two bytes of length
	length32
	ext8 // length, one byte of type, then as many bytes
	ext16
	ext32
	fixArray // the count is in the byte itself
	fixMap
	array16
	array32
	map16
	map32
)

// shapes has no entry (0) for 0xc1, the one byte that begins no object.
var shapes = func() (table [256]uint8) {
	for c := range table {
		switch {
		case c < 0x80 || c >= 0xe0:
			table[c] = 1
		case c < 0x90:
			table[c] = fixMap
		case c < 0xa0:
			table[c] = fixArray
		case c < 0xc0:
			table[c] = uint8(1 + c&31)
		}
	}
	named := map[int]uint8{
		0xc0: 1, 0xc2: 1, 0xc3: 1,
		0xc4: length8, 0xc5: length16, 0xc6: length32, 0xd9: length8, 0xda: length16, 0xdb: length32,
		0xc7: ext8, 0xc8: ext16, 0xc9: ext32,
		0xca: 5, 0xcb: 9, 0xcc: 2, 0xcd: 3, 0xce: 5, 0xcf: 9, 0xd0: 2, 0xd1: 3, 0xd2: 5, 0xd3: 9,
		0xd4: 3, 0xd5: 4, 0xd6: 6, 0xd7: 10, 0xd8: 18,
		0xdc: array16, 0xdd: array32, 0xde: map16, 0xdf: map32,
	}
	for c, shape := range named {
		table[c] = shape
	}
	return table
}()

// length reads the n bytes of a big-endian number at `at`; ok is false where they are not all there.
func length(b []byte, at, n int) (value int, ok bool) {
	if at+n > len(b) {
		return 0, false
	}
	for _, c := range b[at : at+n] {
		value = value<<8 | int(c)
	}
	return value, true
}

// skip gives where the object at `at` ends, -1 where it is none. It does not recurse, so depth costs nothing.
func skip(b []byte, at int) int {
	for left := 1; left > 0; left-- {
		if at >= len(b) {
			return -1
		}
		c := b[at]
		shape := shapes[c]
		if shape < length8 {
			if shape == 0 {
				return -1
			}
			at += int(shape)
			continue
		}
		size, count, ok := 0, 0, true
		switch shape {
		case length8, ext8:
			size, ok = length(b, at+1, 1)
			at += 2
		case length16, ext16:
			size, ok = length(b, at+1, 2)
			at += 3
		case length32, ext32:
			size, ok = length(b, at+1, 4)
			at += 5
		case fixArray:
			count = int(c & 15)
			at++
		case fixMap:
			count = int(c&15) * 2
			at++
		case array16:
			count, ok = length(b, at+1, 2)
			at += 3
		case array32:
			count, ok = length(b, at+1, 4)
			at += 5
		case map16:
			count, ok = length(b, at+1, 2)
			count *= 2
			at += 3
		case map32:
			count, ok = length(b, at+1, 4)
			count *= 2
			at += 5
		}
		if shape >= ext8 && shape <= ext32 {
			size++
		}
		at += size
		// An element takes a byte at least: a count that cannot be is refused before it is walked.
		if !ok || at > len(b) || count > len(b)-at {
			return -1
		}
		left += count
	}
	if at > len(b) {
		return -1
	}
	return at
}

// header reads a map's or an array's count and where its first element is; ok is false for another object.
func header(b []byte, at int, fix, wide uint8) (count, first int, ok bool) {
	if at >= len(b) {
		return 0, 0, false
	}
	switch c := b[at]; {
	case c&0xf0 == fix:
		return int(c & 15), at + 1, true
	case c == wide:
		count, ok = length(b, at+1, 2)
		return count, at + 3, ok
	case c == wide+1:
		count, ok = length(b, at+1, 4)
		return count, at + 5, ok
	}
	return 0, 0, false
}

func mapHeader(b []byte, at int) (count, first int, ok bool)   { return header(b, at, 0x80, 0xde) }
func arrayHeader(b []byte, at int) (count, first int, ok bool) { return header(b, at, 0x90, 0xdc) }

// text gives where the content of a str at `at` is; ok is false for another object.
func text(b []byte, at int) (from, to int, ok bool) {
	if at < len(b) && b[at]&0xe0 == 0xa0 {
		from = at + 1
		to = from + int(b[at]&31)
		return from, to, to <= len(b)
	}
	return sized(b, at, 0xd9)
}

// bin is text for binary objects.
func bin(b []byte, at int) (from, to int, ok bool) { return sized(b, at, 0xc4) }

// sized is for the three types from `first` on, whose lengths have one, two and four bytes.
func sized(b []byte, at int, first byte) (from, to int, ok bool) {
	if at >= len(b) || b[at] < first || b[at] > first+2 {
		return 0, 0, false
	}
	width := 1 << (b[at] - first)
	size, ok := length(b, at+1, width)
	from = at + 1 + width
	return from, from + size, ok && from+size <= len(b)
}

// integer reads an integer. One above MaxInt64 is not ok, and is in whole.
func integer(b []byte) (value int64, whole uint64, ok bool) {
	if len(b) == 0 {
		return 0, 0, false
	}
	c := b[0]
	switch {
	case c < 0x80:
		return int64(c), uint64(c), true
	case c >= 0xe0:
		return int64(int8(c)), 0, true
	case c < 0xcc || c > 0xd3:
		return 0, 0, false
	}
	size := 1 << (c & 3)
	if len(b) < 1+size {
		return 0, 0, false
	}
	for _, one := range b[1 : 1+size] {
		whole = whole<<8 | uint64(one)
	}
	if c >= 0xd0 {
		unused := 64 - 8*size
		return int64(whole<<unused) >> unused, 0, true
	}
	return int64(whole), whole, whole <= math.MaxInt64
}

func float(b []byte) (float64, bool) {
	switch {
	case len(b) == 5 && b[0] == 0xca:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b[1:]))), true
	case len(b) == 9 && b[0] == 0xcb:
		return math.Float64frombits(binary.BigEndian.Uint64(b[1:])), true
	}
	value, whole, ok := integer(b)
	if !ok && whole > 0 {
		return float64(whole), true
	}
	return float64(value), ok
}

// deepest is how far decode follows lists and maps; what lies deeper comes as its msgpack bytes.
const deepest = 100

// decode makes a Go value of one whole object. Extensions come as their bytes, type included.
func decode(b []byte, depth int) any {
	if depth > deepest {
		return slices.Clone(b)
	}
	if count, at, ok := mapHeader(b, 0); ok {
		fields := make(map[string]any, min(count, len(b)/2))
		for range count {
			value := skip(b, at)
			end := skip(b, value)
			if from, to, ok := text(b, at); ok {
				fields[string(b[from:to])] = decode(b[value:end], depth+1)
			}
			at = end
		}
		return fields
	}
	if count, at, ok := arrayHeader(b, 0); ok {
		list := make([]any, 0, min(count, len(b)))
		for range count {
			end := skip(b, at)
			list = append(list, decode(b[at:end], depth+1))
			at = end
		}
		return list
	}
	if from, to, ok := text(b, 0); ok {
		return string(b[from:to])
	}
	if from, to, ok := bin(b, 0); ok {
		return slices.Clone(b[from:to])
	}
	if value, whole, ok := integer(b); ok {
		return value
	} else if whole > 0 {
		return whole
	}
	if value, ok := float(b); ok {
		return value
	}
	switch b[0] {
	case 0xc0:
		return nil
	case 0xc2, 0xc3:
		return b[0] == 0xc3
	}
	return slices.Clone(b)
}
