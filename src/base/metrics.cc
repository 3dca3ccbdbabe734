#include "base/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <mutex>
#include <utility>

namespace millrace {

void Counter::Increment(double by) {
  if (impl_ != nullptr) impl_->Increment(by);
}

void Gauge::Set(double value) {
  if (impl_ != nullptr) impl_->Set(value);
}

void DurationCounts::Observe(double seconds) {
  const auto& bounds = DurationBounds();
  buckets.resize(bounds.size() + 1);
  ++buckets[static_cast<std::size_t>(std::lower_bound(bounds.begin(), bounds.end(), seconds) - bounds.begin())];
  sum += seconds;
}

void Histogram::Observe(double value) {
  if (impl_ != nullptr) impl_->Observe(value);
}

namespace {

prometheus::ClientMetric::Histogram ToHistogram(const DurationCounts& durations) {
  const auto& bounds = DurationBounds();
  prometheus::ClientMetric::Histogram histogram;
  histogram.sample_sum = durations.sum;
  for (std::size_t i = 0; i <= bounds.size(); ++i) {
    if (!durations.buckets.empty()) histogram.sample_count += durations.buckets[i];
    const double bound = i < bounds.size() ? bounds[i] : std::numeric_limits<double>::infinity();
    histogram.bucket.push_back({histogram.sample_count, bound});
  }
  return histogram;
}

prometheus::MetricFamily ToPrometheus(const SampledFamily& sampled) {
  prometheus::MetricFamily family;
  family.name = sampled.name;
  family.help = sampled.help;
  for (const auto& sample : sampled.samples) {
    auto& metric = family.metric.emplace_back();
    for (const auto& [name, value] : sample.labels) metric.label.push_back({name, value});
    metric.counter.value = metric.gauge.value = sample.value;
    if (sampled.kind == SampledFamily::Kind::kDurations) metric.histogram = ToHistogram(sample.durations);
  }
  switch (sampled.kind) {
    case SampledFamily::Kind::kCounter:
      family.type = prometheus::MetricType::Counter;
      break;
    case SampledFamily::Kind::kGauge:
      family.type = prometheus::MetricType::Gauge;
      break;
    case SampledFamily::Kind::kDurations:
      family.type = prometheus::MetricType::Histogram;
      break;
  }
  return family;
}

}  // namespace

class Metrics::Impl {
 public:
  // The registry compares a family's help text too, so the first family of a name is kept here.
  template <typename Family, typename Make>
  Family& FamilyOf(std::map<std::string, Family*>& families, const std::string& name, Make make) {
    const std::lock_guard lock(mutex_);
    auto [it, added] = families.try_emplace(name, nullptr);
    if (added) it->second = &make();
    return *it->second;
  }

  prometheus::Registry registry_;
  std::mutex mutex_;
  std::map<std::string, prometheus::Family<prometheus::Counter>*> counters_;
  std::map<std::string, prometheus::Family<prometheus::Gauge>*> gauges_;
  std::map<std::string, prometheus::Family<prometheus::Histogram>*> histograms_;
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

Counter Metrics::MakeCounter(const std::string& name, const std::string& help, const Labels& labels) {
  auto& family = impl_->FamilyOf(
      impl_->counters_,
      name, [&]() -> auto& { return prometheus::BuildCounter().Name(name).Help(help).Register(impl_->registry_); });
  return Counter(&family.Add(labels));
}

Gauge Metrics::MakeGauge(const std::string& name, const std::string& help, const Labels& labels) {
  auto& family = impl_->FamilyOf(
      impl_->gauges_,
      name, [&]() -> auto& { return prometheus::BuildGauge().Name(name).Help(help).Register(impl_->registry_); });
  return Gauge(&family.Add(labels));
}

Histogram Metrics::MakeHistogram(const std::string& name, const std::string& help, const std::vector<double>& bounds,
                                 const Labels& labels) {
  auto& family = impl_->FamilyOf(
      impl_->histograms_,
      name, [&]() -> auto& { return prometheus::BuildHistogram().Name(name).Help(help).Register(impl_->registry_); });
  return Histogram(&family.Add(labels, bounds));
}

std::string Metrics::Render(const std::vector<SampledFamily>& sampled) const {
  std::vector<prometheus::MetricFamily> families;
  for (const auto& family : sampled) families.push_back(ToPrometheus(family));
  auto registered = impl_->registry_.Collect();
  std::move(registered.begin(), registered.end(), std::back_inserter(families));
  return prometheus::TextSerializer().Serialize(families);
}

const std::vector<double>& DurationBounds() {
  static const std::vector<double> kBounds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                              0.25,   0.5,   1,      2.5,   5,    10,    30};
  return kBounds;
}

}  // namespace millrace
