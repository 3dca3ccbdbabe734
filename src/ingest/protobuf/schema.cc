#include <arrow/util/base64.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/compiler/importer.h>
#include <google/protobuf/compiler/parser.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "base/nearest_name.h"
#include "ingest/protobuf/schema_internal.h"

namespace millrace::ingest::protobuf {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorProto;

constexpr std::size_t kMaxErrors = 3;
constexpr std::size_t kMaxNames = 10;
constexpr int kMaxBlocks = 100;
constexpr int kMaxRanges = 10'000;

constexpr const char* kWellKnown[] = {
    "google.protobuf.Any",         "google.protobuf.BoolValue",   "google.protobuf.BytesValue",
    "google.protobuf.DoubleValue", "google.protobuf.Duration",    "google.protobuf.FieldMask",
    "google.protobuf.FloatValue",  "google.protobuf.Int32Value",  "google.protobuf.Int64Value",
    "google.protobuf.ListValue",   "google.protobuf.StringValue", "google.protobuf.Struct",
    "google.protobuf.Timestamp",   "google.protobuf.UInt32Value", "google.protobuf.UInt64Value",
    "google.protobuf.Value"};

void AddNames(const Descriptor& message, std::vector<std::string>* names) {
  if (message.options().map_entry()) return;
  names->push_back(message.full_name());
  for (int i = 0; i < message.nested_type_count(); ++i) AddNames(*message.nested_type(i), names);
}

class FirstError final : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (text_.empty()) text_ = fmt::format("{}:{}: {}", line + 1, column + 1, message);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// Refuses blocks within each other, which the library reads by calling itself, without a limit of its own: enough of
// them are the end of the stack. What else is wrong with the text, the library says.
Status CheckDepth(const std::string& name, std::string_view text) {
  google::protobuf::io::ArrayInputStream stream(text.data(), static_cast<int>(text.size()));
  FirstError ignored;
  google::protobuf::io::Tokenizer tokenizer(&stream, &ignored);
  int depth = 0;
  while (tokenizer.Next()) {
    const std::string& token = tokenizer.current().text;
    // Messages within the value of an option may begin with '<'.
    if (token == "{" || token == "<") ++depth;
    if ((token == "}" || token == ">") && depth > 0) --depth;
    if (depth <= kMaxBlocks) continue;
    return InvalidInput("{}:{}:{}: nested deeper than {} blocks", name, tokenizer.current().line + 1,
                        tokenizer.current().column + 1, kMaxBlocks);
  }
  return Status::OK();
}

// Likewise in a descriptor, which may hold values of options as they were written; and ranges of numbers, each of which
// the library compares with each other.
Status CheckParts(const std::string& name, const google::protobuf::Message& message) {
  if (message.GetDescriptor() == google::protobuf::UninterpretedOption::descriptor()) {
    return CheckDepth(name, static_cast<const google::protobuf::UninterpretedOption&>(message).aggregate_value());
  }
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  const auto& reflection = *message.GetReflection();
  reflection.ListFields(message, &fields);
  for (const auto* const field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    if (count > kMaxRanges && field->name().ends_with("_range")) {
      return InvalidInput("{}: more than {} reserved or extension ranges in one type", name, kMaxRanges);
    }
    for (int i = 0; i < count; ++i) {
      RETURN_NOT_OK(CheckParts(name, field->is_repeated() ? reflection.GetRepeatedMessage(message, field, i)
                                                          : reflection.GetMessage(message, field)));
    }
  }
  return Status::OK();
}

// No `.proto` has such a text alone.
bool LooksLikeBase64(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '/' ||
           c == '=' || c == '\n' || c == '\r';
  });
}

// A schema of a registry; `name` is the file's unless it has one itself.
Result<FileDescriptorProto> ParseRegistered(const std::string& name, std::string text) {
  FileDescriptorProto file;
  if (LooksLikeBase64(text)) {
    std::erase_if(text, [](char c) { return c == '\n' || c == '\r'; });
    const auto bytes = arrow::util::base64_decode(text);
    if (!bytes.ok() || !file.ParsePartialFromString(*bytes)) {
      return InvalidInput("{}: neither a .proto nor a descriptor in base64", name);
    }
    if (!file.syntax().empty() && file.syntax() != "proto2" && file.syntax() != "proto3") {
      return InvalidInput("{}: syntax '{}'; this version reads proto2 and proto3", name, file.syntax());
    }
  } else {
    RETURN_NOT_OK(CheckDepth(name, text));
    FirstError error;
    google::protobuf::io::ArrayInputStream stream(text.data(), static_cast<int>(text.size()));
    google::protobuf::io::Tokenizer tokenizer(&stream, &error);
    google::protobuf::compiler::Parser parser;
    parser.RecordErrorsTo(&error);
    if (!parser.Parse(&tokenizer, &file) || !error.text().empty()) {
      return InvalidInput("{}:{}", name, error.text());
    }
  }
  RETURN_NOT_OK(CheckParts(name, file));
  if (file.name().empty()) file.set_name(name);
  return file;
}

}  // namespace

