#include "ingest/avro/avro_decoder.h"

#include <arrow/util/decimal.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <unordered_map>
#include <utility>

#include "ingest/avro/framing_internal.h"
#include "ingest/avro/plan_internal.h"
#include "ingest/avro/rescued_members_internal.h"
#include "ingest/avro/schema.h"
#include "ingest/avro/value_text_internal.h"
#include "ingest/avro/wire_internal.h"
#include "ingest/payload_form.h"
#include "ingest/values/column_internal.h"
#include "ingest/values/text_value_internal.h"
#include "ingest/values/time_text_internal.h"
#include "ingest/values/utf8_text_internal.h"
#include "ingest/values/uuid_text_internal.h"
#include "ingest/writer_schemas.h"

namespace millrace::ingest {
namespace avro {
namespace {

constexpr std::size_t kMaxPlans = 1000;  // Of writers' schemas; beyond them all are made anew.
constexpr std::size_t kTextKeptBytes = std::size_t{1} << 20;
constexpr std::string_view kNoTime = "is no time of the years 0001 to 9999";
constexpr std::int32_t kMinDays = -719'162;   // 0001-01-01
constexpr std::int32_t kMaxDays = 2'932'896;  // 9999-12-31

bool MultiplyByPower(Int128* value, int power) {
  for (; power > 0; --power) {
    if (__builtin_mul_overflow(*value, 10, value)) return false;
  }
  return true;
}

// value * 10^-scale as the column rounds it. False: it does not fit.
bool Round(Int128 value, int scale, const Column& column, Int128* rounded) {
  const arrow::Decimal128 decimal(static_cast<std::int64_t>(value >> 64), static_cast<std::uint64_t>(value));
  const std::string text = fmt::format("{}e-{}", decimal.ToIntegerString(), scale);
  NumberText number;
  ScanNumber(text.c_str(), &number);
  return ToScaledInteger(number, column.precision(), column.scale(), column.form().rounding, rounded) ==
         NumberError::kNone;
}

class AvroDecoder final : public Decoder {
 public:
  AvroDecoder(const DecodeSpec& spec, SchemaPtr schema)
      : spec_(spec), arrow_schema_(DecodedSchema(spec)), reader_(std::move(schema)) {}

  Status Prepare();
  Result<DecodedDocuments> Decode(std::span<const Document> documents) override;

 private:
  // Either a plan, or why there is none.
  struct Reading {
    std::unique_ptr<const Plan> plan;
    std::string_view reason;
    std::string detail;
    bool may_change = false;  // There is no schema that could be used; there may be one later.
  };

  // Null: refused, see refusal_; or status_ is not OK.
  const Plan* TakeFrame(std::string_view payload, std::size_t* frame);
  const Plan* Refuse(std::string_view reason, std::string detail);
  Status GiveUp(std::span<const Document> rest);
  const Plan* PlanOf(std::uint64_t id);
  Result<Reading> MakeReading(std::uint64_t id);
  // Of a container file's schema.
  const Plan* PlanOfText(const std::string& schema);
  // `of` is what the records say of the schema.
  Result<Reading> CompileReading(Result<SchemaPtr> writer, std::string_view of);

  bool DecodeDocument(const Document& document);
  bool Run(const Plan& plan, Bytes p);
  // A leaf's value, and the place behind it; nullptr: wire_ or status_ has the failure.
  Bytes ReadLeaf(const Plan& plan, const Step& step, Column& column, std::int64_t row, Bytes p);
  Bytes ReadValue(const Plan& plan, const Step& step, Column& column, std::int64_t row, Bytes p);
  Bytes ReadText(Column& column, std::int64_t row, Bytes p);
  Bytes ReadFormatted(const Step& step, Column& column, std::int64_t row, Bytes p);
  Bytes ReadDecimal(const Step& step, Column& column, std::int64_t row, Bytes p);
  Bytes ReadParsed(const Step& step, Column& column, std::int64_t row, Bytes p);
  Bytes ReadByText(const Step& step, Column& column, std::int64_t row, Bytes p);
  Bytes ReadBytes(const Step& step, Column& column, std::int64_t row, Bytes p);
  Bytes ReadMoment(const Step& step, Column& column, std::int64_t row, Bytes p);
  Bytes ReadList(const Plan& plan, const Step& step, Column& column, std::int64_t row, Bytes p);
  Bytes ReadMap(const Plan& plan, const Step& step, Column& column, std::int64_t row, Bytes p);
  // Without the entries of these indexes, which ascend.
  Bytes ReadEntries(const Plan& plan, const Step& step, Column& column, std::int64_t row, Bytes p,
                    const std::vector<std::int64_t>& dropped);
  Bytes ReadStruct(const Plan& plan, const Step& step, Column& column, std::int64_t row, Bytes p);
  // A value in a column that is no leaf.
  Bytes ReadInner(const Plan& plan, const Step& step, Column& column, std::int64_t row, Bytes p);
  Bytes Rescue(const Plan& plan, const Step& step, Bytes p);
  Bytes StoreDecimal(Column& column, std::int64_t row, Int128 value, int scale, Bytes p, Bytes behind);
  bool StoreText(Column& column, std::int64_t row, std::string_view text);
  char* RoomFor(Column& column, std::int64_t row, std::int64_t size);
  Bytes FailMemory(Status status) {
    status_ = std::move(status);
    return nullptr;
  }

