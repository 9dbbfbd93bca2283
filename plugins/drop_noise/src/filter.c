/* Drops what nobody looks at: health checks that went well, and debug records. What is not surely noise stays. */
#define LOGLLM_INIT read_config
#define LOGLLM_IMPLEMENTATION
#include "logllm.h"

#include "names.h"
#include "words.h"
#include "health.h"

static int drops_health_checks, drops_levels, keeps_errors;

void read_config(void) {
  static const ll_str known[] = {LL("health_checks"), LL("debug"), LL("paths"), LL("agents"), LL("levels"), LL("keep_errors")};
  const ll_str *list;
  ll_config_only(known, COUNT(known));
  drops_health_checks = ll_config_bool(LL("health_checks"), 1);
  drops_levels = ll_config_bool(LL("debug"), 1);
  keeps_errors = ll_config_bool(LL("keep_errors"), 1);
  if ((list = ll_config_strs(LL("paths"), &path_count))) paths = list;
  if ((list = ll_config_strs(LL("agents"), &agent_count))) agents = list;
  if ((list = ll_config_strs(LL("levels"), &level_count))) levels = list;
  learn_names();
  learn_agents();
}

ll_verdict ll_filter(ll_record *r) {
  int level = UNKNOWN, line = UNKNOWN;
  request q = {0};
  for (ll_field *one = r->fields, *last = one + r->count; one < last; one++) {
    int role = role_of(one->key);
    if (role == NONE) continue;
    ll_value value = {one->value, one->end};
    ll_str text;
    if (role == LEVEL || role == PRIORITY) {
      int found = role == LEVEL ? class_of_level(value) : class_of_priority(value);
      if (found == GRAVE || level == UNKNOWN) level = found;
    } else if (role == TEXT) {
      if (!ll_to_bytes(value, &text)) continue;
      int found = class_of_line(text);
      if (found == GRAVE || line == UNKNOWN) line = found;
      if (drops_health_checks) read_line(&q, text);
    } else if ((role == PART || role == REQUEST) && ll_type_of(value) == LL_MAP) {
      if (drops_health_checks) read_part(&q, value, 0);
    } else if (drops_health_checks) {
      read_field(&q, role, value);
    }
  }
  if (keeps_errors && (level == GRAVE || line == GRAVE)) return LL_KEEP;
  if (drops_levels && (level == NOISE || (level == UNKNOWN && line == NOISE))) return LL_DROP;
  if (!(q.path || q.agent) || q.other) return LL_KEEP;
  if (!keeps_errors) return LL_DROP;
  return q.failure || (q.status && (q.status < 200 || q.status >= 400)) ? LL_KEEP : LL_DROP;
}
