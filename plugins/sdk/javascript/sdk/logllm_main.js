// What logllm calls: takes batches of records apart for `filter` in filter.js and puts the answers together.

import "./logllm_globals.js";
import * as logllm from "./logllm.js";
import * as plugin from "../filter.js";

const MOST_WORDS = 400;
// Numbers that JavaScript may write otherwise than they were written, or cannot hold.
const ODD_NUMBER = /[0-9]{16}|[0-9]\.[0-9]*0(?![0-9])|-0|[0-9][eE]/;

if (typeof plugin.filter !== "function") throw new TypeError("filter.js exports no function filter");

export function configure(config) {
  try {
    plugin.init?.(JSON.parse(config));
  } catch (error) {
    return words(error);
  }
  return undefined;
}

export function onBatch(tag, times, records) {
  const lines = records.split("\n");
  const when = plugin.filter.length > 2 ? times.split("\n") : undefined;
  for (let i = 0; i < lines.length; i++) {
    try {
      // Milliseconds, as JavaScript counts; the host keeps the time itself.
      lines[i] = written(plugin.filter(JSON.parse(lines[i]), tag, when && Number(when[i]) * 1000), lines[i]);
    } catch (error) {
      // Whatever it is, it costs this record and no other.
      lines[i] = "!" + words(error);
    }
  }
  return lines.join("\n").toWellFormed();
}

export function answer(ticket, text) {
  try {
    plugin.answer?.(ticket, text);
  } catch (error) {
    logllm.log(words(error), "error");
    throw error;
  }
}

function written(record, line) {
  if (record === null || record === undefined) return "";
  if (typeof record !== "object" || Array.isArray(record)) {
    throw new TypeError(`filter returned a ${typeof record}; expected the record, or null to drop it`);
  }
  const out = JSON.stringify(record);
  if (out === undefined) throw new TypeError("filter returned what JSON has no form for");
  if (out === line || !ODD_NUMBER.test(line)) return out;
  if (out === JSON.stringify(JSON.parse(line))) return line;
  return JSON.stringify(withNumbers(JSON.parse(out), originals(line)));
}

// The record as it came, its odd numbers as text that JSON.stringify writes as it is.
function originals(line) {
  return JSON.parse(line, (_, value, { source }) =>
    typeof value === "number" && source !== undefined && source !== String(value) ? JSON.rawJSON(source) : value,
  );
}

// Numbers that the filter left alone are written as they came.
function withNumbers(made, given) {
  if (JSON.isRawJSON(given)) return made === Number(given.rawJSON) ? given : made;
  if (typeof made !== "object" || made === null || typeof given !== "object" || given === null) return made;
  for (const key of Object.keys(made)) {
    if (Object.hasOwn(given, key)) made[key] = withNumbers(made[key], given[key]);
  }
  return made;
}

function words(error) {
  let said;
  try {
    said = String(error).replace(/\s+/g, " ").slice(0, MOST_WORDS);
    const at = /filter\.js:([0-9]+)/.exec(error?.stack ?? "");
    if (at) said += ` (filter.js, line ${at[1]})`;
  } catch {
    said = "an error that cannot be told";
  }
  return said.toWellFormed();
}
