/// Values as bytes, one after the other, as this machine has them in memory: for files that it alone reads again.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

namespace millrace::process {

template <typename Value>
void PutValue(std::string& bytes, const Value& value) {
  static_assert(std::is_trivially_copyable_v<Value>);
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// With its length before it.
inline void PutText(std::string& bytes, std::string_view text) {
  PutValue(bytes, std::uint64_t{text.size()});
  bytes.append(text);
}

/// Takes values in the order in which they were put. Past the end of the bytes they are zero, and ok() is false.
class PackedReader {
 public:
  explicit PackedReader(std::string_view bytes) : bytes_(bytes) {}

  template <typename Value>
  Value Take() {
    static_assert(std::is_trivially_copyable_v<Value>);
    Value value = {};
    const std::string_view taken = TakeBytes(sizeof value);
    if (!taken.empty()) std::memcpy(&value, taken.data(), sizeof value);
    return value;
  }
  std::string_view TakeText() { return TakeBytes(Take<std::uint64_t>()); }
  std::string_view TakeBytes(std::uint64_t size) {
    ok_ = ok_ && size <= bytes_.size();
    if (!ok_) return {};
    const auto taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }

  std::string_view left() const { return bytes_; }
  bool ok() const { return ok_; }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

}  // namespace millrace::process
