/// Where tables live: a flat space of keys ("clicks/_delta_log/00000000000000000000.json") over a folder or a bucket.
///
/// Calls block; callers run them on an I/O thread. Keys are relative, '/'-separated, without "." or ".." segments.
/// A store tries again by itself where that is safe, for under a minute; kTransient says that it has given up.
/// Any thread.
#pragma once

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>

#include <array>
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

/// Requests as object stores bill them.
enum class RequestKind { kPut, kMultipartStart, kMultipartPart, kMultipartEnd, kGet, kHead, kList, kDelete };
inline constexpr std::size_t kNumRequestKinds = 8;
/// "put", "multipart_start", …
std::string_view ToString(RequestKind kind);

/// What a store has done since it was opened; of a folder, what a bucket would have billed.
struct StoreUsage {
  std::array<std::int64_t, kNumRequestKinds> requests{};  ///< By RequestKind, repeated ones included.
  std::int64_t retries = 0;
  std::int64_t bytes_sent = 0;      ///< Bodies only, repeated ones included.
  std::int64_t bytes_received = 0;  ///< Likewise.

  std::int64_t Of(RequestKind kind) const { return requests[static_cast<std::size_t>(kind)]; }
};

/// An object in the making: an Arrow output stream, invisible under its key until Finish().
class Upload : public arrow::io::OutputStream {
 public:
  /// Makes the object visible and durable. Call once; then the stream is closed. Errors: kTransient (the object is not
  /// there, or, if only the reply was lost, it is there whole: upload it again under another key), kInvalidInput.
  virtual Status Finish() = 0;

  /// Memory that written bytes still take.
  virtual std::int64_t buffered_bytes() const { return 0; }
};

class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  /// For messages: "file:///data/lake", "s3://bucket/prefix".
  virtual const std::string& uri() const = 0;

  /// Creates the object whole and durable, only if no object has that key. kExists: another was first, nothing changed.
  /// Errors: kTransient (nothing written), kUnknownOutcome (reply lost: read the key back before anything else).
  virtual Result<PutOutcome> PutIfAbsent(const std::string& key, std::string_view bytes) = 0;

  /// Creates or replaces, whole or not at all, durable. kTransient: done or not; to do it again is safe.
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
  /// are not listed. A folder leaves out names that begin with '.'.
  virtual Result<std::vector<ObjectInfo>> List(const std::string& prefix, const std::string& start_after = "") = 0;

  /// Gone is fine.
  virtual Status Delete(const std::string& key) = 0;
  /// Likewise, with as few requests as the store can. After an error some may be deleted.
  virtual Status DeleteMany(const std::vector<std::string>& keys);

  virtual StoreUsage usage() const { return {}; }

  /// For a process that must leave: calls under way on a bucket end within about a second with kCancelled, and later
  /// ones at once. A folder's calls are left to end by themselves.
  virtual void Interrupt() {}
};

enum class IfMissing {
  kCreate,  ///< And it must be writable; of a bucket: able to put if absent, which is tried.
  kRefuse,  ///< kNotFound; for verbs that only read.
};

/// How to reach a bucket. What is empty comes from the environment and the profile, as for the AWS command line.
struct S3Settings {
  std::string endpoint = {};  ///< "https://minio.example:9000"; AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL; else AWS.
  std::string region = {};    ///< AWS_REGION, AWS_DEFAULT_REGION, the profile's; else us-east-1.
  /// https://host/bucket/key, or else https://bucket.host/key. nullopt: true with an endpoint, false with AWS.
  std::optional<bool> path_style = {};
  std::string ca_file = {};  ///< PEM of the authorities to trust; AWS_CA_BUNDLE; else the system's.
};

/// "./lake", "/data/lake" or "file:///data/lake": a folder. "s3://bucket/prefix" (or s3a://): a bucket; `s3` is for it.
/// kUnsupported: a scheme that is not built yet, or a bucket that cannot put if absent; kInvalidInput: not a folder,
/// not writable, no such bucket, no right, not a URI; kTransient: the store does not answer.
Result<std::shared_ptr<ObjectStore>> OpenStore(const std::string& uri, IfMissing if_missing = IfMissing::kCreate,
                                               const S3Settings& s3 = {});

/// The same store with every key below `prefix` (no trailing slash).
std::shared_ptr<ObjectStore> Below(std::shared_ptr<ObjectStore> store, const std::string& prefix);

}  // namespace millrace::objectstore
