// What a fleet sends in each format, as the pipeline's own decoders take it: an event that is called sound is a row
// with the same values, and one that is called malformed is none.
#include <arrow/array.h>
#include <arrow/scalar.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "devices/clickstream.h"
#include "devices/fleet.h"
#include "devices/sensors.h"
#include "ingest/event_decoder.h"
#include "ingest/writer_schemas.h"
#include "testing/status_matchers.h"

namespace millrace::devices {
namespace {

constexpr UnixMicros kRenderedAt = 1'700'000'123'456'789;
constexpr std::uint32_t kSchemaId = 258;
const PayloadFormat kFormats[] = {PayloadFormat::kJson, PayloadFormat::kCsv, PayloadFormat::kAvro,
                                  PayloadFormat::kProtobuf};

std::shared_ptr<arrow::DataType> TypeOf(const Field& field) {
  switch (field.kind) {
    case FieldKind::kText:
      return arrow::utf8();
    case FieldKind::kInteger:
      return arrow::int64();
    case FieldKind::kReal:
      return arrow::float64();
    case FieldKind::kDecimal:
      return arrow::decimal128(kDecimalPrecision, field.scale);
    case FieldKind::kTime:
      return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  }
  return nullptr;
}

ingest::DecodeSpec SpecOf(const Shape& shape, PayloadFormat format) {
  ingest::DecodeSpec spec{.format = std::string(FormatName(format))};
  for (const Field& field : shape.fields) {
    const std::string name(field.name);
    spec.columns.push_back({.name = name, .type = TypeOf(field), .path = {name}});
  }
  if (format == PayloadFormat::kAvro) {
    spec.schema = {.file = "event.avsc", .bytes = std::make_shared<const std::string>(AvroSchema(shape))};
  } else if (format == PayloadFormat::kProtobuf) {
    spec.schema = {.file = "event.proto",
                   .message = "millrace.fleet." + std::string(shape.name),
                   .bytes = std::make_shared<const std::string>(ProtobufSchema(shape))};
  }
  return spec;
}

std::unique_ptr<EventSource> SourceOf(bool is_iot) {
  if (is_iot) {
    return std::make_unique<Sensors>(SensorOptions{.devices = 300, .late = 0.2, .faults = 0.1, .wrong_clocks = 0.1});
  }
  return std::make_unique<Clickstream>(ClickstreamOptions{.late = 0.1, .robots = 0.1, .without_consent = 0.3});
}

// Each row as text, by event id; those that are no event are counted.
struct Decoded {
  std::map<std::string, std::string> rows;
  std::set<std::int64_t> refused;  // By number of the event.
};

Decoded Decode(Fleet& fleet, ingest::DecodeSpec spec, int events, std::vector<Fate>* fates) {
  auto decoder = ingest::EventDecoder::Make(spec).ValueOrDie();
  std::deque<std::string> payloads;
  model::FetchedRecords records{.source = {"t", 0}};
  for (int i = 0; i < events; ++i) {
    const FleetEvent event = fleet.Next(kRenderedAt + i * 1000);
    fates->push_back(event.fate);
    records.records.push_back({.offset = i, .payload = payloads.emplace_back(event.payload)});
  }
  Decoded result;
  const auto decoded = decoder->Decode(records).ValueOrDie();
  for (const auto& letter : decoded.dead_letters) result.refused.insert(letter.offset);
  for (std::int64_t row = 0; row < decoded.rows->num_rows(); ++row) {
    std::string text;
    for (std::size_t column = 0; column < spec.columns.size(); ++column) {
      text += decoded.rows->column(static_cast<int>(column))->GetScalar(row).ValueOrDie()->ToString() + '|';
    }
    result.rows[text.substr(0, kEventIdSize)] = text;
  }
  return result;
}

TEST(Formats, EachSaysTheSame) {
  for (const bool is_iot : {false, true}) {
    std::map<std::string, std::string> in_json;
    for (const auto format : kFormats) {
      SCOPED_TRACE(FormatName(format));
      Fleet fleet({.format = format}, SourceOf(is_iot));
      std::vector<Fate> fates;
      const auto decoded = Decode(fleet, SpecOf(fleet.shape(), format), 2000, &fates);
      EXPECT_EQ(decoded.rows.size(), 2000u);
      if (format == PayloadFormat::kJson) {
        in_json = decoded.rows;
      } else {
        EXPECT_EQ(decoded.rows, in_json);
      }
    }
  }
}

TEST(Formats, WhatIsMalformedIsNoEventAndNothingElse) {
  for (const bool is_iot : {false, true}) {
    for (const auto format : kFormats) {
      SCOPED_TRACE(FormatName(format));
      Fleet fleet({.duplicates = 0.1, .malformed = 0.5, .format = format}, SourceOf(is_iot));
      std::vector<Fate> fates;
      const auto decoded = Decode(fleet, SpecOf(fleet.shape(), format), 5000, &fates);
      std::set<std::int64_t> malformed;
      for (std::size_t i = 0; i < fates.size(); ++i) {
        if (fates[i] == Fate::kMalformed) malformed.insert(static_cast<std::int64_t>(i));
      }
      EXPECT_EQ(decoded.refused, malformed);
    }
  }
}

class OneSchema final : public ingest::WriterSchemas {
 public:
  explicit OneSchema(ingest::WriterSchema schema)
      : schema_(std::make_shared<const ingest::WriterSchema>(std::move(schema))) {}
  Result<std::shared_ptr<const ingest::WriterSchema>> Find(std::uint64_t id) override {
    return id == kSchemaId ? schema_ : nullptr;
  }
  std::uint64_t answers() const override { return 0; }

 private:
  const std::shared_ptr<const ingest::WriterSchema> schema_;
};

TEST(Formats, ARegistrysFramingIsRead) {
  for (const auto format : {PayloadFormat::kAvro, PayloadFormat::kProtobuf}) {
    SCOPED_TRACE(FormatName(format));
    Fleet fleet({.malformed = 0.3, .format = format, .prefix = ConfluentPrefix(format, kSchemaId)}, SourceOf(true));
    auto spec = SpecOf(fleet.shape(), format);
    spec.framing = ingest::Framing::kConfluent;
    spec.writer_schemas = std::make_shared<OneSchema>(ingest::WriterSchema{
        .language = format == PayloadFormat::kAvro ? ingest::SchemaLanguage::kAvro : ingest::SchemaLanguage::kProtobuf,
        .text = *spec.schema->bytes});
    std::vector<Fate> fates;
    const auto decoded = Decode(fleet, spec, 1000, &fates);
    EXPECT_EQ(decoded.refused.size(),
              static_cast<std::size_t>(std::count(fates.begin(), fates.end(), Fate::kMalformed)));
    EXPECT_EQ(decoded.rows.size(), 1000 - decoded.refused.size());
  }
}

}  // namespace
}  // namespace millrace::devices
