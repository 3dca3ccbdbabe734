// millrace sql: one statement, or a shell for several, over HTTP or straight over the lake.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <boost/json/value_to.hpp>
#include <cstdio>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "commands.h"
#include "flag_checks.h"
#include "http_get.h"
#include "objectstore/object_store.h"
#include "pipeline/lake_reader.h"
#include "pipeline/plan.h"
#include "pipeline/sql_tables.h"
#include "query/aggregate_reader.h"
#include "query/sql_engine.h"
#include "serve/answer_writer.h"
#include "service.h"
#include "text_table.h"

namespace millrace::app {
namespace {

namespace json = boost::json;

/// An answer is held whole before it is printed.
constexpr std::int64_t kAnswerBytesMax = std::int64_t{1} << 30;
// Of which statements may take an eighth, half of it for what they sort and group.
constexpr std::int64_t kLakeQuestionBytes = std::int64_t{8} << 30;

struct SqlFlags {
  std::string text;
  std::string output = "table";
  std::string url = "http://127.0.0.1:8080";
  std::string config;
  std::string token;
};

/// Who answers. One thread.
class Answerer {
 public:
  virtual ~Answerer() = default;
  /// As JSON or CSV.
  virtual Result<std::string> Ask(const std::string& sql, bool as_json) = 0;
  virtual Result<std::vector<std::string>> Tables() = 0;
};

class HttpAnswerer final : public Answerer {
 public:
  explicit HttpAnswerer(const SqlFlags& flags) : url_(flags.url), token_(flags.token) {}

  Result<std::string> Ask(const std::string& sql, bool as_json) override {
    const std::string body = json::serialize(json::object{{"sql", sql}});
    return WithHint(HttpPost(url_ + "/v1/sql?format=" + (as_json ? "json" : "csv"), token_, body, kAnswerBytesMax));
  }
  Result<std::vector<std::string>> Tables() override {
    ASSIGN_OR_RETURN(const auto body, WithHint(HttpGet(url_ + "/v1/tables", token_)));
    boost::system::error_code error;
    const auto document = json::parse(body, error);
    std::vector<std::string> names;
    if (error || !document.is_object() || !document.as_object().contains("tables")) {
      return InvalidInput("{}/v1/tables: not a list of tables", url_);
    }
    for (const auto& table : document.at("tables").as_array()) {
      names.push_back(json::value_to<std::string>(table.at("name")));
    }
    return names;
  }

 private:
  static Result<std::string> WithHint(Result<std::string> reply) {
    if (reply.ok() || KindOf(reply.status()) != ErrorKind::kTransient) return reply;
    return Transient("{}. Is 'millrace run' or 'millrace demo' up? With -c FILE the lake is asked instead",
                     reply.status().message());
  }

  const std::string url_;
  const std::string token_;
};

class LakeAnswerer final : public Answerer {
 public:
  static Result<std::unique_ptr<Answerer>> Make(std::shared_ptr<const pipeline::Plan> plan, const std::string& path) {
    auto answerer = std::make_unique<LakeAnswerer>();
    answerer->path_ = path;
    answerer->plan_ = std::move(plan);
    const auto lake = pipeline::OpenLake(answerer->plan_->config.lake, objectstore::IfMissing::kRefuse);
    if (!lake.ok()) return WithFirstRun(lake.status(), path);
    const auto resources = query::ReaderResources::Make(kLakeQuestionBytes, *answerer->budget_);
    std::map<std::string, query::AggregateReader*> readers;
    const auto& tables = answerer->plan_->tables;
    for (int t = 0; t < std::ssize(tables); ++t) {
      if (tables[t].kind != config::TableKind::kAggregate) continue;
      answerer->readers_.push_back(pipeline::LakeReader(*answerer->plan_, t, *lake, resources));
      readers[tables[t].name] = answerer->readers_.back().get();
    }
    auto named = pipeline::SqlTables(*answerer->plan_, *lake, readers);
    for (const auto& table : named) answerer->names_.push_back(table.name);
    answerer->routed_ = pipeline::RoutedSqlTables(*answerer->plan_, *lake);
    answerer->engine_ = std::make_unique<query::SqlEngine>(
        query::SqlEngine::Options{.tables = std::move(named),
                                  .more_tables = answerer->routed_,
                                  .memory = resources.memory,
                                  .num_threads = answerer->plan_->config.limits.num_threads()});
    return answerer;
  }

  Result<std::string> Ask(const std::string& sql, bool as_json) override {
    const auto answer = engine_->Ask({.sql = sql}, {});
    if (!answer.ok()) {
      const bool is_first_run = KindOf(answer.status()) == ErrorKind::kNotFound &&
                                answer.status().message().starts_with("table ");  // One that the pipeline has.
      return is_first_run ? WithFirstRun(answer.status(), path_) : answer.status();
    }
    ASSIGN_OR_RETURN(const auto body, as_json ? serve::AnswerToJson(*answer) : serve::AnswerToCsv(*answer));
    return body.Text();
  }
  Result<std::vector<std::string>> Tables() override {
    auto names = names_;
    if (!routed_) return names;
    ASSIGN_OR_RETURN(const auto routed, routed_({}));
    for (const auto& table : routed) names.push_back(table.name);
    return names;
  }

