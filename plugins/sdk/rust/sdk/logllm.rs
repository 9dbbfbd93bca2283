//! What a logllm filter in Rust is written with.
//!
//! ```ignore
//! #[path = "../sdk/logllm.rs"]
//! mod logllm;
//! use logllm::{Action, Record};
//!
//! logllm::filter!(filter);
//!
//! fn filter(record: &mut Record) -> Action {
//!     match record.str("level") {
//!         Some("debug") => Action::Drop,
//!         _ => Action::Keep,
//!     }
//! }
//! ```
//!
//! A filter with a configuration or a memory of its own is a type: see [`Plugin`] and `logllm::plugin!`.
//! All of `std` is there but what needs an operating system: no files, no sockets, no threads, no clock but
//! [`now_ms`]. The macros name the module `crate::logllm`, so keep that name.
//!
//! Compiles with Rust 1.63 and later; no crates are needed.

#![allow(dead_code, unused_imports, unused_macros)]

mod config;
mod host;
mod memory;
mod msgpack;
mod record;
mod run;
mod texts;
mod write;

pub use config::{Config, Json};
pub use host::{
    anomaly, ask, kv_get, kv_remove, kv_set, log, log_panics, metric, now_ms, random, Anomaly,
    Level,
};
pub use msgpack::{Array, Map, Value};
pub use record::{Record, Time};
pub use texts::Texts;
pub use write::ToValue;

#[doc(hidden)]
pub use run::{Answer, Instance};

/// What becomes of a record. One that was not changed keeps its very bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Keep,
    Drop,
    /// The plugin cannot go on with it, and says why: what happens then is the user's `on_error`.
    Fail(String),
}

/// A filter with a configuration or a state. There is one value of it an instance, and one instance a tenant.
pub trait Plugin: Sized {
    /// Called once, first. An error refuses the configuration; its text is shown to the user.
    fn new(config: Config) -> Result<Self, String>;

    /// Called for every record, in order.
    fn filter(&mut self, record: &mut Record) -> Action;

    /// Called about once a second and at the end: what is held back may be given now.
    fn flush(&mut self, _now_ms: i64, _out: &mut Batch) {}

    /// The answer to an [`ask`], before a later block.
    fn answer(&mut self, _ticket: u32, _text: &str) {}

    /// What to remember over a restart; `None` for nothing.
    fn save(&self) -> Option<Vec<u8>> {
        None
    }

    /// What `save` gave, before any record. An error: it is of no use, begin anew.
    fn load(&mut self, _state: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// New records, for [`Plugin::flush`].
pub struct Batch<'b> {
    out: &'b mut Vec<u8>,
    tag: &'b str,
    count: u32,
}

impl Batch<'_> {
    /// Add a record made by `fill`, which finds it empty.
    pub fn add(&mut self, time: Time, fill: impl FnOnce(&mut Record)) {
        record::new_record(self.tag, time, fill, self.out);
        self.count += 1;
    }
}

/// Make a plugin of a function `fn(&mut Record) -> Action`.
macro_rules! filter {
    ($function:path) => {
        const _: () = {
            use $crate::logllm::{Action, Config, Plugin, Record};

            struct Function;

            impl Plugin for Function {
                fn new(_: Config) -> Result<Self, String> {
                    Ok(Function)
                }

                fn filter(&mut self, record: &mut Record) -> Action {
                    $function(record)
                }
            }

            $crate::logllm::exports!(Function);
        };
    };
}

/// Make a plugin of a type that is a `Plugin`.
macro_rules! plugin_type {
    ($type:ty) => {
        const _: () = {
            $crate::logllm::exports!($type);

            #[no_mangle]
            unsafe extern "C" fn logllm_init(at: *const u8, len: usize) -> i32 {
                INSTANCE.state().init(at, len)
            }

            #[no_mangle]
            unsafe extern "C" fn logllm_flush(now_ms: i64) -> *const Answer {
                INSTANCE.state().flush(now_ms)
            }

            #[no_mangle]
            unsafe extern "C" fn logllm_answer(ticket: u32, at: *const u8, len: usize) {
                INSTANCE.state().answer(ticket, at, len)
            }

            #[no_mangle]
            unsafe extern "C" fn logllm_state_save() -> *const Answer {
                INSTANCE.state().save()
            }

            #[no_mangle]
            unsafe extern "C" fn logllm_state_load(at: *const u8, len: usize) -> i32 {
                INSTANCE.state().load(at, len)
            }
        };
    };
}

macro_rules! exports {
    ($type:ty) => {
        use $crate::logllm::{Answer, Instance};

        static INSTANCE: Instance<$type> = Instance::new();

        #[no_mangle]
        extern "C" fn logllm_abi() -> u32 {
            0x0001_0000
        }

        #[no_mangle]
        unsafe extern "C" fn logllm_buffer(size: usize) -> *mut u8 {
            INSTANCE.state().buffer(size)
        }

        #[no_mangle]
        unsafe extern "C" fn logllm_tag(at: *const u8, len: usize) {
            INSTANCE.state().tag(at, len)
        }

        #[no_mangle]
        unsafe extern "C" fn logllm_process(
            at: *const u8,
            len: usize,
            _flags: u32,
        ) -> *const Answer {
            INSTANCE.state().process(at, len)
        }
    };
}

pub(crate) use {exports, filter, plugin_type as plugin};
