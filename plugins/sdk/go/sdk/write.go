package logllm

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
)

func appendHeader(to []byte, count int, fix byte, most int, wide byte) []byte {
	switch {
	case count <= most:
		return append(to, fix|byte(count))
	case count <= 0xffff:
		return binary.BigEndian.AppendUint16(append(to, wide), uint16(count))
	}
	return binary.BigEndian.AppendUint32(append(to, wide+1), uint32(count))
}

func appendMapHeader(to []byte, count int) []byte { return appendHeader(to, count, 0x80, 15, 0xde) }

func appendText(to []byte, value string) []byte {
	if len(value) > 31 && len(value) < 256 {
		to = append(to, 0xd9, byte(len(value)))
	} else {
		to = appendHeader(to, len(value), 0xa0, 31, 0xda)
	}
	return append(to, value...)
}

func appendInt(to []byte, value int64) []byte {
	switch {
	case value >= 0:
		return appendUint(to, uint64(value))
	case value >= -32:
		return append(to, byte(value))
	case value >= math.MinInt8:
		return append(to, 0xd0, byte(value))
	case value >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(to, 0xd1), uint16(value))
	case value >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(to, 0xd2), uint32(value))
	}
	return binary.BigEndian.AppendUint64(append(to, 0xd3), uint64(value))
}

func appendUint(to []byte, value uint64) []byte {
	switch {
	case value < 0x80:
		return append(to, byte(value))
	case value <= math.MaxUint8:
		return append(to, 0xcc, byte(value))
	case value <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(to, 0xcd), uint16(value))
	case value <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(to, 0xce), uint32(value))
	}
	return binary.BigEndian.AppendUint64(append(to, 0xcf), value)
}

func appendBytes(to []byte, value []byte) []byte {
	if len(value) < 256 {
		to = append(to, 0xc4, byte(len(value)))
	} else {
		to = appendHeader(to, len(value), 0, -1, 0xc5)
	}
	return append(to, value...)
}

// appendValue writes what Set takes. Maps are written in the order of their keys: the same record, the same bytes.
func appendValue(to []byte, value any) []byte {
	switch v := value.(type) {
	case nil:
		return append(to, 0xc0)
	case string:
		return appendText(to, v)
	case bool:
		if v {
			return append(to, 0xc3)
		}
		return append(to, 0xc2)
	case int:
		return appendInt(to, int64(v))
	case int64:
		return appendInt(to, v)
	case int32:
		return appendInt(to, int64(v))
	case uint32:
		return appendUint(to, uint64(v))
	case uint64:
		return appendUint(to, v)
	case float64:
		return binary.BigEndian.AppendUint64(append(to, 0xcb), math.Float64bits(v))
	case []byte:
		return appendBytes(to, v)
	case []string:
		to = appendHeader(to, len(v), 0x90, 15, 0xdc)
		for _, one := range v {
			to = appendText(to, one)
		}
		return to
	case []any:
		to = appendHeader(to, len(v), 0x90, 15, 0xdc)
		for _, one := range v {
			to = appendValue(to, one)
		}
		return to
	case map[string]string:
		to = appendMapHeader(to, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			to = appendText(appendText(to, name), v[name])
		}
		return to
	case map[string]any:
		to = appendMapHeader(to, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			to = appendValue(appendText(to, name), v[name])
		}
		return to
	}
	panic("Set takes nil, bool, string, []byte, int, int32, int64, uint32, uint64, float64, and lists and maps of them")
}
