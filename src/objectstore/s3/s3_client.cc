#include "objectstore/s3/s3_client.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "base/backoff.h"
#include "base/log.h"
#include "objectstore/s3/xml.h"

namespace millrace::objectstore::s3 {
namespace {

/// "bucket in mixed Case" and the like would end up in a host name or a path.
bool IsBucketName(const std::string& bucket) {
  return bucket.size() >= 3 && bucket.size() <= 63 &&
         bucket.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-") == std::string::npos;
}

struct S3Error {
  std::string code;
  std::string message;
  std::string region;
};

/// What the body of a failed request says. The rest of it (S3 echoes the signed text) is not for messages.
S3Error ParseError(const http::ClientReply& reply) {
  S3Error error;
  const auto document = ParseXml(reply.body);
  if (!document.ok() || document->name != "Error") return error;
  error.code = document->TextOf("Code");
  error.message = document->TextOf("Message");
  error.region = document->TextOf("Region");
  return error;
}

std::optional<UnixMicros> ParseHttpDate(const std::string& text) {
  std::tm parts{};
  if (::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts) == nullptr) return std::nullopt;
  return static_cast<UnixMicros>(::timegm(&parts)) * 1'000'000;
}

}  // namespace

bool IsSuccess(const http::ClientReply& reply) { return reply.status >= 200 && reply.status < 300; }

Status Unexpected(const http::ClientReply& reply, std::string_view what, const std::string& key) {
  return Transient("{} {}: HTTP {} {}", what, key, reply.status, reply.body.substr(0, 300));
}

Result<S3Target> ResolveTarget(const std::string& bucket, const S3Settings& settings, const Environment& environment) {
  if (!IsBucketName(bucket)) {
    return InvalidInput("'{}' is not the name of a bucket (3 to 63 of a-z, 0-9, '.' and '-')", bucket);
  }
  S3Target target;
  target.bucket = bucket;
  const auto first = [](std::initializer_list<std::optional<std::string>> values) {
    for (const auto& value : values) {
      if (value && !value->empty()) return *value;
    }
    return std::string();
  };
  target.region = first({settings.region, environment("AWS_REGION"), environment("AWS_DEFAULT_REGION"),
                         ProfileValue(environment, "region"), "us-east-1"});
  target.ca_file = first({settings.ca_file, environment("AWS_CA_BUNDLE")});
  const std::string endpoint =
      first({settings.endpoint, environment("AWS_ENDPOINT_URL_S3"), environment("AWS_ENDPOINT_URL")});
  std::string host;
  if (endpoint.empty()) {
    target.scheme = "https";
    host = fmt::format("s3.{}.amazonaws.com{}", target.region, target.region.starts_with("cn-") ? ".cn" : "");
  } else {
    const auto end = endpoint.find("://");
    target.scheme = end == std::string::npos ? "" : endpoint.substr(0, end);
    if (target.scheme != "http" && target.scheme != "https") {
      return InvalidInput("the S3 endpoint must begin with http:// or https://, not '{}'", endpoint);
    }
    host = endpoint.substr(end + 3);
    while (host.ends_with('/')) host.pop_back();
    if (host.empty() || host.find_first_of("/?#@ ") != std::string::npos) {
      return InvalidInput("the S3 endpoint must be a scheme, a host and perhaps a port, not '{}'", endpoint);
    }
    const std::string default_port = target.scheme == "https" ? ":443" : ":80";
    if (host.ends_with(default_port)) host.resize(host.size() - default_port.size());
  }
  // A certificate for *.s3.amazonaws.com does not cover a bucket with a dot in its name.
  const bool dotted = target.scheme == "https" && bucket.find('.') != std::string::npos;
  if (settings.path_style.value_or(!endpoint.empty() || dotted)) {
    target.host = host;
    target.base_path = "/" + bucket;
  } else {
    target.host = bucket + "." + host;
  }
  return target;
}

S3Client::S3Client(S3Target target, Environment environment, http::ClientTimeouts timeouts, S3RetryPolicy retry,
                   const Clock& clock)
    : target_(std::move(target)),
      retry_(retry),
      clock_(clock),
      credentials_(std::move(environment), target_.region, target_.ca_file, clock),
      http_({.timeouts = timeouts, .ca_file = target_.ca_file}) {}

