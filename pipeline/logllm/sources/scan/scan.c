/* One pass over MessagePack entries of the forward protocol: what is in them, by column.
 *
 * Freestanding; no imports, no allocation, all memory static, so it never grows. Built to WebAssembly and run in the
 * sandbox: should a bound below be wrong, the worst is a trap or a wrong column, never a foreign byte read.
 *
 * It only answers what it is sure of. A record with anything unusual in it (a message that is no string, bytes that are
 * not UTF-8, NULs, the same field twice) is marked SLOW and read by Python; a block with anything unusual around its
 * records (markers, deep nesting, what is no entry) is left to Python as a whole.
 *
 * Texts and field values are told apart by two 64-bit sums of the NH family (Black et al., UMAC, CRYPTO 1999) under keys
 * drawn at random by each process. NH is universal: any two texts, chosen by whomever without knowing the keys, have
 * equal sums with probability 2^-32 each, so 2^-64 together. Nothing that is sent can be made to collide; nothing
 * that leaves the process tells of the keys.
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
typedef int32_t i32;
typedef int64_t i64;

enum {
  INPUT = 1 << 20,   /* bytes a call may look at */
  SLACK = 64,        /* readable behind them: vectors are loaded whole */
  CAPACITY = 16384,  /* entries a call may find */
  DEEPEST = 32,      /* containers in containers */
  NAMES = 64, NAME = 32,
  LONGEST = 2000,    /* bytes of a message that gets a key: MAX_CHARS of the miner */
  STEP = 4096,       /* bytes hashed under one run of keys */
  TEXTS = 65536, LEVELS = 1024, SERVICES = 8192 /* distinct values; their tables have twice as many places */
};
enum { SHORT = 16, SHORTS = 64 };
enum { WHOLE = 0, CUT = 1, ODD = 2, FULL = 3 };
enum { SLOW = 1 };
enum { OTHER_NAME = -1, ODD_NAME = -2 };
/* Of first bytes: how long the header is, where the length stands, and of what. */
enum { ONE = 16, TWO = 32, FOUR = 64, FEW = 128, ITEMS = 256, PAIRS = 512 };

typedef struct { u64 a, b; } Sum;
typedef struct { u32 places, most, count; Sum *sums; u32 *codes; } Table;

static u8 input[INPUT + SLACK] __attribute__((aligned(16)));
static i64 time_ns[CAPACITY];
static u32 entry_at[CAPACITY], text_at[CAPACITY], text_bytes[CAPACITY];
static i32 text_code[CAPACITY], level_code[CAPACITY], service_code[CAPACITY];
static u8 flags[CAPACITY];
static u8 keys[2 * STEP + 16] __attribute__((aligned(16))); /* random: one run for each sum, then the lengths' */
static const u8 *const lengths = keys + 2 * STEP;
static u8 names[NAMES][NAME];
static u32 name_bytes[NAMES];
static u32 groups[3]; /* names 0..groups[0] carry messages, up to groups[1] levels, up to groups[2] services */
static u32 found[4];  /* bytes read, status */

static u64 name_heads[NAMES];
static u8 name_slots[256];
static u8 widths[256];            /* bytes of values whose first byte tells */
static uint16_t heads[256];       /* of all others */
static u8 squeeze[256][8];        /* for a mask of bytes to leave out, where the others are */
static u8 scratch[LONGEST + 2 * SLACK] __attribute__((aligned(16)));
static u8 edge[64];               /* 32 times ff, 32 times 00 */
static Sum text_sums[2 * TEXTS], level_sums[2 * LEVELS], service_sums[2 * SERVICES];
static u32 text_codes[2 * TEXTS], level_codes[2 * LEVELS], service_codes[2 * SERVICES];
static Table texts = {2 * TEXTS, TEXTS, 1, text_sums, text_codes};
static Table levels = {2 * LEVELS, LEVELS, 1, level_sums, level_codes};
static Table services = {2 * SERVICES, SERVICES, 1, service_sums, service_codes};

