// A plugin of the native ABI in freestanding C, without an SDK: entries whose record has level "debug" are dropped,
// the others stay as they are. `answer` in the configuration says how: "keep" by flags, else "replace".
// Only what msgpack needs to be walked; nesting is bounded by the walk, not by recursion.

typedef unsigned char u8;
typedef unsigned int u32;

#define EXPORT(name) __attribute__((export_name(#name)))
#define PAGE 65536u

struct result {
  u32 mode, n_in, n_out, ptr, len, keep_ptr, err_ptr, err_len;
};

static struct result result;
static u8 *in_at, *out_at, *flags_at;
static u32 in_room, out_room, flags_room;
static int by_flags;

static int room_for(u8 **at, u32 *room, u32 size) {
  if (size <= *room) return 1;
  u32 pages = (size + size / 2) / PAGE + 1;
  u32 first = __builtin_wasm_memory_grow(0, pages);
  if (first == (u32)-1) return 0;
  *at = (u8 *)(first * PAGE);
  *room = pages * PAGE;
  return 1;
}

static u32 big_endian(const u8 *at, u32 bytes) {
  u32 value = 0;
  while (bytes--) value = value << 8 | *at++;
  return value;
}

// One value's head: where its payload begins, how long that is, and how many values follow inside it.
static const u8 *head(const u8 *at, const u8 *end, u32 *payload, u32 *inside) {
  *payload = *inside = 0;
  if (at >= end) return 0;
  u8 kind = *at++;
  u32 bytes = 0;  // of the length that follows
  if (kind < 0x80 || kind >= 0xe0 || kind == 0xc0 || kind == 0xc2 || kind == 0xc3) return at;
  if (kind < 0x90) { *inside = 2 * (kind & 15); return at; }
  if (kind < 0xa0) { *inside = kind & 15; return at; }
  if (kind < 0xc0) { *payload = kind & 31; return at; }
  if (kind == 0xca || kind == 0xce || kind == 0xd2) *payload = 4;
  else if (kind == 0xcb || kind == 0xcf || kind == 0xd3) *payload = 8;
  else if (kind == 0xcc || kind == 0xd0) *payload = 1;
  else if (kind == 0xcd || kind == 0xd1) *payload = 2;
  else if (kind >= 0xd4 && kind <= 0xd8) *payload = 1 + (1u << (kind - 0xd4));
  else if (kind >= 0xc4 && kind <= 0xc6) bytes = 1u << (kind - 0xc4);
  else if (kind >= 0xc7 && kind <= 0xc9) bytes = 1u << (kind - 0xc7);
  else if (kind >= 0xd9 && kind <= 0xdb) bytes = 1u << (kind - 0xd9);
  else if (kind >= 0xdc) bytes = 2u << (kind & 1);
  else return 0;
  if ((u32)(end - at) < bytes) return 0;
  u32 length = big_endian(at, bytes);
  at += bytes;
  if (kind >= 0xde) {
    if (length > 0x7fffffff) return 0;
    *inside = 2 * length;
  } else if (kind >= 0xdc) *inside = length;
  else if (bytes) *payload = length + (kind <= 0xc9 && kind >= 0xc7);
  return at;
}

static const u8 *skip(const u8 *at, const u8 *end) {
  for (u32 left = 1; left; left--) {
    u32 payload, inside;
    at = head(at, end, &payload, &inside);
    if (!at || (u32)(end - at) < payload || left + inside < left) return 0;
    at += payload;
    left += inside;
  }
  return at;
}

static int is(const u8 *at, const u8 *text, u32 size) {
  while (size--)
    if (*at++ != *text++) return 0;
  return 1;
}

// The end of an entry; *dropped says whether its level is debug.
static const u8 *entry(const u8 *at, const u8 *end, u32 *dropped) {
  u32 payload, inside, fields;
  at = head(at, end, &payload, &inside);
  if (!at || inside != 2 || !(at = skip(at, end))) return 0;
  const u8 *map = at;
  if (map >= end || ((*map & 0xf0) != 0x80 && *map != 0xde && *map != 0xdf)) return 0;
  at = head(map, end, &payload, &fields);
  if (!at) return 0;
  *dropped = 0;
  for (u32 i = 0; i < fields; i += 2) {
    const u8 *key = at, *value = skip(key, end);
    if (!value || !(at = skip(value, end))) return 0;
    if (value - key == 6 && at - value == 6 && is(key, (const u8 *)"\xa5level", 6))
      *dropped = is(value, (const u8 *)"\xa5"
                                       "debug", 6);
  }
  return at;
}

EXPORT(logllm_abi) u32 abi(void) { return 0x00010000; }

EXPORT(logllm_buffer) u8 *buffer(u32 size) { return room_for(&in_at, &in_room, size) ? in_at : 0; }

EXPORT(logllm_init) int init(const u8 *config, u32 size) {
  static const u8 keep[] = "{\"answer\":\"keep\"}";
  by_flags = size == sizeof keep - 1 && is(config, keep, size);
  return 0;
}

EXPORT(logllm_process) struct result *process(const u8 *at, u32 size, u32 flags) {
  const u8 *end = at + size;
  u32 kept = 0, seen = 0, dropped;
  // The smallest entry takes three bytes.
  if (!room_for(&out_at, &out_room, size) || !room_for(&flags_at, &flags_room, size / 3 + 1)) {
    result.mode = 0xffffffff;
    return &result;
  }
  u8 *out = out_at;
  while (at < end) {
    const u8 *next = entry(at, end, &dropped);
    if (!next) {
      result.mode = 0xffffff01;
      result.err_ptr = (u32) "an entry that is none";
      result.err_len = 21;
      return &result;
    }
    flags_at[seen++] = !dropped;
    if (!dropped) {
      kept++;
      if (!by_flags) {
        __builtin_memcpy(out, at, next - at);
        out += next - at;
      }
    }
    at = next;
  }
  result.mode = kept == seen ? 0 : by_flags ? 1 : 2;
  result.n_in = seen;
  result.n_out = kept;
  result.ptr = (u32)out_at;
  result.len = out - out_at;
  result.keep_ptr = (u32)flags_at;
  return &result;
}
