/// Keys with their times that are not remembered in memory any more: an immutable file in the order of keys, and a
/// filter in memory, so that the usual question, about a key that never came, reads nothing from the disk.
///
/// The file: pages of 4 KiB with up to 170 keys each and a checksum; the highest word of each page's first key; the
/// filter; a footer. The filter is a Bloom filter in blocks of a cache line, 16 bits a key: one key in about a thousand
/// that is not there is looked for on the disk, a page at a time. In memory a key takes 2.1 bytes, on the disk 26.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "process/key_hash.h"
#include "process/local_file.h"
#include "process/seen_keys.h"

namespace millrace::process {

/// A value; one thread at a time. No descriptor is kept open.
class KeyRun {
 public:
  /// `seed`: what was given when the file was written, so that another file under this name is found out. Checks all
  /// that is kept in memory. kNotFound; kCorrupt: it is not whole, or another; kTransient: the disk.
  static Result<KeyRun> Open(std::filesystem::path path, std::uint64_t seed);

  /// May say that the key is here when it is not; never the other way round.
  bool MayHold(const KeyHash& key) const {
    const FilterBlock& block = filter_[BlockOf(key)];
    std::uint64_t bits = key.high;
    for (int i = 0; i < kFilterBits; ++i, bits >>= 9) {
      if ((block[(bits >> 6) & 7] >> (bits & 63) & 1) == 0) return false;
    }
    return true;
  }
  void Prefetch(const KeyHash& key) const { __builtin_prefetch(&filter_[BlockOf(key)]); }
  /// Whether the key is here with a time from `from` to `to`, by the disk. kCorrupt, kTransient, kNotFound.
  Result<bool> Holds(const KeyHash& key, UnixMicros from, UnixMicros to) const;

  UnixMicros latest() const { return latest_; }  ///< Of the times.
  std::int64_t num_keys() const { return num_keys_; }
  std::int64_t memory_bytes() const;
  std::int64_t file_bytes() const { return file_bytes_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  friend class KeyRunWriter;
  using FilterBlock = std::array<std::uint64_t, 8>;
  static constexpr int kFilterBits = 7;  // Of 512, for each key.

  std::size_t BlockOf(const KeyHash& key) const {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::size_t>(static_cast<Wide>(key.low) * filter_.size() >> 64);
  }

  std::filesystem::path path_;
  std::uint64_t seed_ = 0;
  std::int64_t num_keys_ = 0;
  std::int64_t file_bytes_ = 0;
  UnixMicros latest_ = INT64_MIN;
  std::vector<std::uint64_t> first_keys_;  // By page, KeyHash::high.
  std::vector<FilterBlock> filter_;        // One at least.
};

/// Writes a run. After an error the file is of no use.
class KeyRunWriter {
 public:
  /// `num_keys_max`: the filter is made for so many, more would only make it less sharp.
  static Result<KeyRunWriter> Make(std::filesystem::path path, std::uint64_t seed, std::int64_t num_keys_max);
  /// What a run of so many keys takes on the disk, at most.
  static std::int64_t FileBytes(std::int64_t num_keys);

  /// In the order of keys and then times, over all calls.
  Status Add(std::span<const SeenKey> keys);
  /// The file is whole when this returns; its name is `path` then, and is not there before.
  Result<KeyRun> Finish();

 private:
  KeyRunWriter() = default;
  Status EndPage();

  LocalFile file_;
  KeyRun run_;
  std::vector<SeenKey> page_;
  std::string pending_;  // Pages that are not written yet.
};

}  // namespace millrace::process
