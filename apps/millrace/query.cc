#include <curl/curl.h>

#include <CLI/CLI.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>
#include <cstdio>
#include <memory>
#include <utility>

#include "base/json_text.h"
#include "commands.h"
#include "http_get.h"
#include "objectstore/object_store.h"
#include "pipeline/plan.h"
#include "pipeline/progress.h"
#include "query/aggregate_reader.h"
#include "query/time_expression.h"
#include "serve/answer_writer.h"
#include "service.h"
#include "text_table.h"

namespace millrace::app {
namespace {

namespace json = boost::json;

/// An answer is held whole before it is printed.
constexpr std::int64_t kAnswerBytesMax = std::int64_t{1} << 30;
// Of which answers may take a quarter.
constexpr std::int64_t kLakeQuestionBytes = std::int64_t{4} << 30;

struct QueryFlags {
  std::string aggregate;
  std::string from;
  std::string to;
  std::string step;
  std::string group_by;
  std::string where;
  std::string measures;
  std::string order_by;
  std::int64_t limit = 0;
  std::string freshness;
  std::string output = "table";
  std::string url = "http://127.0.0.1:8080";
  std::string config;
  std::string token;
};

std::vector<std::string> SplitList(const std::string& text) {
  std::vector<std::string> items;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const auto end = std::min(text.find(',', begin), text.size());
    std::string item = text.substr(begin, end - begin);
    item.erase(0, item.find_first_not_of(' '));
    item.erase(item.find_last_not_of(' ') + 1);
    if (!item.empty()) items.push_back(std::move(item));
    begin = end + 1;
  }
  return items;
}

/// {"data": [...]} as a table, in the order of "meta".
std::string AnswerToTable(const std::string& answer) {
  const auto parsed = json::parse(answer);
  std::vector<std::vector<std::string>> rows(1);
  for (const auto& column : parsed.at("meta").as_array()) {
    rows.front().push_back(json::value_to<std::string>(column.at("name")));
  }
  for (const auto& row : parsed.at("data").as_array()) {
    std::vector<std::string> cells;
    for (const auto& name : rows.front()) {
      const auto& value = row.at(name);
      cells.push_back(value.is_string() ? json::value_to<std::string>(value)
                      : value.is_null() ? "NULL"
                                        : JsonText(value));
    }
    rows.push_back(std::move(cells));
  }
  return RenderTable(rows);
}

struct Reply {
  std::string text;         // As JSON or CSV.
  std::string errors_json;  // Groups in which a measure has no value; empty: none, or in the text.
};

/// Says on stderr which values are missing, so that nobody takes them for NULLs of the data.
void ReportErrors(const Reply& reply, bool is_json) {
  if (!is_json && reply.errors_json.empty()) return;
  const auto document = json::parse(is_json ? reply.text : reply.errors_json);
  const auto* errors = is_json ? document.as_object().if_contains("errors") : &document;
  if (errors == nullptr) return;
  for (const auto& error : errors->as_array()) {
    std::fprintf(stderr, "millrace: no value of %s in %s: %s\n",
                 json::value_to<std::string>(error.at("measure")).c_str(), JsonText(error.at("group")).c_str(),
                 json::value_to<std::string>(error.at("detail")).c_str());
  }
}

Result<Reply> AskOverHttp(const QueryFlags& options) {
  std::string url = options.url + "/v1/aggregates/";
  const auto escape = [](const std::string& text) {
    char* const escaped = curl_easy_escape(nullptr, text.data(), static_cast<int>(text.size()));
    std::string result = escaped;
    curl_free(escaped);
    return result;
  };
  url += escape(options.aggregate) + "?format=" + (options.output == "csv" ? "csv" : "json");
  const std::pair<const char*, std::string> parameters[] = {
      {"from", options.from},
      {"to", options.to},
      {"step", options.step},
      {"where", options.where},
      {"group_by", options.group_by},
      {"measures", options.measures},
      {"order_by", options.order_by},
      {"freshness", options.freshness},
      {"limit", options.limit > 0 ? std::to_string(options.limit) : ""}};
  for (const auto& [name, value] : parameters) {
    if (!value.empty()) url += std::string("&") + name + "=" + escape(value);
  }
  Reply reply;
  auto body = HttpGet(url, options.token, kAnswerBytesMax, "Millrace-Errors", &reply.errors_json);
  if (!body.ok() && KindOf(body.status()) == ErrorKind::kTransient) {
    return Transient("{}. Is 'millrace run' or 'millrace demo' up? With -c FILE the lake is asked instead",
                     body.status().message());
  }
  ASSIGN_OR_RETURN(reply.text, std::move(body));
  return reply;
}

Result<Reply> AskTheLake(const QueryFlags& options, config::PipelineConfig config) {
  const UnixMicros now = SystemClock().Now();
  query::AggregateRequest request;
  if (!options.from.empty()) {
    ASSIGN_OR_RETURN(request.range.from, query::ParseTime(options.from, now));
  }
  if (!options.to.empty()) {
    ASSIGN_OR_RETURN(request.range.to, query::ParseTime(options.to, now));
  }
  if (!options.step.empty()) {
    ASSIGN_OR_RETURN(request.step_us, query::ParseDuration(options.step));
  }
  if (!options.group_by.empty()) request.group_by = SplitList(options.group_by);
  request.where = options.where;
  request.measures = SplitList(options.measures);
  request.order_by = SplitList(options.order_by);
  if (options.limit > 0) request.limit = options.limit;

  ASSIGN_OR_RETURN(const auto plan, pipeline::MakePlan(std::move(config)));
  ASSIGN_OR_RETURN(const auto lake, pipeline::OpenLake(plan->config.lake, objectstore::IfMissing::kRefuse));
  for (const auto& table_plan : plan->tables) {
    if (table_plan.name != options.aggregate || table_plan.kind != config::TableKind::kAggregate) continue;
    ASSIGN_OR_RETURN(const auto table, delta::Table::Open(objectstore::Below(lake, table_plan.name)));
    ASSIGN_OR_RETURN(const auto progress,
                     pipeline::Progress::Of(*table, plan->config.app_id, plan->topics(), plan->config.txn_ids));
    const auto budget = MemoryBudget::Make(kLakeQuestionBytes);
    query::AggregateReader reader(
        {.definition = table_plan.aggregate->definition,
         .open = [&table] { return Result<std::shared_ptr<delta::Table>>(table); },
         .next_offsets = [&progress](const delta::Snapshot& snapshot) { return progress.NextOffsets(snapshot); }},
        query::ReaderResources::Make(kLakeQuestionBytes, *budget));
    ASSIGN_OR_RETURN(const auto answer, reader.Ask(request, {}));
    Reply reply;
    ASSIGN_OR_RETURN(const auto text,
                     options.output == "csv" ? serve::AnswerToCsv(answer) : serve::AnswerToJson(answer));
    reply.text = text.Text();
    ASSIGN_OR_RETURN(reply.errors_json, serve::ErrorsToJson(answer));
    return reply;
  }
  return NotFound("no aggregate '{}' in {}", options.aggregate, options.config);
}

}  // namespace

