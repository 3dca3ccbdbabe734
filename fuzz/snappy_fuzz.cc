// Any bytes are refused, or decompress to what Arrow's decompressor makes of them; and any bytes that it compresses
// come back. Buffers are exactly as long as they may be used: AddressSanitizer sees a byte too many.
#include <arrow/util/compression.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "delta/data/snappy.h"
#include "require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace::delta;
  static const auto arrow = arrow::util::Codec::Create(arrow::Compression::SNAPPY).ValueOrDie();
  const std::vector<std::uint8_t> input(data, data + size);
  if (const auto length = SnappyLength(input)) {
    std::vector<std::uint8_t> ours(*length);
    std::vector<std::uint8_t> theirs(*length);
    const bool is_ours = SnappyDecompress(input, ours);
    const auto decompressed = arrow->Decompress(static_cast<std::int64_t>(size), input.data(),
                                                static_cast<std::int64_t>(*length), theirs.data());
    Require(is_ours == decompressed.ok());
    if (is_ours) Require(ours == theirs);
  }
  std::vector<std::uint8_t> compressed(
      static_cast<std::size_t>(arrow->MaxCompressedLen(static_cast<std::int64_t>(size), input.data())));
  const auto written = arrow->Compress(static_cast<std::int64_t>(size), input.data(),
                                       static_cast<std::int64_t>(compressed.size()), compressed.data());
  Require(written.ok());
  compressed.resize(static_cast<std::size_t>(*written));
  compressed.shrink_to_fit();
  std::vector<std::uint8_t> back(size);
  Require(SnappyLength(compressed) == size && SnappyDecompress(compressed, back) && back == input);
  return 0;
}
