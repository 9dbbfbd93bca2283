/* MessagePack entries of the forward protocol to lines of JSON, in one pass.
 *
 * Freestanding; no imports, no allocation, all memory static, so it never grows. Built to WebAssembly and run in the
 * sandbox: should a bound below be wrong, the worst is a trap or a wrong line, never a foreign byte read.
 *
 * `ndjson.py` says what is written, and does the entries itself that this here leaves: times that are neither EventTime
 * nor integer, maps, lists, extensions and floats as keys, deep nesting, what is no entry. In doubt it stops in front of
 * an entry and says SLOW; nothing of that entry is then in the output. Very large and very small floats are left out of
 * the lines, and a list says where they belong.
 */
#include <stdint.h>
#ifdef NATIVE
#include "native.h"
#else
#include <wasm_simd128.h>
#define EXPORT(name) __attribute__((export_name(#name)))
#endif

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t i64;

enum {
  INPUT = 1 << 18,   /* bytes a call may look at */
  OUTPUT = 1 << 19,  /* bytes a call may write */
  HEAD = 4096,       /* what each line begins with: `{"tag":"...","time":"` */
  SLACK = 64,        /* readable behind what is read: vectors are loaded whole */
  ROOM = 512,        /* writable behind OUTPUT: what is written between two looks at how much is left */
  DEEPEST = 64,      /* containers in containers */
  ABSENT = 4096      /* floats left out */
};
enum { WHOLE = 0, CUT = 1, FULL = 2, SLOW = 3 };

static u8 input[INPUT + SLACK] __attribute__((aligned(16)));
static u8 head[HEAD + SLACK] __attribute__((aligned(16)));
static u8 output[OUTPUT + ROOM] __attribute__((aligned(16)));
static double absent[ABSENT];
static u32 absent_at[ABSENT]; /* where in the output */
static u32 found[4];          /* bytes read, bytes written, status, floats left out */
static u8 *const limit = output + OUTPUT;
static u32 failed; /* why a function gave nothing */

static const void *const layout_[] = {input, head, output, found, absent, absent_at};
EXPORT(layout) const void *layout(void) { return layout_; }

static u32 load32(const u8 *p) { u32 v; __builtin_memcpy(&v, p, 4); return v; }
static u32 be16(const u8 *p) { return (u32)p[0] << 8 | p[1]; }
static u32 be32(const u8 *p) { return __builtin_bswap32(load32(p)); }
static u64 be64(const u8 *p) { return (u64)be32(p) << 32 | be32(p + 4); }

static const char pairs_of_digits[] =
  "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
  "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
