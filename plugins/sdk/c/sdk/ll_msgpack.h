/* Of logllm.h: MessagePack. Included by it, once, where LOGLLM_IMPLEMENTATION is defined. */

#define LL_16(n) n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, n
const uint8_t ll_sizes[256] = {
  LL_16(1), LL_16(1), LL_16(1), LL_16(1), LL_16(1), LL_16(1), LL_16(1), LL_16(1),
  1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
  17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32,
  1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 5, 9, 2, 3, 5, 9, 2, 3, 5, 9, 3, 4, 6, 10, 18, 0, 0, 0, 0, 0, 0, 0,
  LL_16(1), LL_16(1),
};

/* Strings with a length, bins, exts and containers; no recursion, so nothing overflows however deep they are. */
__attribute__((noinline)) const uint8_t *ll_skip_long(const uint8_t *p, const uint8_t *end) {
  uint64_t left = 1; /* objects still to come: no container adds more than 2^33 to it, and there are fewer than 2^31 */
  while (left) {
    uint32_t room = (uint32_t)(end - p), c, size;
    if (left > room) return 0; /* an object has at least a byte */
    left--;
    c = *p;
    size = ll_sizes[c];
    if (size) {
      if (size > room) return 0;
      p += size;
      continue;
    }
    uint32_t wide = 1, extra = 0, items = 0;
    switch (c) {
      case 0xc1: return 0;
      case 0xc7: extra = 1; break;
      case 0xc8: extra = 1; wide = 2; break;
      case 0xc9: extra = 1; wide = 4; break;
      case 0xc4: case 0xd9: break;
      case 0xc5: case 0xda: wide = 2; break;
      case 0xc6: case 0xdb: wide = 4; break;
      case 0xdc: items = 1; wide = 2; break;
      case 0xdd: items = 1; wide = 4; break;
      case 0xde: items = 2; wide = 2; break;
      case 0xdf: items = 2; wide = 4; break;
      default: /* fixmap, fixarray */
        left += (uint64_t)(c & 15) << (c < 0x90);
        p++;
        continue;
    }
    if (room < 1 + wide) return 0;
    uint32_t length = wide == 1 ? p[1] : wide == 2 ? ll_be16(p + 1) : ll_be32(p + 1);
    p += 1 + wide;
    room -= 1 + wide;
    if (items) {
      left += (uint64_t)length * items;
    } else {
      if (extra > room || length > room - extra) return 0;
      p += length + extra;
    }
  }
  return p;
}

/* The first member of a container, and how many there are; 0: it is none. */
static const uint8_t *ll_members(const uint8_t *p, const uint8_t *end, int map, uint32_t *count) {
  uint32_t c = *p, small = map ? 0x80 : 0x90, base = map ? 0xde : 0xdc, room = (uint32_t)(end - p);
  if ((c & 0xf0) == small) return *count = c & 15, p + 1;
  if (c == base && room >= 3) return *count = ll_be16(p + 1), p + 3;
  if (c == base + 1 && room >= 5) return *count = ll_be32(p + 1), p + 5;
  return 0;
}

uint32_t ll_length(ll_value v) {
  uint32_t count = 0;
  ll_type type = ll_type_of(v);
  if (type == LL_MAP || type == LL_ARRAY) ll_members(v.at, v.end, type == LL_MAP, &count);
  return count;
}

ll_value ll_in(ll_value map, ll_str name) {
  ll_value found = {0, 0};
  uint32_t count = 0;
  const uint8_t *p = map.at ? ll_members(map.at, map.end, 1, &count) : 0;
  for (; p && count; count--) {
    const uint8_t *value = ll_skip(p, map.end), *next = value ? ll_skip(value, map.end) : 0;
    if (!next) break;
    if (ll_is_text(p, name)) found = (ll_value){value, next};
    p = next;
  }
  return found;
}

ll_value ll_item(ll_value array, uint32_t index) {
  uint32_t count = 0;
  const uint8_t *p = array.at ? ll_members(array.at, array.end, 0, &count) : 0;
  if (!p || index >= count) return (ll_value){0, 0};
  while (p && index--) p = ll_skip(p, array.end);
  const uint8_t *next = p ? ll_skip(p, array.end) : 0;
  return next ? (ll_value){p, next} : (ll_value){0, 0};
}

ll_value ll_path(ll_record *r, ll_str path) {
  ll_value found = {0, 0};
  for (uint32_t from = 0, at = 0; at <= path.size; at++) {
    if (at < path.size && path.at[at] != '.') continue;
    ll_str name = {path.at + from, at - from};
    found = from ? ll_in(found, name) : ll_get(r, name);
    if (!found.at) break;
    from = at + 1;
  }
  return found;
}

int ll_to_int(ll_value v, int64_t *out) {
  if (ll_type_of(v) != LL_INT) return 0;
  const uint8_t *p = v.at;
  switch (*p) {
    case 0xcc: *out = p[1]; break;
    case 0xcd: *out = ll_be16(p + 1); break;
    case 0xce: *out = ll_be32(p + 1); break;
    case 0xcf: if (p[1] & 0x80) return 0; /* more than an int64_t holds */
    __attribute__((fallthrough));
    case 0xd3: *out = (int64_t)ll_be64(p + 1); break;
    case 0xd0: *out = (int8_t)p[1]; break;
    case 0xd1: *out = (int16_t)ll_be16(p + 1); break;
    case 0xd2: *out = (int32_t)ll_be32(p + 1); break;
    default: *out = (int8_t)*p;
  }
  return 1;
}

