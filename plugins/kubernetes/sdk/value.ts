// What lies in a record, looked at where it lies.

import { after, headCount, headSize, made, number, same, skip, textHead, textSize, utf8Size } from "./msgpack";

/** Some names, made once and looked for often. */
export class Names {
  private sizes: u64 = 0; // a bit for each size there is, modulo 64: most names are told apart by it

  constructor(private names: string[]) {
    for (let i = 0; i < names.length; i++) this.sizes |= 1 << <u64>(utf8Size(names[i]) & 63);
  }

  // @ts-ignore: decorator
  @inline
  has(p: usize, size: u32): bool {
    return ((this.sizes >> (size & 63)) & 1) != 0 && this.find(p, size);
  }

  private find(p: usize, size: u32): bool {
    const names = this.names;
    for (let i = 0, n = names.length; i < n; i++) if (same(p, size, unchecked(names[i]))) return true;
    return false;
  }
}

const NIL = memory.data<u8>([0xc0]);

/**
 * One value as it lies in a record: text, number, list, map... It costs nothing, and is valid until the filter returns.
 * What is not there is a value too, of which `exists` is false: `record.get("kubernetes").get("labels")` is safe.
 */
@unmanaged
export class Value {
  /** Whether it is there. */
  get exists(): bool {
    return changetype<usize>(this) != NIL;
  }

  get isText(): bool {
    return textHead(changetype<usize>(this), usize.MAX_VALUE) != 0;
  }

  get isBool(): bool {
    return (load<u8>(changetype<usize>(this)) & 0xfe) == 0xc2;
  }

  get isInt(): bool {
    const c = <u32>load<u8>(changetype<usize>(this));
    return c < 0x80 || c >= 0xe0 || (c >= 0xcc && c <= 0xd3);
  }

  get isFloat(): bool {
    return (load<u8>(changetype<usize>(this)) & 0xfe) == 0xca;
  }

  get isNil(): bool {
    return this.exists && load<u8>(changetype<usize>(this)) == 0xc0;
  }

  get isBinary(): bool {
    const c = <u32>load<u8>(changetype<usize>(this));
    return c >= 0xc4 && c <= 0xc6;
  }

  get isMap(): bool {
    return headSize(changetype<usize>(this), usize.MAX_VALUE, 0x80) != 0;
  }

  get isList(): bool {
    return headSize(changetype<usize>(this), usize.MAX_VALUE, 0x90) != 0;
  }

  /** Whether it is this very text. */
  is(text: string): bool {
    const p = changetype<usize>(this);
    const head = textHead(p, usize.MAX_VALUE);
    return head != 0 && same(p + head, textSize(p, head), text);
  }

  /** Whether it is the same, byte for byte. */
  equals(other: Value): bool {
    const p = changetype<usize>(this);
    const q = changetype<usize>(other);
    const size = skip(p, usize.MAX_VALUE) - p;
    return skip(q, usize.MAX_VALUE) - q == size && memory.compare(p, q, size) == 0;
  }

  /** Its text; null where it is none. */
  text(): string | null {
    const p = changetype<usize>(this);
    const head = textHead(p, usize.MAX_VALUE);
    return head ? String.UTF8.decodeUnsafe(p + head, textSize(p, head)) : null;
  }

  /** The integer it is; the fallback where it is none, or one that i64 does not hold. */
  int(fallback: i64 = 0): i64 {
    const p = changetype<usize>(this);
    const c = <u32>load<u8>(p);
    if (c < 0x80 || c >= 0xe0) return <i64>load<i8>(p);
    switch (c) {
      case 0xcc: return load<u8>(p + 1);
      case 0xcd: return bswap<u16>(load<u16>(p + 1));
      case 0xce: return bswap<u32>(load<u32>(p + 1));
      case 0xcf: {
        const whole = bswap<u64>(load<u64>(p + 1));
        return whole >> 63 ? fallback : <i64>whole;
      }
      case 0xd0: return load<i8>(p + 1);
      case 0xd1: return bswap<i16>(load<i16>(p + 1));
      case 0xd2: return bswap<i32>(load<i32>(p + 1));
      case 0xd3: return bswap<i64>(load<i64>(p + 1));
      default: return fallback;
    }
  }

  /** The number it is; the fallback where it is none. */
  float(fallback: f64 = NaN): f64 {
    const p = changetype<usize>(this);
    const c = <u32>load<u8>(p);
    if (c == 0xca) return reinterpret<f32>(bswap<u32>(load<u32>(p + 1)));
    if (c == 0xcb) return reinterpret<f64>(bswap<u64>(load<u64>(p + 1)));
    if (c == 0xcf) return <f64>bswap<u64>(load<u64>(p + 1));
    return c < 0x80 || c >= 0xe0 || (c >= 0xcc && c <= 0xd3) ? <f64>this.int() : fallback;
  }

  /** Whether it is true. */
  bool(fallback: bool = false): bool {
    const c = <u32>load<u8>(changetype<usize>(this));
    return c == 0xc3 ? true : c == 0xc2 ? false : fallback;
  }

