/* logllm.h: write a logllm filter in C. No libc, ABI v1; the other headers here are its insides.
 *
 *   #define LOGLLM_IMPLEMENTATION       in one source file
 *   #include "logllm.h"
 *
 *   ll_verdict ll_filter(ll_record *r) {
 *     if (ll_is(r, LL("level"), LL("debug"))) return LL_DROP;
 *     ll_set_str(r, LL("seen_by"), LL("me"));
 *     return LL_KEEP;
 *   }
 *
 * ll_filter is called once a record. Records it leaves alone are copied byte for byte; a block in which nothing changed
 * is not copied at all. What it reads and makes lives until it returns; ll_alloc gives what lives longer.
 *
 * Hooks, each by a #define of its name before the include:
 *   LOGLLM_INIT    void f(void)                      once, first; read the configuration here
 *   LOGLLM_ANSWER  void f(int32_t ticket, ll_str)    the answer to an ll_ask
 *   LOGLLM_FLUSH   void f(int64_t now_ms)            about once a second and at the end; ll_emit what was held back
 *   LOGLLM_SAVE    ll_str f(void)                    the state to keep; LOGLLM_LOAD  int f(ll_str)  nonzero refuses it
 *
 * Of two fields with one name the last counts; setting or removing a field removes its doubles.
 */
#ifndef LOGLLM_H
#define LOGLLM_H

#include <stddef.h>
#include <stdint.h>

#define LL_INLINE static inline __attribute__((always_inline, unused))
#define LL_API static __attribute__((unused))
#define LL_EXPORT(name) __attribute__((export_name(#name), used))
#define LL_IMPORT(name) __attribute__((import_module("logllm"), import_name(name)))

/* Text, or any bytes: not ended by a NUL. */
typedef struct { const char *at; uint32_t size; } ll_str;
#define LL(literal) ((ll_str){"" literal, sizeof(literal) - 1})

/* One MessagePack object where it lies; `at` is 0 where there is none. */
typedef struct { const uint8_t *at, *end; } ll_value;

typedef enum { LL_ABSENT, LL_NIL, LL_BOOL, LL_INT, LL_DOUBLE, LL_STR, LL_BIN, LL_ARRAY, LL_MAP, LL_EXT } ll_type;
typedef enum { LL_KEEP, LL_DROP } ll_verdict;
enum { LL_DEBUG, LL_INFO, LL_WARNING, LL_ERROR };

typedef struct { const uint8_t *key, *value, *end; } ll_field; /* key is 0: removed */

typedef struct {
  const uint8_t *entry, *map, *end; /* the entry, its record, where it ends */
  const uint8_t *stamp, *metadata;  /* its time; its metadata, 0 where it has none */
  ll_field *fields;
  uint32_t count, room;
  int changed;
} ll_record;

/* ---- imports; a module asks only for those it uses, and each but log must be granted ---- */

LL_IMPORT("log") void ll_import_log(int32_t level, const void *at, uint32_t size);
LL_IMPORT("now") int64_t ll_now_ms(void);                         /* grant clock */
LL_IMPORT("random") int32_t ll_random(void *at, uint32_t size);   /* grant random; at most 4096 bytes */
LL_IMPORT("kv_get") int32_t ll_import_kv_get(const void *, uint32_t, void *, uint32_t);
LL_IMPORT("kv_set") int32_t ll_import_kv_set(const void *, uint32_t, const void *, uint32_t);
LL_IMPORT("metric") int32_t ll_import_metric(const void *, uint32_t, int64_t);
LL_IMPORT("anomaly") int32_t ll_import_anomaly(int32_t, const void *, uint32_t);
LL_IMPORT("ask") int32_t ll_import_ask(const void *, uint32_t);

/* ---- what the implementation gives ---- */

ll_verdict ll_filter(ll_record *r); /* yours */

