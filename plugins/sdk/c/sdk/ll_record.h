/* Of logllm.h: records. Included by it, once, where LOGLLM_IMPLEMENTATION is defined. */

static int ll_fields_for(ll_record *r, uint32_t count) {
  if (count <= r->room) return 1;
  uint32_t room = count + count / 2 + 64;
  ll_field *fields = room > LL_MOST / sizeof *fields ? 0 : ll_alloc(room * sizeof *fields);
  if (!fields) return ll_no_memory(), 0;
  if (r->count) __builtin_memcpy(fields, r->fields, r->count * sizeof *fields);
  ll_free(r->fields);
  r->fields = fields;
  r->room = room;
  return 1;
}

static void ll_remove_all(ll_record *r, ll_str name, const ll_field *but) {
  for (ll_field *one = r->fields, *last = one + r->count; one < last; one++)
    if (one != but && one->key && ll_is_text(one->key, name)) one->key = 0, r->changed = 1;
}

void ll_set(ll_record *r, ll_str name, ll_value value) {
  if (!value.at) return; /* no memory, which is known */
  ll_field *one = ll_find(r, name);
  uint32_t size = (uint32_t)(value.end - value.at);
  if (one) {
    ll_remove_all(r, name, one);
    if (size == (uint32_t)(one->end - one->value) && ll_same_bytes(one->value, value.at, size)) return;
    one->value = value.at;
    one->end = value.end;
  } else {
    ll_value key = ll_str_value(name);
    if (!key.at || !ll_fields_for(r, r->count + 1)) return;
    r->fields[r->count++] = (ll_field){key.at, value.at, value.end};
  }
  r->changed = 1;
}

void ll_remove(ll_record *r, ll_str name) { ll_remove_all(r, name, 0); }

void ll_rename(ll_record *r, ll_str name, ll_str to) {
  ll_field *one = ll_find(r, name);
  if (!one || ll_same(name, to)) return;
  ll_value key = ll_str_value(to);
  if (!key.at) return;
  ll_remove_all(r, name, one);
  ll_remove_all(r, to, one);
  one->key = key.at;
  r->changed = 1;
}

/* Fluent's EventTime, seconds and nanoseconds: an extension of type 0; 0 for another object. */
LL_INLINE const uint8_t *ll_event_time(const uint8_t *p, const uint8_t *end) {
  uint32_t room = (uint32_t)(end - p);
  if (room >= 10 && p[0] == 0xd7 && !p[1]) return p + 2;
  return room >= 11 && p[0] == 0xc7 && p[1] == 8 && !p[2] ? p + 3 : 0;
}

void ll_time(ll_record *r, int64_t *seconds, uint32_t *nanoseconds) {
  const uint8_t *event = ll_event_time(r->stamp, r->map);
  ll_value v = {r->stamp, r->map};
  double number;
  *seconds = 0;
  *nanoseconds = 0;
  if (event) {
    *seconds = ll_be32(event);
    *nanoseconds = ll_be32(event + 4);
  } else if (!ll_to_int(v, seconds) && ll_to_double(v, &number) && number > -1e15 && number < 1e15) {
    int64_t whole = (int64_t)number;
    whole -= number < (double)whole;
    *seconds = whole;
    *nanoseconds = (uint32_t)((number - (double)whole) * 1e9);
  }
}

ll_value ll_metadata(ll_record *r) { return (ll_value){r->metadata, r->metadata ? r->map : 0}; }

