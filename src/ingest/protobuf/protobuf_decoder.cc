#include "ingest/protobuf/protobuf_decoder.h"

#include <arrow/util/decimal.h>
#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>

#include "base/json_text.h"
#include "ingest/framed_decoder.h"
#include "ingest/json/document_reader_internal.h"
#include "ingest/payload_form.h"
#include "ingest/protobuf/message_indexes_internal.h"
#include "ingest/protobuf/message_text_internal.h"
#include "ingest/protobuf/plan_internal.h"
#include "ingest/protobuf/reading_internal.h"
#include "ingest/protobuf/schema_internal.h"
#include "ingest/protobuf/wire_internal.h"
#include "ingest/values/column_internal.h"
#include "ingest/values/number_text_internal.h"
#include "ingest/values/text_value_internal.h"
#include "ingest/values/time_text_internal.h"
#include "ingest/values/uuid_text_internal.h"
#include "ingest/writer_schemas.h"

namespace millrace::ingest {
namespace protobuf {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

constexpr std::string_view kNoTime = "is no time of the years 0001 to 9999";
constexpr std::int64_t kMaxElements = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t kMaxColumnBytes = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t kTextKeptBytes = std::size_t{1} << 20;

// A value from the wire. `bits`: as ReadNumber() has it.
struct Scalar {
  std::uint64_t bits = 0;
  std::string_view text = "";
  Moment moment;
};

constexpr std::size_t kMaxReadings = 1000;  // Of writers' schemas; beyond them all are made anew.

class ProtobufDecoder final : public Decoder {
 public:
  ProtobufDecoder(const DecodeSpec& spec, std::shared_ptr<const Schema> schema,
                  const google::protobuf::Descriptor& message, Plan plan)
      : spec_(spec),
        arrow_schema_(DecodedSchema(spec)),
        message_(message),
        declared_{std::move(schema), nullptr, MessageIndexes(message), std::move(plan)},
        text_(&reader_, spec.unknown_fields),
        rescues_(spec.has_rescued_column()),
        rejects_(spec.unknown_fields == UnknownFields::kReject) {
    columns_.reserve(spec_.columns.size() + 1);
    for (const ColumnSpec& column : spec_.columns) columns_.emplace_back(column.type, column.form);
    if (rescues_) columns_.emplace_back(arrow::utf8(), TimestampForm::kRfc3339);
  }

  Result<DecodedDocuments> Decode(std::span<const Document> documents) override;

 private:
  // False: refused, or memory_ is not OK.
  bool DecodeDocument(std::string_view payload);
  // Null: refused, see writer_refusal_, or memory_ is not OK.
  Reading* ReadingOf(std::string_view payload);
  Status GiveUp(std::span<const Document> rest);
  Refusal RefusalOf(const Document& document, std::size_t index);

  // Each takes the place of what it reads and returns the place behind, or nullptr after a failure.
  const char* ReadMessage(MessagePlan& plan, const char* p, const char* end);
  const char* ReadUntaken(const MessagePlan& plan, Tag tag, const char* at, const char* p, const char* end);
  const char* ReadField(FieldPlan& field, Tag tag, const char* p, const char* end);
  const char* ReadPacked(FieldPlan& field, const char* p, const char* end);
  [[gnu::noinline]] const char* ReadComplex(FieldPlan& field, Tag tag, const char* p, const char* end);
  const char* ReadMomentField(FieldPlan& field, std::string_view message);
  const char* ReadWrapper(FieldPlan& field, std::string_view message);
  void KeepForText(FieldPlan& field, Tag tag, const char* p, const char* end);
  [[gnu::cold, gnu::noinline]] const char* FailWire(const FieldPlan& field, Wire wire, const char* at);

  // The value, to each column of the field. `at`: its place.
  bool StoreAll(FieldPlan& field, const Scalar& value, const char* at);
  bool StoreOne(const FieldPlan& field, const Target& target, Column& column, std::int64_t row, const Scalar& value,
                const char* at);
  // An enum of one byte may have a name of hundreds.
  bool CheckListText(const FieldPlan& field, Column& column, std::int64_t row, const char* at);
  bool StoreText(Column& column, std::int64_t row, std::string_view text);
  bool StoreInteger(const FieldPlan& field, Column& column, std::int64_t row, std::uint64_t bits, const char* at);
  bool StoreDecimal(const FieldPlan& field, Column& column, std::int64_t row, const NumberText& number, const char* at);
  bool StoreNumberText(const FieldPlan& field, Column& column, std::int64_t row, std::string_view text, const char* at);
  bool StoreDuration(const FieldPlan& field, Store store, Column& column, std::int64_t row, const Moment& moment,
                     const char* at);
  bool StoreEpoch(const FieldPlan& field, Column& column, std::int64_t row, std::uint64_t bits, const char* at);
  bool StoreRealEpoch(const FieldPlan& field, Column& column, std::int64_t row, std::uint64_t bits, const char* at);
  bool StoreTime(const FieldPlan& field, Store store, Column& column, std::int64_t row, std::string_view text,
                 const char* at);
  bool StoreByText(const FieldPlan& field, Store store, Column& column, std::int64_t row, const Scalar& value,
                   const char* at);
  bool FailRange(const FieldPlan& field, std::string_view value, std::string_view problem, const char* at);
  bool FailText(const FieldPlan& field, std::string_view value, std::string_view expected, const char* at);
  bool Check(Status status) {
    if (status.ok()) [[likely]]
      return true;
    memory_ = std::move(status);
    return false;
  }

