// Test files against a pipeline: what passes, what each failure says, and what is wrong with the file itself.
#include "trial/trial.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/uuid.h"
#include "testing/status_matchers.h"
#include "trial/report.h"

namespace millrace::trial {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr const char* kPipeline = R"yaml(version: 1
pipeline: p
source: {embedded: {path: ./log}, topics: [events]}
decode:
  columns: {id: int64, txt: string, ts: timestamp, amount: "decimal(12,2)", x: double}
event_time: {column: ts, max_future: 1m}
transforms:
  - {name: clean, sql: "SELECT *, CAST(txt AS INTEGER) AS num FROM input WHERE id >= 0"}
tables:
  - {name: raw}
  - {name: cleaned, from: clean, partition_by: ["date(ts)", x]}
aggregates:
  - name: sums
    sql: SELECT window_start, num, count(*) AS n, sum(amount) AS total, sum(id) AS ids
         FROM TUMBLE(clean, ts, INTERVAL 1 MINUTE) GROUP BY ALL
)yaml";

std::shared_ptr<const pipeline::Plan> PlanOf(const std::string& text) {
  auto loaded = config::LoadConfigText(text, "p.yaml", {.environment = false, .overrides = {}});
  EXPECT_TRUE(loaded.findings.empty()) << config::ToString(loaded.findings.front());
  return pipeline::MakePlan(std::move(loaded.config)).ValueOrDie();
}

/// `tests`: the list of tests, from its first '-' on.
Trial Try(const std::string& tests, const std::string& pipeline = kPipeline) {
  const auto loaded = config::LoadTestText("pipeline: p.yaml\ntests:\n" + tests, "t.yaml");
  EXPECT_TRUE(loaded.findings.empty()) << config::ToString(loaded.findings.front());
  return RunTests(loaded.file, PlanOf(pipeline)).ValueOrDie();
}

std::vector<std::string> Messages(const Trial& trial) {
  std::vector<std::string> messages;
  for (const auto& finding : trial.findings) messages.push_back(config::ToString(finding));
  return messages;
}

TEST(Trial, TransformsAreJoinedWithTheirLookups) {
  const auto file = std::filesystem::temp_directory_path() / ("millrace_trial_" + RandomUuid() + ".csv");
  std::ofstream(file) << "txt,num\nseven,7\n";
  const auto trial = Try(R"(
- name: joined
  records:
    - {value: {id: 1, txt: seven, ts: 2026-01-01T10:00:00Z}}
    - {value: {id: 2, txt: eight, ts: 2026-01-01T10:00:00Z}}
  expect:
    tables:
      t:
        - {id: 1, num: 7}
        - {id: 2, num: null}
)",
                         fmt::format(R"yaml(version: 1
pipeline: p
source: {{embedded: {{path: ./log}}, topics: [events]}}
decode: {{columns: {{id: int64, txt: string, ts: timestamp}}}}
lookups: [{{name: nums, from: {{csv: {}}}, columns: {{txt: string, num: int32}}, key: txt}}]
transforms: [{{name: j, sql: "SELECT input.*, nums.num FROM input LEFT JOIN nums USING (txt)"}}]
tables: [{{name: t, from: j}}]
)yaml",
                                     file.string()));
  std::filesystem::remove(file);
  EXPECT_THAT(Messages(trial), IsEmpty());
  ASSERT_THAT(trial.verdicts, SizeIs(1));
  EXPECT_THAT(trial.verdicts[0].differences, IsEmpty());
}