  // Constant after Prepare().
  const DecodeSpec spec_;
  const std::shared_ptr<arrow::Schema> arrow_schema_;
  const SchemaPtr reader_;
  std::uint64_t fingerprint_ = 0;
  ColumnTree tree_;
  std::unique_ptr<const Plan> plan_;  // Of records that were written with reader_.

  std::unordered_map<std::uint64_t, Reading> readings_;  // By id.
  std::uint64_t last_id_ = 0;
  const Reading* last_of_id_ = nullptr;                          // In readings_; null: it has none yet.
  std::unordered_map<std::string, Reading> container_readings_;  // By the text of the schema.
  std::size_t container_schema_bytes_ = 0;
  const std::string* last_schema_ = nullptr;  // Of the batch.
  const Reading* last_reading_ = nullptr;     // Of last_schema_.
  std::vector<Column> columns_;               // One for each of spec_.columns, then that of rescued_.
  Wire wire_;
  RescuedMembers rescued_;
  std::string text_;
  std::size_t json_limit_ = 0;    // Of the document.
  const Step* failed_ = nullptr;  // The leaf within a column, if it is no column's own.
  std::int64_t row_ = 0;
  Refusal refusal_;
  Status status_;  // Not OK: the batch fails.
};

Status AvroDecoder::Prepare() {
  for (const ColumnSpec& column : spec_.columns) {
    if (const auto kind = KindOfColumn(*column.type, column.form); !kind.ok()) {
      return WithContext(kind.status(), "column '{}'", column.name);
    }
  }
  columns_.reserve(spec_.columns.size() + 1);
  for (const ColumnSpec& column : spec_.columns) columns_.emplace_back(column.type, column.form);
  if (spec_.has_rescued_column()) columns_.emplace_back(arrow::utf8(), TimestampForm::kRfc3339);
  fingerprint_ = Fingerprint(*reader_);
  ASSIGN_OR_RETURN(tree_, MakeColumnTree(spec_.columns));
  ASSIGN_OR_RETURN(plan_, CompilePlan(reader_, reader_, spec_, tree_));
  for (const Step& step : plan_->steps) {
    if (step.op == Op::kUnknownField) {
      return InvalidInput("no column takes the field '{}' of the schema, and unknown_fields is 'reject'",
                          plan_->paths[step.path]);
    }
  }
  return Status::OK();
}

Result<DecodedDocuments> AvroDecoder::Decode(std::span<const Document> documents) {
  RETURN_NOT_OK(BeginColumns(columns_, documents));
  DecodedDocuments decoded;
  status_ = Status::OK();
  last_schema_ = nullptr;
  row_ = 0;
  for (const Document& document : documents) {
    if (DecodeDocument(document)) {
      ++row_;
      continue;
    }
    if (!status_.ok()) return GiveUp(documents.subspan(static_cast<std::size_t>(&document - documents.data()) + 1));
    // What was null in the row that is written over may not be null in the next.
    for (Column& column : columns_) column.SetValid(row_);
    refusal_.document = static_cast<std::size_t>(&document - documents.data());
    decoded.refused.push_back(std::move(refusal_));
  }
  if (text_.capacity() > kTextKeptBytes) std::string().swap(text_);
  if (rescued_.text().capacity() > kTextKeptBytes) std::string().swap(rescued_.text());

  ASSIGN_OR_RETURN(decoded.rows, FinishColumns(columns_, row_, arrow_schema_));
  return decoded;
}

// Whose schemas are missing too is asked for at once, and not one after the other.
Status AvroDecoder::GiveUp(std::span<const Document> rest) {
  Status failure = std::move(status_);
  if (KindOf(failure) != ErrorKind::kTransient) return failure;
  std::size_t frame = 0;
  for (const Document& document : rest) TakeFrame(document.bytes, &frame);
  return failure;
}

const Plan* AvroDecoder::Refuse(std::string_view reason, std::string detail) {
  refusal_.reason = reason;
  refusal_.detail = std::move(detail);
  return nullptr;
}

const Plan* AvroDecoder::TakeFrame(std::string_view payload, std::size_t* frame) {
  *frame = 0;
  if (spec_.framing == Framing::kNone) return plan_.get();
  const bool is_confluent = spec_.framing == Framing::kConfluent;
  const Frame expected = FrameOf(spec_.framing);
  *frame = expected.size;
  if (!expected.IsBefore(payload)) {
    std::string found = "nothing";
    for (std::size_t i = 0; i < std::min(payload.size(), expected.mark.size()); ++i) {
      found = fmt::format("{}{:02X}", i == 0 ? "" : found + " ", static_cast<unsigned char>(payload[i]));
    }
    std::string detail =
        fmt::format("{} framing begins with {} and has {} bytes; the payload of {} bytes begins with {}",
                    FramingName(spec_.framing), is_confluent ? "00" : "C3 01", *frame, payload.size(), found);
    if (const std::string form = FormOfPayload(payload); !form.empty()) detail += " and looks like " + form;
    return Refuse("bad_framing", std::move(detail));
  }
  const std::uint64_t id = IdIn(spec_.framing, payload);
  if (is_confluent) return spec_.writer_schemas == nullptr ? plan_.get() : PlanOf(id);
  if (id == fingerprint_) return plan_.get();
  if (spec_.writer_schemas != nullptr) return PlanOf(id);
  return Refuse("unknown_schema",
                fmt::format("written with a schema of the fingerprint {:016x}, that of '{}' is {:016x}", id,
                            spec_.schema->file, fingerprint_));
}

const Plan* AvroDecoder::PlanOf(std::uint64_t id) {
  if (last_of_id_ != nullptr && id == last_id_ && last_of_id_->plan != nullptr) [[likely]]
    return last_of_id_->plan.get();
  auto found = readings_.find(id);
  if (found == readings_.end()) {
    auto made = MakeReading(id);
    if (!made.ok()) {
      status_ = made.status();
      return nullptr;
    }
    if (made->may_change) return Refuse(made->reason, std::move(made->detail));
    if (readings_.size() >= kMaxPlans) readings_.clear();
    found = readings_.emplace(id, *std::move(made)).first;
  }
  const Reading& reading = found->second;
  last_id_ = id;
  last_of_id_ = &reading;
  return reading.plan == nullptr ? Refuse(reading.reason, reading.detail) : reading.plan.get();
}

Result<AvroDecoder::Reading> AvroDecoder::MakeReading(std::uint64_t id) {
  const auto found = spec_.writer_schemas->Find(id);
  if (found.ok() && *found == nullptr) {
    return Reading{.plan = nullptr,
                   .reason = "unknown_schema",
                   .detail = fmt::format("there is no schema with the id {}", id),
                   .may_change = true};
  }
  const auto parse = [&]() -> Result<SchemaPtr> {
    RETURN_NOT_OK(found.status());
    if ((*found)->language != SchemaLanguage::kAvro) {
      return InvalidInput("it is {}, and the format is avro", LanguageName((*found)->language));
    }
    return ParseSchema((*found)->text, (*found)->references);
  };
  ASSIGN_OR_RETURN(auto reading, CompileReading(parse(), fmt::format("schema id {}", id)));
  reading.may_change = !found.ok();
  return reading;
}

Result<AvroDecoder::Reading> AvroDecoder::CompileReading(Result<SchemaPtr> writer, std::string_view of) {
  Reading reading;
  auto plan = [&]() -> Result<std::unique_ptr<const Plan>> {
    ASSIGN_OR_RETURN(auto schema, std::move(writer));
    if (spec_.declared != nullptr) DeclareFields(*schema, *spec_.declared);
    return CompilePlan(std::move(schema), reader_, spec_, tree_);
  }();
  if (!plan.ok() && KindOf(plan.status()) != ErrorKind::kInvalidInput) return plan.status();
  if (plan.ok()) {
    reading.plan = *std::move(plan);
  } else {
    reading.reason = "incompatible_schema";
    reading.detail = fmt::format("{}: {}", of, plan.status().message());
  }
  return reading;
}

const Plan* AvroDecoder::PlanOfText(const std::string& schema) {
  if (&schema != last_schema_) {
    auto found = container_readings_.find(schema);
    if (found == container_readings_.end()) {
      auto made = CompileReading(ParseSchema(schema), "the file's schema");
      if (!made.ok()) {
        status_ = made.status();
        return nullptr;
      }
      if (container_readings_.size() >= kMaxPlans || container_schema_bytes_ + schema.size() > kMaxSchemaBytes) {
        container_readings_.clear();
        container_schema_bytes_ = 0;
      }
      container_schema_bytes_ += schema.size();
      found = container_readings_.emplace(schema, *std::move(made)).first;
    }
    last_schema_ = &schema;
    last_reading_ = &found->second;
  }
  return last_reading_->plan == nullptr ? Refuse(last_reading_->reason, last_reading_->detail)
                                        : last_reading_->plan.get();
}

bool AvroDecoder::DecodeDocument(const Document& document) {
  const std::string_view payload = document.bytes;
  std::size_t frame = 0;
  const Plan* const plan =
      document.writer_schema == nullptr ? TakeFrame(payload, &frame) : PlanOfText(*document.writer_schema);
  if (plan == nullptr) return false;
  const auto* const begin = reinterpret_cast<Bytes>(payload.data());
  wire_.Begin(begin + frame, begin + payload.size(), frame);
  json_limit_ = JsonBytesMax(payload.size());
  if (spec_.has_rescued_column()) rescued_.Begin();
  if (!Run(*plan, begin + frame)) {
    // Bytes of another framing, or of another format, are mostly no record of this schema.
    const bool may_be_another = frame == 0 && document.writer_schema == nullptr && refusal_.reason == "bad_avro";
    const std::string form = may_be_another ? FormOfPayload(payload) : "";
    if (!form.empty()) refusal_.detail += "; the payload looks like " + form;
    return false;
  }
  if (!spec_.has_rescued_column()) return true;
  Column& column = columns_.back();
  const std::string_view rescued = rescued_.End();
  if (rescued.empty()) {
    status_ = column.SetNull(row_);
    return status_.ok();
  }
  return StoreText(column, row_, rescued);
}

bool AvroDecoder::Run(const Plan& plan, Bytes p) {
  const Step* step = plan.steps.data();
  failed_ = nullptr;
  Bytes mark = p;
  Bytes behind_default = nullptr;  // Where the record goes on.
  Wire of_record;
  for (;; ++step) {
    switch (step->op) {
      case Op::kSkip:
        p = SkipValue(wire_, *step->schema, p);
        break;
      case Op::kRescue:
        p = Rescue(plan, *step, p);
        break;
      case Op::kOpen:
        rescued_.Open(plan.keys[step->arg]);
        break;
      case Op::kClose:
        rescued_.Close();
        break;
      case Op::kBranch: {
        std::size_t branch = 0;
        p = wire_.Index(p, step->schema->branches.size(), "branch", &branch);
        if (p == nullptr) break;
        step = plan.steps.data() + plan.jumps[step->arg][branch] - 1;
        break;
      }
      case Op::kJump:
        step = plan.steps.data() + step->arg - 1;
        break;
      case Op::kSetNull:
        for (const std::uint32_t column : plan.column_sets[step->arg]) {
          if (Status status = columns_[column].SetNull(row_); !status.ok()) p = FailMemory(std::move(status));
        }
        break;
      case Op::kMark:
        mark = p;
        break;
      case Op::kRewind:
        p = mark;
        break;
      case Op::kBeginDefault: {
        const std::string& bytes = plan.defaults[step->arg];
        of_record = std::exchange(wire_, Wire());
        behind_default = std::exchange(p, reinterpret_cast<Bytes>(bytes.data()));
        wire_.Begin(p, p + bytes.size(), 0);
        break;
      }
      case Op::kEndDefault:
        wire_ = std::exchange(of_record, Wire());
        p = std::exchange(behind_default, nullptr);
        break;
      case Op::kUnknownField:
        Refuse("unknown_field", fmt::format("field '{}' is not declared", plan.paths[step->path]));
        return false;
      case Op::kEnd:
        if (p == wire_.end()) return true;
        wire_.Fail("bad_avro", p, fmt::format("the record ends, but {} bytes are left", wire_.left(p)));
        Refuse("bad_avro", wire_.TakeFailure().problem);
        return false;
      default:
        p = ReadLeaf(plan, *step, columns_[step->column], row_, p);
    }
    if (p == nullptr) [[unlikely]] {
      if (!status_.ok()) return false;
      auto failure = wire_.TakeFailure();
      const Step& failed = failed_ == nullptr ? *step : *failed_;
      Refuse(failure.reason, fmt::format("field '{}': {}{}", plan.paths[failed.path], failure.problem,
                                         behind_default == nullptr ? "" : " of the reader's default"));
      return false;
    }
  }
}

[[gnu::always_inline]] inline Bytes AvroDecoder::ReadLeaf(const Plan& plan, const Step& step, Column& column,
                                                          std::int64_t row, Bytes p) {
  if (step.null_branch >= 0) {
    std::size_t branch = 0;
    p = wire_.Branch(p, &branch);
    if (p == nullptr) return nullptr;
    if (branch == static_cast<std::size_t>(step.null_branch)) {
      Status status = column.SetNull(row);
      return status.ok() ? p : FailMemory(std::move(status));
    }
  }
  // What most fields are, as most of them are; the rest, and what is wrong, is for the functions.
  const Bytes end = wire_.end();
  switch (step.op) {
    case Op::kText:
      if (p < end && (*p & 0x81) == 0) [[likely]] {  // A length below 64.
        const std::size_t size = *p >> 1;
        if (column.SetText(row, reinterpret_cast<const char*>(p + 1), size, reinterpret_cast<const char*>(end)))
            [[likely]] {
          return p + 1 + size;
        }
      }
      return ReadText(column, row, p);
    case Op::kInt64: {
      std::int64_t value = 0;
      p = wire_.LargeLong(p, &value);
      column.Set(row, value);
      return p;
    }
    case Op::kMicros: {
      std::int64_t micros = 0;
      const Bytes behind = wire_.LargeLong(p, &micros);
      if (behind == nullptr || micros < kMinTimestamp || micros > kMaxTimestamp) [[unlikely]]
        return ReadMoment(step, column, row, p);
      column.Set(row, micros);
      return behind;
    }
    case Op::kDouble: {
      if (end - p < std::ptrdiff_t{sizeof(double)}) [[unlikely]]
        return ReadValue(plan, step, column, row, p);
      double value;
      std::memcpy(&value, p, sizeof value);
      column.Set(row, value);
      return p + sizeof value;
    }
    case Op::kDecimal:
      return ReadDecimal(step, column, row, p);
    default:
      return ReadValue(plan, step, column, row, p);
  }
}

// As ReadLeaf(), of a value that is no null.
Bytes AvroDecoder::ReadValue(const Plan& plan, const Step& step, Column& column, std::int64_t row, Bytes p) {
  std::int64_t wide = 0;
  std::int32_t narrow = 0;
  switch (step.op) {
    case Op::kSymbol: {
      const auto& symbols = plan.symbols[step.arg];
      std::size_t index = 0;
      const Bytes behind = wire_.Index(p, symbols.size(), "symbol", &index);
      if (behind == nullptr) return nullptr;
      if (symbols[index].empty()) {
        return wire_.Fail("type_mismatch", p,
                          fmt::format("the reader's enum has no symbol '{}'", step.schema->symbols[index]));
      }
      return StoreText(column, row, symbols[index]) ? behind : nullptr;
    }
    case Op::kFormatted:
    case Op::kJson:
      return ReadFormatted(step, column, row, p);
    case Op::kBool: {
      bool value = false;
      p = wire_.Boolean(p, &value);
      if (p != nullptr) column.SetBool(row, value);
      return p;
    }
    case Op::kInt32:
      p = wire_.Int(p, &narrow);
      column.Set(row, narrow);
      return p;
    case Op::kInt32OfLong: {
      const Bytes behind = wire_.Long(p, &wide);
      if (behind != nullptr && wide != static_cast<std::int32_t>(wide)) {
        return wire_.Fail("out_of_range", p, fmt::format("{} is out of the range of int32", wide));
      }
      column.Set(row, static_cast<std::int32_t>(wide));
      return behind;
    }
    case Op::kInt64OfInt:
      p = wire_.Int(p, &narrow);
      column.Set(row, std::int64_t{narrow});
      return p;
    case Op::kDouble:
      return wire_.Fixed(p, sizeof(double));  // There are fewer bytes.
    case Op::kDoubleOfFloat: {
      const Bytes behind = wire_.Fixed(p, sizeof(float));
      float value = 0;
      if (behind != nullptr) std::memcpy(&value, p, sizeof value);
      column.Set(row, static_cast<double>(value));
      return behind;
    }
    case Op::kDoubleOfLong:
      p = wire_.Long(p, &wide);
      column.Set(row, static_cast<double>(wide));
      return p;
    case Op::kDecimalOfLong:
      return ReadDecimal(step, column, row, p);
    case Op::kDecimalOfText:
    case Op::kDateOfText:
    case Op::kTimestampOfText:
      return ReadParsed(step, column, row, p);
    case Op::kByText:
      return ReadByText(step, column, row, p);
    case Op::kBytes:
    case Op::kUuidBytes:
      return ReadBytes(step, column, row, p);
    case Op::kDate: {
      const Bytes behind = wire_.Int(p, &narrow);
      if (behind != nullptr && (narrow < kMinDays || narrow > kMaxDays)) {
        return wire_.Fail("out_of_range", p, fmt::format("{} is no day of the years 0001 to 9999", narrow));
      }
      column.Set(row, narrow);
      return behind;
    }
    case Op::kSeconds:
    case Op::kMillis:
    case Op::kMicros:
    case Op::kNanos:
      return ReadMoment(step, column, row, p);
    case Op::kNull: {
      Status status = column.SetNull(row);
      return status.ok() ? p : FailMemory(std::move(status));
    }
    case Op::kList:
      return ReadList(plan, step, column, row, p);
    case Op::kMap:
      return ReadMap(plan, step, column, row, p);
    case Op::kStruct:
      return ReadStruct(plan, step, column, row, p);
    case Op::kBranches: {
      const auto& branches = plan.leaf_branches[step.arg];
      std::size_t branch = 0;
      p = wire_.Index(p, branches.size(), "branch", &branch);
      return p == nullptr ? nullptr : ReadLeaf(plan, plan.leaves[branches[branch]], column, row, p);
    }
    default:
      return wire_.Fail(
          "type_mismatch", p,
          fmt::format("column '{}' cannot take {}", spec_.columns[step.column].name, Describe(*step.schema)));
  }
}

// Where the text of `row` goes; nullptr: no memory.
inline char* AvroDecoder::RoomFor(Column& column, std::int64_t row, std::int64_t size) {
  char* out = column.text_begin(row);
  while (column.text_limit() - out < size) [[unlikely]] {
      if (column.text_bytes(row) + size > std::numeric_limits<std::int32_t>::max()) {
        FailMemory(Status::OutOfMemory("more than 2 GiB of text in one batch"));
        return nullptr;
      }
      auto grown = column.GrowText(out);
      if (!grown.ok()) {
        FailMemory(grown.status());
        return nullptr;
      }
      out = *grown;
    }
  return out;
}

bool AvroDecoder::StoreText(Column& column, std::int64_t row, std::string_view text) {
  char* const out = RoomFor(column, row, static_cast<std::int64_t>(text.size()));
  if (out == nullptr) return false;
  std::memcpy(out, text.data(), text.size());
  column.SetTextEnd(row, out + text.size());
  return true;
}

Bytes AvroDecoder::ReadText(Column& column, std::int64_t row, Bytes p) {
  std::int64_t size = 0;
  p = wire_.Length(p, &size);
  if (p == nullptr) return nullptr;
  char* const out = RoomFor(column, row, size);
  if (out == nullptr) return nullptr;
  if (!CopyUtf8({reinterpret_cast<const char*>(p), static_cast<std::size_t>(size)}, out)) [[unlikely]]
    return wire_.Fail("bad_utf8", p, "a text that is not UTF-8");
  column.SetTextEnd(row, out + size);
  return p + size;
}

Bytes AvroDecoder::ReadFormatted(const Step& step, Column& column, std::int64_t row, Bytes p) {
  text_.clear();
  p = step.op == Op::kJson ? AppendJson(wire_, *step.schema, p, json_limit_, text_)
                           : AppendPlain(wire_, *step.schema, p, json_limit_, text_);
  return p != nullptr && StoreText(column, row, text_) ? p : nullptr;
}

Bytes AvroDecoder::StoreDecimal(Column& column, std::int64_t row, Int128 value, int scale, Bytes p, Bytes behind) {
  bool fits = true;
  bool is_exact = true;
  if (scale <= column.scale()) {
    fits = MultiplyByPower(&value, column.scale() - scale);
  } else {
    const Int128 whole = value;
    for (int i = column.scale(); i < scale && is_exact && value != 0; ++i) {
      is_exact = value % 10 == 0;
      value /= 10;
    }
    if (!is_exact && column.form().rounding != Rounding::kExact) {
      is_exact = true;
      fits = Round(whole, scale, column, &value);
    }
  }
  const arrow::Decimal128 decimal(static_cast<std::int64_t>(value >> 64), static_cast<std::uint64_t>(value));
  if (fits && is_exact && decimal.FitsInPrecision(column.precision())) {
    column.Set(row, decimal);
    return behind;
  }
  return wire_.Fail(
      "out_of_range", p,
      is_exact ? fmt::format("a decimal out of the range of decimal({},{})", column.precision(), column.scale())
               : fmt::format("a decimal with more than {} decimals", column.scale()));
}

Bytes AvroDecoder::ReadDecimal(const Step& step, Column& column, std::int64_t row, Bytes p) {
  if (step.op == Op::kDecimalOfLong) {
    std::int64_t value = 0;
    const Bytes behind = wire_.Long(p, &value);
    return behind == nullptr ? nullptr : StoreDecimal(column, row, value, 0, p, behind);
  }
  std::int64_t size = step.schema->size;
  Bytes begin = p;
  if (step.schema->type == Type::kBytes) begin = wire_.Length(p, &size);
  const Bytes behind = begin == nullptr ? nullptr : wire_.Fixed(begin, size);
  if (behind == nullptr) return nullptr;
  if (size > 0 && size <= 8 && behind - wire_.begin() >= 8 && step.schema->scale == column.scale()) [[likely]] {
    // The eight bytes that end here; the value's are the last of them.
    std::uint64_t bits;
    std::memcpy(&bits, behind - 8, sizeof bits);
    const auto above = static_cast<int>(64 - 8 * size);
    const std::int64_t short_value = static_cast<std::int64_t>(__builtin_bswap64(bits) << above) >> above;
    if (HasDigits(short_value, column.precision())) [[likely]] {
      column.Set(row, arrow::Decimal128(short_value));
      return behind;
    }
  }
  Int128 value = 0;
  if (!ReadInt128(begin, size, &value)) return wire_.Fail("out_of_range", p, "a decimal of more than 16 bytes");
  return StoreDecimal(column, row, value, step.schema->scale, p, behind);
}

// Texts that say what the column holds, as JSON's strings do.
Bytes AvroDecoder::ReadParsed(const Step& step, Column& column, std::int64_t row, Bytes p) {
  std::int64_t size = 0;
  const Bytes begin = wire_.Length(p, &size);
  if (begin == nullptr) return nullptr;
  text_.assign(reinterpret_cast<const char*>(begin), static_cast<std::size_t>(size));
  const auto shape = [&](std::string_view expected) {
    const bool is_utf8 = IsUtf8(begin, size);
    return wire_.Fail(
        is_utf8 ? "type_mismatch" : "bad_utf8", p,
        is_utf8 ? fmt::format("'{}' is no {}", text_.substr(0, 60), expected) : "a text that is not UTF-8");
  };
  const auto range = [&](std::string_view problem) {
    return wire_.Fail("out_of_range", p, fmt::format("'{}' {}", text_, problem));
  };
  if (step.op == Op::kDecimalOfText) {
    NumberText number;
    if (!ScanNumber(text_.c_str(), &number) || number.end != text_.data() + text_.size()) return shape("decimal");
    Int128 value = 0;
    const NumberError error =
        ToScaledInteger(number, column.precision(), column.scale(), column.form().rounding, &value);
    if (error == NumberError::kTooManyDecimals) return range(fmt::format("has more than {} decimals", column.scale()));
    if (error != NumberError::kNone) {
      return range(fmt::format("is out of the range of decimal({},{})", column.precision(), column.scale()));
    }
    column.Set(row, arrow::Decimal128(static_cast<std::int64_t>(value >> 64), static_cast<std::uint64_t>(value)));
  } else if (step.op == Op::kDateOfText) {
    std::int32_t days = 0;
    const TimeError error = ParseDate(text_, &days);
    if (error == TimeError::kShape) return shape("date YYYY-MM-DD");
    if (error != TimeError::kNone) return range("is no day of the years 0001 to 9999");
    column.Set(row, days);
  } else {
    UnixMicros micros = 0;
    const TimeError error = ParseTimestamp(text_, &micros);
    if (error == TimeError::kShape) return shape("RFC 3339 timestamp");
    if (error != TimeError::kNone) return range(kNoTime);
    column.Set(row, micros);
  }
  return begin + size;
}

Bytes AvroDecoder::ReadByText(const Step& step, Column& column, std::int64_t row, Bytes p) {
  Bytes behind = p;
  text_.clear();
  if (step.schema->type == Type::kString) {
    std::int64_t size = 0;
    const Bytes begin = wire_.Length(p, &size);
    if (begin == nullptr) return nullptr;
    if (!IsUtf8(begin, size)) return wire_.Fail("bad_utf8", p, "a text that is not UTF-8");
    text_.assign(reinterpret_cast<const char*>(begin), static_cast<std::size_t>(size));
    behind = begin + size;
  } else {
    behind = AppendPlain(wire_, *step.schema, p, json_limit_, text_);
    if (behind == nullptr) return nullptr;
  }
  std::optional<TextProblem> problem;
  if (Status status = SetFromText(text_, row, column, &problem); !status.ok()) return FailMemory(std::move(status));
  return problem ? wire_.Fail(problem->reason, p, problem->detail) : behind;
}

Bytes AvroDecoder::ReadBytes(const Step& step, Column& column, std::int64_t row, Bytes p) {
  std::int64_t size = step.schema->size;
  if (step.schema->type == Type::kBytes && (p = wire_.Length(p, &size)) == nullptr) return nullptr;
  const Bytes behind = wire_.Fixed(p, size);
  if (behind == nullptr) return nullptr;
  if (step.op == Op::kUuidBytes) {
    char text[kUuidTextBytes];
    WriteUuid(p, text);
    return StoreText(column, row, {text, sizeof text}) ? behind : nullptr;
  }
  return StoreText(column, row, {reinterpret_cast<const char*>(p), static_cast<std::size_t>(size)}) ? behind : nullptr;
}

Bytes AvroDecoder::ReadMoment(const Step& step, Column& column, std::int64_t row, Bytes p) {
  std::int64_t units = 0;
  const Bytes behind = wire_.Long(p, &units);
  if (behind == nullptr) return nullptr;
  UnixMicros micros = units;
  bool in_range = true;
  if (step.op == Op::kNanos) {
    micros = units / 1000 - (units % 1000 < 0);
  } else if (step.op != Op::kMicros) {
    in_range = !__builtin_mul_overflow(units, step.op == Op::kMillis ? 1000 : 1'000'000, &micros);
  }
  if (!in_range || micros < kMinTimestamp || micros > kMaxTimestamp) [[unlikely]] {
    return wire_.Fail("out_of_range", p, fmt::format("{} {}", units, kNoTime));
  }
  column.Set(row, micros);
  return behind;
}

Bytes AvroDecoder::ReadInner(const Plan& plan, const Step& step, Column& column, std::int64_t row, Bytes p) {
  column.SetValid(row);
  p = ReadLeaf(plan, step, column, row, p);
  if (p == nullptr && failed_ == nullptr) [[unlikely]]
    failed_ = &step;
  return p;
}

Bytes AvroDecoder::ReadList(const Plan& plan, const Step& step, Column& column, std::int64_t row, Bytes p) {
  const Step& leaf = plan.leaves[step.arg];
  Column& element = column.element();
  std::int64_t at = column.list_begin(row);
  for (;;) {
    std::int64_t count = 0;
    std::int64_t bytes = 0;
    const Bytes block = p;
    p = wire_.Block(p, *step.schema, &count, &bytes);
    if (p == nullptr) return nullptr;
    if (count == 0) break;
    if (step.schema->items().min_bytes == 0 && !wire_.TakeEmptyItems(block, count)) return nullptr;
    for (; count > 0; --count, ++at) {
      if (Status status = element.EnsureRow(at); !status.ok()) return FailMemory(std::move(status));
      p = ReadInner(plan, leaf, element, at, p);
      if (p == nullptr) return nullptr;
    }
  }
  column.SetListEnd(row, at);
  return p;
}

Bytes AvroDecoder::ReadMap(const Plan& plan, const Step& step, Column& column, std::int64_t row, Bytes p) {
  const Bytes behind = ReadEntries(plan, step, column, row, p, {});
  if (behind == nullptr) return nullptr;
  const auto repeated = RepeatedKeys(column, row);
  return repeated.empty() ? behind : ReadEntries(plan, step, column, row, p, repeated);
}

Bytes AvroDecoder::ReadEntries(const Plan& plan, const Step& step, Column& column, std::int64_t row, Bytes p,
                               const std::vector<std::int64_t>& dropped) {
  const Step& leaf = plan.leaves[step.arg];
  auto next_dropped = dropped.begin();
  std::int64_t at = column.list_begin(row);
  for (std::int64_t index = 0;;) {
    std::int64_t count = 0;
    std::int64_t bytes = 0;
    p = wire_.Block(p, *step.schema, &count, &bytes);
    if (p == nullptr) return nullptr;
    if (count == 0) break;
    for (; count > 0; --count, ++index) {
      if (next_dropped != dropped.end() && *next_dropped == index) {
        ++next_dropped;
        std::int64_t key = 0;
        p = wire_.Length(p, &key);
        p = p == nullptr ? nullptr : SkipValue(wire_, step.schema->items(), p + key);
      } else {
        Status status = column.map_key().EnsureRow(at);
        if (status.ok()) status = column.map_value().EnsureRow(at);
        if (!status.ok()) return FailMemory(std::move(status));
        p = ReadText(column.map_key(), at, p);
        p = p == nullptr ? nullptr : ReadInner(plan, leaf, column.map_value(), at++, p);
      }
      if (p == nullptr) return nullptr;
    }
  }
  column.SetListEnd(row, at);
  return p;
}

Bytes AvroDecoder::ReadStruct(const Plan& plan, const Step& step, Column& column, std::int64_t row, Bytes p) {
  const StructPlan& members = plan.structs[step.arg];
  for (const StructPlan::Part& part : members.fields) {
    p = part.skipped != nullptr ? SkipValue(wire_, *part.skipped, p)
                                : ReadInner(plan, plan.leaves[part.leaf], column.member(part.member), row, p);
    if (p == nullptr) return nullptr;
  }
  for (const StructPlan::Part& part : members.defaults) {
    const std::string& bytes = plan.defaults[part.default_bytes];
    const auto* const begin = reinterpret_cast<Bytes>(bytes.data());
    Wire of_record = std::exchange(wire_, Wire());
    wire_.Begin(begin, begin + bytes.size(), 0);
    const Bytes end = ReadInner(plan, plan.leaves[part.leaf], column.member(part.member), row, begin);
    if (end == nullptr) return nullptr;
    wire_ = std::move(of_record);
  }
  return p;
}

Bytes AvroDecoder::Rescue(const Plan& plan, const Step& step, Bytes p) {
  const Schema* schema = step.schema;
  if (schema->type == Type::kUnion) {
    std::size_t branch = 0;
    p = wire_.Index(p, schema->branches.size(), "branch", &branch);
    if (p == nullptr) return nullptr;
    schema = schema->branches[branch].get();
  }
  if (schema->type == Type::kNull) return p;
  rescued_.Key(plan.keys[step.arg]);
  return AppendJson(wire_, *schema, p, json_limit_, rescued_.text());
}

Result<SchemaPtr> ParseDeclared(const DecodeSpec& spec) {
  return ParseSchema(*spec.schema->bytes, spec.schema->references);
}

}  // namespace
}  // namespace avro

Result<std::unique_ptr<Decoder>> MakeAvroDecoder(const DecodeSpec& spec) {
  ASSIGN_OR_RETURN(auto schema, avro::ParseDeclared(spec));
  auto decoder = std::make_unique<avro::AvroDecoder>(spec, std::move(schema));
  RETURN_NOT_OK(decoder->Prepare());
  return decoder;
}

Result<std::vector<ColumnSpec>> ColumnsOfAvroSchema(const DecodeSpec& spec) {
  ASSIGN_OR_RETURN(const auto schema, avro::ParseDeclared(spec));
  return avro::ColumnsOf(*schema);
}

}  // namespace millrace::ingest
