// Several streams in one file: what each has of its own, and what does not fit, by its place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/load.h"
#include "testing/status_matchers.h"

namespace millrace::config {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr const char* kTwo = R"yaml(version: 1
pipeline: fleet
source: {embedded: {path: ./log}}
inputs:
  - name: clicks
    topics: [clicks, "^clicks-.+"]
    decode: {columns: {id: int64, ts: timestamp, page: string}}
    event_time: {column: ts}
    dedupe: {by: [id]}
  - name: readings
    topics: [readings]
    decode:
      columns: {device: string, at: timestamp_ms, value: double}
      unknown_fields: rescue
      on_error: fail
transforms:
  - {name: hot, sql: SELECT * FROM readings WHERE value > 30}
tables:
  - {name: clicks, from: clicks}
  - {name: hot, from: hot}
aggregates:
  - name: pages
    sql: SELECT window_start, page, count(*) AS n FROM TUMBLE(clicks, ts, INTERVAL 1 MINUTE) GROUP BY ALL
)yaml";

std::string TwoWith(const std::string& piece, const std::string& replacement) {
  std::string text = kTwo;
  const auto at = text.find(piece);
  EXPECT_NE(at, std::string::npos) << piece;
  return text.replace(at, piece.size(), replacement);
}

std::vector<std::string> FindingsOfInputs(const std::string& text, const LoadOptions& options = {}) {
  std::vector<std::string> messages;
  for (const auto& finding : LoadConfigText(text, "p.yaml", options).findings) messages.push_back(ToString(finding));
  return messages;
}

TEST(ConfigInputs, EachHasTopicsDecoderEventTimeAndDedupeOfItsOwn) {
  ASSERT_THAT(FindingsOfInputs(kTwo), IsEmpty());
  const auto loaded = LoadConfigText(kTwo, "p.yaml");
  const auto& flow = loaded.flow;
  ASSERT_EQ(flow.inputs.size(), 2u);
  const auto& clicks = flow.inputs[0];
  EXPECT_EQ(clicks.name, "clicks");
  EXPECT_THAT(clicks.topics, ElementsAre("clicks"));
  ASSERT_EQ(clicks.patterns.size(), 1u);
  EXPECT_EQ(clicks.patterns[0].text(), "^clicks-.+");
  EXPECT_EQ(clicks.event_time_column, 1);
  EXPECT_THAT(clicks.dedupe.value().key_columns, ElementsAre(0));
  EXPECT_EQ(clicks.on_decode_error, OnDecodeError::kDeadLetter);
  const auto& readings = flow.inputs[1];
  EXPECT_THAT(readings.topics, ElementsAre("readings"));
  EXPECT_FALSE(readings.event_time.has_value());
  EXPECT_FALSE(readings.dedupe.has_value());
  EXPECT_EQ(readings.on_decode_error, OnDecodeError::kFail);
  EXPECT_EQ(readings.decode.unknown_fields, ingest::UnknownFields::kRescue);

  ASSERT_EQ(flow.relations.size(), 3u);
  EXPECT_EQ(flow.relations[1].name, "readings");
  EXPECT_EQ(flow.relations[2].input, 1);
  EXPECT_THAT(flow.TablesOf(0), ElementsAre(0, 2));
  EXPECT_THAT(flow.TablesOf(1), ElementsAre(1));
  EXPECT_EQ(flow.InputOfTable(1), 1);
  EXPECT_TRUE(flow.has_patterns());
  EXPECT_THAT(flow.topics(), ElementsAre("clicks", "readings"));
}

TEST(ConfigInputs, ATopicThatIsNamedIsTheNamersWhateverPatternsTakeIt) {
  const auto flow =
      LoadConfigText(TwoWith("topics: [readings]", "topics: [readings, clicks-device, '^read.+']"), "p.yaml").flow;
  EXPECT_EQ(flow.FindInput("clicks"), 0);
  EXPECT_EQ(flow.FindInput("clicks-eu"), 0);
  EXPECT_EQ(flow.FindInput("clicks-device"), 1);
  EXPECT_EQ(flow.FindInput("readings-2"), 1);
  EXPECT_EQ(flow.FindInput("clicks2"), std::nullopt);
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto topics,
                                flow.TopicsAmong({"reads", "other", "clicks-us", "clicks-device", "clicks-eu"}));
  EXPECT_THAT(topics, ElementsAre("clicks", "readings", "clicks-device", "clicks-eu", "clicks-us", "reads"));
}

TEST(ConfigInputs, ATopicThatPatternsOfTwoInputsTakeIsRefusedWithBoth) {
  const auto flow = LoadConfigText(TwoWith("topics: [readings]", "topics: ['^.+-eu']"), "p.yaml").flow;
  MILLRACE_ASSERT_OK(flow.TopicsAmong({"clicks-us", "readings-eu"}));
  const auto refused = flow.TopicsAmong({"clicks-eu"});
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, refused.status());
  EXPECT_THAT(refused.status().message(),
              HasSubstr("the topic clicks-eu is taken by '^clicks-.+' of the input clicks and by '^.+-eu' of the input "
                        "readings"));
}