static const char sixty_four[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char hex[] = "0123456789abcdef";

/* Constants behind one another, a NUL behind them; the array is at least 16 bytes. */
static inline u8 *put(u8 *o, const char *text, u32 bytes) {
  __builtin_memcpy(o, text, bytes);
  return o + bytes;
}
#define PUT(o, text) put(o, text, sizeof text - 1)

/* Exactly `count` digits, with zeros in front. */
static inline void padded(u8 *o, u64 value, u32 count) {
  while (count >= 2) {
    count -= 2;
    __builtin_memcpy(o + count, pairs_of_digits + 2 * (value % 100), 2);
    value /= 100;
  }
  if (count) *o = (u8)('0' + value % 10);
}

static inline void nine(u8 *o, u32 value) {
  u32 high = value / 10000, low = value % 10000;
  o[0] = (u8)('0' + high / 10000);
  high %= 10000;
  __builtin_memcpy(o + 1, pairs_of_digits + 2 * (high / 100), 2);
  __builtin_memcpy(o + 3, pairs_of_digits + 2 * (high % 100), 2);
  __builtin_memcpy(o + 5, pairs_of_digits + 2 * (low / 100), 2);
  __builtin_memcpy(o + 7, pairs_of_digits + 2 * (low % 100), 2);
}

static u8 *natural(u8 *o, u64 value) {
  u32 count = 1;
  for (u64 rest = value; rest >= 10; rest /= 10) count++;
  padded(o, value, count);
  return o + count;
}

static u8 *integer(u8 *o, i64 value) {
  if (value >= 0) return natural(o, (u64)value);
  *o = '-';
  return natural(o + 1, -(u64)value);
}

/* A number that is an integer: 1 and where it ends; 0 where it is none, -1 where it is not whole. Negative ones in
 * `value` as two's complement. */
static int whole_number(const u8 *p, u32 have, u64 *value, int *negative, u32 *width) {
  u32 c = *p;
  *negative = 0;
  if (c < 0x80) { *value = c; *width = 1; return 1; }
  if (c >= 0xe0) { *value = (u64)(i64)(int8_t)c; *negative = 1; *width = 1; return 1; }
  if (c < 0xcc || c > 0xd3) return 0;
  *width = 1 + (1u << (c & 3));
  if (*width > have) return -1;
  switch (c) {
    case 0xcc: *value = p[1]; return 1;
    case 0xcd: *value = be16(p + 1); return 1;
    case 0xce: *value = be32(p + 1); return 1;
    case 0xcf: *value = be64(p + 1); return 1;
    case 0xd0: *value = (u64)(i64)(int8_t)p[1]; break;
    case 0xd1: *value = (u64)(i64)(int16_t)be16(p + 1); break;
    case 0xd2: *value = (u64)(i64)(int32_t)be32(p + 1); break;
    default: *value = be64(p + 1);
  }
  *negative = *value >> 63 != 0;
  return 1;
}

static const u64 tens[] = {
  1ull, 10ull, 100ull, 1000ull, 10000ull, 100000ull, 1000000ull, 10000000ull, 100000000ull, 1000000000ull,
  10000000000ull, 100000000000ull, 1000000000000ull, 10000000000000ull, 100000000000000ull, 1000000000000000ull,
  10000000000000000ull, 100000000000000000ull, 1000000000000000000ull, 10000000000000000000ull,
};

static u8 *decimal(u8 *o, u64 digits, u32 places) {
  o = natural(o, digits / tens[places]);
  *o++ = '.';
  padded(o, digits % tens[places], places);
  return o + places;
}

/* The shortest text that reads back as the same double, as Python's repr; 0 where that is left to Python. */
static u8 *real(u8 *o, double value) {
  u64 bits;
  __builtin_memcpy(&bits, &value, 8);
  u32 power = bits >> 52 & 0x7ff;
  u64 fraction = bits & (((u64)1 << 52) - 1);
  if (power == 0x7ff) {
    if (fraction) return PUT(o, "\"NaN\"");
    return bits >> 63 ? PUT(o, "\"-Infinity\"") : PUT(o, "\"Infinity\"");
  }
  if (bits >> 63) { *o++ = '-'; value = -value; }
  if (value == 0) return PUT(o, "0.0");
  /* From 10^-4 to 10^16 Python writes no exponent. */
  if (!(value >= 1e-4 && value < 9007199254740992.0)) return 0;
  u64 floor = (u64)value;
  if ((double)floor == value) {
    o = natural(o, floor);
    return PUT(o, ".0");
  }
  /* Two decimals of at most 15 digits are never nearest to the same double, so if there is one it is this. The product
   * is off by less than a quarter, and the quotient is rounded once, for both its parts are exact. */
  u32 places = 1;
  for (; places < 19; places++) {
    double scale = (double)tens[places], scaled = value * scale;
    if (scaled >= 1e15) break;
    u64 digits = (u64)(scaled + 0.5);
    if ((double)digits / scale == value) return decimal(o, digits, places);
  }
  /* 16 digits or 17: in whole numbers. value = mantissa / 2^shift, times 10^places it is below 2^117. A decimal reads
   * back if it is off by less than half of the mantissa's last bit. */
  u64 mantissa = fraction | (u64)1 << 52;
  u32 shift = 1075 - power;
  if (shift < 1 || shift > 62 || !fraction) return 0;
  for (u32 most = 2; most; most--, places++) {
    if (places > 19) return 0;
    u64 scale = tens[places];
    u64 low_low = (mantissa & 0xffffffff) * (scale & 0xffffffff), low_high = (mantissa & 0xffffffff) * (scale >> 32);
    u64 high_low = (mantissa >> 32) * (scale & 0xffffffff), high_high = (mantissa >> 32) * (scale >> 32);
    u64 middle = (low_low >> 32) + (low_high & 0xffffffff) + (high_low & 0xffffffff);
    u64 low = middle << 32 | (low_low & 0xffffffff);
    u64 high = high_high + (low_high >> 32) + (high_low >> 32) + (middle >> 32);
    u64 digits = high << (64 - shift) | low >> shift, rest = low & (((u64)1 << shift) - 1), one = (u64)1 << shift;
    if (high >> shift) return 0;
    u64 off = rest;
    if (2 * rest > one) { digits++; off = one - rest; }
    if (2 * off < scale) return 2 * off == one ? 0 : decimal(o, digits, places);
    if (2 * off == scale) return 0;
  }
  return 0;
}

/* The bytes of a text within quotes; 0 where there is no room. */
static u8 *text(u8 *o, const u8 *p, u32 n) {
  const v128_t blank = wasm_i8x16_splat(' '), quote = wasm_i8x16_splat('"'), slash = wasm_i8x16_splat('\\');
  *o++ = '"';
  for (;;) {
    if (o > limit) return 0;
    v128_t v = wasm_v128_load(p);
    wasm_v128_store(o, v);
    /* Compared as signed numbers, so that what is not ASCII is less than a blank too. */
    v128_t special = wasm_v128_or(wasm_v128_or(wasm_i8x16_eq(v, quote), wasm_i8x16_eq(v, slash)), wasm_i8x16_lt(v, blank));
    u32 stop = wasm_i8x16_bitmask(special);
    if (n < 16) stop |= 1u << n;
    if (!stop) { p += 16; o += 16; n -= 16; continue; }
    u32 plain = (u32)__builtin_ctz(stop);
    p += plain; o += plain; n -= plain;
    if (!n) { *o = '"'; return o + 1; }
    u32 c = *p;
    if (c < 0x80) {
      u8 name = c == '"' || c == '\\' ? (u8)c : c == '\n' ? 'n' : c == '\t' ? 't' : c == '\r' ? 'r' : c == '\b' ? 'b' : c == '\f' ? 'f' : 0;
      *o++ = '\\';
      if (name) *o++ = name;
      else { o = PUT(o, "u00"); *o++ = (u8)hex[c >> 4]; *o++ = (u8)hex[c & 15]; }
      p++; n--;
      continue;
    }
    do {
      /* A character, or the longest beginning of one (Unicode 15, table 3-7 and "U+FFFD Substitution of Maximal Subparts"). */
      u32 more = 0, low = 0x80, top = 0xbf, bytes = 1;
      c = *p;
      if (c >= 0xc2 && c <= 0xdf) more = 1;
      else if (c >= 0xe0 && c <= 0xef) { more = 2; if (c == 0xe0) low = 0xa0; if (c == 0xed) top = 0x9f; }
      else if (c >= 0xf0 && c <= 0xf4) { more = 3; if (c == 0xf0) low = 0x90; if (c == 0xf4) top = 0x8f; }
      u32 bad = !more;
      for (; more; more--, bytes++, low = 0x80, top = 0xbf) {
        if (bytes == n || p[bytes] < low || p[bytes] > top) { bad = 1; break; }
      }
      if (bad) o = PUT(o, "\xef\xbf\xbd");
      else { __builtin_memcpy(o, p, 4); o += bytes; }
      p += bytes; n -= bytes;
      if (o > limit) return 0;
    } while (n && *p & 0x80);
  }
}

static u8 *base64(u8 *o, const u8 *p, u32 n) {
  *o++ = '"';
  for (; n >= 3; n -= 3, p += 3, o += 4) {
    if (o > limit) return 0;
    o[0] = (u8)sixty_four[p[0] >> 2];
    o[1] = (u8)sixty_four[(p[0] & 3) << 4 | p[1] >> 4];
    o[2] = (u8)sixty_four[(p[1] & 15) << 2 | p[2] >> 6];
    o[3] = (u8)sixty_four[p[2] & 63];
  }
  if (n) {
    o[0] = (u8)sixty_four[p[0] >> 2];
    o[1] = (u8)sixty_four[(p[0] & 3) << 4 | (n == 2 ? p[1] >> 4 : 0)];
    o[2] = n == 2 ? (u8)sixty_four[(p[1] & 15) << 2] : '=';
    o[3] = '=';
    o += 4;
  }
  *o = '"';
  return o + 1;
}

/* How long the body of a str, bin, ext, array or map is whose first byte is followed by a length of `width` bytes, and
 * how long what is before it; 0 where that is not whole. */
static inline u32 sized(const u8 *p, u32 have, u32 width, u32 *body) {
  if (have <= width) return 0;
  *body = width == 1 ? p[1] : width == 2 ? be16(p + 1) : be32(p + 1);
  return 1 + width;
}

static const u8 *key(const u8 *p, const u8 *e, u8 **out) {
  if (p >= e) { failed = CUT; return 0; }
  u8 *o = *out;
  u32 have = (u32)(e - p), c = *p, body, before;
  if ((c & 0xe0) == 0xa0) { body = c & 31; before = 1; }
  else if ((c >= 0xd9 && c <= 0xdb) || (c >= 0xc4 && c <= 0xc6)) {
    before = sized(p, have, 1u << (c >= 0xd9 ? c - 0xd9 : c - 0xc4), &body);
  } else {
    u64 value;
    int negative, is = whole_number(p, have, &value, &negative, &before);
    if (is < 0) { failed = CUT; return 0; }
    *o++ = '"';
    if (is) o = negative ? integer(o, (i64)value) : natural(o, value);
    else if (c == 0xc0) { o = PUT(o, "null"); before = 1; }
    else if (c == 0xc2) { o = PUT(o, "false"); before = 1; }
    else if (c == 0xc3) { o = PUT(o, "true"); before = 1; }
    else { failed = SLOW; return 0; }
    *o = '"';
    *out = o + 1;
    return p + before;
  }
  if (!before || body > have - before) { failed = CUT; return 0; }
  *out = text(o, p + before, body);
  if (!*out) { failed = FULL; return 0; }
  return p + before + body;
}

/* What is no container: where it ends, or 0 and why in `failed`. */
static const u8 *scalar(const u8 *p, u32 have, u8 **out) {
  u8 *o = *out;
  u32 c = *p, body, before;
  u64 value;
  int negative, is = whole_number(p, have, &value, &negative, &before);
  if (is < 0) { failed = CUT; return 0; }
  if (is) {
    *out = negative ? integer(o, (i64)value) : natural(o, value);
    return p + before;
  }
  switch (c) {
    case 0xc0: *out = PUT(o, "null"); return p + 1;
    case 0xc2: *out = PUT(o, "false"); return p + 1;
    case 0xc3: *out = PUT(o, "true"); return p + 1;
    case 0xca: case 0xcb: {
      u32 width = c == 0xca ? 5 : 9;
      if (width > have) { failed = CUT; return 0; }
      double number;
      if (c == 0xca) { u32 bits = be32(p + 1); float single; __builtin_memcpy(&single, &bits, 4); number = single; }
      else { u64 bits = be64(p + 1); __builtin_memcpy(&number, &bits, 8); }
      *out = real(o, number);
      if (!*out) {
        if (found[3] == ABSENT) { failed = FULL; return 0; }
        absent_at[found[3]] = (u32)(o - output);
        absent[found[3]++] = number;
        *out = o;
      }
      return p + width;
    }
    case 0xc4: case 0xc5: case 0xc6: case 0xd9: case 0xda: case 0xdb:
      before = sized(p, have, 1u << (c >= 0xd9 ? c - 0xd9 : c - 0xc4), &body);
      if (!before || body > have - before) { failed = CUT; return 0; }
      *out = c >= 0xd9 ? text(o, p + before, body) : base64(o, p + before, body);
      if (!*out) { failed = FULL; return 0; }
      return p + before + body;
    case 0xc7: case 0xc8: case 0xc9: before = sized(p, have, 1u << (c - 0xc7), &body); break;
    case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: before = 1; body = 1u << (c - 0xd4); break;
    default: failed = SLOW; return 0;
  }
  /* An extension: its type is before the body. */
  if (!before || have <= before || body > have - before - 1) { failed = CUT; return 0; }
  o = PUT(o, "{\"ext_type\":");
  o = integer(o, (int8_t)p[before]);
  o = PUT(o, ",\"data\":");
  o = base64(o, p + before + 1, body);
  if (!o) { failed = FULL; return 0; }
  *o = '}';
  *out = o + 1;
  return p + before + 1 + body;
}

/* Any value: where it ends, or 0 and why in `failed`. */
static const u8 *value_at(const u8 *p, const u8 *e, u8 **out) {
  struct { u32 todo, closing; } outer[DEEPEST];
  u32 depth = 0, todo = 1, closing = 0;
  u8 *o = *out;
  for (;;) {
    if (o > limit) { failed = FULL; return 0; }
    if (closing == '}' && !(todo & 1)) {
      p = key(p, e, &o);
      if (!p) return 0;
      *o++ = ':';
      todo--;
      if (o > limit) { failed = FULL; return 0; }
    }
    if (p >= e) { failed = CUT; return 0; }
    u32 have = (u32)(e - p), c = *p, items, before;
    if ((c & 0xe0) == 0xa0) {
      items = c & 31;
      if (items >= have) { failed = CUT; return 0; }
      o = text(o, p + 1, items);
      if (!o) { failed = FULL; return 0; }
      p += 1 + items;
      todo--;
    } else if ((c & 0xe0) == 0x80 || (c >= 0xdc && c <= 0xdf)) {
      int map = c < 0xa0 ? c < 0x90 : c >= 0xde;
      if (c < 0xa0) { items = c & 15; before = 1; }
      else before = sized(p, have, c & 1 ? 4 : 2, &items);
      /* Every item has a byte at least. */
      if (!before || items > have - before) { failed = CUT; return 0; }
      p += before;
      if (items) {
        if (depth == DEEPEST) { failed = SLOW; return 0; }
        outer[depth].todo = todo - 1;
        outer[depth++].closing = closing;
        *o++ = map ? '{' : '[';
        todo = map ? 2 * items : items;
        closing = map ? '}' : ']';
        continue;
      }
      o = map ? PUT(o, "{}") : PUT(o, "[]");
      todo--;
    } else {
      p = scalar(p, have, &o);
      if (!p) return 0;
      todo--;
    }
    while (!todo) {
      if (!depth) { *out = o; return p; }
      *o++ = (u8)closing;
      depth--;
      todo = outer[depth].todo;
      closing = outer[depth].closing;
    }
    *o++ = ',';
  }
}

static u32 array_of_two(const u8 *p, const u8 *e) {
  if (p < e && *p == 0x92) return 1;
  if (e - p >= 3 && p[0] == 0xdc && be16(p + 1) == 2) return 3;
  if (e - p >= 5 && p[0] == 0xdd && be32(p + 1) == 2) return 5;
  return 0;
}

/* A time: where it ends, or 0 and why in `failed`. */
static inline const u8 *time_at(const u8 *p, const u8 *e, u8 **out) {
  if (e - p < 11) { failed = CUT; return 0; }
  u32 at = p[0] == 0xd7 && !p[1] ? 2 : p[0] == 0xc7 && p[1] == 8 && !p[2] ? 3 : 0;
  if (at) {
    u32 nanoseconds = be32(p + at + 4);
    if (nanoseconds >= 1000000000) { failed = SLOW; return 0; }
    u8 *o = natural(*out, be32(p + at));
    *o++ = '.';
    nine(o, nanoseconds);
    *out = o + 9;
    return p + at + 8;
  }
  u64 value;
  int negative;
  u32 width;
  if (whole_number(p, (u32)(e - p), &value, &negative, &width) <= 0) { failed = SLOW; return 0; }
  *out = negative ? integer(*out, (i64)value) : natural(*out, value);
  *out = PUT(*out, ".000000000");
  return p + width;
}

/* One entry at p: where it ends, or 0 and why in `failed`. */
static const u8 *entry(const u8 *p, const u8 *e, u32 head_bytes, u8 **out) {
  u8 *o = *out;
  if (o + head_bytes > limit) { failed = FULL; return 0; }
  for (u32 at = 0; at < head_bytes; at += 16) wasm_v128_store(o + at, wasm_v128_load(head + at));
  o += head_bytes;
  u32 outer = array_of_two(p, e);
  if (!outer) { failed = SLOW; return 0; }
  p += outer;
  u32 inner = array_of_two(p, e);
  p = time_at(p + inner, e, &o);
  if (!p) return 0;
  const u8 *metadata = 0;
  if (inner) {
    if (p >= e) { failed = CUT; return 0; }
    if (*p == 0x80 || *p == 0xc0) p++;
    else {
      /* Written once to know where it ends, and again behind the record. */
      u8 *scratch = o;
      u32 before = found[3];
      metadata = p;
      p = value_at(p, e, &scratch);
      if (!p) return 0;
      found[3] = before;
      if (scratch - o == 2 && o[0] == '{') metadata = 0;
    }
  }
  if (p >= e) { failed = CUT; return 0; }
  if ((*p & 0xf0) != 0x80 && *p != 0xde && *p != 0xdf) { failed = SLOW; return 0; }
  o = PUT(o, "\",\"record\":");
  p = value_at(p, e, &o);
  if (!p) return 0;
  if (metadata) {
    o = PUT(o, ",\"metadata\":");
    if (!value_at(metadata, e, &o)) return 0;
  }
  *out = PUT(o, "}\n");
  return p;
}

/* Write at most `most` entries of the input's bytes from `from` to `bytes`; returns how many there were. `found` says
 * where they end, how many bytes were written, and why it stopped: WHOLE at the end or with the last one wanted, CUT
 * inside an entry, FULL for want of room, SLOW before one that is Python's; and how many floats are to be put in. */
EXPORT(transcode) u32 transcode(u32 from, u32 bytes, u32 head_bytes, u32 most) {
  if (bytes > INPUT) bytes = INPUT;
  if (from > bytes) from = bytes;
  if (head_bytes > HEAD) head_bytes = HEAD;
  const u8 *p = input + from, *e = input + bytes;
  u8 *o = output;
  u32 n = 0;
  found[2] = WHOLE;
  found[3] = 0;
  while (n < most && p < e) {
    u32 before = found[3];
    const u8 *next = entry(p, e, head_bytes, &o);
    if (!next) { found[2] = failed; found[3] = before; break; }
    p = next;
    n++;
  }
  found[0] = (u32)(p - input);
  found[1] = (u32)(o - output);
  return n;
}