static const u32 *const layout_[] = {
  (const u32 *)input, (const u32 *)time_ns, entry_at, text_at, text_bytes, (const u32 *)text_code,
  (const u32 *)level_code, (const u32 *)service_code, (const u32 *)flags, (const u32 *)keys, (const u32 *)names,
  name_bytes, groups, found, &texts.count, &levels.count, &services.count,
};
EXPORT(layout) const void *layout(void) { return layout_; }

static u64 load64(const u8 *p) { u64 v; __builtin_memcpy(&v, p, 8); return v; }
static u32 be16(const u8 *p) { return (u32)p[0] << 8 | p[1]; }
static u32 be32(const u8 *p) { return (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3]; }
static u64 be64(const u8 *p) { return (u64)be32(p) << 32 | be32(p + 4); }

static u32 name_slot(u64 head, u32 bytes) {
  return (u32)(((head ^ (u64)bytes << 56 ^ bytes) * 0x9E3779B97F4A7C15ull) >> 56);
}

static void empty(Table *table) {
  for (u32 i = 0; i < table->places; i++) table->codes[i] = 0;
  table->count = 1; /* code 0 is no value */
}

typedef struct { u64 first, second; u32 field; i32 code; } Short;
static Short shorts[SHORTS]; /* see short_of */

/* Forget all texts and values; their codes are given anew. */
EXPORT(reset) void reset(void) {
  empty(&texts);
  empty(&levels);
  empty(&services);
  for (u32 i = 0; i < SHORTS; i++) shorts[i].code = 0;
}

/* To be called once, with keys, names and groups written. */
EXPORT(setup) void setup(void) {
  for (u32 c = 0; c < 256; c++) {
    widths[c] = c < 0x80 || c >= 0xe0 || c == 0xc0 || c == 0xc2 || c == 0xc3 ? 1 : c >= 0xa0 && c < 0xc0 ? 1 + (c & 31) : 0;
    u32 kept = 0;
    for (u32 bit = 0; bit < 8; bit++) if (!(c >> bit & 1)) squeeze[c][kept++] = (u8)bit;
    while (kept < 8) squeeze[c][kept++] = 0x80;
  }
  widths[0xcc] = widths[0xd0] = 2; widths[0xcd] = widths[0xd1] = 3;
  widths[0xca] = widths[0xce] = widths[0xd2] = 5; widths[0xcb] = widths[0xcf] = widths[0xd3] = 9;
  widths[0xd4] = 3; widths[0xd5] = 4; widths[0xd6] = 6; widths[0xd7] = 10; widths[0xd8] = 18;
  for (u32 c = 0x80; c < 0xa0; c++) heads[c] = 1 | FEW | ITEMS | (c < 0x90 ? PAIRS : 0);
  heads[0xc4] = heads[0xd9] = 2 | ONE; heads[0xc5] = heads[0xda] = 3 | TWO; heads[0xc6] = heads[0xdb] = 5 | FOUR;
  heads[0xc7] = 3 | ONE; heads[0xc8] = 4 | TWO; heads[0xc9] = 6 | FOUR;
  heads[0xdc] = 3 | TWO | ITEMS; heads[0xdd] = 5 | FOUR | ITEMS;
  heads[0xde] = 3 | TWO | ITEMS | PAIRS; heads[0xdf] = 5 | FOUR | ITEMS | PAIRS;
  for (u32 i = 0; i < 32; i++) edge[i] = 0xff;
  for (u32 i = 0; i < groups[2] && i < NAMES; i++) {
    name_heads[i] = load64(names[i]);
    u32 slot = name_slot(name_heads[i], name_bytes[i]);
    while (name_slots[slot]) slot = (slot + 1) & 255;
    name_slots[slot] = (u8)(i + 1);
  }
  reset();
}

static int ascii(const u8 *p, u32 bytes) {
  u64 all = 0;
  u32 at = 0;
  for (; at + 8 <= bytes; at += 8) all |= load64(p + at);
  if (at < bytes) all |= load64(p + at) & (((u64)1 << 8 * (bytes - at)) - 1);
  return !(all & 0x8080808080808080ull);
}