void *ll_alloc(uint32_t size); /* 0: no memory. Lives until ll_free. */
void ll_free(void *place);
void *ll_temp(uint32_t size);  /* lives until ll_filter returns. 0: no memory, and the call will fail */
void ll_fail(ll_str why);      /* this call fails with these words; the configuration says what becomes of its records */
ll_str ll_tag(void);
int ll_emit(ll_value entry); /* one more entry, before the record that is being filtered, or out of a flush */

/* Configuration, to be read in LOGLLM_INIT. A value of another type refuses the configuration, saying why. */
ll_str ll_config_str(ll_str name, ll_str otherwise);
int64_t ll_config_int(ll_str name, int64_t otherwise);
double ll_config_double(ll_str name, double otherwise);
int ll_config_bool(ll_str name, int otherwise);
/* The strings of a list, in memory that stays; *count is left alone and 0 comes back where the key is absent. */
const ll_str *ll_config_strs(ll_str name, uint32_t *count);
void ll_config_only(const ll_str *names, uint32_t count); /* any other key refuses the configuration */
void ll_config_refuse(ll_str name, ll_str why);

/* ---- bytes ---- */

LL_INLINE uint64_t ll_load64(const void *p) { uint64_t v; __builtin_memcpy(&v, p, 8); return v; }
LL_INLINE uint32_t ll_load32(const void *p) { uint32_t v; __builtin_memcpy(&v, p, 4); return v; }
LL_INLINE uint32_t ll_be16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }
LL_INLINE uint32_t ll_be32(const uint8_t *p) { return __builtin_bswap32(ll_load32(p)); }
LL_INLINE uint64_t ll_be64(const uint8_t *p) { return __builtin_bswap64(ll_load64(p)); }

LL_INLINE int ll_same_bytes(const void *left, const void *right, uint32_t size) {
  const uint8_t *a = left, *b = right;
  if (size >= 8) {
    uint32_t at = 0;
    for (; at + 8 <= size; at += 8) if (ll_load64(a + at) != ll_load64(b + at)) return 0;
    return ll_load64(a + size - 8) == ll_load64(b + size - 8);
  }
  if (size >= 4) return ll_load32(a) == ll_load32(b) && ll_load32(a + size - 4) == ll_load32(b + size - 4);
  for (uint32_t at = 0; at < size; at++) if (a[at] != b[at]) return 0;
  return 1;
}
LL_INLINE int ll_same(ll_str a, ll_str b) { return a.size == b.size && ll_same_bytes(a.at, b.at, a.size); }

/* A call of memory.copy costs more than some loads and stores. */
LL_INLINE void ll_copy(void *to, const void *from, uint32_t size) {
  uint8_t *t = to;
  const uint8_t *f = from;
  if (size > 64) {
    __builtin_memcpy(to, from, size);
  } else if (size >= 8) {
    uint32_t at = 0;
    for (; at + 8 <= size; at += 8) __builtin_memcpy(t + at, f + at, 8);
    uint64_t last = ll_load64(f + size - 8);
    __builtin_memcpy(t + size - 8, &last, 8);
  } else {
    for (uint32_t at = 0; at < size; at++) t[at] = f[at];
  }
}

/* ---- MessagePack ---- */

/* How many bytes an object has, where its first byte tells; 0 for all others. */
extern const uint8_t ll_sizes[256];
const uint8_t *ll_skip_long(const uint8_t *p, const uint8_t *end);

/* Where the object at p ends; 0: not before `end`. */
LL_INLINE const uint8_t *ll_skip(const uint8_t *p, const uint8_t *end) {
  if (p >= end) return 0;
  uint32_t size = ll_sizes[*p];
  if (__builtin_expect(!size, 0)) return ll_skip_long(p, end);
  return size <= (uint32_t)(end - p) ? p + size : 0;
}