// Of the same stream: what the lake is told by it does not change.
TEST(ConfigInputs, TheShortFormIsOneInputThatIsCalledInput) {
  const std::string rest = R"yaml(tables: [{name: t}]
aggregates:
  - {name: a, sql: "SELECT page, count(*) AS n FROM input GROUP BY ALL"}
)yaml";
  const auto head = std::string("version: 1\npipeline: p\n");
  const auto plain = LoadConfigText(head + R"yaml(source: {embedded: {path: ./log}, topics: [a, b]}
decode: {columns: {id: int64, ts: timestamp, page: string}}
event_time: {column: ts}
dedupe: {by: [id]}
)yaml" + rest,
                                    "p.yaml");
  const auto listed = LoadConfigText(head + R"yaml(source: {embedded: {path: ./log}}
inputs:
  - name: input
    topics: [a, b]
    decode: {columns: {id: int64, ts: timestamp, page: string}}
    event_time: {column: ts}
    dedupe: {by: [id]}
)yaml" + rest,
                                     "p.yaml");
  ASSERT_THAT(plain.findings, IsEmpty());
  ASSERT_THAT(listed.findings, IsEmpty());
  ASSERT_EQ(plain.flow.inputs.size(), 1u);
  ASSERT_EQ(listed.flow.inputs.size(), 1u);
  EXPECT_EQ(plain.flow.inputs[0].name, "input");
  EXPECT_EQ(listed.flow.inputs[0].name, "input");
  EXPECT_EQ(plain.flow.inputs[0].topics, listed.flow.inputs[0].topics);
  EXPECT_EQ(listed.config.tables[0].from, "input");
  for (std::size_t t = 0; t < plain.flow.tables.size(); ++t) {
    EXPECT_TRUE(plain.flow.tables[t].schema->Equals(listed.flow.tables[t].schema));
    EXPECT_EQ(plain.flow.tables[t].origin.columns, listed.flow.tables[t].origin.columns);
  }
}

TEST(ConfigInputs, TheOnlyInputNeedsNoFrom) {
  const std::string text = R"yaml(version: 1
pipeline: p
source: {embedded: {path: ./log}}
inputs: [{name: views, topics: [v], decode: {columns: {id: int64}}}]
tables: [{name: t}]
)yaml";
  ASSERT_THAT(FindingsOfInputs(text), IsEmpty());
  EXPECT_EQ(LoadConfigText(text, "p.yaml").config.tables[0].from, "views");
}

TEST(ConfigInputs, OffsetsToStartFromAreOfATopic) {
  const auto loaded =
      LoadConfigText(TwoWith("{embedded: {path: ./log}}",
                             "{embedded: {path: ./log}, start: {offsets: {readings: {0: 5}, clicks-eu: {1: 7}}}}"),
                     "p.yaml");
  ASSERT_THAT(loaded.findings, IsEmpty());
  using ::testing::Pair;
  EXPECT_THAT(
      std::get<StartOffsets>(loaded.config.source.start).next,
      ElementsAre(Pair(model::TopicPartition{"clicks-eu", 1}, 7), Pair(model::TopicPartition{"readings", 0}, 5)));
}

