#include "serve/query_parameters.h"

#include <arrow/util/utf8.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <optional>
#include <set>

#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "base/percent_coding.h"
#include "query/time_expression.h"

namespace millrace::serve {
namespace {

const std::vector<std::string>& KnownParameters() {
  static const std::vector<std::string> kNames = {"from",     "to",    "step",   "group_by",  "where", "measures",
                                                  "order_by", "limit", "cursor", "freshness", "fill",  "format"};
  return kNames;
}

Result<std::string> Decode(Result<std::string> text) {
  if (!text.ok()) return WithContext(text.status(), "the URL");
  if (text->find('\0') != std::string::npos) return InvalidInput("the URL has an escaped NUL");
  static const bool kTablesReady = (arrow::util::InitializeUTF8(), true);  // Without them everything is valid.
  if (!kTablesReady || !arrow::util::ValidateUTF8(*text)) return InvalidInput("the URL is not UTF-8");
  return text;
}

// The comma at or after `begin` that is in no parentheses; else the end.
std::size_t CommaAfter(const std::string& text, std::size_t begin) {
  int depth = 0;
  char quote = 0;
  for (std::size_t i = begin; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (depth > 0 && (c == '\'' || c == '"')) {
      quote = c;
    } else if (c == '(') {
      ++depth;
    } else if (c == ')') {
      --depth;
    } else if (c == ',' && depth <= 0) {
      return i;
    }
  }
  return text.size();
}

// What stands between commas, without the blanks around it; it may be empty.
std::vector<std::string> Split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = CommaAfter(text, begin);
    std::string part = text.substr(begin, end - begin);
    part.erase(0, std::min(part.find_first_not_of(' '), part.size()));
    part.erase(part.find_last_not_of(' ') + 1);
    parts.push_back(std::move(part));
    begin = end + 1;
  }
  return parts;
}

// Adds what a list names, which is something between any two commas.
Status Append(const std::string& value, std::vector<std::string>& to) {
  const auto names = Split(value);
  const auto is_empty = [](const std::string& name) { return name.empty(); };
  if (std::all_of(names.begin(), names.end(), is_empty)) return InvalidInput("'{}' names nothing", value);
  if (std::any_of(names.begin(), names.end(), is_empty)) return InvalidInput("'{}' has an empty name", value);
  to.insert(to.end(), names.begin(), names.end());
  return Status::OK();
}

Result<std::int64_t> WholeNumber(const std::string& value, const char* what) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error == std::errc() && end == value.data() + value.size() && number >= 0) return number;
  return InvalidInput("'{}' is not {}", value, what);
}

Status SetWhere(const std::string& value, std::string& where) {
  if (value.find_first_not_of(' ') == std::string::npos) return InvalidInput("'{}' is no condition", value);
  where = value;
  return Status::OK();
}

Status SetParameter(const std::string& name, const std::string& value, UnixMicros now,
                    query::AggregateRequest& request) {
  if (name == "from") {
    ASSIGN_OR_RETURN(request.range.from, query::ParseTime(value, now));
    request.range_text.first = value;
  } else if (name == "to") {
    ASSIGN_OR_RETURN(request.range.to, query::ParseTime(value, now));
    request.range_text.second = value;
  } else if (name == "step") {
    ASSIGN_OR_RETURN(request.step_us, query::ParseDuration(value));
  } else if (name == "group_by") {
    if (!request.group_by) request.group_by.emplace();
    if (!value.empty()) RETURN_NOT_OK(Append(value, *request.group_by));  // Empty: one group of all.
  } else if (name == "where") {
    RETURN_NOT_OK(SetWhere(value, request.where));
  } else if (name == "measures") {
    RETURN_NOT_OK(Append(value, request.measures));
  } else if (name == "order_by") {
    RETURN_NOT_OK(Append(value, request.order_by));
  } else if (name == "limit") {
    ASSIGN_OR_RETURN(request.limit, WholeNumber(value, "a count of rows"));
  } else if (name == "cursor") {
    if (value.empty()) return InvalidInput("it is empty: leave it out for the first page");
    request.cursor = value;
  } else if (name == "fill") {
    if (value != "null" && value != "zero") return InvalidInput("'{}' is neither null nor zero", value);
    request.fill = value == "null" ? query::Fill::kNull : query::Fill::kZero;
  } else if (name == "freshness") {
    if (value != "hot" && value != "committed") return InvalidInput("'{}' is neither hot nor committed", value);
    request.freshness = value == "hot" ? query::Freshness::kHot : query::Freshness::kCommitted;
  }
  return Status::OK();
}

}  // namespace

