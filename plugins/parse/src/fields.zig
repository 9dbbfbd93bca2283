//! What a parser found: names and values, each name once.

const std = @import("std");
const logllm = @import("logllm");
const msgpack = logllm.msgpack;
const memory = logllm.temporary;

pub const Error = error{ NotOne, OutOfMemory };

/// More than anybody reads, and few enough to look through.
pub const most = 512;

pub const Found = struct {
    names: std.ArrayList([]const u8) = .empty,
    values: std.ArrayList(Value) = .empty,
    /// The values' objects, one after the other.
    bytes: std.ArrayList(u8) = .empty,

    const Value = struct { from: usize, end: usize };

    pub fn value(self: *const Found, at: usize) logllm.Value {
        const where = self.values.items[at];
        return .{ .bytes = self.bytes.items[where.from..where.end] };
    }

    /// A value that was written into `bytes` from there on. A name that comes again has its last value.
    pub fn keep(self: *Found, name: []const u8, from: usize) Error!void {
        const new = Value{ .from = from, .end = self.bytes.items.len };
        for (self.names.items, self.values.items) |known, *old| if (std.mem.eql(u8, known, name)) {
            old.* = new;
            return;
        };
        if (self.names.items.len == most) return error.NotOne;
        try self.names.append(memory, name);
        try self.values.append(memory, new);
    }

    pub fn add(self: *Found, name: []const u8, content: anytype) Error!void {
        const from = self.bytes.items.len;
        try msgpack.write(memory, &self.bytes, content);
        try self.keep(name, from);
    }
};

/// A number as it is written in a line, as an object at the end of `out`; false where the text is none.
///
/// Whole numbers of up to 64 bits, without zeros in front; with a point (or an exponent, where `exponents`) a double.
pub fn number(out: *std.ArrayList(u8), text: []const u8, exponents: bool) Error!bool {
    const minus = text.len > 0 and text[0] == '-';
    const digits = text[@intFromBool(minus)..];
    const whole = digitsOf(digits);
    if (whole == 0 or (whole > 1 and digits[0] == '0')) return false;
    if (whole == digits.len) {
        if (minus) {
            const found = std.fmt.parseInt(i64, text, 10) catch return exponents and try double(out, text);
            try msgpack.write(memory, out, found);
        } else {
            const found = std.fmt.parseInt(u64, text, 10) catch return exponents and try double(out, text);
            try msgpack.write(memory, out, found);
        }
        return true;
    }
    var rest = digits[whole..];
    var pointed = false;
    if (rest[0] == '.') {
        const behind = digitsOf(rest[1..]);
        if (behind == 0) return false;
        rest = rest[1 + behind ..];
        pointed = true;
    }
    if (rest.len > 0) {
        if (!(exponents or pointed) or rest[0] | 32 != 'e') return false;
        rest = rest[1..];
        if (rest.len > 0 and (rest[0] == '-' or rest[0] == '+')) rest = rest[1..];
        if (rest.len == 0 or digitsOf(rest) != rest.len) return false;
    }
    return double(out, text);
}

fn double(out: *std.ArrayList(u8), text: []const u8) Error!bool {
    const found = std.fmt.parseFloat(f64, text) catch return false;
    if (!std.math.isFinite(found)) return false; // no double holds it
    try msgpack.write(memory, out, found);
    return true;
}

fn digitsOf(text: []const u8) usize {
    for (text, 0..) |c, at| if (c < '0' or c > '9') return at;
    return text.len;
}

/// Where a quoted text ends, behind its opening quote; null where it does not.
pub fn quoteEnd(text: []const u8, from: usize) ?usize {
    var at = from;
    while (at < text.len) : (at += 1) {
        if (text[at] == '"') return at;
        if (text[at] == '\\') at += 1;
    }
    return null;
}

/// Four hex digits; null where there are none.
pub fn hex4(text: []const u8, from: usize) ?u16 {
    if (text.len < from + 4) return null;
    var found: u16 = 0;
    for (text[from..][0..4]) |c| found = found << 4 | (std.fmt.charToDigit(c, 16) catch return null);
    return found;
}

/// The code point of `\uXXXX` at `at`, with the other half of a pair, and where it ends. Half a pair is U+FFFD.
pub fn escaped(text: []const u8, at: usize) ?struct { code: u21, end: usize } {
    const first: u21 = hex4(text, at + 2) orelse return null;
    if (first & 0xf800 != 0xd800) return .{ .code = first, .end = at + 6 };
    if (first < 0xdc00 and text.len > at + 7 and text[at + 6] == '\\' and text[at + 7] == 'u') {
        if (hex4(text, at + 8)) |second| if (second & 0xfc00 == 0xdc00) {
            const pair = (first & 0x3ff) << 10 | (second & 0x3ff);
            return .{ .code = 0x10000 + pair, .end = at + 12 };
        };
    }
    return .{ .code = 0xfffd, .end = at + 6 };
}

pub fn appendCode(out: *std.ArrayList(u8), code: u21) Error!void {
    var bytes: [4]u8 = undefined;
    const len = std.unicode.utf8Encode(code, &bytes) catch return error.NotOne;
    try out.appendSlice(memory, bytes[0..len]);
}
