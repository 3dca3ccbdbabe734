// Goal: advice says what the model says. Method: each saving is recomputed from two estimates; distances against known
// round trips; places and their mistakes.
#include "cost/advice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cost/machines.h"
#include "testing/status_matchers.h"

namespace millrace::cost {
namespace {

using ::testing::HasSubstr;

const Day kToday = *ParseDay("2026-11-22");

class AdviceOfTheReference : public ::testing::Test {
 protected:
  Estimate EstimateOf(const Usage& usage, Provider provider = Provider::kAws) {
    return MakeEstimate(usage, provider, std::string(DefaultRegion(provider)), prices_, kToday).ValueOrDie();
  }
  Advice Find(const std::string& id, const Usage& usage, const std::optional<Near>& near = std::nullopt) {
    for (auto& advice : AdviceFor(EstimateOf(usage), prices_, near).ValueOrDie()) {
      EXPECT_FALSE(advice.arithmetic.empty());
      EXPECT_GE(advice.saving, Money());
      if (advice.id == id) return advice;
    }
    ADD_FAILURE() << "no advice '" << id << "'";
    return {};
  }

  const PriceSheet prices_ = PriceSheet::Shipped().ValueOrDie();
  const Usage usage_ = UsagePreset("reference").ValueOrDie();
};

TEST_F(AdviceOfTheReference, FollowerFetchSavesTheConsumersShareOfZoneTraffic) {
  const auto advice = Find("zone-traffic", usage_);
  EXPECT_EQ(ToCents(advice.saving), "87.60");  // 6,570 GB x 2/3 x 0.02.
  EXPECT_THAT(advice.arithmetic,
              HasSubstr("6,570 GB on the wire: 20 % of the traffic is producers to leaders, 20 % leaders "
                        "to consumers, 60 % leaders to replicas"));
  Usage near = usage_;
  near.follower_fetch = true;
  EXPECT_EQ(Find("zone-traffic", near).saving, Money());
}

TEST_F(AdviceOfTheReference, FreshnessHasAPricePerSecond) {
  const auto advice = Find("freshness", usage_);
  const auto with = [&](double seconds) {
    Usage usage = usage_;
    usage.commit_seconds = seconds;
    return EstimateOf(usage).total;
  };
  EXPECT_EQ(advice.saving, with(60) - with(300));
  EXPECT_THAT(advice.title, HasSubstr(fmt::format("{:.2g} a month", (with(10) - with(60)).dollars() / 50)));
}

TEST_F(AdviceOfTheReference, SelfRunAgainstManagedNamesTheCheaperAndTheBreakEven) {
  const auto advice = Find("broker", usage_);
  Usage managed = usage_;
  managed.broker_mode = BrokerMode::kManaged;
  const Money self_total = EstimateOf(usage_).total;
  const Money managed_total = EstimateOf(managed).total;
  EXPECT_THAT(advice.title, HasSubstr(managed_total < self_total ? "Managed brokers are cheaper" : "Self-run brokers"));
  EXPECT_EQ(advice.saving, std::max(Money(), self_total - managed_total));
  EXPECT_THAT(advice.arithmetic, HasSubstr("break-even"));
  // On the other side of it the advice is the opposite.
  const auto at = advice.arithmetic.find("near ");
  ASSERT_NE(at, std::string::npos) << advice.arithmetic;
  Usage beyond = usage_;
  beyond.events_per_second = std::strtod(advice.arithmetic.c_str() + at + 5, nullptr);
  EXPECT_NE(Find("broker", beyond).title.substr(0, 5), advice.title.substr(0, 5));
}

TEST_F(AdviceOfTheReference, TheCheapestMachineIsFoundByCountingAllOfThem) {
  const auto advice = Find("machine", usage_);
  // By hand: peak 30,000 / 200,000 + 300 / 500 = 0.75 vCPU, so two machines of any kind; m7g.large 2 x 730 x 0.0816.
  EXPECT_EQ(ToCents(advice.saving), "21.02");  // 140.16 - 119.14
  EXPECT_THAT(advice.title, HasSubstr("is m7g.large (Arm): 119.14 a month for 2 against 140.16 for 2 x m6i.large"));
  EXPECT_THAT(advice.arithmetic, HasSubstr("2 x m7g.large (2 vCPU, 8 GiB, Arm) x 730 h x 0.0816 = 119.14"));
  EXPECT_THAT(advice.arithmetic, HasSubstr("2 x m6i.large (2 vCPU, 8 GiB) x 730 h x 0.096 = 140.16"));
  EXPECT_THAT(advice.arithmetic, HasSubstr("with less memory: 2 x t4g.small"));
  // Who takes it pays what was said, and is told nothing better.
  Usage taken = usage_;
  taken.machine = "m7g.large";
  EXPECT_EQ(EstimateOf(usage_).total - EstimateOf(taken).total, advice.saving);
  EXPECT_THAT(Find("machine", taken).title, HasSubstr("m7g.large is the cheapest machine that carries this load"));
  // A load that a burstable machine does not sustain is not put on it because it is cheap.
  Usage busy = UsagePreset("starter").ValueOrDie();
  busy.events_per_second = 300'000;  // 1.524 vCPU on average: four of 0.4 each, or three of 2 vCPU for the peak of 4.6.
  EXPECT_THAT(Find("machine", busy).arithmetic, HasSubstr("4 x t4g.small (2 vCPU, 2 GiB, Arm)"));
  // For all providers and kinds: no machine that has the memory and a price is cheaper than the one that is named.
  for (const auto& machine : AllMachines()) {
    if (machine.provider == Provider::kOwn) continue;
    Usage usage = usage_;
    usage.machine = machine.name;
    const Money now = EstimateOf(usage, machine.provider).total;
    Money saving;
    for (auto& found : AdviceFor(EstimateOf(usage, machine.provider), prices_, std::nullopt).ValueOrDie()) {
      if (found.id == "machine") saving = found.saving;
    }
    for (const auto& other : AllMachines()) {
      if (other.provider != machine.provider || other.memory_gib < machine.memory_gib) continue;
      usage.machine = other.name;
      const auto there = EstimateOf(usage, machine.provider);
      if (there.complete()) {
        EXPECT_LE(now - saving, there.total) << machine.name << " " << other.name;
      }
    }
  }
}

TEST_F(AdviceOfTheReference, TheCheapestWayToKeepTheLogIsOneOfAll) {
  const auto log = [](const Estimate& estimate) {
    return estimate.by_category[static_cast<std::size_t>(Category::kEventLog)] +
           estimate.by_category[static_cast<std::size_t>(Category::kZoneTraffic)];
  };
  for (const auto provider : {Provider::kAws, Provider::kGcp, Provider::kAzure}) {
    SCOPED_TRACE(ToString(provider));
    std::optional<Advice> advice;
    for (auto& found : AdviceFor(EstimateOf(usage_, provider), prices_, std::nullopt).ValueOrDie()) {
      if (found.id == "log-service") advice = found;
    }
    ASSERT_TRUE(advice.has_value());
    const Money now = log(EstimateOf(usage_, provider));
    Money least = now;
    for (const auto service : LogServicesOf(provider)) {
      Usage usage = usage_;
      usage.broker_mode = BrokerMode::kManaged;
      usage.log_service = service;
      const auto there = EstimateOf(usage, provider);
      const bool complete = !there.has_missing[static_cast<std::size_t>(Category::kEventLog)];
      EXPECT_THAT(advice->arithmetic,
                  HasSubstr(std::string(NameOf(provider, service)) + (complete ? " " + ToCents(log(there)) : "")));
      if (complete) least = std::min(least, log(there));
    }
    EXPECT_EQ(advice->saving, now - least);
  }
  // What Express charges for writing has no sourced price: it is named, not compared.
  EXPECT_THAT(Find("log-service", usage_).arithmetic, HasSubstr("without a price: MSK Express"));
}

TEST_F(AdviceOfTheReference, CompressionAndFilesAndCdn) {
  EXPECT_EQ(ToCents(Find("compression", usage_).saving), "3.58");  // A tenth of 35.77.
  Usage many = usage_;
  many.files_per_commit = 8;
  EXPECT_GT(Find("files", many).saving, Money());
  EXPECT_THAT(Find("cdn", usage_).title, HasSubstr("A CDN does not pay"));
  Usage large_answers = usage_;
  large_answers.bytes_per_response = 1'000'000;
  EXPECT_THAT(Find("cdn", large_answers).title, HasSubstr("A CDN pays"));
}

TEST_F(AdviceOfTheReference, TheCheapestRegionIsComparedOnCommonLines) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const Near near, ParseNear("frankfurt", 30, prices_));
  const auto advice = Find("region", usage_, near);
  EXPECT_THAT(advice.title, HasSubstr("within 30 ms of frankfurt"));
  EXPECT_THAT(advice.arithmetic, HasSubstr("eu-central-1 (Frankfurt, 0 ms)"));
  EXPECT_THAT(advice.arithmetic, ::testing::Not(HasSubstr("us-west-2")));
  // Nobody has sourced what a disk costs in Calgary.
  MILLRACE_ASSERT_OK_AND_ASSIGN(const Near calgary, ParseNear("calgary", 1, prices_));
  EXPECT_THAT(Find("region", usage_, calgary).arithmetic, HasSubstr("without 1 unpriced SKUs"));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const Near lonely, ParseNear("-50,-140", 1, prices_));
  EXPECT_THAT(Find("region", usage_, lonely).title, HasSubstr("No priced region of AWS is within 1 ms"));
}

