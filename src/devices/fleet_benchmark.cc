// Events a second and core. The simulator must not be what limits a measurement of the pipeline.
#include <benchmark/benchmark.h>

#include <memory>

#include "devices/clickstream.h"
#include "devices/fleet.h"
#include "devices/sensors.h"
#include "devices/timetable.h"

namespace millrace::devices {
namespace {

void Run(benchmark::State& state, std::unique_ptr<EventSource> source, UnixMicros step) {
  Fleet fleet({.duplicates = 0.01, .malformed = 0.001, .format = static_cast<PayloadFormat>(state.range(0))},
              std::move(source));
  UnixMicros now = 1'700'000'000'000'000;
  std::int64_t bytes = 0;
  for (auto _ : state) bytes += static_cast<std::int64_t>(fleet.Next(now += step).payload.size());
  state.SetLabel(std::string(FormatName(static_cast<PayloadFormat>(state.range(0)))));
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(bytes);
}

void BM_Clickstream(benchmark::State& state) {
  Run(state, std::make_unique<Clickstream>(ClickstreamOptions{.late = 0.02}), 17);
}
BENCHMARK(BM_Clickstream)->DenseRange(0, 3);

void BM_Sensors(benchmark::State& state) {
  Run(state, std::make_unique<Sensors>(SensorOptions{.devices = kSensorsMax, .late = 0.02}), 17);
}
BENCHMARK(BM_Sensors)->DenseRange(0, 3);

void BM_Timetable(benchmark::State& state) {
  Timetable timetable({.rate = 1e6, .burst = Burst{10, std::chrono::seconds(5), std::chrono::minutes(1)}});
  for (auto _ : state) {
    timetable.Advance();
    benchmark::DoNotOptimize(timetable.due());
  }
}
BENCHMARK(BM_Timetable);

}  // namespace
}  // namespace millrace::devices

BENCHMARK_MAIN();
