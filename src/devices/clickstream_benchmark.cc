// Events a second and core. The simulator must not be what limits a measurement of the pipeline.
#include <benchmark/benchmark.h>

#include "devices/clickstream.h"

namespace millrace::devices {
namespace {

void BM_Next(benchmark::State& state) {
  Clickstream stream({.late_fraction = 0.02, .duplicate_fraction = 0.01, .malformed_fraction = 0.001});
  UnixMicros now = 1'700'000'000'000'000;
  std::int64_t bytes = 0;
  for (auto _ : state) bytes += static_cast<std::int64_t>(stream.Next(now += 17).payload.size());
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(bytes);
}
BENCHMARK(BM_Next);

}  // namespace
}  // namespace millrace::devices

BENCHMARK_MAIN();