TEST_F(AdviceOfTheReference, IsThereForEveryProviderAndLoad) {
  for (const auto provider : kProviders) {
    for (const auto& name : UsagePresetNames()) {
      const auto advice = AdviceFor(EstimateOf(UsagePreset(name).ValueOrDie(), provider), prices_, std::nullopt);
      MILLRACE_ASSERT_OK(advice.status());
    }
  }
  Usage idle;
  idle.events_per_second = 0;
  MILLRACE_ASSERT_OK(AdviceFor(EstimateOf(idle), prices_, std::nullopt).status());
}

TEST(Near, IsARegionACityOrAPoint) {
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto prices, PriceSheet::Shipped());
  for (const char* place : {"eu-central-1", "Frankfurt", "frankfurt", "50.1,8.7"}) {
    SCOPED_TRACE(place);
    MILLRACE_ASSERT_OK_AND_ASSIGN(const Near near, ParseNear(place, 50, prices));
    EXPECT_DOUBLE_EQ(near.latitude, 50.1);
    EXPECT_DOUBLE_EQ(near.longitude, 8.7);
  }
  EXPECT_THAT(ParseNear("frankfrut", 50, prices).status().message(), HasSubstr("did you mean 'Frankfurt'?"));
  for (const char* place : {"91,0", "0,181", "a,b", "1,2,3", ","}) {
    MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, ParseNear(place, 50, prices).status());
  }
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, ParseNear("frankfurt", 0, prices).status());
}

TEST(Near, RoundTripsAreThoseOfFibre) {
  const Near frankfurt{.place = "", .latitude = 50.1, .longitude = 8.7, .round_trip_ms = 0};
  const Region virginia{.provider = Provider::kAws, .name = "", .place = "", .latitude = 39, .longitude = -77.5};
  const Region here{.provider = Provider::kAws, .name = "", .place = "", .latitude = 50.1, .longitude = 8.7};
  // 6,560 km; what is measured between the two is 88 to 95 ms.
  EXPECT_NEAR(RoundTripMs(frankfurt, virginia), 98, 3);
  EXPECT_NEAR(RoundTripMs(frankfurt, here), 0, 1e-6);
}

}  // namespace
}  // namespace millrace::cost