TEST(Trial, RecordsGoThroughDecodingTransformsChecksAndAggregation) {
  const auto trial = Try(R"(
- name: all stages
  records:
    - {key: k, value: {id: 1, txt: "7", ts: 2026-01-01T10:00:01Z, amount: "1.10", x: 1}}
    - {value: {id: 2, txt: "7", ts: 2026-01-01T10:00:59.999999Z, amount: 2, x: 1}}
    - {value: {id: 3, txt: seven, ts: 2026-01-01T10:00:00Z, x: 1}}
    - {value: {id: -4, txt: "1", ts: 2026-01-01T10:00:00Z}}
    - {value: {id: 5, txt: "7", ts: 2026-01-01T10:01:00Z, x: .nan}}
    - {key: gone}
    - {partition: 3, offset: 40, headers: {h: v}, value_text: "{"}
    - {partition: 3, time: 2026-01-01T10:00:00Z, value: {id: 6, ts: 2026-01-01T10:01:01Z}}
    - {value: {id: 7, txt: "7", ts: 2026-01-01T10:01:00Z, amount: 0.01}}
  expect:
    tables:
      raw:
        - {id: 1, txt: "7", amount: 1.1, _topic: events, _partition: 0, _offset: 0}
        - {id: 2, x: 1.0}
        - {id: 3, amount: null}
        - {id: -4}
        - {id: 7, ts: 2026-01-01T11:01:00+01:00}
      cleaned:
        - {id: 1, num: 7, ts_date: 2026-01-01}
        - {id: 2}
        - {id: 7}
    aggregates:
      sums:
        - {window_start: 2026-01-01T10:00:00Z, num: 7, n: 2, total: 3.10, ids: 3}
        - {window_start: 2026-01-01T10:01:00Z, num: 7, n: 1, total: 0.01, ids: 7}
    dead_letters:
      - {stage: decode, offset: 4, detail: x}
      - {stage: "transform:clean", offset: 2, reason: transform_error, detail: seven}
      - {stage: decode, partition: 3, offset: 40, payload: "{", headers: {h: v}, key: null}
      - {stage: event_time, partition: 3, offset: 41, reason: future}
)");
  EXPECT_THAT(Messages(trial), IsEmpty());
  EXPECT_THAT(trial.verdicts, SizeIs(1));
  EXPECT_THAT(trial.verdicts.at(0).differences, IsEmpty()) << ReportText({&trial, 1}, false);
}

TEST(Trial, TestsKnowNothingOfEachOther) {
  const std::string one = R"(
  records: [{value: {id: 1, txt: "7", ts: 2026-01-01T10:00:00Z}}]
  expect:
    tables: {raw: [{id: 1, _offset: 0}]}
    aggregates: {sums: [{n: 1}]})";
  const auto trial = Try("- name: a" + one + "\n- name: b" + one + "\n- name: c" + one + "\n");
  ASSERT_THAT(trial.verdicts, SizeIs(3));
  for (const auto& verdict : trial.verdicts) EXPECT_THAT(verdict.differences, IsEmpty()) << verdict.test;
}

TEST(Trial, AFailureSaysWhichRowsDiffer) {
  const auto trial = Try(R"(
- name: wrong
  records:
    - {value: {id: 1, txt: "7", ts: 2026-01-01T10:00:00Z}}
    - {value_text: not json}
  expect:
    tables:
      raw: [{id: 2}]
      cleaned:
        - {id: 1, num: 8}
    aggregates:
      sums: []
)");
  EXPECT_THAT(Messages(trial), IsEmpty());
  ASSERT_THAT(trial.verdicts, SizeIs(1));
  std::vector<std::string> told;
  for (const auto& d : trial.verdicts[0].differences) {
    told.push_back(fmt::format("{} {} {}", d.where, static_cast<int>(d.kind), d.place.line));
  }
  EXPECT_THAT(told, ElementsAre("tables.raw 1 10", "tables.raw 2 10", "tables.cleaned 0 12", "aggregates.sums 2 14",
                                "dead_letters 2 4"))
      << "a dead letter that nobody expects is told, too";
}

TEST(Trial, APipelineThatStopsIsExpectedOrAFailure) {
  std::string pipeline = kPipeline;
  pipeline.replace(pipeline.find("decode:\n"), 8, "decode:\n  on_error: fail\n");
  const auto trial = Try(R"(
- name: it stops as expected
  records: [{value_text: x}]
  expect: {error: "offset 0: bad_json"}
- name: it stops for another reason
  records: [{value_text: x}]
  expect: {error: too_large}
- name: it stops and should not
  records: [{value_text: x}]
  expect: {tables: {raw: []}}
- name: it does not stop
  records: [{value: {id: 1}}]
  expect: {error: bad_json}
)",
                         pipeline);
  ASSERT_THAT(trial.verdicts, SizeIs(4));
  EXPECT_THAT(trial.verdicts[0].differences, IsEmpty());
  const auto detail = [&](std::size_t i) { return trial.verdicts[i].differences.at(0).detail; };
  EXPECT_THAT(detail(1), HasSubstr("the pipeline stops: events[0] offset 0: bad_json"));
  EXPECT_THAT(detail(1), HasSubstr("; expected: 'too_large'"));
  EXPECT_THAT(detail(2), HasSubstr("the pipeline stops: events[0] offset 0: bad_json"));
  EXPECT_EQ(detail(3), "the pipeline does not stop; expected: 'bad_json'");
}

