package logllm

import (
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// Each of these is imported by a plugin that calls it, and by no other. All but Log must be granted to the plugin by
// name: clock, random, kv, metric, anomaly, ask.

//go:wasmimport logllm log
func hostLog(level uint32, text string)

//go:wasmimport logllm now
func hostNow() int64

//go:wasmimport logllm random
func hostRandom(at unsafe.Pointer, size uint32) int32

//go:wasmimport logllm kv_get
func hostGet(key string, at unsafe.Pointer, room uint32) int32

//go:wasmimport logllm kv_set
func hostSet(key, value string) int32

//go:wasmimport logllm metric
func hostMetric(name string, delta int64) int32

//go:wasmimport logllm anomaly
func hostAnomaly(scoreMilli int32, json string) int32

//go:wasmimport logllm ask
func hostAsk(question string) int32

// Level is how important a line of the plugin's log is.
type Level uint32

const (
	Debug Level = iota
	Info
	Warning
	Error
)

// Log writes a line to the plugin's log. The host drops lines beyond ten a second.
func Log(level Level, text string) { hostLog(uint32(level), text) }

// Now gives the wall clock, in milliseconds since the epoch. Grant: clock.
func Now() int64 { return hostNow() }

// Random fills b from the system's generator, 4096 bytes at most a call. Grant: random.
func Random(b []byte) bool {
	return hostRandom(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b))) == 0
}

// KVGet gives the value kept under a key; ok is false where there is none. Values outlive the instance. Grant: kv.
func KVGet(key string) (value string, ok bool) {
	room := make([]byte, 256)
	for {
		size := hostGet(key, unsafe.Pointer(unsafe.SliceData(room)), uint32(len(room)))
		if size < 0 {
			return "", false
		}
		if int(size) <= len(room) {
			return string(room[:size]), true
		}
		room = make([]byte, size)
	}
}

// KVSet keeps a value under a key; an empty one removes it. False: there is no room for it. Grant: kv.
func KVSet(key, value string) bool { return hostSet(key, value) == 0 }

// Metric adds to a counter of the plugin's own; its name is made of letters, digits and `_`. Grant: metric.
func Metric(name string, delta int64) bool { return hostMetric(name, delta) == 0 }

// Odd is an anomaly a plugin has found.
type Odd struct {
	Rule     string // what the plugin calls this kind of thing
	Text     string // what a person reads
	Service  string // whose it is, or ""
	Severity int    // OpenTelemetry's number, 0 for none
}

// Anomaly raises one, with how sure the plugin is, from 0 to 1. The host takes 16 of a block. Grant: anomaly.
func Anomaly(score float64, odd Odd) bool {
	json := appendJSON([]byte(`{"rule":`), odd.Rule)
	json = appendJSON(append(json, `,"text":`...), odd.Text)
	json = appendJSON(append(json, `,"service":`...), odd.Service)
	json = strconv.AppendInt(append(json, `,"severity":`...), int64(odd.Severity), 10)
	return hostAnomaly(int32(score*1000), string(append(json, '}'))) == 0
}

// Ask puts a question to the model and gives a ticket at once; the answer comes to OnAnswer's function, before a later
// block. Not ok: too many are open, or there is no model. Grant: ask.
func Ask(question string) (ticket int32, ok bool) {
	ticket = hostAsk(question)
	return ticket, ticket > 0
}

func appendJSON(to []byte, text string) []byte {
	const hex = "0123456789abcdef"
	to = append(to, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			to = append(to, '\\', byte(c))
		case c < 0x20:
			to = append(to, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			to = utf8.AppendRune(to, c)
		}
	}
	return append(to, '"')
}
