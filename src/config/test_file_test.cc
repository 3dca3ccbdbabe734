// Test files as values, and what is said of a file that is not one: each finding with its place.
#include "config/test_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace::config {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

std::vector<std::string> Messages(const LoadedTestFile& loaded) {
  std::vector<std::string> messages;
  for (const auto& finding : loaded.findings) messages.push_back(ToString(finding));
  return messages;
}

/// A file with one test, of one record `record` and the expectation `expect`, both in flow style.
std::string FileOf(const std::string& record, const std::string& expect = "{tables: {clicks: []}}") {
  return "pipeline: clicks.yaml\ntests:\n  - name: one\n    records:\n      - " + record + "\n    expect: " + expect +
         "\n";
}

TEST(TestFile, SchemasTakeThePlaceOfARegistrys) {
  const std::string examples = std::string(MILLRACE_SOURCE_DIR) + "/examples/t.test.yaml";
  const std::string tests = "pipeline: p.yaml\ntests: []\n";
  const auto loaded = LoadTestText(tests + "schemas: {a-value: machines.avsc, b: fleet.proto}\n", examples);
  ASSERT_THAT(Messages(loaded), IsEmpty());
  ASSERT_EQ(loaded.file.schemas.size(), 2u);
  EXPECT_EQ(loaded.file.schemas[0].subject, "a-value");
  EXPECT_EQ(loaded.file.schemas[0].id, 1u);
  EXPECT_EQ(loaded.file.schemas[0].schema.language, ingest::SchemaLanguage::kAvro);
  EXPECT_EQ(loaded.file.schemas[0].schema.text.front(), '{');
  EXPECT_EQ(loaded.file.schemas[1].id, 2u);
  EXPECT_EQ(loaded.file.schemas[1].schema.language, ingest::SchemaLanguage::kProtobuf);
  EXPECT_THAT(
      Messages(LoadTestText(tests + "schemas: [a.avsc]\n", "t.yaml")),
      ElementsAre("t.yaml:3:10: schemas must be a mapping of subjects to files, such as {clicks-value: click.avsc}"));
  EXPECT_THAT(Messages(LoadTestText(tests + "schemas: {a: a.desc}\n", "t.yaml")),
              ElementsAre("t.yaml:3:14: schemas.a must be a file that ends in .avsc (Avro), .proto (Protobuf) or .json "
                          "(JSON Schema), not 'a.desc'"));
  EXPECT_THAT(
      Messages(LoadTestText(tests + "schemas: {a: nowhere.avsc}\n", "/nowhere/t.yaml")),
      ElementsAre("/nowhere/t.yaml:3:14: schemas.a: '/nowhere/nowhere.avsc': cannot read the file: No such file "
                  "or directory"));
}