  // Values of a field, in the order of the record, to one row of a column or of what is in one.
  bool Fill(const NestedPlan& plan, std::span<const WireValue> values, Column& column, std::int64_t row);
  bool FillLeaf(const NestedPlan& plan, std::span<const WireValue> values, Column& column, std::int64_t row);
  bool FillText(const NestedPlan& plan, std::span<const WireValue> values, Column& column, std::int64_t row);
  bool FillList(const NestedPlan& plan, std::span<const WireValue> values, Column& column, std::int64_t row);
  bool FillMap(const NestedPlan& plan, std::span<const WireValue> values, Column& column, std::int64_t row);
  // Without the entries of these indexes, which ascend.
  bool FillEntries(const NestedPlan& plan, std::span<const WireValue> values, Column& column, std::int64_t row,
                   const std::vector<std::int64_t>& dropped);
  // `*is_there` is set where the message has the value; `*scalar` stays as it is where it has not.
  bool ReadWrapped(const FieldPlan& field, std::string_view message, Scalar* scalar, bool* is_there);
  bool FillStruct(const NestedPlan& plan, std::span<const WireValue> values, Column& column, std::int64_t row);
  bool SplitMessage(const NestedPlan& plan, std::string_view message, std::vector<std::vector<WireValue>>* members);

  // The row's columns that come from the whole record: JSON texts and the rest of the record, then what is absent.
  bool FinishRow(std::string_view body);
  bool StoreTexts();
  bool StoreRest(std::string_view body);
  auto& TakenWith(const FieldPlan& field) {
    return (field.taken_in == nullptr ? reading_->plan.taken : *field.taken_in).fields;
  }
  bool StoreAbsent();

  // Constant after construction, but for what the plan has of the record.
  const DecodeSpec spec_;
  const std::shared_ptr<arrow::Schema> arrow_schema_;
  const google::protobuf::Descriptor& message_;  // Of declared_.reader.
  Reading declared_;                             // Of records that were written with the declared schema.

  struct Known {
    std::unique_ptr<Reading> reading;  // Null: there is none, and why.
    std::string problem;
  };
  std::unordered_map<std::uint32_t, Known> readings_;  // By the writer's schema.
  // Of the batch.
  std::vector<Column> columns_;  // One for each of spec_.columns, then perhaps that of the rest.
  Status memory_;                // Not OK: the batch fails.
  std::int64_t row_ = 0;

