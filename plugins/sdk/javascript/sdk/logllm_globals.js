// There is no terminal, no clock and no source of chance here; asking the system for one would end the filter without
// a word. Imported before the filter, so it finds these.

import { log, now } from "./logllm.js";

function line(level) {
  return (...values) => log(values.map(shown).join(" "), level);
}

function shown(value) {
  return typeof value === "object" && value !== null && !(value instanceof Error) ? JSON.stringify(value) : String(value);
}

globalThis.console = {
  log: line("info"),
  info: line("info"),
  debug: line("debug"),
  warn: line("warning"),
  error: line("error"),
};

Date.now = now;
