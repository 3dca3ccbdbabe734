/// What a response carries, in pieces: a large one never lies in one place, and each piece is freed once it is sent.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace millrace::http {

/// A value; one thread at a time.
class Body {
 public:
  Body() = default;
  /// Most bodies are one text.
  Body(std::string text) { Append(std::move(text)); }
  Body(const char* text) : Body(std::string(text)) {}

  void Append(std::string piece) {
    bytes_ += piece.size();
    if (!piece.empty()) pieces_.push_back(std::move(piece));
  }

  std::size_t bytes() const { return bytes_; }
  /// None is empty.
  const std::vector<std::string>& pieces() const { return pieces_; }
  std::vector<std::string> TakePieces() && { return std::move(pieces_); }
  /// All pieces in one.
  std::string Text() const {
    std::string text;
    text.reserve(bytes_);
    for (const auto& piece : pieces_) text += piece;
    return text;
  }

 private:
  std::vector<std::string> pieces_;
  std::size_t bytes_ = 0;
};

}  // namespace millrace::http
