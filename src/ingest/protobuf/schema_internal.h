/// The messages of a schema file.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor_database.h>

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"

namespace millrace::ingest::protobuf {

/// Any thread.
class Schema {
 public:
  /// Of a registry: a `.proto` text or the base64 of a FileDescriptorProto, and so what it refers to. Else a file that
  /// `protoc --include_imports --descriptor_set_out` made, or, if its name ends so, a `.proto` text. What
  /// that imports is looked for on disk, in its folder and then in those around it that its name has. Files of
  /// google/protobuf that the library has are the library's, whether they are in the set or not.
  /// kInvalidInput, naming what is wrong: none of both, an import that is not there, a syntax that libprotobuf does not
  /// read (it reads proto2 and proto3; editions came after it), or what it finds wrong, with the line of a text.
  static Result<std::shared_ptr<const Schema>> Load(const SchemaSpec& spec);
  ~Schema();

  /// By its full name, as "fleet.v1.Reading"; empty: the first of the file. kInvalidInput: there is none, with the
  /// nearest name.
  Result<const google::protobuf::Descriptor*> FindMessage(const std::string& name) const;

 private:
  class FileSet;
  class Errors;
  class TextFiles;

  Schema();

  Status LoadSet(const std::string& bytes);
  Status LoadText(const SchemaSpec& spec);
  Status LoadRegistered(const SchemaSpec& spec);
  void MakePool();
  Status AddFile(const std::string& name);
  Status CheckWellKnown() const;

  // The pool reads from these, also later, when an Any holds a type that nothing has named so far.
  std::unique_ptr<Errors> errors_;
  std::unique_ptr<google::protobuf::DescriptorDatabase> library_;
  std::unique_ptr<TextFiles> texts_;
  std::unique_ptr<FileSet> set_;
  std::unique_ptr<google::protobuf::DescriptorDatabase> all_;
  std::unique_ptr<google::protobuf::DescriptorPool> pool_;
  std::vector<const google::protobuf::FileDescriptor*>
      files_;  // Of a registry: first the one that refers to the others.
};

}  // namespace millrace::ingest::protobuf