// The files of a descriptor set, by name.
class Schema::FileSet final : public google::protobuf::DescriptorDatabase {
 public:
  struct Missing {
    std::string file;
    std::string import;
  };
  std::map<std::string, FileDescriptorProto> files;

  /// An import that is neither here nor in `library`.
  std::optional<Missing> MissingImport(google::protobuf::DescriptorDatabase& library) const {
    FileDescriptorProto ignored;
    for (const auto& [name, file] : files) {
      for (const std::string& import : file.dependency()) {
        if (!files.contains(import) && !library.FindFileByName(import, &ignored)) return Missing{name, import};
      }
    }
    return std::nullopt;
  }

  bool FindFileByName(const std::string& name, FileDescriptorProto* output) override {
    const auto found = files.find(name);
    if (found == files.end()) return false;
    *output = found->second;
    return true;
  }
  bool FindFileContainingSymbol(const std::string& /*symbol*/, FileDescriptorProto* /*output*/) override {
    return false;
  }
  bool FindFileContainingExtension(const std::string& /*type*/, int /*number*/,
                                   FileDescriptorProto* /*output*/) override {
    return false;
  }
};

class Schema::Errors final : public DescriptorPool::ErrorCollector,
                             public google::protobuf::compiler::MultiFileErrorCollector {
 public:
  void AddError(const std::string& file, const std::string& element, const google::protobuf::Message* /*descriptor*/,
                ErrorLocation /*location*/, const std::string& message) override {
    Add(fmt::format("{}: {}: {}", file, element, message));
  }
  void AddError(const std::string& file, int line, int column, const std::string& message) override {
    Add(line < 0 ? fmt::format("{}: {}", file, message)
                 : fmt::format("{}:{}:{}: {}", file, line + 1, column + 1, message));
  }
  void AddWarning(const std::string& /*file*/, const std::string& /*element*/,
                  const google::protobuf::Message* /*descriptor*/, ErrorLocation /*location*/,
                  const std::string& /*message*/) override {}
  void AddWarning(const std::string& /*file*/, int /*line*/, int /*column*/, const std::string& /*message*/) override {}

  std::string Text() const { return fmt::format("{}", fmt::join(messages_, "; ")); }

 private:
  void Add(std::string message) {
    if (messages_.size() < kMaxErrors) messages_.push_back(std::move(message));
  }
  std::vector<std::string> messages_;
};

// A text, and on disk what it imports.
class Schema::TextFiles final : public google::protobuf::compiler::SourceTree {
 public:
  TextFiles(const SchemaSpec& spec, Errors* errors) : bytes_(spec.bytes), database_(this) {
    database_.RecordErrorsTo(errors);
    const std::filesystem::path file(spec.file);
    name_ = file.filename().string();
    for (std::filesystem::path folder = file.parent_path();; folder = folder.parent_path()) {
      imports_.MapPath("", folder.empty() ? "." : folder.string());
      if (folder.empty() || folder == folder.parent_path()) break;
    }
  }

  google::protobuf::io::ZeroCopyInputStream* Open(const std::string& name) override {
    if (name != name_) return imports_.Open(name);
    return new google::protobuf::io::ArrayInputStream(bytes_->data(), static_cast<int>(bytes_->size()));
  }
  std::string GetLastErrorMessage() override { return imports_.GetLastErrorMessage(); }

  const std::string& name() const { return name_; }
  google::protobuf::compiler::SourceTreeDescriptorDatabase& database() { return database_; }

 private:
  const std::shared_ptr<const std::string> bytes_;
  std::string name_;
  google::protobuf::compiler::DiskSourceTree imports_;
  google::protobuf::compiler::SourceTreeDescriptorDatabase database_;
};

Schema::Schema()
    : errors_(std::make_unique<Errors>()),
      library_(std::make_unique<google::protobuf::DescriptorPoolDatabase>(*DescriptorPool::generated_pool())) {}

Schema::~Schema() = default;

Result<std::shared_ptr<const Schema>> Schema::Load(const SchemaSpec& spec) {
  const google::protobuf::LogSilencer quiet;  // What is wrong comes to errors_.
  const std::shared_ptr<Schema> schema(new Schema());
  const bool is_text = std::filesystem::path(spec.file).extension() == ".proto";
  RETURN_NOT_OK(spec.is_registered ? schema->LoadRegistered(spec)
                : is_text          ? schema->LoadText(spec)
                                   : schema->LoadSet(*spec.bytes));
  RETURN_NOT_OK(schema->CheckWellKnown());
  return schema;
}