/* The number of a field's name, ODD_NAME where it is not ASCII. */
static int name_of(const u8 *p, u32 bytes) {
  u64 head = load64(p);
  if (bytes < 8) head &= ((u64)1 << 8 * bytes) - 1;
  if (head & 0x8080808080808080ull || (bytes > 8 && !ascii(p + 8, bytes - 8))) return ODD_NAME;
  for (u32 slot = name_slot(head, bytes); name_slots[slot]; slot = (slot + 1) & 255) {
    u32 i = name_slots[slot] - 1u;
    if (name_heads[i] != head || name_bytes[i] != bytes) continue;
    u32 at = 8;
    while (at < bytes && p[at] == names[i][at]) at++;
    if (at >= bytes) return (int)i;
  }
  return OTHER_NAME;
}

/* As Python reads UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. */
static int utf8(const u8 *p, u32 bytes) {
  const u8 *e = p + bytes;
  while (p < e) {
    u32 c = *p++, more, low = 0x80, high = 0xbf;
    if (c < 0x80) continue;
    if (c >= 0xc2 && c <= 0xdf) more = 1;
    else if (c >= 0xe0 && c <= 0xef) { more = 2; if (c == 0xe0) low = 0xa0; if (c == 0xed) high = 0x9f; }
    else if (c >= 0xf0 && c <= 0xf4) { more = 3; if (c == 0xf0) low = 0x90; if (c == 0xf4) high = 0x8f; }
    else return 0;
    if ((u32)(e - p) < more || *p < low || *p > high) return 0;
    for (p++, more--; more; p++, more--) if ((*p & 0xc0) != 0x80) return 0;
  }
  return 1;
}

static u32 failed; /* why skip gave nothing: CUT or ODD */

/* Where the value at p ends; 0 where it is not whole before e, or odd. */
static const u8 *skip_slowly(const u8 *p, const u8 *e) {
  u32 waiting[DEEPEST], depth = 0, todo = 1;
  for (;;) {
    if (p >= e) { failed = CUT; return 0; }
    u32 have = (u32)(e - p), c = *p, width = widths[c], items = 0;
    if (!width) {
      u32 head = heads[c];
      if ((head & 15) > have) { failed = CUT; return 0; }
      width = head & 15;
      u32 body = head & ONE ? p[1] : head & TWO ? be16(p + 1) : head & FOUR ? be32(p + 1) : head & FEW ? c & 15 : 0;
      if (head & ITEMS) {
        /* Every item has a byte at least. */
        if (body > have) { failed = CUT; return 0; }
        items = head & PAIRS ? 2 * body : body;
      } else {
        if (!width) { failed = ODD; return 0; }
        if (body > have - width) { failed = CUT; return 0; }
        width += body;
      }
    }
    if (width > have) { failed = CUT; return 0; }
    p += width;
    todo--;
    if (items) {
      if (depth == DEEPEST) { failed = ODD; return 0; }
      waiting[depth++] = todo;
      todo = items;
    }
    while (!todo) {
      if (!depth) return p;
      todo = waiting[--depth];
    }
  }
}

/* The same, for short values at once. */
static inline const u8 *skip(const u8 *p, const u8 *e) {
  if (p < e) {
    u32 have = (u32)(e - p), width = widths[*p];
    if (width && width <= have) return p + width;
    if (*p == 0xd9 && have >= 2 && p[1] <= have - 2) return p + 2 + p[1];
  }
  return skip_slowly(p, e);
}

/* The text of a str value; 0 where it is none. The value is whole. */
static const u8 *text_of(const u8 *p, u32 *bytes) {
  u32 c = *p;
  if ((c & 0xe0) == 0xa0) { *bytes = c & 31; return p + 1; }
  if (c == 0xd9) { *bytes = p[1]; return p + 2; }
  if (c == 0xda) { *bytes = be16(p + 1); return p + 3; }
  if (c == 0xdb) { *bytes = be32(p + 1); return p + 5; }
  return 0;
}

static u32 array_of_two(const u8 *p, const u8 *e) {
  if (p < e && *p == 0x92) return 1;
  if (e - p >= 3 && p[0] == 0xdc && be16(p + 1) == 2) return 3;
  if (e - p >= 5 && p[0] == 0xdd && be32(p + 1) == 2) return 5;
  return 0;
}