  // Of the document.
  Reading* reading_ = &declared_;
  std::optional<WireReader::Failure> writer_failure_;
  WireReader reader_;
  MessageText text_;
  std::string out_;
  Bits seen_;
  bool has_rest_ = false;                 // Fields that no column takes.
  bool has_unknown_members_ = false;      // In what is nested in the field that is stored.
  std::vector<FieldPlan*> partly_taken_;  // Those of the record that have such.
  const bool rescues_;
  const bool rejects_;
};

Result<DecodedDocuments> ProtobufDecoder::Decode(std::span<const Document> documents) {
  RETURN_NOT_OK(BeginColumns(columns_, documents));
  DecodedDocuments decoded;
  memory_ = Status::OK();
  row_ = 0;
  for (const Document& document : documents) {
    if (DecodeDocument(document.bytes)) {
      ++row_;
    } else {
      if (!memory_.ok()) return GiveUp(documents.subspan(static_cast<std::size_t>(&document - documents.data()) + 1));
      decoded.refused.push_back(RefusalOf(document, static_cast<std::size_t>(&document - documents.data())));
    }
  }

  ASSIGN_OR_RETURN(decoded.rows, FinishColumns(columns_, row_, arrow_schema_));
  return decoded;
}

Refusal ProtobufDecoder::RefusalOf(const Document& document, std::size_t index) {
  auto failure = writer_failure_ ? *std::exchange(writer_failure_, std::nullopt) : reader_.TakeFailure();
  if (failure.reason == "bad_protobuf" || failure.reason == "bad_framing") {
    const std::string form = FormOfPayload(document.bytes);
    if (!form.empty()) failure.detail += "; the payload looks like " + form;
  }
  return {index, std::string(failure.reason), std::move(failure.detail)};
}

// Whose schemas are missing too is asked for at once, and not one after the other.
Status ProtobufDecoder::GiveUp(std::span<const Document> rest) {
  Status failure = std::exchange(memory_, Status::OK());
  if (KindOf(failure) != ErrorKind::kTransient) return failure;
  for (const Document& document : rest) ReadingOf(document.bytes);
  writer_failure_.reset();
  return failure;
}

Reading* ProtobufDecoder::ReadingOf(std::string_view payload) {
  const auto id = ConfluentId(payload);
  // What is no framing is told by MessageIndexes.
  if (spec_.writer_schemas == nullptr || !id) return &declared_;
  auto found = readings_.find(*id);
  if (found == readings_.end()) {
    const auto schema = spec_.writer_schemas->Find(*id);
    if (!schema.ok() && KindOf(schema.status()) != ErrorKind::kInvalidInput) {
      memory_ = schema.status();
      return nullptr;
    }
    // What there is not may be there later.
    if (!schema.ok()) {
      writer_failure_ = {"incompatible_schema", schema.status().message()};
      return nullptr;
    }
    if (*schema == nullptr) {
      writer_failure_ = {"unknown_schema", fmt::format("there is no schema with the id {}", *id)};
      return nullptr;
    }
    auto made = MakeReading(fmt::format("schema id {}", *id), **schema, declared_.reader, message_, spec_);
    if (readings_.size() >= kMaxReadings) readings_.clear();
    Known known;
    if (made.ok()) {
      known.reading = *std::move(made);
    } else {
      known.problem = made.status().message();
    }
    found = readings_.emplace(*id, std::move(known)).first;
  }
  if (found->second.reading == nullptr) writer_failure_ = {"incompatible_schema", found->second.problem};
  return found->second.reading.get();
}

bool ProtobufDecoder::DecodeDocument(std::string_view payload) {
  // A place to point at, also of a record without bytes.
  if (payload.empty()) payload = "";
  reader_.Begin(payload);
  std::string_view body = payload;
  if (spec_.framing == Framing::kConfluent) {
    reading_ = ReadingOf(payload);
    if (reading_ == nullptr || !reading_->indexes.ReadFraming(reader_, payload, &body)) return false;
  }
  seen_ = reading_->plan.none;
  reading_->root().seen.Set(seen_);
  has_rest_ = false;
  return ReadMessage(reading_->root(), body.data(), body.data() + body.size()) != nullptr && FinishRow(body);
}

const char* ProtobufDecoder::ReadMessage(MessagePlan& plan, const char* p, const char* end) {
  while (p != end) {
    const char* const at = p;
    Tag tag;
    p = reader_.ReadTag(p, end, &tag);
    if (p == nullptr) [[unlikely]]
      return nullptr;
    FieldPlan* const field = plan.Find(tag.number);
    p = field == nullptr ? ReadUntaken(plan, tag, at, p, end) : ReadField(*field, tag, p, end);
    if (p == nullptr) [[unlikely]]
      return nullptr;
  }
  return end;
}

const char* ProtobufDecoder::ReadUntaken(const MessagePlan& plan, Tag tag, const char* at, const char* p,
                                         const char* end) {
  has_rest_ = true;
  if (rejects_) {
    const FieldDescriptor* const known = plan.message->FindFieldByNumber(static_cast<int>(tag.number));
    return reader_.Fail("unknown_field", at,
                        known == nullptr ? fmt::format("{} has no field {}", plan.message->full_name(), tag.number)
                                         : fmt::format("field '{}{}' is not declared", plan.path, known->name()));
  }
  WireValue skipped;
  return reader_.ReadValue(tag, p, end, plan.depth, &skipped);
}

inline const char* ProtobufDecoder::ReadField(FieldPlan& field, Tag tag, const char* p, const char* end) {
  const char* const at = p;
  if (tag.wire != field.wire) [[unlikely]] {
    if (field.shape == FieldPlan::Shape::kUntaken) return ReadComplex(field, tag, p, end);
    if (!field.field->is_packable() || tag.wire != Wire::kBytes) return FailWire(field, tag.wire, at);
  }
  if (!field.rivals.empty()) {
    for (std::size_t word = 0; word < seen_.size(); ++word) seen_[word] &= ~field.rivals[word];
  }
  if (!field.texts.empty()) [[unlikely]]
    KeepForText(field, tag, p, end);
  Scalar value;
  switch (field.shape) {
    case FieldPlan::Shape::kNumber:
      if (tag.wire != field.wire) return ReadPacked(field, p, end);
      p = ReadNumber(reader_, field.type, p, end, &value.bits);
      break;
    case FieldPlan::Shape::kText:
      p = reader_.ReadBytes(p, end, &value.text);
      break;
    default:
      return ReadComplex(field, tag, p, end);
  }
  if (p == nullptr || !StoreAll(field, value, at)) [[unlikely]]
    return nullptr;
  return p;
}

const char* ProtobufDecoder::ReadPacked(FieldPlan& field, const char* p, const char* end) {
  std::string_view packed;
  const char* const behind = reader_.ReadBytes(p, end, &packed);
  if (behind == nullptr) return nullptr;
  for (p = packed.data(); p != behind;) {
    const char* const at = p;
    Scalar value;
    p = ReadNumber(reader_, field.type, p, behind, &value.bits);
    if (p == nullptr || !StoreAll(field, value, at)) return nullptr;
  }
  return behind;
}

const char* ProtobufDecoder::ReadComplex(FieldPlan& field, Tag tag, const char* p, const char* end) {
  if (field.shape == FieldPlan::Shape::kUntaken) {
    has_rest_ = true;
    if (rejects_) return reader_.Fail("unknown_field", p, fmt::format("field '{}' is not declared", field.path));
  }
  if (field.shape == FieldPlan::Shape::kUntaken || field.shape == FieldPlan::Shape::kWhole) {
    // Values for JSON text are kept already, and read when the record is whole.
    WireValue skipped;
    return reader_.ReadValue(tag, p, end, field.depth, &skipped);
  }
  std::string_view message;
  const char* const behind = reader_.ReadBytes(p, end, &message);
  if (behind == nullptr) return nullptr;
  switch (field.shape) {
    case FieldPlan::Shape::kInner:
      field.inner->seen.Set(seen_);
      return ReadMessage(*field.inner, message.data(), behind);
    case FieldPlan::Shape::kMoment:
      return ReadMomentField(field, message) == nullptr ? nullptr : behind;
    default:
      return ReadWrapper(field, message) == nullptr ? nullptr : behind;
  }
}

const char* ProtobufDecoder::ReadMomentField(FieldPlan& field, std::string_view message) {
  // Parts of one message are merged; elements of a list are each their own.
  if (field.is_list || !field.targets[0].seen.IsSet(seen_)) field.moment = {};
  if (ReadMoment(reader_, message, field.depth + 1, field.path, &field.moment) == nullptr) return nullptr;
  Scalar value;
  value.moment = field.moment;
  return StoreAll(field, value, message.data()) ? message.data() : nullptr;
}

const char* ProtobufDecoder::ReadWrapper(FieldPlan& field, std::string_view message) {
  Scalar value;
  bool has_value = field.is_list || !field.targets[0].seen.IsSet(seen_);
  if (!ReadWrapped(field, message, &value, &has_value)) return nullptr;
  return !has_value || StoreAll(field, value, message.data()) ? message.data() + message.size() : nullptr;
}

void ProtobufDecoder::KeepForText(FieldPlan& field, Tag tag, const char* p, const char* end) {
  if (!field.texts[0].seen.IsSet(seen_)) field.values.clear();
  WireValue value;
  // A value that cannot be read fails again, and for good, where it is read.
  if (reader_.ReadValue(tag, p, end, field.depth, &value) == nullptr) return;
  field.values.push_back(value);
  for (const TextTarget& target : field.texts) target.seen.Set(seen_);
}

const char* ProtobufDecoder::FailWire(const FieldPlan& field, Wire wire, const char* at) {
  const Wire expected = field.shape == FieldPlan::Shape::kWrapper ? WireOf(field.type) : field.wire;
  return reader_.Fail("type_mismatch", at,
                      fmt::format("field '{}': expected {}, found {}", field.path, NameOf(expected), NameOf(wire)));
}

inline bool ProtobufDecoder::StoreAll(FieldPlan& field, const Scalar& value, const char* at) {
  for (const Target& target : field.targets) {
    Column& column = columns_[target.column];
    if (!field.is_list) [[likely]] {
      if (target.empty_is_null && value.text.empty()) {
        target.seen.Unset(seen_);
        continue;
      }
      if (!StoreOne(field, target, column, row_, value, at)) return false;
    } else {
      const std::int64_t element = target.seen.IsSet(seen_) ? column.list_begin(row_ + 1) : column.list_begin(row_);
      if (element == kMaxElements) return Check(Status::CapacityError("a list column of one batch is full"));
      if (!Check(column.element().EnsureRow(element))) return false;
      if (!StoreOne(field, target, column.element(), element, value, at)) return false;
      column.SetListEnd(row_, element + 1);
      if (target.store == Store::kEnumName && !CheckListText(field, column, row_, at)) return false;
    }
    target.seen.Set(seen_);
  }
  return true;
}

inline bool ProtobufDecoder::StoreOne(const FieldPlan& field, const Target& target, Column& column, std::int64_t row,
                                      const Scalar& value, const char* at) {
  switch (target.store) {
    case Store::kText:
      return reader_.CheckUtf8(value.text, field.path) && StoreText(column, row, value.text);
    case Store::kBool:
      column.SetBool(row, value.bits != 0);
      return true;
    case Store::kInt32:
    case Store::kInt64:
      return StoreInteger(field, column, row, value.bits, at);
    case Store::kDouble:
      column.Set(row, RealOf(field.type, value.bits));
      return true;
    case Store::kWholeDouble:
      column.Set(row, IsUnsigned64(field.type) ? static_cast<double>(value.bits)
                                               : static_cast<double>(static_cast<std::int64_t>(value.bits)));
      return true;
    case Store::kWholeEpoch:
      return StoreEpoch(field, column, row, value.bits, at);
    case Store::kTimestamp:
      if (!IsTimestamp(value.moment)) {
        return FailRange(field, fmt::format("{} seconds and {} nanos", value.moment.seconds, value.moment.nanos),
                         kNoTime, at);
      }
      column.Set(row, value.moment.seconds * 1'000'000 + value.moment.nanos / 1000);
      return true;
    case Store::kEnumName: {
      const auto number = static_cast<std::int32_t>(value.bits);
      if (const auto* name = field.enum_type->FindValueByNumber(number); name != nullptr) [[likely]] {
        return StoreText(column, row, name->name());
      }
      return StoreText(column, row, std::to_string(number));
    }
    case Store::kBytes:
      return StoreText(column, row, value.text);
    case Store::kUuidBytes:
    case Store::kByText:
      return StoreByText(field, target.store, column, row, value, at);
    case Store::kBase64:
      out_.clear();
      AppendBase64(value.text, &out_);
      return StoreText(column, row, out_);
    case Store::kWholeDecimal: {
      const bool negative = !IsUnsigned64(field.type) && static_cast<std::int64_t>(value.bits) < 0;
      const std::uint64_t digits = negative ? 0 - value.bits : value.bits;
      return StoreDecimal(field, column, row, NumberText{.digits = digits, .negative = negative}, at);
    }
    case Store::kRealDecimal:
      out_.clear();
      AppendReal(field.type, value.bits, &out_);
      return StoreNumberText(field, column, row, out_, at);
    case Store::kTextDecimal:
      return reader_.CheckUtf8(value.text, field.path) && StoreNumberText(field, column, row, value.text, at);
    case Store::kTextDate:
    case Store::kTextTime:
      return reader_.CheckUtf8(value.text, field.path) && StoreTime(field, target.store, column, row, value.text, at);
    case Store::kRealEpoch:
      return StoreRealEpoch(field, column, row, value.bits, at);
    case Store::kDurationDouble:
    case Store::kDurationDecimal:
      return StoreDuration(field, target.store, column, row, value.moment, at);
  }
  return true;
}

bool ProtobufDecoder::CheckListText(const FieldPlan& field, Column& column, std::int64_t row, const char* at) {
  Column& element = column.element();
  const auto bytes = static_cast<std::size_t>(element.text_begin(column.list_begin(row + 1)) -
                                              element.text_begin(column.list_begin(row)));
  if (bytes <= kMaxTextBytes) [[likely]]
    return true;
  reader_.Fail("too_large", at,
               fmt::format("field '{}': its names have more than {} bytes", field.path, kMaxTextBytes));
  return false;
}

inline bool ProtobufDecoder::StoreText(Column& column, std::int64_t row, std::string_view text) {
  char* out = column.text_begin(row);
  while (static_cast<std::size_t>(column.text_limit() - out) < text.size()) [[unlikely]] {
      if (static_cast<std::size_t>(out - column.text_begin(0)) + text.size() > kMaxColumnBytes) {
        return Check(Status::CapacityError("a text column of one batch is full"));
      }
      Result<char*> grown = column.GrowText(out);
      if (!grown.ok()) return Check(grown.status());
      out = *grown;
    }
  std::memcpy(out, text.data(), text.size());
  column.SetTextEnd(row, out + text.size());
  return true;
}

inline bool ProtobufDecoder::StoreInteger(const FieldPlan& field, Column& column, std::int64_t row, std::uint64_t bits,
                                          const char* at) {
  const auto value = static_cast<std::int64_t>(bits);
  const bool is_int32 = column.kind() == ValueKind::kInt32;
  if ((value < 0 && IsUnsigned64(field.type)) || (is_int32 && value != static_cast<std::int32_t>(value))) [[unlikely]] {
    return FailRange(field, value < 0 && IsUnsigned64(field.type) ? std::to_string(bits) : std::to_string(value),
                     is_int32 ? "is out of the range of int32" : "is out of the range of int64", at);
  }
  if (is_int32) {
    column.Set(row, static_cast<std::int32_t>(value));
  } else {
    column.Set(row, value);
  }
  return true;
}

bool ProtobufDecoder::StoreDecimal(const FieldPlan& field, Column& column, std::int64_t row, const NumberText& number,
                                   const char* at) {
  Int128 value = 0;
  const NumberError error = ToScaledInteger(number, column.precision(), column.scale(), column.form().rounding, &value);
  if (error == NumberError::kNone) [[likely]] {
    column.Set(row, arrow::Decimal128(static_cast<std::int64_t>(value >> 64), static_cast<std::uint64_t>(value)));
    return true;
  }
  const std::string text = number.begin == nullptr ? fmt::format("{}{}", number.negative ? "-" : "", number.digits)
                                                   : std::string(number.begin, number.end);
  return FailRange(field, text,
                   error == NumberError::kOverflow
                       ? fmt::format("is out of the range of decimal({},{})", column.precision(), column.scale())
                       : fmt::format("has more than {} decimals", column.scale()),
                   at);
}

bool ProtobufDecoder::StoreNumberText(const FieldPlan& field, Column& column, std::int64_t row, std::string_view text,
                                      const char* at) {
  const std::string digits(text);  // With a zero byte behind, where every number ends.
  NumberText number;
  if (!ScanNumber(digits.c_str(), &number) || number.end != digits.data() + digits.size()) {
    return FailText(field, text, "decimal", at);
  }
  return StoreDecimal(field, column, row, number, at);
}

bool ProtobufDecoder::StoreDuration(const FieldPlan& field, Store store, Column& column, std::int64_t row,
                                    const Moment& moment, const char* at) {
  if (!IsDuration(moment)) {
    return FailRange(field, fmt::format("{} seconds and {} nanos", moment.seconds, moment.nanos),
                     "is no google.protobuf.Duration", at);
  }
  out_.clear();
  AppendDuration(moment, &out_);
  out_.pop_back();  // The unit.
  if (store == Store::kDurationDecimal) return StoreNumberText(field, column, row, out_, at);
  NumberText number;
  double value = 0;
  ScanNumber(out_.c_str(), &number);
  ToDouble(number, &value);
  column.Set(row, value);
  return true;
}

bool ProtobufDecoder::StoreEpoch(const FieldPlan& field, Column& column, std::int64_t row, std::uint64_t bits,
                                 const char* at) {
  const auto units = static_cast<std::int64_t>(bits);
  UnixMicros micros = units;
  bool in_range = units >= 0 || !IsUnsigned64(field.type);
  switch (column.kind()) {
    case ValueKind::kSeconds:
      in_range &= !__builtin_mul_overflow(units, 1'000'000, &micros);
      break;
    case ValueKind::kMillis:
      in_range &= !__builtin_mul_overflow(units, 1000, &micros);
      break;
    case ValueKind::kNanos:
      micros = units / 1000 - (units % 1000 < 0);
      break;
    default:
      break;
  }
  if (!in_range || micros < kMinTimestamp || micros > kMaxTimestamp) [[unlikely]] {
    return FailRange(field, IsUnsigned64(field.type) ? std::to_string(bits) : std::to_string(units), kNoTime, at);
  }
  column.Set(row, micros);
  return true;
}

bool ProtobufDecoder::StoreRealEpoch(const FieldPlan& field, Column& column, std::int64_t row, std::uint64_t bits,
                                     const char* at) {
  const int scale = column.kind() == ValueKind::kSeconds  ? 6
                    : column.kind() == ValueKind::kMillis ? 3
                    : column.kind() == ValueKind::kNanos  ? -3
                                                          : 0;
  out_.clear();
  AppendReal(field.type, bits, &out_);
  NumberText number;
  UnixMicros micros = 0;
  if (!ScanNumber(out_.c_str(), &number) || number.end != out_.data() + out_.size() ||
      ToMicros(number, scale, &micros) != NumberError::kNone || micros < kMinTimestamp || micros > kMaxTimestamp) {
    return FailRange(field, out_, kNoTime, at);
  }
  column.Set(row, micros);
  return true;
}

bool ProtobufDecoder::StoreTime(const FieldPlan& field, Store store, Column& column, std::int64_t row,
                                std::string_view text, const char* at) {
  if (store == Store::kTextDate) {
    std::int32_t days = 0;
    const TimeError error = ParseDate(text, &days);
    if (error == TimeError::kShape) return FailText(field, text, "date YYYY-MM-DD", at);
    if (error != TimeError::kNone) return FailRange(field, text, "is no day of the years 0001 to 9999", at);
    column.Set(row, days);
    return true;
  }
  UnixMicros micros = 0;
  const TimeError error = ParseTimestamp(text, &micros);
  if (error == TimeError::kShape) return FailText(field, text, "RFC 3339 timestamp", at);
  if (error != TimeError::kNone) return FailRange(field, text, kNoTime, at);
  column.Set(row, micros);
  return true;
}

bool ProtobufDecoder::StoreByText(const FieldPlan& field, Store store, Column& column, std::int64_t row,
                                  const Scalar& value, const char* at) {
  if (store == Store::kUuidBytes) {
    if (value.text.size() != kUuidBytes) {
      return FailRange(field, fmt::format("{} bytes", value.text.size()), "are no uuid, which has 16", at);
    }
    char text[kUuidTextBytes];
    WriteUuid(reinterpret_cast<const unsigned char*>(value.text.data()), text);
    return StoreText(column, row, {text, sizeof text});
  }
  out_.clear();
  if (field.type == FieldDescriptor::TYPE_STRING) {
    if (!reader_.CheckUtf8(value.text, field.path)) return false;
    out_ = value.text;
  } else if (field.type == FieldDescriptor::TYPE_BOOL) {
    out_ = value.bits != 0 ? "true" : "false";
  } else if (field.type == FieldDescriptor::TYPE_FLOAT || field.type == FieldDescriptor::TYPE_DOUBLE) {
    AppendReal(field.type, value.bits, &out_);
  } else {
    out_ =
        IsUnsigned64(field.type) ? std::to_string(value.bits) : std::to_string(static_cast<std::int64_t>(value.bits));
  }
  std::optional<TextProblem> problem;
  if (!Check(SetFromText(out_, row, column, &problem))) return false;
  if (!problem) return true;
  reader_.Fail(problem->reason, at, fmt::format("field '{}': {}", field.path, problem->detail));
  return false;
}

bool ProtobufDecoder::FailRange(const FieldPlan& field, std::string_view value, std::string_view problem,
                                const char* at) {
  reader_.Fail("out_of_range", at, fmt::format("field '{}': {} {}", field.path, Printable(value), problem));
  return false;
}

bool ProtobufDecoder::FailText(const FieldPlan& field, std::string_view value, std::string_view expected,
                               const char* at) {
  reader_.Fail("type_mismatch", at,
               fmt::format("field '{}': expected {}, found \"{}\"", field.path, expected, Printable(value)));
  return false;
}

bool ProtobufDecoder::Fill(const NestedPlan& plan, std::span<const WireValue> values, Column& column,
                           std::int64_t row) {
  column.SetValid(row);
  switch (plan.shape) {
    case NestedPlan::Shape::kLeaf:
      return FillLeaf(plan, values, column, row);
    case NestedPlan::Shape::kText:
      return FillText(plan, values, column, row);
    case NestedPlan::Shape::kList:
      return FillList(plan, values, column, row);
    case NestedPlan::Shape::kMap:
      return FillMap(plan, values, column, row);
    case NestedPlan::Shape::kStruct:
      return FillStruct(plan, values, column, row);
  }
  return false;
}

bool ProtobufDecoder::FillLeaf(const NestedPlan& plan, std::span<const WireValue> values, Column& column,
                               std::int64_t row) {
  const FieldPlan& field = plan.field;
  const Target& target = field.targets.front();
  Scalar scalar;
  if (values.empty()) {
    if (plan.absence.kind != Absence::Kind::kValue) return Check(column.SetNull(row));
    scalar.bits = plan.absence.bits;
    scalar.text = plan.absence.text;
    return StoreOne(field, target, column, row, scalar, nullptr);
  }
  for (const WireValue& value : values) {
    if (value.wire != field.wire) return FailWire(field, value.wire, value.begin) != nullptr;
  }
  const WireValue& last = values.back();
  switch (field.shape) {
    case FieldPlan::Shape::kNumber:
      if (ReadNumber(reader_, field.type, last.begin, last.end, &scalar.bits) == nullptr) return false;
      break;
    case FieldPlan::Shape::kText:
      scalar.text = last.bytes();
      if (target.empty_is_null && scalar.text.empty()) return Check(column.SetNull(row));
      break;
    case FieldPlan::Shape::kMoment:
      for (const WireValue& value : values) {
        if (ReadMoment(reader_, value.bytes(), field.depth + 1, field.path, &scalar.moment) == nullptr) return false;
      }
      break;
    default: {
      bool is_there = false;  // A wrapper without its value has the default.
      for (const WireValue& value : values) {
        if (!ReadWrapped(field, value.bytes(), &scalar, &is_there)) return false;
      }
    }
  }
  return StoreOne(field, target, column, row, scalar, last.begin);
}

bool ProtobufDecoder::FillText(const NestedPlan& plan, std::span<const WireValue> values, Column& column,
                               std::int64_t row) {
  const FieldDescriptor& field = *plan.field.field;
  if (values.empty() && !field.is_repeated()) return Check(column.SetNull(row));
  const auto* const message = field.message_type();
  const bool has_string_form = !field.is_repeated() && message != nullptr && MessageText::HasStringForm(*message);
  std::string text;
  if (!(has_string_form && !plan.is_json ? text_.AppendStringForm(field, values, plan.field.depth, &text)
                                         : text_.AppendField(field, values, plan.field.depth, &text))) {
    return false;
  }
  return StoreText(column, row, text);
}

bool ProtobufDecoder::FillList(const NestedPlan& plan, std::span<const WireValue> values, Column& column,
                               std::int64_t row) {
  const NestedPlan& inner = plan.inner.front();
  const FieldPlan& field = inner.field;
  Column& element = column.element();
  std::int64_t at = column.list_begin(row);
  column.SetListEnd(row, at);
  const auto add = [&](const auto& fill) {
    if (at == kMaxElements) return Check(Status::CapacityError("a list column of one batch is full"));
    if (!Check(element.EnsureRow(at)) || !fill()) return false;
    column.SetListEnd(row, ++at);
    const bool is_name = inner.shape == NestedPlan::Shape::kLeaf && field.targets.front().store == Store::kEnumName;
    return !is_name || CheckListText(field, column, row, values.front().begin);
  };
  for (const WireValue& value : values) {
    const bool is_packed = value.wire == Wire::kBytes && field.field->is_packable();
    if (!is_packed || inner.shape != NestedPlan::Shape::kLeaf) {
      if (!add([&] { return Fill(inner, {&value, 1}, element, at); })) return false;
      continue;
    }
    for (const char* p = value.begin; p != value.end;) {
      const char* const begin = p;
      Scalar scalar;
      p = ReadNumber(reader_, field.type, p, value.end, &scalar.bits);
      if (p == nullptr) return false;
      if (!add([&] {
            element.SetValid(at);
            return StoreOne(field, field.targets.front(), element, at, scalar, begin);
          })) {
        return false;
      }
    }
  }
  return true;
}

bool ProtobufDecoder::FillMap(const NestedPlan& plan, std::span<const WireValue> values, Column& column,
                              std::int64_t row) {
  if (!FillEntries(plan, values, column, row, {})) return false;
  const auto repeated = RepeatedKeys(column, row);
  return repeated.empty() || FillEntries(plan, values, column, row, repeated);
}

bool ProtobufDecoder::FillEntries(const NestedPlan& plan, std::span<const WireValue> values, Column& column,
                                  std::int64_t row, const std::vector<std::int64_t>& dropped) {
  static constexpr const char* kNothing = "";
  auto next_dropped = dropped.begin();
  std::int64_t at = column.list_begin(row);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (next_dropped != dropped.end() && *next_dropped == static_cast<std::int64_t>(i)) {
      ++next_dropped;
      continue;
    }
    if (values[i].wire != Wire::kBytes) return FailWire(plan.field, values[i].wire, values[i].begin) != nullptr;
    std::vector<std::vector<WireValue>> entry(plan.inner.size());
    if (!SplitMessage(plan, values[i].bytes(), &entry)) return false;
    if (entry[1].empty() && plan.inner[1].field.wire == Wire::kBytes &&
        plan.inner[1].field.field->message_type() != nullptr) {
      entry[1].push_back({.number = 2, .wire = Wire::kBytes, .begin = kNothing, .end = kNothing});
    }
    if (!Check(column.map_key().EnsureRow(at)) || !Check(column.map_value().EnsureRow(at)) ||
        !Fill(plan.inner[0], entry[0], column.map_key(), at) ||
        !Fill(plan.inner[1], entry[1], column.map_value(), at)) {
      return false;
    }
    ++at;
  }
  column.SetListEnd(row, at);
  return true;
}

bool ProtobufDecoder::FillStruct(const NestedPlan& plan, std::span<const WireValue> values, Column& column,
                                 std::int64_t row) {
  if (values.empty()) return Check(column.SetNull(row));
  std::vector<std::vector<WireValue>> members(plan.inner.size());
  for (const WireValue& value : values) {
    if (value.wire != Wire::kBytes) return FailWire(plan.field, value.wire, value.begin) != nullptr;
    if (!SplitMessage(plan, value.bytes(), &members)) return false;
  }
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (!Fill(plan.inner[i], members[i], column.member(i), row)) return false;
  }
  return true;
}

