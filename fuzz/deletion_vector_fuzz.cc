// Any bytes as a deletion vector are refused, or clear exactly as many bits as they say, all below the number of rows.
#include <bit>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "delta/data/deletion_vector.h"
#include "objectstore/object_store.h"
#include "require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace::delta;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const std::int64_t rows : {std::int64_t{0}, std::int64_t{1}, std::int64_t{1000}, std::int64_t{200'000}}) {
    const auto num_bytes = static_cast<std::size_t>((rows + 7) / 8);
    std::vector<std::uint8_t> live(num_bytes + 8, 0xFF);
    const auto cleared = ClearDeleted(bytes, live.data(), rows);
    std::int64_t zeros = 0;
    for (std::size_t i = 0; i < live.size(); ++i) zeros += 8 - std::popcount(live[i]);
    Require(zeros <= rows);
    for (std::size_t i = num_bytes; i < live.size(); ++i) Require(live[i] == 0xFF);
    if (cleared.ok()) Require(*cleared == zeros);
  }
  if (const auto decoded = DecodeZ85(bytes); decoded.ok()) Require(decoded->size() == size / 5 * 4);
  static const auto kStore = millrace::objectstore::OpenStore(std::filesystem::temp_directory_path().string(),
                                                              millrace::objectstore::IfMissing::kRefuse)
                                 .ValueOrDie();
  (void)DeletionVectorKey({.storage_type = "u", .path_or_inline_dv = std::string(bytes)}, *kStore);
  return 0;
}
