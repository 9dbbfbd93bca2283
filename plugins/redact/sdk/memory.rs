//! Memory: an allocator of a few hundred bytes of code, and the arena that a call's new values live in.

use std::cell::UnsafeCell;

/// Bytes that live as long as the call, handed out by reference.
pub struct Arena(UnsafeCell<Vec<Vec<u8>>>);

const PIECE: usize = 16 << 10;

impl Arena {
    pub const fn new() -> Self {
        Arena(UnsafeCell::new(Vec::new()))
    }

    /// The pieces. Only the functions below reach them, and none calls another while it does. A piece that was pushed
    /// never grows past its capacity, so what was handed out is neither moved nor written to.
    #[allow(clippy::mut_from_ref)]
    fn pieces(&self) -> &mut Vec<Vec<u8>> {
        unsafe { &mut *self.0.get() }
    }

    /// The bytes of a buffer, for as long as the arena lives; the buffer is left empty. Large ones are taken, not copied.
    pub fn keep(&self, buffer: &mut Vec<u8>) -> &[u8] {
        let pieces = self.pieces();
        let size = buffer.len();
        if size >= PIECE {
            let taken = std::mem::take(buffer);
            let start = taken.as_ptr();
            // Below the last one, which has room for more.
            pieces.insert(pieces.len().saturating_sub(1), taken);
            return unsafe { std::slice::from_raw_parts(start, size) };
        }
        if !matches!(pieces.last(), Some(last) if last.capacity() - last.len() >= size) {
            pieces.push(Vec::with_capacity(PIECE));
        }
        let last = match pieces.last_mut() {
            Some(last) => last,
            None => return &[],
        };
        let start = last.len();
        last.append(buffer);
        unsafe { std::slice::from_raw_parts(last.as_ptr().add(start), size) }
    }
}

/// Sizes are rounded up to powers of two; what is freed is kept for its size. So memory never grows past the most that
/// was in use of each size at one time.
#[cfg(target_arch = "wasm32")]
mod heap {
    use core::arch::wasm32::{memory_grow, memory_size};
    use std::alloc::{GlobalAlloc, Layout};
    use std::cell::UnsafeCell;
    use std::ptr::null_mut;

    const LEAST: usize = 16;
    const PAGE: usize = 1 << 16;

    struct Heap {
        next: usize,
        end: usize,
        free: [*mut *mut u8; 32],
    }

    struct Memory(UnsafeCell<Heap>);

    // A module has one thread.
    unsafe impl Sync for Memory {}

    #[global_allocator]
    static MEMORY: Memory = Memory(UnsafeCell::new(Heap {
        next: 0,
        end: 0,
        free: [null_mut(); 32],
    }));

    extern "C" {
        static __heap_base: u8;
    }

    fn class(layout: Layout) -> usize {
        layout
            .size()
            .max(LEAST)
            .next_power_of_two()
            .trailing_zeros() as usize
    }

    impl Heap {
        unsafe fn fresh(&mut self, size: usize) -> *mut u8 {
            if self.end == 0 {
                self.next = (core::ptr::addr_of!(__heap_base) as usize + LEAST - 1) & !(LEAST - 1);
                self.end = memory_size(0) * PAGE;
            }
            let wanted = match self.next.checked_add(size) {
                Some(wanted) => wanted,
                None => return null_mut(),
            };
            if wanted > self.end {
                let pages = (wanted - self.end + PAGE - 1) / PAGE;
                let before = memory_grow(0, pages);
                if before == usize::MAX {
                    return null_mut();
                }
                if before * PAGE != self.end {
                    // The host has grown it meanwhile, and what it added is its own.
                    self.next = before * PAGE;
                    self.end = self.next + pages * PAGE;
                    return self.fresh(size);
                }
                self.end += pages * PAGE;
            }
            let at = self.next;
            self.next += size;
            at as *mut u8
        }
    }

    unsafe impl GlobalAlloc for Memory {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            if layout.align() > LEAST || layout.size() > 1 << 30 {
                return null_mut();
            }
            let heap = &mut *self.0.get();
            let class = class(layout);
            let freed = heap.free[class & 31];
            if freed.is_null() {
                return heap.fresh(1 << class);
            }
            heap.free[class & 31] = *freed as *mut *mut u8;
            freed as *mut u8
        }

        unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
            let heap = &mut *self.0.get();
            let class = class(layout);
            let at = at as *mut *mut u8;
            *at = heap.free[class & 31] as *mut u8;
            heap.free[class & 31] = at;
        }

        unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            let new = Layout::from_size_align_unchecked(size, layout.align());
            if size <= 1 << 30 && class(new) == class(layout) {
                return at;
            }
            let moved = self.alloc(new);
            if !moved.is_null() {
                core::ptr::copy_nonoverlapping(at, moved, layout.size().min(size));
                self.dealloc(at, layout);
            }
            moved
        }
    }
}