Result<Target> ParseTarget(std::string_view target) {
  Target out;
  const std::size_t question = std::min(target.find('?'), target.size());
  std::string_view path = target.substr(0, question);
  if (path.empty() || path.front() != '/') return InvalidInput("the URL's path does not begin with '/'");
  path.remove_prefix(1);
  out.segments.reserve(static_cast<std::size_t>(std::count(path.begin(), path.end(), '/')) + 1);
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    ASSIGN_OR_RETURN(std::string segment, Decode(PercentDecode(path.substr(0, slash))));
    out.segments.push_back(std::move(segment));
    if (slash == path.size()) break;
    path.remove_prefix(slash + 1);
    if (path.empty()) out.segments.emplace_back();
  }
  std::string_view rest = question < target.size() ? target.substr(question + 1) : std::string_view();
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view pair = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    ASSIGN_OR_RETURN(std::string name, Decode(FormDecode(pair.substr(0, equals))));
    ASSIGN_OR_RETURN(std::string value, Decode(FormDecode(pair.substr(std::min(equals + 1, pair.size())))));
    out.parameters.emplace_back(std::move(name), std::move(value));
  }
  return out;
}

namespace {

// Hands each parameter to `set`; those of `lists` may be repeated.
bool ParseParameters(const Target& target, const std::vector<std::string>& known, const std::set<std::string>& lists,
                     const std::function<Status(const std::string& name, const std::string& value)>& set,
                     http::Problem* problem) {
  std::set<std::string> seen;
  for (const auto& [name, value] : target.parameters) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      const auto nearest = NearestName(name, known);
      *problem = {
          400, "unknown_parameter", fmt::format("There is no parameter '{}'.", name),
          nearest ? fmt::format("Did you mean '{}'?", *nearest) : fmt::format("Known are {}.", fmt::join(known, ", "))};
      return false;
    }
    if (!seen.insert(name).second && lists.count(name) == 0) {
      *problem = {400, "repeated_parameter", fmt::format("The parameter '{}' is given twice.", name), {}};
      return false;
    }
    const Status status = set(name, value);
    if (!status.ok()) {
      *problem = {400, "invalid_parameter", fmt::format("{}: {}", name, status.message()), {}};
      return false;
    }
  }
  return true;
}

Status SetRowsParameter(const std::string& name, const std::string& value, UnixMicros now,
                        query::RowsRequest& request) {
  if (name == "columns") return Append(value, request.columns);
  if (name == "where") return SetWhere(value, request.where);
  if (name == "order_by") return Append(value, request.order_by);
  if (name == "limit") {
    ASSIGN_OR_RETURN(request.limit, WholeNumber(value, "a count of rows"));
    if (request.limit == 0) return InvalidInput("a page has one row at least");
  } else if (name == "cursor") {
    if (value.empty()) return InvalidInput("it is empty: leave it out for the first page");
    request.cursor = value;
  } else if (name == "version") {
    ASSIGN_OR_RETURN(request.version, WholeNumber(value, "a version"));
  } else if (name == "timestamp") {
    ASSIGN_OR_RETURN(const UnixMicros time, query::ParseTime(value, now));
    request.timestamp_ms = time / 1000;
  }
  return Status::OK();
}

}  // namespace

bool ParseAggregateRequest(const Target& target, UnixMicros now, query::AggregateRequest* request,
                           http::Problem* problem) {
  return ParseParameters(
      target, KnownParameters(), {"group_by", "measures", "order_by"},
      [&](const std::string& name, const std::string& value) { return SetParameter(name, value, now, *request); },
      problem);
}

bool ParseRowsRequest(const Target& target, UnixMicros now, query::RowsRequest* request, http::Problem* problem) {
  return ParseParameters(
      target, {"columns", "where", "order_by", "limit", "cursor", "version", "timestamp", "format"},
      {"columns", "order_by"},
      [&](const std::string& name, const std::string& value) { return SetRowsParameter(name, value, now, *request); },
      problem);
}

