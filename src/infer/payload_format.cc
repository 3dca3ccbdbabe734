#include "infer/payload_format.h"

#include <simdjson.h>

#include <algorithm>
#include <set>
#include <utility>

#include "infer/json_kind.h"
#include "ingest/values/text_shape.h"

namespace millrace::infer {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kConfluentBytes = 5;
constexpr std::size_t kSchemaIdsMax = 20;
// Of all lines, that have as many fields as most.
constexpr double kLinesOfOneTable = 0.9;

std::string_view WithoutBlanks(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin);
}

std::string_view WithoutLineBreak(std::string_view line) {
  if (line.ends_with('\n')) line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

bool AreJsonLines(std::string_view text) {
  int lines = 0;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = WithoutBlanks(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    if (JsonKindOf(line) != JsonKind::kObject) return false;
    ++lines;
  }
  return lines > 1;
}

bool IsPlain(std::string_view text) {
  const bool has_controls = std::any_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n' && c != '\r';
  });
  return !has_controls && simdjson::validate_utf8(text.data(), text.size());
}

std::uint32_t SchemaId(std::string_view payload) {
  std::uint32_t id = 0;
  for (const char byte : payload.substr(1, 4)) id = id << 8 | static_cast<unsigned char>(byte);
  return id;
}

// As prose has them, behind commas. Who writes tables has no blanks before values.
bool BeginsWithBlank(const std::vector<std::string>& fields) {
  return std::any_of(fields.begin() + 1, fields.end(), [](const auto& field) { return field.starts_with(' '); });
}

// How many fields most lines have, and how many lines those are.
std::pair<std::size_t, std::size_t> MostFields(const std::vector<std::string_view>& lines, char delimiter) {
  std::map<std::size_t, std::size_t> lines_of;
  for (const auto line : lines) {
    const auto fields = SplitCsv(line, delimiter);
    const bool is_one_line = WithoutLineBreak(line).find('\n') == line.npos;
    if (is_one_line && !BeginsWithBlank(fields)) ++lines_of[fields.size()];
  }
  std::pair<std::size_t, std::size_t> most;
  for (const auto& [fields, count] : lines_of) {
    if (count > most.second) most = {fields, count};
  }
  return most;
}

bool IsValue(std::string_view text) { return ingest::ShapeOfText(text).kind != ingest::TextKind::kOther; }

// Has each column a text in `line`, and some column a value that is none in most of the other rows?
bool IsHeaderOf(const std::vector<std::string>& line, const std::vector<std::vector<std::string>>& rows) {
  std::set<std::string_view> names;
  for (const auto& field : line) {
    if (WithoutBlanks(field).empty() || IsValue(field) || !names.insert(field).second) return false;
  }
  for (std::size_t f = 0; f < line.size(); ++f) {
    std::size_t filled = 0;
    std::size_t values = 0;
    for (const auto& row : rows) {
      if (row[f].empty() || row == line) continue;
      ++filled;
      values += IsValue(row[f]) ? 1 : 0;
    }
    if (2 * values > filled) return true;
  }
  return false;
}

}  // namespace

PayloadShape ShapeOf(std::string_view payload) {
  if (payload.empty()) return PayloadShape::kEmpty;
  if (payload.starts_with("\x1F\x8B"sv)) return PayloadShape::kGzip;
  if (payload.starts_with("\x28\xB5\x2F\xFD"sv)) return PayloadShape::kZstd;
  if (payload.starts_with("Obj\x01"sv)) return PayloadShape::kContainer;
  if (payload.starts_with("\xC3\x01"sv)) return PayloadShape::kSingleObject;
  const auto text = WithoutBlanks(payload);
  if (text.starts_with('{')) {
    if (JsonKindOf(text) == JsonKind::kObject) return PayloadShape::kJsonObject;
    if (AreJsonLines(text)) return PayloadShape::kJsonLines;
  }
  if (text.starts_with('[') && JsonKindOf(text) == JsonKind::kOther) return PayloadShape::kJsonArray;
  if (payload.front() == '\0' && payload.size() >= kConfluentBytes) {
    return ShapeOf(payload.substr(kConfluentBytes)) == PayloadShape::kJsonObject ? PayloadShape::kConfluentJson
                                                                                 : PayloadShape::kConfluent;
  }
  return IsPlain(payload) ? PayloadShape::kText : PayloadShape::kBinary;
}