Status Schema::LoadSet(const std::string& bytes) {
  google::protobuf::FileDescriptorSet parsed;
  if (!parsed.ParsePartialFromString(bytes) || parsed.file_size() == 0) {
    return InvalidInput(
        "no descriptor set; make one with protoc --include_imports --descriptor_set_out=FILE, or name a .proto file");
  }
  set_ = std::make_unique<FileSet>();
  for (const FileDescriptorProto& file : parsed.file()) {
    if (file.name().empty()) return InvalidInput("no descriptor set: a file in it has no name");
    if (!file.syntax().empty() && file.syntax() != "proto2" && file.syntax() != "proto3") {
      return InvalidInput("{}: syntax '{}'; this version reads proto2 and proto3", file.name(), file.syntax());
    }
    RETURN_NOT_OK(CheckParts(file.name(), file));
    if (!set_->files.emplace(file.name(), file).second) return InvalidInput("{} is there twice", file.name());
  }
  if (const auto missing = set_->MissingImport(*library_)) {
    return InvalidInput("{} imports {}, which is not in it; make it with protoc --include_imports", missing->file,
                        missing->import);
  }
  MakePool();
  for (const FileDescriptorProto& file : parsed.file()) RETURN_NOT_OK(AddFile(file.name()));
  return Status::OK();
}

Status Schema::LoadRegistered(const SchemaSpec& spec) {
  set_ = std::make_unique<FileSet>();
  for (const SchemaReference& reference : spec.references) {
    ASSIGN_OR_RETURN(auto file, ParseRegistered(reference.name, reference.text));
    file.set_name(reference.name);  // That it is imported by.
    set_->files.insert_or_assign(reference.name, std::move(file));
  }
  ASSIGN_OR_RETURN(auto root, ParseRegistered(spec.file, *spec.bytes));
  const std::string name = root.name();
  set_->files.insert_or_assign(name, std::move(root));
  if (const auto missing = set_->MissingImport(*library_)) {
    return InvalidInput("{} imports {}, which is none of the {} schemas that the registry says it refers to",
                        missing->file, missing->import, spec.references.size());
  }
  MakePool();
  RETURN_NOT_OK(AddFile(name));
  for (const SchemaReference& reference : spec.references) RETURN_NOT_OK(AddFile(reference.name));
  return Status::OK();
}

void Schema::MakePool() {
  all_ = std::make_unique<google::protobuf::MergedDescriptorDatabase>(library_.get(), set_.get());
  pool_ = std::make_unique<DescriptorPool>(all_.get(), errors_.get());
}

Status Schema::LoadText(const SchemaSpec& spec) {
  RETURN_NOT_OK(CheckDepth(std::filesystem::path(spec.file).filename().string(), *spec.bytes));
  texts_ = std::make_unique<TextFiles>(spec, errors_.get());
  all_ = std::make_unique<google::protobuf::MergedDescriptorDatabase>(library_.get(), &texts_->database());
  pool_ = std::make_unique<DescriptorPool>(all_.get(), texts_->database().GetValidationErrorCollector());
  return AddFile(texts_->name());
}

Status Schema::AddFile(const std::string& name) {
  const FileDescriptor* const file = pool_->FindFileByName(name);
  if (file == nullptr) return InvalidInput("{}", errors_->Text());
  files_.push_back(file);
  return Status::OK();
}

// Their fields are what their JSON forms are made of, so another message of such a name would be misread.
Status Schema::CheckWellKnown() const {
  for (const char* const name : kWellKnown) {
    const Descriptor* const found = pool_->FindMessageTypeByName(name);
    const Descriptor* const known = DescriptorPool::generated_pool()->FindMessageTypeByName(name);
    if (found != nullptr && known != nullptr && found->file()->name() != known->file()->name()) {
      return InvalidInput("{} is another {} than Protobuf's own of {}", found->file()->name(), name,
                          known->file()->name());
    }
  }
  return Status::OK();
}

Result<const Descriptor*> Schema::FindMessage(const std::string& name) const {
  if (name.empty()) {
    if (files_.front()->message_type_count() == 0) return InvalidInput("there is no message");
    return files_.front()->message_type(0);
  }
  if (const Descriptor* const found = pool_->FindMessageTypeByName(name); found != nullptr) return found;
  std::vector<std::string> names;
  for (const FileDescriptor* const file : files_) {
    for (int i = 0; i < file->message_type_count(); ++i) AddNames(*file->message_type(i), &names);
  }
  // Without its package, which is what people forget.
  for (const std::string& full : names) {
    if (full.ends_with("." + name)) return InvalidInput("there is no message '{}'; did you mean '{}'?", name, full);
  }
  const std::string nearest = DidYouMean(name, names);
  if (names.size() > kMaxNames) names.resize(kMaxNames);
  return InvalidInput("there is no message '{}'{}", name,
                      nearest.empty() ? fmt::format("; there are {}", fmt::join(names, ", ")) : nearest);
}

}  // namespace millrace::ingest::protobuf