// Adds the occurrences of each of plan.inner in the message. A member of a oneof takes the place of the others.
bool ProtobufDecoder::SplitMessage(const NestedPlan& plan, std::string_view message,
                                   std::vector<std::vector<WireValue>>* members) {
  const int depth = plan.field.depth + 1;
  const char* const end = message.data() + message.size();
  for (const char* p = message.data(); p != end;) {
    const char* const at = p;
    Tag tag;
    p = reader_.ReadTag(p, end, &tag);
    if (p == nullptr) return false;
    WireValue value;
    p = reader_.ReadValue(tag, p, end, depth, &value);
    if (p == nullptr) return false;
    const FieldDescriptor* const field =
        plan.field.field->message_type()->FindFieldByNumber(static_cast<int>(tag.number));
    const auto* const oneof = field == nullptr ? nullptr : field->real_containing_oneof();
    bool is_taken = false;
    for (std::size_t i = 0; i < plan.inner.size(); ++i) {
      const FieldDescriptor* const member = plan.inner[i].field.field;
      if (member == field) {
        is_taken = true;
        (*members)[i].push_back(value);
      } else if (oneof != nullptr && member->real_containing_oneof() == oneof) {
        (*members)[i].clear();
      }
    }
    if (is_taken) continue;
    has_unknown_members_ = true;
    if (!rejects_) continue;
    reader_.Fail("unknown_field", at,
                 field == nullptr ? fmt::format("'{}' has no field {}", plan.field.path, tag.number)
                                  : fmt::format("field '{}.{}' is not declared", plan.field.path, field->name()));
    return false;
  }
  return true;
}

