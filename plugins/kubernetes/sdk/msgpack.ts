// msgpack, walked and written where it lies: pointers into memory, no objects, nothing for the garbage collector.

// By the lower five bits of a first byte from 0xc0: so many bytes follow; or what, with what width of length.
const INVALID: u32 = 0x1f;
const SIZED: u32 = 0x20; // str, bin
const EXT: u32 = 0x24;
const ARRAY: u32 = 0x28; // MAP is 0x2c
const SHAPES = memory.data<u8>([
  0, 0x1f, 0, 0, 0x20, 0x21, 0x22, 0x24, 0x25, 0x26, 4, 8, 1, 2, 4, 8, // c0 - cf
  1, 2, 4, 8, 2, 3, 5, 9, 17, 0x20, 0x21, 0x22, 0x29, 0x2a, 0x2d, 0x2e, // d0 - df
]);

// @ts-ignore: decorator
@inline
export function number(p: usize, width: u32): u32 {
  return width == 0 ? <u32>load<u8>(p) : width == 1 ? <u32>bswap<u16>(load<u16>(p)) : bswap<u32>(load<u32>(p));
}

/** Where the object at `p` ends; 0 where it is none, or does not end before `end`. Depth costs nothing. */
export function skip(p: usize, end: usize): usize {
  let left: u32 = 1;
  do {
    if (p >= end) return 0;
    const c = <u32>load<u8>(p++);
    let size: u32 = 0;
    let count: u32 = 0;
    left--;
    if (c < 0x80 || c >= 0xe0) continue;
    if (c >= 0xa0 && c < 0xc0) size = c & 31;
    else if (c < 0xa0) count = c < 0x90 ? (c & 15) << 1 : c & 15;
    else {
      const shape = <u32>load<u8>(SHAPES + (c & 31));
      if (shape < INVALID) size = shape;
      else if (shape == INVALID) return 0;
      else {
        const width = shape & 3;
        if (end - p < 1 << width) return 0;
        const length = number(p, width);
        p += 1 << width;
        if (shape < EXT) size = length;
        else if (shape < ARRAY) {
          if (length == u32.MAX_VALUE) return 0;
          size = length + 1; // its type
        } else if (shape < 0x2c) count = length;
        else {
          if (length >> 31) return 0;
          count = length << 1;
        }
      }
    }
    if (end - p < size) return 0;
    p += size;
    // What is still to come takes a byte each at least: a count that cannot be is refused before it is walked.
    if (count) {
      const room = end - p;
      if (room < left || room - left < count) return 0;
      left += count;
    }
  } while (left);
  return p;
}

/** The same for an object that is known to be whole; most are short texts, which take no call. */
// @ts-ignore: decorator
@inline
export function after(p: usize): usize {
  const c = <u32>load<u8>(p);
  return (c & 0xe0) == 0xa0 ? p + 1 + (c & 31) : skip(p, usize.MAX_VALUE);
}

/** How many bytes an array's or a map's head takes: 0 where `p` is none of that kind (fix 0x90 or 0x80). */
// @ts-ignore: decorator
@inline
export function headSize(p: usize, end: usize, fix: u32): u32 {
  if (p >= end) return 0;
  const c = <u32>load<u8>(p);
  if ((c & 0xf0) == fix) return 1;
  const wide: u32 = fix == 0x90 ? 0xdc : 0xde;
  const size: u32 = c == wide ? 3 : c == wide + 1 ? 5 : 0;
  return end - p < size ? 0 : size;
}

/** The count in a head of that size. */
// @ts-ignore: decorator
@inline
export function headCount(p: usize, size: u32): u32 {
  return size == 1 ? load<u8>(p) & 15 : number(p + 1, size == 3 ? 1 : 2);
}

/** How many bytes come before a text's first; 0 where `p` is no whole text. */
// @ts-ignore: decorator
@inline
export function textHead(p: usize, end: usize): u32 {
  if (p >= end) return 0;
  const c = <u32>load<u8>(p);
  if ((c & 0xe0) == 0xa0) return end - p > (c & 31) ? 1 : 0;
  return wideTextHead(p, end, c);
}

