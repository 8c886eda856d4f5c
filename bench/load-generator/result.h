/* What a load generator has seen, and how it prints that: included once by each of them. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum {
  errors_max = 1000,
  errors_kept = 4,
  error_chars = 160,
};

#define NANOS 1000000000LL

/* Histogram: 2^7 linear steps per power of two, so a value is off by less than 1 %. */
enum { step_bits = 7, steps = 1 << step_bits, buckets_max = (64 - step_bits + 1) * steps };

static int64_t completed, measured, errors, unanswered, bytes_read;
static int64_t latency_sum, latency_max;
static uint32_t histogram[buckets_max];
static char error_texts[errors_kept][error_chars];

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * NANOS + time.tv_nsec;
}

static void die(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(2);
}

static int bucket_of(int64_t value) {
  uint64_t v = value < 0 ? 0 : (uint64_t)value;
  if (v < 2 * steps) return (int)v;
  int shift = 63 - __builtin_clzll(v) - step_bits;
  return shift * steps + (int)(v >> shift);
}

/* The largest value that falls into a bucket. */
static int64_t value_of(int bucket) {
  if (bucket < 2 * steps) return bucket;
  int shift = bucket / steps - 1;
  return ((int64_t)(bucket - shift * steps + 1) << shift) - 1;
}

static int64_t quantile(double share) {
  int64_t wanted = (int64_t)(share * (double)measured);
  if ((double)wanted < share * (double)measured) wanted++;
  if (wanted < 1) wanted = 1;
  int64_t seen = 0;
  for (int i = 0; i < buckets_max; i++) {
    seen += histogram[i];
    if (seen >= wanted) return value_of(i) < latency_max ? value_of(i) : latency_max;
  }
  return latency_max;
}

static void note_error(const char *format, const char *detail) {
  if (errors < errors_kept) {
    snprintf(error_texts[errors], error_chars, format, detail);
    for (char *c = error_texts[errors]; *c; c++)
      if (*c < ' ' || *c == '"' || *c == '\\' || *c > '~') *c = ' ';
  }
  errors++;
}

static void note_latency(int64_t latency) {
  measured++;
  latency_sum += latency;
  if (latency > latency_max) latency_max = latency;
  histogram[bucket_of(latency)]++;
}

static void print_result(double seconds) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  printf("{\"requests\":%lld,\"completed\":%lld,\"seconds\":%.6f,\"errors\":%lld,\"unanswered\":%lld,"
         "\"bytesRead\":%lld,\"cpuSeconds\":%.6f,",
         (long long)measured, (long long)completed, seconds, (long long)errors, (long long)unanswered,
         (long long)bytes_read, cpu);
  printf("\"latencyNanos\":{\"mean\":%lld,\"p50\":%lld,\"p90\":%lld,\"p99\":%lld,\"p999\":%lld,\"max\":%lld},",
         (long long)(measured > 0 ? latency_sum / measured : 0), (long long)quantile(0.5),
         (long long)quantile(0.9), (long long)quantile(0.99), (long long)quantile(0.999), (long long)latency_max);
  printf("\"errorTexts\":[");
  for (int i = 0; i < errors_kept && i < errors; i++) printf("%s\"%s\"", i > 0 ? "," : "", error_texts[i]);
  printf("],\"histogram\":[");
  bool is_first = true;
  for (int i = 0; i < buckets_max; i++) {
    if (histogram[i] == 0) continue;
    printf("%s[%lld,%u]", is_first ? "" : ",", (long long)value_of(i), histogram[i]);
    is_first = false;
  }
  printf("]}\n");
  fflush(stdout);
}
