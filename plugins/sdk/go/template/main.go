package main

import logllm "logllm/{{name}}/sdk"

func init() {
	logllm.Filter(filter)
}

// filter is called with every record. It returns whether the record is kept.
func filter(record *logllm.Record) bool {
	level, _ := record.GetString("level")
	switch level {
	case "debug":
		return false
	case "error":
		record.SetString("seen_by", "{{name}}")
	}
	return true
}

// A plugin is a library: main is never called, but Go wants one.
func main() {}
