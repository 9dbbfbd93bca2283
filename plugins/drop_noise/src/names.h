/* What fields are called: one look at a record tells where its level, text, path, status and agent are. */

enum { NONE, LEVEL, PRIORITY, TEXT, PATH, REQUEST, METHOD, STATUS, AGENT, FAILURE, PART };

typedef struct { ll_str name; int role; } known_name;

static const known_name known_names[] = {
  {LL("level"), LEVEL}, {LL("severity"), LEVEL}, {LL("lvl"), LEVEL}, {LL("loglevel"), LEVEL}, {LL("log_level"), LEVEL},
  {LL("log.level"), LEVEL}, {LL("levelname"), LEVEL}, {LL("level_name"), LEVEL}, {LL("severity_text"), LEVEL},
  {LL("SeverityText"), LEVEL}, {LL("Level"), LEVEL}, {LL("@l"), LEVEL}, {LL("PRIORITY"), PRIORITY},
  {LL("log"), TEXT}, {LL("message"), TEXT}, {LL("msg"), TEXT}, {LL("MESSAGE"), TEXT}, {LL("body"), TEXT},
  {LL("path"), PATH}, {LL("url"), PATH}, {LL("uri"), PATH}, {LL("request_uri"), PATH}, {LL("request_path"), PATH},
  {LL("http_path"), PATH}, {LL("url.path"), PATH}, {LL("http.target"), PATH}, {LL("request"), REQUEST},
  {LL("method"), METHOD}, {LL("request_method"), METHOD}, {LL("http_method"), METHOD}, {LL("http.method"), METHOD},
  {LL("status"), STATUS}, {LL("status_code"), STATUS}, {LL("statusCode"), STATUS}, {LL("http_status"), STATUS},
  {LL("response_code"), STATUS}, {LL("code"), STATUS}, {LL("http.status_code"), STATUS},
  {LL("agent"), AGENT}, {LL("user_agent"), AGENT}, {LL("userAgent"), AGENT}, {LL("http_user_agent"), AGENT},
  {LL("user-agent"), AGENT}, {LL("User-Agent"), AGENT}, {LL("user_agent.original"), AGENT},
  {LL("error"), FAILURE}, {LL("err"), FAILURE}, {LL("exception"), FAILURE}, {LL("error.message"), FAILURE},
  {LL("req"), PART}, {LL("res"), PART}, {LL("response"), PART}, {LL("http"), PART}, {LL("headers"), PART},
};
enum { NAMES = sizeof known_names / sizeof *known_names, LONGEST = 24, SLOTS = 256 };

static uint8_t name_slots[SLOTS]; /* by a hash of its ends and its length: 1 + its index, 0 for nothing */

static uint32_t slot_of(const char *name, uint32_t size) {
  uint32_t ends = (uint8_t)name[0] | (uint32_t)(uint8_t)name[size / 2] << 8 | (uint32_t)(uint8_t)name[size - 1] << 16 | size << 24;
  return (ends * 0x9E3779B1u) >> 24;
}

static void learn_names(void) {
  for (uint32_t at = 0; at < NAMES; at++) {
    uint32_t slot = slot_of(known_names[at].name.at, known_names[at].name.size);
    while (name_slots[slot]) slot = (slot + 1) % SLOTS;
    name_slots[slot] = (uint8_t)(at + 1);
  }
}

static inline int role_of(const uint8_t *key) {
  ll_str name;
  if (*key >= 0xa0 && *key < 0xc0) name = (ll_str){(const char *)key + 1, *key & 31};
  else if (!ll_to_str((ll_value){key, 0}, &name)) return NONE;
  if (!name.size || name.size > LONGEST) return NONE;
  for (uint32_t slot = slot_of(name.at, name.size); name_slots[slot]; slot = (slot + 1) % SLOTS) {
    const known_name *one = &known_names[name_slots[slot] - 1];
    if (one->name.size == name.size && ll_same_bytes(one->name.at, name.at, name.size)) return one->role;
  }
  return NONE;
}