 private:
  std::string path_;
  std::shared_ptr<const pipeline::Plan> plan_;
  std::shared_ptr<MemoryBudget> budget_ = MemoryBudget::Make(kLakeQuestionBytes);
  std::vector<std::unique_ptr<query::AggregateReader>> readers_;
  std::vector<std::string> names_;  // Without those of routes.
  std::function<Result<std::vector<query::SqlTable>>(const std::stop_token&)> routed_;
  std::unique_ptr<query::SqlEngine> engine_;
};

/// CSV as serve/ writes it, as a table: JSON would cost long decimals their digits. Nothing between two commas is NULL.
std::string CsvToTable(const std::string& csv) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> cells;
  std::string cell;
  bool quoted = false;
  bool was_quoted = false;
  const auto end_cell = [&] {
    cells.push_back(cell.empty() && !was_quoted ? "NULL" : std::move(cell));
    cell.clear();
    was_quoted = false;
  };
  for (std::size_t i = 0; i < csv.size(); ++i) {
    const char c = csv[i];
    if (quoted) {
      if (c != '"') {
        cell += c;
      } else if (i + 1 < csv.size() && csv[i + 1] == '"') {
        cell += csv[++i];
      } else {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = was_quoted = true;
    } else if (c == ',') {
      end_cell();
    } else if (c == '\n') {
      end_cell();
      rows.push_back(std::exchange(cells, {}));
    } else {
      cell += c;
    }
  }
  return RenderTable(rows);
}

Status Print(Answerer& answerer, const std::string& sql, const std::string& output) {
  ASSIGN_OR_RETURN(const auto reply, answerer.Ask(sql, output == "json"));
  std::fputs(output == "table" ? CsvToTable(reply).c_str() : reply.c_str(), stdout);
  std::fflush(stdout);
  return Status::OK();
}

std::string Trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

/// Statements end with a semicolon at the end of a line.
void Shell(Answerer& answerer, const std::string& output) {
  std::fputs("Statements end with ';'. \\d lists the tables, \\d NAME a table's columns, \\q leaves.\n", stderr);
  std::string statement;
  for (std::string line;;) {
    std::fputs(statement.empty() ? "sql> " : "...> ", stderr);
    if (!std::getline(std::cin, line)) break;
    const std::string word = Trimmed(line);
    if (statement.empty() && (word == "\\q" || word == "exit" || word == "quit")) return;
    if (statement.empty() && word.empty()) continue;
    Status status;
    if (statement.empty() && word == "\\d") {
      const auto tables = answerer.Tables();
      status = tables.status();
      if (tables.ok()) {
        for (const auto& name : *tables) std::printf("%s\n", name.c_str());
      }
    } else if (statement.empty() && word.starts_with("\\d ")) {
      status = Print(answerer, "DESCRIBE " + sql::QuoteIdentifier(Trimmed(word.substr(3))), output);
    } else {
      statement += line + "\n";
      if (!word.ends_with(';')) continue;
      status = Print(answerer, std::exchange(statement, {}), output);
    }
    if (!status.ok()) Complain(status);
  }
  std::fputs("\n", stderr);
}

}  // namespace

Run AddSql(CLI::App& app) {
  auto flags = std::make_shared<SqlFlags>();
  app.add_option("text", flags->text, "A SELECT; left out: a shell on a terminal, else standard input");
  app.add_option("-o,--output", flags->output, "Format")
      ->check(CLI::IsMember({"table", "json", "csv"}))
      ->capture_default_str();
  auto* const url =
      app.add_option("--url", flags->url, "Of a running pipeline")->envname("MILLRACE_URL")->capture_default_str();
  app.add_option("--token", flags->token, "Bearer token")->envname("MILLRACE_TOKEN");
  app.add_option("-c,--config", flags->config, "Ask the lake of this pipeline, committed rows only")
      ->type_name("FILE")
      ->excludes(url);
  return [flags] {
    std::unique_ptr<Answerer> answerer;
    if (flags->config.empty()) {
      answerer = std::make_unique<HttpAnswerer>(*flags);
    } else {
      auto plan = LoadPlanOrComplain(flags->config, {}, ReadsLog::kNo);
      if (plan == nullptr) return kBadConfiguration;
      auto made = LakeAnswerer::Make(std::move(plan), flags->config);
      if (!made.ok()) return Complain(made.status());
      answerer = *std::move(made);
    }
    if (flags->text.empty() && isatty(STDIN_FILENO) != 0) {
      Shell(*answerer, flags->output);
      return kOk;
    }
    if (flags->text.empty()) flags->text.assign(std::istreambuf_iterator<char>(std::cin), {});
    const Status status = Print(*answerer, flags->text, flags->output);
    return status.ok() ? kOk : Complain(status);
  };
}

}  // namespace millrace::app
