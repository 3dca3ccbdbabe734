// Each verdict about a store, failing and passing, over a store with faults. tests/e2e/doctor_test.py tries real ones.
#include "doctor/lake_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "objectstore/memory_store.h"
#include "testing/faulty_store.h"
#include "testing/manual_clock.h"

namespace millrace::doctor {
namespace {

using ::testing::HasSubstr;
using testing::StoreFault;
using testing::StoreOperation;

class LakeChecks : public ::testing::Test {
 protected:
  Verdict Of(const std::string& name) {
    const auto found = std::find_if(checks_.begin(), checks_.end(), [&](const Check& c) { return c.name == name; });
    return found == checks_.end() ? Verdict::kSkipped : found->verdict;
  }
  void Run() { checks_ = CheckStore(store_, SystemClock()); }
  bool IsEmpty() { return inner_->List("").ValueOrDie().empty(); }

  std::shared_ptr<objectstore::ObjectStore> inner_ = objectstore::MakeMemoryStore();
  testing::FaultyStore store_{inner_};
  Checks checks_;
};

TEST_F(LakeChecks, AGoodStorePassesAllAndKeepsNothing) {
  Run();
  EXPECT_EQ(checks_.size(), 6u);
  for (const auto& check : checks_) EXPECT_EQ(check.verdict, Verdict::kOk) << check.name << ": " << check.found;
  EXPECT_TRUE(IsEmpty());
}

TEST_F(LakeChecks, EachOperationThatFailsIsNamed) {
  struct Case {
    StoreOperation operation;
    int nth;
    const char* name;
  };
  for (const auto& c : {Case{StoreOperation::kPutIfAbsent, 1, "lake.put"},
                        {StoreOperation::kPutIfAbsent, 2, "lake.conditional_put"},
                        {StoreOperation::kRead, 1, "lake.read"},
                        {StoreOperation::kList, 1, "lake.list"},
                        {StoreOperation::kDelete, 1, "lake.delete"}}) {
    SCOPED_TRACE(c.name);
    store_.Inject(c.operation, c.nth, StoreFault::kFail);
    Run();
    EXPECT_EQ(Of(c.name), Verdict::kFailed);
    EXPECT_EQ(std::count_if(checks_.begin(), checks_.end(),
                            [](const Check& check) { return check.verdict == Verdict::kFailed; }),
              1);
    const auto left = inner_->List("").ValueOrDie();
    EXPECT_EQ(left.empty(), c.operation != StoreOperation::kDelete);
    for (const auto& object : left) {
      EXPECT_THAT(checks_.back().mend, HasSubstr(object.key)) << "what is left is named";
      ASSERT_TRUE(inner_->Delete(object.key).ok());
    }
  }
}

TEST_F(LakeChecks, APutWhoseReplyWasLostLeavesNothing) {
  store_.Inject(StoreOperation::kPutIfAbsent, 1, StoreFault::kLoseReply);
  Run();
  EXPECT_EQ(Of("lake.put"), Verdict::kFailed);
  EXPECT_TRUE(IsEmpty());
}

// As a store does that does not know If-None-Match.
class OverwritingStore final : public objectstore::ObjectStore {
 public:
  const std::string& uri() const override { return store_->uri(); }
  Result<objectstore::PutOutcome> PutIfAbsent(const std::string& key, std::string_view bytes) override {
    RETURN_NOT_OK(store_->Put(key, bytes));
    return objectstore::PutOutcome::kCreated;
  }
  Status Put(const std::string& key, std::string_view bytes) override { return store_->Put(key, bytes); }
  Result<std::shared_ptr<objectstore::Upload>> StartUpload(const std::string& key) override {
    return store_->StartUpload(key);
  }
  Result<std::shared_ptr<arrow::Buffer>> Read(const std::string& key) override { return store_->Read(key); }
  Result<std::shared_ptr<arrow::io::RandomAccessFile>> Open(const std::string& key) override {
    return store_->Open(key);
  }
  Result<std::optional<objectstore::ObjectInfo>> Stat(const std::string& key) override { return store_->Stat(key); }
  Result<std::vector<objectstore::ObjectInfo>> List(const std::string& prefix, const std::string& after) override {
    return store_->List(prefix, after);
  }
  Status Delete(const std::string& key) override { return store_->Delete(key); }

 private:
  std::shared_ptr<objectstore::ObjectStore> store_ = objectstore::MakeMemoryStore();
};

TEST(LakeChecksAlone, AStoreThatOverwritesIsFound) {
  OverwritingStore store;
  const Checks checks = CheckStore(store, SystemClock());
  EXPECT_EQ(checks[1].name, "lake.conditional_put");
  EXPECT_EQ(checks[1].verdict, Verdict::kFailed);
  EXPECT_THAT(checks[1].mend, HasSubstr("If-None-Match"));
}

TEST(LakeChecksAlone, ClocksMayDifferByHalfAMinute) {
  const std::chrono::microseconds most = kClockSkewMax;
  EXPECT_EQ(CheckClock(most).verdict, Verdict::kOk);
  EXPECT_EQ(CheckClock(-most).verdict, Verdict::kOk);
  const Check ahead = CheckClock(most + std::chrono::seconds(1));
  EXPECT_EQ(ahead.verdict, Verdict::kFailed);
  EXPECT_EQ(ahead.found, "the store's clock is 31 s ahead of ours");
  EXPECT_EQ(CheckClock(-most - std::chrono::seconds(1)).found, "the store's clock is 31 s behind ours");
}

TEST(LakeChecksAlone, TheStoresClockIsThatOfItsObjects) {
  auto store = objectstore::MakeMemoryStore();
  // A second less is what the store's own seconds may hide.
  const testing::ManualClock slow(SystemClock().Now() - 100'000'000);
  const Checks checks = CheckStore(*store, slow);
  EXPECT_EQ(checks[4].name, "lake.clock");
  EXPECT_EQ(checks[4].verdict, Verdict::kFailed);
  EXPECT_THAT(checks[4].found, HasSubstr("s ahead of ours"));
}

TEST(LakeChecksAlone, WhyALakeCannotBeOpenedSaysWhatToMend) {
  EXPECT_THAT(CheckUnopened(InvalidInput("no credentials"), "s3://b").mend, HasSubstr("credentials"));
  EXPECT_THAT(CheckUnopened(Transient("refused"), "s3://b").mend, HasSubstr("endpoint"));
  EXPECT_THAT(CheckUnopened(Unsupported("ignores"), "s3://b").mend, HasSubstr("conditional writes"));
  EXPECT_EQ(CheckUnopened(Transient("refused"), "s3://b").found, "s3://b: refused");
}

}  // namespace
}  // namespace millrace::doctor
