/// The API over a backend that answers what a test tells it to.
#pragma once

#include <arrow/table.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "serve/api.h"
#include "testing/batch_from_json.h"
#include "testing/status_matchers.h"

namespace millrace::serve {

inline constexpr UnixMicros kNow = 1'795'341'600'000'000;

class FakeClock : public Clock {
 public:
  UnixMicros Now() const override { return now; }
  std::chrono::steady_clock::time_point SteadyNow() const override { return {}; }
  UnixMicros now = kNow;
};

class FakeBackend : public Backend {
 public:
  explicit FakeBackend(millrace::Metrics& metrics) : metrics_(metrics) {}
  Result<boost::json::value> Tables() override {
    return boost::json::parse(R"({"tables":[{"name":"clicks"},{"name":"clicks_1m"}]})");
  }
  Result<boost::json::value> Table(const std::string& name) override {
    if (name == "clicks" || name == "clicks_1m") return boost::json::parse(R"({"name":"clicks"})");
    if (name == "broken") return Corrupt("table broken: the log has a gap at version 3");
    return NotFound("no table '{}'", name);
  }
  Result<boost::json::value> Lag() override { return boost::json::parse(R"({"lag":7,"partitions":[]})"); }
  Result<boost::json::value> DeadLetters(const std::string& reason, std::int64_t limit,
                                         const std::stop_token&) override {
    return boost::json::object{{"reason", reason}, {"limit", limit}};
  }
  Result<boost::json::value> CostUsage() override {
    return boost::json::parse(R"({"origin":"measured over 60 s","events_per_second":2500,"bytes_per_event":400})");
  }
  Result<boost::json::value> Aggregates() override {
    return boost::json::parse(R"({"aggregates":[{"name":"clicks_1m"}]})");
  }
  Result<query::Answer> Query(const std::string& aggregate, const query::AggregateRequest& request,
                              const std::stop_token&) override {
    if (aggregate != "clicks_1m") return NotFound("no aggregate");
    asked = request;
    ++queries;
    if (!fail.ok()) return fail;
    query::Answer answer;
    const auto batch = testing::BatchFromJson(
        arrow::schema({arrow::field("country", arrow::utf8()), arrow::field("views", arrow::int64())}),
        fmt::format(R"([["de", {}]])", views));
    answer.state = state;
    answer.rows = arrow::Table::FromRecordBatches({batch}).ValueOrDie();
    answer.columns = {{"country", "VARCHAR"}, {"views", "BIGINT"}};
    answer.as_of = {4, {{{"clicks", 0}, offset}}, std::nullopt};
    answer.missing = missing;
    answer.is_closed = is_closed;
    answer.next = next;
    if (overflows) {
      answer.errors = {{0, "views", "The sum does not fit."}};
      answer.error_groups =
          testing::BatchFromJson(arrow::schema({arrow::field("country", arrow::utf8())}), R"([["düren 😀"]])");
      for (int i = 1; i < overflows; ++i) answer.errors.push_back(answer.errors[0]);
    }
    return answer;
  }
  std::optional<query::AnswerState> KnownState(const std::string& aggregate,
                                               query::AggregateRequest& request) const override {
    if (aggregate != "clicks_1m") return std::nullopt;
    if (request.range.from) request.range.from = *request.range.from / kMinute * kMinute;
    return state;
  }
  void NoteAnsweredAgain() override { ++answered_again; }
  Result<sql::StatementShape> SqlShape(const std::string&, const std::stop_token&) override {
    return sql::StatementShape{};
  }
  Result<std::vector<query::SqlTableShape>> SqlTables(const std::stop_token&) override {
    return std::vector<query::SqlTableShape>();
  }
  Result<query::Answer> Sql(const query::SqlRequest& request, const std::stop_token& stop) override {
    statement = request;
    if (request.sql == "SELECT forever") {
      while (!stop.stop_requested()) std::this_thread::yield();
      return Cancelled("query interrupted");
    }
    if (!fail.ok()) return fail;
    query::Answer answer;
    answer.rows = arrow::Table::FromRecordBatches(
                      {testing::BatchFromJson(arrow::schema({arrow::field("n", arrow::int64())}), "[[7]]")})
                      .ValueOrDie();
    answer.columns = {{"n", "BIGINT"}};
    answer.as_of.watermark = 0;
    answer.tables = {{"clicks", {4, {{{"clicks", 0}, 9}}, std::nullopt}, false},
                     {"clicks_1m", {5, {{{"clicks", 0}, 12}, {{"clicks", 1}, 3}}, std::nullopt}, true}};
    return answer;
  }
  Result<query::Answer> Rows(const query::RowsRequest& request, const std::stop_token&) override {
    page = request;
    if (request.table != "clicks") return NotFound("there is no table '{}'", request.table);
    if (request.cursor == "gone") return NotFound("cursor: version 4 is in the log of file:///lake no more");
    query::Answer answer;
    answer.rows = arrow::Table::FromRecordBatches(
                      {testing::BatchFromJson(arrow::schema({arrow::field("n", arrow::int64())}), "[[7]]")})
                      .ValueOrDie();
    answer.columns = {{"n", "BIGINT"}};
    answer.as_of = {4, {{{"clicks", 0}, 9}}, std::nullopt};
    if (request.cursor.empty()) answer.next = "4-1-00";
    return answer;
  }
  Result<boost::json::value> History(const std::string& table, std::int64_t limit) override {
    if (table != "clicks") return NotFound("no table '{}'", table);
    return boost::json::object{{"history", boost::json::array{limit}}};
  }
  Result<boost::json::value> Files(const std::string& table, std::optional<delta::TableVersion> version,
                                   const std::string& after, std::int64_t limit) override {
    if (table != "clicks") return NotFound("no table '{}'", table);
    return boost::json::object{{"version", version.value_or(-1)}, {"after", after}, {"limit", limit}};
  }
  Result<boost::json::value> Pipeline() override {
    return boost::json::parse(R"({"pipeline":"clicks","rates":{"records_per_second":5000.5}})");
  }
  std::string Metrics() override { return metrics_.Render(); }
  bool Ready() override { return ready; }
  Pulse Feel() override { return {}; }
  Result<std::string> AnswerPeer(std::string_view question) override { return "rows of " + std::string(question); }
  Result<std::string> PulseForPeers() override { return std::string("beat"); }

