// Package logllm is what a logllm filter in Go is written with: the records of a block one by one, their fields by
// name, and the functions of the host. A record that a filter leaves alone is never decoded and keeps its bytes.
package logllm

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
)

// Record is one log record. It and the bytes it gives are valid until the filter returns; strings are the caller's.
type Record struct {
	input   []byte // the block
	made    []byte // fields that were set, as msgpack
	fields  []field
	time    int  // where its time begins, in input
	paired  bool // metadata comes after the time
	changed bool
}

// field is a key and its value: offsets into input or, of a field that was set, into made.
type field struct {
	name, nameEnd   uint32 // the key's text
	key, value, end uint32 // the key as msgpack, its value, the end of that
	isText          bool   // false for a key that is a number or other such thing, which no name finds
	keyMade         bool
	valueMade       bool
}

// read looks at the map at `at` and gives where it ends, -1 where it is no map.
func (r *Record) read(input []byte, at int) int {
	r.input, r.made, r.fields, r.changed = input, r.made[:0], r.fields[:0], false
	count, at, ok := mapHeader(input, at)
	if !ok {
		return -1
	}
	for range count {
		from, to, isText := at+1, 0, false
		// Most keys are short texts, and most values texts and numbers: their sizes are looked up here, without a call.
		if at < len(input) && input[at]&0xe0 == 0xa0 {
			to, isText = from+int(input[at]&31), true
		} else {
			from, to, isText = text(input, at)
		}
		value := to
		if !isText {
			if value = skip(input, at); value < 0 {
				return -1
			}
		}
		end := value
		if value < len(input) && shapes[input[value]]-1 < length8-1 {
			end += int(shapes[input[value]])
		} else {
			end = skip(input, value)
		}
		if end < 0 || end > len(input) {
			return -1
		}
		r.fields = append(r.fields, field{
			name: uint32(from), nameEnd: uint32(to),
			key: uint32(at), value: uint32(value), end: uint32(end), isText: isText,
		})
		at = end
	}
	return at
}

func (r *Record) source(made bool) []byte {
	if made {
		return r.made
	}
	return r.input
}

func (r *Record) value(at int) []byte {
	f := &r.fields[at]
	return r.source(f.valueMade)[f.value:f.end]
}

// index finds a field by its name, the last where there are several; -1 where there is none.
func (r *Record) index(name string) int { return r.indexBefore(len(r.fields), name) }

func (r *Record) indexBefore(end int, name string) int {
	for at := end - 1; at >= 0; at-- {
		f := &r.fields[at]
		if int(f.nameEnd-f.name) == len(name) && f.isText && string(r.source(f.keyMade)[f.name:f.nameEnd]) == name {
			return at
		}
	}
	return -1
}

// find gives the msgpack of the field that a path leads to, nil where there is none.
func (r *Record) find(path []string) []byte {
	if len(path) == 0 {
		return nil
	}
	at := r.index(path[0])
	if at < 0 {
		return nil
	}
	found := r.value(at)
	for _, name := range path[1:] {
		if found = member(found, name); found == nil {
			return nil
		}
	}
	return found
}

// member gives the msgpack of a map's field, the last of that name; nil where there is none.
func member(b []byte, name string) (found []byte) {
	count, at, _ := mapHeader(b, 0)
	for range count {
		value := skip(b, at)
		end := skip(b, value)
		if from, to, ok := text(b, at); ok && string(b[from:to]) == name {
			found = b[value:end]
		}
		at = end
	}
	return found
}

// Has says whether there is a field. Every Get takes a path: Has("kubernetes", "labels", "app").
func (r *Record) Has(path ...string) bool { return r.find(path) != nil }

// GetString gives a text field; ok is false where there is none, or it is no text.
func (r *Record) GetString(path ...string) (value string, ok bool) {
	// Small enough to be inlined: a caller that only compares the string allocates nothing.
	b, ok := r.getText(path)
	return string(b), ok
}

func (r *Record) getText(path []string) ([]byte, bool) {
	found := r.find(path)
	from, to, ok := text(found, 0)
	return found[from:to], ok
}

// GetBytes gives a text or binary field without copying it: the bytes change when the filter returns.
func (r *Record) GetBytes(path ...string) (value []byte, ok bool) {
	found := r.find(path)
	from, to, ok := text(found, 0)
	if !ok {
		from, to, ok = bin(found, 0)
	}
	return found[from:to], ok
}

// GetInt gives an integer field; ok is false for any other, and for one that int64 does not hold.
func (r *Record) GetInt(path ...string) (value int64, ok bool) {
	value, _, ok = integer(r.find(path))
	return value, ok
}

// GetFloat gives a number, an integer too.
func (r *Record) GetFloat(path ...string) (value float64, ok bool) { return float(r.find(path)) }

// GetBool gives a field that is true or false.
func (r *Record) GetBool(path ...string) (value, ok bool) {
	found := r.find(path)
	if len(found) != 1 || found[0]&0xfe != 0xc2 {
		return false, false
	}
	return found[0] == 0xc3, true
}

// Get gives any field as a Go value: nil, bool, int64, uint64 (above MaxInt64), float64, string, []byte, []any or
// map[string]any. It copies all of it; nil where there is none.
func (r *Record) Get(path ...string) any {
	found := r.find(path)
	if found == nil {
		return nil
	}
	return decode(found, 0)
}

