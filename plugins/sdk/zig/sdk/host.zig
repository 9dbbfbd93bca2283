//! What a plugin may ask of its host. A module imports only what it uses, and each but `log` must be granted.

const std = @import("std");
const logllm = @import("logllm.zig");
const Allocator = std.mem.Allocator;

pub const Level = enum(i32) { debug, info, warn, err };

const imports = struct {
    extern "logllm" fn log(level: i32, text: [*]const u8, len: usize) void;
    extern "logllm" fn now() i64;
    extern "logllm" fn random(place: [*]u8, len: usize) i32;
    extern "logllm" fn kv_get(key: [*]const u8, key_len: usize, place: [*]u8, room: usize) i32;
    extern "logllm" fn kv_set(key: [*]const u8, key_len: usize, value: [*]const u8, value_len: usize) i32;
    extern "logllm" fn metric(name: [*]const u8, len: usize, delta: i64) i32;
    extern "logllm" fn anomaly(score_milli: i32, json: [*]const u8, len: usize) i32;
    extern "logllm" fn ask(question: [*]const u8, len: usize) i32;
};

/// A line for the log, of at most 4096 bytes; some ten a second are written.
pub fn log(level: Level, comptime format: []const u8, arguments: anytype) void {
    if (comptime std.mem.indexOfScalar(u8, format, '{') == null) {
        return imports.log(@intFromEnum(level), format.ptr, format.len);
    }
    var line: [4096]u8 = undefined;
    var writer: std.Io.Writer = .fixed(&line);
    writer.print(format, arguments) catch {}; // what does not fit is cut
    imports.log(@intFromEnum(level), &line, writer.end);
}

/// Milliseconds since the epoch. Grant `clock`.
pub fn nowMs() i64 {
    return imports.now();
}

/// Fill with random bytes, at most 4096. Grant `random`.
pub fn random(place: []u8) error{Refused}!void {
    if (imports.random(place.ptr, place.len) != 0) return error.Refused;
}

pub const kv = struct {
    /// A copy of what is kept under a key. Grant `kv`.
    pub fn get(memory: Allocator, key: []const u8) Allocator.Error!?[]u8 {
        var place = try memory.alloc(u8, 256);
        while (true) {
            const size = imports.kv_get(key.ptr, key.len, place.ptr, place.len);
            if (size < 0) {
                memory.free(place);
                return null;
            }
            const length: usize = @intCast(size);
            const fits = length <= place.len;
            place = try memory.realloc(place, length);
            if (fits) return place;
        }
    }

    /// Keep a value; an empty one removes the key.
    pub fn set(key: []const u8, value: []const u8) error{NoRoom}!void {
        if (imports.kv_set(key.ptr, key.len, value.ptr, value.len) != 0) return error.NoRoom;
    }
};

/// Add to a counter of the plugin's own, [A-Za-z0-9_]{1,64}. Grant `metric`.
pub fn metric(name: []const u8, delta: i64) void {
    _ = imports.metric(name.ptr, name.len, delta);
}

pub const Anomaly = struct {
    rule: []const u8,
    text: []const u8,
    service: []const u8 = "",
    severity: u8 = 0,
};

/// Raise an anomaly, with how sure it is from 0 to 1; some sixteen a call. Grant `anomaly`.
pub fn anomaly(score: f64, what: Anomaly) (Allocator.Error || error{Refused})!void {
    const json = try std.json.Stringify.valueAlloc(logllm.temporary, what, .{});
    const milli: i32 = @trunc(@min(@max(score, 0), 1) * 1000);
    if (imports.anomaly(milli, json.ptr, json.len) != 0) return error.Refused;
}

/// Ask the model. The answer comes to `answer` under this ticket, before a later block. Grant `ask`.
pub fn ask(question: []const u8) error{Refused}!u32 {
    const ticket = imports.ask(question.ptr, question.len);
    return if (ticket > 0) @intCast(ticket) else error.Refused;
}