function wideTextHead(p: usize, end: usize, c: u32): u32 {
  if (c < 0xd9 || c > 0xdb) return 0;
  const width = c - 0xd9;
  const head: u32 = 1 + (1 << width);
  return end - p < head || end - p - head < number(p + 1, width) ? 0 : head;
}

/** A text's length in bytes, its head being of that size. */
// @ts-ignore: decorator
@inline
export function textSize(p: usize, head: u32): u32 {
  return head == 1 ? load<u8>(p) & 31 : number(p + 1, load<u8>(p) - 0xd9);
}

/** Whether UTF-8 at `p` says the same as a string. */
// @ts-ignore: decorator
@inline
export function same(p: usize, size: u32, text: string): bool {
  const length = <u32>text.length;
  // UTF-8 takes a byte at least for each half of UTF-16. Where names differ, mostly the first or the last does.
  if (size < length) return false;
  if (!length) return !size;
  const q = changetype<usize>(text);
  const last = <u32>load<u16>(q + (length << 1) - 2);
  if (last < 0x80 && last != load<u8>(p + size - 1)) return false;
  const first = <u32>load<u16>(q);
  if (first < 0x80 && first != load<u8>(p)) return false;
  return sameText(p, size, text);
}

function sameText(p: usize, size: u32, text: string): bool {
  const length = <u32>text.length;
  const q = changetype<usize>(text);
  for (let i: u32 = 0; i < length; i++) {
    const c = <u32>load<u16>(q + (i << 1));
    if (c >= 0x80) return sameWide(p, size, text);
    if (c != load<u8>(p + i)) return false;
  }
  return size == length;
}

function sameWide(p: usize, size: u32, text: string): bool {
  if (size != String.UTF8.byteLength(text)) return false;
  const buffer = heap.alloc(size);
  String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, buffer);
  const equal = memory.compare(buffer, p, size) == 0;
  heap.free(buffer);
  return equal;
}

/** How many bytes a string takes as UTF-8: its length where it is ASCII, and only there. */
export function utf8Size(text: string): u32 {
  const length = <u32>text.length;
  const q = changetype<usize>(text);
  for (let i: u32 = 0; i < length; i++) if (load<u16>(q + (i << 1)) >= 0x80) return String.UTF8.byteLength(text);
  return length;
}

/** Bytes that grow at the end of memory; what moves leaves its old place as it was, so pointers into it still read. */
export class Area {
  start: usize = 0;
  end: usize = 0; // of what is written
  limit: usize = 0;

  /** Room for `size` more bytes; false where there is no memory. */
  tryRoom(size: u32): bool {
    return this.limit - this.end >= size || this.grow(size);
  }

  // @ts-ignore: decorator
  @inline
  room(size: u32): void {
    if (this.limit - this.end < size && !this.grow(size)) unreachable();
  }

  private grow(size: u32): bool {
    const used = this.end - this.start;
    const had = this.limit - this.start;
    if (size > (1 << 30) || used > (1 << 30)) return false;
    const wanted = <u32>max<usize>(used + size, had << 1);
    const top = <usize>memory.size() << 16;
    // Nobody has grown memory since: it need not move.
    const kept = this.limit == top && had > 0 ? had : 0;
    let pages = <i32>((<usize>wanted - kept + 0xffff) >>> 16);
    if (memory.grow(pages) < 0) {
      pages = <i32>((used + size - kept + 0xffff) >>> 16);
      if (memory.grow(pages) < 0) return false;
    }
    if (!kept) {
      memory.copy(top, this.start, used);
      this.start = top;
      this.end = top + used;
    }
    this.limit = <usize>memory.size() << 16;
    return true;
  }