/* A time that is whole, in nanoseconds; 0 for what is no time, -1 for that of a group marker. */
static i64 time_of(const u8 *p, u32 bytes) {
  u32 at = bytes >= 10 && p[0] == 0xd7 && !p[1] ? 2 : bytes >= 11 && p[0] == 0xc7 && p[1] == 8 && !p[2] ? 3 : 0;
  if (at) {
    u32 seconds = be32(p + at), rest = be32(p + at + 4);
    if (seconds >= 0xfffffffe && !rest) return -1;
    return (i64)seconds * 1000000000 + rest;
  }
  double value;
  u64 number;
  switch (p[0]) {
    case 0xca: { u32 bits = be32(p + 1); float single; __builtin_memcpy(&single, &bits, 4); value = single; break; }
    case 0xcb: { u64 bits = be64(p + 1); __builtin_memcpy(&value, &bits, 8); break; }
    case 0xce: number = be32(p + 1); goto whole;
    case 0xcf: case 0xd3: number = be64(p + 1); goto whole; /* negative ones are too large */
    case 0xd2: number = (u64)(i64)(i32)be32(p + 1); goto whole;
    default: return 0;
  }
  if (!(value > 0 && value < 9e9)) return 0;
  return (i64)value * 1000000000 + (i64)((value - (double)(i64)value) * 1e9);
whole:
  return number < 9000000000ull ? (i64)number * 1000000000 : 0;
}

/* Add one step of bytes to both sums; they are padded with zeros to a multiple of 32. */
static Sum nh(const u8 *p, u32 bytes) {
  v128_t a = wasm_i64x2_const(0, 0), b = a;
  for (u32 at = 0; at < bytes; at += 32) {
    v128_t x = wasm_v128_load(p + at), y = wasm_v128_load(p + at + 16);
    if (bytes - at < 32) {
      u32 none = 32 - (bytes - at);
      x = wasm_v128_and(x, wasm_v128_load(edge + none));
      y = wasm_v128_and(y, wasm_v128_load(edge + none + 16));
    }
    v128_t x1 = wasm_i32x4_add(x, wasm_v128_load(keys + at)), y1 = wasm_i32x4_add(y, wasm_v128_load(keys + at + 16));
    const u8 *others = keys + STEP + at;
    v128_t x2 = wasm_i32x4_add(x, wasm_v128_load(others)), y2 = wasm_i32x4_add(y, wasm_v128_load(others + 16));
    a = wasm_i64x2_add(a, wasm_i64x2_add(wasm_u64x2_extmul_low_u32x4(x1, y1), wasm_u64x2_extmul_high_u32x4(x1, y1)));
    b = wasm_i64x2_add(b, wasm_i64x2_add(wasm_u64x2_extmul_low_u32x4(x2, y2), wasm_u64x2_extmul_high_u32x4(x2, y2)));
  }
  Sum sum = {(u64)wasm_i64x2_extract_lane(a, 0) + (u64)wasm_i64x2_extract_lane(a, 1),
             (u64)wasm_i64x2_extract_lane(b, 0) + (u64)wasm_i64x2_extract_lane(b, 1)};
  return sum;
}

static u64 mixed(u64 h) {
  h = (h ^ h >> 32) * 0xD6E8FEB86659FD93ull;
  h = (h ^ h >> 32) * 0xD6E8FEB86659FD93ull;
  return h ^ h >> 32;
}

/* The two sums of any bytes; `kind` keeps the fields apart. */
static inline Sum sum_of(u32 kind, const u8 *p, u32 bytes) {
  Sum sum = nh(p, bytes < STEP ? bytes : STEP);
  u64 first = load64(lengths), second = load64(lengths + 8);
  sum.a += (u64)(bytes + (u32)first) * (kind + (u32)(first >> 32));
  sum.b += (u64)(bytes + (u32)second) * (kind + (u32)(second >> 32));
  for (u32 at = STEP; at < bytes; at += STEP) {
    Sum next = nh(p + at, bytes - at < STEP ? bytes - at : STEP);
    sum.a = mixed(sum.a) + next.a;
    sum.b = mixed(sum.b) + next.b;
  }
  return sum;
}

