#include "base/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/process_metrics.h"

namespace millrace {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(Metrics, SeriesOfOneNameShareAFamily) {
  Metrics metrics;
  metrics.MakeCounter("records_total", "Records.", {{"topic", "a"}}).Increment(2);
  metrics.MakeCounter("records_total", "Another text, which does not count.", {{"topic", "b"}}).Increment();
  metrics.MakeCounter("records_total", "Records.", {{"topic", "a"}}).Increment(3);
  metrics.MakeGauge("lag", "Lag.").Set(7);
  metrics.MakeHistogram("seconds", "Time.", {0.1, 1}).Observe(0.5);

  const std::string text = metrics.Render();
  EXPECT_THAT(text, HasSubstr("# TYPE records_total counter"));
  EXPECT_THAT(text, HasSubstr("records_total{topic=\"a\"} 5"));
  EXPECT_THAT(text, HasSubstr("records_total{topic=\"b\"} 1"));
  EXPECT_THAT(text, HasSubstr("lag 7"));
  EXPECT_THAT(text, HasSubstr("seconds_bucket{le=\"0.1\"} 0"));
  EXPECT_THAT(text, HasSubstr("seconds_bucket{le=\"1\"} 1"));
  EXPECT_EQ(text.find("# TYPE records_total counter"), text.rfind("# TYPE records_total counter"));
}

TEST(Metrics, DurationsAreAHistogram) {
  SampledFamily commits{
      "commit_seconds", SampledFamily::Kind::kDurations, "Commits.", {{{{"table", "a"}}}, {{{"table", "b"}}}}};
  for (const double seconds : {0.0001, 0.0005, 0.3, 31.0}) commits.samples[0].durations.Observe(seconds);
  const std::string text = Metrics().Render({commits});
  EXPECT_THAT(text,
              AllOf(HasSubstr("# TYPE commit_seconds histogram"), HasSubstr("commit_seconds_count{table=\"a\"} 4\n"),
                    HasSubstr("commit_seconds_sum{table=\"a\"} 31.3006\n"),
                    HasSubstr("commit_seconds_bucket{table=\"a\",le=\"0.0005\"} 2\n"),
                    HasSubstr("commit_seconds_bucket{table=\"a\",le=\"0.25\"} 2\n"),
                    HasSubstr("commit_seconds_bucket{table=\"a\",le=\"30\"} 3\n")));
  EXPECT_THAT(text, AllOf(HasSubstr("commit_seconds_bucket{table=\"a\",le=\"+Inf\"} 4\n"),
                          HasSubstr("commit_seconds_count{table=\"b\"} 0\n")));
}

TEST(Metrics, TheProcessSaysWhatEveryClientOfPrometheusSays) {
  const std::string text = Metrics().Render(ProcessMetrics());
  EXPECT_THAT(text, HasSubstr("\nprocess_cpu_seconds_total ")) << "0 for a process as short as this";
  for (const char* name : {"process_start_time_seconds", "process_resident_memory_bytes",
                           "process_virtual_memory_bytes", "process_open_fds", "process_max_fds", "process_threads"}) {
    const auto at = text.find(std::string("\n") + name + " ");
    ASSERT_NE(at, std::string::npos) << name;
    EXPECT_GT(std::stod(text.substr(at + 2 + std::string_view(name).size())), 0) << name;
  }
  EXPECT_THAT(text, HasSubstr("millrace_build_info{version=\""));
  const auto started = text.find("\nprocess_start_time_seconds ");
  const double at = std::stod(text.substr(started + 28));
  const auto now = static_cast<double>(SystemClock().Now()) / 1e6;
  EXPECT_LT(at, now + 2);
  EXPECT_GT(at, now - 3600) << "the test has just been started";
}

TEST(Metrics, AHandleWithoutMetricsCountsNothing) {
  Counter counter;
  Gauge gauge;
  Histogram histogram;
  counter.Increment(3);
  gauge.Set(3);
  histogram.Observe(3);

  // What came before is not made up for.
  Metrics metrics;
  counter = metrics.MakeCounter("records_total", "Records.", {});
  counter.Increment(2);
  metrics.MakeGauge("lag", "Lag.");
  metrics.MakeHistogram("seconds", "Time.", {1});
  EXPECT_THAT(metrics.Render(), AllOf(HasSubstr("records_total 2"), HasSubstr("lag 0"), HasSubstr("seconds_count 0")));
}

}  // namespace
}  // namespace millrace