// Names gives the names of the fields, in their order.
func (r *Record) Names() []string {
	names := make([]string, 0, len(r.fields))
	for _, f := range r.fields {
		if f.isText {
			names = append(names, string(r.source(f.keyMade)[f.name:f.nameEnd]))
		}
	}
	return names
}

// SetString gives a field a text, in its place, or adds it at the end.
func (r *Record) SetString(name, value string) {
	from := len(r.made)
	r.made = appendText(r.made, value)
	r.set(name, from)
}

// Set gives a field a value: nil, bool, string, []byte, int, int32, int64, uint32, uint64, float64, []string, []any,
// map[string]string or map[string]any. Any other type is a panic, which fails the call.
func (r *Record) Set(name string, value any) {
	from := len(r.made)
	r.made = appendValue(r.made, value)
	r.set(name, from)
}

// set gives a field the value that stands in made from `from` on. Others of that name go: none may keep what it was.
func (r *Record) set(name string, from int) {
	to := len(r.made)
	if at := r.index(name); at >= 0 {
		for other := r.indexBefore(at, name); other >= 0; other = r.indexBefore(at, name) {
			r.fields = slices.Delete(r.fields, other, other+1)
			r.changed = true
			at--
		}
		if bytes.Equal(r.value(at), r.made[from:to]) {
			return
		}
		f := &r.fields[at]
		f.value, f.end, f.valueMade = uint32(from), uint32(to), true
	} else {
		r.made = appendText(r.made, name)
		r.fields = append(r.fields, field{
			name: uint32(len(r.made) - len(name)), nameEnd: uint32(len(r.made)), key: uint32(to),
			value: uint32(from), end: uint32(to), isText: true, keyMade: true, valueMade: true,
		})
	}
	r.changed = true
}

// Rename gives a field another name; whatever had that name goes. It says whether there was one.
func (r *Record) Rename(name, to string) bool {
	if r.index(name) < 0 {
		return false
	}
	if name == to {
		return true
	}
	r.Delete(to)
	from := len(r.made)
	r.made = appendText(r.made, to)
	f := &r.fields[r.index(name)]
	f.key, f.name, f.nameEnd, f.keyMade = uint32(from), uint32(len(r.made)-len(to)), uint32(len(r.made)), true
	r.changed = true
	return true
}

// Delete removes a field, every one of that name; it says whether there was one.
func (r *Record) Delete(name string) bool {
	found := false
	for at := r.index(name); at >= 0; at = r.index(name) {
		r.fields = slices.Delete(r.fields, at, at+1)
		found, r.changed = true, true
	}
	return found
}

// Tag gives the tag of the record's block, such as `kube.app`.
func (r *Record) Tag() string { return tag }

// Time gives when the record was written, in seconds since the epoch and nanoseconds.
func (r *Record) Time() (seconds, nanoseconds int64) {
	b := r.input[r.time:]
	if at := eventTime(b); at > 0 {
		return int64(binary.BigEndian.Uint32(b[at:])), int64(binary.BigEndian.Uint32(b[at+4:]))
	}
	b = b[:skip(b, 0)]
	if value, _, ok := integer(b); ok {
		return value, 0
	}
	value, _ := float(b)
	whole := math.Floor(value)
	return int64(whole), int64(math.Round((value - whole) * 1e9))
}

// eventTime says where the seconds of an EventTime are, an extension of type 0 with two numbers of 32 bits; 0: no such.
func eventTime(b []byte) int {
	switch {
	case b[0] == 0xd7 && b[1] == 0:
		return 2
	case b[0] == 0xc7 && b[1] == 8 && b[2] == 0:
		return 3
	}
	return 0
}

// Metadata gives what Fluent Bit keeps beside the record; nil where there is none.
func (r *Record) Metadata() map[string]any {
	if !r.paired {
		return nil
	}
	b := r.input
	at := skip(b, r.time)
	metadata, _ := decode(b[at:skip(b, at)], 0).(map[string]any)
	return metadata
}

// isMarker says whether this is where a group of records begins or ends in Fluent Bit: an EventTime of second -1 or -2.
func (r *Record) isMarker() bool {
	b := r.input[r.time:]
	at := eventTime(b)
	if at == 0 || b[at] != 0xff {
		return false
	}
	b = b[at:]
	return b[1] == 0xff && b[2] == 0xff && b[3] >= 0xfe && b[4]|b[5]|b[6]|b[7] == 0
}

// write appends the record's map as it is now; neighbours that are as they came are copied together.
func (r *Record) write(to []byte) []byte {
	to = appendMapHeader(to, len(r.fields))
	var run, end uint32
	for at := range r.fields {
		f := &r.fields[at]
		if !f.keyMade && !f.valueMade {
			if f.key != end {
				to = append(to, r.input[run:end]...)
				run = f.key
			}
			end = f.end
			continue
		}
		to = append(to, r.input[run:end]...)
		run, end = 0, 0
		to = append(to, r.source(f.keyMade)[f.key:f.nameEnd]...)
		to = append(to, r.value(at)...)
	}
	return append(to, r.input[run:end]...)
}
