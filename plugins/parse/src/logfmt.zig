//! `key=value key="quoted value" key=`: all of the line, at least two pairs, so that prose with an `=` stays prose.

const std = @import("std");
const logllm = @import("logllm");
const fields = @import("fields.zig");
const msgpack = logllm.msgpack;
const memory = logllm.temporary;
const Error = fields.Error;

const longest_name = 128;

pub fn parse(text: []const u8, found: *fields.Found) Error!void {
    var at: usize = 0;
    var pairs: usize = 0;
    while (at < text.len) : (pairs += 1) {
        const end = nameEnd(text, at) orelse return error.NotOne;
        const name = text[at..end];
        const from = found.bytes.items.len;
        at = end + 1;
        if (at < text.len and text[at] == '"') {
            const close = fields.quoteEnd(text, at + 1) orelse return error.NotOne;
            try msgpack.writeString(memory, &found.bytes, try unescaped(text[at + 1 .. close]));
            at = close + 1;
            if (at < text.len and !isSpace(text[at])) return error.NotOne;
        } else {
            const begin = at;
            while (at < text.len and !isSpace(text[at])) : (at += 1) {
                if (text[at] < 0x20 or text[at] == '"') return error.NotOne;
            }
            try plain(&found.bytes, text[begin..at]);
        }
        try found.keep(name, from);
        while (at < text.len and isSpace(text[at])) at += 1;
    }
    if (pairs < 2) return error.NotOne;
}

fn isSpace(c: u8) bool {
    return c == ' ' or c == '\t';
}

fn nameEnd(text: []const u8, from: usize) ?usize {
    for (text[from..], from..) |c, at| switch (c) {
        'a'...'z', 'A'...'Z', '_', '@' => {},
        '0'...'9', '.', '-', '/' => if (at == from) return null,
        '=' => return if (at > from and at - from <= longest_name) at else null,
        else => return null,
    };
    return null;
}

fn plain(out: *std.ArrayList(u8), text: []const u8) Error!void {
    if (std.mem.eql(u8, text, "true")) return msgpack.write(memory, out, true);
    if (std.mem.eql(u8, text, "false")) return msgpack.write(memory, out, false);
    if (try fields.number(out, text, false)) return;
    try msgpack.writeString(memory, out, text);
}

/// An escape that is none of JSON's stays as it is written.
fn unescaped(text: []const u8) Error![]const u8 {
    if (std.mem.indexOfScalar(u8, text, '\\') == null) return text;
    var out: std.ArrayList(u8) = try .initCapacity(memory, text.len);
    var at: usize = 0;
    while (at < text.len) {
        const c = text[at];
        if (c == '\\' and at + 1 < text.len) {
            const meant: ?u8 = switch (text[at + 1]) {
                '"', '\\', '/' => |same| same,
                'b' => 8,
                'f' => 12,
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    if (fields.escaped(text, at)) |one| {
                        try fields.appendCode(&out, one.code);
                        at = one.end;
                        continue;
                    }
                    try out.append(memory, c);
                    at += 1;
                    continue;
                },
                else => null,
            };
            if (meant) |one| {
                try out.append(memory, one);
                at += 2;
                continue;
            }
        }
        try out.append(memory, c);
        at += 1;
    }
    return out.items;
}