static i32 code_of(Table *table, Sum sum) {
  u32 mask = table->places - 1;
  for (u32 place = (u32)((sum.a ^ sum.b >> 7) * 0x9E3779B97F4A7C15ull >> 40) & mask;; place = (place + 1) & mask) {
    u32 code = table->codes[place];
    if (!code) {
      if (table->count >= table->most) return -1;
      table->sums[place] = sum;
      return (i32)(table->codes[place] = table->count++);
    }
    if (table->sums[place].a == sum.a && table->sums[place].b == sum.b) return (i32)code;
  }
}

/* The code of a text without its digits; 0 where it has none: several lines, too long, a NUL or bytes that are
 * not UTF-8 in it (then `slow` is set). */
static i32 text(const u8 *p, u32 bytes, u8 *slow) {
  const v128_t zero = wasm_i8x16_splat('0'), ten = wasm_i8x16_splat(10), none = wasm_i8x16_splat(0);
  v128_t high = none;
  u32 nul = 0, newline = 0, short_enough = bytes <= LONGEST;
  u8 *out = scratch;
  for (u32 at = 0; at < bytes; at += 16) {
    v128_t v = wasm_v128_load(p + at);
    u32 beyond = 0;
    if (bytes - at < 16) {
      beyond = 0xffffu << (bytes - at) & 0xffff;
      v = wasm_v128_and(v, wasm_v128_load(edge + 32 - (bytes - at)));
    }
    high = wasm_v128_or(high, v);
    nul |= wasm_i8x16_bitmask(wasm_i8x16_eq(v, none)) & ~beyond;
    newline |= wasm_i8x16_bitmask(wasm_i8x16_eq(v, ten));
    if (!short_enough) continue;
    u32 out_of = wasm_i8x16_bitmask(wasm_u8x16_lt(wasm_i8x16_sub(v, zero), ten)) | beyond;
    if (!out_of) {
      wasm_v128_store(out, v);
      out += 16;
      continue;
    }
    u32 low = out_of & 255, rest = out_of >> 8;
    wasm_v128_store(out, wasm_i8x16_swizzle(v, wasm_v128_load64_zero(squeeze[low])));
    out += 8 - __builtin_popcount(low);
    v128_t places = wasm_i8x16_add(wasm_v128_load64_zero(squeeze[rest]), wasm_i8x16_splat(8));
    wasm_v128_store(out, wasm_i8x16_swizzle(v, places));
    out += 8 - __builtin_popcount(rest);
  }
  if (nul || (wasm_i8x16_bitmask(high) && !utf8(p, bytes))) { *slow = SLOW; return 0; }
  if (newline || !short_enough) return 0;
  i32 code = code_of(&texts, sum_of(0, scratch, (u32)(out - scratch)));
  return code < 0 ? 0 : code;
}

/* Maps that came lately. The fields of a pod are the same with each of its records, and half of the bytes: to compare
 * them with what came before costs a tenth of walking through them. Sets are chosen by the first bytes. */
enum { SETS = 64, WAYS = 4, SMALLEST = 64, LARGEST = 1536 };
typedef struct { u32 bytes, kind; Sum sum; u8 value[LARGEST]; } Seen;
static Seen lately[SETS][WAYS];
static u32 next_way[SETS];

static u32 set_of(const u8 *p) {
  u64 h = 0;
  for (u32 at = 0; at < SMALLEST; at += 8) h += load64(p + at) * (0x9E3779B97F4A7C15ull + 2 * at);
  return (u32)(h >> 58);
}

static int same(const u8 *p, const u8 *q, u32 bytes) {
  u32 at = 0;
  for (; at + 32 <= bytes; at += 32) {
    v128_t x = wasm_i8x16_eq(wasm_v128_load(p + at), wasm_v128_load(q + at));
    v128_t y = wasm_i8x16_eq(wasm_v128_load(p + at + 16), wasm_v128_load(q + at + 16));
    if (!wasm_i8x16_all_true(wasm_v128_and(x, y))) return 0;
  }
  if (at == bytes) return 1;
  v128_t x = wasm_i8x16_eq(wasm_v128_load(p + bytes - 32), wasm_v128_load(q + bytes - 32));
  v128_t y = wasm_i8x16_eq(wasm_v128_load(p + bytes - 16), wasm_v128_load(q + bytes - 16));
  return wasm_i8x16_all_true(wasm_v128_and(x, y));
}

