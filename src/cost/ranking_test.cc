// Goal: the ranking is what an estimate of each region says. Method: every region of every provider against its own
// estimate; places all over the world against the regions that are near them; a gap is never a bargain.
#include "cost/ranking.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "testing/status_matchers.h"

namespace millrace::cost {
namespace {

using ::testing::HasSubstr;

const Day kRankingDay = *ParseDay("2026-11-28");
const std::vector<Provider> kClouds = {Provider::kAws, Provider::kGcp, Provider::kAzure};

class Ranking : public ::testing::Test {
 protected:
  std::vector<RankedRegion> Rank(const Usage& usage, const std::optional<Near>& near = std::nullopt) const {
    return RankRegions(usage, kClouds, prices_, kRankingDay, near).ValueOrDie();
  }
  const PriceSheet prices_ = PriceSheet::Shipped().ValueOrDie();
};

TEST_F(Ranking, HasEveryRegionAtTheTotalOfItsEstimate) {
  for (const auto& preset : UsagePresetNames()) {
    const auto usage = UsagePreset(preset).ValueOrDie();
    const auto ranked = Rank(usage);
    EXPECT_EQ(ranked.size(), prices_.regions().size() - 1);  // Own machines were not asked for.
    std::size_t complete = 0;
    for (std::size_t i = 0; i < ranked.size(); ++i) {
      SCOPED_TRACE(ranked[i].region.name);
      const auto estimate =
          MakeEstimate(usage, ranked[i].region.provider, ranked[i].region.name, prices_, kRankingDay).ValueOrDie();
      EXPECT_EQ(ranked[i].total, estimate.total);
      EXPECT_EQ(ranked[i].missing.empty(), estimate.complete());
      EXPECT_EQ(ranked[i].round_trip_ms, std::nullopt);
      complete += estimate.complete() ? 1 : 0;
      if (i == 0) continue;
      if (ranked[i].missing.empty() == ranked[i - 1].missing.empty()) {
        EXPECT_GE(ranked[i].total, ranked[i - 1].total);
      } else {
        EXPECT_TRUE(ranked[i - 1].missing.empty()) << "what cannot be compared comes last";
      }
    }
    EXPECT_GT(complete, 40u) << preset;
  }
}

// Wherever somebody is, and however far they go: all that is near and nothing else, and the advice names the first.
TEST_F(Ranking, NearAPlaceIsWhatIsNearIt) {
  const auto usage = UsagePreset("reference").ValueOrDie();
  for (const auto& place : prices_.regions()) {
    if (place.provider == Provider::kOwn) continue;
    for (const double within_ms : {1., 20., 80., 1000.}) {
      SCOPED_TRACE(fmt::format("{} within {} ms", place.name, within_ms));
      const auto near = ParseNear(place.name, within_ms, prices_).ValueOrDie();
      const auto ranked = Rank(usage, near);
      std::size_t expected = 0;
      for (const auto& region : prices_.regions()) {
        if (region.provider != Provider::kOwn && RoundTripMs(near, region) <= within_ms) ++expected;
      }
      ASSERT_EQ(ranked.size(), expected);
      EXPECT_GT(expected, 0u);
      for (const auto& entry : ranked) EXPECT_LE(*entry.round_trip_ms, within_ms);

      const auto here = MakeEstimate(usage, place.provider, place.name, prices_, kRankingDay).ValueOrDie();
      const auto first = std::find_if(ranked.begin(), ranked.end(), [&](const RankedRegion& entry) {
        return entry.region.provider == place.provider && entry.missing.empty();
      });
      if (!here.complete() || first == ranked.end()) continue;
      const bool all_complete = std::all_of(ranked.begin(), ranked.end(), [&](const RankedRegion& entry) {
        return entry.region.provider != place.provider || entry.missing.empty();
      });
      if (!all_complete) continue;  // Regions with gaps are compared on common lines: advice_test has them.
      for (const auto& advice : AdviceFor(here, prices_, near).ValueOrDie()) {
        if (advice.id != "region") continue;
        EXPECT_EQ(advice.saving, here.total - first->total);
        EXPECT_THAT(advice.title, HasSubstr(ToCents(first->total) + " a month"));
        if (advice.saving > Money()) {
          EXPECT_THAT(advice.title, HasSubstr(" a month against " + ToCents(here.total)));
        }
      }
    }
  }
}

TEST_F(Ranking, AGapIsNoBargain) {
  const auto& prices = prices_;
  Usage managed = UsagePreset("reference").ValueOrDie();
  managed.broker_mode = BrokerMode::kManaged;
  const auto ranked =
      RankRegions(managed, {Provider::kGcp, Provider::kAws}, prices, kRankingDay, std::nullopt).ValueOrDie();
  EXPECT_EQ(ranked.front().region.provider, Provider::kAws);
  EXPECT_EQ(ranked.back().region.provider, Provider::kGcp);
  EXPECT_THAT(ranked.back().missing, ::testing::Contains("gcp.kafka.storage"));
  // Without a place, the advice names the cheapest region that can be compared.
  const auto dear =
      MakeEstimate(UsagePreset("reference").ValueOrDie(), Provider::kAws, "sa-east-1", prices, kRankingDay);
  MILLRACE_ASSERT_OK(dear.status());
  bool found = false;
  for (const auto& advice : AdviceFor(*dear, prices, std::nullopt).ValueOrDie()) {
    if (advice.id != "region-anywhere") continue;
    found = true;
    const auto all = RankRegions(dear->usage, {Provider::kAws}, prices, kRankingDay, std::nullopt).ValueOrDie();
    EXPECT_EQ(advice.saving, dear->total - all.front().total);
    EXPECT_THAT(advice.title, HasSubstr("Cheapest region of AWS: " + all.front().region.name));
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace millrace::cost