Run AddQuery(CLI::App& app) {
  auto options = std::make_shared<QueryFlags>();
  app.add_option("aggregate", options->aggregate, "Name of an aggregate")->required();
  app.add_option("--from", options->from, "Windows that begin at or after: -1h, 2026-11-22T10:00:00Z");
  app.add_option("--to", options->to, "Windows that begin before");
  app.add_option("--step", options->step, "Coarser windows: 5m, 1h; 0: one in all");
  app.add_option("--group-by", options->group_by, "Keys, comma-separated");
  app.add_option("--where", options->where, "DuckDB expression over keys and window_start");
  app.add_option("--measures", options->measures, "Comma-separated; all unless given");
  app.add_option("--order-by", options->order_by, "Such as 'views desc, country'");
  app.add_option("--limit", options->limit, "Rows at most")->check(CLI::PositiveNumber);
  app.add_option("--freshness", options->freshness, "hot: with the rows in memory; committed: without")
      ->check(CLI::IsMember({"hot", "committed"}));
  app.add_option("-o,--output", options->output, "Format")
      ->check(CLI::IsMember({"table", "json", "csv"}))
      ->capture_default_str();
  auto* const url =
      app.add_option("--url", options->url, "Of a running pipeline")->envname("MILLRACE_URL")->capture_default_str();
  app.add_option("--token", options->token, "Bearer token")->envname("MILLRACE_TOKEN");
  app.add_option("-c,--config", options->config, "Ask the lake of this pipeline, committed rows only")
      ->type_name("FILE")
      ->excludes(url);
  return [options] {
    Result<Reply> answer;
    if (options->config.empty()) {
      answer = AskOverHttp(*options);
    } else {
      auto config = LoadConfigOrComplain(options->config, {}, ReadsLog::kNo);
      if (!config) return kBadConfiguration;
      answer = AskTheLake(*options, *std::move(config));
    }
    if (!answer.ok()) return Complain(answer.status());
    std::fputs(options->output == "table" ? AnswerToTable(answer->text).c_str() : answer->text.c_str(), stdout);
    if (options->output == "json") std::fputs("\n", stdout);
    ReportErrors(*answer, options->output != "csv");
    return kOk;
  };
}

}  // namespace millrace::app
