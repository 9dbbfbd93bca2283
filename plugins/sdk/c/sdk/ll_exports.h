/* Of logllm.h: the exports of ABI v1. Included by it, once, where LOGLLM_IMPLEMENTATION is defined. */

LL_EXPORT(logllm_abi) uint32_t ll_abi_(void) { return 0x00010000; }

LL_EXPORT(logllm_buffer) void *ll_buffer_for_(uint32_t size) {
  if (size <= ll_input.room && ll_input.at) return ll_input.at;
  ll_free(ll_input.at);
  ll_input.at = 0;
  ll_input.used = ll_input.room = 0;
  return ll_make_room(&ll_input, size) ? ll_input.at : 0;
}

static int ll_keep_copy(ll_buffer_ *b, const void *at, uint32_t size) {
  b->used = 0;
  if (!ll_room(b, size + 1)) return 0;
  ll_copy(b->at, at, size);
  b->used = size;
  return 1;
}

#ifdef LOGLLM_INIT
static void LOGLLM_INIT(void);
#endif
LL_EXPORT(logllm_init) int32_t ll_init_(const char *at, uint32_t size) {
  ll_begin();
  if (!ll_room(&ll_arena, 16384) || !ll_keep_copy(&ll_config_, at, size)) return 1;
  const char *p = (const char *)ll_config_.at, *end = p + ll_config_.used;
  ll_json value;
  ll_str key;
  int broken = 0;
  while ((p = ll_json_member(p, end, &key, &value, &broken))) {}
  if (broken) return ll_log(LL_ERROR, LL("config: it is no JSON object")), 1;
#ifdef LOGLLM_INIT
  LOGLLM_INIT();
#endif
  if (ll_why.size) ll_log(LL_ERROR, ll_why);
  return ll_refused || ll_why.size;
}

LL_EXPORT(logllm_tag) void ll_tag_is_(const char *at, uint32_t size) { ll_keep_copy(&ll_tag_, at, size); }

LL_EXPORT(logllm_process) void *ll_process_(const uint8_t *p, uint32_t size, uint32_t flags) {
  (void)flags;
  ll_begin();
  ll_record *const r = &ll_current;
  const uint8_t *const end = p + size;
  uint32_t n_in = 0, n_out = 0;
  int touched = 0;
  ll_run = p;
  while (p < end) {
    const uint8_t *map = ll_head(r, p, end), *next = map ? ll_read(r, map, end) : 0;
    if (!next) {
      ll_fail(LL("this is no block of entries"));
      break;
    }
    n_in++;
    r->map = map;
    r->end = next;
    if (!ll_is_marker(r)) {
      ll_now_at = (const char *)p;
      ll_verdict verdict = ll_filter(r);
      if (ll_why.size) break;
      if (verdict == LL_DROP || r->changed) {
        touched = 1;
        if (!ll_write_run(p) || (verdict != LL_DROP && !ll_write_record(r))) {
          ll_no_memory();
          break;
        }
        ll_run = next;
      }
      ll_forget();
      n_out -= verdict == LL_DROP;
    }
    n_out++;
    p = next;
  }
  ll_now_at = 0;
  if (ll_why.size || !(touched || ll_emitted)) return ll_answer_is(0, n_in, n_in);
  if (!ll_write_run(end)) ll_no_memory();
  return ll_answer_is(2, n_in, n_out + ll_emitted);
}

#ifdef LOGLLM_FLUSH
static void LOGLLM_FLUSH(int64_t);
LL_EXPORT(logllm_flush) void *ll_flush_(int64_t now_ms) {
  ll_begin();
  LOGLLM_FLUSH(now_ms);
  return ll_answer_is(ll_emitted ? 2 : 0, 0, ll_emitted);
}
#endif

#ifdef LOGLLM_ANSWER
static void LOGLLM_ANSWER(int32_t, ll_str);
LL_EXPORT(logllm_answer) void ll_answered_(int32_t ticket, const char *at, uint32_t size) {
  ll_begin();
  LOGLLM_ANSWER(ticket, (ll_str){at, size});
}
#endif

#ifdef LOGLLM_SAVE
static ll_str LOGLLM_SAVE(void);
LL_EXPORT(logllm_state_save) void *ll_save_(void) {
  ll_begin();
  ll_str state = LOGLLM_SAVE();
  ll_answer_is(state.size ? 2 : 0, 0, 0);
  ll_result.ptr = (uint32_t)state.at;
  ll_result.size = state.size;
  return &ll_result;
}
#endif

#ifdef LOGLLM_LOAD
static int LOGLLM_LOAD(ll_str);
LL_EXPORT(logllm_state_load) int32_t ll_load_(const char *at, uint32_t size) {
  ll_begin();
  return LOGLLM_LOAD((ll_str){at, size}) || ll_why.size;
}
#endif

/* The compiler may write a call to these where it was not told to. */
__attribute__((weak)) void *memcpy(void *to, const void *from, size_t size) {
  uint8_t *t = to;
  const uint8_t *f = from;
  while (size--) { *t++ = *f++; __asm__ volatile(""); }
  return to;
}
__attribute__((weak)) void *memset(void *to, int byte, size_t size) {
  uint8_t *t = to;
  while (size--) { *t++ = (uint8_t)byte; __asm__ volatile(""); }
  return to;
}
