// Files that are schemas, and what is said of those that are none.
#include <arrow/util/base64.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/uuid.h"
#include "ingest/protobuf/schema_internal.h"
#include "ingest/protobuf/test_messages.h"
#include "testing/status_matchers.h"

namespace millrace::ingest::protobuf {
namespace {

using ::testing::HasSubstr;

SchemaSpec FileOf(std::string file, std::string bytes) {
  return {.file = std::move(file), .bytes = std::make_shared<const std::string>(std::move(bytes))};
}

// What Load() says of it, or FindMessage() of `message`.
std::string FaultOf(const SchemaSpec& spec, const std::string& message = "M") {
  const auto schema = Schema::Load(spec);
  const Status status = schema.ok() ? (*schema)->FindMessage(message).status() : schema.status();
  EXPECT_TRUE(status.ok() || KindOf(status) == ErrorKind::kInvalidInput) << status.ToString();
  return status.message();
}

google::protobuf::FileDescriptorProto FileProto(const std::string& name) {
  google::protobuf::FileDescriptorProto file;
  file.set_name(name);
  file.set_syntax("proto3");
  return file;
}

TEST(ProtobufSchema, FilesOfASetMayComeInAnyOrder) {
  google::protobuf::FileDescriptorSet set;
  auto* const first = set.add_file();
  *first = FileProto("a.proto");
  first->add_dependency("b.proto");
  first->add_dependency("google/protobuf/timestamp.proto");  // Not in the set: the library's.
  auto* const message = first->add_message_type();
  message->set_name("M");
  auto* const field = message->add_field();
  field->set_name("f");
  field->set_number(1);
  field->set_type(google::protobuf::FieldDescriptorProto::TYPE_MESSAGE);
  field->set_label(google::protobuf::FieldDescriptorProto::LABEL_OPTIONAL);
  field->set_type_name(".N");
  auto* const second = set.add_file();
  *second = FileProto("b.proto");
  second->add_message_type()->set_name("N");
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto schema, Schema::Load(FileOf("x.desc", set.SerializeAsString())));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto* found, schema->FindMessage("M"));
  EXPECT_EQ(found->field(0)->message_type()->full_name(), "N");
}

TEST(ProtobufSchema, WhatIsWrongWithASetIsNamed) {
  EXPECT_THAT(FaultOf(FileOf("x.desc", "no set")), HasSubstr("no descriptor set; make one with protoc"));
  EXPECT_THAT(FaultOf(FileOf("x.desc", "")), HasSubstr("no descriptor set"));

  google::protobuf::FileDescriptorSet set;
  *set.add_file() = FileProto("a.proto");
  set.mutable_file(0)->add_dependency("geo.proto");
  EXPECT_EQ(FaultOf(FileOf("x.desc", set.SerializeAsString())),
            "a.proto imports geo.proto, which is not in it; make it with protoc --include_imports");
  set.mutable_file(0)->clear_dependency();
  set.mutable_file(0)->set_syntax("editions");
  EXPECT_EQ(FaultOf(FileOf("x.desc", set.SerializeAsString())),
            "a.proto: syntax 'editions'; this version reads proto2 and proto3");
  set.mutable_file(0)->set_syntax("proto3");
  *set.add_file() = set.file(0);
  EXPECT_EQ(FaultOf(FileOf("x.desc", set.SerializeAsString())), "a.proto is there twice");
  set.mutable_file()->RemoveLast();
  set.mutable_file(0)->add_dependency("a.proto");
  EXPECT_THAT(FaultOf(FileOf("x.desc", set.SerializeAsString())), HasSubstr("recursively imports itself"));
  set.mutable_file(0)->clear_dependency();
  auto* const field = set.mutable_file(0)->add_message_type()->add_field();
  set.mutable_file(0)->mutable_message_type(0)->set_name("M");
  field->set_name("f");
  field->set_number(1);
  field->set_label(google::protobuf::FieldDescriptorProto::LABEL_OPTIONAL);
  field->set_type(google::protobuf::FieldDescriptorProto::TYPE_MESSAGE);
  field->set_type_name(".Nowhere");
  EXPECT_THAT(FaultOf(FileOf("x.desc", set.SerializeAsString())),
              HasSubstr("a.proto: M.f: \".Nowhere\" is not defined"));
  // Another message of a name whose JSON form is known.
  auto& other = *set.mutable_file(0);
  other.clear_message_type();
  other.set_package("google.protobuf");
  other.add_message_type()->set_name("Struct");
  EXPECT_THAT(FaultOf(FileOf("x.desc", set.SerializeAsString())),
              HasSubstr("another google.protobuf.Struct than Protobuf's own"));
}

