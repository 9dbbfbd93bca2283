/* Of logllm.h: memory, and the state of a call. Included by it, once, where LOGLLM_IMPLEMENTATION is defined. */

/* ---- memory: a free list in address order; blocks grow by memory.grow and merge when freed ---- */

extern unsigned char __heap_base;

typedef struct ll_block { uint32_t size; struct ll_block *next; } ll_block; /* size counts the header */
enum { LL_ALIGN = 16, LL_HEADER = 16, LL_PAGE = 65536, LL_MOST = 0x40000000 };

static ll_block *ll_free_list;
static int ll_heap_ready;

static void ll_give(uint8_t *at, uint32_t size) {
  ll_block *before = 0, *after = ll_free_list, *mine = (ll_block *)at;
  while (after && after < mine) before = after, after = after->next;
  mine->size = size;
  mine->next = after;
  if (after && at + size == (uint8_t *)after) mine->size += after->size, mine->next = after->next;
  if (!before) {
    ll_free_list = mine;
  } else if ((uint8_t *)before + before->size == at) {
    before->size += mine->size;
    before->next = mine->next;
  } else {
    before->next = mine;
  }
}

static int ll_grow(uint32_t size) {
  uint32_t top = (uint32_t)__builtin_wasm_memory_size(0) * LL_PAGE;
  if (!ll_heap_ready) {
    ll_heap_ready = 1;
    uint32_t base = ((uint32_t)&__heap_base + LL_ALIGN - 1) & ~(uint32_t)(LL_ALIGN - 1);
    if (top > base + LL_ALIGN) {
      ll_give((uint8_t *)base, top - base);
      if (top - base >= size) return 1;
    }
  }
  uint32_t last = 0; /* what is free at the end of memory needs not be grown again */
  for (ll_block *one = ll_free_list; one; one = one->next)
    if ((uint32_t)one + one->size == top) last = one->size;
  uint32_t pages = (size - (last < size ? last : size) + LL_PAGE - 1) / LL_PAGE;
  if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) return 0;
  ll_give((uint8_t *)top, pages * LL_PAGE);
  return 1;
}

void *ll_alloc(uint32_t size) {
  if (size > LL_MOST) return 0;
  size = (size + LL_HEADER + LL_ALIGN - 1) & ~(uint32_t)(LL_ALIGN - 1);
  for (int grown = 0;; grown = 1) {
    for (ll_block **link = &ll_free_list; *link; link = &(*link)->next) {
      ll_block *one = *link;
      if (one->size < size) continue;
      if (one->size - size < 2 * LL_HEADER) {
        size = one->size;
        *link = one->next;
      } else {
        ll_block *rest = (ll_block *)((uint8_t *)one + size);
        rest->size = one->size - size;
        rest->next = one->next;
        *link = rest;
      }
      one->size = size;
      return (uint8_t *)one + LL_HEADER;
    }
    if (grown || !ll_grow(size)) return 0;
  }
}

void ll_free(void *place) {
  if (!place) return;
  ll_block *one = (ll_block *)((uint8_t *)place - LL_HEADER);
  ll_give((uint8_t *)one, one->size);
}

typedef struct { uint8_t *at; uint32_t used, room; } ll_buffer_;

/* Room for `more` bytes behind those used; what is there is kept. */
static __attribute__((noinline)) int ll_make_room(ll_buffer_ *b, uint32_t more) {
  if (more > LL_MOST || b->used > LL_MOST) return 0;
  uint32_t room = b->used + more;
  uint32_t wished = room + room / 4 + 4096;
  uint8_t *at = ll_alloc(wished);
  if (!at) at = ll_alloc(wished = room); /* near the limit */
  if (!at) return 0;
  if (b->used) __builtin_memcpy(at, b->at, b->used);
  ll_free(b->at);
  b->at = at;
  b->room = wished;
  return 1;
}
LL_INLINE int ll_room(ll_buffer_ *b, uint32_t more) { return more <= b->room - b->used || ll_make_room(b, more); }

/* ---- the state of a call ---- */

static struct { uint32_t mode, n_in, n_out, ptr, size, keep, error, error_size; } ll_result;
static ll_buffer_ ll_input, ll_output, ll_arena, ll_tag_, ll_config_;
static struct ll_more { struct ll_more *next; } *ll_overflow; /* what did not fit the arena */
static uint32_t ll_overflow_size, ll_emitted;
static const uint8_t *ll_run; /* up to the current entry, untouched and not yet copied */
static const char *ll_now_at;  /* the current entry, 0 outside ll_filter */
static ll_str ll_why;
static int ll_refused;
static ll_record ll_current;

void ll_fail(ll_str why) { if (!ll_why.size) ll_why = why.size ? why : LL("it failed"); }
static void ll_no_memory(void) { ll_fail(LL("out of memory")); }
ll_str ll_tag(void) { return (ll_str){(const char *)ll_tag_.at, ll_tag_.used}; }

void *ll_temp(uint32_t size) {
  if (size > LL_MOST) return ll_no_memory(), (void *)0;
  size = (size + 7) & ~7u;
  if (size <= ll_arena.room - ll_arena.used) {
    void *place = ll_arena.at + ll_arena.used;
    ll_arena.used += size;
    return place;
  }
  struct ll_more *more = ll_alloc(size + 8);
  if (!more) return ll_no_memory(), (void *)0;
  more->next = ll_overflow;
  ll_overflow = more;
  ll_overflow_size += size;
  return (uint8_t *)more + 8;
}

static __attribute__((noinline)) void ll_release(void) {
  while (ll_overflow) {
    struct ll_more *next = ll_overflow->next;
    ll_free(ll_overflow);
    ll_overflow = next;
  }
  /* The next record may need as much; beyond a megabyte it is not worth holding. */
  uint32_t wished = ll_arena.used + ll_overflow_size;
  ll_arena.used = ll_overflow_size = 0;
  if (wished > ll_arena.room && wished <= 1 << 20) ll_make_room(&ll_arena, wished);
}

/* All of ll_temp is free again. */
LL_INLINE void ll_forget(void) {
  if (ll_overflow) ll_release();
  ll_arena.used = 0;
}

static void ll_begin(void) {
  ll_forget();
  ll_output.used = ll_emitted = 0;
  ll_why = (ll_str){0, 0};
  ll_run = 0;
  ll_now_at = 0;
}

static void *ll_answer_is(uint32_t mode, uint32_t n_in, uint32_t n_out) {
  ll_result.mode = mode;
  ll_result.n_in = n_in;
  ll_result.n_out = n_out;
  ll_result.ptr = (uint32_t)ll_output.at;
  ll_result.size = ll_output.used;
  if (ll_why.size) {
    ll_result.mode = 0xffffff00;
    ll_result.error = (uint32_t)ll_why.at;
    ll_result.error_size = ll_why.size;
  }
  return &ll_result;
}
