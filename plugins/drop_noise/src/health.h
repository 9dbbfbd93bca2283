/* Health checks: which path was asked for, by whom, and how it ended. */

static const ll_str default_paths[] = {
  LL("/healthz"), LL("/health"), LL("/livez"), LL("/readyz"), LL("/ping"), LL("/metrics"), LL("/status"), LL("/healthz/*"),
  LL("/health/*"), LL("/livez/*"), LL("/readyz/*"), LL("/live"), LL("/ready"), LL("/alive"), LL("/-/healthy"),
  LL("/-/ready"), LL("/_health"), LL("/__heartbeat__"), LL("/__lbheartbeat__"), LL("/healthcheck"), LL("/health-check"),
  LL("/actuator/health"), LL("/actuator/health/*"), LL("/actuator/prometheus"), LL("/nginx_status"), LL("/server-status"),
};
static const ll_str default_agents[] = {
  LL("kube-probe"), LL("ELB-HealthChecker"), LL("GoogleHC"), LL("Prometheus"), LL("Consul Health Check"), LL("UptimeRobot"),
  LL("Amazon-Route53-Health-Check-Service"), LL("Pingdom"), LL("Better Uptime Bot"), LL("StatusCake"),
  LL("Blackbox Exporter"), LL("Envoy/HC"), LL("check_http"), LL("HealthChecker"),
};
static const ll_str *paths = default_paths, *agents = default_agents;
static uint32_t path_count = COUNT(default_paths), agent_count = COUNT(default_agents);

typedef struct {
  int path, agent; /* whether one of ours was seen */
  int other;       /* a method that changes something */
  int status;      /* 0: none; the highest of several */
  int failure;
} request;

static int starts(ll_str text, ll_str with) { return text.size >= with.size && ll_same_bytes(text.at, with.at, with.size); }

static int contains(ll_str text, ll_str part) {
  for (uint32_t at = 0; part.size && at + part.size <= text.size; at++)
    if (text.at[at] == part.at[0] && ll_same_bytes(text.at + at, part.at, part.size)) return 1;
  return 0;
}

static int is_health_path(ll_str path) {
  if (starts(path, LL("http://")) || starts(path, LL("https://"))) {
    uint32_t at = 8;
    while (at < path.size && path.at[at] != '/') at++;
    if (at > path.size) at = path.size;
    path = (ll_str){path.at + at, path.size - at};
  }
  uint32_t size = 0;
  while (size < path.size && path.at[size] != '?' && path.at[size] != '#') size++;
  while (size > 1 && path.at[size - 1] == '/') size--;
  path.size = size;
  for (uint32_t at = 0; at < path_count; at++) {
    ll_str one = paths[at];
    if (one.size && one.at[one.size - 1] == '*' ? starts(path, (ll_str){one.at, one.size - 1}) : ll_same(path, one)) return 1;
  }
  return 0;
}

static uint8_t agent_starts[256]; /* whether one of them begins with it */

static void learn_agents(void) {
  for (uint32_t at = 0; at < agent_count; at++) if (agents[at].size) agent_starts[(uint8_t)agents[at].at[0]] = 1;
}

/* Their names are looked for at the start of words: one look a byte, not one for each name. */
static int is_health_agent(ll_str text) {
  int inside = 0;
  for (uint32_t from = 0; from < text.size; from++) {
    uint8_t c = (uint8_t)text.at[from];
    if (!inside && agent_starts[c])
      for (uint32_t at = 0; at < agent_count; at++)
        if (agents[at].size && starts((ll_str){text.at + from, text.size - from}, agents[at])) return 1;
    inside = is_letter((char)c);
  }
  return 0;
}

static void take_status(request *q, int64_t status) {
  if (status >= 100 && status < 600 && status > q->status) q->status = (int)status;
}

/* Three digits that stand alone, 0 for other words. */
static int status_at(const char *p, const char *end) {
  if (end - p < 3 || !is_digit(p[0]) || !is_digit(p[1]) || !is_digit(p[2])) return 0;
  if (end - p > 3 && (is_digit(p[3]) || is_letter(p[3]) || p[3] == '.' || p[3] == ':' || p[3] == '/' || p[3] == '-')) return 0;
  return (p[0] - '0') * 100 + (p[1] - '0') * 10 + p[2] - '0';
}

/* Words that a check which went well does not have. */
static int sounds_bad(ll_str text) {
  static const ll_str bad[] = {LL("fail"), LL("Fail"), LL("FAIL"), LL("rror"), LL("ERROR"), LL("nhealthy"), LL("refused"),
                               LL("timeout"), LL("timed out"), LL("Timeout"), LL("xception"), LL("denied"), LL("panic")};
  for (uint32_t at = 0; at < COUNT(bad); at++) if (contains(text, bad[at])) return 1;
  return 0;
}

static int is_edge(char c) { return is_space(c) || c == '"' || c == '\'' || c == '|' || c == '[' || c == '(' || c == '='; }

