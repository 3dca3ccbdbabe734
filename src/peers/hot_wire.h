/// A question for the hot rows of one aggregate, and its answer, as bytes that go from one process to another.
///
/// The question is JSON. The answer is an Arrow IPC stream: partial rows of the definition that was asked for, a batch
/// for each segment that has rows, in their order; what else there is to say is JSON in the schema's metadata under
/// `millrace.hot`. Both come from processes that may be of another version, or of another pipeline: whatever does not
/// fit is refused, never guessed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/aggregate.h"
#include "model/window.h"
#include "query/fold.h"
#include "query/hot_rows.h"

namespace millrace::peers {

/// Where a process answers.
inline constexpr const char* kHotPath = "/internal/v1/hot";
inline constexpr const char* kPulsePath = "/internal/v1/pulse";

struct HotQuestion {
  std::string aggregate;
  /// Of what the aggregate's rows mean: rows of another one must not be merged with them.
  std::string fingerprint;
  std::string table_id;           ///< Of the Delta table's metadata: that the offsets belong to.
  std::vector<std::string> keys;  ///< That the rows are folded to, with `window`: see query::Coarser().
  model::Window window;
  query::FoldRange range;
  std::int64_t bytes_max = 0;  ///< Of the whole answer.
};

std::string ToJson(const HotQuestion& question);
/// kInvalidInput: not a text of ToJson(). The window has no zone yet: CoarserOf() knows it.
Result<HotQuestion> HotQuestionFromJson(std::string_view text);

/// The definition that a question asks for. kInvalidInput: it is not one that `definition` can be folded to.
Result<model::AggregateDefinition> CoarserOf(const model::AggregateDefinition& definition, const HotQuestion& question);

struct HotAnswer {
  std::string instance;  ///< Of the process: another at each start.
  query::HotRows rows;   ///< Without `missing`.
};

/// kTooLarge: the rows take more than `bytes_max`.
Result<std::string> ToArrowStream(const HotAnswer& answer, const model::AggregateDefinition& coarser,
                                  std::int64_t bytes_max);
/// kInvalidInput: not a stream of ToArrowStream() for this definition, and why.
Result<HotAnswer> FromArrowStream(std::string bytes, const model::AggregateDefinition& coarser);

}  // namespace millrace::peers
