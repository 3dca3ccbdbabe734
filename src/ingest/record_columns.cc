#include "ingest/record_columns.h"

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

#include "ingest/values/column_internal.h"
#include "ingest/values/text_value_internal.h"
#include "ingest/values/utf8_text_internal.h"

namespace millrace::ingest {
namespace {

Status CheckType(const ColumnSpec& column, ValueKind kind) {
  const auto refuse = [&](std::string_view types) {
    return InvalidInput("column '{}': {} is {}, not {}", column.name, FromText(*column.from), types,
                        column.type->ToString());
  };
  switch (column.from->part) {
    case RecordPart::kKey:
    case RecordPart::kHeader:
      if (kind < ValueKind::kString) return refuse("a text, which is no list, struct or map");
      break;
    case RecordPart::kTopic:
      if (kind != ValueKind::kString) return refuse("a string");
      break;
    case RecordPart::kPartition:
      if (kind != ValueKind::kInt32 && kind != ValueKind::kInt64) return refuse("int32 or int64");
      break;
    case RecordPart::kOffset:
      if (kind != ValueKind::kInt64) return refuse("int64");
      break;
    case RecordPart::kTimestamp:
      if (column.type->id() != arrow::Type::TIMESTAMP) return refuse("a timestamp");
      break;
  }
  return Status::OK();
}

// Absent, or without a value: nullopt.
std::optional<std::string_view> LastOf(const model::RawRecord& record, const std::string& name) {
  std::optional<std::string_view> value;
  for (const auto& [key, text] : record.Headers()) {
    if (key == name) value = text;
  }
  return value;
}

}  // namespace

struct RecordColumns::PartColumn {
  RecordPlace from;
  Column column;

  // Sets *problem if the record's part does not fit.
  Status Set(const model::TopicPartition& source, const model::RawRecord& record, std::int64_t row,
             std::optional<TextProblem>* problem) {
    switch (from.part) {
      case RecordPart::kKey:
        return SetText(record.key, row, problem);
      case RecordPart::kHeader:
        return SetText(LastOf(record, from.header), row, problem);
      case RecordPart::kTopic:
        return SetFromText(source.topic, row, column, problem);
      case RecordPart::kPartition:
        if (column.kind() == ValueKind::kInt32) {
          column.Set(row, source.partition);
        } else {
          column.Set(row, std::int64_t{source.partition});
        }
        return Status::OK();
      case RecordPart::kOffset:
        column.Set(row, record.offset);
        return Status::OK();
      case RecordPart::kTimestamp:
        column.Set(row, record.timestamp);
        return Status::OK();
    }
    return Status::OK();
  }

 private:
  Status SetText(std::optional<std::string_view> text, std::int64_t row, std::optional<TextProblem>* problem) {
    if (!text) return column.SetNull(row);
    if (column.kind() == ValueKind::kBinary) return SetBytes(*text, row, column);
    if (!IsUtf8(*text)) {
      *problem = TextProblem{"bad_utf8", "not UTF-8"};
      return Status::OK();
    }
    return SetFromText(*text, row, column, problem);
  }
};

RecordColumns::RecordColumns(std::vector<PartColumn> columns) : columns_(std::move(columns)) {}
RecordColumns::RecordColumns(RecordColumns&&) noexcept = default;
RecordColumns::~RecordColumns() = default;

bool RecordColumns::empty() const { return columns_.empty(); }

Result<RecordColumns> RecordColumns::Make(const DecodeSpec& spec) {
  std::vector<PartColumn> columns;
  for (const ColumnSpec& column : spec.columns) {
    if (!column.from) continue;
    const auto kind = KindOfColumn(*column.type, column.form);
    if (!kind.ok()) return WithContext(kind.status(), "column '{}'", column.name);
    RETURN_NOT_OK(CheckType(column, *kind));
    columns.push_back({.from = *column.from, .column = Column(column.type, column.form)});
  }
  return RecordColumns(std::move(columns));
}

Result<std::vector<Refusal>> RecordColumns::Fill(const model::TopicPartition& source,
                                                 std::span<const Document> documents) {
  rows_ = std::ssize(documents);
  std::vector<Refusal> refused;
  for (PartColumn& one : columns_) RETURN_NOT_OK(one.column.Begin(rows_, rows_ * 1024));
  for (std::size_t i = 0; i < documents.size(); ++i) {
    for (PartColumn& one : columns_) {
      std::optional<TextProblem> problem;
      RETURN_NOT_OK(one.Set(source, *documents[i].record, static_cast<std::int64_t>(i), &problem));
      if (problem) {
        refused.push_back({.document = i,
                           .reason = std::string(problem->reason),
                           .detail = fmt::format("{}: {}", FromText(one.from), problem->detail)});
        // The text of a row begins where the one before ends.
        for (PartColumn& other : columns_) RETURN_NOT_OK(other.column.SetNull(static_cast<std::int64_t>(i)));
        break;
      }
    }
  }
  return refused;
}

Result<arrow::ArrayDataVector> RecordColumns::Finish() {
  arrow::ArrayDataVector arrays;
  for (PartColumn& one : columns_) {
    ASSIGN_OR_RETURN(auto array, one.column.Finish(rows_));
    arrays.push_back(std::move(array));
  }
  return arrays;
}

}  // namespace millrace::ingest
