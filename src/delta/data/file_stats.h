/// Statistics of a data file as the log wants them: out of the Parquet footer, and for text kept as the rows pass.
/// Spec: Delta PROTOCOL.md, "Per-file Statistics".
#pragma once

#include <arrow/array.h>
#include <arrow/record_batch.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "delta/log/table_properties.h"

namespace parquet {
class FileMetaData;
}

namespace millrace::delta {

/// Which leaf columns hold a NaN. Parquet leaves NaN out of its bounds, but for Spark NaN is above every number: bounds
/// of such a column would hide rows.
class NanTracker {
 public:
  explicit NanTracker(const arrow::Schema& schema);
  void Observe(const arrow::RecordBatch& batch);
  bool Has(int leaf) const { return has_nan_[static_cast<std::size_t>(leaf)]; }

 private:
  std::vector<bool> has_nan_;
  bool any_float_ = false;
};

/// Bounds and nulls of the text columns at the top level, kept while the rows pass. Parquet's own statistics compare
/// every value twice by memcmp, a tenth of what writing a file costs; here the first sixteen bytes mostly decide.
class TextBounds {
 public:
  struct Column {
    int leaf = 0;
    std::int64_t num_nulls = 0;
    std::optional<std::string> min;  ///< nullopt: no value so far.
    std::optional<std::string> max;
  };

  explicit TextBounds(const arrow::Schema& schema);
  void Observe(const arrow::RecordBatch& batch);
  /// Only the rows of one column; Covers() it.
  void Observe(int leaf, const arrow::BinaryArray& rows);
  void AddNulls(int leaf, std::int64_t num_nulls);
  /// nullptr: not a text column at the top level.
  const Column* Find(int leaf) const;

  /// Whether this class, and not the footer, has the statistics of a field.
  static bool Covers(const arrow::Field& field);

 private:
  Column& At(int leaf);

  std::vector<Column> columns_;  // In the schema's order.
};

/// The `stats` text of a file with this footer. `columns`: those that have statistics. Left out: bounds of bool,
/// binary, lists and maps, bounds that are not finite or not valid UTF-8, columns without any non-null value.
std::string StatsJson(const arrow::Schema& schema, const parquet::FileMetaData& footer, const NanTracker& nans,
                      const TextBounds& texts, const StatsColumns& columns);

/// The first 32 code points, not above `text` in byte order; nullopt: not UTF-8.
std::optional<std::string> LowerBound(std::string_view text);
/// The first 32 code points and, if something was cut off, one more that puts the bound above `text`. nullopt: not
/// UTF-8, or no such bound.
std::optional<std::string> UpperBound(std::string_view text);

}  // namespace millrace::delta