TEST(ProtobufSchema, AnUnknownMessageIsToldWithTheNearest) {
  const TestSchema schema(
      "syntax = \"proto3\"; package fleet.v1; message Reading { message Inner {} map<int32, int32> m = 1; }");
  const SchemaSpec spec = schema.Spec("");
  EXPECT_EQ(FaultOf(spec, "fleet.v1.Reading"), "");
  EXPECT_EQ(FaultOf(spec, "fleet.v1.Reading.Inner"), "");
  EXPECT_EQ(FaultOf(spec, "fleet.v1.Raeding"),
            "there is no message 'fleet.v1.Raeding'; did you mean 'fleet.v1.Reading'?");
  EXPECT_EQ(FaultOf(spec, "Inner"), "there is no message 'Inner'; did you mean 'fleet.v1.Reading.Inner'?");
  EXPECT_EQ(FaultOf(spec, "x"), "there is no message 'x'; there are fleet.v1.Reading, fleet.v1.Reading.Inner");
}

// The library reads these by calling itself, and has no limit that ends it: the end of the stack would.
TEST(ProtobufSchema, BlocksWithinEachOtherAreBounded) {
  const auto nested = [](int depth, const std::string& open, const std::string& close, const char* inner = "") {
    std::string text;
    for (int i = 0; i < depth; ++i) text += open;
    text += inner;
    for (int i = 0; i < depth; ++i) text += close;
    return text;
  };
  const std::string option =
      R"(syntax = "proto2"; import "google/protobuf/descriptor.proto"; message M { optional M m = 1; }
      extend google.protobuf.FileOptions { optional M o = 50000; } option (o) = )";
  const auto registered = [](std::string text) {
    SchemaSpec spec = FileOf("subject a, version 1", std::move(text));
    spec.is_registered = true;
    return spec;
  };
  const std::pair<const char*, std::string> texts[] = {
      {"messages", "syntax = \"proto3\";\n" + nested(200'000, "message M{", "}")},
      {"groups", "syntax = \"proto2\"; message M{" + nested(200'000, "optional group G = 1{", "}") + "}"},
      {"values of options", option + nested(10'000, "{m", "}", "{}") + ";"},
      {"values of options, in brackets", option + "{m " + nested(200'000, "<m ", ">") + "};"},
      {"closed too often", std::string(300'000, '}') + nested(200'000, "message M{", "}")},
  };
  for (const auto& [name, text] : texts) {
    SCOPED_TRACE(name);
    EXPECT_THAT(FaultOf(FileOf("m.proto", text)), HasSubstr("nested deeper than 100 blocks"));
    EXPECT_THAT(FaultOf(registered(text)), HasSubstr("nested deeper than 100 blocks"));
  }
  EXPECT_THAT(FaultOf(FileOf("m.proto", texts[0].second)), HasSubstr("m.proto:2:1010: "));
  EXPECT_EQ(FaultOf(FileOf("m.proto", option + nested(90, "{m ", "}", "{}") + ";")), "");
  EXPECT_EQ(FaultOf(FileOf("m.proto", option + "{};\n// " + std::string(200, '{') +
                                          "\nmessage N { optional string s = 1 "
                                          "[default = \"" +
                                          std::string(200, '<') + "\"]; }")),
            "");

  // As text within a descriptor.
  google::protobuf::FileDescriptorSet set;
  auto& file = *set.add_file();
  file = FileProto("a.proto");
  file.add_message_type()->set_name("M");
  auto& uninterpreted = *file.mutable_message_type(0)->mutable_options()->add_uninterpreted_option();
  uninterpreted.add_name()->set_name_part("o");
  uninterpreted.mutable_name(0)->set_is_extension(true);
  uninterpreted.set_aggregate_value(nested(200'000, "m {", "}"));
  EXPECT_THAT(FaultOf(FileOf("x.desc", set.SerializeAsString())), HasSubstr("nested deeper than 100 blocks"));
  EXPECT_THAT(FaultOf(registered(arrow::util::base64_encode(file.SerializeAsString()))),
              HasSubstr("nested deeper than 100 blocks"));
  // Messages in messages, which the reader of bytes itself ends.
  file.Clear();
  file = FileProto("a.proto");
  auto* message = file.add_message_type();
  for (int i = 0; i < 10'000; ++i) {
    message->set_name("M");
    message = message->add_nested_type();
  }
  message->set_name("M");
  EXPECT_THAT(FaultOf(FileOf("x.desc", set.SerializePartialAsString())), HasSubstr("no descriptor set"));
}

TEST(ProtobufSchema, TheLargestAreRead) {
  std::string text = "syntax = \"proto2\";\nmessage M {}\n";
  for (int i = 0; text.size() < kMaxSchemaBytes - 100; ++i)
    text += fmt::format("message N{} {{ optional M m = 1; }}\n", i);
  SchemaSpec spec = FileOf("subject a, version 1", text);
  spec.is_registered = true;
  EXPECT_EQ(FaultOf(spec), "");
  // But for numbers that are kept free, each of which the library would compare with each other.
  for (const char* const type : {"message", "enum"}) {
    text = fmt::format("syntax = \"proto2\"; {} T {{ reserved 1", type);
    for (int i = 3; text.size() < kMaxSchemaBytes - 100; i += 2) text += fmt::format(",{}", i);
    spec.bytes = std::make_shared<const std::string>(text + "; }");
    EXPECT_EQ(FaultOf(spec), "subject a, version 1: more than 10000 reserved or extension ranges in one type");
  }
}

TEST(ProtobufSchema, TextsAreReadWithTheirImports) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / ("protobuf_schema_" + RandomUuid());
  std::filesystem::create_directories(folder / "fleet/v1");
  std::ofstream(folder / "fleet/v1/geo.proto")
      << "syntax = \"proto3\"; package fleet.v1; message Geo { string city = 1; }";
  const std::string file = (folder / "fleet/v1/reading.proto").string();
  const std::string begin = "syntax = \"proto3\";\npackage fleet.v1;\n";
  // By its path from a folder around it.
  const auto imports = FileOf(file, begin + "import \"fleet/v1/geo.proto\";\nmessage M { Geo geo = 1; }");
  EXPECT_EQ(FaultOf(imports, "fleet.v1.M"), "");
  EXPECT_EQ(
      FaultOf(FileOf(file, begin + "import \"google/protobuf/any.proto\";\nmessage M { google.protobuf.Any a = 1; }"),
              "fleet.v1.M"),
      "");
  EXPECT_THAT(FaultOf(FileOf(file, begin + "import \"goe.proto\";\nmessage M { }")),
              HasSubstr("goe.proto: File not found"));
  EXPECT_THAT(FaultOf(FileOf(file, begin + "message M { int32 = 1; }")),
              HasSubstr("reading.proto:3:19: Expected field name"));
  EXPECT_THAT(FaultOf(FileOf(file, "edition = \"2023\";")), HasSubstr("reading.proto:1:1"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace millrace::ingest::protobuf
