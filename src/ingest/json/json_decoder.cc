#include "ingest/json/json_decoder.h"

#include <arrow/buffer.h>
#include <arrow/util/decimal.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/nearest_name.h"
#include "ingest/field_watch.h"
#include "ingest/json/document_reader_internal.h"
#include "ingest/json/key_table_internal.h"
#include "ingest/json/rescued_text_internal.h"
#include "ingest/payload_form.h"
#include "ingest/values/column_internal.h"
#include "ingest/values/number_text_internal.h"
#include "ingest/values/text_value_internal.h"
#include "ingest/values/time_text_internal.h"
#include "ingest/values/utf8_text_internal.h"

namespace millrace::ingest {
namespace {

constexpr UnixMicros kMinute = 60'000'000;
constexpr std::size_t kScratchKeptBytes = std::size_t{1} << 20;
constexpr int kInt64Digits = 19;
constexpr std::string_view kNoTime = "is no time of the years 0001 to 9999";

// A number written in digits alone that Integer holds, as almost all are: the place behind it, else `p` itself.
template <typename Integer>
inline const char* ScanPlainInteger(const char* p, Integer* value) {
  const bool negative = *p == '-';
  const char* const digits = p + negative;
  const char* at = digits;
  std::uint64_t magnitude = static_cast<unsigned char>(*at - '0');
  if (magnitude > 9) [[unlikely]]
    return p;
  ++at;
  if (magnitude != 0) {
    for (unsigned digit; (digit = static_cast<unsigned char>(*at - '0')) <= 9; ++at) magnitude = magnitude * 10 + digit;
  }
  // 19 digits fit an uint64; more never fit an int64, because the first is not zero.
  const std::uint64_t limit = static_cast<std::uint64_t>(std::numeric_limits<Integer>::max()) + negative;
  if (*at == '.' || (*at | 0x20) == 'e' || at - digits > kInt64Digits || magnitude > limit) [[unlikely]]
    return p;
  *value = static_cast<Integer>(negative ? 0 - magnitude : magnitude);
  return at;
}

class JsonDecoder final : public Decoder {
 public:
  explicit JsonDecoder(const DecodeSpec& spec) : spec_(spec), schema_(DecodedSchema(spec)) {}

  Status Prepare();
  Result<DecodedDocuments> Decode(std::span<const Document> documents) override;

 private:
  Status DeclareColumn(const ColumnSpec& spec, std::size_t index);
  // The slot for a column with this field; null if the field is an object of other columns' fields.
  KeySlot* DeclareLeaf(KeyTable& table, const std::string& key, std::size_t index);
  // What is in a column that is no leaf. `slot` has its column; `depth`: arrays and objects around it.
  void DeclareInner(KeySlot& slot, Column& column, int depth);
  // The columns whose field no document had so far.
  std::vector<FieldWatch::Unmet> FindUnmet();

  // False: refused, see RefusalOf().
  bool DecodeDocument(std::string_view payload);
  Refusal RefusalOf(const Document& document, std::size_t index);

  // Scope: RescueScope, or NoScope if unknown members are left out: then nothing is spent on them.
  struct NoScope {};