TEST(TestFile, HoldsRecordsAndWhatIsExpectedOfThem) {
  const auto loaded = LoadTestText(R"(pipeline: ../clicks.yaml
tests:
  - name: all of it
    records:
      - topic: clicks
        partition: 3
        offset: 70
        time: 2026-01-01T01:00:00+01:00
        key: a
        headers: {trace: x, none: , empty: ""}
        value: {id: 1, text: "1", flag: true, nothing: null, list: [1.5, x], object: {a: -2e3}, odd: 0x1}
      - {value_text: ""}
      - {value_base64: "AAH/"}
      - {key: b}
    expect:
      tables:
        clicks: [{id: 1, gone: null}]
        others: {match: contains, rows: [{a: [1], b: {c: d}}]}
      aggregates: {clicks_1m: {match: exactly, rows: []}}
      dead_letters: [{stage: decode}]
  - name: it stops
    records: []
    expect: {error: bad_json}
)",
                                   "tests/clicks.test.yaml");
  ASSERT_THAT(Messages(loaded), IsEmpty());
  EXPECT_EQ(loaded.file.pipeline, "tests/../clicks.yaml");
  ASSERT_EQ(loaded.file.tests.size(), 2u);
  const auto& test = loaded.file.tests[0];
  EXPECT_EQ(test.name, "all of it");
  EXPECT_EQ(test.place.line, 3);
  ASSERT_EQ(test.records.size(), 4u);
  const auto& record = test.records[0];
  EXPECT_EQ(record.topic, "clicks");
  EXPECT_EQ(record.partition, 3);
  EXPECT_EQ(record.offset, 70);
  EXPECT_EQ(record.time, 1'767'225'600'000'000);
  EXPECT_EQ(record.key, "a");
  EXPECT_THAT(record.headers, ElementsAre(Pair("trace", "x"), Pair("none", std::nullopt), Pair("empty", "")));
  EXPECT_EQ(record.payload,
            R"({"id":1,"text":"1","flag":true,"nothing":null,"list":[1.5,"x"],"object":{"a":-2e3},"odd":"0x1"})");
  EXPECT_EQ(test.records[1].payload, "");
  EXPECT_EQ(test.records[1].topic, std::nullopt);
  EXPECT_EQ(test.records[2].payload, std::string("\0\x01\xFF", 3));
  EXPECT_EQ(test.records[3].payload, std::nullopt) << "a tombstone";
  EXPECT_EQ(test.records[3].key, "b");

  ASSERT_EQ(test.tables.size(), 2u);
  EXPECT_FALSE(test.tables[0].contains);
  ASSERT_EQ(test.tables[0].rows.size(), 1u);
  EXPECT_EQ(test.tables[0].rows[0].place.line, 17);
  EXPECT_EQ(test.tables[0].rows[0].entries[1].second.kind, TestValue::Kind::kNull);
  EXPECT_TRUE(test.tables[1].contains);
  EXPECT_EQ(test.aggregates[0].name, "clicks_1m");
  EXPECT_THAT(test.aggregates[0].rows, IsEmpty());
  EXPECT_EQ(test.dead_letters.rows.size(), 1u);
  EXPECT_EQ(test.error, std::nullopt);
  EXPECT_EQ(loaded.file.tests[1].error, "bad_json");
}

