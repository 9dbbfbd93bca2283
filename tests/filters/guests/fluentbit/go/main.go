// A Fluent Bit filter in Go, in the shape TinyGo gives those of Fluent Bit: it exports malloc and free, needs WASI,
// parses the record into a tree, changes it and writes it anew.
package main

import (
	"os"
	"strconv"
	"strings"
	"unsafe"
)

var places = map[uintptr][]byte{}

//go:wasmexport malloc
func malloc(size uint32) unsafe.Pointer {
	place := make([]byte, size+1)
	at := unsafe.Pointer(&place[0])
	places[uintptr(at)] = place
	return at
}

//go:wasmexport free
func free(at unsafe.Pointer) { delete(places, uintptr(at)) }

type value struct {
	text   string // of a scalar or a key, as it is written
	keys   []string
	values []*value
	open   byte // '{', '[' or 0
}

type parser struct {
	text []byte
	at   int
}

func (p *parser) space() byte {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		default:
			return p.text[p.at]
		}
	}
	panic("cut off")
}

func (p *parser) scalar() string {
	begin := p.at
	if p.text[p.at] == '"' {
		for p.at++; p.text[p.at] != '"'; p.at++ {
			if p.text[p.at] == '\\' {
				p.at++
			}
		}
		p.at++
		return string(p.text[begin:p.at])
	}
	for p.at < len(p.text) && p.text[p.at] != ',' && p.text[p.at] != '}' && p.text[p.at] != ']' {
		p.at++
	}
	return string(p.text[begin:p.at])
}

func (p *parser) value() *value {
	open := p.space()
	if open != '{' && open != '[' {
		return &value{text: p.scalar()}
	}
	made := &value{open: open}
	p.at++
	for p.space() != '}' && p.text[p.at] != ']' {
		if open == '{' {
			made.keys = append(made.keys, p.scalar())
			p.space()
			p.at++
		}
		made.values = append(made.values, p.value())
		if p.space() == ',' {
			p.at++
		}
	}
	p.at++
	return made
}

func (v *value) write(to []byte) []byte {
	if v.open == 0 {
		return append(to, v.text...)
	}
	to = append(to, v.open)
	for i, one := range v.values {
		if i > 0 {
			to = append(to, ',')
		}
		if v.open == '{' {
			to = append(append(to, v.keys[i]...), ':')
		}
		to = one.write(to)
	}
	return append(to, v.open+2)
}

func (v *value) get(key string) string {
	for i, name := range v.keys {
		if name == key {
			return v.values[i].text
		}
	}
	return ""
}

func (v *value) set(key, text string) {
	for i, name := range v.keys {
		if name == key {
			v.values[i] = &value{text: text}
			return
		}
	}
	v.keys = append(v.keys, key)
	v.values = append(v.values, &value{text: text})
}

// Sets the names in /data, and the sizes of the files that the tag names; tries to write one.
func (v *value) readFiles(tag string) {
	var names, sizes []string
	entries, _ := os.ReadDir("/data")
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	for _, name := range strings.Fields(tag) {
		if data, err := os.ReadFile(name); err == nil {
			sizes = append(sizes, strconv.Itoa(len(data)))
		} else {
			sizes = append(sizes, "-")
		}
	}
	if os.WriteFile("/data/written", []byte("x"), 0o600) == nil {
		names = append(names, "written")
	}
	v.set(`"names"`, strconv.Quote(strings.Join(names, " ")))
	v.set(`"read"`, strconv.Quote(strings.Join(sizes, " ")))
}

var answer []byte
var initialised = map[string]bool{"yes": true}

//go:wasmexport go_filter
func filter(tag unsafe.Pointer, tagLen, sec, nsec uint32, record unsafe.Pointer, recordLen uint32) unsafe.Pointer {
	p := parser{text: unsafe.Slice((*byte)(record), recordLen)}
	object := p.value()
	switch object.get(`"level"`) {
	case `"debug"`:
		return nil
	case `"panic"`:
		panic("told to")
	case `"print"`:
		println("printed by", string(unsafe.Slice((*byte)(tag), tagLen)))
	case `"files"`:
		object.readFiles(string(unsafe.Slice((*byte)(tag), tagLen)))
	}
	if !initialised["yes"] {
		return nil
	}
	object.set(`"tag"`, `"`+string(unsafe.Slice((*byte)(tag), tagLen))+`"`)
	object.set(`"time"`, strconv.FormatUint(uint64(sec), 10))
	answer = append(object.write(answer[:0]), 0)
	return unsafe.Pointer(&answer[0])
}

func main() {}
