/// Tests of a pipeline, as people write them beside its file: records in, and what the tables hold of them then. The
/// reference for people is docs/testing.md; `trial/` runs them.
///
/// Values only: what a column's type makes of an expected value is not known here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "config/config.h"
#include "config/load.h"
#include "model/topic_partition.h"

namespace millrace::config {

/// Of one test: records, and rows that are expected of one table. A test is there to be read.
inline constexpr std::size_t kTestRecordsMax = 1000;
inline constexpr std::size_t kTestRowsMax = 1000;

/// A place in the test file; counts from 1.
struct TestPlace {
  int line = 0;
  int column = 0;
};

/// A value that is expected, as it was written.
struct TestValue {
  enum class Kind { kNull, kScalar, kList, kMapping };
  Kind kind = Kind::kNull;
  TestPlace place;
  std::string text;                                        ///< kScalar.
  std::vector<TestValue> items;                            ///< kList.
  std::vector<std::pair<std::string, TestValue>> entries;  ///< kMapping, in the file's order; each key once.
};

/// One record, as a log would deliver it.
struct TestRecord {
  TestPlace place;
  std::optional<std::string> topic;  ///< nullopt: the pipeline's only one.
  TestPlace topic_place;
  std::int32_t partition = 0;
  std::optional<model::Offset> offset;  ///< nullopt: the one after the record before in its partition, or 0.
  std::optional<UnixMicros> time;       ///< When the log got it; nullopt: when the test runs.
  std::optional<std::string> key;
  std::vector<std::pair<std::string, std::optional<std::string>>> headers;
  std::optional<std::string> payload;  ///< nullopt: a tombstone.
};

/// What is expected of one table.
struct ExpectedRows {
  std::string name;  ///< Of the table or aggregate; of the dead letters: empty.
  TestPlace place;
  bool contains = false;        ///< There may be more rows than these.
  std::vector<TestValue> rows;  ///< Mappings. A column that a row does not name may hold anything.
};

struct PipelineTest {
  std::string name;
  TestPlace place;
  std::vector<TestRecord> records;
  std::vector<ExpectedRows> tables;
  std::vector<ExpectedRows> aggregates;
  ExpectedRows dead_letters;         ///< None, unless the test says otherwise.
  std::optional<std::string> error;  ///< The pipeline stops, and its message holds this.
};

struct TestFile {
  std::string path;      ///< As it was given.
  std::string pipeline;  ///< Path of the pipeline's file, found from the test file's folder.
  TestPlace pipeline_place;
  /// In the place of a registry's: of each subject, whose ids are 1, 2 and so on in the order of the file.
  std::vector<StandInSchema> schemas;
  std::vector<PipelineTest> tests;
};

/// The file holds if there are no findings. All are found in one pass, in the words of config.h's loader.
struct LoadedTestFile {
  TestFile file;
  std::vector<Finding> findings;
};
LoadedTestFile LoadTestFile(const std::string& path);
LoadedTestFile LoadTestText(const std::string& text, const std::string& path);

}  // namespace millrace::config
