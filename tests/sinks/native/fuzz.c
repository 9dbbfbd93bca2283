/* transcode.c under sanitizers: `fuzz SEED RUNS ENTRIES STARTS` damages stretches of the entries and transcodes them.
 *
 * STARTS is where entries begin, 32 bits each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transcode.c"

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
  static u32 starts[1 << 16];
  if (count != 5) return 2;
  state = 88172645463325252ull ^ (u64)atoll(arguments[1]);
  FILE *file = fopen(arguments[3], "rb");
  FILE *places = fopen(arguments[4], "rb");
  if (!file || !places) return 2;
  u32 size = (u32)fread(seed, 1, sizeof seed, file), known = (u32)fread(starts, 4, sizeof starts / 4, places);
  fclose(file);
  fclose(places);
  unsigned long entries = 0, stops[4] = {0};
  for (long run = atol(arguments[2]); run; run--) {
    u32 bytes = 1 + draw() % (draw() % 8 ? 3000 : draw() % 8 ? 60000 : INPUT);
    u32 from = draw() % 8 ? starts[draw() % known] : draw() % size;
    if (bytes > size - from) bytes = size - from;
    memcpy(input, seed + from, bytes);
    if (bytes > 200000 && draw() % 2) {
      /* A text full of what takes six times its length to write, or three, or a binary. */
      static const u8 begin[] = {0x92, 5, 0x81, 0xa1, 'k', 0xdb, 0, 3, 0, 0};
      memcpy(input, begin, sizeof begin);
      if (draw() % 4 == 0) input[5] = 0xc6;
      input[7] = (u8)(draw() % 4);
      memset(input + sizeof begin, draw() % 2 ? 0x80 : draw() % 32, 200000 - sizeof begin);
    }
    memset(input + bytes, (int)draw(), SLACK);
    for (u32 left = draw() % 4 * (draw() % 2); left; left--) {
      u32 at = draw() % bytes, what = draw() % 3;
      if (what == 0) input[at] = (u8)draw();
      else if (what == 1) input[at] = telling[draw() % sizeof telling];
      else if (at + 5 < bytes) { input[at] = (u8)(0xdb + draw() % 5); memset(input + at + 1, draw() % 2 ? 0 : 0xff, 4); }
    }
    u32 begin = draw() % 16 ? 0 : draw() % bytes, head_bytes = draw() % 9 ? draw() % 60 : draw() % (HEAD + 1);
    u32 n = transcode(begin, bytes, head_bytes, draw() % 10 ? ~0u : draw() % 20);
    entries += n;
    stops[found[2]]++;
    if (found[0] < begin || found[0] > bytes || found[1] > OUTPUT + ROOM || (!n && found[1])) abort();
    for (u32 i = 0; i < found[3]; i++) if (absent_at[i] >= found[1] || (i && absent_at[i] < absent_at[i - 1])) abort();
    /* One line for each entry, and nothing behind the last. */
    u32 lines = 0;
    for (u32 at = 0; at < found[1]; at++) lines += output[at] == '\n' && (at == 0 || output[at - 1] == '}');
    if (!memchr(head, '\n', sizeof head) && lines != n) abort();
    if (n && output[found[1] - 1] != '\n') abort();
  }
  printf("%lu %lu %lu %lu %lu\n", entries, stops[WHOLE], stops[CUT], stops[FULL], stops[SLOW]);
  return 0;
}
