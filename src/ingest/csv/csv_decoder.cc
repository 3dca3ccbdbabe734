#include "ingest/csv/csv_decoder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "base/json_text.h"
#include "base/nearest_name.h"
#include "ingest/payload_form.h"
#include "ingest/values/column_internal.h"
#include "ingest/values/text_value_internal.h"
#include "ingest/values/utf8_text_internal.h"

namespace millrace::ingest {
namespace {

// One field of a line.
struct CsvField {
  std::string_view text;  // Without its quotes and escapes; valid until the next is read.
  bool is_quoted = false;
  std::size_t at = 0;  // Where it begins in the document.
};

// Takes a line apart, field by field.
class CsvLine {
 public:
  explicit CsvLine(const CsvSpec& spec) : spec_(spec) {}

  void Begin(std::string_view line) {
    line_ = line;
    has_breaks_ = line.find('\n') != std::string_view::npos || line.find('\r') != std::string_view::npos;
    at_ = 0;
    has_more_ = true;
  }
  bool has_more() const { return has_more_; }
  std::size_t at() const { return at_; }

  // The next, of which there is one; false if the line is no CSV, and why.
  bool Next(CsvField* field, std::string* fault) {
    field->at = at_;
    field->is_quoted = spec_.quote && at_ < line_.size() && line_[at_] == *spec_.quote;
    if (field->is_quoted) {
      if (!ReadQuoted(field, fault)) return false;
    } else {
      const char* const begin = line_.data() + at_;
      const std::size_t left = line_.size() - at_;
      const auto* end = left == 0 ? nullptr : static_cast<const char*>(std::memchr(begin, spec_.delimiter, left));
      const std::size_t size = end == nullptr ? left : static_cast<std::size_t>(end - begin);
      field->text = {begin, size};
      const auto broken = has_breaks_ ? field->text.find_first_of("\r\n") : std::string_view::npos;
      if (broken != std::string_view::npos) {
        *fault = fmt::format("a second line begins behind byte {}, and a record is one line", at_ + broken);
        return false;
      }
      at_ += size;
    }
    has_more_ = at_ < line_.size();
    if (has_more_) ++at_;  // The delimiter.
    return true;
  }

 private:
  bool ReadQuoted(CsvField* field, std::string* fault) {
    const char quote = *spec_.quote;
    const std::size_t opened = at_++;
    std::size_t begin = at_;
    bool is_copied = false;
    for (;; ++at_) {
      if (at_ == line_.size()) {
        *fault = fmt::format("the quote at byte {} does not end", opened);
        return false;
      }
      const char c = line_[at_];
      const bool is_escape =
          c == spec_.escape && at_ + 1 < line_.size() && (line_[at_ + 1] == quote || line_[at_ + 1] == spec_.escape);
      if (is_escape) {
        if (!is_copied) unescaped_.clear();
        is_copied = true;
        unescaped_.append(line_.substr(begin, at_ - begin));
        unescaped_ += line_[++at_];
        begin = at_ + 1;
      } else if (c == quote) {
        break;
      }
    }
    field->text = line_.substr(begin, at_ - begin);
    if (is_copied) field->text = unescaped_.append(field->text);
    ++at_;
    if (at_ < line_.size() && line_[at_] != spec_.delimiter) {
      *fault = fmt::format("the quote that ends at byte {} is in mid-field", at_ - 1);
      return false;
    }
    return true;
  }

