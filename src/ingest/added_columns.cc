#include "ingest/added_columns.h"

#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/array/util.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/ascii_case.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"
#include "ingest/json/document_reader_internal.h"
#include "ingest/json/json_decoder.h"
#include "ingest/values/number_text_internal.h"

namespace millrace::ingest {
namespace {

constexpr std::size_t kNameMax = 128;
constexpr std::uint64_t kExactDoubleMax = std::uint64_t{1} << 53;

// Spark's and Delta's own, and those of our batches whether or not a table keeps them.
constexpr std::array<std::string_view, 10> kReserved = {
    "_rescued", "_topic",       "_partition",      "_offset",           "_timestamp",
    "_index",   "_change_type", "_commit_version", "_commit_timestamp", "_metadata"};

// A number of the grammar of JSON, wherever int64 and double end.
bool ReadInt64(const NumberText& number, std::int64_t* value) {
  Int128 wide = 0;
  if (!number.integer || ToScaledInteger(number, 19, 0, Rounding::kExact, &wide) != NumberError::kNone) return false;
  *value = static_cast<std::int64_t>(wide);
  return *value == wide;
}

bool ReadDouble(const NumberText& number, double* value) {
  if (number.integer && (!number.exact || number.digits > kExactDoubleMax)) return false;
  return ToDouble(number, value) == NumberError::kNone && HoldsAllDigits(number, *value);
}

// The value at `p`, which is JSON.
std::optional<AddedType> TypeOf(const char* p) {
  switch (*p) {
    case 't':
    case 'f':
      return AddedType::kBool;
    case '"':
      return AddedType::kString;
    case '{':
    case '[':
      return AddedType::kJson;
    case 'n':
      return std::nullopt;
    default: {
      NumberText number;
      std::int64_t integer = 0;
      double real = 0;
      if (!ScanNumber(p, &number)) return std::nullopt;
      if (number.integer) return ReadInt64(number, &integer) ? std::optional(AddedType::kInt64) : std::nullopt;
      return ReadDouble(number, &real) ? std::optional(AddedType::kDouble) : std::nullopt;
    }
  }
}

}  // namespace

std::shared_ptr<arrow::DataType> ArrowType(const AddedColumn& column) {
  switch (column.type) {
    case AddedType::kBool:
      return arrow::boolean();
    case AddedType::kInt64:
      return arrow::int64();
    case AddedType::kDouble:
      return arrow::float64();
    case AddedType::kDeclared:
      return column.declared;
    case AddedType::kString:
    case AddedType::kJson:
      break;
  }
  return arrow::utf8();
}

bool CanNameColumn(std::string_view key) {
  const auto is_good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '@' || c == '$';
  };
  if (key.empty() || key.size() > kNameMax || !std::all_of(key.begin(), key.end(), is_good)) return false;
  return key[0] != '_' || std::find(kReserved.begin(), kReserved.end(), AsciiLower(key)) == kReserved.end();
}

class RescuedFields::Impl {
 public:
  explicit Impl(std::shared_ptr<const DeclaredFields> declared) : declared_(std::move(declared)) {}

  void SetColumns(const std::vector<AddedColumn>& columns, const std::vector<std::string>& taken);
  const std::vector<AddedColumn>& columns() const { return columns_; }
  std::vector<AddedColumn> FindNew(const arrow::StringArray& rescued);
  Result<Parts> Split(const arrow::StringArray& rescued);

 private:
  static constexpr int kNoColumn = -1;
  // A member of one text; `text` is the whole of it, key and value.
  struct Member {
    std::string_view text;
    const char* value;
    int column;
  };
  // Per column the member of the row at hand.
  static constexpr int kAbsent = -1;
  static constexpr int kTwice = -2;

  void Load(const arrow::StringArray& rescued);
  // Calls visit(key, member) for each member. False if the text is no JSON object.
  template <typename Visit>
  bool Walk(std::int64_t row, const arrow::StringArray& rescued, Visit visit);
  bool Take(arrow::ArrayBuilder& builder, AddedType type, const Member& member);
  // What a declared column takes of all rows.
  struct Taken {
    std::vector<bool> rows;
    std::shared_ptr<arrow::Array> values;  // One for each row; null where nothing is taken.
  };
  Result<Taken> TakeDeclared(int column, const arrow::StringArray& rescued);
  AddedColumn AsDeclared(AddedColumn column) const;
  int ColumnOf(std::string_view key) const {
    const auto found = index_.find(key);
    return found == index_.end() ? kNoColumn : found->second;
  }

