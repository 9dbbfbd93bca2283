/* Faults of a disk, for a process that is started with this in LD_PRELOAD.
 *
 *   FAULTS_UNDER    only paths that begin with this are touched
 *   FAULTS_CONTROL  a file of rules, read again whenever it changes; counters begin anew then
 *   FAULTS_TRACE    where set: every change to a file or folder under FAULTS_UNDER is appended to this file
 *
 * A rule is a line: CALL WHERE FROM TIMES ACTION [ARGUMENT]
 *   CALL     write, sync, truncate, rename, open (for writing)
 *   WHERE    what the path must contain; `*` for all, `=NAME` for a path that ends with /NAME
 *   FROM     the n-th such call is the first that the rule holds for, from 1
 *   TIMES    for how many it holds; 0: for ever
 *   ACTION   errno N | slow MS | short BYTES | torn (half of a write, then the end) | before (the end, then nothing)
 *            | after (the call, then the end). The end is SIGKILL.
 *
 * A line of the trace is `CALL INODE OFFSET LENGTH PATH[ -> PATH]\n`, behind it LENGTH bytes of a write. Beside the
 * calls of rules there are `create`, `unlink`, and `lost`: a sync that failed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MOST 32
#define REAL(name) real_##name = dlsym(RTLD_NEXT, #name)

enum action { PASS, ERRNO, SLOW, SHORT, TORN, BEFORE, AFTER };

struct rule {
    char call[16], where[256], action[16];
    long from, times, argument, seen;
};

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite64)(int, const void *, size_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate64)(int, off_t);
static int (*real_truncate64)(const char *, off_t);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_open64)(const char *, int, ...);
static int (*real_openat64)(int, const char *, int, ...);

static const char *under, *control;
static int trace = -1;
static struct rule rules[MOST];
static int count;
static struct timespec seen_at;
static ino_t seen_inode;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    REAL(write);
    REAL(pwrite64);
    REAL(fsync);
    REAL(fdatasync);
    REAL(ftruncate64);
    REAL(truncate64);
    REAL(rename);
    REAL(unlink);
    REAL(open64);
    REAL(openat64);
    under = getenv("FAULTS_UNDER");
    control = getenv("FAULTS_CONTROL");
    const char *path = getenv("FAULTS_TRACE");
    if (path)
        trace = real_open64(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void look(void) {
    struct stat at;
    if (!control || stat(control, &at) != 0) {
        count = 0;
        seen_inode = 0;
        return;
    }
    if (at.st_ino == seen_inode && at.st_mtim.tv_sec == seen_at.tv_sec && at.st_mtim.tv_nsec == seen_at.tv_nsec)
        return;
    seen_inode = at.st_ino;
    seen_at = at.st_mtim;
    count = 0;
    FILE *file = fopen(control, "re");
    if (!file)
        return;
    char line[512];
    while (count < MOST && fgets(line, sizeof line, file)) {
        struct rule *rule = &rules[count];
        memset(rule, 0, sizeof *rule);
        if (sscanf(line, "%15s %255s %ld %ld %15s %ld", rule->call, rule->where, &rule->from, &rule->times,
                   rule->action, &rule->argument) >= 5)
            count++;
    }
    fclose(file);
}

static int is_at(const char *where, const char *path) {
    if (where[0] == '*')
        return 1;
    if (where[0] == '=') {
        const char *name = strrchr(path, '/');
        return name && strcmp(name + 1, where + 1) == 0;
    }
    return strstr(path, where) != NULL;
}

/* What is to happen to this call; `slow` has happened already. */
static enum action judge(const char *call, const char *path, long *argument) {
    enum action found = PASS;
    long pause_ms = 0;
    pthread_mutex_lock(&lock);
    look();
    for (int at = 0; at < count; at++) {
        struct rule *rule = &rules[at];
        if (strcmp(rule->call, call) != 0 || !is_at(rule->where, path))
            continue;
        rule->seen++;
        if (rule->seen < rule->from || (rule->times && rule->seen >= rule->from + rule->times))
            continue;
        if (strcmp(rule->action, "slow") == 0) {
            pause_ms += rule->argument;
            continue;
        }
        if (found != PASS)
            continue;
        *argument = rule->argument;
        found = strcmp(rule->action, "errno") == 0    ? ERRNO
                : strcmp(rule->action, "short") == 0  ? SHORT
                : strcmp(rule->action, "torn") == 0   ? TORN
                : strcmp(rule->action, "before") == 0 ? BEFORE
                : strcmp(rule->action, "after") == 0  ? AFTER
                                                      : PASS;
    }
    pthread_mutex_unlock(&lock);
    if (pause_ms) {
        struct timespec left = {pause_ms / 1000, pause_ms % 1000 * 1000000};
        while (nanosleep(&left, &left) != 0 && errno == EINTR)
            ;
    }
    return found;
}

