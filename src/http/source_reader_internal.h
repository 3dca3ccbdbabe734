/// Takes the chunks of a BodySource into a coroutine of the I/O thread, from whichever thread they come.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <stop_token>

#include "http/body.h"

namespace millrace::http {

/// Everything on the I/O thread, where it is made and destroyed, too.
class SourceReader {
 public:
  SourceReader(boost::asio::io_context& io, std::unique_ptr<BodySource> source);
  /// What the source gives from now on is dropped, even when the I/O context is gone.
  ~SourceReader();

  /// What the source gives next; kTransient if that is nothing within `timeout`; kCancelled once `stop` has been
  /// requested, on this thread; kInternal if it throws. After an end or an error, not to be called again.
  boost::asio::awaitable<Chunk> Next(std::chrono::milliseconds timeout, std::stop_token stop);

 private:
  struct Mailbox;

  boost::asio::steady_timer changed_;  // Expires at the timeout, cancelled when there is a chunk or a stop.
  const std::shared_ptr<Mailbox> mailbox_;
  const std::unique_ptr<BodySource> source_;
};

}  // namespace millrace::http
