import { Area, headCount, headSize, made, same, skip, textHead, textSize, utf8Size } from "./msgpack";
import { NONE, Value } from "./value";

// A field as it is known while its record is looked at: pointers to its name, its key, its value, its value's end.
@unmanaged
class Field {
  name: usize;
  nameSize: u32;
  key: usize; // 0: its name is written anew
  value: usize;
  end: usize;
}

const FIELD = <u32>offsetof<Field>();
const NO_TEXT: u32 = u32.MAX_VALUE; // the key is a number or other such thing, which no name finds

const fields = new Area();
let time: usize = 0;
let changed: bool = false;

export const tagText = new Area();

/** One log record; it is valid until the filter returns. Of several fields of one name, the last is meant. */
export class Record {
  /** A field; `exists` is false of it where there is none. */
  get(name: string): Value {
    const field = find(name, fields.end);
    return field ? changetype<Value>(changetype<Field>(field).value) : NONE;
  }

  has(name: string): bool {
    return find(name, fields.end) != 0;
  }

  /** Whether a field is this very text; it makes no string, so it is the quickest to ask. */
  is(name: string, text: string): bool {
    return this.get(name).is(text);
  }

  /** A text field; null where there is none, or it is no text. */
  getString(name: string): string | null {
    return this.get(name).text();
  }

  getInt(name: string, fallback: i64 = 0): i64 {
    return this.get(name).int(fallback);
  }

  getFloat(name: string, fallback: f64 = NaN): f64 {
    return this.get(name).float(fallback);
  }

  getBool(name: string, fallback: bool = false): bool {
    return this.get(name).bool(fallback);
  }

  /** How many fields there are. */
  get length(): i32 {
    return <i32>((fields.end - fields.start) / FIELD);
  }

  /** The name of a field by its place, from 0; "" for one that is no text. */
  nameAt(index: i32): string {
    const field = changetype<Field>(fields.start + <usize>index * FIELD);
    return field.nameSize == NO_TEXT ? "" : String.UTF8.decodeUnsafe(field.name, field.nameSize);
  }

  /** The value of a field by its place. */
  valueAt(index: i32): Value {
    return changetype<Value>(changetype<Field>(fields.start + <usize>index * FIELD).value);
  }

  /**
   * Give a field a value, in its place; add it at the end where there is none. Takes a string, a bool, any number, an
   * array of these, or a Value.
   */
  set<T>(name: string, value: T): void {
    const from = <u32>(made.end - made.start);
    if (isReference<T>() && !isManaged<T>()) {
      const p = changetype<usize>(value);
      return put(name, p, skip(p, usize.MAX_VALUE));
    }
    made.value<T>(value);
    // `made` may have moved while it grew.
    put(name, made.start + from, made.end);
  }

  setNull(name: string): void {
    put(name, changetype<usize>(NONE), changetype<usize>(NONE) + 1);
  }

  /** Give a field another name; whatever had that name goes. Whether there was one. */
  rename(name: string, to: string): bool {
    if (!find(name, fields.end)) return false;
    if (name == to) return true;
    this.delete(to);
    const field = changetype<Field>(find(name, fields.end));
    const size = utf8Size(to);
    made.utf8(to, size);
    field.name = made.end - size;
    field.nameSize = size;
    field.key = 0;
    return (changed = true);
  }

  /** Remove a field, every one of that name. Whether there was one. */
  delete(name: string): bool {
    let found = false;
    for (let at = find(name, fields.end); at; at = find(name, fields.end)) {
      remove(at);
      found = true;
    }
    return found;
  }

  /** The tag of the record's block, such as `kube.app`. */
  get tag(): string {
    return String.UTF8.decodeUnsafe(tagText.start, tagText.end - tagText.start);
  }

  /** When the record was written, in whole seconds since the epoch. */
  get seconds(): i64 {
    return secondsOf(this.when);
  }

  /** And the nanoseconds that come on top. */
  get nanoseconds(): i32 {
    const p = this.when;
    const at = eventTime(p);
    if (at) return bswap<u32>(load<u32>(at + 4));
    if (!changetype<Value>(p).isFloat) return 0;
    const value = changetype<Value>(p).float();
    return <i32>Math.round((value - Math.floor(value)) * 1e9);
  }

  /** What Fluent Bit keeps beside the record; not there where its entry has none. */
  get metadata(): Value {
    return headSize(time, usize.MAX_VALUE, 0x90) ? changetype<Value>(this.when).next() : NONE;
  }

