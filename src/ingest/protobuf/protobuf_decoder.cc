#include "ingest/protobuf/protobuf_decoder.h"

#include <arrow/util/decimal.h>
#include <fmt/format.h>

#include <algorithm>
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
#include "ingest/protobuf/protobuf_decoder_internal.h"
#include "ingest/protobuf/reading_internal.h"
#include "ingest/protobuf/schema_internal.h"
#include "ingest/protobuf/wire.h"
#include "ingest/values/column_internal.h"
#include "ingest/values/number_text_internal.h"
#include "ingest/values/text_value_internal.h"
#include "ingest/values/time_text_internal.h"
#include "ingest/values/utf8_text_internal.h"
#include "ingest/values/uuid_text_internal.h"
#include "ingest/writer_schemas.h"

namespace millrace::ingest {
namespace protobuf {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

constexpr std::string_view kNoTime = "is no time of the years 0001 to 9999";
constexpr std::size_t kMaxColumnBytes = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t kTextKeptBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxReadings = 1000;  // Of writers' schemas; beyond them all are made anew.

}  // namespace

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
  if (*id == last_id_ && last_of_id_ != nullptr) [[likely]]
    return last_of_id_;
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
  last_id_ = *id;
  last_of_id_ = found->second.reading.get();
  return last_of_id_;
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
  if (seen_.size() == reading_->plan.none.size()) [[likely]] {
    std::fill(seen_.begin(), seen_.end(), 0);
  } else {
    seen_ = reading_->plan.none;
  }
  reading_->root().seen.Set(seen_);
  has_rest_ = false;
  return ReadMessage(reading_->root(), body.data(), body.data() + body.size()) != nullptr && FinishRow(body);
}

const char* ProtobufDecoder::ReadMessage(MessagePlan& plan, const char* p, const char* end) {
  while (p != end) {
    if (FieldPlan* const direct = plan.FindDirect(*p); direct != nullptr) [[likely]] {
      p = ReadDirect(*direct, p + 1, end);
    } else {
      const char* const at = p;
      Tag tag;
      p = reader_.ReadTag(p, end, &tag);
      if (p == nullptr) [[unlikely]]
        return nullptr;
      FieldPlan* const field = plan.Find(tag.number);
      p = field == nullptr ? ReadUntaken(plan, tag, at, p, end) : ReadField(*field, tag, p, end);
    }
    if (p == nullptr) [[unlikely]]
      return nullptr;
  }
  return end;
}

// Behind the tag, which has the field's wire type.
[[gnu::always_inline]] inline const char* ProtobufDecoder::ReadDirect(FieldPlan& field, const char* p,
                                                                      const char* end) {
  using Direct = FieldPlan::Direct;
  if (field.direct == Direct::kInner) {
    std::string_view message;
    p = reader_.ReadBytes(p, end, &message);
    if (p == nullptr) return nullptr;
    field.inner->seen.Set(seen_);
    return ReadMessage(*field.inner, message.data(), p);
  }
  const Target& target = field.target;
  Column& column = columns_[target.column];
  std::uint64_t bits = 0;
  std::string_view text;
  switch (field.direct) {
    case Direct::kText:
      if (ReadShortBytes(p, end, &text) && column.SetText(row_, text.data(), text.size(), reader_.record_end()))
          [[likely]] {
        p = text.data() + text.size();
        break;
      }
      p = reader_.ReadBytes(p, end, &text);
      if (p == nullptr || !CopyText(field, column, row_, text)) [[unlikely]]
        return nullptr;
      break;
    case Direct::kInt64:
      p = reader_.ReadLargeVarint(p, end, &bits);
      column.Set(row_, bits);
      break;
    case Direct::kTimestamp:
      return ReadTimestamp(field, target, column, p, end);
    case Direct::kTextDecimal:
      return ReadTextDecimal(field, target, column, p, end);
    case Direct::kDouble:
      p = reader_.ReadFixed<std::uint64_t>(p, end, &bits);
      column.Set(row_, bits);
      break;
    default:
      return ReadOther(field, target, column, p, end);
  }
  target.seen.Set(seen_);
  return p;
}

