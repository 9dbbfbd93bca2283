//! What answers the host: the life of one instance behind the functions that the macros export.

use super::memory::Arena;
use super::write::write_decimal;
use super::{log, Action, Batch, Config, Level, Plugin, Record};
use std::cell::UnsafeCell;

const PASS: u32 = 0;
const REPLACE: u32 = 2;
const FAILED: u32 = 0xFFFF_FF00;

#[repr(C)]
pub struct Answer {
    mode: u32,
    n_in: u32,
    n_out: u32,
    data: *const u8,
    len: usize,
    keep: *const u8,
    error: *const u8,
    error_len: usize,
}

/// One instance: the plugin and the memory that is used again in every call.
pub struct State<P> {
    plugin: Option<P>,
    tag: String,
    input: Vec<u8>,
    out: Vec<u8>,
    answer: Answer,
}

pub struct Instance<P>(UnsafeCell<State<P>>);

// A module has one thread, and the host enters it once at a time.
unsafe impl<P> Sync for Instance<P> {}

impl<P> Instance<P> {
    pub const fn new() -> Self {
        let null = std::ptr::null();
        Instance(UnsafeCell::new(State {
            plugin: None,
            tag: String::new(),
            input: Vec::new(),
            out: Vec::new(),
            answer: Answer {
                mode: PASS,
                n_in: 0,
                n_out: 0,
                data: null,
                len: 0,
                keep: null,
                error: null,
                error_len: 0,
            },
        }))
    }

    /// # Safety
    /// Only the exports call it, each once for each time the host enters, and none enters another.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn state(&self) -> &mut State<P> {
        &mut *self.0.get()
    }
}

/// # Safety
/// The host gives a place and a length inside the buffer it was told to use.
unsafe fn given<'a>(at: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    std::slice::from_raw_parts(at, len)
}

impl<P: Plugin> State<P> {
    pub fn buffer(&mut self, size: usize) -> *mut u8 {
        if size > self.input.capacity() {
            // The old content is of no use: give it back first.
            self.input = Vec::new();
            let wanted = size
                .checked_next_power_of_two()
                .unwrap_or(size)
                .max(64 << 10);
            if self.input.try_reserve_exact(wanted).is_err() {
                return std::ptr::null_mut();
            }
        }
        self.input.as_mut_ptr()
    }

    pub unsafe fn init(&mut self, at: *const u8, len: usize) -> i32 {
        match P::new(Config::new(given(at, len))) {
            Ok(plugin) => {
                self.plugin = Some(plugin);
                0
            }
            Err(why) => {
                log(Level::Error, &why);
                1
            }
        }
    }

    pub unsafe fn tag(&mut self, at: *const u8, len: usize) {
        self.tag = String::from_utf8_lossy(given(at, len)).into_owned();
    }

    fn answered(&mut self, mode: u32, n_in: u32, n_out: u32) -> *const Answer {
        let (data, len) = (self.out.as_ptr(), self.out.len());
        let null = std::ptr::null();
        self.answer = match mode {
            FAILED => Answer {
                mode,
                n_in,
                n_out,
                data: null,
                len: 0,
                keep: null,
                error: data,
                error_len: len,
            },
            _ => Answer {
                mode,
                n_in,
                n_out,
                data,
                len,
                keep: null,
                error: null,
                error_len: 0,
            },
        };
        &self.answer
    }

    pub unsafe fn process(&mut self, at: *const u8, len: usize) -> *const Answer {
        let block = given(at, len);
        if self.plugin.is_none() {
            self.plugin = P::new(Config::new(b"{}")).ok();
        }
        self.out.clear();
        let plugin = match &mut self.plugin {
            Some(plugin) => plugin,
            None => return self.failed("it refuses an empty configuration", None),
        };
        let arena = Arena::new();
        let (mut n_in, mut n_out, mut at, mut run) = (0, 0, 0, 0);
        let mut untouched = true;
        let mut record = Record::new(&arena, &self.tag, &[]);
        while at < block.len() {
            let end = match record.read(block, at) {
                Some(end) => end,
                None => return self.failed("no [time, record] at entry ", Some(n_in)),
            };
            n_in += 1;
            let action = match record.is_marker() {
                true => Action::Keep,
                false => plugin.filter(&mut record),
            };
            if action != Action::Keep || record.changed() || record.extra_count > 0 {
                if untouched {
                    untouched = false;
                    self.out.reserve(block.len() + block.len() / 8);
                }
                // What was let be since the last change goes in one piece.
                self.out.extend_from_slice(&block[run..at]);
                run = end;
                self.out.append(&mut record.extra);
                n_out += std::mem::take(&mut record.extra_count);
                match action {
                    Action::Keep if record.changed() => record.write(&mut self.out),
                    Action::Keep => run = at,
                    Action::Drop => n_out -= 1,
                    Action::Fail(why) => return self.failed(&why, None),
                }
            }
            n_out += 1;
            at = end;
        }
        if untouched {
            return self.answered(PASS, n_in, n_in);
        }
        self.out.extend_from_slice(&block[run..]);
        self.answered(REPLACE, n_in, n_out)
    }

    fn failed(&mut self, why: &str, number: Option<u32>) -> *const Answer {
        self.out.clear();
        self.out.extend_from_slice(why.as_bytes());
        if let Some(number) = number {
            write_decimal(&mut self.out, number.into());
        }
        self.answered(FAILED, 0, 0)
    }

    pub fn flush(&mut self, now_ms: i64) -> *const Answer {
        self.out.clear();
        let mut batch = Batch {
            out: &mut self.out,
            tag: &self.tag,
            count: 0,
        };
        if let Some(plugin) = &mut self.plugin {
            plugin.flush(now_ms, &mut batch);
        }
        let count = batch.count;
        self.answered(if count > 0 { REPLACE } else { PASS }, 0, count)
    }

    pub unsafe fn answer(&mut self, ticket: u32, at: *const u8, len: usize) {
        if let Some(plugin) = &mut self.plugin {
            plugin.answer(ticket, &String::from_utf8_lossy(given(at, len)));
        }
    }

    pub fn save(&mut self) -> *const Answer {
        match self.plugin.as_ref().and_then(|plugin| plugin.save()) {
            Some(state) => {
                self.out = state;
                self.answered(REPLACE, 0, 0)
            }
            None => self.answered(PASS, 0, 0),
        }
    }

    pub unsafe fn load(&mut self, at: *const u8, len: usize) -> i32 {
        match self
            .plugin
            .as_mut()
            .map(|plugin| plugin.load(given(at, len)))
        {
            Some(Err(why)) => {
                log(Level::Warning, &why);
                1
            }
            _ => 0,
        }
    }
}
