//! MessagePack where it lies: every length is checked against what is there, nothing recurses.

const std = @import("std");
const Allocator = std.mem.Allocator;

pub const Kind = enum { nil, boolean, int, float, string, binary, array, map, ext };

/// One whole object, as its bytes.
pub const Value = struct {
    bytes: []const u8,

    pub fn kind(self: Value) Kind {
        return switch (self.bytes[0]) {
            0x00...0x7f, 0xe0...0xff, 0xcc...0xd3 => .int,
            0x80...0x8f, 0xde, 0xdf => .map,
            0x90...0x9f, 0xdc, 0xdd => .array,
            0xa0...0xbf, 0xd9...0xdb => .string,
            0xc0 => .nil,
            0xc2, 0xc3 => .boolean,
            0xc4...0xc6 => .binary,
            0xca, 0xcb => .float,
            else => .ext,
        };
    }

    /// The text of a string; null for what is none. It need not be valid UTF-8.
    pub fn string(self: Value) ?[]const u8 {
        const b = self.bytes;
        return switch (b[0]) {
            0xa0...0xbf => b[1..],
            0xd9 => b[2..],
            0xda => b[3..],
            0xdb => b[5..],
            else => null,
        };
    }

    /// The bytes of a string or a binary.
    pub fn data(self: Value) ?[]const u8 {
        return switch (self.bytes[0]) {
            0xc4 => self.bytes[2..],
            0xc5 => self.bytes[3..],
            0xc6 => self.bytes[5..],
            else => self.string(),
        };
    }

    /// An integer; null where it is none or does not fit.
    pub fn int(self: Value) ?i64 {
        const b = self.bytes;
        return switch (b[0]) {
            0x00...0x7f, 0xe0...0xff => @as(i8, @bitCast(b[0])),
            0xcc => b[1],
            0xcd => big(u16, b[1..]),
            0xce => big(u32, b[1..]),
            0xcf => std.math.cast(i64, big(u64, b[1..])),
            0xd0 => @as(i8, @bitCast(b[1])),
            0xd1 => big(i16, b[1..]),
            0xd2 => big(i32, b[1..]),
            0xd3 => big(i64, b[1..]),
            else => null,
        };
    }

    /// A number, integers too.
    pub fn float(self: Value) ?f64 {
        const b = self.bytes;
        return switch (b[0]) {
            0xca => @as(f32, @bitCast(big(u32, b[1..]))),
            0xcb => @bitCast(big(u64, b[1..])),
            0xcf => @floatFromInt(big(u64, b[1..])),
            else => if (self.int()) |number| @floatFromInt(number) else null,
        };
    }

    pub fn boolean(self: Value) ?bool {
        return switch (self.bytes[0]) {
            0xc2 => false,
            0xc3 => true,
            else => null,
        };
    }

    /// How many members a map or an array has; 0 for all else.
    pub fn len(self: Value) usize {
        const found = members(self.bytes, if (self.kind() == .map) .map else .array) orelse return 0;
        return found.count;
    }

    /// A member of a map.
    pub fn get(self: Value, name: []const u8) ?Value {
        var all = self.iterate();
        var found: ?Value = null;
        while (all.next()) |one| if (isText(one.key.bytes, name)) {
            found = one.value;
        };
        return found;
    }

    /// An item of an array.
    pub fn at(self: Value, index: usize) ?Value {
        const found = members(self.bytes, .array) orelse return null;
        if (index >= found.count) return null;
        var from = found.start;
        for (0..index) |_| from = skip(self.bytes, from) orelse return null;
        return .{ .bytes = self.bytes[from .. skip(self.bytes, from) orelse return null] };
    }

    pub const Pair = struct { key: Value, value: Value };
    pub const Iterator = struct {
        bytes: []const u8,
        from: usize,
        left: usize,

        pub fn next(self: *Iterator) ?Pair {
            if (self.left == 0) return null;
            const middle = skip(self.bytes, self.from) orelse return null;
            const end = skip(self.bytes, middle) orelse return null;
            const pair = Pair{
                .key = .{ .bytes = self.bytes[self.from..middle] },
                .value = .{ .bytes = self.bytes[middle..end] },
            };
            self.left -= 1;
            self.from = end;
            return pair;
        }
    };

    /// The members of a map; of what is no map there are none.
    pub fn iterate(self: Value) Iterator {
        const found = members(self.bytes, .map) orelse Members{ .start = 0, .count = 0 };
        return .{ .bytes = self.bytes, .from = found.start, .left = found.count };
    }

    /// The map with one member set, or removed where `value` is null. What is no map counts as an empty one.
    pub fn with(self: Value, memory: Allocator, name: []const u8, value: anytype) Allocator.Error!Value {
        var out: std.ArrayList(u8) = .empty;
        const removes = @TypeOf(value) == @TypeOf(null);
        const new: []const u8 = if (removes) "" else (try encode(memory, value)).bytes;
        var count: usize = 0;
        var done = removes;
        var all = self.iterate();
        while (all.next()) |one| {
            const same = isText(one.key.bytes, name);
            if (same and done) continue;
            try out.appendSlice(memory, one.key.bytes);
            try out.appendSlice(memory, if (same) new else one.value.bytes);
            done = done or same;
            count += 1;
        }
        if (!done) {
            try writeString(memory, &out, name);
            try out.appendSlice(memory, new);
            count += 1;
        }
        var whole: std.ArrayList(u8) = .empty;
        try writeCount(memory, &whole, count, .map);
        try whole.appendSlice(memory, out.items);
        return .{ .bytes = whole.items };
    }
};

