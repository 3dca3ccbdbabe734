/// The decoder itself: the state of a batch and of a record, and what is done with fields.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"
#include "ingest/protobuf/message_text_internal.h"
#include "ingest/protobuf/plan_internal.h"
#include "ingest/protobuf/reading_internal.h"
#include "ingest/protobuf/scalar_internal.h"
#include "ingest/protobuf/schema_internal.h"
#include "ingest/protobuf/wire.h"
#include "ingest/values/column_internal.h"
#include "ingest/values/number_text_internal.h"

namespace millrace::ingest::protobuf {

/// Of the lists of a column in one batch.
inline constexpr std::int64_t kMaxElements = std::numeric_limits<std::int32_t>::max();

/// A value from the wire. `bits`: as ReadNumber() has it.
struct Scalar {
  std::uint64_t bits = 0;
  std::string_view text = "";
  Moment moment;
};

/// See protobuf_decoder.h. Its functions return false or nullptr where the record is refused, which the reader keeps,
/// or where the batch fails.
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
  const char* ReadDirect(FieldPlan& field, const char* p, const char* end);
  const char* ReadTimestamp(FieldPlan& field, const Target& target, Column& column, const char* p, const char* end);
  const char* ReadTextDecimal(FieldPlan& field, const Target& target, Column& column, const char* p, const char* end);
  const char* ReadOther(FieldPlan& field, const Target& target, Column& column, const char* p, const char* end);
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
  // Where the text of `row` goes; nullptr: memory_ is not OK.
  char* RoomFor(Column& column, std::int64_t row, std::size_t size);
  bool StoreText(Column& column, std::int64_t row, std::string_view text);
  // As StoreText(), of text that should be UTF-8.
  bool CopyText(const FieldPlan& field, Column& column, std::int64_t row, std::string_view text);
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
  std::uint32_t last_id_ = 0;
  Reading* last_of_id_ = nullptr;  // In readings_; null: there is none to use again.
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

}  // namespace millrace::ingest::protobuf
