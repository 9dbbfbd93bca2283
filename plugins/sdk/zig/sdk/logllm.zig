//! Write a logllm filter in Zig (ABI v1, freestanding):
//!
//!     const logllm = @import("logllm");
//!
//!     pub fn filter(record: *logllm.Record) !logllm.Verdict {
//!         if (record.is("level", "debug")) return .drop;
//!         try record.set("seen_by", "me");
//!         return .keep;
//!     }
//!
//!     comptime {
//!         logllm.plugin(@This());
//!     }
//!
//! `filter` is called once a record. Records it leaves alone are copied byte for byte; a block in which nothing changed
//! is not copied at all. An error it returns fails the call, and the configuration says what becomes of the records.
//! What it reads, and what `temporary` allocates, lives until it returns; `memory` gives what lives longer.
//!
//! It may also declare
//!
//!     pub const Config = struct { most: u32 = 10, words: []const []const u8 = &.{} };   what `config` may hold
//!     pub fn init(config: Config) !void                      once, first; an error refuses the configuration
//!     pub fn answer(ticket: u32, text: []const u8) !void     the answer to an `ask`
//!     pub fn flush(now_ms: i64) !void                        about once a second and at the end: `emit` what was held back
//!     pub fn save() !?[]const u8                             the state to keep
//!     pub fn load(state: []const u8) !void                   an error refuses it
//!
//! Of two fields with one name the last counts; setting or removing a field removes its doubles.

const std = @import("std");
const Allocator = std.mem.Allocator;

pub const msgpack = @import("msgpack.zig");
pub const host = @import("host.zig");
pub const Record = @import("record.zig").Record;
pub const Value = msgpack.Value;
pub const log = host.log;

pub const Verdict = enum { keep, drop };
pub const Error = Allocator.Error;

/// For what outlives a record.
pub const memory: Allocator = std.heap.wasm_allocator;
var scratch: @import("scratch.zig").Scratch = .{ .behind = memory };
/// For what does not: all of it is free again when `filter`, or another function of the plugin, returns.
pub const temporary: Allocator = scratch.allocator();

var input: []u8 = &.{};
var output: std.ArrayList(u8) = .empty;
var current_tag: std.ArrayList(u8) = .empty;
var record: Record = .{};
var emitted: u32 = 0;
// What lies between is untouched and not yet copied; `here` is where the current entry begins.
var block: []const u8 = &.{};
var run: usize = 0;
var here: usize = 0;

/// The tag of the records that are being filtered.
pub fn tag() []const u8 {
    return current_tag.items;
}

/// One more entry, before the record that is being filtered, or out of a flush. `fields` is a struct or a map `Value`.
pub fn emit(seconds: u32, nanoseconds: u32, fields: anytype) Error!void {
    const value = try msgpack.encode(temporary, fields);
    try copyRun(here);
    var head = [_]u8{ 0x92, 0x92, 0xd7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80 };
    std.mem.writeInt(u32, head[4..8], seconds, .big);
    std.mem.writeInt(u32, head[8..12], nanoseconds, .big);
    try output.appendSlice(memory, &head);
    try output.appendSlice(memory, value.bytes);
    emitted += 1;
}

fn copyRun(end: usize) Error!void {
    try output.ensureUnusedCapacity(memory, end - run);
    output.appendSliceAssumeCapacity(block[run..end]);
    run = end;
}

const Mode = enum(u32) { pass = 0, replace = 2, failed = 0xffff_ff00 };
const Result = extern struct {
    mode: Mode = .pass,
    n_in: u32 = 0,
    n_out: u32 = 0,
    ptr: [*]const u8 = "",
    len: usize = 0,
    keep: usize = 0,
    err: [*]const u8 = "",
    err_len: usize = 0,
};
var result: Result = .{};

fn begin(bytes: []const u8) void {
    scratch.reset();
    output.clearRetainingCapacity();
    block = bytes;
    run = 0;
    here = 0;
    emitted = 0;
}

fn failed(why: anyerror) *const Result {
    const words = if (why == error.Malformed) "this is no block of entries" else @errorName(why);
    result = .{ .mode = .failed, .err = words.ptr, .err_len = words.len };
    return &result;
}

fn answered(n_in: u32, n_out: u32, changed: bool) *const Result {
    result = .{ .mode = if (changed) .replace else .pass, .n_in = n_in, .n_out = n_out };
    result.ptr = output.items.ptr;
    result.len = output.items.len;
    return &result;
}