pub fn big(comptime T: type, bytes: []const u8) T {
    return std.mem.readInt(T, bytes[0..@sizeOf(T)], .big);
}

// How many bytes an object has, where its first byte tells; 0 for all others.
const sizes: [256]u8 = made: {
    var table: [256]u8 = undefined;
    for (&table, 0..) |*size, c| size.* = switch (c) {
        0x00...0x80, 0x90, 0xc0, 0xc2, 0xc3, 0xe0...0xff => 1,
        0xa0...0xbf => 1 + (c & 31),
        0xcc, 0xd0 => 2,
        0xcd, 0xd1, 0xd4 => 3,
        0xd5 => 4,
        0xca, 0xce, 0xd2 => 5,
        0xd6 => 6,
        0xcb, 0xcf, 0xd3 => 9,
        0xd7 => 10,
        0xd8 => 18,
        else => 0,
    };
    break :made table;
};

/// Where the object at `from` ends; null where it does not end within the bytes, or is none.
pub inline fn skip(bytes: []const u8, from: usize) ?usize {
    if (from >= bytes.len) return null;
    const size = sizes[bytes[from]];
    if (size == 0) return skipLong(bytes, from);
    return if (size <= bytes.len - from) from + size else null;
}

noinline fn skipLong(bytes: []const u8, from: usize) ?usize {
    var at = from;
    // No container adds more than 2^33 to it, and fewer than 2^31 fit into memory.
    var left: u64 = 1;
    while (left > 0) : (left -= 1) {
        const room = bytes.len - at;
        if (left > room) return null; // an object has at least a byte
        const c = bytes[at];
        const size = sizes[c];
        if (size > 0) {
            if (size > room) return null;
            at += size;
            continue;
        }
        if (c < 0xa0) { // fixmap, fixarray
            left += @as(u64, c & 15) << @intFromBool(c < 0x90);
            at += 1;
            continue;
        }
        const width: usize = switch (c) {
            0xc4, 0xc7, 0xd9 => 1,
            0xc5, 0xc8, 0xda, 0xdc, 0xde => 2,
            0xc6, 0xc9, 0xdb, 0xdd, 0xdf => 4,
            else => return null,
        };
        if (room < 1 + width) return null;
        const length: u32 = switch (width) {
            1 => bytes[at + 1],
            2 => big(u16, bytes[at + 1 ..]),
            else => big(u32, bytes[at + 1 ..]),
        };
        at += 1 + width;
        switch (c) {
            0xdc, 0xdd => left += length,
            0xde, 0xdf => left += 2 * @as(u64, length),
            else => {
                const all = @as(u64, length) + @intFromBool(c >= 0xc7 and c <= 0xc9);
                if (all > bytes.len - at) return null;
                at += @intCast(all);
            },
        }
    }
    return at;
}

pub const Members = struct { start: usize, count: usize };

/// The first member of a container, and how many there are; null: it is none of this kind.
pub fn members(bytes: []const u8, which: enum { array, map }) ?Members {
    if (bytes.len == 0) return null;
    const c = bytes[0];
    const small: u8, const wide: u8 = if (which == .map) .{ 0x80, 0xde } else .{ 0x90, 0xdc };
    if (c & 0xf0 == small) return .{ .start = 1, .count = c & 15 };
    if (c == wide and bytes.len >= 3) return .{ .start = 3, .count = big(u16, bytes[1..]) };
    if (c == wide + 1 and bytes.len >= 5) return .{ .start = 5, .count = big(u32, bytes[1..]) };
    return null;
}