  const std::shared_ptr<const DeclaredFields> declared_;
  std::vector<AddedColumn> columns_;
  std::map<std::string, int, std::less<>> index_;  // Of columns_, by name.
  std::set<std::string> taken_;                    // In lower case; the columns' names too.

  // Of the batch: all texts, with a zero byte behind each, where the reader stops whatever the text is: it may be
  // somebody's SQL that has made it.
  std::string scratch_;
  DocumentReader reader_;
  std::vector<Member> members_;
  std::vector<int> member_of_;
};

void RescuedFields::Impl::SetColumns(const std::vector<AddedColumn>& columns, const std::vector<std::string>& taken) {
  columns_.clear();
  index_.clear();
  taken_.clear();
  for (const std::string& name : taken) taken_.insert(AsciiLower(name));
  for (const AddedColumn& column : columns) {
    if (!taken_.insert(AsciiLower(column.name)).second) continue;
    index_.emplace(column.name, static_cast<int>(columns_.size()));
    columns_.push_back(column);
  }
}

void RescuedFields::Impl::Load(const arrow::StringArray& rescued) {
  scratch_.clear();
  scratch_.reserve(static_cast<std::size_t>(rescued.total_values_length() + rescued.length()) +
                   DocumentReader::kPadding);
  for (std::int64_t row = 0; row < rescued.length(); ++row) {
    const auto text = std::string_view(reinterpret_cast<const char*>(rescued.raw_data()) + rescued.value_offset(row),
                                       static_cast<std::size_t>(rescued.value_length(row)));
    scratch_.append(text).append(1, '\0');
  }
  scratch_.append(DocumentReader::kPadding, '\0');
}

template <typename Visit>
bool RescuedFields::Impl::Walk(std::int64_t row, const arrow::StringArray& rescued, Visit visit) {
  const char* p = scratch_.data() + (rescued.value_offset(row) - rescued.value_offset(0)) + row;
  const char* const end = p + rescued.value_length(row);
  reader_.Begin(p, end);
  p = DocumentReader::SkipSpace(p);
  if (*p != '{') return false;
  p = DocumentReader::SkipSpace(p + 1);
  if (*p == '}') return DocumentReader::SkipSpace(p + 1) == end;
  for (;;) {
    const char* const begin = p;
    std::string_view key;
    if (*p != '"' || (p = reader_.ReadText(p + 1, &key)) == nullptr) return false;
    p = DocumentReader::SkipSpace(p);
    if (*p != ':') return false;
    const char* const value = DocumentReader::SkipSpace(p + 1);
    // `key` is gone once the value is read.
    const int column = ColumnOf(key);
    const bool is_candidate = column == kNoColumn && CanNameColumn(key);
    const std::string name = is_candidate ? std::string(key) : std::string();
    p = reader_.SkipValue(value, 1);
    if (p == nullptr) return false;
    visit(name, Member{{begin, static_cast<std::size_t>(p - begin)}, value, column});
    p = DocumentReader::SkipSpace(p);
    if (*p == '}') return DocumentReader::SkipSpace(p + 1) == end;
    if (*p != ',') return false;
    p = DocumentReader::SkipSpace(p + 1);
  }
}

std::vector<AddedColumn> RescuedFields::Impl::FindNew(const arrow::StringArray& rescued) {
  std::vector<AddedColumn> found;
  if (rescued.null_count() == rescued.length()) return found;
  Load(rescued);
  std::map<std::string, std::size_t> by_folded_name;
  std::vector<AddedColumn> of_text;
  for (std::int64_t row = 0; row < rescued.length(); ++row) {
    if (rescued.IsNull(row)) continue;
    of_text.clear();
    const bool is_object = Walk(row, rescued, [&](const std::string& name, const Member& member) {
      if (name.empty()) return;
      if (const auto type = TypeOf(member.value)) of_text.push_back({name, *type});
    });
    if (!is_object) continue;
    for (AddedColumn& column : of_text) {
      std::string folded = AsciiLower(column.name);
      if (taken_.contains(folded)) continue;
      const auto [entry, is_new] = by_folded_name.emplace(std::move(folded), found.size());
      if (is_new) {
        found.push_back(std::move(column));
        continue;
      }
      AddedColumn& first = found[entry->second];
      const bool both_numbers = (first.type == AddedType::kInt64 && column.type == AddedType::kDouble);
      if (first.name == column.name && both_numbers) first.type = AddedType::kDouble;
    }
  }
  for (AddedColumn& column : found) column = AsDeclared(std::move(column));
  return found;
}

