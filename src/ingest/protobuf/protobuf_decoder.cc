#include "ingest/protobuf/protobuf_decoder.h"

#include <arrow/util/decimal.h>
#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>

#include "ingest/declared_fields.h"
#include "ingest/framed_decoder.h"
#include "ingest/json/document_reader_internal.h"
#include "ingest/payload_form.h"
#include "ingest/protobuf/message_indexes_internal.h"
#include "ingest/protobuf/message_text_internal.h"
#include "ingest/protobuf/plan_internal.h"
#include "ingest/protobuf/schema_internal.h"
#include "ingest/protobuf/wire_internal.h"
#include "ingest/values/column_internal.h"
#include "ingest/values/number_text_internal.h"
#include "ingest/values/time_text_internal.h"
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

// How records of one schema are read.
struct Reading {
  std::shared_ptr<const Schema> reader;  // Both own descriptors.
  std::shared_ptr<const Schema> writer;  // Null: it is the reader.
  MessageIndexes indexes;                // Of the writer's message.
  Plan plan;

  MessagePlan& root() { return plan.messages.front(); }
};

constexpr std::size_t kMaxReadings = 1000;  // Of writers' schemas; beyond them all are made anew.

std::string OneofName(const FieldDescriptor& field) {
  const auto* const oneof = field.real_containing_oneof();
  return oneof == nullptr ? "" : oneof->name();
}

// Whether `writer` has all that `reader` has, under the same numbers, names and types.
bool Covers(const Descriptor& writer, const Descriptor& reader, std::set<const Descriptor*>* seen) {
  if (!seen->insert(&reader).second) return true;
  for (int i = 0; i < reader.field_count(); ++i) {
    const FieldDescriptor& wanted = *reader.field(i);
    const FieldDescriptor* const field = writer.FindFieldByNumber(wanted.number());
    if (field == nullptr || field->name() != wanted.name() || field->type() != wanted.type() ||
        field->is_repeated() != wanted.is_repeated() || field->has_presence() != wanted.has_presence() ||
        OneofName(*field) != OneofName(wanted)) {
      return false;
    }
    if (wanted.message_type() != nullptr && !Covers(*field->message_type(), *wanted.message_type(), seen)) return false;
    if (wanted.enum_type() == nullptr) continue;
    for (int v = 0; v < wanted.enum_type()->value_count(); ++v) {
      const auto* const value = field->enum_type()->FindValueByNumber(wanted.enum_type()->value(v)->number());
      if (value == nullptr || value->name() != wanted.enum_type()->value(v)->name()) return false;
    }
  }
  return true;
}

bool Covers(const Descriptor& writer, const Descriptor& reader) {
  std::set<const Descriptor*> seen;
  return Covers(writer, reader, &seen);
}

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
    for (const ColumnSpec& column : spec_.columns) columns_.emplace_back(column.type, column.timestamp_form);
    if (rescues_) columns_.emplace_back(arrow::utf8(), TimestampForm::kRfc3339);
  }

  Result<DecodedDocuments> Decode(std::span<const Document> documents) override;

 private:
  // False: refused, or memory_ is not OK.
  bool DecodeDocument(std::string_view payload);
  // Null: refused, see writer_refusal_, or memory_ is not OK.
  Reading* ReadingOf(std::string_view payload);
  Result<std::unique_ptr<Reading>> MakeReading(std::uint32_t id, const WriterSchema& schema) const;
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
  bool CheckListText(const FieldPlan& field, Column& column, const char* at);
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
  bool FailRange(const FieldPlan& field, std::string_view value, std::string_view problem, const char* at);
  bool FailText(const FieldPlan& field, std::string_view value, std::string_view expected, const char* at);
  bool Check(Status status) {
    if (status.ok()) [[likely]]
      return true;
    memory_ = std::move(status);
    return false;
  }

  // The row's columns that come from the whole record: JSON texts and the rest of the record, then what is absent.
  bool FinishRow(std::string_view body);
  bool StoreTexts();
  bool StoreRest(std::string_view body);
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
  bool has_rest_ = false;  // Fields that no column takes.
  const bool rescues_;
  const bool rejects_;
};

