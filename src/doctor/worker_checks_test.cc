// Each verdict about the other processes of a pipeline.
#include "doctor/worker_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace::doctor {
namespace {

using ::testing::HasSubstr;

TEST(WorkerChecks, AWorkerAnswersAndIsOfThisPipeline) {
  EXPECT_EQ(CheckWorker({.url = "http://w1:8080", .missing = "", .pipeline = "clicks"}, "clicks").verdict,
            Verdict::kOk);
  EXPECT_EQ(CheckWorker({.url = "http://w1:8080", .missing = "", .pipeline = ""}, "clicks").verdict, Verdict::kOk)
      << "of a build that does not say it";
  const Check away = CheckWorker({.url = "http://w1:8080", .missing = "it answered 401", .pipeline = ""}, "clicks");
  EXPECT_EQ(away.verdict, Verdict::kWarning);
  EXPECT_THAT(away.found, HasSubstr("http://w1:8080: it answered 401"));
  EXPECT_THAT(away.mend, HasSubstr("serve.internal_token"));
  const Check other = CheckWorker({.url = "http://w1:8080", .missing = "", .pipeline = "orders"}, "clicks");
  EXPECT_EQ(other.verdict, Verdict::kFailed);
  EXPECT_EQ(other.found, "http://w1:8080 is of the pipeline 'orders', and this is 'clicks'");
}

TEST(WorkerChecks, ANameStandsForAddresses) {
  const Result<std::vector<std::string>> two(std::vector<std::string>{"10.0.0.1", "10.0.0.2"});
  EXPECT_EQ(CheckWorkersName("w.svc", two).found, "w.svc stands for 10.0.0.1, 10.0.0.2");
  const Result<std::vector<std::string>> none(std::vector<std::string>{});
  EXPECT_EQ(CheckWorkersName("w.svc", none).verdict, Verdict::kWarning);
  EXPECT_THAT(CheckWorkersName("w.svc", Transient("the name w.svc cannot be looked up")).found, HasSubstr("looked up"));
}

}  // namespace
}  // namespace millrace::doctor