int ll_to_double(ll_value v, double *out) {
  int64_t number;
  ll_type type = ll_type_of(v);
  if (type == LL_DOUBLE) {
    if (*v.at == 0xca) {
      uint32_t bits = ll_be32(v.at + 1);
      float small;
      __builtin_memcpy(&small, &bits, 4);
      *out = small;
    } else {
      uint64_t bits = ll_be64(v.at + 1);
      __builtin_memcpy(out, &bits, 8);
    }
    return 1;
  }
  if (type != LL_INT) return 0;
  *out = ll_to_int(v, &number) ? (double)number : (double)ll_be64(v.at + 1);
  return 1;
}

static uint8_t *ll_put(uint8_t *p, uint64_t number, uint32_t bytes) {
  while (bytes--) *p++ = (uint8_t)(number >> 8 * bytes);
  return p;
}

static uint8_t *ll_put_count(uint8_t *p, uint32_t count, int map) {
  if (count < 16) return *p = (uint8_t)((map ? 0x80 : 0x90) | count), p + 1;
  *p = (map ? 0xde : 0xdc) + (count > 0xffff);
  return ll_put(p + 1, count, count > 0xffff ? 4 : 2);
}

ll_value ll_str_value(ll_str text) {
  uint8_t *at = text.size > LL_MOST ? 0 : ll_temp(text.size + 5), *p = at;
  if (!at) return ll_no_memory(), (ll_value){0, 0};
  if (text.size < 32) *p++ = (uint8_t)(0xa0 | text.size);
  else if (text.size < 256) *p++ = 0xd9, p = ll_put(p, text.size, 1);
  else if (text.size < 65536) *p++ = 0xda, p = ll_put(p, text.size, 2);
  else *p++ = 0xdb, p = ll_put(p, text.size, 4);
  ll_copy(p, text.at, text.size);
  return (ll_value){at, p + text.size};
}

ll_value ll_int_value(int64_t number) {
  uint8_t *at = ll_temp(9);
  uint32_t bytes = 0;
  if (!at) return (ll_value){0, 0};
  if (number >= -32 && number < 128) *at = (uint8_t)number;
  else if (number >= 0) bytes = number < 256 ? 1 : number < 65536 ? 2 : number >> 32 ? 8 : 4;
  else bytes = number >= -128 ? 1 : number >= -32768 ? 2 : number >= -2147483648ll ? 4 : 8;
  if (bytes) *at = (uint8_t)((number < 0 ? 0xd0 : 0xcc) + __builtin_ctz(bytes));
  ll_put(at + 1, (uint64_t)number, bytes);
  return (ll_value){at, at + 1 + bytes};
}

ll_value ll_double_value(double number) {
  uint8_t *at = ll_temp(9);
  uint64_t bits;
  if (!at) return (ll_value){0, 0};
  __builtin_memcpy(&bits, &number, 8);
  *at = 0xcb;
  return (ll_value){at, ll_put(at + 1, bits, 8)};
}

static ll_value ll_container(const ll_value *items, uint32_t count, int map) {
  uint64_t size = 5;
  for (uint32_t i = 0; i < count; i++) size += (uint64_t)(items[i].end - items[i].at);
  uint8_t *at = size > LL_MOST ? 0 : ll_temp((uint32_t)size);
  if (!at) return ll_no_memory(), (ll_value){0, 0};
  uint8_t *p = ll_put_count(at, map ? count / 2 : count, map);
  for (uint32_t i = 0; i < count; i++) {
    uint32_t bytes = (uint32_t)(items[i].end - items[i].at);
    ll_copy(p, items[i].at, bytes);
    p += bytes;
  }
  return (ll_value){at, p};
}
ll_value ll_map_value(const ll_value *pairs, uint32_t count) { return ll_container(pairs, 2 * count, 1); }
ll_value ll_array_value(const ll_value *items, uint32_t count) { return ll_container(items, count, 0); }

ll_value ll_map_with(ll_value map, ll_str name, ll_value value) {
  uint32_t count = 0, used = 0;
  const uint8_t *p = map.at ? ll_members(map.at, map.end, 1, &count) : 0;
  ll_value *items = ll_temp((p ? 2 * count + 2 : 2) * sizeof *items);
  if (!items) return (ll_value){0, 0};
  int done = !value.at;
  for (; p && count; count--) {
    const uint8_t *at = ll_skip(p, map.end), *next = at ? ll_skip(at, map.end) : 0;
    if (!next) break;
    int same = ll_is_text(p, name);
    if (!same || !done) {
      items[used++] = (ll_value){p, at};
      items[used++] = same ? value : (ll_value){at, next};
      done |= same;
    }
    p = next;
  }
  if (!done) {
    ll_value key = ll_str_value(name);
    if (!key.at) return key;
    items[used++] = key;
    items[used++] = value;
  }
  return ll_container(items, used, 1);
}

ll_value ll_entry_value(uint32_t seconds, uint32_t nanoseconds, ll_value record) {
  uint32_t size = (uint32_t)(record.end - record.at);
  uint8_t *at = size > LL_MOST ? 0 : ll_temp(size + 13), *p = at;
  if (!at || !record.at) return ll_no_memory(), (ll_value){0, 0};
  p = ll_put(p, 0x9292d700, 4);
  p = ll_put(p, seconds, 4);
  p = ll_put(p, nanoseconds, 4);
  *p++ = 0x80;
  ll_copy(p, record.at, size);
  return (ll_value){at, p + size};
}
