"""The SDK for Zig: its template, and what it can do beside."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sdk.abilities import built, check_all
from tests.sdk.conformance import Native, check
from tests.sdk.memory import check_buffers, check_out_of_memory
from tests.sdk.pages import PAGES, follow, pieces

GUEST = r"""
const std = @import("std");
const logllm = @import("logllm");
const Record = logllm.Record;
const host = logllm.host;

pub const Config = struct {
    text: []const u8 = "-",
    number: i64 = 7,
    share: f64 = 0.5,
    on: bool = true,
    words: []const []const u8 = &.{"-"},
    none: []const []const u8 = &.{"-"},
};

var config: Config = .{};
var counted: i64 = 0;
var emitted = false;

pub fn init(given: Config) !void {
    config = given;
}

pub fn answer(ticket: u32, text: []const u8) !void {
    logllm.log(.info, "{d}: {s}", .{ ticket, text });
}

pub fn flush(now_ms: i64) !void {
    if (emitted) try logllm.emit(8, 9, .{ .flushed = now_ms });
    emitted = false;
}

pub fn save() !?[]const u8 {
    if (counted == 0) return null;
    return try logllm.temporary.print("{d}", .{counted});
}

pub fn load(state: []const u8) !void {
    counted = try std.fmt.parseInt(i64, state, 10);
}

fn read(r: *Record) !void {
    var told: std.ArrayList(u8) = .empty;
    var wrong: i64 = 0;
    inline for (.{ "s", "i", "u", "f", "b", "n", "k", "list", "bin", "no" }, 0..) |name, at| {
        if (at > 0) try told.append(logllm.temporary, ' ');
        const kind = if (r.get(name)) |one| @tagName(one.kind()) else "absent";
        try told.appendSlice(logllm.temporary, kind);
        wrong += @intFromBool(r.int(name) != null and at != 1);
        wrong += @intFromBool(r.boolean(name) != null and at != 4);
        wrong += @intFromBool(r.string(name) != null and at != 0);
        wrong += @intFromBool(r.float(name) != null and (at < 1 or at > 3));
    }
    const list = r.get("list").?;
    wrong += @intFromBool(r.get("s").?.get("x") != null or r.get("k").?.at(0) != null or r.path("k.no.a") != null);
    wrong += @intFromBool(list.at(3) != null or r.path("s.x") != null or r.path("") != null);
    const lengths = r.get("k").?.len() + list.len() + r.path("k.l").?.len() + list.at(2).?.len() + r.get("s").?.len();
    try r.set("string", r.string("s").?);
    try r.set("int", r.int("i").?);
    try r.set("float", r.float("f").?);
    try r.set("int_as_float", r.float("i").?);
    try r.set("large_as_float", r.float("u").?);
    try r.set("boolean", !r.boolean("b").?);
    try r.set("path", r.path("k.l.a").?.string().?);
    try r.set("item", list.at(1).?);
    try r.set("lengths", lengths);
    try r.set("binary", r.get("bin").?.data().?.len);
    try r.set("kinds", told.items);
    try r.set("wrong", wrong);
}

