/// For the tests of this folder: documents in, cells as text out.
#pragma once

#include <arrow/array.h>
#include <arrow/util/decimal.h>
#include <fmt/format.h>

#include <string>
#include <vector>

#include "ingest/event_decoder.h"

namespace millrace::ingest {

inline ValueForm Coercing(TextForm text = TextForm::kPlain) {
  ValueForm form;
  form.text = text;
  form.coerce = true;
  return form;
}

inline ValueForm Rounded(Rounding rounding) {
  ValueForm form;
  form.rounding = rounding;
  return form;
}

inline ValueForm OfText(TextForm text) {
  ValueForm form;
  form.text = text;
  return form;
}

inline ValueForm OfFormat(std::string_view format) {
  ValueForm form(TimestampForm::kFormat);
  form.time_format = ParseTimeFormat(format).ValueOrDie();
  return form;
}

/// One batch of partition t[0], offsets from 0.
inline Decoded DecodeAll(EventDecoder& decoder, const std::vector<std::string>& documents) {
  model::FetchedRecords records;
  records.source = {"t", 0};
  for (const std::string& document : documents) {
    model::RawRecord& record = records.records.emplace_back();
    record.offset = static_cast<model::Offset>(records.records.size() - 1);
    record.payload = document;
  }
  return decoder.Decode(records).ValueOrDie();
}

/// Strings in quotes, binary in hexadecimal digits, doubles in hexadecimal, decimals, dates and timestamps as the
/// integers that store them.
inline std::string CellText(const arrow::Array& array, std::int64_t row) {
  if (array.IsNull(row)) return "null";
  switch (array.type_id()) {
    case arrow::Type::STRING:
      return "'" + static_cast<const arrow::StringArray&>(array).GetString(row) + "'";
    case arrow::Type::BINARY: {
      std::string text = "x";
      for (const char c : static_cast<const arrow::BinaryArray&>(array).GetView(row)) {
        text += fmt::format("{:02x}", static_cast<unsigned char>(c));
      }
      return text;
    }
    case arrow::Type::BOOL:
      return static_cast<const arrow::BooleanArray&>(array).Value(row) ? "true" : "false";
    case arrow::Type::INT8:
      return std::to_string(static_cast<const arrow::Int8Array&>(array).Value(row));
    case arrow::Type::INT16:
      return std::to_string(static_cast<const arrow::Int16Array&>(array).Value(row));
    case arrow::Type::FLOAT:
      return fmt::format("{}", static_cast<const arrow::FloatArray&>(array).Value(row));
    case arrow::Type::INT32:
      return std::to_string(static_cast<const arrow::Int32Array&>(array).Value(row));
    case arrow::Type::DATE32:
      return std::to_string(static_cast<const arrow::Date32Array&>(array).Value(row));
    case arrow::Type::INT64:
      return std::to_string(static_cast<const arrow::Int64Array&>(array).Value(row));
    case arrow::Type::TIMESTAMP:
      return std::to_string(static_cast<const arrow::TimestampArray&>(array).Value(row));
    case arrow::Type::DOUBLE:
      return fmt::format("{:a}", static_cast<const arrow::DoubleArray&>(array).Value(row));
    case arrow::Type::DECIMAL128:
      return arrow::Decimal128(static_cast<const arrow::Decimal128Array&>(array).GetValue(row)).ToIntegerString();
    case arrow::Type::DICTIONARY: {
      const auto& dictionary = static_cast<const arrow::DictionaryArray&>(array);
      return CellText(*dictionary.dictionary(), dictionary.GetValueIndex(row));
    }
    case arrow::Type::LIST: {
      const auto& list = static_cast<const arrow::ListArray&>(array);
      std::string text = "[";
      for (std::int32_t i = list.value_offset(row); i < list.value_offset(row + 1); ++i) {
        if (text.size() > 1) text += ",";
        text += CellText(*list.values(), i);
      }
      return text + "]";
    }
    case arrow::Type::STRUCT: {
      const auto& members = static_cast<const arrow::StructArray&>(array);
      std::string text = "{";
      for (int i = 0; i < members.num_fields(); ++i) {
        text += (i > 0 ? "," : "") + members.type()->field(i)->name() + ":" + CellText(*members.field(i), row);
      }
      return text + "}";
    }
    case arrow::Type::MAP: {
      const auto& map = static_cast<const arrow::MapArray&>(array);
      std::string text = "{";
      for (std::int32_t i = map.value_offset(row); i < map.value_offset(row + 1); ++i) {
        if (text.size() > 1) text += ",";
        text += CellText(*map.keys(), i) + "=" + CellText(*map.items(), i);
      }
      return text + "}";
    }
    default:
      return "?";
  }
}

/// Per row its first `columns` cells, between '|'.
inline std::vector<std::string> RowTexts(const arrow::RecordBatch& batch, int columns) {
  std::vector<std::string> rows(static_cast<std::size_t>(batch.num_rows()));
  for (int column = 0; column < columns; ++column) {
    for (std::int64_t row = 0; row < batch.num_rows(); ++row) {
      if (column > 0) rows[static_cast<std::size_t>(row)] += "|";
      rows[static_cast<std::size_t>(row)] += CellText(*batch.column(column), row);
    }
  }
  return rows;
}

}  // namespace millrace::ingest