LL_INLINE ll_type ll_type_of(ll_value v) {
  if (!v.at) return LL_ABSENT;
  uint8_t c = *v.at;
  if (c < 0x80 || c >= 0xe0 || (c >= 0xcc && c <= 0xd3)) return LL_INT;
  if (c < 0x90 || c >= 0xde) return LL_MAP;
  if (c < 0xa0 || c >= 0xdc) return LL_ARRAY;
  if (c < 0xc0 || c >= 0xd9) return LL_STR;
  if (c == 0xc0) return LL_NIL;
  if (c <= 0xc3) return LL_BOOL;
  if (c <= 0xc6) return LL_BIN;
  return c == 0xca || c == 0xcb ? LL_DOUBLE : LL_EXT;
}

/* A string's text, or the bytes of a bin. The object is whole. */
LL_INLINE ll_str ll_body(const uint8_t *p) {
  uint32_t c = *p;
  if (c >= 0xa0 && c < 0xc0) return (ll_str){(const char *)p + 1, c & 31};
  if (c == 0xd9 || c == 0xc4) return (ll_str){(const char *)p + 2, p[1]};
  if (c == 0xda || c == 0xc5) return (ll_str){(const char *)p + 3, ll_be16(p + 1)};
  return (ll_str){(const char *)p + 5, ll_be32(p + 1)};
}

/* Whether the object is this string. */
LL_INLINE int ll_is_text(const uint8_t *p, ll_str text) {
  if (text.size < 32 && *p == (0xa0 | text.size)) return ll_same_bytes(p + 1, text.at, text.size);
  if (*p < 0xd9 ? *p < 0xa0 || *p >= 0xc0 : *p > 0xdb) return 0;
  return ll_same(ll_body(p), text);
}

/* Each of these: 1 and the value, or 0 and nothing where it is absent or of another type. */
LL_INLINE int ll_to_str(ll_value v, ll_str *out) { return ll_type_of(v) == LL_STR ? (*out = ll_body(v.at), 1) : 0; }
LL_INLINE int ll_to_bytes(ll_value v, ll_str *out) {
  ll_type type = ll_type_of(v);
  return type == LL_STR || type == LL_BIN ? (*out = ll_body(v.at), 1) : 0;
}
LL_INLINE int ll_to_bool(ll_value v, int *out) { return ll_type_of(v) == LL_BOOL ? (*out = *v.at == 0xc3, 1) : 0; }
int ll_to_int(ll_value v, int64_t *out);     /* 0 for an integer that does not fit */
int ll_to_double(ll_value v, double *out);   /* integers too */

ll_value ll_in(ll_value map, ll_str name);       /* a member of a map */
ll_value ll_item(ll_value array, uint32_t index);
uint32_t ll_length(ll_value container);          /* members of a map or an array; 0 for others */
ll_value ll_path(ll_record *r, ll_str path);     /* "kubernetes.labels.app" */

/* New objects, made in ll_temp. */
ll_value ll_str_value(ll_str text);
ll_value ll_int_value(int64_t number);
ll_value ll_double_value(double number);
LL_API ll_value ll_bool_value(int yes) {
  static const uint8_t both[2] = {0xc2, 0xc3};
  return (ll_value){both + !!yes, both + !!yes + 1};
}
LL_API ll_value ll_nil_value(void) {
  static const uint8_t nil = 0xc0;
  return (ll_value){&nil, &nil + 1};
}
ll_value ll_map_value(const ll_value *keys_and_values, uint32_t pairs);
ll_value ll_array_value(const ll_value *items, uint32_t count);
/* A map with one member set, or removed where `value` is absent; what is no map counts as an empty one. */
ll_value ll_map_with(ll_value map, ll_str name, ll_value value);
/* An entry for ll_emit. */
ll_value ll_entry_value(uint32_t seconds, uint32_t nanoseconds, ll_value record);

/* ---- the record ---- */

