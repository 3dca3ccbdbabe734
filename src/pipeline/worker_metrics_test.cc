// Goal: every family is there with its help and kind, samples only for what is known, and names never repeat.
#include "pipeline/worker_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>

#include "ingest/writer_schemas.h"
#include "pipeline/test_pipeline_internal.h"

namespace millrace::pipeline {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

WorkerView ViewOf(const TestPipeline& pipeline) {
  WorkerView view{.plan = &pipeline.plan()};
  view.status.records_by_topic = {{"events", 7}};
  view.status.tables.push_back({.name = "raw", .rows_committed = 5, .commits = 3});
  for (const double seconds : {0.25, 0.25, 1.0}) view.status.tables.back().commit_durations.Observe(seconds);
  view.status.partitions.push_back({.source = {"events", 2}, .next = 10});
  return view;
}

TEST(WorkerMetrics, AreReadOffTheView) {
  const TestPipeline pipeline;
  WorkerView view = ViewOf(pipeline);
  std::string text = Metrics().Render(WorkerMetrics(view));
  EXPECT_THAT(text, HasSubstr("# TYPE millrace_records_total counter\nmillrace_records_total{topic=\"events\"} 7\n"));
  EXPECT_THAT(text, HasSubstr("millrace_rows_committed_total{table=\"raw\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE millrace_commit_duration_seconds histogram\n"
                              "millrace_commit_duration_seconds_count{table=\"raw\"} 3\n"
                              "millrace_commit_duration_seconds_sum{table=\"raw\"} 1.5\n"));
  EXPECT_THAT(text, Not(HasSubstr("\nmillrace_lag_records{"))) << "the end is not known";
  EXPECT_THAT(text, Not(HasSubstr("\nmillrace_watermark_timestamp_seconds ")));

  EXPECT_THAT(text, HasSubstr("millrace_waiting_partitions{topic=\"events\"} 0\n"));

  view.status.partitions[0].end = 25;
  view.status.partitions[0].waits_for = "the registry is down";
  view.status.watermark = 1'500'000;
  view.status.dead_letters = {{"bad_json", 2}};
  view.status.deduplicated = {{"events", 3}};
  view.status.lookups.push_back({.name = "devices", .rows = 12, .age_seconds = 2.5});
  text = Metrics().Render(WorkerMetrics(view));
  EXPECT_THAT(text, HasSubstr("millrace_lag_records{partition=\"2\",topic=\"events\"} 15\n"));
  EXPECT_THAT(text, HasSubstr("millrace_waiting_partitions{topic=\"events\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("millrace_watermark_timestamp_seconds 1.5\n"));
  EXPECT_THAT(text, HasSubstr("millrace_lookup_rows{lookup=\"devices\"} 12\n"));
  EXPECT_THAT(text, HasSubstr("millrace_lookup_age_seconds{lookup=\"devices\"} 2.5\n"));
  EXPECT_THAT(text, HasSubstr("millrace_dead_letters_total{reason=\"bad_json\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("millrace_deduplicated_total{topic=\"events\"} 3\n"));
}

class AskedSchemas final : public ingest::WriterSchemas {
 public:
  Result<std::shared_ptr<const ingest::WriterSchema>> Find(std::uint64_t) override { return nullptr; }
  std::uint64_t answers() const override { return 0; }
  std::optional<State> state() const override {
    return State{.requests = 9, .failures = 4, .unknown = 2, .from_memory = 30, .schemas = 3, .wanted = 1};
  }
};

TEST(WorkerMetrics, CountWhatARegistryIsAsked) {
  const TestPipeline pipeline;
  WorkerView view = ViewOf(pipeline);
  EXPECT_THAT(Metrics().Render(WorkerMetrics(view)), Not(HasSubstr("\nmillrace_registry_requests_total ")))
      << "there is none";
  Plan plan = pipeline.plan();
  plan.inputs[0].decode.writer_schemas = std::make_shared<AskedSchemas>();
  view.plan = &plan;
  const std::string text = Metrics().Render(WorkerMetrics(view));
  EXPECT_THAT(text, HasSubstr("# TYPE millrace_registry_requests_total counter\nmillrace_registry_requests_total 9\n"));
  EXPECT_THAT(text, HasSubstr("\nmillrace_registry_failures_total 4\n"));
  EXPECT_THAT(text, HasSubstr("\nmillrace_registry_unknown_ids_total 2\n"));
  EXPECT_THAT(text, HasSubstr("\nmillrace_registry_cache_hits_total 30\n"));
  EXPECT_THAT(text, HasSubstr("\nmillrace_registry_schemas 3\n"));
  EXPECT_THAT(text, HasSubstr("\nmillrace_registry_wanted_ids 1\n"));
}

TEST(WorkerMetrics, EachFamilyHasANameOfItsOwnAndAHelp) {
  const TestPipeline pipeline;
  std::set<std::string> names;
  for (const auto& family : WorkerMetrics(ViewOf(pipeline))) {
    EXPECT_TRUE(names.insert(family.name).second) << family.name;
    EXPECT_TRUE(family.name.starts_with("millrace_"));
    EXPECT_TRUE(family.help.ends_with(".")) << family.name;
  }
}

}  // namespace
}  // namespace millrace::pipeline
