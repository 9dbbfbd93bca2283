//! A line that is one JSON object, as RFC 8259 has it: no comments, no NaN, nothing behind it.

const std = @import("std");
const logllm = @import("logllm");
const fields = @import("fields.zig");
const msgpack = logllm.msgpack;
const memory = logllm.temporary;
const Error = fields.Error;

const deepest = 64;

pub fn parse(text: []const u8, found: *fields.Found) Error!void {
    var reader = Reader{ .text = text, .out = &found.bytes };
    try reader.expect('{');
    if (reader.next() == '}') return error.NotOne; // nothing in it
    while (true) {
        const name = try reader.name();
        const from = found.bytes.items.len;
        try reader.value(1);
        try found.keep(name, from);
        if (!try reader.more('}')) break;
    }
    if (reader.at != text.len) return error.NotOne;
}

const Reader = struct {
    text: []const u8,
    at: usize = 0,
    out: *std.ArrayList(u8),

    /// The next character that is no space; 0 at the end.
    fn next(self: *Reader) u8 {
        while (self.at < self.text.len) : (self.at += 1) switch (self.text[self.at]) {
            ' ', '\t', '\n', '\r' => {},
            else => |c| return c,
        };
        return 0;
    }

    fn expect(self: *Reader, c: u8) Error!void {
        if (self.next() != c) return error.NotOne;
        self.at += 1;
    }

    /// Whether another member comes; else the container has ended.
    fn more(self: *Reader, end: u8) Error!bool {
        const c = self.next();
        if (c != ',' and c != end) return error.NotOne;
        self.at += 1;
        return c == ',';
    }

    fn name(self: *Reader) Error![]const u8 {
        if (self.next() != '"') return error.NotOne;
        const found = try self.string();
        try self.expect(':');
        return found;
    }

    fn value(self: *Reader, depth: usize) Error!void {
        switch (self.next()) {
            '"' => try msgpack.writeString(memory, self.out, try self.string()),
            '{' => try self.container(.map, depth),
            '[' => try self.container(.array, depth),
            't' => try self.word("true", true),
            'f' => try self.word("false", false),
            'n' => try self.word("null", null),
            '-', '0'...'9' => {
                const from = self.at;
                while (self.at < self.text.len) : (self.at += 1) switch (self.text[self.at]) {
                    '0'...'9', '-', '+', '.', 'e', 'E' => {},
                    else => break,
                };
                const written = self.text[from..self.at];
                if (try fields.number(self.out, written, true)) return;
                // What is a number, but too large for one of ours, stays as it is written.
                if (!isNumber(written)) return error.NotOne;
                try msgpack.writeString(memory, self.out, written);
            },
            else => return error.NotOne,
        }
    }

    fn word(self: *Reader, text: []const u8, meaning: anytype) Error!void {
        if (!std.mem.startsWith(u8, self.text[self.at..], text)) return error.NotOne;
        self.at += text.len;
        try msgpack.write(memory, self.out, meaning);
    }

    /// How many members there are is known at its end: few are expected, and room for a longer count is made then.
    fn container(self: *Reader, which: enum { array, map }, depth: usize) Error!void {
        if (depth == deepest) return error.NotOne;
        const end: u8 = if (which == .map) '}' else ']';
        const from = self.out.items.len;
        try self.out.append(memory, 0);
        self.at += 1;
        var count: usize = 0;
        if (self.next() == end) {
            self.at += 1;
        } else while (true) {
            if (which == .map) try msgpack.writeString(memory, self.out, try self.name());
            try self.value(depth + 1);
            count += 1;
            if (!try self.more(end)) break;
        }
        var head: std.ArrayList(u8) = .empty;
        var place: [5]u8 = undefined;
        var small: std.heap.FixedBufferAllocator = .init(&place);
        try head.ensureTotalCapacityPrecise(small.allocator(), 5);
        try msgpack.writeCount(small.allocator(), &head, count, if (which == .map) .map else .array);
        try self.out.replaceRange(memory, from, 1, head.items);
    }

    /// The text of a string; the line itself where it has no escapes.
    fn string(self: *Reader) Error![]const u8 {
        const from = self.at + 1;
        var at = from;
        while (at < self.text.len and self.text[at] >= 0x20 and self.text[at] != '"' and self.text[at] != '\\') at += 1;
        if (at < self.text.len and self.text[at] == '"') {
            self.at = at + 1;
            return self.text[from..at];
        }
        const end = fields.quoteEnd(self.text, at) orelse return error.NotOne;
        var out: std.ArrayList(u8) = try .initCapacity(memory, end - from);
        out.appendSliceAssumeCapacity(self.text[from..at]);
        while (at < end) {
            const c = self.text[at];
            if (c < 0x20) return error.NotOne;
            if (c != '\\') {
                try out.append(memory, c);
                at += 1;
                continue;
            }
            const plain: u8 = switch (self.text[at + 1]) {
                '"', '\\', '/' => |same| same,
                'b' => 8,
                'f' => 12,
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    const one = fields.escaped(self.text[0..end], at) orelse return error.NotOne;
                    try fields.appendCode(&out, one.code);
                    at = one.end;
                    continue;
                },
                else => return error.NotOne,
            };
            try out.append(memory, plain);
            at += 2;
        }
        self.at = end + 1;
        return out.items;
    }
};

/// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
fn isNumber(text: []const u8) bool {
    var at: usize = @intFromBool(text[0] == '-');
    const digits = struct {
        fn behind(all: []const u8, from: usize) usize {
            var end = from;
            while (end < all.len and all[end] >= '0' and all[end] <= '9') end += 1;
            return end;
        }
    };
    const whole = digits.behind(text, at);
    if (whole == at or (text[at] == '0' and whole > at + 1)) return false;
    at = whole;
    if (at < text.len and text[at] == '.') {
        const end = digits.behind(text, at + 1);
        if (end == at + 1) return false;
        at = end;
    }
    if (at < text.len and text[at] | 32 == 'e') {
        at += 1;
        if (at < text.len and (text[at] == '+' or text[at] == '-')) at += 1;
        const end = digits.behind(text, at);
        if (end == at) return false;
        at = end;
    }
    return at == text.len;
}
