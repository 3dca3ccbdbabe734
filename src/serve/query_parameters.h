/// The query part of a URL, and a question to an aggregate as its parameters.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "query/aggregate_query.h"
#include "query/table_rows.h"
#include "serve/answer_writer.h"
#include "serve/problem.h"
#include "serve/tap_source.h"

namespace millrace::serve {

struct Target {
  std::vector<std::string> segments;  ///< "/v1/tables" is {"v1", "tables"}, "/" is {}; "/v1/" is {"v1", ""}.
  std::vector<std::pair<std::string, std::string>> parameters;  ///< In order, decoded ('+' is a blank).
};

/// kInvalidInput: a broken percent escape, an escaped NUL or bytes that are not UTF-8.
Result<Target> ParseTarget(std::string_view target);

/// Sets `problem` and returns false if a parameter is unknown (with the nearest known name), repeated or wrong. Times
/// count from `now`. group_by, measures and order_by are comma-separated, may be repeated and have no empty name; an
/// empty group_by is one group of all.
bool ParseAggregateRequest(const Target& target, UnixMicros now, query::AggregateRequest* request,
                           http::Problem* problem);

/// The same for a page of a table's rows: columns, where, order_by, limit, cursor, version, timestamp. `table` is not
/// touched.
bool ParseRowsRequest(const Target& target, UnixMicros now, query::RowsRequest* request, http::Problem* problem);

/// What a list of a table's commits or files takes.
struct ListRequest {
  std::int64_t limit = 0;
  std::optional<std::int64_t> version{};
  std::string after{};
};
/// `names`: those of its members that may be given; others are refused as above.
bool ParseListRequest(const Target& target, const std::vector<std::string>& names, ListRequest* request,
                      http::Problem* problem);

/// What dead letters are asked for.
struct LettersRequest {
  std::string reason{};  ///< Empty: of all.
  std::int64_t limit = 10;
};
/// At most this many samples.
inline constexpr std::int64_t kLettersMax = 100;
bool ParseLettersRequest(const Target& target, LettersRequest* request, http::Problem* problem);

/// What a tap shows.
inline constexpr std::int64_t kTapLastMax = 1000;
bool ParseTapRequest(const Target& target, TapRequest* request, http::Problem* problem);

/// By ?format= first, then by Accept's weights; JSON when both are silent. False sets `problem`: 400 or 406.
bool ChooseFormat(const Target& target, const std::string& accept, AnswerFormat* format, http::Problem* problem);

/// For a route that takes no parameters: false sets `problem` if there is one.
bool RefuseParameters(const Target& target, http::Problem* problem);

}  // namespace millrace::serve