// As most of them are; the others are for ReadOther().
const char* ProtobufDecoder::ReadTimestamp(FieldPlan& field, const Target& target, Column& column, const char* p,
                                           const char* end) {
  std::string_view message;
  Moment moment;
  if (target.seen.IsSet(seen_) || !ReadShortBytes(p, end, &message) ||
      !ReadPlainMoment(message, reader_.record_end(), &moment) || !IsTimestamp(moment)) [[unlikely]] {
    return ReadOther(field, target, column, p, end);
  }
  field.moment = moment;  // Another part of it may follow.
  column.Set(row_, MicrosOf(moment));
  target.seen.Set(seen_);
  return message.data() + message.size();
}

const char* ProtobufDecoder::ReadTextDecimal(FieldPlan& field, const Target& target, Column& column, const char* p,
                                             const char* end) {
  std::string_view text;
  std::int64_t value = 0;
  if (!ReadShortBytes(p, end, &text) || !ReadShortDecimal(text, column.precision(), column.scale(), &value))
      [[unlikely]] {
    return ReadOther(field, target, column, p, end);
  }
  column.Set(row_, arrow::Decimal128(value));
  target.seen.Set(seen_);
  return text.data() + text.size();
}

const char* ProtobufDecoder::ReadOther(FieldPlan& field, const Target& target, Column& column, const char* p,
                                       const char* end) {
  const char* at = p;
  Scalar value;
  if (field.shape == FieldPlan::Shape::kNumber) {
    p = ReadNumber(reader_, field.type, p, end, &value.bits);
    if (p == nullptr) return nullptr;
  } else {
    p = reader_.ReadBytes(p, end, &value.text);
    if (p == nullptr) return nullptr;
    if (field.shape == FieldPlan::Shape::kMoment) {
      at = value.text.data();
      // Parts of one message are merged.
      if (!target.seen.IsSet(seen_)) field.moment = {};
      if (ReadMoment(reader_, value.text, field.depth + 1, field.path, &field.moment) == nullptr) return nullptr;
      value.moment = field.moment;
    } else if (target.empty_is_null && value.text.empty()) {
      target.seen.Unset(seen_);
      return p;
    }
  }
  if (!StoreOne(field, target, column, row_, value, at)) return nullptr;
  target.seen.Set(seen_);
  return p;
}

bool ProtobufDecoder::CopyText(const FieldPlan& field, Column& column, std::int64_t row, std::string_view text) {
  char* const out = RoomFor(column, row, text.size());
  if (out == nullptr) return false;
  if (!CopyUtf8(text, out)) [[unlikely]]
    return reader_.CheckUtf8(text, field.path);
  column.SetTextEnd(row, out + text.size());
  return true;
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
  } else if (field.direct != FieldPlan::Direct::kNo) {
    return ReadDirect(field, p, end);
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

bool ProtobufDecoder::StoreOne(const FieldPlan& field, const Target& target, Column& column, std::int64_t row,
                               const Scalar& value, const char* at) {
  switch (target.store) {
    case Store::kText:
      return CopyText(field, column, row, value.text);
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
      column.Set(row, MicrosOf(value.moment));
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

inline char* ProtobufDecoder::RoomFor(Column& column, std::int64_t row, std::size_t size) {
  char* out = column.text_begin(row);
  while (static_cast<std::size_t>(column.text_limit() - out) < size) [[unlikely]] {
      if (static_cast<std::size_t>(out - column.text_begin(0)) + size > kMaxColumnBytes) {
        Check(Status::CapacityError("a text column of one batch is full"));
        return nullptr;
      }
      Result<char*> grown = column.GrowText(out);
      if (!Check(grown.status())) return nullptr;
      out = *grown;
    }
  return out;
}

bool ProtobufDecoder::StoreText(Column& column, std::int64_t row, std::string_view text) {
  char* const out = RoomFor(column, row, text.size());
  if (out == nullptr) return false;
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

bool ProtobufDecoder::FinishRow(std::string_view body) {
  partly_taken_.clear();
  return (reading_->plan.with_texts.empty() || StoreTexts()) && (!rescues_ || StoreRest(body)) && StoreAbsent();
}

bool ProtobufDecoder::StoreTexts() {
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
  const Plan& plan = reading_->plan;
  std::uint64_t absent = 0;
  for (std::size_t word = 0; word < seen_.size(); ++word) absent |= plan.all_columns[word] & ~seen_[word];
  if (absent == 0) return !rescues_ || has_rest || Check(columns_.back().SetNull(row_));
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