  const CsvSpec spec_;
  std::string_view line_;
  bool has_breaks_ = false;  // Within quotes or where none may be; most lines have none.
  std::size_t at_ = 0;
  bool has_more_ = false;
  std::string unescaped_;
};

constexpr std::size_t kShownFields = 20;

std::string FieldsText(const std::vector<std::string>& names) {
  const std::size_t shown = std::min(names.size(), kShownFields);
  std::string text =
      fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "));
  return shown == names.size() ? text : fmt::format("{} and {} more", text, names.size() - shown);
}

std::string_view WithoutLineBreak(std::string_view line) {
  if (line.ends_with('\n')) line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

class CsvDecoder : public Decoder {
 public:
  explicit CsvDecoder(const DecodeSpec& spec) : spec_(spec), schema_(DecodedSchema(spec)), line_(spec.csv) {}

  Status Prepare() {
    RETURN_NOT_OK(CheckCsv(spec_.csv));
    for (const std::string& name : spec_.csv.header) fields_.push_back({.name = name, .columns = {}});
    columns_.reserve(spec_.columns.size() + 1);
    for (std::size_t i = 0; i < spec_.columns.size(); ++i) {
      const ColumnSpec& column = spec_.columns[i];
      const auto kind = KindOfColumn(*column.type, column.form);
      if (!kind.ok()) return WithContext(kind.status(), "column '{}'", column.name);
      if (*kind < ValueKind::kString)
        return InvalidInput("column '{}': CSV has no lists, structs or maps", column.name);
      RETURN_NOT_OK(Declare(column, i));
      columns_.emplace_back(column.type, column.form);
    }
    if (spec_.has_rescued_column()) columns_.emplace_back(arrow::utf8(), TimestampForm::kRfc3339);
    return CheckUnknown();
  }

  Result<DecodedDocuments> Decode(std::span<const Document> documents) override {
    RETURN_NOT_OK(BeginColumns(columns_, documents));
    DecodedDocuments result;
    row_ = 0;
    for (std::size_t i = 0; i < documents.size(); ++i) {
      refusal_.reset();
      RETURN_NOT_OK(DecodeLine(documents[i].bytes));
      if (refusal_) {
        refusal_->document = i;
        result.refused.push_back(*std::move(refusal_));
      } else {
        ++row_;
      }
    }
    ASSIGN_OR_RETURN(result.rows, FinishColumns(columns_, row_, schema_));
    return result;
  }

 private:
  // Of the header.
  struct Field {
    std::string name;
    std::vector<std::size_t> columns;  // That read it.
  };

  Status Declare(const ColumnSpec& column, std::size_t index) {
    if (spec_.csv.header.empty()) {
      fields_.push_back({.name = column.name, .columns = {index}});
      return Status::OK();
    }
    const std::string name = column.path.empty() ? column.name : fmt::format("{}", fmt::join(column.path, "."));
    const auto field = std::find_if(fields_.begin(), fields_.end(), [&](const Field& one) { return one.name == name; });
    if (field == fields_.end()) {
      return InvalidInput("column '{}': csv.header has no field '{}' (it has {}){}", column.name, name,
                          FieldsText(spec_.csv.header), DidYouMean(name, spec_.csv.header));
    }
    field->columns.push_back(index);
    return Status::OK();
  }

  Status CheckUnknown() const {
    if (spec_.unknown_fields == UnknownFields::kAdd) {
      return InvalidInput("unknown_fields: add is not for CSV, whose fields csv.header names: declare their columns");
    }
    if (spec_.unknown_fields != UnknownFields::kReject) return Status::OK();
    for (const Field& field : fields_) {
      if (field.columns.empty()) {
        return InvalidInput(
            "csv.header names '{}', which no column reads: with unknown_fields: reject every record would be refused",
            field.name);
      }
    }
    return Status::OK();
  }

  void Refuse(std::string_view reason, std::string detail) {
    refusal_ = Refusal{.reason = std::string(reason), .detail = std::move(detail)};
  }

  // Writes the row, or refuses the line. Fails only when memory runs out.
  Status DecodeLine(std::string_view document) {
    if (document.empty()) {
      Refuse("empty_payload", "the payload is empty");
      return Status::OK();
    }
    if (!IsUtf8(document)) {
      const std::string form = FormOfPayload(document);
      Refuse("bad_utf8", form.empty() ? "not UTF-8" : fmt::format("not UTF-8; it looks like {}", form));
      return Status::OK();
    }
    line_.Begin(WithoutLineBreak(document));
    rescued_.clear();
    std::size_t read = 0;
    for (; read < fields_.size() && line_.has_more(); ++read) {
      CsvField text;
      std::string fault;
      if (!line_.Next(&text, &fault)) {
        Refuse("bad_csv", std::move(fault));
        return Status::OK();
      }
      RETURN_NOT_OK(Take(fields_[read], text));
      if (refusal_) return Status::OK();
    }
    if (line_.has_more()) {
      Refuse("too_many_fields", fmt::format("more than {} fields, from byte {} on", fields_.size(), line_.at()));
      return Status::OK();
    }
    if (read < fields_.size() && !spec_.csv.missing_is_null) {
      Refuse("missing_fields", fmt::format("{} fields, the first that is missing is '{}'", read, fields_[read].name));
      return Status::OK();
    }
    for (; read < fields_.size(); ++read) {
      for (const std::size_t column : fields_[read].columns) RETURN_NOT_OK(columns_[column].SetNull(row_));
    }
    return spec_.has_rescued_column() ? StoreRescued() : Status::OK();
  }

  Status Take(const Field& field, const CsvField& text) {
    const bool is_null = !text.is_quoted && text.text == spec_.csv.null_text;
    if (field.columns.empty() && spec_.has_rescued_column()) {
      rescued_ += rescued_.empty() ? '{' : ',';
      AppendJsonString(field.name, rescued_);
      rescued_ += ':';
      if (is_null) {
        rescued_ += "null";
      } else {
        AppendJsonString(text.text, rescued_);
      }
    }
    for (const std::size_t index : field.columns) {
      Column& column = columns_[index];
      if (is_null) {
        RETURN_NOT_OK(column.SetNull(row_));
        continue;
      }
      column.SetValid(row_);
      std::optional<TextProblem> problem;
      RETURN_NOT_OK(SetFromText(text.text, row_, column, &problem));
      if (problem) {
        Refuse(problem->reason, fmt::format("field '{}': {} at byte {}", field.name, problem->detail, text.at));
        return Status::OK();
      }
    }
    return Status::OK();
  }

  Status StoreRescued() {
    Column& column = columns_.back();
    if (rescued_.empty()) return column.SetNull(row_);
    column.SetValid(row_);
    rescued_ += '}';
    std::optional<TextProblem> never;
    return SetFromText(rescued_, row_, column, &never);
  }

  const DecodeSpec spec_;
  const std::shared_ptr<arrow::Schema> schema_;
  std::vector<Field> fields_;

  // Of the batch.
  std::vector<Column> columns_;  // One for each of spec_.columns, then perhaps that of rescued_.
  std::int64_t row_ = 0;

  // Of the document.
  CsvLine line_;
  std::string rescued_;
  std::optional<Refusal> refusal_;
};

}  // namespace

Status CheckCsv(const CsvSpec& csv) {
  std::vector<std::pair<std::string_view, char>> marks = {{"delimiter", csv.delimiter}};
  if (csv.quote) marks.emplace_back("quote", *csv.quote);
  if (csv.quote && csv.escape != *csv.quote) marks.emplace_back("escape", csv.escape);
  for (std::size_t i = 0; i < marks.size(); ++i) {
    const auto& [name, mark] = marks[i];
    if (mark == '\n' || mark == '\r' || mark == '\0' || static_cast<unsigned char>(mark) >= 0x80) {
      return InvalidInput("csv.{} must be an ASCII character that is no line break", name);
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (marks[j].second == mark) return InvalidInput("csv.{} and csv.{} are both '{}'", marks[j].first, name, mark);
    }
  }
  std::set<std::string_view> names;
  for (const std::string& name : csv.header) {
    if (name.empty()) return InvalidInput("csv.header: a name is empty");
    if (!names.insert(name).second) return InvalidInput("csv.header: '{}' is there twice", name);
  }
  return Status::OK();
}

Result<std::unique_ptr<Decoder>> MakeCsvDecoder(const DecodeSpec& spec) {
  auto decoder = std::make_unique<CsvDecoder>(spec);
  RETURN_NOT_OK(decoder->Prepare());
  return decoder;
}

}  // namespace millrace::ingest
