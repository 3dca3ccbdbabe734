#include "process/key_run.h"

#include <fcntl.h>

#include <algorithm>
#include <cstring>
#include <system_error>
#include <type_traits>
#include <utility>

#include "process/checksum.h"

namespace millrace::process {
namespace {

constexpr std::uint64_t kRunFormat = 0x316e75722e79656b;  // "key.run1"
constexpr std::size_t kPageKeys = 170;
constexpr std::size_t kWrittenAtOnce = 1 << 20;
constexpr std::int64_t kKeysPerBlock = 32;  // 16 of a block's 512 bits each.

struct Page {
  SeenKey keys[kPageKeys];
  std::uint64_t num_keys;
  std::uint64_t sum;  // Of all before it.
};
static_assert(sizeof(Page) == 4096 && std::is_trivially_copyable_v<Page>);

struct Footer {
  std::uint64_t magic;
  std::uint64_t num_keys;
  std::uint64_t num_pages;
  std::uint64_t num_blocks;
  std::int64_t latest;
  std::uint64_t sum_of_index;
  std::uint64_t sum_of_filter;
  std::uint64_t sum;  // Of all before it.
};
static_assert(sizeof(Footer) == 64 && std::is_trivially_copyable_v<Footer>);

template <typename Value>
std::string_view BytesOf(const Value& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

template <typename Value>
std::string_view BytesOf(const std::vector<Value>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Value)};
}

template <typename Value>
std::span<char> RoomOf(std::vector<Value>& values) {
  return {reinterpret_cast<char*>(values.data()), values.size() * sizeof(Value)};
}

std::uint64_t SumOf(const Page& page, std::uint64_t seed, std::size_t number) {
  return Checksum(BytesOf(page).substr(0, offsetof(Page, sum)), seed + number);
}

std::uint64_t SumOf(const Footer& footer, std::uint64_t seed) {
  return Checksum(BytesOf(footer).substr(0, offsetof(Footer, sum)), seed);
}

std::int64_t NumBlocks(std::int64_t num_keys) { return num_keys / kKeysPerBlock + 1; }

std::filesystem::path Unfinished(const std::filesystem::path& path) { return path.string() + ".tmp"; }

}  // namespace

Result<KeyRun> KeyRun::Open(std::filesystem::path path, std::uint64_t seed) {
  ASSIGN_OR_RETURN(const auto file, LocalFile::Open(path, O_RDONLY));
  KeyRun run;
  run.path_ = std::move(path);
  run.seed_ = seed;
  ASSIGN_OR_RETURN(run.file_bytes_, file.Size());
  const auto damaged = [&run] { return Corrupt("{} is not as it was written", run.path_.string()); };
  Footer footer = {};
  const std::int64_t footer_at = run.file_bytes_ - static_cast<std::int64_t>(sizeof footer);
  if (footer_at < 0) return damaged();
  ASSIGN_OR_RETURN(auto read, file.ReadAt(footer_at, {reinterpret_cast<char*>(&footer), sizeof footer}));
  if (read != sizeof footer || footer.magic != kRunFormat || footer.sum != SumOf(footer, seed)) return damaged();
  run.num_keys_ = static_cast<std::int64_t>(footer.num_keys);
  run.latest_ = footer.latest;
  const auto index_at = static_cast<std::int64_t>(footer.num_pages * sizeof(Page));
  run.first_keys_.resize(footer.num_pages);
  run.filter_.resize(footer.num_blocks);
  ASSIGN_OR_RETURN(read, file.ReadAt(index_at, RoomOf(run.first_keys_)));
  ASSIGN_OR_RETURN(const auto read_of_filter,
                   file.ReadAt(index_at + static_cast<std::int64_t>(read), RoomOf(run.filter_)));
  if (index_at + static_cast<std::int64_t>(read + read_of_filter) != footer_at ||
      footer.sum_of_index != Checksum(BytesOf(run.first_keys_), seed) ||
      footer.sum_of_filter != Checksum(BytesOf(run.filter_), seed)) {
    return damaged();
  }
  return run;
}

