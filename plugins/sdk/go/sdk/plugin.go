package logllm

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strconv"
	"unsafe"
)

const abi = 1 << 16 // major<<16 | minor

const (
	replace = 2
	failed  = 0xffffff01
)

// result is what logllm_process points at.
type result struct {
	mode, in, out, at, size, keep, whyAt, whySize uint32
}

// All of this is reused, block after block: a filter that makes nothing makes no work for the garbage collector.
var (
	filter    func(*Record) bool
	configure func([]byte) bool
	answered  func(int32, string)
	flushed   func(int64)
	saved     func() []byte
	loaded    func([]byte) bool
	input     []byte
	output    []byte
	why       []byte
	emitted   []byte // records the filter made, and how many
	emissions uint32
	tag       string
	record    Record
	answer    result
)

// Filter names the function that every record goes through: true keeps it, as it is or was changed; false drops it.
// Call it in an init function.
func Filter(f func(*Record) bool) { filter = f }

// OnConfig names the function that gets the plugin's configuration, JSON, once and before the first record. An error
// refuses it: the plugin is not started, and its text is shown.
func OnConfig(f func(json []byte) error) {
	configure = func(json []byte) bool { return accepted(f(json)) }
}

// accepted shows the error there is. It is out of reach, and so Log is not imported, in a plugin that cannot refuse.
func accepted(err error) bool {
	if err != nil {
		Log(Error, err.Error())
	}
	return err == nil
}

// OnAnswer names the function that gets the answers to what was asked with Ask.
func OnAnswer(f func(ticket int32, text string)) { answered = f }

// OnFlush names the function that is called about once a second and at the end, with the time in milliseconds since
// the epoch, to Emit what was held back.
func OnFlush(f func(nowMs int64)) { flushed = f }

// OnSave names the function that gives the plugin's state, for a restart or a new version of it; nil for none.
func OnSave(f func() []byte) { saved = f }

// OnLoad names the function that takes the state back, before any record. An error: it will not have it.
func OnLoad(f func(state []byte) error) {
	loaded = func(state []byte) bool { return accepted(f(state)) }
}

// Emit makes a record that was not there before: it comes before the one that is looked at, or, from OnFlush's
// function, at the end. Its fields are what Set takes.
func Emit(seconds, nanoseconds uint32, fields map[string]any) {
	emitted = append(emitted, 0x92, 0x92, 0xd7, 0) // [[EventTime, metadata], record]
	emitted = binary.BigEndian.AppendUint32(emitted, seconds)
	emitted = binary.BigEndian.AppendUint32(emitted, nanoseconds)
	emitted = appendValue(append(emitted, 0x80), fields)
	emissions++
}

//go:wasmexport logllm_abi
func exportABI() uint32 { return abi }

//go:wasmexport logllm_buffer
func exportBuffer(size uint32) unsafe.Pointer {
	const least, most = 1 << 16, 1 << 30
	if size > most {
		return nil
	}
	if int(size) > len(input) {
		input = nil // before the larger one is made: both together may be more than the plugin may have
		input = make([]byte, max(least, 1<<bits.Len32(size-1)))
	} else if len(input) == 0 {
		input = make([]byte, least)
	}
	return unsafe.Pointer(&input[0])
}

//go:wasmexport logllm_init
func exportInit(at unsafe.Pointer, size uint32) int32 {
	if configure == nil || configure(slices.Clone(view(at, size))) {
		return 0
	}
	return 1
}

//go:wasmexport logllm_tag
func exportTag(at unsafe.Pointer, size uint32) { tag = string(view(at, size)) }

//go:wasmexport logllm_answer
func exportAnswer(ticket int32, at unsafe.Pointer, size uint32) {
	if answered != nil {
		answered(ticket, string(view(at, size)))
	}
}

