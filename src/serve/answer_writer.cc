#include "serve/answer_writer.h"

#include <arrow/array.h>
#include <arrow/scalar.h>
#include <arrow/util/decimal.h>
#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <string_view>
#include <utility>

#include "base/json_text.h"
#include "query/time_expression.h"

namespace millrace::serve {
namespace {

void AppendCsvString(std::string_view text, std::string& out) {
  if (!text.empty() && text.find_first_of(",\"\r\n") == std::string_view::npos) {
    out += text;
    return;
  }
  out += '"';
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

// arrow::Decimal128::ToString turns to scientific notation; a price should look like one.
void AppendDecimal(const arrow::Decimal128& value, int scale, std::string& out) {
  std::string digits = value.ToIntegerString();
  if (scale > 0) {
    const bool negative = digits.front() == '-';
    if (negative) digits.erase(0, 1);
    const auto places = static_cast<std::size_t>(scale);
    if (digits.size() <= places) digits.insert(0, places + 1 - digits.size(), '0');
    digits.insert(digits.size() - places, ".");
    if (negative) digits.insert(0, "-");
  }
  out += digits;
}

template <typename Float>
void AppendFloat(Float value, std::string& out, std::string_view quote) {
  if (std::isfinite(value)) {
    fmt::format_to(std::back_inserter(out), "{}", value);
  } else {
    out += quote;
    out += NonFiniteText(static_cast<double>(value));
    out += quote;
  }
}

// 04:05:06.789
void AppendClock(std::int64_t us, std::string& out) {
  const auto size = us < 0 ? 0 - static_cast<std::uint64_t>(us) : static_cast<std::uint64_t>(us);
  const std::uint64_t seconds = size / 1'000'000;
  fmt::format_to(std::back_inserter(out), "{}{:02}:{:02}:{:02}", us < 0 ? "-" : "", seconds / 3600, seconds / 60 % 60,
                 seconds % 60);
  if (size % 1'000'000 == 0) return;
  fmt::format_to(std::back_inserter(out), ".{:06}", size % 1'000'000);
  out.erase(out.find_last_not_of('0') + 1);
}

// 1 year 2 months -3 days 04:05:06.789
void AppendInterval(const arrow::MonthDayNanoIntervalType::MonthDayNanos& interval, std::string& out) {
  std::string text;
  const auto append = [&text](std::int32_t count, std::string_view unit) {
    if (count == 0) return;
    fmt::format_to(std::back_inserter(text), "{}{} {}{}", text.empty() ? "" : " ", count, unit,
                   count == 1 || count == -1 ? "" : "s");
  };
  append(interval.months / 12, "year");
  append(interval.months % 12, "month");
  append(interval.days, "day");
  if (interval.nanoseconds != 0 || text.empty()) {
    if (!text.empty()) text += ' ';
    AppendClock(interval.nanoseconds / 1000, text);
  }
  out += text;
}

enum class Text { kJson, kCsv };

// Appends the value at a row of one chunk; null is handled here too.
using AppendValue = std::function<Status(std::int64_t row, std::string& out)>;

template <typename ArrayType, typename Append>
AppendValue Typed(const std::shared_ptr<arrow::Array>& array, std::string_view null, Append append) {
  return [array, &typed = static_cast<const ArrayType&>(*array), null, append](std::int64_t row, std::string& out) {
    if (typed.IsNull(row)) {
      out += null;
    } else {
      append(typed, row, out);
    }
    return Status::OK();
  };
}

template <typename ArrayType>
AppendValue Number(const std::shared_ptr<arrow::Array>& array, std::string_view null) {
  return Typed<ArrayType>(array, null, [](const ArrayType& typed, std::int64_t row, std::string& out) {
    const fmt::format_int text(typed.Value(row));
    out.append(text.data(), text.size());
  });
}

AppendValue NestedWriterOf(const std::shared_ptr<arrow::Array>& array);

AppendValue WriterOf(const std::shared_ptr<arrow::Array>& array, Text text) {
  const std::string_view null = text == Text::kJson ? "null" : "";
  const auto append_string = text == Text::kJson ? AppendJsonString : AppendCsvString;
  const std::string quote = text == Text::kJson ? "\"" : "";
  switch (array->type_id()) {
    case arrow::Type::BOOL:
      return Typed<arrow::BooleanArray>(array, null, [](const auto& typed, std::int64_t row, std::string& out) {
        out += typed.Value(row) ? "true" : "false";
      });
    case arrow::Type::INT8:
      return Number<arrow::Int8Array>(array, null);
    case arrow::Type::INT16:
      return Number<arrow::Int16Array>(array, null);
    case arrow::Type::INT32:
      return Number<arrow::Int32Array>(array, null);
    case arrow::Type::INT64:
      return Number<arrow::Int64Array>(array, null);
    case arrow::Type::UINT8:
      return Number<arrow::UInt8Array>(array, null);
    case arrow::Type::UINT16:
      return Number<arrow::UInt16Array>(array, null);
    case arrow::Type::UINT32:
      return Number<arrow::UInt32Array>(array, null);
    case arrow::Type::UINT64:
      return Number<arrow::UInt64Array>(array, null);
    case arrow::Type::FLOAT:
      return Typed<arrow::FloatArray>(array, null, [quote](const auto& typed, std::int64_t row, std::string& out) {
        AppendFloat(typed.Value(row), out, quote);
      });
    case arrow::Type::DOUBLE:
      return Typed<arrow::DoubleArray>(array, null, [quote](const auto& typed, std::int64_t row, std::string& out) {
        AppendFloat(typed.Value(row), out, quote);
      });
    case arrow::Type::DECIMAL128: {
      const int scale = static_cast<const arrow::Decimal128Type&>(*array->type()).scale();
      return Typed<arrow::Decimal128Array>(array, null, [scale](const auto& typed, std::int64_t row, std::string& out) {
        AppendDecimal(arrow::Decimal128(typed.GetValue(row)), scale, out);
      });
    }
    case arrow::Type::STRING:
      return Typed<arrow::StringArray>(array, null,
                                       [append_string](const auto& typed, std::int64_t row, std::string& out) {
                                         append_string(typed.GetView(row), out);
                                       });
    case arrow::Type::BINARY:
      return Typed<arrow::BinaryArray>(array, null, [quote](const auto& typed, std::int64_t row, std::string& out) {
        out += quote;
        for (const char c : typed.GetView(row)) {
          fmt::format_to(std::back_inserter(out), "{:02x}", static_cast<unsigned char>(c));
        }
        out += quote;
      });
    case arrow::Type::DATE32:
      return Typed<arrow::Date32Array>(array, null, [quote](const auto& typed, std::int64_t row, std::string& out) {
        constexpr std::int64_t kMicrosPerDay = 86'400'000'000;
        const std::string time = query::FormatTime(typed.Value(row) * kMicrosPerDay);
        out += quote + time.substr(0, time.find('T')) + quote;
      });
    case arrow::Type::TIMESTAMP: {
      const auto& type = static_cast<const arrow::TimestampType&>(*array->type());
      if (type.unit() != arrow::TimeUnit::MICRO) break;
      return Typed<arrow::TimestampArray>(
          array, null,
          [quote, zoned = !type.timezone().empty()](const auto& typed, std::int64_t row, std::string& out) {
            std::string time = query::FormatTime(typed.Value(row));
            if (!zoned) time.pop_back();
            out += quote + time + quote;
          });
    }
    case arrow::Type::TIME64: {
      if (static_cast<const arrow::Time64Type&>(*array->type()).unit() != arrow::TimeUnit::MICRO) break;
      return Typed<arrow::Time64Array>(array, null, [quote](const auto& typed, std::int64_t row, std::string& out) {
        out += quote;
        AppendClock(typed.Value(row), out);
        out += quote;
      });
    }
    case arrow::Type::INTERVAL_MONTH_DAY_NANO:
      return Typed<arrow::MonthDayNanoIntervalArray>(array, null,
                                                     [quote](const auto& typed, std::int64_t row, std::string& out) {
                                                       out += quote;
                                                       AppendInterval(typed.GetValue(row), out);
                                                       out += quote;
                                                     });
    case arrow::Type::LIST:
    case arrow::Type::STRUCT:
    case arrow::Type::MAP:
      if (text == Text::kJson) return NestedWriterOf(array);
      return [array, json = NestedWriterOf(array)](std::int64_t row, std::string& out) -> Status {
        if (array->IsNull(row)) return Status::OK();
        std::string value;
        RETURN_NOT_OK(json(row, value));
        AppendCsvString(value, out);
        return Status::OK();
      };
    case arrow::Type::DICTIONARY: {
      const auto encoded = std::static_pointer_cast<arrow::DictionaryArray>(array);
      return [encoded, null, value = WriterOf(encoded->dictionary(), text)](std::int64_t row, std::string& out) {
        if (!encoded->IsNull(row)) return value(encoded->GetValueIndex(row), out);
        out += null;
        return Status::OK();
      };
    }
    default:
      break;
  }
  // Rare types, as Arrow prints them.
  return [array, null, append_string](std::int64_t row, std::string& out) -> Status {
    if (array->IsNull(row)) {
      out += null;
      return Status::OK();
    }
    ASSIGN_OR_RETURN(const auto scalar, array->GetScalar(row));
    append_string(scalar->ToString(), out);
    return Status::OK();
  };
}

// A JSON array, or an object.
AppendValue NestedWriterOf(const std::shared_ptr<arrow::Array>& array) {
  if (array->type_id() == arrow::Type::LIST) {
    const auto& list = static_cast<const arrow::ListArray&>(*array);
    return [array, &list, values = WriterOf(list.values(), Text::kJson)](std::int64_t row, std::string& out) -> Status {
      if (list.IsNull(row)) {
        out += "null";
        return Status::OK();
      }
      out += '[';
      for (std::int64_t i = list.value_offset(row); i < list.value_offset(row + 1); ++i) {
        if (i > list.value_offset(row)) out += ',';
        RETURN_NOT_OK(values(i, out));
      }
      out += ']';
      return Status::OK();
    };
  }
  if (array->type_id() == arrow::Type::MAP) {
    const auto& map = static_cast<const arrow::MapArray&>(*array);
    const bool text_keys = map.keys()->type_id() == arrow::Type::STRING;
    return [array, &map, text_keys, keys = WriterOf(map.keys(), Text::kJson),
            items = WriterOf(map.items(), Text::kJson)](std::int64_t row, std::string& out) -> Status {
      if (map.IsNull(row)) {
        out += "null";
        return Status::OK();
      }
      out += '{';
      for (std::int64_t i = map.value_offset(row); i < map.value_offset(row + 1); ++i) {
        if (i > map.value_offset(row)) out += ',';
        if (text_keys) {
          RETURN_NOT_OK(keys(i, out));
        } else {
          std::string key;
          RETURN_NOT_OK(keys(i, key));
          AppendJsonString(key, out);
        }
        out += ':';
        RETURN_NOT_OK(items(i, out));
      }
      out += '}';
      return Status::OK();
    };
  }
  const auto& structs = static_cast<const arrow::StructArray&>(*array);
  std::vector<std::pair<std::string, AppendValue>> members;
  for (int i = 0; i < structs.num_fields(); ++i) {
    std::string prefix = i == 0 ? "{" : ",";
    AppendJsonString(structs.struct_type()->field(i)->name(), prefix);
    members.emplace_back(prefix + ":", WriterOf(structs.field(i), Text::kJson));
  }
  return [array, members = std::move(members)](std::int64_t row, std::string& out) -> Status {
    if (array->IsNull(row)) {
      out += "null";
      return Status::OK();
    }
    for (const auto& [prefix, member] : members) {
      out += prefix;
      RETURN_NOT_OK(member(row, out));
    }
    out += members.empty() ? "{}" : "}";
    return Status::OK();
  };
}

std::vector<AppendValue> WritersOf(const arrow::RecordBatch& batch, Text text) {
  std::vector<AppendValue> writers;
  for (const auto& column : batch.columns()) writers.push_back(WriterOf(column, text));
  return writers;
}

// Rows between two looks at the limits: some hundred KiB of text at most, mostly.
constexpr std::int64_t kRowsAtOnce = 1024;
constexpr std::size_t kPieceBytes = 256 << 10;

// Calls `append`, which writes to `out`, with some of the rows after the others; moves `out` to `body` now and then.
// `said` takes in what is written, after what is there already.
Status ForEachBatch(const query::Answer& answer, const AnswerLimits& limits, http::Body& body, std::string& out,
                    AnswerDigest* said, const std::function<Status(const arrow::RecordBatch&)>& append) {
  std::size_t begin = 0;
  arrow::TableBatchReader reader(*answer.rows);
  reader.set_chunksize(kRowsAtOnce);
  while (true) {
    std::shared_ptr<arrow::RecordBatch> batch;
    RETURN_NOT_OK(reader.ReadNext(&batch));
    if (batch == nullptr) return Status::OK();
    if (limits.stop.stop_requested()) return Cancelled("the answer is not waited for any more");
    RETURN_NOT_OK(append(*batch));
    if (said != nullptr) said->Add(std::string_view(out).substr(begin));
    begin = out.size();
    if (static_cast<std::int64_t>(body.bytes() + out.size()) > limits.bytes_max) {
      return TooLarge("the answer has more than {} bytes, which is the limit", limits.bytes_max);
    }
    if (out.size() < kPieceBytes) continue;
    body.Append(std::exchange(out, {}));
    out.reserve(kPieceBytes + kPieceBytes / 2);
    begin = 0;
  }
}

// `first`: no row was written before; kept up to date.
Status AppendJsonRows(const arrow::RecordBatch& batch, std::string_view separator, std::string_view end, bool& first,
                      std::string& out) {
  std::vector<std::string> prefixes;
  for (const auto& field : batch.schema()->fields()) {
    std::string prefix = prefixes.empty() ? "{" : ",";
    AppendJsonString(field->name(), prefix);
    prefixes.push_back(prefix + ":");
  }
  const auto writers = WritersOf(batch, Text::kJson);
  for (std::int64_t row = 0; row < batch.num_rows(); ++row) {
    if (!first) out += separator;
    first = false;
    for (std::size_t i = 0; i < writers.size(); ++i) {
      out += prefixes[i];
      RETURN_NOT_OK(writers[i](row, out));
    }
    out += '}';
    out += end;
  }
  return Status::OK();
}

}  // namespace

namespace {

std::string OffsetsToJson(const model::OffsetVector& offsets) {
  std::string out = "{";
  const std::string* topic = nullptr;
  for (const auto& [partition, offset] : offsets) {
    if (topic != nullptr && *topic == partition.topic) {
      out += ',';
    } else {
      if (topic != nullptr) out += "},";
      topic = &partition.topic;
      AppendJsonString(partition.topic, out);
      out += ":{";
    }
    fmt::format_to(std::back_inserter(out), "\"{}\":{}", partition.partition, offset);
  }
  if (topic != nullptr) out += '}';
  return out + "}";
}

}  // namespace

std::string AsOfToJson(const query::Answer& answer) {
  const auto& as_of = answer.as_of;
  const std::string watermark = as_of.watermark ? '"' + query::FormatTime(*as_of.watermark) + '"' : std::string("null");
  if (!answer.tables) {
    return fmt::format("{{\"version\":{},\"offsets\":{},\"watermark\":{}}}", as_of.version,
                       OffsetsToJson(as_of.offsets), watermark);
  }
  std::string tables;
  for (const auto& table : *answer.tables) {
    if (!tables.empty()) tables += ',';
    AppendJsonString(table.name, tables);
    fmt::format_to(std::back_inserter(tables), ":{{\"version\":{},\"offsets\":{},\"hot\":{}}}", table.as_of.version,
                   OffsetsToJson(table.as_of.offsets), table.is_hot);
  }
  return fmt::format("{{\"tables\":{{{}}},\"watermark\":{}}}", tables, watermark);
}

namespace {

Status AppendErrors(const query::Answer& answer, std::string& out) {
  std::vector<AppendValue> writers;
  std::vector<std::string> names;
  if (answer.error_groups != nullptr) {
    writers = WritersOf(*answer.error_groups, Text::kJson);
    names = answer.error_groups->schema()->field_names();
  }
  out += '[';
  bool first = true;
  for (const auto& error : answer.errors) {
    out += first ? "{\"group\":{" : ",{\"group\":{";
    first = false;
    for (std::size_t i = 0; i < writers.size(); ++i) {
      if (i != 0) out += ',';
      AppendJsonString(names[i], out);
      out += ':';
      RETURN_NOT_OK(writers[i](error.group, out));
    }
    out += "},\"measure\":";
    AppendJsonString(error.measure, out);
    out += ",\"detail\":";
    AppendJsonString(error.detail, out);
    out += '}';
  }
  out += ']';
  return Status::OK();
}

std::string NamesToJson(const std::vector<query::MissingSource>& missing) {
  std::string out = "[";
  for (const auto& worker : missing) {
    if (out.size() > 1) out += ',';
    AppendJsonString(worker.name, out);
  }
  return out + ']';
}

// JSON of the same meaning: what is beyond ASCII is escaped, as UTF-16.
std::string AsciiJson(std::string_view json) {
  std::string out;
  for (std::size_t i = 0; i < json.size();) {
    const auto lead = static_cast<unsigned char>(json[i]);
    const std::size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (length == 1) {
      out += json[i++];
      continue;
    }
    std::uint32_t code = lead & (0xFFu >> (length + 1));
    for (std::size_t k = 1; k < length && i + k < json.size(); ++k) {
      code = (code << 6) | (static_cast<unsigned char>(json[i + k]) & 0x3Fu);
    }
    i += length;
    const auto append = [&out](std::uint32_t unit) { fmt::format_to(std::back_inserter(out), "\\u{:04x}", unit); };
    if (code >= 0x10000) {
      append(0xD800 + ((code - 0x10000) >> 10));
      append(0xDC00 + ((code - 0x10000) & 0x3FF));
    } else {
      append(code);
    }
  }
  return out;
}

// What clients and proxies take as one header, with room for the others.
constexpr std::size_t kHeaderBytesMax = 4096;

}  // namespace

std::string MetaToJson(const query::Answer& answer) {
  std::string out = "[";
  for (const auto& column : answer.columns) {
    out += out.size() == 1 ? "{\"name\":" : ",{\"name\":";
    AppendJsonString(column.name, out);
    out += ",\"type\":";
    AppendJsonString(column.duckdb_type, out);
    out += '}';
  }
  return out + ']';
}

Result<std::string> ErrorsToJson(const query::Answer& answer) {
  std::string json;
  RETURN_NOT_OK(AppendErrors(answer, json));
  return json;
}

Result<std::string> ErrorsToHeader(const query::Answer& answer) {
  ASSIGN_OR_RETURN(const auto json, ErrorsToJson(answer));
  std::string header = AsciiJson(json);
  if (header.size() <= kHeaderBytesMax) return header;
  return TooLarge(
      "{} measures have no value in their group, which is more than the header Millrace-Errors can name; "
      "ask for JSON",
      answer.errors.size());
}

std::string PartialToJson(const query::Answer& answer) { return NamesToJson(answer.missing); }

std::string PartialReasonsToJson(const query::Answer& answer) {
  std::string out = "{";
  for (const auto& worker : answer.missing) {
    if (out.back() != '{') out += ',';
    AppendJsonString(worker.name, out);
    out += ':';
    AppendJsonString(worker.reason, out);
  }
  return out + '}';
}

std::string PartialToHeader(const query::Answer& answer) {
  std::vector<query::MissingSource> named = answer.missing;
  std::string header = AsciiJson(NamesToJson(named));
  while (header.size() > kHeaderBytesMax) {
    named.resize(named.size() / 2);
    auto shown = named;
    shown.push_back({.name = "…", .reason = {}});
    header = AsciiJson(NamesToJson(shown));
  }
  return header;
}

namespace {

// What an answer says beside its rows.
Status AddRest(const query::Answer& answer, AnswerDigest* said) {
  if (said == nullptr) return Status::OK();
  said->Add(MetaToJson(answer));
  ASSIGN_OR_RETURN(const auto errors, ErrorsToJson(answer));
  said->Add(errors);
  said->Add(PartialToJson(answer));
  if (answer.next) said->Add(*answer.next);
  return Status::OK();
}

}  // namespace

Result<http::Body> AnswerToJson(const query::Answer& answer, const AnswerLimits& limits, AnswerDigest* said) {
  http::Body body;
  std::string out = "{\"meta\":" + MetaToJson(answer) + ",\n\"data\":[";
  bool first = true;
  RETURN_NOT_OK(ForEachBatch(answer, limits, body, out, said, [&](const arrow::RecordBatch& batch) {
    return AppendJsonRows(batch, ",\n", "", first, out);
  }));
  RETURN_NOT_OK(AddRest(answer, said));
  fmt::format_to(
      std::back_inserter(out),
      "],\n\"rows\":{},\"statistics\":{{\"elapsed\":{:.6f},\"rows_read\":{},\"bytes_read\":{}}},\n\"as_of\":{},",
      answer.rows->num_rows(), answer.elapsed_seconds, answer.rows_read, answer.bytes_read, AsOfToJson(answer));
  if (!answer.errors.empty()) {
    out += "\n\"errors\":";
    RETURN_NOT_OK(AppendErrors(answer, out));
    out += ',';
  }
  if (!answer.missing.empty()) {
    out += "\n\"partial\":" + PartialToJson(answer) + ",\"partial_reasons\":" + PartialReasonsToJson(answer) + ',';
  }
  out += "\"next\":";
  if (answer.next) {
    AppendJsonString(*answer.next, out);
  } else {
    out += "null";
  }
  out += "}\n";
  body.Append(std::move(out));
  return body;
}

Status AppendNdjson(const arrow::RecordBatch& batch, std::string& out) {
  bool first = true;
  return AppendJsonRows(batch, "", "\n", first, out);
}

Result<http::Body> AnswerToNdjson(const query::Answer& answer, const AnswerLimits& limits, AnswerDigest* said) {
  http::Body body;
  std::string out;
  const auto append = [&](const arrow::RecordBatch& batch) { return AppendNdjson(batch, out); };
  RETURN_NOT_OK(ForEachBatch(answer, limits, body, out, said, append));
  RETURN_NOT_OK(AddRest(answer, said));
  body.Append(std::move(out));
  return body;
}

std::string CsvHeader(const arrow::Schema& schema) {
  std::string out;
  for (const auto& field : schema.fields()) {
    if (!out.empty()) out += ',';
    AppendCsvString(field->name(), out);
  }
  out += '\n';
  return out;
}

Status AppendCsv(const arrow::RecordBatch& batch, std::string& out) {
  const auto writers = WritersOf(batch, Text::kCsv);
  for (std::int64_t row = 0; row < batch.num_rows(); ++row) {
    for (std::size_t i = 0; i < writers.size(); ++i) {
      if (i != 0) out += ',';
      RETURN_NOT_OK(writers[i](row, out));
    }
    out += '\n';
  }
  return Status::OK();
}

Result<http::Body> AnswerToCsv(const query::Answer& answer, const AnswerLimits& limits, AnswerDigest* said) {
  http::Body body;
  std::string out = CsvHeader(*answer.rows->schema());
  const auto append = [&](const arrow::RecordBatch& batch) { return AppendCsv(batch, out); };
  RETURN_NOT_OK(ForEachBatch(answer, limits, body, out, said, append));
  RETURN_NOT_OK(AddRest(answer, said));
  body.Append(std::move(out));
  return body;
}

}  // namespace millrace::serve
