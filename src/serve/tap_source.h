/// A look at the log beside the pipeline, as the API asks for it; pipeline/ has it.
#pragma once

#include <arrow/record_batch.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/topic_partition.h"

namespace millrace::serve {

/// What is to be seen, and from where on.
struct TapRequest {
  std::string input{};      ///< Empty: the only one there is, unless a transform is named.
  std::string transform{};  ///< Empty: the events of the input as they are.
  std::string where{};      ///< A DuckDB expression over the rows; empty: all.
  std::int64_t last = 0;    ///< Begins so many records before the end of each partition.
};

/// Of one Look(). Records that are over it are passed over.
struct TapLimits {
  std::int64_t shown = 0;      ///< Rows and dead letters.
  std::int64_t looked_at = 0;  ///< Records: decoding them costs something, whether or not they are shown.
};

struct Tapped {
  std::vector<std::shared_ptr<arrow::RecordBatch>> rows{};     ///< Of TapSource::schema(), none empty.
  std::vector<std::shared_ptr<arrow::RecordBatch>> letters{};  ///< Of model::ReadableLetterSchema(), likewise.
  std::int64_t looked_at = 0;                                  ///< Records.
  std::int64_t skipped = 0;                                    ///< Records that the limits kept from being shown.
  std::vector<std::string> troubles{};                         ///< What passes, such as a broker that is away.
};

/// One thread at a time.
class TapSource {
 public:
  virtual ~TapSource() = default;

  virtual const std::shared_ptr<arrow::Schema>& schema() const = 0;
  /// Where it began.
  virtual const model::OffsetVector& start() const = 0;
  /// What has come, after waiting for it at most `wait`. An error is final.
  virtual Result<Tapped> Look(std::chrono::milliseconds wait, const TapLimits& limits) = 0;
};

}  // namespace millrace::serve
