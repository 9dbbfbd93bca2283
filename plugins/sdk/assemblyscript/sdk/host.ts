// What the host gives. Each of these is imported by a plugin that calls it, and by no other. All but `log` must be
// granted to the plugin by name: clock, random, kv, metric, anomaly, ask.

// @ts-ignore: decorator
@external("logllm", "log")
declare function hostLog(level: u32, at: usize, size: u32): void;
// @ts-ignore: decorator
@external("logllm", "now")
declare function hostNow(): i64;
// @ts-ignore: decorator
@external("logllm", "random")
declare function hostRandom(at: usize, size: u32): i32;
// @ts-ignore: decorator
@external("logllm", "kv_get")
declare function hostGet(key: usize, keySize: u32, at: usize, room: u32): i32;
// @ts-ignore: decorator
@external("logllm", "kv_set")
declare function hostSet(key: usize, keySize: u32, value: usize, valueSize: u32): i32;
// @ts-ignore: decorator
@external("logllm", "metric")
declare function hostMetric(at: usize, size: u32, delta: i64): i32;
// @ts-ignore: decorator
@external("logllm", "anomaly")
declare function hostAnomaly(scoreMilli: i32, at: usize, size: u32): i32;
// @ts-ignore: decorator
@external("logllm", "ask")
declare function hostAsk(at: usize, size: u32): i32;

export const DEBUG: u32 = 0;
export const INFO: u32 = 1;
export const WARNING: u32 = 2;
export const ERROR: u32 = 3;

// @ts-ignore: decorator
@inline
function at(bytes: ArrayBuffer): usize {
  return changetype<usize>(bytes);
}

/** Write a line to the plugin's log. The host drops lines beyond ten a second. */
export function log(level: u32, text: string): void {
  const bytes = String.UTF8.encode(text);
  hostLog(level, at(bytes), bytes.byteLength);
}

/** The wall clock, in milliseconds since the epoch. Grant: clock. */
export function now(): i64 {
  return hostNow();
}

/** A number from the system's generator. Grant: random. */
export function random(): u64 {
  const bytes = new ArrayBuffer(8);
  hostRandom(at(bytes), 8);
  return load<u64>(at(bytes));
}

/** The value kept under a key; null where there is none. Values outlive the instance. Grant: kv. */
export function kvGet(key: string): string | null {
  const bytes = String.UTF8.encode(key);
  let room = 256;
  while (true) {
    const value = new ArrayBuffer(room);
    const size = hostGet(at(bytes), bytes.byteLength, at(value), room);
    if (size < 0) return null;
    if (size <= room) return String.UTF8.decodeUnsafe(at(value), size);
    room = size;
  }
}

/** Keep a value under a key; an empty one removes it. False: there is no room for it. Grant: kv. */
export function kvSet(key: string, value: string): bool {
  const name = String.UTF8.encode(key);
  const bytes = String.UTF8.encode(value);
  return hostSet(at(name), name.byteLength, at(bytes), bytes.byteLength) == 0;
}

/** Add to a counter of the plugin's own; its name is made of letters, digits and `_`. Grant: metric. */
export function metric(name: string, delta: i64 = 1): bool {
  const bytes = String.UTF8.encode(name);
  return hostMetric(at(bytes), bytes.byteLength, delta) == 0;
}

/**
 * Raise an anomaly: how sure the plugin is, from 0 to 1; what it calls this kind of thing; what a person reads; whose
 * it is; OpenTelemetry's severity. The host takes 16 of a block. Grant: anomaly.
 */
export function anomaly(score: f64, rule: string, text: string, service: string = "", severity: i32 = 0): bool {
  const json = `{"rule":${quoted(rule)},"text":${quoted(text)},"service":${quoted(service)},`;
  const bytes = String.UTF8.encode(json + `"severity":${severity}}`);
  return hostAnomaly(<i32>(score * 1000), at(bytes), bytes.byteLength) == 0;
}

/**
 * Put a question to the model: a ticket at once, the answer by `onAnswer` before a later block. -1: too many are open,
 * or there is no model. Grant: ask.
 */
export function ask(question: string): i32 {
  const bytes = String.UTF8.encode(question);
  return hostAsk(at(bytes), bytes.byteLength);
}

function quoted(text: string): string {
  let json = '"';
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c == 34 || c == 92) json += "\\" + text.charAt(i);
    else if (c < 32) json += "\\u00" + (c < 16 ? "0" : "") + c.toString(16);
    else json += text.charAt(i);
  }
  return json + '"';
}