bool ParseListRequest(const Target& target, const std::vector<std::string>& names, ListRequest* request,
                      http::Problem* problem) {
  const auto set = [request](const std::string& name, const std::string& value) -> Status {
    if (name == "limit") {
      ASSIGN_OR_RETURN(request->limit, WholeNumber(value, "a count"));
      if (request->limit == 0) return InvalidInput("one is the least");
    } else if (name == "version") {
      ASSIGN_OR_RETURN(request->version, WholeNumber(value, "a version"));
    } else {
      request->after = value;
    }
    return Status::OK();
  };
  return ParseParameters(target, names, {}, set, problem);
}

bool ParseLettersRequest(const Target& target, LettersRequest* request, http::Problem* problem) {
  const auto set = [request](const std::string& name, const std::string& value) -> Status {
    if (name == "reason") {
      if (value.empty()) return InvalidInput("it is empty: leave it out for letters of all reasons");
      request->reason = value;
      return Status::OK();
    }
    ASSIGN_OR_RETURN(request->limit, WholeNumber(value, "a count of letters"));
    if (request->limit > kLettersMax) return InvalidInput("{} is more than {}", request->limit, kLettersMax);
    return Status::OK();
  };
  return ParseParameters(target, {"reason", "limit"}, {}, set, problem);
}

bool ParseTapRequest(const Target& target, TapRequest* request, http::Problem* problem) {
  const auto set = [request](const std::string& name, const std::string& value) -> Status {
    if (name == "where") return SetWhere(value, request->where);
    if (name == "last") {
      ASSIGN_OR_RETURN(request->last, WholeNumber(value, "a count of records"));
      if (request->last > kTapLastMax) return InvalidInput("{} is more than {}", request->last, kTapLastMax);
      return Status::OK();
    }
    if (value.empty()) return InvalidInput("it is empty: leave it out, or name one");
    (name == "input" ? request->input : request->transform) = value;
    if (!request->input.empty() && !request->transform.empty()) {
      return InvalidInput("input and transform exclude each other: a transform knows its input");
    }
    return Status::OK();
  };
  return ParseParameters(target, {"input", "transform", "where", "last"}, {}, set, problem);
}

bool RefuseParameters(const Target& target, http::Problem* problem) {
  if (target.parameters.empty()) return true;
  *problem = {
      400, "unknown_parameter", fmt::format("There is no parameter '{}' here.", target.parameters[0].first), {}};
  return false;
}

bool ChooseFormat(const Target& target, const std::string& accept, AnswerFormat* format, http::Problem* problem) {
  for (const auto& [name, value] : target.parameters) {
    if (name != "format") continue;
    const std::vector<std::string> known = {"json", "ndjson", "csv", "arrow", "parquet"};  // As AnswerFormat counts.
    const auto it = std::find(known.begin(), known.end(), value);
    if (it == known.end()) {
      *problem = {
          400, "invalid_parameter", fmt::format("format: '{}' is not json, ndjson, csv, arrow or parquet", value), {}};
      return false;
    }
    *format = static_cast<AnswerFormat>(it - known.begin());
    return true;
  }
  *format = AnswerFormat::kJson;
  if (accept.empty()) return true;
  // Weights as in RFC 9110, 12.5.1; of equal ones the first wins.
  double best = 0;
  for (const auto& range : Split(accept)) {
    std::string type = AsciiLower(range.substr(0, range.find(';')));
    type.erase(type.find_last_not_of(' ') + 1);
    double weight = 1;
    if (const auto q = range.find("q="); q != std::string::npos) {
      std::from_chars(range.data() + q + 2, range.data() + range.size(), weight);
    }
    std::optional<AnswerFormat> offered;
    if (type == "application/json" || type == "application/*" || type == "*/*") offered = AnswerFormat::kJson;
    if (type == "application/x-ndjson" || type == "application/ndjson" || type == "application/jsonl") {
      offered = AnswerFormat::kNdjson;
    }
    if (type == "application/vnd.apache.arrow.stream") offered = AnswerFormat::kArrow;
    if (type == "application/vnd.apache.parquet") offered = AnswerFormat::kParquet;
    if (type == "text/csv" || type == "text/*") offered = AnswerFormat::kCsv;
    if (!offered || weight <= best) continue;
    best = weight;
    *format = *offered;
  }
  if (best > 0) return true;
  *problem = {406,
              "not_acceptable",
              "The answer can be application/json, application/x-ndjson, text/csv, "
              "application/vnd.apache.arrow.stream or application/vnd.apache.parquet.",
              {}};
  return false;
}

}  // namespace millrace::serve
