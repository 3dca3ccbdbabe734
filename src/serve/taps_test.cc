// Taps through the API: threads, and what limits them.
#include "serve/taps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "serve/test_api.h"
#include "serve/test_tap.h"

namespace millrace::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class TappedBackend final : public FakeBackend {
 public:
  using FakeBackend::FakeBackend;
  Result<std::unique_ptr<TapSource>> Tap(const TapRequest& request) override {
    tapped = request;
    if (!fail.ok()) return fail;
    return std::make_unique<FakeTapSource>(log);
  }
  std::shared_ptr<FakeTapLog> log = std::make_shared<FakeTapLog>();
  TapRequest tapped;
};

class TapsTest : public ::testing::Test {
 protected:
  http::Response Get(const std::string& target) {
    if (!api_) api_ = std::make_unique<Api>(backend_, metrics_, options_, clock_);
    return api_->Handle({"GET", target, "", "", ""});
  }
  std::unique_ptr<http::BodySource> Open(const std::string& target = "/v1/tap") {
    auto response = Get(target);
    EXPECT_EQ(response.status, 200) << response.body.Text();
    if (!response.body.has_source()) return nullptr;
    return std::move(response.body).TakeSource();
  }
  /// Waits for it.
  static std::string NextOf(http::BodySource& source) {
    std::promise<std::string> next;
    source.Next([&next](http::Chunk chunk) { next.set_value(chunk->value_or("the end")); });
    return next.get_future().get();
  }

  Metrics metrics_;
  TappedBackend backend_{metrics_};
  FakeClock clock_;
  ApiOptions options_{.version = "1.2.3"};
  std::unique_ptr<Api> api_;
};

TEST_F(TapsTest, ShowsWhatComes) {
  auto response = Get("/v1/tap?input=clicks&where=country+%3D+'DE'&last=5");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "text/event-stream");
  const auto events = std::move(response.body).TakeSource();
  EXPECT_EQ(backend_.tapped.input, "clicks");
  EXPECT_EQ(backend_.tapped.where, "country = 'DE'");
  EXPECT_EQ(backend_.tapped.last, 5);
  EXPECT_THAT(NextOf(*events), StartsWith("event: start\n"));
  backend_.log->Add(Tapped{.rows = {TappedRows(R"([["DE", 7]])")}, .looked_at = 1});
  EXPECT_EQ(NextOf(*events), "event: row\ndata: {\"country\":\"DE\",\"_offset\":7}\n\n");
}

TEST_F(TapsTest, AnErrorOfTheLogIsTheLastEvent) {
  const auto events = Open();
  NextOf(*events);
  backend_.log->Add(NotFound("topic clicks is gone"));
  const std::string error = NextOf(*events);
  EXPECT_THAT(error, StartsWith("event: error\ndata: {"));
  EXPECT_THAT(error, HasSubstr("\"status\":404,\"detail\":\"topic clicks is gone\",\"code\":\"not_found\""));
  EXPECT_EQ(NextOf(*events), "the end");
  backend_.log->WaitUntilNobodyLooks();
}

TEST_F(TapsTest, AreLimitedInNumberAndOneThatIsLeftMakesRoom) {
  options_.taps.taps_max = 2;
  auto one = Open();
  const auto two = Open("/v1/tap?transform=clean");
  EXPECT_THAT(Get("/metrics").body.Text(), HasSubstr("millrace_taps 2"));
  const auto refused = Get("/v1/tap");
  EXPECT_EQ(refused.status, 503);
  EXPECT_THAT(refused.body.Text(), HasSubstr("2 taps are open, which is the limit"));
  EXPECT_THAT(refused.headers, ::testing::Contains(::testing::Pair("Retry-After", "1")));
  one = nullptr;
  while (Get("/v1/tap").status == 503) std::this_thread::yield();
}

TEST_F(TapsTest, OneThatDoesNotBeginTakesNoPlace) {
  options_.taps.taps_max = 1;
  backend_.fail = Transient("no broker answers");
  for (int i = 0; i < 3; ++i) EXPECT_THAT(Get("/v1/tap").body.Text(), HasSubstr("no broker answers"));
  backend_.fail = InvalidInput("where: the table has no column 'contry'; did you mean 'country'?");
  EXPECT_EQ(Get("/v1/tap?where=contry+is+null").status, 400);
  backend_.fail = Unsupported("this process reads no log");
  EXPECT_EQ(Get("/v1/tap").status, 501);
  backend_.fail = Status::OK();
  Open();
}

TEST_F(TapsTest, DrawFromTheMemoryLimit) {
  options_.memory = MemoryBudget::Make(10 << 20);
  options_.taps.tap_bytes = 6 << 20;
  auto one = Open();
  EXPECT_EQ(options_.memory->used(), 6 << 20);
  const auto refused = Get("/v1/tap");
  EXPECT_EQ(refused.status, 503);
  EXPECT_THAT(refused.body.Text(), HasSubstr("limits.memory is spent"));
  one = nullptr;
  while (options_.memory->used() > 0) std::this_thread::yield();
}

TEST_F(TapsTest, EndWithTheServerAndNoneBeginsAfterIt) {
  const auto events = Open();
  NextOf(*events);
  api_->EndStreams();
  EXPECT_EQ(NextOf(*events), "the end");
  backend_.log->WaitUntilNobodyLooks();
  EXPECT_EQ(Get("/v1/tap").status, 503);
}

TEST_F(TapsTest, WrongParametersAreNamed) {
  struct Case {
    const char* parameters;
    const char* detail;
  };
  for (const Case& c :
       {Case{"inptu=a", "Did you mean 'input'?"}, Case{"input=", "input: it is empty"},
        Case{"where=+", "where: ' ' is no condition"}, Case{"last=1001", "last: 1001 is more than 1000"},
        Case{"last=-1", "last: "}, Case{"input=a&transform=b", "transform: input and transform exclude"},
        Case{"input=a&input=b", "'input' is given twice"}}) {
    const auto response = Get(std::string("/v1/tap?") + c.parameters);
    EXPECT_EQ(response.status, 400) << c.parameters;
    EXPECT_THAT(response.body.Text(), HasSubstr(c.detail));
  }
}

}  // namespace
}  // namespace millrace::serve