/* The map at p if it came lately. No value is the beginning of another, so equal bytes are the whole map. */
static const Seen *recall(u32 kind, const u8 *p, const u8 *e) {
  u32 have = (u32)(e - p);
  if (have < SMALLEST) return 0;
  Seen *ways = lately[set_of(p)];
  for (u32 way = 0; way < WAYS; way++) {
    u32 bytes = ways[way].bytes;
    if (bytes && bytes <= have && ways[way].kind == kind && same(p, ways[way].value, bytes)) return &ways[way];
  }
  return 0;
}

static void remember(u32 kind, const u8 *p, u32 bytes, Sum sum) {
  if (bytes < SMALLEST || bytes > LARGEST) return;
  u32 set = set_of(p);
  Seen *seen = &lately[set][next_way[set]++ % WAYS];
  for (u32 at = 0; at < bytes; at++) seen->value[at] = p[at];
  seen->bytes = bytes;
  seen->kind = kind;
  seen->sum = sum;
}

typedef struct { const u8 *at; u32 bytes, known; Sum sum; } Value;

/* The codes of short values that stand alone in their group, as most levels and services do. No value is the beginning
 * of another, so sixteen bytes with zeros behind them say how many they are. */
static Short short_of(const Value *value, u32 field) {
  u32 bytes = value->bytes;
  u64 first = load64(value->at), second = 0;
  if (bytes < 8) first &= ((u64)1 << 8 * bytes) - 1;
  else if (bytes > 8) second = load64(value->at + 8) & ~(u64)0 >> 8 * (SHORT - bytes);
  Short found = {first, second, field, 0};
  return found;
}

static u32 short_place(Short wanted) {
  return (u32)((wanted.first ^ wanted.second * 3 ^ wanted.field) * 0x9E3779B97F4A7C15ull >> 58);
}

/* The code of the values of one group of fields, 0 where there are none; sets `slow` where the table is full. */
static i32 code_of_values(Table *table, u64 seen, const Value *values, int until_clear, u8 *slow) {
  if (!seen) return 0;
  Short *short_one = 0, wanted;
  u32 field = (u32)__builtin_ctzll(seen);
  if (!(seen & (seen - 1)) && values[field].bytes <= SHORT) {
    wanted = short_of(&values[field], field);
    short_one = &shorts[short_place(wanted)];
    int known = short_one->first == wanted.first && short_one->second == wanted.second && short_one->field == field;
    if (known && short_one->code) return short_one->code;
  }
  Sum sum = {0, 0};
  for (;;) {
    u32 i = (u32)__builtin_ctzll(seen), length;
    const Value *value = &values[i];
    Sum more;
    if (value->known) more = value->sum;
    else {
      more = sum_of(i + 1, value->at, value->bytes);
      if ((*value->at & 0xf0) == 0x80 || *value->at == 0xde) remember(i, value->at, value->bytes, more);
    }
    sum.a += more.a;
    sum.b += more.b;
    seen &= seen - 1;
    if (!seen) break;
    /* A name that begins with a letter is one, whatever fields of less weight say. */
    const u8 *name = until_clear ? text_of(value->at, &length) : 0;
    if (name && length && length < 256 && (u8)((*name | 32) - 'a') < 26 && ascii(name, length)) break;
    sum.a = mixed(sum.a);
    sum.b = mixed(sum.b);
  }
  i32 code = code_of(table, sum);
  if (code < 0) { *slow = SLOW; return 0; }
  if (short_one) {
    wanted.code = code;
    *short_one = wanted;
  }
  return code;
}

