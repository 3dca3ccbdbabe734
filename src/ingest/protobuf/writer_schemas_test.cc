// Messages that were written with other versions of the schema, as a registry has them.
#include "ingest/writer_schemas.h"

#include <arrow/util/base64.h>
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ingest/declared_fields.h"
#include "ingest/decoder_testing_internal.h"
#include "ingest/event_decoder.h"
#include "ingest/formats.h"
#include "ingest/protobuf/protobuf_decoder.h"
#include "testing/status_matchers.h"

namespace millrace::ingest {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kGeo = R"(syntax = "proto3"; package f; message Geo { string city = 1; })";
const std::string kOne =
    R"(syntax = "proto3"; package f; import "geo.proto"; message R { string id = 1; Geo geo = 2; int32 n = 3; } message S { })";
// Another place in the file, and fields that the first does not have.
const std::string kTwo = R"(syntax = "proto3"; package f; import "geo.proto"; import "google/protobuf/timestamp.proto";
    message S { } message R { string id = 1; Geo geo = 2; int32 n = 3; int32 battery_level = 7;
    google.protobuf.Timestamp seen_at = 8; })";
// One is called otherwise: what is new is known by its number alone.
const std::string kThree =
    R"(syntax = "proto3"; package f; import "geo.proto"; message R { string key = 1; Geo geo = 2; int32 n = 3; int32 x = 9; })";

class Schemas final : public WriterSchemas {
 public:
  std::map<std::uint64_t, WriterSchema> known;
  bool is_down = false;
  int asked = 0;

  Result<std::shared_ptr<const WriterSchema>> Find(std::uint64_t id) override {
    ++asked;
    if (is_down) return Transient("down");
    const auto found = known.find(id);
    if (found == known.end()) return nullptr;
    if (found->second.text == "unusable") return InvalidInput("schema id {} is too large", id);
    return std::make_shared<const WriterSchema>(found->second);
  }
  std::uint64_t answers() const override { return 0; }
};

WriterSchema Registered(const std::string& text) {
  return {.language = SchemaLanguage::kProtobuf, .text = text, .references = {{"geo.proto", kGeo}}};
}

// As Apicurio gives what Python's serializer has registered.
std::string Base64Of(const std::string& name, const std::string& message, const std::string& field) {
  google::protobuf::FileDescriptorProto file;
  file.set_name(name);
  file.set_package("f");
  file.set_syntax("proto3");
  auto* const type = file.add_message_type();
  type->set_name(message);
  auto* const one = type->add_field();
  one->set_name(field);
  one->set_number(1);
  one->set_type(google::protobuf::FieldDescriptorProto::TYPE_STRING);
  one->set_label(google::protobuf::FieldDescriptorProto::LABEL_OPTIONAL);
  return arrow::util::base64_encode(file.SerializeAsString());
}

class ProtobufWriters : public ::testing::Test {
 protected:
  DecodeSpec Spec(UnknownFields unknown_fields, std::vector<ColumnSpec> columns) const {
    return {.format = "protobuf",
            .columns = std::move(columns),
            .schema = SchemaSpec{.file = "subject r, version 1",
                                 .message = "f.R",
                                 .bytes = std::make_shared<const std::string>(kOne),
                                 .is_registered = true,
                                 .references = {{"geo.proto", kGeo}}},
            .framing = Framing::kConfluent,
            .writer_schemas = schemas_,
            .unknown_fields = unknown_fields,
            .declared = declared_};
  }
  static std::vector<std::string> Outcome(const Decoded& decoded) {
    std::vector<std::string> lines;
    for (std::int64_t row = 0; row < decoded.rows->num_rows(); ++row) {
      std::string& line = lines.emplace_back();
      for (int c = 0; c < decoded.rows->num_columns() - 4; ++c) line += CellText(*decoded.rows->column(c), row) + " ";
    }
    for (const auto& letter : decoded.dead_letters) lines.push_back(letter.reason + ": " + letter.detail);
    return lines;
  }

  std::shared_ptr<Schemas> schemas_ = std::make_shared<Schemas>();
  std::shared_ptr<DeclaredFields> declared_ = std::make_shared<DeclaredFields>();
  const std::vector<ColumnSpec> columns_ = {{.name = "id", .type = arrow::utf8(), .path = {"id"}},
                                            {.name = "city", .type = arrow::utf8(), .path = {"geo", "city"}}};
};

