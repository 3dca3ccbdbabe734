/// Zstd for the pages of a column.
#pragma once

#include <arrow/buffer_builder.h>
#include <arrow/util/compression.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "base/status.h"

namespace millrace::delta {

/// Pages are compressed with a context that each thread keeps: one for each page, as Arrow's codec has it, asks the
/// processor again what it can do, which a virtual machine answers slowly, and takes memory that must be cleared. A
/// context has less than a mebibyte at the low levels.
class PageCompressor {
 public:
  /// `level`: zstd's own, negative ones included. `parameters`: of ZSTD_cParameter, beside it.
  explicit PageCompressor(int level, std::vector<std::pair<int, int>> parameters = {})
      : level_(level), parameters_(std::move(parameters)) {}
  /// As Arrow's codec takes them.
  explicit PageCompressor(const arrow::util::CodecOptions& options);

  /// `out` holds one frame afterwards, whatever it held before. Returns its size.
  Result<std::int64_t> Compress(const std::uint8_t* body, std::int64_t size, arrow::BufferBuilder* out) const;

 private:
  int level_;
  std::vector<std::pair<int, int>> parameters_;
};

}  // namespace millrace::delta
