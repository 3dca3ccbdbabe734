#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <mutex>
#include <optional>
#include <utility>

#include "http/source_reader_internal.h"

namespace millrace::http {

namespace asio = boost::asio;

// Outlives the reader as long as somebody holds a `take`.
struct SourceReader::Mailbox : std::enable_shared_from_this<Mailbox> {
  Mailbox(asio::io_context& context, SourceReader* taker) : io(&context), reader(taker) {}

  // Any thread.
  void Put(std::uint64_t asked, Chunk given) {
    const std::scoped_lock lock(mutex);
    if (io == nullptr || asked != round || chunk) return;
    chunk = std::move(given);
    asio::post(*io, [self = shared_from_this()] {
      if (self->reader != nullptr) self->reader->changed_.cancel();
    });
  }

  std::uint64_t Ask() {
    const std::scoped_lock lock(mutex);
    return ++round;
  }

  std::optional<Chunk> Take() {
    const std::scoped_lock lock(mutex);
    return std::exchange(chunk, std::nullopt);
  }

  void Close() {
    const std::scoped_lock lock(mutex);
    io = nullptr;
    reader = nullptr;
  }

  std::mutex mutex;
  asio::io_context* io;        // Guarded by mutex; null: there is no reader any more.
  std::uint64_t round = 0;     // Guarded by mutex; how often was asked.
  std::optional<Chunk> chunk;  // Guarded by mutex.
  SourceReader* reader;        // Of the I/O thread.
};

SourceReader::SourceReader(asio::io_context& io, std::unique_ptr<BodySource> source)
    : changed_(io), mailbox_(std::make_shared<Mailbox>(io, this)), source_(std::move(source)) {}

SourceReader::~SourceReader() { mailbox_->Close(); }

asio::awaitable<Chunk> SourceReader::Next(std::chrono::milliseconds timeout, std::stop_token stop) {
  changed_.expires_after(timeout);
  const auto take = [mailbox = mailbox_, asked = mailbox_->Ask()](Chunk chunk) {
    mailbox->Put(asked, std::move(chunk));
  };
  try {
    source_->Next(take);
  } catch (const std::exception& e) {
    take(Internal("{}", e.what()));
  }
  const std::stop_callback on_stop(stop, [this] { changed_.cancel(); });
  for (;;) {
    std::optional<Chunk> chunk = mailbox_->Take();
    if (chunk) co_return *std::move(chunk);
    if (stop.stop_requested()) co_return Cancelled("nobody takes the body any more");
    if (changed_.expiry() <= std::chrono::steady_clock::now()) {
      co_return Transient("the body's source has given nothing for {} ms", timeout.count());
    }
    co_await changed_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

}  // namespace millrace::http