pub fn filter(r: *Record) !logllm.Verdict {
    const Do = enum { read, number, text, edit, again, doubles, where, host, absent, emit, fail, count, config };
    const what = r.string("do") orelse return .keep;
    if (std.mem.eql(u8, what, "emit and drop")) {
        emitted = true;
        try logllm.emit(8, 9, .{ .emitted = .{ true, "x" } });
        return .drop;
    }
    switch (std.meta.stringToEnum(Do, what) orelse return .keep) {
        .read => try read(r),
        .number => if (r.int("v")) |number| try r.set("copy", number),
        .text => try r.set("copy", r.string("v")),
        .edit => {
            var all = r.iterate();
            var count: usize = 0;
            while (all.next()) |_| count += 1;
            if (count != 6) return error.Miscounted;
            const changed = try r.get("k").?.with(logllm.temporary, "a", "changed");
            const without = try changed.with(logllm.temporary, "b", null);
            try r.set("k", try without.with(logllm.temporary, "c", true));
            r.remove("gone");
            try r.rename("old", "new");
            try r.rename("nothing", "k");
            try r.set("last", null);
            try r.set("raw", .{ .x = .{ 1.5, false } });
        },
        .again => {
            try r.set("a", 1);
            try r.set("a", @as(u8, 2));
            try r.set("seen", r.int("a").?);
            try r.set("a", @as(?u16, 3));
        },
        .doubles => {
            try r.set("a", 7);
            r.remove("b");
            try r.rename("c", "d");
        },
        .where => {
            const time = r.time();
            try r.set("seconds", time.seconds);
            try r.set("nanoseconds", time.nanoseconds);
            try r.set("tag", logllm.tag());
            if (r.metadata()) |metadata| if (metadata.get("s")) |service| try r.set("service", service);
        },
        .host => {
            var random: [16]u8 = undefined;
            logllm.log(.warn, "n={d} \u{e9}", .{5});
            host.metric("seen", 5);
            host.metric("seen", -2);
            try host.anomaly(0.75, .{ .rule = "odd", .text = "a \"b\"\n" });
            try host.kv.set("key", r.string("long").?);
            try r.set("now", host.nowMs());
            try r.set("kept", try host.kv.get(logllm.temporary, "key"));
            try r.set("ticket", try host.ask("why?"));
            try host.random(&random);
            try r.set("n", random.len);
        },
        .absent => {
            try r.set("kept", (try host.kv.get(logllm.temporary, "none")) != null);
            const large: [2000]u8 = @splat(1);
            const room = if (host.kv.set("large", &large)) |_| true else |_| false;
            try r.set("room", room);
        },
        .emit => for (0..2) |_| try logllm.emit(8, 9, .{ .emitted = .{ true, "x" } }),
        .fail => return error.@"on purpose",
        .count => {
            counted += 1;
            try r.set("count", counted);
        },
        .config => inline for (@typeInfo(Config).@"struct".field_names) |name| try r.set(name, @field(config, name)),
    }
    return .keep;
}

comptime {
    logllm.plugin(@This());
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zig")


@pytest.fixture(scope="module")
def template(folder: Path) -> bytes:
    return built(folder, "zig", name="hello")


def test_the_template_does_what_every_template_does(template: bytes) -> None:
    check(template, "hello")


def test_everything_else_the_module_offers_works(folder: Path) -> None:
    check_all(built(folder, "zig", ("src/filter.zig", GUEST)))


def test_the_template_imports_nothing_it_does_not_use_and_is_built_alike_anywhere(
    template: bytes, tmp_path: Path
) -> None:
    again = built(tmp_path / "another" / "place", "zig", name="hello")

    assert again == template
    assert b"kv_get" not in template
    assert len(template) < 40_000


def test_a_block_for_which_there_is_no_memory_is_an_error_and_the_next_one_goes_on(template: bytes) -> None:
    check_buffers(template)


def test_records_for_which_there_is_no_memory_are_an_error_with_a_reason(template: bytes) -> None:
    check_out_of_memory(template, "OutOfMemory")


def test_the_page_for_zig_works_word_for_word(template: bytes, tmp_path: Path) -> None:
    assert template

    said = "".join(follow("zig.md", tmp_path))

    assert '{"log":"payment refused order=17","service":"checkout"}' in said
    assert "shop: 3 in, 2 out, 1 dropped" in said


def test_the_configuration_on_the_page_compiles(folder: Path) -> None:
    (shown,) = (text for language, text, _ in pieces((PAGES / "zig.md").read_text()) if "slow_ms" in text)
    filter_ = """
const logllm = @import("logllm");
pub fn filter(_: *logllm.Record) !logllm.Verdict {
    return if (config.paths.len > 0 and config.slow_ms == 5) .drop else .keep;
}
comptime {
    logllm.plugin(@This());
}
"""
    code = built(folder / "page", "zig", ("src/filter.zig", shown + filter_))

    assert Native(code, config=b'{"slow_ms":5}').process(b"\x92\x01\x80").n_out == 0
    assert Native(code, config=b'{"slow_ms":-5}', refused=True).lines[-1][1].startswith("config: ")