/* Where a field's key ends is where its value began; an edit moved that, so it is found anew. */
static int ll_write_record(ll_record *r) {
  ll_field *last = r->fields + r->count;
  uint32_t live = 0, head = (uint32_t)(r->map - r->entry);
  for (ll_field *one = r->fields; one < last; one++) live += one->key != 0;
  if (!ll_room(&ll_output, head + 5)) return 0;
  ll_copy(ll_output.at + ll_output.used, r->entry, head);
  ll_output.used = (uint32_t)(ll_put_count(ll_output.at + ll_output.used + head, live, 1) - ll_output.at);
  const uint8_t *from = 0, *to = 0; /* bytes that follow each other are copied at once */
  for (ll_field *one = r->fields;; one++) {
    while (one < last && !one->key) one++;
    const uint8_t *key_end = one < last ? ll_skip(one->key, (const uint8_t *)-1) : 0;
    int straight = one < last && one->key == to && key_end == one->value;
    if (!straight && from) {
      uint32_t size = (uint32_t)(to - from);
      if (!ll_room(&ll_output, size)) return 0;
      ll_copy(ll_output.at + ll_output.used, from, size);
      ll_output.used += size;
    }
    if (one >= last) return 1;
    if (!straight) {
      from = one->key;
      if (key_end != one->value) {
        uint32_t size = (uint32_t)(key_end - one->key);
        if (!ll_room(&ll_output, size)) return 0;
        ll_copy(ll_output.at + ll_output.used, one->key, size);
        ll_output.used += size;
        from = one->value;
      }
    }
    to = one->end;
  }
}

static int ll_write_run(const uint8_t *end) {
  uint32_t size = ll_run ? (uint32_t)(end - ll_run) : 0;
  if (!ll_room(&ll_output, size)) return 0;
  if (size) __builtin_memcpy(ll_output.at + ll_output.used, ll_run, size);
  ll_output.used += size;
  ll_run = end;
  return 1;
}

int ll_emit(ll_value entry) {
  uint32_t size = (uint32_t)(entry.end - entry.at);
  if (!entry.at) return 0;
  if ((ll_now_at && !ll_write_run((const uint8_t *)ll_now_at)) || !ll_room(&ll_output, size))
    return ll_no_memory(), 0;
  ll_copy(ll_output.at + ll_output.used, entry.at, size);
  ll_output.used += size;
  ll_emitted++;
  return 1;
}

/* Behind the header of an array of two; 0: it is none. */
LL_INLINE const uint8_t *ll_pair(const uint8_t *p, const uint8_t *end) {
  uint32_t count;
  if (p >= end) return 0;
  if (*p == 0x92) return p + 1;
  return (p = ll_members(p, end, 0, &count)) && count == 2 ? p : 0;
}

/* Takes the head of the entry at p; where its record begins, 0: it is no entry. */
LL_INLINE const uint8_t *ll_head(ll_record *r, const uint8_t *p, const uint8_t *end) {
  r->entry = p;
  r->metadata = 0;
  if (!(p = ll_pair(p, end)) || p >= end) return 0;
  const uint8_t *inner = (*p & 0xf0) == 0x90 || (*p & 0xfe) == 0xdc ? ll_pair(p, end) : p;
  if (!inner) return 0;
  r->stamp = inner;
  const uint8_t *next = inner < end && *inner == 0xd7 && end - inner > 10 ? inner + 10 : ll_skip(inner, end);
  if (inner == p || !next) return next;
  r->metadata = next;
  return next < end && *next == 0x80 ? next + 1 : ll_skip(next, end);
}

/* The start and the end of a group are no records: EventTimes of seconds -1 and -2, and nothing else is one. */
LL_INLINE int ll_is_marker(ll_record *r) {
  const uint8_t *p = r->stamp;
  if (*p == 0xd7) p += 1;
  else if (*p == 0xc7 && p[1] == 8) p += 2;
  else return 0;
  return !*p && ll_be32(p + 1) >= 0xfffffffe && !ll_be32(p + 5);
}

/* Finds the fields of the record at p; where it ends, 0: it is none. */
LL_INLINE const uint8_t *ll_read(ll_record *r, const uint8_t *p, const uint8_t *end) {
  uint32_t count;
  r->count = 0;
  r->changed = 0;
  if (p >= end) return 0;
  if ((*p & 0xf0) == 0x80) count = *p++ & 15;
  else if (!(p = ll_members(p, end, 1, &count))) return 0;
  if (count > (uint32_t)(end - p) / 2 || !ll_fields_for(r, count)) return 0;
  r->count = count;
  for (ll_field *one = r->fields, *last = one + count; one < last; one++) {
    one->key = p;
    if (!(p = ll_skip(p, end))) return 0;
    one->value = p;
    if (!(p = ll_skip(p, end))) return 0;
    one->end = p;
  }
  return p;
}
