/* Of logllm.h: the configuration, and text. Included by it, once, where LOGLLM_IMPLEMENTATION is defined. */

/* ---- configuration: JSON, read where it lies ---- */

static const char *ll_json_space(const char *p, const char *end) {
  while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) p++;
  return p;
}

/* Behind a value, 0 where there is none: strings are looked into, the rest only so far as brackets balance. */
static const char *ll_json_skip(const char *p, const char *end) {
  const char *start = p;
  for (int depth = 0; p < end; p++) {
    if (*p == '"') {
      for (p++; p < end && *p != '"'; p++) if (*p == '\\') p++;
      if (p >= end) return 0;
      if (!depth) return p + 1;
    } else if (*p == '{' || *p == '[') {
      depth++;
    } else if (*p == '}' || *p == ']') {
      if (!depth) break;
      if (!--depth) return p + 1;
    } else if (!depth && (*p == ',' || *p == ':' || *p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) {
      break;
    }
  }
  return p > start && p <= end ? p : 0;
}

static int ll_hex(const char *p) {
  int number = 0;
  for (int i = 0; i < 4; i++) {
    char c = p[i];
    int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
    if (digit < 0) return -1;
    number = number << 4 | digit;
  }
  return number;
}

/* A JSON string's text, in memory that stays. */
static ll_str ll_json_text(const char *p, const char *end) {
  char *at = ll_alloc((uint32_t)(end - p)), *out = at;
  if (!at) return ll_refused = 1, LL("");
  for (p++, end--; p < end; p++) {
    if (*p != '\\' || p + 1 >= end) {
      *out++ = *p;
      continue;
    }
    int code;
    switch (*++p) {
      case 'n': *out++ = '\n'; continue;
      case 't': *out++ = '\t'; continue;
      case 'r': *out++ = '\r'; continue;
      case 'b': *out++ = '\b'; continue;
      case 'f': *out++ = '\f'; continue;
      case 'u': break;
      default: *out++ = *p; continue;
    }
    if (end - p < 5 || (code = ll_hex(p + 1)) < 0) continue;
    p += 4;
    int low = (code & 0xfc00) == 0xd800 && end - p >= 7 && p[1] == '\\' && p[2] == 'u' ? ll_hex(p + 3) : -1;
    if (low >= 0xdc00 && low <= 0xdfff) {
      code = 0x10000 + ((code & 0x3ff) << 10 | (low & 0x3ff));
      p += 6;
    } else if ((code & 0xf800) == 0xd800) {
      code = 0xfffd;
    }
    if (code < 0x80) {
      *out++ = (char)code;
    } else {
      int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
      *out++ = (char)((0xf0 << (3 - more) & 0xff) | code >> 6 * more);
      while (more--) *out++ = (char)(0x80 | (code >> 6 * more & 0x3f));
    }
  }
  return (ll_str){at, (uint32_t)(out - at)};
}

typedef struct { const char *at, *end; } ll_json;

/* The members of the configuration one by one; 0 at the end, `broken` where it is no object. */
static const char *ll_json_member(const char *p, const char *end, ll_str *key, ll_json *value, int *broken) {
  p = ll_json_space(p, end);
  int first = p == (const char *)ll_config_.at || (p < end && *p == '{');
  *broken = p >= end || *p != (first ? '{' : *p == '}' ? '}' : ',');
  if (*broken || *p == '}') return 0;
  p = ll_json_space(p + 1, end);
  if (first && p < end && *p == '}') return 0;
  *broken = 1;
  const char *name = p;
  if (p >= end || *p != '"' || !(p = ll_json_skip(p, end))) return 0;
  *key = (ll_str){name + 1, (uint32_t)(p - name - 2)};
  p = ll_json_space(p, end);
  if (p >= end || *p != ':') return 0;
  value->at = p = ll_json_space(p + 1, end);
  if (!(p = ll_json_skip(p, end))) return 0;
  value->end = p;
  *broken = 0;
  return p;
}

static ll_json ll_config_find(ll_str name) {
  const char *p = (const char *)ll_config_.at, *end = p + ll_config_.used;
  ll_json value = {0, 0};
  ll_str key;
  int broken;
  while ((p = ll_json_member(p, end, &key, &value, &broken))) if (ll_same(key, name)) return value;
  return (ll_json){0, 0};
}

void ll_config_refuse(ll_str name, ll_str why) {
  ll_text line = {0};
  ll_add(&line, LL("config: "));
  ll_add(&line, name);
  ll_add(&line, LL(": "));
  ll_add(&line, why);
  if (!ll_refused) ll_log(LL_ERROR, line.text);
  ll_refused = 1;
}

ll_str ll_config_str(ll_str name, ll_str otherwise) {
  ll_json found = ll_config_find(name);
  if (!found.at) return otherwise;
  if (*found.at == '"') return ll_json_text(found.at, found.end);
  return ll_config_refuse(name, LL("expected a string")), otherwise;
}

int ll_config_bool(ll_str name, int otherwise) {
  ll_json found = ll_config_find(name);
  if (!found.at) return otherwise;
  ll_str word = {found.at, (uint32_t)(found.end - found.at)};
  if (ll_same(word, LL("true"))) return 1;
  if (ll_same(word, LL("false"))) return 0;
  return ll_config_refuse(name, LL("expected true or false")), otherwise;
}

int64_t ll_config_int(ll_str name, int64_t otherwise) {
  ll_json found = ll_config_find(name);
  if (!found.at) return otherwise;
  const char *p = found.at;
  int minus = *p == '-', digits = 0;
  int64_t number = 0;
  for (p += minus; p < found.end && *p >= '0' && *p <= '9' && digits < 18; p++, digits++) number = number * 10 + *p - '0';
  if (digits && p == found.end) return minus ? -number : number;
  return ll_config_refuse(name, LL("expected a whole number")), otherwise;
}

double ll_config_double(ll_str name, double otherwise) {
  ll_json found = ll_config_find(name);
  if (!found.at) return otherwise;
  const char *p = found.at;
  int minus = *p == '-', digits = 0, power = 0, sign = 1, shift = 0;
  double number = 0, scale = 1;
  for (p += minus; p < found.end && *p >= '0' && *p <= '9'; p++, digits++) number = number * 10 + (*p - '0');
  if (p < found.end && *p == '.')
    for (p++; p < found.end && *p >= '0' && *p <= '9'; p++, digits++, shift++) number = number * 10 + (*p - '0');
  if (digits && p < found.end && (*p | 32) == 'e') {
    p++;
    if (p < found.end && (*p == '-' || *p == '+')) sign = *p++ == '-' ? -1 : 1;
    for (; p < found.end && *p >= '0' && *p <= '9' && power < 400; p++) power = power * 10 + *p - '0';
  }
  if (!digits || p != found.end) return ll_config_refuse(name, LL("expected a number")), otherwise;
  power = power * sign - shift;
  for (int i = power < 0 ? -power : power; i && i < 400; i--) scale *= 10;
  number = power < 0 ? number / scale : number * scale;
  return minus ? -number : number;
}

const ll_str *ll_config_strs(ll_str name, uint32_t *count) {
  ll_json found = ll_config_find(name);
  if (!found.at) return 0;
  const char *p = found.at, *end = found.end;
  uint32_t used = 0;
  ll_str *out = *p == '[' ? ll_alloc((uint32_t)(end - p) * sizeof *out / 2 + sizeof *out) : 0;
  for (p = ll_json_space(p + 1, end); out && p < end && *p == '"';) {
    const char *after = ll_json_skip(p, end);
    if (!after) break;
    out[used++] = ll_json_text(p, after);
    p = ll_json_space(after, end);
    if (p < end && *p == ',') p = ll_json_space(p + 1, end);
  }
  if (!out || p != end - 1) return ll_config_refuse(name, LL("expected a list of strings")), (const ll_str *)0;
  *count = used;
  return out;
}

void ll_config_only(const ll_str *names, uint32_t count) {
  const char *p = (const char *)ll_config_.at, *end = p + ll_config_.used;
  ll_json value;
  ll_str key;
  int broken;
  while ((p = ll_json_member(p, end, &key, &value, &broken))) {
    uint32_t at = 0;
    while (at < count && !ll_same(names[at], key)) at++;
    if (at == count) ll_config_refuse(key, LL("unknown"));
  }
}

/* ---- text ---- */

void ll_add(ll_text *t, ll_str more) {
  if (more.size > t->room - t->text.size) {
    uint32_t room = more.size > LL_MOST ? 0 : (t->text.size + more.size) * 2 + 64;
    char *at = room ? ll_temp(room) : 0;
    if (!at) return;
    if (t->text.size) ll_copy(at, t->text.at, t->text.size);
    t->text.at = at;
    t->room = room;
  }
  ll_copy((char *)t->text.at + t->text.size, more.at, more.size);
  t->text.size += more.size;
}

void ll_add_int(ll_text *t, int64_t number) {
  char digits[20];
  uint32_t at = sizeof digits;
  uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
  do digits[--at] = (char)('0' + left % 10); while (left /= 10);
  if (number < 0) digits[--at] = '-';
  ll_add(t, (ll_str){digits + at, (uint32_t)sizeof digits - at});
}

void ll_add_json(ll_text *t, ll_str more) {
  static const char hex[] = "0123456789abcdef";
  ll_add(t, LL("\""));
  for (uint32_t at = 0, from = 0; at <= more.size; at++) {
    unsigned char c = at < more.size ? (unsigned char)more.at[at] : '"';
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    ll_add(t, (ll_str){more.at + from, at - from});
    from = at + 1;
    if (at == more.size) break;
    char escaped[6] = {'\\', (char)c, '0', '0', hex[c >> 4], hex[c & 15]};
    if (c < 0x20) escaped[1] = 'u';
    ll_add(t, (ll_str){escaped, c < 0x20 ? 6 : 2});
  }
  ll_add(t, LL("\""));
}
