/// What a response carries: pieces that are known whole, or a source that makes chunk after chunk while it is sent.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace millrace::http {

/// What comes next of a body: some bytes; nullopt, its end; or an error, after which there is neither.
using Chunk = Result<std::optional<std::string>>;

/// A body that is made while it is sent: a chunk is asked for when the one before has been written to the socket, so it
/// is made no faster than its client reads. About 64 KiB make a good chunk; an empty one sends nothing.
///
/// A source that has nothing yet keeps `take` until it has, and no thread waits meanwhile. What it must not do is keep
/// silent for longer than ServerOptions::chunk_timeout.
class BodySource {
 public:
  /// On the I/O thread, when the body has been sent or nobody wants it any more: Request::stop has been requested by
  /// then. A `take` that is called later is heard by nobody.
  virtual ~BodySource() = default;

  /// Called on the I/O thread, so it must neither wait nor take more than a moment: a source that does has a thread of
  /// its own. `take` may be called here or later, on any thread, once; until then, and after an end or an error, Next()
  /// is not called. An error cuts the connection, so that the client cannot take what it has for the whole.
  virtual void Next(std::function<void(Chunk)> take) = 0;
};

/// A value; one thread at a time.
class Body {
 public:
  Body() = default;
  /// Most bodies are one text.
  Body(std::string text) { Append(std::move(text)); }
  Body(const char* text) : Body(std::string(text)) {}
  explicit Body(std::unique_ptr<BodySource> source) : source_(std::move(source)) {}

  /// A large body never lies in one place, and each piece is freed once it is sent. Not for a body with a source.
  void Append(std::string piece) {
    bytes_ += piece.size();
    if (!piece.empty()) pieces_.push_back(std::make_shared<const std::string>(std::move(piece)));
  }

  /// Another one of the same pieces, without a copy of them: they are freed with the last. Not of a body with a source.
  Body Share() const {
    Body same;
    same.pieces_ = pieces_;
    same.bytes_ = bytes_;
    return same;
  }

  bool has_source() const { return source_ != nullptr; }
  std::unique_ptr<BodySource> TakeSource() && { return std::move(source_); }

  /// The rest is about the pieces; a body with a source has none.
  std::size_t bytes() const { return bytes_; }
  /// None is empty.
  using Pieces = std::vector<std::shared_ptr<const std::string>>;
  const Pieces& pieces() const { return pieces_; }
  Pieces TakePieces() && { return std::move(pieces_); }
  /// All pieces in one.
  std::string Text() const {
    std::string text;
    text.reserve(bytes_);
    for (const auto& piece : pieces_) text += *piece;
    return text;
  }

 private:
  Pieces pieces_;
  std::size_t bytes_ = 0;
  std::unique_ptr<BodySource> source_;
};

}  // namespace millrace::http
