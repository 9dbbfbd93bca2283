const logllm = @import("logllm");

/// Called once a record. Look at it, change it, and say whether it stays.
pub fn filter(record: *logllm.Record) !logllm.Verdict {
    if (record.is("level", "debug")) return .drop;
    if (record.is("level", "error")) try record.set("seen_by", "{{name}}");
    return .keep;
}

comptime {
    logllm.plugin(@This());
}
