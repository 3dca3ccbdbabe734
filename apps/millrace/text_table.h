/// Aligned columns for a terminal.
#pragma once

#include <arrow/record_batch.h>

#include <string>
#include <vector>

#include "base/status.h"

namespace millrace::app {

/// The first row is the header. Columns whose cells below the header are all numbers are right-aligned.
std::string RenderTable(const std::vector<std::vector<std::string>>& rows);

/// Rows that come in pieces, below one another. The header is there again whenever a column has become wider.
class RunningTable {
 public:
  /// All of one schema. Values as in JSON, texts without their quotes; what is longer than 60 letters is cut.
  Result<std::string> Render(const arrow::RecordBatch& rows);

 private:
  std::vector<std::size_t> widths_;
};

/// "1,234,567".
std::string WithThousands(long long value);

/// "12.3 MiB".
std::string HumanBytes(long long bytes);

}  // namespace millrace::app
