// Measures the peak rate of fused multiply-adds: `peak THREADS SECONDS` prints float32 GFLOP/s of all threads together.
// Every thread keeps twelve independent chains of operations in registers, more than two units with a latency of four
// to five cycles can use at once.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define CHAINS 12
#define ROUNDS 100000

typedef float vector __attribute__((vector_size(BYTES)));

static double duration_s;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

struct result {
  double rate;
  float checksum;
};

static void *run(void *out) {
  vector chain[CHAINS], a, b;
  for (int lane = 0; lane < BYTES / 4; lane++) {
    a[lane] = 0.999f;
    b[lane] = 0.001f;
    for (int c = 0; c < CHAINS; c++) chain[c][lane] = (float)c;
  }
  double rounds = 0, start = now(), end;
  do {
    for (int r = 0; r < ROUNDS; r++) {
#pragma GCC unroll 12
      for (int c = 0; c < CHAINS; c++) chain[c] = chain[c] * a + b;
    }
    rounds += ROUNDS;
    end = now();
  } while (end - start < duration_s);
  struct result *result = out;
  result->rate = rounds * CHAINS * (BYTES / 4) * 2 / (end - start);
  result->checksum = 0;
  for (int c = 0; c < CHAINS; c++) result->checksum += chain[c][0];
  return NULL;
}

int main(int count, char **arguments) {
  int threads = count > 1 ? atoi(arguments[1]) : 1;
  duration_s = count > 2 ? atof(arguments[2]) : 1;
  pthread_t ids[1024];
  struct result results[1024];
  double sum = 0;
  if (threads < 1 || threads > 1024) return 2;
  for (int t = 0; t < threads; t++) pthread_create(&ids[t], NULL, run, &results[t]);
  for (int t = 0; t < threads; t++) {
    pthread_join(ids[t], NULL);
    sum += results[t].rate;
  }
  // Printing the checksum prevents the compiler from removing the computation.
  printf("%.3f %g\n", sum / 1e9, results[0].checksum);
  return 0;
}