Result<bool> KeyRun::Holds(const KeyHash& key, UnixMicros from, UnixMicros to) const {
  // The key may begin in the page before the first that begins with it, or after it.
  auto number = static_cast<std::size_t>(std::lower_bound(first_keys_.begin(), first_keys_.end(), key.high) -
                                         first_keys_.begin());
  if (number > 0) --number;
  LocalFile file;
  Page page;
  for (; number < first_keys_.size() && first_keys_[number] <= key.high; ++number) {
    if (file.path().empty()) {
      ASSIGN_OR_RETURN(file, LocalFile::Open(path_, O_RDONLY));
    }
    ASSIGN_OR_RETURN(const auto read, file.ReadAt(static_cast<std::int64_t>(number * sizeof page),
                                                  {reinterpret_cast<char*>(&page), sizeof page}));
    if (read != sizeof page || page.sum != SumOf(page, seed_, number)) {
      return Corrupt("{}, page {}, is not as it was written", path_.string(), number);
    }
    const SeenKey* const end = page.keys + page.num_keys;
    const SeenKey* seen =
        std::lower_bound(static_cast<const SeenKey*>(page.keys), end, key.high,
                         [](const SeenKey& entry, std::uint64_t high) { return entry.key.high < high; });
    for (; seen != end && seen->key.high == key.high; ++seen) {
      if (seen->key == key && seen->time >= from && seen->time <= to) return true;
    }
    if (seen != end) break;
  }
  return false;
}

std::int64_t KeyRun::memory_bytes() const {
  return static_cast<std::int64_t>(first_keys_.capacity() * sizeof(std::uint64_t) +
                                   filter_.capacity() * sizeof(FilterBlock));
}

Result<KeyRunWriter> KeyRunWriter::Make(std::filesystem::path path, std::uint64_t seed, std::int64_t num_keys_max) {
  KeyRunWriter writer;
  ASSIGN_OR_RETURN(writer.file_, LocalFile::Open(Unfinished(path), O_WRONLY | O_CREAT | O_TRUNC));
  writer.run_.path_ = std::move(path);
  writer.run_.seed_ = seed;
  writer.run_.filter_.resize(static_cast<std::size_t>(NumBlocks(num_keys_max)));
  writer.run_.first_keys_.reserve(static_cast<std::size_t>(num_keys_max) / kPageKeys + 1);
  writer.page_.reserve(kPageKeys);
  return writer;
}

std::int64_t KeyRunWriter::FileBytes(std::int64_t num_keys) {
  const std::int64_t pages = num_keys / static_cast<std::int64_t>(kPageKeys) + 1;
  return pages * static_cast<std::int64_t>(sizeof(Page) + sizeof(std::uint64_t)) + NumBlocks(num_keys) * 64 +
         static_cast<std::int64_t>(sizeof(Footer));
}

Status KeyRunWriter::Add(std::span<const SeenKey> keys) {
  for (const auto& seen : keys) {
    if (page_.size() == kPageKeys) RETURN_NOT_OK(EndPage());
    page_.push_back(seen);
    run_.latest_ = std::max(run_.latest_, seen.time);
    auto& block = run_.filter_[run_.BlockOf(seen.key)];
    std::uint64_t bits = seen.key.high;
    for (int i = 0; i < KeyRun::kFilterBits; ++i, bits >>= 9) {
      block[(bits >> 6) & 7] |= std::uint64_t{1} << (bits & 63);
    }
  }
  run_.num_keys_ += std::ssize(keys);
  return Status::OK();
}

Status KeyRunWriter::EndPage() {
  Page page = {};
  std::copy(page_.begin(), page_.end(), page.keys);
  page.num_keys = page_.size();
  page.sum = SumOf(page, run_.seed_, run_.first_keys_.size());
  run_.first_keys_.push_back(page_.front().key.high);
  page_.clear();
  pending_.append(BytesOf(page));
  if (pending_.size() < kWrittenAtOnce) return Status::OK();
  RETURN_NOT_OK(file_.Append(pending_));
  pending_.clear();
  return Status::OK();
}

Result<KeyRun> KeyRunWriter::Finish() {
  if (!page_.empty()) RETURN_NOT_OK(EndPage());
  Footer footer = {.magic = kRunFormat,
                   .num_keys = static_cast<std::uint64_t>(run_.num_keys_),
                   .num_pages = run_.first_keys_.size(),
                   .num_blocks = run_.filter_.size(),
                   .latest = run_.latest_,
                   .sum_of_index = Checksum(BytesOf(run_.first_keys_), run_.seed_),
                   .sum_of_filter = Checksum(BytesOf(run_.filter_), run_.seed_),
                   .sum = 0};
  footer.sum = SumOf(footer, run_.seed_);
  RETURN_NOT_OK(file_.Append(pending_));
  RETURN_NOT_OK(file_.Append(BytesOf(run_.first_keys_)));
  RETURN_NOT_OK(file_.Append(BytesOf(run_.filter_)));
  RETURN_NOT_OK(file_.Append(BytesOf(footer)));
  ASSIGN_OR_RETURN(run_.file_bytes_, file_.Size());
  std::error_code failed;
  std::filesystem::rename(Unfinished(run_.path_), run_.path_, failed);
  if (failed) return Transient("cannot name {}: {}", run_.path_.string(), failed.message());
  return std::move(run_);
}

}  // namespace millrace::process
