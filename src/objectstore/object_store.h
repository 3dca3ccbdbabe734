/// Where tables live: a flat space of keys ("clicks/_delta_log/00000000000000000000.json") over a folder or a bucket.
///
/// Calls block; callers run them on an I/O thread. Keys are relative, '/'-separated, without "." or ".." segments.
/// Any thread.
#pragma once

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"

namespace millrace::objectstore {

struct ObjectInfo {
  std::string key;
  std::int64_t size = 0;  ///< Bytes.
  UnixMicros modified = 0;
};

enum class PutOutcome { kCreated, kExists };

/// An object in the making: an Arrow output stream, invisible under its key until Finish().
class Upload : public arrow::io::OutputStream {
 public:
  /// Makes the object visible and durable, or fails with nothing visible. Call once; then the stream is closed.
  virtual Status Finish() = 0;
};

class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  /// For messages: "file:///data/lake", "s3://bucket/prefix".
  virtual const std::string& uri() const = 0;

  /// Creates the object whole and durable, only if no object has that key. kExists: another was first, nothing changed.
  /// Errors: kTransient (nothing written), kUnknownOutcome (reply lost: read the key back before anything else).
  virtual Result<PutOutcome> PutIfAbsent(const std::string& key, std::string_view bytes) = 0;

  /// Creates or replaces, whole or not at all, durable.
  virtual Status Put(const std::string& key, std::string_view bytes) = 0;

  /// A large object, written piece by piece. Dropping the upload without Finish() leaves nothing visible.
  virtual Result<std::shared_ptr<Upload>> StartUpload(const std::string& key) = 0;

  /// kNotFound if there is none.
  virtual Result<std::shared_ptr<arrow::Buffer>> Read(const std::string& key) = 0;
  /// For ranged reads. kNotFound if there is none.
  virtual Result<std::shared_ptr<arrow::io::RandomAccessFile>> Open(const std::string& key) = 0;
  /// Size and time; nullopt if there is none.
  virtual Result<std::optional<ObjectInfo>> Stat(const std::string& key) = 0;

  /// Keys that begin with `prefix` and sort after `start_after`, ascending by bytes, at any depth. Unfinished uploads
  /// are not listed.
  virtual Result<std::vector<ObjectInfo>> List(const std::string& prefix, const std::string& start_after = "") = 0;

  /// Gone is fine.
  virtual Status Delete(const std::string& key) = 0;
};

enum class IfMissing {
  kCreate,  ///< And the folder must be writable.
  kRefuse,  ///< kNotFound; for verbs that only read.
};

/// "./lake", "/data/lake" or "file:///data/lake": a folder.
/// kUnsupported: a scheme that is not built yet; kInvalidInput: not a folder, not writable, not a URI.
Result<std::shared_ptr<ObjectStore>> OpenStore(const std::string& uri, IfMissing if_missing = IfMissing::kCreate);

/// The same store with every key below `prefix` (no trailing slash).
std::shared_ptr<ObjectStore> Below(std::shared_ptr<ObjectStore> store, const std::string& prefix);

}  // namespace millrace::objectstore
