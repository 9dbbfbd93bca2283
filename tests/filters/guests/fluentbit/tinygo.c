/* Filters as TinyGo makes them: every import of its runtime, malloc that keeps what it gave until it is freed, a
   collector that takes all memory for its own, looks for pointers wherever there may be some, and doubles memory. Nothing
   is set up before the first call, for Fluent Bit never calls _start. */

typedef unsigned int u32;
typedef unsigned char u8;
typedef unsigned long long u64;
#define EXPORT(name) __attribute__((export_name(name)))
#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))

WASI(fd_write) int fd_write(int, void *, int, void *);
WASI(clock_time_get) int clock_time_get(int, u64, void *);
WASI(args_sizes_get) int args_sizes_get(void *, void *);
WASI(args_get) int args_get(void *, void *);
WASI(environ_get) int environ_get(void *, void *);
WASI(environ_sizes_get) int environ_sizes_get(void *, void *);
WASI(fd_close) int fd_close(int);
WASI(fd_fdstat_get) int fd_fdstat_get(int, void *);
WASI(fd_prestat_get) int fd_prestat_get(int, void *);
WASI(fd_prestat_dir_name) int fd_prestat_dir_name(int, void *, int);
WASI(fd_read) int fd_read(int, void *, int, void *);
WASI(fd_seek) int fd_seek(int, u64, int, void *);
WASI(path_open) int path_open(int, int, void *, int, int, u64, u64, int, void *);
WASI(proc_exit) void proc_exit(int);
WASI(random_get) int random_get(void *, int);

extern u8 __heap_base, __global_base;
enum { BLOCK = 64, FREE = 0, HEAD = 1, TAIL = 2, MARK = 4, KEPT = 64 };
static u32 end, states, blocks, next, kept[KEPT];
static volatile u32 root; /* what a stack slot is to TinyGo's collector */
static u8 *state(u32 block) { return (u8 *)(states + block); }
static u32 begin(void) { return ((u32)&__heap_base + BLOCK - 1) & -BLOCK; }

static int grow(void) {
  u32 before = states, size = end ? end - states : 0, pages = __builtin_wasm_memory_size(0);
  if (end && __builtin_wasm_memory_grow(0, pages) == (u32)-1) return 0;
  end = __builtin_wasm_memory_size(0) << 16;
  blocks = (end - begin()) / (BLOCK + 1);
  states = end - blocks;
  __builtin_memmove((void *)states, (void *)before, size);
  __builtin_memset((void *)(states + size), FREE, blocks - size);
  return 1;
}

static void mark(u32 pointer) {
  while (pointer >= begin() && pointer < states) {
    u32 block = (pointer - begin()) / BLOCK, after;
    if (block >= blocks || *state(block) == FREE) return;
    while (block && *state(block) == TAIL) block--;
    if (*state(block) != HEAD) return;
    *state(block) |= MARK;
    for (after = block + 1; after < blocks && *state(after) == TAIL;) after++;
    u32 at = begin() + block * BLOCK, last = begin() + after * BLOCK;
    for (u32 word = at + 4; word < last; word += 4) mark(*(u32 *)word);
    pointer = *(u32 *)at;
  }
}

static void collect(void) {
  for (u32 word = (u32)&__global_base; word < (u32)&__heap_base; word += 4) mark(*(u32 *)word);
  for (u32 block = 0, live = 0; block < blocks; block++) {
    if (*state(block) != TAIL) live = *state(block) & MARK;
    if (!live) *state(block) = FREE;
    else *state(block) &= ~MARK;
  }
}

static void more(void) {
  if (!grow()) __builtin_trap(); /* panic: out of memory */
}

static void *make(u32 size) {
  u32 wanted = size ? (size + BLOCK - 1) / BLOCK : 1;
  if (!end) grow();
  for (int collected = 0;; collected ? more() : collect(), collected = 1)
    for (u32 seen = 0, run = 0, at = next; seen <= blocks; seen++) {
      if (at >= blocks) at = run = 0;
      run = *state(at++) == FREE ? run + 1 : 0;
      if (run < wanted) continue;
      u32 block = at - wanted;
      __builtin_memset(state(block), TAIL, wanted);
      *state(block) = HEAD;
      next = at;
      return __builtin_memset((void *)(begin() + block * BLOCK), 0, wanted * BLOCK);
    }
}

static u32 length(const char *text) {
  u32 size = 0;
  while (text[size]) size++;
  return size;
}

static char *put(char *to, const char *from) {
  while (*from) *to++ = *from++;
  return to;
}

EXPORT("malloc") void *malloc(u32 size) {
  void *made = make(size);
  for (u32 at = 0; at < KEPT; at++)
    if (!kept[at]) return (void *)(kept[at] = (u32)made);
  __builtin_trap();
}
EXPORT("free") void free(void *made) {
  for (u32 at = 0; at < KEPT; at++)
    if (kept[at] == (u32)made) { kept[at] = 0; return; }
  __builtin_trap(); /* panic: free: invalid pointer */
}
EXPORT("calloc") void *calloc(u32 count, u32 size) { return malloc(count * size); }
EXPORT("realloc") void *realloc(void *made, u32 size) { return __builtin_memcpy(malloc(size), made, size); }
EXPORT("_start") void start(void) { proc_exit(1); }
EXPORT("asyncify_get_state") int asyncify(void) { return 0; }

EXPORT("append_tag") char *append_tag(char *tag, u32 tag_size, u32 sec, u32 nsec, char *record, u32 size) {
  if (length(tag) != tag_size || length(record) != size) __builtin_trap();
  for (int garbage = 0; garbage < 8; garbage++) make(size);
  root = (u32)make(size + 1);
  put((char *)root, record);
  char *answer = make(size + tag_size + 16), *at = put(answer, (char *)root) - 1;
  if (size > 2) *at++ = ',';
  put(put(put(at, "\"tag\":\""), tag), "\"}");
  return answer;
}

static u32 first;
EXPORT("leak") char *leak(char *tag, u32 tag_size, u32 sec, u32 nsec, char *record, u32 size) {
  u32 *made = make(size + 5);
  made[0] = first;
  first = (u32)made;
  put((char *)(made + 1), record);
  return (char *)(made + 1);
}

EXPORT("say_hello") char *say_hello(char *tag, u32 tag_size, u32 sec, u32 nsec, char *record, u32 size) {
  u32 space[8], place[3] = {(u32) "Hello from WASM!\n", 17};
  args_sizes_get(space, space + 1), args_get(space, space), environ_sizes_get(space, space + 1);
  environ_get(space, space), clock_time_get(0, 1000, space), random_get(space, 8), fd_fdstat_get(1, space);
  fd_prestat_get(3, space), fd_prestat_dir_name(3, space, 4), path_open(3, 0, space, 1, 0, 0, 0, 0, space);
  fd_read(0, place, 1, space), fd_seek(1, 0, 0, space), fd_close(5), fd_write(1, place, 1, place + 2);
  return record;
}
