/* scan.c under sanitizers: `fuzz SEED RUNS NAMES ENTRIES` damages stretches of the entries and scans them.
 *
 * NAMES is the names of fields, one a line, an empty line behind each group. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scan.c"

static u64 state;
static u32 draw(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (u32)(state >> 16);
}

int main(int count, char **arguments) {
  static const u8 telling[] = {0xc1, 0xdf, 0xdd, 0xdb, 0xc9, 0xff, 0x80, 0x90, 0xc0, 0xd9, 0xda, 0xdc, 0xde, 0xc6, 0x92};
  static u8 seed[1 << 22];
  if (count != 5) return 2;
  state = 88172645463325252ull ^ (u64)atoll(arguments[1]);
  for (u32 i = 0; i < sizeof keys; i++) keys[i] = (u8)draw();
  FILE *file = fopen(arguments[3], "r");
  char line[NAME + 2];
  u32 known = 0, group = 0;
  while (file && fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = 0;
    if (!*line) { groups[group++] = known; continue; }
    name_bytes[known] = (u32)strlen(line);
    memcpy(names[known++], line, strlen(line));
  }
  fclose(file);
  file = fopen(arguments[4], "rb");
  u32 size = (u32)fread(seed, 1, sizeof seed, file);
  fclose(file);
  setup();
  unsigned long entries = 0, stops[4] = {0};
  for (long run = atol(arguments[2]); run; run--) {
    u32 bytes = 1 + draw() % (draw() % 8 ? 3000 : 60000);
    if (bytes > size) bytes = size;
    u32 from = draw() % (size - bytes + 1);
    while (from && draw() % 8 && seed[from] != 0x92) from--;
    memcpy(input, seed + from, bytes);
    memset(input + bytes, (int)draw(), SLACK);
    for (u32 left = draw() % 6; left; left--) {
      u32 at = draw() % bytes, what = draw() % 3;
      if (what == 0) input[at] = (u8)draw();
      else if (what == 1) input[at] = telling[draw() % sizeof telling];
      else if (at + 5 < bytes) { input[at] = (u8)(0xdb + draw() % 5); memset(input + at + 1, draw() % 2 ? 0 : 0xff, 4); }
    }
    u32 n = scan(bytes, draw() % 10 ? ~0u : draw() % 20);
    entries += n;
    stops[found[1]]++;
    if (found[0] > bytes) abort();
    for (u32 i = 0; i < n; i++) {
      if (entry_at[i] >= bytes || text_at[i] + text_bytes[i] > bytes || text_bytes[i] > bytes) abort();
      if (text_code[i] < 0 || (u32)text_code[i] >= texts.count) abort();
    }
    if (draw() % 500 == 0) reset();
    if (draw() % 3000 == 0) texts.count = texts.most;
  }
  printf("%lu %lu %lu %lu\n", entries, stops[WHOLE], stops[CUT], stops[ODD]);
  return 0;
}
