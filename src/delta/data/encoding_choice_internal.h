/// How the values of a column are encoded and compressed, chosen by what its first rows hold.
#pragma once

#include <arrow/record_batch.h>
#include <arrow/util/compression.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"

namespace millrace::delta {

/// Rows to look at: more tell little more.
inline constexpr std::int64_t kSampleRows = 4096;

enum class ValueEncoding {
  kDictionary,     ///< RLE_DICTIONARY, and what the writer does when it is full.
  kDelta,          ///< DELTA_BINARY_PACKED; integers, and decimals that Parquet stores as such.
  kPlain,          ///< PLAIN, compressed at the file's level.
  kPlainLiterals,  ///< PLAIN, compressed by LiteralsOnly().
};

/// By up to kSampleRows rows of `column` of the batches, which have one schema. Too few rows: kDictionary.
Result<ValueEncoding> ChooseEncoding(const std::vector<std::shared_ptr<arrow::RecordBatch>>& sample, int column,
                                     int zstd_level);

/// Zstd that hardly looks for matches but still codes literals by Huffman: for hexadecimal ids nearly as small as level
/// 1 at half the CPU time.
std::shared_ptr<arrow::util::CodecOptions> LiteralsOnly();

}  // namespace millrace::delta