// The only finding of each.
TEST(ConfigInputs, EachMistakeIsNamedWithItsPlace) {
  struct Case {
    const char* piece;
    const char* replacement;
    std::string want;
  };
  const Case cases[] = {
      {"  - name: readings\n", "  - {topics: [x], decode: {columns: {a: int64}}}\n  - name: readings\n",
       "p.yaml:10:5: inputs[1]: the key 'name' is missing"},
      {"  - name: readings\n", "  - {name: 1x, topics: [x], decode: {columns: {a: int64}}}\n  - name: readings\n",
       "p.yaml:10:12: an input's name '1x' must begin with a letter"},
      {"  - name: readings\n", "  - {name: Clicks, topics: [x], decode: {columns: {a: int64}}}\n  - name: readings\n",
       "p.yaml:10:12: the name 'Clicks' is taken by an input"},
      {"    topics: [readings]\n", "", "p.yaml:10:5: inputs.readings: the key 'topics' is missing"},
      {"topics: [readings]", "topics: []", "inputs.readings.topics names no topic"},
      {"topics: [readings]", "topics: [a b]", "p.yaml:11:14: inputs.readings.topics: 'a b' is not the name of a topic"},
      {"topics: [readings]", "topics: ['^a(']", "p.yaml:11:14: inputs.readings.topics: '^a(' is not a regular"},
      {"topics: [readings]", "topics: [r, clicks]",
       "p.yaml:11:17: inputs.readings.topics: 'clicks' is a topic of inputs.clicks already (line 6, column 14)"},
      {"topics: [readings]", "topics: ['^clicks-.+']",
       "inputs.readings.topics: '^clicks-.+' is a topic of inputs.clicks already (line 6, column 22)"},
      {"transforms:\n", "transforms:\n  - {name: Clicks, sql: SELECT * FROM readings}\n",
       "p.yaml:17:12: the name 'Clicks' is taken by an input"},
      {"{column: ts}", "{column: tss}",
       "p.yaml:8:26: inputs.clicks.event_time.column: there is no column 'tss' in decode.columns; did you mean 'ts'?"},
      {"{column: ts}", "{colum: ts, column: ts}",
       "p.yaml:8:18: unknown key 'colum' in inputs.clicks.event_time; did you mean 'column'?"},
      {"{by: [id]}", "{by: [idd]}", "p.yaml:9:19: inputs.clicks.dedupe.by: there is no column 'idd'"},
      {"{by: [id]}", "{by: []}", "inputs.clicks.dedupe.by names no column"},
      {"    event_time: {column: ts}\n", "", "inputs.clicks.dedupe: 'within' is of event time"},
      {"value: double}", "value: dubble}", "inputs.readings.decode.columns.value: unknown type 'dubble'"},
      {"on_error: fail", "on_eror: fail", "unknown key 'on_eror' in inputs.readings.decode"},
      {"{name: clicks, from: clicks}", "{name: clicks}",
       "p.yaml:19:5: tables.clicks: the key 'from' is missing: there are several inputs: clicks, readings"},
      {"{name: clicks, from: clicks}", "{name: clicks, from: clixs}",
       "p.yaml:19:26: table 'clicks' reads from 'clixs', which is neither an input nor a transform; did you mean "
       "'clicks'?"},
      {"{name: clicks, from: clicks}", "{name: clicks, from: input}",
       "which is neither an input nor a transform; the inputs are clicks, readings"},
      {"TUMBLE(clicks, ts", "TUMBLE(clicks, at", "p.yaml:23:"},
      {"{name: hot, from: hot}", "{name: hot, from: clicks}",
       "p.yaml:10:11: no table and no aggregate reads from the input 'readings', or from a transform of it"},
      {"source: {embedded: {path: ./log}}", "source: {embedded: {path: ./log}, topics: [a]}",
       "p.yaml:3:43: source.topics is of the only stream of a file without 'inputs'; move it into one of the inputs, "
       "or "
       "leave 'inputs' out"},
      {"inputs:\n", "decode: {columns: {a: int64}}\ninputs:\n", "p.yaml:4:9: decode is of the only stream of a file"},
      {"inputs:\n", "event_time: {column: a}\ninputs:\n", "p.yaml:4:13: event_time is of the only stream of a file"},
      {"source: {embedded: {path: ./log}}", "source: {embedded: {path: ./log}, start: {offsets: {0: 1}}}",
       "source.start.offsets names partitions of one topic, and the inputs have several; write them by topic: "
       "{clicks: {0: 123}}"},
      {"{name: hot, sql: SELECT * FROM readings WHERE value > 30}",
       "{name: hot, sql: \"SELECT r.* FROM readings r JOIN clicks c USING (device)\"}",
       "transform 'hot' joins 'clicks', which is none of lookups; only a lookup can be joined"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.replacement);
    EXPECT_THAT(FindingsOfInputs(TwoWith(c.piece, c.replacement)), ElementsAre(HasSubstr(c.want)));
  }
}

TEST(ConfigInputs, AllThatDoesNotFitIsNamedAtOnce) {
  auto text = TwoWith("topics: [readings]", "topics: [clicks]");
  text.replace(text.find("{column: ts}"), 12, "{column: page}");
  text.replace(text.find("from: hot"), 9, "from: hat");
  EXPECT_THAT(FindingsOfInputs(text),
              ElementsAre(AllOf(StartsWith("p.yaml:8:"), HasSubstr("'page' is not a timestamp")),
                          StartsWith("p.yaml:11:"), StartsWith("p.yaml:20:")));
}

TEST(ConfigInputs, KeysOfAllInputsAreKeptBelowOneFolder) {
  const auto one =
      TwoWith("      on_error: fail\n", "    event_time: {column: at}\n    dedupe: {by: [device], path: /b}\n");
  ASSERT_THAT(FindingsOfInputs(one), IsEmpty());
  EXPECT_EQ(LoadConfigText(one, "p.yaml").config.dedupe_path(), "/b");
  auto two = one;
  two.replace(two.find("{by: [id]}"), 10, "{by: [id], path: /a}");
  EXPECT_THAT(FindingsOfInputs(two),
              ElementsAre(HasSubstr("p.yaml:16:34: inputs.readings.dedupe.path: another input has "
                                    "'/a'; the keys of all inputs are kept below one folder")));
}

TEST(ConfigInputs, AnEmptyListIsAFinding) {
  EXPECT_THAT(
      FindingsOfInputs("version: 1\npipeline: p\nsource: {embedded: {path: ./log}}\ninputs: []\ntables: [{name: t}]\n"),
      ElementsAre("p.yaml:4:9: inputs names no input"));
}

TEST(ConfigInputs, AValueIsReplacedByTheNameOfItsInput) {
  const LoadOptions options{.overrides = {{"inputs.readings.topics", "[r1, r2]"}}};
  EXPECT_THAT(LoadConfigText(kTwo, "p.yaml", options).flow.topics(), ElementsAre("clicks", "r1", "r2"));
}

}  // namespace
}  // namespace millrace::config