/* One entry at p; 0 where it is not whole or odd, as `failed` says. */
static const u8 *entry(const u8 *p, const u8 *e, u32 n) {
  u32 head = array_of_two(p, e);
  if (!head) { failed = p < e && *p != 0xdc && *p != 0xdd ? ODD : e - p < 5 ? CUT : ODD; return 0; }
  p += head;
  const u8 *time = p + array_of_two(p, e);
  p = skip(p, e);
  if (!p) return 0;
  i64 ns = time_of(time, (u32)(p - time));
  if (ns == -1) { failed = ODD; return 0; }
  if (p >= e) { failed = CUT; return 0; }
  u32 c = *p, pairs;
  if ((c & 0xf0) == 0x80) { pairs = c & 15; p += 1; }
  else if (c == 0xde || c == 0xdf) {
    u32 width = c == 0xde ? 3 : 5;
    if ((u32)(e - p) < width) { failed = CUT; return 0; }
    pairs = c == 0xde ? be16(p + 1) : be32(p + 1);
    p += width;
  } else { failed = ODD; return 0; }
  u64 seen = 0;
  Value fields[NAMES];
  u8 slow = 0;
  for (; pairs; pairs--) {
    const u8 *key = p;
    p = skip(p, e);
    if (!p) return 0;
    u32 length;
    const u8 *name = text_of(key, &length), *value = p;
    int i = name ? name_of(name, length) : ODD_NAME;
    if (i < 0) {
      if (i == ODD_NAME) slow = SLOW;
      p = skip(p, e);
      if (!p) return 0;
      continue;
    }
    const Seen *known = p < e && (*p & 0xf0) == 0x80 && (u32)i >= groups[1] ? recall((u32)i, p, e) : 0;
    p = known ? p + known->bytes : skip(p, e);
    if (!p) return 0;
    if (seen >> i & 1) slow = SLOW;
    seen |= (u64)1 << i;
    fields[i].at = value;
    fields[i].bytes = (u32)(p - value);
    fields[i].known = known != 0;
    if (known) fields[i].sum = known->sum;
  }
  const u8 *message = 0;
  u32 message_bytes = 0;
  for (u64 left = seen & (((u64)1 << groups[0]) - 1); left; left &= left - 1) {
    u32 i = (u32)__builtin_ctzll(left), length;
    const u8 *candidate = text_of(fields[i].at, &length);
    if (!candidate) { if (*fields[i].at != 0xc0) slow = SLOW; }
    else if (!message) { message = candidate; message_bytes = length; }
    else if (!ascii(candidate, length)) slow = SLOW;
  }
  if (!message) slow = SLOW;
  i32 codes[3] = {0, 0, 0};
  if (!slow) {
    u64 messages_end = ((u64)1 << groups[0]) - 1, levels_end = ((u64)1 << groups[1]) - 1;
    while (message_bytes && (message[message_bytes - 1] == '\n' || message[message_bytes - 1] == '\r')) message_bytes--;
    codes[0] = text(message, message_bytes, &slow);
    if (!slow) codes[1] = code_of_values(&levels, seen & levels_end & ~messages_end, fields, 0, &slow);
    if (!slow) codes[2] = code_of_values(&services, seen & ~levels_end, fields, 1, &slow);
  }
  text_at[n] = slow ? 0 : (u32)(message - input);
  text_bytes[n] = slow ? 0 : message_bytes;
  text_code[n] = slow ? 0 : codes[0];
  level_code[n] = slow ? 0 : codes[1];
  service_code[n] = slow ? 0 : codes[2];
  time_ns[n] = ns;
  flags[n] = slow;
  return p;
}

/* Read at most `most` entries of the first `bytes` of the input; returns how many there were. `found` says how many
 * bytes they took and why it stopped: WHOLE at the end or with the last one wanted, CUT inside an entry, ODD before
 * one that is none, FULL for want of room. */
EXPORT(scan) u32 scan(u32 bytes, u32 most) {
  if (bytes > INPUT) bytes = INPUT;
  const u8 *p = input, *e = input + bytes;
  u32 n = 0;
  found[1] = WHOLE;
  while (n < most && p < e) {
    if (n == CAPACITY) { found[1] = FULL; break; }
    const u8 *next = entry(p, e, n);
    if (!next) { found[1] = failed; break; }
    entry_at[n++] = (u32)(p - input);
    p = next;
  }
  found[0] = (u32)(p - input);
  return n;
}