/* Where `GET ` or `HEAD ` stands at the start of a word; `end` where neither does. Eight bytes are looked at at once. */
static const char *find_method(const char *p, const char *const end) {
  const uint64_t ones = 0x0101010101010101, highs = ones << 7, g = ones * 'G', h = ones * 'H';
  const char *const start = p;
  while (end - p > 5) {
    if (end - p > 8) {
      uint64_t eight = ll_load64(p), left = eight ^ g, right = eight ^ h;
      if (!((((left - ones) & ~left) | ((right - ones) & ~right)) & highs)) {
        p += 8;
        continue;
      }
    }
    for (const char *const last = end - p > 12 ? p + 8 : end - 5; p < last; p++) {
      uint32_t four = ll_load32(p);
      if (four != 0x20544547 /* "GET " */ && !(four == 0x44414548 /* "HEAD" */ && p[4] == ' ')) continue;
      if (p == start || is_edge(p[-1])) return p;
    }
  }
  return end;
}

/* A request within a line: `GET /healthz HTTP/1.1" 200`, `| 200 | GET "/healthz"`, `Started GET "/healthz"`. */
static void read_line(request *q, ll_str line) {
  const char *const start = line.at, *const end = start + line.size, *const p = find_method(start, end);
  if (p == end) return;
  const char *path = p + 4 + (*p == 'H');
  while (path < end && (*path == ' ' || *path == '"')) path++;
  const char *behind = path;
  while (behind < end && !is_space(*behind) && *behind != '"' && *behind != '\'' && *behind != '|' && *behind != ')') behind++;
  ll_str rest = {behind, (uint32_t)(end - behind)};
  int path_is = is_health_path((ll_str){path, (uint32_t)(behind - path)}), agent_is = !path_is && is_health_agent(rest);
  if (!path_is && !agent_is) return;
  /* The status: behind the request, before it between bars, or named. */
  const char *at = behind;
  while (at < end && *at == ' ') at++;
  if (end - at > 5 && starts((ll_str){at, 5}, LL("HTTP/"))) while (at < end && !is_space(*at) && *at != '"') at++;
  while (at < end && (*at == '"' || *at == '\'' || *at == ' ' || *at == '-' || *at == '>' || *at == ':' || *at == ',')) at++;
  int status = status_at(at, end);
  for (at = start; !status && at < path; at++)
    if (*at == '|' && at + 2 < end && at[1] == ' ') status = status_at(at + 2 + (at[2] == ' '), end);
  if (!status) {
    for (at = start + 1; at < end; at++) {
      int found = at > path && at < behind ? 0 : !is_digit(at[-1]) && !is_letter(at[-1]) ? status_at(at, end) : 0;
      if (found >= 400 && found < 600) status = found;
    }
    q->failure |= sounds_bad(line);
  }
  take_status(q, status);
  q->path |= path_is;
  q->agent |= agent_is;
}

static void read_field(request *q, int role, ll_value value) {
  ll_str text;
  int64_t number;
  int plain = ll_to_str(value, &text);
  switch (role) {
    case PATH:
      if (plain) q->path |= is_health_path(text);
      break;
    case REQUEST:
      if (plain && text.size && (text.at[0] == '/' || starts(text, LL("http")))) q->path |= is_health_path(text);
      else if (plain) read_line(q, text);
      break;
    case METHOD:
      q->other |= plain && !same_word(text, LL("GET")) && !same_word(text, LL("HEAD"));
      break;
    case STATUS:
      if (plain) take_status(q, status_at(text.at, text.at + text.size));
      else if (ll_to_int(value, &number)) take_status(q, number);
      break;
    case AGENT:
      if (!plain && ll_type_of(value) == LL_ARRAY) plain = ll_to_str(ll_item(value, 0), &text);
      if (plain) q->agent |= is_health_agent(text);
      break;
    case FAILURE: {
      ll_type type = ll_type_of(value);
      int yes = 0;
      if (ll_to_int(value, &number)) yes = number != 0;
      else if (!ll_to_bool(value, &yes)) yes = plain ? text.size > 0 : type != LL_NIL;
      q->failure |= yes;
    }
  }
}

/* What is kept in parts: {"request": {"uri": ...}, "res": {"statusCode": 200}}. */
static void read_part(request *q, ll_value part, int depth) {
  uint32_t count = ll_length(part);
  const uint8_t *p = part.at + (*part.at == 0xde ? 3 : *part.at == 0xdf ? 5 : 1);
  for (; count; count--) {
    const uint8_t *value = ll_skip(p, part.end), *next = value ? ll_skip(value, part.end) : 0;
    if (!next) return;
    int role = role_of(p);
    ll_value one = {value, next};
    if ((role == PART || role == REQUEST) && ll_type_of(one) == LL_MAP) {
      if (depth < 2) read_part(q, one, depth + 1);
    } else if (role != NONE) {
      read_field(q, role, one);
    }
    p = next;
  }
}