TEST_F(ProtobufWriters, EachRecordIsReadByItsOwnSchema) {
  schemas_->known = {{1, Registered(kOne)}, {2, Registered(kTwo)}, {3, Registered(kThree)}};
  const std::string body = "\n\1a\x12\3\n\1c\x18\5"s;
  const std::vector<std::string> documents = {
      "\0\0\0\0\1\0"s + body, "\0\0\0\0\2\2\2"s + body + "\x38\7\x42\2\x08\x3C"s,  // [1] of the second file
      "\0\0\0\0\3\0"s + body + "\x48\6"s, "\0\0\0\0\2\0"s + body};
  const auto decoder = EventDecoder::Make(Spec(UnknownFields::kRescue, columns_)).ValueOrDie();
  EXPECT_THAT(
      Outcome(DecodeAll(*decoder, documents)),
      ElementsAre("'a' 'c' '{\"n\":5}' ", "'a' 'c' '{\"n\":5,\"batteryLevel\":7,\"seenAt\":\"1970-01-01T00:01:00Z\"}' ",
                  "'a' 'c' '{\"n\":5,\"9\":6}' ",
                  "wrong_message: message [0] of schema id 2, f.S, where f.R is expected, which is [1] at byte 5"));
  EXPECT_EQ(schemas_->asked, 3) << "each is asked for once";
  // What is added is called as a column of the schema would be, and is of its type.
  const auto adding = EventDecoder::Make(Spec(UnknownFields::kAdd, columns_)).ValueOrDie();
  EXPECT_THAT(Outcome(DecodeAll(*adding, {documents[1]})),
              ElementsAre("'a' 'c' '{\"n\":5,\"battery_level\":7,\"seen_at\":\"1970-01-01T00:01:00Z\"}' "));
  EXPECT_EQ(declared_->Find("battery_level")->ToString(), "int32");
  EXPECT_EQ(declared_->Find("seen_at")->ToString(), "timestamp[us, tz=UTC]");
}

TEST_F(ProtobufWriters, WhatCannotBeReadIsADeadLetterAndWhatIsNotThereYetIsNot) {
  schemas_->known = {{1, Registered(kOne)},
                     {2, {.language = SchemaLanguage::kAvro, .text = "{}"}},
                     {3, Registered("syntax = \"proto3\"; package f; message Q { }")},
                     {4, Registered("syntax = \"proto3\"; package f; message R { strin id = 1; }")},
                     {5, Registered("syntax = \"proto3\"; import \"gone.proto\"; message R { }")},
                     {6, Registered("bm8gZGVzY3JpcHRvcg==")},
                     {7, Registered("unusable")}};
  const auto document = [](char id) { return "\0\0\0\0"s + id + "\0\n\1a"s; };
  std::vector<std::string> documents;
  for (char id = 1; id <= 8; ++id) documents.push_back(document(id));
  const auto decoder = EventDecoder::Make(Spec(UnknownFields::kIgnore, columns_)).ValueOrDie();
  const std::string incompatible = "incompatible_schema: schema id ";
  EXPECT_THAT(
      Outcome(DecodeAll(*decoder, documents)),
      ElementsAre("'a' null ", incompatible + "2 is Avro, and the format is protobuf",
                  HasSubstr(incompatible + "3: there is no message 'f.R'"),
                  HasSubstr(incompatible + "4: f.R.id: \"strin\" is not defined."),
                  "incompatible_schema: schema id 5 imports gone.proto, which is none of the 1 schemas that the "
                  "registry says it refers to",
                  HasSubstr(incompatible + "6: "), "incompatible_schema: schema id 7 is too large",
                  "unknown_schema: there is no schema with the id 8"));

  const auto late = EventDecoder::Make(Spec(UnknownFields::kIgnore, columns_)).ValueOrDie();
  schemas_->is_down = true;
  schemas_->asked = 0;
  model::FetchedRecords records;
  records.source = {"t", 0};
  for (const std::string& text : documents) records.records.emplace_back().payload = text;
  MILLRACE_ASSERT_KIND(ErrorKind::kTransient, late->Decode(records));
  EXPECT_EQ(schemas_->asked, 8) << "all that are missing are asked for at once";
  schemas_->is_down = false;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto decoded, late->Decode(records));
  EXPECT_EQ(decoded.rows->num_rows(), 1);
  EXPECT_EQ(decoded.dead_letters.size(), 7u);
}

TEST_F(ProtobufWriters, DescriptorsInBase64AreRead) {
  DecodeSpec spec{.format = "protobuf",
                  .schema = SchemaSpec{.file = "subject a, version 1",
                                       .bytes = std::make_shared<const std::string>(Base64Of("a.proto", "A", "id")),
                                       .is_registered = true},
                  .framing = Framing::kConfluent,
                  .writer_schemas = schemas_};
  MILLRACE_ASSERT_OK_AND_ASSIGN(spec.columns, ColumnsOfProtobufSchema(spec));
  ASSERT_EQ(spec.columns.size(), 1u);
  EXPECT_EQ(spec.columns[0].name, "id");
  schemas_->known = {{1, {.language = SchemaLanguage::kProtobuf, .text = *spec.schema->bytes}}};
  const auto decoder = EventDecoder::Make(spec).ValueOrDie();
  EXPECT_THAT(Outcome(DecodeAll(*decoder, {"\0\0\0\0\1\0\n\1a"s})), ElementsAre("'a' "));

  for (const char* text :
       {"AAAA", "A", "syntax = \"proto2\"; message", "edition = \"2023\"; message A { }", "garbage"}) {
    SCOPED_TRACE(text);
    spec.schema->bytes = std::make_shared<const std::string>(text);
    const auto columns = ColumnsOfProtobufSchema(spec);
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, columns);
    EXPECT_THAT(columns.status().message(), HasSubstr("subject a, version 1"));
  }
}

}  // namespace
}  // namespace millrace::ingest
