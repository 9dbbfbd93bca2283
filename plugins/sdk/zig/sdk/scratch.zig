//! Memory for what is forgotten after each record: one block that is filled from its start, and more where it is full.

const std = @import("std");
const Allocator = std.mem.Allocator;
const Alignment = std.mem.Alignment;

pub const Scratch = struct {
    behind: Allocator,
    block: []u8 = &.{},
    used: usize = 0,
    overflow: ?*More = null,
    overflow_bytes: usize = 0,

    const More = struct { next: ?*More, bytes: []align(16) u8 };
    // What one record in a million needs is not worth holding.
    const most_held = 1 << 20;
    const first_block = 16 << 10;

    pub fn allocator(self: *Scratch) Allocator {
        return .{ .ptr = self, .vtable = &.{ .alloc = alloc, .resize = resize, .remap = remap, .free = free } };
    }

    /// All of it is free again.
    pub inline fn reset(self: *Scratch) void {
        if (self.overflow != null) self.release();
        self.used = 0;
    }

    fn release(self: *Scratch) void {
        const wished = self.block.len + self.overflow_bytes;
        while (self.overflow) |one| {
            self.overflow = one.next;
            self.behind.free(one.bytes);
        }
        self.overflow_bytes = 0;
        if (wished <= most_held) {
            self.behind.free(self.block);
            self.block = &.{};
            self.block = self.behind.alloc(u8, @max(2 * wished, first_block)) catch &.{};
        }
    }

    fn alloc(context: *anyopaque, len: usize, alignment: Alignment, _: usize) ?[*]u8 {
        const self: *Scratch = @ptrCast(@alignCast(context));
        const base = @intFromPtr(self.block.ptr);
        const from = alignment.forward(base + self.used) - base;
        if (self.block.len >= from and self.block.len - from >= len) {
            self.used = from + len;
            return self.block.ptr + from;
        }
        const header = @max(@sizeOf(More), alignment.toByteUnits());
        const size = std.math.add(usize, len, 2 * header) catch return null;
        const bytes = self.behind.alignedAlloc(u8, .@"16", size) catch return null;
        const more: *More = @ptrCast(bytes.ptr);
        more.* = .{ .next = self.overflow, .bytes = bytes };
        self.overflow = more;
        self.overflow_bytes += size;
        return @ptrFromInt(alignment.forward(@intFromPtr(bytes.ptr) + @sizeOf(More)));
    }

    /// What was allocated last can grow and shrink where it is.
    fn resize(context: *anyopaque, memory: []u8, _: Alignment, len: usize, _: usize) bool {
        const self: *Scratch = @ptrCast(@alignCast(context));
        const end = @intFromPtr(memory.ptr) + memory.len;
        if (end != @intFromPtr(self.block.ptr) + self.used) return len <= memory.len;
        const from = self.used - memory.len;
        if (len > self.block.len - from) return false;
        self.used = from + len;
        return true;
    }

    fn remap(context: *anyopaque, memory: []u8, alignment: Alignment, len: usize, address: usize) ?[*]u8 {
        return if (resize(context, memory, alignment, len, address)) memory.ptr else null;
    }

    fn free(context: *anyopaque, memory: []u8, alignment: Alignment, address: usize) void {
        _ = resize(context, memory, alignment, 0, address);
    }
};
