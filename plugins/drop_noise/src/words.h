/* Levels: as a field says them, and as the head of a line does. */

enum { UNKNOWN, NOISE, NORMAL, GRAVE };

static const ll_str default_levels[] = {LL("debug"), LL("trace"), LL("verbose"), LL("dbg"), LL("trc")};
static const ll_str level_names[] = {LL("level"), LL("lvl"), LL("severity"), LL("loglevel")};
static const ll_str grave[] = {LL("warn"), LL("warning"), LL("err"), LL("error"), LL("severe"), LL("crit"), LL("critical"),
                               LL("alert"), LL("emerg"), LL("emergency"), LL("fatal"), LL("panic"), LL("dpanic"),
                               LL("wrn"), LL("ftl"), LL("failure"), LL("exception")};
static const ll_str normal[] = {LL("info"), LL("information"), LL("notice"), LL("inf"), LL("log"), LL("config"), LL("audit")};
static const ll_str clock_words[] = {LL("mon"), LL("tue"), LL("wed"), LL("thu"), LL("fri"), LL("sat"), LL("sun"), LL("jan"),
                                     LL("feb"), LL("mar"), LL("apr"), LL("may"), LL("jun"), LL("jul"), LL("aug"),
                                     LL("sep"), LL("oct"), LL("nov"), LL("dec"), LL("utc"), LL("gmt"), LL("am"), LL("pm")};
#define COUNT(list) (sizeof(list) / sizeof *(list))

static const ll_str *levels = default_levels;
static uint32_t level_count = COUNT(default_levels);

static inline int is_letter(char c) { return (unsigned char)((c | 32) - 'a') < 26; }
static inline int is_digit(char c) { return (unsigned char)(c - '0') < 10; }
static inline int is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* Whether they are equal but for the case of letters; `word` is of letters only. */
static int same_word(ll_str word, ll_str other) {
  if (word.size != other.size) return 0;
  for (uint32_t at = 0; at < word.size; at++) if ((word.at[at] | 32) != (other.at[at] | 32)) return 0;
  return 1;
}
static int among(ll_str word, const ll_str *list, uint32_t count) {
  for (uint32_t at = 0; at < count; at++) if (same_word(word, list[at])) return 1;
  return 0;
}

static int class_of_word(ll_str word) {
  if (word.size < 2 || word.size > 16) return UNKNOWN;
  if (among(word, grave, COUNT(grave))) return GRAVE;
  if (among(word, levels, level_count)) return NOISE;
  return among(word, normal, COUNT(normal)) ? NORMAL : UNKNOWN;
}

/* Loggers for Node count 10 trace, 20 debug, 30 info, 40 warn. Others count from 0, some down and some up: what may be a
   warning in any of them is let be. */
static int class_of_number(int64_t number) {
  if (number == 10) return among(LL("trace"), levels, level_count) ? NOISE : NORMAL;
  if (number == 20) return among(LL("debug"), levels, level_count) ? NOISE : NORMAL;
  return number == 30 || (number >= 5 && number <= 12) ? NORMAL : GRAVE;
}

static int class_of_level(ll_value value) {
  ll_str text;
  int64_t number;
  if (ll_to_int(value, &number)) return class_of_number(number);
  if (!ll_to_str(value, &text)) return UNKNOWN;
  while (text.size && is_space(text.at[0])) text.at++, text.size--;
  while (text.size && is_space(text.at[text.size - 1])) text.size--;
  if (text.size == 2 && is_digit(text.at[0]) && is_digit(text.at[1]))
    return class_of_number((text.at[0] - '0') * 10 + text.at[1] - '0');
  if (text.size == 1 && is_digit(text.at[0])) return class_of_number(text.at[0] - '0');
  int found = class_of_word(text);
  return found || !text.size ? found : NORMAL;
}

/* journald's: 7 is debug, 0 to 4 are warnings and worse. */
static int class_of_priority(ll_value value) {
  ll_str text;
  int64_t number = -1;
  if (ll_to_str(value, &text) && text.size == 1) number = text.at[0] - '0';
  else if (!ll_to_int(value, &number)) return UNKNOWN;
  if (number == 7) return among(LL("debug"), levels, level_count) ? NOISE : NORMAL;
  return number >= 0 && number <= 4 ? GRAVE : NORMAL;
}

static const char *after(const char *p, const char *end, char closing) {
  const char *from = p;
  while (p < end && *p != closing && p - from < 64) p++;
  return p < end && *p == closing ? p + 1 : from;
}

