// Two workers' claims against one index.
#include "pipeline/route_family.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "objectstore/memory_store.h"
#include "pipeline/open_tables.h"
#include "pipeline/test_pipeline_internal.h"
#include "testing/status_matchers.h"

namespace millrace::pipeline {
namespace {

using ::testing::HasSubstr;

class RouteFamilyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto config = TestConfig();
    config.tables = {{.name = "ev_{txt}", .route = "txt", .route_max = 2}};
    plan_ = MakePlan(std::move(config)).ValueOrDie();
    one_ = Open();
    two_ = Open();
  }
  std::shared_ptr<RouteFamily> Open() { return OpenTables(*plan_, lake_).ValueOrDie()[0].family; }
  std::shared_ptr<delta::Table> Index() {
    return delta::Table::Open(objectstore::Below(lake_, "ev_routes")).ValueOrDie();
  }

  std::shared_ptr<const Plan> plan_;
  std::shared_ptr<objectstore::ObjectStore> lake_ = objectstore::MakeMemoryStore();
  std::shared_ptr<RouteFamily> one_;
  std::shared_ptr<RouteFamily> two_;
};

TEST_F(RouteFamilyTest, OneValueIsClaimedOnceHoweverManyAsk) {
  const int a = one_->Admit("a").route;
  EXPECT_EQ(one_->Admit("a").route, a);
  MILLRACE_ASSERT_OK(one_->Claim({a}));
  MILLRACE_ASSERT_OK(two_->Claim({two_->Admit("a").route}));
  EXPECT_EQ(one_->Get(a).table->snapshot()->metadata.id,
            two_->Get(two_->Admit("a").route).table->snapshot()->metadata.id);
  EXPECT_EQ(Index()->snapshot()->TxnVersion("test#routes"), 1);
  MILLRACE_ASSERT_OK(one_->Claim({a}));
  EXPECT_EQ(Index()->snapshot()->TxnVersion("test#routes"), 1);
}

TEST_F(RouteFamilyTest, OfTwoThatWantTheLastPlaceOneHasIt) {
  MILLRACE_ASSERT_OK(one_->Claim({one_->Admit("a").route}));
  const int b = two_->Admit("b").route;
  MILLRACE_ASSERT_OK(one_->Claim({one_->Admit("c").route}));
  const Status lost = two_->Claim({b});
  EXPECT_EQ(KindOf(lost), ErrorKind::kConflict);
  EXPECT_THAT(lost.message(), HasSubstr("no room"));
  two_->ForgetUnclaimed();
  MILLRACE_ASSERT_OK(two_->Refresh());
  EXPECT_STREQ(two_->Admit("b").reason, kRouteLimit);
  EXPECT_GE(two_->Admit("c").route, 0);
  EXPECT_EQ(two_->routes().size(), 2u);
}

TEST_F(RouteFamilyTest, AnotherSpellingIsWhoseWasFirst) {
  const int upper = two_->Admit("A").route;
  MILLRACE_ASSERT_OK(one_->Claim({one_->Admit("a").route}));
  EXPECT_EQ(KindOf(two_->Claim({upper})), ErrorKind::kConflict);
  two_->ForgetUnclaimed();
  MILLRACE_ASSERT_OK(two_->Refresh());
  EXPECT_STREQ(two_->Admit("A").reason, kRouteName);
  EXPECT_GE(two_->Admit("a").route, 0);
}

TEST_F(RouteFamilyTest, WhatWasClaimedAndNotMadeIsMadeByTheNext) {
  const int a = one_->Admit("a").route;
  MILLRACE_ASSERT_OK(one_->Claim({a}));
  MILLRACE_ASSERT_OK(lake_->Delete("ev_a/_delta_log/00000000000000000000.json"));
  const auto third = Open();
  EXPECT_EQ(third->Get(third->Admit("a").route).table, nullptr);
  MILLRACE_ASSERT_OK(third->Claim({third->Admit("a").route}));
  EXPECT_NE(third->Get(third->Admit("a").route).table, nullptr);
}

TEST_F(RouteFamilyTest, WhatIsForgottenMakesRoom) {
  EXPECT_GE(one_->Admit("a").route, 0);
  EXPECT_GE(one_->Admit("b").route, 0);
  EXPECT_STREQ(one_->Admit("c").reason, kRouteLimit);
  one_->ForgetUnclaimed();
  EXPECT_GE(one_->Admit("c").route, 0);
}

}  // namespace
}  // namespace millrace::pipeline
