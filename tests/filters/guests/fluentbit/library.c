/* A filter that takes its C library from the host, as the example of Fluent Bit does. */

typedef unsigned int u32;
#define EXPORT(name) __attribute__((export_name(name)))

#define HOST(name) __attribute__((import_module("env"), import_name(name)))

HOST("malloc") void *malloc(unsigned long size);
HOST("printf") int printf(const char *form, ...);
HOST("sprintf") int sprintf(char *to, const char *form, ...);
HOST("snprintf") int snprintf(char *to, unsigned long size, const char *form, ...);
HOST("strlen") unsigned long strlen(const char *text);

EXPORT("c_filter") char *c_filter(char *tag, int tag_size, u32 sec, u32 nsec, char *record, int size) {
  char *answer = malloc(1024 + strlen(record));
  sprintf(answer, "{\"time\":\"%u.%09u\",\"tag\":\"%s\",\"original\":%s}", sec, nsec, tag, record);
  printf("%s %d%%\n", tag, size);
  return answer;
}

EXPORT("forms") char *forms(char *tag, int tag_size, u32 sec, u32 nsec, char *record, int size) {
  char *answer = malloc(1024);
  int written = snprintf(answer, 1024,
    "{\"a\":\"%d %5d|%-5d|%05d|%+d\",\"b\":\"%x %#X %o\",\"c\":\"%c%.3s\",\"d\":\"%.2f %e %g\",\"e\":\"%lld %llu\",\"f\":\"%*d|%-6s|\"}",
    -1, 42, 42, 42, 42, 0xbeefu, 0xbeefu, 8u, 'c', "abcdef", 3.14159, 12345.678, 0.0001, -1234567890123ll,
    18446744073709551615ull, 4, 7, "ab");
  if (written != (int)strlen(answer)) return 0;
  return answer;
}