LL_INLINE ll_field *ll_find(ll_record *r, ll_str name) {
  for (ll_field *one = r->fields + r->count; one-- > r->fields;)
    if (one->key && ll_is_text(one->key, name)) return one;
  return 0;
}
LL_INLINE ll_value ll_get(ll_record *r, ll_str name) {
  ll_field *one = ll_find(r, name);
  return one ? (ll_value){one->value, one->end} : (ll_value){0, 0};
}
LL_INLINE int ll_is(ll_record *r, ll_str name, ll_str text) {
  ll_field *one = ll_find(r, name);
  return one && ll_is_text(one->value, text);
}
LL_INLINE int ll_get_str(ll_record *r, ll_str name, ll_str *out) { return ll_to_str(ll_get(r, name), out); }
LL_INLINE int ll_get_int(ll_record *r, ll_str name, int64_t *out) { return ll_to_int(ll_get(r, name), out); }
LL_INLINE int ll_get_double(ll_record *r, ll_str name, double *out) { return ll_to_double(ll_get(r, name), out); }
LL_INLINE int ll_get_bool(ll_record *r, ll_str name, int *out) { return ll_to_bool(ll_get(r, name), out); }

void ll_set(ll_record *r, ll_str name, ll_value value); /* any one object */
void ll_remove(ll_record *r, ll_str name);
void ll_rename(ll_record *r, ll_str name, ll_str to);   /* in its place; another field called `to` goes */
LL_API void ll_set_str(ll_record *r, ll_str name, ll_str text) { ll_set(r, name, ll_str_value(text)); }
LL_API void ll_set_int(ll_record *r, ll_str name, int64_t number) { ll_set(r, name, ll_int_value(number)); }
LL_API void ll_set_double(ll_record *r, ll_str name, double number) { ll_set(r, name, ll_double_value(number)); }
LL_API void ll_set_bool(ll_record *r, ll_str name, int yes) { ll_set(r, name, ll_bool_value(yes)); }

void ll_time(ll_record *r, int64_t *seconds, uint32_t *nanoseconds);
ll_value ll_metadata(ll_record *r); /* a map, or absent */

/* ---- the host ---- */

LL_INLINE void ll_log(int level, ll_str line) { ll_import_log(level, line.at, line.size); }
LL_INLINE int ll_metric(ll_str name, int64_t delta) { return ll_import_metric(name.at, name.size, delta); }
LL_INLINE int ll_anomaly(int score_milli, ll_str json) { return ll_import_anomaly(score_milli, json.at, json.size); }
LL_INLINE int ll_ask(ll_str question) { return ll_import_ask(question.at, question.size); }
LL_INLINE int ll_kv_set(ll_str key, ll_str value) { return ll_import_kv_set(key.at, key.size, value.at, value.size); }
/* 1 and a copy in ll_temp, or 0: absent. */
LL_API int ll_kv_get(ll_str key, ll_str *out) {
  for (int32_t room = 256;;) {
    char *place = ll_temp((uint32_t)room);
    if (!place) return 0;
    int32_t size = ll_import_kv_get(key.at, key.size, place, (uint32_t)room);
    if (size < 0) return 0;
    if (size <= room) return *out = (ll_str){place, (uint32_t)size}, 1;
    room = size;
  }
}

/* Text put together, for log lines and JSON: ll_text t = {0}; ll_add(&t, LL("n=")); ll_add_int(&t, 5); t.text */
typedef struct { ll_str text; uint32_t room; } ll_text;
void ll_add(ll_text *t, ll_str more);
void ll_add_int(ll_text *t, int64_t number);
void ll_add_json(ll_text *t, ll_str more); /* quoted and escaped */

#endif
#if defined LOGLLM_IMPLEMENTATION && !defined LOGLLM_IMPLEMENTED
#define LOGLLM_IMPLEMENTED
#include "ll_memory.h"
#include "ll_msgpack.h"
#include "ll_record.h"
#include "ll_config.h"
#include "ll_exports.h"
#endif