//go:wasmexport logllm_flush
func exportFlush(nowMs int64) unsafe.Pointer {
	answer = result{}
	output = output[:0]
	call(func() {
		if flushed != nil {
			flushed(nowMs)
		}
		if emissions > 0 {
			takeEmitted()
			replaced()
		}
	})
	return unsafe.Pointer(&answer)
}

//go:wasmexport logllm_state_save
func exportSave() unsafe.Pointer {
	answer = result{}
	call(func() {
		if saved == nil {
			return
		}
		if state := saved(); state != nil {
			output = append(output[:0], state...)
			replaced()
		}
	})
	return unsafe.Pointer(&answer)
}

//go:wasmexport logllm_state_load
func exportLoad(at unsafe.Pointer, size uint32) int32 {
	if loaded == nil || loaded(slices.Clone(view(at, size))) {
		return 0
	}
	return 1
}

//go:wasmexport logllm_process
func exportProcess(at unsafe.Pointer, size, flags uint32) unsafe.Pointer {
	answer = result{}
	call(func() { process(view(at, size)) })
	return unsafe.Pointer(&answer)
}

// call fails the call where the author's code panics, and not the plugin: the host finds the record by halving.
func call(f func()) {
	defer func() {
		if cause := recover(); cause != nil {
			fail(explain(cause))
		}
	}()
	f()
}

// process walks a block. What stays as it was is copied in runs, and only once something has changed.
func process(block []byte) {
	output = output[:0]
	changed := false
	run := 0 // what begins here and is not in output yet stays as it is
	for at := 0; at < len(block); answer.in++ {
		begin, end := record.entry(block, at)
		if end < 0 {
			fail("it is no [time, map]")
			return
		}
		keep := record.isMarker() || filter(&record)
		if emissions > 0 {
			output = append(output, block[run:at]...)
			run, changed = at, true
			takeEmitted()
		}
		if !keep {
			output = append(output, block[run:at]...)
			run, changed = end, true
		} else {
			answer.out++
			if record.changed {
				output = append(output, block[run:begin]...)
				output = record.write(output)
				run, changed = end, true
			}
		}
		at = end
	}
	if changed {
		output = append(output, block[run:]...)
		replaced()
	}
}

func takeEmitted() {
	output = append(output, emitted...)
	answer.out += emissions
	emitted, emissions = emitted[:0], 0
}

// replaced makes output the answer.
func replaced() {
	answer.mode = replace
	answer.at, answer.size = address(output), uint32(len(output))
}

func address(b []byte) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// entry reads `[time, map]` or `[[time, metadata], map]`: where its map begins and ends, the latter -1 for no entry.
func (r *Record) entry(block []byte, at int) (begin, end int) {
	// As Fluent Bit writes it: a pair, its EventTime, no metadata.
	if b := block[at:]; len(b) > 13 && b[0] == 0x92 && b[1] == 0x92 && b[2] == 0xd7 && b[12] == 0x80 {
		r.time, r.paired = at+2, true
		return at + 13, r.read(block, at+13)
	}
	count, at, ok := arrayHeader(block, at)
	if !ok || count != 2 {
		return 0, -1
	}
	if begin = skip(block, at); begin < 0 {
		return 0, -1
	}
	count, first, isPair := arrayHeader(block, at)
	if isPair && count != 2 {
		return 0, -1
	}
	r.time, r.paired = at, isPair
	if isPair {
		r.time = first
	}
	return begin, r.read(block, begin)
}

func fail(reason string) {
	why = append(why[:0], "record "...)
	why = strconv.AppendUint(why, uint64(answer.in), 10)
	why = append(why, ": "...)
	why = append(why, reason...)
	answer = result{mode: failed, in: answer.in, whyAt: address(why), whySize: uint32(len(why))}
	emitted, emissions = emitted[:0], 0
}

func explain(cause any) string {
	switch v := cause.(type) {
	case error:
		return v.Error()
	case string:
		return v
	}
	return "the filter panicked"
}

func view(at unsafe.Pointer, size uint32) []byte {
	if size == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(at), size)
}