bool ProtobufDecoder::ReadWrapped(const FieldPlan& field, std::string_view message, Scalar* scalar, bool* is_there) {
  const char* const end = message.data() + message.size();
  for (const char* p = message.data(); p != end;) {
    const char* const at = p;
    Tag tag;
    p = reader_.ReadTag(p, end, &tag);
    if (p == nullptr) return false;
    if (tag.number != 1) {
      WireValue skipped;
      p = reader_.ReadValue(tag, p, end, field.depth + 1, &skipped);
    } else if (tag.wire != WireOf(field.type)) {
      return FailWire(field, tag.wire, at) != nullptr;
    } else {
      *is_there = true;
      p = tag.wire == Wire::kBytes ? reader_.ReadBytes(p, end, &scalar->text)
                                   : ReadNumber(reader_, field.type, p, end, &scalar->bits);
    }
    if (p == nullptr) return false;
  }
  return true;
}

bool ProtobufDecoder::FinishRow(std::string_view body) {
  return StoreTexts() && (!rescues_ || StoreRest(body)) && StoreAbsent();
}

bool ProtobufDecoder::StoreTexts() {
  partly_taken_.clear();
  for (FieldPlan* const field : reading_->plan.with_texts) {
    if (!field->texts[0].seen.IsSet(seen_)) continue;
    has_unknown_members_ = false;
    bool has_text = false;
    for (const TextTarget& target : field->texts) {
      has_text |= target.nested == nullptr;
      if (target.nested != nullptr && !Fill(*target.nested, field->values, columns_[target.column], row_)) return false;
    }
    if (has_unknown_members_ && !has_text) partly_taken_.push_back(field);
    if (!has_text) continue;
    out_.clear();
    const auto* const message = field->field->message_type();
    const bool plain = !field->field->is_repeated() && message != nullptr && MessageText::HasStringForm(*message);
    if (!(plain ? text_.AppendStringForm(*field->field, field->values, field->depth, &out_)
                : text_.AppendField(*field->field, field->values, field->depth, &out_))) {
      return false;
    }
    std::string quoted;
    if (plain) AppendJsonString(out_, quoted);
    for (const TextTarget& target : field->texts) {
      if (target.nested == nullptr &&
          !StoreText(columns_[target.column], row_, plain && target.is_json ? quoted : out_))
        return false;
    }
    if (field->values.capacity() * sizeof(WireValue) > kTextKeptBytes) std::vector<WireValue>().swap(field->values);
  }
  if (out_.capacity() > kTextKeptBytes) std::string().swap(out_);
  return true;
}

