#define LOGLLM_IMPLEMENTATION
#include "logllm.h"

/* Called once a record. Look at it, change it, and say whether it stays. */
ll_verdict ll_filter(ll_record *r) {
  if (ll_is(r, LL("level"), LL("debug"))) return LL_DROP;
  if (ll_is(r, LL("level"), LL("error"))) ll_set_str(r, LL("seen_by"), LL("{{name}}"));
  return LL_KEEP;
}