/// Whether an object is this string.
pub inline fn isText(bytes: []const u8, text: []const u8) bool {
    if (text.len < 32 and bytes[0] == 0xa0 | @as(u8, @intCast(text.len)))
        return std.mem.eql(u8, bytes[1..][0..text.len], text);
    return switch (bytes[0]) {
        0xd9...0xdb => std.mem.eql(u8, (Value{ .bytes = bytes }).string().?, text),
        else => false,
    };
}

/// A value of Zig as an object: strings, integers, floats, booleans, null, optionals, slices, structs, and a `Value`.
pub fn encode(memory: Allocator, value: anytype) Allocator.Error!Value {
    if (@TypeOf(value) == Value) return value;
    var out: std.ArrayList(u8) = .empty;
    try write(memory, &out, value);
    return .{ .bytes = out.items };
}

pub fn write(memory: Allocator, out: *std.ArrayList(u8), value: anytype) Allocator.Error!void {
    const T = @TypeOf(value);
    if (T == Value) return out.appendSlice(memory, value.bytes);
    switch (@typeInfo(T)) {
        .int, .comptime_int => {
            if (value > std.math.maxInt(i64)) return writeBig(memory, out, 0xcf, @as(u64, value));
            return writeInt(memory, out, @intCast(value));
        },
        .float, .comptime_float => return writeBig(memory, out, 0xcb, @as(u64, @bitCast(@as(f64, value)))),
        .bool => return out.append(memory, if (value) 0xc3 else 0xc2),
        .null => return out.append(memory, 0xc0),
        .optional => return if (value) |one| write(memory, out, one) else out.append(memory, 0xc0),
        .@"enum", .enum_literal => return writeString(memory, out, @tagName(value)),
        .@"struct" => |info| {
            try writeCount(memory, out, info.field_names.len, if (info.is_tuple) .array else .map);
            inline for (info.field_names) |name| {
                if (!info.is_tuple) try writeString(memory, out, name);
                try write(memory, out, @field(value, name));
            }
        },
        .pointer => {
            const items: []const std.meta.Elem(T) = value;
            if (std.meta.Elem(T) == u8) return writeString(memory, out, items);
            try writeCount(memory, out, items.len, .array);
            for (items) |one| try write(memory, out, one);
        },
        else => @compileError("a field cannot hold a " ++ @typeName(T)),
    }
}

fn writeInt(memory: Allocator, out: *std.ArrayList(u8), number: i64) Allocator.Error!void {
    if (number >= -32 and number < 128) return out.append(memory, @bitCast(@as(i8, @intCast(number))));
    inline for (.{ u8, u16, u32, u64 }, .{ i8, i16, i32, i64 }, 0..) |Unsigned, Signed, step| {
        if (std.math.cast(Unsigned, number)) |fits| return writeBig(memory, out, 0xcc + step, fits);
        if (number < 0) if (std.math.cast(Signed, number)) |fits| return writeBig(memory, out, 0xd0 + step, fits);
    }
    unreachable;
}

fn writeBig(memory: Allocator, out: *std.ArrayList(u8), first: u8, number: anytype) Allocator.Error!void {
    const at = try out.addManyAsSlice(memory, 1 + @sizeOf(@TypeOf(number)));
    at[0] = first;
    std.mem.writeInt(@TypeOf(number), at[1..][0..@sizeOf(@TypeOf(number))], number, .big);
}

pub fn writeString(memory: Allocator, out: *std.ArrayList(u8), text: []const u8) Allocator.Error!void {
    try out.ensureUnusedCapacity(memory, text.len + 5);
    if (text.len < 32) {
        try out.append(memory, 0xa0 | @as(u8, @intCast(text.len)));
    } else if (std.math.cast(u8, text.len)) |short| {
        try writeBig(memory, out, 0xd9, short);
    } else if (std.math.cast(u16, text.len)) |middling| {
        try writeBig(memory, out, 0xda, middling);
    } else {
        try writeBig(memory, out, 0xdb, @as(u32, @intCast(text.len)));
    }
    out.appendSliceAssumeCapacity(text);
}

pub fn writeCount(memory: Allocator, out: *std.ArrayList(u8), count: usize, which: enum { array, map }) Allocator.Error!void {
    const small: u8, const wide: u8 = if (which == .map) .{ 0x80, 0xde } else .{ 0x90, 0xdc };
    if (count < 16) return out.append(memory, small | @as(u8, @intCast(count)));
    if (std.math.cast(u16, count)) |short| return writeBig(memory, out, wide, short);
    return writeBig(memory, out, wide + 1, @as(u32, @intCast(count)));
}