TEST(TestFile, FindsEachMistakeAtItsPlace) {
  struct Case {
    const char* name;
    std::string text;
    std::vector<std::string> want;
  };
  const Case cases[] = {
      {"empty", "", {"t.yaml:1:1: the file holds no document"}},
      {"not YAML", "pipeline: [", {"t.yaml:1:1: not valid YAML: end of sequence flow not found"}},
      {"a list", "- a", {"t.yaml:1:1: the document must be a mapping (keys with values), not a list"}},
      {"nothing needed is there",
       "test: []",
       {"t.yaml:1:1: the key 'pipeline' is missing", "t.yaml:1:1: the key 'tests' is missing",
        "t.yaml:1:1: unknown key 'test'; did you mean 'tests'?"}},
      {"a test without anything",
       "pipeline: p\ntests:\n  - name: a",
       {"t.yaml:3:5: tests.a: the key 'expect' is missing", "t.yaml:3:5: tests.a: the key 'records' is missing"}},
      {"unknown key of a record",
       FileOf("{topik: a}"),
       {"t.yaml:5:10: unknown key 'topik' in tests.one.records[0]; did you mean 'topic'?"}},
      {"two payloads",
       FileOf("{value: 1, value_text: a}"),
       {"t.yaml:5:9: tests.one.records[0]: give one of value, value_text and value_base64; none of them is a record "
        "without a payload"}},
      {"time without a zone",
       FileOf("{time: 2026-01-01T00:00:00}"),
       {"t.yaml:5:16: tests.one.records[0].time: '2026-01-01T00:00:00' is not an RFC 3339 time with its zone, such as "
        "2026-01-31T00:00:00Z"}},
      {"offset",
       FileOf("{offset: -1}"),
       {"t.yaml:5:18: tests.one.records[0].offset must be a whole number from 0 to 9223372036854775806, not '-1'"}},
      {"partition",
       FileOf("{partition: a}"),
       {"t.yaml:5:21: tests.one.records[0].partition must be a whole number from 0 to 2147483647, not 'a'"}},
      {"Base64 is cut",
       FileOf("{value_base64: AAH}"),
       {"t.yaml:5:24: tests.one.records[0].value_base64 is not Base64 (RFC 4648)"}},
      {"Base64 after its end",
       FileOf("{value_base64: \"AA==AAAA\"}"),
       {"t.yaml:5:24: tests.one.records[0].value_base64 is not Base64 (RFC 4648)"}},
      {"headers",
       FileOf("{headers: {a: [1]}}"),
       {"t.yaml:5:23: tests.one.records[0].headers: 'a' must be a single value, not a list"}},
      {"headers as a list",
       FileOf("{headers: [a]}"),
       {"t.yaml:5:19: tests.one.records[0].headers must be a mapping (names with values), not a list"}},
      {"a value without one",
       FileOf("{value: }"),
       {"t.yaml:5:10: tests.one.records[0].value has no value; give it one or remove the key"}},
      {"expects nothing",
       FileOf("{}", "{}"),
       {"t.yaml:6:13: tests.one.expect expects nothing: name some of tables, aggregates, dead_letters and error"}},
      {"unknown expectation",
       FileOf("{}", "{table: {}, error: a}"),
       {"t.yaml:6:14: unknown key 'table' in tests.one.expect; did you mean 'tables'?"}},
      {"error and rows",
       FileOf("{}", "{tables: {}, error: a}"),
       {"t.yaml:6:13: tests.one.expect: a pipeline that stops has no rows to look at; error stands alone"}},
      {"tables as a list",
       FileOf("{}", "{tables: [a]}"),
       {"t.yaml:6:22: tests.one.expect.tables must be a mapping (names with rows), not a list"}},
      {"rows that are none",
       FileOf("{}", "{tables: {clicks: 1}}"),
       {"t.yaml:6:31: tests.one.expect.tables.clicks must be a list of rows, {rows: [...]} or {match: contains, rows: "
        "[...]}, not a value"}},
      {"a row that is none",
       FileOf("{}", "{dead_letters: [a]}"),
       {"t.yaml:6:29: tests.one.expect.dead_letters: a row must be a mapping (columns with values), not a value"}},
      {"unknown match",
       FileOf("{}", "{tables: {clicks: {match: contain, rows: []}}}"),
       {"t.yaml:6:39: tests.one.expect.tables.clicks.match must be one of exactly, contains, not 'contain'; did you "
        "mean 'contains'?"}},
      {"match without rows",
       FileOf("{}", "{tables: {clicks: {match: contains}}}"),
       {"t.yaml:6:31: tests.one.expect.tables.clicks: the key 'rows' is missing"}},
      {"a name twice",
       "pipeline: p\ntests:\n  - {name: a, records: [], expect: {error: x}}\n  - {name: a, records: [], expect: "
       "{error: "
       "x}}",
       {"t.yaml:4:5: there are two tests called 'a'"}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(Messages(LoadTestText(c.text, "t.yaml")), c.want);
  }
}

TEST(TestFile, HasLimits) {
  const auto list = [](std::size_t size) {
    std::string text = "[";
    for (std::size_t i = 0; i < size; ++i) text += "{}, ";
    return text + "]";
  };
  const auto file = [&](std::size_t records, std::size_t rows) {
    return LoadTestText("pipeline: p\ntests:\n  - name: a\n    records: " + list(records) +
                            "\n    expect: {tables: {t: " + list(rows) + "}}",
                        "t.yaml");
  };
  EXPECT_THAT(file(kTestRecordsMax, kTestRowsMax).findings, IsEmpty());
  EXPECT_THAT(Messages(file(kTestRecordsMax + 1, 0)),
              ElementsAre("t.yaml:3:5: tests.a has 1001 records, 1000 are allowed: a test should be small enough to be "
                          "read"));
  EXPECT_THAT(Messages(file(0, kTestRowsMax + 1)),
              ElementsAre("t.yaml:5:26: tests.a.expect.tables.t has 1001 rows, 1000 are allowed: a test should be "
                          "small enough to be read"));
}

TEST(TestFile, ThatIsNotThereIsAFinding) {
  EXPECT_THAT(Messages(LoadTestFile("/nowhere/t.yaml")),
              ElementsAre("/nowhere/t.yaml: cannot read the file: No such file or directory"));
  EXPECT_THAT(Messages(LoadTestFile("/")), ElementsAre("/: this is a folder, not a file"));
}

}  // namespace
}  // namespace millrace::config
