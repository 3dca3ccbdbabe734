// Goal: a load is read exactly, and a wrong one is refused with the place and the nearest name. Method: small
// documents; every field of the table written and read back.
#include "cost/usage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/status_matchers.h"

namespace millrace::cost {
namespace {

using ::testing::HasSubstr;

TEST(Usage, ReadsNestedDottedAndJson) {
  for (const char* text :
       {"events_per_second: 25000\nlake:\n  retention: 400d\n  commit: 500ms\nbroker: {mode: managed}\n",
        "events_per_second: 2.5e4\nlake.retention: 9600h\nlake.commit: 0.5s\nbroker.mode: managed\n",
        R"({"events_per_second": 25000, "lake": {"retention": "400d", "commit": "0.5s"}, "broker.mode": "managed"})"}) {
    SCOPED_TRACE(text);
    Usage usage;
    MILLRACE_ASSERT_OK(ReadUsage(text, "usage.yaml", "given", usage));
    EXPECT_EQ(usage.events_per_second, 25'000);
    EXPECT_EQ(usage.retention_days, 400);
    EXPECT_EQ(usage.commit_seconds, 0.5);
    EXPECT_EQ(usage.broker_mode, BrokerMode::kManaged);
    EXPECT_FALSE(usage.assumed("lake.retention"));
    EXPECT_TRUE(usage.assumed("peak_factor"));
  }
}

TEST(Usage, TablesMayBeNamed) {
  Usage usage;
  MILLRACE_ASSERT_OK(ReadUsage(R"(
origin: measured over 600 s
lake:
  retention: 10d
  tables:
    - {name: clicks, commit: 10s, ratio: 0.08, files_per_commit: 2, checkpoint_interval: 100}
    - {name: clicks_1m, aggregate: true, commit: 11s, retention: 400d}
)",
                               "usage.yaml", "given", usage));
  ASSERT_EQ(usage.tables_detail.size(), 2u);
  EXPECT_EQ(usage.tables_detail[0].files_per_commit, 2);
  EXPECT_EQ(usage.tables_detail[0].retention_days, std::nullopt);
  EXPECT_TRUE(usage.tables_detail[1].aggregate);
  EXPECT_EQ(usage.tables_detail[1].retention_days, 400);
  EXPECT_EQ(usage.origins["lake.tables"], "measured over 600 s");
  MILLRACE_ASSERT_OK(SetUsageField(usage, "lake.tables", "3", "given"));
  EXPECT_TRUE(usage.tables_detail.empty());
}

TEST(Usage, EveryFieldIsWrittenAndReadBack) {
  Usage usage;
  usage.events_per_second = 12'345.5;
  usage.machine = "m7g.large";
  usage.cdn = true;
  Usage again;
  MILLRACE_ASSERT_OK(ReadUsage(UsageToYaml(usage), "usage.yaml", "given", again));
  usage.tables_detail = {{.name = "clicks", .commit_seconds = 10, .ratio = 0.1}, {.name = "m", .aggregate = true}};
  Usage with_tables;
  MILLRACE_ASSERT_OK(ReadUsage(UsageToYaml(usage), "usage.yaml", "given", with_tables));
  ASSERT_EQ(with_tables.tables_detail.size(), 2u);
  EXPECT_EQ(with_tables.tables_detail[0].ratio, 0.1);
  EXPECT_TRUE(with_tables.tables_detail[1].aggregate);
  for (const auto& field : UsageFields()) {
    EXPECT_EQ(field.get(again), field.get(usage)) << field.name;
    EXPECT_FALSE(again.assumed(field.name)) << field.name;
    EXPECT_FALSE(field.about.empty()) << field.name;
  }
}

TEST(Usage, RefusesWhatMakesNoSenseWithItsPlace) {
  struct Case {
    const char* what;
    const char* text;
    const char* message;
  };
  const Case cases[] = {
      {"a negative rate", "events_per_second: -1", "u.yaml:1:20: events_per_second: -1 is less than 0"},
      {"ten to the eighteenth", "events_per_second: 1000000000000000000", "is more than 1000000000"},
      {"a word", "events_per_second: many", "'many' is not a number"},
      {"infinity", "events_per_second: inf", "'inf' is not a number"},
      {"not a number", "events_per_second: .nan", "'.nan' is not a number"},
      {"a misspelt key", "lake:\n  retenton: 30d",
       "u.yaml:2:3: unknown key 'lake.retenton'; did you mean 'lake.retention'?"},
      {"a misspelt section", "brokr: {mode: self}", "u.yaml:1:1: unknown key 'brokr'"},
      {"a misspelt choice", "broker: {mode: manged}",
       "'manged' is not one of embedded, self, managed, none; did you mean 'managed'?"},
      {"a duration without unit", "lake.retention: 30", "'30' is not a duration"},
      {"too long a duration", "lake.commit: 2d", "2d is more than 1d"},
      {"half a zone", "broker.zones: 2.5", "'2.5' is not a whole number"},
      {"a share above all", "serve.cdn_hit: 101%", "101% is more than 1"},
      {"neither yes nor no", "k8s: maybe", "'maybe' is neither true nor false"},
      {"a list for a value", "events_per_second: [1]", "a plain value is expected"},
      {"a value for a section", "lake: 5", "lake: a mapping is expected"},
      {"a table without a name", "lake: {tables: [{commit: 1s}]}", "a table has no name"},
      {"a table's misspelt key", "lake: {tables: [{name: a, comit: 1s}]}",
       "unknown key 'comit'; did you mean 'commit'?"},
      {"a table's wrong value", "lake: {tables: [{name: a, commit: -1s}]}", "lake.commit: -1s is less than 0.1s"},
      {"no mapping", "just words", "a mapping is expected"},
      {"two documents", "{}\n---\n{}", "2 documents"},
      {"no YAML", "a: [", "not valid YAML"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    Usage usage;
    const Status read = ReadUsage(c.text, "u.yaml", "given", usage);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, read);
    EXPECT_THAT(read.message(), HasSubstr(c.message));
    EXPECT_THAT(read.message(), HasSubstr("u.yaml:"));
  }
}

TEST(Usage, AllFindingsInOnePass) {
  Usage usage;
  const Status read = ReadUsage("peak_factor: 0\nbytes_per_evnt: 5\nk8s: 3\n", "u.yaml", "given", usage);
  EXPECT_THAT(read.message(), HasSubstr("u.yaml:1:14"));
  EXPECT_THAT(read.message(), HasSubstr("u.yaml:2:1"));
  EXPECT_THAT(read.message(), HasSubstr("u.yaml:3:6"));
}

TEST(Usage, PresetsHaveNames) {
  for (const auto& name : UsagePresetNames()) {
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto usage, UsagePreset(name));
    EXPECT_FALSE(usage.assumed("events_per_second"));
  }
  EXPECT_THAT(UsagePreset("startr").status().message(), HasSubstr("did you mean 'starter'?"));
}

}  // namespace
}  // namespace millrace::cost
