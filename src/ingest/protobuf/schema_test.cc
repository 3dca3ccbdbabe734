// Files that are schemas, and what is said of those that are none.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

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

TEST(ProtobufSchema, TextsAreReadWithTheirImports) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / "protobuf_schema_test";
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
