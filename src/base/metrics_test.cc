#include "base/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
