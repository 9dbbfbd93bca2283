//! Makes fields of a line that is JSON, logfmt or of an access log. A line that is none of them, or broken, stays.

const std = @import("std");
const logllm = @import("logllm");
const fields = @import("fields.zig");
const json = @import("json.zig");
const logfmt = @import("logfmt.zig");
const access = @import("access.zig");
const memory = logllm.temporary;

pub const Config = struct {
    fields: []const []const u8 = &.{ "log", "message" },
    logfmt: bool = true,
    json: bool = true,
    access: bool = true,
    keep_original: bool = false,
    prefix: []const u8 = "",
};

var config: Config = .{};

pub fn init(given: Config) !void {
    config = given;
}

pub fn filter(record: *logllm.Record) !logllm.Verdict {
    if (record.fields.items.len > fields.most) return .keep;
    for (config.fields) |name| {
        const value = record.get(name) orelse continue;
        const line = value.data() orelse continue;
        const found = try parsed(line) orelse continue;
        if (times(record, name) > 1) return .keep;
        try put(record, name, found);
        break;
    }
    return .keep;
}

/// What a line says; null where it is of no kind that is looked for.
fn parsed(line: []const u8) error{OutOfMemory}!?fields.Found {
    const text = std.mem.trim(u8, line, " \t\r\n");
    if (text.len < 3) return null;
    const Parser = *const fn ([]const u8, *fields.Found) fields.Error!void;
    // The last characters tell which kinds are out of the question.
    const kinds = [_]struct { wanted: bool, parse: Parser }{
        .{ .wanted = config.json and text[0] == '{' and text[text.len - 1] == '}', .parse = &json.parse },
        .{ .wanted = config.access and text[0] != '{', .parse = &access.parse },
        .{ .wanted = config.logfmt and text[0] != '{', .parse = &logfmt.parse },
    };
    for (kinds) |kind| if (kind.wanted) {
        var found: fields.Found = .{};
        if (kind.parse(text, &found)) |_| return found else |why| switch (why) {
            error.NotOne => {},
            error.OutOfMemory => return error.OutOfMemory,
        }
    };
    return null;
}

fn times(record: *const logllm.Record, name: []const u8) usize {
    var count: usize = 0;
    for (record.fields.items) |one| count += @intFromBool(logllm.msgpack.isText(one.key, name));
    return count;
}

/// The found fields into the record. None that is there is lost: where a name is taken, the new field gets another one.
fn put(record: *logllm.Record, source: []const u8, found: fields.Found) !void {
    const names = found.names.items;
    if (config.prefix.len > 0) for (names) |*name| {
        name.* = try std.mem.concat(memory, u8, &.{ config.prefix, name.* });
    };
    if (!config.keep_original) record.remove(source);
    const final = try memory.alloc(?[]const u8, names.len);
    for (final, names, 0..) |*one, name, at| {
        one.* = try free(record, names, final[0..at], name, found.value(at));
    }
    for (final, 0..) |one, at| if (one) |name| try record.set(name, found.value(at));
}

/// The name a value gets; null where the record has it already.
fn free(
    record: *const logllm.Record,
    names: []const []const u8,
    given: []const ?[]const u8,
    name: []const u8,
    value: logllm.Value,
) !?[]const u8 {
    const there = record.get(name) orelse return name;
    if (std.mem.eql(u8, there.bytes, value.bytes)) return null;
    var other = try std.mem.concat(memory, u8, &.{ "parsed_", name });
    while (record.get(other) != null or isAmong(names, given, other)) {
        other = try std.mem.concat(memory, u8, &.{ other, "_" });
    }
    return other;
}

fn isAmong(names: []const []const u8, given: []const ?[]const u8, name: []const u8) bool {
    for (names) |one| if (std.mem.eql(u8, one, name)) return true;
    for (given) |one| if (one != null and std.mem.eql(u8, one.?, name)) return true;
    return false;
}

comptime {
    logllm.plugin(@This());
}
