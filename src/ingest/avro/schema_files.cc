#include "ingest/avro/schema_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>
#include <vector>

#include "ingest/avro/schema.h"
#include "ingest/decode_spec.h"

namespace millrace::ingest {
namespace {

namespace fs = std::filesystem;

class FileSchemas final : public WriterSchemas {
 public:
  using ByFingerprint = std::map<std::uint64_t, std::shared_ptr<const WriterSchema>>;

  explicit FileSchemas(ByFingerprint schemas) : schemas_(std::move(schemas)) {}

  Result<std::shared_ptr<const WriterSchema>> Find(std::uint64_t fingerprint) override {
    const auto found = schemas_.find(fingerprint);
    return found == schemas_.end() ? nullptr : found->second;
  }
  std::uint64_t answers() const override { return 0; }

 private:
  const ByFingerprint schemas_;
};

Result<std::vector<fs::path>> FilesAt(const std::string& path) {
  std::error_code error;
  std::vector<fs::path> files;
  if (fs::is_regular_file(path, error)) return std::vector<fs::path>{path};
  if (!fs::is_directory(path, error)) return NotFound("{}: there is no such file or folder", path);
  for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
    std::error_code unknown;
    if (at->is_regular_file(unknown)) files.push_back(at->path());
    if (files.size() > kMaxSchemaFiles) return InvalidInput("{}: it has more than {} files", path, kMaxSchemaFiles);
  }
  if (error) return NotFound("{}: {}", path, error.message());
  if (files.empty()) return NotFound("{}: there is no schema in this folder", path);
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

Result<std::string> ReadSchemaFile(const std::string& path) {
  std::error_code error;
  if (const auto size = fs::file_size(path, error); !error && size > kMaxSchemaBytes) {
    return InvalidInput("{}: it has {} bytes, more than {}", path, size, kMaxSchemaBytes);
  }
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (error || !file) return NotFound("{}: it cannot be read", path);
  return text.str();
}

Result<std::shared_ptr<WriterSchemas>> ReadSchemaFiles(const std::string& path) {
  ASSIGN_OR_RETURN(const auto files, FilesAt(path));
  FileSchemas::ByFingerprint schemas;
  for (const auto& name : files) {
    ASSIGN_OR_RETURN(auto text, ReadSchemaFile(name.string()));
    const auto schema = avro::ParseSchema(text);
    if (!schema.ok()) return WithContext(schema.status(), "{}", name.string());
    schemas[avro::Fingerprint(**schema)] = std::make_shared<const WriterSchema>(WriterSchema{.text = std::move(text)});
  }
  return std::make_shared<FileSchemas>(std::move(schemas));
}

}  // namespace millrace::ingest
