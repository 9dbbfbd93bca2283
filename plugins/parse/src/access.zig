//! Access logs in the common and the combined format of Apache and nginx:
//! `client ident user [time] "request" status bytes "referer" "agent" ...`; "-" stands for nothing.

const std = @import("std");
const logllm = @import("logllm");
const fields = @import("fields.zig");
const memory = logllm.temporary;
const Error = fields.Error;

pub fn parse(text: []const u8, found: *fields.Found) Error!void {
    var line = Line{ .text = text };
    const client = try line.word();
    const ident = try line.word();
    const user = try line.word();
    const time = try line.time();
    const request = try line.quoted();
    const status = try line.word();
    const size = try line.word();
    if (status.len != 3) return error.NotOne;
    try found.add("client", client);
    if (!isNothing(ident)) try found.add("ident", ident);
    if (!isNothing(user)) try found.add("user", user);
    try found.add("time", time);
    try split(request, found);
    inline for (.{ .{ "status", status }, .{ "bytes", size } }) |pair| if (!isNothing(pair[1])) {
        for (pair[1]) |c| if (c < '0' or c > '9') return error.NotOne;
        try found.add(pair[0], std.fmt.parseInt(u64, pair[1], 10) catch return error.NotOne);
    };
    if (line.at == text.len) return;
    for ([_][]const u8{ "referer", "agent" }) |name| {
        const content = try line.quoted();
        if (!isNothing(content)) try found.add(name, content);
    }
    if (line.at < text.len) try found.add("extra", text[line.at..]);
}

fn isNothing(text: []const u8) bool {
    return text.len == 0 or std.mem.eql(u8, text, "-");
}

/// `GET /path HTTP/1.1`. What is none, such as the first bytes of TLS, is kept whole.
fn split(request: []const u8, found: *fields.Found) Error!void {
    if (isNothing(request)) return;
    var parts = std.mem.splitScalar(u8, request, ' ');
    const method = parts.first();
    const path = parts.next() orelse "";
    const protocol = parts.next();
    var known = method.len > 0 and method.len <= 20 and path.len > 0 and parts.next() == null;
    for (method) |c| known = known and (c == '-' or c == '_' or (c >= 'A' and c <= 'Z'));
    if (protocol) |one| known = known and std.mem.startsWith(u8, one, "HTTP/");
    if (!known) return found.add("request", request);
    try found.add("method", method);
    try found.add("path", path);
    if (protocol) |one| try found.add("protocol", one);
}

const Line = struct {
    text: []const u8,
    at: usize = 0,

    /// Behind a part comes one space, or the end.
    fn pass(self: *Line) Error!void {
        if (self.at == self.text.len) return;
        if (self.text[self.at] != ' ') return error.NotOne;
        self.at += 1;
    }

    fn word(self: *Line) Error![]const u8 {
        const from = self.at;
        while (self.at < self.text.len and self.text[self.at] != ' ') : (self.at += 1) {
            if (self.text[self.at] < 0x20 or self.text[self.at] == '"' or self.text[self.at] == '[') {
                if (self.at > from or self.text[self.at] != '[') return error.NotOne;
                if (self.text.len > from + 1 and !isAddress(self.text[from + 1])) return error.NotOne;
            }
        }
        const found = self.text[from..self.at];
        if (found.len == 0) return error.NotOne;
        try self.pass();
        return found;
    }

    /// An IPv6 address may stand in brackets.
    fn isAddress(c: u8) bool {
        return c == ':' or std.ascii.isHex(c);
    }

    /// `[10/Oct/2000:13:55:36 -0700]`.
    fn time(self: *Line) Error![]const u8 {
        const shape = "00/aaa/0000:00:00:00 +0000";
        const rest = self.text[self.at..];
        if (rest.len < shape.len + 2 or rest[0] != '[' or rest[shape.len + 1] != ']') return error.NotOne;
        const found = rest[1..][0..shape.len];
        for (found, shape) |c, like| {
            const right = switch (like) {
                '0' => c >= '0' and c <= '9',
                'a' => std.ascii.isAlphabetic(c),
                '+' => c == '+' or c == '-',
                else => c == like,
            };
            if (!right) return error.NotOne;
        }
        self.at += shape.len + 2;
        try self.pass();
        return found;
    }

    /// Quotes and backslashes are escaped in it; `\x16` and the like stay as they are written.
    fn quoted(self: *Line) Error![]const u8 {
        if (self.at == self.text.len or self.text[self.at] != '"') return error.NotOne;
        const from = self.at + 1;
        const end = fields.quoteEnd(self.text, from) orelse return error.NotOne;
        self.at = end + 1;
        try self.pass();
        const content = self.text[from..end];
        if (std.mem.indexOfScalar(u8, content, '\\') == null) return content;
        var out: std.ArrayList(u8) = try .initCapacity(memory, content.len);
        var at: usize = 0;
        while (at < content.len) : (at += 1) {
            if (content[at] == '\\' and at + 1 < content.len and (content[at + 1] == '"' or content[at + 1] == '\\')) at += 1;
            out.appendAssumeCapacity(content[at]);
        }
        return out.items;
    }
};
