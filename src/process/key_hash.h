/// 128-bit hashes of rows' keys: what stands for a key where millions of them are remembered.
///
/// SipHash-2-4 under a secret that is drawn at random: nobody can make keys that collide on purpose. By chance, among n
/// remembered keys and m rows, two different keys are taken for one with a probability of about n * m / 2^128; 10^8 and
/// 10^12 give 3 * 10^-19.
#pragma once

#include <arrow/record_batch.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::process {

struct KeyHash {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  bool operator==(const KeyHash&) const = default;
};

/// SipHash-2-4 with 128 bits of output. `secret`: its key, of 128 bits.
KeyHash SipHash(std::string_view bytes, const KeyHash& secret);

/// Keys are made of texts, bytes, numbers, booleans, dates and times; not of what is nested.
bool CanBeKey(const arrow::DataType& type);

/// One thread at a time.
class KeyHasher {
 public:
  /// `columns`: of the batches, one at least, each of a type that CanBeKey(). The secret is drawn anew.
  explicit KeyHasher(std::vector<int> columns);
  /// Of hashes that are to be compared with those of an earlier hasher.
  KeyHasher(std::vector<int> columns, const KeyHash& secret) : columns_(std::move(columns)), secret_(secret) {}

  const KeyHash& secret() const { return secret_; }

  /// Of each row. `has_key` is 0 where a column of the key is null. Both are overwritten. Equal values give equal
  /// hashes: 0.0 and -0.0 are one value, and so are all NaN.
  void Hash(const arrow::RecordBatch& rows, std::vector<KeyHash>& hashes, std::vector<std::uint8_t>& has_key);

 private:
  std::vector<int> columns_;
  KeyHash secret_;
  std::string bytes_;  // Of one row's key.
};

}  // namespace millrace::process