std::string_view ShapeName(PayloadShape shape) {
  switch (shape) {
    case PayloadShape::kEmpty:
      return "empty";
    case PayloadShape::kJsonObject:
      return "a JSON object";
    case PayloadShape::kJsonArray:
      return "a JSON array";
    case PayloadShape::kJsonLines:
      return "lines of JSON objects";
    case PayloadShape::kConfluent:
      return "behind the framing of a schema registry";
    case PayloadShape::kConfluentJson:
      return "a JSON object behind the framing of a schema registry";
    case PayloadShape::kSingleObject:
      return "Avro's single-object encoding";
    case PayloadShape::kContainer:
      return "an Avro container file";
    case PayloadShape::kGzip:
      return "gzip";
    case PayloadShape::kZstd:
      return "zstd";
    case PayloadShape::kText:
      return "text";
    case PayloadShape::kBinary:
      break;
  }
  return "binary";
}

PayloadShape PayloadShapes::most() const {
  const auto most =
      std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == counts.end() ? PayloadShape::kEmpty : most->first;
}

std::int64_t PayloadShapes::count(PayloadShape shape) const {
  const auto found = counts.find(shape);
  return found == counts.end() ? 0 : found->second;
}

PayloadShapes ShapesOf(const Sample& sample) {
  PayloadShapes shapes;
  for (const auto& record : sample.records) {
    const auto shape = ShapeOf(record.payload);
    ++shapes.counts[shape];
    if (shape != PayloadShape::kConfluent && shape != PayloadShape::kConfluentJson) continue;
    const auto id = SchemaId(record.payload);
    const bool known = std::find(shapes.schema_ids.begin(), shapes.schema_ids.end(), id) != shapes.schema_ids.end();
    if (!known && shapes.schema_ids.size() < kSchemaIdsMax) shapes.schema_ids.push_back(id);
  }
  return shapes;
}

std::vector<std::string> SplitCsv(std::string_view line, char delimiter) {
  line = WithoutLineBreak(line);
  std::vector<std::string> fields(1);
  bool quoted = false;
  bool at_begin = true;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted) {
      if (c != '"') {
        fields.back() += c;
      } else if (i + 1 < line.size() && line[i + 1] == '"') {
        fields.back() += line[++i];
      } else {
        quoted = false;
      }
    } else if (c == delimiter) {
      fields.emplace_back();
      at_begin = true;
      continue;
    } else if (c == '"' && at_begin) {
      quoted = true;
    } else {
      fields.back() += c;
    }
    at_begin = false;
  }
  return fields;
}

bool IsHeader(std::string_view payload, const CsvShape& shape) {
  return !shape.header.empty() && WithoutLineBreak(payload) == shape.header_line;
}

bool GuessCsv(const Sample& sample, CsvShape* shape) {
  std::vector<std::string_view> lines;
  for (const auto& record : sample.records) {
    if (!record.payload.empty() && IsPlain(record.payload)) lines.push_back(record.payload);
  }
  if (lines.empty()) return false;
  // The one that cuts nearly all lines into equally many fields, and into the most.
  for (const char delimiter : {'\t', ',', ';', '|'}) {
    const auto [fields, count] = MostFields(lines, delimiter);
    const bool one_table = static_cast<double>(count) >= kLinesOfOneTable * static_cast<double>(lines.size());
    if (fields > 1 && one_table && fields > shape->num_fields) {
      shape->num_fields = fields;
      shape->delimiter = delimiter;
    }
  }
  if (shape->num_fields < 2) return false;

  std::vector<std::vector<std::string>> rows;
  std::set<std::string> firsts;  // Lines of partitions.
  std::set<std::int32_t> partitions;
  for (const auto& record : sample.records) {
    auto fields = SplitCsv(record.payload, shape->delimiter);
    if (fields.size() != shape->num_fields) continue;
    if (partitions.insert(record.partition).second) firsts.emplace(WithoutLineBreak(record.payload));
    rows.push_back(std::move(fields));
  }
  for (const auto& line : firsts) {
    auto fields = SplitCsv(line, shape->delimiter);
    if (!IsHeaderOf(fields, rows)) continue;
    shape->header = std::move(fields);
    shape->header_line = line;
    break;
  }
  return true;
}

}  // namespace millrace::infer
