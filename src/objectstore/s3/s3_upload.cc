#include "objectstore/s3/s3_upload.h"

#include <map>
#include <optional>
#include <utility>

#include "base/kill_point.h"
#include "base/log.h"
#include "objectstore/s3/s3_client.h"
#include "objectstore/s3/xml.h"

namespace millrace::objectstore::s3 {
namespace {

// One multipart upload, shared by its stream and the parts on their way.
class Multipart : public std::enable_shared_from_this<Multipart> {
 public:
  Multipart(S3Client& client, PartSenders& senders, std::string key)
      : client_(client), senders_(senders), key_(std::move(key)) {}

  // Waits while too many parts are on their way. An error may be that of an earlier part.
  Status SendPart(std::string bytes) {
    int number = 0;
    {
      const std::lock_guard lock(mutex_);
      RETURN_NOT_OK(error_);
      if (started_ == kPartsMax) {
        return InvalidInput("{} is larger than {} parts of {} bytes", key_, kPartsMax, kPartBytes);
      }
      number = ++started_;
      ++under_way_;
      bytes_under_way_ += static_cast<std::int64_t>(bytes.size());
    }
    senders_.Submit([self = shared_from_this(), number, part = std::move(bytes)] { self->RunPart(number, part); });
    return Status::OK();
  }

  Status Complete(std::int64_t size) {
    std::string parts = "<CompleteMultipartUpload>";
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return under_way_ == 0; });
      RETURN_NOT_OK(error_);
      for (const auto& [number, etag] : etags_) {
        parts += fmt::format("<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>", number, etag);
      }
    }
    parts += "</CompleteMultipartUpload>";
    ASSIGN_OR_RETURN(const http::ClientReply reply, client_.Send({.kind = RequestKind::kMultipartEnd,
                                                                  .method = "POST",
                                                                  .key = key_,
                                                                  .query = {{"uploadId", id_}},
                                                                  .body = parts}));
    // S3 may find out that it failed after it has begun to answer 200.
    const auto document = ParseXml(reply.body);
    if (IsSuccess(reply) && document.ok() && document->name == "CompleteMultipartUploadResult") return Status::OK();
    // No such upload: an earlier try, whose reply was lost, has completed it; or it was aborted by a rule of the
    // bucket.
    ASSIGN_OR_RETURN(const http::ClientReply head,
                     client_.Send({.kind = RequestKind::kHead, .method = "HEAD", .key = key_}));
    if (IsSuccess(head) && head.Header("content-length") == std::to_string(size)) return Status::OK();
    return Unexpected(reply, "completing the upload of", key_);
  }

  // The parts that arrived are deleted, once none is on its way. Does not wait.
  void Abandon() {
    {
      const std::lock_guard lock(mutex_);
      abandoned_ = true;
      if (under_way_ > 0) return;
    }
    senders_.Submit([self = shared_from_this()] { self->Abort(); });
  }

  std::int64_t bytes_under_way() const {
    const std::lock_guard lock(mutex_);
    return bytes_under_way_;
  }

 private:
  void RunPart(int number, const std::string& bytes) {
    bool wanted = true;
    {
      const std::lock_guard lock(mutex_);
      wanted = error_.ok() && !abandoned_;
    }
    Result<std::string> etag = wanted ? PutPart(number, bytes) : Result<std::string>(Cancelled("not needed any more"));
    bool abort = false;
    {
      const std::lock_guard lock(mutex_);
      if (etag.ok()) {
        etags_[number] = *etag;
      } else if (error_.ok()) {
        error_ = etag.status();
      }
      --under_way_;
      bytes_under_way_ -= static_cast<std::int64_t>(bytes.size());
      abort = abandoned_ && under_way_ == 0;
      changed_.notify_all();
    }
    if (abort) Abort();
  }

  // The first part's sender starts the upload, so that a writer waits for nothing but room.
  Status EnsureStarted() {
    const std::lock_guard lock(start_mutex_);
    if (!id_.empty()) return Status::OK();
    ASSIGN_OR_RETURN(
        const http::ClientReply reply,
        client_.Send(
            {.kind = RequestKind::kMultipartStart, .method = "POST", .key = key_, .query = {{"uploads", ""}}}));
    if (!IsSuccess(reply)) return Unexpected(reply, "starting the upload of", key_);
    ASSIGN_OR_RETURN(const XmlElement document, ParseXml(reply.body));
    id_ = document.TextOf("UploadId");
    if (id_.empty()) return Transient("starting the upload of {}: the reply has no UploadId", key_);
    return Status::OK();
  }

  Result<std::string> PutPart(int number, const std::string& bytes) {
    RETURN_NOT_OK(EnsureStarted());
    ASSIGN_OR_RETURN(const http::ClientReply reply,
                     client_.Send({.kind = RequestKind::kMultipartPart,
                                   .method = "PUT",
                                   .key = key_,
                                   .query = {{"partNumber", std::to_string(number)}, {"uploadId", id_}},
                                   .body = bytes}));
    if (!IsSuccess(reply)) return Unexpected(reply, fmt::format("uploading part {} of", number), key_);
    const std::string& etag = reply.Header("etag");
    if (etag.empty()) return Transient("uploading part {} of {}: the reply has no ETag", number, key_);
    return etag;
  }

  void Abort() {
    if (id_.empty()) return;
    const auto reply =
        client_.Send({.kind = RequestKind::kDelete, .method = "DELETE", .key = key_, .query = {{"uploadId", id_}}});
    if (!reply.ok()) {
      spdlog::debug("s3 upload not aborted, its parts stay until a rule of the bucket removes them key={} error=\"{}\"",
                    key_, reply.status().message());
    }
  }

  S3Client& client_;
  PartSenders& senders_;
  const std::string key_;
  std::mutex start_mutex_;
  std::string id_;  // Constant once set, under start_mutex_; read after a part that was sent.

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, std::string> etags_;
  Status error_;
  int started_ = 0;
  int under_way_ = 0;
  std::int64_t bytes_under_way_ = 0;
  bool abandoned_ = false;
};