AddedColumn RescuedFields::Impl::AsDeclared(AddedColumn column) const {
  auto type = declared_ == nullptr ? nullptr : declared_->Find(column.name);
  if (type == nullptr) return column;
  switch (type->id()) {
    case arrow::Type::BOOL:
      column.type = AddedType::kBool;
      break;
    case arrow::Type::INT64:
      column.type = AddedType::kInt64;
      break;
    case arrow::Type::DOUBLE:
      column.type = AddedType::kDouble;
      break;
    case arrow::Type::STRING:
      if (column.type != AddedType::kJson) column.type = AddedType::kString;
      break;
    default:
      column.type = AddedType::kDeclared;
      column.declared = std::move(type);
  }
  return column;
}

Result<RescuedFields::Impl::Taken> RescuedFields::Impl::TakeDeclared(int column, const arrow::StringArray& rescued) {
  static const std::string kNothing = "{}";
  const auto rows = static_cast<std::size_t>(rescued.length());
  Taken taken{.rows = std::vector<bool>(rows), .values = nullptr};
  std::vector<std::string> texts(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    int times = 0;
    const auto is_object = [&] {
      return Walk(static_cast<std::int64_t>(row), rescued, [&](const std::string&, const Member& member) {
        if (member.column != column || ++times > 1) return;
        const char* const end = member.text.data() + member.text.size();
        texts[row] = fmt::format("{{\"v\":{}}}", std::string_view(member.value, end));
      });
    };
    taken.rows[row] = !rescued.IsNull(static_cast<std::int64_t>(row)) && is_object() && times == 1;
  }
  const auto decoder = MakeJsonDecoder(
      {.columns = {{.name = "v", .type = columns_[static_cast<std::size_t>(column)].declared, .path = {"v"}}}});
  RETURN_NOT_OK(decoder.status());
  for (;;) {
    std::vector<Document> documents(rows);
    for (std::size_t row = 0; row < rows; ++row) documents[row].bytes = taken.rows[row] ? texts[row] : kNothing;
    ASSIGN_OR_RETURN(const auto decoded, (*decoder)->Decode(documents));
    if (decoded.refused.empty()) {
      taken.values = decoded.rows->column(0);
      return taken;
    }
    for (const Refusal& refusal : decoded.refused) taken.rows[refusal.document] = false;
  }
}

// False: the column does not take it; the builder has no new value then.
bool RescuedFields::Impl::Take(arrow::ArrayBuilder& builder, AddedType type, const Member& member) {
  const char* const p = member.value;
  if (*p == 'n') {
    static_cast<void>(builder.AppendNull());
    return true;
  }
  NumberText number;
  switch (type) {
    case AddedType::kBool:
      if (*p != 't' && *p != 'f') return false;
      static_cast<arrow::BooleanBuilder&>(builder).UnsafeAppend(*p == 't');
      return true;
    case AddedType::kInt64: {
      std::int64_t value = 0;
      if (!ScanNumber(p, &number) || !ReadInt64(number, &value)) return false;
      static_cast<arrow::Int64Builder&>(builder).UnsafeAppend(value);
      return true;
    }
    case AddedType::kDouble: {
      double value = 0;
      if (!ScanNumber(p, &number) || !ReadDouble(number, &value)) return false;
      static_cast<arrow::DoubleBuilder&>(builder).UnsafeAppend(value);
      return true;
    }
    case AddedType::kString: {
      std::string_view text;
      if (*p != '"' || reader_.ReadText(p + 1, &text) == nullptr) return false;
      return static_cast<arrow::StringBuilder&>(builder).Append(text).ok();
    }
    case AddedType::kJson:
    case AddedType::kDeclared:
      break;
  }
  if (*p != '{' && *p != '[') return false;
  const auto length = static_cast<std::size_t>(member.text.data() + member.text.size() - p);
  return static_cast<arrow::StringBuilder&>(builder).Append(std::string_view(p, length)).ok();
}

