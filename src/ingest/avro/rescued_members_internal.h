/// The text of `_rescued` under construction, of a record's fields that no column takes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::ingest::avro {

/// Objects appear with their first member. Keys come with quotes and colon, and live until the record's end.
class RescuedMembers {
 public:
  void Begin() {
    text_.clear();
    open_.assign(1, {});
  }
  void Open(std::string_view key) { open_.push_back({key, false}); }
  void Close() {
    if (open_.back().is_written) text_ += '}';
    open_.pop_back();
  }
  /// The value is to be appended to text().
  void Key(std::string_view key) {
    for (std::size_t i = 0; i < open_.size(); ++i) {
      if (open_[i].is_written) continue;
      if (i > 0) Separate(open_[i].key);
      text_ += '{';
      open_[i].is_written = true;
    }
    Separate(key);
  }
  std::string& text() { return text_; }
  /// Empty: nothing was rescued.
  std::string_view End() {
    if (open_.front().is_written) text_ += '}';
    return text_;
  }

 private:
  void Separate(std::string_view key) {
    if (text_.back() != '{') text_ += ',';
    text_ += key;
  }

  struct Object {
    std::string_view key;  // Empty: the root.
    bool is_written = false;
  };
  std::vector<Object> open_;
  std::string text_;
};

}  // namespace millrace::ingest::avro
