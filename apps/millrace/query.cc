#include <curl/curl.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <utility>

#include "answer_text.h"
#include "base/nearest_name.h"
#include "commands.h"
#include "flag_checks.h"
#include "http_get.h"
#include "objectstore/object_store.h"
#include "pipeline/lake_reader.h"
#include "pipeline/plan.h"
#include "query/aggregate_reader.h"
#include "serve/answer_writer.h"
#include "serve/query_parameters.h"
#include "service.h"

namespace millrace::app {
namespace {

/// An answer is held whole before it is printed.
constexpr std::int64_t kAnswerBytesMax = std::int64_t{1} << 30;
// Of which answers may take a quarter.
constexpr std::int64_t kLakeQuestionBytes = std::int64_t{4} << 30;

struct QueryFlags {
  std::string aggregate;
  std::vector<std::pair<std::string, const CLI::Option*>> question;  // Parameters of the HTTP API, and their flags.
  std::string output = "table";
  std::string url = "http://127.0.0.1:8080";
  std::string config;
  std::string token;
};

/// What was asked for: an empty value is one too.
serve::Target TargetOf(const QueryFlags& options) {
  serve::Target target;
  for (const auto& [parameter, flag] : options.question) {
    if (flag->count() > 0) target.parameters.emplace_back(parameter, flag->as<std::string>());
  }
  return target;
}

struct Reply {
  std::string text;            // As JSON or CSV.
  std::string errors_json;     // Groups in which a measure has no value; empty: none, or in the text.
  std::string partial_json{};  // Workers whose hot rows are missing; likewise.
};

Result<Reply> AskOverHttp(const QueryFlags& options) {
  std::string url = options.url + "/v1/aggregates/";
  const auto escape = [](const std::string& text) {
    char* const escaped = curl_easy_escape(nullptr, text.data(), static_cast<int>(text.size()));
    std::string result = escaped;
    curl_free(escaped);
    return result;
  };
  url += escape(options.aggregate) + "?format=" + (options.output == "csv" ? "csv" : "json");
  for (const auto& [name, value] : TargetOf(options).parameters) url += "&" + name + "=" + escape(value);
  Reply reply;
  auto body = HttpGet(url, options.token, kAnswerBytesMax,
                      {{"Millrace-Errors", &reply.errors_json}, {"Millrace-Partial", &reply.partial_json}});
  if (!body.ok() && KindOf(body.status()) == ErrorKind::kTransient) {
    return Transient("{}. Is 'millrace run' or 'millrace demo' up? With -c FILE the lake is asked instead",
                     body.status().message());
  }
  ASSIGN_OR_RETURN(reply.text, std::move(body));
  return reply;
}

Result<Reply> AskTheLake(const QueryFlags& options, const pipeline::Plan& plan) {
  query::AggregateRequest request;
  http::Problem problem;
  if (!serve::ParseAggregateRequest(TargetOf(options), SystemClock().Now(), &request, &problem)) {
    return InvalidInput("{}", problem.detail);
  }
  const config::TablePlan* aggregate = nullptr;
  std::vector<std::string> names;
  for (const auto& table : plan.tables) {
    if (table.kind != config::TableKind::kAggregate) continue;
    names.push_back(table.name);
    if (table.name == options.aggregate) aggregate = &table;
  }
  if (aggregate == nullptr) {
    return NotFound("no aggregate '{}' in {}{}", options.aggregate, options.config,
                    NamesInstead(options.aggregate, names));
  }
  const auto lake = pipeline::OpenLake(plan.config.lake, objectstore::IfMissing::kRefuse);
  if (!lake.ok()) return WithFirstRun(lake.status(), options.config);
  const auto budget = MemoryBudget::Make(kLakeQuestionBytes);
  const auto reader = pipeline::LakeReader(plan, static_cast<int>(aggregate - plan.tables.data()), *lake,
                                           query::ReaderResources::Make(kLakeQuestionBytes, *budget));
  const auto asked = reader->Ask(request, {});
  if (!asked.ok()) return WithFirstRun(asked.status(), options.config);
  const query::Answer& answer = *asked;
  Reply reply;
  ASSIGN_OR_RETURN(const auto text, options.output == "csv" ? serve::AnswerToCsv(answer) : serve::AnswerToJson(answer));
  reply.text = text.Text();
  ASSIGN_OR_RETURN(reply.errors_json, serve::ErrorsToJson(answer));
  return reply;
}

}  // namespace

Run AddQuery(CLI::App& app) {
  auto options = std::make_shared<QueryFlags>();
  app.add_option("aggregate", options->aggregate, "Name of an aggregate")->required();
  const auto ask = [&app, &options](const char* flag, const char* parameter, const std::string& about) {
    CLI::Option* const option = app.add_option_function<std::string>(
        flag, [](const std::string&) {}, about);
    options->question.emplace_back(parameter, option);
    return option;
  };
  ask("--from", "from", "Windows that begin at or after: -1h, 2026-11-22T10:00:00Z");
  ask("--to", "to", "Windows that begin before");
  ask("--step", "step", "Coarser windows: 5m, 1h; 0: one in all");
  ask("--group-by", "group_by", "Keys, comma-separated; '': one group of all");
  ask("--where", "where", "DuckDB expression over keys and window_start");
  ask("--measures", "measures", "Comma-separated; all unless given. Also what sets share: docs/http-api.md")
      ->check(CheckNames);
  ask("--order-by", "order_by", "Such as 'views desc, country'")->check(CheckNames);
  ask("--limit", "limit", "Rows at most")->type_name("INT")->check(WholeNumber(1));
  const auto* const freshness = ask("--freshness", "freshness", "hot: with the rows in memory; committed: without")
                                    ->check(CLI::IsMember({"hot", "committed"}));
  ask("--fill", "fill", "Windows between --from and --to without rows too, with measures that are null or zero")
      ->check(CLI::IsMember({"null", "zero"}));
  app.add_option("-o,--output", options->output, "Format")
      ->check(CLI::IsMember({"table", "json", "csv"}))
      ->capture_default_str();
  auto* const url =
      app.add_option("--url", options->url, "Of a running pipeline")->envname("MILLRACE_URL")->capture_default_str();
  app.add_option("--token", options->token, "Bearer token")->envname("MILLRACE_TOKEN");
  app.add_option("-c,--config", options->config, "Ask the lake of this pipeline, committed rows only")
      ->type_name("FILE")
      ->excludes(url);
  return [options, freshness] {
    Result<Reply> answer;
    if (!options->config.empty() && freshness->count() > 0 && freshness->as<std::string>() == "hot") {
      return Complain(InvalidInput("--freshness hot: the lake of -c has committed rows only; the rows in memory are "
                                   "where the pipeline runs, with --url in place of -c"),
                      kUsage);
    }
    if (options->config.empty()) {
      answer = AskOverHttp(*options);
    } else {
      const auto plan = LoadPlanOrComplain(options->config, {}, ReadsLog::kNo);
      if (plan == nullptr) return kBadConfiguration;
      answer = AskTheLake(*options, *plan);
    }
    if (!answer.ok()) return Complain(answer.status());
    const bool is_json = options->output != "csv";
    const auto shown = options->output == "table" ? AnswerToTable(answer->text) : answer->text;
    if (!shown.ok()) return Complain(shown.status());
    const auto missing = is_json ? MissingValuesOfAnswer(answer->text) : MissingValues(answer->errors_json);
    if (!missing.ok()) return Complain(missing.status());
    const auto silent = is_json ? SilentWorkersOfAnswer(answer->text) : SilentWorkers(answer->partial_json);
    if (!silent.ok()) return Complain(silent.status());
    std::fputs(shown->c_str(), stdout);
    if (options->output == "json") std::fputs("\n", stdout);
    for (const auto& value : *missing) std::fprintf(stderr, "millrace: no value of %s\n", value.c_str());
    for (const auto& worker : *silent) {
      std::fprintf(stderr, "millrace: without the rows that %s has in memory\n", worker.c_str());
    }
    return kOk;
  };
}

}  // namespace millrace::app