S3Client::~S3Client() = default;

void S3Client::Interrupt() {
  http_.Interrupt();
  credentials_.Interrupt();
  const std::lock_guard lock(mutex_);
  interrupted_.notify_all();
}

bool S3Client::Sleep(int attempt) {
  const auto pause = FullJitter(attempt, {.min = retry_.backoff_min, .max = retry_.backoff_max});
  std::unique_lock lock(mutex_);
  return !interrupted_.wait_for(lock, pause, [this] { return http_.interrupted(); });
}

StoreUsage S3Client::usage() const {
  StoreUsage usage;
  for (std::size_t i = 0; i < kNumRequestKinds; ++i) usage.requests[i] = requests_[i];
  usage.retries = retries_;
  usage.bytes_sent = bytes_sent_;
  usage.bytes_received = bytes_received_;
  return usage;
}

Result<http::ClientReply> S3Client::Send(const S3Request& request) {
  const std::string payload_sha256 = Sha256Hex(request.body);
  const auto begun = clock_.SteadyNow();
  http::ClientReply reply;
  bool renewed = false;
  for (int attempt = 0;; ++attempt) {
    ASSIGN_OR_RETURN(Judgement judgement, Try(request, payload_sha256, reply));
    if (judgement.verdict == Verdict::kDone) return reply;
    const auto with_context = [&] {
      return WithContext(judgement.status, "{} s3://{}/{}", request.method, target_.bucket, request.key);
    };
    if (judgement.verdict == Verdict::kFail || judgement.verdict == Verdict::kUnknown) return with_context();
    if (judgement.verdict == Verdict::kRetryWithNewCredentials && std::exchange(renewed, true)) {
      return InvalidInput("{}", with_context().message());
    }
    if (attempt + 1 >= retry_.attempts_max || clock_.SteadyNow() - begun > retry_.give_up_after) {
      return WithContext(with_context(), "after {} attempts", attempt + 1);
    }
    spdlog::debug("s3 request repeated method={} key={} attempt={} error=\"{}\"", request.method, request.key,
                  attempt + 1, judgement.status.message());
    ++retries_;
    if (!Sleep(attempt)) return Cancelled("{} s3://{}/{}: cancelled", request.method, target_.bucket, request.key);
  }
}

Result<S3Client::Judgement> S3Client::Try(const S3Request& request, const std::string& payload_sha256,
                                          http::ClientReply& reply) {
  auto found = credentials_.Get();
  if (!found.ok()) {
    if (KindOf(found.status()) == ErrorKind::kTransient) return Judgement{Verdict::kRetry, found.status()};
    return found.status();
  }
  const Credentials& credentials = *found;
  const UnixMicros now = clock_.Now() + clock_skew_;
  const std::string path = target_.base_path + "/" + UriEncode(request.key, true);

  NameValues headers = request.headers;
  headers.emplace_back("host", target_.host);
  headers.emplace_back("x-amz-content-sha256", payload_sha256);
  headers.emplace_back("x-amz-date", AmzDate(now));
  if (!credentials.session_token.empty()) headers.emplace_back("x-amz-security-token", credentials.session_token);
  std::string authorization = Authorization({.method = request.method,
                                             .path = path,
                                             .query = request.query,
                                             .headers = headers,
                                             .payload_sha256 = payload_sha256,
                                             .region = target_.region,
                                             .time = now},
                                            credentials);
  headers.emplace_back("authorization", std::move(authorization));

  std::string url = target_.scheme + "://" + target_.host + path;
  if (!request.query.empty()) url += "?" + CanonicalQuery(request.query);
  ++requests_[static_cast<std::size_t>(request.kind)];
  bytes_sent_ += static_cast<std::int64_t>(request.body.size());
  http::ClientError error;
  const bool answered = http_.Send({request.method, url, std::move(headers), request.body}, reply, error);
  bytes_received_ += static_cast<std::int64_t>(reply.body.size());
  if (answered) {
    Judgement judgement = Judge(request, reply);
    if (judgement.verdict == Verdict::kRetryWithNewCredentials) credentials_.Forget(credentials);
    return judgement;
  }
  switch (error.failure) {
    case http::ClientFailure::kCancelled:
      return Judgement{Verdict::kFail, Cancelled("{}", error.message)};
    case http::ClientFailure::kUntrusted:
      return Judgement{
          Verdict::kFail,
          InvalidInput("the server's certificate is not trusted: {} (a private authority's certificate goes "
                       "to lake.s3.ca_file or AWS_CA_BUNDLE)",
                       error.message)};
    case http::ClientFailure::kNotSent:
      return Judgement{Verdict::kRetry, Transient("{}", error.message)};
    case http::ClientFailure::kLost:
    case http::ClientFailure::kTooLarge:
      break;
  }
  if (request.repeatable) return Judgement{Verdict::kRetry, Transient("{}", error.message)};
  return Judgement{Verdict::kUnknown, UnknownOutcome("the reply was lost: {}", error.message)};
}

