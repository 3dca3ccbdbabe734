/// For the tests of this folder: a schema from its text, and records of it as libprotobuf writes them.
#pragma once

#include <google/protobuf/compiler/parser.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "ingest/decode_spec.h"

namespace millrace::ingest::protobuf {

class TestSchema {
 public:
  explicit TestSchema(const std::string& text) {
    google::protobuf::io::ArrayInputStream in(text.data(), static_cast<int>(text.size()));
    google::protobuf::io::Tokenizer tokens(&in, nullptr);
    google::protobuf::FileDescriptorProto file;
    if (!google::protobuf::compiler::Parser().Parse(&tokens, &file)) throw std::runtime_error(text);
    file.set_name("test.proto");
    Build(file);
  }
  explicit TestSchema(const google::protobuf::FileDescriptorProto& file) { Build(file); }

  /// Of a descriptor set that holds the file.
  SchemaSpec Spec(const std::string& message) const {
    return {.file = "test.desc", .message = message, .bytes = std::make_shared<const std::string>(bytes_)};
  }

  const google::protobuf::Descriptor& Message(const std::string& name) const {
    const auto* const found = pool_.FindMessageTypeByName(name);
    if (found == nullptr) throw std::runtime_error(name);
    return *found;
  }

  std::unique_ptr<google::protobuf::Message> New(const std::string& name) {
    return std::unique_ptr<google::protobuf::Message>(factory_.GetPrototype(&Message(name))->New());
  }

  /// A message in Protobuf's text format, on the wire.
  std::string Encode(const std::string& name, const std::string& text) {
    const auto message = New(name);
    if (!google::protobuf::TextFormat::ParseFromString(text, message.get())) throw std::runtime_error(text);
    return message->SerializePartialAsString();
  }

 private:
  void Build(const google::protobuf::FileDescriptorProto& file) {
    if (pool_.BuildFile(file) == nullptr) throw std::runtime_error(file.DebugString());
    google::protobuf::FileDescriptorSet set;
    *set.add_file() = file;
    bytes_ = set.SerializeAsString();
  }

  google::protobuf::DescriptorPool pool_{google::protobuf::DescriptorPool::generated_pool()};
  google::protobuf::DynamicMessageFactory factory_{&pool_};
  std::string bytes_;
};

}  // namespace millrace::ingest::protobuf