  private get when(): usize {
    return time + headSize(time, usize.MAX_VALUE, 0x90);
  }
}

/** Where the seconds of an EventTime are, an extension of type 0 with two numbers of 32 bits; 0: it is none. */
// @ts-ignore: decorator
@inline
function eventTime(p: usize): usize {
  const c = <u32>load<u8>(p);
  if (c == 0xd7) return load<u8>(p + 1) ? 0 : p + 2;
  return c == 0xc7 && load<u8>(p + 1) == 8 && !load<u8>(p + 2) ? p + 3 : 0;
}

function secondsOf(p: usize): i64 {
  const at = eventTime(p);
  if (at) return bswap<u32>(load<u32>(at));
  const value = changetype<Value>(p);
  return value.isFloat ? <i64>Math.floor(value.float()) : value.int();
}

/** Fluent Bit marks where a group of records begins and ends by an EventTime of second -1 or -2; that is no record. */
export function isMarker(): bool {
  const at = eventTime(time + headSize(time, usize.MAX_VALUE, 0x90));
  return at != 0 && bswap<u32>(load<u32>(at)) >= 0xfffffffe && load<u32>(at, 4) == 0;
}

/** The one Record there is: it looks at one entry of the block after the other. */
export const record = new Record();

function find(name: string, end: usize): usize {
  for (let at = end; at > fields.start; ) {
    at -= FIELD;
    const field = changetype<Field>(at);
    if (field.nameSize != NO_TEXT && same(field.name, field.nameSize, name)) return at;
  }
  return 0;
}

function remove(at: usize): void {
  memory.copy(at, at + FIELD, fields.end - at - FIELD);
  fields.end -= FIELD;
  changed = true;
}

/** Give a field a value that lies where it stays until the filter returns. */
function put(name: string, value: usize, end: usize): void {
  let at = find(name, fields.end);
  if (!at) {
    changed = true;
    const size = utf8Size(name);
    made.utf8(name, size);
    return add(made.end - size, size, 0, value, end);
  }
  for (let other = find(name, at); other; other = find(name, at)) {
    remove(other);
    at -= FIELD;
  }
  const field = changetype<Field>(at);
  if (field.end - field.value == end - value && memory.compare(field.value, value, end - value) == 0) return;
  changed = true;
  field.value = value;
  field.end = end;
  field.key = 0;
}

// @ts-ignore: decorator
@inline
function add(name: usize, nameSize: u32, key: usize, value: usize, end: usize): void {
  fields.room(FIELD);
  const field = changetype<Field>(fields.end);
  field.name = name;
  field.nameSize = nameSize;
  field.key = key;
  field.value = value;
  field.end = end;
  fields.end += FIELD;
}

/** Look at the map at `p`: where it ends, 0 where it is none. */
export function read(stamp: usize, p: usize, end: usize): usize {
  time = stamp;
  changed = false;
  fields.end = fields.start;
  made.end = made.start;
  const head = headSize(p, end, 0x80);
  if (!head) return 0;
  let count = headCount(p, head);
  for (p += head; count; count--) {
    const key = p;
    const text = textHead(p, end);
    let size = NO_TEXT;
    if (text) {
      size = textSize(p, text);
      p += text + size;
    } else {
      p = skip(p, end);
      if (!p) return 0;
    }
    const value = p;
    const c = p < end ? <u32>load<u8>(p) : 0xc1;
    p = (c & 0xe0) == 0xa0 ? p + 1 + (c & 31) : skip(p, end);
    if (!p || p > end) return 0;
    add(key + text, size, key, value, p);
  }
  return p;
}

export function wasChanged(): bool {
  return changed;
}

/** Append the map as it is now; neighbours that are as they came are copied together. */
export function write(to: Area): void {
  to.head(<u32>((fields.end - fields.start) / FIELD), 0x80, 0xde);
  let run: usize = 0;
  let runEnd: usize = 0;
  for (let at = fields.start; at < fields.end; at += FIELD) {
    const field = changetype<Field>(at);
    if (field.key == runEnd && runEnd) {
      runEnd = field.end;
      continue;
    }
    if (run) to.copy(run, <u32>(runEnd - run));
    if (field.key) {
      run = field.key;
      runEnd = field.end;
    } else {
      run = runEnd = 0;
      to.textHead(field.nameSize);
      to.copy(field.name, field.nameSize);
      to.copy(field.value, <u32>(field.end - field.value));
    }
  }
  if (run) to.copy(run, <u32>(runEnd - run));
}
