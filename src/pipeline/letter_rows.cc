#include "pipeline/letter_rows.h"

#include <arrow/util/base64.h>
#include <fmt/format.h>

#include <boost/json/parse.hpp>
#include <boost/system/error_code.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/json_text.h"
#include "base/log.h"
#include "ingest/formats.h"
#include "model/dead_letters.h"

namespace millrace::pipeline {
namespace {

bool IsJson(const std::string& payload) {
  boost::system::error_code ec;
  boost::json::parse(payload, ec);
  return !ec;
}

std::string DocumentOf(const model::DeadLetter& letter) {
  std::string text = fmt::format(R"({{"timestamp":{},"partition":{},"offset":{})", letter.timestamp,
                                 letter.source.partition, letter.offset);
  const auto put = [&](std::string_view name, std::string_view value) {
    text += fmt::format(",\"{}\":", name);
    AppendJsonString(value, text);
  };
  put("topic", letter.source.topic);
  put("stage", letter.stage);
  put("reason", letter.reason);
  put("detail", letter.detail);
  put("error", fmt::format("{}: {}", letter.reason, letter.detail));
  if (letter.payload.size() <= kLetterTextMax) {
    if (IsJson(letter.payload)) {
      put("json_string", letter.payload);
    } else {
      put("base64_bytes", arrow::util::base64_encode(letter.payload));
    }
  }
  return text + "}";
}

}  // namespace

Result<LetterRows> LetterRows::Make(const config::LetterColumns& columns) {
  LetterRows made;
  if (columns.columns.empty()) return made;
  ingest::DecodeSpec spec{.columns = columns.columns, .computed = columns.computed};
  ASSIGN_OR_RETURN(made.computed_, ingest::MakeDecoder(spec));
  spec.computed.clear();
  ASSIGN_OR_RETURN(made.plain_, ingest::MakeDecoder(spec));
  return made;
}

Result<std::shared_ptr<arrow::RecordBatch>> LetterRows::Of(std::span<const model::DeadLetter> letters) {
  auto ours = model::ToRecordBatch(letters);
  if (computed_ == nullptr) return ours;
  std::vector<std::string> texts;
  std::vector<ingest::Document> documents;
  texts.reserve(letters.size());
  for (const auto& letter : letters) texts.push_back(DocumentOf(letter));
  for (const auto& text : texts) documents.push_back({.bytes = text});

  ASSIGN_OR_RETURN(auto decoded, computed_->Decode(documents));
  if (!decoded.refused.empty()) {
    spdlog::warn("dead letters: {} of {} have columns that stay null: {}", decoded.refused.size(), letters.size(),
                 decoded.refused.front().detail);
    ASSIGN_OR_RETURN(decoded.rows, OneByOne(documents));
  }
  auto fields = ours->schema()->fields();
  auto columns = ours->columns();
  for (int i = 0; i < decoded.rows->num_columns(); ++i) {
    fields.push_back(decoded.rows->schema()->field(i));
    columns.push_back(decoded.rows->column(i));
  }
  return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), ours->num_rows(), std::move(columns));
}

// Each with its expressions, or else without them, or else with nothing.
Result<std::shared_ptr<arrow::RecordBatch>> LetterRows::OneByOne(std::span<const ingest::Document> documents) {
  const ingest::Document nothing{.bytes = "{}"};
  arrow::RecordBatchVector rows;
  for (const auto& document : documents) {
    ASSIGN_OR_RETURN(auto decoded, computed_->Decode({&document, 1}));
    if (!decoded.refused.empty()) {
      ASSIGN_OR_RETURN(decoded, plain_->Decode({&document, 1}));
    }
    if (!decoded.refused.empty()) {
      ASSIGN_OR_RETURN(decoded, plain_->Decode({&nothing, 1}));
    }
    rows.push_back(std::move(decoded.rows));
  }
  return arrow::ConcatenateRecordBatches(rows);
}

}  // namespace millrace::pipeline
