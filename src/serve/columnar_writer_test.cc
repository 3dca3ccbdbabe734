// What Arrow's readers make of an answer is the answer.
#include "serve/columnar_writer.h"

#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/table.h>
#include <arrow/util/key_value_metadata.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>

#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::serve {
namespace {

using ::testing::HasSubstr;

query::Answer TheAnswer(const std::string& rows) {
  const auto schema =
      arrow::schema({arrow::field("window_start", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")),
                     arrow::field("country", arrow::utf8()), arrow::field("revenue", arrow::decimal128(38, 2)),
                     arrow::field("ratio", arrow::float64()),
                     arrow::field("tags", arrow::list(arrow::field("element", arrow::utf8())))});
  query::Answer answer;
  answer.rows = arrow::Table::FromRecordBatches(schema, {testing::BatchFromJson(schema, rows)}).ValueOrDie();
  answer.as_of = {4, {{{"clicks", 0}, 9}}, std::nullopt};
  return answer;
}

constexpr const char* kRows = R"([["2026-11-22 10:00:00", "de", "12345678901234567890.25", 0.5, ["a", null]],
                                  [null, null, null, Inf, null], ["2026-11-22 10:01:00", "", "0.00", -Inf, []]])";
constexpr const char* kAsOf = R"({"version":4,"offsets":{"clicks":{"0":9}},"watermark":null})";

std::shared_ptr<arrow::io::RandomAccessFile> FileOf(const http::Body& body) {
  return std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(body.Text()));
}

std::shared_ptr<arrow::Table> ReadArrow(const http::Body& body) {
  return arrow::ipc::RecordBatchStreamReader::Open(FileOf(body)).ValueOrDie()->ToTable().ValueOrDie();
}

std::shared_ptr<arrow::Table> ReadParquet(const http::Body& body) {
  const auto reader = parquet::arrow::OpenFile(FileOf(body), arrow::default_memory_pool()).ValueOrDie();
  std::shared_ptr<arrow::Table> table;
  EXPECT_TRUE(reader->ReadTable(&table).ok());
  return table;
}

TEST(ColumnarWriter, ReadersSeeTheSameRowsAndOfWhatMomentTheyAre) {
  for (const char* rows : {kRows, "[]"}) {
    SCOPED_TRACE(rows);
    const auto answer = TheAnswer(rows);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto stream, AnswerToArrow(answer));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto file, AnswerToParquet(answer));
    for (const auto& table : {ReadArrow(stream), ReadParquet(file)}) {
      EXPECT_TRUE(table->schema()->Equals(*answer.rows->schema(), false)) << table->schema()->ToString();
      EXPECT_TRUE(table->Equals(*answer.rows)) << table->ToString();
      EXPECT_EQ(table->schema()->metadata()->Get("millrace.as_of").ValueOrDie(), kAsOf);
    }
  }
}

TEST(ColumnarWriter, LimitsHoldWhileItIsWritten) {
  const auto answer = TheAnswer(kRows);
  std::stop_source stop;
  stop.request_stop();
  for (const auto& write : {AnswerToArrow, AnswerToParquet}) {
    MILLRACE_ASSERT_KIND(ErrorKind::kTooLarge, write(answer, {.bytes_max = 100}));
    MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, write(answer, {.stop = stop.get_token()}));
  }
}

TEST(ColumnarWriter, WhatAFormatCannotHaveIsSaid) {
  auto answer = TheAnswer("[]");
  const auto schema = arrow::schema({arrow::field("gap", arrow::month_day_nano_interval())});
  answer.rows = arrow::Table::MakeEmpty(schema).ValueOrDie();
  MILLRACE_ASSERT_OK(AnswerToArrow(answer));
  const auto refused = AnswerToParquet(answer);
  MILLRACE_ASSERT_KIND(ErrorKind::kUnsupported, refused);
  EXPECT_THAT(refused.status().message(), HasSubstr("Cast it to VARCHAR"));
}

}  // namespace
}  // namespace millrace::serve
