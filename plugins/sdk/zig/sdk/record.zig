//! One record: its fields where they lie, and what was changed of them.

const std = @import("std");
const msgpack = @import("msgpack.zig");
const logllm = @import("logllm.zig");
const Allocator = std.mem.Allocator;
const Value = msgpack.Value;

// Both are whole objects; an empty key is a field that was removed.
const Field = struct { key: []const u8, value: []const u8 };

pub const Record = struct {
    /// All of the entry that comes before its record.
    head: []const u8 = &.{},
    stamp: []const u8 = &.{},
    about: ?[]const u8 = null,
    fields: std.ArrayList(Field) = .empty,
    changed: bool = false,

    /// Take the head of the entry that begins there; where its record begins, null where there is no entry.
    pub inline fn readHead(self: *Record, bytes: []const u8, from: usize) ?usize {
        const first = pair(bytes, from) orelse return null;
        if (first >= bytes.len) return null;
        const inner = switch (bytes[first]) {
            0x90...0x9f, 0xdc, 0xdd => pair(bytes, first) orelse return null,
            else => first,
        };
        const behind = msgpack.skip(bytes, inner) orelse return null;
        self.stamp = bytes[inner..behind];
        const map = if (inner == first) behind else msgpack.skip(bytes, behind) orelse return null;
        self.about = if (inner == first) null else bytes[behind..map];
        self.head = bytes[from..map];
        return map;
    }

    inline fn pair(bytes: []const u8, from: usize) ?usize {
        if (from >= bytes.len) return null;
        if (bytes[from] == 0x92) return from + 1;
        const found = msgpack.members(bytes[from..], .array) orelse return null;
        return if (found.count == 2) from + found.start else null;
    }

    /// The start and the end of a group are no records: EventTimes of seconds -1 and -2, and nothing else is one.
    pub inline fn isMarker(self: *const Record) bool {
        const stamp = self.stamp;
        const kind: usize = if (stamp[0] == 0xd7) 1 else if (stamp[0] == 0xc7 and stamp[1] == 8) 2 else return false;
        return stamp[kind] == 0 and msgpack.big(u32, stamp[kind + 1 ..]) >= 0xffff_fffe and
            msgpack.big(u32, stamp[kind + 5 ..]) == 0;
    }

    /// Where the record that begins there ends; null where there is none.
    pub inline fn read(self: *Record, memory: Allocator, bytes: []const u8, from: usize) Allocator.Error!?usize {
        self.fields.clearRetainingCapacity();
        self.changed = false;
        const found = msgpack.members(bytes[from..], .map) orelse return null;
        var at = from + found.start;
        if (found.count > (bytes.len - at) / 2) return null;
        try self.fields.ensureTotalCapacity(memory, found.count);
        self.fields.items.len = found.count;
        for (self.fields.items) |*one| {
            const value = msgpack.skip(bytes, at) orelse return null;
            const end = msgpack.skip(bytes, value) orelse return null;
            one.* = .{ .key = bytes[at..value], .value = bytes[value..end] };
            at = end;
        }
        return at;
    }

    inline fn find(self: *const Record, name: []const u8) ?*Field {
        var at = self.fields.items.len;
        while (at > 0) {
            at -= 1;
            const one = &self.fields.items[at];
            if (one.key.len > 0 and msgpack.isText(one.key, name)) return one;
        }
        return null;
    }

    /// A field of any kind.
    pub inline fn get(self: *const Record, name: []const u8) ?Value {
        return if (self.find(name)) |one| .{ .bytes = one.value } else null;
    }

    /// Whether a field is there and is this string.
    pub inline fn is(self: *const Record, name: []const u8, text: []const u8) bool {
        return if (self.find(name)) |one| msgpack.isText(one.value, text) else false;
    }

    pub inline fn string(self: *const Record, name: []const u8) ?[]const u8 {
        return if (self.get(name)) |one| one.string() else null;
    }

    pub inline fn int(self: *const Record, name: []const u8) ?i64 {
        return if (self.get(name)) |one| one.int() else null;
    }

    pub inline fn float(self: *const Record, name: []const u8) ?f64 {
        return if (self.get(name)) |one| one.float() else null;
    }

    pub inline fn boolean(self: *const Record, name: []const u8) ?bool {
        return if (self.get(name)) |one| one.boolean() else null;
    }

    /// A field within fields: "kubernetes.labels.app".
    pub fn path(self: *const Record, names: []const u8) ?Value {
        var parts = std.mem.splitScalar(u8, names, '.');
        var found = self.get(parts.first());
        while (parts.next()) |name| found = (found orelse return null).get(name);
        return found;
    }

    /// Set a field: a string, an integer, a float, a boolean, null, a slice or a struct of these, or a `Value`.
    pub fn set(self: *Record, name: []const u8, value: anytype) Allocator.Error!void {
        const new = try msgpack.encode(logllm.temporary, value);
        if (self.find(name)) |one| {
            self.removeOthers(name, one);
            if (std.mem.eql(u8, one.value, new.bytes)) return;
            one.value = new.bytes;
        } else {
            const key = try msgpack.encode(logllm.temporary, name);
            try self.fields.append(logllm.memory, .{ .key = key.bytes, .value = new.bytes });
        }
        self.changed = true;
    }

    pub fn remove(self: *Record, name: []const u8) void {
        self.removeOthers(name, null);
    }

    fn removeOthers(self: *Record, name: []const u8, but: ?*Field) void {
        for (self.fields.items) |*one| {
            if (one == but or one.key.len == 0 or !msgpack.isText(one.key, name)) continue;
            one.key = &.{};
            self.changed = true;
        }
    }

    /// Call a field something else, in its place; another field of the new name goes.
    pub fn rename(self: *Record, name: []const u8, to: []const u8) Allocator.Error!void {
        const one = self.find(name) orelse return;
        if (std.mem.eql(u8, name, to)) return;
        const key = try msgpack.encode(logllm.temporary, to);
        self.removeOthers(name, one);
        self.removeOthers(to, one);
        one.key = key.bytes;
        self.changed = true;
    }

    pub const Iterator = struct {
        fields: []const Field,

        pub fn next(self: *Iterator) ?Value.Pair {
            while (self.fields.len > 0) {
                const one = self.fields[0];
                self.fields = self.fields[1..];
                if (one.key.len > 0) return .{ .key = .{ .bytes = one.key }, .value = .{ .bytes = one.value } };
            }
            return null;
        }
    };

    /// All fields. Do not set or remove any while iterating.
    pub fn iterate(self: *const Record) Iterator {
        return .{ .fields = self.fields.items };
    }

    pub const Time = struct { seconds: i64, nanoseconds: u32 };

    pub fn time(self: *const Record) Time {
        const event: usize = switch (self.stamp[0]) {
            0xd7 => if (self.stamp[1] == 0) 2 else 0,
            0xc7 => if (self.stamp[1] == 8 and self.stamp[2] == 0) 3 else 0,
            else => 0,
        };
        if (event > 0) return .{
            .seconds = msgpack.big(u32, self.stamp[event..]),
            .nanoseconds = msgpack.big(u32, self.stamp[event + 4 ..]),
        };
        const value = Value{ .bytes = self.stamp };
        if (value.int()) |seconds| return .{ .seconds = seconds, .nanoseconds = 0 };
        const number = value.float() orelse 0;
        if (!(@abs(number) < 1e15)) return .{ .seconds = 0, .nanoseconds = 0 };
        const whole = @floor(number);
        return .{ .seconds = @trunc(whole), .nanoseconds = @trunc((number - whole) * 1e9) };
    }

    /// What came along with the record, a map; null where it came without.
    pub fn metadata(self: *const Record) ?Value {
        return if (self.about) |bytes| .{ .bytes = bytes } else null;
    }

    pub fn write(self: *const Record, memory: Allocator, out: *std.ArrayList(u8)) Allocator.Error!void {
        var live: usize = 0;
        for (self.fields.items) |one| live += @intFromBool(one.key.len > 0);
        try out.appendSlice(memory, self.head);
        try msgpack.writeCount(memory, out, live, .map);
        // Bytes that follow each other are copied at once.
        var from: []const u8 = &.{};
        for (self.fields.items) |one| {
            if (one.key.len == 0) continue;
            for ([_][]const u8{ one.key, one.value }) |piece| {
                if (from.ptr + from.len == piece.ptr) {
                    from.len += piece.len;
                } else {
                    try out.appendSlice(memory, from);
                    from = piece;
                }
            }
        }
        try out.appendSlice(memory, from);
    }
};
