/// Where tables live: a flat space of keys ("clicks/_delta_log/00000000000000000000.json") over a folder or a bucket.
///
///     ASSIGN_OR_RETURN(const auto store, objectstore::OpenStore("s3://bucket/lake"));
///     ASSIGN_OR_RETURN(const auto put, store->PutIfAbsent("note.txt", "first"));   // kExists: somebody else's stays
///
/// Calls block; callers run them on an I/O thread. A key is relative and '/'-separated, with no empty, "." or ".."
/// segment, no slash at its end and no NUL; kInvalidInput for any other, from every call that takes one. What the
/// store acknowledged is durable, and every later call of anybody sees it.
///
/// A store tries again by itself where that is safe, for under a minute; kTransient says that it has given up. The
/// error kinds are those of base/status.h; KindOf(status) tells them apart, the message names the key. Any thread, also
/// at once; files and uploads that a store hands out have rules of their own below.
#pragma once

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>

#include <array>
#include <chrono>
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
  std::int64_t size = 0;    ///< Bytes.
  UnixMicros modified = 0;  ///< By the store's clock; of a bucket to the second.
};

enum class PutOutcome {
  kCreated,  ///< The object is ours.
  kExists,   ///< There was one already, which is unchanged. It may be ours, if an earlier try's reply was lost.
};

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

/// An object in the making: an Arrow output stream, invisible under its key until Finish(). One thread at a time.
/// Write() may wait until earlier bytes have been sent. Close() and dropping it before Finish() give it up.
class Upload : public arrow::io::OutputStream {
 public:
  /// Makes the object visible and durable. Call once; then the stream is closed. Errors: kTransient (the object is not
  /// there, or, if only the reply was lost, it is there whole: upload it again under another key), kInvalidInput.
  virtual Status Finish() = 0;

  /// Memory that written bytes still take.
  virtual std::int64_t buffered_bytes() const { return 0; }
};

/// Implement it for another kind of storage: all that is above asks for nothing else. PutIfAbsent() and the visibility
/// promised above are what exactly-once commits rest on; `tests/s3/s3_contract_test.cc` checks both.
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

  /// A large object, written piece by piece; of a bucket, small ones go in one request and large ones in parts.
  /// Replaces what has that key. The upload keeps what it needs of the store alive.
  virtual Result<std::shared_ptr<Upload>> StartUpload(const std::string& key) = 0;

  /// The whole object, in memory. kNotFound if there is none.
  virtual Result<std::shared_ptr<arrow::Buffer>> Read(const std::string& key) = 0;
  /// For ranged reads: ReadAt() is any thread's, at once; the stream's position is one thread's. Each read of a bucket
  /// is a request. The file keeps what it needs of the store alive. kNotFound if there is none.
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

  /// The key that `location` is in this store: an absolute path or URI, as others spell it ("/data/lake/x",
  /// "file:///link/x", "s3a://bucket/prefix/x"; not percent-encoded). In a folder, links are followed, and so the key
  /// is without them; it may have others by which calls reach the same object. nullopt: not in this store. Asks no
  /// network.
  virtual std::optional<std::string> KeyOf(const std::string& /*location*/) const { return std::nullopt; }

  /// How many calls at once make reading many objects faster: of a folder about one a core, of a bucket, where each
  /// waits for the network, many more.
  virtual int requests_at_once() const { return 1; }

  /// Whether each read is a request over a network, so that few large ones are better than many small ones.
  virtual bool is_far() const { return false; }

  virtual StoreUsage usage() const { return {}; }

  /// For a process that must leave: calls under way on a bucket end within about a second with kCancelled, and later
  /// ones at once. A folder's calls are left to end by themselves.
  virtual void Interrupt() {}
};

enum class IfMissing {
  kCreate,  ///< And it must be writable; of a bucket: able to put if absent, which is tried.
  /// As kCreate, but a folder that is not there comes with the first write into it: for who may still find that he has
  /// nothing to write.
  kCreateAtFirstWrite,
  kRefuse,  ///< kNotFound; for verbs that only read.
};

/// How to reach a bucket. What is empty comes from the environment and the profile, as for the AWS command line.
/// Credentials are never given here: they come from the AWS chain, see `docs/library.md`.
struct S3Settings {
  std::string endpoint = {};  ///< "https://minio.example:9000"; AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL; else AWS.
  std::string region = {};    ///< AWS_REGION, AWS_DEFAULT_REGION, the profile's; else us-east-1.
  /// https://host/bucket/key, or else https://bucket.host/key. nullopt: true with an endpoint, false with AWS.
  std::optional<bool> path_style = {};
  std::string ca_file = {};  ///< PEM of the authorities to trust; AWS_CA_BUNDLE; else the system's.
  /// A request that may be repeated is, until then.
  std::chrono::milliseconds give_up_after{45000};
};

/// "./lake", "/data/lake" or "file:///data/lake": a folder. "s3://bucket/prefix" (or s3a://): a bucket; `s3` is for it.
/// kUnsupported: another scheme, or a bucket that cannot put if absent; kInvalidInput: not a folder, not writable, no
/// such bucket, no right, no credentials, not a URI; kTransient: the store does not answer.
Result<std::shared_ptr<ObjectStore>> OpenStore(const std::string& uri, IfMissing if_missing = IfMissing::kCreate,
                                               const S3Settings& s3 = {});

/// The folder that a URI of OpenStore() names, as it is written there; nullopt: it names none.
std::optional<std::string> FolderOf(const std::string& uri);

/// The same store with every key below `prefix` (no trailing slash): a table in a lake.
std::shared_ptr<ObjectStore> Below(std::shared_ptr<ObjectStore> store, const std::string& prefix);

}  // namespace millrace::objectstore