static void end(void) {
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static int concerns(const char *path) { return under && strncmp(path, under, strlen(under)) == 0; }

/* The path of a descriptor, if it is one of ours. */
static int path_of(int fd, char *path) {
    char link[64];
    if (!under)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return concerns(path);
}

static void note(const char *call, int fd, off_t offset, const void *data, size_t length, const char *path,
                 const char *to) {
    if (trace < 0)
        return;
    int error = errno;
    struct stat at;
    if ((fd >= 0 ? fstat(fd, &at) : stat(to ? to : path, &at)) != 0)
        memset(&at, 0, sizeof at);
    char head[2 * PATH_MAX + 128];
    int size = snprintf(head, sizeof head, "%s %llu %lld %zu %s%s%s\n", call, (unsigned long long)at.st_ino,
                        (long long)offset, data ? length : (size_t)0, path, to ? " -> " : "", to ? to : "");
    pthread_mutex_lock(&lock);
    if (real_write(trace, head, size) < 0 || (data && real_write(trace, data, length) < 0))
        abort();
    pthread_mutex_unlock(&lock);
    errno = error;
}

static ssize_t put(int fd, const void *data, size_t size, off_t offset, int placed) {
    char path[PATH_MAX];
    long argument = 0;
    enum action action = PASS;
    int ours = fd != trace && path_of(fd, path);
    if (ours)
        action = judge("write", path, &argument);
    if (action == ERRNO) {
        errno = (int)argument;
        return -1;
    }
    if (action == BEFORE)
        end();
    if (action == SHORT && (size_t)argument < size)
        size = argument;
    if (action == TORN)
        size = (size + 1) / 2;
    off_t from = placed ? offset : (ours && trace >= 0 ? lseek(fd, 0, SEEK_CUR) : 0);
    ssize_t done = placed ? real_pwrite64(fd, data, size, offset) : real_write(fd, data, size);
    if (action == TORN || action == AFTER)
        end();
    if (ours && done > 0)
        note("write", fd, from, data, done, path, NULL);
    return done;
}

ssize_t write(int fd, const void *data, size_t size) { return put(fd, data, size, 0, 0); }
ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) { return put(fd, data, size, offset, 1); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return put(fd, data, size, offset, 1); }

static int force(int fd, int (*real)(int)) {
    char path[PATH_MAX];
    long argument = 0;
    if (!path_of(fd, path))
        return real(fd);
    enum action action = judge("sync", path, &argument);
    if (action == ERRNO) {
        note("lost", fd, 0, NULL, 0, path, NULL);
        errno = (int)argument;
        return -1;
    }
    if (action == BEFORE)
        end();
    int done = real(fd);
    if (action == AFTER || action == TORN)
        end();
    if (done == 0)
        note("sync", fd, 0, NULL, 0, path, NULL);
    return done;
}

int fsync(int fd) { return force(fd, real_fsync); }
int fdatasync(int fd) { return force(fd, real_fdatasync); }

/* Calls that are done whole or not at all. */
static int refused(const char *call, const char *path) {
    long argument = 0;
    enum action action = judge(call, path, &argument);
    if (action == ERRNO) {
        errno = (int)argument;
        return 1;
    }
    if (action == BEFORE || action == TORN)
        end();
    return action == AFTER ? 2 : 0;
}

static int cut(int fd, off_t size) {
    char path[PATH_MAX];
    if (!path_of(fd, path))
        return real_ftruncate64(fd, size);
    int refusal = refused("truncate", path);
    if (refusal == 1)
        return -1;
    int done = real_ftruncate64(fd, size);
    if (refusal == 2)
        end();
    if (done == 0)
        note("truncate", fd, size, NULL, 0, path, NULL);
    return done;
}

int ftruncate64(int fd, off_t size) { return cut(fd, size); }
int ftruncate(int fd, off_t size) { return cut(fd, size); }

static int cut_named(const char *path, off_t size) {
    if (!concerns(path))
        return real_truncate64(path, size);
    int refusal = refused("truncate", path);
    if (refusal == 1)
        return -1;
    int done = real_truncate64(path, size);
    if (refusal == 2)
        end();
    if (done == 0)
        note("truncate", -1, size, NULL, 0, path, NULL);
    return done;
}

int truncate64(const char *path, off_t size) { return cut_named(path, size); }
int truncate(const char *path, off_t size) { return cut_named(path, size); }

int rename(const char *path, const char *to) {
    if (!concerns(to))
        return real_rename(path, to);
    int refusal = refused("rename", path);
    if (refusal == 1)
        return -1;
    int done = real_rename(path, to);
    if (refusal == 2)
        end();
    if (done == 0)
        note("rename", -1, 0, NULL, 0, path, to);
    return done;
}

int unlink(const char *path) {
    int done = real_unlink(path);
    if (done == 0 && concerns(path))
        note("unlink", -1, 0, NULL, 0, path, NULL);
    return done;
}

static int opened(int folder, const char *path, int flags, mode_t mode) {
    struct stat at;
    int ours = concerns(path) && (flags & O_ACCMODE) != O_RDONLY;
    if (!ours)
        return real_openat64(folder, path, flags, mode);
    int absent = stat(path, &at) != 0;
    int refusal = refused("open", path);
    if (refusal == 1)
        return -1;
    int fd = real_openat64(folder, path, flags, mode);
    if (refusal == 2)
        end();
    if (fd >= 0 && absent)
        note("create", fd, 0, NULL, 0, path, NULL);
    return fd;
}

#define MODE(flags, mode)                                                                                              \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                             \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }

int open(const char *path, int flags, ...) {
    MODE(flags, mode)
    return opened(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE(flags, mode)
    return opened(AT_FDCWD, path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...) {
    MODE(flags, mode)
    return opened(folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
    MODE(flags, mode)
    return opened(folder, path, flags, mode);
}
