//! What the host gives. A module imports of it only what it uses; all but `log` must be granted in the configuration.

#[cfg(target_arch = "wasm32")]
#[link(wasm_import_module = "logllm")]
extern "C" {
    #[link_name = "log"]
    fn host_log(level: u32, at: *const u8, len: usize);
    #[link_name = "now"]
    fn host_now() -> i64;
    #[link_name = "random"]
    fn host_random(at: *mut u8, len: usize) -> i32;
    #[link_name = "kv_get"]
    fn host_kv_get(key: *const u8, key_len: usize, value: *mut u8, room: usize) -> i32;
    #[link_name = "kv_set"]
    fn host_kv_set(key: *const u8, key_len: usize, value: *const u8, len: usize) -> i32;
    #[link_name = "metric"]
    fn host_metric(at: *const u8, len: usize, delta: i64) -> i32;
    #[link_name = "anomaly"]
    fn host_anomaly(score_milli: u32, at: *const u8, len: usize) -> i32;
    #[link_name = "ask"]
    fn host_ask(at: *const u8, len: usize) -> i32;
}

/// Outside a module, as in an editor's checks, there is no host.
#[cfg(not(target_arch = "wasm32"))]
#[rustfmt::skip]
mod nowhere {
    pub unsafe fn host_log(_: u32, _: *const u8, _: usize) {}
    pub unsafe fn host_now() -> i64 { 0 }
    pub unsafe fn host_random(_: *mut u8, _: usize) -> i32 { -1 }
    pub unsafe fn host_kv_get(_: *const u8, _: usize, _: *mut u8, _: usize) -> i32 { -3 }
    pub unsafe fn host_kv_set(_: *const u8, _: usize, _: *const u8, _: usize) -> i32 { -2 }
    pub unsafe fn host_metric(_: *const u8, _: usize, _: i64) -> i32 { -1 }
    pub unsafe fn host_anomaly(_: u32, _: *const u8, _: usize) -> i32 { -1 }
    pub unsafe fn host_ask(_: *const u8, _: usize) -> i32 { -1 }
}

#[cfg(not(target_arch = "wasm32"))]
use nowhere::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Debug = 0,
    Info = 1,
    Warning = 2,
    Error = 3,
}

/// A line in logllm's log; at most 4 KiB, and so many a second.
pub fn log(level: Level, text: &str) {
    unsafe { host_log(level as u32, text.as_ptr(), text.len()) }
}

/// From now on a panic says in the log what and where it was, before it costs the call. Adds some 10 kB to the module.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| log(Level::Error, &info.to_string())));
}

/// The wall clock, in milliseconds since 1970. Grant: clock.
pub fn now_ms() -> i64 {
    unsafe { host_now() }
}

/// Random bytes, at most 4096; false where there are none. Grant: random.
pub fn random(into: &mut [u8]) -> bool {
    unsafe { host_random(into.as_mut_ptr(), into.len()) == 0 }
}

/// What is kept under a key. Grant: kv.
pub fn kv_get(key: &str) -> Option<Vec<u8>> {
    let mut value: Vec<u8> = vec![0; 256];
    loop {
        let len = unsafe { host_kv_get(key.as_ptr(), key.len(), value.as_mut_ptr(), value.len()) };
        let len = usize::try_from(len).ok()?;
        let fits = len <= value.len();
        value.resize(len, 0);
        if fits {
            return Some(value);
        }
    }
}

/// Keep a value; false where there is no room for it. An empty one removes the key. Grant: kv.
pub fn kv_set(key: &str, value: &[u8]) -> bool {
    unsafe { host_kv_set(key.as_ptr(), key.len(), value.as_ptr(), value.len()) == 0 }
}

/// Forget what is kept under a key. Grant: kv.
pub fn kv_remove(key: &str) {
    kv_set(key, b"");
}

/// Add to a counter of the plugin's own, named in letters, digits and `_`. Grant: metric.
pub fn metric(name: &str, delta: i64) -> bool {
    unsafe { host_metric(name.as_ptr(), name.len(), delta) == 0 }
}

/// Something odd, for [`anomaly`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Anomaly<'t> {
    /// From 0 to 1: how sure it is.
    pub score: f64,
    /// What you call this kind of thing; anomalies of one rule and service are one incident.
    pub rule: &'t str,
    /// What a person should read.
    pub text: &'t str,
    /// Whose it is; empty for nobody's.
    pub service: &'t str,
    /// OpenTelemetry's number, 1 to 24; 0 for none.
    pub severity: u8,
}

/// Raise an anomaly; false where there were too many in this call. Grant: anomaly.
pub fn anomaly(one: Anomaly) -> bool {
    let mut json = Vec::new();
    for (name, text) in [
        ("{\"rule\":\"", one.rule),
        ("\",\"text\":\"", one.text),
        ("\",\"service\":\"", one.service),
    ] {
        json.extend_from_slice(name.as_bytes());
        escape(&mut json, text);
    }
    json.extend_from_slice(b"\",\"severity\":");
    super::write::write_decimal(&mut json, one.severity.into());
    json.push(b'}');
    let score = (one.score.clamp(0.0, 1.0) * 1000.0) as u32;
    unsafe { host_anomaly(score, json.as_ptr(), json.len()) == 0 }
}

/// Ask the model. A ticket at once; the answer comes by `Plugin::answer`. `None`: too many are open. Grant: ask.
pub fn ask(question: &str) -> Option<u32> {
    let ticket = unsafe { host_ask(question.as_ptr(), question.len()) };
    u32::try_from(ticket).ok().filter(|&ticket| ticket > 0)
}

fn escape(out: &mut Vec<u8>, text: &str) {
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => {
                let digit = |number: u8| b"0123456789abcdef"[number as usize];
                out.extend_from_slice(&[
                    b'\\',
                    b'u',
                    b'0',
                    b'0',
                    digit(byte >> 4),
                    digit(byte & 15),
                ]);
            }
            _ => out.push(byte),
        }
    }
}
