/// Counters, gauges and histograms of the process, rendered as Prometheus text. One Metrics per process; every stage
/// registers what it counts under a name of docs/operating.md and keeps the handle.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
}  // namespace prometheus

namespace millrace {

/// Handles are values: cheap to copy, valid as long as their Metrics, usable from any thread. A default-made one counts
/// nothing.
class Counter {
 public:
  Counter() = default;
  void Increment(double by = 1);

 private:
  friend class Metrics;
  explicit Counter(prometheus::Counter* impl) : impl_(impl) {}
  prometheus::Counter* impl_ = nullptr;
};

class Gauge {
 public:
  Gauge() = default;
  void Set(double value);

 private:
  friend class Metrics;
  explicit Gauge(prometheus::Gauge* impl) : impl_(impl) {}
  prometheus::Gauge* impl_ = nullptr;
};

class Histogram {
 public:
  Histogram() = default;
  void Observe(double value);

 private:
  friend class Metrics;
  explicit Histogram(prometheus::Histogram* impl) : impl_(impl) {}
  prometheus::Histogram* impl_ = nullptr;
};

/// How many durations, and how long in all, by the buckets of DurationBounds(). A value.
struct DurationCounts {
  void Observe(double seconds);

  std::vector<std::uint64_t> buckets{};  ///< One for each bound, and one more for what is longer; empty: none yet.
  double sum = 0;                        ///< Seconds.
};

/// Values that somebody else keeps, as they are at one moment.
struct SampledFamily {
  enum class Kind { kCounter, kGauge, kDurations };
  struct Sample {
    std::map<std::string, std::string> labels;
    double value = 0;
    DurationCounts durations{};  ///< Of kDurations, which is a histogram.
  };
  std::string name;
  Kind kind = Kind::kGauge;
  std::string help;
  std::vector<Sample> samples;
};

class Metrics {
 public:
  using Labels = std::map<std::string, std::string>;

  Metrics();
  ~Metrics();

  /// The one series of this name and these labels, made at the first call. A name keeps the kind and the help text of
  /// its first call; another kind under the same name is a programmer's error.
  Counter MakeCounter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge MakeGauge(const std::string& name, const std::string& help, const Labels& labels = {});
  /// `bounds`: upper bounds of the buckets, ascending, +Inf left out; those of the series' first call hold.
  Histogram MakeHistogram(const std::string& name, const std::string& help, const std::vector<double>& bounds,
                          const Labels& labels = {});

  /// Prometheus text format 0.0.4: `sampled`, and what is registered here. Their names must differ.
  std::string Render(const std::vector<SampledFamily>& sampled = {}) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// Bounds for durations of requests and commits, in seconds: 0.5 ms to 30 s.
const std::vector<double>& DurationBounds();

}  // namespace millrace
