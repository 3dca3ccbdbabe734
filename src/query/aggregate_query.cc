#include "query/aggregate_query.h"

#include <fmt/format.h>

namespace millrace::query {

std::string PlanText(const AggregateRequest& request) {
  std::string text =
      fmt::format("{};{};{};{};{};{};", request.step_us.value_or(-1), request.limit.value_or(-1),
                  request.rows_max.value_or(-1), request.name_groups, request.is_page, static_cast<int>(request.fill));
  // Every part by its length, so that no two requests have the same text.
  const auto add = [&text](const std::string& part) { text += fmt::format("{}:{}", part.size(), part); };
  const auto add_all = [&](const std::vector<std::string>& parts) {
    text += fmt::format("{};", parts.size());
    for (const auto& part : parts) add(part);
  };
  add(request.where);
  add_all(request.measures);
  add_all(request.order_by);
  if (request.group_by) add_all(*request.group_by);
  return text;
}

std::string ToText(const AggregateRequest& request) {
  const auto time = [](const std::optional<UnixMicros>& bound) { return bound ? fmt::format("{}", *bound) : "-"; };
  std::string text = fmt::format("{};{};{};", time(request.range.from), time(request.range.to),
                                 request.freshness == Freshness::kHot ? "hot" : "committed");
  // Of what a page and its cursor are.
  for (const auto& part : {request.cursor, request.range_text.first, request.range_text.second}) {
    text += fmt::format("{}:{}", part.size(), part);
  }
  return text + PlanText(request);
}

}  // namespace millrace::query
