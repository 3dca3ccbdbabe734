#include "objectstore/s3/s3_file.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "objectstore/s3/s3_client.h"

namespace millrace::objectstore::s3 {
namespace {

constexpr std::int64_t kTailBytes = 64 << 10;

std::optional<std::int64_t> ParseSize(std::string_view text) {
  std::int64_t size = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || size < 0) return std::nullopt;
  return size;
}

class S3File final : public arrow::io::RandomAccessFile {
 public:
  S3File(S3Client& client, std::string key, std::string etag, std::int64_t size, std::string tail,
         std::shared_ptr<const void> owner)
      : owner_(std::move(owner)),
        client_(client),
        key_(std::move(key)),
        etag_(std::move(etag)),
        size_(size),
        tail_(arrow::Buffer::FromString(std::move(tail))) {
    set_mode(arrow::io::FileMode::READ);
  }

  Result<std::int64_t> GetSize() override { return size_; }
  Status Close() override {
    closed_ = true;
    return Status::OK();
  }
  bool closed() const override { return closed_; }

  Result<std::shared_ptr<arrow::Buffer>> ReadAt(std::int64_t position, std::int64_t size) override {
    if (position < 0 || size < 0) return InvalidInput("read of {} bytes at {} of {}", size, position, key_);
    const std::int64_t end = std::min(size_, position + size);
    if (position >= end) return arrow::Buffer::FromString("");
    const std::int64_t tail_begin = size_ - tail_->size();
    if (position >= tail_begin) return arrow::SliceBuffer(tail_, position - tail_begin, end - position);
    NameValues headers = {{"range", fmt::format("bytes={}-{}", position, end - 1)}};
    if (!etag_.empty()) headers.emplace_back("if-match", etag_);
    ASSIGN_OR_RETURN(
        http::ClientReply reply,
        client_.Send({.kind = RequestKind::kGet, .method = "GET", .key = key_, .headers = std::move(headers)}));
    if (reply.status == 404) return NotFound("{} is gone: it was deleted after it was opened", key_);
    if (reply.status == 412) return Transient("{} was replaced while it was read", key_);
    if (reply.status != 206 || std::ssize(reply.body) != end - position) {
      return Transient("reading bytes {} to {} of {}: HTTP {} with {} bytes", position, end, key_, reply.status,
                       reply.body.size());
    }
    return arrow::Buffer::FromString(std::move(reply.body));
  }

  Result<std::int64_t> ReadAt(std::int64_t position, std::int64_t size, void* out) override {
    ASSIGN_OR_RETURN(const auto buffer, ReadAt(position, size));
    if (buffer->size() > 0) std::memcpy(out, buffer->data(), static_cast<std::size_t>(buffer->size()));
    return buffer->size();
  }

  // The stream's position: for one thread, as Arrow says.
  Result<std::int64_t> Tell() const override { return position_; }
  Status Seek(std::int64_t position) override {
    if (position < 0 || position > size_) return InvalidInput("seek to {} in {} of {} bytes", position, key_, size_);
    position_ = position;
    return Status::OK();
  }
  Result<std::int64_t> Read(std::int64_t size, void* out) override {
    ASSIGN_OR_RETURN(const auto n, ReadAt(position_, size, out));
    position_ += n;
    return n;
  }
  Result<std::shared_ptr<arrow::Buffer>> Read(std::int64_t size) override {
    ASSIGN_OR_RETURN(auto buffer, ReadAt(position_, size));
    position_ += buffer->size();
    return buffer;
  }

 private:
  const std::shared_ptr<const void> owner_;
  S3Client& client_;
  const std::string key_;
  const std::string etag_;
  const std::int64_t size_;
  const std::shared_ptr<arrow::Buffer> tail_;
  std::int64_t position_ = 0;
  bool closed_ = false;
};

}  // namespace

Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenS3File(S3Client& client, const std::string& key,
                                                                std::shared_ptr<const void> owner) {
  ASSIGN_OR_RETURN(http::ClientReply reply,
                   client.Send({.kind = RequestKind::kGet,
                                .method = "GET",
                                .key = key,
                                .headers = {{"range", fmt::format("bytes=-{}", kTailBytes)}}}));
  if (reply.status == 404) return NotFound("there is no object {} in bucket {}", key, client.target().bucket);
  std::optional<std::int64_t> size;
  if (reply.status == 206) {
    // "bytes 100-199/200"
    const std::string& range = reply.Header("content-range");
    const auto slash = range.find('/');
    if (slash != std::string::npos) size = ParseSize(std::string_view(range).substr(slash + 1));
  } else if (reply.status == 200) {
    size = std::ssize(reply.body);
  } else if (reply.status == 416) {
    // An empty object has no last bytes.
    size = 0;
    reply.body.clear();
  }
  if (!size || std::ssize(reply.body) > *size) {
    return Transient("opening {}: HTTP {} with the content range '{}'", key, reply.status,
                     reply.Header("content-range"));
  }
  return std::make_shared<S3File>(client, key, reply.Header("etag"), *size, std::move(reply.body), std::move(owner));
}

}  // namespace millrace::objectstore::s3