  // Each takes the place of a value's first byte and returns the place behind it, or nullptr after a failure.
  template <typename Scope>
  const char* ReadObject(KeyTable& table, const char* p, Scope scope);
  const char* ReadKey(KeyTable& table, const char* p, KeySlot** slot);
  template <typename Scope>
  [[gnu::always_inline]] const char* ReadMember(const KeySlot& slot, const KeyTable& table, const char* key,
                                                const char* p, Scope& scope);
  template <typename Scope>
  const char* ReadUnknown(const KeyTable& table, const char* key, const char* p, Scope& scope);
  // Apart from ReadObject(), which is as short as without them then.
  [[gnu::noinline]] const char* RescueUnknown(const KeyTable& table, const char* key, const char* p,
                                              RescueScope& scope);
  [[gnu::noinline]] const char* RescueInner(const KeySlot& slot, const KeyTable& table, const char* key, const char* p,
                                            RescueScope& scope);
  template <typename Scope>
  const char* EndObject(const char* p, Scope& scope);
  template <typename Scope>
  [[gnu::noinline]] const char* ReadNested(const KeySlot& slot, const char* key, const char* p, Scope& scope);
  [[gnu::noinline]] const char* ReadSeveral(const KeySlot& slot, const char* p);
  // Any value but null, of a column or in one.
  const char* ReadValue(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  // Any value, in a column.
  const char* ReadInner(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  const char* ReadList(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  const char* ReadStruct(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  const char* ReadMap(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  // Without the entries of these indexes, which ascend.
  const char* ReadEntries(const KeySlot& slot, Column& column, std::int64_t row, const char* p,
                          const std::vector<std::int64_t>& dropped);
  const char* ReadLeaf(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  const char* ReadString(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  [[gnu::noinline]] const char* ReadAnyString(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  const char* ReadBool(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  template <typename Integer>
  [[gnu::noinline]] const char* ReadInteger(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  template <typename Real>
  const char* ReadReal(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  const char* ReadDecimal(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  const char* ReadQuotedDecimal(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  const char* StoreDecimal(const KeySlot& slot, Column& column, std::int64_t row, const NumberText& number,
                           const char* p, const char* behind);
  const char* ReadDate(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  const char* ReadRfc3339(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  const char* ReadEpoch(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  // Types whose values are texts, in JSON too.
  const char* ReadByText(const KeySlot& slot, Column& column, std::int64_t row, const char* p,
                         std::string_view expected);
  const char* ReadJson(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  // A value that is not written as those of its column's type are: one that coerces takes the text that it is.
  [[gnu::cold, gnu::noinline]] const char* ReadOther(const KeySlot& slot, Column& column, std::int64_t row,
                                                     const char* p, std::string_view expected);
  // `p`: of the value that `text` is of; returns `behind`.
  const char* StoreText(const KeySlot& slot, Column& column, std::int64_t row, std::string_view text, const char* p,
                        const char* behind);
  // Numbers that ScanPlainInteger() leaves.
  template <typename Integer>
  [[gnu::noinline]] const char* ReadWholeNumber(const KeySlot& slot, Column& column, std::int64_t row, const char* p);
  [[gnu::noinline]] const char* ReadAnyEpoch(const KeySlot& slot, Column& column, std::int64_t row, const char* p);

  // Commit the row: what no field set is null.
  Status FillNulls();
  void Unset(const std::vector<std::uint64_t>& columns) {
    for (std::size_t word = 0; word < seen_.size(); ++word) seen_[word] &= ~columns[word];
  }

  // A value that is not of its column's type; if it is not even JSON, that is the failure.
  [[gnu::cold, gnu::noinline]] const char* FailType(const KeySlot& slot, std::string_view expected, const char* p,
                                                    int depth);
  [[gnu::cold, gnu::noinline]] const char* FailRange(const KeySlot& slot, const char* begin, const char* end,
                                                     std::string_view problem);
  [[gnu::cold, gnu::noinline]] const char* FailMemory(Status status) {
    memory_ = std::move(status);
    return nullptr;
  }

  // Constant after Prepare(), but for what the tables learn about the order of keys.
  const DecodeSpec spec_;
  const std::shared_ptr<arrow::Schema> schema_;
  std::deque<KeyTable> tables_;  // The first is the document's root.

  // Of the batch.
  std::vector<Column> columns_;  // One for each of spec_.columns, then perhaps that of rescued_.
  std::optional<RescuedText> rescued_;
  Status memory_;  // Not OK: the batch fails.
  std::int64_t row_ = 0;

  // Of the document.
  std::vector<char> scratch_;
  DocumentReader reader_;
  std::vector<std::uint64_t> seen_;  // Bit per column: has a value.
  std::vector<std::uint64_t> all_;
  std::int64_t num_structs_ = 0;      // That were read so far.
  bool has_unknown_members_ = false;  // In a struct of the column that is read.

  // The minute of the last timestamp: events mostly come in the order of time.
  char minute_text_[16] = {};
  UnixMicros minute_ = 0;
};

Status JsonDecoder::Prepare() {
  const std::size_t num_columns = spec_.columns.size() + (spec_.has_rescued_column() ? 1 : 0);
  seen_.assign((num_columns + 63) / 64, 0);
  all_ = seen_;
  tables_.emplace_back("", 1, num_columns);
  columns_.reserve(num_columns);
  for (const ColumnSpec& column : spec_.columns) {
    if (const auto kind = KindOfColumn(*column.type, column.form); !kind.ok()) {
      return WithContext(kind.status(), "column '{}'", column.name);
    }
    RETURN_NOT_OK(DeclareColumn(column, columns_.size()));
  }
  if (spec_.has_rescued_column()) {
    all_.back() |= std::uint64_t{1} << (columns_.size() % 64);
    rescued_.emplace(&columns_.emplace_back(arrow::utf8(), TimestampForm::kRfc3339));
  }
  for (KeyTable& table : tables_) table.Freeze();
  return Status::OK();
}

Status JsonDecoder::DeclareColumn(const ColumnSpec& spec, std::size_t index) {
  const std::vector<std::string> path = spec.path.empty() ? std::vector<std::string>{spec.name} : spec.path;
  if (path.size() >= kMaxDepth) return InvalidInput("column '{}': its path is too long", spec.name);
  const std::uint64_t bit = std::uint64_t{1} << (index % 64);
  all_[index / 64] |= bit;
  KeyTable* table = &tables_.front();
  for (std::size_t level = 0; level < path.size(); ++level) {
    const bool last = level + 1 == path.size();
    KeySlot* slot = last ? DeclareLeaf(*table, path[level], index) : table->FindDeclared(path[level]);
    if (last ? slot == nullptr : slot != nullptr && slot->kind != ValueKind::kObject) {
      return InvalidInput("column '{}': its path '{}' goes through the field of another column", spec.name,
                          fmt::join(path, "."));
    }
    if (last) {
      slot->column = &columns_.emplace_back(spec.type, spec.form);
      DeclareInner(*slot, *slot->column, table->depth());
      slot->seen = &seen_[index / 64];
      slot->seen_bit = bit;
      break;
    }
    if (slot == nullptr) {
      slot = &table->Declare(path[level]);
      slot->kind = ValueKind::kObject;
      slot->child = &tables_.emplace_back(slot->path, table->depth() + 1, all_.size() * 64);
    }
    table = slot->child;
    table->columns()[index / 64] |= bit;
  }
  return Status::OK();
}

void JsonDecoder::DeclareInner(KeySlot& slot, Column& column, int depth) {
  slot.kind = column.kind();
  slot.leaf_depth = depth + (slot.kind == ValueKind::kList ? 1 : 0);
  const auto declare = [&](KeyTable& table, std::string_view key, Column& inner) -> KeySlot& {
    KeySlot& added = table.Declare(key);
    DeclareInner(added, inner, table.depth());
    return added;
  };
  if (slot.kind == ValueKind::kStruct) {
    slot.child = &tables_.emplace_back(slot.path, depth + 1, 0);
    for (std::size_t i = 0; i < column.num_members(); ++i) {
      declare(*slot.child, column.member_name(i), column.member(i)).member = i;
    }
    return;
  }
  const bool is_list = slot.kind == ValueKind::kList && column.element().kind() < ValueKind::kString;
  if (!is_list && slot.kind != ValueKind::kMap) return;
  // A table of one, which is named as what it is in.
  const std::size_t dot = slot.path.rfind('.');
  slot.child = &tables_.emplace_back(dot == std::string::npos ? "" : slot.path.substr(0, dot), depth + 1, 0);
  declare(*slot.child, slot.path.substr(dot == std::string::npos ? 0 : dot + 1),
          is_list ? column.element() : column.map_value());
}

KeySlot* JsonDecoder::DeclareLeaf(KeyTable& table, const std::string& key, std::size_t index) {
  KeySlot* const slot = table.FindDeclared(key);
  if (slot == nullptr) return &table.Declare(key);
  if (slot->kind == ValueKind::kObject) return nullptr;
  if (slot->kind != ValueKind::kSeveral) {
    KeyTable& columns = tables_.emplace_back("", table.depth(), all_.size() * 64);
    KeySlot& first = columns.Declare(key);
    first.kind = slot->kind;
    first.leaf_depth = slot->leaf_depth;
    first.column = slot->column;
    first.child = slot->child;
    first.seen = slot->seen;
    first.seen_bit = slot->seen_bit;
    first.path = slot->path;
    columns.columns()[static_cast<std::size_t>(first.seen - seen_.data())] |= first.seen_bit;
    slot->kind = ValueKind::kSeveral;
    slot->child = &columns;
  }
  slot->child->columns()[index / 64] |= std::uint64_t{1} << (index % 64);
  KeySlot& added = slot->child->Declare(key);
  added.path = slot->path;
  return &added;
}

Result<DecodedDocuments> JsonDecoder::Decode(std::span<const Document> documents) {
  RETURN_NOT_OK(BeginColumns(columns_, documents));
  DecodedDocuments decoded;
  memory_ = Status::OK();
  row_ = 0;
  for (const Document& document : documents) {
    if (DecodeDocument(document.bytes)) {
      RETURN_NOT_OK(FillNulls());
      ++row_;
    } else {
      RETURN_NOT_OK(memory_);
      decoded.refused.push_back(RefusalOf(document, static_cast<std::size_t>(&document - documents.data())));
    }
  }
  if (scratch_.size() > kScratchKeptBytes) std::vector<char>().swap(scratch_);

  ASSIGN_OR_RETURN(decoded.rows, FinishColumns(columns_, row_, schema_));
  if (spec_.watch != nullptr && !spec_.watch->done()) spec_.watch->Add(row_, FindUnmet());
  return decoded;
}

Refusal JsonDecoder::RefusalOf(const Document& document, std::size_t index) {
  auto failure = reader_.TakeFailure();
  if (failure.reason == "bad_json" || failure.reason == "bad_utf8" || failure.reason == "not_object") {
    const std::string form = FormOfPayload(document.bytes);
    if (!form.empty()) failure.detail += "; the payload looks like " + form;
  }
  return {index, std::string(failure.reason), std::move(failure.detail)};
}

std::vector<FieldWatch::Unmet> JsonDecoder::FindUnmet() {
  std::vector<FieldWatch::Unmet> unmet;
  for (std::size_t column = 0; column < spec_.columns.size(); ++column) {
    const ColumnSpec& spec = spec_.columns[column];
    const std::vector<std::string> path = spec.path.empty() ? std::vector<std::string>{spec.name} : spec.path;
    KeyTable* table = &tables_.front();
    for (const std::string& key : path) {
      const KeySlot& slot = *table->Find(key);
      if (slot.met) {
        table = slot.child;
        continue;
      }
      std::vector<std::string> others;
      for (const KeySlot& other : table->slots()) {
        if (other.kind == ValueKind::kSkip) others.push_back(other.key);
      }
      const auto nearest = NearestName(key, others);
      unmet.push_back({column, nearest ? table->PathOf(*nearest) : ""});
      break;
    }
  }
  return unmet;
}

bool JsonDecoder::DecodeDocument(std::string_view payload) {
  reader_.Begin(payload.data(), payload.data() + payload.size());
  if (payload.empty()) {
    reader_.Fail("empty_payload", nullptr, "the payload is empty");
    return false;
  }
  if (scratch_.size() < payload.size() + DocumentReader::kPadding) {
    scratch_.resize(std::max(payload.size() * 2, std::size_t{4096}) + DocumentReader::kPadding);
  }
  const char* begin = scratch_.data();
  const char* end = begin + payload.size();
  std::memcpy(scratch_.data(), payload.data(), payload.size());
  std::memset(scratch_.data() + payload.size(), 0, DocumentReader::kPadding);
  reader_.Begin(begin, end);
  std::fill(seen_.begin(), seen_.end(), 0);

  const char* p = DocumentReader::SkipSpace(begin);
  if (*p != '{') [[unlikely]] {
    if (std::memcmp(p, "\xEF\xBB\xBF", 3) == 0) {
      reader_.Fail("bad_json", p, "a byte order mark");
    } else if (reader_.SkipValue(p, 0) != nullptr) {
      reader_.Fail("not_object", p, fmt::format("expected an object, found {}", DocumentReader::NameOf(p)));
    }
    return false;
  }
  if (rescued_) {
    rescued_->BeginDocument(row_);
    p = ReadObject(tables_.front(), p + 1, RescueScope{.table = &tables_.front()});
  } else {
    p = ReadObject(tables_.front(), p + 1, NoScope());
  }
  if (p == nullptr) return false;
  p = DocumentReader::SkipSpace(p);
  if (p != end) {
    reader_.FailSyntax(p, "the document's end");
    return false;
  }
  if (reader_.has_high_bytes() && !simdjson::validate_utf8(begin, payload.size())) {
    reader_.Fail("bad_utf8", begin + FirstInvalidUtf8(payload), "not UTF-8");
    return false;
  }
  return true;
}

// Behind the opening brace.
template <typename Scope>
const char* JsonDecoder::ReadObject(KeyTable& table, const char* p, Scope scope) {
  if (static_cast<unsigned char>(*p) <= ' ') p = DocumentReader::SkipSpace(p);
  if (*p == '}') return EndObject(p, scope);
  KeySlot** guess = &table.first();
  for (bool first = true;; first = false) {
    KeySlot* slot = *guess;
    const char* key = p + 1;
    if (!first && slot != nullptr && slot->MatchesBehindComma(p)) [[likely]] {
      p += slot->text_length();
    } else {
      if (!first) {
        p = DocumentReader::SkipSpace(p);
        if (*p == '}') return EndObject(p, scope);
        if (*p != ',') return reader_.FailSyntax(p, "',' or '}'");
        p = DocumentReader::SkipSpace(p + 1);
      }
      key = p;
      if (slot != nullptr && slot->Matches(p)) {
        p += slot->text_length() - 1;
      } else {
        p = ReadKey(table, p, &slot);
        if (p == nullptr) return nullptr;
        if (slot != nullptr) *guess = slot;
      }
    }
    if (static_cast<unsigned char>(*p) <= ' ') p = DocumentReader::SkipSpace(p);

    if (slot == nullptr) {
      p = ReadUnknown(table, key, p, scope);
    } else {
      guess = &slot->next;
      p = ReadMember(*slot, table, key, p, scope);
    }
    if (p == nullptr) return nullptr;
  }
}

// At the closing brace.
template <typename Scope>
inline const char* JsonDecoder::EndObject(const char* p, Scope& scope) {
  if constexpr (std::is_same_v<Scope, RescueScope>) {
    if (scope.is_open) {
      if (Status status = rescued_->Close(scope); !status.ok()) return FailMemory(std::move(status));
      if (scope.around == nullptr) {
        rescued_->EndDocument(row_);
        seen_.back() |= std::uint64_t{1} << (spec_.columns.size() % 64);
      }
    }
  }
  return p + 1;
}

template <typename Scope>
inline const char* JsonDecoder::ReadMember(const KeySlot& slot, const KeyTable& table, const char* key, const char* p,
                                           Scope& scope) {
  if (slot.kind >= ValueKind::kList) [[likely]] {
    if (*p == 'n') {
      if (std::memcmp(p, "null", 4) != 0) return reader_.FailSyntax(p, "a value");
      *slot.seen &= ~slot.seen_bit;
      return p + 4;
    }
    *slot.seen |= slot.seen_bit;
    if (slot.kind >= ValueKind::kString) [[likely]]
      return ReadLeaf(slot, *slot.column, row_, p);
    return ReadNested(slot, key, p, scope);
  }
  if (slot.kind == ValueKind::kSkip) return ReadUnknown(table, key, p, scope);
  Unset(slot.child->columns());
  if (slot.kind == ValueKind::kSeveral) return ReadNested(slot, key, p, scope);
  if constexpr (std::is_same_v<Scope, RescueScope>) {
    return RescueInner(slot, table, key, p, scope);
  } else {
    if (*p == '{') return ReadObject(*slot.child, p + 1, scope);
    if (std::memcmp(p, "null", 4) == 0) return p + 4;
    return FailType(slot, "object", p, table.depth());
  }
}

template <typename Scope>
inline const char* JsonDecoder::ReadUnknown(const KeyTable& table, const char* key, const char* p, Scope& scope) {
  if constexpr (std::is_same_v<Scope, RescueScope>) {
    return RescueUnknown(table, key, p, scope);
  } else {
    return reader_.SkipValue(p, table.depth());
  }
}

const char* JsonDecoder::RescueUnknown(const KeyTable& table, const char* key, const char* p, RescueScope& scope) {
  p = reader_.SkipValue(p, table.depth());
  if (p == nullptr) return nullptr;
  Status status = rescued_->Keep(scope, {key, static_cast<std::size_t>(p - key)});
  return status.ok() ? p : FailMemory(std::move(status));
}

const char* JsonDecoder::RescueInner(const KeySlot& slot, const KeyTable& table, const char* key, const char* p,
                                     RescueScope& scope) {
  const bool is_repeated = rescued_->IsRepeated(*slot.child);
  if (*p == '{') {
    RescueScope inner{.around = &scope, .table = slot.child, .key = {key, static_cast<std::size_t>(p - key)}};
    if (is_repeated) {
      if (Status status = rescued_->Open(inner); !status.ok()) return FailMemory(std::move(status));
    }
    return ReadObject(*slot.child, p + 1, inner);
  }
  if (std::memcmp(p, "null", 4) == 0) return is_repeated ? RescueUnknown(table, key, p, scope) : p + 4;
  return FailType(slot, "object", p, table.depth());
}

// A key that does not follow the order seen before, up to the value. `*slot` is null if it is unknown.
const char* JsonDecoder::ReadKey(KeyTable& table, const char* p, KeySlot** slot) {
  if (*p != '"') return reader_.FailSyntax(p, "a key");
  const char* begin = p;
  std::string_view key;
  p = reader_.ReadText(p + 1, &key);
  if (p == nullptr) return nullptr;
  *slot = table.Find(key);
  // Guesses are keys that were here before, so each is met here first.
  if (*slot != nullptr) (*slot)->met = true;
  const bool declared = *slot != nullptr && (*slot)->kind != ValueKind::kSkip;
  if (!declared && spec_.unknown_fields == UnknownFields::kReject) {
    return reader_.Fail("unknown_field", begin,
                        fmt::format("field '{}' is not declared", Printable(table.PathOf(key))));
  }
  p = DocumentReader::SkipSpace(p);
  if (*p != ':') return reader_.FailSyntax(p, "':'");
  return p + 1;
}

// Members of structs that are not declared are rescued with all of the field: they may be in any of many objects.
template <typename Scope>
const char* JsonDecoder::ReadNested(const KeySlot& slot, const char* key, const char* p, Scope& scope) {
  has_unknown_members_ = false;
  p = slot.kind == ValueKind::kSeveral ? ReadSeveral(slot, p) : ReadValue(slot, *slot.column, row_, p);
  if constexpr (std::is_same_v<Scope, RescueScope>) {
    if (p != nullptr && has_unknown_members_) {
      Status status = rescued_->Keep(scope, {key, static_cast<std::size_t>(p - key)});
      if (!status.ok()) return FailMemory(std::move(status));
    }
  }
  return p;
}

const char* JsonDecoder::ReadSeveral(const KeySlot& slot, const char* p) {
  if (*p == 'n') return std::memcmp(p, "null", 4) == 0 ? p + 4 : reader_.FailSyntax(p, "a value");
  const char* behind = nullptr;
  for (const KeySlot& one : slot.child->slots()) {
    behind = ReadValue(one, *one.column, row_, p);
    if (behind == nullptr) return nullptr;
    *one.seen |= one.seen_bit;
  }
  return behind;
}

inline const char* JsonDecoder::ReadValue(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  switch (column.kind()) {
    case ValueKind::kList:
      return ReadList(slot, column, row, p);
    case ValueKind::kStruct:
      return ReadStruct(slot, column, row, p);
    case ValueKind::kMap:
      return ReadMap(slot, column, row, p);
    default:
      return ReadLeaf(slot, column, row, p);
  }
}

inline const char* JsonDecoder::ReadInner(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  if (*p != 'n') [[likely]] {
    column.SetValid(row);
    return ReadValue(slot, column, row, p);
  }
  if (std::memcmp(p, "null", 4) != 0) return reader_.FailSyntax(p, "a value");
  Status status = column.SetNull(row);
  return status.ok() ? p + 4 : FailMemory(std::move(status));
}

const char* JsonDecoder::ReadList(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  if (*p != '[') return FailType(slot, "array", p, slot.leaf_depth - 1);
  Column& element = column.element();
  const KeySlot& inner = slot.child == nullptr ? slot : slot.child->slots().front();
  std::int64_t at = column.list_begin(row);
  p = DocumentReader::SkipSpace(p + 1);
  if (*p == ']') {
    column.SetListEnd(row, at);
    return p + 1;
  }
  for (;; ++at) {
    if (Status status = element.EnsureRow(at); !status.ok()) return FailMemory(std::move(status));
    p = ReadInner(inner, element, at, p);
    if (p == nullptr) return nullptr;
    p = DocumentReader::SkipSpace(p);
    if (*p == ']') break;
    if (*p != ',') return reader_.FailSyntax(p, "',' or ']'");
    p = DocumentReader::SkipSpace(p + 1);
  }
  column.SetListEnd(row, at + 1);
  return p + 1;
}

const char* JsonDecoder::ReadStruct(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  if (*p != '{') return FailType(slot, "object", p, slot.leaf_depth);
  KeyTable& table = *slot.child;
  const std::int64_t number = ++num_structs_;
  p = DocumentReader::SkipSpace(p + 1);
  if (*p != '}') {
    for (KeySlot** guess = &table.first();;) {
      KeySlot* member = *guess;
      if (member != nullptr && member->Matches(p)) [[likely]] {
        p += member->text_length() - 1;
      } else {
        p = ReadKey(table, p, &member);
        if (p == nullptr) return nullptr;
        if (member != nullptr) *guess = member;
      }
      if (member != nullptr) guess = &member->next;
      p = DocumentReader::SkipSpace(p);
      if (member == nullptr || member->kind == ValueKind::kSkip) {
        has_unknown_members_ = true;
        p = reader_.SkipValue(p, table.depth());
      } else {
        member->seen_in = number;
        p = ReadInner(*member, column.member(member->member), row, p);
      }
      if (p == nullptr) return nullptr;
      p = DocumentReader::SkipSpace(p);
      if (*p == '}') break;
      if (*p != ',') return reader_.FailSyntax(p, "',' or '}'");
      p = DocumentReader::SkipSpace(p + 1);
    }
  }
  for (std::size_t i = 0; i < column.num_members(); ++i) {
    if (table.slots()[i].seen_in == number) continue;
    if (Status status = column.member(i).SetNull(row); !status.ok()) return FailMemory(std::move(status));
  }
  return p + 1;
}

const char* JsonDecoder::ReadMap(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  if (*p != '{') return FailType(slot, "object", p, slot.leaf_depth);
  const char* const behind = ReadEntries(slot, column, row, p, {});
  if (behind == nullptr) return nullptr;
  const auto repeated = RepeatedKeys(column, row);
  return repeated.empty() ? behind : ReadEntries(slot, column, row, p, repeated);
}

const char* JsonDecoder::ReadEntries(const KeySlot& slot, Column& column, std::int64_t row, const char* p,
                                     const std::vector<std::int64_t>& dropped) {
  const KeySlot& inner = slot.child->slots().front();
  auto next_dropped = dropped.begin();
  std::int64_t at = column.list_begin(row);
  p = DocumentReader::SkipSpace(p + 1);
  for (std::int64_t index = 0; *p != '}'; ++index) {
    if (*p != '"') return reader_.FailSyntax(p, "a key");
    std::string_view key;
    p = reader_.ReadText(p + 1, &key);
    if (p == nullptr) return nullptr;
    const bool is_dropped = next_dropped != dropped.end() && *next_dropped == index;
    if (!is_dropped) {
      Status status = column.map_key().EnsureRow(at);
      if (status.ok()) status = column.map_value().EnsureRow(at);
      if (status.ok()) status = SetBytes(key, at, column.map_key());
      if (!status.ok()) return FailMemory(std::move(status));
    }
    p = DocumentReader::SkipSpace(p);
    if (*p != ':') return reader_.FailSyntax(p, "':'");
    p = DocumentReader::SkipSpace(p + 1);
    if (is_dropped) {
      ++next_dropped;
      p = reader_.SkipValue(p, slot.child->depth());
    } else {
      p = ReadInner(inner, column.map_value(), at++, p);
    }
    if (p == nullptr) return nullptr;
    p = DocumentReader::SkipSpace(p);
    if (*p == '}') break;
    if (*p != ',') return reader_.FailSyntax(p, "',' or '}'");
    p = DocumentReader::SkipSpace(p + 1);
    if (*p == '}') return reader_.FailSyntax(p, "a key");
  }
  column.SetListEnd(row, at);
  return p + 1;
}

// Nothing but a jump: each reader stores what it has read.
inline const char* JsonDecoder::ReadLeaf(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  switch (column.kind()) {
    case ValueKind::kString:
      return ReadString(slot, column, row, p);
    case ValueKind::kBool:
      return ReadBool(slot, column, row, p);
    case ValueKind::kInt8:
      return ReadInteger<std::int8_t>(slot, column, row, p);
    case ValueKind::kInt16:
      return ReadInteger<std::int16_t>(slot, column, row, p);
    case ValueKind::kInt32:
      return ReadInteger<std::int32_t>(slot, column, row, p);
    case ValueKind::kInt64:
      return ReadInteger<std::int64_t>(slot, column, row, p);
    case ValueKind::kFloat:
      return ReadReal<float>(slot, column, row, p);
    case ValueKind::kDouble:
      return ReadReal<double>(slot, column, row, p);
    case ValueKind::kDecimal:
      return ReadDecimal(slot, column, row, p);
    case ValueKind::kDate:
      return ReadDate(slot, column, row, p);
    case ValueKind::kRfc3339:
      return ReadRfc3339(slot, column, row, p);
    case ValueKind::kUuid:
      return ReadByText(slot, column, row, p, "uuid");
    case ValueKind::kBinary:
      return ReadByText(slot, column, row, p, "base64");
    case ValueKind::kTimeFormat:
      return ReadByText(slot, column, row, p, "timestamp");
    case ValueKind::kJson:
      return ReadJson(slot, column, row, p);
    default:
      return ReadEpoch(slot, column, row, p);
  }
}

const char* JsonDecoder::ReadBool(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  if (std::memcmp(p, "true", 4) == 0) {
    column.SetBool(row, true);
    return p + 4;
  }
  if (std::memcmp(p, "false", 5) == 0) {
    column.SetBool(row, false);
    return p + 5;
  }
  return ReadOther(slot, column, row, p, "boolean");
}

template <typename Real>
const char* JsonDecoder::ReadReal(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  NumberText number;
  if (!ScanNumber(p, &number)) return ReadOther(slot, column, row, p, NumberName<Real>());
  double value = 0;
  if (ToDouble(number, &value) != NumberError::kNone || std::abs(value) > std::numeric_limits<Real>::max())
      [[unlikely]] {
    return FailRange(slot, number.begin, number.end, fmt::format("is out of the range of {}", NumberName<Real>()));
  }
  column.Set(row, static_cast<Real>(value));
  return number.end;
}

const char* JsonDecoder::ReadString(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  char* out = column.text_begin(row);
  const char* behind = *p == '"' ? reader_.CopyPlainText(p + 1, &out, column.text_limit()) : nullptr;
  if (behind == nullptr) [[unlikely]]
    return ReadAnyString(slot, column, row, p);
  column.SetTextEnd(row, out);
  return behind;
}

const char* JsonDecoder::ReadAnyString(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  if (*p != '"') return ReadOther(slot, column, row, p, "string");
  ++p;
  char* out = column.text_begin(row);
  bool more = false;
  while ((p = reader_.CopyText(p, &out, column.text_limit(), &more)) != nullptr && more) {
    Result<char*> grown = column.GrowText(out);
    if (!grown.ok()) return FailMemory(grown.status());
    out = *grown;
  }
  column.SetTextEnd(row, out);
  return p;
}

template <typename Integer>
const char* JsonDecoder::ReadInteger(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  Integer value = 0;
  const char* const behind = ScanPlainInteger(p, &value);
  if (behind == p) [[unlikely]]
    return ReadWholeNumber<Integer>(slot, column, row, p);
  column.Set(row, value);
  return behind;
}

template <typename Integer>
const char* JsonDecoder::ReadWholeNumber(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  constexpr std::string_view kName = NumberName<Integer>();
  NumberText number;
  if (!ScanNumber(p, &number)) return ReadOther(slot, column, row, p, kName);
  Int128 value = 0;
  const NumberError error = ToScaledInteger(number, kInt64Digits, 0, column.form().rounding, &value);
  if (error == NumberError::kTooManyDecimals) return FailType(slot, kName, p, slot.leaf_depth);
  if (error != NumberError::kNone || value != static_cast<Integer>(value)) {
    return FailRange(slot, p, number.end, fmt::format("is out of the range of {}", kName));
  }
  column.Set(row, static_cast<Integer>(value));
  return number.end;
}

const char* JsonDecoder::ReadDecimal(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  if (*p == '"') return ReadQuotedDecimal(slot, column, row, p);
  NumberText number;
  if (!ScanNumber(p, &number)) return ReadOther(slot, column, row, p, "decimal");
  return StoreDecimal(slot, column, row, number, p, number.end);
}

const char* JsonDecoder::ReadQuotedDecimal(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  std::string_view text;
  const char* behind = reader_.ReadText(p + 1, &text);
  if (behind == nullptr) return nullptr;
  const std::string digits(text);  // With a zero byte behind, where every number ends.
  NumberText number;
  if (!ScanNumber(digits.c_str(), &number) || number.end != digits.data() + digits.size()) {
    return ReadOther(slot, column, row, p, "decimal");
  }
  return StoreDecimal(slot, column, row, number, p, behind);
}

inline const char* JsonDecoder::StoreDecimal(const KeySlot& slot, Column& column, std::int64_t row,
                                             const NumberText& number, const char* p, const char* behind) {
  Int128 value = 0;
  const NumberError error = ToScaledInteger(number, column.precision(), column.scale(), column.form().rounding, &value);
  if (error == NumberError::kNone) [[likely]] {
    column.Set(row, arrow::Decimal128(static_cast<std::int64_t>(value >> 64), static_cast<std::uint64_t>(value)));
    return behind;
  }
  const std::string problem =
      error == NumberError::kOverflow
          ? fmt::format("is out of the range of decimal({},{})", column.precision(), column.scale())
          : fmt::format("has more than {} decimals", column.scale());
  return FailRange(slot, p, behind, problem);
}

const char* JsonDecoder::ReadDate(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  if (*p != '"') return ReadOther(slot, column, row, p, "date");
  std::string_view text;
  const char* behind = reader_.ReadText(p + 1, &text);
  if (behind == nullptr) return nullptr;
  std::int32_t days = 0;
  const TimeError error = ParseDate(text, &days);
  if (error == TimeError::kNone) {
    column.Set(row, days);
    return behind;
  }
  if (error == TimeError::kShape) return ReadOther(slot, column, row, p, "date YYYY-MM-DD");
  return FailRange(slot, p, behind, "is no day of the years 0001 to 9999");
}

// The shape that almost every producer writes, "YYYY-MM-DDTHH:MM:SS[.f{1,6}]Z", is read here; ParseTimestamp() reads
// all.
const char* JsonDecoder::ReadRfc3339(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  if (*p != '"') [[unlikely]] {
    const bool is_number = *p == '-' || (*p >= '0' && *p <= '9');
    if (is_number && column.form().timestamp == TimestampForm::kRfc3339OrMicros) {
      return ReadEpoch(slot, column, row, p);
    }
    return ReadOther(slot, column, row, p, "timestamp");
  }
  const Bytes16 head = Bytes16::Load(p + 1);
  const auto tens = static_cast<unsigned char>(p[18] - '0');
  const auto ones = static_cast<unsigned char>(p[19] - '0');
  if (head.Equal(Bytes16::Load(minute_text_)) == 0xFFFF && p[17] == ':' && tens <= 5 && ones <= 9) [[likely]] {
    UnixMicros result = minute_ + (tens * 10 + ones) * UnixMicros{1'000'000};
    const char* at = p + 20;
    if (*at == '.') {
      const Fraction fraction = ScanFraction(at + 1);
      result += fraction.micros;
      at = fraction.num_digits == 0 ? p : at + 1 + fraction.num_digits;  // No digit: not this shape.
    }
    if (at[0] == 'Z' && at[1] == '"') [[likely]] {
      column.Set(row, result);
      return at + 2;
    }
  }
  std::string_view text;
  const char* behind = reader_.ReadText(p + 1, &text);
  if (behind == nullptr) return nullptr;
  UnixMicros micros = 0;
  const TimeError error = ParseTimestamp(text, &micros);
  if (error == TimeError::kNone) [[likely]] {
    column.Set(row, micros);
    if (text.back() == 'Z' && text.substr(17, 2) != "60") {
      std::memcpy(minute_text_, text.data(), sizeof minute_text_);
      minute_ = micros - (micros % kMinute + kMinute) % kMinute;
    }
    return behind;
  }
  if (error == TimeError::kShape) return ReadOther(slot, column, row, p, "RFC 3339 timestamp");
  return FailRange(slot, p, behind, kNoTime);
}

const char* JsonDecoder::ReadEpoch(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  std::int64_t units = 0;
  const char* const behind = ScanPlainInteger(p, &units);
  if (behind == p) [[unlikely]]
    return ReadAnyEpoch(slot, column, row, p);
  UnixMicros micros = units;
  bool in_range = true;
  switch (column.kind()) {
    case ValueKind::kSeconds:
      in_range = !__builtin_mul_overflow(units, 1'000'000, &micros);
      break;
    case ValueKind::kMillis:
      in_range = !__builtin_mul_overflow(units, 1000, &micros);
      break;
    case ValueKind::kNanos:
      micros = units / 1000 - (units % 1000 < 0);
      break;
    default:
      break;
  }
  if (!in_range || micros < kMinTimestamp || micros > kMaxTimestamp) [[unlikely]] {
    return FailRange(slot, p, behind, kNoTime);
  }
  column.Set(row, micros);
  return behind;
}

const char* JsonDecoder::ReadAnyEpoch(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  std::string_view expected = "number of microseconds";
  int scale = 0;  // From the number's unit to microseconds.
  if (column.kind() == ValueKind::kSeconds) {
    expected = "number of seconds";
    scale = 6;
  } else if (column.kind() == ValueKind::kMillis) {
    expected = "number of milliseconds";
    scale = 3;
  } else if (column.kind() == ValueKind::kNanos) {
    expected = "number of nanoseconds";
    scale = -3;
  }
  NumberText number;
  if (!ScanNumber(p, &number)) return ReadOther(slot, column, row, p, expected);
  UnixMicros micros = 0;
  if (ToMicros(number, scale, &micros) != NumberError::kNone || micros < kMinTimestamp || micros > kMaxTimestamp) {
    return FailRange(slot, p, number.end, kNoTime);
  }
  column.Set(row, micros);
  return number.end;
}

const char* JsonDecoder::ReadByText(const KeySlot& slot, Column& column, std::int64_t row, const char* p,
                                    std::string_view expected) {
  if (*p != '"') return FailType(slot, expected, p, slot.leaf_depth);
  std::string_view text;
  const char* behind = reader_.ReadText(p + 1, &text);
  return behind == nullptr ? nullptr : StoreText(slot, column, row, text, p, behind);
}

const char* JsonDecoder::ReadJson(const KeySlot& slot, Column& column, std::int64_t row, const char* p) {
  if (*p == '"' && column.form().coerce) return ReadByText(slot, column, row, p, "JSON");
  const char* behind = reader_.SkipValue(p, slot.leaf_depth);
  if (behind == nullptr) return nullptr;
  Status status = SetBytes({p, static_cast<std::size_t>(behind - p)}, row, column);
  return status.ok() ? behind : FailMemory(std::move(status));
}

const char* JsonDecoder::ReadOther(const KeySlot& slot, Column& column, std::int64_t row, const char* p,
                                   std::string_view expected) {
  const bool is_nested = *p == '{' || *p == '[';
  if (!column.form().coerce || (is_nested && column.kind() != ValueKind::kString)) {
    return FailType(slot, expected, p, slot.leaf_depth);
  }
  if (*p == '"') return ReadByText(slot, column, row, p, expected);
  const char* behind = reader_.SkipValue(p, slot.leaf_depth);
  if (behind == nullptr) return nullptr;
  return StoreText(slot, column, row, {p, static_cast<std::size_t>(behind - p)}, p, behind);
}

const char* JsonDecoder::StoreText(const KeySlot& slot, Column& column, std::int64_t row, std::string_view text,
                                   const char* p, const char* behind) {
  std::optional<TextProblem> problem;
  if (Status status = SetFromText(text, row, column, &problem); !status.ok()) return FailMemory(std::move(status));
  if (!problem) [[likely]]
    return behind;
  // What is not UTF-8 cannot be shown.
  if (!IsUtf8(text)) return reader_.Fail("bad_utf8", p, "not UTF-8");
  return reader_.Fail(problem->reason, p, fmt::format("field '{}': {}", slot.path, problem->detail));
}

Status JsonDecoder::FillNulls() {
  for (std::size_t word = 0; word < all_.size(); ++word) {
    for (std::uint64_t missing = all_[word] & ~seen_[word]; missing != 0; missing &= missing - 1) {
      const std::size_t column = word * 64 + static_cast<std::size_t>(std::countr_zero(missing));
      RETURN_NOT_OK(columns_[column].SetNull(row_));
    }
  }
  return Status::OK();
}

const char* JsonDecoder::FailType(const KeySlot& slot, std::string_view expected, const char* p, int depth) {
  const char* behind = reader_.SkipValue(p, depth);
  if (behind == nullptr) return nullptr;
  const std::string_view found(p, static_cast<std::size_t>(behind - p));
  const std::string_view name = DocumentReader::NameOf(p);
  const bool show = name == "string" || name == "number" || name == "boolean";
  return reader_.Fail("type_mismatch", p,
                      fmt::format("field '{}': expected {}, found {}{}{}", slot.path, expected, name, show ? " " : "",
                                  show ? Printable(found) : ""));
}

const char* JsonDecoder::FailRange(const KeySlot& slot, const char* begin, const char* end, std::string_view problem) {
  const std::string_view found(begin, static_cast<std::size_t>(end - begin));
  return reader_.Fail("out_of_range", begin, fmt::format("field '{}': {} {}", slot.path, Printable(found), problem));
}

}  // namespace

Result<std::unique_ptr<Decoder>> MakeJsonDecoder(const DecodeSpec& spec) {
  auto decoder = std::make_unique<JsonDecoder>(spec);
  RETURN_NOT_OK(decoder->Prepare());
  return decoder;
}

}  // namespace millrace::ingest
