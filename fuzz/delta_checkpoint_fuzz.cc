// Any bytes as a checkpoint, Parquet or JSON, are refused or are actions; nothing else is touched on the way.
#include <arrow/io/memory.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "delta/log/checkpoint.h"

namespace {

using namespace millrace;

// Every key holds the input; nothing can be written.
class OneObjectStore final : public objectstore::ObjectStore {
 public:
  explicit OneObjectStore(std::string_view bytes) : buffer_(arrow::Buffer::FromString(std::string(bytes))) {}

  const std::string& uri() const override { return uri_; }
  Result<objectstore::PutOutcome> PutIfAbsent(const std::string&, std::string_view) override { return Refused(); }
  Status Put(const std::string&, std::string_view) override { return Refused(); }
  Result<std::shared_ptr<objectstore::Upload>> StartUpload(const std::string&) override { return Refused(); }
  Result<std::shared_ptr<arrow::Buffer>> Read(const std::string&) override { return buffer_; }
  Result<std::shared_ptr<arrow::io::RandomAccessFile>> Open(const std::string&) override {
    return std::make_shared<arrow::io::BufferReader>(buffer_);
  }
  Result<std::optional<objectstore::ObjectInfo>> Stat(const std::string&) override { return std::nullopt; }
  Result<std::vector<objectstore::ObjectInfo>> List(const std::string&, const std::string&) override {
    return std::vector<objectstore::ObjectInfo>();
  }
  Status Delete(const std::string&) override { return Refused(); }

 private:
  static Status Refused() { return Internal("read only"); }

  const std::string uri_ = "file:///lake/t";
  std::shared_ptr<arrow::Buffer> buffer_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  OneObjectStore store(std::string_view(reinterpret_cast<const char*>(data), size));
  for (const char* key : {"_delta_log/1.checkpoint.parquet", "_delta_log/1.checkpoint.x.json"}) {
    const auto sink = [](delta::Action&&) { return Status::OK(); };
    (void)delta::ReadCheckpointFiles(store, {key}, sink);
    (void)delta::SidecarKeysOf(store, key);
  }
  (void)delta::ReadLastCheckpointHint(store);
  return 0;
}
