#include "serve/live_answer.h"

#include <arrow/array.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "base/json_text.h"
#include "model/aggregate.h"
#include "query/time_expression.h"
#include "serve/answer_writer.h"

namespace millrace::serve {
namespace {

// Of a map's entry and the row's place in the order, beside their texts.
constexpr std::int64_t kRowOverheadBytes = 256;

std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

bool IsComplete(const LiveAnswer& answer, UnixMicros window_end) {
  return answer.watermark && window_end <= *answer.watermark;
}

}  // namespace

std::int64_t LiveAnswer::bytes() const {
  std::size_t bytes = meta.size() + errors.size() + partial.size() + partial_reasons.size() + as_of.size();
  for (const auto& [group, row] : rows) bytes += 2 * group.size() + row.json.size();
  return static_cast<std::int64_t>(bytes) + std::ssize(order) * kRowOverheadBytes;
}

Result<LiveAnswer> ToLiveAnswer(const query::Answer& answer, std::int64_t bytes_max) {
  LiveAnswer live;
  live.meta = MetaToJson(answer);
  live.as_of = AsOfToJson(answer);
  live.watermark = answer.as_of.watermark;
  if (!answer.errors.empty()) {
    ASSIGN_OR_RETURN(live.errors, ErrorsToJson(answer));
  }
  if (!answer.missing.empty()) {
    live.partial = PartialToJson(answer);
    live.partial_reasons = PartialReasonsToJson(answer);
  }
  ASSIGN_OR_RETURN(const auto body, AnswerToNdjson(answer, {.bytes_max = bytes_max}));
  std::vector<std::string> rows = LinesOf(body.Text());
  if (answer.groups == nullptr) {
    MILLRACE_CHECK(rows.size() <= 1, "several rows whose groups have no names");
    for (auto& row : rows) {
      live.order.emplace_back("{}");
      live.rows["{}"] = {std::move(row), {}};
    }
    return live;
  }
  std::string groups_text;
  RETURN_NOT_OK(AppendNdjson(*answer.groups, groups_text));
  live.order = LinesOf(groups_text);
  const auto times = [&](const char* name) {
    const auto column = answer.groups->GetColumnByName(name);
    return column == nullptr ? nullptr : static_cast<const arrow::TimestampArray*>(column.get());
  };
  const auto* const starts = times(model::kWindowStart);
  const auto* const ends = times(model::kWindowEnd);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    LiveAnswer::Row row{std::move(rows[i]), {}};
    const auto at = static_cast<std::int64_t>(i);
    if (starts != nullptr && ends != nullptr) row.window = {starts->Value(at), ends->Value(at)};
    live.rows.emplace(live.order[i], std::move(row));
  }
  if (live.bytes() > bytes_max) {
    return TooLarge("the answer takes {} bytes, a stream may keep {}", live.bytes(), bytes_max);
  }
  return live;
}

AnswerChanges Between(const LiveAnswer& before, const LiveAnswer& now) {
  AnswerChanges changes;
  for (const auto& group : now.order) {
    const LiveAnswer::Row& row = now.rows.at(group);
    const auto known = before.rows.find(group);
    if (known == before.rows.end() || known->second.json != row.json) changes.upserts.push_back(row.json);
    if (!row.window || !IsComplete(now, row.window->second)) continue;
    if (known == before.rows.end() || !IsComplete(before, row.window->second)) changes.completed.insert(*row.window);
  }
  for (const auto& [group, row] : before.rows) {
    if (!now.rows.contains(group)) changes.removed.push_back(group);
  }
  changes.errors_changed = before.errors != now.errors;
  changes.partial_changed = before.partial != now.partial;
  changes.watermark_moved = before.watermark != now.watermark;
  return changes;
}

std::string SnapshotJson(const LiveAnswer& answer) {
  std::string json = fmt::format("{{\"meta\":{},\"data\":[", answer.meta);
  const char* comma = "";
  for (const auto& group : answer.order) {
    json += comma;
    json += answer.rows.at(group).json;
    comma = ",";
  }
  json += fmt::format("],\"rows\":{},\"as_of\":{}", answer.order.size(), answer.as_of);
  if (!answer.errors.empty()) json += ",\"errors\":" + answer.errors;
  if (!answer.partial.empty()) {
    json += fmt::format(",\"partial\":{},\"partial_reasons\":{}", answer.partial, answer.partial_reasons);
  }
  return json + '}';
}

std::string UpsertJson(const AnswerChanges& changes, const LiveAnswer& now) {
  std::string json = fmt::format("{{\"data\":[{}],\"removed\":[{}],\"as_of\":{}", fmt::join(changes.upserts, ","),
                                 fmt::join(changes.removed, ","), now.as_of);
  if (!now.errors.empty() || changes.errors_changed) {
    json += ",\"errors\":" + (now.errors.empty() ? std::string("[]") : now.errors);
  }
  if (!now.partial.empty() || changes.partial_changed) {
    json += now.partial.empty()
                ? ",\"partial\":[],\"partial_reasons\":{}"
                : fmt::format(",\"partial\":{},\"partial_reasons\":{}", now.partial, now.partial_reasons);
  }
  return json + '}';
}

std::string FinalJson(const AnswerChanges& changes, const LiveAnswer& now) {
  std::vector<std::string> windows;
  for (const auto& [start, end] : changes.completed) {
    windows.push_back(fmt::format("{{\"window_start\":\"{}\",\"window_end\":\"{}\"}}", query::FormatTime(start),
                                  query::FormatTime(end)));
  }
  return fmt::format("{{\"windows\":[{}],\"as_of\":{}}}", fmt::join(windows, ","), now.as_of);
}

std::string WatermarkJson(const LiveAnswer& now) {
  return now.watermark ? fmt::format("{{\"watermark\":\"{}\"}}", query::FormatTime(*now.watermark))
                       : "{\"watermark\":null}";
}

std::string EventText(std::string_view event, std::string_view id, std::string_view data) {
  return fmt::format("event: {}\nid: {}\ndata: {}\n\n", event, id, data);
}

}  // namespace millrace::serve