Result<DecodedDocuments> ProtobufDecoder::Decode(std::span<const Document> documents) {
  std::size_t bytes = 0;
  for (const Document& document : documents) bytes += document.bytes.size();
  const auto rows_max = static_cast<std::int64_t>(documents.size());
  for (Column& column : columns_) RETURN_NOT_OK(column.Begin(rows_max, static_cast<std::int64_t>(bytes)));

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

  arrow::ArrayDataVector data;
  data.reserve(columns_.size());
  for (Column& column : columns_) {
    ASSIGN_OR_RETURN(auto array, column.Finish(row_));
    data.push_back(std::move(array));
  }
  decoded.rows = arrow::RecordBatch::Make(arrow_schema_, row_, std::move(data));
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
    auto made = MakeReading(*id, **schema);
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

Result<std::unique_ptr<Reading>> ProtobufDecoder::MakeReading(std::uint32_t id, const WriterSchema& schema) const {
  const std::string name = fmt::format("schema id {}", id);
  if (schema.language != SchemaLanguage::kProtobuf) {
    return InvalidInput("{} is {}, and the format is protobuf", name, LanguageName(schema.language));
  }
  ASSIGN_OR_RETURN(auto writer, Schema::Load({.file = name,
                                              .bytes = std::make_shared<const std::string>(schema.text),
                                              .is_registered = true,
                                              .references = schema.references}));
  const auto written = writer->FindMessage(message_.full_name());
  if (!written.ok()) return WithContext(written.status(), "{}", name);
  // Fields are known by their numbers, so the declared message reads what any writer wrote; but only the writer's knows
  // the names of fields that are newer.
  auto plan = MakePlan(Covers(**written, message_) ? **written : message_, spec_.columns);
  if (!plan.ok()) return WithContext(plan.status(), "{}", name);
  if (spec_.declared != nullptr) {
    ASSIGN_OR_RETURN(const auto columns, ColumnsOf(**written));
    for (const ColumnSpec& column : columns) spec_.declared->Add(column.name, column.type);
  }
  return std::make_unique<Reading>(
      Reading{declared_.reader, std::move(writer), MessageIndexes(**written), *std::move(plan)});
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
  const char* const end = message.data() + message.size();
  for (const char* p = message.data(); p != end;) {
    const char* const at = p;
    Tag tag;
    p = reader_.ReadTag(p, end, &tag);
    if (p == nullptr) return nullptr;
    if (tag.number != 1) {
      WireValue skipped;
      p = reader_.ReadValue(tag, p, end, field.depth + 1, &skipped);
    } else if (tag.wire != WireOf(field.type)) {
      return FailWire(field, tag.wire, at);
    } else {
      has_value = true;
      p = tag.wire == Wire::kBytes ? reader_.ReadBytes(p, end, &value.text)
                                   : ReadNumber(reader_, field.type, p, end, &value.bits);
    }
    if (p == nullptr) return nullptr;
  }
  return !has_value || StoreAll(field, value, message.data()) ? end : nullptr;
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
      if (target.store == Store::kEnumName && !CheckListText(field, column, at)) return false;
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

bool ProtobufDecoder::CheckListText(const FieldPlan& field, Column& column, const char* at) {
  Column& element = column.element();
  const auto bytes = static_cast<std::size_t>(element.text_begin(column.list_begin(row_ + 1)) -
                                              element.text_begin(column.list_begin(row_)));
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
  const NumberError error = ToScaledInteger(number, column.precision(), column.scale(), &value);
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
  return StoreTexts() && (!rescues_ || StoreRest(body)) && StoreAbsent();
}

bool ProtobufDecoder::StoreTexts() {
  for (FieldPlan* const field : reading_->plan.with_texts) {
    if (!field->texts[0].seen.IsSet(seen_)) continue;
    out_.clear();
    const auto* const message = field->field->message_type();
    const bool plain = !field->field->is_repeated() && message != nullptr && MessageText::HasStringForm(*message);
    if (!(plain ? text_.AppendStringForm(*field->field, field->values, field->depth, &out_)
                : text_.AppendField(*field->field, field->values, field->depth, &out_))) {
      return false;
    }
    for (const TextTarget& target : field->texts) {
      if (!StoreText(columns_[target.column], row_, out_)) return false;
    }
    if (field->values.capacity() * sizeof(WireValue) > kTextKeptBytes) std::vector<WireValue>().swap(field->values);
  }
  if (out_.capacity() > kTextKeptBytes) std::string().swap(out_);
  return true;
}

bool ProtobufDecoder::StoreRest(std::string_view body) {
  Column& column = columns_.back();
  out_.clear();
  if (has_rest_ && !text_.AppendRest(*reading_->root().message, body, reading_->plan.taken, &out_)) return false;
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
