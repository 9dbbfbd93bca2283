/* Fluent Bit filters in C without any library. With -DALLOCATES the module exports malloc and free as well. */

typedef unsigned int u32;
typedef unsigned char u8;
#define EXPORT(name) __attribute__((export_name(name)))
#define ROOM (1 << 20)

static char answer[ROOM + 64];

static u32 copied(char *to, const char *from, u32 size) {
  __builtin_memcpy(to, from, size);
  return size;
}

static int holds(const char *text, u32 size, const char *part) {
  u32 length = __builtin_strlen(part);
  for (u32 at = 0; at + length <= size; at++)
    if (!__builtin_memcmp(text + at, part, length)) return 1;
  return 0;
}

int memcmp(const void *one, const void *other, unsigned long size) {
  for (const u8 *a = one, *b = other; size--; a++, b++)
    if (*a != *b) return *a - *b;
  return 0;
}

/* Drops debug, leaves info alone, marks the rest. */
EXPORT("mark") char *mark(char *tag, int tag_size, u32 sec, u32 nsec, char *record, u32 size) {
  if (holds(record, size, "\"level\":\"debug\"")) return 0;
  if (holds(record, size, "\"level\":\"info\"")) return record;
  if (size > ROOM || size < 2) __builtin_trap();
  u32 at = copied(answer, record, size - 1);
  if (size > 2) answer[at++] = ',';
  at += copied(answer + at, "\"tag\":\"", 7);
  at += copied(answer + at, tag, tag_size);
  at += copied(answer + at, "\"}", 3);
  return answer;
}

/* An empty string drops a record as well. */
EXPORT("empty") char *empty(char *tag, int tag_size, u32 sec, u32 nsec, char *record, u32 size) { return ""; }

/* The time it was given, in decimal. */
EXPORT("when") char *when(char *tag, int tag_size, u32 sec, u32 nsec, char *record, u32 size) {
  u32 at = copied(answer, "{\"sec\":", 7), numbers[2] = {sec, nsec};
  for (u32 which = 0; which < 2; which++) {
    char digits[10];
    u32 count = 0, number = numbers[which];
    do digits[count++] = '0' + number % 10; while (number /= 10);
    while (count) answer[at++] = digits[--count];
    at += which ? copied(answer + at, "}", 2) : copied(answer + at, ",\"nsec\":", 8);
  }
  return answer;
}

/* Whether the constructors have run. */
static u32 constructed;
__attribute__((constructor)) static void construct(void) { constructed++; }
EXPORT("ready") char *ready(char *tag, int tag_size, u32 sec, u32 nsec, char *record, u32 size) {
  copied(answer, "{\"constructed\":0}", 18);
  answer[15] += constructed;
  return answer;
}

/* Spoils what it was given, as strtok does. */
EXPORT("spoil") char *spoil(char *tag, int tag_size, u32 sec, u32 nsec, char *record, u32 size) {
  for (int at = 0; at < tag_size; at++) if (tag[at] == '.') tag[at] = 0;
  u32 at = copied(answer, "{\"first\":\"", 10);
  at += copied(answer + at, tag, __builtin_strlen(tag));
  copied(answer + at, "\"}", 3);
  record[0] = 0;
  return answer;
}

unsigned long strlen(const char *text) {
  const char *end = text;
  while (*end) end++;
  return end - text;
}

#ifdef ALLOCATES
extern u8 __heap_base;
static u32 next, freed;

EXPORT("malloc") void *give(u32 size) {
  if (!next) next = (u32)&__heap_base;
  u32 place = (next + 15) & ~15u, end = place + size, pages = __builtin_wasm_memory_size(0);
  if (end > pages << 16 && (int)__builtin_wasm_memory_grow(0, (end - (pages << 16) + 65535) >> 16) < 0) return 0;
  next = end;
  return (void *)place;
}

EXPORT("free") void take(void *place) { freed++; }

/* Never gives its answers back, as most such filters. */
EXPORT("leak") char *leak(char *tag, int tag_size, u32 sec, u32 nsec, char *record, u32 size) {
  char *place = give(size + 1);
  if (!place) __builtin_trap();
  copied(place, record, size);
  place[size] = 0;
  place[2] = 'L';
  return place;
}
#endif
