/*
 * Loaded before a member's program (LD_PRELOAD): writes down what it does to the files below JOURNAL_ROOT, in the file
 * JOURNAL_FILE, record by record; disk-journal.ts reads it. A sync has two records: what was written before it began is
 * durable once it has ended. A write is written down when it is done, so one that a sync may have missed comes after it.
 *
 * Record: { ns of CLOCK_MONOTONIC, operation, length of the path, number, length of the data }, path, data.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, SYNC_BEGIN, SYNC_END, RENAME, REMOVE };

struct record { int64_t ns; uint32_t operation, path_length; int64_t number; uint32_t data_length, unused; };

static const char *root;
static size_t root_length;
static int journal = -1;

__attribute__((constructor)) static void begin(void) {
  root = getenv("JOURNAL_ROOT");
  const char *file = getenv("JOURNAL_FILE");
  if (root == NULL || file == NULL) return;
  root_length = strlen(root);
  journal = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int ours(const char *path) { return journal >= 0 && path != NULL && strncmp(path, root, root_length) == 0; }

static void note(uint32_t operation, const char *path, int64_t number, const void *data, size_t length) {
  int kept = errno;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  struct record head = { now.tv_sec * 1000000000LL + now.tv_nsec, operation, strlen(path), number, length, 0 };
  struct iovec parts[3] = { { &head, sizeof head }, { (void *)path, head.path_length }, { (void *)data, length } };
  /* One call: an append is whole, whichever threads append. */
  if (syscall(SYS_writev, journal, parts, 3) != (ssize_t)(sizeof head + head.path_length + length)) abort();
  errno = kept;
}

static const char *path_of(int fd, char *buffer) {
  char link[64];
  int kept = errno;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = journal < 0 || fd == journal ? -1 : readlink(link, buffer, PATH_MAX - 1);
  errno = kept;
  if (length < 0) return NULL;
  buffer[length] = 0;
  return ours(buffer) ? buffer : NULL;
}

#define REAL(type, name, ...) \
  static type (*real)(__VA_ARGS__); \
  if (real == NULL) real = dlsym(RTLD_NEXT, name)

static int opened(int fd, const char *path, int flags, int existed) {
  if (fd >= 0 && ours(path) && ((flags & O_TRUNC) || ((flags & O_CREAT) && !existed))) note(CREATE, path, 0, "", 0);
  return fd;
}

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    REAL(int, #name, const char *, int, ...); \
    va_list rest; va_start(rest, flags); \
    mode_t mode = (flags & O_CREAT) ? va_arg(rest, mode_t) : 0; va_end(rest); \
    int existed = ours(path) && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0; \
    return opened(real(path, flags, mode), path, flags, existed); \
  }
OPEN(open)
OPEN(open64)

/* LevelDB writes by stdio; without a buffer of its own a stream writes at once. */
#define OPEN_STREAM(name) \
  FILE *name(const char *path, const char *mode) { \
    REAL(FILE *, #name, const char *, const char *); \
    int existed = ours(path) && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0; \
    FILE *stream = real(path, mode); \
    if (stream == NULL || !ours(path) || mode[0] == 'r') return stream; \
    setvbuf(stream, NULL, _IONBF, 0); \
    opened(0, path, mode[0] == 'w' ? O_CREAT | O_TRUNC : O_CREAT, existed); \
    return stream; \
  }
OPEN_STREAM(fopen)
OPEN_STREAM(fopen64)

#define WRITE_STREAM(name) \
  size_t name(const void *data, size_t size, size_t count, FILE *stream) { \
    REAL(size_t, #name, const void *, size_t, size_t, FILE *); \
    size_t written = real(data, size, count, stream); \
    char buffer[PATH_MAX]; \
    const char *path = written > 0 && size > 0 ? path_of(fileno(stream), buffer) : NULL; \
    if (path != NULL) note(WRITE, path, ftell(stream) - (long)(size * written), data, size * written); \
    return written; \
  }
#undef fwrite_unlocked
WRITE_STREAM(fwrite)
WRITE_STREAM(fwrite_unlocked)

ssize_t write(int fd, const void *data, size_t length) {
  REAL(ssize_t, "write", int, const void *, size_t);
  ssize_t written = real(fd, data, length);
  char buffer[PATH_MAX];
  const char *path = written > 0 ? path_of(fd, buffer) : NULL;
  if (path != NULL) note(WRITE, path, syscall(SYS_lseek, fd, 0, SEEK_CUR) - written, data, written);
  return written;
}

/* A file that is open so is synced by each write. */
static void note_own_sync(int fd, const char *path) {
  if ((fcntl(fd, F_GETFL) & O_DSYNC) == 0) return;
  int64_t thread = syscall(SYS_gettid);
  note(SYNC_BEGIN, path, thread, "", 0);
  note(SYNC_END, path, thread, "", 0);
}

#define PWRITE(name, offset_type) \
  ssize_t name(int fd, const void *data, size_t length, offset_type offset) { \
    REAL(ssize_t, #name, int, const void *, size_t, offset_type); \
    ssize_t written = real(fd, data, length, offset); \
    char buffer[PATH_MAX]; \
    const char *path = written > 0 ? path_of(fd, buffer) : NULL; \
    if (path != NULL) { \
      note(WRITE, path, offset, data, written); \
      note_own_sync(fd, path); \
    } \
    return written; \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define TRUNCATE_FILE(name, offset_type) \
  int name(int fd, offset_type length) { \
    REAL(int, #name, int, offset_type); \
    int result = real(fd, length); \
    char buffer[PATH_MAX]; \
    const char *path = result == 0 ? path_of(fd, buffer) : NULL; \
    if (path != NULL) note(TRUNCATE, path, length, "", 0); \
    return result; \
  }
TRUNCATE_FILE(ftruncate, off_t)
TRUNCATE_FILE(ftruncate64, off64_t)

#define SYNC(name) \
  int name(int fd) { \
    REAL(int, #name, int); \
    char buffer[PATH_MAX]; \
    const char *path = path_of(fd, buffer); \
    int64_t thread = syscall(SYS_gettid); \
    if (path != NULL) note(SYNC_BEGIN, path, thread, "", 0); \
    int result = real(fd); \
    if (path != NULL && result == 0) note(SYNC_END, path, thread, "", 0); \
    return result; \
  }
SYNC(fsync)
SYNC(fdatasync)

int rename(const char *from, const char *to) {
  REAL(int, "rename", const char *, const char *);
  int result = real(from, to);
  if (result == 0 && ours(from)) note(RENAME, from, 0, to, strlen(to));
  return result;
}

#define REMOVE_FILE(name) \
  int name(const char *path) { \
    REAL(int, #name, const char *); \
    int result = real(path); \
    if (result == 0 && ours(path)) note(REMOVE, path, 0, "", 0); \
    return result; \
  }
REMOVE_FILE(unlink)
REMOVE_FILE(remove)

/* Nobody writes files this way here; whoever begins to is told, as the journal would lack it. */
ssize_t writev(int fd, const struct iovec *parts, int count) {
  char buffer[PATH_MAX];
  if (path_of(fd, buffer) != NULL) {
    fprintf(stderr, "disk-journal: writev to a file is not written down\n");
    abort();
  }
  return syscall(SYS_writev, fd, parts, count);
}