fn process(comptime Plugin: type, bytes: []const u8) !*const Result {
    var n_in: u32 = 0;
    var n_out: u32 = 0;
    var touched = false;
    begin(bytes);
    while (here < bytes.len) {
        const map = record.readHead(bytes, here) orelse return error.Malformed;
        const end = try record.read(memory, bytes, map) orelse return error.Malformed;
        n_in += 1;
        n_out += 1;
        if (!record.isMarker()) {
            const verdict: Verdict = try @as(anyerror!Verdict, Plugin.filter(&record));
            if (verdict == .drop or record.changed) {
                touched = true;
                try copyRun(here);
                if (verdict == .keep) try record.write(memory, &output) else n_out -= 1;
                run = end;
            }
            scratch.reset();
        }
        here = end;
    }
    if (!touched and emitted == 0) return answered(n_in, n_in, false);
    try copyRun(bytes.len);
    return answered(n_in, n_out + emitted, true);
}

/// Make a namespace with a function `filter` the plugin; call it once, in a comptime block.
pub fn plugin(comptime Plugin: type) void {
    const exports = struct {
        fn abi() callconv(.c) u32 {
            return 0x0001_0000;
        }

        fn buffer(size: u32) callconv(.c) ?[*]u8 {
            if (size > input.len or input.len == 0) {
                memory.free(input);
                input = &.{};
                input = memory.alloc(u8, @max(size, 4096)) catch return null;
            }
            return input.ptr;
        }

        fn init(bytes: [*]const u8, size: u32) callconv(.c) i32 {
            begin("");
            if (@hasDecl(Plugin, "init")) {
                start(bytes[0..size]) catch |why| {
                    log(.err, "config: {s}", .{@errorName(why)});
                    return 1;
                };
            }
            return 0;
        }

        fn start(text: []const u8) !void {
            if (!@hasDecl(Plugin, "Config")) return @as(anyerror!void, Plugin.init());
            // What is parsed points into the text, which has to stay.
            const kept = try memory.dupe(u8, text);
            var problem: std.json.Diagnostics = .{};
            var scanner = std.json.Scanner.initCompleteInput(memory, kept);
            scanner.enableDiagnostics(&problem);
            const config = std.json.parseFromTokenSourceLeaky(Plugin.Config, memory, &scanner, .{}) catch |why| {
                log(.warn, "config: at byte {d} of {s}", .{ problem.getByteOffset(), kept });
                return why;
            };
            return @as(anyerror!void, Plugin.init(config));
        }

        fn takeTag(bytes: [*]const u8, size: u32) callconv(.c) void {
            current_tag.clearRetainingCapacity();
            current_tag.appendSlice(memory, bytes[0..size]) catch {};
        }

        fn run_(bytes: [*]const u8, size: u32, flags: u32) callconv(.c) *const Result {
            _ = flags;
            return process(Plugin, bytes[0..size]) catch |why| failed(why);
        }

        fn flush(now_ms: i64) callconv(.c) *const Result {
            begin("");
            @as(anyerror!void, Plugin.flush(now_ms)) catch |why| return failed(why);
            return answered(0, emitted, emitted > 0);
        }

        fn answer(ticket: u32, bytes: [*]const u8, size: u32) callconv(.c) void {
            begin("");
            @as(anyerror!void, Plugin.answer(ticket, bytes[0..size])) catch |why| {
                log(.err, "answer: {s}", .{@errorName(why)});
            };
        }

        fn save() callconv(.c) *const Result {
            begin("");
            const state = @as(anyerror!?[]const u8, Plugin.save()) catch |why| return failed(why);
            _ = answered(0, 0, state != null);
            if (state) |bytes| {
                result.ptr = bytes.ptr;
                result.len = bytes.len;
            }
            return &result;
        }

        fn load(bytes: [*]const u8, size: u32) callconv(.c) i32 {
            begin("");
            @as(anyerror!void, Plugin.load(bytes[0..size])) catch |why| {
                log(.err, "state: {s}", .{@errorName(why)});
                return 1;
            };
            return 0;
        }
    };
    @export(&exports.abi, .{ .name = "logllm_abi" });
    @export(&exports.buffer, .{ .name = "logllm_buffer" });
    @export(&exports.init, .{ .name = "logllm_init" });
    @export(&exports.takeTag, .{ .name = "logllm_tag" });
    @export(&exports.run_, .{ .name = "logllm_process" });
    if (@hasDecl(Plugin, "flush")) @export(&exports.flush, .{ .name = "logllm_flush" });
    if (@hasDecl(Plugin, "answer")) @export(&exports.answer, .{ .name = "logllm_answer" });
    if (@hasDecl(Plugin, "save")) @export(&exports.save, .{ .name = "logllm_state_save" });
    if (@hasDecl(Plugin, "load")) @export(&exports.load, .{ .name = "logllm_state_load" });
}