  /** A copy of its bytes, a text's or a binary's; null where it is neither. */
  bytes(): ArrayBuffer | null {
    const p = changetype<usize>(this);
    const c = <u32>load<u8>(p);
    const head = this.isBinary ? 1 + (1 << (c - 0xc4)) : textHead(p, usize.MAX_VALUE);
    if (!head) return null;
    const size = this.isBinary ? number(p + 1, c - 0xc4) : textSize(p, head);
    const copy = new ArrayBuffer(size);
    memory.copy(changetype<usize>(copy), p + head, size);
    return copy;
  }

  /** How many a list or a map holds; 0 for anything else. */
  get length(): i32 {
    const p = changetype<usize>(this);
    const list = headSize(p, usize.MAX_VALUE, 0x90);
    const head = list ? list : headSize(p, usize.MAX_VALUE, 0x80);
    return head ? headCount(p, head) : 0;
  }

  /** A map's field, the last of that name. */
  get(name: string): Value {
    let p = changetype<usize>(this);
    let found = NIL;
    const head = headSize(p, usize.MAX_VALUE, 0x80);
    if (head) {
      let count = headCount(p, head);
      for (p += head; count; count--) {
        const text = textHead(p, usize.MAX_VALUE);
        const key = p + text;
        const size = text ? textSize(p, text) : 0;
        p = text ? key + size : skip(p, usize.MAX_VALUE);
        if (text && same(key, size, name)) found = p;
        p = after(p);
      }
    }
    return changetype<Value>(found);
  }

  /** How many bytes its text has, as UTF-8; 0 where it is none. */
  get size(): i32 {
    const p = changetype<usize>(this);
    const head = textHead(p, usize.MAX_VALUE);
    return head ? textSize(p, head) : 0;
  }

  /** One byte of its text, from 0 up to `size`. */
  byteAt(index: i32): u32 {
    const p = changetype<usize>(this);
    return load<u8>(p + textHead(p, usize.MAX_VALUE) + index);
  }

  /** A part of its text, in bytes. */
  cut(from: i32, to: i32): Value {
    const p = changetype<usize>(this) + textHead(changetype<usize>(this), usize.MAX_VALUE);
    const at = made.end - made.start;
    made.textHead(to - from);
    made.copy(p + from, to - from);
    return changetype<Value>(made.start + at);
  }

  /** A map without some of its fields; itself where it has none of them. */
  without(names: Names): Value {
    const head = headSize(changetype<usize>(this), usize.MAX_VALUE, 0x80);
    if (!head) return this;
    const count = headCount(changetype<usize>(this), head);
    const at = made.end - made.start;
    // Its head is as wide as it was: how many are left is known in the end.
    made.copy(changetype<usize>(this), head);
    let left = count;
    let run = changetype<usize>(this) + head;
    let key = run;
    for (let i: u32 = 0; i < count; i++) {
      const end = after(after(key));
      const text = textHead(key, usize.MAX_VALUE);
      if (text && names.has(key + text, textSize(key, text))) {
        made.copy(run, <u32>(key - run));
        run = end;
        left--;
      }
      key = end;
    }
    if (left == count) {
      made.end = made.start + at;
      return this;
    }
    made.copy(run, <u32>(key - run));
    const p = made.start + at;
    if (head == 1) store<u8>(p, 0x80 | left);
    else if (head == 3) store<u16>(p + 1, bswap<u16>(<u16>left));
    else store<u32>(p + 1, bswap<u32>(left));
    return changetype<Value>(p);
  }

  /** A map with a field set, at its end; a map of that field alone where it is no map. */
  with<T>(name: string, value: T): Value {
    const rest = this.without(new Names([name]));
    const head = headSize(changetype<usize>(rest), usize.MAX_VALUE, 0x80);
    const count = head ? headCount(changetype<usize>(rest), head) : 0;
    const from = changetype<usize>(rest) + head;
    const size = head ? <u32>(skip(changetype<usize>(rest), usize.MAX_VALUE) - from) : 0;
    const at = made.end - made.start;
    made.head(count + 1, 0x80, 0xde);
    made.copy(from, size);
    made.text(name);
    made.value<T>(value);
    return changetype<Value>(made.start + at);
  }

  /** One of a list, from 0; not there beyond its end, or where it is no list. */
  at(index: i32): Value {
    if (!this.isList || <u32>index >= <u32>this.length) return NONE;
    let one = this.first();
    while (index-- > 0) one = one.next();
    return one;
  }

  /** The first of a list, or a map's first key, whose `next` is its value. Only where `length` is not 0. */
  first(): Value {
    const p = changetype<usize>(this);
    const list = headSize(p, usize.MAX_VALUE, 0x90);
    return changetype<Value>(p + (list ? list : headSize(p, usize.MAX_VALUE, 0x80)));
  }

  /** What comes after it in its list or map. Count: there is no end to be seen. */
  next(): Value {
    return changetype<Value>(after(changetype<usize>(this)));
  }
}

/** The value that is not there. */
export const NONE = changetype<Value>(NIL);
