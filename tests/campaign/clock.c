/* A clock on the wall that jumps, for tests: loaded with LD_PRELOAD, it moves time() and its kin by one of a few offsets,
   another one each CLOCK_EVERY milliseconds of the steady clock, which it leaves alone; without CLOCK_EVERY, by none. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const long OFFSETS[] = {0, -3600, 86400, -40 * 86400L, 7};  /* seconds */

static long offset(void) {
    struct timespec steady;
    const char *every = getenv("CLOCK_EVERY");
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &steady);
    long milliseconds = steady.tv_sec * 1000 + steady.tv_nsec / 1000000;
    long step = every ? atol(every) : 0;
    if (step <= 0) return 0;
    return OFFSETS[(milliseconds / step) % (long)(sizeof(OFFSETS) / sizeof(*OFFSETS))];
}

int clock_gettime(clockid_t clock, struct timespec *out) {
    int result = (int)syscall(SYS_clock_gettime, clock, out);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) out->tv_sec += offset();
    return result;
}

int gettimeofday(struct timeval *out, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