class S3Upload final : public Upload {
 public:
  S3Upload(S3Client& client, PartSenders& senders, std::string key, std::shared_ptr<const void> owner)
      : owner_(std::move(owner)), client_(client), senders_(senders), key_(std::move(key)) {}
  ~S3Upload() override { static_cast<void>(Abort()); }

  Status Write(const void* data, std::int64_t size) override {
    if (closed_) return InvalidInput("write to a finished upload");
    std::string_view rest(static_cast<const char*>(data), static_cast<std::size_t>(size));
    while (!rest.empty()) {
      const auto room = static_cast<std::size_t>(kPartBytes) - buffer_.size();
      const std::string_view piece = rest.substr(0, room);
      buffer_ += piece;
      rest.remove_prefix(piece.size());
      // A part goes out once more is to come: the last one is Finish()'s, and may be the only one.
      if (std::ssize(buffer_) == kPartBytes && !rest.empty()) RETURN_NOT_OK(SendBuffer());
    }
    position_ += size;
    KillPoint("upload.mid");
    return Status::OK();
  }
  Result<std::int64_t> Tell() const override { return position_; }
  bool closed() const override { return closed_; }
  std::int64_t buffered_bytes() const override {
    return std::ssize(buffer_) + (multipart_ == nullptr ? 0 : multipart_->bytes_under_way());
  }

  Status Finish() override {
    if (closed_) return InvalidInput("upload is finished already");
    closed_ = true;
    const Status done = multipart_ == nullptr ? PutAll() : CompleteAll();
    if (done.ok()) {
      multipart_.reset();
    } else {
      static_cast<void>(Abort());
    }
    buffer_ = {};
    RETURN_NOT_OK(done);
    KillPoint("upload.finished");
    return Status::OK();
  }
  // An Arrow writer may close its sink: the bytes stay, Finish() decides.
  Status Close() override { return Status::OK(); }
  Status Abort() override {
    closed_ = true;
    if (multipart_ != nullptr) multipart_->Abandon();
    multipart_.reset();
    return Status::OK();
  }

 private:
  Status SendBuffer() {
    if (multipart_ == nullptr) multipart_ = std::make_shared<Multipart>(client_, senders_, key_);
    return multipart_->SendPart(std::exchange(buffer_, {}));
  }

  Status PutAll() {
    ASSIGN_OR_RETURN(const http::ClientReply reply,
                     client_.Send({.kind = RequestKind::kPut, .method = "PUT", .key = key_, .body = buffer_}));
    return IsSuccess(reply) ? Status::OK() : Unexpected(reply, "uploading", key_);
  }

  Status CompleteAll() {
    if (!buffer_.empty()) RETURN_NOT_OK(SendBuffer());
    return multipart_->Complete(position_);
  }

  const std::shared_ptr<const void> owner_;
  S3Client& client_;
  PartSenders& senders_;
  const std::string key_;
  std::string buffer_;
  std::shared_ptr<Multipart> multipart_;  // Once there is more than one part.
  std::int64_t position_ = 0;
  bool closed_ = false;
};

}  // namespace

PartSenders::~PartSenders() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  for (auto& thread : threads_) thread.join();
}

void PartSenders::Submit(std::function<void()> task) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return unfinished_ < kTasksMax; });
  ++unfinished_;
  tasks_.push_back(std::move(task));
  if (threads_.size() < kThreads && static_cast<int>(threads_.size()) < unfinished_) {
    threads_.emplace_back([this] { Run(); });
  }
  changed_.notify_all();
}

void PartSenders::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    task = nullptr;  // Frees the part before the next writer may bring another.
    lock.lock();
    --unfinished_;
    changed_.notify_all();
  }
}

std::shared_ptr<Upload> MakeS3Upload(S3Client& client, PartSenders& senders, std::string key,
                                     std::shared_ptr<const void> owner) {
  return std::make_shared<S3Upload>(client, senders, std::move(key), std::move(owner));
}

}  // namespace millrace::objectstore::s3
