// What the compiler starts from: the functions logllm calls. Yours are in src/filter.ts: `filter`, and where you want
// them `configure`, `onTag`, `onAnswer`, `onFlush`, `onSave` and `onLoad`.

import * as plugin from "../src/filter";
import { emitted, emittedCount, failure, noFailure, nothingEmitted } from "./entry";
import { ERROR, log } from "./host";
import { parse } from "./json";
import { Area, headCount, headSize, skip } from "./msgpack";
import { isMarker, read, record, tagText, wasChanged, write } from "./record";

const ABI: u32 = 0x00010000;
const PASS: u32 = 0;
const REPLACE: u32 = 2;
const FAILED: u32 = 0xffffff01;

const input = new Area();
const output = new Area();
const settings = new Area();
const result = memory.data(32);

// Collecting looks at every object that is alive, so it is done once for so many bytes of records.
const PER_COLLECTION: i32 = 1 << 20;
let untilCollection: i32 = PER_COLLECTION;

export function logllm_abi(): u32 {
  return ABI;
}

export function logllm_buffer(size: u32): usize {
  return input.tryRoom(max<u32>(size, 1)) ? input.start : 0;
}

export function logllm_init(at: usize, size: u32): i32 {
  if (isDefined(plugin.configure)) {
    const why = plugin.configure(parse(at, at + size, settings));
    if (why != null) {
      log(ERROR, why);
      return 1;
    }
  }
  return 0;
}

export function logllm_tag(at: usize, size: u32): void {
  tagText.end = tagText.start;
  tagText.copy(at, size);
  if (isDefined(plugin.onTag)) plugin.onTag();
}

export function logllm_answer(ticket: i32, at: usize, size: u32): void {
  if (isDefined(plugin.onAnswer)) plugin.onAnswer(ticket, String.UTF8.decodeUnsafe(at, size));
}

export function logllm_flush(now: i64): usize {
  if (isDefined(plugin.onFlush)) plugin.onFlush(now);
  output.end = output.start;
  const made = emittedCount;
  takeEmitted();
  return answer(made ? REPLACE : PASS, 0, made);
}

export function logllm_state_save(): usize {
  output.end = output.start;
  let mode = PASS;
  if (isDefined(plugin.onSave)) {
    const state = plugin.onSave();
    if (state != null) {
      const bytes = String.UTF8.encode(state);
      output.copy(changetype<usize>(bytes), bytes.byteLength);
      mode = REPLACE;
    }
  }
  return answer(mode, 0, 0);
}

export function logllm_state_load(at: usize, size: u32): i32 {
  if (isDefined(plugin.onLoad)) return plugin.onLoad(String.UTF8.decodeUnsafe(at, size)) ? 0 : 1;
  return 0;
}

/** Walk a block. What stays as it was is copied in runs, and only once something has changed. */
export function logllm_process(at: usize, size: u32, flags: u32): usize {
  const end = at + size;
  let run = at; // what begins here and is not in output yet stays as it is
  let given: u32 = 0;
  let kept: u32 = 0;
  let touched = false;
  output.end = output.start;
  while (at < end) {
    const stamp = at + headSize(at, end, 0x90);
    const begin = isPair(at, end) && stamp > at ? skip(stamp, end) : 0;
    const next = begin && isPair(stamp, end) ? read(stamp, begin, end) : 0;
    if (!next) return failed(given, "it is no [time, map]");
    const keep = isMarker() || plugin.filter(record);
    if (failure != null) return failed(given, failure!);
    if (emittedCount) {
      output.copy(run, <u32>(at - run));
      run = at;
      kept += emittedCount;
      touched = true;
      takeEmitted();
    }
    given++;
    if (!keep) {
      touched = true;
      output.copy(run, <u32>(at - run));
      run = next;
    } else {
      kept++;
      if (wasChanged()) {
        touched = true;
        output.copy(run, <u32>(begin - run));
        write(output);
        run = next;
      }
    }
    // No object is on the stack between two records: only here may the collector run.
    untilCollection -= <i32>(next - at);
    if (untilCollection < 0) {
      __collect();
      untilCollection = PER_COLLECTION;
    }
    at = next;
  }
  if (!touched) return answer(PASS, given, kept);
  output.copy(run, <u32>(end - run));
  return answer(REPLACE, given, kept);
}

function answer(mode: u32, given: u32, kept: u32): usize {
  memory.fill(result, 0, 32);
  store<u32>(result, mode);
  store<u32>(result, given, 4);
  store<u32>(result, kept, 8);
  store<u32>(result, output.start, 12);
  store<u32>(result, output.end - output.start, 16);
  return result;
}

function failed(index: u32, reason: string): usize {
  noFailure();
  nothingEmitted();
  output.end = output.start;
  answer(FAILED, index, 0);
  const text = `record ${index}: ${reason}`;
  const bytes = String.UTF8.encode(text);
  output.copy(changetype<usize>(bytes), bytes.byteLength);
  store<u32>(result, output.start, 24);
  store<u32>(result, output.end - output.start, 28);
  return result;
}

function takeEmitted(): void {
  output.copy(emitted.start, <u32>(emitted.end - emitted.start));
  nothingEmitted();
}

/** An array of two, or no array: a time and metadata, or a time. */
// @ts-ignore: decorator
@inline
function isPair(p: usize, end: usize): bool {
  const head = headSize(p, end, 0x90);
  return head == 0 || headCount(p, head) == 2;
}