bool ProtobufDecoder::StoreRest(std::string_view body) {
  Column& column = columns_.back();
  out_.clear();
  // A field that has members which no member of a struct takes is there with all that is in it: they may be in any of
  // many messages.
  for (const FieldPlan* field : partly_taken_)
    TakenWith(*field).erase(static_cast<std::uint32_t>(field->field->number()));
  const bool is_good = (!has_rest_ && partly_taken_.empty()) ||
                       text_.AppendRest(*reading_->root().message, body, reading_->plan.taken, &out_);
  for (const FieldPlan* field : partly_taken_) TakenWith(*field)[static_cast<std::uint32_t>(field->field->number())];
  if (!is_good) return false;
  return out_.empty() ? true : StoreText(column, row_, out_);
}

// Nulls come last: a row that fails after one would leave it to the next.
bool ProtobufDecoder::StoreAbsent() {
  const bool has_rest = rescues_ && !out_.empty();
  for (std::size_t i = 0; i < reading_->plan.absences.size(); ++i) {
    const Absence& absence = reading_->plan.absences[i];
    if (Bit::Of(i).IsSet(seen_) || absence.kind != Absence::Kind::kValue || !absence.message.IsSet(seen_)) continue;
    Scalar value;
    value.bits = absence.bits;
    value.text = absence.text;
    if (!StoreOne(*absence.field, *absence.target, columns_[i], row_, value, nullptr)) return false;
  }
  for (std::size_t i = 0; i < reading_->plan.absences.size(); ++i) {
    const Absence& absence = reading_->plan.absences[i];
    if (Bit::Of(i).IsSet(seen_)) continue;
    Column& column = columns_[i];
    if (!absence.message.IsSet(seen_) || absence.kind == Absence::Kind::kNull) {
      if (!Check(column.SetNull(row_))) return false;
    } else if (absence.kind == Absence::Kind::kEmptyList) {
      column.SetListEnd(row_, column.list_begin(row_));
    } else if (absence.kind == Absence::Kind::kEmptyText) {
      if (!StoreText(column, row_, absence.text)) return false;
    }
  }
  return !rescues_ || has_rest || Check(columns_.back().SetNull(row_));
}

}  // namespace
}  // namespace protobuf

Result<std::unique_ptr<Decoder>> MakeProtobufDecoder(const DecodeSpec& spec) {
  if (spec.unknown_fields == UnknownFields::kAdd && !spec.schema->is_registered) {
    return InvalidInput(
        "unknown_fields: add has no use for Protobuf with a schema of a file, which names all fields; leave out the "
        "columns to have them all, or use rescue");
  }
  ASSIGN_OR_RETURN(auto schema, protobuf::Schema::Load(*spec.schema));
  ASSIGN_OR_RETURN(const auto* const message, schema->FindMessage(spec.schema->message));
  ASSIGN_OR_RETURN(auto plan, protobuf::MakePlan(*message, spec.columns));
  return std::make_unique<protobuf::ProtobufDecoder>(spec, std::move(schema), *message, std::move(plan));
}

Result<std::vector<ColumnSpec>> ColumnsOfProtobufSchema(const DecodeSpec& spec) {
  ASSIGN_OR_RETURN(const auto schema, protobuf::Schema::Load(*spec.schema));
  ASSIGN_OR_RETURN(const auto* const message, schema->FindMessage(spec.schema->message));
  return protobuf::ColumnsOf(*message);
}

}  // namespace millrace::ingest
