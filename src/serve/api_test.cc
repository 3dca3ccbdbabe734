// Every route, format and error of the API, with a fake backend; the last test goes over a socket.
#include "serve/api.h"

#include <thread>

#include "http/test_client.h"
#include "serve/test_api.h"

namespace millrace::serve {
namespace {

namespace json = boost::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST_F(ApiTest, AStreamBeginsWithTheAnswer) {
  const auto first_of = [](http::Response response) {
    std::string text;
    const auto source = std::move(response.body).TakeSource();
    source->Next([&text](http::Chunk chunk) { text = chunk->value_or("the end"); });
    return text;
  };
  auto response = Get("/v1/aggregates/clicks_1m/stream?group_by=country");
  EXPECT_EQ(response.content_type, "text/event-stream");
  ASSERT_TRUE(response.body.has_source());
  EXPECT_TRUE(backend_.asked.name_groups);
  EXPECT_THAT(first_of(std::move(response)), AllOf(HasSubstr("event: snapshot"), HasSubstr(R"("country":"de")")));

  EXPECT_EQ(Get("/v1/aggregates/clicks_1h/stream").status, 404);
  EXPECT_EQ(Get("/v1/aggregates/clicks_1m/stream?grup_by=country").status, 400);
  EXPECT_EQ(Get("/v1/aggregates/clicks_1m/stream?format=csv").status, 400);
  backend_.fail = InvalidInput("where: no");
  EXPECT_EQ(Get("/v1/aggregates/clicks_1m/stream?where=no").status, 400);
  backend_.fail = Status::OK();