  static constexpr UnixMicros kMinute = 60'000'000;
  bool ready = true;
  int queries = 0;
  int answered_again = 0;
  int views = 3;
  bool is_closed = false;
  model::Offset offset = 9;
  std::optional<query::AnswerState> state{};  // As known, and of answers.
  Status fail;
  int overflows = 0;  // Errors in the answer.
  std::optional<std::string> next;
  std::vector<query::MissingSource> missing;
  query::AggregateRequest asked;
  query::SqlRequest statement;
  query::RowsRequest page;

 private:
  millrace::Metrics& metrics_;
};

class ApiTest : public ::testing::Test {
 protected:
  http::Response Get(const std::string& target, const std::string& accept = "", const std::string& authorization = "") {
    return Send({"GET", target, accept, authorization, ""});
  }
  http::Response Send(const http::Request& request) { return MakeApi().Handle(request); }
  // With what options_ were at the first call.
  Api& MakeApi() {
    if (!api_) api_ = std::make_unique<Api>(backend_, metrics_, options_, clock_);
    return *api_;
  }
  // What is answered without waiting.
  std::optional<http::Response> AtOnce(http::Request request) { return MakeApi().HandleAtOnce(request).response; }
  static std::string Header(const http::Response& response, const std::string& name) {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return "";
  }

  Metrics metrics_;
  FakeBackend backend_{metrics_};
  FakeClock clock_;
  ApiOptions options_{.version = "1.2.3"};
  std::unique_ptr<Api> api_;
};

}  // namespace millrace::serve