static ll_str word_at(const char *p, const char *end) {
  const char *from = p;
  while (p < end && is_letter(*p)) p++;
  return (ll_str){from, (uint32_t)(p - from)};
}

/* The level among the members of a JSON object that is a line. */
static int class_of_json(const char *p, const char *end) {
  int depth = 0;
  for (; p < end; p++) {
    if (*p == '{' || *p == '[') depth++;
    if (*p == '}' || *p == ']') depth--;
    if (*p != '"') continue;
    const char *from = ++p;
    while (p < end && *p != '"') p += 1 + (*p == '\\');
    if (p >= end) return UNKNOWN;
    ll_str name = {from, (uint32_t)(p - from)};
    const char *value = p + 1;
    while (value < end && is_space(*value)) value++;
    if (depth != 1 || value >= end || *value != ':') continue;
    for (value++; value < end && is_space(*value);) value++;
    for (uint32_t at = 0; at < COUNT(level_names); at++) {
      if (!ll_same(name, level_names[at]) || value >= end) continue;
      if (*value == '"') return class_of_word(word_at(value + 1, end));
      int64_t number = 0;
      while (value < end && is_digit(*value) && number < 1000) number = number * 10 + *value++ - '0';
      return class_of_number(number);
    }
    p = value - 1;
  }
  return UNKNOWN;
}

/* Behind a token, with all that is in its brackets. */
static const char *behind_token(const char *token, const char *end) {
  const char *p = *token == '[' ? after(token + 1, end, ']') : token;
  while (p < end && !is_space(*p)) p++;
  return p;
}

/* Whether a token has the digits of a time or a date and what stands between them. */
static int is_clock(const char *p, const char *end) {
  int digits = 0, marks = 0;
  for (; p < end && !is_space(*p); p++) {
    digits += is_digit(*p);
    marks += *p == ':' || *p == '-' || *p == '/';
  }
  return digits >= 4 && marks > 0;
}

/* What the head of a line says. A small word with nothing around it is a level only behind a time: else it is prose. */
static int class_of_line(ll_str line) {
  const char *p = line.at, *const end = p + (line.size > 512 ? 512 : line.size);
  int timed = 0, asides = 0;
  for (int tokens = 0; tokens < 16; tokens++) {
    while (p < end && is_space(*p)) p++;
    while (end - p > 2 && *p == 0x1b && p[1] == '[') { /* a colour */
      p = after(p, end, 'm');
      if (p[-1] != 'm') return UNKNOWN;
    }
    const char *const token = p;
    if (p < end && *p == '{') return tokens ? UNKNOWN : class_of_json(p, end);
    while (p < end && (*p == '[' || *p == '(' || *p == '<' || *p == '|' || *p == '"')) p++;
    if (p >= end) return UNKNOWN;
    const ll_str word = word_at(p, end);
    const char *const behind = p + word.size;
    const char next = behind < end ? *behind : ' ';
    if (word.size && next == '=') { /* logfmt */
      const char *value = behind + 1;
      int quoted = value < end && *value == '"';
      if (among(word, level_names, COUNT(level_names))) return class_of_word(word_at(value + quoted, end));
      if (quoted) for (value++; value < end && *value != '"'; value++) value += *value == '\\';
      p = value;
      while (p < end && !is_space(*p)) p++;
      continue;
    }
    if (word.size == 1 && !tokens && behind + 4 < end && is_digit(next) && is_digit(behind[3]) && behind[4] == ' ')
      return *p == 'W' || *p == 'E' || *p == 'F' ? GRAVE : *p == 'I' ? NORMAL : UNKNOWN; /* klog: a letter and the date */
    int closed = next == ':' || next == ']' || next == ')' || next == '>' || next == '|' || next == ',' || next == '"';
    if (word.size && (closed || is_space(next) || next == 0x1b)) {
      int capitals = 1, found = class_of_word(word);
      for (uint32_t at = 0; at < word.size; at++) capitals &= !(word.at[at] & 32);
      if (found && (capitals || timed || closed)) return found;
      if (among(word, clock_words, COUNT(clock_words))) {
        timed = 1;
        p = behind_token(token, end);
        continue;
      }
    }
    /* Times, addresses, numbers and dashes come before a level, and so do a few things in brackets. */
    int number = is_digit(*p) || *p == '-' || *p == '+' || *p == '/' || *p == '*';
    if (!number && (*token != '[' || ++asides > 2)) return UNKNOWN;
    timed |= number && is_clock(p, end);
    p = behind_token(token, end);
  }
  return UNKNOWN;
}