  api_->EndStreams();
  EXPECT_EQ(Get("/v1/aggregates/clicks_1m/stream").status, 503);
}

TEST_F(ApiTest, DifferentQuestionsOfStreamsHaveALimit) {
  options_.streams.questions_max = 2;
  EXPECT_EQ(Get("/v1/aggregates/clicks_1m/stream?limit=1").status, 200);
  EXPECT_EQ(Get("/v1/aggregates/clicks_1m/stream?limit=2&step=5m").status, 200);
  EXPECT_EQ(Get("/v1/aggregates/clicks_1m/stream?step=5m&limit=2").status, 200) << "the same question";
  EXPECT_EQ(Get("/v1/aggregates/clicks_1m/stream?limit=3").status, 503);
}

TEST_F(ApiTest, ProcessesOfAPipelineKnowEachOtherByATokenOfTheirOwn) {
  struct Case {
    const char* name;
    std::optional<std::string> internal_token;
    std::optional<std::string> bearer;
    bool is_open;
    const char* authorization;
    int status;
  };
  const std::vector<Case> cases = {
      {"its token", "inner", "outer", false, "Bearer inner", 200},
      {"a reader's token", "inner", "outer", true, "Bearer outer", 401},
      {"no token", "inner", std::nullopt, true, "", 401},
      {"a prefix of it", "inner", std::nullopt, true, "Bearer inne", 401},
      {"none is configured, on loopback", std::nullopt, std::nullopt, true, "", 200},
      {"none is configured, and others can come", std::nullopt, std::nullopt, false, "", 401},
      {"none is configured, and readers have one", std::nullopt, "outer", false, "Bearer outer", 401},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    ApiOptions options{.version = "1", .internal_token = c.internal_token, .is_open_to_peers = c.is_open};
    if (c.bearer) options.guard.access.emplace(std::vector<AccessToken>{{*c.bearer, {"read", "sql", "admin"}}});
    Api api(backend_, metrics_, options, clock_);
    const auto hot = api.Handle({"POST", "/internal/v1/hot", "", c.authorization, "q"});
    EXPECT_EQ(hot.status, c.status);
    if (c.status == 200) {
      EXPECT_EQ(hot.body.Text(), "rows of q");
    }
    EXPECT_EQ(api.Handle({"GET", "/internal/v1/pulse", "", c.authorization, ""}).status, c.status);
    EXPECT_EQ(api.Handle({"GET", "/internal/v1/nothing", "", c.authorization, ""}).status, c.status == 200 ? 404 : 401);
  }
}

TEST_F(ApiTest, AProcessForOthersAnswersNoQuestion) {
  options_.is_for_peers = true;
  options_.is_open_to_peers = true;
  for (const char* target :
       {"/v1/aggregates/clicks_1m", "/v1/tables", "/", "/cost", "/v1/aggregates/clicks_1m/stream"}) {
    EXPECT_EQ(Get(target).status, 404) << target;
  }
  for (const char* target : {"/livez", "/readyz", "/metrics", "/internal/v1/pulse"}) {
    EXPECT_EQ(Get(target).status, 200) << target;
  }
}

TEST_F(ApiTest, WorkersWhoseRowsAreMissingAreNamedInEveryFormat) {
  backend_.missing = {{"http://worker-2:8080", "timed out"}};
  const auto answer = json::parse(Get("/v1/aggregates/clicks_1m").body.Text());
  EXPECT_EQ(answer.at("partial"), json::parse(R"(["http://worker-2:8080"])"));
  for (const char* format : {"csv", "ndjson", "arrow", "parquet"}) {
    EXPECT_EQ(Header(Get(std::string("/v1/aggregates/clicks_1m?format=") + format), "Millrace-Partial"),
              R"(["http://worker-2:8080"])");
  }
}

TEST_F(ApiTest, EveryRouteAnswers) {
  struct Case {
    const char* target;
    const char* type;
    const char* part;
  };
  const std::vector<Case> cases = {
      {"/", "text/html; charset=utf-8", "<div id=\"app\">"},
      {"/?utm=x", "text/html; charset=utf-8", "</html>"},
      {"/livez", "text/plain; charset=utf-8", "ok"},
      {"/readyz", "text/plain; charset=utf-8", "ready"},
      {"/metrics", "text/plain; version=0.0.4; charset=utf-8",
       "millrace_http_requests_total{route=\"/livez\",status=\"200\"} 2"},
      {"/openapi.json", "application/json", "\"version\": \"1.2.3\""},
      {"/v1/tables", "application/json", R"({"tables":[{"name":"clicks"},)"},
      {"/v1/tables/clicks", "application/json", R"({"name":"clicks"})"},
      {"/v1/tables/%63licks", "application/json", R"({"name":"clicks"})"},
      {"/v1/tables/clicks/rows", "application/json", R"("next":"4-1-00")"},
      {"/v1/tables/clicks/history", "application/json", R"({"history":[100]})"},
      {"/v1/tables/clicks/files", "application/json", R"({"version":-1,"after":"","limit":1000})"},
      {"/v1/aggregates", "application/json", R"({"aggregates")"},
      {"/v1/aggregates/clicks_1m", "application/json", R"("data":[{"country":"de","views":3}])"},
      {"/v1/pipeline", "application/json", R"("records_per_second":5000.5)"},
      {"/v1/lag", "application/json", R"("lag":7)"},
      {"/v1/dead-letters", "application/json", R"({"reason":"","limit":10})"},
      {"/v1/dead-letters?reason=bad_json&limit=0", "application/json", R"({"reason":"bad_json","limit":0})"},
      {"/v1/dead-letters?limit=100", "application/json", R"("limit":100)"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.target);
    const auto response = Get(c.target);
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.content_type, c.type);
    EXPECT_THAT(response.body.Text(), HasSubstr(c.part));
    EXPECT_EQ(Send({"HEAD", c.target, "", "", ""}).status, 200);
    const auto post = Send({"POST", c.target, "", "", ""});
    EXPECT_EQ(post.status, 405);
    EXPECT_EQ(Header(post, "Allow"), "GET, HEAD");
  }
}

TEST_F(ApiTest, ThePagesAskNobodyElse) {
  for (const char* target : {"/", "/cost"}) {
    const auto page = Get(target);
    EXPECT_THAT(Header(page, "Content-Security-Policy"), HasSubstr("connect-src 'self'"));
    for (const char* outside : {"src=\"http", "href=\"http", "@import", "url(http"}) {
      EXPECT_EQ(page.body.Text().find(outside), std::string::npos) << outside;
    }
  }
}

TEST_F(ApiTest, TheOpenApiDocumentHasWhatOthersServe) {
  options_.more_paths = R"({"/v1/events/{topic}": {"post": {"summary": "Sends events."}}, "/collect.js": {"get": {}}})";
  const auto document = json::parse(Get("/openapi.json").body.Text());
  const auto& paths = document.at("paths").as_object();
  EXPECT_EQ(paths.at("/v1/events/{topic}").at("post").at("summary"), "Sends events.");
  EXPECT_TRUE(paths.contains("/collect.js"));
  EXPECT_TRUE(paths.contains("/v1/tables"));
}

TEST_F(ApiTest, TheOpenApiDocumentHasEveryRouteAndParameterAndNoLooseEnd) {
  const auto document = json::parse(Get("/openapi.json").body.Text());
  const auto& paths = document.at("paths").as_object();
  for (const char* route : {"/v1/tables",
                            "/v1/tables/{table}",
                            "/v1/tables/{table}/rows",
                            "/v1/tables/{table}/history",
                            "/v1/tables/{table}/files",
                            "/v1/aggregates",
                            "/v1/aggregates/{aggregate}",
                            "/v1/aggregates/{aggregate}/stream",
                            "/v1/pipeline",
                            "/v1/lag",
                            "/v1/dead-letters",
                            "/v1/tap",
                            "/v1/sql",
                            "/v1/cost/usage",
                            "/v1/cost/estimate",
                            "/livez",
                            "/readyz",
                            "/metrics",
                            "/openapi.json",
                            "/",
                            "/cost"}) {
    EXPECT_TRUE(paths.contains(route)) << route;
  }
  std::vector<std::string> parameters;
  for (const auto& parameter : paths.at("/v1/aggregates/{aggregate}").at("get").at("parameters").as_array()) {
    parameters.emplace_back(parameter.at("name").as_string());
  }
  EXPECT_THAT(parameters,
              ::testing::ElementsAre("If-None-Match", "aggregate", "from", "to", "step", "group_by", "where",
                                     "measures", "order_by", "limit", "cursor", "freshness", "fill", "format"));
  // Every $ref points at something.
  const std::string text = json::serialize(document);
  for (auto at = text.find("\"$ref\":\"#"); at != std::string::npos; at = text.find("\"$ref\":\"#", at + 1)) {
    const std::string pointer = text.substr(at + 9, text.find('"', at + 9) - at - 9);
    json::error_code error;
    EXPECT_NE(document.find_pointer(pointer, error), nullptr) << pointer;
  }
}

TEST_F(ApiTest, AQuestionReachesTheBackendAsItWasMeant) {
  ASSERT_EQ(
      Get("/v1/aggregates/"
          "clicks_1m?from=-1h&to=2026-11-22T11:00:00%2B01:00&step=5m&group_by=country,%20page&group_by=window_start"
          "&where=country+%3D+%27de%27&measures=views,revenue&order_by=revenue+desc,country&limit=10&freshness="
          "committed")
          .status,
      200);
  const auto& q = backend_.asked;
  EXPECT_EQ(q.range.from, kNow - 3'600'000'000);
  EXPECT_EQ(q.range.to, kNow);
  EXPECT_EQ(q.step_us, 300'000'000);
  EXPECT_EQ(q.group_by, (std::vector<std::string>{"country", "page", "window_start"}));
  EXPECT_EQ(q.where, "country = 'de'");
  EXPECT_EQ(q.measures, (std::vector<std::string>{"views", "revenue"}));
  EXPECT_EQ(q.order_by, (std::vector<std::string>{"revenue desc", "country"}));
  EXPECT_EQ(q.limit, 10);
  EXPECT_EQ(q.freshness, query::Freshness::kCommitted);

  ASSERT_EQ(Get("/v1/aggregates/clicks_1m").status, 200);
  EXPECT_EQ(q.range.from, std::nullopt);
  EXPECT_EQ(q.group_by, std::nullopt);
  EXPECT_EQ(q.freshness, query::Freshness::kHot);
  // Commas within parentheses are those of an expression.
  ASSERT_EQ(
      Get("/v1/aggregates/clicks_1m?measures=theta_union(theta_sketch(a)+FILTER+(WHERE+k+%3D+')'),+theta_sketch(b))"
          ",views")
          .status,
      200);
  EXPECT_EQ(q.measures, (std::vector<std::string>{
                            "theta_union(theta_sketch(a) FILTER (WHERE k = ')'), theta_sketch(b))", "views"}));
  ASSERT_EQ(Get("/v1/aggregates/clicks_1m?group_by=&step=0").status, 200);
  EXPECT_EQ(q.group_by, std::vector<std::string>{});
  EXPECT_EQ(q.step_us, 0);
}

TEST_F(ApiTest, FormatsByParameterAndByAccept) {
  struct Case {
    const char* parameter;
    const char* accept;
    int status;
    const char* type;
    const char* body;
  };
  const char* json_type = "application/json";
  const char* ndjson = "application/x-ndjson";
  const char* csv = "text/csv; charset=utf-8";
  const std::vector<Case> cases = {
      {"", "", 200, json_type, "\"rows\":1"},
      {"", "*/*", 200, json_type, "\"rows\":1"},
      {"", "text/csv", 200, csv, "country,views\nde,3\n"},
      {"", "application/x-ndjson", 200, ndjson, "{\"country\":\"de\",\"views\":3}\n"},
      {"", "text/csv;q=0.5, application/x-ndjson;q=0.9, */*;q=0.1", 200, ndjson, "{"},
      {"", "text/html, */*;q=0.8", 200, json_type, "{"},
      {"", "application/json;q=0, text/csv;q=0.001", 200, csv, "country"},
      {"", "image/png", 406, "application/problem+json", "not_acceptable"},
      {"?format=csv", "application/json", 200, csv, "country"},
      {"?format=ndjson", "", 200, ndjson, "{"},
      {"?format=json", "text/csv", 200, json_type, "{"},
      {"?format=arrow", "", 200, "application/vnd.apache.arrow.stream", "millrace.as_of"},
      {"", "application/vnd.apache.arrow.stream, */*;q=0.1", 200, "application/vnd.apache.arrow.stream", "country"},
      {"?format=parquet", "", 200, "application/vnd.apache.parquet", "PAR1"},
      {"", "application/vnd.apache.parquet", 200, "application/vnd.apache.parquet", "PAR1"},
      {"?format=xml", "", 400, "application/problem+json", "format: 'xml' is not json, ndjson, csv, arrow or parquet"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.parameter) + " " + c.accept);
    const auto response = Get("/v1/aggregates/clicks_1m" + std::string(c.parameter), c.accept);
    EXPECT_EQ(response.status, c.status);
    EXPECT_EQ(response.content_type, c.type);
    EXPECT_THAT(response.body.Text(), HasSubstr(c.body));
    if (c.status == 200) {
      EXPECT_EQ(Header(response, "Millrace-As-Of"), R"({"version":4,"offsets":{"clicks":{"0":9}},"watermark":null})");
    }
  }
}

TEST_F(ApiTest, GroupsWithoutAValueAreNamedInEveryFormat) {
  backend_.overflows = 1;
  const auto json_answer = Get("/v1/aggregates/clicks_1m");
  EXPECT_EQ(json_answer.status, 200);
  EXPECT_EQ(json::parse(json_answer.body.Text()).at("errors").at(0).at("measure").as_string(), "views");
  EXPECT_EQ(Header(json_answer, "Millrace-Errors"), "");
  for (const char* format : {"csv", "ndjson", "arrow", "parquet"}) {
    SCOPED_TRACE(format);
    const std::string target = "/v1/aggregates/clicks_1m?format=" + std::string(format);
    backend_.overflows = 1;
    EXPECT_EQ(
        Header(Get(target), "Millrace-Errors"),
        R"([{"group":{"country":"d\u00fcren \ud83d\ude00"},"measure":"views","detail":"The sum does not fit."}])");
    backend_.overflows = 1000;
    const auto refused = Get(target);
    EXPECT_EQ(refused.status, 413);
    EXPECT_THAT(refused.body.Text(), HasSubstr("ask for JSON"));
  }
}

TEST_F(ApiTest, AnAnswerHasABound) {
  options_.answer_bytes_max = 100;
  const auto response = Get("/v1/aggregates/clicks_1m?format=json");
  EXPECT_EQ(response.status, 413);
  EXPECT_THAT(response.body.Text(), HasSubstr("\"code\":\"answer_too_large\""));
  EXPECT_THAT(response.body.Text(), HasSubstr("100 bytes"));
  EXPECT_THAT(response.body.Text(), HasSubstr("fewer keys in group_by and where"));
  EXPECT_EQ(response.body.Text().find("de"), response.body.Text().find("detail")) << "a part of the answer";
}

TEST_F(ApiTest, OnlyHealthIsAnsweredAtOnceAndOnlyQuestionsTakeLong) {
  const auto lane = [](const std::string& target) { return Api::LaneOf({"GET", target, "", "", ""}); };
  EXPECT_EQ(lane("/livez"), http::Lane::kAtOnce);
  EXPECT_EQ(lane("/readyz?verbose"), http::Lane::kAtOnce);
  EXPECT_EQ(lane("/v1/aggregates/clicks_1m?from=-1h"), http::Lane::kLong);
  EXPECT_EQ(lane("/v1/aggregates/clicks_1m/stream?from=-1h"), http::Lane::kStream);
  for (const char* target : {"/", "/metrics", "/v1/aggregates", "/v1/tables/clicks", "/livez/x", "*", ""}) {
    EXPECT_EQ(lane(target), http::Lane::kShort) << target;
  }
}

TEST_F(ApiTest, ErrorsAreProblemsThatNameWhatIsWrong) {
  struct Case {
    const char* target;
    int status;
    const char* code;
    const char* detail;
    const char* hint;
  };
  const std::vector<Case> cases = {
      {"/v1/aggregates/clicks_1m?form=-1h", 400, "unknown_parameter", "There is no parameter 'form'.",
       "Did you mean 'from'?"},
      {"/v1/aggregates/clicks_1m?zebra=1", 400, "unknown_parameter", "There is no parameter 'zebra'.",
       "Known are from, to,"},
      {"/v1/aggregates/clicks_1m?from=1&from=2", 400, "repeated_parameter", "The parameter 'from' is given twice.", ""},
      {"/v1/aggregates/clicks_1m?from=soon", 400, "invalid_parameter", "from: 'soon' is not a time", ""},
      {"/v1/aggregates/clicks_1m?to=", 400, "invalid_parameter", "to: '' is not a time", ""},
      {"/v1/aggregates/clicks_1m?step=-5m", 400, "invalid_parameter", "step: '-5m' is not a duration", ""},
      {"/v1/aggregates/clicks_1m?limit=ten", 400, "invalid_parameter", "limit: 'ten' is not a count of rows", ""},
      {"/v1/aggregates/clicks_1m?limit=-1", 400, "invalid_parameter", "limit: '-1'", ""},
      {"/v1/aggregates/clicks_1m?limit=99999999999999999999", 400, "invalid_parameter", "limit:", ""},
      {"/v1/aggregates/clicks_1m?freshness=warm", 400, "invalid_parameter", "freshness: 'warm' is neither", ""},
      {"/v1/aggregates/clicks_1m?order_by=,", 400, "invalid_parameter", "order_by: ',' names nothing", ""},
      {"/v1/aggregates/clicks_1m?order_by=", 400, "invalid_parameter", "order_by: '' names nothing", ""},
      {"/v1/aggregates/clicks_1m?order_by=views&order_by=+", 400, "invalid_parameter", "order_by: ' '", ""},
      {"/v1/aggregates/clicks_1m?measures=", 400, "invalid_parameter", "measures: '' names nothing", ""},
      {"/v1/aggregates/clicks_1m?measures=%20,", 400, "invalid_parameter", "measures: ' ,' names nothing", ""},
      {"/v1/aggregates/clicks_1m?group_by=,", 400, "invalid_parameter", "group_by: ',' names nothing", ""},
      {"/v1/aggregates/clicks_1m?order_by=views+desc,", 400, "invalid_parameter",
       "order_by: 'views desc,' has an empty name", ""},
      {"/v1/aggregates/clicks_1m?order_by=,views", 400, "invalid_parameter", "order_by: ',views' has an empty", ""},
      {"/v1/aggregates/clicks_1m?group_by=country,+,page", 400, "invalid_parameter", "group_by: 'country, ,page'", ""},
      {"/v1/aggregates/clicks_1m?measures=views,", 400, "invalid_parameter", "measures: 'views,' has an empty", ""},
      {"/v1/aggregates/clicks_1m?where=", 400, "invalid_parameter", "where: '' is no condition", ""},
      {"/v1/aggregates/clicks_1m?where=%zz", 400, "malformed_url", "broken escape at '%zz'", ""},
      {"/v1/aggregates/clicks_1m?where=%4", 400, "malformed_url", "broken escape", ""},
      {"/v1/aggregates/clicks_1m?where=%00", 400, "malformed_url", "NUL", ""},
      {"/v1/aggregates/clicks_1m?where=%ff", 400, "malformed_url", "UTF-8", ""},
      {"*", 400, "malformed_url", "does not begin with '/'", ""},
      {"/v1/aggregates/click_1m", 404, "not_found", "There is no aggregate 'click_1m'.", "Did you mean 'clicks_1m'?"},
      {"/v1/tables/click", 404, "not_found", "There is no table 'click'.", "Did you mean 'clicks'?"},
      {"/v1/tables/zebra", 404, "not_found", "There is no table 'zebra'.", ""},
      {"/v1/tables/click/rows", 404, "not_found", "there is no table 'click'", ""},
      {"/v1/tables/click/history", 404, "not_found", "no table 'click'", ""},
      {"/v1/tables/click/files", 404, "not_found", "no table 'click'", ""},
      {"/v1/tables/clicks/rows?from=1", 400, "unknown_parameter", "There is no parameter 'from'.",
       "Known are columns,"},
      {"/v1/tables/clicks/rows?limit=0", 400, "invalid_parameter", "limit: a page has one row at least", ""},
      {"/v1/tables/clicks/rows?limit=x", 400, "invalid_parameter", "limit: 'x' is not a count of rows", ""},
      {"/v1/tables/clicks/rows?version=-1", 400, "invalid_parameter", "version: '-1' is not a version", ""},
      {"/v1/tables/clicks/rows?timestamp=soon", 400, "invalid_parameter", "timestamp: 'soon' is not a time", ""},
      {"/v1/tables/clicks/rows?cursor=", 400, "invalid_parameter", "cursor: it is empty", ""},
      {"/v1/tables/clicks/rows?columns=,", 400, "invalid_parameter", "columns: ',' names nothing", ""},
      {"/v1/tables/clicks/rows?where=+", 400, "invalid_parameter", "where: ' ' is no condition", ""},
      {"/v1/tables/clicks/history?version=1", 400, "unknown_parameter", "There is no parameter 'version'.", ""},
      {"/v1/tables/clicks/files?limit=0", 400, "invalid_parameter", "limit: one is the least", ""},
      {"/v1/tables/broken", 500, "corrupt_data", "gap at version 3", ""},
      {"/v1/tables?x=1", 400, "unknown_parameter", "There is no parameter 'x' here.", ""},
      {"/v1/table", 404, "not_found", "There is nothing at '/v1/table'.", "Did you mean '/v1/tables'?"},
      {"/v1/tables/", 404, "not_found", "There is nothing at '/v1/tables/'.", "Did you mean '/v1/tables'?"},
      {"/v1/tables/a/b", 404, "not_found", "There is nothing at", ""},
      {"/v1", 404, "not_found", "There is nothing at '/v1'.", ""},
      {"/v2/tables", 404, "not_found", "There is nothing at", "Did you mean '/v1/tables'?"},
      {"/..%2f..%2fetc/passwd", 404, "not_found", "There is nothing at", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.target);
    const auto response = Get(c.target);
    EXPECT_EQ(response.status, c.status);
    ASSERT_EQ(response.content_type, "application/problem+json");
    const auto problem = json::parse(response.body.Text()).as_object();
    EXPECT_EQ(problem.at("status").as_int64(), c.status);
    EXPECT_EQ(problem.at("code").as_string(), c.code);
    EXPECT_FALSE(problem.at("title").as_string().empty());
    EXPECT_EQ(problem.at("type").as_string(), std::string("urn:millrace:problem:") + c.code);
    EXPECT_THAT(std::string(problem.at("detail").as_string()), HasSubstr(c.detail));
    const std::string hint = problem.contains("hint") ? std::string(problem.at("hint").as_string()) : "";
    EXPECT_THAT(hint, HasSubstr(c.hint));
  }
}

TEST_F(ApiTest, TheKindOfAFailureIsItsStatus) {
  const std::vector<std::pair<Status, int>> cases = {{InvalidInput("group_by: no key 'x'"), 400},
                                                     {Transient("starting"), 503},
                                                     {Conflict("offsets"), 503},
                                                     {Cancelled("stopping"), 503},
                                                     {Unsupported("sketches"), 501},
                                                     {Corrupt("file"), 500},
                                                     {Internal("bug"), 500},
                                                     {UnknownOutcome("lost"), 503},
                                                     {Status::IOError("disk"), 500}};
  for (const auto& [status, want] : cases) {
    SCOPED_TRACE(status.ToString());
    backend_.fail = status;
    const auto response = Get("/v1/aggregates/clicks_1m");
    EXPECT_EQ(response.status, want);
    EXPECT_THAT(response.body.Text(), HasSubstr(status.message()));
    EXPECT_EQ(Header(response, "Retry-After"), want == 503 ? "1" : "");
  }
}

TEST_F(ApiTest, SqlIsPostedAndAnsweredLikeAQuestion) {
  const auto post = [&](const std::string& body, const std::string& target = "/v1/sql",
                        const std::string& accept = "") {
    return Send({"POST", target, accept, "", body});
  };
  const auto response = post(R"({"sql": "SELECT $1", "params": [7]})");
  ASSERT_EQ(response.status, 200) << response.body.Text();
  EXPECT_EQ(response.content_type, "application/json");
  const auto document = json::parse(response.body.Text());
  EXPECT_EQ(json::serialize(document.at("data")), R"([{"n":7}])");
  const std::string as_of =
      R"({"tables":{"clicks":{"version":4,"offsets":{"clicks":{"0":9}},"hot":false},)"
      R"("clicks_1m":{"version":5,"offsets":{"clicks":{"0":12,"1":3}},"hot":true}},"watermark":"1970-01-01T00:00:00Z"})";
  EXPECT_EQ(json::serialize(document.at("as_of")), as_of);
  EXPECT_EQ(Header(response, "Millrace-As-Of"), as_of);
  EXPECT_EQ(backend_.statement.sql, "SELECT $1");
  EXPECT_EQ(backend_.statement.parameters.size(), 1u);
  EXPECT_EQ(post(R"({"sql": "x"})", "/v1/sql?format=csv").body.Text(), "n\n7\n");
  EXPECT_EQ(post(R"({"sql": "x"})", "/v1/sql", "application/x-ndjson").body.Text(), "{\"n\":7}\n");
  EXPECT_EQ(Api::LaneOf({"POST", "/v1/sql", "", "", ""}), http::Lane::kLong);
  EXPECT_THAT(Get("/metrics").body.Text(), HasSubstr("millrace_sql_duration_seconds_count 3"));

  EXPECT_EQ(Header(Get("/v1/sql"), "Allow"), "POST");
  EXPECT_EQ(post("SELECT 1").status, 400);
  EXPECT_THAT(post(R"({"sql": "x"})", "/v1/sql?limit=5").body.Text(), HasSubstr("There is no parameter 'limit'."));
  EXPECT_EQ(post(R"({"sql": "x"})", "/v1/sql", "image/png").status, 406);
  const auto late = post(R"({"sql": "SELECT forever", "timeout_ms": 1})");
  EXPECT_EQ(late.status, 504);
  EXPECT_THAT(late.body.Text(), HasSubstr("There is no answer within 1 ms."));
  const std::vector<std::tuple<Status, int, const char*>> cases = {
      {NotFound("there is no table 'click'"), 400, "unknown_table"},
      {InvalidInput("syntax error at line 1 column 8"), 400, "line 1 column 8"},
      {TooLarge("the result has more than 10 rows"), 413, "a LIMIT"},
      {Transient("the store"), 503, "unavailable"},
      {Internal("bug"), 500, "internal"}};
  for (const auto& [status, want, part] : cases) {
    SCOPED_TRACE(status.ToString());
    backend_.fail = status;
    const auto failed = post(R"({"sql": "x"})");
    EXPECT_EQ(failed.status, want);
    EXPECT_THAT(failed.body.Text(), HasSubstr(part));
  }
  options_.guard.access.emplace(std::vector<AccessToken>{{"s3cret", {"read"}}});
  api_.reset();
  EXPECT_EQ(post(R"({"sql": "x"})").status, 401);
}

TEST_F(ApiTest, RowsComeInPages) {
  const auto response =
      Get("/v1/tables/clicks/rows?columns=id,country&where=id+%3E+5&order_by=id+desc&limit=20&version=4");
  ASSERT_EQ(response.status, 200) << response.body.Text();
  const auto& page = backend_.page;
  EXPECT_EQ(page.table, "clicks");
  EXPECT_EQ(page.columns, (std::vector<std::string>{"id", "country"}));
  EXPECT_EQ(page.where, "id > 5");
  EXPECT_EQ(page.order_by, std::vector<std::string>{"id desc"});
  EXPECT_EQ(page.limit, 20);
  EXPECT_EQ(page.version, 4);
  const auto document = json::parse(response.body.Text());
  EXPECT_EQ(document.at("next").as_string(), "4-1-00");
  EXPECT_EQ(json::serialize(document.at("as_of")), R"({"version":4,"offsets":{"clicks":{"0":9}},"watermark":null})");
  EXPECT_EQ(Header(response, "Millrace-Next"), "4-1-00");
  const auto last = Get("/v1/tables/clicks/rows?cursor=4-1-00&timestamp=-1h&format=csv");
  EXPECT_EQ(page.cursor, "4-1-00");
  EXPECT_EQ(page.timestamp_ms, (kNow - 3'600'000'000) / 1000);
  EXPECT_EQ(page.limit, 1000);
  EXPECT_EQ(last.body.Text(), "n\n7\n");
  EXPECT_EQ(Header(last, "Millrace-Next"), "");
  EXPECT_THAT(Get("/v1/tables/clicks/files?version=3&after=a.parquet&limit=5").body.Text(),
              HasSubstr(R"({"version":3,"after":"a.parquet","limit":5})"));
  EXPECT_THAT(Get("/v1/tables/clicks/history?limit=99999999").body.Text(), HasSubstr("[10000]"));
  EXPECT_EQ(Api::LaneOf({"GET", "/v1/tables/clicks/rows?limit=5", "", "", ""}), http::Lane::kLong);
}

TEST_F(ApiTest, PagesOfAnAggregateHaveACursorUntilTheirVersionIsGone) {
  const auto asked =
      Get("/v1/aggregates/"
          "clicks_1m?from=-1h&to=2026-11-22T10:00:00Z&freshness=committed&limit=1&cursor=4.1....0&fill=zero");
  ASSERT_EQ(asked.status, 200);
  EXPECT_EQ(backend_.asked.cursor, "4.1....0");
  EXPECT_EQ(backend_.asked.range_text, std::pair(std::string("-1h"), std::string("2026-11-22T10:00:00Z")));
  EXPECT_EQ(backend_.asked.fill, query::Fill::kZero);
  backend_.next = "4.2....0";
  EXPECT_EQ(json::parse(Get("/v1/aggregates/clicks_1m").body.Text()).at("next").as_string(), "4.2....0");
  EXPECT_EQ(Header(Get("/v1/aggregates/clicks_1m?format=csv"), "Millrace-Next"), "4.2....0");
  backend_.next.reset();
  EXPECT_EQ(Header(Get("/v1/aggregates/clicks_1m?format=csv"), "Millrace-Next"), "");

  struct Case {
    const char* parameters;
    const char* detail;
  };
  const Case cases[] = {{"?cursor=", "cursor: it is empty"},
                        {"?fill=none", "fill: 'none' is neither null nor zero"},
                        {"/stream?cursor=4.1....0", "cursor: a stream has no pages"},
                        {"/stream?fill=zero", "fill: a stream tells what has rows"}};
  for (const auto& c : cases) {
    const auto response = Get(std::string("/v1/aggregates/clicks_1m") + c.parameters);
    EXPECT_EQ(response.status, 400) << c.parameters;
    EXPECT_THAT(response.body.Text(), HasSubstr(c.detail));
  }
  backend_.fail = NotFound("cursor: version 4 is in the log of file:///lake no more");
  const auto gone = Get("/v1/aggregates/clicks_1m?cursor=4.1....0");
  EXPECT_EQ(gone.status, 410);
  EXPECT_EQ(json::parse(gone.body.Text()).at("code").as_string(), "version_gone");
  EXPECT_EQ(Get("/v1/aggregates/clicks_1m").status, 404) << "without a cursor no version is meant";
  EXPECT_EQ(Get("/v1/aggregates/other?cursor=4.1....0").status, 404) << "nothing is there";
  EXPECT_EQ(Get("/v1/tables/clicks/rows?cursor=gone").status, 410);
  EXPECT_EQ(Get("/v1/tables/other/rows?cursor=gone").status, 404);
}

TEST_F(ApiTest, DeadLettersAreAskedForWithABound) {
  for (const auto& [parameters, detail] :
       {std::pair("limit=101", "limit: 101 is more than 100"), std::pair("limit=-1", "limit: '-1' is not"),
        std::pair("reason=", "reason: it is empty"), std::pair("resaon=x", "Did you mean 'reason'?"),
        std::pair("reason=a&reason=b", "given twice")}) {
    const auto response = Get(std::string("/v1/dead-letters?") + parameters);
    EXPECT_EQ(response.status, 400) << parameters;
    EXPECT_THAT(response.body.Text(), HasSubstr(detail));
  }
  EXPECT_EQ(Get("/v1/lag?topic=clicks").status, 400);
}

TEST_F(ApiTest, OptionsOfTheWholeServerAreAnsweredWithoutAToken) {
  options_.guard.access = Access(std::vector<AccessToken>{{"secret", {"read"}}});
  const auto response = Send({"OPTIONS", "*", "", "", ""});
  EXPECT_EQ(response.status, 204);
  EXPECT_EQ(Header(response, "Allow"), "GET, HEAD, POST, OPTIONS");
  EXPECT_EQ(response.body.Text(), "");
}

TEST_F(ApiTest, ACostIsEstimatedFromWhatIsPosted) {
  const auto post = [&](const std::string& body) { return Send({"POST", "/v1/cost/estimate", "", "", body}); };
  const auto reference = post(R"({"preset": "reference", "providers": ["aws"], "curves": true})");
  ASSERT_EQ(reference.status, 200) << reference.body.Text();
  EXPECT_EQ(reference.content_type, "application/json");
  const auto document = json::parse(reference.body.Text());
  EXPECT_EQ(document.at("totalMonthlyCost").as_string(), "1104.0874");
  EXPECT_EQ(document.at("curves").at(0).at("points").as_array().size(), 13u);
  EXPECT_EQ(json::parse(post("").body.Text()).at("projects").as_array().size(), 3u);
  const auto region = json::parse(
      post(R"({"usage": {"events_per_second": 5}, "providers": ["gcp"], "regions": {"gcp": "europe-west3"}})")
          .body.Text());
  EXPECT_EQ(region.at("projects").at(0).at("name").as_string(), "gcp/europe-west3");
  const auto ranked = json::parse(post(R"({"preset": "reference", "providers": ["aws"], "rank": true})").body.Text());
  const auto& regions = ranked.at("regions").as_array();
  ASSERT_GT(regions.size(), 20u);
  EXPECT_TRUE(regions[0].at("complete").as_bool());
  EXPECT_FALSE(regions.back().at("complete").as_bool());
  EXPECT_FALSE(regions.back().at("missing").as_array().empty());
  EXPECT_TRUE(document.at("regions").as_array().empty());
  // What an instance measured is a load like any other.
  const auto usage = Get("/v1/cost/usage");
  ASSERT_EQ(usage.status, 200);
  const auto live = json::parse(post(R"({"usage": )" + usage.body.Text() + "}").body.Text());
  EXPECT_EQ(live.at("usage").at(0).at("origin").as_string(), "measured over 60 s");
  EXPECT_EQ(live.at("usage").at(0).at("value").as_string(), "2500");
}

TEST_F(ApiTest, AWrongLoadIsRefusedWithItsPlaceAndTheNearestName) {
  struct Case {
    const char* body;
    const char* detail;
  };
  const Case cases[] = {
      {"{", "not JSON"},
      {"[]", "must be a JSON object"},
      {R"({"usge": {}})", "unknown member 'usge'; did you mean 'usage'?"},
      {R"({"usage": 3})", "usage: a JSON object is expected"},
      {R"({"usage": {"events_per_second": -1}})", "usage:1:22: events_per_second: -1 is less than 0"},
      {R"({"usage": {"lake": {"retenton": "3d"}}})", "did you mean 'lake.retention'?"},
      {R"({"providers": ["awss"]})", "did you mean 'aws'?"},
      {R"({"providers": ["aws", "aws"]})", "aws is here twice"},
      {R"({"providers": []})", "a list of names is expected"},
      {R"({"regions": {"aws": "us-esat-1"}})", "regions: no region 'us-esat-1' of aws; did you mean 'us-east-1'?"},
      {R"({"regions": {"aws": 1}})", "a text is expected"},
      {R"({"preset": "startr"})", "did you mean 'starter'?"},
      {R"({"regions": {"awss": "us-east-1"}})", "regions: no provider 'awss'"},
      {" \n", "not JSON"},
      {R"({"curves": 1})", "curves: true or false"},
      {R"({"rank": "yes"})", "rank: true or false"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.body);
    const auto response = Send({"POST", "/v1/cost/estimate", "", "", c.body});
    EXPECT_EQ(response.status, 400);
    EXPECT_THAT(response.body.Text(), HasSubstr(c.detail));
  }
  EXPECT_EQ(Send({"POST", "/v1/cost/estimate", "", "", std::string(70'000, ' ')}).status, 400);
  const auto get = Get("/v1/cost/estimate");
  EXPECT_EQ(get.status, 405);
  EXPECT_EQ(Header(get, "Allow"), "POST");
}

TEST_F(ApiTest, NotReadyIs503) {
  backend_.ready = false;
  EXPECT_EQ(Get("/readyz").status, 503);
  EXPECT_EQ(Get("/livez").status, 200);
}

TEST_F(ApiTest, ABearerTokenGuardsV1) {
  options_.guard.access.emplace(std::vector<AccessToken>{{"s3cret", {"read"}}});
  for (const char* wrong : {"", "s3cret", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crett", "Bearer s3cret ",
                            "Basic s3cret", "Bearer s3creT", "Bearer s3crets3cret"}) {
    SCOPED_TRACE(wrong);
    const auto response = Get("/v1/tables", "", wrong);
    EXPECT_EQ(response.status, 401);
    EXPECT_THAT(Header(response, "WWW-Authenticate"), ::testing::StartsWith("Bearer realm=\"millrace\""));
    EXPECT_EQ(Get("/v1/nothing", "", wrong).status, 401);
  }
  EXPECT_EQ(Get("/v1/tables", "", "Bearer s3cret").status, 200);
  EXPECT_EQ(Get("/v1/tables", "", "bearer s3cret").status, 200);
  EXPECT_EQ(Get("/livez").status, 200);
  EXPECT_EQ(Get("/").status, 200);
  options_.guard.access.emplace(std::vector<AccessToken>{});
  api_.reset();
  EXPECT_EQ(Get("/v1/tables", "", "Bearer x").status, 401);
}

TEST_F(ApiTest, ALargeAnswerIsCompressedForWhoTakesThat) {
  http::Request request{"GET", "/openapi.json", "", "", ""};
  const auto plain = Send(request);
  EXPECT_EQ(Header(plain, "Content-Encoding"), "");
  EXPECT_EQ(Header(plain, "Vary"), "Accept-Encoding");
  for (const char* coding : {"gzip", "zstd"}) {
    request.accept_encoding = coding;
    const auto encoded = Send(request);
    EXPECT_EQ(encoded.status, 200);
    EXPECT_EQ(Header(encoded, "Content-Encoding"), coding);
    EXPECT_LT(encoded.body.bytes(), plain.body.bytes() / 4);
  }
  request.target = "/v1/tables/clicks";
  EXPECT_EQ(Header(Send(request), "Content-Encoding"), "") << "too small";
  request.target = "/v1/tables/broken";
  EXPECT_EQ(Send(request).status, 500);
}

TEST_F(ApiTest, CountsRequestsAndTimesQuestions) {
  Get("/v1/aggregates/clicks_1m");
  Get("/v1/aggregates/nothing");
  Get("/no/such/route");
  const std::string text = Get("/metrics").body.Text();
  EXPECT_THAT(text, HasSubstr(R"(millrace_http_requests_total{route="/v1/aggregates/{aggregate}",status="200"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(millrace_http_requests_total{route="/v1/aggregates/{aggregate}",status="404"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(millrace_http_requests_total{route="other",status="404"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(millrace_query_duration_seconds_count{aggregate="clicks_1m"} 1)"));
  EXPECT_EQ(text.find("nothing"), std::string::npos) << "what a client types must not become a series";
}

TEST_F(ApiTest, OverASocket) {
  Api api(backend_, metrics_, options_, clock_);
  MILLRACE_ASSERT_OK_AND_ASSIGN(
      const auto server, http::Server::Start({}, [&](const http::Request& request) { return api.Handle(request); }));
  http::TestClient client(server->port());
  client.Send("GET /v1/aggregates/clicks_1m HTTP/1.1\r\nHost: x\r\nAccept: text/csv\r\n\r\n");
  const std::string csv = client.ReadOne();
  EXPECT_THAT(csv, HasSubstr("\r\n\r\ncountry,views\nde,3\n"));
  client.Send("HEAD /v1/aggregates/clicks_1m HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.ReadOne(/*head=*/true), HasSubstr("Content-Length: "));
  client.Send("DELETE /v1/tables/clicks HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string refused = client.ReadOne();
  EXPECT_EQ(http::StatusOf(refused), 405);
  EXPECT_THAT(refused, HasSubstr("Allow: GET, HEAD\r\n"));
}

}  // namespace
}  // namespace millrace::serve
