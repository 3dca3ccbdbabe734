#include "objectstore/s3/s3_store.h"

#include <arrow/util/value_parsing.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <utility>

#include "base/log.h"
#include "base/percent_coding.h"
#include "base/uuid.h"
#include "objectstore/object_key.h"
#include "objectstore/s3/s3_file.h"
#include "objectstore/s3/s3_upload.h"
#include "objectstore/s3/xml.h"

namespace millrace::objectstore::s3 {
namespace {

// With a reply in 20 ms this makes 800 requests a second of one reader; a prefix of S3 takes 5,500.
constexpr int kRequestsAtOnce = 16;
constexpr std::size_t kDeletesInOneRequest = 1000;
constexpr const char* kProbePrefix = ".millrace-probe-";
constexpr UnixMicros kProbeAgeMax = 86'400'000'000;  // A day: longer than any start.

std::string EscapeXml(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '\r':
        escaped += "&#13;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

UnixMicros ModifiedOf(const std::string& http_date) {
  std::tm parts{};
  if (::strptime(http_date.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts) == nullptr) return 0;
  return static_cast<UnixMicros>(::timegm(&parts)) * 1'000'000;
}

class S3Store final : public ObjectStore, public std::enable_shared_from_this<S3Store> {
 public:
  S3Store(S3Target target, std::string prefix, const S3Options& options)
      : prefix_(std::move(prefix)),
        uri_(prefix_.empty() ? "s3://" + target.bucket
                             : "s3://" + target.bucket + "/" + prefix_.substr(0, prefix_.size() - 1)),
        clock_(*options.clock),
        client_(std::move(target), options.environment, options.timeouts, options.retry, *options.clock) {}

  const std::string& uri() const override { return uri_; }

  // "s3a" and "s3n" are Hadoop's names for its clients of the same buckets.
  std::optional<std::string> KeyOf(const std::string& location) const override {
    std::string_view rest = location;
    for (const std::string_view scheme : {"s3://", "s3a://", "s3n://"}) {
      if (!rest.starts_with(scheme)) continue;
      rest.remove_prefix(scheme.size());
      const std::string_view root = std::string_view(uri_).substr(std::string_view("s3://").size());
      if (rest == root) return "";
      if (!rest.starts_with(root) || rest[root.size()] != '/') return std::nullopt;
      return std::string(rest.substr(root.size() + 1));
    }
    return std::nullopt;
  }

  Result<PutOutcome> PutIfAbsent(const std::string& key, std::string_view bytes) override {
    RETURN_NOT_OK(CheckKey(key));
    return PutConditionally(key, bytes, false);
  }

  Status Put(const std::string& key, std::string_view bytes) override {
    RETURN_NOT_OK(CheckKey(key));
    ASSIGN_OR_RETURN(const http::ClientReply reply,
                     client_.Send({.kind = RequestKind::kPut, .method = "PUT", .key = prefix_ + key, .body = bytes}));
    return IsSuccess(reply) ? Status::OK() : Unexpected(reply, "put", key);
  }

  Result<std::shared_ptr<Upload>> StartUpload(const std::string& key) override {
    RETURN_NOT_OK(CheckKey(key));
    return MakeS3Upload(client_, senders_, prefix_ + key, shared_from_this());
  }

  Result<std::shared_ptr<arrow::Buffer>> Read(const std::string& key) override {
    RETURN_NOT_OK(CheckKey(key));
    ASSIGN_OR_RETURN(http::ClientReply reply,
                     client_.Send({.kind = RequestKind::kGet, .method = "GET", .key = prefix_ + key}));
    if (reply.status == 404) return NotFound("there is no object {}/{}", uri_, key);
    if (reply.status != 200) return Unexpected(reply, "read", key);
    return arrow::Buffer::FromString(std::move(reply.body));
  }

  Result<std::shared_ptr<arrow::io::RandomAccessFile>> Open(const std::string& key) override {
    RETURN_NOT_OK(CheckKey(key));
    return OpenS3File(client_, prefix_ + key, shared_from_this());
  }

  Result<std::optional<ObjectInfo>> Stat(const std::string& key) override {
    RETURN_NOT_OK(CheckKey(key));
    ASSIGN_OR_RETURN(const http::ClientReply reply,
                     client_.Send({.kind = RequestKind::kHead, .method = "HEAD", .key = prefix_ + key}));
    if (reply.status == 404) return std::nullopt;
    if (reply.status != 200) return Unexpected(reply, "stat", key);
    ObjectInfo info{.key = key, .modified = ModifiedOf(reply.Header("last-modified"))};
    const std::string& length = reply.Header("content-length");
    if (std::from_chars(length.data(), length.data() + length.size(), info.size).ec != std::errc()) {
      return Unexpected(reply, "no size from stat of", key);
    }
    return info;
  }

  Result<std::vector<ObjectInfo>> List(const std::string& prefix, const std::string& start_after) override {
    std::vector<ObjectInfo> found;
    std::string token;
    do {
      ASSIGN_OR_RETURN(token, ListPage(prefix, start_after, token, 1000, found));
    } while (!token.empty());
    // Stores that are spread over nodes have been seen to answer out of order.
    if (!std::is_sorted(found.begin(), found.end(), ByKey)) std::sort(found.begin(), found.end(), ByKey);
    return found;
  }

  Status Delete(const std::string& key) override {
    RETURN_NOT_OK(CheckKey(key));
    ASSIGN_OR_RETURN(const http::ClientReply reply,
                     client_.Send({.kind = RequestKind::kDelete, .method = "DELETE", .key = prefix_ + key}));
    return IsSuccess(reply) || reply.status == 404 ? Status::OK() : Unexpected(reply, "delete", key);
  }

  Status DeleteMany(const std::vector<std::string>& keys) override {
    for (const auto& key : keys) RETURN_NOT_OK(CheckKey(key));
    for (std::size_t begin = 0; begin < keys.size(); begin += kDeletesInOneRequest) {
      RETURN_NOT_OK(DeletePage(keys, begin, std::min(keys.size(), begin + kDeletesInOneRequest)));
    }
    return Status::OK();
  }

  StoreUsage usage() const override { return client_.usage(); }
  int requests_at_once() const override { return kRequestsAtOnce; }
  bool is_far() const override { return true; }
  void Interrupt() override { client_.Interrupt(); }

  /// OpenS3Store's kCreate.
  Status Probe() {
    const std::string key = kProbePrefix + RandomUuid();
    const Status proven = ProveConditionalPut(key);
    const Status deleted = Delete(key);
    if (proven.ok() && !deleted.ok()) {
      spdlog::warn("s3 probe object not deleted uri={} key={} error=\"{}\"", uri_, key, deleted.message());
    }
    if (proven.ok()) DropOldProbes();
    return proven;
  }

  /// OpenS3Store's kRefuse.
  Status FindAnything() {
    std::vector<ObjectInfo> found;
    RETURN_NOT_OK(ListPage("", "", "", 1, found).status());
    return found.empty() ? NotFound("there is nothing at {}", uri_) : Status::OK();
  }

 private:
  static bool ByKey(const ObjectInfo& a, const ObjectInfo& b) { return a.key < b.key; }

  // Those of processes that were killed between their PUTs and the deletion. No vacuum comes by: they may lie above all
  // tables. Whether it succeeds is nothing that a start depends on.
  void DropOldProbes() {
    const auto drop = [this]() -> Status {
      ASSIGN_OR_RETURN(const auto probes, List(kProbePrefix, ""));
      std::vector<std::string> old;
      for (const auto& probe : probes) {
        if (probe.modified < clock_.Now() - kProbeAgeMax) old.push_back(probe.key);
      }
      return old.empty() ? Status::OK() : DeleteMany(old);
    };
    const Status dropped = drop();
    if (!dropped.ok()) spdlog::debug("s3 old probes left uri={} error=\"{}\"", uri_, dropped.message());
  }

  // The object is there before the conditional PUT, so whatever becomes of a try, the next one has the same answer.
  Status ProveConditionalPut(const std::string& key) {
    constexpr std::string_view kText = "Millrace tries whether this store refuses a second put. Safe to delete.\n";
    RETURN_NOT_OK(Put(key, kText));
    ASSIGN_OR_RETURN(const PutOutcome second, PutConditionally(key, kText, true));
    if (second == PutOutcome::kExists) return Status::OK();
    return Unsupported(
        "the store at {} ignores If-None-Match: a second put of the same key replaced the first. Commits would "
        "overwrite "
        "each other; Millrace needs a store with conditional writes",
        uri_);
  }

  Result<PutOutcome> PutConditionally(const std::string& key, std::string_view bytes, bool repeatable) {
    auto reply = client_.Send({.kind = RequestKind::kPut,
                               .method = "PUT",
                               .key = prefix_ + key,
                               .headers = {{"if-none-match", "*"}},
                               .body = bytes,
                               .repeatable = repeatable});
    if (!reply.ok()) {
      if (KindOf(reply.status()) != ErrorKind::kUnsupported) return reply.status();
      return Unsupported("the store at {} cannot put an object only if it is absent (If-None-Match): {}", uri_,
                         reply.status().message());
    }
    if (IsSuccess(*reply)) return PutOutcome::kCreated;
    // MinIO of before 2024 said "not modified" to the loser.
    if (reply->status == 412 || reply->status == 304) return PutOutcome::kExists;
    return UnknownOutcome("put {}/{}: HTTP {} {}", uri_, key, reply->status, reply->body.substr(0, 300));
  }

  // Appends a page; the token for the next one, "" after the last.
  Result<std::string> ListPage(const std::string& prefix, const std::string& start_after, const std::string& token,
                               int keys_max, std::vector<ObjectInfo>& found) {
    NameValues query = {{"list-type", "2"},
                        {"encoding-type", "url"},
                        {"prefix", prefix_ + prefix},
                        {"max-keys", std::to_string(keys_max)}};
    if (!start_after.empty()) query.emplace_back("start-after", prefix_ + start_after);
    if (!token.empty()) query.emplace_back("continuation-token", token);
    ASSIGN_OR_RETURN(const http::ClientReply reply,
                     client_.Send({.kind = RequestKind::kList, .method = "GET", .query = std::move(query)}));
    if (reply.status != 200) return Unexpected(reply, "list", prefix);
    ASSIGN_OR_RETURN(const XmlElement document, ParseXml(reply.body));
    const bool encoded = document.TextOf("EncodingType") == "url";
    for (const auto& element : document.children) {
      if (element.name != "Contents") continue;
      ObjectInfo info{.key = element.TextOf("Key")};
      if (encoded) {
        // URL-encoded, because XML cannot hold every character.
        auto key = FormDecode(info.key);
        if (!key.ok()) return Corrupt("a listed key is not URL-encoded: {}", info.key);
        info.key = *std::move(key);
      }
      if (!info.key.starts_with(prefix_)) {
        return Corrupt("listing {}: the store answers with the key '{}' of elsewhere", uri_, info.key);
      }
      info.key.erase(0, prefix_.size());
      const std::string size = element.TextOf("Size");
      const std::string modified = element.TextOf("LastModified");
      bool has_zone = false;
      if (std::from_chars(size.data(), size.data() + size.size(), info.size).ec != std::errc() ||
          !arrow::internal::ParseTimestampISO8601(modified.data(), modified.size(), arrow::TimeUnit::MICRO,
                                                  &info.modified, &has_zone)) {
        return Corrupt("listing {}: '{}' has the size '{}' and the time '{}'", uri_, info.key, size, modified);
      }
      // Some stores show folders as empty objects whose keys end with '/'.
      if (info.key.empty() || info.key.ends_with('/') || (!start_after.empty() && info.key <= start_after)) continue;
      found.push_back(std::move(info));
    }
    if (document.TextOf("IsTruncated") != "true") return std::string();
    std::string next = document.TextOf("NextContinuationToken");
    if (next.empty() || next == token) return Corrupt("listing {}: the store does not say how to go on", uri_);
    return next;
  }

  Status DeletePage(const std::vector<std::string>& keys, std::size_t begin, std::size_t end) {
    std::string body = "<Delete><Quiet>true</Quiet>";
    for (std::size_t i = begin; i < end; ++i) {
      body += "<Object><Key>" + EscapeXml(prefix_ + keys[i]) + "</Key></Object>";
    }
    body += "</Delete>";
    const auto reply = client_.Send({.kind = RequestKind::kDelete,
                                     .method = "POST",
                                     .query = {{"delete", ""}},
                                     .headers = {{"content-md5", Md5Base64(body)}},
                                     .body = body});
    if (!reply.ok() && KindOf(reply.status()) == ErrorKind::kUnsupported) {
      for (std::size_t i = begin; i < end; ++i) RETURN_NOT_OK(Delete(keys[i]));
      return Status::OK();
    }
    RETURN_NOT_OK(reply.status());
    if (!IsSuccess(*reply)) return Unexpected(*reply, "delete from", uri_);
    ASSIGN_OR_RETURN(const XmlElement document, ParseXml(reply->body));
    for (const auto& element : document.children) {
      if (element.name != "Error" || element.TextOf("Code") == "NoSuchKey") continue;
      return Transient("delete {}: {}: {}", element.TextOf("Key"), element.TextOf("Code"), element.TextOf("Message"));
    }
    return Status::OK();
  }

  const std::string prefix_;  // "" or with the slash at its end.
  const std::string uri_;
  const Clock& clock_;
  S3Client client_;
  PartSenders senders_;  // After client_: its threads use it and end first.
};

}  // namespace

Result<std::shared_ptr<ObjectStore>> OpenS3Store(const std::string& bucket, const std::string& prefix,
                                                 IfMissing if_missing, const S3Settings& settings,
                                                 const S3Options& options) {
  ASSIGN_OR_RETURN(S3Target target, ResolveTarget(bucket, settings, options.environment));
  std::string folder = prefix;
  while (folder.ends_with('/')) folder.pop_back();
  if (!folder.empty()) {
    RETURN_NOT_OK(CheckKey(folder));
    folder += '/';
  }
  S3Options bounded = options;
  bounded.retry.give_up_after = std::min(options.retry.give_up_after, settings.give_up_after);
  const auto store = std::make_shared<S3Store>(std::move(target), std::move(folder), bounded);
  RETURN_NOT_OK(if_missing == IfMissing::kRefuse ? store->FindAnything() : store->Probe());
  return store;
}

}  // namespace millrace::objectstore::s3