  copy(from: usize, size: u32): void {
    this.room(size);
    const to = this.end;
    this.end = to + size;
    // For a few bytes, memory.copy takes longer to begin than to end. The two halves may overlap.
    if (size > 32) memory.copy(to, from, size);
    else if (size > 16) {
      store<u64>(to, load<u64>(from));
      store<u64>(to + 8, load<u64>(from + 8));
      store<u64>(to + size - 16, load<u64>(from + size - 16));
      store<u64>(to + size - 8, load<u64>(from + size - 8));
    } else if (size >= 8) {
      store<u64>(to, load<u64>(from));
      store<u64>(to + size - 8, load<u64>(from + size - 8));
    } else for (let i: u32 = 0; i < size; i++) store<u8>(to + i, load<u8>(from + i));
  }

  byte(value: u32): void {
    this.room(1);
    store<u8>(this.end++, value);
  }

  /** A first byte and a big-endian number of 1, 2, 4 or 8 bytes. */
  sized(first: u32, value: u64, bytes: u32): void {
    this.room(9);
    store<u8>(this.end, first);
    store<u64>(this.end + 1, bswap<u64>(value << ((8 - bytes) << 3)));
    this.end += 1 + bytes;
  }

  /** The head of an array (0x90, 0xdc) or a map (0x80, 0xde). */
  head(count: u32, fix: u32, wide: u32): void {
    if (count < 16) this.byte(fix | count);
    else if (count <= 0xffff) this.sized(wide, count, 2);
    else this.sized(wide + 1, count, 4);
  }

  textHead(size: u32): void {
    if (size < 32) this.byte(0xa0 | size);
    else if (size <= 0xff) this.sized(0xd9, size, 1);
    else if (size <= 0xffff) this.sized(0xda, size, 2);
    else this.sized(0xdb, size, 4);
  }

  text(value: string): void {
    const size = utf8Size(value);
    this.textHead(size);
    this.utf8(value, size);
  }

  /** A string as UTF-8, of that many bytes. */
  utf8(value: string, size: u32): void {
    this.room(size);
    if (size != value.length) String.UTF8.encodeUnsafe(changetype<usize>(value), value.length, this.end);
    else {
      const q = changetype<usize>(value);
      for (let i: u32 = 0; i < size; i++) store<u8>(this.end + i, load<u16>(q + (i << 1)));
    }
    this.end += size;
  }

  signed(value: i64): void {
    if (value >= 0) this.unsigned(<u64>value);
    else if (value >= -32) this.byte(<u32>value & 0xff);
    else if (value >= i8.MIN_VALUE) this.sized(0xd0, <u64>value, 1);
    else if (value >= i16.MIN_VALUE) this.sized(0xd1, <u64>value, 2);
    else if (value >= i32.MIN_VALUE) this.sized(0xd2, <u64>value, 4);
    else this.sized(0xd3, <u64>value, 8);
  }

  unsigned(value: u64): void {
    if (value < 0x80) this.byte(<u32>value);
    else if (value <= 0xff) this.sized(0xcc, value, 1);
    else if (value <= 0xffff) this.sized(0xcd, value, 2);
    else if (value <= 0xffffffff) this.sized(0xce, value, 4);
    else this.sized(0xcf, value, 8);
  }

  float(value: f64): void {
    this.sized(0xcb, reinterpret<u64>(value), 8);
  }

  /** Anything that `Record.set` takes. */
  value<T>(value: T): void {
    if (isNullable<T>()) {
      if (changetype<usize>(value) == 0) return this.byte(0xc0);
    }
    if (isString<T>()) this.text(changetype<string>(value));
    else if (isBoolean<T>()) this.byte(value ? 0xc3 : 0xc2);
    else if (isFloat<T>()) this.float(<f64>value);
    else if (isInteger<T>()) {
      if (isSigned<T>()) this.signed(<i64>value);
      else this.unsigned(<u64>value);
    } else if (isArray<T>()) {
      const count = value.length;
      this.head(count, 0x90, 0xdc);
      for (let i = 0; i < count; i++) this.value<valueof<T>>(value[i]);
    } else if (isReference<T>() && !isManaged<T>()) {
      const p = changetype<usize>(value);
      this.copy(p, <u32>(skip(p, usize.MAX_VALUE) - p));
    } else ERROR("set takes a string, a bool, a number, an array of these or a Value");
  }
}

/** What was made of the record that is looked at. */
export const made = new Area();