Result<RescuedFields::Parts> RescuedFields::Impl::Split(const arrow::StringArray& rescued) {
  const std::int64_t rows = rescued.length();
  Parts parts;
  std::vector<std::unique_ptr<arrow::ArrayBuilder>> builders;
  for (const AddedColumn& column : columns_) {
    if (rescued.null_count() == rows) {
      ASSIGN_OR_RETURN(auto nulls, arrow::MakeArrayOfNull(ArrowType(column), rows));
      parts.columns.push_back(std::move(nulls));
      continue;
    }
    ASSIGN_OR_RETURN(auto builder, arrow::MakeBuilder(ArrowType(column)));
    RETURN_NOT_OK(builder->Reserve(rows));
    builders.push_back(std::move(builder));
  }
  if (rescued.null_count() == rows || columns_.empty()) {
    for (auto& builder : builders) {
      ASSIGN_OR_RETURN(auto nulls, arrow::MakeArrayOfNull(builder->type(), rows));
      parts.columns.push_back(std::move(nulls));
    }
    parts.rescued = arrow::MakeArray(rescued.data());
    return parts;
  }

  Load(rescued);
  std::vector<Taken> declared(columns_.size());  // Empty of columns that take a value at a time.
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].type != AddedType::kDeclared) continue;
    ASSIGN_OR_RETURN(declared[i], TakeDeclared(static_cast<int>(i), rescued));
  }
  arrow::StringBuilder rest;
  RETURN_NOT_OK(rest.Reserve(rows));
  std::string text;
  for (std::int64_t row = 0; row < rows; ++row) {
    members_.clear();
    member_of_.assign(columns_.size(), kAbsent);
    const bool is_object = !rescued.IsNull(row) && Walk(row, rescued, [&](const std::string&, const Member& member) {
      if (member.column != kNoColumn) {
        int& mine = member_of_[static_cast<std::size_t>(member.column)];
        mine = mine == kAbsent ? static_cast<int>(members_.size()) : kTwice;
      }
      members_.push_back(member);
    });
    if (!is_object) member_of_.assign(columns_.size(), kAbsent);
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const int mine = member_of_[i];
      if (declared[i].values != nullptr) {
        if (declared[i].rows[static_cast<std::size_t>(row)]) members_[static_cast<std::size_t>(mine)].text = {};
      } else if (mine >= 0 && Take(*builders[i], columns_[i].type, members_[static_cast<std::size_t>(mine)])) {
        members_[static_cast<std::size_t>(mine)].text = {};
      } else {
        RETURN_NOT_OK(builders[i]->AppendNull());
      }
    }
    if (rescued.IsNull(row)) {
      RETURN_NOT_OK(rest.AppendNull());
      continue;
    }
    if (!is_object) {
      RETURN_NOT_OK(rest.Append(rescued.GetView(row)));
      continue;
    }
    text.clear();
    for (const Member& member : members_) {
      if (member.text.empty()) continue;
      text += text.empty() ? '{' : ',';
      text += member.text;
    }
    if (text.empty()) {
      RETURN_NOT_OK(rest.AppendNull());
    } else {
      text += '}';
      RETURN_NOT_OK(rest.Append(text));
    }
  }
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    auto column = std::move(declared[i].values);
    if (column == nullptr) {
      ASSIGN_OR_RETURN(column, builders[i]->Finish());
    }
    parts.columns.push_back(std::move(column));
  }
  ASSIGN_OR_RETURN(parts.rescued, rest.Finish());
  return parts;
}

RescuedFields::RescuedFields(std::shared_ptr<const DeclaredFields> declared)
    : impl_(std::make_unique<Impl>(std::move(declared))) {}
RescuedFields::~RescuedFields() = default;
void RescuedFields::SetColumns(const std::vector<AddedColumn>& columns, const std::vector<std::string>& taken) {
  impl_->SetColumns(columns, taken);
}
const std::vector<AddedColumn>& RescuedFields::columns() const { return impl_->columns(); }
std::vector<AddedColumn> RescuedFields::FindNew(const arrow::StringArray& rescued) { return impl_->FindNew(rescued); }
Result<RescuedFields::Parts> RescuedFields::Split(const arrow::StringArray& rescued) { return impl_->Split(rescued); }

}  // namespace millrace::ingest
