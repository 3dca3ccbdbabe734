#include "mqtt/connection.h"

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

namespace millrace::mqtt {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::size_t kReadBytes = 16 << 10;
// Of each connection, that the allowance of all does not count: a CONNECT with a token.
constexpr std::size_t kFreeBytes = 4 << 10;
// Answers of a few bytes each: who does not take so many of them does not read at all.
constexpr std::size_t kOutputBytesMax = 1 << 20;

Packet WithoutReason(Packet packet) {
  std::visit(
      [](auto& any) {
        if constexpr (requires { any.properties; }) {
          std::erase_if(any.properties, [](const Property& one) { return one.id == PropertyId::kReasonString; });
        }
      },
      packet);
  return packet;
}

}  // namespace

Connection::Connection(std::unique_ptr<http::Transport> transport, std::size_t packet_bytes_max, Allowance* allowance)
    : transport_(std::move(transport)),
      packet_bytes_max_(packet_bytes_max),
      allowance_(allowance),
      read_watchdog_(*transport_),
      written_(transport_->socket().get_executor(), std::chrono::steady_clock::time_point::max()),
      write_deadline_(transport_->socket().get_executor()) {}

Connection::~Connection() { HoldAsMuchAs(0); }

void Connection::HoldAsMuchAs(std::size_t bytes) {
  if (allowance_ != nullptr) allowance_->used += bytes - counted_;
  counted_ = bytes;
}

bool Connection::HasPacket() const {
  const auto left = std::string_view(input_).substr(taken_);
  const auto size = PacketBytes(left, packet_bytes_max_);
  return !size.ok() || (*size && **size <= left.size());
}

asio::awaitable<Result<Packet>> Connection::Read(std::optional<std::chrono::milliseconds> timeout) {
  const auto self = shared_from_this();
  bool has_deadline = false;
  bool has_begun = false;
  for (;;) {
    if (is_reading_ended_ || is_closed_) {
      read_watchdog_.Stop();
      co_return Cancelled("no more is read");
    }
    const auto left = std::string_view(input_).substr(taken_);
    auto size = PacketBytes(left, packet_bytes_max_);
    if (!size.ok()) {
      read_watchdog_.Stop();
      co_return size.status();
    }
    if (*size && **size <= left.size()) {
      auto packet = ReadPacket(left.substr(0, **size), version_);
      taken_ += **size;
      read_watchdog_.Stop();
      co_return packet;
    }
    if (!left.empty() && !has_begun) {
      read_watchdog_.Start(std::min(timeout.value_or(kPacketTimeout), kPacketTimeout), self);
      has_begun = has_deadline = true;
    } else if (timeout && !has_deadline) {
      read_watchdog_.Start(*timeout, self);
      has_deadline = true;
    }
    is_waiting_ = true;
    Status more = co_await ReadMore();
    is_waiting_ = false;
    if (has_deadline && read_watchdog_.expired()) more = Transient("nothing, or no whole packet, came in time");
    if (is_reading_ended_) continue;
    if (!more.ok()) {
      read_watchdog_.Stop();
      co_return more;
    }
  }
}

// Somewhat more than the packet that has begun needs at most.
asio::awaitable<Status> Connection::ReadMore() {
  input_.erase(0, std::exchange(taken_, 0));
  if (input_.empty()) {
    // An idle connection has no buffer.
    std::string().swap(input_);
    HoldAsMuchAs(0);
    const error_code error = co_await transport_->WaitForBytes();
    if (error) co_return Cancelled("the connection has ended: {}", error.message());
    if (ReadNow()) co_return Status::OK();
  }
  std::size_t room = kReadBytes;
  const auto size = PacketBytes(input_, packet_bytes_max_);
  if (size.ok() && *size && **size > input_.size() + room)
    room = std::min(**size - input_.size(), input_.size() + room);
  const std::size_t before = input_.size();
  HoldAsMuchAs(before + room);
  if (allowance_ != nullptr && allowance_->used > allowance_->bytes_max) {
    // Others with long packets do not keep out who has a short one.
    HoldAsMuchAs(0);
    if (before >= kFreeBytes) co_return Transient("as much is being read from all as may be");
    room = kFreeBytes - before;
  }
  input_.resize(before + room);
  const auto read = co_await transport_->ReadSome(asio::buffer(input_.data() + before, room));
  input_.resize(before + read.bytes);
  last_read_ = std::chrono::steady_clock::now();
  if (read.error) co_return Cancelled("the connection has ended: {}", read.error.message());
  co_return Status::OK();
}

bool Connection::ReadNow() {
  const bool is_free = allowance_ == nullptr || allowance_->used + kReadBytes <= allowance_->bytes_max;
  char bytes[kReadBytes];
  const auto read = transport_->ReadNow(asio::buffer(bytes, is_free ? kReadBytes : kFreeBytes));
  if (!read) return false;
  input_.assign(bytes, read->bytes);
  if (is_free) HoldAsMuchAs(read->bytes);
  last_read_ = std::chrono::steady_clock::now();
  return true;
}

void Connection::StopReading() {
  is_reading_ended_ = true;
  // Its end cancels what is being written too, so only where it must be.
  if (is_waiting_) read_watchdog_.Start(std::chrono::milliseconds(0), weak_from_this());
}

Status Connection::Send(const Packet& packet) {
  if (output_.size() > kOutputBytesMax) return TooLarge("what is sent is not taken");
  const std::size_t before = output_.size();
  RETURN_NOT_OK(AppendPacket(packet, version_, output_));
  if (output_.size() - before <= sent_bytes_max_) return Status::OK();
  output_.resize(before);
  RETURN_NOT_OK(AppendPacket(WithoutReason(packet), version_, output_));
  if (output_.size() - before <= sent_bytes_max_) return Status::OK();
  output_.resize(before);
  // Section 3.1.2.11.4: of others it counts as sent. Without this one there is no connection.
  const bool is_answer = std::holds_alternative<Connack>(packet);
  return is_answer ? TooLarge("the client takes no more than {} bytes", sent_bytes_max_) : Status::OK();
}

bool Connection::WriteNow() {
  if (is_writing_ || is_closed_) return true;
  if (output_.empty()) return true;
  const std::array<asio::const_buffer, 1> buffers = {asio::buffer(output_)};
  output_.erase(0, transport_->WriteNow(buffers));
  return output_.empty();
}

asio::awaitable<bool> Connection::Flush() {
  const auto self = shared_from_this();
  while (is_writing_) co_await written_.async_wait(asio::as_tuple(asio::use_awaitable));
  if (WriteNow()) co_return !is_closed_;
  is_writing_ = true;
  while (!output_.empty() && !is_closed_) {
    const std::string bytes = std::exchange(output_, {});
    write_deadline_.expires_after(kWriteTimeout);
    write_deadline_.async_wait([weak = weak_from_this(), round = ++write_round_](error_code) {
      const auto connection = weak.lock();
      if (connection != nullptr && connection->write_round_ == round) connection->Close();
    });
    const std::array<asio::const_buffer, 1> buffers = {asio::buffer(bytes)};
    const error_code error = co_await transport_->Write(buffers);
    ++write_round_;
    write_deadline_.cancel();
    if (error) Close();
  }
  is_writing_ = false;
  written_.cancel();
  co_return !is_closed_;
}

void Connection::Close() {
  is_closed_ = true;
  read_watchdog_.End();
  error_code ignored;
  transport_->socket().close(ignored);
}

}  // namespace millrace::mqtt
