/// Pages of an aggregate's answer: of one version of its table, so that together they are the whole answer, whatever is
/// committed in between.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "delta/log/actions.h"
#include "query/aggregate_query.h"

namespace millrace::query {

struct AggregateCursor {
  delta::TableVersion version = 0;
  std::int64_t rows = 0;                  ///< Given already.
  FoldRange range{};                      ///< Of the first page: "-1h" is another time now.
  std::optional<UnixMicros> watermark{};  ///< Likewise.
};

/// A text for URLs. It says which question it belongs to, apart from the limit.
std::string CursorText(const std::string& aggregate, const AggregateRequest& request, const AggregateCursor& cursor);
/// Of request.cursor. kInvalidInput: it is none, or of another question.
Result<AggregateCursor> ParseCursor(const std::string& aggregate, const AggregateRequest& request);

}  // namespace millrace::query