TEST(Trial, AColumnThatCameOfARecordIsThereInThatTestAlone) {
  std::string pipeline = kPipeline;
  pipeline.replace(pipeline.find("decode:\n"), 8, "decode:\n  unknown_fields: add\n");
  const auto trial = Try(R"(
- name: a column is added
  records: [{value: {id: 1, ts: 2026-01-01T10:00:00Z, city: Bonn}}]
  expect: {tables: {raw: [{id: 1, city: Bonn}]}}
- name: and is not there any more
  records: [{value: {id: 1, ts: 2026-01-01T10:00:00Z}}]
  expect: {tables: {raw: [{id: 1, city: null}]}}
)",
                         pipeline);
  EXPECT_THAT(Messages(trial), ElementsAre("t.yaml:9:35: tables.raw has no column 'city'"));
  EXPECT_THAT(trial.verdicts.at(0).differences, IsEmpty()) << ReportText({&trial, 1}, false);
}

TEST(Trial, AValueThatAnAggregateCannotHoldIsTold) {
  std::string pipeline = kPipeline;
  const std::string type = "\"decimal(12,2)\"";
  pipeline.replace(pipeline.find(type), type.size(), "\"decimal(38,0)\"");
  const std::string nines(38, '9');
  const auto trial = Try(R"(
- name: too large a sum
  records:
    - {value: {id: 1, txt: "7", ts: 2026-01-01T10:00:00Z, amount: )" +
                             nines + R"(}}
    - {value: {id: 1, txt: "7", ts: 2026-01-01T10:00:00Z, amount: )" +
                             nines + R"(}}
  expect: {aggregates: {sums: [{n: 2, total: null}]}}
)",
                         pipeline);
  ASSERT_THAT(trial.verdicts, SizeIs(1));
  ASSERT_THAT(trial.verdicts[0].differences, SizeIs(1));
  EXPECT_THAT(trial.verdicts[0].differences[0].detail, HasSubstr("no value of total in {"));
}

TEST(Trial, NamesThatThePipelineDoesNotHaveAreFindings) {
  const auto trial = Try(R"(
- name: one
  records:
    - {topic: event, value: {id: 1}}
  expect: {tables: {}}
- name: two
  records:
    - {offset: 5, value: {id: 1}}
    - {offset: 5, value: {id: 1}}
  expect: {tables: {}}
- name: three
  records: []
  expect:
    tables: {row: [], sums: []}
    aggregates: {sum: []}
    dead_letters: [{stages: decode}]
)");
  EXPECT_THAT(Messages(trial),
              ElementsAre("t.yaml:6:15: the pipeline does not read the topic 'event'; did you mean 'events'?",
                          "t.yaml:11:7: offset 5 of events[0] comes after offset 5: offsets rise within a partition",
                          "t.yaml:16:14: the pipeline has no table 'row'; did you mean 'raw'?",
                          "t.yaml:16:23: the pipeline has no table 'sums'; there are raw, cleaned",
                          "t.yaml:17:18: the pipeline has no aggregate 'sum'; did you mean 'sums'?",
                          "t.yaml:18:29: dead_letters has no column 'stages'; did you mean 'stage'?"));
}

TEST(Trial, OfSeveralTopicsARecordNamesOne) {
  std::string pipeline = kPipeline;
  pipeline.replace(pipeline.find("[events]"), 8, "[events, others]");
  const auto trial = Try(R"(
- name: named
  records:
    - {topic: others, value: {id: 1, ts: 2026-01-01T10:00:00Z}}
    - {topic: events, value: {id: 2, ts: 2026-01-01T10:00:00Z}}
    - {topic: others, value: {id: 3, ts: 2026-01-01T10:00:00Z}}
  expect: {tables: {raw: [{id: 1, _topic: others, _offset: 0}, {id: 2, _offset: 0}, {id: 3, _offset: 1}]}}
- name: not named
  records: [{value: {id: 1}}]
  expect: {tables: {raw: []}}
)",
                         pipeline);
  EXPECT_THAT(Messages(trial),
              ElementsAre("t.yaml:11:13: the record names no topic; the pipeline reads events, others"));
  ASSERT_THAT(trial.verdicts, SizeIs(1));
  EXPECT_THAT(trial.verdicts[0].differences, IsEmpty());
}

}  // namespace
}  // namespace millrace::trial
