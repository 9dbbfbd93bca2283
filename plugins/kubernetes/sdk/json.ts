// JSON turned into msgpack, so that the configuration is read with the same `Value` as a record.

import { Area } from "./msgpack";
import { NONE, Value } from "./value";

const DEEPEST = 100;

let made: Area = new Area();
let p: usize = 0;
let end: usize = 0;
let right: bool = true;

/** A document as a Value that is written to `area`; NONE where it is no JSON. */
export function parse(from: usize, to: usize, area: Area): Value {
  p = from;
  end = to;
  right = true;
  made = area;
  const at = made.end - made.start;
  value(0);
  return space() || !right ? NONE : changetype<Value>(made.start + at);
}

/** The next byte that is no white space, 0 at the end. */
function space(): u32 {
  while (p < end) {
    const c = <u32>load<u8>(p);
    if (c > 32) return c;
    p++;
  }
  return 0;
}

function value(depth: i32): void {
  const c = space();
  if (depth > DEEPEST) right = false;
  else if (c == 123) many(depth, 125, 0xdf);
  else if (c == 91) many(depth, 93, 0xdd);
  else if (c == 34) made.text(text());
  else if (c == 116) word("true", 0xc3);
  else if (c == 102) word("false", 0xc2);
  else if (c == 110) word("null", 0xc0);
  else number();
}

function word(text: string, byte: u32): void {
  const size = <usize>text.length;
  right = end - p >= size && String.UTF8.decodeUnsafe(p, size) == text;
  p += size;
  made.byte(byte);
}

/** A list or a map; its count is written when it is known. */
function many(depth: i32, close: u32, head: u32): void {
  p++;
  made.sized(head, 0, 4);
  const at = made.end - made.start; // `made` may move
  let count: u32 = 0;
  while (right && space() != close) {
    if (count) {
      if (space() != 44) right = false;
      p++;
    }
    if (right && head == 0xdf) {
      if (space() != 34) right = false;
      else made.text(text());
      if (space() != 58) right = false;
      else p++;
    }
    if (right) value(depth + 1);
    count++;
  }
  p++;
  store<u32>(made.start + at - 4, bswap<u32>(count));
}

function text(): string {
  const from = ++p;
  let found = "";
  let run = from;
  while (p < end && load<u8>(p) != 34) {
    if (load<u8>(p) != 92) {
      p++;
      continue;
    }
    found += String.UTF8.decodeUnsafe(run, p - run);
    const c = p + 1 < end ? <u32>load<u8>(p + 1) : 0;
    p += 2;
    if (c == 117 && end - p >= 4) {
      found += String.fromCharCode(<i32>parseInt(String.UTF8.decodeUnsafe(p, 4), 16));
      p += 4;
    } else found += escaped(c);
    run = p;
  }
  if (p >= end) {
    right = false;
    return found;
  }
  found += String.UTF8.decodeUnsafe(run, p - run);
  p++;
  return found;
}

function escaped(c: u32): string {
  if (c == 110) return "\n";
  if (c == 116) return "\t";
  if (c == 114) return "\r";
  if (c == 98) return "\b";
  return c == 102 ? "\f" : String.fromCharCode(c);
}

function number(): void {
  const from = p;
  const minus = p < end && load<u8>(p) == 45;
  let whole = true; // an integer, and one that 64 bits hold
  let size: u64 = 0;
  while (p < end) {
    const c = <u32>load<u8>(p);
    if (c >= 48 && c <= 57) {
      const digit = <u64>(c - 48);
      if (size > (u64.MAX_VALUE - digit) / 10) whole = false;
      size = size * 10 + digit;
    } else if (c == 46 || c == 101 || c == 69) whole = false;
    else if (c != 43 && c != 45) break;
    p++;
  }
  if (p == from + <usize>minus) {
    right = false;
    p++;
  } else if (whole && !minus) made.unsigned(size);
  else if (whole && size <= 1 << 63) made.signed(-(<i64>size));
  else made.float(parseFloat(String.UTF8.decodeUnsafe(from, p - from)));
}
