/// Requests to one bucket: signed, retried where that is safe, their failures put in our kinds, and counted.
/// Spec: Amazon S3 API Reference. Any thread.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "http/client.h"
#include "objectstore/object_store.h"
#include "objectstore/s3/credentials.h"
#include "objectstore/s3/sigv4.h"

namespace millrace::objectstore::s3 {

/// For requests that may be repeated: full jitter, doubling. Both limits hold.
struct S3RetryPolicy {
  int attempts_max = 10;
  std::chrono::milliseconds backoff_min{50};
  std::chrono::milliseconds backoff_max{3000};
  std::chrono::milliseconds give_up_after{45000};  ///< No attempt begins later than this after the first.
};

/// Where a bucket is and how to speak to it; what the settings, the environment and the profile say, joined.
struct S3Target {
  std::string scheme;     ///< "https"
  std::string host;       ///< With its port if that is not the scheme's; with the bucket unless `path_style`.
  std::string base_path;  ///< "" or "/bucket".
  std::string bucket;
  std::string region;
  std::string ca_file;
};

/// kInvalidInput names the setting that is wrong.
Result<S3Target> ResolveTarget(const std::string& bucket, const S3Settings& settings, const Environment& environment);

struct S3Request {
  RequestKind kind = RequestKind::kGet;
  std::string method;
  std::string key = {};  ///< From the bucket's root; empty: the bucket itself.
  NameValues query = {};
  NameValues headers = {};  ///< Names in lower case. Signed, beside host and x-amz-*.
  std::string_view body = {};
  /// False: a conditional PUT. It is repeated only while it is certain that nothing was done.
  bool repeatable = true;
};

/// 2xx.
bool IsSuccess(const http::ClientReply& reply);

/// kTransient, for a definite reply of S3Client::Send() that is no success: "{what} {key}: HTTP 409 …".
Status Unexpected(const http::ClientReply& reply, std::string_view what, const std::string& key);

class S3Client {
 public:
  S3Client(S3Target target, Environment environment, http::ClientTimeouts timeouts, S3RetryPolicy retry,
           const Clock& clock = SystemClock());
  ~S3Client();

  /// The reply if it says something definite: 2xx, 304, 404 (of a key), 412, 416.
  /// Errors: kTransient (the store failed us for as long as the policy tries; a repeatable request may or may not have
  /// been carried out, and asking for it again is safe; of one that is not, nothing was done), kUnknownOutcome (only of
  /// one that is not repeatable: it may have been carried out), kUnsupported (501), kInvalidInput (refused: no right,
  /// no such bucket, another region), kCancelled.
  Result<http::ClientReply> Send(const S3Request& request);

  const S3Target& target() const { return target_; }
  StoreUsage usage() const;

  /// Ends calls under way within about a second with kCancelled, and refuses later ones.
  void Interrupt();

 private:
  enum class Verdict { kDone, kRetry, kRetryWithNewCredentials, kUnknown, kFail };
  struct Judgement {
    Verdict verdict = Verdict::kDone;
    Status status = {};  // Unless kDone.
  };

  // One try. Fills `reply`, unless there is none.
  Result<Judgement> Try(const S3Request& request, const std::string& payload_sha256, http::ClientReply& reply);
  Judgement Judge(const S3Request& request, const http::ClientReply& reply);
  // False: interrupted.
  bool Sleep(int attempt);

  const S3Target target_;
  const S3RetryPolicy retry_;
  const Clock& clock_;
  CredentialsChain credentials_;
  http::Client http_;
  std::atomic<UnixMicros> clock_skew_{0};  // What to add to our clock to get the store's.

  std::array<std::atomic<std::int64_t>, kNumRequestKinds> requests_{};
  std::atomic<std::int64_t> retries_{0};
  std::atomic<std::int64_t> bytes_sent_{0};
  std::atomic<std::int64_t> bytes_received_{0};

  std::mutex mutex_;
  std::condition_variable interrupted_;
};

}  // namespace millrace::objectstore::s3
