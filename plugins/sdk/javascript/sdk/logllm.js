// What a filter may ask of logllm.
//
// Each function but `log` needs its grant in `[run] grants` of plugin.toml, where the build looks for it, and in the
// configuration of whoever runs the filter.

const LEVELS = { debug: 0, info: 1, warning: 2, error: 3 };
const host = globalThis;

/** A line in logllm's own log: level "debug", "info", "warning" or "error". `console.log` ends there too. */
export function log(message, level = "info") {
  if (!(level in LEVELS)) throw new RangeError(`no level ${level}; expected ${Object.keys(LEVELS).join(", ")}`);
  if (typeof host.log === "function") host.log(LEVELS[level], text(message));
}

/** The wall clock, in milliseconds since the epoch. Grant `clock`. */
export function now() {
  return Number(granted("now", "clock")());
}

/** The string kept under a key, or undefined. Grant `kv`. */
export function kvGet(key) {
  return granted("kvGet", "kv")(text(key)) ?? undefined;
}

/** Keep a string beyond this run; an empty one removes the key. False where there is no room. Grant `kv`. */
export function kvSet(key, value) {
  return granted("kvSet", "kv")(text(key), text(value)) === 0;
}

/** Add to a counter of this plugin's own. Grant `metric`. */
export function metric(name, delta = 1) {
  granted("metric", "metric")(text(name), delta);
}

/** Raise an anomaly: what kind, in a few words; what a person should read; how sure, from 0 to 1. Grant `anomaly`. */
export function anomaly(rule, message, { score = 1, service = "", severity = 0 } = {}) {
  const milli = Math.round(Math.min(Math.max(score, 0), 1) * 1000);
  granted("anomaly", "anomaly")(milli, text(JSON.stringify({ rule, text: message, service, severity })));
}

/**
 * Ask the model: a ticket, or undefined where it cannot be asked now. Grant `ask`.
 *
 * The answer comes later, to a function `answer(ticket, text)` that your filter exports.
 */
export function ask(question) {
  const ticket = granted("ask", "ask")(text(question));
  return ticket > 0 ? ticket : undefined;
}

function granted(name, grant) {
  const found = host[name];
  if (typeof found !== "function") {
    throw new Error(`${name} needs "${grant}" in the grants of plugin.toml, and a new build`);
  }
  return found;
}

// Halves of surrogate pairs are no text outside of JavaScript.
function text(value) {
  return String(value).toWellFormed();
}