S3Client::Judgement S3Client::Judge(const S3Request& request, const http::ClientReply& reply) {
  const int status = reply.status;
  if ((status >= 200 && status < 300) || status == 304 || status == 412 || status == 416) return {};
  const S3Error error = ParseError(reply);
  const std::string what = fmt::format("HTTP {}{}{}{}{}", status, error.code.empty() ? "" : " ", error.code,
                                       error.message.empty() ? "" : ": ", error.message);
  if (status == 404) {
    if (error.code == "NoSuchBucket") {
      return {Verdict::kFail, InvalidInput("there is no bucket {}: {}", target_.bucket, what)};
    }
    // Only a store that says so may make a key absent: another server's, or a gateway's, page for 404 does not.
    if (request.method == "HEAD" || error.code == "NoSuchKey" || error.code == "NoSuchUpload") return {};
    return {Verdict::kFail, error.code.empty() ? InvalidInput("{} does not answer as S3 does: {}", target_.host, what)
                                               : InvalidInput("{}", what)};
  }
  if (status == 501) return {Verdict::kFail, Unsupported("{}", what)};
  // Throttled or in conflict with another request on the same key: nothing was done. S3's documentation of conditional
  // writes asks for the same request again after 409.
  if (status == 429 || status == 409) return {Verdict::kRetry, Transient("{}", what)};
  if (status >= 500) {
    if (request.repeatable) return {Verdict::kRetry, Transient("{}", what)};
    return {Verdict::kUnknown, UnknownOutcome("{}", what)};
  }
  if (status == 408 || error.code == "RequestTimeout") {
    if (request.repeatable) return {Verdict::kRetry, Transient("{}", what)};
    return {Verdict::kUnknown, UnknownOutcome("{}", what)};
  }
  if (error.code == "RequestTimeTooSkewed") {
    if (const auto theirs = ParseHttpDate(reply.Header("date"))) {
      clock_skew_ = *theirs - clock_.Now();
      spdlog::warn("s3 this machine's clock is off, using the store's skew_seconds={}", clock_skew_ / 1'000'000);
      return {Verdict::kRetry, Transient("{}", what)};
    }
  }
  // The reply to HEAD has no body, so its code is not known.
  const bool mute = request.method == "HEAD" && (status == 400 || status == 403);
  if (mute || error.code == "ExpiredToken" || error.code == "InvalidToken" || error.code == "InvalidAccessKeyId" ||
      error.code == "TokenRefreshRequired") {
    return {Verdict::kRetryWithNewCredentials, InvalidInput("{}", what)};
  }
  const std::string& bucket_region = error.region.empty() ? reply.Header("x-amz-bucket-region") : error.region;
  if (!bucket_region.empty() && bucket_region != target_.region && status != 403) {
    return {Verdict::kFail, InvalidInput("the bucket {} is in region {}, not {}: set lake.s3.region or AWS_REGION ({})",
                                         target_.bucket, bucket_region, target_.region, what)};
  }
  return {Verdict::kFail, InvalidInput("{}", what)};
}

}  // namespace millrace::objectstore::s3
