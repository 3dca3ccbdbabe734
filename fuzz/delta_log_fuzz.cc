// Any bytes as a commit file are refused, or are actions that survive being written and read again, and that replay
// into a snapshot or are refused there.
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "delta/data/deletion_vector.h"
#include "delta/log/action_json.h"
#include "delta/log/log_replay.h"
#include "delta/text/file_path.h"
#include "require.h"

using namespace millrace::delta;

namespace {

// A folder: absolute paths are looked up there. Nothing is read of it.
const millrace::objectstore::ObjectStore& Store() {
  static const auto kStore = millrace::objectstore::OpenStore(std::filesystem::temp_directory_path().string(),
                                                              millrace::objectstore::IfMissing::kRefuse)
                                 .ValueOrDie();
  return *kStore;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto actions = ParseCommit(text, "fuzz");
  if (!actions.ok()) return 0;
  std::string written;
  for (const auto& action : *actions) {
    AppendActionLine(written, action);
    if (const auto* add = std::get_if<AddFile>(&action)) {
      const auto key = DecodePath(add->path, Store());
      // No segment of the key leads upwards; one that only begins with dots is a name.
      if (key.ok()) {
        Require(!key->empty() && ("/" + *key + "/").find("/../") == std::string::npos && key->front() != '/');
      }
      if (add->deletion_vector) (void)DeletionVectorKey(*add->deletion_vector, Store());
    }
    if (const auto* metadata = std::get_if<Metadata>(&action)) (void)SchemaFromJson(metadata->schema_string);
  }
  if (!actions->empty()) {
    const auto again = ParseCommit(written, "again");
    Require(again.ok() && again->size() == actions->size());
    std::string twice;
    for (const auto& action : *again) AppendActionLine(twice, action);
    Require(twice == written);
  }
  static const Snapshot kEmpty = [] {
    Snapshot snapshot;
    snapshot.metadata.id = "t";
    snapshot.metadata.schema_string = R"({"type":"struct","fields":[]})";
    snapshot.schema = arrow::schema(arrow::FieldVector());
    return snapshot;
  }();
  const auto next = Advance(kEmpty, *actions);
  if (!next.ok()) return 0;
  std::int64_t bytes = 0;
  for (const auto& [path, file] : (*next)->files) bytes += file.size;
  Require(bytes == (*next)->num_bytes);
  return 0;
}
